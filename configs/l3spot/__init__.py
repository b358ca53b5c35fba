"""Experiments of system 3: the slice of L3."""

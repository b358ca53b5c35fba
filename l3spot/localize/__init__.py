"""Finds L3 in a projection; holds the packaged model."""

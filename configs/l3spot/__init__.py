"""Configs of system 3, which finds L3."""

"""Measurements of speed and memory; each module's docstring has its command."""

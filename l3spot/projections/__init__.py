"""Projections of the scans of a data set."""

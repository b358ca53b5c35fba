"""Parametric human trunks: drawn at random, seen as CT volumes or as projections."""

"""Trains the network that finds L3."""

"""Reads ImageNet parameters of other programs as Flax parameters."""

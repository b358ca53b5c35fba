"""ImageNet weights: other programs' files to Flax parameters."""

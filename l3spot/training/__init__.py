"""Training of the network that finds L3."""

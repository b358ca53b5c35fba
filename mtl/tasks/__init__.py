"""The network of system 1, and the losses that train it."""

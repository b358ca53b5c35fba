"""From a projection to L3, and the packaged model."""

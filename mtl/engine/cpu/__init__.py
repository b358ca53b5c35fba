"""Work-arounds for XLA on a CPU."""

"""Multi-task learning with evolving weights, and the engine of all three systems."""

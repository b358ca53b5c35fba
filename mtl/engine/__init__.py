"""The engine: tasks, update steps, loss weights, training. It knows no system."""

"""Input and output auto-encoders for structured output (arXiv 1504.07550)."""

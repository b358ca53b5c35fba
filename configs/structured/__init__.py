"""Configs of system 2: regularised structured output."""

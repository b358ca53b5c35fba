"""Experiments of system 1: multi-task learning with evolving weights."""

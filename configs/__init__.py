"""Experiments: each file has a `get_config(variant)` for ml_collections."""

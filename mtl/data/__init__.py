"""Labelled images: from files to arrays."""

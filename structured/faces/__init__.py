"""Faces with landmarks: from files to crops, and errors of predicted points."""

"""Vertebral bodies in a sagittal picture of the spine: L3 to the millimetre."""

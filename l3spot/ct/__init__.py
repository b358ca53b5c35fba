"""Reads DICOM and NIfTI files, and assembles their slices into CT volumes."""

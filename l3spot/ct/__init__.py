"""CT scans: from DICOM or NIfTI files to a volume."""

"""Results of scans, their files and their errors."""

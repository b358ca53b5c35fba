"""Results of a scan as files, pages and tables."""

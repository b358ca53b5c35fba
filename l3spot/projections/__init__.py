"""Projects the CT scans of a dataset, and reads and writes projections."""

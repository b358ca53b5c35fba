"""What the host does around the device's work: files, logs, flags, errors, tables."""

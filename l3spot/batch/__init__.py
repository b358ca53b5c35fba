"""Many scans: which are left, who works on them, and what is made of their results."""

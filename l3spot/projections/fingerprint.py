"""Identifies the files of a scan, so that a later run sees whether they changed."""

import hashlib

from l3spot.ct import slices
from l3spot.projections.scan_folders import Case


def of_files(case: Case) -> str:
    """Hashes the names, sizes and times of the files of a scan and its label.

    The contents are not read.

    Raises:
      DataError, OSError: a folder or file cannot be read.
    """
    label = case.label.path if case.label else None
    entries = []
    for root in filter(None, (case.path, label)):
        paths = slices.files_below(root) if root.is_dir() else [root]
        for path in paths:
            try:
                stat = path.stat()
            except OSError:  # A link to nothing, which is one of the unread files.
                stat = path.lstat()
            name = str(path.relative_to(root))
            entries.append((root == label, name, stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(ascii(sorted(entries)).encode()).hexdigest()

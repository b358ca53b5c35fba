"""The content of a scan: its volumes, and what makes none."""

from typing import NamedTuple

from l3spot.ct.slices import ScanFile
from l3spot.ct.volumes import Rejected, Volume


class Unread(NamedTuple):
    """A file that cannot be used, and the reason.

    broken: whether the file may belong to a scan; False if it is whole and no CT image.
    """

    file: ScanFile
    reason: str
    broken: bool


class Scan(NamedTuple):
    """The content of a folder or a zip file.

    volumes: the usable volumes, sorted by `volumes.sort_key`.
    rejected: slices that make no volume, with the reason.
    unread: DICOM and NIfTI files that cannot be used, with the reason.
    """

    volumes: list[Volume]
    rejected: list[Rejected]
    unread: list[Unread]

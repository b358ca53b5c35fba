"""The DICOM file that a slice came in, with all that its header says of the patient."""

from pathlib import Path

from l3spot.ct import dicom
from l3spot.ct.slices import File
from l3spot.ct.volumes import Volume
from mtl.host import workdir
from mtl.host.errors import DataError


def of(volume: Volume, plane: int) -> File:
    """The file that holds one plane, and no other.

    Raises:
      DataError: it holds others as well: it has many frames, or is NIfTI.
    """
    file = volume.planes[plane].file
    count = sum(p.file == file for p in volume.planes)
    if count > 1:
        raise DataError(
            f"{file} holds {count} planes, so there is no DICOM file of the slice "
            "alone: none was copied, and none can be referred to"
        )
    return file


def copy(volume: Volume, plane: int, to: Path) -> None:
    """Copies the file of a plane, byte for byte.

    Raises:
      DataError: no file holds the plane alone, or it cannot be read.
      WorkdirError: it cannot be written.
    """
    file = of(volume, plane)
    try:
        with file.open() as stream:
            content = stream.read()
    except dicom.BROKEN as e:
        raise DataError(f"{file} cannot be copied ({e})") from e
    workdir.write_bytes(to, content)

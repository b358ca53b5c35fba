"""Finds and copies the DICOM file of a slice, with its whole header."""

from pathlib import Path

from l3spot.ct import dicom
from l3spot.ct.slices import ScanFile
from l3spot.ct.volumes import Volume
from mtl.host import workdir
from mtl.host.errors import DataError


def find(volume: Volume, index: int) -> ScanFile:
    """Returns the file that holds only the slice with this index.

    Raises:
      DataError: the file also holds other slices: it has many frames, or is NIfTI.
    """
    file = volume.slices[index].file
    count = sum(s.file == file for s in volume.slices)
    if count > 1:
        raise DataError(
            f"{file} holds {count} slices, so no DICOM file holds this slice alone: "
            "it can be neither copied nor referred to"
        )
    return file


def copy(volume: Volume, index: int, to: Path) -> None:
    """Copies the file of a slice, byte for byte.

    Raises:
      DataError: no file holds the slice alone, or the file cannot be read.
      WorkdirError: the copy cannot be written.
    """
    copy_file(find(volume, index), to)


def copy_file(file: ScanFile, to: Path) -> None:
    """Copies a file of a scan, byte for byte.

    Raises:
      DataError: the file cannot be read.
      WorkdirError: the copy cannot be written.
    """
    try:
        with file.open() as stream:
            content = stream.read()
    except dicom.READ_ERRORS as e:
        raise DataError(f"{file} cannot be copied ({e})") from e
    workdir.write_bytes(to, content)

"""Files that are no scans by their names, and formats that cannot be read."""

from pathlib import PurePath

from mtl.host.errors import DataError

# Folders and files that operating systems and file servers make.
CLUTTER = frozenset(
    [
        *("__macosx", "@eadir", "$recycle.bin", "#recycle", "@recycle", "lost+found"),
        *("system volume information", "@recently-snapshot", "#snapshot"),
        *("thumbs.db", "desktop.ini", "dicomdir"),
    ]
)
ARCHIVES = (
    *(".zip", ".7z", ".rar", ".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".iso"),
    *(".gz", ".bz2", ".xz", ".zst", ".lzma", ".z"),
)
IMAGES = (
    *(".nrrd", ".nhdr", ".mha", ".mhd", ".mnc", ".mgh", ".mgz", ".nii.bz2"),
    *(".nii.xz", ".nii.zst", ".hdr", ".img", ".par", ".vtk", ".vti", ".analyze"),
)


def is_clutter(name: str) -> bool:
    """Returns whether a file or folder is hidden, or made by a system for itself."""
    return name.startswith(".") or name.lower() in CLUTTER


def in_clutter(member: str) -> bool:
    """Returns whether the path of a member of a zip file has a part that is clutter."""
    return any(is_clutter(part) for part in PurePath(member).parts)


def is_known(name: str) -> bool:
    """Returns whether a name has the suffix of an archive or an image format."""
    return name.lower().endswith((*ARCHIVES, *IMAGES))


def refuse(path: str) -> None:
    """Refuses a file in a format that is not read; other names pass.

    Raises:
      DataError: the file's name has the suffix of an archive or an image format.
    """
    lower = path.lower()
    if lower.endswith(IMAGES):
        kind = lower[lower.rindex(".") :]
        raise DataError(
            f"{path} is an image in the format {kind}, which is not read; convert it "
            "to DICOM or NIfTI (.nii.gz)"
        )
    if lower.endswith(ARCHIVES):
        raise DataError(
            f"{path} is an archive that is not read; unpack it into a folder"
        )

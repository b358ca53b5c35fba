"""Reads MNIST's IDX files."""

import gzip
import hashlib
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mtl.data import readers
from mtl.data.mapped import MappedRows, Stored, Unpacked
from mtl.data.readers import Images
from mtl.host.errors import DataError

# MD5 of the uncompressed files, as published with the data sets.
CHECKSUMS = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


def load(
    folder: str,
    name: str | None = None,
    field: str = "data.path",
    lazy: bool = False,
) -> tuple[Images, Images]:
    """(train, test) from the four IDX files of MNIST's layout, gzipped or not.

    Args:
      folder: holds train-images-idx3-ubyte, train-labels-idx1-ubyte and t10k-..., each
        with or without ".gz".
      name: "mnist" or "fashion_mnist" checks them against the published checksums.
      field: the field or flag that gave the folder, for errors.
      lazy: whether the training images stay in their file, as `MappedRows`.

    Raises:
      DataError: a file is missing, cut short, not IDX, or not the published one.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{field}={folder!r} is no folder; it should hold IDX files")
    sets = []
    for part in ("train", "t10k"):
        stem, where = f"{part}-images-idx3-ubyte", root / part
        rows: Any = _mapped(root, stem, name) if lazy and part == "train" else None
        x = readers.unit(_read(root, stem, 3, name), where) if rows is None else rows
        y = _read(root, f"{part}-labels-idx1-ubyte", 1, name)
        if len(x) != len(y):
            raise DataError(
                f"{root}: {len(x)} {part} images but {len(y)} labels; these files do "
                "not belong together"
            )
        sets.append(Images(x, y.astype(np.int32)))
    return sets[0], sets[1]


def _mapped(root: Path, stem: str, name: str | None) -> MappedRows | None:
    """The images of an IDX file; None: `_read` has to read it, or says what is wrong.

    A gzipped file is unpacked into a temporary one.
    """
    path, unpacked = _path(root, stem), None
    if path is None:
        return None
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as packed:
                unpacked = Unpacked(packed)
        with unpacked.open() if unpacked else path.open("rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
            size = file.tell()
            file.seek(0)
            head = file.read(16)
    except (OSError, EOFError, zlib.error):
        return None
    shape = tuple(int(n) for n in np.frombuffer(head[4:].ljust(12), ">u4"))
    whole = head[:4] == bytes([0, 0, 8, 3]) and size == 16 + math.prod(shape)
    if not whole or 0 in shape or (name and md5 != CHECKSUMS[name][stem]):
        return None
    stored = Stored(path, 16, shape, np.dtype(np.uint8), unpacked=unpacked)
    return readers.convertible(stored, readers.unit)


def _path(root: Path, stem: str) -> Path | None:
    return next((p for p in (root / stem, root / f"{stem}.gz") if p.is_file()), None)


def _read(root: Path, stem: str, dims: int, name: str | None) -> np.ndarray:
    """One IDX file of unsigned bytes: a magic number, the sizes, the values."""
    path = _path(root, stem)
    if path is None:
        raise DataError(f"{root} has neither {stem} nor {stem}.gz; get both sets there")
    content = path.read_bytes()
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as e:
            raise DataError(f"{path}: broken gzip ({e}); get it again") from e
    head = 4 + 4 * dims
    if content[:4] != bytes([0, 0, 8, dims]) or len(content) < head:
        raise DataError(
            f"{path}: not an IDX file of {dims}-dimensional unsigned bytes (it starts "
            f"with {content[:4].hex() or 'nothing'}, not 00000803 or 00000801)"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", dims, offset=4))
    if len(content) != head + math.prod(shape):
        raise DataError(
            f"{path}: the header says {shape}, but {len(content) - head} bytes follow; "
            "the file is cut short or damaged: get it again"
        )
    if name is not None and hashlib.md5(content).hexdigest() != CHECKSUMS[name][stem]:
        raise DataError(
            f"{path} is not {name}'s published file (its MD5 differs); get it again; "
            "or, for another data set, set data.source='idx'"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)

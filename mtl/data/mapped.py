"""Arrays in files. Any rows can be read alone, without the others."""

import io
import os
import shutil
import struct
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mtl.host.errors import DataError

LOCAL_HEADER = 30  # Bytes of a zip archive before the name of a member.
BLOCK_BYTES = 2**24  # Read at a time.


class Unpacked:
    """The bytes of a stream in a temporary file (TMPDIR), which has no name.

    So it is gone when nothing refers to it, also after a kill.
    """

    def __init__(self, stream: Any):
        with tempfile.TemporaryFile() as file:
            shutil.copyfileobj(stream, file, BLOCK_BYTES)
            file.flush()
            self._descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self._descriptor)

    def open(self) -> io.BufferedReader:
        """The file, from its start."""
        file = os.fdopen(self._descriptor, "rb", closefd=False)
        file.seek(0)
        return file


class Stored(NamedTuple):
    """An array in a file, as it lies there.

    Attributes:
      path: of the file.
      offset: of the array's first byte.
      shape, dtype: of the array.
      crc32: of the array, if the file has it; otherwise 0.
      unpacked: holds the array in place of `path`, which is compressed.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype
    crc32: int = 0
    unpacked: Unpacked | None = None

    def open(self) -> np.ndarray:
        """Maps the array; its memory is free again when nothing refers to it."""
        file: Any = self.unpacked.open() if self.unpacked else self.path
        return np.memmap(file, self.dtype, "r", self.offset, self.shape)


class MappedRows:
    """Rows [N, ...] of a stored array; those that are asked for are read, as float32.

    Args:
      stored: the array.
      convert: from rows as they are stored to float32 rows of `shape[1:]`; each row
        depends on itself alone.
      rows: the numbers of the rows in `stored`.
      shape: of all rows.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        stored: Stored,
        convert: Callable[[np.ndarray], np.ndarray],
        rows: np.ndarray | None = None,
        shape: tuple[int, ...] = (),
    ):
        self._stored, self._convert = stored, convert
        self._rows = np.arange(stored.shape[0]) if rows is None else rows
        self.shape = len(self._rows), *(shape or stored.shape)[1:]
        row_bytes = stored.dtype.itemsize * int(np.prod(stored.shape[1:]))
        self._block = max(1, BLOCK_BYTES // row_bytes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Reads rows, by a slice or their numbers."""
        numbers = self._rows[rows]
        found = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        order = np.argsort(numbers)  # As they lie in the file.
        for start in range(0, len(order), self._block):
            at = order[start : start + self._block]
            # Each block has a map of its own, which is gone with its memory after it.
            found[at] = self._convert(self._stored.open()[numbers[at]])
        return found

    def select(self, rows: np.ndarray) -> "MappedRows":
        """Some of the rows, by their numbers; reads none."""
        chosen = self._rows[rows]
        return MappedRows(self._stored, self._convert, chosen, self.shape)

    def then(
        self, change: Callable[[np.ndarray], np.ndarray], shape: tuple[int, ...]
    ) -> "MappedRows":
        """The rows, changed by one more function after they are read.

        Args:
          change: see `convert` above.
          shape: of all rows after it.
        """
        before = self._convert
        both = lambda x: change(before(x))  # noqa: E731
        return MappedRows(self._stored, both, self._rows, shape)

    def blocks(self) -> Iterator[np.ndarray]:
        """Reads all rows in their order, some at a time."""
        for start in range(0, len(self), self._block):
            yield self[start : start + self._block]


def take(x: np.ndarray | MappedRows, rows: np.ndarray) -> Any:
    """Rows of an array, by their numbers; those of mapped rows are not read."""
    return x.select(rows) if isinstance(x, MappedRows) else x[rows]


def on_disk(x: np.ndarray) -> np.ndarray:
    """The same array in a temporary file (TMPDIR) without a name, which is mapped."""
    with tempfile.TemporaryFile() as file:
        np.ascontiguousarray(x).tofile(file)
        file.flush()
        return np.memmap(file, x.dtype, "r", 0, x.shape)


def find(path: Path, name: str, unpack: bool = False) -> Stored:
    """Where an array lies in a file of NumPy.

    Args:
      path: of an .npy, which has one array, or of an .npz.
      name: of the array in an .npz.
      unpack: decompresses a compressed array into a temporary file (TMPDIR).

    Raises:
      DataError: the file is broken or compressed, or has no such array.
    """
    try:
        with open(path, "rb") as stream:
            if path.suffix == ".npy":
                return _array(path, stream, 0, 0)
            with zipfile.ZipFile(stream) as archive:
                return _member(path, name, archive, stream, unpack)
    except DataError:
        raise
    except Exception as e:  # NumPy and zipfile raise anything on a broken file.
        how = "numpy.save" if path.suffix == ".npy" else "numpy.savez"
        raise DataError(
            f"{path}: not a whole {path.suffix} of plain arrays ({e}); write it with "
            f"{how}"
        ) from e


def _member(
    path: Path, name: str, archive: zipfile.ZipFile, stream: IO[bytes], unpack: bool
) -> Stored:
    """Finds an array in an .npz; the header before it has a length of its own."""
    if f"{name}.npy" not in archive.namelist():
        there = ", ".join(n.removesuffix(".npy") for n in archive.namelist())
        raise DataError(f"{path} has no {name}; it has {there or 'nothing'}")
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        if unpack:
            with archive.open(info) as packed:
                unpacked = Unpacked(packed)
            array = _array(path, unpacked.open(), 0, info.CRC)
            return array._replace(unpacked=unpacked)
        raise DataError(
            f"{path} is compressed, so that no row can be read alone; write it with "
            "numpy.savez, not numpy.savez_compressed"
        )
    stream.seek(info.header_offset)
    length, extra = struct.unpack_from("<HH", stream.read(LOCAL_HEADER), 26)
    start = info.header_offset + LOCAL_HEADER + length + extra
    return _array(path, stream, start, info.CRC)


def _array(path: Path, stream: IO[bytes], start: int, crc32: int) -> Stored:
    """The array that begins at a byte of a file, in NumPy's format."""
    stream.seek(start)
    version = np.lib.format.read_magic(stream)
    readers_of = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran, dtype = readers_of[version](stream)
    if fortran or dtype.hasobject:
        raise ValueError("its rows must be in C order, and no Python objects")
    stored = Stored(path, stream.tell(), shape, dtype, crc32)
    np.memmap(stream, dtype, "r", stored.offset, shape)  # Raises if cut short.
    return stored

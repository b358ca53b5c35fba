"""Files that are unpacked once, for many who read here and there in them.

To go back within a member of a zip file is to unpack it from the start.
"""

import io
import mmap
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from mtl.host.errors import DataError


class Unpacked:
    """Bytes in a temporary file without a name, from their first use on."""

    def __init__(self, name: str, write: Callable[[IO[bytes]], None]) -> None:
        """write: gives the bytes to a file; name: where they are from."""
        self._name = name
        self._write = write
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None

    def open(self) -> BinaryIO:
        """The bytes, with a position of its own.

        Raises:
          DataError: there is no room for them. And what `write` raises.
        """
        with self._lock:
            if self._memory is None:
                self._memory = self._map()
        return cast(BinaryIO, _Reader(self._memory))

    def _map(self) -> mmap.mmap:
        """The file goes with the map."""
        try:
            with tempfile.TemporaryFile() as whole:
                self._write(cast(IO[bytes], whole))
                whole.flush()
                return mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as e:
            raise DataError(
                f"{self._name} cannot be unpacked in {tempfile.gettempdir()} ({e}); "
                "set TMPDIR to a folder with more room"
            ) from e


class _Reader(io.RawIOBase):
    """Reads from memory that is shared."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._at = 0

    def readinto(self, buffer: Any) -> int:
        data = self._memory[self._at : self._at + len(buffer)]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._at, len(self._memory))[whence]
        self._at = max(0, base + offset)
        return self._at

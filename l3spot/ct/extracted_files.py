"""Extracts a compressed file once, so that many readers can seek in it.

Seeking backwards in a member of a zip file extracts it again from its start.
"""

import io
import mmap
import tempfile
import threading
from collections.abc import Callable
from typing import IO, Any, BinaryIO, cast

from mtl.host.errors import DataError


class ExtractedFile:
    """The extracted bytes of a file, in a temporary file without a name.

    They are extracted at the first call of `open`.
    """

    def __init__(self, name: str, extract: Callable[[IO[bytes]], None]) -> None:
        """Takes the file's name for messages, and a function that writes its bytes."""
        self._name = name
        self._extract = extract
        self._lock = threading.Lock()
        self._memory: mmap.mmap | None = None

    def open(self) -> BinaryIO:
        """Returns a stream over the bytes, with its own position.

        Raises:
          DataError: the temporary folder has too little space. Errors of `extract` are
            raised as they are.
        """
        with self._lock:
            if self._memory is None:
                self._memory = self._map_extracted()
        return cast(BinaryIO, _SharedMemoryReader(self._memory))

    def _map_extracted(self) -> mmap.mmap:
        """Extracts the bytes; the temporary file is deleted with the memory map."""
        try:
            with tempfile.TemporaryFile() as extracted:
                self._extract(cast(IO[bytes], extracted))
                extracted.flush()
                return mmap.mmap(extracted.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as e:
            raise DataError(
                f"{self._name} cannot be unpacked in {tempfile.gettempdir()} ({e}); "
                "set TMPDIR to a folder with more space"
            ) from e


class _SharedMemoryReader(io.RawIOBase):
    """A read-only stream over memory that other streams share."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._position = 0

    def readinto(self, buffer: Any) -> int:
        data = self._memory[self._position : self._position + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._position, len(self._memory))[whence]
        self._position = max(0, base + offset)
        return self._position

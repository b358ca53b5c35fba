"""The tensors of a .pth file, without PyTorch.

PyTorch keeps weights as a pickle, and a pickle can have anything run. Here it can make
nothing but dicts, numbers and notes of where a tensor lies; the arrays come after it.

A .pth is a zip (PyTorch 1.6 and later), `NAME/data.pkl` and `NAME/data/KEY`, or a
stream: three pickles that say what it is, the pickle, that of its keys, and for each
key the count of its elements and these.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mtl.host.errors import DataError

MAGIC = 0x1950A86A20F9469CFC6C
ZIP = b"PK\x03\x04"
TYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8"}


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dict, by their names; runs nothing.

    Raises:
      DataError: the file is another one or cut off, or it asks for more than tensors.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(len(ZIP))
            stream.seek(0)
            notes, storages = (_zip if start == ZIP else _stream)(stream)
            return {k: _array(k, note, storages) for k, note in notes.items()}
    except FileNotFoundError as e:
        raise DataError(f"there is no file {path}") from e
    except Exception as e:  # Pickles that make no sense raise anything.
        raise DataError(f"{path} is no whole .pth of a state dict ({e})") from e


class _Storage(NamedTuple):
    """A flat array that tensors lie in."""

    key: str
    kind: str
    numbers: int

    @property
    def size(self) -> int:
        return self.numbers * np.dtype(TYPES[self.kind]).itemsize


class _Tensor:
    """Where a tensor lies: storage, offset, size and stride.

    It stands for the tensors and parameters of all versions, and for the functions that
    rebuild parameters. The oldest make an empty one first and set its state after.
    """

    __slots__ = ("place",)
    place: tuple | None

    def __new__(cls, data: "_Tensor | None" = None, *_: Any) -> "_Tensor":
        made = super().__new__(cls)
        made.place = None if data is None else data.place
        return made

    @classmethod
    def at(cls, *place: Any) -> "_Tensor":
        made = cls()
        made.place = place[:4]
        return made

    def __setstate__(self, state: tuple) -> None:
        if len(state) == 4:
            self.place = state
        elif len(state) == 5:  # A variable's, which starts with its tensor.
            self.place = state[0].place


Notes = dict[str, _Tensor]

# Nothing here can be changed by a pickle for the next one to find.
ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _Tensor.at,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor.at,
    ("torch._utils", "_rebuild_parameter"): _Tensor,
    ("torch.nn.parameter", "Parameter"): _Tensor,
}
for _kind in TYPES:
    for _module in ("torch", "torch.cuda"):
        ALLOWED[_module, f"{_kind}Tensor"] = _Tensor
        ALLOWED[_module, f"{_kind}Storage"] = _kind


class _Unpickler(pickle.Unpickler):
    """Makes notes of tensors, and notes the storages."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; a state dict is needed"
            )
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        what, kind, key, _, count, *view = pid
        if what != "storage" or kind not in TYPES or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"it has the storage {pid}")
        return self.storages.setdefault(key, _Storage(key, kind, count))

    def notes(self) -> Notes:
        found = self.load()
        if not isinstance(found, dict) or not all(
            isinstance(k, str) and isinstance(v, _Tensor) for k, v in found.items()
        ):
            raise ValueError("it holds no names with tensors")
        return found


Arrays = dict[str, np.ndarray]


def _zip(stream: IO[bytes]) -> tuple[Notes, Arrays]:
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        (main,) = (n for n in names if n.endswith("/data.pkl"))
        root = main.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("its bytes are in another order")

        def flat(s: _Storage) -> bytes:
            member = f"{root}data/{s.key}"
            if archive.getinfo(member).file_size != s.size:
                raise ValueError(f"{member} has not {s.size} bytes")
            return archive.read(member)

        with archive.open(main) as inner:
            unpickler = _Unpickler(inner)
            notes = unpickler.notes()
        return notes, _arrays(unpickler.storages.values(), flat)


def _stream(stream: IO[bytes]) -> tuple[Notes, Arrays]:
    if _Unpickler(stream).load() != MAGIC:
        raise ValueError("it does not start as such a file does")
    _Unpickler(stream).load()
    if not _Unpickler(stream).load()["little_endian"]:
        raise ValueError("its bytes are in another order")
    unpickler = _Unpickler(stream)
    notes = unpickler.notes()
    keys = _Unpickler(stream).load()

    def flat(s: _Storage) -> bytes:
        count = int.from_bytes(stream.read(8), "little", signed=True)
        content = stream.read(s.size)
        if count != s.numbers or len(content) != s.size:
            raise ValueError("it is cut off")
        return content

    return notes, _arrays([unpickler.storages[key] for key in keys], flat)


def _arrays(storages: Any, flat: Callable[[_Storage], bytes]) -> Arrays:
    return {s.key: np.frombuffer(flat(s), TYPES[s.kind]) for s in storages}


def _array(name: str, note: _Tensor, storages: Arrays) -> np.ndarray:
    """The array that a note means, after a check that it lies within its storage."""
    if note.place is None:
        raise ValueError(f"{name} has no place")
    storage, offset, size, stride = note.place
    flat = storages[storage.key]
    if offset < 0 or min((*size, *stride, 0)) < 0:
        raise ValueError(f"{name} starts before its storage")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= len(flat):
        raise ValueError(f"{name} ends after its storage")
    steps = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, steps)

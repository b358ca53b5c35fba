"""Reads the tensors of a .pth file without PyTorch.

PyTorch stores parameters as a pickle, and a pickle can run any code. The unpickler here
only makes dicts, numbers and references to tensors; the arrays are read afterwards.

A .pth file is a zip (PyTorch 1.6 and later) with `NAME/data.pkl` and `NAME/data/KEY`,
or a stream: three pickles that describe the format, the state dict, a pickle of the
storages' keys, and for each key the number of its elements and the elements.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from mtl.host.errors import DataError

TORCH_MAGIC = 0x1950A86A20F9469CFC6C
ZIP_MAGIC = b"PK\x03\x04"
DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8"}


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a state dict by their names; runs no code of the file.

    Raises:
      DataError: the file is truncated, has another format, or has more than tensors.
    """
    try:
        with open(path, "rb") as stream:
            start = stream.read(len(ZIP_MAGIC))
            stream.seek(0)
            refs, storages = (_zip if start == ZIP_MAGIC else _stream)(stream)
            return {k: _array(k, ref, storages) for k, ref in refs.items()}
    except FileNotFoundError as e:
        raise DataError(f"there is no file {path}") from e
    except Exception as e:  # A broken pickle can raise any exception.
        raise DataError(f"{path} is no whole .pth of a state dict ({e})") from e


class _Storage(NamedTuple):
    """A flat array that holds tensors."""

    key: str
    kind: str
    element_count: int

    @property
    def size(self) -> int:
        return self.element_count * np.dtype(DTYPES[self.kind]).itemsize


class _TensorRef:
    """A reference to a tensor: its storage, offset, size and stride.

    It replaces the tensors and parameters of all versions, and the functions that
    rebuild parameters. The oldest versions make an empty tensor first and set its state
    later.
    """

    __slots__ = ("place",)
    place: tuple | None

    def __new__(cls, data: "_TensorRef | None" = None, *_: object) -> "_TensorRef":
        tensor = super().__new__(cls)
        tensor.place = None if data is None else data.place
        return tensor

    @classmethod
    def at(cls, *place: object) -> "_TensorRef":
        tensor = cls()
        tensor.place = place[:4]
        return tensor

    def __setstate__(self, state: tuple) -> None:
        if len(state) == 4:
            self.place = state
        elif len(state) == 5:  # The state of a variable starts with its tensor.
            self.place = state[0].place


TensorRefs = dict[str, _TensorRef]

# A pickle cannot change these objects for a later pickle.
ALLOWED_GLOBALS: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _TensorRef.at,
    ("torch._utils", "_rebuild_tensor_v2"): _TensorRef.at,
    ("torch._utils", "_rebuild_parameter"): _TensorRef,
    ("torch.nn.parameter", "Parameter"): _TensorRef,
}
for _kind in DTYPES:
    for _module in ("torch", "torch.cuda"):
        ALLOWED_GLOBALS[_module, f"{_kind}Tensor"] = _TensorRef
        ALLOWED_GLOBALS[_module, f"{_kind}Storage"] = _kind


class _Unpickler(pickle.Unpickler):
    """Returns references to tensors, and collects their storages."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}; a state dict is needed"
            )
        return ALLOWED_GLOBALS[module, name]

    def persistent_load(self, pid: tuple) -> _Storage:
        what, kind, key, _, count, *view = pid
        if what != "storage" or kind not in DTYPES or any(v is not None for v in view):
            raise pickle.UnpicklingError(f"it has the storage {pid}")
        return self.storages.setdefault(key, _Storage(key, kind, count))

    def refs(self) -> TensorRefs:
        state_dict = self.load()
        if not isinstance(state_dict, dict) or not all(
            isinstance(k, str) and isinstance(v, _TensorRef)
            for k, v in state_dict.items()
        ):
            raise ValueError("it is no dict of tensors")
        return state_dict


Arrays = dict[str, np.ndarray]


def _zip(stream: IO[bytes]) -> tuple[TensorRefs, Arrays]:
    with zipfile.ZipFile(stream) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"it has {len(pickles)} files data.pkl instead of one")
        main = pickles[0]
        root = main.removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in names and archive.read(order) != b"little":
            raise ValueError("its byte order is not little-endian")

        def read_storage(s: _Storage) -> bytes:
            member = f"{root}data/{s.key}"
            if archive.getinfo(member).file_size != s.size:
                raise ValueError(f"{member} has not {s.size} bytes")
            return archive.read(member)

        with archive.open(main) as inner:
            unpickler = _Unpickler(inner)
            refs = unpickler.refs()
        return refs, _arrays(unpickler.storages.values(), read_storage)


def _stream(stream: IO[bytes]) -> tuple[TensorRefs, Arrays]:
    if _Unpickler(stream).load() != TORCH_MAGIC:
        raise ValueError("it does not start as a .pth does")
    _Unpickler(stream).load()
    if not _Unpickler(stream).load()["little_endian"]:
        raise ValueError("its byte order is not little-endian")
    unpickler = _Unpickler(stream)
    refs = unpickler.refs()
    keys = _Unpickler(stream).load()

    def read_storage(s: _Storage) -> bytes:
        count = int.from_bytes(stream.read(8), "little", signed=True)
        content = stream.read(s.size)
        if count != s.element_count or len(content) != s.size:
            raise ValueError("it is truncated")
        return content

    return refs, _arrays([unpickler.storages[key] for key in keys], read_storage)


def _arrays(
    storages: Iterable[_Storage], read_storage: Callable[[_Storage], bytes]
) -> Arrays:
    return {s.key: np.frombuffer(read_storage(s), DTYPES[s.kind]) for s in storages}


def _array(name: str, ref: _TensorRef, storages: Arrays) -> np.ndarray:
    """Returns the array of a reference; checks that it lies within its storage."""
    if ref.place is None:
        raise ValueError(f"{name} has no storage")
    storage, offset, size, stride = ref.place
    flat = storages[storage.key]
    if offset < 0 or min((*size, *stride, 0)) < 0:
        raise ValueError(f"{name} starts before its storage")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and last >= len(flat):
        raise ValueError(f"{name} ends after its storage")
    strides = [s * flat.itemsize for s in stride]
    return np.lib.stride_tricks.as_strided(flat[offset:], size, strides)

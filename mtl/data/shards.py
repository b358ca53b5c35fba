"""Training images in many files, which are read row by row and never held in memory.

    FOLDER/train/*.npz    x [N, ...] and perhaps y [N], from numpy.savez
    FOLDER/train/*.npy    x [N, ...], without labels, from numpy.save
    FOLDER/valid.npz      x and y, which are held in memory; so is
    FOLDER/test.npz

The labels of all rows are in memory. Files are mapped, so that any rows can be read
alone; with a compressed file this is not possible.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl.data import mapped, readers
from mtl.data.mapped import Stored
from mtl.data.readers import Images, Own
from mtl.host.errors import DataError


class Shards:
    """The rows of several files, in the order of the files.

    Args:
      stored: x of each file, [N, ...]; with rows of the same shape and type.

    Attributes:
      shape: of all rows, [N, ...].
      starts: the number of the first row of each file.
    """

    def __init__(self, stored: Sequence[Stored]):
        self._stored = stored
        sizes = [s.shape[0] for s in stored]
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.shape = sum(sizes), *stored[0].shape[1:]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Reads rows by their numbers [M]: uint8 [M, ...], or float32 in [0, 1].

        Raises:
          DataError: floats are not in [0, 1]; names the file.
        """
        is_bytes = self._stored[0].dtype == np.uint8
        found = np.empty((len(rows), *self.shape[1:]), np.uint8 if is_bytes else "f4")
        owner = np.searchsorted(self.starts, rows, "right") - 1
        for shard in np.unique(owner):
            here, stored = owner == shard, self._stored[shard]
            x = stored.open()[rows[here] - self.starts[shard]]
            found[here] = x if is_bytes else readers.unit(x, f"{stored.path}: x")
        return found

    def identity(self) -> bytes:
        """Changes with the files: names, shapes, and checksums that .npz files have."""
        facts = [(s.path.name, s.shape, s.dtype.str, s.crc32) for s in self._stored]
        return repr(facts).encode()


def read(folder: str) -> Own:
    """The training images of a folder as `Shards`; validation and test set in memory.

    Raises:
      DataError: a file is missing, broken, compressed, or unlike the others.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(
            f"data.path={folder!r} is no folder; it should hold train/*.npz"
        )
    paths = sorted(p for p in root.glob("train/*") if p.suffix in (".npz", ".npy"))
    if not paths:
        raise DataError(
            f"{root / 'train'} has no .npz or .npy file; put shards there, with x and "
            "perhaps y"
        )
    held = [_held(root / f"{name}.npz") for name in ("test", "valid")]
    stored: list[Stored] = []
    labels: list[np.ndarray | None] = []
    for path in paths:
        x = mapped.find(path, "x")
        _check_alike(x, stored[0] if stored else x)
        stored.append(x)
        labels.append(_labels(path, x.shape[0]))
    text = {y.dtype.kind for y in (*labels, *(h.y for h in held)) if y is not None}
    if len(text) > 1:
        raise DataError(f"{root}: some labels are strings and others are numbers")
    for images, name in zip(held, ("test", "valid"), strict=True):
        if images.x.shape[1:] != stored[0].shape[1:]:
            raise DataError(
                f"{root / name}.npz: x has rows of shape {list(images.x.shape[1:])}, "
                f"but {stored[0].path} has {list(stored[0].shape[1:])}"
            )
    none = np.array("") if text == {"U"} else np.int32(-1)
    y = [
        np.full(x.shape[0], none) if own is None else own
        for x, own in zip(stored, labels, strict=True)
    ]
    train = Images(Shards(stored), np.concatenate(y))  # type: ignore[arg-type]
    return Own(train, *held)


def _held(path: Path) -> Images:
    arrays = readers.load_npz(path, ("x", "y"))
    x = readers.unit(arrays["x"], f"{path}: x")
    return Images(x, readers.labels_of(arrays["y"], len(x), f"{path}: y", path.stem))


def _labels(path: Path, rows: int) -> np.ndarray | None:
    """The labels of a shard; None: there are none."""
    if path.suffix == ".npy":
        return None
    arrays = readers.load_npz(path, (), optional=("y",))
    if "y" not in arrays:
        return None
    return readers.labels_of(arrays["y"], rows, f"{path}: y", "train")


def _check_alike(x: Stored, first: Stored) -> None:
    """Refuses a shard that does not belong to the first one."""
    kind = x.dtype == np.uint8 or x.dtype.kind in "fb"
    if not kind or len(x.shape) < 2 or 0 in x.shape:
        raise DataError(
            f"{x.path}: x must be uint8, bool or floats in [0, 1] of the shape "
            f"[N, ...], not {x.dtype}{list(x.shape)}"
        )
    if (x.shape[1:], x.dtype) != (first.shape[1:], first.dtype):
        raise DataError(
            f"{x.path}: x has rows {x.dtype}{list(x.shape[1:])}, but {first.path} has "
            f"{first.dtype}{list(first.shape[1:])}; all shards must be alike"
        )

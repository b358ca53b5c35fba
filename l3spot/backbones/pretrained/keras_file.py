"""The weights of a Keras .h5 file: a group a layer, with its kernel and its bias."""

from pathlib import Path
from typing import Any

import numpy as np

from mtl.host.errors import DataError


def read(path: Path) -> dict[str, np.ndarray]:
    """Arrays by the names LAYER/kernel and LAYER/bias.

    Raises:
      DataError: h5py is not installed, or the file is broken or holds something else.
    """
    try:
        import h5py
    except ImportError as e:
        raise DataError(
            f"{path} is an .h5, and h5py is not installed: pip install "
            "'evolving-mtl[h5]'"
        ) from e
    try:
        with h5py.File(path, "r") as file:
            found: dict[str, np.ndarray] = {}
            for layer in file:
                file[layer].visititems(lambda _, o, of=layer: _take(found, of, o))
            return found
    except Exception as e:  # h5py raises anything on a broken file.
        raise DataError(f"{path} is no whole .h5 of Keras's layers ({e})") from e


def _take(found: dict[str, np.ndarray], layer: str, item: Any) -> None:
    """Tells kernel from bias by the dimensions; versions of Keras name them anew."""
    if hasattr(item, "shape"):
        name = f"{layer}/{'bias' if item.ndim == 1 else 'kernel'}"
        if name in found:
            raise ValueError(f"{layer} has more than a kernel and a bias")
        found[name] = item[()]

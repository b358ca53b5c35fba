"""Reads the parameters of a Keras .h5 file."""

from pathlib import Path
from typing import Any

import numpy as np

from mtl.host.errors import DataError


def read(path: Path) -> dict[str, np.ndarray]:
    """Returns arrays by the names LAYER/kernel and LAYER/bias.

    Raises:
      DataError: h5py is not installed, or the file is broken or has other content.
    """
    try:
        import h5py
    except ImportError as e:
        raise DataError(
            f"{path} is an .h5, and h5py is not installed: pip install h5py"
        ) from e
    try:
        with h5py.File(path, "r") as file:
            arrays: dict[str, np.ndarray] = {}
            for layer in file:
                file[layer].visititems(lambda _, o, of=layer: _take(arrays, of, o))
            return arrays
    except Exception as e:  # h5py raises anything on a broken file.
        raise DataError(f"{path} is no whole .h5 of Keras's layers ({e})") from e


def _take(arrays: dict[str, np.ndarray], layer: str, item: Any) -> None:
    """Adds an array as kernel or bias, by its dimensions.

    Versions of Keras have different names for them.
    """
    if hasattr(item, "shape"):
        name = f"{layer}/{'bias' if item.ndim == 1 else 'kernel'}"
        if name in arrays:
            raise ValueError(f"{layer} has more than a kernel and a bias")
        arrays[name] = item[()]

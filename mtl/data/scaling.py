"""Scales features of any range: statistics of the training rows, kept with the run."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from mtl.data import readers
from mtl.data.mapped import MappedRows
from mtl.host import workdir
from mtl.host.errors import DataError

UNIT = "unit"
KINDS = (UNIT, "minmax", "standardise")
FILE = "scaling.npz"


Rows = TypeVar("Rows", np.ndarray, jax.Array)


class Scaling(NamedTuple):
    """x becomes (x - shift) * factor; both are float32 [D]."""

    shift: np.ndarray
    factor: np.ndarray

    def apply(self, x: Rows) -> Rows:
        """Scales rows x [N, D]."""
        return (x - self.shift) * self.factor


def fit(kind: str, x: np.ndarray | MappedRows) -> Scaling:
    """The scaling of training rows x float32 [N, D]; a constant feature becomes 0.

    Args:
      kind: "minmax" takes each feature to [0, 1], "standardise" to mean 0 and
        standard deviation 1.
      x: the rows.

    Raises:
      DataError: a feature has a range that float32 does not hold.
    """
    low, high = _each(np.minimum, x), _each(np.maximum, x)
    with np.errstate(over="ignore"):
        full_range = high - low
    if not np.isfinite(full_range).all():
        i = int(np.isinf(full_range).argmax())
        raise DataError(
            f"feature {i} of the training rows spans {low[i]:g} to {high[i]:g}, which "
            "is too wide for float32; scale it"
        )
    if kind == "minmax":
        shift, width = low, full_range
    else:
        shift = _each(np.add, x) / len(x)
        width = np.sqrt(_each(np.add, x, lambda x: (x - shift) ** 2) / len(x))
    # The reciprocal of less than `tiny` is infinite in float32.
    constant = (low == high) | (width < np.finfo(np.float32).tiny)
    factor = np.where(constant, 0.0, 1 / np.where(constant, 1.0, width))
    return Scaling(shift.astype(np.float32), factor.astype(np.float32))


def _each(
    function: np.ufunc,
    x: np.ndarray | MappedRows,
    change: Callable[[np.ndarray], np.ndarray] = lambda x: x,
) -> np.ndarray:
    """Reduces rows x [N, D] to [D] in float64 if it adds; mapped rows are read."""
    dtype = np.float64 if function is np.add else None
    if not isinstance(x, MappedRows):
        return function.reduce(change(x), 0, dtype)
    total = None
    for block in x.blocks():
        rows = change(block)
        if total is not None:  # As the first row: the order of the sum is as above.
            rows = np.concatenate([total[None], rows])
        total = function.reduce(rows, 0, dtype)
    assert total is not None
    return total


def save(folder: Path, scaling: Scaling) -> None:
    """Writes it into a run's folder."""
    workdir.write_npz(folder / FILE, **scaling._asdict())


def load(folder: Path) -> Scaling:
    """Reads what `save` has written.

    Raises:
      DataError: there is no such file, or it is broken.
    """
    return Scaling(**readers.load_npz(folder / FILE, Scaling._fields))

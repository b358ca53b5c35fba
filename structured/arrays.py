"""Checks own arrays x and y, and finds their missing rows."""

import numpy as np

from mtl.host.errors import DataError


def check(x: np.ndarray, y: np.ndarray, x_name: str, y_name: str) -> None:
    """Checks that x [N, ...] and y [N, D] are numbers of as many rows.

    Raises:
      DataError: names the array and says how to correct it.
    """
    for array, name in ((x, x_name), (y, y_name)):
        if array.dtype.kind not in "fiu":
            raise DataError(
                f"{name} is {array.dtype}; make it numbers, for example by "
                "astype(numpy.float32)"
            )
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(f"{x_name} is {list(x.shape)}; give [N, ...] without a 0")
    if y.ndim != 2 or 0 in y.shape:
        fix = ", or y[:, None] for one value an example" if y.ndim == 1 else ""
        raise DataError(f"{y_name} is {list(y.shape)}; give [N, D] without a 0{fix}")
    if len(x) != len(y):
        raise DataError(
            f"{x_name} has {len(x)} rows and {y_name} has {len(y)}; give as many"
        )


def present_rows(array: np.ndarray, name: str, fix: str) -> np.ndarray:
    """Returns the mask of rows that are not all NaN, bool [N]; such rows are finite.

    Args:
      array: [N, ...].
      name: names it in an error.
      fix: the end of the message about a row that is NaN in part; "" allows such rows.

    Raises:
      DataError: a row has values that are infinite, or beyond float32, or NaN in part.
    """
    rows = array.reshape(len(array), -1)
    with np.errstate(over="ignore"):
        small = rows.astype(np.float32)
    absent = np.isnan(small)
    missing = absent.all(axis=1)
    infinite = ~missing & np.isinf(small).any(axis=1)
    if infinite.any():
        i = infinite.argmax()
        raise DataError(
            f"{name}: row {i} has values that are not finite in float32, such as "
            f"{rows[i][np.isinf(small[i])][0]:g}; correct or scale them"
        )
    partial = ~missing & absent.any(axis=1)
    if fix and partial.any():
        raise DataError(
            f"{name}: row {partial.argmax()} has values that are not finite, beside "
            f"others; {fix}"
        )
    return np.logical_not(missing)

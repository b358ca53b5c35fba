"""Outputs y that are known in part: the other values of a row are NaN."""

import math

import numpy as np

from mtl.host.errors import DataError


def partial_rows(y: np.ndarray) -> np.ndarray:
    """Returns which rows of y [N, D] lack a value, bool [N]."""
    return np.isnan(y).any(axis=1)


def check_known(y: np.ndarray, where: str) -> None:
    """Checks that each value is known in at least one row of y [N, D].

    Args:
      y: of the training examples that have y.
      where: names the data in an error.

    Raises:
      DataError: names the first value that is not.
    """
    unknown = np.flatnonzero(np.isnan(y).all(axis=0))
    if len(unknown):
        raise DataError(
            f"{where}: {len(unknown)} of {y.shape[1]} values of y are NaN in all "
            f"training examples, the first of them y[:, {unknown[0]}]; leave them out"
        )


def mean_known(y: np.ndarray) -> np.ndarray:
    """Returns the mean of the known values of y [N, D], float32 [D].

    It is exact before it is rounded, so that the order of the rows does not matter.
    """
    columns = [column[~np.isnan(column)] for column in y.T.astype(np.float64)]
    return np.array([math.fsum(known) / len(known) for known in columns], np.float32)

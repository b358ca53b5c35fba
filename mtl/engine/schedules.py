"""Loss weights and learning rates as functions of the epoch.

Every schedule takes the epoch (a number or an array, counted from 0) and returns
float64 of the same shape. `table` turns several of them into the data that training
reads, one row an epoch.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike, NDArray

Schedule = Callable[[ArrayLike], NDArray[np.float64]]


def constant(epoch: ArrayLike, value: float = 1.0) -> NDArray[np.float64]:
    """The same value at each epoch."""
    return np.full(np.shape(epoch), value, np.float64)


def stairs(epoch: ArrayLike, t1: float) -> NDArray[np.float64]:
    """1 before epoch t1, then 0: pre-training, seen as a schedule (ESANN 2016).

    Examples:
        >>> stairs([0, 9, 10], t1=10)
        array([1., 1., 0.])
    """
    return np.where(np.asarray(epoch) < t1, 1.0, 0.0)


def linear(epoch: ArrayLike, epochs: int) -> NDArray[np.float64]:
    """From 1 at the first epoch to 0 at the last of `epochs` (ESANN 2016).

    Examples:
        >>> linear([0, 1, 2, 3, 4], epochs=5)
        array([1.  , 0.75, 0.5 , 0.25, 0.  ])
    """
    return abridged(epoch, max(epochs - 1, 1))


def abridged(epoch: ArrayLike, t1: float) -> NDArray[np.float64]:
    """Abridged linear: from 1 at epoch 0 to 0 at epoch t1, then 0 (ESANN 2016).

    Examples:
        >>> abridged([0, 50, 100, 150], t1=100)
        array([1. , 0.5, 0. , 0. ])
    """
    return np.maximum(0.0, 1.0 - np.asarray(epoch, np.float64) / t1)


def exponential(
    epoch: ArrayLike, sigma: float, cutoff: float = 0.0
) -> NDArray[np.float64]:
    """exp(-epoch / sigma) (ESANN 2016), and exactly 0 once below `cutoff`.

    The cut-off is ours: a task of weight 0 costs no time. At the paper's learning rate,
    a step of weight 1e-6 is lost in float32's rounding of the parameters.

    Examples:
        >>> exponential([0, 10, 50], sigma=10.0, cutoff=0.01).round(3)
        array([1.   , 0.368, 0.   ])
    """
    weight = np.exp(-np.asarray(epoch, np.float64) / sigma)
    return np.where(weight < cutoff, 0.0, weight)


def piecewise(
    epoch: ArrayLike, points: Sequence[tuple[float, float]]
) -> NDArray[np.float64]:
    """Straight lines between (epoch, value) points, flat before and after them.

    Examples:
        >>> piecewise([0, 5, 10, 20], [(0, 1.0), (10, 0.0)])
        array([1. , 0.5, 0. , 0. ])
    """
    at, values = np.asarray(points, np.float64).T
    if np.any(np.diff(at) <= 0):
        raise ValueError(f"the epochs of the points must increase, not be {at}")
    return np.asarray(np.interp(np.asarray(epoch, np.float64), at, values))


def complement(schedule: Schedule) -> Schedule:
    """1 minus a schedule: the weight of the other of two tasks."""
    return lambda epoch: 1.0 - schedule(epoch)


def table(
    schedules: Sequence[Schedule], epochs: int
) -> Float64[np.ndarray, "{epochs} tasks"]:
    """Row t holds the loss weight of each task during epoch t.

    Examples:
        >>> from functools import partial
        >>> falling = partial(linear, epochs=3)
        >>> table([falling, complement(falling)], epochs=3)
        array([[1. , 0. ],
               [0.5, 0.5],
               [0. , 1. ]])
    """
    return np.stack([s(np.arange(epochs)) for s in schedules], axis=1)

"""Projections of many phantoms, for training."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from l3spot.phantom import body, shadow
from l3spot.phantom.draw import Ranges

ROWS, COLUMNS = 800, 416  # mm that a picture spans.


class Pictures(NamedTuple):
    """Frontal projections, the head up, 1 mm a pixel, each at the top of its picture.

    hu: int16 [N, ROWS, COLUMNS], air below the scan. height: int32 [N], rows of the
    scan. l3: float32 [N], the row of the middle of L3's body, outside of the scan where
    it is not in view.
    """

    hu: np.ndarray
    height: np.ndarray
    l3: np.ndarray


def draw(seed: int, first: int, count: int, ranges: Ranges) -> Pictures:
    """Phantoms first, first + 1, ... of a seed; a third of a second each on a core."""
    hu = np.zeros((count, ROWS, COLUMNS), np.int16)
    height, l3 = np.zeros(count, np.int32), np.zeros(count, np.float32)
    one = jax.jit(partial(_one, ranges=ranges))
    for i in tqdm(range(count), unit="phantom", disable=None):
        key = jax.random.fold_in(jax.random.key(seed), first + i)
        picture, l3[i], scan = one(key)
        hu[i] = np.rint(picture)
        long = np.floor((scan.high - scan.low) / scan.step) * scan.step
        height[i] = min(int(long) + 1, ROWS)
    return Pictures(hu, height, l3)


def _one(key: jax.Array, ranges: Ranges) -> tuple[jax.Array, jax.Array, body.Scan]:
    who, what, _ = jax.random.split(key, 3)
    person, scan = body.draw(who, ranges)
    return *shadow.project(what, person, scan, ROWS, COLUMNS), scan

"""Numbers the classes of labels, and draws the rows that validate."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from mtl.host.errors import DataError

Names: TypeAlias = tuple[int | str, ...]


def has_label(y: np.ndarray) -> np.ndarray:
    """Which rows have a label: not -1, or not an empty string."""
    return y != "" if y.dtype.kind == "U" else y >= 0


def equals(y: np.ndarray, unlabelled: Any) -> np.ndarray:
    """Which of the labels [N] are `unlabelled`, or its text; None: none is."""
    if unlabelled is None:
        return np.zeros(len(y), bool)
    if y.dtype.kind == "U":
        return np.asarray(y == str(unlabelled))
    if y.dtype.kind == "O":
        return np.array([label in (unlabelled, str(unlabelled)) for label in y], bool)
    return np.asarray(y == unlabelled)


def class_names(y: np.ndarray, where: str) -> Names:
    """The classes of training labels y [N], whole numbers or strings, in order.

    Raises:
      DataError: there are not two of them.
    """
    names = np.unique(y[has_label(y)])
    if len(names) < 2:
        few = f"the class {names[0]!s} alone" if len(names) else "no label"
        raise DataError(
            f"{where}: the training rows have {few}; two classes are needed"
        )
    return tuple(names.tolist())


def encode(y: np.ndarray, names: Names, where: str) -> np.ndarray:
    """int32 [N]: the place of each label in `names`, -1 for "no label".

    Raises:
      DataError: a class is not among the names.

    Examples:
      >>> y = np.array(["dog", "cat", "", "dog"])
      >>> names = class_names(y, "animals.npz")
      >>> names
      ('cat', 'dog')
      >>> encode(y, names, "animals.npz")
      array([ 1,  0, -1,  1], dtype=int32)
    """
    known, labelled = np.array(names), has_label(y)
    others = np.setdiff1d(y[labelled], known)
    if len(others):
        raise DataError(
            f"{where} has {'the class' if len(others) == 1 else 'the classes'} "
            f"{', '.join(map(str, others[:5]))}, which no labelled training row has; "
            "leave such rows out, or add some to train on"
        )
    place = np.searchsorted(known, y).clip(0, len(known) - 1)
    return np.where(labelled, place, -1).astype(np.int32)


def draw_validation(y: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Draws rows to validate, of each class in proportion to its labels.

    A class keeps a row to train on, as long as others have more to give.

    Args:
      y: int [N], -1 for "no label".
      count: less than the number of labels.
      seed: of the draw.

    Returns:
      The row numbers [count], in order.
    """
    rng = np.random.default_rng(seed)
    classes, sizes = np.unique(y[y >= 0], return_counts=True)
    share = count * sizes / sizes.sum()
    quota = np.minimum(np.floor(share), sizes - 1)
    while quota.sum() < count:
        most = sizes - 1 if (quota < sizes - 1).any() else sizes
        quota[np.argmax(np.where(quota < most, share - quota, -np.inf))] += 1
    rows = [
        rng.permutation(np.flatnonzero(y == c))[: int(q)]
        for c, q in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(rows))


def absent(sets: Mapping[str, np.ndarray], names: Names) -> list[str]:
    """A sentence for each set of labels int [N] that lacks classes."""
    sentences = []
    for name, y in sets.items():
        lacking = [str(n) for i, n in enumerate(names) if not (y == i).any()]
        if lacking:
            sentences.append(
                f"no {name} row has the class {' or '.join(lacking[:5])}, so the "
                f"metrics of the {name} set say nothing about it"
            )
    return sentences

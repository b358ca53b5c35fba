"""System 1's data: a source, split, with a few labels left and the others hidden."""

from typing import NamedTuple

import numpy as np
import sklearn.datasets
from ml_collections import ConfigDict

from mtl.data import readers
from mtl.data.readers import Images
from mtl.host.errors import ConfigError, DataError

SOURCES = ("digits", "mnist", "fashion_mnist", "idx", "tfds", "npz")


class Dataset(NamedTuple):
    """Images as rows: x float32 [N, D] in [0, 1], y int32 [N], -1 for "no label".

    `shape` is that of one image; `classes` counts them, labels are 0 ... classes - 1.
    """

    train: Images
    valid: Images
    test: Images
    shape: tuple[int, ...]
    classes: int


def load(config: ConfigDict) -> Dataset:
    """All images of `config.source`; the last `config.valid` of training validate.

    digits: scikit-learn's 1797 images of 8x8, in an order shuffled once and for all:
    1000 to train, 297 to validate, 500 to test. MNIST and Fashion-MNIST: 50,000,
    10,000, 10,000 with `config.valid=10_000`.

    Raises:
      DataError: a file is missing or broken, or there is too little in it.
    """
    if config.source == "digits":
        train, test = _digits()
    elif config.source in readers.CHECKSUMS:
        train, test = readers.idx_folder(config.path, config.source)
    elif config.source == "idx":
        train, test = readers.idx_folder(config.path)
    elif config.source == "tfds":
        train, test = readers.tfds_folder(config.path)
    else:
        train, test = readers.npz(config.path)
    classes = int(max(train.y.max(), test.y.max())) + 1
    if classes > len(train.y):
        raise DataError(
            f"{config.path}: labels go up to {classes - 1} in {len(train.y)} training "
            "rows; number the classes 0, 1, 2, ..."
        )
    known = np.flatnonzero(train.y >= 0)
    if not 0 < config.valid < len(known):
        raise DataError(
            f"data.valid={config.valid}, but {config.path or config.source} has "
            f"{len(known)} labelled training images to take them from"
        )
    last = known[-config.valid :]
    rest = np.setdiff1d(np.arange(len(train.y)), last)
    return Dataset(
        train=_rows(train, rest),
        valid=_rows(train, last),
        test=_rows(test, np.arange(len(test.y))),
        shape=train.x.shape[1:],
        classes=classes,
    )


def choose(
    train: Images,
    classes: int,
    labelled: int,
    unlabelled: int,
    seed: int,
    balanced: bool,
) -> Images:
    """The l + u training images that `choose_rows` draws, and their labels."""
    rows, y = choose_rows(train, classes, labelled, unlabelled, seed, balanced)
    return Images(train.x[rows], y)


def choose_rows(
    train: Images,
    classes: int,
    labelled: int,
    unlabelled: int,
    seed: int,
    balanced: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Draws l + u training rows; only the first l keep their label.

    Args:
      train: rows to choose from.
      classes: how many there are.
      labelled: l, drawn from the rows that have a label.
      unlabelled: u, drawn from all the other rows; -1 takes them all. With the same
        seed, fewer of them are a subset of more.
      seed: of the draw.
      balanced: as many labelled rows of each class (one more for some, drawn too).

    Returns:
      The row numbers, and the labels int32, -1 for those that are hidden.

    Raises:
      ConfigError: there are not so many.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(train.y))
    ranked = order[train.y[order] >= 0]
    if balanced:
        quota = np.full(classes, labelled // classes)
        quota[rng.permutation(classes)[: labelled % classes]] += 1
        of_class = [ranked[train.y[ranked] == c][:q] for c, q in enumerate(quota)]
        for c, (rows, q) in enumerate(zip(of_class, quota, strict=True)):
            if len(rows) < q:
                raise ConfigError(
                    f"data.labelled={labelled} needs {q} labelled rows of class {c}, "
                    f"but there are {len(rows)}; lower it, or set data.balanced=False"
                )
        chosen = np.concatenate(of_class)
    else:
        chosen = ranked[:labelled]
    if not 0 < len(chosen) == labelled:
        raise ConfigError(
            f"data.labelled={labelled}, but there are {len(ranked)} labelled rows to "
            "train on"
        )
    others = order[~np.isin(order, chosen)]
    if unlabelled > len(others):
        raise ConfigError(
            f"data.unlabelled={unlabelled}, but {len(others)} rows are left"
        )
    others = others if unlabelled < 0 else others[:unlabelled]
    rows = np.concatenate([chosen, others])
    y = np.where(np.arange(len(rows)) < labelled, train.y[rows], -1)
    return rows, y.astype(np.int32)


def _digits() -> tuple[Images, Images]:
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x = (x[order] / 16).astype(np.float32).reshape(-1, 8, 8)
    y = y[order].astype(np.int32)
    return Images(x[:-500], y[:-500]), Images(x[-500:], y[-500:])


def _rows(images: Images, rows: np.ndarray) -> Images:
    return Images(images.x[rows].reshape(len(rows), -1), images.y[rows])

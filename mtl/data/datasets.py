"""System 1's data: a source, split, with a few labels left and the others hidden."""

from typing import NamedTuple

import numpy as np
import sklearn.datasets
from ml_collections import ConfigDict

from mtl.data import readers
from mtl.data.readers import Images
from mtl.host.errors import DataError

SOURCES = ("digits", "mnist", "fashion_mnist", "idx", "tfds", "npz")


class Dataset(NamedTuple):
    """Images as rows: x float32 [N, D] in [0, 1], y int32 [N], -1 for "no label".

    `shape` is that of one image; `classes` counts them, labels are 0 ... classes - 1.
    The config, the files of a run and its metrics call the validation set "valid".
    """

    train: Images
    validation: Images
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
        validation=_rows(train, last),
        test=_rows(test, np.arange(len(test.y))),
        shape=train.x.shape[1:],
        classes=classes,
    )


def _digits() -> tuple[Images, Images]:
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x = (x[order] / 16).astype(np.float32).reshape(-1, 8, 8)
    y = y[order].astype(np.int32)
    return Images(x[:-500], y[:-500]), Images(x[-500:], y[-500:])


def _rows(images: Images, rows: np.ndarray) -> Images:
    return Images(images.x[rows].reshape(len(rows), -1), images.y[rows])

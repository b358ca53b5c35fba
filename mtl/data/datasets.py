"""System 1's data: a source, split, with a few labels left and the others hidden."""

import math
from typing import NamedTuple

import numpy as np
import sklearn.datasets
from absl import logging
from ml_collections import ConfigDict

from mtl.data import idx, labels, mapped, readers, scaling, shards
from mtl.data.mapped import MappedRows
from mtl.data.readers import Images, Own
from mtl.data.scaling import Scaling
from mtl.data.shards import Shards
from mtl.host import remote
from mtl.host.checks import at_least, one_of, path_for_source, require
from mtl.host.errors import DataError

# What `config.data.path` must be for each source but "digits".
PATHS = {
    "mnist": "the folder of MNIST's IDX files",
    "fashion_mnist": "the folder of Fashion-MNIST's IDX files",
    "idx": "the folder of IDX files",
    "tfds": "the folder that tensorflow-datasets prepared",
    "npz": "an .npz file with x_train, y_train, x_test and y_test",
    "shards": "a folder with train/*.npz",
}
SOURCES = "digits", *PATHS


class Dataset(NamedTuple):
    """Images as rows: x float32 [N, D], y int32 [N], -1 for "no label".

    `shape` is that of one image; `classes` counts them, labels are 0 ... classes - 1,
    places in `names`. x is in [0, 1], unless `scaling` is what was applied to it. The
    config, the files of a run and its metrics call the validation set "valid". With the
    source "shards", x of the training set is `Shards`, which are not in memory; so are
    `MappedRows` of other sources.
    """

    train: Images
    validation: Images
    test: Images
    shape: tuple[int, ...]
    classes: int
    names: labels.Names = ()
    scaling: Scaling | None = None


def check(c: ConfigDict) -> None:
    """Checks `config.data`; raises ConfigError."""
    one_of(c, "data.source", SOURCES)
    one_of(c, "data.scaling", scaling.KINDS)
    for name in ("data.labelled", "data.unlabelled"):
        at_least(c, name, -1)
    require(c.data.labelled != 0, c, "data.labelled", "above 0, or -1")
    at_least(c, "data.valid_seed", 0)
    at_least(c, "data.chunk_rows", 2)
    fits = c.data.source != "shards" or c.data.scaling == scaling.UNIT
    require(fits, c, "data.scaling", "'unit' with data.source='shards'")
    path_for_source(c, PATHS)


def load(config: ConfigDict, lazy: bool = False) -> Dataset:
    """All images of `config.source`, split into training, validation and test set.

    digits: scikit-learn's 1797 images of 8x8, in an order shuffled once and for all:
    1000 to train, 297 to validate, 500 to test. MNIST and Fashion-MNIST: 50,000,
    10,000, 10,000 with `config.valid=10_000`. The last `config.valid` of their training
    images validate, as everywhere; of other data, as many are drawn, in proportion to
    the classes, unless an .npz has x_valid. "shards" have a validation set.

    Args:
      config: `config.data`.
      lazy: whether x of the training set stays in its file, as `MappedRows`, if it is
        an .npz or IDX file.

    Raises:
      DataError: a file is missing or broken, or there is too little in it.
    """
    own, where = _read(config, lazy), config.path or config.source
    names = labels.class_names(own.train.y, where)
    parts = {"train": own.train, "validation": own.validation, "test": own.test}
    encoded = {
        part: Images(images.x, labels.encode(images.y, names, f"{where}: y_{part}"))
        for part, images in parts.items()
        if images is not None
    }
    train = encoded["train"]
    if "validation" not in encoded:
        held = _validation_rows(config, train.y, where)
        rest = np.setdiff1d(np.arange(len(train.y)), held)
        validation = Images(train.x[held], train.y[held])
        encoded |= {"train": _rows(train, rest), "validation": validation}
    for sentence in labels.absent({k: v.y for k, v in encoded.items()}, names):
        logging.warning("%s: %s", where, sentence)
    sets = {part: Images(_flat(x), y) for part, (x, y) in encoded.items()}
    scaled = None
    if config.scaling != scaling.UNIT:
        scaled = scaling.fit(config.scaling, sets["train"].x)
        sets = {part: Images(_scaled(scaled, x), y) for part, (x, y) in sets.items()}
    shape, classes = train.x.shape[1:], len(names)
    return Dataset(**sets, shape=shape, classes=classes, names=names, scaling=scaled)


def _read(config: ConfigDict, lazy: bool) -> Own:
    if config.source == "digits":
        return Own(*_digits(), None)
    with remote.local_copy(config.path) as path:
        if config.source == "shards":
            return shards.read(path)
        if config.source == "npz":
            return readers.npz(path, config.scaling != scaling.UNIT, lazy)
        if config.source == "tfds":
            return Own(*readers.tfds_folder(path), None)
        published = config.source if config.source in idx.CHECKSUMS else None
        return Own(*idx.load(path, published, lazy=lazy), None)


def _validation_rows(config: ConfigDict, y: np.ndarray, where: str) -> np.ndarray:
    known = np.flatnonzero(y >= 0)
    if not 0 < config.valid < len(known):
        raise DataError(
            f"data.valid={config.valid}, but {where} has {len(known)} labelled "
            f"training images; set it from 1 to {len(known) - 1}"
        )
    if config.source in ("digits", *idx.CHECKSUMS):
        return known[-config.valid :]
    return labels.draw_validation(y, config.valid, config.valid_seed)


def _digits() -> tuple[Images, Images]:
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x = (x[order] / 16).astype(np.float32).reshape(-1, 8, 8)
    y = y[order].astype(np.int32)
    return Images(x[:-500], y[:-500]), Images(x[-500:], y[-500:])


def _flat(x: np.ndarray) -> np.ndarray:
    if isinstance(x, Shards):
        return x
    if isinstance(x, MappedRows):
        shape = len(x), math.prod(x.shape[1:])
        return x.then(lambda x: x.reshape(len(x), -1), shape)
    return x.reshape(len(x), -1)


def _scaled(scaling: Scaling, x: np.ndarray) -> np.ndarray:
    return (
        x.then(scaling.apply, x.shape)
        if isinstance(x, MappedRows)
        else scaling.apply(x)
    )


def _rows(images: Images, rows: np.ndarray) -> Images:
    return Images(mapped.take(images.x, rows), images.y[rows])

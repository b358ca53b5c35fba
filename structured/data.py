"""System 2's data, examples that may lack x or y: faces, digits or one's own files.

The training set is made of pairs, of x alone and of y alone. Validation and test sets
are pairs.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import sklearn.datasets
from ml_collections import ConfigDict

from mtl.data import readers
from mtl.host import checks
from mtl.host.errors import ConfigError, DataError
from structured import tasks
from structured.faces import augmentation, crops, face_dataset, the300w_lp
from structured.faces.crops import Crop
from structured.faces.face_dataset import Faces, Problem

SOURCES = ("digits", "300w", "the300w_lp", "npz")
FACES = ("300w", "the300w_lp")
ANY = (-np.inf, np.inf)
REACH = {"sigmoid": (0, 1), "tanh": (-1, 1), "relu": (0, np.inf), "linear": ANY}


class Examples(NamedTuple):
    """N examples. A row of x or y that is lacking is 0, and its mask False.

    x: float32 [N, ...]; for faces that are jittered, canvases uint8 [N, C, C].
    y: float32 [N, D]. has_x, has_y: bool [N]. frame: float32 [N, 4], of faces.
    """

    x: np.ndarray
    y: np.ndarray
    has_x: np.ndarray
    has_y: np.ndarray
    frame: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """Those that have both, bool [N]."""
        return self.has_x & self.has_y

    def rows(self, which: np.ndarray) -> "Examples":
        """Some of the examples."""
        return Examples(*(field[which] for field in self))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What a run trains and is scored on.

    Attributes:
      train, valid, test: the examples.
      faces: of the test set, for metrics in pixels; None if these are no faces.
      problems: what is wrong with the files.
    """

    train: Examples
    valid: Examples
    test: Examples
    faces: Faces | None = None
    problems: tuple[Problem, ...] = ()


def crop_of(config: ConfigDict) -> Crop:
    """How the faces of `config.data` are cropped."""
    c = config.data
    return Crop(c.size, c.margin, c.context, c.square)


def load(config: ConfigDict) -> Dataset:
    """The data set of `config.data`.

    digits: from the upper half of scikit-learn's 1797 digits of 8x8 [4, 8] to the lower
    half [32], both in [0, 1]: 1000 to train, 297 to validate, 500 to test.

    300w: folders of faces; those of `unlabelled` count as x alone and as y alone.

    the300w_lp: a folder of tensorflow-datasets; `train` and `test` name its splits.

    npz: x_train, y_train, x_test, y_test; a row of NaN is one that is lacking. An x of
    uint8 is grey levels, and is divided by 255.

    Raises:
      DataError: a file is missing or broken, or there is too little in it.
    """
    c = config.data
    if c.source in FACES:
        return _faces(config)
    train, test = _digits() if c.source == "digits" else _npz(c.path)
    train, valid = split(train, c.valid, c.valid_first, c.path or c.source)
    return Dataset(hide(train, c.pairs, config.seed), valid, test)


def examples(x: np.ndarray, y: np.ndarray, where: str = "") -> Examples:
    """Examples of x [N, ...] and y [N, D]; a row of NaN is one that is lacking.

    Raises:
      DataError: shapes that do not fit, a value that is not finite in a row that has
        others, or a row without both.
    """
    fits = x.ndim > 1 and y.ndim == 2 and len(x) == len(y) > 0
    if not fits or x.dtype.kind not in "fiu":
        raise DataError(
            f"{where}: x must be numbers [N, ...] and y numbers [N, D] with the same "
            f"N > 0; they are {x.dtype}{list(x.shape)} and {y.dtype}{list(y.shape)}"
        )
    if y.dtype.kind not in "fiu":
        raise DataError(f"{where}: y must hold numbers, not {y.dtype}")
    has_x, has_y = _there(x, f"{where}: x"), _there(y, f"{where}: y")
    empty = np.flatnonzero(~(has_x | has_y))
    if len(empty):
        raise DataError(f"{where}: row {empty[0]} lacks both x and y; leave it out")
    levels = 255 if x.dtype == np.uint8 else 1
    x, y = (np.nan_to_num(a.astype(np.float32)) for a in (x, y))
    x /= np.float32(levels)
    frame = np.tile(np.array([0, 0, 1, 1], np.float32), (len(x), 1))
    return Examples(x, y, has_x, has_y, frame)


def check_ranges(config: ConfigDict, train: Examples) -> None:
    """Looks whether the outputs can reach their targets; points may leave a frame.

    Raises:
      ConfigError: names the activation, its range and the data's.
    """
    uses = tasks.USES.get(config.variant, ())
    rows = {"x": train.x[train.has_x], "y": train.y[train.has_y]}
    for name in ("x", "y"):
        low, high = REACH[config.model[f"{name}_activation"]]
        if config.data.source in FACES or (name == "x" and "in" not in uses):
            continue
        there = float(rows[name].min()), float(rows[name].max())
        if uses and not low <= there[0] <= there[1] <= high:
            field = f"model.{name}_activation"
            told = f"one that reaches {there[0]:g} to {there[1]:g}, the data's {name}"
            checks.require(False, config, field, f"{told}, such as 'linear'")


def _there(array: np.ndarray, where: str) -> np.ndarray:
    """Which rows are not lacking, bool [N]."""
    rows = array.reshape(len(array), -1).astype(np.float32)
    lacks = np.isnan(rows).all(axis=1)
    bad = np.flatnonzero(~lacks & ~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise DataError(
            f"{where}: row {bad[0]} has values that are not finite; fill the whole row "
            "with NaN if it is lacking"
        )
    return np.logical_not(lacks)


def split(
    train: Examples, share: float, first: bool, where: str
) -> tuple[Examples, Examples]:
    """(training, validation): a share of the pairs, the first or the last ones.

    Raises:
      DataError: none would be left on one side.
    """
    pairs = np.flatnonzero(train.pairs)
    count = round(share * len(pairs))
    if not 0 < count < len(pairs):
        raise DataError(
            f"data.valid={share:g} of {len(pairs)} pairs in {where} are {count}; both "
            "training and validation need some"
        )
    held = pairs[:count] if first else pairs[-count:]
    rest = np.setdiff1d(np.arange(len(train.x)), held)
    return train.rows(rest), train.rows(held)


def hide(train: Examples, pairs: int, seed: int) -> Examples:
    """Leaves some pairs, drawn at random; the others become x alone and y alone.

    Raises:
      ConfigError: there are not so many pairs.
    """
    there = np.flatnonzero(train.pairs)
    if pairs < 0:
        return train
    if pairs > len(there):
        raise ConfigError(f"data.pairs={pairs}, but there are {len(there)}")
    drawn = np.random.default_rng(seed).permutation(there)
    kept = np.union1d(drawn[:pairs], np.flatnonzero(~train.pairs))
    return join(train.rows(kept), apart(train.rows(np.sort(drawn[pairs:]))))


def apart(e: Examples) -> Examples:
    """Each pair twice: once as x alone and once as y alone."""
    none = np.zeros(len(e.x), bool)
    only_x = e._replace(y=np.zeros_like(e.y), has_y=none)
    only_y = e._replace(x=np.zeros_like(e.x), has_x=none)
    return join(only_x, only_y)


def join(*parts: Examples) -> Examples:
    """All the examples of several sets."""
    return Examples(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def _faces(config: ConfigDict) -> Dataset:
    c, crop = config.data, crop_of(config)
    problems: list[Problem] = []

    def read(folders: tuple[str, ...]) -> tuple[Examples, Faces]:
        if c.source == "the300w_lp":
            found, wrong = the300w_lp.read(
                c.path, "+".join(folders), crop, skip_bad=c.skip_bad
            )
        else:
            found, wrong = face_dataset.read(
                c.path,
                folders,
                crop,
                points=c.points,
                boxes=c.boxes,
                skip_bad=c.skip_bad,
                cache=c.cache or None,
            )
        problems.extend(wrong)
        return _of_faces(found, crop, config.jitter.on), found

    train, _ = read(tuple(c.train))
    test, test_faces = read(tuple(c.test))
    train, valid = split(train, c.valid, c.valid_first, c.path)
    train = hide(train, c.pairs, config.seed)
    if c.unlabelled:
        train = join(train, apart(read(tuple(c.unlabelled))[0]))
    if config.jitter.on:
        valid, test = (e._replace(x=plain(e.x, crop)) for e in (valid, test))
    return Dataset(train, valid, test, test_faces, tuple(problems))


def _of_faces(found: Faces, crop: Crop, canvases: bool) -> Examples:
    """Pairs of crops, or of the canvases that jitter needs, and coordinates."""
    x = found.canvas if canvases else plain(found.canvas, crop)
    y = crops.to_frame(found.points, found.frame).astype(np.float32)
    all_ = np.ones(len(x), bool)
    return Examples(x, y, all_, all_, found.frame)


def plain(canvas: np.ndarray, crop: Crop) -> np.ndarray:
    """What the network sees of canvases [N, C, C] without jitter: `jitter.plain`."""
    return np.asarray(augmentation.plain(jnp.asarray(canvas), crop))


def _digits() -> tuple[Examples, Examples]:
    images = sklearn.datasets.load_digits().images
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype(np.float32)
    both = examples(images[:, :4], images[:, 4:].reshape(len(images), -1))
    rows = np.arange(len(images))
    return both.rows(rows < 1297), both.rows(rows >= 1297)


def _npz(path: str) -> tuple[Examples, Examples]:
    arrays = readers.load_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    train = examples(arrays["x_train"], arrays["y_train"], f"{path}: train")
    test = examples(arrays["x_test"], arrays["y_test"], f"{path}: test")
    if not test.pairs.all():
        raise DataError(f"{path}: the test set must be pairs, without NaN")
    same = [
        a.shape[1:] == b.shape[1:] for a, b in zip(train[:2], test[:2], strict=True)
    ]
    if not all(same):
        raise DataError(f"{path}: training and test rows have different shapes")
    return train, test

"""Loads system 2's data: faces, digits or arrays; examples may lack x or y.

A training set holds pairs, examples of x alone and examples of y alone. Validation and
test sets hold pairs only.
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
from structured import arrays, tasks
from structured.faces import augmentation, crops, sources
from structured.faces.crops import Crop
from structured.faces.face_dataset import Faces, Problem
from structured.faces.schemes import IBUG_68, Scheme
from structured.partial_outputs import check_known, partial_rows

FACE_SOURCES = sources.SOURCES
SOURCES = ("digits", *FACE_SOURCES, "npz")
# (lowest, highest) output of each activation.
OUTPUT_RANGES = {
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "relu": (0, np.inf),
    "linear": (-np.inf, np.inf),
}


class Examples(NamedTuple):
    """N examples. A missing row of x or y is 0, and its mask is False.

    Attributes:
      x: float32 [N, ...]; for faces that are augmented, canvases uint8 [N, C, C].
      y: float32 [N, D]. If `data.partial_y`, missing values of a row are NaN.
      has_x: bool [N].
      has_y: bool [N].
      frame: float32 [N, 4], the frames of faces (`crops`).
    """

    x: np.ndarray
    y: np.ndarray
    has_x: np.ndarray
    has_y: np.ndarray
    frame: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """The mask of examples with both x and y, bool [N]."""
        return self.has_x & self.has_y

    def select(self, rows: np.ndarray) -> "Examples":
        """Returns the examples of a mask or of indices."""
        return Examples(*(field[rows] for field in self))


@dataclasses.dataclass(frozen=True)
class Dataset:
    """The examples of a run.

    Attributes:
      train: pairs, x alone and y alone.
      validation: pairs.
      test: pairs.
      faces: the faces of the test set, for metrics in pixels; None without faces.
      problems: defects of the files.
      scheme: the points of the faces.
      grey_levels: whether x was grey levels of type uint8, divided by 255.
    """

    train: Examples
    validation: Examples
    test: Examples
    faces: Faces | None = None
    problems: tuple[Problem, ...] = ()
    scheme: Scheme = IBUG_68
    grey_levels: bool = False

    @property
    def partial_y(self) -> dict[str, int]:
        """The numbers of examples that lack some values of y, but not all, by set."""
        parts = {"train": self.train, "valid": self.validation, "test": self.test}
        return {name: int(partial_rows(e.y).sum()) for name, e in parts.items()}


def crop_from_config(config: ConfigDict) -> Crop:
    """Returns the crop of `config.data`."""
    c = config.data
    return Crop(c.size, c.margin, c.context, c.square)


def seed_of(config: ConfigDict) -> int:
    """Returns the seed that the dataset of a config depends on; 0 if on none.

    It draws the pairs that are kept, if their number is limited.
    """
    return config.seed if config.data.pairs >= 0 else 0


def load(config: ConfigDict) -> Dataset:
    """Loads the dataset of `config.data`.

    digits: x is the upper half of scikit-learn's 1797 8x8 digits, [4, 8], and y is the
    lower half, [32], both in [0, 1]: 1000 to train, 297 to validate, 500 to test.

    300w: folders of faces; the faces of `unlabelled` are used as x alone and y alone.

    wflw: lists of faces, in the same way.

    the300w_lp: a folder of tensorflow-datasets; `train` and `test` name its splits.

    npz: x_train, y_train, x_test, y_test; a row of NaN is missing. An x of type uint8
    holds grey levels, and is divided by 255.

    Raises:
      ConfigError: the data have fewer pairs than `data.pairs`.
      DataError: a file is missing or broken, or holds too few examples.
    """
    c = config.data
    if c.source in FACE_SOURCES:
        return _load_faces(config)
    grey_levels = False
    if c.source == "digits":
        train, test = _load_digits()
    else:
        train, test, grey_levels = _load_npz(c.path, c.partial_y)
    where = c.path or c.source
    train, validation = split_validation(train, c.valid, c.valid_first, where)
    check_known(train.y[train.has_y], where)
    train = limit_pairs(train, c.pairs, config.seed)
    return Dataset(train, validation, test, grey_levels=grey_levels)


def make_examples(
    x: np.ndarray,
    y: np.ndarray,
    names: tuple[str, str] = ("x", "y"),
    partial_y: bool = False,
    field: str = "data.partial_y",
) -> Examples:
    """Makes examples of x [N, ...] and y [N, D]; a row of NaN is missing.

    Args:
      x: numbers; grey levels of type uint8 are divided by 255.
      y: numbers.
      names: of x and y in an error.
      partial_y: whether some values of a row of y may be missing, NaN.
      field: names `partial_y` in an error.

    Raises:
      DataError: the shapes or types do not fit, a row holds both finite values and
        others, or a row lacks both x and y.

    Examples:
      >>> x = np.array([[1.0, 2.0], [3.0, 4.0], [np.nan, np.nan]])
      >>> y = np.array([[0.5], [np.nan], [0.7]])
      >>> examples = make_examples(x, y)
      >>> examples.pairs
      array([ True, False, False])
      >>> examples.has_x
      array([ True,  True, False])
    """
    arrays.check(x, y, *names)
    whole = "fill the whole row with NaN if it is missing"
    part = f"{whole}, or set {field}=True if only some of its values are"
    has_x = arrays.present_rows(x, names[0], whole)
    has_y = arrays.present_rows(y, names[1], "" if partial_y else part)
    empty = np.flatnonzero(~(has_x | has_y))
    if len(empty):
        raise DataError(
            f"row {empty[0]} of {names[0]} and of {names[1]} is NaN; leave it out"
        )
    max_level = 255 if x.dtype == np.uint8 else 1
    x, y = x.astype(np.float32), y.astype(np.float32)
    x[~has_x], y[~has_y] = 0, 0
    x /= np.float32(max_level)
    frame = np.tile(np.array([0, 0, 1, 1], np.float32), (len(x), 1))
    return Examples(x, y, has_x, has_y, frame)


def check_output_ranges(config: ConfigDict, train: Examples) -> None:
    """Checks that the output activations can reach their targets.

    Faces are not checked: points may lie outside of their frame.

    Raises:
      ConfigError: names the activation and the range of the data.
    """
    task_names = tasks.VARIANT_TASKS.get(config.variant, ())
    targets = {"x": train.x[train.has_x], "y": train.y[train.has_y]}
    for name in ("x", "y"):
        low, high = OUTPUT_RANGES[config.model[f"{name}_activation"]]
        unused = name == "x" and "in" not in task_names
        if config.data.source in FACE_SOURCES or unused:
            continue
        least, most = (float(f(targets[name])) for f in (np.nanmin, np.nanmax))
        if task_names and not low <= least <= most <= high:
            field = f"model.{name}_activation"
            allowed = (
                f"one that reaches {least:g} to {most:g}, the data's {name}, such as "
                f"'linear', unless you scale {name} to {low:g} to {high:g}"
            )
            checks.require(False, config, field, allowed)


def split_validation(
    train: Examples, share: float, first: bool, where: str
) -> tuple[Examples, Examples]:
    """Splits examples into training and validation sets.

    Args:
      train: all examples.
      share: the share of the pairs that validates.
      first: whether the first or the last pairs validate.
      where: names the data in an error.

    Raises:
      DataError: one of the sets would have no pairs.
    """
    pairs = np.flatnonzero(train.pairs)
    if not len(pairs):
        raise DataError(f"{where}: no training example has both x and y; give some")
    count = round(share * len(pairs))
    if not 0 < count < len(pairs):
        raise DataError(
            f"data.valid={share:g} of {len(pairs)} pairs in {where} are {count}; both "
            "training and validation need some: change data.valid, or add pairs"
        )
    held_out = pairs[:count] if first else pairs[-count:]
    rest = np.setdiff1d(np.arange(len(train.x)), held_out)
    return train.select(rest), train.select(held_out)


def limit_pairs(train: Examples, pairs: int, seed: int) -> Examples:
    """Keeps some random pairs; the other pairs become x alone and y alone.

    Args:
      train: all examples.
      pairs: the number of pairs to keep; negative keeps all.
      seed: seeds the draw.

    Raises:
      ConfigError: there are fewer pairs.
    """
    available = np.flatnonzero(train.pairs)
    if pairs < 0:
        return train
    if pairs > len(available):
        raise ConfigError(
            f"data.pairs={pairs}, but there are {len(available)}; set fewer, or -1"
        )
    shuffled = np.random.default_rng(seed).permutation(available)
    kept = np.union1d(shuffled[:pairs], np.flatnonzero(~train.pairs))
    others = np.sort(shuffled[pairs:])
    return concatenate(train.select(kept), separate_pairs(train.select(others)))


def separate_pairs(e: Examples) -> Examples:
    """Turns each pair into two examples: x alone and y alone."""
    none = np.zeros(len(e.x), bool)
    only_x = e._replace(y=np.zeros_like(e.y), has_y=none)
    only_y = e._replace(x=np.zeros_like(e.x), has_x=none)
    return concatenate(only_x, only_y)


def concatenate(*parts: Examples) -> Examples:
    """Joins several sets of examples."""
    return Examples(*(np.concatenate(fields) for fields in zip(*parts, strict=True)))


def network_input(canvas: np.ndarray, crop: Crop) -> np.ndarray:
    """Applies `augmentation.network_input` to NumPy canvases [N, C, C]."""
    return np.asarray(augmentation.network_input(jnp.asarray(canvas), crop))


def _load_faces(config: ConfigDict) -> Dataset:
    c, crop = config.data, crop_from_config(config)
    problems: list[Problem] = []

    def read(folders: tuple[str, ...]) -> tuple[Examples, Faces]:
        faces, new_problems = sources.read(c, folders, crop)
        problems.extend(new_problems)
        return _face_examples(faces, crop, config.augmentation.on), faces

    train, _ = read(tuple(c.train))
    test, test_faces = read(tuple(c.test))
    train, validation = split_validation(train, c.valid, c.valid_first, c.path)
    check_known(train.y[train.has_y], c.path)
    train = limit_pairs(train, c.pairs, config.seed)
    if c.unlabelled:
        train = concatenate(train, separate_pairs(read(tuple(c.unlabelled))[0]))
    if config.augmentation.on:
        validation, test = (
            e._replace(x=network_input(e.x, crop)) for e in (validation, test)
        )
    scheme = sources.scheme(c)
    return Dataset(train, validation, test, test_faces, tuple(problems), scheme)


def _face_examples(faces: Faces, crop: Crop, canvases: bool) -> Examples:
    """Makes pairs of crops, or of canvases for augmentation, and coordinates."""
    x = faces.canvas if canvases else network_input(faces.canvas, crop)
    y = crops.to_frame(faces.points, faces.frame).astype(np.float32)
    present = np.ones(len(x), bool)
    return Examples(x, y, present, present, faces.frame)


def _load_digits() -> tuple[Examples, Examples]:
    """Returns 1297 digits to train and validate, and 500 to test."""
    images = sklearn.datasets.load_digits().images
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype(np.float32)
    digits = make_examples(images[:, :4], images[:, 4:].reshape(len(images), -1))
    rows = np.arange(len(images))
    return digits.select(rows < 1297), digits.select(rows >= 1297)


def _load_npz(path: str, partial_y: bool) -> tuple[Examples, Examples, bool]:
    """Returns the training and test examples of an .npz file, and `grey_levels`."""
    content = readers.load_npz(path, ("x_train", "y_train", "x_test", "y_test"))
    types = [content[name].dtype for name in ("x_train", "x_test")]
    if (types[0] == np.uint8) != (types[1] == np.uint8):
        raise DataError(
            f"{path}: x_train is {types[0]} and x_test {types[1]}; only uint8 is "
            "divided by 255, so both or neither must be uint8"
        )
    sets = []
    for part in ("train", "test"):
        names = f"x_{part}", f"y_{part}"
        x, y = (content[name] for name in names)
        where = f"{path}: {names[0]}", f"{path}: {names[1]}"
        sets.append(make_examples(x, y, where, partial_y))
    train, test = sets
    if not test.pairs.all():
        row = int(np.logical_not(test.pairs).argmax())
        raise DataError(
            f"{path}: row {row} of x_test or y_test is NaN; the test set must be pairs"
        )
    same_shape = [
        a.shape[1:] == b.shape[1:] for a, b in zip(train[:2], test[:2], strict=True)
    ]
    if not all(same_shape):
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in content.items())
        raise DataError(
            f"{path}: training and test rows have different shapes: {shapes}"
        )
    return train, test, bool(types[0] == np.uint8)

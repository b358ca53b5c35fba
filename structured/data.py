"""Loads system 2's data: faces, digits or arrays."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import sklearn.datasets
from ml_collections import ConfigDict

from mtl.data import mapped, readers
from mtl.host import remote
from mtl.host.checks import at_least, get, one_of, path_for_source, require
from mtl.host.errors import DataError
from structured import examples, tasks
from structured.examples import Examples, make_examples
from structured.faces import augmentation, crops, sources, wflw
from structured.faces.crops import Crop
from structured.faces.face_dataset import Faces, Problem
from structured.faces.points import POINTS
from structured.faces.schemes import IBUG_68, WFLW_98, Scheme
from structured.partial_outputs import check_known, partial_rows

FACE_SOURCES = sources.SOURCES
# What `config.data.path` must be for each source but "digits".
PATHS = {
    "300w": "the folder of helen/trainset, helen/testset and the like",
    "wflw": "the folder of WFLW_images and WFLW_annotations",
    "the300w_lp": "the folder that tensorflow-datasets prepared",
    "npz": "an .npz file with x_train, y_train, x_test and y_test",
}
SOURCES = "digits", *PATHS
# (lowest, highest) output of each activation.
OUTPUT_RANGES = {
    "sigmoid": (0, 1),
    "tanh": (-1, 1),
    "relu": (0, np.inf),
    "linear": (-np.inf, np.inf),
}


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

    def with_train_on_disk(self) -> "Dataset":
        """The same dataset; x and y of `train` are in temporary files, and mapped."""
        x, y = (mapped.on_disk(a) for a in (self.train.x, self.train.y))
        return dataclasses.replace(self, train=self.train._replace(x=x, y=y))


def crop_from_config(config: ConfigDict) -> Crop:
    """Returns the crop of `config.data`."""
    c = config.data
    return Crop(c.size, c.margin, c.context, c.square)


def seed_of(config: ConfigDict) -> int:
    """Returns the seed that the dataset of a config depends on; 0 if on none.

    It draws the pairs that are kept, if their number is limited.
    """
    return config.seed if config.data.pairs >= 0 else 0


def check(c: ConfigDict) -> None:
    """Checks `config.data` and `config.augmentation`; raises ConfigError."""
    one_of(c, "data.source", SOURCES)
    path_for_source(c, PATHS)
    require(0 < c.data.valid < 1, c, "data.valid", "between 0 and 1")
    at_least(c, "data.valid_seed", 0)
    at_least(c, "data.pairs", -1)
    require(c.data.pairs != 0, c, "data.pairs", "1 or more, or -1 for all")
    at_least(c, "data.points", 2)
    crop_from_config(c)
    faces = c.data.source in FACE_SOURCES
    fits = faces or not c.data.unlabelled
    require(fits, c, "data.unlabelled", "empty: this source has no faces")
    for name in ("data.train", "data.test"):
        require(not faces or len(get(c, name)) > 0, c, name, "one name or more")
    fits = not faces or not set(c.data.train) & set(c.data.test)
    require(fits, c, "data.train", "without the folders of data.test")
    # Those of data.train hold the validation set.
    fits = not set(c.data.unlabelled) & {*c.data.train, *c.data.test}
    require(fits, c, "data.unlabelled", "without those of data.train and data.test")
    fixed: dict[str, dict[str, object]] = {
        "the300w_lp": {"boxes": "", "cache": "", "points": POINTS, "partial_y": False},
        "wflw": {"points": WFLW_98.count},
    }
    for name, value in fixed.get(c.data.source, {}).items():
        fits = c.data[name] == value
        require(fits, c, f"data.{name}", f"{value!r}: {c.data.source} has its own")
    fits = c.data.source != "wflw" or c.data.boxes in ("", wflw.LIST_BOXES)
    require(fits, c, "data.boxes", f"'' or {wflw.LIST_BOXES!r} for wflw")
    fits = faces or not c.augmentation.on
    require(fits, c, "augmentation.on", "False: this source has no faces")
    sources.check_scheme(c)
    for name in ("rotation", "scale", "shift"):
        at_least(c, f"augmentation.{name}", 0)


def load(config: ConfigDict) -> Dataset:
    """Loads the dataset of `config.data`.

    digits: x is the upper half of scikit-learn's 1797 8x8 digits, [4, 8], and y is the
    lower half, [32], both in [0, 1]: 1000 to train, 297 to validate, 500 to test.

    300w: folders of faces; the faces of `unlabelled` are used as x alone and y alone.

    wflw: lists of faces, in the same way.

    the300w_lp: a folder of tensorflow-datasets; `train` and `test` name its splits.

    npz: x_train, y_train, x_test, y_test, perhaps x_valid and y_valid; a row of NaN is
    missing. An x of type uint8 holds grey levels, and is divided by 255. Without
    x_valid, pairs are drawn to validate.

    Raises:
      ConfigError: the data have fewer pairs than `data.pairs`.
      DataError: a file is missing or broken, or holds too few examples.
    """
    c = config.data
    if c.source in FACE_SOURCES:
        return _load_faces(config)
    grey_levels, validation = False, None
    if c.source == "digits":
        train, test = _load_digits()
    else:
        with remote.local_copy(c.path) as path:
            sets, grey_levels = _load_npz(path, c.partial_y)
        train, test, validation = sets["train"], sets["test"], sets.get("valid")
    where = c.path or c.source
    if validation is None:
        seed = c.valid_seed if c.source == "npz" else None
        train, validation = examples.split_validation(
            train, c.valid, c.valid_first, where, seed
        )
    check_known(train.y[train.has_y], where)
    train = examples.limit_pairs(train, c.pairs, config.seed)
    return Dataset(train, validation, test, grey_levels=grey_levels)


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
            require(False, config, field, allowed)


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
    train, validation = examples.split_validation(train, c.valid, c.valid_first, c.path)
    check_known(train.y[train.has_y], c.path)
    train = examples.limit_pairs(train, c.pairs, config.seed)
    if c.unlabelled:
        unlabelled, _ = read(tuple(c.unlabelled))
        train = examples.concatenate(train, examples.separate_pairs(unlabelled))
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


def _load_npz(path: str, partial_y: bool) -> tuple[dict[str, Examples], bool]:
    """Returns the examples of an .npz file by set, and `grey_levels`."""
    content = readers.load_sets(path)
    parts = [part for part in ("train", "test", "valid") if f"x_{part}" in content]
    types = {f"x_{part}": content[f"x_{part}"].dtype for part in parts}
    if len({dtype == np.uint8 for dtype in types.values()}) > 1:
        raise DataError(
            f"{path}: {' and '.join(f'{k} is {v}' for k, v in types.items())}; only "
            "uint8 is divided by 255, so all or none must be uint8"
        )
    sets = {}
    for part in parts:
        names = f"x_{part}", f"y_{part}"
        x, y = (content[name] for name in names)
        where = f"{path}: {names[0]}", f"{path}: {names[1]}"
        sets[part] = make_examples(x, y, where, partial_y)
        if part != "train" and not sets[part].pairs.all():
            row = int(np.logical_not(sets[part].pairs).argmax())
            raise DataError(
                f"{path}: row {row} of {' or '.join(names)} is NaN; the {part} set "
                "must be pairs"
            )
    if len({(e.x.shape[1:], e.y.shape[1:]) for e in sets.values()}) > 1:
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in content.items())
        raise DataError(
            f"{path}: training and test rows have different shapes: {shapes}"
        )
    return sets, bool(types["x_train"] == np.uint8)

"""Reads labelled images from .npz files and tensorflow-datasets.

Each reader returns `Images` with x as float32 in [0, 1], and raises DataError with the
file and the fix when something is wrong.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from absl import logging

from mtl.data import mapped
from mtl.data.mapped import MappedRows
from mtl.host.errors import DataError
from mtl.host.wording import nearest, some

# The arrays of one's own .npz; those of the validation set may be missing.
SETS = "x_train", "y_train", "x_test", "y_test"
VALID_SET = "x_valid", "y_valid"

# From rows as they are stored, and their name in errors, to float32.
ToFloat: TypeAlias = Callable[[np.ndarray, object], np.ndarray]


class Images(NamedTuple):
    """x: float32 [N, ...]. y [N]: int32, -1 for "no label", or strings, "" for none.

    x of a training set may be read row by row: `shards.Shards`, or `MappedRows`.
    """

    x: np.ndarray
    y: np.ndarray


class Own(NamedTuple):
    """The sets of one's own files; there may be none to validate."""

    train: Images
    test: Images
    validation: Images | None


def npz(path: str, scaled: bool = False, lazy: bool = False) -> Own:
    """One's own .npz: x_train, y_train, x_test, y_test, perhaps x_valid and y_valid.

    x: [N, ...], bool, uint8 or floats in [0, 1]. y: [N], whole numbers or strings; -1
    or "" in y_train means "no label".

    Args:
      path: of the file.
      scaled: x is scaled later, so it may hold any finite numbers.
      lazy: whether x_train stays in the file, as `MappedRows`.

    Raises:
      DataError: an array is missing or has a wrong shape, type or range.
    """
    to_float = numbers if scaled else unit
    train_x = _mapped_npz(path, to_float) if lazy else None
    arrays: dict[str, Any] = load_sets(
        path, without="" if train_x is None else "x_train"
    )
    if train_x is not None:
        arrays["x_train"] = train_x
    sets: dict[str, Images] = {}
    for part in ("train", "test", "valid"):
        if f"x_{part}" not in arrays:
            continue
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.shape == ():
            raise DataError(f"{path}: x_{part} is a single value; give [N, ...]")
        y = labels_of(y, len(x), f"{path}: y_{part}", part)
        if not isinstance(x, MappedRows):
            x = to_float(x, f"{path}: x_{part}")
        sets[part] = Images(x, y)
    if len({images.x.shape[1:] for images in sets.values()}) > 1:
        shapes = ", ".join(f"x_{k} {list(s.x.shape[1:])}" for k, s in sets.items())
        raise DataError(f"{path}: rows have different shapes: {shapes}")
    if len({images.y.dtype.kind for images in sets.values()}) > 1:
        raise DataError(f"{path}: some labels are strings and others are numbers")
    return Own(sets["train"], sets["test"], sets.get("valid"))


def load_sets(path: str, without: str = "") -> dict[str, np.ndarray]:
    """The arrays of one's own .npz, see `npz`; a warning names all others.

    Args:
      path: of the file.
      without: the name of an array that is not read.

    Raises:
      DataError: an array is missing.
    """
    needed = tuple(name for name in SETS if name != without)
    arrays = load_npz(path, needed, VALID_SET, (*SETS, *VALID_SET))
    if ("x_valid" in arrays) != ("y_valid" in arrays):
        raise DataError(f"{path} must have both x_valid and y_valid, or neither")
    return arrays


def tfds_folder(folder: str) -> tuple[Images, Images]:
    """(train, test) from a prepared tensorflow-datasets folder of array_record files.

    The folder is the one with dataset_info.json (".../mnist/3.0.1"), its features are
    `image` and `label`. Needs the extra `tf`, but not TensorFlow itself.

    Raises:
      DataError: tensorflow-datasets is missing, or cannot read the folder.
    """
    tfds = import_tfds(folder, "tfds")
    try:
        sources = tfds.builder_from_directory(folder).as_data_source()
        sets = [_from_tfds(sources[part], folder, part) for part in ("train", "test")]
    except DataError:
        raise
    except Exception as e:  # Protocol buffers and array_record raise their own kinds.
        raise DataError(
            f"{folder}: tensorflow-datasets cannot read this ({e}); it must have the "
            "splits train and test with image and label, as array_record files"
        ) from e
    return sets[0], sets[1]


def import_tfds(folder: str, source: str) -> ModuleType:
    """Imports tensorflow-datasets, to read a prepared folder.

    Args:
      folder: of one version of a dataset (".../mnist/3.0.1").
      source: the `data.source` that needs it, for the message.

    Raises:
      DataError: tensorflow-datasets is missing, or the folder has no dataset_info.json.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as e:
        raise DataError(
            f"data.source={source!r} needs: pip install tensorflow-datasets "
            "array-record"
        ) from e
    if not (Path(folder) / "dataset_info.json").is_file():
        raise DataError(
            f"{folder}: no dataset_info.json; give the prepared folder of one version "
            "of a dataset, as made by tfds.builder(name).download_and_prepare("
            "file_format='array_record')"
        )
    return tfds


def load_npz(
    path: str | Path,
    names: tuple[str, ...],
    optional: tuple[str, ...] = (),
    used: tuple[str, ...] = (),
) -> dict[str, np.ndarray]:
    """The named arrays of an .npz, the optional ones if there; it executes nothing.

    Args:
      path: of the file.
      names: of arrays that must be there.
      optional: names of arrays that may be there.
      used: a warning names all other arrays of the file; empty gives no warning.

    Raises:
      DataError: no such file, no .npz, or an array is missing.
    """
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; give an .npz file of numpy.savez")
    try:
        # Opened here, for NumPy leaves a file that is no whole zip open.
        with open(path, "rb") as stream:
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is no zip archive")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as file:
                there = list(file)
                arrays = {n: _plain(file, n) for n in (*names, *optional) if n in there}
        # NumPy returns the raw bytes of a member that is not an array.
        odd = [n for n, a in arrays.items() if not isinstance(a, np.ndarray)]
        if odd:
            raise ValueError(f"{odd[0]} is no array")
    except FileNotFoundError as e:
        raise DataError(f"{path}: no such file") from e
    except _ObjectsError as e:
        raise DataError(
            f"{path}: {e} holds Python objects; make it numbers or strings, such as by "
            "astype(int), astype(float) or astype(str)"
        ) from e
    except Exception as e:  # NumPy and zipfile raise anything on a broken file.
        raise DataError(
            f"{path}: not a whole .npz of plain arrays ({e}); write it with numpy.savez"
        ) from e
    missing = [n for n in names if n not in arrays]
    if missing:
        raise DataError(
            f"{path} has no {', '.join(missing)}; "
            f"it has {', '.join(there) or 'nothing'}"
        )
    unused = [n for n in there if used and n not in used]
    if unused:
        meant = "".join(nearest(n, used) for n in unused[:1])
        logging.warning("%s: not used: %s%s", path, some(unused), meant)
    return arrays


class _ObjectsError(ValueError):
    """An array holds Python objects; its name."""


def _plain(file: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """An array of an .npz, which may hold no objects: they could execute anything."""
    try:
        return file[name]
    except ValueError as e:
        if "allow_pickle" in str(e):
            raise _ObjectsError(name) from e
        raise


def _mapped_npz(path: str, to_float: ToFloat) -> MappedRows | None:
    """x_train of an .npz; None: it has to be read whole, which may raise an error."""
    try:
        stored = mapped.find(Path(path), "x_train", unpack=True)
    except DataError:
        return None
    return convertible(stored, to_float)


def convertible(stored: mapped.Stored, to_float: ToFloat) -> MappedRows | None:
    """The rows of an array as float32; None: some rows are refused.

    All rows are read once, for that.
    """
    if len(stored.shape) < 2 or 0 in stored.shape:
        return None
    rows = MappedRows(stored, lambda x: to_float(x, stored.path))
    try:
        for _ in rows.blocks():
            pass
    except DataError:
        return None
    return rows


def unit(
    x: np.ndarray,
    where: object,
    fix: str = ", or set data.scaling to minmax or standardise",
) -> np.ndarray:
    """float32 in [0, 1]: uint8 is divided by 255, others must be there already.

    Args:
      x: [N, ...].
      where: names x in errors.
      fix: what else than another x helps, for the errors.

    Raises:
      DataError: another type, no rows, NaN, or outside [0, 1].
    """
    _check_rows(x, where)
    if x.dtype == np.uint8:
        return x.astype(np.float32) / 255
    if x.dtype.kind not in "fb":
        raise DataError(
            f"{where} is {x.dtype}; make it uint8, or floats in [0, 1]{fix}"
        )
    _check_finite(x, where)
    if x.min() < 0 or x.max() > 1:
        raise DataError(
            f"{where} must be in [0, 1]; it spans {x.min():g} to {x.max():g}; scale "
            f"it{fix}"
        )
    return x.astype(np.float32)


def numbers(x: np.ndarray, where: object) -> np.ndarray:
    """float32 of any finite numbers.

    Raises:
      DataError: no numbers, no rows, or not finite in float32.
    """
    _check_rows(x, where)
    if x.dtype.kind not in "fbiu":
        raise DataError(f"{where} is {x.dtype}; make it numbers")
    with np.errstate(over="ignore"):
        x = x.astype(np.float32)
    _check_finite(x, where)
    return x


def _check_finite(x: np.ndarray, where: object) -> None:
    rows = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(1))
    if len(rows):
        raise DataError(
            f"{where} must be finite; {len(rows)} of {len(x)} rows have NaN or "
            f"infinite values, such as row {rows[0]}; fill them in, or leave these "
            "rows out"
        )


def _check_rows(x: np.ndarray, where: object) -> None:
    if x.ndim < 2 or x.size == 0:
        raise DataError(f"{where} must have the shape [N, ...], not {list(x.shape)}")


def _from_tfds(source: Sequence, folder: str, part: str) -> Images:
    rows = [source[i] for i in range(len(source))]
    x = np.stack([row["image"] for row in rows])
    y = np.array([row["label"] for row in rows])
    where = f"{folder}: {part}"
    return Images(unit(x, where), labels_of(y, len(x), f"{where} labels", part))


def labels_of(y: np.ndarray, rows: int, where: str, part: str) -> np.ndarray:
    """Labels [N] as int32 or strings.

    Args:
      y: of a file.
      rows: N.
      where: names y in errors.
      part: "train" may have rows without a label.

    Raises:
      DataError: they are no labels, or not so many.
    """
    if y.shape != (rows,) or y.dtype.kind not in "iuU":
        raise DataError(
            f"{where} must hold {rows} whole numbers or strings, one for each row of "
            f"x; it is {y.dtype}{list(y.shape)}{_label_fix(y, part)}"
        )
    if len(y) == 0:
        raise DataError(f"{where} is empty")
    if y.dtype.kind == "U":
        if part != "train" and (y == "").any():
            raise DataError(f"{where} has empty labels; only labels to train on may be")
        return y
    lowest, most = -1 if part == "train" else 0, np.iinfo(np.int32).max
    if y.min() < lowest or y.max() >= most:
        raise DataError(
            f"{where} has labels from {y.min()} to {y.max()}; they must be from "
            f"{lowest} to {most - 1}"
            + ("" if part == "train" else "; only labels to train on may be -1")
        )
    return y.astype(np.int32)


def _label_fix(y: np.ndarray, part: str) -> str:
    """How to make labels of an array that holds others, or ""."""
    if y.ndim == 2:
        many = y.shape[1] > 1
        return "; of one-hot rows, take argmax(1)" if many else "; take y[:, 0]"
    if y.dtype.kind in "bS":
        return f"; take astype({'int' if y.dtype.kind == 'b' else 'str'})"
    if y.dtype.kind != "f":
        return ""
    if not (missing := np.isnan(y)).any():
        return "; take astype(int)" if (y == np.rint(y)).all() else ""
    found = f" with {missing.sum()} NaN, such as in row {missing.argmax()}"
    if part != "train":
        return f"{found}; leave these rows out, and take astype(int)"
    return f'{found}; for "no label", take np.where(np.isnan(y), -1, y).astype(int)'

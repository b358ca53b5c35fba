"""New faces from their files to points, pictures and rows of a table.

`predict` is the program to it.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from mtl.host import workdir
from mtl.host.errors import DataError
from structured.faces import crops, face_files, metrics, overlays
from structured.faces.crops import Crop
from structured.faces.face_files import Entry
from structured.faces.points import POINTS, read_pts, write_pts

CHUNK = 200  # Images in memory at a time.


class Model(NamedTuple):
    """A trained run.

    Attributes:
      crop: how its faces were cropped.
      points: P, how many points a face has.
      predict: canvases uint8 [N, C, C] to coordinates of their frames [N, 2 P].
    """

    crop: Crop
    points: int
    predict: Callable[[np.ndarray], np.ndarray]


class Face(NamedTuple):
    """What is known of an image so far; only `wrong` once something is.

    Attributes:
      entry: its files.
      source: of the box: "csv", "pts" or "image".
      box, frame: float [4].
      canvas: uint8 [C, C], what the network needs.
      shown: uint8, what its picture shows; None where none is asked for.
      truth: [P, 2] in pixels from 0; None without a .pts.
      points: [P, 2], likewise, as predicted.
      wrong: why it failed, or "".
    """

    entry: Entry
    source: str = ""
    box: np.ndarray | None = None
    frame: np.ndarray | None = None
    canvas: np.ndarray | None = None
    shown: np.ndarray | None = None
    truth: np.ndarray | None = None
    points: np.ndarray | None = None
    wrong: str = ""


def mark(
    model: Model, todo: Sequence[Entry], out: Path, pictured: bool
) -> Iterator[Face]:
    """Faces with their points, once those are written; a chunk at a time.

    Args:
      model: finds the points.
      todo: the images; `name` is the place in `out`.
      out: the folder, with all that are within it.
      pictured: whether there are pictures.

    Raises:
      WorkdirError: a file cannot be written. All else is told in the face's `wrong`.
    """
    # Threads, since Pillow works outside of Python's lock.
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(todo), CHUNK):
            one = partial(_read, model=model, pictured=pictured)
            found = list(pool.map(one, todo[start : start + CHUNK]))
            found = _locate(model, found, min(CHUNK, len(todo)))
            yield from pool.map(partial(_write, out=out), found)


def targets(entry: Entry, out: Path) -> tuple[Path, Path]:
    """Where points and picture of an image go."""
    place = out / entry.name
    return place.with_name(f"{place.stem}.pts"), place.with_name(f"{place.stem}.png")


def header(points: int) -> list[str]:
    """The names of a row's columns."""
    xy = [f"{axis}{k}" for axis in "xy" for k in range(1, points + 1)]
    return [
        *("name", "status", "box", *face_files.COLUMNS),
        *(*xy, "nme_inter_ocular", "problem"),
    ]


def row(face: Face, points: int) -> list[str]:
    """A row of the table; what is not known is empty."""
    if face.box is None or face.points is None:
        blank = [""] * (len(header(points)) - 3)
        return [face.entry.name, "failed", *blank, face.wrong]
    # As in the .pts: from 1, and so many digits.
    xy = [f"{v:.8f}" for v in (face.points.astype(np.float64) + 1).T.ravel()]
    box = [str(float(v)) for v in face.box]
    return [face.entry.name, "predicted", face.source, *box, *xy, _error(face), ""]


def _error(face: Face) -> str:
    if face.truth is None or len(face.truth) != POINTS:
        return ""
    points, truth = jnp.asarray([face.points]), jnp.asarray([face.truth], jnp.float32)
    error = metrics.nme(points, truth, metrics.inter_ocular(truth))
    return f"{float(error[0]):.6f}"


def _read(entry: Entry, model: Model, pictured: bool) -> Face:
    if entry.wrong or entry.image is None:
        return Face(entry, wrong=entry.wrong)
    try:
        truth = read_pts(entry.pts, model.points) if entry.pts else None
        grey = crops.open_grey(entry.image)
        source, box = _box(entry, truth, grey)
        frame = crops.frame(box, model.crop)
        canvas = crops.cut(grey, frame, model.crop)
        shown = overlays.view(grey, box) if pictured else None
    except (DataError, ValueError) as e:
        return Face(entry, wrong=str(e))
    return Face(entry, source, box, frame, canvas, shown, truth)


def _box(
    entry: Entry, truth: np.ndarray | None, grey: np.ndarray
) -> tuple[str, np.ndarray]:
    """Who says where the face is, and where."""
    if entry.box is not None:
        return "csv", entry.box
    if truth is not None:
        return "pts", crops.tight_box(truth)
    height, width = grey.shape
    return "image", np.array([-0.5, -0.5, width, height])


def _locate(model: Model, found: list[Face], size: int) -> list[Face]:
    """Faces with their points.

    The network gets `size` of them, whatever their number, so that it is compiled once.
    """
    good = [face for face in found if not face.wrong]
    if not good:
        return found
    canvas = np.zeros((size, model.crop.canvas, model.crop.canvas), np.uint8)
    canvas[: len(good)] = np.array([face.canvas for face in good])
    frame = np.array([face.frame for face in good])
    points = iter(crops.from_frame(model.predict(canvas)[: len(good)], frame))
    return [f if f.wrong else f._replace(points=next(points)) for f in found]


def _write(face: Face, out: Path) -> Face:
    """Leaves points and picture; what an earlier run left of a face that fails goes."""
    pts, png = targets(face.entry, out)
    if face.points is not None and not np.isfinite(face.points).all():
        face = Face(face.entry, wrong="the network's points are not finite")
    if face.box is None or face.points is None:
        pts.unlink(missing_ok=True)
        png.unlink(missing_ok=True)
        return face
    write_pts(pts, face.points)
    if face.shown is not None:
        drawn = overlays.draw(face.shown, face.box, face.points, face.truth)
        workdir.write_bytes(png, drawn)
    # A row needs neither, and they are large.
    return face._replace(canvas=None, shown=None)

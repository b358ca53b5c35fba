"""Predicts the points of new faces: reads images, writes points and pictures.

The launcher is `structured.predict`.
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
from structured.faces.face_files import FaceFiles
from structured.faces.points import read_pts, write_pts
from structured.faces.schemes import Scheme

IMAGES_PER_CHUNK = 200  # In memory at a time.


class Model(NamedTuple):
    """A trained network for faces.

    Attributes:
      crop: how its training faces were cropped.
      scheme: the P points of a face.
      partial: whether points of a .pts file may be missing.
      predict: canvases uint8 [N, C, C] -> coordinates of their frames [N, 2 P].
    """

    crop: Crop
    scheme: Scheme
    partial: bool
    predict: Callable[[np.ndarray], np.ndarray]


class Face(NamedTuple):
    """A face between reading and writing; after a problem, only `files` and `problem`.

    Attributes:
      files: its files.
      box_source: "csv", "pts" or "image".
      box: float [4], left, top, width, height in pixels.
      frame: float [4], likewise.
      canvas: uint8 [C, C], which the network needs.
      view: uint8, the background of its picture; None without a picture.
      truth: [P, 2] in pixels from 0; None without a .pts.
      points: [P, 2] in pixels from 0, as predicted.
      problem: why it failed, or "".
    """

    files: FaceFiles
    box_source: str = ""
    box: np.ndarray | None = None
    frame: np.ndarray | None = None
    canvas: np.ndarray | None = None
    view: np.ndarray | None = None
    truth: np.ndarray | None = None
    points: np.ndarray | None = None
    problem: str = ""


def locate_landmarks(
    model: Model, files: Sequence[FaceFiles], out: Path, pictures: bool
) -> Iterator[Face]:
    """Predicts and writes the points of faces; yields each face once it is written.

    Args:
      model: predicts the points.
      files: the images; `name` is the place of the results in `out`.
      out: a folder that has all sub-folders of these names.
      pictures: whether to write pictures.

    Raises:
      WorkdirError: a file cannot be written. Other errors become the face's `problem`.
    """
    # Threads suffice, because Pillow works without Python's lock.
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), IMAGES_PER_CHUNK):
            read = partial(_read_face, model=model, pictures=pictures)
            faces = list(pool.map(read, files[start : start + IMAGES_PER_CHUNK]))
            faces = _predict_points(model, faces, min(IMAGES_PER_CHUNK, len(files)))
            yield from pool.map(partial(_write_outputs, out=out), faces)


def output_paths(files: FaceFiles, out: Path) -> tuple[Path, Path]:
    """Returns the paths of a face's .pts file and of its picture."""
    path = out / files.name
    return path.with_name(f"{path.stem}.pts"), path.with_name(f"{path.stem}.png")


def table_header(scheme: Scheme) -> list[str]:
    """Returns the column names of landmarks.csv."""
    xy = [f"{axis}{k}" for axis in "xy" for k in range(1, scheme.count + 1)]
    return [
        *("name", "status", "box", *face_files.BOX_COLUMNS),
        *(*xy, f"nme_{metrics.main_normaliser(scheme)[0]}", "problem"),
    ]


def table_row(face: Face, scheme: Scheme) -> list[str]:
    """Returns the row of a face in landmarks.csv; unknown values are empty."""
    if face.box is None or face.points is None:
        blank = [""] * (len(table_header(scheme)) - 3)
        return [face.files.name, "failed", *blank, face.problem]
    # Pixels from 1, with 8 decimals, as in the .pts file.
    xy = [f"{v:.8f}" for v in (face.points.astype(np.float64) + 1).T.ravel()]
    box = [str(float(v)) for v in face.box]
    start = [face.files.name, "predicted", face.box_source]
    return [*start, *box, *xy, _format_nme(face, scheme), ""]


def _format_nme(face: Face, scheme: Scheme) -> str:
    """The normalised mean error; "" without the truth, or without its normaliser."""
    if face.truth is None:
        return ""
    points, truth = jnp.asarray([face.points]), jnp.asarray([face.truth], jnp.float32)
    normaliser = metrics.main_normaliser(scheme)[1](truth)
    if not metrics.usable(np.asarray(normaliser))[0]:
        return ""
    missing = bool(np.isnan(face.truth).any())
    return f"{float(metrics.nme(points, truth, normaliser, missing)[0]):.6f}"


def _read_face(files: FaceFiles, model: Model, pictures: bool) -> Face:
    if files.problem or files.image is None:
        return Face(files, problem=files.problem)
    try:
        truth = None
        if files.pts:
            truth = read_pts(files.pts, model.scheme.count, model.partial)
        grey = crops.open_grey(files.image)
        box_source, box = _choose_box(files, truth, grey)
        frame = crops.frame(box, model.crop)
        canvas = crops.cut(grey, frame, model.crop)
        view = overlays.crop_view(grey, box) if pictures else None
    except (DataError, ValueError) as e:
        return Face(files, problem=str(e))
    return Face(files, box_source, box, frame, canvas, view, truth)


def _choose_box(
    files: FaceFiles, truth: np.ndarray | None, grey: np.ndarray
) -> tuple[str, np.ndarray]:
    """Returns the source of a face's box, and the box."""
    if files.box is not None:
        return "csv", files.box
    if truth is not None:
        return "pts", crops.tight_box(truth)
    height, width = grey.shape
    return "image", np.array([-0.5, -0.5, width, height])


def _predict_points(model: Model, faces: list[Face], batch_size: int) -> list[Face]:
    """Adds the predicted points to faces.

    The batch is filled up to `batch_size`, so that the network is compiled once.
    """
    good = [face for face in faces if not face.problem]
    if not good:
        return faces
    canvas = np.zeros((batch_size, model.crop.canvas, model.crop.canvas), np.uint8)
    canvas[: len(good)] = np.array([face.canvas for face in good])
    frame = np.array([face.frame for face in good])
    points = iter(crops.from_frame(model.predict(canvas)[: len(good)], frame))
    return [f if f.problem else f._replace(points=next(points)) for f in faces]


def _write_outputs(face: Face, out: Path) -> Face:
    """Writes points and picture; removes old files of a face that failed."""
    pts, png = output_paths(face.files, out)
    if face.points is not None and not np.isfinite(face.points).all():
        face = Face(face.files, problem="the network's points are not finite")
    if face.box is None or face.points is None:
        pts.unlink(missing_ok=True)
        png.unlink(missing_ok=True)
        return face
    write_pts(pts, face.points)
    if face.view is not None:
        picture = overlays.draw_points(face.view, face.box, face.points, face.truth)
        workdir.write_bytes(png, picture)
    # Frees the images, which the table does not need.
    return face._replace(canvas=None, view=None)

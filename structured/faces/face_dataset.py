"""Reads and crops listed faces, and keeps the crops.

Every face is checked before training. A fatal problem excludes its face; the other
problems are only reported.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL

from mtl.data.readers import load_npz
from mtl.host import workdir
from mtl.host.errors import DataError
from structured.faces import crops
from structured.faces.crops import Crop
from structured.faces.face_files import FaceFiles
from structured.faces.points import read_pts

MAX_PROBLEMS_LISTED = 10  # In an error message.
CACHE_VERSION = 1  # Of reading and storing faces; a new version ignores old caches.


class Faces(NamedTuple):
    """N faces.

    Attributes:
      canvas: uint8 [N, C, C], C = crop.canvas.
      points: float32 [N, P, 2], pixels of the original image from 0; NaN if unknown.
      frame: float32 [N, 4], left, top, width, height in pixels.
      name: str [N], such as "helen/trainset/100032540_1".
    """

    canvas: np.ndarray
    points: np.ndarray
    frame: np.ndarray
    name: np.ndarray


class Problem(NamedTuple):
    """A problem of a face; a fatal one excludes the face."""

    name: str
    message: str
    fatal: bool


# The result of one face: (canvas, points, frame), or None after a fatal problem.
FaceResult = tuple[tuple[np.ndarray, np.ndarray, np.ndarray] | None, list[Problem]]


def read(
    where: str,
    files: list[FaceFiles],
    crop: Crop,
    num_points: int,
    *,
    cache: str | Path = "",
    partial: bool = False,
    skip_bad: bool = False,
) -> tuple[Faces, list[Problem]]:
    """Reads and crops listed faces; returns them and all problems.

    Args:
      where: names the faces' place in errors.
      files: of the faces.
      crop: how to cut the canvases.
      num_points: the number of points of a face.
      cache: a folder that keeps the crops; they are made again if a file changes. ""
        keeps none.
      partial: whether points of a face may be missing.
      skip_bad: leaves out faces that cannot be used; False raises an error.

    Raises:
      DataError: faces cannot be used and skip_bad is False, or no face can be used.
      WorkdirError: the cache cannot be made or written.
    """
    if cache:
        path = _cache_path(Path(cache), files, crop, num_points, partial)
        result = _load_cache(path, crop, num_points)
        if result is None:
            result = _read_all(files, crop, num_points, partial)
            _save_cache(path, *result)
    else:
        result = _read_all(files, crop, num_points, partial)
    check_usable(where, *result, skip_bad)
    return result


def check_usable(
    where: str, faces: Faces, problems: Sequence[Problem], skip_bad: bool
) -> None:
    """Checks that there are faces, and that none had to be left out.

    Raises:
      DataError: no face is left, or some have fatal problems and skip_bad is False; the
        message lists the first of them.
    """
    fatal = [p for p in problems if p.fatal]
    if len(faces.name) and (skip_bad or not fatal):
        return
    lines = [f"{p.name}: {p.message}" for p in fatal[:MAX_PROBLEMS_LISTED]]
    if len(fatal) > MAX_PROBLEMS_LISTED:
        lines.append(f"and {len(fatal) - MAX_PROBLEMS_LISTED} more")
    fix = "no other face is left"
    if len(faces.name):
        fix = "mend them, or leave them out with data.skip_bad=True"
    raise DataError(
        f"{where}: {len(fatal)} faces cannot be used; {fix}\n  " + "\n  ".join(lines)
    )


def write_problems(path: str | Path, problems: Sequence[Problem]) -> None:
    """Writes the problems as CSV: name, fate ("fatal" or "kept"), what.

    Raises:
      WorkdirError: the file cannot be written.
    """
    rows = [(p.name, "fatal" if p.fatal else "kept", p.message) for p in problems]
    workdir.write_csv(Path(path), ("name", "fate", "what"), rows)


def crop_face(
    name: str, grey: np.ndarray, xy: np.ndarray, box: np.ndarray | None, crop: Crop
) -> FaceResult:
    """Crops an image uint8 [H, W] about a box [4], or the tight box of xy [P, 2].

    Points that are NaN are missing.
    """
    height, width = grey.shape
    try:
        frame = crops.frame(crops.tight_box(xy) if box is None else box, crop)
        canvas = crops.cut(grey, frame, crop)
    except ValueError as e:
        return None, [Problem(name, str(e), True)]
    outside = ((xy < -0.5) | (xy > [width - 0.5, height - 0.5])).any(1)
    problems = []
    if outside.any():
        message = (
            f"{outside.sum()} of its {len(xy)} points, the first of them number "
            f"{outside.argmax() + 1}, lie outside of the image of {width} x {height} "
            "pixels"
        )
        problems.append(Problem(name, message, False))
    return (canvas, xy.astype(np.float32), frame), problems


def collect_faces(
    names: Sequence[str], results: Iterable[FaceResult], crop: Crop, num_points: int
) -> tuple[Faces, list[Problem]]:
    """Joins the results of faces; returns good faces and all problems, in order."""
    good, problems = [], []
    for name, (face, face_problems) in zip(names, results, strict=True):
        problems += face_problems
        if face is not None:
            good.append((*face, name))
    if not good:
        return _no_faces(crop, num_points), problems
    return Faces(*(np.stack(column) for column in zip(*good, strict=True))), problems


def _no_faces(crop: Crop, num_points: int) -> Faces:
    return Faces(
        np.zeros((0, crop.canvas, crop.canvas), np.uint8),
        np.zeros((0, num_points, 2), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.str_),
    )


def _read_all(
    files: list[FaceFiles], crop: Crop, num_points: int, partial: bool
) -> tuple[Faces, list[Problem]]:
    # Threads suffice, because Pillow decodes without Python's lock. A process forked
    # from one with JAX's threads can deadlock.
    with ThreadPoolExecutor() as pool:
        results = pool.map(
            lambda face: _read_face(face, crop, num_points, partial), files
        )
        return collect_faces([face.name for face in files], results, crop, num_points)


def _read_face(
    face: FaceFiles, crop: Crop, num_points: int, partial: bool
) -> FaceResult:
    if face.problem or face.image is None:
        return None, [Problem(face.name, face.problem, True)]
    try:
        xy = face.points
        if xy is None:
            assert face.pts is not None  # Else the face has a problem.
            xy = read_pts(face.pts, num_points, partial)
        grey = crops.open_grey(face.image)
    except DataError as e:
        return None, [Problem(face.name, str(e), True)]
    return crop_face(face.name, grey, xy, face.box, crop)


def _cache_path(
    folder: Path, files: list[FaceFiles], crop: Crop, num_points: int, partial: bool
) -> Path:
    """Makes the cache's folder; returns a file name that depends on all inputs.

    skip_bad is not among the inputs: it only decides whether problems are an error.
    """
    workdir.make(folder, f"the folder data.cache={str(folder)!r}")
    inputs = [CACHE_VERSION, PIL.__version__, num_points, dataclasses.astuple(crop)]
    inputs += ["partial"] * partial  # Other caches keep their names.
    inputs += [
        (
            *(f.name, f.problem, None if f.box is None else f.box.tolist()),
            *(str(f.image), _file_stamp(f.image), str(f.pts), _file_stamp(f.pts)),
            *(() if f.points is None else (f.points.tobytes(),)),
        )
        for f in files
    ]
    digest = hashlib.sha256(os.fsencode(repr(inputs))).hexdigest()
    return folder / f"faces-{digest[:32]}.npz"


def _file_stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Size and times of a file; ctime changes also if it becomes readable."""
    try:
        stat = None if path is None else path.stat()
    except OSError:  # A broken link; reading the face reports it.
        return None
    return stat and (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _save_cache(path: Path, faces: Faces, problems: list[Problem]) -> None:
    columns = np.array([(p.name, p.message) for p in problems], np.str_).reshape(-1, 2)
    fatal = np.array([p.fatal for p in problems], bool)
    workdir.write_npz(path, **faces._asdict(), problems=columns, fatal=fatal)


def _load_cache(
    path: Path, crop: Crop, num_points: int
) -> tuple[Faces, list[Problem]] | None:
    """Reads a file of `_save_cache`; None if it is missing or broken."""
    try:
        arrays = load_npz(path, (*Faces._fields, "problems", "fatal"))
    except DataError:
        return None
    faces = Faces(*(arrays[field] for field in Faces._fields))
    # The checksums of the .npz are right, so other arrays mean another kind of file.
    for array, empty in zip(faces, _no_faces(crop, num_points), strict=True):
        if array.dtype.kind != empty.dtype.kind or array.shape[1:] != empty.shape[1:]:
            return None
    rows = zip(arrays["problems"], arrays["fatal"], strict=True)
    return faces, [Problem(str(n), str(m), bool(fatal)) for (n, m), fatal in rows]

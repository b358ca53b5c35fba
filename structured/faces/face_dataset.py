"""Faces from folders of the 300-W layout: an image, and a .pts of its name beside it.

What is wrong with a folder is told face by face before any training: a fatal problem
keeps its face from being used, the others are only reported.
"""

import dataclasses
import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL

from mtl.data.readers import load_npz
from mtl.host.errors import DataError, WorkdirError
from mtl.host.workdir import write_bytes, write_csv
from structured.faces import crops
from structured.faces.crops import Crop
from structured.faces.face_files import Entry, entries
from structured.faces.points import POINTS, read_pts

NAMED = 10  # Problems that an error message lists.
VERSION = 1  # Of how faces are read and kept; a new one leaves the old cache aside.


class Faces(NamedTuple):
    """N faces.

    canvas: uint8 [N, C, C], C = crop.canvas. points: float32 [N, P, 2] in pixels of the
    original image from 0, NaN where there is no truth. frame: float32 [N, 4].
    name: str [N], like "helen/trainset/100032540_1".
    """

    canvas: np.ndarray
    points: np.ndarray
    frame: np.ndarray
    name: np.ndarray


class Problem(NamedTuple):
    """What is wrong with a face; a fatal one leaves it out."""

    name: str
    what: str
    fatal: bool


# One face as read: (canvas, points, frame), None when a problem is fatal.
Read = tuple[tuple[np.ndarray, np.ndarray, np.ndarray] | None, list[Problem]]


def read(
    root: str | Path,
    folders: Sequence[str],
    crop: Crop,
    *,
    points: int = POINTS,
    boxes: str = "",
    skip_bad: bool = False,
    cache: str | Path | None = None,
    workers: int | None = None,
) -> tuple[Faces, list[Problem]]:
    """The faces of some folders, cropped, and what is wrong with them.

    Args:
      root: what the folders are in.
      folders: such as "helen/trainset"; each .jpg, .jpeg and .png in one is a face.
      crop: what to cut out.
      points: how many points a face has.
      boxes: "" takes the tight box of the true points. Else a CSV file with the columns
        name, left, top, width, height; the name is the image's, or its path from root,
        and left and top are on the scale of the points: pixels from 0.
      skip_bad: leaves out faces that cannot be used; without it they are an error.
      cache: a folder that keeps the crops; they are made again when a file changes.
      workers: threads; None lets Python choose. Threads, since Pillow decodes outside
        of Python's lock, and a process forked beside JAX's threads may hang.

    Raises:
      DataError: no such folder, no image in it, a bad box file, faces that cannot be
        used without skip_bad, or none that can.
      WorkdirError: the cache cannot be made or written.
    """
    todo = entries(Path(root), folders, boxes)
    kept = None if cache is None else _cache_file(Path(cache), todo, crop, points)
    found = None if kept is None else _load(kept, crop, points)
    if found is None:
        found = _read_all(todo, crop, points, workers)
        if kept is not None:
            _save(kept, *found)
    refuse(str(root), *found, skip_bad)
    return found


def refuse(
    where: str, faces: Faces, problems: Sequence[Problem], skip_bad: bool
) -> None:
    """Names the faces that cannot be used.

    Raises:
      DataError: there are some and skip_bad is not set, or no face is left.
    """
    fatal = [p for p in problems if p.fatal]
    if len(faces.name) and (skip_bad or not fatal):
        return
    lines = [f"{p.name}: {p.what}" for p in fatal[:NAMED]]
    if len(fatal) > NAMED:
        lines.append(f"and {len(fatal) - NAMED} more")
    some = "mend them, or leave them out with data.skip_bad=True"
    fix = some if len(faces.name) else "no other face is left"
    raise DataError(
        f"{where}: {len(fatal)} faces cannot be used; {fix}\n  " + "\n  ".join(lines)
    )


def write_report(path: str | Path, problems: Sequence[Problem]) -> None:
    """Writes the problems as CSV: name, fate ("fatal" or "kept"), what.

    Raises:
      WorkdirError: the file cannot be written.
    """
    rows = [(p.name, "fatal" if p.fatal else "kept", p.what) for p in problems]
    write_csv(Path(path), ("name", "fate", "what"), rows)


def crop_face(
    name: str, grey: np.ndarray, xy: np.ndarray, box: np.ndarray | None, crop: Crop
) -> Read:
    """Crops an image uint8 [H, W] about a box [4], or the tight box of xy [P, 2]."""
    height, width = grey.shape
    try:
        frame = crops.frame(crops.tight_box(xy) if box is None else box, crop)
        canvas = crops.cut(grey, frame, crop)
    except ValueError as e:
        return None, [Problem(name, str(e), True)]
    off = ((xy < -0.5) | (xy > [width - 0.5, height - 0.5])).any(1)
    problems = []
    if off.any():
        what = (
            f"{off.sum()} of its {len(xy)} points, the first of them number "
            f"{off.argmax() + 1}, lie outside of the image of {width} x {height} pixels"
        )
        problems.append(Problem(name, what, False))
    return (canvas, xy.astype(np.float32), frame), problems


def gather(
    names: Sequence[str], rows: Iterable[Read], crop: Crop, points: int
) -> tuple[Faces, list[Problem]]:
    """The faces that were read, and all problems, in the order of the names."""
    good, problems = [], []
    for name, (face, wrong) in zip(names, rows, strict=True):
        problems += wrong
        if face is not None:
            good.append((*face, name))
    if not good:
        return _none(crop, points), problems
    return Faces(*(np.stack(column) for column in zip(*good, strict=True))), problems


def _none(crop: Crop, points: int) -> Faces:
    return Faces(
        np.zeros((0, crop.canvas, crop.canvas), np.uint8),
        np.zeros((0, points, 2), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.str_),
    )


def _read_all(
    todo: list[Entry], crop: Crop, points: int, workers: int | None
) -> tuple[Faces, list[Problem]]:
    with ThreadPoolExecutor(workers) as pool:
        rows = pool.map(lambda entry: _read_one(entry, crop, points), todo)
        return gather([e.name for e in todo], rows, crop, points)


def _read_one(entry: Entry, crop: Crop, points: int) -> Read:
    if entry.wrong or entry.image is None or entry.pts is None:
        return None, [Problem(entry.name, entry.wrong, True)]
    try:
        xy = read_pts(entry.pts, points)
        grey = crops.open_grey(entry.image)
    except DataError as e:
        return None, [Problem(entry.name, str(e), True)]
    return crop_face(entry.name, grey, xy, entry.box, crop)


def _cache_file(folder: Path, todo: list[Entry], crop: Crop, points: int) -> Path:
    """A name that is another one as soon as anything that the crops come from is.

    skip_bad is not in it: it only says whether the problems are an error.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        why = f"data.cache={str(folder)!r} cannot be made a folder: {e.strerror}"
        raise WorkdirError(why) from e
    about = [VERSION, PIL.__version__, points, dataclasses.astuple(crop)]
    about += [
        (
            *(e.name, e.wrong, None if e.box is None else e.box.tolist()),
            *(str(e.image), _stamp(e.image), str(e.pts), _stamp(e.pts)),
        )
        for e in todo
    ]
    digest = hashlib.sha256(os.fsencode(repr(about))).hexdigest()
    return folder / f"faces-{digest[:32]}.npz"


def _stamp(path: Path | None) -> tuple[int, int, int] | None:
    """Tells a changed file; ctime also one that has become readable."""
    try:
        stat = None if path is None else path.stat()
    except OSError:  # A link to nowhere, which is a problem of its face later on.
        return None
    return stat and (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _save(path: Path, faces: Faces, problems: list[Problem]) -> None:
    content = io.BytesIO()
    columns = np.array([(p.name, p.what) for p in problems], np.str_).reshape(-1, 2)
    fatal = np.array([p.fatal for p in problems], bool)
    np.savez(content, **faces._asdict(), problems=columns, fatal=fatal)
    write_bytes(path, content.getvalue())


def _load(path: Path, crop: Crop, points: int) -> tuple[Faces, list[Problem]] | None:
    """What `_save` wrote; None when it is not there, or not whole."""
    try:
        a = load_npz(path, (*Faces._fields, "problems", "fatal"))
    except DataError:
        return None
    faces = Faces(*(a[field] for field in Faces._fields))
    # Zip has a checksum, so this is a file of another kind under our name.
    for there, due in zip(faces, _none(crop, points), strict=True):
        if there.dtype.kind != due.dtype.kind or there.shape[1:] != due.shape[1:]:
            return None
    rows = zip(a["problems"], a["fatal"], strict=True)
    return faces, [Problem(str(n), str(w), bool(fatal)) for (n, w), fatal in rows]

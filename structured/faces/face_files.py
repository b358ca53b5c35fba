"""Lists the faces in folders of the 300-W layout, before any image is opened."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl.host import csv_text
from mtl.host.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
BOX_COLUMNS = ("left", "top", "width", "height")
BOX_FORMAT = "the first row must be name,left,top,width,height, and numbers follow"


class FaceFiles(NamedTuple):
    """The files of one face.

    Attributes:
      name: path from the root, without suffix.
      image: None if the folder has no image.
      pts: None if the folder has no .pts file.
      box: float64 [4], left, top, width, height; None if the points give it.
      problem: why the face cannot be used, or "".
      points: float64 [P, 2] in pixels from 0, if they are not in a .pts file.
    """

    name: str
    image: Path | None
    pts: Path | None
    box: np.ndarray | None = None
    problem: str = ""
    points: np.ndarray | None = None


def list_faces(root: Path, folders: Sequence[str], boxes: str) -> list[FaceFiles]:
    """Lists all faces of the folders, in the folders' order, by name within each.

    Args:
      root: holds the folders.
      folders: paths from the root.
      boxes: a CSV file of boxes, or "".

    Raises:
      DataError: a folder is missing, is named twice or has no image, no folder is
        given, or the file of boxes is bad.
    """
    twice = [f for f, count in Counter(folders).items() if count > 1]
    if twice or not folders:
        raise DataError(
            f"{root}: the folders {list(folders)} must be some, each named once"
        )
    faces = [face for folder in folders for face in _list_folder(root, folder)]
    return add_boxes(faces, root, Path(boxes)) if boxes else faces


def _list_folder(root: Path, folder: str) -> list[FaceFiles]:
    path = root / folder
    if not path.is_dir():
        raise DataError(f"{path} is no folder; it should hold images with their .pts")
    # The macOS Finder leaves a file "._a.jpg" beside a.jpg.
    files = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
    images = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        suffixes = ", ".join(IMAGE_SUFFIXES)
        raise DataError(f"{path} holds no image that ends with {suffixes}")
    pts_files = {p.stem: p for p in files if p.suffix.lower() == ".pts"}
    count = Counter(p.stem for p in images)
    faces = []
    for image in images:
        pts = pts_files.get(image.stem)
        problem = "" if pts else f"{image} has no .pts beside it"
        if count[image.stem] > 1:
            problem = f"{image} shares its .pts with another image; move one away"
        faces.append(FaceFiles(_name(root, image), image, pts, problem=problem))
    for stem, pts in pts_files.items():
        if stem not in count:
            problem = f"{pts} has no image beside it"
            faces.append(FaceFiles(_name(root, pts), None, pts, problem=problem))
    return sorted(faces, key=lambda face: face.name)


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_name(path.stem).as_posix()


def add_boxes(faces: list[FaceFiles], root: Path, path: Path) -> list[FaceFiles]:
    """Adds the boxes of a CSV file; a face without a box gets a problem.

    The name in a row is the image's path from the root, or its file name, if no other
    image has this file name.

    Raises:
      DataError: the file is bad.
    """
    boxes = _read_boxes(path)
    count = Counter(face.image.name for face in faces if face.image)
    boxed = []
    for face in faces:
        if face.image and not face.problem:
            box = boxes.get(face.image.relative_to(root).as_posix())
            if box is None and count[face.image.name] == 1:
                box = boxes.get(face.image.name)
            problem = f"{path} has no box for {face.image}" if box is None else ""
            face = face._replace(box=box, problem=problem)
        boxed.append(face)
    return boxed


def _read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Reads boxes, float64 [4], by name."""
    boxes: dict[str, np.ndarray] = {}
    try:
        reader = csv_text.open_table(path)
        if not reader.fieldnames:
            raise ValueError("it is empty")
        for number, row in enumerate(reader, 2):
            if row["name"] in boxes:
                raise ValueError(f"a second row, number {number}, for {row['name']}")
            cells = [row[c] for c in BOX_COLUMNS]
            if None in cells or None in row:
                raise ValueError(f"row {number} has too few cells, or too many")
            box = np.array([_parse_number(cell, number) for cell in cells])
            boxes[row["name"]] = box
    except OSError as e:
        raise DataError(f"data.boxes={str(path)!r} cannot be read: {e.strerror}") from e
    except KeyError as e:
        raise DataError(f"{path} has no column {e}; {BOX_FORMAT}") from e
    except (ValueError, csv.Error) as e:
        raise DataError(f"{path} is no file of boxes ({e}); {BOX_FORMAT}") from e
    return boxes


def _parse_number(cell: str, row: int) -> float:
    try:
        value = csv_text.number(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"row {row} has {cell!r}, which is no number")
    return value

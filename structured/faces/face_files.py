"""Which faces the folders of the 300-W layout hold, before any image is opened."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mtl.host.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png")
COLUMNS = ("left", "top", "width", "height")


class Entry(NamedTuple):
    """A face to read.

    Attributes:
      name: from the root, without an ending.
      image: None where the folder has none.
      pts: None where the folder has none.
      box: float64 [4], None where the points give it.
      wrong: why it cannot be used, or "".
    """

    name: str
    image: Path | None
    pts: Path | None
    box: np.ndarray | None = None
    wrong: str = ""


def entries(root: Path, folders: Sequence[str], boxes: str) -> list[Entry]:
    """All faces of the folders, in their order, by name within each.

    Raises:
      DataError: no such folder, no image in it, one named twice, or a bad box file.
    """
    twice = [f for f, count in Counter(folders).items() if count > 1]
    if twice or not folders:
        raise DataError(
            f"{root}: the folders {list(folders)} must be some, each named once"
        )
    found = [e for folder in folders for e in _folder(root, folder)]
    return with_boxes(found, root, Path(boxes)) if boxes else found


def _folder(root: Path, folder: str) -> list[Entry]:
    place = root / folder
    if not place.is_dir():
        raise DataError(f"{place} is no folder; it should hold images with their .pts")
    # Finder leaves "._a.jpg" beside a.jpg.
    files = [p for p in sorted(place.iterdir()) if not p.name.startswith(".")]
    images = [p for p in files if p.suffix.lower() in ENDINGS]
    if not images:
        raise DataError(f"{place} holds no image that ends with {', '.join(ENDINGS)}")
    pts = {p.stem: p for p in files if p.suffix.lower() == ".pts"}
    count = Counter(p.stem for p in images)
    found = []
    for image in images:
        own = pts.get(image.stem)
        wrong = "" if own else f"{image} has no .pts beside it"
        if count[image.stem] > 1:
            wrong = f"{image} shares its .pts with another image; move one away"
        found.append(Entry(_name(root, image), image, own, wrong=wrong))
    for stem, path in pts.items():
        if stem not in count:
            wrong = f"{path} has no image beside it"
            found.append(Entry(_name(root, path), None, path, wrong=wrong))
    return sorted(found, key=lambda e: e.name)


def _name(root: Path, path: Path) -> str:
    return path.relative_to(root).with_name(path.stem).as_posix()


def with_boxes(found: list[Entry], root: Path, path: Path) -> list[Entry]:
    """Entries with the boxes of a CSV file.

    A row's name is a path from the root, or a file's name if only one has it.

    Raises:
      DataError: the file is bad. An entry without a box is told in its `wrong`.
    """
    boxes = _read_boxes(path)
    names = Counter(e.image.name for e in found if e.image)
    boxed = []
    for e in found:
        if e.image and not e.wrong:
            box = boxes.get(e.image.relative_to(root).as_posix())
            if box is None and names[e.image.name] == 1:
                box = boxes.get(e.image.name)
            wrong = f"{path} has no box for {e.image}" if box is None else ""
            e = e._replace(box=box, wrong=wrong)
        boxed.append(e)
    return boxed


def _read_boxes(path: Path) -> dict[str, np.ndarray]:
    """Name to float64 [4]."""
    boxes: dict[str, np.ndarray] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        reader = csv.DictReader(lines)
        if not reader.fieldnames:
            raise ValueError("it is empty")
        for number, row in enumerate(reader, 2):
            if row["name"] in boxes:
                raise ValueError(f"a second row, number {number}, for {row['name']}")
            cells = [row[c] for c in COLUMNS]
            if None in cells or None in row:
                raise ValueError(f"row {number} has too few cells, or too many")
            box = np.array([_number(cell, number) for cell in cells])
            boxes[row["name"]] = box
    except OSError as e:
        raise DataError(f"data.boxes={str(path)!r} cannot be read: {e.strerror}") from e
    except KeyError as e:
        raise DataError(f"{path} has no column {e}; {_HEADER}") from e
    except (ValueError, csv.Error) as e:
        raise DataError(f"{path} is no file of boxes ({e}); {_HEADER}") from e
    return boxes


def _number(cell: str, row: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise ValueError(f"row {row} has {cell!r}, which is no number")
    return value


_HEADER = "the first row must be name,left,top,width,height, and numbers follow"

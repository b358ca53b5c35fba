"""Lists the faces of WFLW: a line of a list has a face with 98 points.

A line of list_98pt_rect_attr_train.txt holds, separated by spaces:

    x1 y1 ... x98 y98       points, in pixels
    left top right bottom   a box, in pixels
    6 attributes, 0 or 1    pose, expression, illumination, make-up, occlusion, blur
    NAME                    of the image, below the folder WFLW_images

The attributes are checked, and not used. The source gives no coordinate of the first
pixel; we assume 0. A point "nan nan" is missing (ours).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mtl.host.errors import DataError
from structured.faces.face_files import FaceFiles
from structured.faces.points import check_points
from structured.faces.schemes import WFLW_98

IMAGES_FOLDER = "WFLW_images"
LIST_BOXES = "list"  # The value of `boxes` that takes the boxes of the lists.
NUM_ATTRIBUTES = 6
NUM_VALUES = 2 * WFLW_98.count + 4 + NUM_ATTRIBUTES


def list_faces(
    root: Path, lists: Sequence[str], boxes: str, partial: bool = False
) -> list[FaceFiles]:
    """Lists the faces of list files, in the order of their lines.

    Args:
      root: holds the lists and the folder WFLW_images.
      lists: paths from the root.
      boxes: "" takes the tight boxes of the points, "list" the boxes of the lists.
      partial: whether points may be missing.

    Returns:
      Faces with a name such as "0--Parade/a_12.jpg line 3". A line that is wrong, or an
      image that is absent, becomes the problem of its face.

    Raises:
      DataError: a list is missing, is no text or holds no face.
    """
    faces = []
    for name in lists:
        path = root / name
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as e:
            raise DataError(f"{path} cannot be read as a list of faces: {e}") from e
        except OSError as e:
            raise DataError(
                f"{path}: {e.strerror}; data.path={str(root)!r} must hold WFLW_images "
                "and WFLW_annotations"
            ) from e
        rows = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
        if not rows:
            raise DataError(f"{path} holds no face; get it again")
        for number, line in rows:
            faces.append(_read_line(root, path, number, line, boxes, partial))
    return faces


def _read_line(
    root: Path, path: Path, number: int, line: str, boxes: str, partial: bool
) -> FaceFiles:
    *cells, image = line.strip().split(maxsplit=NUM_VALUES)
    where = f"{path}, line {number}"
    try:
        if len(cells) < NUM_VALUES:
            raise ValueError(f"{len(cells) + 1} cells instead of {NUM_VALUES + 1}")
        values = np.array([float(cell) for cell in cells])
        points, box, attributes = np.split(values, [2 * WFLW_98.count, -NUM_ATTRIBUTES])
        points = points.reshape(-1, 2)
        check_points(points, partial)
        if not np.isin(attributes, (0, 1)).all():
            raise ValueError("an attribute is neither 0 nor 1")
    except ValueError as e:
        return FaceFiles(where, None, None, problem=f"{where} is wrong: {e}")
    file = root / IMAGES_FOLDER / image
    return FaceFiles(
        f"{image} line {number}",
        file,
        None,
        np.concatenate([box[:2], box[2:] - box[:2]]) if boxes == LIST_BOXES else None,
        problem="" if file.is_file() else f"{where}: there is no {file}",
        points=points,
    )

"""The 68 points of a face, and the .pts files that hold them.

A .pts file, as the iBUG group publishes them with 300-W:

    version: 1
    n_points: 68
    {
    68 lines "x y"
    }

The file counts pixels from 1. Everything here counts from 0: a whole number is the
centre of a pixel.
"""

from pathlib import Path

import numpy as np

from mtl.host.errors import DataError
from mtl.host.workdir import write_text

POINTS = 68

# From 0, where the papers' figures count from 1. The right eye of the person is the one
# on the left of the image: these names go by the image.
LEFT_CORNER, RIGHT_CORNER = 36, 45
LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)

# The pairs that change places in a mirror; the others stay what they are.
_PAIRS = (
    *((i, 16 - i) for i in range(8)),  # the jaw
    *((17 + i, 26 - i) for i in range(5)),  # the brows
    *((31 + i, 35 - i) for i in range(2)),  # the nostrils
    *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),  # the eyes
    *((48, 54), (49, 53), (50, 52), (55, 59), (56, 58)),  # the outer lips
    *((60, 64), (61, 63), (65, 67)),  # the inner lips
)


def _mirror() -> np.ndarray:
    order = np.arange(POINTS)
    for a, b in _PAIRS:
        order[a], order[b] = b, a
    return order


# int [68]: which point each one becomes when the image is mirrored.
MIRROR = _mirror()


def read_pts(path: str | Path, points: int | None = None) -> np.ndarray:
    """The points of a .pts file, float64 [P, 2] as (x, y) in pixels from 0.

    Blank lines, lines that start with "#" or "//", a byte order mark and Windows' line
    ends are let pass.

    Args:
      path: the file.
      points: how many points there must be; None takes any number.

    Raises:
      DataError: no such file, not of this format, or another number of points.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not text, so no .pts file; get it again") from e
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror})") from e
    lines = [s for s in (line.strip() for line in lines) if s]
    lines = [s for s in lines if not s.startswith(("#", "//"))]
    if "{" not in lines or lines[-1] != "}":
        raise DataError(
            f"{path}: not a whole .pts file: the points must stand between a line "
            "'{' and a last line '}'; get it again"
        )
    start = lines.index("{")
    said = _count(path, lines[:start])
    xy = _numbers(path, lines[start + 1 : -1])
    if len(xy) != said:
        raise DataError(
            f"{path}: n_points says {said}, but {len(xy)} follow; the file is damaged: "
            "get it again"
        )
    if points is not None and said != points:
        raise DataError(f"{path}: it has {said} points, where {points} are needed")
    return xy - 1


def write_pts(path: str | Path, points: np.ndarray) -> None:
    """Writes points [P, 2], in pixels from 0, as a .pts file; aside, then renames.

    Raises:
      ValueError: another shape, or numbers that are not finite.
      WorkdirError: the file cannot be written.
    """
    xy = np.asarray(points, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not len(xy) or not np.isfinite(xy).all():
        raise ValueError(f"points must be finite and [P, 2], not {list(xy.shape)}")
    rows = "".join(f"{x:.8f} {y:.8f}\n" for x, y in xy + 1)
    write_text(Path(path), f"version: 1\nn_points: {len(xy)}\n{{\n{rows}}}\n")


def _count(path: str | Path, lines: list[str]) -> int:
    """n_points, after a look at the version."""
    head = {key.strip(): value for key, _, value in (s.partition(":") for s in lines)}
    try:
        version, count = float(head["version"]), int(head["n_points"])
    except (KeyError, ValueError) as e:
        raise DataError(
            f"{path}: a .pts file starts with 'version: 1' and 'n_points: {POINTS}'; "
            f"this one with {' / '.join(lines)[:60]!r}"
        ) from e
    if version != 1 or count < 1:
        raise DataError(
            f"{path}: version {version:g} with {count} points, where version 1 with at "
            "least one point is understood"
        )
    return count


def _numbers(path: str | Path, rows: list[str]) -> np.ndarray:
    """Float64 [P, 2], as they stand in the file."""
    try:
        xy = np.array([[float(v) for v in row.split()] for row in rows]).reshape(-1, 2)
        if len(xy) == len(rows) and np.isfinite(xy).all():
            return xy
        problem = "a number is not finite, or a line has not two of them"
    except ValueError as e:
        problem = str(e)
    raise DataError(f"{path}: each point must be a line 'x y' of numbers ({problem})")

"""Reads and writes .pts files, which hold the points of a face.

A .pts file, as the iBUG group publishes them with 300-W:

    version: 1
    n_points: 68
    {
    68 lines "x y"
    }

The file counts pixels from 1. This module counts from 0: a whole number is the centre
of a pixel. A line "nan nan" is a point that is missing (ours).
"""

from pathlib import Path

import numpy as np

from mtl.host.errors import DataError
from mtl.host.workdir import write_text

POINTS = 68


def read_pts(
    path: str | Path, num_points: int | None = None, partial: bool = False
) -> np.ndarray:
    """Reads a .pts file: float64 [P, 2], (x, y) in pixels from 0.

    Blank lines, lines that start with "#" or "//", a byte order mark and Windows' line
    ends are ignored.

    Args:
      path: the file.
      num_points: the required number of points; None accepts any number.
      partial: whether points may be missing; they are NaN.

    Raises:
      DataError: the file is missing, has another format or another number of points.
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
    count = _parse_header(path, lines[:start])
    xy = _parse_points(path, lines[start + 1 : -1], partial)
    if len(xy) != count:
        raise DataError(
            f"{path}: n_points says {count}, but {len(xy)} follow; the file is "
            "damaged: get it again"
        )
    if num_points is not None and count != num_points:
        raise DataError(f"{path}: it has {count} points, where {num_points} are needed")
    return xy - 1


def write_pts(path: str | Path, points: np.ndarray) -> None:
    """Writes points [P, 2], in pixels from 0, as a .pts file, atomically.

    Raises:
      ValueError: the shape is another one, or a number is not finite.
      WorkdirError: the file cannot be written.
    """
    xy = np.asarray(points, np.float64)
    if xy.ndim != 2 or xy.shape[1] != 2 or not len(xy) or not np.isfinite(xy).all():
        raise ValueError(f"points must be finite and [P, 2], not {list(xy.shape)}")
    rows = "".join(f"{x:.8f} {y:.8f}\n" for x, y in xy + 1)
    write_text(Path(path), f"version: 1\nn_points: {len(xy)}\n{{\n{rows}}}\n")


def _parse_header(path: str | Path, lines: list[str]) -> int:
    """Checks the version; returns n_points."""
    fields = {key.strip(): value for key, _, value in (s.partition(":") for s in lines)}
    try:
        version, count = float(fields["version"]), int(fields["n_points"])
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


def _parse_points(path: str | Path, rows: list[str], partial: bool) -> np.ndarray:
    """Returns the file's numbers, float64 [P, 2]."""
    try:
        xy = np.array([[float(v) for v in row.split()] for row in rows]).reshape(-1, 2)
        if len(xy) == len(rows):
            check_points(xy, partial)
            return xy
        problem = "a line has not two numbers"
    except ValueError as e:
        problem = str(e)
    raise DataError(f"{path}: each point must be a line 'x y' of numbers ({problem})")


def check_points(xy: np.ndarray, partial: bool) -> None:
    """Checks that points [P, 2] are finite; if `partial`, some may be (NaN, NaN).

    Raises:
      ValueError: a point is not finite, or all are missing.
    """
    missing = np.isnan(xy).all(axis=1)
    bad = np.flatnonzero(~missing & ~np.isfinite(xy).all(axis=1))
    if len(bad):
        raise ValueError(f"point {bad[0] + 1} is not finite")
    if missing.any() and not partial:
        raise ValueError(
            f"point {missing.argmax() + 1} is missing; set data.partial_y=True if some "
            "points may be"
        )
    if len(xy) and missing.all():
        raise ValueError("all points are missing")

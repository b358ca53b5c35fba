"""Reads faces from the source that `config.data` names, and describes their points."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from mtl.host import remote
from mtl.host.checks import require
from structured.faces import face_dataset, face_files, the300w_lp, wflw
from structured.faces.crops import Crop
from structured.faces.face_dataset import Faces, Problem
from structured.faces.schemes import SCHEMES, Scheme

SOURCES = ("300w", "wflw", "the300w_lp")


def read(
    c: ConfigDict, folders: Sequence[str], crop: Crop
) -> tuple[Faces, list[Problem]]:
    """Reads some folders, lists or splits of `config.data`; returns faces and problems.

    Raises:
      DataError: a file is missing or broken.
      WorkdirError: the cache cannot be made or written.
    """
    with remote.local_copy(c.path) as path:
        return _read(path, c, folders, crop)


def _read(
    path: str, c: ConfigDict, folders: Sequence[str], crop: Crop
) -> tuple[Faces, list[Problem]]:
    if c.source == "the300w_lp":
        return the300w_lp.read(path, "+".join(folders), crop, skip_bad=c.skip_bad)
    if c.source == "wflw":
        files = wflw.list_faces(Path(path), folders, c.boxes, c.partial_y)
    else:
        files = face_files.list_faces(Path(path), folders, c.boxes)
    kept = {"cache": c.cache, "partial": c.partial_y, "skip_bad": c.skip_bad}
    return face_dataset.read(path, files, crop, c.points, **kept)


def scheme(c: ConfigDict) -> Scheme:
    """Returns the scheme of `config.data`: its own, or the one in `SCHEMES`."""
    own = Scheme(
        c.points,
        tuple(tuple(pair) for pair in c.mirror_pairs),
        tuple(c.eye_corners),
        tuple(tuple(eye) for eye in c.eyes),
    )
    return own if own != Scheme(c.points) else SCHEMES.get(c.points, own)


def check_scheme(config: ConfigDict) -> None:
    """Checks the fields of a config that describe the points of a face.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    c = config.data
    where = f"points from 0 to {c.points - 1}, each once"
    fits = _are_points(c.mirror_pairs, c.points)
    fits = fits and all(len(pair) == 2 for pair in c.mirror_pairs)
    require(fits, config, "data.mirror_pairs", f"pairs of {where}")
    fits = _are_points([c.eye_corners], c.points) and len(c.eye_corners) in (0, 2)
    require(fits, config, "data.eye_corners", f"empty, or two {where}")
    fits = _are_points(c.eyes, c.points) and len(c.eyes) in (0, 2) and all(c.eyes)
    require(fits, config, "data.eyes", f"empty, or two groups of {where}")
    mirrors = config.augmentation.on and config.augmentation.mirror
    fits = not mirrors or bool(scheme(c).mirror_pairs)
    allowed = f"False, or data.mirror_pairs set for these {c.points} points"
    require(fits, config, "augmentation.mirror", allowed)


def _are_points(groups: Sequence, count: int) -> bool:
    """Whether groups hold indices below `count`, each in one group and once."""
    if not all(isinstance(group, tuple | list) for group in groups):
        return False
    points = [point for group in groups for point in group]
    whole = all(isinstance(point, int) for point in points)
    once = whole and len(set(points)) == len(points)
    return once and all(0 <= point < count for point in points)

"""Writes the result of a scan as PNG and 3D Slicer markups."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

from l3spot.projections.mip import Projection
from l3spot.report.result import IN_VIEW, L3Result
from l3spot.report.results_file import LevelRow
from mtl.host import workdir


class MarkupPoint(TypedDict):
    """A point of 3D Slicer markups, in LPS, mm."""

    id: str
    label: str
    position: list[float]
    visibility: bool
    positionStatus: str


class MarkupPlace(NamedTuple):
    """The place of a vertebra, LPS, mm."""

    level: str
    x_mm: float
    y_mm: float
    z_mm: float


def level_rows(name: str, result: L3Result) -> list[LevelRow]:
    """Returns the rows of levels.csv of a scan."""
    return [
        LevelRow(
            name,
            level.name,
            round(level.z_mm, 2),
            round(level.upper_mm, 2),
            round(level.lower_mm, 2),
            round(level.probability, 4),
        )
        for level in result.levels
    ]


def markup_places(result: L3Result, projection: Projection) -> list[MarkupPlace]:
    """Returns the places of all vertebrae.

    Without `result.spine`, the one place is in the middle of the projections.
    """
    if result.spine is None:
        middle_mm = float(projection.x.mean()), float(projection.y.mean())
        return [MarkupPlace(result.level, *middle_mm, result.z_mm)]
    spine = result.spine
    return [
        MarkupPlace(v.name, spine.x_mm(v.z_mm), v.y_mm, v.z_mm) for v in result.levels
    ]


def slicer_markups(name: str, places: Sequence[MarkupPlace]) -> str:
    """Returns 3D Slicer markups (schema 1.0.0) with a point for each vertebra."""
    points: list[MarkupPoint] = [
        {
            "id": str(i),
            "label": f"{level} {name}",
            "position": [round(x, 3), round(y, 3), round(z, 3)],
            "visibility": True,
            "positionStatus": "defined",
        }
        for i, (level, x, y, z) in enumerate(places, start=1)
    ]
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": points}
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/"
        "Markups/Resources/Schema/markups-schema-v1.0.0.json#"
    )
    return json.dumps({"@schema": schema, "markups": [markup]}, indent=2) + "\n"


def write(
    out: Path,
    name: str,
    projection: Projection,
    result: L3Result,
    png: bytes,
) -> None:
    """Writes NAME.png, and NAME.mrk.json if the vertebra is in view.

    Raises:
      WorkdirError: a file cannot be written.
    """
    workdir.write_bytes(out / f"{name}.png", png)
    if result.status == IN_VIEW:
        markups = slicer_markups(name, markup_places(result, projection))
        workdir.write_text(out / f"{name}.mrk.json", markups)

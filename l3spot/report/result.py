"""What is found in a scan, and the files that tell it: JSON, picture, 3D Slicer's."""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from l3spot.ct.volumes import Volume
from l3spot.localize import preprocess, window_search
from l3spot.localize.model import SURE, Model
from l3spot.localize.window_search import Sequence, Spot
from l3spot.projections.mip import Projection
from mtl.host import workdir

IN, OUT = "found", "not in view"
LOW, HIGH = -100.0, 900.0  # HU of black and white in pictures.
HIGH_INCHES = 4.6  # Of a projection in a picture.


class Found(NamedTuple):
    """status: IN or OUT. z: of L3, mm, LPS. row: of the projection, from the top, mm.

    plane: number of the nearest one, from the feet. confidence: that it is right.
    """

    status: str
    z: float
    row: float
    plane: int
    confidence: float
    sequence: Sequence
    spot: Spot


def find(model: Model, p: Projection, volume: Volume) -> Found:
    """L3 in a projection of 1 mm rows."""
    hu = preprocess.centred(preprocess.coarse(p.frontal))
    x = preprocess.window(hu, model.low, model.high)
    sequence = model.look(x)
    spot = window_search.spot(sequence, float(len(p.z)))
    confidence = model.calibration(spot.evidence)
    z = float(p.z[0]) + 0.5 - spot.row  # Row r of the projection spans r to r + 1 mm.
    plane = int(np.abs(volume.z - z).argmin())
    status = IN if confidence >= SURE else OUT
    return Found(status, z, spot.row, plane, confidence, sequence, spot)


def row_of(found: Found, volume: Volume) -> dict[str, Any]:
    """What results.csv and the JSON say; nothing of a place if it is not in view."""
    told: dict[str, Any] = {
        "status": found.status, "confidence": round(found.confidence, 4),
    }  # fmt: skip
    if found.status == IN:
        plane = volume.slices[found.plane]
        told |= {
            "z_mm": round(found.z, 2),
            "row": round(found.row, 2),
            "slice_index": found.plane,
            "slice_z_mm": round(float(volume.z[found.plane]), 3),
            "file": str(plane.file),
            "sop_instance_uid": plane.sop_instance_uid,
        }
    return told


def draw(name: str, p: Projection, found: Found) -> bytes:
    """A PNG: the projection with the line, what windows tell, the correlation."""
    rows, columns = p.frontal.shape
    wide = float(np.clip(HIGH_INCHES * columns / rows, 2, 12))
    figure = Figure(figsize=(wide + 4.5, HIGH_INCHES + 0.9), layout="constrained")
    image, told, fit = figure.subplots(
        1, 3, sharey=True, width_ratios=[wide / 1.7, 1, 1]
    )
    grey = np.clip((p.frontal - LOW) / (HIGH - LOW), 0, 1)
    image.imshow(grey, cmap="gray", extent=(0, columns, rows, 0), aspect="auto")
    row = found.sequence.row
    told.plot(found.sequence.away, row, lw=1)
    told.set(xlabel="L3 is below, mm", xlim=(-70, 70))
    fit.plot(found.spot.correlation, row, lw=1)
    fit.set(xlabel="correlation with the ramp", xlim=(-1.2, 1.2), ylim=(rows, 0))
    for ax in (told, fit):
        ax.axvline(0, color="0.7", lw=0.8)
    colour = "tab:red" if found.status == IN else "0.6"
    for ax in (image, told, fit):
        ax.axhline(found.row, color=colour, lw=1, ls="-" if found.status == IN else ":")
    image.set(xticks=[], ylabel="mm from the top")
    if found.status == IN:
        place = f"L3 at z = {found.z:.1f} mm, confidence {found.confidence:.2f}"
    else:
        place = f"L3 is not in view; confidence that it is {found.confidence:.2f}"
    figure.suptitle(f"{name}: {place}", fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def slicer(name: str, found: Found, x: float, y: float) -> str:
    """A markups file of 3D Slicer (schema 1.0.0), one point in LPS, mm."""
    point = {
        "id": "1", "label": f"L3 {name}", "position": [x, y, round(found.z, 3)],
        "visibility": True, "positionStatus": "defined",
    }  # fmt: skip
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/"
        "Markups/Resources/Schema/markups-schema-v1.0.0.json#"
    )
    return json.dumps({"@schema": schema, "markups": [markup]}, indent=2) + "\n"


def write(
    out: Path,
    name: str,
    told: dict[str, Any],
    p: Projection,
    found: Found,
    drawn: bytes,
) -> None:
    """NAME.png as drawn, NAME.mrk.json if L3 is in view, and NAME.json, last."""
    workdir.write_bytes(out / f"{name}.png", drawn)
    if found.status == IN:
        middle = float(p.x.mean()), float(p.y.mean())
        workdir.write_text(out / f"{name}.mrk.json", slicer(name, found, *middle))
    workdir.write_json(out / f"{name}.json", told)

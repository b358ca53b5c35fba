"""Finds L3 in a scan, and writes the result as JSON, PNG and 3D Slicer markups."""

import io
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from l3spot.ct.volumes import Volume
from l3spot.localize import preprocess, window_search
from l3spot.localize.model import MIN_CONFIDENCE, Model
from l3spot.localize.window_search import L3Estimate, WindowOffsets
from l3spot.projections.mip import Projection
from l3spot.report.results_file import ResultRow
from mtl.host import workdir

IN_VIEW, NOT_IN_VIEW = "found", "not in view"
LOW_HU, HIGH_HU = -100.0, 900.0  # Black and white in pictures.
PROJECTION_HEIGHT_INCHES = 4.6


class L3Result(NamedTuple):
    """The result of a scan.

    Attributes:
      status: IN_VIEW or NOT_IN_VIEW.
      z_mm: of L3, LPS.
      row_mm: L3 below the top of the projection.
      slice_index: the slice nearest to L3, counted from the feet, from 0.
      confidence: the probability that the position is right.
      offsets: the window offsets.
      estimate: the estimate from the offsets.
    """

    status: str
    z_mm: float
    row_mm: float
    slice_index: int
    confidence: float
    offsets: WindowOffsets
    estimate: L3Estimate


def find_l3(model: Model, projection: Projection, volume: Volume) -> L3Result:
    """Finds L3 in a projection with 1 mm rows."""
    hu = preprocess.crop_to_spine(preprocess.downsample(projection.frontal))
    x = preprocess.to_grey(hu, model.low_hu, model.high_hu)
    offsets = model.window_offsets(x)
    estimate = window_search.locate(offsets, float(len(projection.z)))
    confidence = model.calibration(estimate.confidence_features)
    # Row r of the projection spans r to r + 1 mm.
    z_mm = float(projection.z[0]) + 0.5 - estimate.row_mm
    slice_index = int(np.abs(volume.z - z_mm).argmin())
    status = IN_VIEW if confidence >= MIN_CONFIDENCE else NOT_IN_VIEW
    return L3Result(
        status, z_mm, estimate.row_mm, slice_index, confidence, offsets, estimate
    )


def add_result(row: ResultRow, result: L3Result, volume: Volume) -> ResultRow:
    """Returns a row with the result; it has a position only if L3 is in view."""
    row = row._replace(status=result.status, confidence=round(result.confidence, 4))
    if result.status != IN_VIEW:
        return row
    nearest = volume.slices[result.slice_index]
    return row._replace(
        z_mm=round(result.z_mm, 2),
        row=round(result.row_mm, 2),
        slice_index=result.slice_index,
        slice_z_mm=round(float(volume.z[result.slice_index]), 3),
        file=str(nearest.file),
        sop_instance_uid=nearest.sop_instance_uid,
    )


def draw_png(name: str, projection: Projection, result: L3Result) -> bytes:
    """Draws the projection with L3's row, the window offsets and the correlation."""
    rows, columns = projection.frontal.shape
    width = float(np.clip(PROJECTION_HEIGHT_INCHES * columns / rows, 2, 12))
    figure = Figure(
        figsize=(width + 4.5, PROJECTION_HEIGHT_INCHES + 0.9), layout="constrained"
    )
    image, offsets, correlation = figure.subplots(
        1, 3, sharey=True, width_ratios=[width / 1.7, 1, 1]
    )
    grey = np.clip((projection.frontal - LOW_HU) / (HIGH_HU - LOW_HU), 0, 1)
    image.imshow(grey, cmap="gray", extent=(0, columns, rows, 0), aspect="auto")
    row_mm = result.offsets.row_mm
    offsets.plot(result.offsets.offset_mm, row_mm, lw=1)
    offsets.set(xlabel="L3 is below, mm", xlim=(-70, 70))
    correlation.plot(result.estimate.correlation, row_mm, lw=1)
    correlation.set(
        xlabel="correlation with the ramp", xlim=(-1.2, 1.2), ylim=(rows, 0)
    )
    for ax in (offsets, correlation):
        ax.axvline(0, color="0.7", lw=0.8)
    in_view = result.status == IN_VIEW
    for ax in (image, offsets, correlation):
        ax.axhline(
            result.row_mm,
            color="tab:red" if in_view else "0.6",
            lw=1,
            ls="-" if in_view else ":",
        )
    image.set(xticks=[], ylabel="mm from the top")
    figure.suptitle(f"{name}: {_title(result)}", fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def _title(result: L3Result) -> str:
    if result.status == IN_VIEW:
        return f"L3 at z = {result.z_mm:.1f} mm, confidence {result.confidence:.2f}"
    confidence = f"confidence {result.confidence:.2f} is below {MIN_CONFIDENCE:g}"
    return f"L3 is not in view: {confidence}"


def slicer_markups(name: str, result: L3Result, x_mm: float, y_mm: float) -> str:
    """Returns 3D Slicer markups (schema 1.0.0) with one point in LPS, mm."""
    point = {
        "id": "1",
        "label": f"L3 {name}",
        "position": [x_mm, y_mm, round(result.z_mm, 3)],
        "visibility": True,
        "positionStatus": "defined",
    }
    markup = {"type": "Fiducial", "coordinateSystem": "LPS", "controlPoints": [point]}
    schema = (
        "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/"
        "Markups/Resources/Schema/markups-schema-v1.0.0.json#"
    )
    return json.dumps({"@schema": schema, "markups": [markup]}, indent=2) + "\n"


def write_files(
    out: Path,
    name: str,
    row: ResultRow,
    projection: Projection,
    result: L3Result,
    png: bytes,
) -> None:
    """Writes NAME.png, then NAME.mrk.json if L3 is in view, then NAME.json.

    Raises:
      WorkdirError: a file cannot be written.
    """
    workdir.write_bytes(out / f"{name}.png", png)
    if result.status == IN_VIEW:
        middle_mm = float(projection.x.mean()), float(projection.y.mean())
        markups = slicer_markups(name, result, *middle_mm)
        workdir.write_text(out / f"{name}.mrk.json", markups)
    workdir.write_json(out / f"{name}.json", workdir.cells(row))

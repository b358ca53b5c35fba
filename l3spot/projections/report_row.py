"""The rows of report.csv, which `l3spot.project` writes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from l3spot.ct import volumes
from l3spot.ct.slices import Slice
from l3spot.ct.volumes import Volume
from l3spot.projections.dataset_layouts import Case

PROJECTED, REJECTED = "projected", "rejected"
LEFT_OUT = "left out"  # The status of a scan's volumes that are not projected.


class ReportRow(NamedTuple):
    """The row of a scan, or of another volume: columns are the fields, None is empty.

    Attributes:
      scan: the scan's name.
      status: PROJECTED, REJECTED or LEFT_OUT.
      why: the reason, unless the scan is projected.
      label: "in view", "not in view", or "" if the scan has no label.
      l3_mm: z of the middle of the L3 body, LPS.
      l3_row: the row of the projection nearest to it.
      label_source: the origin of the label.
      series: the SeriesInstanceUID.
      planes: the number of slices.
      step_mm: the distance between slices.
      low_mm: z of the lowest slice.
      high_mm: z of the highest slice.
      row_mm: the distance between rows of the projection.
      column_mm: the distance between its columns.
      unread_files: the number of files of the scan that cannot be read.
      warnings: messages for the user, separated by semicolons.
      seconds: how long the scan took.
    """

    scan: str
    status: str = ""
    why: str = ""
    label: str = ""
    l3_mm: float | None = None
    l3_row: int | None = None
    label_source: str = ""
    series: str = ""
    planes: int | None = None
    step_mm: float | None = None
    low_mm: float | None = None
    high_mm: float | None = None
    row_mm: float | None = None
    column_mm: float | None = None
    unread_files: int | None = None
    warnings: str = ""
    seconds: float | None = None


def blank_row(case: Case) -> ReportRow:
    """Returns the row of a scan with its name and label source, else empty."""
    return ReportRow(case.name, label_source=str(case.label) if case.label else "")


def with_volume(
    row: ReportRow, slices: Sequence[Slice], volume: Volume | None = None
) -> ReportRow:
    """Returns a row with the columns of a volume, or of rejected slices."""
    row = row._replace(series=slices[0].series.series_uid, planes=len(slices))
    if volume is None:
        return row
    return row._replace(
        step_mm=round(volumes.slice_spacing_mm(volume), 3),
        low_mm=round(float(volume.z[0]), 3),
        high_mm=round(float(volume.z[-1]), 3),
        warnings="; ".join(volume.warnings),
    )


def from_json(cells: Mapping[str, Any]) -> ReportRow:
    """Returns the row of `workdir.cells`.

    Raises:
      ValueError: the columns are others.
    """
    if cells.keys() != set(ReportRow._fields):
        raise ValueError(f"its columns are not {', '.join(ReportRow._fields)}")
    return ReportRow(**{k: v for k, v in cells.items() if v != ""})

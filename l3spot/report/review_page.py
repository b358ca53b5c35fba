"""Renders the page on which a person reviews all answers, one scan after the other.

The page is one file with pictures beside it. It opens from a disk and sends nothing:
the answers stay in the browser until the reader exports them as corrections.csv.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from l3spot.projections import names
from l3spot.report import html_page, review_files
from l3spot.report.result import IN_VIEW
from l3spot.report.results_file import ResultRow
from l3spot.report.review_files import PIXEL_MM, Grid, ReviewData
from mtl.host import html
from mtl.host.errors import DataError

EVEN_MM = 0.02  # Slices that deviate less from even distances are stored as such.
MOST_SCANS = 10_000  # On the page, which a browser then opens in two seconds.
SHOWN_COLUMNS = (
    *("scan", "level", "status", "trust", "confidence", "within_5_mm", "numbering"),
    *("z_mm", "other_z_mm", "warnings", "series"),
)


def render(rows: Sequence[ResultRow], out: Path) -> str:
    """Renders the review of rows of results.csv, the least trustworthy answers first.

    Failed scans, scans without the files of `review_files`, and the surest ones of more
    than `MOST_SCANS` are counted, but not shown.

    Args:
      rows: of all scans.
      out: the folder with the scans' files, in which the page will lie.
    """
    scans: list[dict[str, object]] = []
    hidden = 0
    for row in html_page.worst_first(rows):
        if len(scans) == MOST_SCANS:
            break
        try:
            data = review_files.read(out, names.file_stem(row.scan))
        except DataError:
            hidden += 1
            continue
        scans.append(_scan(row, data))
    return html.render(
        "l3spot/report/review.html",
        title="Review of the answers",
        hidden=hidden,
        surer=len(rows) - hidden - len(scans),
        data={"pixel_mm": PIXEL_MM, "found": IN_VIEW, "scans": scans},
    )


def _scan(row: ResultRow, data: ReviewData) -> dict[str, object]:
    """Returns what the page shows of a scan; unknown numbers are None."""
    return {name: getattr(row, name) for name in SHOWN_COLUMNS} | {
        "url": html_page.url(row.scan),
        "top_mm": data.top_mm,
        "rows": data.rows,
        "frontal": _grid(data.frontal),
        "sagittal": None if data.sagittal is None else _grid(data.sagittal),
        "vertebrae": [
            {"name": v.name, "frontal": v.x_mm, "sagittal": v.y_mm}
            | {"z_mm": round(v.z_mm, 2), "upper_mm": v.upper_mm, "lower_mm": v.lower_mm}
            for v in data.vertebrae
        ],
        "slices": slices(data.z_mm),
    }


def _grid(grid: Grid) -> dict[str, float]:
    return grid._asdict()


def slices(z_mm: Sequence[float]) -> dict[str, object]:
    """Returns z of the lowest slice, distance and count; and all z if not even."""
    even = np.linspace(z_mm[0], z_mm[-1], len(z_mm))
    uneven = np.abs(even - z_mm).max() > EVEN_MM
    return {
        "low_mm": z_mm[0],
        "step_mm": (z_mm[-1] - z_mm[0]) / (len(z_mm) - 1),
        "count": len(z_mm),
        "z_mm": list(z_mm) if uneven else None,
    }

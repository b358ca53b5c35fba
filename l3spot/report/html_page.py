"""Renders the page over the results of all scans: a sortable table and the pictures."""

from collections.abc import Sequence
from urllib.parse import quote

from l3spot.projections import names
from l3spot.report.result import NOT_IN_VIEW
from l3spot.report.results_file import ResultRow
from mtl.host import html, workdir
from mtl.host.wording import counted

# Columns of the table, from results.csv, with the CSS classes of their cells.
COLUMN_CLASSES = {
    "scan": "",
    "status": "",
    "confidence": "number",
    "within_5_mm": "number",
    "numbering": "",
    "z_mm": "number",
    "slice_index": "number",
    "warnings": "text",
    "left_out": "text",
    "why": "text",
}


def render(rows: Sequence[ResultRow], about: str) -> str:
    """Renders rows of results.csv as HTML, the least trustworthy answers first.

    Args:
      rows: of all scans; those that failed have no confidence. The page links to the
        picture NAME.png of each other scan, in the page's folder.
      about: describes the model in one line.
    """
    worst_first = sorted(rows, key=trust)
    statuses = [row.status for row in rows]
    counts = [f"{statuses.count(status)} {status}" for status in sorted(set(statuses))]
    return html.render(
        "l3spot/report/index.html",
        title=f"L3 in {counted(len(rows), 'scan')}",
        counts=", ".join(counts),
        about=about,
        columns=[dict(name=k, css_class=v) for k, v in COLUMN_CLASSES.items()],
        rows=[workdir.cells(row) | _places(row.scan) for row in worst_first],
    )


def trust(row: ResultRow) -> float:
    """Returns the probability that an answer is right; failed scans come first.

    A position is right within 5 mm, and "not in view" if the vertebra is not there.
    """
    if row.confidence is None:
        return -1.0
    if row.status == NOT_IN_VIEW:
        return 1 - row.confidence
    return row.confidence if row.within_5_mm is None else row.within_5_mm


def url(scan: str) -> str:
    """Returns the URL of a scan's files without suffix, which keeps any bytes of it."""
    return quote(names.file_stem(scan), errors="surrogateescape")


def _places(scan: str) -> dict[str, str]:
    """Returns the name of a scan's files, and its URL."""
    return {"stem": names.file_stem(scan), "url": url(scan)}

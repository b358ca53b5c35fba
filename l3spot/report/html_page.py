"""Renders the page over the results of all scans: a sortable table and the pictures."""

import json
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from markupsafe import Markup

from l3spot.projections import names
from l3spot.report.results_file import ResultRow
from mtl.host import html, workdir
from mtl.host.wording import counted

PAGE_ROWS = 200  # Of a page of the table.
# Columns of the table, from results.csv, with the CSS classes of their cells. The
# reason of a failure stands beside the status, where no window hides it.
COLUMN_CLASSES = {
    "scan": "",
    "status": "",
    "why": "text",
    "trust": "number",
    "confidence": "number",
    "within_5_mm": "number",
    "numbering": "",
    "z_mm": "number",
    "slice_index": "number",
    "warnings": "text",
    "left_out": "text",
}


def render(rows: Sequence[ResultRow], about: str, lacking: int = 0) -> str:
    """Renders rows of results.csv as HTML, the least trustworthy answers first.

    The page shows `PAGE_ROWS` rows at a time, with their pictures; it holds the others
    as data, which its script filters, sorts and shows.

    Args:
      rows: of all scans; those that failed have no trust. The page links to the
        picture NAME.png of each other scan, in the page's folder.
      about: describes the model in one line.
      lacking: number of scans without a result.
    """
    ordered = worst_first(rows)
    statuses = Counter(row.status for row in rows)
    counts = [f"{n} {status}" for status, n in sorted(statuses.items())]
    counts += [f"{lacking} without a result yet"] if lacking else []
    data = [[*map(str, _shown(row).values()), *_places(row.scan)] for row in ordered]
    return html.render(
        "l3spot/report/index.html",
        title=f"L3 in {counted(len(rows), 'scan')}",
        counts=", ".join(counts),
        about=about,
        columns=[dict(name=k, css_class=v) for k, v in COLUMN_CLASSES.items()],
        rows=[(_shown(row), _places(row.scan)) for row in ordered[:PAGE_ROWS]],
        statuses=sorted(statuses),
        page_rows=PAGE_ROWS,
        # A name that holds "</script>" must not end the script.
        data=Markup(json.dumps(data).replace("<", "\\u003c")),
    )


def worst_first(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Returns rows in the order of their trust; failed scans come first."""
    return sorted(rows, key=lambda row: -1.0 if row.trust is None else row.trust)


def _shown(row: ResultRow) -> dict[str, object]:
    cells = workdir.cells(row)
    return {column: cells[column] for column in COLUMN_CLASSES}


def url(scan: str) -> str:
    """Returns the URL of a scan's files without suffix, which keeps any bytes of it."""
    return quote(names.file_stem(scan), errors="surrogateescape")


def _places(scan: str) -> tuple[str, str]:
    """Returns the name of a scan's files, and its URL."""
    return names.file_stem(scan), url(scan)

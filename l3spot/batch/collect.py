"""Makes the tables and pages of a folder from its results."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from l3spot.report import html_page, review_page
from l3spot.report.result_json import MadeBy
from l3spot.report.results_file import (
    LEVEL_TABLE,
    TABLE,
    LevelRow,
    ResultRow,
    ScanRows,
)
from mtl.host import claims, workdir

PAGE, REVIEW_PAGE, SUMMARY = "index.html", "review.html", "summary.json"
FILES = (TABLE, LEVEL_TABLE, PAGE, REVIEW_PAGE, SUMMARY)


def write(
    out: Path,
    names: Sequence[str],
    results: Mapping[str, Sequence[ScanRows]],
    made_by: MadeBy,
) -> list[ResultRow]:
    """Writes results.csv, levels.csv, summary.json, index.html and review.html.

    Args:
      out: the folder.
      names: of all scans, in order.
      results: by scan; scans without one are counted.
      made_by: what all results were made from.

    Returns:
      The rows of results.csv.

    Raises:
      WorkdirError: a file cannot be written.
    """
    found = [result for name in names for result in results.get(name, ())]
    rows = [result.row for result in found]
    levels = [level for result in found for level in result.levels]
    lacking = sum(name not in results for name in names)
    summary = {
        "scans": len(names),
        "without_result": lacking,
        "results": dict(Counter(row.status for row in rows)),
        "made_by": dict(made_by),
    }
    workdir.write_csv(out / TABLE, ResultRow._fields, rows)
    workdir.write_csv(out / LEVEL_TABLE, LevelRow._fields, levels)
    workdir.write_json(out / SUMMARY, summary)
    workdir.write_text(out / PAGE, html_page.render(rows, made_by["about"], lacking))
    workdir.write_text(out / REVIEW_PAGE, review_page.render(rows, out))
    return rows


def delete(out: Path) -> None:
    """Deletes the tables and pages of an earlier run: they no longer fit the results.

    Raises:
      WorkdirError: the folder's manifest is broken.
    """
    claims.delete_claimed(out, FILES)

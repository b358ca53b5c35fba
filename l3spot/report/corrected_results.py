"""Writes a person's answers beside the first ones, into the folder of the results.

The first answer stays in its columns. results.csv gets the columns of `FinalAnswer`,
and levels.csv gets final_level. Each NAME.json is the last file of its scan that is
written, and the tables follow from these, so the same command ends an interrupted run.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from l3spot.projections import names
from l3spot.report import corrected_scan, corrections, dicom_sr, review_files
from l3spot.report.corrected_scan import (
    FINAL_LEVEL,
    FIRST_COLUMNS,
    FinalAnswer,
    Scan,
)
from l3spot.report.corrections import Line
from l3spot.report.result_json import VERDICT
from l3spot.report.results_file import FAILED, LEVEL_TABLE, TABLE
from mtl.host import claims, csv_text, workdir
from mtl.host.errors import DataError, WorkdirError

Table: TypeAlias = tuple[list[str], list[dict[str, str]]]  # Columns and rows.


class Final(NamedTuple):
    """The final answer of a scan, and the final names of its vertebrae by the first."""

    answer: FinalAnswer
    level_names: dict[str, str]


class Applied(NamedTuple):
    """What was done.

    verdicts: of all scans with a review, also of earlier corrections.
    not_made: why a DICOM file could not be made, by its name.
    """

    verdicts: list[str]
    not_made: dict[str, str]


def apply(results: Path, corrections_csv: Path) -> Applied:
    """Checks all corrections, then writes the corrected results.

    Scans without a line keep the correction of an earlier run.

    Raises:
      DataError: the results or the corrections are broken, or do not fit.
      WorkdirError: a file cannot be written, or is the user's own.
    """
    lines = corrections.read(corrections_csv)
    columns, rows = _read_table(results / TABLE, ("scan", "level", *FIRST_COLUMNS))
    level_table = _read_table(results / LEVEL_TABLE, ("scan", "level"))
    by_scan = {row["scan"]: row for row in rows}
    scans = [_check(line, by_scan, results) for line in lines.values()]
    if any(scan.data.dicom for scan in scans):
        dicom_sr.check()
    written = [name for scan in scans for name in corrected_scan.file_names(scan)]
    claims.claim(results, written)
    not_made: dict[str, str] = {}
    for scan in scans:
        not_made |= corrected_scan.write(results, scan)
    finals = {row["scan"]: _final(results, row) for row in rows}
    _write_tables(results, (columns, rows), level_table, finals)
    verdicts = [final.answer.verdict for final in finals.values()]
    return Applied([verdict for verdict in verdicts if verdict], not_made)


def _read_table(path: Path, needed: Sequence[str]) -> Table:
    """Reads a table as text, without the columns of an earlier correction."""
    try:
        table = csv_text.open_table(path, errors="surrogateescape")
        found = list(table.fieldnames or [])
        missing = [name for name in needed if name not in found]
        if missing:
            raise DataError(
                f"{path} is no {path.name} of l3spot.predict: it has no column "
                f"{', '.join(missing)}; give the folder of its results"
            )
        added = {*FinalAnswer._fields, FINAL_LEVEL}
        columns = [name for name in found if name not in added]
        rows = [
            {name: csv_text.unprotect(row[name] or "") for name in columns}
            for row in table
        ]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        why = e.strerror if isinstance(e, OSError) else type(e).__name__
        raise DataError(
            f"{path} cannot be read ({why}); give the folder of the results"
        ) from e
    return columns, rows


def _check(line: Line, rows: Mapping[str, dict[str, str]], results: Path) -> Scan:
    """Checks a correction against the scan's files, and returns both."""
    scan = line.correction.scan
    row = rows.get(scan)
    if row is None:
        raise DataError(
            f"{line.where}: {results / TABLE} has no scan {scan!r}; take the "
            "corrections of these results, or remove the line"
        )
    if row["status"] == FAILED:
        raise DataError(
            f"{line.where}: the scan {scan!r} has failed, so there is no answer to "
            "correct; remove the line"
        )
    stem = names.file_stem(scan)
    data = review_files.read(results, stem)
    corrections.check(line, row, data)
    return Scan(stem, _read_json(results, stem), data, line.correction)


def _read_json(results: Path, stem: str) -> dict[str, Any]:
    path = results / f"{stem}.json"
    try:
        content = workdir.read_json(path)
        return {**content, "levels": [dict(level) for level in content["levels"]]}
    except (WorkdirError, LookupError, TypeError, ValueError) as e:
        raise DataError(
            f"{path} is missing or broken ({e}); run l3spot.predict again"
        ) from e


def _final(results: Path, row: Mapping[str, str]) -> Final:
    first = FinalAnswer(*(row[name] for name in FIRST_COLUMNS))
    if row["status"] == FAILED:
        return Final(first, {})
    content = _read_json(results, names.file_stem(row["scan"]))
    level_names = {
        v["level"]: v.get(FINAL_LEVEL, v["level"]) for v in content["levels"]
    }
    if not content.get(VERDICT):
        return Final(first, level_names)
    answer = FinalAnswer(*(content[name] for name in FinalAnswer._fields))
    return Final(answer, level_names)


def _write_tables(
    results: Path, table: Table, level_table: Table, finals: Mapping[str, Final]
) -> None:
    columns, rows = table
    workdir.write_csv(
        results / TABLE,
        [*columns, *FinalAnswer._fields],
        [[*row.values(), *finals[row["scan"]].answer] for row in rows],
    )
    columns, rows = level_table
    level_names = [finals[row["scan"]].level_names[row["level"]] for row in rows]
    workdir.write_csv(
        results / LEVEL_TABLE,
        [*columns, FINAL_LEVEL],
        [[*row.values(), name] for row, name in zip(rows, level_names, strict=True)],
    )

"""A list of scans: a CSV file with the columns scan and path.

Paths are absolute, or relative to the list's folder. `top_only` is "yes" if the folders
within the scan's folder are other scans. A list without the column scan takes the names
of the paths.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from l3spot.projections import dataset_layouts
from l3spot.projections.scan_folders import Case
from mtl.host import csv_text, workdir
from mtl.host.errors import DataError

COLUMNS = ("scan", "path", "top_only")
SUFFIX = ".csv"
FILE = "scans.csv"  # Of a folder of results: all scans, also those of other shards.


def find(scans: Path, layout: str = "") -> list[Case]:
    """Returns the scans of a folder or of a list, in order.

    Args:
      scans: the folder or file; see `dataset_layouts`; or the list.
      layout: of the folder; "" detects it.

    Raises:
      DataError: there are no scans; or the list is none, names a path that is not
        there, or a scan twice.
    """
    if scans.suffix.lower() == SUFFIX and scans.is_file():
        return _read(scans)
    layout = layout or dataset_layouts.detect(scans)
    if layout == "kanavati":
        raise DataError(
            f"{scans} holds arrays, such as projections; --scans must hold CT "
            "scans, as DICOM or NIfTI files"
        )
    return dataset_layouts.find(scans, layout)


def read_folder(folder: Path) -> list[Case]:
    """Returns the scans of a folder of results, whether or not they still exist.

    Raises:
      DataError: the folder holds no results.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{folder} holds no {FILE}, which l3spot.predict writes there")
    return _read(path, exist=False)


def write(path: Path, cases: Sequence[Case]) -> None:
    """Writes a list of scans.

    Raises:
      WorkdirError: the file cannot be written.
    """
    rows = [
        (case.name, os.path.abspath(case.path), "yes" if case.top_only else "")
        for case in cases
    ]
    workdir.write_csv(path, COLUMNS, rows)


def check_apart(cases: Sequence[Case], scans: Path, out: Path) -> None:
    """Refuses a folder for results within a scan.

    Raises:
      WorkdirError: it is, or lies in, the folder of scans or a scan.
    """
    if scans.is_dir():
        workdir.check_apart(out, scans, "scans")
        return
    there = out.resolve()
    inside = {str(there), *map(str, there.parents)}
    for case in cases:
        if os.path.realpath(case.path) in inside:
            workdir.check_apart(out, case.path, "scans")


def _read(path: Path, exist: bool = True) -> list[Case]:
    try:
        table = csv_text.open_table(path, errors="surrogateescape")
        if "path" not in (table.fieldnames or []):
            raise DataError(
                f"{path} has no column path; it must list the path of each scan"
            )
        rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{path} cannot be read as a list of scans ({e})") from e
    cases = [
        _case(row, path, f"{path}, row {i}", exist) for i, row in enumerate(rows, 2)
    ]
    if not cases:
        raise DataError(f"{path} lists no scans")
    seen: dict[str, int] = {}
    for i, case in enumerate(cases, 2):
        if case.name in seen:
            raise DataError(
                f"{path}, row {i}: there is a scan {case.name!r} in row "
                f"{seen[case.name]} already; give each a name in the column scan"
            )
        seen[case.name] = i
    return cases


def _case(row: dict[str, str], listed: Path, where: str, exist: bool) -> Case:
    text = csv_text.unprotect(row["path"] or "")
    if not text:
        raise DataError(f"{where}: the path is empty")
    path = listed.parent / text
    if exist and not os.path.lexists(path):
        raise DataError(f"{where}: {path} does not exist; correct the path")
    name = csv_text.unprotect(row.get("scan") or "") or path.name
    return Case(name, path, top_only=(row.get("top_only") or "").lower() == "yes")

"""Finds the results of earlier runs that still hold, and the files of these runs."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from l3spot.projections import fingerprint, names
from l3spot.projections.scan_folders import Case
from l3spot.report import predict_scan, result_json
from l3spot.report.predict_scan import EVERY_FILE, Job
from l3spot.report.result_json import MadeBy, Stored
from l3spot.report.results_file import FAILED, ScanRows
from mtl.host import claims
from mtl.host.errors import DataError


def job(case: Case, common: MadeBy) -> Job:
    """Returns the work on a scan; `common` is what all results are made from."""
    return Job(case, {**common, "path": os.path.abspath(case.path)})


def holds(job: Job, stored: Stored, out: Path, retry_failed: bool = False) -> bool:
    """Returns whether the result of an earlier run holds, or must be found again.

    It holds if it was made by the same version, model and options from the same files.

    Args:
      job: the scan.
      stored: its result.
      out: the folder of the results.
      retry_failed: whether a result that failed holds no longer.
    """
    made_by = dict(stored.made_by)
    files = made_by.pop("files", None)
    if made_by != job.made_by or (retry_failed and _has_failed(stored.results)):
        return False
    try:
        same = fingerprint.of_files(job.case) == files
    except (DataError, OSError):
        return False  # Working on the scan raises the error.
    return same and _have_pictures(stored.results, out)


def find_any_result(job: Job, out: Path) -> list[ScanRows] | None:
    """Returns a result of the same version, model and options, from any files."""
    stored = result_json.read(out, job.case.name)
    if stored is None or {**stored.made_by, "files": 0} != {**job.made_by, "files": 0}:
        return None
    return stored.results


def with_old_files(
    jobs: Sequence[Job],
    stored: Mapping[str, Stored | None],
    out: Path,
    claimed: Iterable[str],
) -> list[Job]:
    """Adds to each job the names of its files of earlier runs, of any options.

    NAME.json is not among them: it says that files of several results are a run's.

    Args:
      jobs: the scans.
      stored: the result of an earlier run by scan, or None.
      out: the folder of the results.
      claimed: the names of all files of earlier runs.
    """
    there, claimed = set(os.listdir(out)), set(claimed)
    found = []
    for one in jobs:
        own = predict_scan.file_names(one.case.name, EVERY_FILE)[1:]
        old = [name for name in own if name in there and name in claimed]
        result = stored[one.case.name]
        for name in result.names if result else ():
            if name != one.case.name:  # One of several results.
                several = predict_scan.file_names(name, EVERY_FILE)
                old += [f for f in several if f in there]
        found.append(one._replace(old_files=tuple(old)))
    return found


def strangers(cases: Sequence[Case], out: Path, known: Mapping[str, object]) -> int:
    """Counts results in a folder of scans that are not among the cases.

    Args:
      cases: all scans.
      out: the folder of the results.
      known: has the name of each result of the cases.
    """
    stems = {result_json.path(out, case.name).name for case in cases}
    stems |= {result_json.path(out, name).name for name in known}
    claimed = claims.claimed(out)
    return sum(
        name.endswith(".json")
        and not name.endswith((".mrk.json", ".review.json", "summary.json"))
        and name not in stems
        and name in claimed
        for name in os.listdir(out)
    )


def _have_pictures(results: Sequence[ScanRows], out: Path) -> bool:
    rows = (result.row for result in results)
    stems = [names.file_stem(row.scan) for row in rows if row.status != FAILED]
    return all((out / f"{stem}.png").exists() for stem in stems)


def _has_failed(results: Sequence[ScanRows]) -> bool:
    return any(result.row.status == FAILED for result in results)

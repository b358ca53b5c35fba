"""Works on the scans of an archive, as far as they have no result that holds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from absl import logging
from tqdm import tqdm

from l3spot.batch import collect, resume, run, scan_list
from l3spot.batch.run import ScanWorker
from l3spot.projections.scan_folders import Case
from l3spot.report import predict_scan, result_json
from l3spot.report.predict_scan import Job
from l3spot.report.result_json import Stored
from l3spot.report.results_file import FAILED, ResultRow, ScanRows
from mtl.host import claims, workdir
from mtl.host.shards import WHOLE, Shard
from mtl.host.wording import counted


class BatchOptions(NamedTuple):
    """How many scans are worked on.

    Attributes:
      workers: number of processes; None takes one per core, if there are many scans.
      shard: the part of the scans.
      retry_failed: work on scans again that failed.
      engine: one of `run.ENGINES`.
    """

    workers: int | None = None
    shard: Shard = WHOLE
    retry_failed: bool = False
    engine: str = run.PROCESSES


def predict_cases(
    cases: Sequence[Case], worker: ScanWorker, batch: BatchOptions
) -> list[ResultRow]:
    """Works on the scans of a shard that have no result; writes tables and pages.

    Args:
      cases: all scans.
      worker: works on one.
      batch: how many scans are worked on.

    Returns:
      The rows of results.csv.

    Raises:
      WorkdirError: the folder holds the user's own files, or cannot be written.
      KeyboardInterrupt: the user stopped the run. The tables and pages are written.
    """
    out, common = worker.out, run.made_by(worker)
    jobs = [resume.job(case, common) for case in cases]
    mine = batch.shard.select(jobs)
    stored = {job.case.name: result_json.read(out, job.case.name) for job in mine}
    results = _results_that_hold(mine, stored, out, batch.retry_failed)
    todo = [job for job in mine if job.case.name not in results]
    with workdir.lock(out, wait=True):
        names = [
            name
            for job in mine
            for name in predict_scan.file_names(job.case.name, worker.options)
        ]
        before = claims.claimed(out)
        claims.claim(out, [scan_list.FILE, *collect.FILES, *names])
        scan_list.write(out / scan_list.FILE, cases)
        if todo:
            collect.delete(out)
    todo = resume.with_old_files(todo, stored, out, before)
    bar = tqdm(total=len(mine), initial=len(results), unit="scan", disable=None)
    try:
        with bar:
            for job, found in run.work_on(todo, worker, batch.workers, batch.engine):
                results[job.case.name] = found
                bar.update()
    except KeyboardInterrupt as e:
        scans = counted(len(mine), "scan")
        message = f"stopped; {len(results)} of {scans} have a result, see {out}"
        raise type(e)(message) from None
    finally:
        rows = _collect(jobs, worker, results)
    return rows


def _results_that_hold(
    jobs: Sequence[Job],
    stored: Mapping[str, Stored | None],
    out: Path,
    retry_failed: bool,
) -> dict[str, list[ScanRows]]:
    """Returns the results of earlier runs by scan, and says how many there are."""
    results, corrected = {}, 0
    for job in jobs:
        found = stored[job.case.name]
        if found is None:
            continue
        corrected += found.corrected
        if resume.holds(job, found, out, retry_failed):
            results[job.case.name] = found.results
    if results:
        failed = sum(
            any(rows.row.status == FAILED for rows in kept) for kept in results.values()
        )
        again = f" ({failed} failed; --retry_failed works on these again)"
        logging.warning(
            "%d of %d scans have a result%s",
            *(len(results), len(jobs), again if failed else ""),
        )
    if corrected:
        logging.warning(
            "%s corrected by a person; run l3spot.correct again, so that the tables "
            "have their answers",
            counted(corrected, "result", "was", "were"),
        )
    return results


def _collect(
    jobs: Sequence[Job], worker: ScanWorker, results: dict[str, list[ScanRows]]
) -> list[ResultRow]:
    """Writes tables and pages, with the results of other shards in the folder."""
    out = worker.out
    # The process that is the last to hold the lock sees the results of all.
    with workdir.lock(out, wait=True):
        for job in jobs:
            if job.case.name not in results:
                found = resume.find_any_result(job, out)
                if found is not None:
                    results[job.case.name] = found
        cases = [job.case for job in jobs]
        names = [case.name for case in cases]
        rows = collect.write(out, names, results, run.made_by(worker))
    others = resume.strangers(cases, out, {row.scan: row for row in rows})
    if others:
        logging.warning(
            "%s in %s are of scans that are not in --scans; no table has them",
            counted(others, "result"),
            out,
        )
    return rows

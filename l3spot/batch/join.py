"""Joins the results that several machines have found."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from l3spot.batch import collect, scan_list
from l3spot.projections.scan_folders import Case
from l3spot.report import predict_scan, result_json
from l3spot.report.result_json import Stored
from l3spot.report.results_file import ResultRow
from mtl.host import claims, workdir
from mtl.host.errors import DataError


class Joined(NamedTuple):
    """What was joined.

    Attributes:
      rows: of results.csv.
      lacking: names of scans without a result.
      doubled: names of scans with equal results in several folders.
      corrected: names of scans with a person's answer, which is not in the tables.
      apart: names of scans that have another path in another folder.
    """

    rows: list[ResultRow]
    lacking: list[str]
    doubled: list[str]
    corrected: list[str]
    apart: list[str]


class _Found(NamedTuple):
    folder: Path
    stored: Stored

    @property
    def common(self) -> dict[str, Any]:
        made_by = self.stored.made_by.items()
        return {k: v for k, v in made_by if k not in result_json.OF_ONE_SCAN}


def join(folders: Sequence[Path], out: Path) -> Joined:
    """Joins folders of results; `out` may be one of them.

    The files of the scans are linked, or copied to another file system.

    Raises:
      DataError: a folder holds no results; or results were made by different versions,
        models or options; or a scan has two results that differ.
      WorkdirError: `out` holds the user's own files, or cannot be written.
    """
    cases: dict[str, Case] = {}  # In order.
    found: dict[str, _Found] = {}
    doubled, apart = [], []
    for folder in folders:
        for case in scan_list.read_folder(folder):
            if cases.setdefault(case.name, case).path != case.path:
                apart.append(case.name)
            stored = result_json.read(folder, case.name)
            if stored is None or not stored.made_by:
                continue
            each = _Found(folder, stored)
            _check_common(case.name, next(iter(found.values()), each), each)
            if case.name in found:
                _check_equal(case.name, found[case.name], each)
                doubled.append(case.name)
            else:
                found[case.name], cases[case.name] = each, case
    if not found:
        raise DataError(f"{folders[0]} holds no result; l3spot.predict writes them")
    common = next(iter(found.values())).common
    workdir.make(out, f"--out={out}")
    with workdir.lock(out, wait=True):
        _gather(found, out)
        claims.claim(out, [scan_list.FILE, *collect.FILES])
        scan_list.write(out / scan_list.FILE, list(cases.values()))
        results = {name: each.stored.results for name, each in found.items()}
        rows = collect.write(out, list(cases), results, common)
    lacking = [name for name in cases if name not in found]
    corrected = [name for name, each in found.items() if each.stored.corrected]
    return Joined(rows, lacking, doubled, corrected, list(dict.fromkeys(apart)))


def _check_common(name: str, one: _Found, other: _Found) -> None:
    """Raises DataError if a result was made from another model than the others."""
    ours, theirs = one.common, other.common
    for key in ours:
        if ours[key] != theirs.get(key):
            raise DataError(
                f"{result_json.path(other.folder, name)} was made with {key} "
                f"{theirs.get(key)!r}, and results of {one.folder} with "
                f"{ours[key]!r}; find one part again"
            )


def _check_equal(name: str, one: _Found, other: _Found) -> None:
    """Raises DataError if two results of a scan differ in more than the time taken."""
    rows = [
        [result._replace(row=result.row._replace(seconds=None)) for result in each]
        for each in (one.stored.results, other.stored.results)
    ]
    if rows[0] != rows[1]:
        raise DataError(
            f"{name} has two results that differ, in {one.folder} and in "
            f"{other.folder}; remove the wrong one"
        )


def _gather(found: Mapping[str, _Found], out: Path) -> None:
    """Links or copies the files of the scans, NAME.json last."""
    pairs = []
    for name, (folder, stored) in found.items():
        if folder.resolve() == out.resolve():
            continue
        several = [n for n in stored.names if n != name]
        for each in (*several, name):
            files = predict_scan.file_names(each, predict_scan.EVERY_FILE)
            pairs += [(folder / f, f) for f in reversed(files)]
    pairs = [(source, file) for source, file in pairs if source.exists()]
    claims.claim(out, [file for _, file in pairs])
    for source, file in pairs:
        _link(source, out / file)


def _link(source: Path, target: Path) -> None:
    temporary = workdir.temporary_beside(target)
    try:
        with contextlib.suppress(OSError):
            os.link(source, temporary)
        if not temporary.exists():
            shutil.copy2(source, temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)

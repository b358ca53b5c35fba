"""Projects the CT scans of a folder or of a data set, with their labels of L3.

python -m l3spot.project --scans SCANS --out MIPS [--labels labels.csv]
python -m l3spot.project --scans SCANS --list

Leaves NAME.npz and NAME.json for each scan, report.csv with a row for each, projected
or rejected and why, and one for each of its volumes that was left out, and montage.png.
A scan that is there already, of the same files and label, is not read again, so a
killed run goes on where it stopped. Of the headers only UIDs are kept. Labels are of
the middle of the L3 vertebral body, mm in z.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags, logging
from tqdm import tqdm

from l3spot.ct import nifti
from l3spot.labels import csv_labels
from l3spot.labels.csv_labels import Row
from l3spot.projections import (
    dataset_layouts,
    export,
    kanavati,
    listing,
    montage,
    process_pool,
)
from l3spot.projections.dataset_layouts import Case
from l3spot.projections.export import COLUMNS, How, Job
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, DataError

OFTEN = 2.0  # Seconds between two reports of a run that goes on.
NAMED = 10  # Scans that a message lists.


def project(
    scans: str | Path,
    out: str | Path,
    series: str = "",
    row: float = 1.0,
    column: float = 1.0,
    *,
    labels_csv: str | Path | None = None,
    label_offset: float = 0.0,
    layout: str = "",
    low: float | None = None,
    high: float | None = None,
    workers: int | None = None,
) -> list[dict[str, Any]]:
    """Projects all the scans of a folder.

    Args:
      scans: the folder; see `datasets`.
      out: gets what the module's docstring says.
      series: a SeriesInstanceUID or a file's name, if not the longest volume is wanted.
      row: mm between rows.
      column: mm between columns.
      labels_csv: one's own labels, see `labels.read`; they replace the data set's.
      label_offset: mm from what they mark up to the middle of the L3 body.
      layout: one of `datasets.LAYOUTS`; "" finds out.
      low: HU; what is below is clipped, if it is given.
      high: HU; what is above is clipped, if it is given.
      workers: processes; None takes one a core.

    Returns:
      The rows of report.csv.

    Raises:
      DataError: there is nothing to project, or the labels make no sense.
      WorkdirError: `out` holds projections made in another way, or cannot be written.
    """
    scans, out = Path(scans), Path(out)
    how = How(series, row, column, low, high)
    how.check()
    layout = layout or dataset_layouts.detect(scans)
    if layout == "kanavati":
        if labels_csv:
            raise DataError(f"{scans} has labels of its own; leave --labels out")
        _prepare(out, scans, how)
        rows = _projected_already(scans, out, how)
        return _finish(out, _reported(out, rows, []))
    cases = dataset_layouts.find(scans, layout)
    if labels_csv:
        cases = _labelled(cases, csv_labels.read(Path(labels_csv), label_offset), scans)
    elif label_offset:
        raise DataError("--label_offset is for --labels; data sets mark the middle")
    _prepare(out, scans, how)
    return _finish(out, _reported(out, _each(cases, out, how, workers), cases))


def _labelled(cases: list[Case], rows: dict[str, Row], scans: Path) -> list[Case]:
    """Cases with the labels of a CSV; names may lack the end of a file's name."""
    short = [nifti.stem(case.name).removesuffix(".zip") for case in cases]
    often = Counter(short)
    labelled = []
    for case, name in zip(cases, short, strict=True):
        row = rows.get(name) if often[name] == 1 else None
        labelled.append(case._replace(label=rows.get(case.name, row)))
    used = {id(case.label) for case in labelled}
    left = [name for name, row in rows.items() if id(row) not in used]
    if left:
        names = ", ".join(left[:NAMED]) + (", ..." if len(left) > NAMED else "")
        logging.warning("%d labels are of no scan in %s: %s", len(left), scans, names)
    return labelled


def _each(
    cases: list[Case], out: Path, how: How, workers: int | None
) -> Iterator[list[dict[str, Any]]]:
    """The rows of each scan, as they are done; first those that are there."""
    todo = []
    for case in cases:
        report = export.kept(case, out)
        if report is None:
            todo.append(case)
        else:
            yield report
    cores = launch.cores()
    workers = max(1, min(workers or cores, len(todo)))
    threads = max(1, cores // workers)
    jobs = [Job(case, out, how, threads) for case in todo]
    for number, result in process_pool.each(export.run, jobs, workers):
        case = todo[number]
        if isinstance(result, process_pool.DiedError | MemoryError):
            why = f"{result or 'no memory'}; try --workers=1, or more memory"
            yield [export.rejected(case, out, why, export.blank(case))]
        elif isinstance(result, Exception):
            raise result
        else:
            yield result


def _projected_already(
    scans: Path, out: Path, how: How
) -> Iterator[list[dict[str, Any]]]:
    path = scans if scans.is_file() else scans / dataset_layouts.PROJECTIONS
    for found in kanavati.read(path, how.row, how.column):
        yield [export.keep(found, out, how)]


def _reported(
    out: Path, scans: Iterator[list[dict[str, Any]]], cases: list[Case]
) -> list[dict[str, Any]]:
    """The rows in the order of the scans; they are in report.csv all the time."""
    order = {case.name: number for number, case in enumerate(cases)}
    report: list[dict[str, Any]] = []
    written = time.monotonic()

    def write() -> None:
        report.sort(key=lambda r: order.get(r["scan"], 0))
        table = [[r[k] for k in COLUMNS] for r in report]
        workdir.write_csv(out / "report.csv", COLUMNS, table)

    try:
        total = len(cases) or None
        for rows in tqdm(scans, total=total, unit="scan", smoothing=0, disable=None):
            report += rows
            if time.monotonic() - written > OFTEN:
                write()
                written = time.monotonic()
    finally:
        write()
    return report


def _finish(out: Path, report: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Draws the montage."""
    shown = {}
    for r in report:
        if r["status"] == "projected":
            where = f"L3 at {r['l3_mm']:.1f} mm" if r["l3_mm"] != "" else r["label"]
            shown[r["scan"]] = (out / f"{r['scan']}.npz", where or "no label")
    for number, page in enumerate(montage.pages(shown), 1):
        name = "montage.png" if number == 1 else f"montage-{number}.png"
        workdir.write_bytes(out / name, page)
    return report


def _prepare(out: Path, scans: Path, how: How) -> None:
    """Makes the folder; what is there must have been made in the same way."""
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    workdir.same(out / ".how.json", how._asdict(), f"--out={out}")


def launcher(arguments: Sequence[str]) -> str:
    """Projects as the flags say; returns what was left where, in words.

    Raises:
      DataError: some scans were rejected; the others are done.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    if args.list:
        return _list(Path(args.scans), args.layout, args.series)
    if not args.out:
        raise ConfigError("--out must be given: the folder that gets the projections")
    try:
        report = project(
            args.scans,
            args.out,
            args.series,
            args.row,
            args.column,
            labels_csv=args.labels,
            label_offset=args.label_offset,
            layout=args.layout,
            low=args.low,
            high=args.high,
            workers=args.workers,
        )
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    report = [r for r in report if r["status"] != export.OTHER]
    wrong = sum(r["status"] == "rejected" for r in report)
    table = Path(args.out) / "report.csv"
    if wrong:
        told = f"{wrong} of {len(report)} scans were rejected; {table} says why"
        rest = f". The others are in {args.out}" if wrong < len(report) else ""
        raise DataError(told + rest)
    marked = [
        sum(r["label"] == s for r in report) for s in (csv_labels.IN, csv_labels.OUT)
    ]
    return (
        f"{len(report)} scans in {args.out}, L3 in view in {marked[0]} and not in view "
        f"in {marked[1]}; all of them in {table}"
    )


def _list(scans: Path, layout: str, series: str) -> str:
    layout = layout or dataset_layouts.detect(scans)
    if layout == "kanavati":
        raise DataError(f"{scans} holds projections; there are no volumes to list")
    cases = dataset_layouts.find(scans, layout)
    for case in cases:
        print(listing.table(case, series), flush=True)
    return f"{len(cases)} scans, {layout}; mm"


def define_flags() -> None:
    """The flags of the launcher."""
    flags.DEFINE_string("scans", None, "A folder of scans, or a data set.")
    flags.DEFINE_string("out", None, "The folder that gets projections and report.")
    flags.DEFINE_bool("list", False, "List the volumes of each scan; project nothing.")
    flags.DEFINE_enum(
        "layout", "", ["", *dataset_layouts.LAYOUTS], "Of SCANS; found out if empty."
    )
    flags.DEFINE_string(
        "series",
        "",
        "A SeriesInstanceUID or the name of a NIfTI file; the longest volume if empty.",
    )
    flags.DEFINE_string(
        "labels",
        None,
        "A CSV: scan, and z_mm, slice_index or sop_instance_uid; empty: not in view.",
    )
    flags.DEFINE_float(
        "label_offset",
        0.0,
        "mm from what --labels marks up to the middle of the L3 vertebral body.",
    )
    flags.DEFINE_float("row", 1.0, "mm between the rows of a projection.")
    flags.DEFINE_float("column", 1.0, "mm between its columns.")
    flags.DEFINE_float(
        "low", None, "HU: what is below is clipped; nothing if not given."
    )
    flags.DEFINE_float(
        "high", None, "HU: what is above is clipped; nothing if not given."
    )
    flags.DEFINE_integer(
        "workers", None, "Processes; one a core if not given.", lower_bound=1
    )


if __name__ == "__main__":
    define_flags()
    launch.launch(launcher, "scans")

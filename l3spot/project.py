"""Projects the CT scans of a folder or a dataset, with their labels of L3.

python -m l3spot.project --scans SCANS --out MIPS [--labels labels.csv]
python -m l3spot.project --scans SCANS --list

Writes NAME.npz and NAME.json for each scan, report.csv and montage.png. The report has
a row for each scan, projected or rejected with the reason, and a row for each volume
that was left out. An interrupted run resumes: a scan is only read again if its files or
its label changed. Of the headers only UIDs are kept. Labels are the z of the middle of
the L3 vertebral body, in mm.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import flags
from tqdm import tqdm

from l3spot.labels import csv_labels
from l3spot.projections import (
    case_labels,
    dataset_layouts,
    export,
    kanavati,
    montage,
    names,
    process_pool,
    report_row,
    volume_table,
)
from l3spot.projections.dataset_layouts import Case
from l3spot.projections.export import Job, ProjectionOptions
from l3spot.projections.report_row import ReportRow
from mtl.host import claims, launch, workdir
from mtl.host.errors import ConfigError, DataError
from mtl.host.wording import counted

REPORT_INTERVAL_S = 2.0  # Between two writes of report.csv.
OPTIONS_FILE = ".how.json"


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
) -> list[ReportRow]:
    """Projects all scans of a folder.

    Args:
      scans: the folder; see `dataset_layouts`.
      out: the output folder; see the module's docstring.
      series: a SeriesInstanceUID or a file name; "" takes the longest volume.
      row: mm between rows.
      column: mm between columns.
      labels_csv: labels that replace those of the dataset, see `csv_labels.read`.
      label_offset: mm from the marked point of `labels_csv` up to the middle of the L3
        body.
      layout: one of `dataset_layouts.LAYOUTS`; "" detects it.
      low: HU; lower values are clipped to it. None means no limit.
      high: HU; higher values are clipped to it. None means no limit.
      workers: number of processes; None takes one per core.

    Returns:
      The rows of report.csv.

    Raises:
      DataError: there are no scans, or the labels are invalid.
      WorkdirError: `out` holds projections with other options, or is not writable.
    """
    scans, out = Path(scans), Path(out)
    options = ProjectionOptions(series, row, column, low, high)
    options.check()
    layout = layout or dataset_layouts.detect(scans)
    if layout == "kanavati":
        if labels_csv:
            raise DataError(f"{scans} has labels of its own; leave --labels out")
        _prepare_folder(out, scans, options, [])
        rows = _export_kanavati(scans, out, options)
        return _draw_montage(out, _write_report(out, rows, []))
    cases = dataset_layouts.find(scans, layout)
    if labels_csv:
        rows_by_scan = csv_labels.read(Path(labels_csv), label_offset)
        cases = case_labels.add(cases, rows_by_scan, scans)
    elif label_offset:
        raise DataError("--label_offset is for --labels; datasets mark the middle")
    _prepare_folder(out, scans, options, [case.name for case in cases])
    rows = _project_cases(cases, out, options, workers)
    return _draw_montage(out, _write_report(out, rows, cases))


def _project_cases(
    cases: list[Case], out: Path, options: ProjectionOptions, workers: int | None
) -> Iterator[list[ReportRow]]:
    """Yields the rows of each scan when it is done; those of an earlier run first."""
    todo = []
    for case in cases:
        rows = export.load_rows(case, out)
        if rows is None:
            todo.append(case)
        else:
            yield rows
    cores = launch.cores()
    workers = max(1, min(workers or cores, len(todo)))
    threads = max(1, cores // workers)
    jobs = [Job(case, out, options, threads) for case in todo]
    for i, result in process_pool.map_unordered(export.project_scan, jobs, workers):
        case = todo[i]
        if not isinstance(result, Exception):
            yield result
            continue
        reason = process_pool.reason(result)
        yield [export.reject(case, out, reason, report_row.blank_row(case))]


def _export_kanavati(
    scans: Path, out: Path, options: ProjectionOptions
) -> Iterator[list[ReportRow]]:
    path = scans if scans.is_file() else scans / dataset_layouts.KANAVATI_FILE
    for case in kanavati.read(path, options.row, options.column):
        claims.claim(out, export.file_names(case.name))
        yield [export.export_kanavati(case, out, options)]


def _write_report(
    out: Path, scans: Iterator[list[ReportRow]], cases: list[Case]
) -> list[ReportRow]:
    """Collects the rows in the order of the cases; updates report.csv meanwhile."""
    order = {case.name: i for i, case in enumerate(cases)}
    report: list[ReportRow] = []
    written = time.monotonic()

    def write() -> None:
        report.sort(key=lambda row: order.get(row.scan, 0))
        workdir.write_csv(out / "report.csv", ReportRow._fields, report)

    try:
        total = len(cases) or None
        for rows in tqdm(scans, total=total, unit="scan", smoothing=0, disable=None):
            report += rows
            if time.monotonic() - written > REPORT_INTERVAL_S:
                write()
                written = time.monotonic()
    finally:
        write()
    return report


def _draw_montage(out: Path, report: list[ReportRow]) -> list[ReportRow]:
    """Writes the montage of all projected scans; returns the report."""
    files = {}
    for row in report:
        if row.status == report_row.PROJECTED:
            position = "" if row.l3_mm is None else f"L3 at {row.l3_mm:.1f} mm"
            label = position or row.label or "no label"
            stem = names.file_stem(row.scan)
            files[row.scan] = (out / f"{stem}.npz", label)
    for number, page in enumerate(montage.pages(files), 1):
        claims.claim(out, [montage.file_name(number)])
        workdir.write_bytes(out / montage.file_name(number), page)
    return report


def _prepare_folder(
    out: Path, scans: Path, options: ProjectionOptions, names_of_scans: Sequence[str]
) -> None:
    """Makes the output folder; an existing one must have the same options.

    Raises:
      WorkdirError: it has other options, or holds the user's own files.
    """
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    files = ["report.csv", montage.file_name(1)]
    files += [name for scan in names_of_scans for name in export.file_names(scan)]
    claims.claim(out, files, trusted=(out / OPTIONS_FILE).exists())
    workdir.same(out / OPTIONS_FILE, options._asdict(), f"--out={out}")


def launcher(arguments: Sequence[str]) -> str:
    """Projects from command-line flags, and returns a summary.

    Raises:
      DataError: some scans were rejected; the others are projected.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.list:
        return _list_volumes(Path(args.scans), args.layout, args.series)
    if not args.out:
        raise ConfigError("--out must be given: the folder for the projections")
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
    report = [row for row in report if row.status != report_row.LEFT_OUT]
    rejected = sum(row.status == report_row.REJECTED for row in report)
    table = Path(args.out) / "report.csv"
    if rejected:
        scans = counted(len(report), "scan", "was", "were")
        message = f"{rejected} of {scans} rejected; {table} says why"
        rest = f". The others are in {args.out}" if rejected < len(report) else ""
        raise DataError(message + rest)
    in_view = sum(row.label == csv_labels.IN_VIEW for row in report)
    not_in_view = sum(row.label == csv_labels.NOT_IN_VIEW for row in report)
    scans = counted(len(report), "scan")
    return (
        f"{scans} in {args.out}, L3 in view in {in_view} and not in view in "
        f"{not_in_view}; all of them in {table}"
    )


def _list_volumes(scans: Path, layout: str, series: str) -> str:
    layout = layout or dataset_layouts.detect(scans)
    if layout == "kanavati":
        raise DataError(f"{scans} holds arrays, such as projections; it has no volumes")
    cases = dataset_layouts.find(scans, layout)
    for case in cases:
        print(volume_table.table(case, series), flush=True)
    return f"{counted(len(cases), 'scan')}, {layout}; mm"


def define_flags() -> None:
    """Defines the flags of the launcher."""
    flags.DEFINE_string("scans", None, "The folder of scans, or the dataset.")
    flags.DEFINE_string("out", None, "The folder for the projections and the report.")
    flags.DEFINE_bool("list", False, "List the volumes of each scan; project nothing.")
    flags.DEFINE_enum(
        "layout",
        "",
        ["", *dataset_layouts.LAYOUTS],
        "The layout of SCANS; detected if empty.",
    )
    flags.DEFINE_string(
        "series",
        "",
        "A SeriesInstanceUID or the name of a NIfTI file; the longest volume if empty.",
    )
    flags.DEFINE_string(
        "labels",
        None,
        "A CSV with scan, and z_mm, slice_index or sop_instance_uid; an empty value "
        "means not in view. Or the corrections.csv of a review.",
    )
    flags.DEFINE_float(
        "label_offset",
        0.0,
        "mm from the marked point of --labels up to the middle of the L3 vertebral "
        "body.",
    )
    flags.DEFINE_float("row", 1.0, "mm between the rows of a projection.")
    flags.DEFINE_float("column", 1.0, "mm between the columns of a projection.")
    flags.DEFINE_float("low", None, "HU; lower values are clipped to it, if given.")
    flags.DEFINE_float("high", None, "HU; higher values are clipped to it, if given.")
    flags.DEFINE_integer(
        "workers",
        None,
        "Number of processes; one per core if not given.",
        lower_bound=1,
    )


if __name__ == "__main__":
    define_flags()
    launch.launch(launcher, "scans")

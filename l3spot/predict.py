"""Finds L3 in CT scans: its slice, its z and a confidence.

python -m l3spot.predict --scans SCANS --out RESULTS

Each sub-folder, zip file and NIfTI file of SCANS is a scan; SCANS may also be a CSV
file with the column path, which `--list FILE` writes. RESULTS gets NAME.json for each
scan, NAME.png to check by eye, and NAME.mrk.json for 3D Slicer; and, from these,
results.csv with one row for each scan: found, not in view, or failed with the reason.
On review.html a person accepts or corrects the answers, for l3spot.correct. A bad scan
does not stop the others; the exit status is then 1. The column left_out lists all
series, slices and files of a scan that were not used; --all_series gives each usable
series a row. This is no medical device: check the pictures, the first ones of
index.html above all.

The same command resumes a run. A result is kept while the version, the model, the
options and the scan's files are the same; so is a failure, unless --retry_failed is
given. --workers sets the number of processes, and --shard the part of the scans that
one of several machines works on; l3spot.merge joins their results.

--json prints the results, one a line, in place of the summary; without --out, nothing
else is written.

Only UIDs of the headers are written. --copy_slice also copies the slice's file to
NAME.dcm. --dicom also writes NAME.sr.dcm (a report) and NAME.sc.dcm (the picture) with
the scan's patient and study. Scans without one DICOM file for each slice (NIfTI,
multi-frame DICOM) get a warning instead.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from l3spot.batch import archive, collect, ray_pool, run, scan_list
from l3spot.batch.archive import BatchOptions
from l3spot.localize import model
from l3spot.projections import dataset_layouts
from l3spot.report import dicom_sr, result, result_json
from l3spot.report.predict_scan import METHODS, PAPER, VERTEBRAE, PredictOptions
from l3spot.report.results_file import FAILED, TABLE, ResultRow
from l3spot.vertebrae import levels
from l3spot.vertebrae import model as vertebra_model
from mtl.host import compile_cache, launch, shards, workdir
from mtl.host.errors import ConfigError, DataError
from mtl.host.wording import MOST_NAMED, counted

LEVELS = levels.NAMES[levels.NAMES.index("T10") : levels.NAMES.index("L5") + 1]

DEFAULT_OPTIONS = PredictOptions()


DEFAULT_BATCH = BatchOptions()


def predict(
    scans: str | Path,
    out: str | Path,
    checkpoint: str | Path = model.PACKAGED_FILE,
    layout: str = "",
    options: PredictOptions = DEFAULT_OPTIONS,
    batch: BatchOptions = DEFAULT_BATCH,
    vertebrae: str | Path = vertebra_model.PACKAGED_FILE,
) -> list[ResultRow]:
    """Finds L3 in all scans of a folder.

    Args:
      scans: the folder, see `dataset_layouts`; or a list, see `scan_list`.
      out: the folder for the results.
      checkpoint: a model of `l3spot.main`; the default is the packaged one.
      layout: of `scans`; "" detects it.
      options: what is read and written.
      batch: how many scans are worked on.
      vertebrae: a model of `l3spot.main --config vertebrae`; the default is the
        packaged one. The paper's method does not use it.

    Returns:
      The rows of results.csv; with those of other shards that have results in `out`.

    Raises:
      ConfigError: an option needs a package that is not installed, or the paper's
        method is to find another vertebra than L3, or is given a model of vertebrae.
      DataError: there are no scans, or the model is missing or broken.
      WorkdirError: `out` lies in `scans`, holds the user's own files, or cannot be
        written; or another process works on some of these scans.
      KeyboardInterrupt: the user stopped the run. The tables and pages are written.
    """
    scans, out = Path(scans), Path(out)
    if options.dicom:
        dicom_sr.check()
    if batch.engine == run.RAY:
        ray_pool.check()
    if options.method == PAPER and options.level != "L3":
        raise ConfigError(
            f"--level={options.level} needs --method={VERTEBRAE}; the paper's method "
            "finds L3 alone"
        )
    if options.method == PAPER and Path(vertebrae) != vertebra_model.PACKAGED_FILE:
        raise ConfigError(
            f"--vertebrae_checkpoint={vertebrae} needs --method={VERTEBRAE}; the "
            "paper's method does not use it"
        )
    worker = run.make_worker(out, Path(checkpoint), options, Path(vertebrae))
    cases = scan_list.find(scans, layout)
    scan_list.check_apart(cases, scans, out)
    workdir.make(out, f"--out={out}")
    with shards.lock(out, batch.shard, "finding vertebrae"):
        return archive.predict_cases(cases, worker, batch)


def launcher(arguments: Sequence[str]) -> str:
    """Predicts from command-line flags and returns a summary.

    Raises:
      DataError: some scans failed; the results of the others are written.
    """
    launch.reject_extra_args(arguments)
    compile_cache.enable()
    args = flags.FLAGS
    if args.list:
        cases = scan_list.find(Path(args.scans), args.layout)
        scan_list.write(Path(args.list), cases)
        return f"{counted(len(cases), 'scan')}; see {args.list}"
    if args.json and not args.out:
        with tempfile.TemporaryDirectory() as folder:
            return _predict_from_flags(args, folder)
    if not args.out:
        raise ConfigError("--out must be given: the folder for the results")
    return _predict_from_flags(args, args.out)


def _predict_from_flags(args: flags.FlagValues, out: str) -> str:
    """Returns a summary, or with --json the results."""
    options = PredictOptions(
        args.series,
        args.copy_slice,
        args.dicom,
        args.level,
        args.method,
        args.all_series,
        args.mend_hu,
    )
    shard = shards.parse(args.shard)
    batch = BatchOptions(args.workers, shard, args.retry_failed, args.engine)
    rows = predict(
        args.scans,
        out,
        args.checkpoint,
        args.layout,
        options,
        batch,
        args.vertebrae_checkpoint,
    )
    statuses = [row.status for row in rows]
    failed = statuses.count(FAILED)
    if args.json:
        lines = "\n".join(result_json.line(Path(out), row.scan) for row in rows)
        if failed:
            print(lines)
            raise DataError(f'{counted(failed, "scan")} failed; "why" says why')
        return lines
    found_in = statuses.count(result.IN_VIEW)
    summary = (
        f"{args.level} found in {found_in} of {counted(len(rows), 'scan')}, not in "
        f"view in {statuses.count(result.NOT_IN_VIEW)}; see "
        f"{os.path.join(out, collect.PAGE)}"
    )
    lacking = workdir.read_json(Path(out) / collect.SUMMARY)["without_result"]
    if lacking:
        summary += f". {counted(lacking, 'scan')} of other shards have no result yet"
    if failed:
        first = [row for row in rows if row.status == FAILED][:MOST_NAMED]
        reasons = "".join(f"\n  {row.scan}: {row.why}" for row in first)
        raise DataError(
            f"{counted(failed, 'scan')} failed; {TABLE} says why:{reasons}\n"
            + (f"  and {failed - len(first)} more\n" if failed > len(first) else "")
            + summary
        )
    return summary


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "The folder of scans, or a CSV that lists them.")
    flags.DEFINE_string("out", None, "The folder for the results.")
    flags.DEFINE_string(
        "checkpoint", str(model.PACKAGED_FILE), "The model of the frontal projection."
    )
    flags.DEFINE_string(
        "vertebrae_checkpoint",
        str(vertebra_model.PACKAGED_FILE),
        "The model of the vertebrae, for --method=vertebrae.",
    )
    flags.DEFINE_string(
        "series", "", "The SeriesInstanceUID or file name of the volume."
    )
    flags.DEFINE_bool(
        "all_series", False, "Find the vertebra in each usable series of a scan."
    )
    flags.DEFINE_bool(
        "mend_hu", False, "Correct values that are HU plus or minus about 1024."
    )
    flags.DEFINE_enum(
        "layout",
        "",
        ["", *dataset_layouts.LAYOUTS[:-1]],
        "The layout of the folder of scans.",
    )
    flags.DEFINE_enum("level", "L3", LEVELS, "The vertebra.")
    flags.DEFINE_enum(
        "method",
        VERTEBRAE,
        METHODS,
        "Find all vertebrae in a sagittal picture, or L3 alone in the frontal "
        "projection, as in the paper.",
    )
    flags.DEFINE_bool(
        "copy_slice", False, "Copy the slice's DICOM file, with the patient's header."
    )
    flags.DEFINE_bool(
        "dicom", False, "Write an SR and a secondary capture with the scan's patient."
    )
    flags.DEFINE_string("list", None, "Write a CSV of the scans; predict nothing.")
    flags.DEFINE_integer(
        "workers",
        None,
        "Number of processes; one per core if not given and there are many scans.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "engine",
        run.PROCESSES,
        run.ENGINES,
        "Processes of this machine, or tasks of a Ray cluster.",
    )
    shards.define_flag("scans")
    flags.DEFINE_bool("json", False, "Print the results as JSON, one a line.")
    flags.DEFINE_bool("retry_failed", False, "Work on scans again that failed.")
    launch.launch(launcher, "scans", leave_at_once=True)

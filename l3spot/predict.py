"""Finds L3 in CT scans: its slice, its z and a confidence.

python -m l3spot.predict --scans SCANS --out RESULTS

Each sub-folder, zip file and NIfTI file of SCANS is a scan. RESULTS gets results.csv
with one row for each scan: found, not in view, or failed with the reason. Each scan
also gets NAME.json, NAME.png to check by eye, and NAME.mrk.json for 3D Slicer. On
review.html a person accepts or corrects the answers, for l3spot.correct. A bad scan
does not stop the others; the exit status is then 1. The column left_out lists all
series, slices and files of a scan that were not used; --all_series gives each usable
series a row. This is no medical device: check the pictures, the first ones of
index.html above all.

Only UIDs of the headers are written. --copy_slice also copies the slice's file to
NAME.dcm. --dicom also writes NAME.sr.dcm (a report) and NAME.sc.dcm (the picture) with
the scan's patient and study. Scans without one DICOM file for each slice (NIfTI,
multi-frame DICOM) get a warning instead.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from tqdm import tqdm

from l3spot.localize import model
from l3spot.projections import dataset_layouts
from l3spot.projections.dataset_layouts import Case
from l3spot.report import dicom_sr, html_page, predict_scan, result, review_page
from l3spot.report.predict_scan import (
    FAILED,
    METHODS,
    PAPER,
    VERTEBRAE,
    Models,
    PredictOptions,
)
from l3spot.report.results_file import LevelRow, ResultRow
from l3spot.vertebrae import levels
from l3spot.vertebrae import model as vertebra_model
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, DataError
from mtl.host.wording import counted

LEVELS = levels.NAMES[levels.NAMES.index("T10") : levels.NAMES.index("L5") + 1]
TABLE, LEVEL_TABLE, PAGE = "results.csv", "levels.csv", "index.html"
REVIEW_PAGE = "review.html"
DEFAULT_OPTIONS = PredictOptions()


def predict(
    scans: str | Path,
    out: str | Path,
    checkpoint: str | Path = model.PACKAGED_FILE,
    layout: str = "",
    options: PredictOptions = DEFAULT_OPTIONS,
) -> list[ResultRow]:
    """Finds L3 in all scans of a folder.

    Args:
      scans: the folder; see `dataset_layouts`.
      out: the folder for the results.
      checkpoint: a model of `l3spot.main`; the default is the packaged one.
      layout: of `scans`; "" detects it.
      options: what is read and written.

    Returns:
      The rows of results.csv.

    Raises:
      ConfigError: an option needs a package that is not installed, or the paper's
        method is to find another vertebra than L3.
      DataError: there are no scans, or the model is missing or broken.
      WorkdirError: `out` lies in `scans`, holds the user's own files, or cannot be
        written.
      SystemExit: the user stopped the run. The table and the page are written.
    """
    scans, out = Path(scans), Path(out)
    if options.dicom:
        dicom_sr.check()
    if options.method == PAPER and options.level != "L3":
        raise ConfigError(
            f"--level={options.level} needs --method={VERTEBRAE}; the paper's method "
            "finds L3 alone"
        )
    vertebrae = vertebra_model.load() if options.method == VERTEBRAE else None
    models = Models(model.load(Path(checkpoint)), vertebrae)
    cases = dataset_layouts.find(scans, layout or dataset_layouts.detect(scans))
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    names = [n for case in cases for n in predict_scan.file_names(case.name, options)]
    workdir.claim(out, [TABLE, LEVEL_TABLE, PAGE, REVIEW_PAGE, *names])
    return _predict_cases(cases, out, models, options)


def _predict_cases(
    cases: Sequence[Case], out: Path, models: Models, options: PredictOptions
) -> list[ResultRow]:
    """Finds L3 in scans, and updates the tables after each; the page fits them."""
    rows: list[ResultRow] = []
    level_rows: list[LevelRow] = []
    for page in (PAGE, REVIEW_PAGE):  # Of an earlier run.
        (out / page).unlink(missing_ok=True)
    done = 0
    try:
        for case in tqdm(cases, unit="scan", disable=None):
            for one in predict_scan.predict_scan(case, out, models, options):
                rows.append(one.row)
                level_rows += one.levels
            done += 1
            workdir.write_csv(out / TABLE, ResultRow._fields, rows)
            workdir.write_csv(out / LEVEL_TABLE, LevelRow._fields, level_rows)
    except KeyboardInterrupt:
        sys.exit(f"stopped after {done} of {counted(len(cases), 'scan')}; see {out}")
    finally:
        workdir.write_csv(out / TABLE, ResultRow._fields, rows)
        workdir.write_csv(out / LEVEL_TABLE, LevelRow._fields, level_rows)
        workdir.write_text(out / PAGE, html_page.render(rows, models.l3.about))
        workdir.write_text(out / REVIEW_PAGE, review_page.render(rows, out))
    return rows


def launcher(arguments: Sequence[str]) -> str:
    """Predicts from command-line flags and returns a summary.

    Raises:
      DataError: some scans failed; the results of the others are written.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    options = PredictOptions(
        args.series,
        args.copy_slice,
        args.dicom,
        args.level,
        args.method,
        args.all_series,
        args.mend_hu,
    )
    rows = predict(args.scans, args.out, args.checkpoint, args.layout, options)
    statuses = [row.status for row in rows]
    found_in = statuses.count(result.IN_VIEW)
    summary = (
        f"{args.level} found in {found_in} of {counted(len(rows), 'scan')}, not in "
        f"view in {statuses.count(result.NOT_IN_VIEW)}; see {Path(args.out) / PAGE}"
    )
    failed = statuses.count(FAILED)
    if failed:
        raise DataError(
            f"{counted(failed, 'scan')} failed; {TABLE} says why. {summary}"
        )
    return summary


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "The folder of scans.")
    flags.DEFINE_string("out", None, "The folder for the results.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED_FILE), "The model's file.")
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
    launch.launch(launcher, "scans", "out")

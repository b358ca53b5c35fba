"""Finds L3 in CT scans: its slice, its z and a confidence.

python -m l3spot.predict --scans SCANS --out RESULTS

Each sub-folder, zip file and NIfTI file of SCANS is a scan. RESULTS gets results.csv
with one row for each scan: found, not in view, or failed with the reason. Each scan
also gets NAME.json, NAME.png to check by eye, and NAME.mrk.json for 3D Slicer. A bad
scan does not stop the others; the exit status is then 1. This is no medical device:
check the pictures, the first ones of index.html above all.

Only UIDs of the headers are written. --copy_slice also copies the slice's file to
NAME.dcm. --dicom also writes NAME.sr.dcm (a report) and NAME.sc.dcm (the picture) with
the scan's patient and study. Scans without one DICOM file for each slice (NIfTI,
multi-frame DICOM) get a warning instead.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags
from tqdm import tqdm

from l3spot.ct import scan, source_file, volumes
from l3spot.ct.volumes import Volume
from l3spot.localize import model
from l3spot.localize.model import Model
from l3spot.projections import dataset_layouts, mip
from l3spot.projections.dataset_layouts import Case
from l3spot.report import dicom_sr, files, html_page, picture, result
from l3spot.report.result import L3Result
from l3spot.report.results_file import LevelRow, ResultRow
from l3spot.vertebrae import levels
from l3spot.vertebrae import model as vertebra_model
from l3spot.vertebrae.model import VertebraModel
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, DataError

FAILED = "failed"
VERTEBRAE, PAPER = METHODS = ("vertebrae", "paper")
LEVELS = levels.NAMES[levels.NAMES.index("T10") : levels.NAMES.index("L5") + 1]
SUFFIXES = (".json", ".png", ".mrk.json", ".dcm", ".sr.dcm", ".sc.dcm")


class Models(NamedTuple):
    """The networks of a run.

    Attributes:
      l3: finds L3 in the frontal projection.
      vertebrae: finds all vertebrae near it; None with the paper's method.
    """

    l3: Model
    vertebrae: VertebraModel | None


class PredictOptions(NamedTuple):
    """What is read, and what is written besides the results.

    Attributes:
      series: a SeriesInstanceUID or file name; "" selects the longest volume.
      copy_slice: copy the DICOM file of the slice, with the patient's header.
      dicom: write a report and the picture with the scan's patient; see `dicom_sr`.
      level: the vertebra, one of `LEVELS`.
      method: one of `METHODS`. The paper's finds L3 alone, in the frontal projection.
    """

    series: str = ""
    copy_slice: bool = False
    dicom: bool = False
    level: str = "L3"
    method: str = VERTEBRAE


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
      WorkdirError: `out` lies in `scans`, or cannot be written.
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
    rows: list[ResultRow] = []
    level_rows: list[LevelRow] = []
    for case in tqdm(cases, unit="scan", disable=None):
        row, found = _predict_scan(case, out, models, options)
        rows.append(row)
        level_rows += found
        workdir.write_csv(out / "results.csv", ResultRow._fields, rows)
        workdir.write_csv(out / "levels.csv", LevelRow._fields, level_rows)
    workdir.write_text(out / "index.html", html_page.render(rows, models.l3.about))
    return rows


def _predict_scan(
    case: Case, out: Path, models: Models, options: PredictOptions
) -> tuple[ResultRow, list[LevelRow]]:
    """Finds L3 in a scan, writes its files and returns its rows."""
    start = time.perf_counter()
    row = ResultRow(case.name)
    for suffix in SUFFIXES:
        (out / f"{case.name}{suffix}").unlink(missing_ok=True)
    try:
        volume = scan.choose(scan.read(case.path), case.path, options.series)
        row = row._replace(
            series=volume.slices[0].series.series_uid,
            slice_mm=round(volumes.slice_spacing_mm(volume), 3),
            low_mm=round(float(volume.z[0]), 3),
            warnings="; ".join(volume.warnings),
        )
        projection = mip.project(volume)
    except DataError as e:
        why = "; ".join(line.strip() for line in str(e).splitlines())
        seconds = round(time.perf_counter() - start, 2)
        return row._replace(status=FAILED, why=why, seconds=seconds), []
    l3_result = result.find_l3(
        models.l3, projection, volume, models.vertebrae, options.level
    )
    seconds = round(time.perf_counter() - start, 2)
    row = result.add_result(row, l3_result, volume)._replace(seconds=seconds)
    png = picture.draw_png(case.name, projection, l3_result)
    about = models.l3.about
    refused = _write_dicom(case.name, out, options, volume, l3_result, png, about)
    warnings = [*volume.warnings, *l3_result.warnings, *refused]
    row = row._replace(warnings="; ".join(warnings))
    files.write(out, case.name, row, projection, l3_result, png)
    return row, files.level_rows(case.name, l3_result)


def _write_dicom(
    name: str,
    out: Path,
    options: PredictOptions,
    volume: Volume,
    l3_result: L3Result,
    png: bytes,
    about: str,
) -> list[str]:
    """Writes the DICOM files that the options select; returns warnings."""
    try:
        if options.copy_slice and l3_result.status == result.IN_VIEW:
            source_file.copy(volume, l3_result.slice_index, out / f"{name}.dcm")
        if options.dicom:
            dicom_sr.write(out, name, volume, l3_result, png, about)
    except DataError as e:
        return [str(e)]
    return []


def launcher(arguments: Sequence[str]) -> str:
    """Predicts from command-line flags and returns a summary.

    Raises:
      DataError: some scans failed; the results of the others are written.
    """
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    options = PredictOptions(
        args.series, args.copy_slice, args.dicom, args.level, args.method
    )
    rows = predict(args.scans, args.out, args.checkpoint, args.layout, options)
    statuses = [row.status for row in rows]
    in_view = statuses.count(result.IN_VIEW)
    not_in_view = statuses.count(result.NOT_IN_VIEW)
    summary = (
        f"{args.level} found in {in_view} of {len(rows)} scans, not in view in "
        f"{not_in_view}; see {Path(args.out) / 'index.html'}"
    )
    failed = len(rows) - in_view - not_in_view
    if failed:
        raise DataError(f"{failed} scans failed; results.csv says why. {summary}")
    return summary


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "The folder of scans.")
    flags.DEFINE_string("out", None, "The folder for the results.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED_FILE), "The model's file.")
    flags.DEFINE_string(
        "series", "", "The SeriesInstanceUID or file name of the volume."
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

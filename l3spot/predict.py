"""Finds L3 in CT scans: which slice it is, and how sure that is.

python -m l3spot.predict --scans SCANS --out RESULTS

Each sub-folder, zip file and NIfTI file of SCANS is a scan. RESULTS gets results.csv
with a row for each, found, not in view, or failed and why; and for each scan NAME.json,
NAME.png to be looked at, and NAME.mrk.json for 3D Slicer. One bad scan does not stop
the rest; the exit status is 1 if there was one. This is no medical device: look at the
pictures, worst confidence first.

Of the headers only UIDs are kept, but with --copy_slice NAME.dcm is the slice's file as
it was, and with --dicom NAME.sr.dcm (a report) and NAME.sc.dcm (the picture) are of the
scan's patient and study. A scan that has no DICOM file for each slice, NIfTI or many
frames in one, gets a warning instead.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from tqdm import tqdm

from l3spot.ct import scan, source_file, volumes
from l3spot.ct.volumes import Volume
from l3spot.localize import model
from l3spot.localize.model import Model
from l3spot.projections import dataset_layouts, mip
from l3spot.projections.dataset_layouts import Case
from l3spot.report import dicom_sr, html_page, result
from l3spot.report.result import Found
from mtl.host import launch, workdir
from mtl.host.errors import DataError

COLUMNS = (
    *("scan", "status", "confidence", "z_mm", "row", "slice_index", "slice_z_mm"),
    *("slice_mm", "low_mm", "file", "sop_instance_uid", "series", "warnings", "why"),
    "seconds",
)
FAILED = "failed"
ENDS = (".json", ".png", ".mrk.json", ".dcm", ".sr.dcm", ".sc.dcm")


class How(NamedTuple):
    """What is read, and what is written beyond the results.

    series: a SeriesInstanceUID or file name, if not the longest volume is wanted.
    copy_slice: the DICOM file of the slice, with the patient's header.
    dicom: a report and the picture, of the scan's patient; see `dicom_report`.
    """

    series: str = ""
    copy_slice: bool = False
    dicom: bool = False


PLAIN = How()


def predict(
    scans: str | Path,
    out: str | Path,
    checkpoint: str | Path = model.PACKAGED,
    layout: str = "",
    how: How = PLAIN,
) -> list[dict[str, Any]]:
    """Finds L3 in all the scans of a folder.

    Args:
      scans: the folder; see `datasets`.
      out: gets what the module's docstring says.
      checkpoint: a model that `l3spot.main` left, if not the package's own.
      layout: of `scans`, if it is not to be told from the folder.
      how: what is read and written.

    Returns:
      The rows of results.csv, z in mm, LPS, of the middle of L3's body; slice_mm is the
      usual distance of slices, low_mm the z of the lowest.

    Raises:
      ConfigError: `how` asks for what is not installed.
      DataError: there is no scan, or no such model.
      WorkdirError: `out` lies in `scans`, or cannot be written.
    """
    scans, out = Path(scans), Path(out)
    if how.dicom:
        dicom_sr.check()
    net = model.load(Path(checkpoint))
    cases = dataset_layouts.find(scans, layout or dataset_layouts.detect(scans))
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    rows: list[dict[str, Any]] = []
    for case in tqdm(cases, unit="scan", disable=None):
        rows.append(_one(case, out, net, how))
        table = [[row[k] for k in COLUMNS] for row in rows]
        workdir.write_csv(out / "results.csv", COLUMNS, table)
    workdir.write_text(out / "index.html", html_page.render(rows, net.about))
    return rows


def _one(case: Case, out: Path, net: Model, how: How) -> dict[str, Any]:
    """The row of a scan, whose files are written."""
    start = time.perf_counter()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"scan": case.name}
    for end in ENDS:
        (out / f"{case.name}{end}").unlink(missing_ok=True)
    try:
        volume = scan.choose(scan.read(case.path), case.path, how.series)
        row |= {
            "series": volume.slices[0].series.series_uid,
            "slice_mm": round(volumes.slice_spacing_mm(volume), 3),
            "low_mm": round(float(volume.z[0]), 3),
            "warnings": "; ".join(volume.warnings),
        }
        p = mip.project(volume)
    except DataError as e:
        why = "; ".join(line.strip() for line in str(e).splitlines())
        seconds = round(time.perf_counter() - start, 2)
        return row | {"status": FAILED, "why": why, "seconds": seconds}
    spotted = result.find(net, p, volume)
    row |= result.row_of(spotted, volume)
    row["seconds"] = round(time.perf_counter() - start, 2)
    picture = result.draw(case.name, p, spotted)
    refused = _extras(case.name, out, how, volume, spotted, picture, net.about)
    row["warnings"] = "; ".join([*volume.warnings, *refused])
    result.write(out, case.name, row, p, spotted, picture)
    return row


def _extras(
    name: str,
    out: Path,
    how: How,
    volume: Volume,
    spotted: Found,
    picture: bytes,
    about: str,
) -> list[str]:
    """Writes what else was asked for; returns why some of it could not be."""
    try:
        if how.copy_slice and spotted.status == result.IN:
            source_file.copy(volume, spotted.plane, out / f"{name}.dcm")
        if how.dicom:
            dicom_sr.write(out, name, volume, spotted, picture, about)
    except DataError as e:
        return [str(e)]
    return []


def launcher(arguments: Sequence[str]) -> str:
    """Predicts as the flags say; returns what was found, in words.

    Raises:
      DataError: some scans failed; the others are done.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    how = How(args.series, args.copy_slice, args.dicom)
    rows = predict(args.scans, args.out, args.checkpoint, args.layout, how)
    count = {s: sum(r["status"] == s for r in rows) for s in (result.IN, result.OUT)}
    told = f"L3 found in {count[result.IN]} of {len(rows)} scans, not in view in "
    told += f"{count[result.OUT]}; see {Path(args.out) / 'index.html'}"
    failed = len(rows) - sum(count.values())
    if failed:
        raise DataError(f"{failed} scans failed; results.csv says why. {told}")
    return told


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "A folder of scans.")
    flags.DEFINE_string("out", None, "The folder that gets the results.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED), "Another model's file.")
    flags.DEFINE_string("series", "", "A SeriesInstanceUID or file name.")
    flags.DEFINE_enum(
        "layout", "", ["", *dataset_layouts.LAYOUTS[:-1]], "Of the folder."
    )
    flags.DEFINE_bool(
        "copy_slice", False, "Copy the slice's DICOM file, with the patient's header."
    )
    flags.DEFINE_bool(
        "dicom", False, "Write an SR and a secondary capture, of the scan's patient."
    )
    launch.launch(launcher, "scans", "out")

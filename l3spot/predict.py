"""Finds L3 in CT scans: which slice it is, and how sure that is.

python -m l3spot.predict --scans SCANS --out RESULTS

Each sub-folder, zip file and NIfTI file of SCANS is a scan. RESULTS gets results.csv
with a row for each, found, not in view, or failed and why; and for each scan NAME.json,
NAME.png to be looked at, and NAME.mrk.json for 3D Slicer. One bad scan does not stop
the rest; the exit status is 1 if there was one. Of the headers only UIDs are kept. This
is no medical device: look at the pictures, worst confidence first.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from tqdm import tqdm

from l3spot import datasets, found, model, page, projection, scan
from l3spot.datasets import Case
from l3spot.model import Model
from l3spot.spotting import STEP
from mtl import launch, workdir
from mtl.errors import DataError

COLUMNS = (
    *("scan", "status", "confidence", "z_mm", "row", "slice_index", "slice_z_mm"),
    *("file", "sop_instance_uid", "series", "warnings", "why", "seconds"),
)
FAILED = "failed"


def predict(
    scans: str | Path,
    out: str | Path,
    checkpoint: str | Path = model.PACKAGED,
    series: str = "",
    layout: str = "",
) -> list[dict[str, Any]]:
    """Finds L3 in all the scans of a folder.

    Args:
      scans: the folder; see `datasets`.
      out: gets what the module's docstring says.
      checkpoint: a model that `l3spot.main` left, if not the package's own.
      series: a SeriesInstanceUID or file name, if not the longest volume is wanted.
      layout: of `scans`, if it is not to be told from the folder.

    Returns:
      The rows of results.csv, z in mm, LPS, of the middle of L3's body.

    Raises:
      DataError: there is no scan, or no such model.
      WorkdirError: `out` lies in `scans`, or cannot be written.
    """
    scans, out = Path(scans), Path(out)
    net = model.load(Path(checkpoint))
    cases = datasets.find(scans, layout or datasets.detect(scans))
    workdir.check_apart(out, scans, "scans")
    workdir.make(out, f"--out={out}")
    rows: list[dict[str, Any]] = []
    for case in tqdm(cases, unit="scan", disable=None):
        rows.append(_one(case, out, net, series))
        table = [[row[k] for k in COLUMNS] for row in rows]
        workdir.write_csv(out / "results.csv", COLUMNS, table)
    workdir.write_text(out / "index.html", page.render(rows, net.about))
    return rows


def _one(case: Case, out: Path, net: Model, series: str) -> dict[str, Any]:
    """The row of a scan, whose files are written."""
    start = time.perf_counter()
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"scan": case.name}
    for end in (".json", ".png", ".mrk.json"):
        (out / f"{case.name}{end}").unlink(missing_ok=True)
    try:
        volume = scan.choose(scan.read(case.path), case.path, series)
        row |= {
            "series": volume.planes[0].series[-1],
            "warnings": "; ".join(volume.warnings),
        }
        p = projection.project(volume)
    except DataError as e:
        return row | {"status": FAILED, "why": " ".join(str(e).split())}
    spotted = found.find(net, p, volume, STEP)
    row |= found.row_of(spotted, volume)
    row["seconds"] = round(time.perf_counter() - start, 2)
    found.write(out, case.name, row, p, spotted)
    return row


def launcher(arguments: Sequence[str]) -> str:
    """Predicts as the flags say; returns what was found, in words.

    Raises:
      DataError: some scans failed; the others are done.
    """
    launch.no_more(arguments)
    args = flags.FLAGS
    rows = predict(args.scans, args.out, args.checkpoint, args.series, args.layout)
    count = {s: sum(r["status"] == s for r in rows) for s in (found.IN, found.OUT)}
    told = f"L3 found in {count[found.IN]} of {len(rows)} scans, not in view in "
    told += f"{count[found.OUT]}; see {Path(args.out) / 'index.html'}"
    failed = len(rows) - sum(count.values())
    if failed:
        raise DataError(f"{failed} scans failed; results.csv says why. {told}")
    return told


if __name__ == "__main__":
    flags.DEFINE_string("scans", None, "A folder of scans.")
    flags.DEFINE_string("out", None, "The folder that gets the results.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED), "Another model's file.")
    flags.DEFINE_string("series", "", "A SeriesInstanceUID or file name.")
    flags.DEFINE_enum("layout", "", ["", *datasets.LAYOUTS[:-1]], "Of the folder.")
    launch.launch(launcher, "scans", "out")

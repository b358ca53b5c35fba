"""Measures both methods on hard phantoms as DICOM files; writes a CSV and a table.

    python -m experiments.hard_phantoms --count 6

Each kind of phantom has one difficulty: metal, fused or collapsed vertebrae, scoliosis,
slices of 0.5, 5 or 8 mm, false headers, L3 cut by an end of the scan, or another number
of ribs or vertebrae, with the last ribs and the sacrum in view.
docs/results/l3spot_hard.csv has a row for each phantom; phantoms in it are not computed
again. A phantom takes about 10 s on two cores.
"""

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pydicom
from absl import flags
from tqdm import tqdm

from experiments import DOCS, csv_rows
from l3spot.ct import scan
from l3spot.localize import model
from l3spot.phantom import series
from l3spot.phantom.draw import PhantomRanges
from l3spot.phantom.series import Phantom
from l3spot.phantom.spine import L3
from l3spot.projections import mip
from l3spot.report import result
from l3spot.report.result import IN_VIEW, L3Result, is_sure
from l3spot.vertebrae import levels
from l3spot.vertebrae import model as vertebra_model
from mtl.host import launch, tables, workdir

SEED, SIZE = 2000, 256
CSV = DOCS / "results" / "l3spot_hard.csv"
USUAL = dataclasses.replace(
    PhantomRanges(),
    length_mm=(240.0, 320.0),
    slice_mm=(1.5, 3.0),
    pixel_mm=(0.8, 0.8),  # One size shares programs.
    without_l3=0.0,
    implant=0.0,
    sixth_lumbar=0.0,
    sacralised=0.0,
    ribs_11=0.0,
    ribs_13=0.0,
)


def same(phantom: Phantom, number: int) -> Phantom:
    """Returns the phantom as it is."""
    return phantom


def fused(phantom: Phantom, number: int) -> Phantom:
    """Fills two discs next to L3, or below L4, with bone."""
    first = L3 - 1 + number % 3
    index, discs = np.array([first, first + 1]), phantom.person.discs
    hu = discs.matter.rim_hu.at[index].set(350.0)
    matter = discs.matter._replace(rim_hu=hu, core_hu=hu)
    return _with(phantom, discs=discs._replace(matter=matter))


def collapsed(phantom: Phantom, number: int) -> Phantom:
    """Halves the height of L1, L2 or L4; the lower end plate stays."""
    i, blocks = (L3 - 2, L3 - 1, L3 + 1)[number % 3], phantom.person.blocks
    quarter = blocks.half[i, 2] / 2
    return _with(
        phantom,
        blocks=blocks._replace(
            half=blocks.half.at[i, 2].multiply(0.5),
            centre=blocks.centre.at[i].add(-quarter * blocks.axes[i, 2]),
        ),
    )


def _with(phantom: Phantom, **changes: Any) -> Phantom:
    return phantom._replace(person=phantom.person._replace(**changes))


def cut_below(phantom: Phantom, number: int) -> Phantom:
    """Ends the scan 6 to 11 mm below the middle of L3."""
    low_mm = -6.0 - number % 6
    return _with_ends(phantom, low_mm, low_mm + 260)


def cut_above(phantom: Phantom, number: int) -> Phantom:
    """Ends the scan 6 to 11 mm above the middle of L3."""
    high_mm = 6.0 + number % 6
    return _with_ends(phantom, high_mm - 260, high_mm)


def with_both_ends(phantom: Phantom, number: int) -> Phantom:
    """Brings the last ribs and the sacrum into view."""
    return _with_ends(phantom, -185.0, 240.0)


def without_ribs(phantom: Phantom, number: int) -> Phantom:
    """Ends the scan below the last ribs, with the sacrum in view."""
    return _with_ends(phantom, -185.0, 65.0)


def _with_ends(phantom: Phantom, low_mm: float, high_mm: float) -> Phantom:
    ends = {"low_mm": jnp.float32(low_mm), "high_mm": jnp.float32(high_mm)}
    return phantom._replace(scan=phantom.scan._replace(**ends))


def true_prone(ds: pydicom.Dataset) -> None:
    """Stores a slice turned by 180° with a header that says so."""
    pixels = ds.pixel_array[::-1, ::-1]
    width = (ds.Rows - 1) * float(ds.PixelSpacing[0])
    x, y, z = map(float, ds.ImagePositionPatient)
    ds.ImagePositionPatient = [f"{v:.4f}" for v in (x + width, y + width, z)]
    ds.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    ds.PatientPosition, ds.PixelData = "HFP", pixels.tobytes()


def false_prone(ds: pydicom.Dataset) -> None:
    """Turns a slice by 180°, and leaves its header."""
    ds.PixelData = ds.pixel_array[::-1, ::-1].tobytes()


def upside_down(ds: pydicom.Dataset) -> None:
    """Reverses the order of the slices, and so head and feet."""
    x, y, z = map(float, ds.ImagePositionPatient)
    ds.ImagePositionPatient = [f"{v:.4f}" for v in (x, y, -z)]


class Kind(NamedTuple):
    """A kind of phantoms.

    Attributes:
      ranges: fields that differ from `USUAL`.
      change: of the drawn phantom and its number.
      header: changes a written slice; None leaves it.
      answer: whether there is a right answer; false headers have none.
    """

    ranges: dict[str, Any] = {}  # noqa: RUF012
    change: Callable[[Phantom, int], Phantom] = same
    header: Callable[[pydicom.Dataset], None] | None = None
    answer: bool = True


KINDS = {
    "usual": Kind(),
    "metal": Kind({"implant": 1.0}),
    "fused": Kind(change=fused),
    "collapsed": Kind(change=collapsed),
    "scoliosis": Kind({"scoliosis_rad": 0.15}),
    "slices of 0.5 mm": Kind({"slice_mm": (0.5, 0.5), "length_mm": (200.0, 220.0)}),
    "slices of 5 mm": Kind({"slice_mm": (5.0, 5.0)}),
    "slices of 8 mm": Kind({"slice_mm": (8.0, 8.0)}),
    "prone": Kind(header=true_prone),
    "prone, false header": Kind(header=false_prone),
    "upside down, false header": Kind(header=upside_down, answer=False),
    "L3 cut by the lower end": Kind(change=cut_below),
    "L3 cut by the upper end": Kind(change=cut_above),
    "half an adult's size": Kind({"size": (0.45, 0.6)}),
    "usual, both ends in view": Kind(change=with_both_ends),
    "11 pairs of ribs": Kind({"ribs_11": 1.0}, with_both_ends),
    "13 pairs of ribs": Kind({"ribs_13": 1.0}, with_both_ends),
    "sacralised L5": Kind({"sacralised": 1.0}, with_both_ends),
    "six lumbar vertebrae": Kind({"sixth_lumbar": 1.0}, with_both_ends),
    "six, ribs out of view": Kind({"sixth_lumbar": 1.0}, without_ribs),
}


class Row(NamedTuple):
    """The answers of both methods for a phantom; z in mm, NaN if not in view.

    Attributes:
      kind: one of `KINDS`.
      number: of the phantom.
      true_mm: z of L3's middle.
      l2_mm: z of L2's middle.
      l4_mm: z of L4's middle.
      z_mm: of L3 from the vertebrae.
      confidence: that the level is right.
      within_5_mm: that z_mm is within 5 mm.
      numbering: what the names rest on.
      frontal_mm: z of L3 by the paper's method.
      frontal_confidence: of the paper's method.
    """

    kind: str
    number: int
    true_mm: float
    l2_mm: float
    l4_mm: float
    z_mm: float
    confidence: float
    within_5_mm: float
    numbering: str
    frontal_mm: float
    frontal_confidence: float


def measure(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the table."""
    launch.reject_extra_args(arguments)
    rows = read(CSV) if CSV.exists() else []
    done = {(row.kind, row.number) for row in rows}
    models = model.load(), vertebra_model.load()
    todo = [(n, k) for n in range(flags.FLAGS.count) for k in KINDS]
    for number, kind in tqdm(todo, unit="phantom", disable=None):
        if (kind, number) not in done:
            rows.append(_measure_one(kind, number, *models))
            workdir.write_csv(CSV, Row._fields, rows)
    return table(rows)


def _measure_one(
    kind: str,
    number: int,
    frontal: model.Model,
    vertebrae: vertebra_model.VertebraModel,
) -> Row:
    ranges = dataclasses.replace(USUAL, **KINDS[kind].ranges)
    drawn = series.draw(SEED + list(KINDS).index(kind), number, ranges)
    phantom = KINDS[kind].change(drawn, number)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "phantom"
        series.write_drawn(folder, phantom, f"{kind}.{number}", number, SIZE)
        if (header := KINDS[kind].header) is not None:
            for path in folder.iterdir():
                ds = pydicom.dcmread(path)
                header(ds)
                ds.save_as(path)
        volume = scan.choose(scan.read(folder), folder)
        projection = mip.project(volume)
    found = result.find_l3(frontal, projection, volume, vertebrae)
    paper = result.find_l3(frontal, projection, volume)
    truth = series.truth(phantom)
    basis = "" if found.spine is None else found.spine.numbering.basis
    return Row(
        kind, number, truth.z_mm, truth.l2_mm, truth.l4_mm, _z(found),
        round(found.confidence, 4), round(found.within_5_mm or 0.0, 4), basis,
        _z(paper), round(paper.confidence, 4),
    )  # fmt: skip


def _z(found: L3Result) -> float:
    return round(found.z_mm, 2) if found.status == IN_VIEW else math.nan


def read(path: Path) -> list[Row]:
    """Reads the rows of the CSV."""
    return csv_rows.read(path, Row)


HEAD = (
    *("phantoms", "n", "found", "mean error, mm", "worst", "wrong vertebra"),
    *("wrong, but sure", "unsure", "ambiguous", "frontal: mean error, mm", "wrong"),
)


def table(rows: Sequence[Row]) -> str:
    """Returns the table of all kinds."""
    lines = []
    for kind in KINDS:
        of_kind = [row for row in rows if row.kind == kind]
        if of_kind:
            lines.append([kind, *_cells(of_kind, KINDS[kind].answer)])
    return tables.markdown(HEAD, lines)


def _cells(rows: Sequence[Row], answer: bool) -> list[str]:
    found = [row for row in rows if not math.isnan(row.z_mm)]
    paper = [row for row in rows if not math.isnan(row.frontal_mm)]
    unsure = [row for row in found if not is_sure(row.confidence, row.numbering)]
    ambiguous = [row for row in rows if row.numbering == levels.AMBIGUOUS]
    wrong = [row for row in found if not answer or _is_wrong(row, row.z_mm)]
    sure = [row for row in wrong if is_sure(row.confidence, row.numbering)]
    errors = [abs(row.z_mm - row.true_mm) for row in found]
    frontal = [abs(row.frontal_mm - row.true_mm) for row in paper]
    frontal_wrong = [
        row for row in paper if not answer or _is_wrong(row, row.frontal_mm)
    ]
    means = [f"{np.mean(e):.1f}" if answer and e else "" for e in (errors, frontal)]
    worst = f"{max(errors):.1f}" if answer and errors else ""
    counts = [str(len(a)) for a in (rows, found, wrong, sure, unsure, ambiguous)]
    return [
        *counts[:2], means[0], worst, *counts[2:], means[1], str(len(frontal_wrong)),
    ]  # fmt: skip


def _is_wrong(row: Row, z_mm: float) -> bool:
    """Returns whether a position is nearer to L2 or L4 than to L3."""
    neighbour = row.l2_mm if z_mm > row.true_mm else row.l4_mm
    return abs(z_mm - row.true_mm) > abs(neighbour - row.true_mm) / 2


if __name__ == "__main__":
    flags.DEFINE_integer("count", 6, "Phantoms of each kind.")
    launch.launch(measure)

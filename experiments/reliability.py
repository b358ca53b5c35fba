"""Measures whether the confidence is right, on drawn scans; writes a CSV and a figure.

    python -m experiments.reliability --count 250

The scans have the ranges of those that calibrate the confidence
(`l3spot.training.drawn_scans.HARD`), and another seed. The files are
docs/results/l3spot_reliability.csv and .png; the tables are printed. A scan takes two
seconds on two cores.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from tqdm import tqdm

from experiments import DOCS, csv_rows
from l3spot.localize import model
from l3spot.report.result import MIN_SURE
from l3spot.training import calibration, drawn_scans
from l3spot.training.drawn_scans import DrawnScan
from l3spot.vertebrae import confidence, levels, locate
from l3spot.vertebrae import model as vertebra_model
from mtl.host import launch, tables, workdir

SEED = 900
CSV = DOCS / "results" / "l3spot_reliability.csv"
BINS = (0.0, 0.5, 0.8, 0.95, 1.0)


class Row(NamedTuple):
    """A drawn scan in which vertebrae are seen.

    Attributes:
      number: of the scan.
      confidence: the probability that the names are right.
      right: 1 if they are.
      within_5_mm: the probability that the found L3 is within 5 mm; NaN if L3 is not
        among the vertebrae.
      near: 1 if it is.
      numbering: what the names rest on.
      usual: 1 if the body has 12 pairs of ribs and five lumbar vertebrae.
      error_mm: of the found L3; NaN if L3 is not in view, or not found.
      frontal_error_mm: of the frontal position; NaN if L3 is not in view.
      pitch_mm: between the lumbar vertebrae.
      slice_mm: between slices.
    """

    number: int
    confidence: float
    right: int
    within_5_mm: float
    near: int
    numbering: str
    usual: int
    error_mm: float
    frontal_error_mm: float
    pitch_mm: float
    slice_mm: float


def measure(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the tables."""
    launch.reject_extra_args(arguments)
    rows = list(answers(drawn_scans.draw(SEED, flags.FLAGS.count)))
    workdir.write_csv(CSV, Row._fields, rows)
    draw(rows).savefig(CSV.with_suffix(".png"), dpi=100)
    made = (table, order_table, methods_table, numbering_table)
    return "\n\n".join(make(rows) for make in made)


def answers(scans: Iterable[DrawnScan]) -> Iterator[Row]:
    """Yields the row of each scan in which vertebrae are seen."""
    models = model.load(), vertebra_model.load()
    for number, scan in enumerate(tqdm(scans, unit="scan", disable=None)):
        located = locate.locate(*models, scan.projection)
        if (spine := located.spine) is None:
            continue
        l3 = spine.numbering.l3
        error_mm = abs(l3.z_mm) if l3 is not None and scan.in_view else math.nan
        frontal_mm = abs(located.frontal.z_mm) if scan.in_view else math.nan
        usual = scan.rib_pairs == 12 and math.isnan(scan.z_of("L6"))
        yield Row(
            number,
            round(spine.confidence, 4),
            int(calibration.level_is_right(scan, spine)),
            math.nan if l3 is None else round(spine.within_5_mm["L3"], 4),
            int(error_mm <= confidence.TOLERANCE_MM),
            spine.numbering.basis,
            int(usual),
            round(error_mm, 2),
            round(frontal_mm, 2),
            round(scan.pitch_mm, 1),
            round(scan.slice_mm, 2),
        )


def read(path: Path) -> list[Row]:
    """Reads the rows of the CSV."""
    return csv_rows.read(path, Row)


def pairs(rows: Sequence[Row]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns stated probabilities and outcomes of both numbers."""
    with_l3 = [row for row in rows if not math.isnan(row.within_5_mm)]
    return {
        "the level is right": (
            np.array([row.confidence for row in rows]),
            np.array([row.right for row in rows]),
        ),
        "within 5 mm": (
            np.array([row.within_5_mm for row in with_l3]),
            np.array([row.near for row in with_l3]),
        ),
    }


def table(rows: Sequence[Row]) -> str:
    """Returns stated and true shares of right answers, by stated probability."""
    lines = []
    for name, (stated, right) in pairs(rows).items():
        for low, high in itertools.pairwise(BINS):
            inside = (stated >= low) & ((stated < high) | (high == BINS[-1]))
            count = int(inside.sum())
            means = [
                f"{a[inside].mean():.2f}" if count else "" for a in (stated, right)
            ]
            lines.append([name, f"{low:g} to {high:g}", str(count), *means])
    return tables.markdown(("answer", "stated", "scans", "mean stated", "right"), lines)


def order_table(rows: Sequence[Row]) -> str:
    """Returns how many wrong answers come among the first ones of the page."""
    lines = []
    for name, (stated, right) in pairs(rows).items():
        order = np.argsort(stated, kind="stable")
        wrong = int((right == 0).sum())
        cells = [
            str(int((right[order[: round(share * len(order))]] == 0).sum()))
            for share in (0.1, 0.2, 0.3, 0.5)
        ]
        lines.append([name, str(len(stated)), str(wrong), *cells])
    head = (
        "answer",
        "scans",
        "wrong",
        *(f"in the first {p} %" for p in (10, 20, 30, 50)),
    )
    return tables.markdown(head, lines)


def methods_table(rows: Sequence[Row]) -> str:
    """Returns the errors of both methods, of scans with an L3 that the second found."""
    both = [row for row in rows if not math.isnan(row.error_mm)]
    pitch_mm = np.array([row.pitch_mm for row in both])
    methods = {
        "frontal": np.array([row.frontal_error_mm for row in both]),
        "vertebrae": np.array([row.error_mm for row in both]),
    }
    sure = np.array([row.confidence >= MIN_SURE for row in both])
    methods |= {f"{k}, confidence from {MIN_SURE:g}": v for k, v in methods.items()}
    lines = []
    for name, error_mm in methods.items():
        used = sure if "," in name else np.ones(len(both), bool)
        e, wrong = error_mm[used], (error_mm > pitch_mm / 2)[used]
        numbers = [f"{v:.1f}" for v in (e.mean(), np.median(e), e.max())]
        lines.append(
            [name, str(len(e)), *numbers, str((e <= 5).sum()), str(wrong.sum())]
        )
    head = ("method", "scans", "mean, mm", "median", "worst", "within 5 mm")
    return tables.markdown((*head, "wrong vertebra"), lines)


def numbering_table(rows: Sequence[Row]) -> str:
    """Returns how often each numbering is stated, and how often it is right."""
    kinds = {"twelve pairs of ribs, no L6": 1, "other": 0}
    lines = []
    for name in (
        levels.BOTH,
        levels.RIBS,
        levels.SACRUM,
        levels.PICTURE,
        levels.AMBIGUOUS,
    ):
        cells = []
        for usual in kinds.values():
            of_kind = [r for r in rows if r.usual == usual and r.numbering == name]
            cells.append(f"{sum(r.right for r in of_kind)} of {len(of_kind)}")
        lines.append([f"`{name}`", *cells])
    return tables.markdown(("numbering", *(f"right, {k}" for k in kinds)), lines)


def draw(rows: Sequence[Row]) -> Figure:
    """Draws the reliability curves."""
    figure = Figure(figsize=(6.4, 3.3), layout="constrained")
    for ax, (name, (stated, right)) in zip(
        figure.subplots(1, 2, sharey=True), pairs(rows).items(), strict=True
    ):
        _plot_one(ax, stated, right)
        ax.set(xlabel=f"stated: {name}", xlim=(0, 1.02), ylim=(0, 1.02))
    figure.axes[0].set_ylabel("share that is right")
    return figure


def _plot_one(ax: Axes, stated: np.ndarray, right: np.ndarray) -> None:
    """Draws the mean of about equally many answers at a time, with its deviation."""
    order = np.argsort(stated, kind="stable")
    ax.plot([0, 1], [0, 1], color="0.7", lw=1)
    for part in np.array_split(order, 8):
        p = right[part].mean()
        deviation = math.sqrt(max(p * (1 - p), 1e-9) / len(part))
        ax.errorbar(stated[part].mean(), p, deviation, fmt="o", color="tab:blue", ms=4)


if __name__ == "__main__":
    flags.DEFINE_integer("count", 250, "The number of scans.")
    launch.launch(measure)

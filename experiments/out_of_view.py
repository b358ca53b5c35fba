"""Measures how well the confidence separates scans with L3 from scans without: the ROC.

    python -m experiments.out_of_view

It takes the phantoms of `experiments.held_out`, which are harder than those of
training: as drawn; with the augmentation of training; and cut above or below L3, so
that the scan's end is 15 to 120 mm from L3, with L3 inside or outside. It writes
docs/results/l3spot_roc.png, and prints the areas and the errors at the threshold of
0.5. It takes three minutes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from experiments import DOCS, held_out
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Model
from l3spot.localize.preprocess import MM_PER_PX
from l3spot.training import dataset, scoring
from l3spot.training.augmentation_ranges import AugmentationRanges
from l3spot.training.dataset import ProjectionDataset
from mtl.host import launch

MIN_DISTANCE_MM, MAX_DISTANCE_MM = 15.0, 120.0  # From L3 to the cut.
MIN_SCAN_MM = 150.0  # Cuts leave at least this height.


class Scan(NamedTuple):
    """A scan of a phantom.

    Attributes:
      hu: [R, W] with 2 mm pixels.
      in_view: whether L3 is in view.
    """

    hu: np.ndarray
    in_view: bool


def measure(arguments: Sequence[str]) -> str:
    """Measures and plots from command-line flags; returns a line for each set."""
    launch.reject_extra_args(arguments)
    trained = model.load_frontal(Path(flags.FLAGS.checkpoint))
    p = held_out.draw()
    sets = {
        "as drawn": _scans(p),
        "varied": _scans(dataset.augmented(p, held_out.SEED, AugmentationRanges())),
        "cut near L3": _cut(p, np.random.default_rng(0)),
    }
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    ax = figure.subplots()
    lines = []
    for name, scans in sets.items():
        in_view = np.array([s.in_view for s in scans])
        confidence = np.array([_confidence(trained, s.hu) for s in scans])
        area = roc_auc_score(in_view, confidence)
        hits, alarms = (
            (confidence >= model.MIN_CONFIDENCE)[kind].mean()
            for kind in (in_view, ~in_view)
        )
        name_and_area = f"{name}: area {area:.3f}"
        false, true, _ = roc_curve(in_view, confidence)
        (line,) = ax.plot(false, true, label=name_and_area)
        ax.plot(alarms, hits, "o", color=line.get_color())
        lines.append(
            f"{name_and_area}; {in_view.sum()} with L3: {100 * (1 - hits):.1f} % are "
            f"missed; {(~in_view).sum()} without, {100 * alarms:.1f} % false alarms"
        )
    ax.set(xlabel="said to be in view, of scans without L3", xlim=(-0.01, 0.4))
    ax.set(ylabel="of scans with L3", ylim=(0.6, 1.01))
    ax.legend(frameon=False, loc="lower right")
    figure.savefig(DOCS / "results" / "l3spot_roc.png", dpi=100)
    return "\n".join(lines)


def _scans(p: ProjectionDataset) -> list[Scan]:
    in_view = ~np.isnan(scoring.true_rows(p))
    return [Scan(_rows(p, i), bool(in_view[i])) for i in range(len(p.hu))]


def _cut(p: ProjectionDataset, rng: np.random.Generator) -> list[Scan]:
    """Cuts each scan with L3, if it is long enough, once with L3 and once without."""
    cut_scans = []
    for i in map(int, np.flatnonzero(~np.isnan(scoring.true_rows(p)))):
        for in_view in (True, False):
            below, distance_mm = (
                bool(rng.integers(2)),
                rng.uniform(MIN_DISTANCE_MM, MAX_DISTANCE_MM),
            )
            # A cut below L3 lies at a larger row if L3 stays in view.
            end = p.l3_mm[i] + distance_mm * (1 if below == in_view else -1)
            low, high = (0.0, end) if below else (end, float(p.height_mm[i]))
            low, high = max(low, 0.0), min(high, float(p.height_mm[i]))
            if high - low >= MIN_SCAN_MM and low <= end <= high:
                cut_scans.append(
                    Scan(
                        _rows(p, i)[int(low / MM_PER_PX) : int(high / MM_PER_PX)],
                        in_view,
                    )
                )
    return cut_scans


def _rows(p: ProjectionDataset, i: int) -> np.ndarray:
    return p.hu[i][: int(p.height_mm[i]) // MM_PER_PX]


def _confidence(m: Model, hu: np.ndarray) -> float:
    x = preprocess.to_grey(preprocess.crop_to_spine(hu), m.low_hu, m.high_hu)
    estimate = window_search.locate(m.window_offsets(x), float(len(hu) * MM_PER_PX))
    return m.calibration(estimate.confidence_features)


if __name__ == "__main__":
    flags.DEFINE_string("checkpoint", str(model.PACKAGED_FILE), "The model's file.")
    launch.launch(measure)

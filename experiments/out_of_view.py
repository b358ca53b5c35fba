"""How well the confidence tells scans that have L3 from those that lack it: the ROC.

    python -m experiments.out_of_view

On the phantoms of `experiments.held_out`, which are harder than those of training: as
they were drawn; bent, cut and filled as in training; and, of those with L3 in view, cut
above or below it, so that the scan ends 15 to 120 mm beyond L3, which is then in view,
or before it. Leaves results/l3spot_roc.png beside this file, and prints areas and what
0.5 divides. Three minutes.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from experiments import DOCS, held_out
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Model
from l3spot.localize.preprocess import MM
from l3spot.training import augmentation, dataset, scoring
from l3spot.training.dataset import Pool

NEAR, FAR = 15.0, 120.0  # mm from L3 to where a scan is cut.
LEAST = 150.0  # mm that are left.


class Scan(NamedTuple):
    """hu: [R, W], 2 mm a pixel. there: whether L3 is in view."""

    hu: np.ndarray
    there: bool


def main() -> None:
    """Measures and draws as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=model.PACKAGED)
    args = parser.parse_args()
    found = model.load(args.checkpoint)
    p = held_out.draw()
    sets = {
        "as drawn": _scans(p),
        "varied": _scans(dataset.varied(p, held_out.SEED, augmentation.Range())),
        "cut near L3": _cut(p, np.random.default_rng(0)),
    }
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    ax = figure.subplots()
    for name, scans in sets.items():
        there = np.array([s.there for s in scans])
        sure = np.array([_confidence(found, s.hu) for s in scans])
        area = roc_auc_score(there, sure)
        hits, alarms = ((sure >= model.SURE)[kind].mean() for kind in (there, ~there))
        told = f"{name}: area {area:.3f}"
        false, true, _ = roc_curve(there, sure)
        (line,) = ax.plot(false, true, label=told)
        ax.plot(alarms, hits, "o", color=line.get_color())
        print(
            f"{told}; {there.sum()} with L3, of which {100 * (1 - hits):.1f} % are "
            f"missed; {(~there).sum()} without, {100 * alarms:.1f} % false alarms"
        )
    ax.set(xlabel="said to be in view, of scans without L3", xlim=(-0.01, 0.4))
    ax.set(ylabel="of scans with L3", ylim=(0.6, 1.01))
    ax.legend(frameon=False, loc="lower right")
    out = DOCS / "results" / "l3spot_roc.png"
    figure.savefig(out, dpi=100)


def _scans(p: Pool) -> list[Scan]:
    there = ~np.isnan(scoring.truth(p))
    return [Scan(_rows(p, i), bool(there[i])) for i in range(len(p.hu))]


def _cut(p: Pool, rng: np.random.Generator) -> list[Scan]:
    """Two of each scan that has L3 and is long enough: with L3, and without."""
    made = []
    for i in np.flatnonzero(~np.isnan(scoring.truth(p))):
        for there in (True, False):
            below, away = bool(rng.integers(2)), rng.uniform(NEAR, FAR)
            # Below L3 the cut is at a higher row, if L3 is to stay.
            end = p.l3[i] + away * (1 if below == there else -1)
            low, high = (0.0, end) if below else (end, float(p.height[i]))
            low, high = max(low, 0.0), min(high, float(p.height[i]))
            if high - low >= LEAST and low <= end <= high:
                made.append(Scan(_rows(p, i)[int(low / MM) : int(high / MM)], there))
    return made


def _rows(p: Pool, i: int) -> np.ndarray:
    return p.hu[i][: int(p.height[i]) // MM]


def _confidence(m: Model, hu: np.ndarray) -> float:
    x = preprocess.window(preprocess.centred(hu), m.low, m.high)
    sequence = m.look(x)
    return m.calibration(window_search.spot(sequence, float(len(hu) * MM)).evidence)


if __name__ == "__main__":
    main()

"""What frozen filters are worth, random ones and ImageNet's: five folds, few labels.

    python -m experiments.frozen --runs runs/frozen --weights runs/vgg16.safetensors

The features of all phantoms of configs/l3spot/study.py are computed once, which takes
nearly all of the time, and kept in RUNS. The dense layer is then what a ridge
regression finds, so there are no epochs. Folds and validation are those of
`l3spot.crossval`; validation picks the ridge. Leaves results/l3spot_frozen.csv, and
models in RUNS.
"""

import argparse
import csv
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from sklearn.kernel_ridge import KernelRidge

from configs.l3spot import study
from experiments import DOCS
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.model import Model
from l3spot.localize.network import Network
from l3spot.localize.preprocess import MM
from l3spot.localize.window_search import Spot
from l3spot.report import metrics
from l3spot.training import experiment, scoring, split, tasks
from l3spot.training.dataset import Pool
from mtl.data.readers import load_npz
from mtl.engine.task import Params
from mtl.host import workdir

VARIANTS = ("alexnet", "vgg16", "vgg16_imagenet")
FOLDS, STRIPS = 5, 4  # Strips a phantom, drawn once.
LABELLED = (10, 30, 100, 0)  # 0: all.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
COLUMNS = (
    *("mean_mm", "std_mm", "median_mm", "p95_mm"),
    *("within_5_mm", "within_10_mm", "wrong_vertebra", "compared"),
)


class Seen(NamedTuple):
    """What frozen filters make of a pool of N scans.

    strips: [N, STRIPS, h, w, channels]. away: [N, STRIPS, T], in reaches. weight: as
    away, of the errors. pictures: of each scan [phases, h, w, channels].
    """

    strips: np.ndarray
    away: np.ndarray
    weight: np.ndarray
    pictures: list[np.ndarray]


def main() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for variant in VARIANTS:
        c = study.get_config(variant)
        c.model.weights = c.model.weights and args.weights
        rows += _study(c, variant, args.runs)
    out = DOCS / "results" / "l3spot_frozen.csv"
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(_table(rows))


def _study(c: ConfigDict, variant: str, runs: Path) -> list[dict[str, Any]]:
    """A row for each number of labels and fold."""
    whole = experiment.load(c)
    net, params = experiment.start_from(c)
    seen = _see(c, net, params["trunk"], whole, runs / variant)
    phi = _windows(net, seen.strips)
    rows = []
    for fold, (rest, test) in enumerate(split.folds(whole, FOLDS, c.seed)):
        for labelled in LABELLED:
            c.data.labelled, c.seed = labelled, fold  # Who keeps a label.
            given = experiment.parts(c, rest, test)
            heads = _heads(net, seen, phi, given.train.patient)
            errors = [
                _errors(c, net, h, seen, whole, given.valid.patient) for h in heads
            ]
            best = int(np.argmin([e["mean_mm"] for e in errors]))
            told = _errors(c, net, heads[best], seen, whole, test.patient)
            if not labelled:  # The model of the last fold stays.
                made = {"trunk": params["trunk"], "head": heads[best]}
                path = runs / variant / "model.safetensors"
                _save(c, net, made, seen, whole, given.valid.patient, path)
            head = {
                "variant": variant,
                "labelled": len(given.train.hu),
                "fold": fold,
                "ridge": RIDGES[best],
            }
            rows.append(head | {k: round(told[k], 4) for k in COLUMNS})
    return rows


def _see(c: ConfigDict, net: Network, trunk: Params, p: Pool, folder: Path) -> Seen:
    """The features of all scans, computed unless `folder` has them."""
    cut = jax.jit(lambda batch, key: tasks.cut(c, net, batch, key))
    features = jax.jit(lambda x: net.features(trunk, x))
    pictures = jax.jit(lambda x: net.features(trunk, x[None], c.step))
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i in range(len(p.hu)):
        path = folder / f"{i:04d}.npz"
        if not path.exists():
            batch = {k: jnp.asarray([getattr(p, k)[i]] * STRIPS) for k in tasks.FIELDS}
            strips = cut(batch, jax.random.fold_in(jax.random.key(c.seed), i))
            away = np.asarray(strips.away) / c.reach
            near = np.where(np.abs(away) < tasks.NEAR, 1.0, c.beyond)
            workdir.write_npz(
                path,
                strips=np.asarray(features(strips.x)),
                away=np.clip(away, -1, 1),
                weight=near * np.asarray(strips.inside),
                pictures=np.asarray(pictures(_picture(c, net, p, i))),
            )
        made.append(load_npz(path, Seen._fields))
    strips, away, weight = (np.stack([m[k] for m in made]) for k in Seen._fields[:3])
    return Seen(strips, away, weight, [m["pictures"] for m in made])


def _picture(c: ConfigDict, net: Network, p: Pool, i: int) -> np.ndarray:
    """[H, WIDTH], as `spotting.look` has it."""
    shown = preprocess.centred(p.hu[i][: int(p.height[i]) // MM])
    return window_search.frame(net, preprocess.window(shown, c.low, c.high))


def _windows(net: Network, strips: np.ndarray) -> np.ndarray:
    """[N, STRIPS, T, rows * w * channels], as the dense layer sees them."""
    rows = net.sides[0]
    count = strips.shape[2] - rows + 1
    cut = [strips[:, :, t : t + rows] for t in range(count)]
    return np.stack(cut, 2).reshape(*strips.shape[:2], count, -1)


def _heads(
    net: Network, seen: Seen, phi: np.ndarray, scans: np.ndarray
) -> list[Params]:
    """The dense layer of each ridge, of what was seen of some scans."""
    x, y, w = (a[scans].reshape(-1, *a.shape[3:]) for a in (phi, *seen[1:3]))
    counts = w > 0
    x, y, w = x[counts], y[counts], w[counts]
    size = np.sqrt((x**2).sum(1).mean())
    x = x / size
    gram = x @ x.T + 1  # 1: the bias is a feature as well.
    made = []
    for ridge in RIDGES:
        fitted = KernelRidge(alpha=ridge, kernel="precomputed")
        dual = fitted.fit(gram, y, sample_weight=w).dual_coef_
        kernel = (dual @ x / size).reshape(net.sides[0], -1)
        made.append({"kernel": kernel.astype(np.float32), "bias": dual.sum()})
    return made


def _errors(
    c: ConfigDict, net: Network, head: Params, seen: Seen, p: Pool, scans: np.ndarray
) -> dict[str, float]:
    """Of the scans that have L3."""
    found, true = _spots(c, net, head, seen, p, scans), scoring.truth(p)[scans]
    has = ~np.isnan(true)
    return metrics.errors(np.array([s.row for s in found])[has], true[has])


def _spots(
    c: ConfigDict, net: Network, head: Params, seen: Seen, p: Pool, scans: np.ndarray
) -> list[Spot]:
    made = []
    for i in scans:
        told = np.asarray(net.tell(head, seen.pictures[i]))
        found = window_search.sequence(told, int(p.height[i]) // MM, c.step)
        made.append(window_search.spot(found, float(p.height[i])))
    return made


def _save(
    c: ConfigDict, net: Network, params: Params, seen: Seen, p: Pool, scans: np.ndarray,
    path: Path,
) -> None:  # fmt: skip
    """A model for `l3spot.predict`, calibrated on so many scans."""
    found = _spots(c, net, params["head"], seen, p, scans)
    away = np.abs(np.array([s.row for s in found]) - scoring.truth(p)[scans])
    evidence = np.array([s.evidence for s in found])
    fitted = scoring.calibrate(evidence, away <= scoring.WITHIN)
    params = jax.tree.map(np.asarray, params)
    about = f"a head on frozen filters, {len(p.hu)} phantoms"
    model.save(path, Model(params, c.low, c.high, fitted, about, net, c.step))


def _table(rows: list[dict[str, Any]]) -> str:
    """Means over the folds, and the standard deviation of the folds' means."""
    lines = ["| filters | labels | error, mm | median | within 10 mm | other bone |"]
    lines.append("|---|---|---|---|---|---|")
    for variant, labelled in dict.fromkeys((r["variant"], r["labelled"]) for r in rows):
        own = [r for r in rows if (r["variant"], r["labelled"]) == (variant, labelled)]
        mean = {k: np.mean([r[k] for r in own]) for k in COLUMNS}
        lines.append(
            f"| {variant} | {labelled} | {mean['mean_mm']:.1f} ± {mean['std_mm']:.1f} "
            f"| {mean['median_mm']:.1f} | {100 * mean['within_10_mm']:.0f} % "
            f"| {100 * mean['wrong_vertebra']:.0f} % |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Error and time of spotting: each window on its own, or windows that share the trunk.

    python -m benchmarks.spot_windows --phantoms runs/phantoms-new [--scans 20]

The scans are phantoms (250, drawn if the folder lacks them) that trained and calibrated
no model. Steps are in mm. Where others use the machine as well, its CPU's seconds tell
more than the clock's. "Own" gives each window zeros beyond its edges, as the paper
does; the model was trained with windows that share. "Mirrored" looks at the mirror
image too, as the packaged model does. `--shared` leaves out windows of their own, which
take a large network minutes a scan.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import measure
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.network import Network
from l3spot.localize.preprocess import HEIGHT, MM
from l3spot.training import dataset, scoring
from mtl.engine.task import Params

BATCH = 50  # Windows at a time.
SEED, COUNT = 11, 250  # Of phantoms. The packaged model has another seed's.


def own(
    net: Network, params: Params, x: np.ndarray, step: int
) -> window_search.Sequence:
    """Like `spotting.look`, each window computed for itself."""
    reach = int(window_search.REACH / MM)
    above = HEIGHT // 2 + reach
    wide = np.pad(x, ((above, above), (0, 0)))
    first = np.arange(0, len(x) + 2 * reach + 1, step)
    told: list[np.ndarray] = []
    for i in range(0, len(first), BATCH):
        part = first[i : i + BATCH]
        part = np.pad(part, (0, BATCH - len(part)), mode="edge")
        cut = np.stack([wide[a : a + HEIGHT] for a in part])
        told.append(np.asarray(_windows(net, params, cut)))
    away = np.concatenate(told)[: len(first), 0]
    return window_search.Sequence(
        MM * (first - reach).astype(float), window_search.REACH * away
    )


_windows = jax.jit(Network.outputs, static_argnums=0)
OWN = {"own, 2 mm": (own, 1), "own, 4 mm": (own, 2)}


def ways(net: Network, alone: bool) -> dict[str, tuple[Any, int]]:
    """What there is to compare, of a network; with windows of their own or not."""
    shared: dict[str, tuple[Any, int]] = {}
    for s in window_search.steps(net):
        name = f"shared, {MM * s} mm"
        shared[name] = window_search.look, s
        shared[f"{name}, mirrored"] = partial(window_search.look, mirror=True), s
    return (OWN if alone else {}) | shared


def run(folder: str, scans: int, checkpoint: Path, alone: bool) -> dict[str, Any]:
    """Mean error and median seconds a scan of each way, also of the CPU; in turns."""
    found = model.load(checkpoint)
    p = dataset.phantoms(folder, SEED, COUNT)
    inside = np.flatnonzero(~np.isnan(scoring.truth(p)))[:scans]
    compared = ways(found.network, alone)
    rows: dict[str, dict[str, list[float]]] = {
        way: {"mm": [], "s": [], "cpu": []} for way in compared
    }
    compiled: set[tuple[str, int]] = set()
    for i in inside:
        cut = preprocess.centred(p.hu[i][: int(p.height[i]) // MM])
        x = preprocess.window(cut, found.low, found.high)
        shape = len(window_search.frame(found.network, x))
        for name, (look, step) in compared.items():
            if (name, shape) not in compiled:  # Heights are few, for they are rounded.
                look(found.network, found.params, x, step)
                compiled.add((name, shape))
            start, spent = time.perf_counter(), time.process_time()
            sequence = look(found.network, found.params, x, step)
            rows[name]["s"].append(time.perf_counter() - start)
            rows[name]["cpu"].append(time.process_time() - spent)
            spot = window_search.spot(sequence, float(p.height[i]))
            rows[name]["mm"].append(abs(spot.row - p.l3[i]))
    told = {
        name: {
            "mean_mm": float(np.mean(r["mm"])),
            "median_s": float(np.median(r["s"])),
            "median_cpu_s": float(np.median(r["cpu"])),
        }
        for name, r in rows.items()
    }
    return {
        "ways": told,
        "scans": len(inside),
        "backbone": found.network.name,
        "machine": measure.machine(None, ("jax", "numpy")),
    }


def main() -> None:
    """Measures, prints a table, and leaves a JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", required=True)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path, default=model.PACKAGED)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    told = run(args.phantoms, args.scans, args.checkpoint, not args.shared)
    for name, way in told["ways"].items():
        print(
            f"{name:22s} {way['mean_mm']:7.2f} mm {way['median_s']:8.4f} s"
            f"{way['median_cpu_s']:8.4f} s of CPU"
        )
    if args.out:
        args.out.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()

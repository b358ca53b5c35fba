"""Error and time of spotting: each window on its own, or windows that share the trunk.

    python -m benchmarks.spot_windows --phantoms runs/phantoms [--scans 20] [--out FILE]

The scans are the last of a folder that `l3spot.main` drew, which validated the packaged
model. Steps are in mm. "Own" gives each window zeros beyond its edges, as the paper
does; the model was trained with windows that share.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks import measure
from l3spot import model, picture, pool, spotting
from l3spot.network import Network
from l3spot.picture import HEIGHT, MM
from mtl.task import Params

BATCH = 50  # Windows at a time.


def own(net: Network, params: Params, x: np.ndarray, step: int) -> spotting.Sequence:
    """Like `spotting.look`, each window computed for itself."""
    reach = int(spotting.REACH / MM)
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
    return spotting.Sequence(MM * (first - reach).astype(float), spotting.REACH * away)


_windows = jax.jit(Network.outputs, static_argnums=0)
WAYS = {
    "own, 2 mm": (own, 1),
    "own, 4 mm": (own, 2),
    "shared, 2 mm": (spotting.look, 1),
    "shared, 4 mm": (spotting.look, 2),
    "shared, 8 mm": (spotting.look, 4),
    "shared, 16 mm": (spotting.look, 8),
}


def run(folder: str, scans: int, checkpoint: Path) -> dict[str, Any]:
    """Mean error and median seconds a scan of each way; they take turns."""
    found = model.load(checkpoint)
    p = pool.phantoms(folder, 7, 3000)
    inside = np.flatnonzero((p.l3 > 0) & (p.l3 < p.height))[-scans:]
    rows: dict[str, dict[str, list[float]]] = {w: {"mm": [], "s": []} for w in WAYS}
    for i in inside:
        cut = picture.centred(p.hu[i][: int(p.height[i]) // MM])
        x = picture.window(cut, found.low, found.high)
        for name, (look, step) in WAYS.items():
            look(found.network, found.params, x, step)  # Compiled for this height.
            start = time.perf_counter()
            sequence = look(found.network, found.params, x, step)
            rows[name]["s"].append(time.perf_counter() - start)
            spot = spotting.spot(sequence, float(p.height[i]))
            rows[name]["mm"].append(abs(spot.row - p.l3[i]))
    return {
        name: {"mean_mm": float(np.mean(r["mm"])), "median_s": float(np.median(r["s"]))}
        for name, r in rows.items()
    } | {
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
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    told = run(args.phantoms, args.scans, args.checkpoint)
    for name in WAYS:
        error, seconds = told[name]["mean_mm"], told[name]["median_s"]
        print(f"{name:15s} {error:7.2f} mm {seconds:8.4f} s")
    if args.out:
        args.out.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()

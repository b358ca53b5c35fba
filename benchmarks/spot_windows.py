"""Compares error and time of separate windows and of windows that share the trunk.

    python -m benchmarks.spot_windows --phantoms runs/phantoms-new [--scans 20]

The scans are 250 phantoms, drawn if the folder lacks them, which no model was trained
or calibrated on. Strides are in mm. If other processes use the machine, the CPU seconds
are more reliable than the clock's. "Own" computes each window separately, with zeros
outside its edges, as in the paper; the model was trained with shared windows.
"Mirrored" averages with the mirror image, as the packaged model does. `--shared` omits
separate windows, which take a large network minutes for each scan.
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
from l3spot.localize.preprocess import HEIGHT_PX, MM_PER_PX
from l3spot.localize.window_search import WindowOffsets
from l3spot.training import dataset, scoring
from mtl.engine.task import Params

BATCH = 50  # Windows of one call.
SEED, COUNT = 11, 250  # Of phantoms. The packaged model has another seed.


def separate_windows(
    net: Network, params: Params, x: np.ndarray, stride_px: int
) -> WindowOffsets:
    """Computes `window_search.window_offsets` with a separate pass for each window."""
    border_px = window_search.BORDER_PX
    above = HEIGHT_PX // 2 + border_px
    padded = np.pad(x, ((above, above), (0, 0)))
    first = np.arange(0, len(x) + 2 * border_px + 1, stride_px)
    outputs: list[np.ndarray] = []
    for i in range(0, len(first), BATCH):
        part = first[i : i + BATCH]
        part = np.pad(part, (0, BATCH - len(part)), mode="edge")
        windows = np.stack([padded[a : a + HEIGHT_PX] for a in part])
        outputs.append(np.asarray(_outputs(net, params, windows)))
    offset = np.concatenate(outputs)[: len(first), 0]
    row_mm = MM_PER_PX * (first - border_px).astype(float)
    return WindowOffsets(row_mm, window_search.MAX_OFFSET_MM * offset)


_outputs = jax.jit(Network.outputs, static_argnums=0)
SEPARATE = {"own, 2 mm": (separate_windows, 1), "own, 4 mm": (separate_windows, 2)}


def methods(net: Network, separate: bool) -> dict[str, tuple[Any, int]]:
    """Returns functions and strides by name, with separate windows or without."""
    shared: dict[str, tuple[Any, int]] = {}
    window_offsets = window_search.window_offsets
    for stride_px in window_search.strides(net):
        name = f"shared, {MM_PER_PX * stride_px} mm"
        shared[name] = window_offsets, stride_px
        mirrored = partial(window_offsets, mirror=True)
        shared[f"{name}, mirrored"] = mirrored, stride_px
    return (SEPARATE if separate else {}) | shared


def run(folder: str, scans: int, checkpoint: Path, separate: bool) -> dict[str, Any]:
    """Returns mean error, median seconds and median CPU seconds of each method.

    The methods take turns on each scan.
    """
    m = model.load(checkpoint)
    p = dataset.phantoms(folder, SEED, COUNT)
    in_view = np.flatnonzero(~np.isnan(scoring.true_rows(p)))[:scans]
    compared = methods(m.network, separate)
    rows: dict[str, dict[str, list[float]]] = {
        name: {"mm": [], "s": [], "cpu": []} for name in compared
    }
    compiled: set[tuple[str, int]] = set()
    for i in in_view:
        hu = p.hu[i][: int(p.height_mm[i]) // MM_PER_PX]
        x = preprocess.to_grey(preprocess.crop_to_spine(hu), m.low_hu, m.high_hu)
        height_px = len(window_search.pad_image(m.network, x))
        for name, (window_offsets, stride_px) in compared.items():
            if (name, height_px) not in compiled:  # Padded heights are few.
                window_offsets(m.network, m.params, x, stride_px)
                compiled.add((name, height_px))
            start, cpu_start = time.perf_counter(), time.process_time()
            offsets = window_offsets(m.network, m.params, x, stride_px)
            rows[name]["s"].append(time.perf_counter() - start)
            rows[name]["cpu"].append(time.process_time() - cpu_start)
            estimate = window_search.locate(offsets, float(p.height_mm[i]))
            rows[name]["mm"].append(abs(estimate.row_mm - p.l3_mm[i]))
    summary = {
        name: {
            "mean_mm": float(np.mean(r["mm"])),
            "median_s": float(np.median(r["s"])),
            "median_cpu_s": float(np.median(r["cpu"])),
        }
        for name, r in rows.items()
    }
    return {
        "ways": summary,
        "scans": len(in_view),
        "backbone": m.network.name,
        "machine": measure.machine(None, ("jax", "numpy")),
    }


def main() -> None:
    """Measures, prints a table and writes a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phantoms", required=True)
    parser.add_argument("--scans", type=int, default=20)
    parser.add_argument("--checkpoint", type=Path, default=model.PACKAGED_FILE)
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    results = run(args.phantoms, args.scans, args.checkpoint, not args.shared)
    for name, row in results["ways"].items():
        print(
            f"{name:22s} {row['mean_mm']:7.2f} mm {row['median_s']:8.4f} s"
            f"{row['median_cpu_s']:8.4f} s of CPU"
        )
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""Compares error and time of separate windows and of windows that share the trunk.

    python -m benchmarks.spot_windows --phantoms runs/phantoms-new [--scans 20]

The scans are 250 phantoms, drawn if the folder lacks them, which no model was trained
or calibrated on. Strides are in mm. If other processes use the machine, the CPU seconds
are more reliable than the clock's. "Own" computes each window separately, with zeros
outside its edges, as in the paper; the model was trained with shared windows.
"Mirrored" averages with the mirror image, as the packaged model does. `--shared` omits
separate windows, which take a large network minutes for each scan.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypedDict

import jax
import numpy as np
from absl import flags

from benchmarks import measure
from l3spot.localize import model, preprocess, window_search
from l3spot.localize.network import Network
from l3spot.localize.preprocess import HEIGHT_PX, MM_PER_PX
from l3spot.localize.window_search import WindowOffsets
from l3spot.training import dataset, scoring
from mtl.engine.task import Params
from mtl.host import launch

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


Method: TypeAlias = tuple[Callable[..., WindowOffsets], int]  # Function, stride_px.


class Row(TypedDict):
    """The figures of a method."""

    mean_mm: float
    median_s: float
    median_cpu_s: float


class Figures(TypedDict):
    """The content of the JSON file."""

    ways: dict[str, Row]
    scans: int
    backbone: str
    machine: measure.Machine


class Scan(NamedTuple):
    """The error of a method on a scan, and its seconds."""

    mm: float
    s: float
    cpu_s: float


_outputs = jax.jit(Network.outputs, static_argnums=0)
SEPARATE: dict[str, Method] = {
    "own, 2 mm": (separate_windows, 1),
    "own, 4 mm": (separate_windows, 2),
}


def methods(net: Network, separate: bool) -> dict[str, Method]:
    """Returns functions and strides by name, with separate windows or without."""
    shared: dict[str, Method] = {}
    window_offsets = window_search.window_offsets
    for stride_px in window_search.strides(net):
        name = f"shared, {MM_PER_PX * stride_px} mm"
        shared[name] = window_offsets, stride_px
        mirrored = partial(window_offsets, mirror=True)
        shared[f"{name}, mirrored"] = mirrored, stride_px
    return (SEPARATE if separate else {}) | shared


def run(folder: str, scans: int, checkpoint: Path, separate: bool) -> Figures:
    """Returns mean error, median seconds and median CPU seconds of each method.

    The methods take turns on each scan.
    """
    m = model.load_frontal(checkpoint)
    p = dataset.phantoms(folder, SEED, COUNT)
    in_view = np.flatnonzero(~np.isnan(scoring.true_rows(p)))[:scans]
    compared = methods(m.network, separate)
    measured: dict[str, list[Scan]] = {name: [] for name in compared}
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
            s, cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
            estimate = window_search.locate(offsets, float(p.height_mm[i]))
            mm = float(abs(estimate.row_mm - p.l3_mm[i]))
            measured[name].append(Scan(mm, s, cpu_s))
    return {
        "ways": {name: _row(scans) for name, scans in measured.items()},
        "scans": len(in_view),
        "backbone": m.network.name,
        "machine": measure.machine(_gpu(), ("jax", "numpy")),
    }


def _gpu() -> str | None:
    gpu = jax.default_backend() == "gpu"
    return jax.devices()[0].device_kind if gpu else None


def _row(scans: list[Scan]) -> Row:
    mm, s, cpu_s = np.transpose(scans)
    return {
        "mean_mm": float(mm.mean()),
        "median_s": float(np.median(s)),
        "median_cpu_s": float(np.median(cpu_s)),
    }


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; writes the JSON file and returns the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    checkpoint = Path(args.checkpoint)
    figures = run(args.phantoms, args.scans, checkpoint, not args.shared)
    measure.write(figures)
    rows = [(name, *row.values()) for name, row in figures["ways"].items()]
    return measure.table(("", "mm", "s", "s of CPU"), rows, (".2f", ".4f", ".4f"))


if __name__ == "__main__":
    flags.DEFINE_string("phantoms", None, "The folder of phantoms; it may be empty.")
    flags.DEFINE_integer("scans", 20, "Phantoms that are measured.")
    flags.DEFINE_string("checkpoint", str(model.PACKAGED_FILE), "The model's file.")
    flags.DEFINE_bool("shared", False, "Omit separate windows.")
    measure.define_out()
    launch.launch(work, "phantoms")

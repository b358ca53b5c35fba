"""Training from shards: peak memory with many rows, and speed against arrays.

    python -m benchmarks.stream [--rows 10000000] [--folder /tmp]

Writes random images of MNIST's size as shards of 100,000 rows into a temporary folder
(785 bytes a row, so 7.9 GB), and removes it at the end. A process of its own trains one
pass through all rows and reports its peak memory. Another one trains passes through
`FITTING` rows, once as arrays on the device and once in chunks; they take turns. System
1's NN1 has 100 labelled rows, in each chunk, and reconstructs all rows.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from benchmarks import measure
from mtl import config as configs
from mtl import experiment
from mtl.data import datasets
from mtl.data.shard_stream import ShardStream
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import compile_epoch
from mtl.engine.streams import Chunks
from mtl.engine.training import Training
from mtl.host import launch
from mtl.host.errors import DataError

LABELLED = 100
SHARD_ROWS = 100_000
FITTING = 120_000  # Rows that the comparison holds in memory.
PIXELS = 784
TURNS = 5


def write_shards(folder: Path, rows: int) -> None:
    """Writes random images; the first rows have labels."""
    rng = np.random.default_rng(0)
    (folder / "train").mkdir(parents=True)
    for name in ("valid", "test"):
        x = rng.integers(0, 256, (100, PIXELS), np.uint8)
        np.savez(folder / f"{name}.npz", x=x, y=np.arange(100) % 10)
    for start in range(0, rows, SHARD_ROWS):
        count = min(SHARD_ROWS, rows - start)
        x = rng.integers(0, 256, (count, PIXELS), np.uint8)
        at = np.arange(start, start + count)
        y = np.where(at < LABELLED, at % 10, -1).astype(np.int8)
        np.savez(folder / "train" / f"{start:012}.npz", x=x, y=y)


def make_config(folder: str) -> ConfigDict:
    """NN1 of system 1 on these shards."""
    c = configs.default()
    c.data.source, c.data.path, c.data.labelled = "shards", folder, LABELLED
    c.method, c.devices = "constant", 1
    return c


def train(t: Training, compiled: CompiledEpoch, epochs: range) -> float:
    """Trains some epochs as `fit` does; returns their seconds."""
    state = compiled.engine.init(t.params)
    start = time.perf_counter()
    with Chunks(t.data, compiled.engine, epochs.stop) as chunks:
        for epoch in epochs:
            data, engine = chunks.get(epoch)
            state, _ = compiled(
                *(state, data, t.loss_weights[0], t.learning_rates[0]),
                *(jax.random.fold_in(t.key, epoch), engine),
            )
    jax.block_until_ready(state.params)
    return time.perf_counter() - start


def one_pass(folder: str) -> dict[str, Any]:
    """Trains each row once, or --chunks; returns the speed and the peak memory."""
    c, start = make_config(folder), time.perf_counter()
    t = experiment.make_training(c, datasets.load(c.data))
    ready, before = time.perf_counter() - start, measure.peak_mib()
    assert isinstance(t.data, ShardStream)
    compiled = compile_epoch(t)
    train(t, compiled, range(1))
    chunks = flags.FLAGS.chunks or round(1 / t.data.passes(1))
    seconds = train(t, compiled, range(1, 1 + chunks))
    return {
        "rows": len(t.data.label),
        "chunks": chunks,
        "start seconds": round(ready, 1),
        "peak MiB at start": round(before),
        "rows a second": round(chunks * c.data.chunk_rows / seconds),
        "peak MiB": round(measure.peak_mib()),
    }


def against_arrays(folder: str) -> dict[str, Any]:
    """Rows a second in chunks and as arrays, by turns; medians, and their ratio."""
    trainings: dict[str, tuple[Training, CompiledEpoch, int]] = {}
    speeds: dict[str, list[float]] = {"chunks": [], "arrays": []}
    for name, rows in (("chunks", configs.default().data.chunk_rows), ("arrays", 0)):
        c = make_config(folder)
        c.data.chunk_rows = rows or FITTING
        t = experiment.make_training(c, datasets.load(c.data))
        assert isinstance(t.data, ShardStream) == bool(rows)
        trainings[name] = t, compile_epoch(t), FITTING // c.data.chunk_rows
    for turn in range(1 + TURNS):
        for name, (t, compiled, epochs) in trainings.items():
            seconds = train(t, compiled, range(turn * epochs, (turn + 1) * epochs))
            if turn:  # The first turn compiles.
                speeds[name].append(FITTING / seconds)
    median = {name: round(float(np.median(s))) for name, s in speeds.items()}
    ratios = np.array(speeds["chunks"]) / np.array(speeds["arrays"])
    return {
        "rows a second": median,
        "chunks to arrays": [round(float(r), 2) for r in np.sort(ratios)],
    }


PARTS = {"pass": one_pass, "arrays": against_arrays}


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the figures as JSON."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    if args.only:
        return json.dumps(PARTS[args.only](args.folder))
    need, free = (
        (args.rows + FITTING) * (PIXELS + 1),
        shutil.disk_usage(args.folder).free,
    )
    if need > free - 2**30:
        raise DataError(
            f"--rows={args.rows} needs {need / 1e9:.1f} GB, but --folder={args.folder} "
            f"has {free / 1e9:.1f} GB free"
        )
    found: dict[str, Any] = {"machine": measure.machine(None, ("jax", "numpy"))}
    with tempfile.TemporaryDirectory(prefix="shards-", dir=args.folder) as folder:
        for name, rows in (("pass", args.rows), ("arrays", FITTING)):
            write_shards(Path(folder) / name, rows)
            command = [sys.executable, "-m", "benchmarks.stream", f"--only={name}"]
            command += [f"--folder={folder}/{name}", f"--chunks={args.chunks}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            found[name] = json.loads(done.stdout.splitlines()[-1])
    measure.write(found)
    return json.dumps(found, indent=2)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 10_000_000, "The number of images.")
    flags.DEFINE_integer("chunks", 0, "The chunks of the long training; 0: a pass.")
    flags.DEFINE_string("folder", tempfile.gettempdir(), "Gets the temporary folder.")
    flags.DEFINE_string("only", "", "Measure this part, in this process.")
    measure.define_out()
    launch.launch(work)

"""Update steps a second of one run on 1, 2, 4 and 8 CPU devices.

    python -m benchmarks.scaling [--only 4]

Each number of devices has a process of its own, and each system a small network on
random data. The devices share the cores of this machine: with more devices than cores,
the table shows what splitting a run costs, and no speed-up. Other work on the machine
changes the CPU's time of a step, that of all cores, less than the steps a second.
"collectives" counts the operations between devices in the compiled epoch; those of a
loop count once. "split" data are those with `config.shard_data`.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from l3spot.training import config as l3spot_config
from l3spot.training import dataset as l3spot_dataset
from l3spot.training import experiment as l3spot_experiment
from l3spot.training import initial
from l3spot.training.dataset import ProjectionDataset
from l3spot.training.experiment import Datasets
from mtl import config as mtl_config
from mtl import experiment as mtl_experiment
from mtl.data import datasets
from mtl.engine import sharding, split_rows
from mtl.engine.fit import compile_epoch
from mtl.engine.streams import Stream
from mtl.engine.task import Data
from mtl.engine.training import Training
from mtl.host import launch, tables
from structured import assemble
from structured import config as structured_config
from structured import data as structured_data

DEVICES = (1, 2, 4, 8)
REPEATS = 5  # Epochs that are timed, after one that is not.
COLLECTIVE = re.compile(
    r" (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)"
    r"(?:-start)?\("
)


def collectives(program: jax.stages.Compiled) -> Counter[str]:
    """Counts the operations between devices in a compiled program, by kind."""
    return Counter(COLLECTIVE.findall(program.as_text() or ""))


def mtl(devices: int, shard_data: bool = False) -> Training:
    """System 1: NN1 on the digits, reconstruction and classification."""
    c = mtl_config.default()
    c.method, c.batch_size = "constant", 240
    c.devices, c.shard_data = devices, shard_data
    return mtl_experiment.make_training(c, datasets.load(c.data))


def structured(devices: int, shard_data: bool = False) -> Training:
    """System 2: two auto-encoders and the main network; some digits lack x or y."""
    c = structured_config.default()
    c.data.source, c.data.pairs, c.batch_size = "digits", 200, 64
    c.model.input, c.model.link, c.model.output = (128,), (64,), (32,)
    c.devices, c.shard_data = devices, shard_data
    return assemble.make_training(c, structured_data.load(c))


def l3spot(devices: int, shard_data: bool = False) -> Training:
    """System 3: CNN4 on random images with random positions of L3."""
    c = l3spot_config.default()
    c.windows, c.batch_size = 2, 8
    c.devices, c.shard_data = devices, shard_data
    rng = np.random.default_rng(0)
    size = 16, l3spot_dataset.IMAGE_ROWS, l3spot_dataset.IMAGE_COLUMNS
    height_mm = np.full(16, 700, np.float32)
    scans = ProjectionDataset(
        rng.integers(-1000, 1000, size).astype(np.int16),
        height_mm,
        rng.uniform(200, 500, 16).astype(np.float32),
        np.arange(16, dtype=np.int32),
    )
    net, params = initial.init_network(c)
    sets = Datasets(scans, scans, scans)
    return l3spot_experiment.make_training(c, net, params, sets)


SYSTEMS = {"mtl": mtl, "structured": structured, "l3spot": l3spot}


class Measured(NamedTuple):
    """Update steps a second, CPU's milliseconds a step, and two properties.

    data_kib: the training data on the first device.
    collectives: of the compiled epoch, by kind.
    """

    steps_per_s: float
    cpu_ms: float
    data_kib: float
    collectives: Counter[str]


def measure(training: Training) -> Measured:
    """Times some epochs of a training.

    The times are those of the fastest of the timed epochs.
    """
    train_epoch = compile_epoch(training)
    state = train_epoch.engine.init(training.params)
    state = sharding.replicate(state, training.mesh)
    data: Any = on_devices(training)
    held = [x.addressable_shards[0].data for x in jax.tree.leaves(data)]
    weights, rate = training.loss_weights[0], training.learning_rates[0]
    times, cpu_times = [], []
    for t in range(1 + REPEATS):
        start, cpu_start = time.perf_counter(), time.process_time()
        key = jax.random.fold_in(training.key, t)
        state, _ = jax.block_until_ready(train_epoch(state, data, weights, rate, key))
        times.append(time.perf_counter() - start)
        cpu_times.append(time.process_time() - cpu_start)
    rows = len(next(iter(data.values())))
    updates = len(train_epoch.engine.spec.updates)
    steps = updates * -(-rows // training.batch_size)
    (program,) = train_epoch.programs
    cpu_ms = 1000 * min(cpu_times[1:]) / steps
    kib = sum(x.nbytes for x in held) / 1024
    return Measured(steps / min(times[1:]), cpu_ms, kib, collectives(program))


def on_devices(training: Training) -> Data:
    """The data as `fit` puts them on the devices."""
    assert not isinstance(training.data, Stream)
    if training.shard_data:
        return split_rows.place(training.data, training.mesh)
    return sharding.replicate(training.data, training.mesh)


def rows_of(devices: int) -> Iterator[list[str]]:
    """Measures all systems on so many devices of this process."""
    for name, make in SYSTEMS.items():
        for shard_data in (False, True) if devices > 1 else (False,):
            m = measure(make(devices, shard_data))
            counts = (f"{n} {kind}" for kind, n in sorted(m.collectives.items()))
            yield [
                *(name, str(devices), "split" if shard_data else "whole"),
                *(f"{m.steps_per_s:.1f}", f"{m.cpu_ms:.2f}", f"{m.data_kib:.0f}"),
                ", ".join(counts) or "none",
            ]


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns a table, or its rows as JSON."""
    launch.reject_extra_args(arguments)
    only = flags.FLAGS.only
    if only:
        jax.config.update("jax_num_cpu_devices", only)
        return json.dumps(list(rows_of(only)))
    found: list[list[str]] = []
    for devices in DEVICES:
        command = [sys.executable, "-m", "benchmarks.scaling", f"--only={devices}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found += json.loads(done.stdout.splitlines()[-1])
    head = ["system", "devices", "data", "steps a second", "CPU ms a step"]
    head += ["data KiB a device", "collectives"]
    return tables.markdown(head, sorted(found, key=lambda row: (row[0], int(row[1]))))


if __name__ == "__main__":
    flags.DEFINE_integer("only", 0, "Measure this number of devices, in this process.")
    launch.launch(work)

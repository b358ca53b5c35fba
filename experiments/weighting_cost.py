"""What an epoch costs with each way to set weights: docs/results/weights.md.

python -m experiments.weighting_cost --data DIR_OF_MNIST --turns 5

The least CPU seconds of this process, for others work beside it; the methods take
turns. `exponential` is in its sixth epoch, with both tasks.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
from absl import flags

from configs.mtl import mnist
from mtl import experiment, methods
from mtl.data import datasets
from mtl.engine import fit
from mtl.host import launch, tables

RUNS = [
    (m, o) for m in ("exponential", *methods.ADAPTIVE) for o in ("alternate", "joint")
]


def measure(arguments: Sequence[str]) -> str:
    """A Markdown table: a line for each method and order."""
    launch.reject_extra_args(arguments)
    c = mnist.get_config()
    c.data.path = flags.FLAGS.data
    dataset = datasets.load(c.data)
    epochs = {}
    for c.method, c.order in RUNS:
        t = experiment.make_training(c, dataset)
        train_epoch = fit.compile_epoch(t)
        state = train_epoch.engine.init(t.params)
        loss_weights, learning_rate = t.loss_weights[5], t.learning_rates[5]
        data: Any = t.data
        epochs[c.method, c.order] = partial(
            train_epoch, state, data, loss_weights, learning_rate, t.key
        )
    seconds: dict[tuple[str, str], list[float]] = {run: [] for run in RUNS}
    for turn in range(flags.FLAGS.turns + 1):
        for run, train in epochs.items():
            start = time.process_time()
            jax.block_until_ready(train())
            if turn:  # The first one warms up.
                seconds[run].append(time.process_time() - start)
    found = {run: min(s) for run, s in seconds.items()}
    base = found["exponential", "alternate"]
    heads = "method", "order", "CPU seconds an epoch", "over exponential"
    return tables.markdown(
        heads, [[*run, f"{s:.3f}", f"{s / base:.2f}"] for run, s in found.items()]
    )


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "The folder of MNIST's IDX files.")
    flags.DEFINE_integer("turns", 5, "Epochs of each that are measured.")
    launch.launch(measure, "data")

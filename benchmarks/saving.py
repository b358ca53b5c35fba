"""A run that saves after each epoch: in the background, and waiting for each save.

    python -m benchmarks.saving [--hidden 2000] [--folder /tmp]

System 1 with two hidden layers on the digits, in one process on one device. Both kinds
take turns; each trains `EPOCHS` epochs in a new folder. "saved MiB" is what an epoch
writes: parameters and best parameters, and the best parameters once more. Other work on
the machine and its disk changes all figures.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import flags

from benchmarks import measure
from mtl import config as configs
from mtl import experiment
from mtl.data import datasets
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.fit import compile_epoch, fit
from mtl.engine.progress import Progress
from mtl.engine.saving import Saving
from mtl.engine.training import Training
from mtl.host import launch

EPOCHS = 5
TURNS = 5


def make_training(hidden: int) -> Training:
    """The run; each evaluation is better than the one before, and so is saved."""
    c = configs.default()
    c.method, c.epochs, c.optim.decay_epochs = "constant", EPOCHS, 1
    c.model.hidden, c.devices = (hidden, hidden), 1
    c.eval_every = c.save_every = 1
    c.monitor = "valid/loss"
    return experiment.make_training(c, datasets.load(c.data))


def seconds(t: Training, compiled: CompiledEpoch, folder: str, waits: bool) -> float:
    """Trains in a new folder; returns the seconds of `fit`."""
    save = Saving.save

    def save_and_wait(self: Saving, p: Progress) -> None:
        save(self, p)
        self.wait()

    if waits:
        Saving.save = save_and_wait  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory(prefix="saving-", dir=folder) as run:
            start = time.perf_counter()
            fit(t, Path(run), compiled)
            return time.perf_counter() - start
    finally:
        Saving.save = save  # type: ignore[method-assign]


def work(arguments: Sequence[str]) -> str:
    """Measures from command-line flags; returns the figures as JSON."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    machine = measure.machine(None, ("jax", "orbax-checkpoint"))
    t = make_training(args.hidden)
    compiled = compile_epoch(t)
    took: dict[str, list[float]] = {"waiting": [], "in the background": []}
    for turn in range(1 + TURNS):
        for name, values in took.items():
            value = seconds(t, compiled, args.folder, name == "waiting")
            if turn:  # The first turn compiles.
                values.append(value)
    ratios = np.array(took["in the background"]) / np.array(took["waiting"])
    size = sum(x.nbytes for x in jax.tree.leaves(t.params))
    found = {
        "machine": machine,
        "saved MiB": round(3 * size / 2**20),
        "epochs": EPOCHS,
        "seconds": {k: [round(v, 2) for v in values] for k, values in took.items()},
        "background to waiting": [round(float(r), 2) for r in np.sort(ratios)],
    }
    measure.write(found)
    return json.dumps(found, indent=2)


if __name__ == "__main__":
    flags.DEFINE_integer("hidden", 2000, "The units of each of two hidden layers.", 1)
    flags.DEFINE_string("folder", tempfile.gettempdir(), "Gets the temporary folders.")
    measure.define_out()
    launch.launch(work)

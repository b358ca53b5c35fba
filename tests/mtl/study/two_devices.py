"""Studies on two CPU devices, for `test_two_devices.py`, which runs this as a program.

    python -m tests.mtl.study.two_devices FOLDER

It leaves in FOLDER: `once`, `again` and `other` (studies with some runs in common), and
`trained.npz` (the parameters and the reported errors of each evaluation of a group).
"""

import sys
from pathlib import Path

import jax
import numpy as np
from flax import traverse_util

from configs.mtl import table1
from mtl.data import datasets
from mtl.data.datasets import Dataset
from mtl.data.readers import Images
from mtl.study import grid, run
from mtl.study.trainer import GroupTrainer

EPOCHS, EVAL_EVERY = 20, 10
METHOD = "baseline_matched"  # It takes the least time, and was the most often wrong.


def dataset() -> Dataset:
    """Ten noisy patterns of 784 pixels: 50,000 to train, so that u can be 49,000."""
    rng = np.random.default_rng(0)
    pattern = rng.uniform(0, 1, (10, 784)).astype(np.float32)

    def images(count: int) -> Images:
        y = rng.integers(0, 10, count).astype(np.int32)
        noise = rng.standard_normal((count, 784), np.float32)
        return Images(np.clip(pattern[y] + 3 * noise, 0, 1), y)

    return Dataset(images(50_000), images(2_000), images(10_000), (28, 28), 10)


def config(*methods):
    """A table of one column, l = 1000 and u = 49,000, and two seeds."""
    c = table1.get_config("cpu")
    c.epochs, c.eval_every, c.optim.decay_epochs = EPOCHS, EVAL_EVERY, 2
    c.data.path = "not read"  # `main` and the tests put `dataset` there.
    c.study.seeds = c.study.seeds_per_program = 2
    c.study.labelled, c.study.unlabelled = (1000,), (-1,)
    c.study.parts.a.methods = methods or (METHOD,)
    del c.study.parts.b
    return c


def main(folder: Path) -> None:
    jax.config.update("jax_num_cpu_devices", 2)
    images = dataset()
    datasets.load = lambda _: images
    run.study(config(), folder / "once")
    run.study(config(), folder / "again")
    run.study(config("baseline", METHOD), folder / "other")
    (group,) = grid.run_groups(config(), grid.runs(config(), 50_000), vmapped=False)
    found = {}
    for p in GroupTrainer(config(), images).train(group, folder / "group"):
        if p.epoch:
            found |= {f"{p.epoch}/reported/{k}": v for k, v in p.last.items()}
            flat = traverse_util.flatten_dict(jax.device_get(p.state.params), sep="/")
            found |= {f"{p.epoch}/params/{k}": v for k, v in flat.items()}
    np.savez(folder / "trained.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Trains `tiny.training` as a launcher does, and lets one process act, for the tests.

    python -m tests.mtl.host.training_on_hosts --workdir X --act SIGKILL --at 5 --who 1

It leaves the final arrays in final.npz.
"""

import dataclasses
import json
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from ml_collections import ConfigDict

from mtl.engine import adaptive, sharding
from mtl.engine.fit import fit
from mtl.engine.streams import Indexed
from mtl.engine.task import flatten
from mtl.host import cluster, launch, remote, remote_flags, workdir
from mtl.host.errors import DataError
from tests.mtl import tiny


def act(what):
    """A signal to the own process, an error of the user or another one, or a line."""
    if what == "print":
        return print(3)
    if what == "DataError":
        raise DataError("there is no file data.npz")
    if what == "ZeroDivisionError":
        raise ZeroDivisionError
    return os.kill(os.getpid(), signal.Signals[what])


class Lazy:
    """An array that reads slices, and writes down which."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = set()

    def __len__(self):
        return len(self.array)

    def __getitem__(self, part):
        self.read |= set(range(*part.indices(len(self))))
        return self.array[part]


def of_many_types(t):
    """The training with x in parts of four types."""
    x, denoise = np.asarray(t.data["x"]), t.tasks[0]
    parts = {
        "bytes": (255 * x).astype(np.uint8),
        "hu": (1000 * x).astype(np.int16),
        "known": x > 0.5,
    }

    def loss(params, batch, key):
        other = batch["bytes"] / 255 + batch["hu"] / 1000
        x = jnp.where(batch["known"], batch["x"], other)
        return denoise.loss(params, batch | {"x": x}, key)

    tasks = [dataclasses.replace(denoise, loss=loss), t.tasks[1]]
    data = {"x": x, "y": np.asarray(t.data["y"])} | parts
    return dataclasses.replace(t, tasks=tasks, data=data)


def training(plateau):
    changes = {"mesh": sharding.data_mesh(0, 8), "save_every": 2}
    if plateau:
        changes["weighting"] = adaptive.plateau("valid/mse", 0.5, 1)
        changes |= {"loss_weights": np.ones((12, 2)), "order": "joint"}
    return tiny.training(**changes)


def work(_):
    args = flags.FLAGS
    with remote.local_folder(args.address or args.workdir) as folder:
        return train(args, folder)


def train(args, folder):
    acts = jax.process_index() == args.who
    if acts and args.at == 0:
        act(args.act)
    t = training(args.plateau)
    x = None
    if args.data:
        t = dataclasses.replace(of_many_types(t), shard_data=args.data != "whole")
    if args.data == "lazy":
        x = Lazy(t.data["x"])
        t = dataclasses.replace(t, data=Indexed([t.data | {"x": x}] * 12))
    workdir.prepare(folder, ConfigDict({"seed": 0}), {"rows": 40}, devices=args.used)
    evaluate, calls = t.evaluate, iter(range(99))

    def evaluate_and_act(params):
        # The first call has the initial parameters, unless the run continues.
        if next(calls) == args.at and acts:
            act(args.act)
        return evaluate(params)

    with workdir.lock(folder):
        result = fit(dataclasses.replace(t, evaluate=evaluate_and_act), folder)
    state = jax.tree.map(np.asarray, result.state)
    arrays = tiny.arrays(state) | flatten(result.params)
    workdir.write_npz(folder / "final.npz", **arrays)
    if x:
        path = folder / f"read-{jax.process_index()}.json"
        path.write_text(json.dumps(sorted(x.read)))
    return f"{result.summary['epochs']} epochs"


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "The run's folder.")
    remote_flags.define("address", "", "An address in place of the folder.")
    flags.DEFINE_bool("plateau", False, "Whether loss weights follow the evaluation.")
    flags.DEFINE_string("data", "", "whole, split, or lazy, a stream that is split.")
    flags.DEFINE_integer("used", 1, "The number of devices.")
    flags.DEFINE_string("act", "", "What one process does.")
    flags.DEFINE_integer("at", -1, "The evaluation in which it does; 0: at the start.")
    flags.DEFINE_integer("who", -1, "Which process.")
    launch.launch(cluster.on_hosts(work), "workdir")

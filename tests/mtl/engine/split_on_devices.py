"""Trainings with split and with replicated data, for `test_split_rows.py`.

    JAX_NUM_CPU_DEVICES=4 python -m tests.mtl.engine.split_on_devices FOLDER

It leaves found.npz in FOLDER: the final state and metrics of each case, as
"DEVICES/split/CASE..." and "DEVICES/whole/CASE..."; in collectives.json the operations
between devices of its programs, with the types of their results; and in bytes.json the
bytes of each device for two fields of an array of 37 rows.
"""

import dataclasses
import json
import re
import sys
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mtl.engine import CompiledEpoch, Engine, make_engine, sharding, split_rows
from mtl.engine.fit import compile_epoch, fit
from mtl.engine.streams import Indexed
from tests.mtl import tiny
from tests.mtl.engine import on_devices, test_engine

BATCH, EPOCHS, ROWS = on_devices.BATCH, on_devices.EPOCHS, 37
DEVICES = (1, 2, 4)
COLLECTIVE = re.compile(
    r"= (.+?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)"
    r"(?:-start)?\("
)


def missing_parts(order, mesh, split):
    """One epoch of three tasks; some rows have no x, and others have no y."""
    data, params = test_engine.structured_problem()
    data, params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), (data, params))
    engine = make_engine(
        test_engine.TASKS, data, batch_size=BATCH, order=order, mesh=mesh
    )
    if split:
        data = split_rows.place(data, mesh)
    train_epoch, state = CompiledEpoch(engine), engine.init(params)
    weights = np.linspace(0.5, 1, 3)
    result = train_epoch(state, data, weights, 0.05, jax.random.key(3))
    return result, train_epoch


def rows(start=0):
    """Arrays of NumPy that no number of devices divides."""
    data = tiny.training().data
    return {k: np.roll(v, start, 0)[:ROWS] for k, v in data.items()}


def fitted(mesh, split, folder, few_slots=False, **changes):
    """Trains `tiny.training`, where most mini-batches have no labelled row."""
    fields = dict(batch_size=BATCH, mesh=mesh, shard_data=split, data=rows())
    training = tiny.training(EPOCHS, **(fields | changes))
    train_epoch = compile_epoch(training)
    if few_slots:  # A mini-batch has more labelled rows, so that its epoch runs again.
        few = dict(max_rows_per_batch=(BATCH, 1))
        spec = dataclasses.replace(train_epoch.engine.spec, **few)
        train_epoch = CompiledEpoch(Engine(spec))
    result = fit(training, folder, train_epoch)
    return (result.state, result.params, result.summary["best"]), train_epoch


def bytes_of_devices(data):
    """The bytes of each field on each device."""
    arrays = {k: getattr(v, "padded", v) for k, v in data.items()}
    return {
        k: [shard.data.nbytes for shard in v.addressable_shards]
        for k, v in arrays.items()
    }


def cases(mesh, split, folder):
    """Yields names, results and programs."""
    for order in ("alternate", "joint"):
        yield order, *missing_parts(order, mesh, split)
    yield "arrays", *fitted(mesh, split, folder / "arrays")
    yield "few_slots", *fitted(mesh, split, folder / "few", few_slots=True)
    stream = Indexed([rows(i) for i in range(EPOCHS)])
    yield "stream", *fitted(mesh, split, folder / "stream", data=stream)


def main(out: Path) -> None:
    results, found, sizes = {}, {}, {}
    for devices in DEVICES:
        mesh = sharding.data_mesh(devices, BATCH)
        for kind in ("split", "whole"):
            with tempfile.TemporaryDirectory() as folder:
                for name, result, train_epoch in cases(
                    mesh, kind == "split", Path(folder)
                ):
                    case = f"{devices}/{kind}/{name}"
                    arrays = tiny.arrays(result)
                    results |= {f"{case}{k}": v for k, v in arrays.items()}
                    texts = [p.as_text() for p in train_epoch.programs]
                    found[case] = [x for t in texts for x in COLLECTIVE.findall(t)]
        sizes[devices] = bytes_of_devices(split_rows.place(rows(), mesh))
    np.savez(out / "found.npz", **results)
    (out / "bytes.json").write_text(json.dumps(sizes))
    (out / "collectives.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

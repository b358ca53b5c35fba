"""Trainings on several CPU devices, for `test_sharding.py`, which runs this.

    JAX_NUM_CPU_DEVICES=4 python -m tests.mtl.engine.on_devices FOLDER

It leaves results.npz (the final state and metrics of each case) and collectives.json
(the operations between devices in the compiled
epochs, and the matrices that these sum) in FOLDER.
"""

import dataclasses
import json
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import scaling
from mtl.engine import CompiledEpoch, Engine, adaptive, make_engine, sharding
from mtl.engine.fit import compile_epoch, fit
from tests.mtl import tiny
from tests.mtl.engine import test_engine

BATCH, EPOCHS = 8, 4
WEIGHTINGS = {
    "uncertainty": adaptive.uncertainty((0.5, 0.5)),
    "gradnorm": adaptive.gradnorm(2, "encoder/kernel"),
    "famo": adaptive.famo(2),
    "dwa": adaptive.dwa(2),
    "plateau": adaptive.plateau("valid/mse", 0.5, 1),
    "ratio": adaptive.ratio("valid/mse"),
}


def missing_parts(order, mesh):
    """One epoch of three tasks; some rows have no x, and others have no y."""
    data, params = test_engine.structured_problem()
    data, params = jax.tree.map(lambda v: jnp.asarray(v, jnp.float32), (data, params))
    engine = make_engine(
        test_engine.TASKS, data, batch_size=BATCH, order=order, mesh=mesh
    )
    return one_epoch(engine, params, data, 3)


def few_slots(mesh):
    """A mini-batch has more labelled rows than slots, so that the epoch runs again."""
    t = tiny.training()
    engine = make_engine(t.tasks, t.data, batch_size=BATCH, mesh=mesh)
    small = dataclasses.replace(engine.spec, max_rows_per_batch=(BATCH, 1))
    return one_epoch(Engine(small), t.params, t.data, 2)


def odd_slots(mesh):
    """A task draws 3 rows, which the devices do not divide."""
    t = tiny.training()
    tasks = [t.tasks[0], dataclasses.replace(t.tasks[1], draws=3)]
    engine = make_engine(tasks, t.data, batch_size=BATCH, mesh=mesh)
    return one_epoch(engine, t.params, t.data, 2)


def one_epoch(engine, params, data, tasks):
    train_epoch, state = CompiledEpoch(engine), engine.init(params)
    weights = np.linspace(0.5, 1, tasks)
    result = train_epoch(state, data, weights, 0.05, jax.random.key(3))
    return result, train_epoch


def fitted(mesh, folder, **changes):
    """Trains `tiny.training`, where most mini-batches have no labelled row."""
    fields = dict(save_every=EPOCHS, batch_size=BATCH, mesh=mesh) | changes
    training = tiny.training(EPOCHS, **fields)
    train_epoch = compile_epoch(training)
    result = fit(training, folder, train_epoch)
    return (result.state, result.params, result.summary["best"]), train_epoch


def resumed(mesh, folder):
    """Stops after two epochs, and continues on two devices, or on one."""
    evaluate, calls = tiny.training().evaluate, iter(range(9))

    def stop(params):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return evaluate(params)

    try:
        fitted(mesh, folder, evaluate=stop, save_every=1)
    except KeyboardInterrupt:
        other = sharding.data_mesh(min(2, jax.device_count()), BATCH)
        return fitted(other, folder)
    raise AssertionError("the training was not stopped")


def summed_matrices(train_epoch):
    """The number of matrices that are summed over devices."""
    lines = [x for p in train_epoch.programs for x in p.as_text().splitlines()]
    sums = [x.split(" all-reduce(")[0] for x in lines if " all-reduce(" in x]
    return {"matrices": sum(len(re.findall(r"\[\d+,\d+\]", x)) for x in sums)}


def cases(mesh, folder):
    """Yields names, results and programs."""
    for order in ("alternate", "alternate_then_joint", "joint"):
        yield order, *missing_parts(order, mesh)
    yield "few_slots", *few_slots(mesh)
    yield "odd_slots", *odd_slots(mesh)
    for name, weighting in WEIGHTINGS.items():
        weights = np.ones((EPOCHS, 2))
        changes = dict(order="joint", weighting=weighting, loss_weights=weights)
        yield name, *fitted(mesh, folder / name, **changes)
    yield "whole", *fitted(mesh, folder / "whole")
    yield "resumed", *resumed(mesh, folder / "resumed")


def main(out: Path) -> None:
    results, found = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        mesh = sharding.data_mesh(0, BATCH)
        assert (mesh.size if mesh else 1) == jax.device_count()
        for name, result, train_epoch in cases(mesh, Path(folder)):
            results |= {f"{name}{k}": v for k, v in tiny.arrays(result).items()}
            counts = map(scaling.collectives, train_epoch.programs)
            found[name] = {**sum(counts, Counter()), **summed_matrices(train_epoch)}
    np.savez(out / "results.npz", **results)
    (out / "collectives.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

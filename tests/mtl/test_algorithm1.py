"""System 1 against the naive reference, parameter by parameter."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl import config as configs
from mtl import methods, networks
from mtl.engine import batches, engine
from mtl.engine.engine import Engine
from mtl.engine.task import flatten
from mtl.tasks import corruption
from tests.mtl import reference

ROWS, INPUTS, CLASSES, BATCH, EPOCHS, RATE = 22, 6, 3, 5, 3, 0.3


def small(method="exponential", **fields):
    c = configs.default()
    c.method, c.epochs, c.batch_size = method, EPOCHS, BATCH
    c.model.hidden = (4, 3)
    c.model.activation, c.reconstruct.scale = "tanh", 1.0
    c.schedule.t1, c.schedule.sigma = 1, 2.0
    c.optim.decay_epochs = 1
    c.update_from_flattened_dict(fields)
    return c


def problem(c, labelled=4, dtype=np.float64):
    rng = np.random.default_rng(1)
    x = rng.uniform(size=(ROWS, INPUTS)).astype(dtype)
    y = np.where(np.arange(ROWS) < labelled, rng.integers(0, CLASSES, ROWS), -1)
    params = initial(c, jax.random.key(2))
    return {"image": jnp.asarray(x), "label": jnp.asarray(y)}, params


def network(c):
    return networks.build(c, (INPUTS,), CLASSES)


def initial(c, key):
    """Initial parameters; in double precision with x64, unlike those of a run."""
    return jax.tree.map(lambda p: jnp.asarray(p, float), network(c).init(key))


def build(c):
    """The tasks and their loss weights."""
    return methods.make_tasks(c, network(c)), methods.loss_weights(c)


def epoch_key(epoch):
    return jax.random.fold_in(jax.random.key(3), epoch)


def order(key):
    """The batches of an epoch, the last one shorter."""
    return [b[b >= 0] for b in np.asarray(batches.shuffle(key, ROWS, BATCH))]


def run(c, data, params, max_rows=(BATCH, BATCH)):
    """The parameters after all epochs, and the metrics of the last."""
    tasks, weights = build(c)
    e = engine.make_engine(tasks, batch_size=BATCH)
    if len(tasks) == len(max_rows):
        e = Engine(dataclasses.replace(e.spec, max_rows_per_batch=max_rows))
    state, step = e.init(params), jax.jit(e.epoch)
    for t in range(c.epochs):
        state, metrics = step(state, data, jnp.asarray(weights[t]), RATE, epoch_key(t))
    return flatten(state.params), metrics


def run_naively(c, data, params):
    """Algorithm 1 by hand; only the draws of order and noise are the engine's."""
    tasks, weights = build(c)
    x, y = np.asarray(data["image"]), np.asarray(data["label"])
    p = {k: np.asarray(v) for k, v in flatten(params).items()}
    for t in range(c.epochs):
        shuffle_key, step_key = jax.random.split(epoch_key(t))
        for s, batch in enumerate(order(shuffle_key)):
            for u, task in enumerate(tasks):
                key = jax.random.fold_in(jax.random.fold_in(step_key, s), u)
                if task.name == "classify":
                    cost = naive_classify(c, x, y, batch)
                else:
                    key = jax.random.fold_in(key, u)
                    cost = naive_reconstruct(c, task.name, x[batch], key)
                if cost is not None and weights[t, u] > 0:
                    p = reference.descend(p, cost, task.params, RATE * weights[t, u])
    return p


def naive_classify(c, x, y, batch):
    known = batch[y[batch] >= 0]
    if len(known) == 0:
        return None
    return functools.partial(
        reference.classification,
        x=x[known],
        y=y[known],
        activation=c.model.activation,
        reduction=c.classify.reduction,
    )


def naive_reconstruct(c, name, x, key):
    """The cost of all layers, or of layer k for the task "reconstruct_k"."""
    sizes = [INPUTS, *c.model.hidden]
    keys = jax.random.split(key, len(sizes) - 1)
    only = int(name[-1]) if name[-1].isdigit() else None
    keeps = {}
    for k, size in enumerate(sizes[:-1], start=1):
        if only in (None, k):
            draw = keys[k - 1] if only is None else key
            ones = jnp.ones((BATCH, size))
            keep = corruption.corrupt(
                draw, ones, c.reconstruct.noise, c.reconstruct.level
            )
            keeps[k] = np.asarray(keep)[: len(x)] > 0
    return functools.partial(
        reference.reconstruction,
        x=x,
        keeps=keeps,
        activation=c.model.activation,
        losses=(c.reconstruct.loss, c.reconstruct.hidden_loss),
        scale=c.reconstruct.scale,
        reaches_below=c.reconstruct.reaches_below,
    )


def assert_same(ours, theirs, rtol):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol, 1e-12, err_msg=name)


CASES = [
    *({"method": m} for m in methods.FIXED),
    {"model.tied": False},
    {"model.activation": "sigmoid"},
    {"reconstruct.loss": "squared_error"},
    {"reconstruct.hidden_loss": "cross_entropy"},
    {"reconstruct.scale": 0.5},
    {"reconstruct.loss": "squared_error", "model.activation": "sigmoid"},
    {"reconstruct.reaches_below": False},
    {"reconstruct.noise": "none"},
    {"classify.reduction": "sum"},
    {"model.hidden": (5,)},
]


@pytest.mark.parametrize("fields", CASES, ids=str)
def test_three_epochs_equal_the_naive_algorithm(x64, fields):
    c = small(**fields)
    data, params = problem(c)
    ours, metrics = run(c, data, params)
    theirs = run_naively(c, data, params)
    assert_same(ours, theirs, 1e-6)
    assert not metrics.dropped.any()
    moved = [k for k, v in flatten(params).items() if np.abs(v - ours[k]).max() > 1e-6]
    assert len(moved) >= 4, "the test must see parameters move"


def test_compact_supervised_step_equals_the_masked_one(x64):
    c = small()
    data, params = problem(c)
    compact, metrics = run(c, data, params, max_rows=(BATCH, 4))
    masked, _ = run(c, data, params, max_rows=(BATCH, BATCH))
    assert not metrics.dropped.any()
    assert_same(compact, masked, 1e-12)


def test_a_batch_without_labels_leaves_the_classifier(x64):
    c = small()
    data, params = problem(c, labelled=1)
    tasks, _ = build(c)
    e = engine.make_engine(tasks, batch_size=BATCH)
    start = e.init(params)
    # One batch: the rows 1 ... 5, which have no label.
    part = {k: v[1 : 1 + BATCH] for k, v in data.items()}
    state, metrics = e.epoch(start, part, jnp.array([0.5, 0.5]), RATE, epoch_key(0))
    before, after = flatten(start.params), flatten(state.params)
    for name in ("classifier/kernel", "classifier/bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert np.abs(after["encoder/1/kernel"] - before["encoder/1/kernel"]).max() > 0
    assert metrics.rows.tolist() == [BATCH, 0]


def test_runs_in_one_vmap_equal_the_runs_one_by_one(x64):
    c = small()
    tasks, weights = build(c)
    e = engine.make_engine(tasks, batch_size=BATCH)
    keys = jax.random.split(jax.random.key(5), 3)
    data, _ = problem(c)
    labels = jnp.stack([jnp.roll(data["label"], i) for i in range(3)])
    states = [e.init(initial(c, k)) for k in keys]
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
    ws, rates = jnp.asarray(weights), jnp.array([0.1, 0.2, 0.3])
    axes = (0, {"image": None, "label": 0}, 0, 0, 0)
    many = jax.jit(jax.vmap(e.epoch, in_axes=axes))
    together, _ = many(stacked, data | {"label": labels}, ws, rates, keys)
    for i in range(3):
        alone, _ = e.epoch(
            states[i], data | {"label": labels[i]}, ws[i], rates[i], keys[i]
        )
        mine = jax.tree.map(lambda a, i=i: a[i], together.params)
        assert_same(flatten(mine), flatten(alone.params), 1e-12)


def test_another_schedule_compiles_nothing():
    data, params = problem(small(), dtype=np.float32)
    tasks, _ = build(small())
    e = engine.make_engine(tasks, batch_size=BATCH)
    traces = []

    def counted(*args):
        traces.append(1)
        return e.epoch(*args)

    step, results = jax.jit(counted), []
    for method in methods.EVOLVING:
        row = jnp.asarray(methods.loss_weights(small(method))[1], jnp.float32)
        state, _ = step(e.init(params), data, row, RATE, epoch_key(0))
        results.append(state.params["encoder"]["1"]["kernel"])
    assert len(traces) == 1
    assert np.abs(results[0] - results[3]).max() > 0


def test_one_layer_pretraining_is_stairs():
    """Greedy layer-wise pre-training of a single layer has the weights of stairs."""
    tables = [
        methods.loss_weights(small(m, **{"model.hidden": (5,)}))
        for m in ("pretraining", "stairs")
    ]
    np.testing.assert_array_equal(*tables)


def test_pretraining_moves_one_layer_at_a_time():
    c = small("pretraining")
    tasks, weights = build(c)
    assert [t.name for t in tasks] == ["reconstruct_1", "reconstruct_2", "classify"]
    np.testing.assert_array_equal(weights, np.eye(3))
    data, params = problem(c, dtype=np.float32)
    e = engine.make_engine(tasks, batch_size=BATCH)
    state, _ = e.epoch(
        e.init(params), data, jnp.array([0.0, 1.0, 0.0]), RATE, epoch_key(0)
    )
    before, after = flatten(params), flatten(state.params)
    changed = {k for k in before if np.abs(after[k] - before[k]).max() > 0}
    assert changed == {"encoder/2/kernel", "encoder/2/bias", "decoder/2/bias"}

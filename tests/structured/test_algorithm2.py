"""Compares system 2's tasks in the engine with a naive reference."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from mtl import optimizers
from mtl.engine import batches, engine, spec
from mtl.engine.task import flatten
from mtl.tasks import corruption
from structured import assemble, tasks
from structured import config as configs
from tests.structured import reference
from tests.structured.reference import Cost, Side

SHAPE, OUTPUTS, ROWS, BATCH, EPOCHS = (2, 3), 4, 19, 4, 4
MAIN = ("encoder_in", "link", "decoder_out")
PARTS = {
    "in": ("encoder_in", "decoder_in"),
    "out": ("encoder_out", "decoder_out"),
    "supervised": MAIN,
}
UPDATES = {
    "alternate": (("in",), ("out",), ("supervised",)),
    "alternate_then_joint": (("in",), ("out",), tasks.TASK_NAMES),
    "joint": (tasks.TASK_NAMES,),
}


def small(**fields):
    c = configs.default()
    c.epochs, c.batch_size = EPOCHS, BATCH
    c.model.input, c.model.link, c.model.output = (5,), (4,), (3,)
    # λ_in is 0 before the last epoch, and λ_out is not.
    c.schedule.input, c.schedule.output = (0.0, 2.0), (1.0, 6.0)
    c.optim.learning_rate, c.optim.decay_epochs = 0.05, 2
    c.update_from_flattened_dict(fields)
    return c


def shape_of(c):
    return (4, 4) if c.model.encoder == "cnn" else SHAPE


def problem(c):
    """Makes a problem; missing rows are NaN, so that using one shows."""
    rng = np.random.default_rng(4)
    x = rng.uniform(size=(ROWS, *shape_of(c)))
    y = rng.uniform(-0.5, 0.5, size=(ROWS, OUTPUTS))
    has_x, has_y = np.arange(ROWS) >= 5, (np.arange(ROWS) < 5) | (np.arange(ROWS) > 12)
    x[~has_x], y[~has_y] = np.nan, np.nan
    net = assemble.build_network(c, shape_of(c), OUTPUTS)
    # Random values, because initial biases of 0 would hide a missing one.
    shapes = jax.eval_shape(net.init, jax.random.key(0))
    params = jax.tree.map(lambda a: rng.uniform(-0.9, 0.9, a.shape), shapes)
    return net, params, {"x": x, "y": y, "has_x": has_x, "has_y": has_y}


def epoch_key(epoch):
    return jax.random.fold_in(jax.random.key(3), epoch)


@functools.cache
def built(text):
    """Makes the engine of a config in JSON; compiled once for all tests."""
    c = ConfigDict(json.loads(text))
    e = engine.make_engine(
        tasks.make_tasks(c, problem(c)[0]),
        batch_size=c.batch_size,
        optimizer=tasks.make_optimizer(c),
        order=c.order,
    )
    return e, jax.jit(e.epoch, static_argnames="active")


def make(c):
    """Makes the engine; variants share it, as they differ in loss weights only."""
    c = c.copy_and_resolve_references()
    c.variant = ""
    return built(c.to_json(sort_keys=True))


class Naive:
    """Algorithm 2 by hand; only the random order and noise come from the engine.

    Attributes:
      p: the parameters, flat.
      velocity: one for each kind of update.
      seen: the numbers of rows of each task's updates.
    """

    def __init__(self, c, params, data):
        self.c, self.data = c, data
        self.p = {k: np.asarray(v) for k, v in flatten(params).items()}
        self.velocity = [{} for _ in UPDATES[c.order]]
        self.seen = {name: [] for name in tasks.TASK_NAMES}
        m = c.model
        strides = tuple(m.strides) if m.encoder == "cnn" else None
        self.sides = {
            "in": Side("in", m.input_activation, m.x_activation, strides, shape_of(c)),
            "out": Side("out", m.output_activation, m.y_activation, None, (OUTPUTS,)),
        }
        self.link = [m.link_activation] * len(m.link) + [m.output_activation]

    def epoch(self, weights, rate, key):
        """Trains one epoch; returns the sums of losses and of rows by task."""
        shuffle_key, step_key = jax.random.split(key)
        order = np.asarray(batches.shuffle(shuffle_key, ROWS, BATCH))
        loss, rows = (
            dict.fromkeys(tasks.TASK_NAMES, 0.0),
            dict.fromkeys(tasks.TASK_NAMES, 0),
        )
        for number, batch in enumerate(order):
            key = jax.random.fold_in(step_key, number)
            for u, names in enumerate(UPDATES[self.c.order]):
                costs, size = {}, {}
                for name in names:
                    i = tasks.TASK_NAMES.index(name)
                    of_task = jax.random.fold_in(jax.random.fold_in(key, u), i)
                    size[name] = len(self.rows(name, batch))
                    self.seen[name].append(size[name])
                    if size[name] and weights[i]:
                        costs[name] = self.cost(name, batch, of_task)
                if not costs:
                    continue
                for name, cost in costs.items():
                    mean = self.c[self.section(name)].batch == "mean"
                    plain = cost.keywords["cost"]._replace(l2=0.0)
                    value = cost(self.p, cost=plain)
                    loss[name] += value * (size[name] if mean else 1)
                    rows[name] += size[name]
                prefixes = {part for name in names for part in PARTS[name]}

                def total(p, costs=costs):
                    return sum(
                        weights[tasks.TASK_NAMES.index(n)] * cost(p)
                        for n, cost in costs.items()
                    )

                self.p = reference.update(
                    self.p, self.velocity[u], total, prefixes, rate,
                    self.c.optim.momentum,
                )  # fmt: skip
        return [loss[n] for n in tasks.TASK_NAMES], [rows[n] for n in tasks.TASK_NAMES]

    def section(self, name):
        return name if name == "supervised" else f"reconstruct_{name}"

    def rows(self, name, batch):
        """B_F, B_L or B_S."""
        x, y = self.data["has_x"], self.data["has_y"]
        part = {"in": x, "out": y, "supervised": x & y}[name]
        return [row for row in batch if row >= 0 and part[row]]

    def cost(self, name, batch, key):
        c, rows = self.c[self.section(name)], self.rows(name, batch)
        if name == "supervised":
            return functools.partial(
                reference.supervised,
                cost=Cost(c.error, c.dimensions, c.batch, c.l2),
                side_in=self.sides["in"],
                side_out=self.sides["out"],
                activations=self.link,
                x=self.data["x"][rows],
                y=self.data["y"][rows],
            )
        target = self.data["x" if name == "in" else "y"][rows]
        return functools.partial(
            reference.reconstruction,
            side=self.sides[name],
            cost=Cost(c.error, c.dimensions, c.batch, c.l2, c.center_code),
            given=self.noisy(c, target, jax.random.split(key)[1]),
            target=target,
        )

    def noisy(self, c, target, key):
        """Draws noise for a full batch, as the engine does, and uses its first rows."""
        full = (BATCH, *target.shape[1:])
        if c.noise == "gaussian":
            drawn = corruption.corrupt(key, jnp.zeros(full), c.noise, c.level)
            return target + np.asarray(drawn)[: len(target)]
        kept = corruption.corrupt(key, jnp.ones(full), c.noise, c.level)
        return target * np.asarray(kept)[: len(target)]


def assert_same(ours, theirs, rtol=1e-9):
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value, theirs[name], rtol, 1e-11, err_msg=name)


def follow(c):
    """Trains with the engine and by hand, and compares after each epoch."""
    _, params, data = problem(c)
    (e, epoch), naive = make(c), Naive(c, params, data)
    state, weights, rates = (
        e.init(params),
        tasks.loss_weights(c),
        optimizers.learning_rates(c),
    )
    on_device = jax.tree.map(jnp.asarray, data)
    for t in range(c.epochs):
        row, rate = jnp.asarray(weights[t]), jnp.asarray(rates[t])
        state, metrics = epoch(state, on_device, row, rate, epoch_key(t))
        loss, rows = naive.epoch(weights[t], rates[t], epoch_key(t))
        assert_same(flatten(state.params), naive.p)
        np.testing.assert_allclose(metrics.loss, loss, 1e-9)
        assert metrics.rows.tolist() == rows
        assert metrics.finite
    trained = {
        k.split("/")[0]
        for k, v in flatten(params).items()
        if np.abs(v - naive.p[k]).max() > 1e-4
    }
    return trained, naive


ALL = {part for parts in PARTS.values() for part in parts}
ODD = {
    "deep": {
        "order": "alternate_then_joint",
        "model.input": (5, 4),
        "model.link": (4, 3),
        "model.output": (4, 2),
        "model.tied_output": False,
        "supervised.l2": 0.05,
    },
    "untied": {
        "order": "joint",
        "model.tied_input": False,
        "model.tied_output": False,
        "reconstruct_out.noise": "gaussian",
        "reconstruct_out.level": 0.3,
        "reconstruct_in.center_code": False,
        "supervised.dimensions": "sum",
    },
    "sum": {
        "order": "alternate",
        "reconstruct_in.batch": "sum",
        "reconstruct_out.batch": "sum",
        "supervised.batch": "sum",
        "supervised.l2": 0.2,
        "optim.learning_rate": 0.02,
    },
    "sum of sums": {
        "order": "joint",
        "reconstruct_in.batch": "sum",
        "supervised.batch": "sum",
        "reconstruct_in.level": 0.0,
        "reconstruct_in.dimensions": "mean",
        "reconstruct_out.center_code": False,
        "reconstruct_out.l2": 0.0,
    },
    "other units": {
        "order": "alternate_then_joint",
        "model.link": (),
        "model.y_activation": "linear",
        "model.input_activation": "relu",
        "model.x_activation": "tanh",
        "model.tied_input": False,
        "reconstruct_in.error": "absolute",
        "reconstruct_out.dimensions": "mean",
        "supervised.error": "absolute",
    },
    "convolutions": {
        "order": "alternate",
        "epochs": 2,
        "model.encoder": "cnn",
        "model.channels": (2, 1),
        "model.strides": (2, 1),
    },
}


@pytest.mark.parametrize("order", spec.ORDERS)
def test_each_epoch_equals_the_naive_algorithm(x64, order):
    trained, naive = follow(small(order=order))
    assert trained == ALL
    for sizes in naive.seen.values():
        # Batches with many, with few and with no rows of a task occurred.
        assert {0, 1, 2} <= set(sizes) or {2, 3, 4} <= set(sizes)


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_another_config_equals_the_naive_algorithm(x64, fields):
    trained, _ = follow(small(**fields))
    assert trained == ALL


@pytest.mark.parametrize(
    ("variant", "untrained"),
    [
        ("mlp", {"decoder_in", "encoder_out"}),
        ("mlp_in", {"encoder_out"}),
        ("mlp_out", {"decoder_in"}),
        ("mlp_in_out", set()),
    ],
)
def test_a_variant_trains_its_parts(x64, variant, untrained):
    trained, _ = follow(small(variant=variant, order="alternate"))
    assert trained == ALL - untrained


@pytest.mark.parametrize("order", spec.ORDERS)
def test_each_kind_of_update_has_its_own_velocity(x64, order):
    """Two tasks train P_in, each with its own momentum."""
    c = small(order=order)
    states = make(c)[0].init(problem(c)[1]).optimizer_states
    parts = [{k.split("/")[0] for k in trace_of(s)} for s in states]
    assert parts == [
        {part for name in names for part in PARTS[name]} for names in UPDATES[order]
    ]


def trace_of(state):
    return next(s.trace for s in state if isinstance(s, optax.TraceState))


@pytest.mark.parametrize("order", spec.ORDERS)
def test_an_inactive_task_changes_no_result(x64, order):
    c, active = small(order=order), (False, True, True)
    _, params, data = problem(c)
    data = jax.tree.map(jnp.asarray, data)
    e, epoch = make(c)
    # All three tasks train for an epoch, so that no velocity is 0.
    start, _ = epoch(e.init(params), data, jnp.ones(3), jnp.asarray(0.05), epoch_key(0))
    args = data, jnp.array([0.0, 0.7, 0.9]), jnp.asarray(0.05), epoch_key(1)
    full, expected = epoch(start, *args)
    saved, metrics = epoch(start, *args, active=active)
    for ours, theirs in zip(*map(jax.tree.leaves, (saved, full)), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-12, 1e-14)
    before, after = flatten(start.params), flatten(saved.params)
    assert np.abs(after["link/1/kernel"] - before["link/1/kernel"]).max() > 1e-4
    if order != "joint":
        assert (
            trace_of(saved.optimizer_states[0]).keys()
            == trace_of(start.optimizer_states[0]).keys()
        )
        for k, v in trace_of(start.optimizer_states[0]).items():
            np.testing.assert_array_equal(trace_of(saved.optimizer_states[0])[k], v)
    for ours, theirs in zip(metrics[:2], expected[:2], strict=True):
        assert ours[0] == 0
        np.testing.assert_allclose(ours[1:], theirs[1:], 1e-12)
    assert metrics.dropped.tolist() == expected.dropped.tolist()


@pytest.mark.parametrize("order", spec.ORDERS)
def test_metrics_leave_out_a_task_without_loss_weight(x64, order):
    c = small(order=order)
    _, params, data = problem(c)
    e, epoch = make(c)
    args = jax.tree.map(jnp.asarray, data), jnp.array([0.0, 0.7, 0.9])
    _, metrics = epoch(e.init(params), *args, jnp.asarray(0.05), epoch_key(1))
    assert (metrics.loss[0], metrics.rows[0]) == (0, 0)

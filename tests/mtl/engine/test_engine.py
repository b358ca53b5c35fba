"""The engine on the other two systems' kinds of tasks, and at its edges."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mtl.engine import CompiledEpoch, adaptive, batches, engine, spec
from mtl.engine.cpu import compiling
from mtl.engine.task import Task, flatten
from tests.mtl import reference

ROWS, BATCH, X, CODE, Y = 19, 5, 4, 3, 2
RATE, MOMENTUM = 0.05, 0.9


# System 2: auto-encoders on x and on y beside the main task; rows lack x or y.


def has(*fields):
    def rows(data):
        return jnp.all(
            jnp.stack([~jnp.isnan(data[f]).any(axis=1) for f in fields]), axis=0
        )

    return rows


def square(path, source, target):
    """[B] squared error of a chain of layers, tanh after each but the last."""

    def loss(params, batch, key):
        h = batch[source]
        for name in path[:-1]:
            h = jnp.tanh(h @ params[name]["kernel"])
        return jnp.square(h @ params[path[-1]]["kernel"] - batch[target]).sum(1)

    return loss


PATHS = {
    "in": (("p_in", "d_in"), "x", "x"),
    "out": (("p_out", "d_out"), "y", "y"),
    "main": (("p_in", "link", "d_out"), "x", "y"),
}
TASKS = [
    Task(name, square(path, s, t), params=path, rows=has(*{s, t}))
    for name, (path, s, t) in PATHS.items()
]


def structured_problem():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, X)), rng.normal(size=(ROWS, Y))
    x[:4], y[4:9] = np.nan, np.nan
    sizes = dict(p_in=(X, CODE), d_in=(CODE, X), link=(CODE, CODE), p_out=(Y, CODE))
    sizes |= dict(d_out=(CODE, Y))
    params = {k: {"kernel": rng.normal(size=s) / 2} for k, s in sizes.items()}
    return {"x": x, "y": y}, params


def naive_cost(p, members, weights, batch, data):
    """The weighted sum of the members' means, by NumPy; None if none has a row."""
    total, active = 0, False
    for i in members:
        path, source, target = PATHS[TASKS[i].name]
        fit = batch[~np.isnan(data[source] + 0 * data[target][:, :1]).any(1)[batch]]
        if len(fit):
            h = data[source][fit]
            for name in path[:-1]:
                h = np.tanh(h @ p[f"{name}/kernel"])
            error = h @ p[f"{path[-1]}/kernel"] - data[target][fit]
            total = total + weights[i] * (error**2).sum(1).mean()
            active |= weights[i] != 0
    return total if active else None


def naive_epoch(p, velocities, updates, weights, data, key):
    for batch in np.asarray(batches.shuffle(jax.random.split(key)[0], ROWS, BATCH)):
        batch = batch[batch >= 0]
        for members, velocity in zip(updates, velocities, strict=True):
            cost = functools.partial(
                naive_cost, members=members, weights=weights, batch=batch, data=data
            )
            if cost(p) is None:
                continue
            prefixes = sum((TASKS[i].params for i in members), ())
            names = [k for k in p if k.startswith(prefixes)]
            grads = reference.gradient(cost, p, names)
            for k in names:
                velocity[k] = MOMENTUM * velocity.get(k, 0) + grads[k]
            p = p | {k: p[k] - RATE * velocity[k] for k in names}
    return p


@pytest.mark.parametrize(
    ("order", "updates"),
    [
        ("alternate", [(0,), (1,), (2,)]),
        ("alternate_then_joint", [(0,), (1,), (0, 1, 2)]),
        ("joint", [(0, 1, 2)]),
    ],
)
def test_three_tasks_with_missing_parts_equal_the_naive_algorithm(x64, order, updates):
    data, params = structured_problem()
    e = engine.make_engine(
        TASKS, batch_size=BATCH, optimizer=optax.sgd(1.0, MOMENTUM), order=order
    )
    state, epoch = e.init(params), jax.jit(e.epoch)
    p, velocities = flatten(params), [{} for _ in updates]
    # The input task stops, then the output task; their velocities stay as they are.
    weights = np.array([[1.0, 0.5, 1.0], [0.0, 0.7, 1.0], [0.0, 0.0, 1.0]])
    for t, row in enumerate(weights):
        key = jax.random.fold_in(jax.random.key(1), t)
        state, metrics = epoch(state, jax.tree.map(jnp.asarray, data), row, RATE, key)
        p = naive_epoch(p, velocities, updates, row, data, key)
        assert metrics.finite
    for name, value in flatten(state.params).items():
        np.testing.assert_allclose(value, p[name], 1e-9, err_msg=name)


def test_each_update_has_a_velocity_of_its_own():
    _, params = structured_problem()
    e = engine.make_engine(TASKS, batch_size=BATCH, optimizer=optax.sgd(1.0, 0.9))
    traces = [
        set(jax.tree.leaves(s, is_leaf=_is_flat)[0])
        for s in e.init(params).optimizer_states
    ]
    assert traces == [{f"{n}/kernel" for n in path} for path, _, _ in PATHS.values()]


def _is_flat(node):
    return isinstance(node, dict)


# System 3: one task, images, augmentation and dropout from the step's key, Adam with a
# rate of its own for the head.


def find_row(params, batch, key):
    """[B] squared error, in rows, of the place of a bright line in images [B, H, W]."""
    shift_key, drop_key = jax.random.split(key)
    shift = jax.random.randint(shift_key, (), -2, 3)
    image = jnp.roll(batch["image"], shift, axis=1)[..., None]
    h = jax.lax.conv_general_dilated(
        image, params["trunk"]["kernel"], (1, 1), "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip
    h = jax.nn.relu(h).mean(axis=2)
    keep = jax.random.bernoulli(drop_key, 0.9, h.shape)
    h = jnp.where(keep, h / 0.9, 0).reshape(len(h), -1)
    row = (h @ params["head"]["kernel"])[:, 0] + params["head"]["bias"]
    return jnp.square(row - (batch["row"] + shift))


def test_one_task_on_images_learns():
    rng = np.random.default_rng(0)
    row = rng.integers(3, 13, 64)
    image = (np.arange(16)[:, None] == row[:, None, None]) * np.ones((1, 1, 12))
    image = jnp.asarray(image + 0.1 * rng.normal(size=image.shape), jnp.float32)
    data = {"image": image, "row": jnp.asarray(row - 8.0, jnp.float32)}
    params = {
        "trunk": {"kernel": 0.1 * jax.random.normal(jax.random.key(0), (3, 3, 1, 4))},
        "head": {"kernel": jnp.zeros((64, 1)), "bias": jnp.zeros(())},
    }
    rates = {"trunk": optax.adam(0.5), "head": optax.adam(1.0)}
    optimizer = optax.partition(rates, lambda flat: {k: k.split("/")[0] for k in flat})
    task = Task("spot", find_row, params=("trunk", "head"))
    e = engine.make_engine([task], batch_size=16, optimizer=optimizer)
    state, epoch, losses = e.init(params), jax.jit(e.epoch), []
    for t in range(60):
        state, metrics = epoch(
            state, data, jnp.ones(1), 0.02, jax.random.fold_in(jax.random.key(1), t)
        )
        losses.append(float(metrics.loss[0] / metrics.rows[0]))
    assert losses[0] > 5
    assert losses[-1] < 1.5


# Edges.


def with_spec(e, **fields):
    return engine.Engine(dataclasses.replace(e.spec, **fields))


def trivial(rows=None, params=("w",), loss=None):
    def default(p, batch, key):
        return (p["w"] - batch["x"]) ** 2

    return Task("fit", loss or default, params=params, rows=rows)


DATA = {"x": jnp.arange(10.0)}
PARAMS = {"w": jnp.zeros(()), "other": jnp.ones(())}


def one_epoch(task, weight=1.0, max_rows=None, batch_size=4):
    e = engine.make_engine([task], batch_size=batch_size)
    if max_rows:
        e = with_spec(e, max_rows_per_batch=max_rows)
    args = jnp.array([weight]), 0.1, jax.random.key(0)
    return e.epoch(e.init(PARAMS), DATA, *args)


def test_an_option_that_xla_does_not_know_is_left_out(monkeypatch):
    monkeypatch.setattr(compiling, "CPU_OPTIONS", {"xla_cpu_no_such": True})
    assert compiling.compiled(lambda x: x + 1, batch_size=10)(1) == 2


def test_only_the_tasks_parameters_move():
    state, metrics = one_epoch(trivial())
    assert state.params["other"] == 1
    assert state.params["w"] > 0
    assert metrics.rows.tolist() == [10]


def test_a_weight_of_zero_moves_nothing():
    state, metrics = one_epoch(trivial(), weight=0.0)
    assert state.params["w"] == 0
    assert metrics.rows.tolist() == [0]


def test_the_last_short_batch_counts_only_its_rows():
    def count(p, batch, key):
        return jnp.ones_like(batch["x"]) + 0 * p["w"]

    _, metrics = one_epoch(trivial(loss=count), batch_size=4)
    assert float(metrics.loss[0]) == 10


def test_a_task_may_draw_its_own_rows():
    """Each of its four rows as often as any, in each step, whatever the batch holds."""

    def count(p, batch, key):
        return -p["seen"][batch["row"]]

    own = Task("own", count, ("seen",), rows=lambda d: d["row"] % 3 == 0, draws=6)
    tasks = [dataclasses.replace(own, reduction="sum"), trivial(params=("w",))]
    data = DATA | {"row": jnp.arange(10)}
    e = engine.make_engine(tasks, data, batch_size=3)
    assert e.spec.max_rows_per_batch == (6, 3)
    assert e.spec.never_empty == (True, True)
    args = data, jnp.ones(2), 1.0
    state = e.init(PARAMS | {"seen": jnp.zeros(10)})
    once, metrics = e.epoch(state, *args, jax.random.key(0))
    again, _ = e.epoch(once, *args, jax.random.key(1))
    assert once.params["seen"].tolist() == [6, 0, 0] * 3 + [6]
    assert again.params["seen"].tolist() == [12, 0, 0] * 3 + [12]
    assert metrics.rows.tolist() == [24, 10]
    assert metrics.dropped.tolist() == [0, 0]


def test_a_penalty_counts_once_a_batch_and_is_not_reported():
    """J = 2 (mean of w x + 3 w), the mean of x is 4.5, and w starts at 0."""
    loss = lambda p, b, k: p["w"] * b["x"]  # noqa: E731
    task = dataclasses.replace(trivial(loss=loss), penalty=lambda p: 3 * p["w"])
    e = engine.make_engine([task], batch_size=10)
    state, metrics = e.epoch(
        e.init(PARAMS), DATA, jnp.array([2.0]), 0.1, jax.random.key(0)
    )
    np.testing.assert_allclose(state.params["w"], -0.1 * 2 * (4.5 + 3), 1e-6)
    assert metrics.loss.tolist() == [0]


def test_a_penalty_does_not_count_in_a_batch_without_rows_of_its_task():
    """Both batches make a joint step; one of them has the row of the second task."""
    loss = lambda p, b, k: 0 * b["x"]  # noqa: E731
    first = trivial(loss=loss)
    second = dataclasses.replace(
        trivial(rows=lambda d: d["x"] == 0, params=("other",), loss=loss),
        penalty=lambda p: 3 * p["other"],
    )
    e = engine.make_engine([first, second], batch_size=5, order="joint")
    state, _ = e.epoch(e.init(PARAMS), DATA, jnp.ones(2), 0.1, jax.random.key(0))
    np.testing.assert_allclose(state.params["other"], 1 - 0.1 * 3, 1e-6)


def test_rows_beyond_the_capacity_are_reported():
    _, metrics = one_epoch(trivial(), max_rows=(3,))
    assert metrics.dropped.tolist() == [2]


def test_a_parameter_that_is_not_finite_is_reported():
    _, metrics = one_epoch(trivial(loss=lambda p, b, k: p["w"] / 0.0 * b["x"]))
    assert not metrics.finite


def test_unknown_parameters_are_named():
    with pytest.raises(ValueError, match=r"'fit' trains 'v'.* w, other"):
        one_epoch(trivial(params=("v",)))


def test_a_loss_must_be_an_example_each():
    with pytest.raises(ValueError, match=r"'fit' must give one value an example"):
        one_epoch(trivial(loss=lambda p, b, k: p["w"] + b["x"].sum()))


def test_a_shuffle_has_each_row_once_and_anywhere():
    keys = jax.random.split(jax.random.key(0), 3000)
    orders = np.asarray(jax.vmap(lambda key: batches.shuffle(key, 10, 4))(keys))
    assert orders.shape == (3000, 3, 4)
    assert (orders[:, 2, 2:] == -1).all()
    flat = orders.reshape(3000, 12)[:, :10]
    assert (np.sort(flat) == np.arange(10)).all()
    counts = np.array([np.bincount(column, minlength=10) for column in flat.T])
    # Each of the 100 counts is binomial(3000, 1 / 10): mean 300, deviation 16.4.
    assert np.abs(counts - 300).max() < 4.5 * 16.4


def test_capacities_hold_what_comes():
    data = {"label": jnp.where(jnp.arange(5000) < 100, 0, -1)}
    task = Task("t", lambda p, b, k: b["label"], (), rows=lambda d: d["label"] >= 0)
    (capacity,) = batches.max_rows_per_batch([task], data, batch_size=600)
    keys = jax.random.split(jax.random.key(0), 200)
    orders = jax.vmap(lambda k: jax.random.permutation(k, 5000)[:4800])(keys)
    most = (orders < 100).reshape(200, 8, 600).sum(-1).max()
    assert 12 < most <= capacity < 100
    assert capacity % 8 == 0


def test_capacity_of_everybody_is_the_batch():
    task = Task("t", lambda p, b, k: b["label"], ())
    assert batches.max_rows_per_batch([task], {"label": jnp.zeros(50)}, 20) == (20,)


@pytest.mark.parametrize(
    ("others", "batch_size", "certain"),
    [(0, 4, True), (1, 4, True), (2, 4, False), (4, 5, True), (5, 5, False)],
)
def test_a_task_is_certain_if_the_others_do_not_fill_a_batch(
    others, batch_size, certain
):
    """The last of DATA's batches of 4 has 2 rows."""
    task = trivial(rows=lambda d: d["x"] >= others)
    assert batches.never_empty([task], DATA, batch_size) == (certain,)


@pytest.mark.parametrize("order", spec.ORDERS)
def test_a_step_that_is_certain_is_the_same_step(x64, order):
    data, params = structured_problem()
    data = jax.tree.map(jnp.asarray, data)
    certain, found = batches.never_empty(TASKS, data, 10), []
    assert certain == (True, True, False)
    for given in (certain, (False,) * 3):
        e = engine.make_engine(TASKS, batch_size=10, order=order)
        e = with_spec(e, never_empty=given)
        rest = jnp.array([1.0, 0.5, 1.0]), RATE, jax.random.key(1)
        epoch = jax.jit(e.epoch, static_argnames="active")
        found.append(epoch(e.init(params), data, *rest, active=(True,) * 3))
    for ours, theirs in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(ours, theirs, 1e-12)


def test_a_task_without_examples_is_refused():
    task = trivial(rows=lambda d: d["x"] < 0)
    with pytest.raises(ValueError, match="no example takes part in task 'fit'"):
        engine.make_engine([task], DATA, batch_size=4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("weighting", [None, adaptive.gradnorm(1, "w")])
def test_losses_of_an_epoch_are_summed_in_float32(dtype, weighting):
    """In bfloat16 the sum would stop at 256, and in float16 it would be infinite."""

    def loss(p, batch, key):
        return 200 + 0 * p["w"] * batch["x"]

    data = {"x": jnp.ones(1000, dtype)}
    params = {"w": jnp.ones((), dtype)}
    e = engine.make_engine([trivial(loss=loss)], batch_size=10, weighting=weighting)
    train_epoch = CompiledEpoch(e)
    state, metrics = train_epoch(
        e.init(params), data, np.ones(1), 0.1, jax.random.key(0)
    )
    assert state.params["w"].dtype == dtype
    assert metrics.loss.dtype == np.float32
    assert metrics.loss.tolist() == [200_000]

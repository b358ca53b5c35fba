"""Weights that set themselves, each against its published formula by NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.mtl import digits
from mtl import experiment, methods
from mtl.data import datasets
from mtl.engine import adaptive, batches, engine, fit
from mtl.engine.task import Task, flatten
from mtl.host import logs
from tests.mtl import reference, tiny

ROWS, BATCH, EPOCHS, RATE, X, CODE = 19, 4, 4, 0.1, 3, 2
LAYER = "shared/kernel"
ORDERS = {
    "alternate": [(0,), (1,)],
    "alternate_then_joint": [(0,), (0, 1)],
    "joint": [(0, 1)],
}


# Two tasks that share a layer. "regress" has few rows: batches lack it.


def auto(p, batch, key):
    x = batch["x"] + 0.1 * jax.random.normal(key, batch["x"].shape)
    back = jnp.tanh(x @ p["shared"]["kernel"]) @ p["back"]["kernel"]
    return jnp.square(back - batch["x"]).sum(1)


def regress(p, batch, key):
    z = (jnp.tanh(batch["x"] @ p["shared"]["kernel"]) @ p["head"]["kernel"])[:, 0]
    return jnp.square(z - batch["y"])


TASKS = [
    Task("auto", auto, ("shared", "back")),
    Task("regress", regress, ("shared", "head"), lambda d: ~jnp.isnan(d["y"])),
]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(ROWS) < 7, rng.normal(size=ROWS), np.nan)
    sizes = dict(shared=(X, CODE), back=(CODE, X), head=(CODE, 1))
    params = {k: {"kernel": rng.normal(size=s)} for k, s in sizes.items()}
    return {"x": rng.normal(size=(ROWS, X)), "y": y}, params


def naive_costs(data, batch, key):
    """For each task `p -> J` on a batch, None without rows; `key` of an update."""
    x, y = data["x"], data["y"]
    draws = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (BATCH, X)))
    noisy = x[batch] + 0.1 * draws[: len(batch)]
    known = batch[~np.isnan(y[batch])]

    def auto(p):
        back = np.tanh(noisy @ p["shared/kernel"]) @ p["back/kernel"]
        return ((back - x[batch]) ** 2).sum(1).mean()

    def regress(p):
        z = (np.tanh(x[known] @ p["shared/kernel"]) @ p["head/kernel"])[:, 0]
        return ((z - y[known]) ** 2).mean()

    return [auto, regress if len(known) else None]


def naive_step(p, costs, members, weights):
    """One step of plain gradient descent on the weighted sum of some tasks."""
    members = [i for i in members if costs[i]]
    if not members:
        return p

    def total(p):
        return sum(weights[i] * costs[i](p) for i in members)

    names = [k for k in p if k.startswith(sum((TASKS[i].params for i in members), ()))]
    grads = reference.gradient(total, p, names)
    return p | {k: p[k] - RATE * grads[k] for k in names}


def run_naively(method, updates, data, params):
    """Parameters after all epochs, and the mean weights of each epoch."""
    p, used = {k: np.asarray(v) for k, v in flatten(params).items()}, []
    for t in range(EPOCHS):
        order_key, step_key = jax.random.split(jax.random.fold_in(jax.random.key(1), t))
        sums, rows, seen = np.zeros(2), np.zeros(2), []
        for n, batch in enumerate(np.asarray(batches.shuffle(order_key, ROWS, BATCH))):
            batch = batch[batch >= 0]
            size = len(batch), (~np.isnan(data["y"][batch])).sum()
            key = jax.random.fold_in(step_key, n)
            costs = [
                naive_costs(data, batch, jax.random.fold_in(key, u))
                for u in range(len(updates))
            ]
            weights = method.before(p, costs[0])
            seen.append(weights)
            for members, own in zip(updates, costs, strict=True):
                for i in members:
                    sums[i] += own[i](p) * size[i] if own[i] else 0
                    rows[i] += size[i]
                p = naive_step(p, own, members, weights)
            method.after(p, costs[0])
        method.epoch(sums / rows)
        used.append(np.mean(seen, axis=0))
    return p, np.array(used)


class Naive:
    """Weights of 1; the methods below say what is different."""

    def before(self, p, costs):
        """What a batch's weights are, from the parameters before its steps."""
        self.now = [c(p) if c else None for c in costs]
        return self.weights()

    def weights(self):
        return np.ones(2)

    def after(self, p, costs):
        pass

    def epoch(self, means):
        pass


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self):
        self.m, self.v, self.t = np.zeros(2), np.zeros(2), 0

    def step(self, slope, rate):
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * slope
        self.v = 0.999 * self.v + 0.001 * slope**2
        m, v = self.m / (1 - 0.9**self.t), self.v / (1 - 0.999**self.t)
        return rate * m / (np.sqrt(v) + 1e-8)


class Uncertainty(Naive):
    """L = J_1 / (2 sigma_1^2) + J_2 / sigma_2^2 + log sigma_1 + log sigma_2."""

    def __init__(self):
        self.s = np.zeros(2)

    def weights(self):
        sigma = np.exp(self.s / 2)
        return np.array([1 / (2 * sigma[0] ** 2), 1 / sigma[1] ** 2])

    def after(self, p, costs):
        for i, factor in enumerate((0.5, 1)):
            if costs[i]:
                sigma = np.exp((self.s[i] + 1e-150j) / 2)
                term = factor / sigma**2 * self.now[i] + np.log(sigma)
                self.s[i] -= RATE * term.imag / 1e-150


class Dwa(Naive):
    """lambda_k = K exp(w_k / T) / sum exp(w_i / T), w_k = L_k(t - 1) / L_k(t - 2)."""

    def __init__(self):
        self.past = []

    def weights(self):
        if len(self.past) < 2:
            return np.ones(2)
        e = np.exp(self.past[-1] / self.past[-2] / 2)
        return 2 * e / e.sum()

    def epoch(self, means):
        self.past.append(means)


class GradNorm(Naive):
    """Algorithm 1, alpha = 1.5; the gradient of L_grad by differences."""

    def __init__(self):
        self.w, self.first, self.adam = np.ones(2), None, Adam()

    def weights(self):
        return self.w

    def before(self, p, costs):
        super().before(p, costs)
        grads = [reference.gradient(c, p, [LAYER])[LAYER] if c else 0 for c in costs]
        self.norm = np.array([np.sqrt(np.sum(g**2)) for g in grads])
        return self.w

    def after(self, p, costs):
        if not all(costs):
            return
        self.first = self.first or self.now
        progress = np.array(self.now) / self.first
        target = np.mean(self.w * self.norm) * (progress / progress.mean()) ** 1.5

        def loss(w):
            return np.abs(w * self.norm - target).sum()

        h = 1e-7 * np.eye(2)
        slope = np.array([(loss(self.w + d) - loss(self.w - d)) / 2e-7 for d in h])
        w = np.maximum(self.w - self.adam.step(slope, 0.025), 1e-3)
        self.w = 2 * w / w.sum()


class Famo(Naive):
    """Algorithm 1: d = sum c z_i grad log J_i, xi -= beta (delta + gamma xi)."""

    def __init__(self):
        self.xi, self.last, self.adam = np.zeros(2), np.full(2, np.inf), Adam()

    def weights(self):
        self.last = np.array(
            [j or old for j, old in zip(self.now, self.last, strict=True)]
        )
        self.z = np.exp(self.xi) / np.exp(self.xi).sum()
        c = 1 / (self.z / self.last).sum()
        return c * self.z / self.last

    def after(self, p, costs):
        if all(costs):
            fell = np.log(self.now) - np.log([c(p) for c in costs])
            jacobian = np.diag(self.z) - np.outer(self.z, self.z)
            slope = jacobian @ fell + 0.01 * self.xi
            self.xi = self.xi - self.adam.step(slope, 0.025)


METHODS = {
    Uncertainty: lambda: adaptive.uncertainty((0.5, 1)),
    Dwa: lambda: adaptive.dwa(2),
    GradNorm: lambda: adaptive.gradnorm(2, LAYER),
    Famo: lambda: adaptive.famo(2),
}


@pytest.mark.parametrize(
    ("naive", "order"),
    [
        (Uncertainty, "alternate_then_joint"),
        (Uncertainty, "joint"),
        (Dwa, "alternate"),
        (GradNorm, "alternate"),
        (GradNorm, "joint"),
        (Famo, "alternate"),
        (Famo, "joint"),
    ],
)
def test_epochs_equal_the_published_formula(x64, naive, order):
    data, params = problem()
    e = engine.make_engine(
        TASKS, batch_size=BATCH, order=order, weighting=METHODS[naive]()
    )
    state, epoch, used = e.init(params), jax.jit(e.epoch), []
    for t in range(EPOCHS):
        key = jax.random.fold_in(jax.random.key(1), t)
        state, metrics = epoch(state, data, jnp.ones(2), RATE, key)
        used.append(metrics.loss_weights)
    p, theirs = run_naively(naive(), ORDERS[order], data, params)
    for name, value in flatten(state.params).items():
        np.testing.assert_allclose(value, p[name], 1e-6, err_msg=name)
    np.testing.assert_allclose(used, theirs, 1e-6)
    assert np.ptp(used, axis=0).min() > 1e-3, "the test must see weights move"


def test_runs_in_one_vmap_equal_the_runs_one_by_one(x64):
    e = engine.make_engine(
        TASKS, batch_size=BATCH, weighting=adaptive.gradnorm(2, LAYER)
    )
    data = problem()[0]
    states = [e.init(problem(seed)[1]) for seed in (0, 1)]
    keys = jax.random.split(jax.random.key(5), 2)
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *states)
    rest = data, jnp.ones(2), RATE
    many = jax.jit(jax.vmap(e.epoch, in_axes=(0, None, None, None, 0)))
    together = many(stacked, *rest, keys)
    for i, state in enumerate(states):
        alone = jax.jit(e.epoch)(state, *rest, keys[i])
        for a, b in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
            np.testing.assert_allclose(a[i], b, 1e-9)


# What learns from evaluations, by hand and many at once.


def observed(w, values, losses=None):
    """[runs, evaluations, 2] weights after each, from [runs, evaluations] numbers."""
    runs, count = np.shape(values)
    memory = jax.tree.map(lambda a: jnp.stack([a] * runs), w.init())
    found = []
    for t in range(count):
        if losses is not None:
            loss = jnp.stack([jnp.full(runs, 9.0), 4 * losses[:, t]], axis=1)
            memory = jax.vmap(w.epoch)(memory, loss, jnp.full((runs, 2), 4))
        memory = jax.vmap(w.observe)(memory, {"valid/loss": jnp.array(values[:, t])})
        found.append(jax.vmap(lambda m: w.weights(m, None))(memory))
    return np.stack(found, axis=1)


def test_a_plateau_lowers_the_weight():
    w = adaptive.plateau("valid/loss", factor=0.5, wait=2, cutoff=0.1)
    falls, flat = [9, 8, 7, 6, 5, 4, 3, 2], [9, 9, 9, 9, 8, 8, 9, 9]
    first = observed(w, np.array([falls, flat], float))[..., 0]
    assert first[0].tolist() == [0.5] * 8
    assert first[1].tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.125, 0.125]
    first = observed(w, np.full((1, 12), 5.0))[0]
    assert first[:, 0].tolist() == [0.5] * 2 + [0.25] * 2 + [0.125] * 2 + [0] * 6
    assert (first.sum(axis=1) == 1).all()


def test_a_monitor_that_was_nan_once_can_still_fall():
    w = adaptive.plateau("valid/loss", factor=0.5, wait=2, cutoff=0.1)
    first = observed(w, np.array([[9, np.nan, 8, 7, 6, 5]]))[0, :, 0]
    assert first.tolist() == [0.5] * 6


def test_the_ratio_is_training_over_validation_loss():
    validation, own = np.array([[2.0, 1.0, 0.5]]), np.array([[2.5, 0.75, 0.1]])
    found = observed(adaptive.ratio(), validation, own)[0]
    np.testing.assert_allclose(found, [[0, 1], [0.25, 0.75], [0.8, 0.2]], 1e-6)


# In training.


def changed(weights):
    return functools.partial(
        tiny.training, weighting=weights, loss_weights=np.ones((12, 2))
    )


LEARNS = {
    "in a batch": adaptive.famo(2),
    "after an evaluation": adaptive.plateau("valid/mse", factor=0.5, wait=1),
}


@pytest.mark.parametrize(
    "when",
    ["in a batch", pytest.param("after an evaluation", marks=pytest.mark.slow)],
)
def test_a_run_that_stopped_goes_on_as_if_it_had_not(tmp_path, when):
    training, count = changed(LEARNS[when]), iter(range(99))
    # Every other epoch is better than the one before.
    numbers = {"valid/mse": 1.0}, {"valid/mse": 2.0}
    whole = fit.fit(
        training(evaluate=lambda p: numbers[next(count) % 2]), tmp_path / "whole"
    )

    def stop_at_seven(params, count=iter(range(99))):  # noqa: B008
        if (n := next(count)) == 7:
            raise KeyboardInterrupt
        return numbers[n % 2]

    with pytest.raises(KeyboardInterrupt):
        fit.fit(training(evaluate=stop_at_seven), tmp_path / "parts")
    count = iter(range(7, 99))  # The resumed run does not check again.
    parts = fit.fit(
        training(evaluate=lambda p: numbers[next(count) % 2]), tmp_path / "parts"
    )
    ours, theirs = tiny.arrays(whole.state), tiny.arrays(parts.state)
    assert ours.keys() == theirs.keys()
    assert any("weighting_state" in name for name in ours)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def test_a_weight_that_falls_to_0_saves_the_task(tmp_path):
    weights = adaptive.plateau("valid/mse", factor=0.5, wait=1, cutoff=0.2)
    stuck = changed(weights)(evaluate=lambda p: {"valid/mse": 1.0})
    compiled = fit.compile_epoch(stuck)
    fit.fit(stuck, tmp_path, compiled)
    rows = logs.read_rows(tmp_path)
    first = [row["weight/denoise"] for row in rows]
    assert first == [0.5, 0.5, 0.25] + [0] * 9
    assert ["loss/denoise" in row for row in rows] == [True] * 3 + [False] * 9
    assert rows[-1]["weight/regress"] == 1
    active = {active for *_, active in compiled._programs}
    assert active == {(True, True), (False, True)}


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.ADAPTIVE)
def test_each_method_trains_on_digits(tmp_path, method):
    c = digits.get_config("smoke")
    c.method, c.optim.learning_rate, c.eval_every, c.weighting.wait = method, 0.1, 2, 1
    training = experiment.make_training(c, datasets.load(c.data))
    result = fit.fit(training, tmp_path)
    assert result.summary["best"]["test/error"] < 0.25
    rows = logs.read_rows(tmp_path)
    weights = [[row[f"weight/{t.name}"] for t in training.tasks] for row in rows]
    assert np.ptp(weights, axis=0).min() > 1e-3

"""Tests rows of y that are known in part: losses, training, metrics, own arrays."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.structured import digits
from mtl.host.errors import ConfigError
from structured import assemble, data, experiment, partial_outputs, tasks
from tests import program
from tests.mtl.images import assert_refused
from tests.structured.datasets import same
from tests.structured.test_tasks import OUTPUTS, SHAPE, batch, initial, small

HOLES = ((0, 1), (0, 3), (2, 0))  # Row 1 and others are whole.
FILL = np.array([0.1, -0.2, 0.3, -0.4], np.float32)


def holed(y):
    y = np.array(y)
    for hole in HOLES:
        y[hole] = np.nan
    return y


def losses(c, y, fill, extra=()):
    """The losses and gradients of "out" and "supervised" for the batch with this y."""
    net = assemble.build_network(c, SHAPE, OUTPUTS)
    params, key = initial(net), jax.random.key(1)
    results = {}
    for task in tasks.make_tasks(c, net, None, fill)[1:]:
        loss = jax.jit(lambda p, b, t=task: t.loss(p, b, key))
        b = batch() | {"y": jnp.asarray(y)}
        total = jax.grad(lambda p, loss=loss, b=b: loss(p, b).sum())
        results[task.name] = np.asarray(loss(params, b)), total(params)
    return results, net, params


@pytest.mark.parametrize("error", ["squared", "absolute"])
@pytest.mark.parametrize("dimensions", ["sum", "mean"])
def test_missing_values_count_in_no_error(error, dimensions):
    """Compares with loops over the known values; P_out gets the fill for the others."""
    fields = {"reconstruct_out.center_code": False}
    for task in ("reconstruct_out", "supervised"):
        fields |= {f"{task}.error": error, f"{task}.dimensions": dimensions}
    y = np.asarray(batch()["y"])
    results, net, params = losses(small(**fields), holed(y), FILL)
    filled = np.where(np.isnan(holed(y)), FILL, y)
    outputs = {
        "out": net.decoder_out(params, net.encoder_out(params, jnp.asarray(filled))),
        "supervised": net.main(params, batch()["x"]),
    }
    for name, (loss, gradient) in results.items():
        for i, output in enumerate(np.asarray(outputs[name])):
            known = [k for k in range(OUTPUTS) if (i, k) not in HOLES]
            e = [output[k] - y[i, k] for k in known]
            e = [v**2 if error == "squared" else abs(v) for v in e]
            expected = sum(e) / (len(e) if dimensions == "mean" else 1)
            assert loss[i] == pytest.approx(expected, rel=1e-5)
        for leaf in jax.tree.leaves(gradient):
            assert np.isfinite(leaf).all()


def test_whole_rows_have_the_same_losses_either_way():
    y = np.asarray(batch()["y"])
    one, two = losses(small(), y, None)[0], losses(small(), y, FILL)[0]
    for name in one:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
            *(one[name], two[name]),
        )


def test_a_row_without_y_has_a_finite_loss():
    y = np.full((5, OUTPUTS), np.nan, np.float32)
    for loss, _ in losses(small(), y, FILL)[0].values():
        assert np.isfinite(loss).all()


def test_the_mean_of_known_values_is_exact_in_any_order():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(200, 3)).astype(np.float32)
    y[rng.uniform(size=y.shape) < 0.3] = np.nan
    mean = partial_outputs.mean_known(y)
    np.testing.assert_allclose(mean, np.nanmean(y.astype(np.float64), axis=0), 1e-6)
    for _ in range(5):
        np.testing.assert_array_equal(
            mean, partial_outputs.mean_known(rng.permutation(y))
        )


# Own arrays


def write(path, holes=True):
    """Writes 60 + 20 rows: y is linear in x; a third of its values is missing."""
    rng = np.random.default_rng(0)
    arrays, mix = {}, rng.normal(size=(6, 4)) / 4
    for part, n in (("train", 60), ("test", 20)):
        x = rng.uniform(size=(n, 6))
        y = np.tanh(x @ mix)
        if holes:
            missing = rng.uniform(size=y.shape) < 1 / 3
            missing[:, 3] = False  # No row of the test set lacks all.
            y[missing] = np.nan
        arrays |= {f"x_{part}": x, f"y_{part}": y}
    arrays["y_train"][:5] = np.nan
    np.savez(path, **arrays)
    return arrays


def config(path, **fields):
    c = digits.get_config("smoke")
    c.data.source, c.data.path, c.data.pairs, c.data.valid = "npz", str(path), -1, 0.2
    c.data.partial_y = True
    c.model.x_activation = c.model.y_activation = "linear"
    c.model.input, c.model.link, c.model.output = (8,), (8,), (3,)
    c.update_from_flattened_dict(fields)
    return c


def test_partial_rows_must_be_allowed(tmp_path):
    arrays = write(tmp_path / "own.npz")
    c = config(tmp_path / "own.npz", **{"data.partial_y": False})
    row = int(np.flatnonzero(np.isnan(arrays["y_train"]).sum(1) % 4)[0])
    assert_refused(
        lambda: data.load(c),
        *(f"y_train: row {row} has", "data.partial_y=True", "whole row"),
    )
    c.data.partial_y = True
    d = data.load(c)
    missing = np.isnan(arrays["y_train"])
    assert d.train.has_y.sum() + len(d.validation.y) == (~missing.all(1)).sum() == 55
    assert sum(d.partial_y.values()) == (missing.any(1) & ~missing.all(1)).sum() + (
        np.isnan(arrays["y_test"]).any(1).sum()
    )
    # An infinite value, or x known in part, is a mistake nevertheless.
    for name in ("x_train", "y_train"):
        value = np.nan if name == "x_train" else np.inf
        bad = arrays[name].copy()
        bad[20, 0] = value
        np.savez(tmp_path / "bad.npz", **(arrays | {name: bad}))
        c.data.path = str(tmp_path / "bad.npz")
        assert_refused(lambda: data.load(c), "row 20 has values that are not finite")


def test_whole_rows_load_the_same_either_way(tmp_path):
    write(tmp_path / "own.npz", holes=False)
    one, two = (
        data.load(config(tmp_path / "own.npz", **{"data.partial_y": p}))
        for p in (False, True)
    )
    for part in ("train", "validation", "test"):
        same(getattr(one, part), getattr(two, part))


def test_a_value_that_no_row_has_is_refused(tmp_path):
    arrays = write(tmp_path / "own.npz")
    arrays["y_train"][:, 2] = np.nan
    np.savez(tmp_path / "own.npz", **arrays)
    c = config(tmp_path / "own.npz")
    assert_refused(lambda: data.load(c), "own.npz: 1 of 4 values of y", "y[:, 2]")


def test_the_range_is_that_of_known_values(tmp_path):
    write(tmp_path / "own.npz")
    c = config(tmp_path / "own.npz", **{"model.y_activation": "sigmoid"})
    with pytest.raises(ConfigError, match=r"config.model.y_activation='sigmoid'"):
        data.check_output_ranges(c, data.load(c).train)
    c.model.y_activation = "tanh"
    data.check_output_ranges(c, data.load(c).train)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["mlp_in_out", "mean"])
def test_a_run_measures_known_values_and_counts_rows(tmp_path, variant):
    arrays = write(tmp_path / "own.npz")
    c = config(tmp_path / "own.npz", variant=variant)
    run = experiment.train_and_evaluate(c, tmp_path / "run")
    assert np.isfinite(run.predicted).all()
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["partial_y"] == data.load(c).partial_y
    error = np.square(run.predicted - arrays["y_test"])
    assert summary["test"]["mse"] == pytest.approx(np.nanmean(error), rel=1e-5)
    assert np.isfinite(list(summary["best"].values())).all()
    if variant == "mean":
        d = data.load(c)
        mean = np.nanmean(d.train.y[d.train.has_y], axis=0)
        np.testing.assert_allclose(run.predicted[0], mean, rtol=1e-5)


@pytest.mark.slow
def test_rows_that_lack_values_still_train(tmp_path):
    """With enough epochs the error is far below that of the mean."""
    arrays = write(tmp_path / "own.npz")
    fields = {"epochs": 200, "eval_every": 50, "batch_size": 10, "variant": "mlp_out"}
    fields |= {"optim.name": "adam", "optim.learning_rate": 0.01}
    fields |= {"model.input_activation": "tanh", "model.link_activation": "tanh"}
    c = config(tmp_path / "own.npz", **fields)
    run = experiment.train_and_evaluate(c, tmp_path / "run")
    spread = np.nanmean(np.nanvar(arrays["y_test"], axis=0))
    assert run.summary["test"]["mse"] < spread / 5


@pytest.mark.slow
def test_the_launcher_counts_the_rows(tmp_path):
    write(tmp_path / "own.npz")
    flags = ["--config=configs/structured/digits.py:smoke"]
    c = config(tmp_path / "own.npz")
    for name in ("source", "path", "pairs", "valid", "partial_y"):
        flags.append(f"--config.data.{name}={c.data[name]}")
    for name in ("x_activation", "y_activation"):
        flags.append(f"--config.model.{name}=linear")
    done = program.call("structured.main", *flags, f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 0, done.stderr
    counts = data.load(c).partial_y
    expected = ", ".join(f"{n} {name}" for name, n in counts.items())
    assert f"Some values of y are missing in {expected} examples." in done.stdout

"""Runs that train at the same time are the runs of `fit`."""

import dataclasses

import jax
import numpy as np
import pytest

from mtl.engine import fit, fit_many
from mtl.host import logs
from mtl.host.errors import DivergedError
from tests.mtl import tiny


def trainings(**changes):
    """Three trainings with parameters, keys and data of their own."""
    made = tiny.training(**changes)

    def other(i):
        params = jax.tree.map(lambda x: x + 0.01 * i, made.params)
        data = {"x": made.data["x"] + 0.02 * i, "y": made.data["y"]}
        key = jax.random.key(10 + i)
        return dataclasses.replace(made, params=params, data=data, key=key)

    return [other(i) for i in range(3)]


def folders(path):
    return [path / str(i) for i in range(3)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    path = tmp_path_factory.mktemp("alone")
    made = [fit.fit(t, f) for t, f in zip(trainings(), folders(path), strict=True)]
    return made, [logs.read_rows(f) for f in folders(path)]


def assert_close(results, alone):
    for own, other in zip(results, alone, strict=True):
        for a, b in ((own.params, other.params), (own.state, other.state)):
            a, b = tiny.arrays(a), tiny.arrays(b)
            for name in a:
                np.testing.assert_allclose(a[name], b[name], 1e-4, 1e-6, err_msg=name)
        assert own.summary["best_epoch"] == other.summary["best_epoch"]
        assert own.summary["best"] == pytest.approx(other.summary["best"], rel=1e-4)


@pytest.mark.slow
def test_each_run_equals_its_run_alone_to_rounding(alone, tmp_path):
    results = fit_many.fit_many(trainings(), folders(tmp_path))
    assert_close(results, alone[0])
    rows = [logs.read_rows(f) for f in folders(tmp_path)]
    for own, other in zip(rows, alone[1], strict=True):
        assert [r["epoch"] for r in own] == [r["epoch"] for r in other]
        for a, b in zip(own, other, strict=True):
            a, b = dict(a, seconds=0), dict(b, seconds=0)
            assert a == pytest.approx(b, rel=1e-4)
    assert results[0].summary["runs_at_once"] == 3


def stopping(made, calls):
    """The trainings; the first one's evaluation is interrupted at some call."""
    count, evaluate = iter(range(99)), made[0].evaluate

    def stop(params):
        if next(count) == calls:
            raise KeyboardInterrupt
        return evaluate(params)

    return [dataclasses.replace(made[0], evaluate=stop), *made[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("resume", ["at once", "one alone before", "each alone"])
def test_stopped_runs_are_resumed_by_either_function(alone, resume, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit_many.fit_many(stopping(trainings(), 7), folders(tmp_path))
    made, places = trainings(), folders(tmp_path)
    if resume == "one alone before":
        fit.fit(made[1], places[1])
    if resume == "each alone":
        results = [fit.fit(t, f) for t, f in zip(made, places, strict=True)]
    else:
        results = fit_many.fit_many(made, places)
    assert_close(results, alone[0])
    assert [r["epoch"] for r in logs.read_rows(places[0])] == list(range(1, 13))


def test_a_run_that_diverges_stops_all_and_leaves_their_checkpoints(tmp_path):
    made = trainings()
    bad = dataclasses.replace(
        made[1], params=jax.tree.map(lambda x: x * np.nan, made[1].params)
    )
    with pytest.raises(DivergedError, match="not finite in epoch 1"):
        fit_many.fit_many([made[0], bad, made[2]], folders(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patience": 3}, "patience=3: such runs train one after the other"),
        ({"batch_size": 5}, "must agree in tasks, loss weights"),
        ({"loss_weights": np.ones((12, 2))}, "must agree"),
        ({"eval_every": 2}, "must agree"),
        ({"monitor": "valid/x"}, "evaluate` returns valid/mse"),
    ],
)
def test_trainings_that_cannot_share_a_program_are_refused(change, message, tmp_path):
    made = trainings()
    made[2] = dataclasses.replace(made[2], **change)
    if change.get("monitor"):
        made = [dataclasses.replace(t, **change) for t in made]
    with pytest.raises(ValueError, match=message):
        fit_many.fit_many(made, folders(tmp_path))


def test_no_trainings_are_refused():
    with pytest.raises(ValueError, match="one or more"):
        fit_many.fit_many([], [])

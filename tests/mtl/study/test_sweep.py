import numpy as np
import pytest

from mtl import data, experiment
from mtl.study import grid
from mtl.study.grid import Bundle
from mtl.study.sweep import Sweep
from mtl.train import fit
from tests.mtl.study import tiny

METHODS = ("exponential", "baseline_matched")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each run trained by itself."""
    c = tiny.config()
    dataset, found = data.load(c.data), {}
    for run in grid.runs(c, 1000):
        if run.method in METHODS:
            training = experiment.plan(grid.one_config(c, run), dataset)
            found[run] = fit(training, tmp_path_factory.mktemp("alone"))
    return dataset, found


@pytest.mark.parametrize("wide", [False, True])
def test_a_run_of_a_sweep_is_the_run_alone(wide, alone, tmp_path):
    dataset, expected = alone
    c = tiny.config()
    sweep = Sweep(c, dataset)
    sweep.wide = wide
    bundles = grid.bundles(c, expected, wide)
    assert len(bundles) == (1 if wide else len(METHODS))
    for bundle in bundles:
        *_, p = sweep.train(bundle, tmp_path / bundle.runs[0].method)
        for i, run in enumerate(bundle.runs):
            result = expected[run]
            kernel = np.asarray(p.state.params["encoder"]["1"]["kernel"][i])
            same = np.asarray(result.state.params["encoder"]["1"]["kernel"])
            np.testing.assert_allclose(kernel, same, rtol=0, atol=2e-6)
            assert p.last["test/error"][i] == result.summary["last"]["test/error"]
            assert p.best_epoch[i] == result.summary["best_epoch"]
            assert p.best["valid/error"][i] == result.summary["best"]["valid/error"]


def test_examples_that_do_not_fit_are_trained_on_all_the_same(
    alone, tmp_path, monkeypatch
):
    dataset, expected = alone
    c, (run, *_) = tiny.config(), expected
    sweep = Sweep(c, dataset)
    bundle = Bundle(grid.one_config(c, run), [run])
    monkeypatch.setattr(sweep, "_room", lambda *_: (100, 8))
    *_, p = sweep.train(bundle, tmp_path)
    assert p.last["test/error"][0] == expected[run].summary["last"]["test/error"]


def test_a_run_that_diverges_is_told_and_harms_no_other(alone, tmp_path):
    dataset, expected = alone
    c = tiny.config()
    run = next(r for r in expected if r.method == "exponential")
    broken = run._replace(seed=1)
    sweep = Sweep(c, dataset)
    bundle = Bundle(grid.one_config(c, run), [run, broken])
    given, rows = sweep._given, None

    def poisoned(runs, tasks):
        nonlocal rows
        rows = given(runs, tasks)
        return rows._replace(weights=rows.weights.at[1].set(1e38))

    sweep._given = poisoned
    *_, p = sweep.train(bundle, tmp_path)
    assert p.fine.tolist() == [True, False]
    assert p.last["test/error"][0] == expected[run].summary["last"]["test/error"]

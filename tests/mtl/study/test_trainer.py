import numpy as np
import pytest

from mtl import experiment
from mtl.data import datasets
from mtl.engine import batches
from mtl.engine.fit import compile_epoch, fit
from mtl.study import grid, prepared
from mtl.study import trainer as trainer_module
from mtl.study.grid import RunGroup
from mtl.study.trainer import GroupTrainer, memory
from tests.mtl.study import tiny

METHODS = ("exponential", "baseline_matched", "ratio")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Each run trained by itself; the seeds of a method share its programs."""
    c = tiny.config()
    dataset, found, compiled = datasets.load(c.data), {}, {}
    for run in grid.runs(c, 1000):
        if run.method in METHODS:
            training = experiment.make_training(grid.one_config(c, run), dataset)
            if run.method not in compiled:
                compiled[run.method] = compile_epoch(training)
            folder = tmp_path_factory.mktemp("alone")
            found[run] = fit(training, folder, compiled[run.method])
    return dataset, found


@pytest.mark.slow
@pytest.mark.parametrize("vmapped", [False, True])
def test_a_run_of_a_group_is_the_run_alone(vmapped, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "MAX_PROGRAMS", 1)
    dataset, expected = alone
    c = tiny.config()
    trainer = GroupTrainer(c, dataset)
    trainer.vmapped = vmapped
    groups = grid.run_groups(c, expected, vmapped)
    assert len(groups) == (2 if vmapped else 3)
    for group in groups:
        *_, p = trainer.train(group, tmp_path / group.runs[0].method)
        for i, run in enumerate(group.runs):
            result = expected[run]
            kernel = np.asarray(p.state.params["encoder"]["1"]["kernel"][i])
            same = np.asarray(result.state.params["encoder"]["1"]["kernel"])
            np.testing.assert_allclose(kernel, same, rtol=0, atol=2e-6)
            assert p.last["test/error"][i] == result.summary["last"]["test/error"]
            assert p.best_epoch[i] == result.summary["best_epoch"]
            assert p.best["valid/error"][i] == result.summary["best"]["valid/error"]
        assert len(trainer._programs) == 1, "those before would fill the memory's map"


@pytest.mark.slow
def test_examples_that_do_not_fit_are_trained_on_all_the_same(
    alone, tmp_path, monkeypatch
):
    dataset, expected = alone
    c, (run, *_) = tiny.config(), expected
    trainer = GroupTrainer(c, dataset)
    monkeypatch.setattr(batches, "max_rows_per_batch", lambda *_: (100, 8))
    *_, p = trainer.train(RunGroup(grid.one_config(c, run), [run]), tmp_path)
    assert p.last["test/error"][0] == expected[run].summary["last"]["test/error"]


@pytest.mark.slow
def test_a_run_that_diverges_is_told_and_harms_no_other(alone, tmp_path, monkeypatch):
    dataset, expected = alone
    c = tiny.config()
    run, broken = (r for r in expected if r.method == "exponential")
    trainer = GroupTrainer(c, dataset)
    weights = prepared._weights
    huge = {0: 1.0, 1: 1e30}
    monkeypatch.setattr(
        prepared, "_weights", lambda c, t: weights(c, t) * np.float32(huge[c.seed])
    )
    group = RunGroup(grid.one_config(c, run), [run, broken])
    *_, p = trainer.train(group, tmp_path)
    assert p.fine.tolist() == [True, False]
    assert p.last["test/error"][0] == expected[run].summary["last"]["test/error"]


@pytest.mark.slow
def test_a_bundle_is_cut_until_it_fits(alone, monkeypatch):
    dataset, expected = alone
    trainer = GroupTrainer(tiny.config(), dataset)
    trainer.vmapped = True
    group, _ = grid.run_groups(tiny.config(), expected, vmapped=True)
    runs = trainer._prepare(group.runs)
    need = memory(trainer._program(runs, trainer._start(runs), runs.engine))
    for limit, sizes in {need: [4], 0.6 * need: [2, 2], 1: [1] * 4}.items():
        monkeypatch.setattr(trainer, "_limit", lambda limit=limit: limit)
        assert [len(part.runs) for part in trainer.parts(group)] == sizes


@pytest.mark.slow
def test_a_ladder_is_trained_too(tmp_path):
    """Adam, rows of its own for a task, and statistics of the training images."""
    c = tiny.config(seeds=1)
    c.study.parts.a.methods = ("linear",)
    c.unsupervised, c.order, c.classify.draws = "ladder", "joint", 20
    c.model.norm, c.model.noise, c.optim.name, c.optim.learning_rate = (
        "batch",
        0.3,
        "adam",
        0.01,
    )
    grid.check(c)
    dataset = datasets.load(c.data)
    (group,) = grid.run_groups(c, grid.runs(c, 1000), vmapped=False)
    expected = fit(
        experiment.make_training(group.config, dataset), tmp_path / "alone"
    ).summary
    *_, p = GroupTrainer(c, dataset).train(group, tmp_path / "trained")
    assert p.last["test/error"][0] == expected["last"]["test/error"]
    assert p.last["valid/loss"][0] == pytest.approx(expected["last"]["valid/loss"])

"""A study on two CPU devices reports what its own parameters give.

A compiler option once made the evaluation of such a study wrong by up to 0.8 points, at
u >= 20,000 and on two devices or more, while the parameters were right. All runs here
are of that kind.
"""

import subprocess
import sys
from itertools import product

import jax
import numpy as np
import pytest
from flax import traverse_util

from mtl import experiment, networks
from mtl.data import datasets
from mtl.study import grid, results
from tests.conftest import ROOT
from tests.mtl.study import two_devices

pytestmark = pytest.mark.slow  # It trains a study in other programs.


@pytest.fixture(scope="module")
def images():
    return two_devices.dataset()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    there = tmp_path_factory.mktemp("two_devices")
    command = [sys.executable, "-m", "tests.mtl.study.two_devices", str(there)]
    subprocess.run(command, cwd=ROOT, check=True)
    return there


def rows(folder):
    """The rows of a study by run, without the time that each took."""
    found = results.read(folder / "results.csv")
    return {row.run: row._replace(seconds=0.0) for row in found}


def test_each_report_of_a_group_is_an_evaluation_of_its_parameters(folder, images):
    with np.load(folder / "trained.npz") as stored:
        found = traverse_util.unflatten_dict(dict(stored), sep="/")
    held = {"valid": images.validation, "test": images.test}
    c = two_devices.config()
    network = networks.build(c, images.shape, images.classes)
    evaluate = experiment.make_evaluate(network, held)
    assert found.keys() == {"10", "20"}
    for epoch, seed in product(found, range(2)):
        params = jax.tree.map(lambda x: x[seed], found[epoch]["params"])  # noqa: B023
        expected = evaluate(params)
        reported = traverse_util.flatten_dict(found[epoch]["reported"], sep="/")
        assert {"valid/error", "test/error"} <= reported.keys()
        for name, values in reported.items():
            own = pytest.approx(float(expected[name]), rel=1e-5)
            assert values[seed] == own, (epoch, name)


def test_a_repeated_study_gives_the_same_table(folder):
    assert rows(folder / "once") == rows(folder / "again")


def test_two_studies_agree_on_the_runs_that_they_share(folder):
    once, other = rows(folder / "once"), rows(folder / "other")
    assert len(once) == 2
    assert len(other) == 4
    assert {run: other[run] for run in once} == once


def test_a_study_agrees_with_single_runs_in_every_column(
    folder, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(datasets, "load", lambda _: images)
    for run, row in rows(folder / "once").items():
        own = grid.one_config(two_devices.config(), run)
        summary = experiment.train_and_evaluate(
            own, tmp_path / f"{run.method}-{run.seed}"
        ).summary
        expected = results.Row(
            hidden="50",
            labelled=1000,
            unlabelled=49_000,
            method=run.method,
            seed=run.seed,
            status="done",
            test_error=summary["last"]["test/error"],
            valid_error=summary["last"]["valid/error"],
            best_epoch=summary["best_epoch"],
            best_test_error=summary["best"]["test/error"],
            best_valid_error=summary["best"]["valid/error"],
            seconds=0.0,
        )
        for name, value, same in zip(row._fields, row, expected, strict=True):
            if isinstance(value, float):
                assert value == pytest.approx(same, rel=1e-5), name
            else:
                assert value == same, name

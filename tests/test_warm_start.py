"""Runs of systems 1 and 2 that start from the best parameters of a finished run."""

import json
import re
import shutil

import jax
import numpy as np
import pytest

from configs.mtl import digits
from configs.structured import digits as halves
from mtl import experiment as system_1
from mtl.engine.task import flatten
from mtl.host.errors import ConfigError
from structured import experiment as system_2


def smoke(system, **fields):
    c = (digits if system is system_1 else halves).get_config("smoke")
    c.epochs = 6
    if system is system_1:
        c.optim.decay_epochs, c.schedule.t1, c.eval_every = 0, 1, 3
    for name, value in fields.items():
        c[name] = value
    return c


@pytest.fixture(scope="module", params=[system_1, system_2], ids=["mtl", "structured"])
def source(request, tmp_path_factory):
    """The system, the folder of a finished run, and its best parameters."""
    folder = tmp_path_factory.mktemp("runs") / "source"
    run = request.param.train_and_evaluate(smoke(request.param), folder)
    return request.param, folder, flatten(run.params)


def test_a_run_starts_from_the_best_parameters(source, tmp_path, monkeypatch):
    system, folder, best = source
    started = []

    def fit(training, *_, **__):
        started.append(flatten(training.params))
        raise KeyboardInterrupt

    monkeypatch.setattr(system, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        system.train_and_evaluate(
            smoke(system, init_from=str(folder), seed=7), tmp_path / "run"
        )
    jax.tree.map(np.testing.assert_array_equal, started[0], best)
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["init_from"] == str(folder)


@pytest.mark.slow
def test_a_started_run_does_not_need_its_source_any_more(source, tmp_path):
    system, folder, _ = source
    copy = shutil.copytree(folder, tmp_path / "source")
    c = smoke(system, init_from=str(copy))
    first = system.train_and_evaluate(c, tmp_path / "run")
    shutil.rmtree(copy)
    again = system.train_and_evaluate(c, tmp_path / "run")
    jax.tree.map(np.testing.assert_array_equal, first.params, again.params)


def test_another_network_is_refused_with_both_shapes(source, tmp_path):
    system, folder, _ = source
    c = smoke(system, init_from=str(folder))
    if system is system_1:
        c.model.hidden = (30,)
        message = r"there classifier/kernel is \(50, 10\), .* it is \(30, 10\)"
    else:
        c.model.link = (30,)
        message = r"there link/1/bias is \(64,\), .* it is \(30,\)"
    with pytest.raises(ConfigError, match=message):
        system.train_and_evaluate(c, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_finished_run_is_refused(source, tmp_path):
    system, *_ = source
    c = smoke(system, init_from=str(tmp_path / "none"))
    message = re.escape(f"{tmp_path / 'none'}' must be the folder of a finished run")
    with pytest.raises(ConfigError, match=message):
        system.train_and_evaluate(c, tmp_path / "run")

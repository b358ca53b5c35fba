"""Sweeps of system 3: runs are those of l3spot.main, and programs are shared."""

import csv

import jax
import numpy as np
import pytest

from configs.l3spot import phantom
from l3spot import sweep
from l3spot.training import dataset, experiment, initial
from tests import program
from tests.epoch_text import changed, epoch_text
from tests.l3spot.training.bars import images_of_bars

FIELDS = {
    "epochs": 1, "windows": 2, "batch_size": 8, "data.count": 40,
    "data.validation": 8, "optim.warmup_epochs": 0, "model.backbone": "cnn4",
    "mirror": False,
}  # fmt: skip


def tiny(**changes):
    c = phantom.get_config()
    c.update_from_flattened_dict(FIELDS | changes)
    return c


@pytest.mark.slow  # It trains networks.
def test_rates_are_swept_and_a_run_is_the_run_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "phantoms", lambda *_: images_of_bars())
    done = program.call(
        *("l3spot.sweep", "--config", "configs/l3spot/phantom.py"),
        *(f"--config.{name}={value}" for name, value in FIELDS.items()),
        *("--grid", "optim.learning_rate=0.001,0.002", "--workdir", tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs done" in done.stdout
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    assert len({float(r["valid/mean_mm"]) for r in rows}) == 2
    config = tiny(**{"optim.learning_rate": 0.002})
    alone = experiment.train_and_evaluate(config, tmp_path / "alone")
    same = experiment.train_and_evaluate(
        config, tmp_path / "optim.learning_rate=0.002" / "seed0"
    )
    jax.tree.map(np.testing.assert_array_equal, alone.model.params, same.model.params)


def test_scans_are_loaded_again_only_if_they_are_others(monkeypatch):
    loaded = []

    def load(config):
        loaded.append((config.data.count, config.data.proportions))
        return images_of_bars()

    monkeypatch.setattr(experiment, "load_dataset", load)
    monkeypatch.setattr(experiment, "train_and_evaluate", lambda *_: None)
    train = sweep.system().train
    for changes in (
        {},
        {"data.labelled": 10, "data.validation": 9, "data.test": 3, "data.strips": 20},
        {"data.proportions": "varied"},
        {"data.count": 60},
    ):
        train(tiny(**changes), None)
    assert loaded == [(40, "usual"), (40, "varied"), (60, "usual")]


def test_fields_that_share_programs_change_no_program():
    scans = images_of_bars()
    config = tiny(**{"reconstruct.schedule": "exponential", "epochs": 6})

    def make(c):
        net, params = initial.init_network(c)
        sets = experiment.split_validation(c, scans, scans)
        return experiment.make_training(c, net, params, sets)

    other = {
        "seed": 3, "epochs": 9, "optim.learning_rate": 0.5, "optim.schedule": "linear",
        "optim.decay_epochs": 3, "optim.warmup_epochs": 2,
        "reconstruct.value": 0.3, "reconstruct.t1": 3.0, "reconstruct.sigma": 9.0,
        "eval_every": 3, "save_every": 4, "save_minutes": 1.0, "patience": 9,
        "window_stride_px": 8, "mirror": True,
    }  # fmt: skip
    assert set(other) == set(sweep.DATA_FIELDS)
    text = epoch_text(make(config))
    assert epoch_text(make(changed(config, other))) == text
    assert epoch_text(make(changed(config, {"huber_delta": 0.4}))) != text

"""Sweeps of system 2: runs are those of structured.main, and programs are shared."""

import csv
import dataclasses

import numpy as np

from configs.structured import digits
from mtl.sweeps.programs import SharedPrograms
from structured import assemble, data, experiment, sweep
from tests import program
from tests.epoch_text import changed, epoch_text


def test_variants_and_rates_are_swept_and_a_run_is_the_run_alone(tmp_path):
    command = ("--config", "configs/structured/digits.py:smoke", "--config.epochs=2")
    grid = ("--grid", "variant=mean,mlp_out", "--grid", "optim.learning_rate=0.01,0.02")
    done = program.call(
        "structured.sweep", *command, *grid, "--seeds=0,1", "--workdir", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "8 of 8 runs done" in done.stdout
    rows = list(csv.DictReader((tmp_path / "results.csv").read_text().splitlines()))
    means = {r["test/mse"] for r in rows if r["variant"] == "mean"}
    assert len(means) == 1, "nothing is trained"
    assert len({r["best/valid/mse"] for r in rows if r["variant"] == "mlp_out"}) == 4
    c = digits.get_config("smoke")
    c.epochs, c.variant, c.optim.learning_rate, c.seed = 2, "mlp_out", 0.02, 1
    alone = experiment.train_and_evaluate(c, tmp_path / "alone")
    place = tmp_path / "variant=mlp_out,optim.learning_rate=0.02" / "seed1"
    with np.load(place / "predictions.npz") as kept:
        np.testing.assert_array_equal(kept["predicted"], alone.predicted)


def test_fields_that_share_programs_change_no_program():
    config = digits.get_config("smoke")
    dataset = data.load(config)

    def make(c):
        return assemble.make_training(c, dataset)

    other = {
        "seed": 3, "variant": "mlp", "epochs": 9, "optim.learning_rate": 0.5,
        "optim.decay_epochs": 2, "optim.schedule": "linear", "optim.warmup_epochs": 1,
        "schedule.input": (0.0, 1.0),
        "schedule.output": (0.0, 2.0), "data.path": "x", "data.cache": "y",
        "eval_every": 3, "save_every": 4, "save_minutes": 1.0, "patience": 9,
    }  # fmt: skip
    assert set(other) == set(sweep.DATA_FIELDS)
    text = epoch_text(make(config))
    assert epoch_text(make(changed(config, other))) == text
    assert epoch_text(make(changed(config, {"reconstruct_in.level": 0.3}))) != text


def test_files_with_other_means_of_known_values_share_no_program():
    """The mean of y stands for missing values, and is a constant of the program."""
    config = digits.get_config("smoke")
    config.data.partial_y = True
    whole = data.load(config)
    shared = SharedPrograms(sweep.DATA_FIELDS)

    def of(y):
        dataset = dataclasses.replace(whole, train=whole.train._replace(y=y))
        training = assemble.make_training(config, dataset)
        return shared.of(config, assemble.constants(dataset.train))(training)

    y = whole.train.y.copy()
    y[whole.train.has_y.argmax(), 3] = np.nan
    assert of(y) is of(y.copy())
    assert of(y) is not of(y / 2)

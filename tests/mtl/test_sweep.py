"""Sweeps of system 1: runs are those of mtl.main, and programs are shared."""

import csv

import jax
import numpy as np
import pytest

from configs.mtl import digits
from mtl import experiment, sweep
from mtl.data import datasets
from mtl.engine import program_cache
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.host import checkpoint
from mtl.sweeps import programs
from tests import program
from tests.epoch_text import changed, epoch_text

CONFIG = ("--config", "configs/mtl/digits.py:smoke")
SHORT = ("--config.epochs=2", "--config.optim.decay_epochs=1", "--config.schedule.t1=1")
GRID = (
    "--grid",
    "optim.learning_rate=0.1,1e39,0.2",
    "--grid",
    "model.hidden=(8,)",
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep, its text, and the number of programs that were made for it."""
    folder, made = tmp_path_factory.mktemp("sweep"), []

    def keep(training):
        made.append(CompiledEpoch)
        return compile_epoch(training)

    compile_epoch = program_cache.compile_epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_cache, "compile_epoch", keep)
        done = program.call(
            "mtl.sweep", *CONFIG, *SHORT, *GRID, "--seeds=1", "--workdir", folder
        )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout, len(made)


def test_the_launcher_prints_the_table_and_what_diverged(swept):
    folder, out, _ = swept
    assert (folder / "table.md").read_text() in out
    name = "optim.learning_rate=1e+39,model.hidden=8/seed1"
    assert f"2 of 3 runs done; 1 diverged: {name}; see" in out
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [r["status"] for r in rows] == ["done", "diverged", "done"]
    assert "is not finite in epoch" in rows[1]["why"]
    assert 0 < float(rows[0]["best/valid/error"]) < 1


def test_a_run_of_a_sweep_is_the_run_alone(swept, tmp_path):
    """Its program was compiled for another learning rate."""
    folder, _, made = swept
    assert made == 1, "all runs share it"
    c = digits.get_config("smoke")
    c.epochs, c.optim.decay_epochs, c.schedule.t1 = 2, 1, 1
    c.optim.learning_rate, c.model.hidden, c.seed = 0.2, (8,), 1
    alone = experiment.train_and_evaluate(c, tmp_path)
    place = folder / "optim.learning_rate=0.2,model.hidden=8" / "seed1"
    same = checkpoint.restore_best(place, alone.params, "mtl.main")
    jax.tree.map(np.testing.assert_array_equal, alone.params, same)


def test_a_report_of_another_grid_names_what_lacks(swept):
    folder, *_ = swept
    flags = ("--report", "--grid", "optim.learning_rate=0.1,0.3", "--workdir", folder)
    done = program.call("mtl.sweep", *CONFIG, *SHORT, *flags)
    assert "0 of 2 runs done; 2 lacking: optim.learning_rate=0.1/seed0" in done.stdout


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--grid=learning_rate=1",), "did you mean optim.learning_rate?"),
        (("--grid=optim.name=sgd,lyon",), "config.optim.name='lyon' must be"),
        (("--config=configs/mtl/table1.py:smoke",), "mtl.study trains it"),
        (("--seeds=a",), "--seeds must be whole numbers, not a"),
        (("--seeds=1,1",), "--seeds must have each seed once"),
        (("--report", "--shard=1/2"), "give only one of --report and --shard"),
    ],
)
def test_errors_are_found_before_any_work(tmp_path, flags, message):
    done = program.call("mtl.sweep", *CONFIG, *flags, "--workdir", tmp_path / "new")
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
    assert not (tmp_path / "new").exists()


def test_a_run_that_fails_is_named_and_gives_the_status_1(tmp_path):
    flags = ("--grid=data.labelled=9999", "--workdir", tmp_path)
    done = program.call("mtl.sweep", *CONFIG, *SHORT, *flags)
    assert done.returncode == 1
    assert "1 run failed; results.csv says why: data.labelled=9999/seed0" in done.stderr
    assert "0 of 1 run done" in done.stdout


def test_programs_are_those_of_the_tasks_and_of_the_shapes(monkeypatch):
    monkeypatch.setattr(programs, "MOST", 2)
    shared, base = programs.SharedPrograms(sweep.DATA_FIELDS), digits.get_config()
    dataset = datasets.load(base.data)

    def of(**changes):
        c = digits.get_config()
        c.update_from_flattened_dict(
            {k.replace("__", "."): v for k, v in changes.items()}
        )
        return shared.of(c)(experiment.make_training(c, dataset))

    first = of()
    assert of(seed=3, epochs=7, optim__decay_epochs=0) is first
    others = [of(data__labelled=60), of(reconstruct__level=0.3)]
    assert first not in others
    assert others[0] is not others[1]
    assert of(reconstruct__level=0.3, seed=3) is others[1]
    assert of() is not first, "only the last ones are kept"


def test_fields_that_share_programs_change_no_program():
    config = digits.get_config("smoke")
    dataset = datasets.load(config.data)

    def make(c):
        return experiment.make_training(c, dataset)

    other = {
        "seed": 3, "epochs": 50, "optim.learning_rate": 0.5, "optim.decay_epochs": 0,
        "optim.schedule": "cosine", "optim.warmup_epochs": 1,
        "schedule.t1": 3, "schedule.sigma": 5.0, "schedule.weight": 0.1,
        "data.path": "x", "eval_every": 3, "save_every": 4, "save_minutes": 1.0,
        "patience": 9,
    }  # fmt: skip
    assert set(other) == set(sweep.DATA_FIELDS)
    text = epoch_text(make(config))
    assert epoch_text(make(changed(config, other))) == text
    assert epoch_text(make(changed(config, {"reconstruct.level": 0.3}))) != text

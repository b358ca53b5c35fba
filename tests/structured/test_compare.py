import csv
import itertools

import jax
import numpy as np
import pytest

from configs.structured import digits
from mtl.host.errors import WorkdirError
from structured import assemble, compare, experiment, tasks
from structured.report import comparison
from tests import program


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    return folder, compare.compare(digits.get_config("smoke"), folder, seeds=(0, 1))


def test_files_have_a_row_for_each_run_and_variant(done):
    folder, groups = done
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    assert [(r["variant"], r["seed"]) for r in rows] == [
        (v, s) for v in tasks.VARIANTS for s in "01"
    ]
    for row, run in zip(
        rows, (run for g in groups.values() for run in g.runs), strict=True
    ):
        assert float(row["test/mse"]) == run.summary["test"]["mse"]
    table = (folder / "table.md").read_text().splitlines()
    assert [line.split("|")[1].strip() for line in table[2:]] == list(tasks.VARIANTS)


def test_the_table_has_mean_and_standard_deviation(done):
    _, groups = done
    head, lines = comparison.make_table(groups)
    errors = [1e3 * run.summary["test"]["mse"] for run in groups["mlp_in"].runs]
    mean, spread = sum(errors) / 2, abs(errors[0] - errors[1]) / 2**0.5
    line = dict(zip(head, lines[2], strict=True))
    assert line["variant"] == "mlp_in"
    assert line["test MSE ×1e-3"] == f"{mean:.2f} ± {spread:.2f}"


def test_figures_and_a_page_are_written(done):
    folder, _ = done
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2
    for name in ("mse.png", "completions.png"):
        assert (folder / name).read_bytes()[:4] == b"\x89PNG"


def test_variants_start_from_the_same_parameters_and_end_with_others(done):
    _, groups = done
    initial = {}
    for variant in ("mlp", "mlp_in_out"):
        config = compare.run_config(digits.get_config("smoke"), variant, 1)
        initial[variant] = assemble.make_training(
            config, experiment.data.load(config)
        ).params
    mlp, both = initial["mlp"], initial["mlp_in_out"]
    for part in mlp:
        for layer, arrays in mlp[part].items():
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, both[part][layer][name])
    predictions = [g.runs[1].predicted for g in groups.values()]
    for a, b in itertools.pairwise(predictions):
        assert np.abs(a - b).max() > 1e-4


def test_a_run_of_a_comparison_equals_the_run_alone(done, tmp_path):
    _, groups = done
    config = compare.run_config(digits.get_config("smoke"), "mlp_out", 1)
    alone = experiment.train_and_evaluate(config, tmp_path)
    np.testing.assert_array_equal(alone.predicted, groups["mlp_out"].runs[1].predicted)


@pytest.mark.slow
def test_seeds_that_train_at_once_give_the_runs_of_seeds_in_turn(done, tmp_path):
    _, groups = done
    config, variants = digits.get_config("smoke"), ("mean", "mlp", "mlp_out")
    compare.compare(config, tmp_path, variants, seeds=(1,), at_once=True)
    at_once = compare.compare(config, tmp_path, variants, seeds=(0, 1), at_once=True)
    for name in variants:
        for a, b in zip(groups[name].runs, at_once[name].runs, strict=True):
            np.testing.assert_allclose(a.predicted, b.predicted, 1e-4, 1e-4)
            assert a.summary["seed"] == b.summary["seed"]
            assert a.summary["test"] == pytest.approx(b.summary["test"], rel=1e-3)


def test_finished_runs_are_read_and_not_trained_again(done, monkeypatch):
    folder, groups = done

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(experiment, "fit", refuse)
    again = compare.compare(digits.get_config("smoke"), folder, seeds=(0, 1))
    for name, group in groups.items():
        for a, b in zip(group.runs, again[name].runs, strict=True):
            np.testing.assert_array_equal(a.predicted, b.predicted)
            assert a.summary == b.summary
            jax.tree.map(np.testing.assert_array_equal, a.params, b.params)
        assert group.logs == again[name].logs


def test_a_folder_with_another_config_is_refused(done):
    folder, _ = done
    config = digits.get_config("smoke")
    config.optim.learning_rate = 0.02
    with pytest.raises(WorkdirError, match=r"optim\.learning_rate"):
        compare.compare(config, folder, variants=("mlp",), seeds=(0,))


def test_programs_are_shared(tmp_path):
    shared, made = compare.share_programs(), []
    for seed in (0, 1):
        for variant in ("mlp_in", "mlp_in_out"):
            config = compare.run_config(digits.get_config("smoke"), variant, seed)
            config.epochs = 1

            def keep(training):
                made.append(shared(training))
                return made[-1]

            folder = tmp_path / f"{variant}-{seed}"
            experiment.train_and_evaluate(config, folder, programs=keep)
    assert all(p is made[0] for p in made)
    assert len(made[0]._programs) == 2  # in and supervised; all three.


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--variants=mlp,mpl", "config.variant='mpl' must be one of mean, mlp"),
        ("--seeds=0,x", "--seeds must be whole numbers"),
        ("--seeds=0,0", "each seed once"),
        ("--variants=mean,mean", "each once"),
    ],
)
def test_the_launcher_refuses(flag, message, tmp_path):
    flags = [flag, "--config", "configs/structured/digits.py:smoke"]
    done = program.call("structured.compare", *flags, "--workdir", tmp_path / "w")
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "w").exists()

"""System 2 in scikit-learn: its own checks, and rows without x or without y."""

import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import check_estimator

from mtl import fitting
from mtl.engine.program_cache import ProgramCache
from mtl.host.errors import WorkdirError
from structured import tasks
from structured.estimator import StructuredRegressor
from tests.conftest import ROOT

CONSTANT = {"schedule_input": "constant", "schedule_output": "constant"}


def quick(**params):
    """One program: each further set of tasks, and each shape, compiles another one."""
    small = {"input_layers": (24,), "link_layers": (), "output_layers": (16,)}
    common = {"epochs": 40, "random_state": 0, "learning_rate": 0.01}
    return StructuredRegressor(**common | small | CONSTANT | params)


@pytest.fixture(scope="module")
def halves():
    """The upper and lower halves of digits, [N, 32] each; 50 of 1297 are pairs."""
    images = load_digits().images / 16
    images = images[np.random.default_rng(0).permutation(len(images))]
    x, y = images[:, :4].reshape(-1, 32), images[:, 4:].reshape(-1, 32)
    train_x, train_y = x[:1297].copy(), y[:1297].copy()
    train_x[50:600], train_y[600:] = np.nan, np.nan
    return train_x, train_y, x[1297:], y[1297:]


@pytest.fixture(scope="module")
def fitted(halves, tmp_path_factory):
    """A model of y in seconds, its folder, x and y; 5 values are missing."""
    x, y = halves[0][:50], halves[1][:50].copy()
    y[40:45, 3] = np.nan
    y += 1.7e9  # float32 would round them to 128.
    run = tmp_path_factory.mktemp("estimator") / "run"
    return quick(partial_y=True, workdir=run).fit(x, y), run, x, y


@pytest.mark.slow
def test_scikit_learn_accepts_the_estimator():
    results = check_estimator(quick(epochs=100), on_skip=None)
    assert {r["status"] for r in results} <= {"passed", "skipped"}


@pytest.mark.slow
def test_rows_without_x_or_y_help_in_the_example_of_the_docs(capsys):
    page = (ROOT / "docs" / "structured.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names = {}
    exec(code, names)
    error = float(capsys.readouterr().out.rsplit(":", 1)[1])
    x, y = names["x"], names["y"]
    pairs = StructuredRegressor(variant="mlp", epochs=300, random_state=0)
    alone = np.square(pairs.fit(x[:50], y[:50]).predict(x[1297:]) - y[1297:]).mean()
    assert 0 < error < alone, alone


def test_outputs_have_the_units_of_y_and_a_pickle_predicts_the_same(fitted):
    model, _, x, y = fitted
    guess = model.predict(x)
    assert np.nanmean(np.square(guess - y)) < np.nanmean(np.square(y - np.nanmean(y)))
    same = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(same.predict(x), guess)


def test_the_score_is_that_of_known_values(fitted):
    model, _, x, y = fitted
    guess = model.predict(x)
    known = [~np.isnan(column) for column in y.T]
    each = [r2_score(y[k, j], guess[k, j]) for j, k in enumerate(known)]
    assert sum(known[3]) == 45
    more = (np.r_[x, x[:2] * np.nan, x[:1]], np.r_[y, y[:2], y[:1] * np.nan])
    assert model.score(*more) == pytest.approx(np.mean(each), abs=1e-12)
    assert model.score(x, y, np.ones(50)) == pytest.approx(np.mean(each), abs=1e-12)


def test_a_workdir_keeps_the_run_and_refuses_other_data(fitted):
    model, run, x, y = fitted
    log = (run / "metrics.jsonl").read_text()
    again = clone(model).fit(x, y)
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert (run / "metrics.jsonl").read_text() == log
    with pytest.raises(WorkdirError, match="another data"):
        clone(model).fit(x[::-1], y)


@pytest.mark.slow
def test_a_grid_over_schedules_and_variants_compiles_once(halves, monkeypatch):
    """Both folds have rows without x, and rows without y."""
    x, y = halves[2][:100].copy(), halves[3][:100].copy()
    x[50:80], y[80:] = np.nan, np.nan
    grid = {
        "structuredregressor__variant": ["mlp", "mlp_in_out"],
        "structuredregressor__schedule_output": ["constant", (1.0, 3.0)],
    }
    steps = make_pipeline(MinMaxScaler(), quick(epochs=6))
    monkeypatch.setattr(fitting, "_programs", ProgramCache(fitting.MAX_PROGRAMS))
    folds = [(np.arange(0, 100, 2), np.arange(1, 100, 2))]
    search = GridSearchCV(steps, grid, cv=folds).fit(x, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(fitting._programs) == 2  # The last fit has more rows.


@pytest.mark.parametrize(
    ("schedule", "weights"),
    [
        ("hold_then_fall", [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0, 0]),
        ("constant", [1] * 10),
        ("linear", [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
        ("stairs", [1] * 5 + [0] * 5),
        ((0.5, 0.7), [1, 1, 1, 1, 1, 1, 0.5, 0, 0, 0]),
    ],
)
def test_schedules_are_named_or_two_shares_of_the_epochs(schedule, weights):
    config = quick(epochs=10, schedule_input=schedule)._config(20)
    np.testing.assert_allclose(tasks.loss_weights(config)[:, 0], weights, atol=1e-12)


def test_early_stopping_keeps_the_best_epoch_also_of_one_output(halves):
    x, y = halves[0][:50], halves[1][:50, 20]
    stop = dict(early_stopping=True, validation_fraction=0.4, patience=4, eval_every=2)
    model = quick(epochs=20, learning_rate=0.1, **stop).fit(x, y)
    errors = {row["epoch"]: row["valid/mse"] for row in model.history_}
    assert model.best_iter_ == min(errors, key=errors.get)
    assert model.n_iter_ in (20, model.best_iter_ + 4)
    assert model.predict(x).shape == (50,)


def nan_at(x, y, x_rows=np.s_[0:0], y_rows=np.s_[0:0]):
    x, y = x.copy(), y.copy()
    x[x_rows], y[y_rows] = np.nan, np.nan
    return x, y


@pytest.mark.parametrize(
    ("missing", "params", "message"),
    [
        ({"x_rows": (3, 0)}, {}, "X: row 3 has values that are not finite"),
        ({"y_rows": (3, 0)}, {}, "y: row 3 .* or set partial_y=True"),
        ({"x_rows": 700}, {}, "row 700 of X and of y is NaN"),
        ({"y_rows": np.s_[0:50]}, {}, "no row has both"),
        ({"y_rows": np.s_[0:600, 2]}, {"partial_y": True}, r"first of them y\[:, 2\]"),
        ({}, {"variant": "mean"}, "variant='mean' must be one of mlp,"),
        ({}, {"schedule_input": "lineer"}, "schedule_input='lineer' must be one of"),
        ({}, {"config": {"model.encoder": "cnn"}}, "must be 'mlp' for x of shape"),
        ({}, {"config": {"data.pairs": 5}}, "the data are those of `fit`"),
        ({}, {"config": {"model.y_activation": "tanh"}}, "one that reaches"),
        ({}, {"early_stopping": True, "validation_fraction": 0.0}, "of 50 pairs is 0"),
    ],
)
def test_errors_are_value_errors_that_name_the_parameter(
    halves, missing, params, message
):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(*nan_at(*halves[:2], **missing))

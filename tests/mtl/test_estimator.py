"""System 1 in scikit-learn: its own checks, pipelines, grids, and missing labels."""

import pickle
import re

import jax
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mtl import fitting, predict
from mtl.engine.program_cache import ProgramCache
from mtl.estimator import EvolvingMTLClassifier
from mtl.host.errors import WorkdirError
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    return x[order], y[order]


def few(y, labelled=50):
    return np.where(np.arange(len(y)) < labelled, y, -1)


def quick(**params):
    return EvolvingMTLClassifier(**{"epochs": 30, "random_state": 0} | params)


@pytest.mark.slow
def test_scikit_learn_accepts_the_estimator():
    """One of its checks has a class -1, so no label is missing."""
    model = quick(hidden=(20,), sigma=10.0, unlabelled=None)
    results = check_estimator(model, on_skip=None)
    assert {r["status"] for r in results} <= {"passed", "skipped"}


@pytest.mark.slow
def test_rows_without_a_label_help(digits):
    x, y = digits
    vat = dict(unsupervised="vat", config={"vat.epsilon": 1.0}, epochs=50)
    score = {
        method: quick(method=method, **vat)
        .fit(x[:1297], few(y[:1297]))
        .score(x[1297:], y[1297:])
        for method in ("baseline", "constant")
    }
    assert score["constant"] > score["baseline"] > 0.7


@pytest.mark.parametrize("missing", ["-1", -1])
def test_labels_may_be_strings(digits, missing):
    x, y = digits[0][:200], digits[1][:200]
    names = np.array([f"digit {c}" for c in y], object)
    names[50:] = missing
    model = quick().fit(x, names.astype("U") if missing == "-1" else names)
    numbers = quick().fit(x, few(y))
    assert model.predict(x).tolist() == [f"digit {c}" for c in numbers.predict(x)]


def test_one_class_besides_minus_one_names_the_parameter(digits):
    x, y = digits
    signs = np.where(y[:100] > 4, 1, -1)
    with pytest.raises(ValueError, match=r"1 class \(1\).*parameter `unlabelled`"):
        quick().fit(x[:100], signs)
    model = quick(unlabelled=None, epochs=100).fit(x[:100], signs)
    assert model.classes_.tolist() == [-1, 1]
    assert model.score(x[:100], signs) > 0.9


def images(digits, count):
    """Images [N, 8, 8], in [0, 1]."""
    return digits[0][:count].reshape(-1, 8, 8) / 16


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_convolutions_take_grey_and_colour_images(digits, channels, tmp_path):
    x, y = images(digits, 300), few(digits[1][:300])
    x = np.broadcast_to(
        x.reshape(*x.shape, *(1,) * len(channels)), (*x.shape, *channels)
    )
    fields = {"model.channels": (4,), "model.strides": (2,)}
    params = dict(network="cnn", hidden=(20,), scaling="unit", config=fields)
    model = quick(**params, workdir=tmp_path / "run", epochs=5).fit(x, y)
    assert model.params_["encoder"]["1"]["kernel"].shape == (
        3,
        3,
        *(channels or (1,)),
        4,
    )
    probability = model.predict_proba(x)
    kept = predict.predict(tmp_path / "run", x.astype(np.float32))
    np.testing.assert_allclose(kept, probability, atol=1e-5)
    with pytest.raises(ValueError, match=r"shape .*, but `fit` had \(8, 8"):
        model.predict(x[:, :, :4])


def test_dense_layers_take_images_as_rows(digits):
    x, y = images(digits, 200), few(digits[1][:200])
    rows = quick().fit(x.reshape(200, 64), y).predict_proba(x.reshape(200, 64))
    np.testing.assert_array_equal(quick().fit(x, y).predict_proba(x), rows)


@pytest.mark.slow
def test_the_example_with_images(capsys):
    page = (ROOT / "docs" / "mtl.md").read_text()
    exec(re.findall(r"```python\n(.*?)```", page, re.S)[1], {})
    assert 0.7 < float(capsys.readouterr().out.split(":")[1]) < 1


def test_a_pickle_predicts_the_same_and_holds_no_jax_arrays(digits):
    x, y = digits
    model = quick().fit(x[:300], few(y[:300]))
    leaves = jax.tree.leaves(model.params_)
    assert all(type(leaf) is np.ndarray for leaf in leaves)
    same = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(same.predict_proba(x), model.predict_proba(x))


@pytest.mark.slow
def test_a_grid_search_over_schedules_compiles_once(digits, monkeypatch):
    x, y = digits[0][:300], few(digits[1][:300], 150)
    monkeypatch.setattr(fitting, "_programs", ProgramCache(fitting.MAX_PROGRAMS))
    grid = {"mtl__method": ["exponential", "linear"], "mtl__sigma": [0.1, 10.0]}
    steps = Pipeline(
        [("scale", StandardScaler()), ("mtl", quick(epochs=7, hidden=(13,)))]
    )
    search = GridSearchCV(steps, grid, cv=[(np.arange(200), np.arange(100, 150))])
    search.fit(x, y)
    assert len(fitting._programs) == 2  # The last fit has more rows.
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_early_stopping_keeps_the_best_epoch(digits):
    x, y = digits
    model = quick(epochs=60, early_stopping=True, patience=10, eval_every=2)
    model.fit(x[:400], few(y[:400], 100))
    errors = {row["epoch"]: row["valid/error"] for row in model.history_}
    assert model.best_iter_ == min(errors, key=errors.get)
    assert model.n_iter_ in (60, model.best_iter_ + 10)


def test_without_early_stopping_all_labels_train_for_all_epochs(digits):
    model = quick().fit(digits[0][:200], few(digits[1][:200]))
    assert [row["epoch"] for row in model.history_] == [30]
    assert model.best_iter_ == model.n_iter_ == 30


def test_a_workdir_keeps_the_run_which_mtl_predict_reads(tmp_path, digits):
    x, y = digits[0][:200], few(digits[1][:200])
    model = quick(workdir=tmp_path / "run").fit(x, y)
    probability = predict.predict(tmp_path / "run", x.astype(np.float32))
    np.testing.assert_allclose(probability, model.predict_proba(x), atol=1e-5)
    again = clone(model).fit(x, y)
    np.testing.assert_array_equal(again.predict_proba(x), model.predict_proba(x))
    with pytest.raises(WorkdirError, match="another data"):
        clone(model).fit(x[::-1], y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "exponentail"}, "config.method='exponentail' must be one of"),
        ({"method": "plateau"}, "needs early_stopping=True"),
        ({"scaling": "unit"}, "set scaling='minmax'"),
        ({"network": "cnn"}, r"'mlp' for x of shape \(64,\): 'cnn' needs images"),
        ({"config": {"vat.epsilonn": 1.0}}, "no such field"),
        ({"config": {"epochs": 3}}, "a parameter of its own"),
        (
            {"early_stopping": True, "validation_fraction": 0.001},
            "of 50 .* is 0",
        ),
    ],
)
def test_errors_are_value_errors_that_name_the_parameter(digits, params, message):
    with pytest.raises(ValueError, match=message):
        quick(**params).fit(digits[0][:100], few(digits[1][:100]))


@pytest.mark.parametrize(
    "params",
    [
        {"method": "baseline"},
        {"method": "pretraining", "t1": 5},
        {"method": "gradnorm"},
        {"method": "ratio", "early_stopping": True},
    ],
)
def test_other_methods_and_tasks_learn(digits, params):
    x, y = digits[0][:400], digits[1][:400]
    assert quick(**params).fit(x, few(y, 100)).score(x, y) > 0.6

"""Metrics against scikit-learn's, and functions of one's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import metrics as reference

from mtl import metrics
from mtl.host import plugins
from mtl.host.errors import ConfigError


@pytest.fixture(params=[4, 7], ids=["all classes", "some classes absent"])
def outputs(request):
    """Logits [300, 7] that are often right, and labels of 4 or 7 classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, request.param, 300)
    logits = rng.normal(size=(300, 7)) + 1.5 * np.eye(7)[y]
    return jnp.asarray(logits, jnp.float32), jnp.asarray(y)


def test_each_metric_is_scikit_learns(outputs):
    logits, y = outputs
    guess, p = logits.argmax(1), jax.nn.softmax(logits)
    present = np.unique(y)
    expected = {
        "error": 1 - reference.accuracy_score(y, guess),
        "loss": reference.log_loss(y, p, labels=range(7)),
        "recall": reference.recall_score(
            y, guess, average="macro", labels=present, zero_division=0
        ),
        "f1": reference.f1_score(y, guess, average="macro"),
    }
    for name, value in expected.items():
        found = metrics.METRICS[name].function(logits, y)
        assert found == pytest.approx(value, abs=1e-5), name


def test_the_calibration_error_is_the_weighted_gap_of_bins(outputs):
    logits, y = outputs
    p = np.asarray(jax.nn.softmax(logits))
    confidence, right = p.max(1), p.argmax(1) == np.asarray(y)
    total = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.mean() * gap
    found = metrics.calibration_error(logits, y)
    assert found == pytest.approx(total, abs=1e-5)
    assert total > 0.05


def test_the_report_is_scikit_learns(outputs):
    logits, y = outputs
    guess = np.asarray(logits.argmax(1))
    matrix = np.asarray(metrics.confusion(logits, y))
    np.testing.assert_array_equal(
        matrix, reference.confusion_matrix(y, guess, labels=range(7))
    )
    report = metrics.report(matrix, list("abcdefg"))
    precision, recall, f1, rows = reference.precision_recall_fscore_support(
        y, guess, labels=range(7), zero_division=0
    )
    for i, c in enumerate(report["classes"]):
        assert (c["name"], c["rows"]) == ("abcdefg"[i], rows[i])
        found = c["precision"] or 0, c["recall"] or 0, c["f1"] or 0
        assert found == pytest.approx((precision[i], recall[i], f1[i]), abs=1e-5)
        assert (c["recall"] is None) == (rows[i] == 0)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_colon", "must be like 'package.module:function'"),
        ("mtl.no_module:f", "No module named 'mtl.no_module'"),
        ("mtl.metrics:no_function", "no attribute 'no_function'"),
        ("mtl.metrics:BINS", "BINS is no function"),
        ("mtl.metrics:recall", "functions of other names than"),
    ],
)
def test_a_path_that_leads_to_no_function_is_refused(path, message):
    with pytest.raises(ConfigError, match="config.metrics=.*" + message):
        metrics.functions((path,))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", "broken.py, line 1: ZeroDivisionError: division by zero"),
        ("def f(:", "broken.py, line 1: SyntaxError: "),
    ],
)
def test_a_module_that_fails_is_named(code, message, tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"config.metrics='broken:f'.*" + message):
        plugins.load("broken:f", "metrics")


def rows_of_logits(logits, y):
    return logits[:, 0]


def of_numpy(logits, y):
    return np.mean(np.asarray(logits))


@pytest.mark.parametrize(
    ("function", "message"),
    [(rows_of_logits, r"it returns the shape \(7,\)"), (of_numpy, "Tracer")],
)
def test_a_function_that_returns_no_number_is_refused(function, message):
    with pytest.raises(ConfigError, match=f"{function.__name__} must.*{message}"):
        metrics.check(((function.__name__, function),), 3)


def test_the_name_of_a_path_is_that_of_the_function():
    assert plugins.name("a.b:kappa") == "kappa"
    assert dict(metrics.functions(("mtl.metrics:confusion",)))["confusion"]

"""Tests metrics against examples by hand, NumPy loops, and the paper's mean shape."""

import functools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from structured import scoring
from structured.faces import metrics
from structured.faces.schemes import FIVE_POINTS, IBUG_68, WFLW_98, Scheme


def shapes(n=40, spread=5.0, points=68, seed=0):
    """Makes predictions, truth [n, points, 2] and boxes [n, 4] of 200-pixel faces."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(50, 250, (n, points, 2))
    # Every threshold has errors on both sides.
    predicted = (
        truth + rng.normal(size=truth.shape) * np.linspace(1, spread, n)[:, None, None]
    )
    low = truth.min(1)
    return predicted, truth, np.concatenate([low, truth.max(1) - low], axis=1)


def loop_report(predicted, truth, frame):
    """Computes all metrics by loops over faces, points and thresholds."""
    names = metrics.normalisers(IBUG_68)
    errors = {name: [] for name in names}
    for p, t, (_, _, w, h) in zip(predicted, truth, frame, strict=True):
        mean = sum(np.hypot(*(a - b)) for a, b in zip(p, t, strict=True)) / len(t)
        pupils = sum(t[36:42]) / 6 - sum(t[42:48]) / 6
        errors["inter_ocular"].append(mean / np.hypot(*(t[36] - t[45])))
        errors["inter_pupil"].append(mean / np.hypot(*pupils))
        errors["box_diagonal"].append(mean / (w * w + h * h) ** 0.5)
        errors["box_size"].append(mean / (w * h) ** 0.5)
    report = {f"nme_{name}": np.mean(e) for name, e in errors.items()}
    for name in ("inter_ocular", "inter_pupil"):
        e = np.array(errors[name])
        for text, cut in (("0.08", 0.08), ("0.10", 0.1)):
            report[f"fr_{text}_{name}"] = np.mean(e > cut)
            # The area under a step function: from one error to the next.
            steps = np.append(np.sort(e[e <= cut]), cut)
            share = np.arange(len(steps) - 1) + 1
            report[f"auc_{text}_{name}"] = (share @ np.diff(steps)) / len(e) / cut
    e = np.array(errors["inter_ocular"])
    grid = np.arange(0, 0.5, 0.001)
    curve = [np.mean(e <= t) for t in grid]
    report["nrmse"] = e.mean()
    report["cdf_0.1"] = np.mean(e <= 0.1)
    report["auc_0.5"] = sklearn.metrics.auc(grid, curve) / 0.5
    return report


jitted_metrics = jax.jit(functools.partial(metrics.landmark_metrics, scheme=IBUG_68))


def test_mse_by_hand():
    truth = jnp.array([[0.0, 0.0], [1.0, 2.0]])
    predicted = jnp.array([[0.1, 0.3], [1.0, 4.0]])
    assert metrics.mse(predicted, truth) == pytest.approx((0.01 + 0.09 + 4) / 4)


def test_normalisers_by_hand():
    truth = np.zeros((1, 68, 2))
    truth[0, 36] = 10, 20
    truth[0, 45] = 13, 24
    # Each pupil is the mean of six points; five of them stay at (0, 0).
    box = np.array([[[7.0, 9.0], [10.0, 15.0], [8.0, 21.0]]])  # Sides of 3 and 12.
    assert metrics.inter_ocular(truth, IBUG_68) == pytest.approx([5])
    assert metrics.inter_pupil(truth, IBUG_68) == pytest.approx([5 / 6])
    assert metrics.box_diagonal(box) == pytest.approx([153**0.5])
    assert metrics.box_size(box) == pytest.approx([6])


def test_nme_by_hand():
    predicted = jnp.array([[[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 2.0]]])
    truth = jnp.array([[[0.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [0.0, 0.0]]])
    errors = metrics.nme(predicted, truth, jnp.array([10.0, 4.0]))
    assert errors == pytest.approx([0.3, 0.25])


def test_curve_and_area_by_hand():
    errors = jnp.array([0.3, 0.1, 0.0, 0.7])
    shares = metrics.cdf(errors, jnp.array([0.0, 0.05, 0.1, 0.5, 1.0]))
    assert shares.tolist() == [0.25, 0.25, 0.5, 0.75, 1.0]
    # Three faces within 0.5, with 0.2, 0.4 and 0.5 of the cut after them.
    assert metrics.auc(errors, 0.5) == pytest.approx((0.2 + 0.4 + 0.5) / 4 / 0.5)
    assert metrics.failure_rate(errors, 0.5) == 0.25
    # An error at the cut itself is no failure.
    assert metrics.failure_rate(errors, float(errors[0])) == 0.25
    assert metrics.cdf(errors, errors[:1]) == 0.75


def test_the_papers_area_ends_before_the_threshold():
    assert metrics.auc_paper(jnp.zeros(3)) == pytest.approx(0.998)
    # Seen from 0.251 on, and half of the step before: 0.499 - 0.2505.
    assert metrics.auc_paper(jnp.array([0.2503])) == pytest.approx(0.2485 / 0.5)
    assert metrics.auc_paper(jnp.array([0.4995])) == 0


def test_a_nan_error_is_a_failure():
    errors = jnp.array([jnp.nan, 0.0])
    assert metrics.cdf(errors, jnp.array([0.1, 9.0])).tolist() == [0.5, 0.5]
    assert metrics.failure_rate(errors, 0.1) == 0.5
    assert metrics.auc(errors, 0.1) == 0.5
    assert metrics.auc_paper(errors) == pytest.approx(0.998 / 2)


@pytest.mark.parametrize("spread", [5.0, 60.0])
def test_metrics_equal_those_of_plain_loops(x64, spread):
    arrays = shapes(spread=spread)
    report = jitted_metrics(*arrays[:2])
    expected = loop_report(*arrays)
    assert report.keys() == expected.keys()
    for name, value in expected.items():
        assert report[name].dtype == jnp.float64
        assert report[name] == pytest.approx(value, rel=1e-12), name


def test_metrics_in_single_precision():
    # No error is within 1e-5 of a threshold, so that rounding changes no count.
    arrays = shapes(n=200, spread=30.0)
    report = jitted_metrics(*(a.astype("float32") for a in arrays[:2]))
    for name, value in loop_report(*arrays).items():
        assert report[name].dtype == jnp.float32
        assert report[name] == pytest.approx(value, abs=2e-5, rel=1e-4), name


def test_other_numbers_of_points_have_metrics_by_box_only():
    arrays = shapes(points=7)
    report = metrics.landmark_metrics(*arrays[:2], Scheme(7))
    assert sorted(report) == ["nme_box_diagonal", "nme_box_size"]
    errors = np.linalg.norm(arrays[0] - arrays[1], axis=-1).mean(axis=1)
    size = np.sqrt(arrays[2][:, 2] * arrays[2][:, 3])
    assert report["nme_box_size"] == pytest.approx((errors / size).mean())


def test_eyes_are_those_of_the_scheme():
    predicted, truth, _ = shapes(points=98)
    report = metrics.landmark_metrics(predicted, truth, WFLW_98)
    errors = np.linalg.norm(predicted - truth, axis=-1).mean(axis=1)
    for name, (a, b) in {"inter_ocular": (60, 72), "inter_pupil": (96, 97)}.items():
        distance = np.linalg.norm(truth[:, a] - truth[:, b], axis=-1)
        expected = (errors / distance).mean()
        assert report[f"nme_{name}"] == pytest.approx(expected, rel=1e-5)
    assert report["nrmse"] == report["nme_inter_ocular"]

    predicted, truth, _ = shapes(points=5)
    report = metrics.landmark_metrics(predicted, truth, FIVE_POINTS)
    assert {"nme_inter_pupil", "fr_0.08_inter_pupil"} < report.keys()
    assert not {"nme_inter_ocular", "nrmse", "auc_0.5"} & report.keys()


def without_points(truth, faces_and_points):
    holed = truth.copy()
    for face, points in faces_and_points.items():
        holed[face, points] = np.nan
    return holed


def test_missing_points_are_left_out_and_counted(x64):
    """Compares with the metrics of whole faces that have only the other points."""
    predicted, truth, _ = shapes(n=6)
    missing = {1: [0, 1, 2], 3: [45], 4: [37], 5: list(range(1, 68))}
    holed = without_points(truth, missing)
    report = metrics.partial_landmark_metrics(predicted, holed, IBUG_68)
    assert report["missing_points"] == 3 + 1 + 1 + 67
    # Faces 3 and 5 lack a corner, 4 another point of an eye; one point has no box.
    left_out = {k: v for k, v in report.items() if k.startswith("left_out")}
    assert left_out == {
        "left_out_box_diagonal": 1,
        "left_out_box_size": 1,
        "left_out_inter_ocular": 2,
        "left_out_inter_pupil": 3,
    }
    errors, sizes = [], []
    for i in range(6):
        kept = np.setdiff1d(np.arange(68), missing.get(i, []))
        p, t = predicted[i, kept], truth[i, kept]
        errors.append(np.linalg.norm(p - t, axis=1).mean())
        sizes.append(np.sqrt(np.prod(t.max(0) - t.min(0))))
    errors, sizes = np.array(errors), np.array(sizes)
    ocular = np.linalg.norm(truth[:, 36] - truth[:, 45], axis=1)
    nrmse = (errors / ocular)[[0, 1, 2, 4]]
    assert report["nrmse"] == pytest.approx(nrmse.mean())
    assert report["cdf_0.1"] == pytest.approx((nrmse <= 0.1).mean())
    assert report["fr_0.08_inter_ocular"] == pytest.approx((nrmse > 0.08).mean())
    assert report["nme_box_size"] == pytest.approx((errors[:5] / sizes[:5]).mean())


def test_whole_faces_have_the_same_metrics_either_way(x64):
    predicted, truth, _ = shapes()
    whole = metrics.landmark_metrics(predicted, truth, IBUG_68)
    report = metrics.partial_landmark_metrics(predicted, truth, IBUG_68)
    for name, value in whole.items():
        assert report[name] == pytest.approx(float(value)), name
    assert not any(v for k, v in report.items() if k not in whole)


def test_metrics_without_any_face_are_absent():
    predicted, truth, _ = shapes(n=3)
    holed = without_points(truth, {i: [36] for i in range(3)})
    report = metrics.partial_landmark_metrics(predicted, holed, IBUG_68)
    assert "nrmse" not in report
    assert "nme_box_size" in report
    assert report["left_out_inter_ocular"] == report["left_out_inter_pupil"] == 3


def test_missing_points_hide_no_failure():
    predicted, truth, _ = shapes(n=2)
    holed = without_points(truth, {0: [5]})
    predicted[0, 6] = np.nan
    report = metrics.partial_landmark_metrics(predicted, holed, IBUG_68)
    assert report["fr_0.10_inter_ocular"] >= 0.5
    assert np.isnan(report["nrmse"])


def test_mse_of_known_coordinates_by_hand():
    truth = jnp.array([[0.0, jnp.nan], [1.0, 2.0]])
    predicted = jnp.array([[0.1, 0.3], [1.0, 4.0]])
    assert metrics.partial_mse(predicted, truth) == pytest.approx((0.01 + 4) / 3)


def test_perfect_predictions():
    _, truth, _ = shapes()
    for name, value in metrics.landmark_metrics(truth, truth, IBUG_68).items():
        perfect = float(name.startswith(("auc", "cdf")))
        if name == "auc_0.5":
            perfect = 0.998
        assert value == pytest.approx(perfect), name


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.01, 100),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.integers(0, 1000),
)
def test_nme_is_invariant_to_scale_and_shift(scale, shift, seed):
    predicted, truth, _ = shapes(n=3, seed=seed)
    with jax.enable_x64(True):
        both = [scale * points + np.array(shift) for points in (predicted, truth)]
        names = metrics.normalisers(IBUG_68)
        sizes = [(f(truth), f(both[1])) for f in names.values()]
        for here, there in sizes:
            np.testing.assert_allclose(
                metrics.nme(*both, there),
                metrics.nme(predicted, truth, here),
                1e-9,
            )


# Only two lengths, because each one is compiled.
errors_of_any_size = st.sampled_from([1, 20]).flatmap(
    lambda n: st.lists(st.floats(0, 2, width=32), min_size=n, max_size=n)
)


@settings(deadline=None, max_examples=20)
@given(errors_of_any_size, st.floats(0.01, 1))
def test_auc_is_the_limit_of_the_trapezoid_rule(errors, cut):
    e = np.array(errors)
    grid = np.linspace(0, cut, 20001)
    curve = (e[:, None] <= grid).mean(axis=0)
    with jax.enable_x64(True):
        fine = sklearn.metrics.auc(grid, curve) / cut
        assert metrics.auc(jnp.array(e), cut) == pytest.approx(fine, abs=1e-4)
        assert metrics.cdf(jnp.array(e), jnp.array(grid)) == pytest.approx(curve)
        failed = metrics.failure_rate(jnp.array(e), cut)
        assert failed == pytest.approx(1 - curve[-1])


def read(folder):
    """Reads all points in a folder: [N, 68, 2]."""
    texts = [path.read_text() for path in sorted(folder.glob("*.pts"))]
    bodies = [text.partition("{")[2].partition("}")[0] for text in texts]
    return np.array([body.split() for body in bodies], float).reshape(-1, 68, 2)


def tight(points):
    """Returns corners and sizes of the tight boxes, whole numbers: [N, 1, 2] each."""
    low = np.floor(points.min(axis=1, keepdims=True))
    return low, np.floor(points.max(axis=1, keepdims=True)) - low


def test_the_mean_shape_of_helen_scores_as_in_the_paper(real_data, x64):
    folder = real_data / "300w" / "helen"
    train, test = read(folder / "trainset"), read(folder / "testset")
    assert (len(train), len(test)) == (870, 330)
    low, size = tight(train)
    mean = ((train - low) / size - 0.5).mean(axis=0)
    low, size = tight(test)
    predicted = (mean + 0.5) * size + low
    report = metrics.landmark_metrics(predicted, test, IBUG_68)
    assert 100 * report["auc_0.5"] == pytest.approx(64.5, abs=0.2)
    assert 100 * report["cdf_0.1"] == pytest.approx(23.0, abs=0.5)
    errors = metrics.nme(predicted, test, metrics.inter_ocular(test, IBUG_68))
    # The paper's thresholds leave out the last of 500 intervals.
    lost = 100 * (metrics.auc(errors, 0.5) - report["auc_0.5"])
    assert lost == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("shape", ["line", "spot"])
def test_a_face_on_a_line_or_spot_is_left_out(shape):
    predicted, truth, _ = shapes(n=5)
    assert metrics.all_usable(truth, IBUG_68)
    expected = metrics.landmark_metrics(predicted[1:], truth[1:], IBUG_68)
    truth[0] = [7.0, 9.0]
    if shape == "line":
        truth[0, :, 1] = np.arange(68)
    assert not metrics.all_usable(truth, IBUG_68)
    frame = np.tile([-0.5, -0.5, 1.0, 1.0], (5, 1))  # Coordinates are pixels.
    flat = {
        k: v.swapaxes(1, 2).reshape(5, -1) for k, v in (("p", predicted), ("t", truth))
    }
    dataset = SimpleNamespace(
        test=SimpleNamespace(y=flat["t"]),
        faces=SimpleNamespace(points=truth, frame=frame),
        scheme=IBUG_68,
    )
    scores = scoring.score(dataset, flat["p"])
    json.dumps(scores, allow_nan=False)
    assert scores["left_out_box_size"] == 1
    assert scores["nme_box_size"] == pytest.approx(float(expected["nme_box_size"]))

"""Errors and confidence of stub models on small datasets."""

import jax.numpy as jnp
import numpy as np
import pytest

from l3spot.localize.model import FEATURE_COUNT
from l3spot.training import config as configs
from l3spot.training import scoring, vertebrae
from l3spot.training.dataset import ProjectionDataset
from mtl import own_metrics
from mtl.host.errors import ConfigError
from tests.l3spot.stub_model import stub_model

HEIGHTS_MM = np.array([400.0, 400.0, 301.0, 400.0], np.float32)


def scans(l3_mm):
    """Returns scans of bone above air, so that the images show their height."""
    hu = np.full((len(l3_mm), 250, 200), -1024, np.int16)
    for picture, height in zip(hu, HEIGHTS_MM, strict=False):
        picture[: int(height) // 2] = 800
    heights = HEIGHTS_MM[: len(l3_mm)]
    return ProjectionDataset(
        hu, heights, np.array(l3_mm, np.float32), np.arange(len(l3_mm))
    )


def test_l3_is_in_view_from_the_first_row_to_the_last():
    true_mm = scoring.true_rows(scans([0.0, 400.0, 301.5, -0.5]))
    np.testing.assert_array_equal(true_mm, [0, 400, np.nan, np.nan])
    assert np.isnan(scoring.true_rows(scans([np.nan]))).all()


def test_estimates_within_10_mm_are_right_and_errors_cover_scans_with_l3():
    given = scans([200.0, 200.0, 150.0, -80.0])
    errors, features, right = scoring.errors_and_features(
        stub_model([209.5, 189.5, 150.0, 20.0]), given
    )
    assert right.tolist() == [True, False, True, False]
    assert errors["scans"] == 3
    assert errors["mean_mm"] == pytest.approx((9.5 + 10.5 + 0) / 3)
    assert features.shape == (4, FEATURE_COUNT)
    assert "false_alarms" not in errors


OWN = f"{__name__}:bias"


def bias(predicted_mm, true_mm):
    return jnp.mean(predicted_mm - true_mm)


def rows(predicted_mm, true_mm):
    return predicted_mm


def test_own_metrics_get_the_scans_with_l3_in_mm():
    given = scans([200.0, 200.0, 150.0, -80.0])
    own = scoring.load_metrics((OWN,))
    predicted = stub_model([209.5, 189.5, 154.0, 20.0])
    errors, *_ = scoring.errors_and_features(predicted, given, own)
    assert errors["bias"] == pytest.approx((9.5 - 10.5 + 4) / 3, abs=1e-5)
    assert errors["mean_mm"] == pytest.approx(8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"monitor": "valid/within_10_m"}, "did you mean valid/within_10_mm?"),
        (
            {"metrics": (f"{__name__}:bias",), "monitor": "valid/bias"},
            "one of min, max",
        ),
        ({"metrics": (f"{__name__}:mean_mm",)}, "no attribute 'mean_mm'"),
        (
            {"metrics": ("l3spot.report.metrics:errors",) * 2},
            "functions of other names",
        ),
        ({"metrics": "kappa:kappa"}, "must be like its default"),
    ],
)
def test_a_monitor_that_is_not_there_is_refused(changes, message):
    c = configs.default()
    with c.ignore_type():
        c.update(changes)
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        configs.check(c)


def test_an_own_metric_that_is_no_number_is_refused():
    c = configs.default()
    c.metrics = (f"{__name__}:rows",)
    with pytest.raises(ConfigError, match=r"rows must .* it returns the shape \(7,\)"):
        configs.check(c)


def test_the_best_epoch_of_a_share_is_the_highest():
    c = configs.default()
    assert own_metrics.mode(c, scoring.MODES) == "min"
    c.monitor = "valid/within_10_mm"
    assert own_metrics.mode(c, scoring.MODES) == "max"


def test_the_config_of_the_vertebrae_is_that_of_another_launcher():
    with pytest.raises(ConfigError, match=r"trained by l3spot\.main alone"):
        configs.check(vertebrae.default())


def test_the_image_ends_with_the_scan():
    shown = []
    scoring.errors_and_features(
        stub_model([200.0] * 4, images=shown), scans([200.0] * 4)
    )
    assert [len(x) for x in shown] == [200, 200, 150, 200]
    assert all((x[:, 80:96] > 0.79).all() for x in shown)


def test_low_confidence_counts_as_not_in_view():
    given = scans([200.0, 200.0, 150.0, -80.0])
    rows, confidence = scoring.predict(stub_model([201.0, 230, 150, 20], 0.7), given)
    assert rows == pytest.approx([201, 230, 150, 20])
    assert confidence.tolist() == [0.7] * 4
    confidence_given = np.array([0.5, 0.49, 0.9, 0.9])
    errors = scoring.confident_errors(rows, confidence_given, given)
    assert (errors["scans"], errors["compared"]) == (4, 2)
    assert errors["mean_mm"] == pytest.approx(0.5)
    assert errors["missed"] == pytest.approx(1 / 3)
    assert errors["false_alarms"] == 1


@pytest.mark.parametrize(("right", "confidence"), [(True, 0.9933), (False, 0.0067)])
def test_confidence_is_constant_if_all_or_none_are_right(right, confidence):
    fitted = scoring.calibrate(np.ones((6, FEATURE_COUNT)), np.full(6, right))
    for features in (np.zeros(FEATURE_COUNT), np.ones(FEATURE_COUNT)):
        assert fitted(features) == pytest.approx(confidence, abs=1e-4)


def test_confidence_follows_the_share_of_right_estimates():
    """Of 100 with a high peak 90 are right, of 100 with a low one 10."""
    features = np.zeros((200, FEATURE_COUNT))
    features[:100, 0] = 1
    right = np.zeros(200, bool)
    right[:90] = right[100:110] = True
    fitted = scoring.calibrate(features, right)
    assert fitted(features[0]) == pytest.approx(0.9, abs=0.02)
    assert fitted(features[-1]) == pytest.approx(0.1, abs=0.02)

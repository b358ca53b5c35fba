"""Measures the predictions of a run, on faces or on arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mtl import own_metrics
from mtl.own_metrics import Mode, Named
from structured.data import Dataset
from structured.faces import crops, metrics

MODES: dict[str, Mode] = {"mse": "min"}  # Metrics that can be `config.monitor`.
NAMES = (
    *("mse", "nrmse", "missing_points"),
    *(
        f"{kind}_{normaliser}"
        for kind in ("nme", "left_out")
        for normaliser in (*metrics.BOX_NORMALISERS, "inter_ocular", "inter_pupil")
    ),
)


def choose_mse(truth: np.ndarray) -> Callable[[Any, Any], jax.Array]:
    """Returns `metrics.mse`, or the one for a truth [N, D] that lacks some values."""
    return metrics.partial_mse if np.isnan(truth).any() else metrics.mse


def choose_metrics(own: Sequence[str], truth: np.ndarray) -> Named:
    """Returns the MSE for a truth [N, D], and the functions of `config.metrics`.

    Each is `(predicted [N, D], truth [N, D]) -> number`.

    Raises:
      ConfigError: one cannot be imported, or returns no number.
    """
    named = own_metrics.load(own, NAMES)
    like = jax.ShapeDtypeStruct((7, truth.shape[1]), jnp.float32)
    own_metrics.check_shapes(named, like, like)
    return (("mse", choose_mse(truth)), *named)


def score(
    dataset: Dataset, predicted: np.ndarray, own: Sequence[str] = ()
) -> dict[str, float]:
    """Returns the metrics of predictions [N, D] for the test set.

    They are those of `faces.metrics`, and the functions of `config.metrics`, `own`.
    """
    test, faces = dataset.test, dataset.faces
    functions = choose_metrics(own, test.y)
    scores: dict[str, Any] = {k: f(predicted, test.y) for k, f in functions}
    if faces is not None:
        complete = metrics.all_usable(faces.points, dataset.scheme)
        measure = (
            metrics.landmark_metrics if complete else metrics.partial_landmark_metrics
        )
        points = crops.from_frame(predicted, faces.frame)
        scores |= measure(points, faces.points, dataset.scheme)
    return {name: float(value) for name, value in scores.items()}


def example_errors(dataset: Dataset, predicted: np.ndarray) -> np.ndarray:
    """Returns the error of each test example [N]: NRMSE, or the root of its MSE.

    Faces have the NRMSE. It is normalised by the distance of the eyes, or by the size
    of the points' box if the scheme has no eyes (`metrics.main_normaliser`).
    """
    if dataset.faces is None:
        errors = np.square(predicted - dataset.test.y)
        return np.sqrt(np.mean(errors, axis=1, where=~np.isnan(dataset.test.y)))
    truth, frame = dataset.faces.points, dataset.faces.frame
    points = crops.from_frame(predicted, frame)
    missing = bool(np.isnan(truth).any())
    return np.asarray(metrics.nme(points, truth, face_normaliser(dataset), missing))


def face_normaliser(dataset: Dataset) -> np.ndarray:
    """Returns the divisors of the errors of the test faces, [N], in pixels.

    Those that are not `metrics.usable` belong to faces that lack an eye, or have all
    points on a line or a spot.
    """
    assert dataset.faces is not None
    _, function = metrics.main_normaliser(dataset.scheme)
    return np.asarray(function(dataset.faces.points))

"""Measures the errors of predicted landmarks.

Points are in pixels of the original image. The metrics by eyes need the iBUG layout of
68 points. An error that is NaN, from a network that diverged, counts as a failure at
every threshold.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from structured.faces.points import LEFT_CORNER, LEFT_EYE, RIGHT_CORNER, RIGHT_EYE

Array = jax.Array | np.ndarray
Points = Float[Array, "faces points 2"]
PerFace = Float[Array, " faces"]
Scalar = Float[jax.Array, ""]

# The paper's thresholds: below 0.5.
PAPER_THRESHOLDS = np.arange(0, 0.5, 0.001)


def mse(
    predicted: Float[Array, "#faces coordinates"],
    truth: Float[Array, "faces coordinates"],
) -> Scalar:
    """Returns the squared error, mean over faces and coordinates.

    Args:
      predicted: in box units.
      truth: in box units.

    Returns:
      Squared box units.
    """
    return jnp.mean((predicted - truth) ** 2)


def inter_ocular(truth: Float[Array, "faces 68 2"]) -> PerFace:
    """Returns the distance between the outer corners of the eyes."""
    return jnp.linalg.norm(truth[:, LEFT_CORNER] - truth[:, RIGHT_CORNER], axis=-1)


def inter_pupil(truth: Float[Array, "faces 68 2"]) -> PerFace:
    """Returns the distance between the eyes' mean points."""
    left, right = (truth[:, eye].mean(axis=1) for eye in (LEFT_EYE, RIGHT_EYE))
    return jnp.linalg.norm(left - right, axis=-1)


def box_diagonal(truth: Points) -> PerFace:
    """Returns the diagonal of the points' tight boxes."""
    return jnp.linalg.norm(jnp.ptp(truth, axis=1), axis=-1)


def box_size(truth: Points) -> PerFace:
    """Returns the tight boxes' geometric mean of sides."""
    return jnp.sqrt(jnp.ptp(truth, axis=1).prod(axis=-1))


# Functions of the true points that give an error's divisor.
EYE_NORMALISERS = {"inter_ocular": inter_ocular, "inter_pupil": inter_pupil}
BOX_NORMALISERS = {"box_diagonal": box_diagonal, "box_size": box_size}


def nme(predicted: Points, truth: Points, normaliser: PerFace) -> PerFace:
    """Returns normalised mean errors of faces; by `inter_ocular`, the paper's NRMSE.

    Args:
      predicted: in pixels.
      truth: in pixels.
      normaliser: in pixels.

    Returns:
      The mean distance of the points to the truth, divided by the normaliser.
    """
    return jnp.linalg.norm(predicted - truth, axis=-1).mean(axis=1) / normaliser


def cdf(
    errors: PerFace, thresholds: Float[Array, " thresholds"]
) -> Float[jax.Array, " thresholds"]:
    """Returns the share of errors up to each threshold, 0 to 1."""
    # Sorting puts NaN last, above every threshold.
    below = jnp.searchsorted(jnp.sort(errors), thresholds, side="right")
    return below.astype(errors.dtype) / len(errors)


def auc_paper(errors: PerFace) -> Scalar:
    """Returns the paper's area under the CDF of the NRMSE, 0 to 1.

    The trapezoid rule runs over thresholds from 0 to 0.499, 0.001 apart, and the area
    is divided by 0.5. The interval up to 0.5 is missing, which costs up to 0.2 points
    of 100: perfect predictions get 0.998. The mean shape of HELEN gets the 64.6 of the
    paper; `auc` gives 64.8.
    """
    shares = cdf(errors, jnp.asarray(PAPER_THRESHOLDS, errors.dtype))
    return jnp.trapezoid(shares, dx=0.001) / 0.5


def auc(errors: PerFace, threshold: float) -> Scalar:
    """Returns the exact area under the CDF of errors up to a threshold, 0 to 1."""
    # The CDF of one face is 0 below its error and 1 from there on.
    return jnp.mean(jnp.where(errors <= threshold, 1 - errors / threshold, 0))


def failure_rate(errors: PerFace, threshold: float) -> Scalar:
    """Returns the share of errors above a threshold."""
    return jnp.mean(~(errors <= threshold), dtype=errors.dtype)


def landmark_metrics(predicted: Points, truth: Points) -> dict[str, Scalar]:
    """Returns all metrics of landmarks, as fractions (not percent).

    Args:
      predicted: in pixels.
      truth: in pixels.

    Returns:
      Scalars by name: the paper's `nrmse`, `cdf_0.1` and `auc_0.5`, and today's
      `nme_NORMALISER`, `auc_THRESHOLD_NORMALISER`, `fr_THRESHOLD_NORMALISER`. Without
      68 points the eyes are unknown, and only the NME by the box is there.
    """
    result = {}
    for name, normaliser in BOX_NORMALISERS.items():
        result[f"nme_{name}"] = nme(predicted, truth, normaliser(truth)).mean()
    if truth.shape[1] != 68:
        return result
    by_eyes = {k: nme(predicted, truth, f(truth)) for k, f in EYE_NORMALISERS.items()}
    for name, errors in by_eyes.items():
        result[f"nme_{name}"] = errors.mean()
        for threshold in (0.08, 0.10):
            result[f"auc_{threshold:.2f}_{name}"] = auc(errors, threshold)
            result[f"fr_{threshold:.2f}_{name}"] = failure_rate(errors, threshold)
    nrmse = by_eyes["inter_ocular"]
    result["nrmse"] = result["nme_inter_ocular"]
    result["cdf_0.1"] = cdf(nrmse, jnp.array([0.1], nrmse.dtype))[0]
    result["auc_0.5"] = auc_paper(nrmse)
    return result

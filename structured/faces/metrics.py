"""Measures the errors of predicted landmarks.

Points are in pixels of the original image. The metrics by eyes need a scheme with eyes.
An error that is NaN, from a network that diverged, counts as a failure at every
threshold. A true point that is NaN is missing, and counts nowhere.
"""

from collections.abc import Callable, Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from structured.faces.schemes import Scheme

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


def partial_mse(
    predicted: Float[Array, "#faces coordinates"],
    truth: Float[Array, "faces coordinates"],
) -> Scalar:
    """Returns `mse` over the coordinates that are not NaN in the truth."""
    known = ~jnp.isnan(truth)
    errors = jnp.where(known, (predicted - truth) ** 2, 0)
    return errors.sum() / known.sum()


def inter_ocular(truth: Points, scheme: Scheme) -> PerFace:
    """Returns the distance between the outer corners of the eyes."""
    left, right = scheme.eye_corners
    return jnp.linalg.norm(truth[:, left] - truth[:, right], axis=-1)


def inter_pupil(truth: Points, scheme: Scheme) -> PerFace:
    """Returns the distance between the eyes' mean points; NaN if one is missing."""
    left, right = (truth[:, list(eye)].mean(axis=1) for eye in scheme.eyes)
    return jnp.linalg.norm(left - right, axis=-1)


def box_diagonal(truth: Points) -> PerFace:
    """Returns the diagonal of the points' tight boxes."""
    return jnp.linalg.norm(_sides(truth), axis=-1)


def box_size(truth: Points) -> PerFace:
    """Returns the tight boxes' geometric mean of sides."""
    return jnp.sqrt(_sides(truth).prod(axis=-1))


def _sides(truth: Points) -> Float[jax.Array, "faces 2"]:
    """The widths and heights of the tight boxes of the points that are not missing."""
    return jnp.nanmax(truth, axis=1) - jnp.nanmin(truth, axis=1)


BOX_NORMALISERS = {"box_diagonal": box_diagonal, "box_size": box_size}


def normalisers(scheme: Scheme) -> dict[str, Callable[[Points], PerFace]]:
    """Returns functions of the true points that give an error's divisor, by name.

    Those of the box are always there, those of the eyes if the scheme has them.
    """
    result: dict[str, Callable[[Points], PerFace]] = dict(BOX_NORMALISERS)
    if scheme.eye_corners:
        result["inter_ocular"] = partial(inter_ocular, scheme=scheme)
    if scheme.eyes:
        result["inter_pupil"] = partial(inter_pupil, scheme=scheme)
    return result


def main_normaliser(scheme: Scheme) -> tuple[str, Callable[[Points], PerFace]]:
    """Returns the normaliser of the paper, or the nearest one, with its name."""
    functions = normalisers(scheme)
    order = ("inter_ocular", "inter_pupil", "box_size")
    return next((name, functions[name]) for name in order if name in functions)


def nme(
    predicted: Points, truth: Points, normaliser: PerFace, missing: bool = False
) -> PerFace:
    """Returns normalised mean errors of faces; by `inter_ocular`, the paper's NRMSE.

    Args:
      predicted: in pixels.
      truth: in pixels.
      normaliser: in pixels.
      missing: whether true points may be missing.

    Returns:
      The mean distance of the points to the truth, divided by the normaliser. Missing
      points are left out of the mean.
    """
    distance = jnp.linalg.norm(predicted - truth, axis=-1)
    if not missing:
        return distance.mean(axis=1) / normaliser
    known = ~jnp.isnan(truth).any(axis=-1)
    total = jnp.where(known, distance, 0).sum(axis=1)
    return total / known.sum(axis=1) / normaliser


def cdf(
    errors: PerFace, thresholds: Float[Array, " thresholds"]
) -> Float[jax.Array, " thresholds"]:
    """Returns the share of errors up to each threshold, 0 to 1.

    Examples:
        >>> cdf(jnp.array([0.1, 0.3, 0.2, jnp.nan]), jnp.array([0.15, 0.5])).tolist()
        [0.25, 0.75]
    """
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
    """Returns the exact area under the CDF of errors up to a threshold, 0 to 1.

    Examples:
        >>> float(auc(jnp.array([0.0, 0.25, 0.75]), threshold=0.5))
        0.5
    """
    # The CDF of one face is 0 below its error and 1 from there on.
    return jnp.mean(jnp.where(errors <= threshold, 1 - errors / threshold, 0))


def failure_rate(errors: PerFace, threshold: float) -> Scalar:
    """Returns the share of errors above a threshold.

    Examples:
        >>> float(failure_rate(jnp.array([0.01, 0.3, jnp.nan, 0.05]), threshold=0.1))
        0.5
    """
    return jnp.mean(~(errors <= threshold), dtype=errors.dtype)


def landmark_metrics(
    predicted: Points, truth: Points, scheme: Scheme
) -> dict[str, Scalar]:
    """Returns all metrics of landmarks, as fractions (not percent).

    Args:
      predicted: in pixels.
      truth: in pixels; no point is missing, and all normalisers are `usable`.
      scheme: of the points.

    Returns:
      Scalars by name: the paper's `nrmse`, `cdf_0.1` and `auc_0.5`, and today's
      `nme_NORMALISER`, `auc_THRESHOLD_NORMALISER`, `fr_THRESHOLD_NORMALISER`. The
      paper's need the corners of the eyes, the other areas and failures the eyes.
    """
    functions = normalisers(scheme).items()
    return _summary({k: nme(predicted, truth, f(truth)) for k, f in functions})


def partial_landmark_metrics(
    predicted: Points, truth: Points, scheme: Scheme
) -> dict[str, Scalar | int]:
    """Returns `landmark_metrics` of any faces; true points may be missing, NaN.

    The errors of a face are the mean over its other points. A face without a normaliser
    (with an eye that is missing, or all points on a line or a spot) is left out of its
    metrics; a metric without any face is absent.

    Returns:
      The metrics; `missing_points`, the number of missing points; and
      `left_out_NORMALISER`, the number of faces that are left out.
    """
    errors, left_out = {}, {}
    for name, function in normalisers(scheme).items():
        divisor = np.asarray(function(truth))
        kept = usable(divisor)
        left_out[f"left_out_{name}"] = int((~kept).sum())
        if kept.any():
            faces = predicted[kept], truth[kept], divisor[kept]
            errors[name] = nme(*faces, missing=True)
    missing = int(np.isnan(truth).any(axis=-1).sum())
    return {**_summary(errors), "missing_points": missing, **left_out}


def usable(normaliser: np.ndarray) -> np.ndarray:
    """Returns which normalisers [N] are finite and above 0, bool [N]."""
    return np.isfinite(normaliser) & (np.asarray(normaliser) > 0)


def all_usable(truth: Points, scheme: Scheme) -> bool:
    """Returns whether no point is missing, and each face has all normalisers."""
    functions = normalisers(scheme).values()
    known = not np.isnan(truth).any()
    return known and all(usable(np.asarray(f(truth))).all() for f in functions)


def _summary(errors: Mapping[str, PerFace]) -> dict[str, Scalar]:
    """The metrics of errors by the name of their normaliser."""
    result = {}
    for name, values in errors.items():
        result[f"nme_{name}"] = values.mean()
        for threshold in () if name in BOX_NORMALISERS else (0.08, 0.10):
            result[f"auc_{threshold:.2f}_{name}"] = auc(values, threshold)
            result[f"fr_{threshold:.2f}_{name}"] = failure_rate(values, threshold)
    if "inter_ocular" in errors:
        nrmse = errors["inter_ocular"]
        result["nrmse"] = result["nme_inter_ocular"]
        result["cdf_0.1"] = cdf(nrmse, jnp.array([0.1], nrmse.dtype))[0]
        result["auc_0.5"] = auc_paper(nrmse)
    return result

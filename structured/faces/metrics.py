"""How far predicted landmarks are from the truth.

Points are in pixels of the original image. Those of a face come in the iBUG layout of
68 points. An error that is NaN (a network that diverged) counts as a failure at every
cut.
"""

import jax
import jax.numpy as jnp
import numpy as np

from structured.faces.points import LEFT_CORNER, LEFT_EYE, RIGHT_CORNER, RIGHT_EYE

Array = jax.Array | np.ndarray

# The papers' thresholds: up to 0.5, the end left out.
PAPER_CUTS = np.arange(0, 0.5, 0.001)


def mse(predicted: Array, truth: Array, valid: Array | None = None) -> jax.Array:
    """The squared error, mean over faces and coordinates.

    Args:
      predicted: [N, D], box units.
      truth: [N, D], likewise.
      valid: bool [N], the rows that count; all of them if left out. If none counts,
        the result is NaN.

    Returns:
      [], squared box units.
    """
    error = predicted - truth
    if valid is None:
        return jnp.mean(error**2)
    # Zeroed before the square, or a NaN in a row left out would reach the gradient.
    error = jnp.where(valid[:, None], error, 0)
    return jnp.sum(error**2) / (jnp.sum(valid) * error.shape[1])


def inter_ocular(truth: Array) -> jax.Array:
    """Distance between the outer corners of the eyes: [N, 68, 2] -> [N]."""
    return jnp.linalg.norm(truth[:, LEFT_CORNER] - truth[:, RIGHT_CORNER], axis=-1)


def inter_pupil(truth: Array) -> jax.Array:
    """Distance between the means of each eye's six points: [N, 68, 2] -> [N]."""
    left, right = (truth[:, eye].mean(axis=1) for eye in (LEFT_EYE, RIGHT_EYE))
    return jnp.linalg.norm(left - right, axis=-1)


def box_diagonal(truth: Array) -> jax.Array:
    """Diagonal of the points' tight boxes: [N, P, 2] -> [N]."""
    return jnp.linalg.norm(jnp.ptp(truth, axis=1), axis=-1)


def box_size(truth: Array) -> jax.Array:
    """Geometric mean of the sides of the points' tight boxes: [N, P, 2] -> [N]."""
    return jnp.sqrt(jnp.ptp(truth, axis=1).prod(axis=-1))


# What an error may be divided by, functions of the true points; crops do not matter.
EYE_NORMALISERS = {"inter_ocular": inter_ocular, "inter_pupil": inter_pupil}
BOX_NORMALISERS = {"box_diagonal": box_diagonal, "box_size": box_size}


def nme(predicted: Array, truth: Array, normaliser: Array) -> jax.Array:
    """Normalised mean error of each face; with `inter_ocular`, the paper's NRMSE.

    Args:
      predicted: [N, P, 2], pixels.
      truth: [N, P, 2], pixels.
      normaliser: [N], pixels.

    Returns:
      [N], the mean over the points of the distance to the truth, over the normaliser.
    """
    return jnp.linalg.norm(predicted - truth, axis=-1).mean(axis=1) / normaliser


def cdf(errors: Array, cuts: Array) -> jax.Array:
    """Share of the errors [N] that are at most each of the cuts [K]: [K], 0 to 1."""
    # Sorting puts NaN last, after every cut.
    below = jnp.searchsorted(jnp.sort(errors), cuts, side="right")
    return below.astype(errors.dtype) / len(errors)


def auc_paper(errors: Array) -> jax.Array:
    """The paper's area under the CDF of the NRMSE [N], 0 to 1.

    By the trapezoid rule on thresholds from 0 in steps of 0.001, over 0.5. The last of
    them is 0.499, for the end of the grid is not included: so the last step is missing,
    which costs up to 0.2 points (of 100). Even perfect predictions get 0.998. On the
    mean shape of HELEN this gives the 64.6 of the paper, where `auc` gives 64.8.
    """
    shares = cdf(errors, jnp.asarray(PAPER_CUTS, errors.dtype))
    return jnp.trapezoid(shares, dx=0.001) / 0.5


def auc(errors: Array, cut: float) -> jax.Array:
    """The exact area under the CDF of the errors [N] up to a cut, over the cut."""
    # The CDF of one face is a step: it covers the share of the cut after the error.
    return jnp.mean(jnp.where(errors <= cut, 1 - errors / cut, 0))


def failure_rate(errors: Array, cut: float) -> jax.Array:
    """Share of the errors [N] above a cut."""
    return jnp.mean(~(errors <= cut), dtype=errors.dtype)


def landmark_report(predicted: Array, truth: Array) -> dict[str, jax.Array]:
    """All the figures about landmarks, as fractions (not percent).

    Args:
      predicted: [N, P, 2], pixels.
      truth: [N, P, 2], pixels.

    Returns:
      Scalars by name: the paper's `nrmse`, `cdf_0.1` and `auc_0.5`, and today's
      `nme_NORMALISER`, `auc_CUT_NORMALISER`, `fr_CUT_NORMALISER`. Where the points are
      not 68, nobody knows which are the eyes, and only the NME by the box is there.
    """
    report = {}
    for name, size in BOX_NORMALISERS.items():
        report[f"nme_{name}"] = nme(predicted, truth, size(truth)).mean()
    if truth.shape[1] != 68:
        return report
    by_eyes = {k: nme(predicted, truth, f(truth)) for k, f in EYE_NORMALISERS.items()}
    for name, errors in by_eyes.items():
        report[f"nme_{name}"] = errors.mean()
        for cut in (0.08, 0.10):
            report[f"auc_{cut:.2f}_{name}"] = auc(errors, cut)
            report[f"fr_{cut:.2f}_{name}"] = failure_rate(errors, cut)
    nrmse = by_eyes["inter_ocular"]
    report["nrmse"] = report["nme_inter_ocular"]
    report["cdf_0.1"] = cdf(nrmse, jnp.array([0.1], nrmse.dtype))[0]
    report["auc_0.5"] = auc_paper(nrmse)
    return report

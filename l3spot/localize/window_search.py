"""Finds L3 in an image with a sliding window.

The network estimates for each window the offset of L3 from the window's centre, in mm.
From window to window, downwards across L3, the offset falls with slope -1 through zero.
L3 is where the window offsets correlate best with such a ramp (paper, section 3.3). The
windows near the peak then vote on the exact row. Training clips offsets to a and -a
(`MAX_OFFSET_MM`). Offsets are therefore constant far above and far below L3, where the
zero-mean ramp gives no correlation.
"""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Float32, Float64

from l3spot.localize.network import Network
from l3spot.localize.preprocess import HEIGHT_PX, MM_PER_PX
from mtl.engine.task import Params

MAX_OFFSET_MM = 50.0  # a in the paper.
STRIDE_PX = 2  # From one window to the next.
MAX_STRIDE_PX = 8  # With a larger stride, too few windows vote.
BORDER_PX = int(MAX_OFFSET_MM / MM_PER_PX)  # Window centres may lie so far outside.
HEIGHT_MULTIPLE_PX = 128  # Padded heights are rounded up, to compile fewer programs.


class WindowOffsets(NamedTuple):
    """The network's estimates for all windows of an image.

    Attributes:
      row_mm: the windows' centres below the top, evenly spaced.
      offset_mm: L3 below each centre.
    """

    row_mm: Float64[np.ndarray, " windows"]
    offset_mm: Float64[np.ndarray, " windows"]


class L3Estimate(NamedTuple):
    """The most likely row of L3, and how far it can be trusted.

    Attributes:
      row_mm: L3 below the top of the projection.
      confidence_features: see `confidence_features`.
      correlation: at the windows' centres; 1 for a perfect ramp.
    """

    row_mm: float
    confidence_features: Float64[np.ndarray, "5"]
    correlation: Float64[np.ndarray, " windows"]


def strides(network: Network) -> tuple[int, ...]:
    """Returns the window strides in pixels that a network supports."""
    b = network.backbone
    smallest = b.min_output_stride
    return tuple(s for s in range(smallest, MAX_STRIDE_PX + 1) if b.stride % s == 0)


def window_offsets(
    network: Network,
    params: Params,
    x: Float[np.ndarray, "rows width"],
    stride_px: int = STRIDE_PX,
    mirror: bool = False,
) -> WindowOffsets:
    """Estimates the offset of L3 for all windows of an image.

    Window centres run from `MAX_OFFSET_MM` above the image to `MAX_OFFSET_MM` below it.
    Pixels outside the image are black. One pass of the trunk serves all windows.

    Args:
      network: of the parameters.
      params: see `network`.
      x: in [0, 1]; the width is WIDTH_PX.
      stride_px: between windows, one of `strides`.
      mirror: average the estimates for the image and for its mirror image.
    """
    padded = pad_image(network, x)
    views = (padded, padded[:, ::-1]) if mirror else (padded,)
    phases = [np.asarray(_outputs(network, params, v, stride_px)) for v in views]
    return from_phases(np.mean(phases, 0), len(x), stride_px)


_outputs = partial(jax.jit, static_argnums=(0, 3))(Network.outputs_by_phase)


def pad_image(
    network: Network, x: Float[np.ndarray, "rows width"]
) -> Float32[np.ndarray, "padded_rows width"]:
    """Pads an image for all its windows."""
    count = -(-(len(x) + 2 * BORDER_PX) // network.stride) + 1
    multiple = HEIGHT_MULTIPLE_PX // network.stride
    count = -(-count // multiple) * multiple
    # One more stride makes up for the rows that split pools lose.
    rows = HEIGHT_PX + network.stride * (count + 1)
    padded = np.zeros((rows, x.shape[1]), np.float32)
    above = HEIGHT_PX // 2 + BORDER_PX
    padded[above : above + len(x)] = x
    return padded


def from_phases(
    phases: Float[np.ndarray, "phases windows"], height_px: int, stride_px: int
) -> WindowOffsets:
    """Orders network outputs by row, and converts them to mm.

    Args:
      phases: outputs for a padded image, in units of `MAX_OFFSET_MM`.
      height_px: rows of the image without its padding.
      stride_px: between windows.
    """
    row_mm = MM_PER_PX * (stride_px * np.arange(phases.size) - BORDER_PX).astype(float)
    kept = row_mm <= MM_PER_PX * height_px + MAX_OFFSET_MM
    offset_mm = MAX_OFFSET_MM * phases.T.ravel()[kept].astype(float)
    return WindowOffsets(row_mm[kept], offset_mm)


def correlate(
    offsets: WindowOffsets, max_offset_mm: float = MAX_OFFSET_MM
) -> Float64[np.ndarray, " windows"]:
    """Returns the correlation of window offsets with the ramp, 1 if perfect.

    It is their dot product over the length of the ramp, divided by that of the ramp
    with itself. The offsets are extended with their first and last values.
    """
    spacing_mm = offsets.row_mm[1] - offsets.row_mm[0]
    half = int(max_offset_mm / spacing_mm)
    ramp = -spacing_mm * np.arange(-half, half + 1)
    padded = np.pad(offsets.offset_mm, half, mode="edge")
    return np.correlate(padded, ramp, "valid") / (ramp @ ramp)


def locate(offsets: WindowOffsets, height_mm: float) -> L3Estimate:
    """Estimates the row of L3 within an image of the given height."""
    correlation = correlate(offsets)
    inside = (offsets.row_mm >= 0) & (offsets.row_mm <= height_mm)
    peak = int(np.where(inside, correlation, -np.inf).argmax())
    row_mm = float(np.clip(_vote(offsets, offsets.row_mm[peak]), 0, height_mm))
    features = confidence_features(offsets, correlation, peak, row_mm)
    return L3Estimate(row_mm, features, correlation)


def _vote(offsets: WindowOffsets, row_mm: float) -> float:
    """Returns the trimmed mean of the rows that nearby windows estimate.

    A shifted ramp still correlates well, so the correlation has a flat peak, and noise
    shifts it by more than 3 mm. The peak therefore only selects the nearby windows,
    and the middle half of their estimates is averaged. The result is clipped to the
    range of the windows, so that there are nearby windows in the second round.
    """
    for _ in range(2):
        near = np.abs(offsets.row_mm - row_mm) <= MAX_OFFSET_MM / 2
        votes = (offsets.row_mm + offsets.offset_mm)[near]
        mean = _middle_mean(votes)
        row_mm = float(np.clip(mean, offsets.row_mm[0], offsets.row_mm[-1]))
    return row_mm


def _middle_mean(values: np.ndarray) -> float:
    """Returns the mean of the middle half of numbers [N].

    As scipy.stats.trim_mean, which takes a third of a second to import.
    """
    cut = len(values) // 4
    end = len(values) - cut
    return float(np.partition(values, (cut, end - 1))[cut:end].mean())


def confidence_features(
    offsets: WindowOffsets,
    correlation: Float64[np.ndarray, " windows"],
    peak: int,
    row_mm: float,
) -> Float64[np.ndarray, "5"]:
    """Returns five numbers, each about 0 to 1, that predict whether L3 is at row_mm.

    They are the height of the peak; the highest correlation beyond 2 a; the
    mean difference between the offsets and ideal ones (constant, ramp, constant), over
    a; the standard deviation of the nearby windows' votes, over a; and the distance to
    the nearer end of the windows, over 2 a, at most 1. a is `MAX_OFFSET_MM`.
    """
    far = np.abs(offsets.row_mm - row_mm) > 2 * MAX_OFFSET_MM
    second = correlation[far].max() if far.any() else 0.0
    ideal_mm = np.clip(row_mm - offsets.row_mm, -MAX_OFFSET_MM, MAX_OFFSET_MM)
    misfit = np.abs(offsets.offset_mm - ideal_mm).mean() / MAX_OFFSET_MM
    near = np.abs(offsets.row_mm - row_mm) <= MAX_OFFSET_MM / 2
    spread = (offsets.row_mm + offsets.offset_mm)[near].std() / MAX_OFFSET_MM
    first_mm, last_mm = offsets.row_mm[0], offsets.row_mm[-1]
    end = min(row_mm - first_mm, last_mm - row_mm) / (2 * MAX_OFFSET_MM)
    return np.array([correlation[peak], second, misfit, spread, min(end, 1.0)])

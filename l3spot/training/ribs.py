"""Trains the network that looks for ribs and the sacrum, on frontal phantoms alone."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from scipy import ndimage
from tqdm import tqdm

from l3spot.phantom.draw import VARIED_PROPORTIONS
from l3spot.phantom.spine import T1
from l3spot.training import frontal_phantoms, one_network
from l3spot.training.frontal_phantoms import S1, DrawnFrontal
from l3spot.vertebrae import model, ribs
from mtl.engine.task import Params
from mtl.engine.training import Training

# Children too, thick slices, and scans that end near the last ribs or the pelvis.
RANGES = dataclasses.replace(
    VARIED_PROPORTIONS, size=(0.42, 1.14), slice_mm=(0.8, 8.0), noise_hu=(6.0, 50.0),
    contrast=0.8, length_mm=(120.0, 500.0), without_l3=0.05,
)  # fmt: skip
SIGN_NAMES = "a rib", "a rib above", "the sacrum"


class Halves(NamedTuple):
    """Crops of vertebrae.

    Attributes:
      grey: uint8 [N, SIZE, SIZE].
      signs: bool [N, SIGNS]: whether the vertebra has ribs, whether the one above it
        has ribs, and whether it is S1.
    """

    grey: np.ndarray
    signs: np.ndarray


def phantoms(seed: int, count: int, rare: float) -> Halves:
    """Draws the crops of phantoms.

    Args:
      seed: of the phantoms.
      count: of the phantoms; each gives up to 16 crops.
      rare: probability of 11 pairs of ribs, and of 13 pairs.
    """
    ranges = dataclasses.replace(RANGES, ribs_11=rare, ribs_13=rare)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    grey: list[np.ndarray] = []
    signs: list[list[bool]] = []
    for i in tqdm(range(count), unit="phantom", disable=None):
        drawn = frontal_phantoms.draw(jax.random.fold_in(key, i), ranges)
        for level, halves in _crops(drawn, rng):
            grey += [np.rint(255 * half).astype(np.uint8) for half in halves]
            ribs_end = T1 + int(drawn.rib_pairs)
            own = [level < ribs_end, level - 1 < ribs_end, level == S1]
            signs += [own] * len(halves)
    return Halves(np.stack(grey), np.array(signs))


def _crops(
    p: DrawnFrontal, rng: np.random.Generator
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields each level in view with its two crops."""
    brightest = ndimage.maximum_filter(np.asarray(p.frontal), 2)
    for level, row, column, pitch in frontal_phantoms.places(p, rng):
        crops = [ribs.crop(brightest, row, column, pitch, side) for side in (-1, 1)]
        yield level, crops


def make_training(config: ConfigDict, halves: Halves) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    # Both halves of a vertebra are in the same set.
    count = 2 * (len(halves.grey) // 2 * config.data.validation // config.data.count)
    return one_network.of_crops(config, "ribs", halves, count, loss, evaluate)


def loss(
    config: ConfigDict, params: Params, batch: dict[str, jax.Array], key: jax.Array
) -> jax.Array:
    """Returns the cross-entropy [B] of crops with a random contrast and noise."""
    gain, shift, noise = jax.random.split(key, 3)
    grey = batch["grey"] / 255.0
    each = (len(grey), 1, 1)
    r = config.ribs
    grey = grey * jax.random.uniform(gain, each, minval=1 - r.gain, maxval=1 + r.gain)
    grey += jax.random.uniform(shift, each, minval=-r.shift, maxval=r.shift)
    grey += r.noise * jax.random.normal(noise, grey.shape)
    logits = model.rib_logits(params["network"], jnp.clip(grey, 0, 1))
    return optax.sigmoid_binary_cross_entropy(logits, batch["signs"]).mean(1)


def evaluate(params: Params, halves: Halves) -> dict[str, float]:
    """Returns the cross-entropy, and the share of vertebrae that are judged wrong."""
    logits = np.asarray(model.rib_logits(params["network"], halves.grey / 255.0))
    entropy = optax.sigmoid_binary_cross_entropy(logits, halves.signs)
    pairs = logits.reshape(-1, 2, ribs.SIGNS).mean(1)
    wrong = ((pairs > 0) != halves.signs[::2]).mean(0)
    errors = zip(SIGN_NAMES, map(float, wrong), strict=True)
    return {
        "valid/loss": float(np.mean(entropy)),
        **{f"valid/error of {name}": error for name, error in errors},
    }

"""Trains the network that names vertebrae by their surroundings, on phantoms alone."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from tqdm import tqdm

from l3spot.training import frontal_phantoms, one_network, ribs
from l3spot.training.frontal_phantoms import LEVELS
from l3spot.vertebrae import model, surroundings
from l3spot.vertebrae.surroundings import COLUMNS, NAMES, ROWS
from mtl.engine.task import Params
from mtl.engine.training import Training

# People's proportions, which the network learns, and bones of any form and contrast to
# others: in people, hips and ribs are often brighter than in phantoms with one density,
# hips are thin inside their edges, and ribs descend from the spine on.
RANGES = dataclasses.replace(
    ribs.RANGES, sixth_lumbar=0.0, sacralised=0.04, ribs_11=0.0, ribs_13=0.0,
    crest_mm=(-20.0, 22.0), rib_drop=(0.5, 1.35), rib_start=(-0.2, 0.6),
    vertebra_height=(0.9, 1.1), pelvis_density=(0.8, 2.3), rib_density=(0.8, 1.6),
    transverse_radius=(0.3, 1.8), transverse_density=(0.25, 1.4), oral_contrast=0.4,
    steep_ribs=0.5, rib_radius=(0.78, 1.25), rib_hollow=(0.1, 0.5),
    fossa_density=(0.25, 1.0), sacrum_fading=(0.0, 1.4), girth=(0.9, 1.25),
)  # fmt: skip
SMOOTHING = 0.02  # Of the wanted names.
# Augmentation; rows and columns are shares of a crop's.
GAMMA = 0.5  # Grey values have a power of exp(-GAMMA) to exp(GAMMA).
BRIGHT_SPOTS, SPOT = 3, 0.4  # So many contrast agents at most, each so probable.
SPOT_PIXELS = 1.0, 7.0  # Half their extent.
CUT, LARGEST_CUT = 0.25, 0.45  # Probability and size of what an end of a scan cuts off.
NARROW, LEAST_WIDTH = 0.15, 0.35  # Probability and width of a narrow field.


class Crops(NamedTuple):
    """Crops of vertebrae.

    Attributes:
      grey: uint8 [N, ROWS, COLUMNS].
      name: int32 [N], the place in `NAMES`.
    """

    grey: np.ndarray
    name: np.ndarray


def phantoms(seed: int, count: int) -> Crops:
    """Draws the crops of phantoms.

    Args:
      seed: of the phantoms.
      count: of the phantoms; each gives up to 10 crops.
    """
    key = jax.random.key(seed)
    grey, names = [], []
    for i in tqdm(range(count), unit="phantom", disable=None):
        rng = np.random.default_rng((seed, i))
        drawn = frontal_phantoms.draw(jax.random.fold_in(key, i), RANGES)
        thick = surroundings.thicken(np.asarray(drawn.frontal))
        for level, *place in frontal_phantoms.places(drawn, rng):
            grey.append(np.rint(255 * surroundings.crop(thick, *place)))
            is_s1 = level == frontal_phantoms.S1  # Without an L6 it follows L5.
            names.append(len(NAMES) - 1 if is_s1 else level - LEVELS.start)
    return Crops(np.stack(grey).astype(np.uint8), np.array(names, np.int32))


def make_training(config: ConfigDict, crops: Crops) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    count = len(crops.grey) * config.data.validation // config.data.count
    return one_network.of_crops(config, "surroundings", crops, count, loss, evaluate)


def loss(
    config: ConfigDict, params: Params, batch: dict[str, jax.Array], key: jax.Array
) -> jax.Array:
    """Returns the cross-entropy [B] of augmented crops."""
    change, drop = jax.random.split(key)
    grey = augment(config.surroundings, batch["grey"] / 255.0, change)
    network = surroundings.SurroundingsNetwork(dropout=config.surroundings.dropout)
    logits = network.apply({"params": params["network"]}, grey, rngs={"dropout": drop})
    wanted = optax.smooth_labels(jax.nn.one_hot(batch["name"], len(NAMES)), SMOOTHING)
    return optax.softmax_cross_entropy(logits, wanted)


def augment(c: ConfigDict, grey: jax.Array, key: jax.Array) -> jax.Array:
    """Returns crops [B, ROWS, COLUMNS] as other people and scans would show them."""
    keys = iter(jax.random.split(key, 8 + BRIGHT_SPOTS))

    def uniform(low: float, high: float, *shape: int) -> jax.Array:
        each = len(grey), *shape, 1, 1
        return jax.random.uniform(next(keys), each, minval=low, maxval=high)

    grey = jnp.where(uniform(0, 1) < 0.5, grey[:, :, ::-1], grey)
    empty = grey == 0  # Air, and the spine.
    grey = jnp.clip(grey, 1e-3, 1) ** jnp.exp(uniform(-GAMMA, GAMMA))
    grey = grey * uniform(1 - c.gain, 1 + c.gain) + uniform(-c.shift, c.shift)
    row, column = jnp.arange(ROWS)[:, None], jnp.arange(COLUMNS)[None]
    for _ in range(BRIGHT_SPOTS):
        y, x, high, wide, value, chance = jnp.moveaxis(uniform(0, 1, 6), 1, 0)
        high, wide = (SPOT_PIXELS[0] + v * np.ptp(SPOT_PIXELS) for v in (high, wide))
        depth = ((row - y * ROWS) / high) ** 2 + ((column - x * COLUMNS) / wide) ** 2
        spot = (depth < 1) & (chance < SPOT)
        grey = jnp.where(spot, jnp.maximum(grey, 0.3 + 0.7 * value), grey)
    top, above, bottom, below = jnp.moveaxis(uniform(0, 1, 4), 1, 0)
    largest = LARGEST_CUT * ROWS
    cut = (top < CUT) & (row < above * largest)
    cut |= (bottom < CUT) & (row >= ROWS - below * largest)
    narrow, width = jnp.moveaxis(uniform(0, 1, 2), 1, 0)
    half = COLUMNS / 2 * (LEAST_WIDTH + (1 - LEAST_WIDTH) * width)
    cut |= (narrow < NARROW) & (jnp.abs(column - (COLUMNS - 1) / 2) > half)
    grey += c.noise * jax.random.normal(next(keys), grey.shape)
    return jnp.where(cut | empty, 0, jnp.clip(grey, 0, 1))


def evaluate(params: Params, crops: Crops) -> dict[str, float]:
    """Returns the cross-entropy, and the share of wrong names."""
    logits = np.asarray(model.name_logits(params["network"], crops.grey / 255.0))
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, crops.name)
    wrong = logits.argmax(1) != crops.name
    return {
        "valid/loss": float(np.mean(entropy)),
        "valid/error": float(np.mean(wrong)),
    }

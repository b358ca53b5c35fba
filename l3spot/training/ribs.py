"""Trains the network that looks for ribs and the sacrum, on frontal phantoms alone."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from scipy import ndimage
from tqdm import tqdm

from l3spot.phantom import body, shadow
from l3spot.phantom.draw import VARIED_PROPORTIONS, PhantomRanges
from l3spot.phantom.shapes import AIR_HU, Blocks
from l3spot.phantom.spine import L6, T1
from l3spot.vertebrae import model, ribs
from mtl import optimizers
from mtl.engine import schedules, sharding, split_rows
from mtl.engine.task import Params, Task
from mtl.engine.training import Training

ROWS_MM, COLUMNS_MM = 700, 300  # Of a projection, with 1 mm pixels.
LEVELS = range(T1 + 8, L6 + 1)  # From T9 down; absent vertebrae are left out.
S1 = L6 + 1
# Children too, thick slices, and scans that end near the last ribs or the pelvis.
RANGES = dataclasses.replace(
    VARIED_PROPORTIONS, size=(0.42, 1.14), slice_mm=(0.8, 8.0), noise_hu=(6.0, 50.0),
    contrast=0.8, length_mm=(120.0, 500.0), without_l3=0.05,
)  # fmt: skip
SIGN_NAMES = "a rib", "a rib above", "the sacrum"
MARGIN_MM = 12.0  # Vertebrae nearer to an end of the scan are left out.
# Errors of the positions in use, as standard deviations or a range.
ROW_ERROR_MM, COLUMN_ERROR_MM, PITCH_ERROR = 2.0, 3.0, 0.07


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
        drawn = _draw(jax.random.fold_in(key, i), ranges)
        for level, halves in _vertebrae(jax.device_get(drawn), rng):
            grey += [np.rint(255 * half).astype(np.uint8) for half in halves]
            ribs_end = T1 + int(drawn.rib_pairs)
            own = [level < ribs_end, level - 1 < ribs_end, level == S1]
            signs += [own] * len(halves)
    return Halves(np.stack(grey), np.array(signs))


class _Drawn(NamedTuple):
    frontal: jax.Array
    top_mm: jax.Array
    bodies: Blocks
    s1: jax.Array
    scan: body.Scan
    rib_pairs: jax.Array


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, ranges: PhantomRanges) -> _Drawn:
    body_key, image_key = jax.random.split(key)
    person, scan = body.draw(body_key, ranges)
    frontal, top_mm = shadow.project(image_key, person, scan, ROWS_MM, COLUMNS_MM)
    s1 = person.sacrum.centre[0]
    return _Drawn(frontal, top_mm, person.blocks, s1, scan, person.rib_pairs)


def _vertebrae(
    p: _Drawn, rng: np.random.Generator
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields each level in view with its two crops."""
    brightest = ndimage.maximum_filter(np.asarray(p.frontal), 2)
    present = np.append(np.asarray(p.bodies.matter.rim_hu) > AIR_HU, True)
    levels = [level for level in (*LEVELS, S1) if present[level]]
    x, _, z = np.concatenate([p.bodies.centre, [p.s1]])[levels].T
    low_mm, high_mm = float(p.scan.low_mm), float(p.scan.high_mm)
    middle = (COLUMNS_MM - 1) / 2 - float(p.scan.x_mm)
    pitches = -np.gradient(z)
    for i in np.flatnonzero((z > low_mm + MARGIN_MM) & (z < high_mm - MARGIN_MM)):
        row = float(p.top_mm) - z[i] + ROW_ERROR_MM * rng.normal()
        column = x[i] + middle + COLUMN_ERROR_MM * rng.normal()
        pitch = pitches[i] * (1 + PITCH_ERROR * rng.uniform(-1, 1))
        crops = [ribs.crop(brightest, row, column, pitch, s) for s in (-1, 1)]
        yield levels[i], crops


def make_training(config: ConfigDict, halves: Halves) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    c, epochs = config, config.ribs.epochs
    # Both halves of a vertebra are in the same set.
    count = 2 * (len(halves.grey) // 2 * c.data.validation // c.data.count)
    training, validation = (
        Halves(*(a[part] for a in halves))
        for part in (slice(-count), slice(-count, None))
    )
    init_key, train_key = jax.random.split(jax.random.key(c.seed))
    own = with_optimizer(c)
    return Training(
        tasks=[Task("ribs", partial(loss, config), params=("network",))],
        loss_weights=schedules.table([schedules.constant], epochs),
        learning_rates=optimizers.learning_rates(own),
        data=split_rows.arrays(training._asdict(), on_host=c.shard_data),
        params={"network": model.init(init_key)["ribs"]},
        key=train_key,
        evaluate=partial(evaluate, halves=validation),
        monitor="valid/loss",
        batch_size=c.ribs.batch_size,
        order="joint",
        optimizer=optimizers.make(own.optim),
        eval_every=c.eval_every,
        save_every=c.save_every,
        mesh=sharding.data_mesh(c.devices, c.ribs.batch_size),
        shard_data=c.shard_data,
    )


def with_optimizer(config: ConfigDict) -> ConfigDict:
    """Returns `epochs` and `optim` of the ribs' network: no warm-up, no clipping."""
    own = config.optim.to_dict() | {"warmup_epochs": 0, "clip": 0.0}
    return ConfigDict({"epochs": config.ribs.epochs, "optim": own})


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

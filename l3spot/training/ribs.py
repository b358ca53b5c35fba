"""Trains the network that finds vertebrae with ribs, on frontal phantoms alone."""

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
from l3spot.phantom.draw import PhantomRanges
from l3spot.phantom.spine import L1, T1
from l3spot.vertebrae import model, ribs
from mtl.engine import schedules, sharding
from mtl.engine.task import Params, Task
from mtl.engine.training import Training

ROWS_MM, COLUMNS_MM = 700, 300  # Of a projection, with 1 mm pixels.
LEVELS = range(T1 + 8, L1 + 4)  # T9 to L4.
SIZES = (0.5, 1.14)  # Of bodies, with children.
MARGIN_MM = 12.0  # Vertebrae nearer to an end of the scan are left out.
# Errors of the positions in use, as standard deviations or a range.
ROW_ERROR_MM, COLUMN_ERROR_MM, PITCH_ERROR = 2.0, 3.0, 0.07


class Halves(NamedTuple):
    """Crops of vertebrae.

    Attributes:
      grey: uint8 [N, SIZE, SIZE].
      has_rib: bool [N].
    """

    grey: np.ndarray
    has_rib: np.ndarray


def phantoms(seed: int, count: int, rare: float) -> Halves:
    """Draws the crops of phantoms.

    Args:
      seed: of the phantoms.
      count: of the phantoms; each gives up to 16 crops.
      rare: probability of 11 pairs of ribs, and of 13 pairs.
    """
    ranges = PhantomRanges(size=SIZES, ribs_11=rare, ribs_13=rare)
    rng, key = np.random.default_rng(seed), jax.random.key(seed)
    grey: list[np.ndarray] = []
    has_rib: list[bool] = []
    for i in tqdm(range(count), unit="phantom", disable=None):
        drawn = _draw(jax.random.fold_in(key, i), ranges)
        for level, halves in _vertebrae(jax.device_get(drawn), rng):
            grey += [np.rint(255 * half).astype(np.uint8) for half in halves]
            has_rib += [bool(level - T1 < drawn.rib_pairs)] * len(halves)
    return Halves(np.stack(grey), np.array(has_rib))


class _Drawn(NamedTuple):
    frontal: jax.Array
    top_mm: jax.Array
    centre: jax.Array
    scan: body.Scan
    rib_pairs: jax.Array


@partial(jax.jit, static_argnums=1)
def _draw(key: jax.Array, ranges: PhantomRanges) -> _Drawn:
    body_key, image_key = jax.random.split(key)
    person, scan = body.draw(body_key, ranges)
    frontal, top_mm = shadow.project(image_key, person, scan, ROWS_MM, COLUMNS_MM)
    return _Drawn(frontal, top_mm, person.blocks.centre, scan, person.rib_pairs)


def _vertebrae(
    p: _Drawn, rng: np.random.Generator
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields each level in view with its two crops."""
    brightest = ndimage.maximum_filter(np.asarray(p.frontal), 2)
    x, _, z = np.asarray(p.centre).T
    low_mm, high_mm = float(p.scan.low_mm), float(p.scan.high_mm)
    middle = (COLUMNS_MM - 1) / 2 - float(p.scan.x_mm)
    for level in LEVELS:
        if not low_mm + MARGIN_MM < z[level] < high_mm - MARGIN_MM:
            continue
        row = float(p.top_mm) - z[level] + ROW_ERROR_MM * rng.normal()
        column = x[level] + middle + COLUMN_ERROR_MM * rng.normal()
        pitch = abs(z[level - 1] - z[level + 1]) / 2
        pitch *= 1 + PITCH_ERROR * rng.uniform(-1, 1)
        yield level, [ribs.crop(brightest, row, column, pitch, s) for s in (-1, 1)]


def make_training(config: ConfigDict, halves: Halves) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    c, epochs = config, config.ribs.epochs
    count = len(halves.grey) * c.data.validation // c.data.count
    training, validation = (
        Halves(*(a[part] for a in halves))
        for part in (slice(-count), slice(-count, None))
    )
    init_key, train_key = jax.random.split(jax.random.key(c.seed))
    fall = optax.schedules.cosine_decay_schedule(c.optim.learning_rate, epochs)
    return Training(
        tasks=[Task("ribs", partial(loss, config), params=("network",))],
        loss_weights=schedules.table([schedules.constant], epochs),
        learning_rates=np.asarray(fall(np.arange(epochs))),
        data={k: jnp.asarray(v) for k, v in training._asdict().items()},
        params={"network": model.init(init_key)["ribs"]},
        key=train_key,
        evaluate=partial(evaluate, halves=validation),
        monitor="valid/loss",
        batch_size=c.ribs.batch_size,
        order="joint",
        optimizer=optax.adamw(1.0, weight_decay=c.optim.decay),
        eval_every=c.eval_every,
        save_every=c.save_every,
        mesh=sharding.data_mesh(c.devices, c.ribs.batch_size),
    )


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
    return optax.sigmoid_binary_cross_entropy(logits, batch["has_rib"])


def evaluate(params: Params, halves: Halves) -> dict[str, float]:
    """Returns the cross-entropy, and the share of vertebrae that are judged wrong."""
    logits = np.asarray(model.rib_logits(params["network"], halves.grey / 255.0))
    entropy = optax.sigmoid_binary_cross_entropy(logits, halves.has_rib)
    pairs, truth = logits.reshape(-1, 2).mean(1), halves.has_rib[::2]
    return {
        "valid/loss": float(np.mean(entropy)),
        "valid/error": float(np.mean((pairs > 0) != truth)),
    }

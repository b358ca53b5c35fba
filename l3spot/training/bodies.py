"""Trains the network that finds vertebral bodies, on sagittal phantoms alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.phantom.sagittal.picture import PIXEL_MM
from l3spot.phantom.sagittal.spine import S1
from l3spot.training import one_network
from l3spot.training.one_network import Loss
from l3spot.vertebrae import bodies, model, network, targets
from l3spot.vertebrae.bodies import Body
from l3spot.vertebrae.slab import Tile
from l3spot.vertebrae.targets import Picture
from mtl.engine.task import Params
from mtl.engine.training import Training

RENDER_BATCH = 64  # Phantoms at once.
MAX_ERROR_MM = 7.0  # A body that is farther away is another one.


def phantoms(seed: int, count: int) -> Picture:
    """Draws phantoms; fields are [count, ...]."""
    render = jax.jit(jax.vmap(targets.picture))
    keys = jax.random.split(jax.random.key(seed), count)
    parts = []
    for i in range(0, count, RENDER_BATCH):
        # The last batch is filled up, so that all batches share a program.
        index = np.minimum(np.arange(i, i + RENDER_BATCH), count - 1)
        parts.append(jax.device_get(render(keys[index])))
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *parts)


def make_training(config: ConfigDict, pictures: Picture) -> Training:
    """Returns a run as data and pure functions; nothing is computed yet."""
    return one_network.make(
        config,
        "bodies",
        own=config,
        data=pictures,
        validation=config.data.validation,
        loss=make_loss(config),
        evaluate=evaluate,
        monitor="valid/missed",
    )


def make_loss(config: ConfigDict) -> Loss:
    """Returns the loss of pictures, `(params, batch, key) -> [B]`.

    It is the weighted sum of three terms: the peaks' cross-entropy less its least
    possible value, the bodies' cross-entropy, and the votes' absolute error.
    """
    w = config.loss

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        pictures = Picture(**{k: batch[k] for k in Picture._fields})
        wanted = jax.vmap(targets.maps)(pictures)
        grey = augment(config, pictures.grey, key)
        maps = model.maps_of(params["network"], grey)
        peaks = optax.sigmoid_binary_cross_entropy(maps[..., :2], wanted.peaks)
        least = jax.scipy.special.entr(wanted.peaks) + jax.scipy.special.entr(
            1 - wanted.peaks
        )
        body = optax.sigmoid_binary_cross_entropy(maps[..., network.BODY], wanted.body)
        error = jnp.abs(maps[..., network.VOTES] - wanted.votes).sum(-1) * wanted.voting
        votes = error.sum((1, 2)) / (wanted.voting.sum((1, 2)) + 1)
        peaks = (peaks - least).mean((1, 2, 3))
        return w.peaks * peaks + w.body * body.mean((1, 2)) + w.votes * votes

    return loss


def augment(config: ConfigDict, grey: jax.Array, key: jax.Array) -> jax.Array:
    """Returns grey values [B, R, C] from 0 to 1 with a random contrast."""
    gain, shift = (
        jax.random.uniform(k, (len(grey), 1, 1), minval=-size, maxval=size)
        for k, size in zip(
            jax.random.split(key), (config.gain, config.shift), strict=True
        )
    )
    return jnp.clip(grey / 255.0 * (1 + gain) + shift, 0, 1)


def evaluate(params: Params, pictures: Picture) -> dict[str, float]:
    """Returns the errors of the chains found in pictures.

    "valid/missed" is the share of bodies, S1 among them, that no chain holds within
    `MAX_ERROR_MM`; "valid/false" is the share of a chain's bodies that are none;
    "valid/mean_mm" is the mean error of the middle's z, or `MAX_ERROR_MM` without any.
    """
    grey = np.asarray(pictures.grey) / np.float32(255)
    middles, inside = np.asarray(pictures.plates).mean(2), np.asarray(pictures.inside)
    errors, expected, chained = [], 0, 0
    for i in range(0, len(grey), RENDER_BATCH):
        maps = np.asarray(model.maps_of(params["network"], grey[i : i + RENDER_BATCH]))
        for j, m in enumerate(maps, start=i):
            chain = bodies.find([Tile(grey[j], 0.0, 0.0, PIXEL_MM)], m[None]).bodies
            middle = middles[j]
            ok = inside[j] & (np.arange(len(middle)) <= S1)
            expected += int(ok.sum())
            chained += len(chain)
            errors += _errors(middle, ok, chain)
    return {
        "valid/missed": 1 - len(errors) / max(expected, 1),
        "valid/false": 1 - len(errors) / max(chained, 1),
        "valid/mean_mm": float(np.mean(np.abs(errors))) if errors else MAX_ERROR_MM,
    }


def _errors(middle: np.ndarray, ok: np.ndarray, chain: list[Body]) -> list[float]:
    """Returns the error of z in mm of each body of a chain that is one."""
    errors = []
    for body in chain:
        distance = np.hypot(*(middle - body.middle).T)
        allowed = ok & ((np.arange(len(ok)) == S1) == body.is_s1)
        nearest = int(np.where(allowed, distance, np.inf).argmin())
        if allowed[nearest] and distance[nearest] < MAX_ERROR_MM:
            errors.append(body.z_mm - float(middle[nearest, 1]))
    return errors

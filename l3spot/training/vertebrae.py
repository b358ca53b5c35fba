"""Trains the network that finds vertebral bodies, on sagittal phantoms alone."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.phantom.sagittal import PIXEL_MM, S1
from l3spot.vertebrae import bodies, model, network, targets
from l3spot.vertebrae.model import VertebraModel
from l3spot.vertebrae.network import VertebraNetwork
from l3spot.vertebrae.slab import Tile
from l3spot.vertebrae.targets import Picture
from mtl.engine import schedules
from mtl.engine.fit import Training, fit
from mtl.engine.task import Params, Task
from mtl.host import workdir
from mtl.host.checks import PRECISIONS, at_least, get, one_of, require

RENDER_BATCH = 64  # Phantoms at once.
MAX_ERROR_MM = 7.0  # A body that is farther away is another one.


def default() -> ConfigDict:
    """Returns the config; all values are ours."""
    c = ConfigDict()
    c.stage = "vertebrae"
    c.seed = 0  # Seeds initial parameters, the order of phantoms and augmentation.
    c.epochs = 10
    c.batch_size = 8
    c.precision = "default"  # Precision of matrix products, one of PRECISIONS.
    c.data = ConfigDict()
    c.data.seed = 11  # Seeds the phantoms.
    c.data.count = 3200  # Number of phantoms.
    c.data.validation = 128  # Size of the validation set, taken from the end.
    c.gain = 0.15  # Grey values are multiplied by 1 - gain to 1 + gain.
    c.shift = 0.06  # Grey values are shifted by -shift to shift.
    c.loss = ConfigDict()
    c.loss.peaks = 30.0  # Loss weight of the peaks' cross-entropy.
    c.loss.body = 1.0  # Loss weight of the bodies' cross-entropy.
    c.loss.votes = 1.0  # Loss weight of the votes' absolute error.
    c.optim = ConfigDict()
    # Adam's learning rate after the first epoch; it then falls as a half cosine.
    c.optim.learning_rate = 2e-3
    c.optim.decay = 1e-4  # Decoupled weight decay.
    c.optim.clip = 1.0  # Largest norm of the gradient.
    c.eval_every = 1  # Epochs.
    c.save_every = 1  # Epochs.
    return c


def check(c: ConfigDict) -> None:
    """Checks all fields of a config.

    Raises:
      ConfigError: a value is not valid.
    """
    one_of(c, "precision", PRECISIONS)
    for name in ("epochs", "batch_size", "data.validation", "eval_every", "save_every"):
        at_least(c, name, 1)
    for name in ("seed", "data.seed", "gain", "shift", "optim.decay"):
        at_least(c, name, 0)
    for name in ("optim.learning_rate", "optim.clip"):
        require(get(c, name) > 0, c, name, "above 0")
    require(c.data.validation < c.data.count, c, "data.validation", "below data.count")


def train_and_evaluate(config: ConfigDict, folder: str | Path) -> dict[str, Any]:
    """Trains, or resumes, the run in `folder`, and writes vertebrae.safetensors there.

    Returns:
      The summary, with the errors on the validation set.

    Raises:
      mtl.host.errors.Error: the user can fix it; the message says how.
    """
    start, folder = time.perf_counter(), Path(folder)
    check(config)
    workdir.prepare(folder, config, {"phantoms": config.data.count})
    if (folder / "summary.json").exists():
        return workdir.read_json(folder / "summary.json")
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        pictures = phantoms(config.data.seed, config.data.count)
        result = fit(make_training(config, pictures), folder)
    count = config.data.count - config.data.validation
    about = f"trained on {count} sagittal phantoms, seed {config.seed}"
    params = jax.tree.map(np.asarray, result.best)
    model.save(folder / "vertebrae.safetensors", VertebraModel(params, about))
    seconds = round(time.perf_counter() - start, 1)
    device = jax.devices()[0].device_kind
    summary = result.summary | {"device": device, "total_seconds": seconds}
    workdir.write_json(folder / "summary.json", summary)
    return summary


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
    c, epochs = config, config.epochs
    training, validation = (
        jax.tree.map(lambda a: a[part], pictures)
        for part in (slice(-c.data.validation), slice(-c.data.validation, None))
    )
    init_key, train_key = jax.random.split(jax.random.key(c.seed))
    learning_rate = optax.schedules.warmup_cosine_decay_schedule(
        0.1 * c.optim.learning_rate, c.optim.learning_rate, 1, max(epochs, 2)
    )
    return Training(
        tasks=[Task("vertebrae", make_loss(c), params=("network",))],
        loss_weights=schedules.table([schedules.constant], epochs),
        learning_rates=np.asarray(learning_rate(np.arange(epochs))),
        data=jax.tree.map(jnp.asarray, training)._asdict(),
        params={"network": model.init(init_key)},
        key=train_key,
        evaluate=partial(evaluate, pictures=validation),
        monitor="valid/missed",
        batch_size=c.batch_size,
        order="joint",
        optimizer=optax.chain(
            optax.clip_by_global_norm(c.optim.clip),
            optax.adamw(1.0, weight_decay=c.optim.decay),
        ),
        eval_every=c.eval_every,
        save_every=c.save_every,
    )


def make_loss(config: ConfigDict) -> Any:
    """Returns the loss of pictures, `(params, batch, key) -> [B]`.

    It is the weighted sum of three terms: the peaks' cross-entropy less its least
    possible value, the bodies' cross-entropy, and the votes' absolute error.
    """
    w = config.loss

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        pictures = Picture(**{k: batch[k] for k in Picture._fields})
        wanted = jax.vmap(targets.maps)(pictures)
        grey = augment(config, pictures.grey, key)
        maps = model.maps_of(VertebraNetwork(), params["network"], grey)
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
    "valid/mean_mm" is the mean error of the middle's z, or `MAX_ERROR_MM` if there is none.
    """
    grey = pictures.grey.astype(np.float32) / 255
    errors, expected, chained = [], 0, 0
    for i in range(0, len(grey), RENDER_BATCH):
        maps = np.asarray(
            model.maps_of(VertebraNetwork(), params["network"], grey[i : i + RENDER_BATCH])
        )
        for j, m in enumerate(maps, start=i):
            chain = bodies.find([Tile(grey[j], 0.0, 0.0, PIXEL_MM)], m[None]).bodies
            middle = pictures.plates[j].mean(1)
            ok = pictures.inside[j] & (np.arange(len(middle)) <= S1)
            expected += int(ok.sum())
            chained += len(chain)
            errors += _errors(middle, ok, chain)
    return {
        "valid/missed": 1 - len(errors) / max(expected, 1),
        "valid/false": 1 - len(errors) / max(chained, 1),
        "valid/mean_mm": float(np.mean(np.abs(errors))) if errors else MAX_ERROR_MM,
    }


def _errors(middle: np.ndarray, ok: np.ndarray, chain: list[bodies.Body]) -> list[float]:
    """Returns the error of z in mm of each body of a chain that is one."""
    errors = []
    for body in chain:
        distance = np.hypot(*(middle - body.middle).T)
        allowed = ok & ((np.arange(len(ok)) == S1) == body.is_s1)
        nearest = int(np.where(allowed, distance, np.inf).argmin())
        if allowed[nearest] and distance[nearest] < MAX_ERROR_MM:
            errors.append(body.z_mm - float(middle[nearest, 1]))
    return errors

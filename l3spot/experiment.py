"""System 3 from config to a model."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from sklearn.linear_model import LogisticRegression

from l3spot import config as configs
from l3spot import evaluate, examples, jitter, model, network, picture, pool, spotting
from l3spot.model import Calibration, Model
from l3spot.pool import Pool
from mtl import workdir
from mtl.errors import ConfigError
from mtl.task import Params, Task
from mtl.train import Training, fit

NEAR = 1.2  # Reaches within which a window counts whole.
WITHIN = 10.0  # mm; what confidence is the probability of.
COARSE = 4  # Pixels between windows while training.


def train_and_evaluate(config: ConfigDict, folder: str | Path) -> dict[str, Any]:
    """Trains, or resumes, the run in `folder`; leaves model.safetensors there.

    Returns:
      The summary; its errors are those on the validation set.

    Raises:
      mtl.errors.Error: something that the user can mend; the message says what.
    """
    start = time.perf_counter()
    configs.check(config)
    folder = Path(folder)
    train, valid = split(config)
    facts = {"train": len(train.hu), "valid": len(valid.hu), "of": int(valid.hu.sum())}
    workdir.prepare(folder, config, facts)
    if (folder / "summary.json").exists():
        return workdir.read_json(folder / "summary.json")
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        result = fit(plan(config, train, valid), folder)
        errors, evidence, good = judge(config, result.best, valid, spotting.STEP)
    about = f"trained on {len(train.hu)} {config.data.source}, seed {config.seed}"
    best = jax.tree.map(np.asarray, result.best)
    made = Model(best, config.low, config.high, calibrate(evidence, good), about)
    model.save(folder / "model.safetensors", made)
    summary = result.summary | {
        "valid": errors,
        "confident": score(made, valid, config),
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(time.perf_counter() - start, 1),
    }
    workdir.write_json(folder / "summary.json", summary)
    return summary


def split(config: ConfigDict) -> tuple[Pool, Pool]:
    """Training and validation pictures."""
    d = config.data
    if d.source == "phantoms":
        whole = pool.phantoms(d.path, d.seed, d.count)
    else:
        whole = pool.projections(examples.load(d.path))
    cut = len(whole.hu) - d.valid
    if cut < 1:
        raise ConfigError(
            f"config.data.valid={d.valid} leaves none of {len(whole.hu)} to train on"
        )
    return Pool(*(a[:cut] for a in whole)), Pool(*(a[cut:] for a in whole))


def plan(config: ConfigDict, train: Pool, valid: Pool) -> Training:
    """The whole of a run as data and pure functions, before any of it is done."""
    init_key, train_key = jax.random.split(jax.random.key(config.seed))
    o, epochs = config.optim, config.epochs
    rates = optax.schedules.warmup_cosine_decay_schedule(
        0.1 * o.rate, o.rate, o.warm_up, max(epochs, o.warm_up + 1)
    )
    return Training(
        tasks=[Task("spot", make_loss(config), params=("trunk", "head"))],
        weights=np.ones((epochs, 1)),
        rates=np.array([rates(t) for t in range(epochs)]),
        data={k: jnp.asarray(v) for k, v in train._asdict().items()},
        params=network.init(init_key),
        key=train_key,
        evaluate=lambda p: {
            f"valid/{k}": v for k, v in judge(config, p, valid, COARSE)[0].items()
        },
        monitor="valid/mean_mm",
        batch_size=config.batch_size,
        optimizer=optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
    )


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam with decoupled weight decay, for a rate of 1."""
    return optax.chain(
        optax.clip_by_global_norm(config.optim.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.optim.decay),
        optax.scale(-1.0),
    )


def make_loss(config: ConfigDict) -> Callable[..., jax.Array]:
    """Huber's loss of what a strip's windows tell: `(params, batch, key) -> [B]`."""
    ranges = jitter.Range(**config.jitter)

    def loss(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, len(batch["hu"]))
        cut = partial(jitter.strip, windows=config.windows, r=ranges)
        strips = jax.vmap(cut)(keys, *(batch[k] for k in Pool._fields))
        told = network.outputs(params, strips.x)
        away = strips.away / config.reach
        wrong = optax.losses.huber_loss(told, jnp.clip(away, -1, 1), delta=config.huber)
        weight = strips.inside * jnp.where(jnp.abs(away) < NEAR, 1.0, config.beyond)
        return (wrong * weight).sum(1) / jnp.maximum(weight.sum(1), 1e-6)

    return loss


def judge(
    config: ConfigDict, params: Params, valid: Pool, step: int
) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Errors where L3 is in view; evidence [N, 5], and whether L3 was found [N]."""
    rows, evidence = [], []
    for hu, height in zip(valid.hu, valid.height, strict=True):
        spot = _spot(params, hu, height, config.low, config.high, step)
        rows.append(spot.row)
        evidence.append(spot.evidence)
    true = np.where((valid.l3 >= 0) & (valid.l3 <= valid.height), valid.l3, np.nan)
    good = np.abs(np.array(rows) - true) <= WITHIN  # NaN is not.
    seen = ~np.isnan(true)
    errors = evaluate.errors(np.array(rows)[seen], true[seen])
    return errors, np.array(evidence), good


def _spot(
    params: Params, hu: np.ndarray, height: float, low: float, high: float, step: int
) -> spotting.Spot:
    cut = hu[: int(height) // picture.MM]
    x = picture.window(picture.centred(cut), low, high)
    return spotting.spot(spotting.look(params, x, step), float(height))


def calibrate(evidence: np.ndarray, good: np.ndarray) -> Calibration:
    """Logistic regression; of evidence that tells nothing if all are good, or none."""
    if good.all() or not good.any():
        return Calibration((0.0,) * model.SIZE, 5.0 if good.all() else -5.0)
    fitted = LogisticRegression(C=10.0, max_iter=1000).fit(evidence, good)
    return Calibration(tuple(map(float, fitted.coef_[0])), float(fitted.intercept_[0]))


def score(m: Model, valid: Pool, config: ConfigDict) -> dict[str, float]:
    """Errors when what is not sure is said not to be in view."""
    true = np.where((valid.l3 >= 0) & (valid.l3 <= valid.height), valid.l3, np.nan)
    told = []
    for hu, height in zip(valid.hu, valid.height, strict=True):
        spot = _spot(m.params, hu, height, m.low, m.high, spotting.STEP)
        told.append(spot.row if m.calibration(spot.evidence) >= 0.5 else np.nan)
    return evaluate.errors(np.array(told), true)

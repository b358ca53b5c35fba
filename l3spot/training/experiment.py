"""System 3 from config to a model."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from l3spot.backbones.pretrained import converted
from l3spot.localize import model, network, window_search
from l3spot.localize.model import Model
from l3spot.localize.network import Network
from l3spot.projections import reader
from l3spot.training import config as configs
from l3spot.training import dataset, scoring, split
from l3spot.training import tasks as task_list
from l3spot.training.augmentation import Range
from l3spot.training.dataset import Pool
from mtl.engine.fit import Training, fit
from mtl.engine.task import Flat, Params, flatten, unflatten
from mtl.host import workdir
from mtl.host.errors import ConfigError


class Parts(NamedTuple):
    """What trains, validates and calibrates, and tests; the last may be empty."""

    train: Pool
    valid: Pool
    test: Pool


def train_and_evaluate(config: ConfigDict, folder: str | Path) -> dict[str, Any]:
    """Trains, or resumes, the run in `folder`; leaves model.safetensors there.

    Returns:
      The summary; its errors are those on the validation set, and on the test set if
      there is one.

    Raises:
      mtl.host.errors.Error: something that the user can mend; the message says what.
    """
    configs.check(config)
    rest, test = split.last(load(config), config.data.test)
    return train(config, folder, parts(config, rest, test))


def load(config: ConfigDict) -> Pool:
    """All the pictures that a config names.

    Raises:
      mtl.host.errors.Error: there are none, or files are broken.
    """
    d = config.data
    if d.source == "phantoms":
        return dataset.phantoms(d.path, d.seed, d.count)
    return dataset.projections(reader.load(d.path), d.patients)


def parts(config: ConfigDict, rest: Pool, test: Pool) -> Parts:
    """What is not held back, parted.

    Raises:
      ConfigError: there are not enough.
    """
    d = config.data
    left, valid = split.last(rest, d.valid)
    chosen = split.few(left, d.labelled, d.unlabelled, d.strips, config.seed)
    return Parts(chosen, valid, test)


def train(config: ConfigDict, folder: str | Path, given: Parts) -> dict[str, Any]:
    """As `train_and_evaluate`, with pictures that are given."""
    start = time.perf_counter()
    folder = Path(folder)
    net, params = start_from(config)
    pictures = {name: len(p.hu) for name, p in given._asdict().items()}
    labelled = int((~np.isnan(given.train.l3)).sum())
    facts = pictures | {"labelled": labelled, "of": int(given.valid.hu.sum())}
    workdir.prepare(folder, config, facts)
    if (folder / "summary.json").exists():
        return workdir.read_json(folder / "summary.json")
    with workdir.lock(folder), jax.default_matmul_precision(config.precision):
        result = fit(plan(config, net, params, given), folder)
        # Real scans are less like training's than the validation set is.
        varied = dataset.varied(given.valid, config.seed, Range(**config.jitter))
        (errors, *plain), (harder, *spoilt) = (
            scoring.judge(_model(config, net, result.best), p)
            for p in (given.valid, varied)
        )
    evidence, good = (np.concatenate(a) for a in zip(plain, spoilt, strict=True))
    best = {k: jax.tree.map(np.asarray, result.best[k]) for k in ("trunk", "head")}
    about = f"trained on {len(given.train.hu)} {config.data.source}, seed {config.seed}"
    fitted = scoring.calibrate(evidence, good)
    made = _model(config, net, best)._replace(calibration=fitted, about=about)
    model.save(folder / "model.safetensors", made)
    summary = result.summary | {
        "valid": errors,
        "varied": harder,
        "confident": scoring.errors(*scoring.predict(made, given.valid), given.valid),
        "varied_confident": scoring.errors(*scoring.predict(made, varied), varied),
        "pictures": pictures,
        "labelled": labelled,
        "device": jax.devices()[0].device_kind,
    }
    if len(given.test.hu):
        rows, sure = scoring.predict(made, given.test)
        summary |= {
            "test": scoring.errors(rows, np.ones(len(rows)), given.test),
            "test_confident": scoring.errors(rows, sure, given.test),
        }
    summary["total_seconds"] = round(time.perf_counter() - start, 1)
    workdir.write_json(folder / "summary.json", summary)
    return summary


def start_from(config: ConfigDict) -> tuple[Network, Params]:
    """The network of a config, and its initial parameters.

    Raises:
      DataError: the file of filters is broken.
      ConfigError: it is of another backbone.
    """
    c, key = config.model, jax.random.split(jax.random.key(config.seed))[0]
    net = network.make(c.backbone, c.dtype)
    trunk = None
    if c.weights:
        found = converted.load(c.weights)
        if found.backbone != c.backbone:
            raise ConfigError(
                f"config.model.weights={c.weights} is of {found.backbone}; set "
                f"config.model.backbone to it, or give a file of {c.backbone}"
            )
        # Without the dense layers of the classifier.
        flat, shapes = flatten(found.params), net.backbone.shapes()
        trunk = unflatten({k: jnp.asarray(v) for k, v in flat.items() if k in shapes})
        net = Network(c.backbone, found.normalisation, c.dtype)
    params = net.init(key, trunk)
    if config.reconstruct.schedule != task_list.NONE:
        decoder = task_list.init_decoder(jax.random.fold_in(key, 1), net)
        params = params | {"decoder": decoder}
    return net, params


def plan(config: ConfigDict, net: Network, params: Params, given: Parts) -> Training:
    """The whole of a run as data and pure functions, before any of it is done."""
    o, epochs = config.optim, config.epochs
    rates = optax.schedules.warmup_cosine_decay_schedule(
        0.1 * o.rate, o.rate, o.warm_up, max(epochs, o.warm_up + 1)
    )
    tasks, weights = task_list.build(config, net)
    coarse = min(2 * config.step, window_search.COARSEST)  # Pixels, while training.
    return Training(
        tasks=tasks,
        loss_weights=weights,
        learning_rates=np.asarray(rates(np.arange(epochs))),
        data={k: jnp.asarray(getattr(given.train, k)) for k in task_list.FIELDS},
        params=params,
        key=jax.random.split(jax.random.key(config.seed))[1],
        evaluate=lambda p: {
            f"valid/{k}": v
            for k, v in scoring.judge(
                _model(config, net, p)._replace(step=coarse), given.valid
            )[0].items()
        },
        monitor="valid/mean_mm",
        batch_size=config.batch_size,
        order="joint",
        optimizer=optimizer(config),
        eval_every=config.eval_every,
        save_every=config.save_every,
        patience=config.patience,
    )


def _model(config: ConfigDict, net: Network, params: Params) -> Model:
    """That of a config, sure of nothing yet."""
    c = config
    return Model(params, c.low, c.high, model.UNSURE, "", net, c.step, c.mirror)


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Adam with decoupled weight decay, for a rate of 1, and the trunk's own rate."""

    def part(params: Flat) -> dict[str, str]:
        return {k: "trunk" if k.startswith("trunk/") else "rest" for k in params}

    rates = {"trunk": optax.scale(-config.optim.trunk), "rest": optax.scale(-1.0)}
    return optax.chain(
        optax.clip_by_global_norm(config.optim.clip),
        optax.scale_by_adam(),
        optax.add_decayed_weights(config.optim.decay),
        optax.partition(rates, part),
    )

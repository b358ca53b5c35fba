"""Trains the networks of the vertebrae, on phantoms alone, and writes their file."""

import time
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from l3spot.localize import model as frontal_model
from l3spot.training import bodies, calibration, drawn_scans, ribs, surroundings
from l3spot.training.config import FREE, check_optim
from l3spot.vertebrae import model
from l3spot.vertebrae.model import VertebraModel
from mtl.engine import sharding
from mtl.engine.fit import Result, fit
from mtl.host import fields, workdir
from mtl.host.checks import PRECISIONS, at_least, one_of, require

STAGE = "vertebrae"


def default() -> ConfigDict:
    """Returns the config; all values are ours."""
    c = ConfigDict()
    c.stage = STAGE  # Names this training; the network of L3 alone has no stage.
    c.seed = 0  # Seeds initial parameters, the order of phantoms and augmentation.
    c.epochs = 7  # Of the bodies' network; each takes every phantom once.
    c.batch_size = 8  # Phantoms of an update of the bodies' network.
    c.precision = "default"  # Precision of matrix products, one of PRECISIONS.
    # The number of devices that share the rows of each mini-batch. 0 takes all
    # devices if they divide the batch size, and one of each process otherwise.
    c.devices = 0
    # Ours: whether each of several devices holds its part of the rows of the training
    # data alone, and not all of them. The result is the same; see docs/scaling.md.
    c.shard_data = False
    c.data = ConfigDict()
    c.data.seed = 11  # Seeds the phantoms.
    c.data.count = 4928  # Number of sagittal phantoms.
    c.data.validation = 128  # Size of the validation set, taken from the end.
    c.gain = 0.15  # Grey values are multiplied by 1 - gain to 1 + gain.
    c.shift = 0.06  # Grey values are shifted by -shift to shift.
    c.loss = ConfigDict()
    c.loss.peaks = 30.0  # Loss weight of the peaks' cross-entropy.
    c.loss.body = 1.0  # Loss weight of the bodies' cross-entropy.
    c.loss.votes = 1.0  # Loss weight of the votes' absolute error.
    c.ribs = ConfigDict()
    c.ribs.count = 2100  # Number of frontal phantoms.
    c.ribs.rare = 0.03  # Share of phantoms with 11 pairs of ribs, and of those with 13.
    c.ribs.epochs = 12  # Of the ribs' network.
    c.ribs.batch_size = 64  # Halves of pictures of an update of the ribs' network.
    c.ribs.gain = 0.35  # As `gain`, for the ribs' network.
    c.ribs.shift = 0.15  # As `shift`, for the ribs' network.
    c.ribs.noise = 0.04  # Standard deviation of noise, in grey values.
    c.surroundings = ConfigDict()
    c.surroundings.count = 4000  # Number of frontal phantoms.
    c.surroundings.epochs = 12  # Of the surroundings' network.
    c.surroundings.batch_size = 64  # Vertebrae of an update of it.
    c.surroundings.dropout = 0.3  # Share of its hidden units.
    c.surroundings.gain = 0.35  # As `gain`, for this network.
    c.surroundings.shift = 0.1  # As `shift`, for this network.
    c.surroundings.noise = 0.04  # As `ribs.noise`.
    c.calibration = ConfigDict()
    c.calibration.seed = 500  # Seeds the drawn scans that calibrate the confidence.
    c.calibration.count = 300  # Number of these scans.
    c.optim = ConfigDict()  # Of both networks.
    # One of mtl.optimizers.NAMES; adamw has a decoupled weight decay of 1e-4.
    c.optim.name = "adamw"
    # Arguments of optax's function, such as "b2=0.99, weight_decay=1e-3".
    c.optim.arguments = ""
    c.optim.learning_rate = 2e-3  # The largest learning rate.
    # The form of the learning rate's fall to 0, one of mtl.optimizers.SCHEDULES.
    # "warmup_cosine" rises from a tenth, and falls over all epochs after the warm-up.
    c.optim.schedule = "warmup_cosine"
    # The number of last epochs of the fall, for "linear" and "cosine".
    c.optim.decay_epochs = 0
    # The number of epochs in which the learning rate of the bodies' network rises.
    c.optim.warmup_epochs = 1
    # The decoupled weight decay of kernels, for optimizers without such an argument.
    c.optim.weight_decay = 0.0
    # Largest norm of the gradient of the bodies' network; 0 does not clip.
    c.optim.clip = 1.0
    c.eval_every = 1  # Epochs.
    c.save_every = 1  # Epochs.
    return c


def check(c: ConfigDict) -> None:
    """Checks all fields of a config.

    Raises:
      ConfigError: a value is not valid.
    """
    fields.check(c, default())
    one_of(c, "precision", PRECISIONS)
    for name in (
        *("epochs", "batch_size", "data.validation", "eval_every", "save_every"),
        *("ribs.count", "ribs.epochs", "ribs.batch_size", "calibration.count"),
        *("surroundings.count", "surroundings.epochs", "surroundings.batch_size"),
    ):
        at_least(c, name, 1)
    for name in (
        *("seed", "data.seed", "gain", "shift", "loss.peaks"),
        *("loss.body", "loss.votes", "ribs.gain", "ribs.shift", "ribs.noise"),
        *("calibration.seed", "devices", "surroundings.gain", "surroundings.shift"),
        *("surroundings.noise", "surroundings.dropout"),
    ):
        at_least(c, name, 0)
    require(0 <= c.ribs.rare <= 0.5, c, "ribs.rare", "from 0 to 0.5")
    below = c.surroundings.dropout < 1
    require(below, c, "surroundings.dropout", "below 1")
    check_optim(c)
    for name in ("ribs", "surroundings"):
        ends, most = c.optim.decay_epochs, c[name].epochs
        require(ends <= most, c, "optim.decay_epochs", f"at most {name}.epochs={most}")
    require(c.data.validation < c.data.count, c, "data.validation", "below data.count")


def train_and_evaluate(config: ConfigDict, folder: str | Path) -> Result:
    """Trains, or resumes, the run in `folder`, and writes vertebrae.safetensors there.

    The confidence is calibrated with the packaged frontal model. A finished run is
    read, not trained again.

    Returns:
      The parameters of both networks, and the summary with their errors on the
      validation sets.

    Raises:
      mtl.host.errors.Error: the user can fix it; the message says how.
    """
    start, folder, c = time.perf_counter(), Path(folder), config
    check(c)
    devices = max(
        sharding.device_count(c.devices, size)
        for size in (c.batch_size, c.ribs.batch_size, c.surroundings.batch_size)
    )
    facts = {"phantoms": c.data.count}
    workdir.prepare(folder, c, facts, FREE, default(), devices)
    path = folder / "vertebrae.safetensors"
    if (folder / "summary.json").exists():
        return Result(
            workdir.read_json(folder / "summary.json"), model.load(path).params
        )
    with workdir.lock(folder), jax.default_matmul_precision(c.precision):
        halves = ribs.phantoms(c.data.seed, c.ribs.count, c.ribs.rare)
        with_ribs = fit(ribs.make_training(c, halves), folder / "ribs")
        around = surroundings.phantoms(c.data.seed, c.surroundings.count)
        with_surroundings = fit(
            surroundings.make_training(c, around), folder / "surroundings"
        )
        pictures = bodies.phantoms(c.data.seed, c.data.count)
        with_bodies = fit(bodies.make_training(c, pictures), folder / "bodies")
    results = {
        "bodies": with_bodies, "ribs": with_ribs, "surroundings": with_surroundings
    }  # fmt: skip
    params = {
        k: jax.tree.map(np.asarray, r.params["network"]) for k, r in results.items()
    }
    count = c.data.count - c.data.validation
    frontal = c.ribs.count + c.surroundings.count
    phantoms = f"{count} sagittal and {frontal} frontal phantoms"
    about = f"trained on {phantoms}, seed {c.seed}"
    trained = VertebraModel(params, about)
    with workdir.lock(folder), jax.default_matmul_precision(c.precision):
        scans = drawn_scans.draw(c.calibration.seed, c.calibration.count)
        fitted = calibration.calibrate(frontal_model.load(), trained, scans)
    model.save(path, trained._replace(calibration=fitted))
    summary = {
        **{name: result.summary for name, result in results.items()},
        "device": jax.devices()[0].device_kind,
        "total_seconds": round(time.perf_counter() - start, 1),
    }
    workdir.write_json(folder / "summary.json", summary)
    return Result(summary, params)

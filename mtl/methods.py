"""System 1's methods: tasks and their loss weights (ESANN 2016, and others).

Every method uses the same engine with a list of tasks and their loss weights in each
epoch, which a `Weighting` may multiply.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mtl import networks
from mtl.engine import adaptive, schedules
from mtl.engine.task import Task
from mtl.engine.weighting import Weighting
from mtl.host.checks import at_least, one_of, require
from mtl.tasks import classify, ladder, reconstruct, vat
from mtl.tasks.network import NORMS, Mlp

BASELINES = ("baseline", "baseline_matched")
EVOLVING = ("stairs", "linear", "abridged", "exponential", "constant")
FIXED = (*BASELINES, *EVOLVING, "pretraining")
ADAPTIVE = ("uncertainty", "dwa", "gradnorm", "famo", "plateau", "ratio")
METHODS = (*FIXED, *ADAPTIVE)

# The unsupervised tasks, by name. The paper has reconstruction.
UNSUPERVISED: dict[str, Callable[[ConfigDict, Any], Task]] = {
    "reconstruct": reconstruct.task,
    "vat": vat.task,
    "gamma": ladder.task,
    "ladder": ladder.task,
}


def make_tasks(config: ConfigDict, network: Mlp) -> list[Task]:
    """The tasks of `config.method`, in the order of their updates."""
    supervised = classify.task(config, network)
    if config.method in BASELINES:
        return [supervised]
    if config.method == "pretraining":
        layers = range(1, network.depth + 1)
        tasks = [reconstruct.layer_task(config, network, k) for k in layers]
        return [*tasks, supervised]
    return [UNSUPERVISED[config.unsupervised](config, network), supervised]


def loss_weights(config: ConfigDict) -> np.ndarray:
    """The loss weights of these tasks, [epochs, tasks]; 1 with a weighting."""
    c, epochs = config.schedule, config.epochs
    if config.method in BASELINES:
        return schedules.table([schedules.constant], epochs)
    if config.method in ADAPTIVE:
        return np.ones((epochs, 2))
    if config.method == "pretraining":
        # Layer by layer, `schedule.t1` epochs each, then the classifier alone.
        depth = networks.depth(config)
        return np.eye(depth + 1)[np.minimum(np.arange(epochs) // c.t1, depth)]
    weight: Callable = {
        "stairs": partial(schedules.stairs, t1=c.t1),
        "linear": partial(schedules.linear, epochs=epochs),
        "abridged": partial(schedules.abridged, t1=c.t1),
        "exponential": partial(schedules.exponential, sigma=c.sigma, cutoff=c.cutoff),
        "constant": partial(schedules.constant, value=c.weight),
    }[config.method]
    return schedules.table([weight, schedules.complement(weight)], epochs)


def weighting(config: ConfigDict) -> Weighting | None:
    """The weighting of `config.method`; None if its loss weights are a schedule."""
    c, tasks, last = config.weighting, 2, networks.depth(config)
    squared = {
        "reconstruct": config.reconstruct.loss == "squared_error",
        "vat": False,
    }.get(config.unsupervised, True)
    make: dict[str, Callable[[], Weighting]] = {
        "uncertainty": lambda: adaptive.uncertainty((0.5 if squared else 1.0, 1.0)),
        "dwa": lambda: adaptive.dwa(tasks, c.temperature),
        "gradnorm": lambda: adaptive.gradnorm(
            tasks, f"encoder/{last}/kernel", c.alpha, c.rate
        ),
        "famo": lambda: adaptive.famo(tasks, c.rate, c.decay),
        "plateau": lambda: adaptive.plateau(
            config.monitor, c.factor, c.wait, config.schedule.cutoff
        ),
        "ratio": adaptive.ratio,
    }
    return make[config.method]() if config.method in make else None


def check(c: ConfigDict) -> None:
    """Checks the method, its tasks and its loss weights; raises ConfigError."""
    one_of(c, "method", METHODS)
    one_of(c, "unsupervised", tuple(UNSUPERVISED))
    for part in (classify, reconstruct, vat, ladder):
        part.check(c)
    for name in ("t1", "sigma"):
        require(c.schedule[name] > 0, c, f"schedule.{name}", "above 0")
    at_least(c, "schedule.cutoff", 0)
    fits = 0 <= c.schedule.weight < 1
    require(fits, c, "schedule.weight", "from 0 to below 1")
    _check_weighting(c)
    _check_task_fits_network(c)
    _check_start(c)


def _check_weighting(c: ConfigDict) -> None:
    for name in ("temperature", "rate"):
        require(c.weighting[name] > 0, c, f"weighting.{name}", "above 0")
    for name in ("alpha", "decay"):
        at_least(c, f"weighting.{name}", 0)
    at_least(c, "weighting.wait", 1)
    require(0 < c.weighting.factor < 1, c, "weighting.factor", "between 0 and 1")


def _check_task_fits_network(c: ConfigDict) -> None:
    fits = c.method != "pretraining" or c.unsupervised == "reconstruct"
    require(fits, c, "unsupervised", "'reconstruct' for pretraining")
    if c.method in BASELINES:
        return
    norms = {"reconstruct": ("none",), "vat": NORMS}
    one_of(c, "model.norm", norms.get(c.unsupervised, ("batch",)))
    fits = c.model.noise > 0 or c.unsupervised in norms
    require(fits, c, "model.noise", "above 0: there is nothing to denoise")


def _check_start(c: ConfigDict) -> None:
    """The classifier must start to train before the last epoch, and before patience."""
    depth = {"stairs": 1, "pretraining": networks.depth(c)}.get(c.method, 0)
    start = depth * c.schedule.t1
    require(start < c.epochs, c, "schedule.t1", f"below {c.epochs / max(depth, 1):g}")
    fits = c.patience == 0 or c.patience > start
    what = f"0, or above {start}, where the classifier starts to train"
    require(fits, c, "patience", what)

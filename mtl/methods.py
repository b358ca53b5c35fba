"""System 1's methods: tasks and their loss weights (ESANN 2016, and others).

Every method uses the same engine with a list of tasks and their loss weights in each
epoch, which a `Weighting` may multiply.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from ml_collections import ConfigDict

from mtl.engine import adaptive, schedules
from mtl.engine.task import Task
from mtl.engine.weighting import Weighting
from mtl.tasks import classify, ladder, reconstruct, vat

EVOLVING = ("stairs", "linear", "abridged", "exponential", "constant")
FIXED = ("baseline", "baseline_matched", *EVOLVING, "pretraining")
ADAPTIVE = ("uncertainty", "dwa", "gradnorm", "famo", "plateau", "ratio")
METHODS = (*FIXED, *ADAPTIVE)


# The unsupervised tasks, by name. The paper has reconstruction.
UNSUPERVISED: dict[str, Callable[[ConfigDict], Task]] = {
    "reconstruct": reconstruct.task,
    "vat": vat.task,
    "gamma": ladder.task,
    "ladder": ladder.task,
}


def build(config: ConfigDict) -> tuple[list[Task], np.ndarray]:
    """The tasks of `config.method` and their loss weights [epochs, tasks]."""
    c, epochs = config.schedule, config.epochs
    if config.method in ("baseline", "baseline_matched"):
        return [classify.task(config)], schedules.table([schedules.constant], epochs)
    if config.method == "pretraining":
        return _pretraining(config)
    tasks = [UNSUPERVISED[config.unsupervised](config), classify.task(config)]
    if config.method in ADAPTIVE:
        return tasks, np.ones((epochs, 2))
    weight: Callable = {
        "stairs": partial(schedules.stairs, t1=c.t1),
        "linear": partial(schedules.linear, epochs=epochs),
        "abridged": partial(schedules.abridged, t1=c.t1),
        "exponential": partial(schedules.exponential, sigma=c.sigma, cutoff=c.cutoff),
        "constant": partial(schedules.constant, value=c.weight),
    }[config.method]
    both = [weight, schedules.complement(weight)]
    return tasks, schedules.table(both, epochs)


def weighting(config: ConfigDict) -> Weighting | None:
    """The weighting of `config.method`; None if its loss weights are a schedule."""
    c, tasks, last = config.weighting, 2, len(config.model.hidden)
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


def _pretraining(config: ConfigDict) -> tuple[list[Task], np.ndarray]:
    """Layer by layer, `schedule.t1` epochs each, then the classifier alone."""
    depth, span = len(config.model.hidden), config.schedule.t1
    tasks = [reconstruct.layer_task(config, k) for k in range(1, depth + 1)]
    phase = np.minimum(np.arange(config.epochs) // span, depth)
    return [*tasks, classify.task(config)], np.eye(depth + 1)[phase]

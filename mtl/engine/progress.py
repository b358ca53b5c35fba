"""The progress of a training after an epoch: its counts, its best epoch, its log."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mtl.engine.engine import Metrics, State
from mtl.engine.task import Params, Task
from mtl.engine.training import Training, finalized
from mtl.host.errors import DivergedError


class Progress(NamedTuple):
    """The progress of a run, which is all that a checkpoint holds.

    `best_value` is the monitor of the best epoch, negated if it is the highest.
    """

    state: State
    best: Params
    epoch: int = 0
    best_epoch: int = 0
    best_value: float = math.inf
    seconds: float = 0.0
    examples: int = 0


def advanced(p: Progress, metrics: Metrics, seconds: float) -> Progress:
    """Counts one more epoch; the caller sets the state."""
    return p._replace(
        epoch=p.epoch + 1,
        seconds=p.seconds + seconds,
        examples=p.examples + int(metrics.rows.max()),
    )


def with_best(
    t: Training, p: Progress, row: Mapping[str, float], params: Params
) -> Progress:
    """Keeps the parameters of an evaluation if its row is the first, or the best.

    NaN, as a metric of one's own may return, is the worst value.
    """
    value = row[t.monitor] if t.monitor_mode == "min" else -row[t.monitor]
    value = math.inf if math.isnan(value) else value
    if p.best_epoch and not value < p.best_value:
        return p
    return p._replace(best=params, best_epoch=p.epoch, best_value=value)


def stalled(p: Progress, patience: int) -> bool:
    """Whether so many epochs have passed without a better one; with 0, never."""
    return 0 < patience <= p.epoch - p.best_epoch


def check_finite(
    tasks: Sequence[Task], metrics: Metrics, epoch: int, saved: int | None
) -> None:
    """Raises DivergedError if a loss or a parameter is not finite after an epoch."""
    bad = [
        f"the loss of task {t.name!r}"
        for t, loss in zip(tasks, metrics.loss, strict=True)
        if not np.isfinite(loss)
    ]
    if not metrics.finite:
        bad.append("a parameter")
    if bad:
        where = f"of epoch {saved}" if saved else "(there is none yet)"
        raise DivergedError(
            f"{bad[0]} is not finite in epoch {epoch}. Lower the learning rate, or "
            "look for extreme values in the data. The last good checkpoint "
            f"{where} is kept."
        )


def log_row(
    t: Training, p: Progress, metrics: Metrics, numbers: dict[str, Any]
) -> dict[str, float]:
    """A row of the log: mean losses, loss weights, learning rate, evaluation, time."""
    row: dict[str, float] = {"epoch": p.epoch}
    weights = metrics.loss_weights if t.weighting else t.loss_weights[p.epoch - 1]
    for i, task in enumerate(t.tasks):
        if metrics.rows[i]:
            row[f"loss/{task.name}"] = float(metrics.loss[i] / metrics.rows[i])
        row[f"weight/{task.name}"] = float(weights[i])
    row["rate"] = float(t.learning_rates[p.epoch - 1])
    row |= {k: float(v) for k, v in numbers.items()}
    return row | {"seconds": round(p.seconds, 3)}


def summarize(t: Training, p: Progress) -> dict[str, Any]:
    """Metrics of the last and of the best epoch, and the speed."""
    return {
        "epochs": p.epoch,
        "best_epoch": p.best_epoch,
        "monitor": t.monitor,
        "last": {
            k: float(v) for k, v in t.evaluate(finalized(t, p.state.params)).items()
        },
        "best": {k: float(v) for k, v in t.evaluate(p.best).items()},
        "devices": t.mesh.size if t.mesh else 1,
        "seconds": round(p.seconds, 3),
        "examples_per_second": round(p.examples / p.seconds) if p.seconds else None,
    }

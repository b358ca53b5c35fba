"""Trains any list of tasks: epochs on the device, and between them the host's work.

The host logs, evaluates, saves, stops early and resumes. The key of an epoch is
`fold_in(key, epoch)`, so a run that was killed and resumed is, bit for bit, the run
that was not.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from mtl.engine import batches
from mtl.engine.cpu.compiling import compiled
from mtl.engine.engine import Engine, Metrics, Order, State, make_engine
from mtl.engine.task import Data, Params, Task
from mtl.engine.weighting import Weighting
from mtl.host.checkpoint import Checkpoints
from mtl.host.errors import DivergedError
from mtl.host.logs import Log


@dataclasses.dataclass(frozen=True)
class Training:
    """All that `fit` needs.

    Attributes:
      tasks, order, optimizer, batch_size, weighting: see `engine.make_engine`.
      weights: [epochs, tasks] importance weights; 1 where a weighting sets them.
      rates: [epochs] learning rates.
      data: fields [N, ...], on the device.
      params: the initial parameters.
      key: the PRNG key of the whole run.
      evaluate: `params -> {name: number}`; names like "valid/error".
      finish: `params -> params`, from those that training moves to those that are
        evaluated and kept as the best; with batch normalisation, it puts in the
        statistics of the training set. None: they are the same.
      monitor: the metric whose lowest value marks the best epoch.
      eval_every: epochs between two evaluations; the last epoch is always evaluated.
      save_every: epochs between two checkpoints; the last epoch is always saved.
      patience: stop after so many epochs without a better `monitor`; 0: never.
    """

    tasks: Sequence[Task]
    weights: np.ndarray
    rates: np.ndarray
    data: Data
    params: Params
    key: jax.Array
    evaluate: Callable[[Params], dict[str, Any]]
    monitor: str
    batch_size: int
    order: Order = "alternate"
    optimizer: optax.GradientTransformation | None = None
    weighting: Weighting | None = None
    finish: Callable[[Params], Params] | None = None
    eval_every: int = 1
    save_every: int = 1
    patience: int = 0


class Progress(NamedTuple):
    """Where a run stands; a checkpoint holds just this."""

    state: State
    best: Params
    epoch: int = 0
    best_epoch: int = 0
    best_value: float = math.inf
    seconds: float = 0.0
    examples: int = 0


class Result(NamedTuple):
    """The state after the last epoch, the best epoch's parameters, and the summary."""

    state: State
    best: Params
    summary: dict[str, Any]


class Programs:
    """The compiled epochs of a training, one for each set of tasks with a weight.

    Trainings whose tasks are the same, and whose data has the same shape and roles, can
    share them: give the first one's to `fit` for all of them.

    Attributes:
      engine: what they are compiled from.
      seconds: what compilation took, so far.
    """

    def __init__(self, training: Training):
        t = training
        self.engine = _engine(t, batches.capacities(t.tasks, t.data, t.batch_size))
        self.seconds = 0.0
        self._epoch = _jit(self.engine, t)
        self._compiled: dict[tuple[bool, ...], Callable] = {}

    def find(self, t: Training, p: Progress) -> Callable:
        """The one for the epoch of `t` that comes after `p`."""
        active = _active(t, p)
        if active not in self._compiled:
            start = time.perf_counter()
            inputs = p.state, t.data, *_inputs(t, p.epoch)
            lowered = self._epoch.lower(*inputs, active=active)
            self._compiled[active] = lowered.compile()
            self.seconds += time.perf_counter() - start
        return self._compiled[active]


def fit(training: Training, workdir: Path, programs: Programs | None = None) -> Result:
    """Trains, or resumes what `workdir` holds.

    Args:
      training: what to do.
      workdir: gets the log and the checkpoints.
      programs: of an earlier training, to be shared; None compiles new ones.

    Raises:
      DivergedError: a loss or a parameter is not finite; checkpoints stay as they were.
    """
    t, epochs = training, len(training.weights)
    last = Checkpoints(workdir / "checkpoints" / "last")
    best = Checkpoints(workdir / "checkpoints" / "best")
    programs = programs or Programs(t)
    compiled_before = programs.seconds
    p = Progress(programs.engine.init(t.params), t.params)
    if last.epoch is not None:
        p = last.restore(p)
    with Log(workdir, p.epoch, epochs) as log:
        while p.epoch < epochs and not _stalled(p, t.patience):
            run = programs.find(t, p)
            start = time.perf_counter()
            state, metrics = _run(run, t, p)
            _check_finite(t.tasks, metrics, p.epoch + 1, last.epoch)
            p = p._replace(
                state=state,
                epoch=p.epoch + 1,
                seconds=p.seconds + time.perf_counter() - start,
                examples=p.examples + int(metrics.rows.max()),
            )
            log.advance()
            due = p.epoch == epochs or _stalled(p, t.patience)
            if due or p.epoch % t.eval_every == 0:
                params = _finished(t, p)
                numbers = t.evaluate(params)
                row = _row(t, p, metrics, numbers)
                log.write(row)
                if t.weighting:
                    memory = t.weighting.observe(state.memory, numbers)
                    p = p._replace(state=state._replace(memory=memory))
                if row[t.monitor] < p.best_value:
                    p = p._replace(best=params, best_epoch=p.epoch)
                    p = p._replace(best_value=row[t.monitor])
                    best.save(p.epoch, p.best)
            if due or p.epoch % t.save_every == 0:
                last.save(p.epoch, p)
    last.close()
    best.close()
    seconds = round(programs.seconds - compiled_before, 3)
    summary = _summary(t, p) | {"compile_seconds": seconds}
    return Result(p.state, p.best, summary)


def _engine(t: Training, capacity: Sequence[int] | None = None) -> Engine:
    return make_engine(
        t.tasks,
        batch_size=t.batch_size,
        optimizer=t.optimizer,
        order=t.order,
        capacity=capacity,
        certain=batches.certain(t.tasks, t.data, t.batch_size),
        weighting=t.weighting,
    )


def _jit(engine: Engine, t: Training) -> Any:
    return compiled(engine.epoch, t.batch_size, static_argnames="active")


def _active(t: Training, p: Progress) -> tuple[bool, ...]:
    """Which tasks have a weight in the next epoch."""
    weights = t.weights[p.epoch]
    if t.weighting and not t.weighting.in_batch:
        weights = weights * t.weighting.weights(p.state.memory, None)
    return tuple(bool(w != 0) for w in weights)


def _inputs(t: Training, epoch: int) -> tuple[np.ndarray, np.ndarray, jax.Array]:
    """Weights [tasks], rate [] and key of an epoch."""
    dtype = jax.tree.leaves(t.params)[0].dtype
    weights, rate = t.weights[epoch].astype(dtype), t.rates[epoch].astype(dtype)
    return weights, rate, jax.random.fold_in(t.key, epoch)


def _run(run_epoch: Callable, t: Training, p: Progress) -> tuple[State, Metrics]:
    """One epoch, its metrics on the host."""
    inputs = _inputs(t, p.epoch)
    state, metrics = run_epoch(p.state, t.data, *inputs)
    metrics = jax.device_get(metrics)
    if metrics.dropped.any():
        # A batch held more examples of a task than its step has room for: the epoch
        # again, with room for all.
        full = _jit(_engine(t), t)
        state, metrics = full(p.state, t.data, *inputs, active=_active(t, p))
        metrics = jax.device_get(metrics)
    return state, metrics


def _check_finite(
    tasks: Sequence[Task], metrics: Metrics, epoch: int, saved: int | None
) -> None:
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


def _stalled(p: Progress, patience: int) -> bool:
    return 0 < patience <= p.epoch - p.best_epoch


def _finished(t: Training, p: Progress) -> Params:
    return t.finish(p.state.params) if t.finish else p.state.params


def _row(
    t: Training, p: Progress, metrics: Metrics, numbers: dict[str, Any]
) -> dict[str, float]:
    """A row of the log: losses an example, weights, rate, evaluation, time."""
    row: dict[str, float] = {"epoch": p.epoch}
    weights = metrics.weights if t.weighting else t.weights[p.epoch - 1]
    for i, task in enumerate(t.tasks):
        if metrics.rows[i]:
            row[f"loss/{task.name}"] = float(metrics.loss[i] / metrics.rows[i])
        row[f"weight/{task.name}"] = float(weights[i])
    row["rate"] = float(t.rates[p.epoch - 1])
    row |= {k: float(v) for k, v in numbers.items()}
    return row | {"seconds": round(p.seconds, 3)}


def _summary(t: Training, p: Progress) -> dict[str, Any]:
    """What a run came to: metrics of the last and of the best epoch, and the speed."""
    return {
        "epochs": p.epoch,
        "best_epoch": p.best_epoch,
        "monitor": t.monitor,
        "last": {k: float(v) for k, v in t.evaluate(_finished(t, p)).items()},
        "best": {k: float(v) for k, v in t.evaluate(p.best).items()},
        "seconds": round(p.seconds, 3),
        "examples_per_second": round(p.examples / p.seconds) if p.seconds else None,
    }

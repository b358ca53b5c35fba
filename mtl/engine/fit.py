"""Trains a list of tasks: epochs on the device, and the host's work between them.

The host logs, evaluates, saves, stops early and resumes. The key of an epoch is
`fold_in(key, epoch)`, so an interrupted and resumed run equals, bit for bit, a run
without interruption. A slope, learned from eight rows:

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> def square(params, batch, key):
    ...     return (params["slope"] * batch["x"] - batch["y"]) ** 2
    >>> x = jnp.arange(8.0)
    >>> training = Training(
    ...     tasks=[Task("square", square, params=("slope",))],
    ...     loss_weights=np.ones((20, 1)),
    ...     learning_rates=np.full(20, 0.01),
    ...     data={"x": x, "y": 3 * x},
    ...     params={"slope": jnp.zeros(())},
    ...     key=jax.random.key(0),
    ...     evaluate=lambda params: {"valid/error": abs(params["slope"] - 3)},
    ...     monitor="valid/error",
    ...     batch_size=4,
    ...     eval_every=20,
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = fit(training, folder)  # doctest: +ELLIPSIS
    epoch    20 of 20  loss/square ...
    >>> round(float(result.params["slope"]), 2)
    3.0
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from mtl.engine import sharding
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.engine import Engine, Metrics, State, make_engine
from mtl.engine.spec import Order
from mtl.engine.streams import Chunks, Stream, check_fields
from mtl.engine.task import Data, Params, Task
from mtl.engine.weighting import Weighting
from mtl.host import processes
from mtl.host import workdir as workdirs
from mtl.host.checkpoint import Checkpoints
from mtl.host.errors import DivergedError
from mtl.host.logs import open_log
from mtl.host.preemption import Preemption


@dataclasses.dataclass(frozen=True)
class Training:
    """A training, before any of it is computed.

    Attributes:
      tasks, order, optimizer, batch_size, weighting: see `engine.make_engine`.
      loss_weights: [epochs, tasks]; 1 where a weighting sets them.
      learning_rates: [epochs].
      data: fields [N, ...], on the device; or a stream; each epoch trains one
        chunk of it.
      params: the initial parameters.
      key: the PRNG key of the whole run.
      evaluate: `params -> {name: number}`; names like "valid/error".
      monitor: the metric that chooses the best epoch.
      monitor_mode: whether it is lowest ("min") or highest ("max") there.
      finalize_params: `params -> params`, from those that training changes to those
        that are evaluated and saved as the best. With batch normalisation, it sets the
        statistics of the training set. None: they are the same.
      eval_every: epochs between two evaluations. The last epoch is always evaluated.
      save_every: epochs between two checkpoints. The last epoch is always saved.
      save_minutes: the longest time between two checkpoints, in minutes.
      patience: stop after so many epochs without a better `monitor`; 0: never.
      mesh: the devices that share the rows of a mini-batch (`sharding.data_mesh`);
        None: one. `finalize_params` and `evaluate` run on one device.
      quiet: whether to print nothing.
    """

    tasks: Sequence[Task]
    loss_weights: np.ndarray
    learning_rates: np.ndarray
    data: Data | Stream
    params: Params
    key: jax.Array
    evaluate: Callable[[Params], dict[str, Any]]
    monitor: str
    batch_size: int
    monitor_mode: Literal["min", "max"] = "min"
    order: Order = "alternate"
    optimizer: optax.GradientTransformation | None = None
    weighting: Weighting | None = None
    finalize_params: Callable[[Params], Params] | None = None
    eval_every: int = 1
    save_every: int = 1
    save_minutes: float = math.inf
    patience: int = 0
    mesh: Mesh | None = None
    quiet: bool = False


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


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of a training; systems 2 and 3 add fields of their own.

    Attributes:
      summary: metrics of the last and of the best epoch, and the speed. A system adds
        to it, and writes it to summary.json.
      params: the parameters of the best epoch.
      state: after the last epoch; None if a finished run was read.
    """

    summary: dict[str, Any]
    params: Params
    state: State | None = None


def fit(
    training: Training,
    workdir: str | Path,
    compiled: CompiledEpoch | None = None,
    callbacks: Sequence[Callable[[dict[str, float]], object]] = (),
) -> Result:
    """Trains, or resumes the training in `workdir`.

    Args:
      training: what to train.
      workdir: gets the log and the checkpoints.
      compiled: of an earlier training with the same tasks and data shapes; None
        compiles a new one.
      callbacks: each is called with each new row of the log, after it is written;
        of several processes, process 0 alone calls them.

    Raises:
      ValueError: the training contradicts itself; the message names the field.
      DivergedError: a loss or a parameter is not finite; checkpoints stay as they were.
      PreemptedError: SIGTERM or SIGUSR1 came; the last epoch is saved.
      WorkdirError: `workdir` cannot be made, or its checkpoint is damaged.
    """
    check(training)
    t = _on_devices(training)
    workdir, epochs = Path(workdir), len(t.loss_weights)
    workdirs.make(workdir, f"the workdir {workdir}")
    last, best = (Checkpoints(workdir / "checkpoints" / n) for n in ("last", "best"))
    train_epoch = compiled or compile_epoch(training)
    compiled_before = train_epoch.seconds
    p = _begin(t, train_epoch.engine, last)
    saved = time.monotonic()
    with (
        Preemption() as preempted,
        open_log(workdir, p.epoch, epochs, t.quiet) as log,
        Chunks(t.data, train_epoch.engine, epochs) as chunks,
    ):
        while p.epoch < epochs and not _stalled(p, t.patience):
            p, metrics = _train_epoch(train_epoch, t, p, last.epoch, chunks)
            log.advance()
            due = p.epoch == epochs or _stalled(p, t.patience)
            if due or p.epoch % t.eval_every == 0:
                p, row = _evaluated(t, p, metrics)
                log.write(row)
                for callback in callbacks if processes.is_first() else ():
                    callback(dict(row))
                if p.best_epoch == p.epoch:
                    best.save(p.epoch, p.best)
            late = time.monotonic() - saved >= 60 * t.save_minutes
            stop, late = processes.any_of_all(bool(preempted), late)
            if due or stop or late or p.epoch % t.save_every == 0:
                last.save(p.epoch, p)
                saved = time.monotonic()
            if stop and p.epoch < epochs:
                preempted.stop(p.epoch, epochs)
    last.close()
    best.close()
    processes.wait_for_all()  # Then each can read the log.
    seconds = round(train_epoch.seconds - compiled_before, 3)
    summary = summarize(t, p) | {"compile_seconds": seconds}
    return Result(summary, p.best, p.state)


def compile_epoch(t: Training) -> CompiledEpoch:
    """Its epoch, for it and for other trainings with the same tasks and shapes."""
    engine = make_engine(
        t.tasks,
        None if isinstance(t.data, Stream) else t.data,
        batch_size=t.batch_size,
        optimizer=t.optimizer,
        order=t.order,
        weighting=t.weighting,
        mesh=t.mesh,
    )
    return CompiledEpoch(engine)


def check(t: Training) -> None:
    """Refuses a training that contradicts itself, before anything is computed.

    Raises:
      ValueError: names the field, its value and the fix.
    """
    shape, tasks = np.shape(t.loss_weights), len(t.tasks)
    if len(shape) != 2 or shape[1] != tasks:
        raise ValueError(
            f"loss_weights has shape {shape}, but must be [epochs, tasks] for {tasks} "
            "tasks; see schedules.table"
        )
    if np.shape(t.learning_rates) != shape[:1]:
        raise ValueError(
            f"learning_rates has shape {np.shape(t.learning_rates)}, but must have one "
            f"value for each of the {shape[0]} epochs of loss_weights"
        )
    if not isinstance(t.data, Stream):
        check_fields(t.data)


def check_monitor(t: Training) -> None:
    """Evaluates the initial parameters, to see whether `monitor` is there."""
    names = sorted(t.evaluate(finalized(t, t.params)))
    if t.monitor not in names:
        raise ValueError(
            f"monitor={t.monitor!r}, but `evaluate` returns {', '.join(names)}"
        )


def _train_epoch(
    train_epoch: CompiledEpoch,
    t: Training,
    p: Progress,
    saved: int | None,
    chunks: Chunks,
) -> tuple[Progress, Metrics]:
    """One epoch. Its seconds do not count compilation."""
    start, compiled_before = time.perf_counter(), train_epoch.seconds
    data, engine = chunks.get(p.epoch)
    state, metrics = train_epoch(
        p.state,
        data,
        t.loss_weights[p.epoch],
        t.learning_rates[p.epoch],
        jax.random.fold_in(t.key, p.epoch),
        engine,
    )
    seconds = time.perf_counter() - start - (train_epoch.seconds - compiled_before)
    check_finite(t.tasks, metrics, p.epoch + 1, saved)
    p = p._replace(
        state=state,
        epoch=p.epoch + 1,
        seconds=p.seconds + seconds,
        examples=p.examples + int(metrics.rows.max()),
    )
    return p, metrics


def _on_devices(t: Training) -> Training:
    """The training with parameters of process 0, and arrays on all devices."""
    t = dataclasses.replace(t, params=processes.arrays_of_first(t.params))
    if isinstance(t.data, Stream):
        return t
    return dataclasses.replace(t, data=sharding.replicate(t.data, t.mesh))


def _begin(t: Training, engine: Engine, last: Checkpoints) -> Progress:
    """The progress at the last checkpoint, or before the first epoch."""
    p = Progress(sharding.replicate(engine.init(t.params), t.mesh), t.params)
    if last.epoch is not None:
        return last.restore(p)
    check_monitor(t)
    return p


def _evaluated(
    t: Training, p: Progress, metrics: Metrics
) -> tuple[Progress, dict[str, float]]:
    """Evaluates an epoch: the progress, with new best parameters, and the log's row."""
    params = finalized(t, p.state.params)
    numbers = processes.of_first(jax.device_get(t.evaluate(params)))
    row = log_row(t, p, metrics, numbers)
    value = row[t.monitor] if t.monitor_mode == "min" else -row[t.monitor]
    if value < p.best_value:
        p = p._replace(best=params, best_epoch=p.epoch, best_value=value)
    return _observed(t, p, numbers), row


def _observed(t: Training, p: Progress, numbers: dict[str, Any]) -> Progress:
    """The weighting learns from an evaluation."""
    if not t.weighting:
        return p
    weighting_state = t.weighting.observe(p.state.weighting_state, numbers)
    return p._replace(state=p.state._replace(weighting_state=weighting_state))


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


def _stalled(p: Progress, patience: int) -> bool:
    return 0 < patience <= p.epoch - p.best_epoch


def finalized(t: Training, params: Params) -> Params:
    """The parameters that are evaluated, on one device."""
    params = sharding.on_one_device(params, t.mesh)
    return t.finalize_params(params) if t.finalize_params else params


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

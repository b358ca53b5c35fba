"""Trains a list of tasks: epochs on the device, and the host's work between them.

The host logs, evaluates, saves, stops early and resumes. The key of an epoch is
`fold_in(key, epoch)`, so an interrupted and resumed run equals, bit for bit, a run
without interruption.

Examples:
    A slope, learned from eight rows:

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from mtl.engine.task import Task
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
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from mtl.engine import sharding, split_rows
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.engine import Engine, Metrics, State, make_engine
from mtl.engine.progress import (
    Progress,
    advanced,
    check_finite,
    log_row,
    stalled,
    summarize,
    with_best,
)
from mtl.engine.saving import Saving
from mtl.engine.streams import Chunks, Stream
from mtl.engine.task import Params
from mtl.engine.training import Training, check, check_monitor, finalized
from mtl.host import processes, remote
from mtl.host import workdir as workdirs
from mtl.host.errors import DivergedError
from mtl.host.logs import open_log
from mtl.host.preemption import Preemption


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
      DivergedError: a loss or a parameter is not finite; the last checkpoint stays, and
        the best parameters are saved.
      PreemptedError: SIGTERM or SIGUSR1 came; the last epoch is saved.
      WorkdirError: `workdir` cannot be made, or its checkpoint is damaged.
    """
    check(training)
    t = _on_devices(training)
    workdir = Path(workdir)
    workdirs.make(workdir, f"the workdir {workdir}")
    train_epoch = compiled or compile_epoch(training)
    compiled_before = train_epoch.seconds
    with Saving(workdir) as saving:
        p = _begin(t, train_epoch.engine, saving)
        p = _train(t, p, train_epoch, saving, workdir, callbacks)
    remote.share(workdir)  # Then each process can read the log.
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


def _train(
    t: Training,
    p: Progress,
    train_epoch: CompiledEpoch,
    saving: Saving,
    workdir: Path,
    callbacks: Sequence[Callable[[dict[str, float]], object]],
) -> Progress:
    """Trains the epochs that are left; all checkpoints are whole at the end."""
    epochs, saved = len(t.loss_weights), time.monotonic()
    with (
        Preemption() as preempted,
        open_log(workdir, p.epoch, epochs, t.quiet) as log,
        Chunks(t.data, train_epoch.engine, epochs, t.shard_data) as chunks,
    ):
        while p.epoch < epochs and not stalled(p, t.patience):
            try:
                p, metrics = _train_epoch(train_epoch, t, p, saving.epoch, chunks)
            except DivergedError:
                saving.save_best(p)
                raise
            log.advance()
            due = p.epoch == epochs or stalled(p, t.patience)
            if due or p.epoch % t.eval_every == 0:
                p, row = _evaluated(t, p, metrics)
                log.write(row)
                for callback in callbacks if processes.is_first() else ():
                    callback(dict(row))
            late = time.monotonic() - saved >= 60 * t.save_minutes
            stop, late = processes.any_of_all(bool(preempted), late)
            if due or stop or late or p.epoch % t.save_every == 0:
                saving.save(p)
                saved = time.monotonic()
            if stop and p.epoch < epochs:
                saving.wait()
                preempted.stop(p.epoch, epochs)
        saving.wait()
    return p


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
    return advanced(p._replace(state=state), metrics, seconds), metrics


def _on_devices(t: Training) -> Training:
    """The training with parameters of process 0, and arrays on all devices."""
    t = dataclasses.replace(t, params=processes.arrays_of_first(t.params))
    if isinstance(t.data, Stream):
        return t
    if t.shard_data:
        return dataclasses.replace(t, data=split_rows.place(t.data, t.mesh))
    return dataclasses.replace(t, data=sharding.replicate(t.data, t.mesh))


def _begin(t: Training, engine: Engine, saving: Saving) -> Progress:
    """The progress at the last checkpoint, or before the first epoch."""
    p = Progress(sharding.replicate(engine.init(t.params), t.mesh), t.params)
    if saving.epoch is not None:
        return saving.restore(p)
    check_monitor(t)
    return p


def _evaluated(
    t: Training, p: Progress, metrics: Metrics
) -> tuple[Progress, dict[str, float]]:
    """Evaluates an epoch: the progress, with new best parameters, and the log's row."""
    params = finalized(t, p.state.params)
    numbers = processes.of_first(jax.device_get(t.evaluate(params)))
    row = log_row(t, p, metrics, numbers)
    return _observed(t, with_best(t, p, row, params), numbers), row


def _observed(t: Training, p: Progress, numbers: dict[str, Any]) -> Progress:
    """The weighting learns from an evaluation."""
    if not t.weighting:
        return p
    weighting_state = t.weighting.observe(p.state.weighting_state, numbers)
    return p._replace(state=p.state._replace(weighting_state=weighting_state))

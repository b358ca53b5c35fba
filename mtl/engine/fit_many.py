"""Trains several runs at the same time in one program, as suits an accelerator.

The runs differ in data, initial parameters and key, such as the seeds of one config.
Each has the files that `fit` writes, so that either function resumes what the other
began. A run equals that of `fit` to rounding.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from mtl.engine import batches
from mtl.engine.compiled_epoch import CompiledEpoch
from mtl.engine.engine import Metrics, State
from mtl.engine.fit import Result, compile_epoch, fit
from mtl.engine.progress import (
    Progress,
    advanced,
    check_finite,
    log_row,
    summarize,
    with_best,
)
from mtl.engine.saving import Saving
from mtl.engine.streams import Stream
from mtl.engine.task import Data
from mtl.engine.training import Training, check, check_monitor, finalized
from mtl.host.logs import Log
from mtl.host.preemption import Preemption

Tree = TypeVar("Tree")


def fit_many(
    trainings: Sequence[Training],
    workdirs: Sequence[str | Path],
    compiled: CompiledEpoch | None = None,
) -> list[Result]:
    """Trains, or resumes the trainings in `workdirs`.

    Runs that were interrupted at different epochs train one after the other. The
    seconds of a run are its share of the time.

    Args:
      trainings: see `check_alike`.
      workdirs: of each training, with its log and its checkpoints.
      compiled: from `compile_epoch_of_runs`, of earlier trainings with the same tasks
        and data shapes; None compiles a new one.

    Raises:
      ValueError: see `check_alike`.
      DivergedError: a run diverged; the last checkpoints of all runs stay.
      PreemptedError: SIGTERM or SIGUSR1 came; the last epoch is saved.
    """
    check_alike(trainings)
    with contextlib.ExitStack() as stack:
        saving = [stack.enter_context(Saving(Path(folder))) for folder in workdirs]
        if len({s.epoch for s in saving}) == 1:
            program = compiled or compile_epoch_of_runs(trainings[0])
            return _fit(trainings, workdirs, saving, program)
    return [fit(t, folder) for t, folder in zip(trainings, workdirs, strict=True)]


def compile_epoch_of_runs(t: Training) -> CompiledEpoch:
    """The epoch of several runs, for `fit_many`."""
    return CompiledEpoch(compile_epoch(t).engine, runs_at_once=True)


def check_alike(trainings: Sequence[Training]) -> None:
    """Refuses trainings that cannot share a program.

    Raises:
      ValueError: there are none, or they differ in more than data, parameters, key and
        functions of the same meaning; or a field is set that trains one run alone.
    """
    if not trainings:
        raise ValueError("trainings must be one or more")
    for t in trainings:
        check(t)
        _check_fields(t)
    first = _common(trainings[0])
    if any(_common(t) != first for t in trainings[1:]):
        raise ValueError(
            "the trainings must agree in tasks, loss weights, learning rates, "
            "batches, order, epochs between evaluations, and the number of examples"
        )


def _check_fields(t: Training) -> None:
    """Refuses what only `fit` can train."""
    alone: dict[str, object] = {
        "patience": t.patience, "weighting": t.weighting, "mesh": t.mesh
    }  # fmt: skip
    for name, value in alone.items():
        if value:
            message = f"{name}={value}: such runs train one after the other, with fit"
            raise ValueError(message)


def _arrays(t: Training) -> Data:
    if isinstance(t.data, Stream):
        raise ValueError("data is a stream: such runs train one after the other")
    return t.data


def _common(t: Training) -> tuple[object, ...]:
    """What is the same in all runs of a program."""
    rows = batches.max_rows_per_batch(t.tasks, _arrays(t), t.batch_size)
    shapes = {name: (np.shape(x), x.dtype) for name, x in _arrays(t).items()}
    params = jax.tree.map(lambda x: (x.shape, str(x.dtype)), t.params)
    table = np.asarray(t.loss_weights).tolist(), np.asarray(t.learning_rates).tolist()
    names = [task.name for task in t.tasks]
    return (
        names, rows, shapes, params, table, t.batch_size, t.order, t.monitor,
        t.monitor_mode, t.eval_every, t.save_every, t.save_minutes,
    )  # fmt: skip


def _fit(
    trainings: Sequence[Training],
    workdirs: Sequence[str | Path],
    saving: Sequence[Saving],
    train_epoch: CompiledEpoch,
) -> list[Result]:
    t, epochs = trainings[0], len(trainings[0].loss_weights)
    compiled_before = train_epoch.seconds
    init = train_epoch.engine.init
    runs = [Progress(init(own.params), own.params) for own in trainings]
    if saving[0].epoch is None:
        for own in trainings:
            check_monitor(own)
    else:
        runs = [s.restore(p) for s, p in zip(saving, runs, strict=True)]
    data = _stack([_arrays(own) for own in trainings])
    keys = jnp.stack([own.key for own in trainings])
    state = _stack([p.state for p in runs])
    epoch, saved = runs[0].epoch, time.monotonic()
    with Preemption() as preempted, contextlib.ExitStack() as stack:
        logs = [
            stack.enter_context(
                Log(Path(folder), epoch, epochs, quiet=t.quiet or i > 0)
            )
            for i, folder in enumerate(workdirs)
        ]
        while epoch < epochs:
            state, metrics, seconds = _advance(train_epoch, t, state, data, keys, epoch)
            for m in metrics:
                check_finite(t.tasks, m, epoch + 1, saving[0].epoch)
            epoch += 1
            logs[0].advance()
            runs = [advanced(p, m, seconds) for p, m in zip(runs, metrics, strict=True)]
            due = epoch == epochs
            if due or epoch % t.eval_every == 0:
                runs = _evaluated(trainings, runs, state, metrics, logs)
            due |= time.monotonic() - saved >= 60 * t.save_minutes
            if due or preempted or epoch % t.save_every == 0:
                for i, p in enumerate(runs):
                    saving[i].save(p._replace(state=_of_run(state, i)))
                saved = time.monotonic()
            if preempted and epoch < epochs:
                for each in saving:
                    each.wait()
                preempted.stop(epoch, epochs)
    runs = [p._replace(state=_of_run(state, i)) for i, p in enumerate(runs)]
    seconds = (train_epoch.seconds - compiled_before) / len(runs)
    times = {"compile_seconds": round(seconds, 3), "runs_at_once": len(runs)}
    return [
        Result(summarize(own, p) | times, p.best, p.state)
        for own, p in zip(trainings, runs, strict=True)
    ]


def _advance(
    train_epoch: CompiledEpoch,
    t: Training,
    state: State,
    data: Data,
    keys: jax.Array,
    epoch: int,
) -> tuple[State, list[Metrics], float]:
    """One epoch: the state, the metrics of each run, and seconds without compiling."""
    start, compiled_before = time.perf_counter(), train_epoch.seconds
    now = jax.vmap(jax.random.fold_in, (0, None))(keys, epoch)
    weights, rate = t.loss_weights[epoch], t.learning_rates[epoch]
    state, metrics = train_epoch(state, data, weights, rate, now)
    seconds = time.perf_counter() - start - (train_epoch.seconds - compiled_before)
    return state, [_of_run(metrics, i) for i in range(len(keys))], seconds / len(keys)


def _evaluated(
    trainings: Sequence[Training],
    runs: Sequence[Progress],
    state: State,
    metrics: Sequence[Metrics],
    logs: Sequence[Log],
) -> list[Progress]:
    """Evaluates and logs each run, and keeps its parameters if they are the best."""
    params = [finalized(t, _of_run(state.params, i)) for i, t in enumerate(trainings)]
    # All are started before the first one is waited for.
    numbers = [t.evaluate(own) for t, own in zip(trainings, params, strict=True)]
    after = []
    for i, t in enumerate(trainings):
        row = log_row(t, runs[i], metrics[i], jax.device_get(numbers[i]))
        logs[i].write(row)
        after.append(with_best(t, runs[i], row, params[i]))
    return after


def _stack(trees: Sequence[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _of_run(tree: Tree, i: int) -> Tree:
    return jax.tree.map(lambda x: x[i], tree)

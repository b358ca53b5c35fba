"""Trains groups of runs, each in one program.

The runs of a group differ in their data: initial parameters, labelled rows, key, loss
weights. So a run here equals, to rounding, the run of `mtl.main`. One exception: a
baseline with noise or with drawn rows draws others, because it shares the program of
two tasks. The images are on the device once; each run has its own row numbers.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from ml_collections import ConfigDict

from mtl import experiment, methods, optimizers
from mtl.data.datasets import Dataset
from mtl.engine import batches
from mtl.engine.compiled_epoch import rerun_on_overflow
from mtl.engine.cpu.compiling import compiled
from mtl.engine.engine import Engine, State
from mtl.engine.task import Params
from mtl.host import checkpoint
from mtl.host.checkpoint import Checkpoints
from mtl.host.preemption import Preemption
from mtl.study import program
from mtl.study.grid import Run, RunGroup, one_config
from mtl.study.prepared import Prepared, prepare
from mtl.study.program import PER_RUN, REPLICATED, Held, Part, Shared
from mtl.tasks.batch_norm import BatchNormMlp
from mtl.tasks.network import Mlp

MEMORY_SHARE = 0.8  # Of an accelerator's memory, what a program may take.
# Compiled programs that are kept: on a CPU each takes hundreds of the 65,530 pieces of
# memory that Linux lets a process map, whatever their size.
MAX_PROGRAMS = 32


class GroupProgress(NamedTuple):
    """The progress of a group, which is all that a checkpoint holds.

    fine: bool [R]; last, best: evaluations [R] of the last and the best epoch.
    """

    state: State
    fine: np.ndarray
    last: dict[str, np.ndarray]
    best: dict[str, np.ndarray]
    best_epoch: np.ndarray
    epoch: int = 0
    seconds: float = 0.0


class GroupTrainer:
    """Trains groups of one study, one after the other.

    Args:
      config: of the study.
      dataset: that all runs draw from.

    Attributes:
      vmapped: whether the runs of a device train at once, as on an accelerator.
    """

    def __init__(self, config: ConfigDict, dataset: Dataset):
        self.vmapped = jax.default_backend() != "cpu"
        self._config, self._dataset = config, dataset
        self._mesh = jax.make_mesh((jax.device_count(),), ("run",), (AxisType.Auto,))
        held = {"valid": dataset.validation, "test": dataset.test}
        self._shared = jax.device_put(
            Shared(
                jnp.asarray(dataset.train.x),
                jnp.asarray(optimizers.learning_rates(config), jnp.float32),
                experiment.on_device(held),
            ),
            NamedSharding(self._mesh, REPLICATED),
        )
        self._programs: dict[str, jax.stages.Compiled] = {}

    def parts(self, group: RunGroup) -> list[RunGroup]:
        """Splits a group until its program fits into memory.

        What a program takes is known once it is compiled, before it runs.
        """
        room = self._limit()
        if room is None:
            return [group]
        prepared = self._prepare(group.runs)
        made = self._program(prepared, self._start(prepared), prepared.engine)
        size = math.floor(len(group.runs) * min(1.0, room / memory(made))) or 1
        cut = [group.runs[i : i + size] for i in range(0, len(group.runs), size)]
        return [RunGroup(one_config(self._config, runs[0]), runs) for runs in cut]

    def train(self, group: RunGroup, folder: Path) -> Iterator[GroupProgress]:
        """Trains or resumes a group; yields its progress at each evaluation.

        Args:
          group: runs that share their shapes.
          folder: gets checkpoints.

        Raises:
          PreemptedError: SIGTERM or SIGUSR1 came; the last evaluation is saved.
        """
        c, seconds = group.config, 60 * self._config.study.save_minutes
        prepared = self._prepare(group.runs)
        p = self._start(prepared)
        saved = time.monotonic()
        with Checkpoints(folder) as kept, Preemption() as preempted:
            if kept.epoch is not None:
                p = kept.restore(p)
            while p.epoch < c.epochs:
                yield p
                p = self._advance(prepared, p)
                due = preempted or time.monotonic() - saved > seconds
                if due and p.epoch < c.epochs:
                    kept.save(p.epoch, p)
                    checkpoint.push(folder, kept)
                    saved = time.monotonic()
                if preempted and p.epoch < c.epochs:
                    kept.wait()
                    preempted.stop(p.epoch, c.epochs)
        yield p

    def _prepare(self, runs: Sequence[Run]) -> Prepared:
        return prepare(self._config, self._dataset, runs, self._mesh)

    def _start(self, prepared: Prepared) -> GroupProgress:
        def init(seed: jax.Array) -> State:
            key = jax.random.split(jax.random.key(seed))[0]
            return prepared.engine.init(prepared.network.init(key))

        own, count = NamedSharding(self._mesh, PER_RUN), len(prepared.seeds)
        state = jax.jit(jax.vmap(init), out_shardings=own)(prepared.seeds)
        names = [f"{s}/{m}" for s in ("valid", "test") for m in ("error", "loss")]
        worst = {name: np.full(count, np.inf, np.float32) for name in names}
        zeros = np.zeros(count, np.int64)
        return GroupProgress(state, np.ones(count, bool), worst, worst, zeros)

    def _advance(self, prepared: Prepared, p: GroupProgress) -> GroupProgress:
        """To the next evaluation."""
        c, seconds = prepared.config, p.seconds
        stop = min((p.epoch // c.eval_every + 1) * c.eval_every, c.epochs)

        def run(engine: Engine) -> tuple[State, Part]:
            nonlocal seconds
            made, begun = self._program(prepared, p, engine), time.perf_counter()
            state, part = made(
                p.state, prepared.given, self._shared, np.int32(p.epoch), np.int32(stop)
            )
            part = jax.device_get(part)
            seconds += time.perf_counter() - begun
            return state, part

        state, part = rerun_on_overflow(prepared.engine, run)
        return _after(p, state, part, stop, c.monitor)._replace(seconds=seconds)

    def _program(
        self, prepared: Prepared, p: GroupProgress, engine: Engine
    ) -> jax.stages.Compiled:
        """For the tasks that still have a weight; compiled once for runs like these."""
        c, given, room = prepared.config, prepared.given, engine.spec.max_rows_per_batch
        active = _active(prepared.weights, p.epoch, c.eval_every)
        names = [task.name for task in engine.spec.tasks]
        own = c.method if c.method in methods.ADAPTIVE else ""
        name = str((names, own, c.model.hidden, room, active, given.label.shape))
        if name not in self._programs:
            while len(self._programs) >= MAX_PROGRAMS:
                del self._programs[next(iter(self._programs))]  # The oldest.
            run = program.make(
                engine, _measure(prepared.network), active, self._mesh, self.vmapped
            )
            lowered = compiled(run, c.batch_size).lower(
                p.state, given, self._shared, np.int32(0), np.int32(0)
            )
            self._programs[name] = lowered.compile()
        return self._programs[name]

    def _limit(self) -> float | None:
        """Bytes that a program may take; None if the device does not say."""
        stats = jax.devices()[0].memory_stats()
        return MEMORY_SHARE * stats["bytes_limit"] if self.vmapped and stats else None


def _measure(network: Mlp) -> Callable[..., dict[str, jax.Array]]:
    """`(params, training images, held) -> numbers`, as a single run has them."""

    def measure(params: Params, rows: batches.Rows, held: Held) -> dict[str, jax.Array]:
        if isinstance(network, BatchNormMlp):
            params = network.set_batch_stats(params, rows.table[rows.at])
        return experiment.measure(network, params, held)

    return measure


def memory(made: jax.stages.Compiled) -> int:
    """Bytes of a device that a program takes: what it is given, makes and returns."""
    m = made.memory_analysis()
    assert m is not None
    return m.argument_size_in_bytes + m.output_size_in_bytes + m.temp_size_in_bytes


def _active(weights: np.ndarray, epoch: int, few: int) -> tuple[bool, ...]:
    """The tasks of weights [R, epochs, T] that some run still steps on.

    Those that end for the last few epochs alone are kept: a program for these would
    take longer to compile than it saves.
    """
    first = min(epoch, max(weights.shape[1] - few, 0))
    return tuple(bool(w.any()) for w in np.moveaxis(weights[:, first:], 2, 0))


def _after(
    p: GroupProgress, state: State, part: Part, epoch: int, monitor: str
) -> GroupProgress:
    """The progress after a chunk of epochs; diverged runs keep their best epoch."""
    better = part.fine & p.fine & (part.row[monitor] < p.best[monitor])
    best = {k: np.where(better, v, p.best[k]) for k, v in part.row.items()}
    return p._replace(
        state=state,
        fine=p.fine & part.fine,
        last={k: np.asarray(v) for k, v in part.row.items()},
        best=best,
        best_epoch=np.where(better, epoch, p.best_epoch),
        epoch=epoch,
    )

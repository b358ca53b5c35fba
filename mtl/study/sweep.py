"""Trains many runs in one compiled program.

What runs of a bundle differ in is data: initial parameters, labelled rows, the key, the
weights of each epoch. So a run here is the run that `mtl.main` trains, to rounding.
Images are on the device once, for all runs; each has its own row numbers.

An accelerator trains the runs at once (`vmap`); a CPU trains them one after the other,
for its cache does not hold more, on as many devices as it has cores. Several devices
share the runs out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from mtl import batches, data, experiment, methods
from mtl.checkpoint import Checkpoints
from mtl.data import Dataset
from mtl.engine import State, compiled, make_engine
from mtl.study.grid import Bundle, Run, one_config
from mtl.task import Task

OWN, ALL = PartitionSpec("run"), PartitionSpec()


class Given(NamedTuple):
    """What each run is given [R, ...]: rows, labels, weights [epochs, tasks], key."""

    rows: jax.Array
    label: jax.Array
    weights: jax.Array
    key: jax.Array


class Shared(NamedTuple):
    """What all runs read: training images, the rate of each epoch, what evaluates."""

    images: jax.Array
    rates: jax.Array
    held: dict[str, Any]


class Part(NamedTuple):
    """What some epochs came to [R]: all finite, examples left out, evaluation."""

    fine: jax.Array
    dropped: jax.Array
    row: dict[str, jax.Array]


class Progress(NamedTuple):
    """Where a bundle stands; a checkpoint holds just this.

    fine: bool [R]; last, best: evaluations [R] of the last and the best epoch.
    """

    state: State
    fine: Any
    last: dict[str, Any]
    best: dict[str, Any]
    best_epoch: Any
    epoch: int = 0
    seconds: float = 0.0


class Sweep:
    """Trains bundles of one study, one after the other.

    Args:
      config: of the study.
      dataset: that all runs draw from.
    """

    def __init__(self, config: ConfigDict, dataset: Dataset):
        self.wide = jax.default_backend() != "cpu"
        self._config, self._dataset = config, dataset
        self._mesh = jax.make_mesh((jax.device_count(),), ("run",), (AxisType.Auto,))
        held = {"valid": dataset.valid, "test": dataset.test}
        self._shared = jax.device_put(
            Shared(
                jnp.asarray(dataset.train.x),
                jnp.asarray(experiment.rates(config), jnp.float32),
                experiment.on_device(held),
            ),
            NamedSharding(self._mesh, ALL),
        )
        self._programs: dict[str, Callable] = {}

    def train(self, bundle: Bundle, folder: Path) -> Iterator[Progress]:
        """Trains a bundle, or goes on with it; where it stands, at each evaluation.

        Args:
          bundle: runs that share their shapes.
          folder: keeps a checkpoint until `done`.
        """
        c, every = bundle.config, self._config.study.save_minutes * 60
        tasks = self._tasks(c)
        given = self._given(bundle.runs, tasks)
        weights = np.asarray(given.weights)
        room = self._room(c, tasks, given)
        p = self._start(bundle.runs, tasks)
        kept = Checkpoints(folder)
        if kept.epoch is not None:
            p = kept.restore(p)
        saved = time.monotonic()
        while p.epoch < c.epochs:
            yield p
            begun = time.perf_counter()
            stop = min((p.epoch // c.eval_every + 1) * c.eval_every, c.epochs)
            active = _active(weights, p.epoch, c.eval_every)
            run = partial(self._run, c, tasks, active, p.state, given, p.epoch, stop)
            state, part = run(room)
            if part.dropped.any():  # Again, with room for all.
                state, part = run((c.batch_size,) * len(tasks))
            p = _advance(p, state, part, stop, c.monitor)
            p = p._replace(seconds=p.seconds + time.perf_counter() - begun)
            if time.monotonic() - saved > every and p.epoch < c.epochs:
                kept.save(p.epoch, p)
                saved = time.monotonic()
        kept.close()
        yield p

    def _tasks(self, c: ConfigDict) -> list[Task]:
        """Those of the methods that share a program: baselines have all, weighted 0."""
        own = ConfigDict(c.to_dict())
        if own.method in ("baseline", "baseline_matched"):
            own.method = "linear"
        return methods.build(own)[0]

    def _given(self, runs: Sequence[Run], tasks: Sequence[Task]) -> Given:
        made: list[tuple[np.ndarray, ...]] = []
        keys = []
        for run in _filled(runs, jax.device_count()):
            c = one_config(self._config, run)
            rows, label = data.choose_rows(
                self._dataset.train, self._dataset.classes, run.labelled,
                run.unlabelled, run.seed, c.data.balanced,
            )  # fmt: skip
            own, table = methods.build(c)
            column = {t.name: table[:, i] for i, t in enumerate(own)}
            weights = [column.get(t.name, np.zeros(c.epochs)) for t in tasks]
            made.append((rows, label, np.stack(weights, 1).astype(np.float32)))
            keys.append(jax.random.split(jax.random.key(run.seed))[1])
        fields = [jnp.asarray(np.stack(x)) for x in zip(*made, strict=True)]
        stacked = Given(fields[0], fields[1], fields[2], jnp.stack(keys))
        return jax.device_put(stacked, NamedSharding(self._mesh, OWN))

    def _start(self, runs: Sequence[Run], tasks: Sequence[Task]) -> Progress:
        c, width = one_config(self._config, runs[0]), self._dataset.train.x.shape[1]
        seeds = np.array([r.seed for r in _filled(runs, jax.device_count())])

        def init(seed: jax.Array) -> State:
            key = jax.random.split(jax.random.key(seed))[0]
            params = experiment.init(c, key, width, self._dataset.classes)
            return make_engine(tasks, batch_size=c.batch_size).init(params)

        own = NamedSharding(self._mesh, OWN)
        state = jax.jit(jax.vmap(init), out_shardings=own)(seeds)
        worst = {f"{s}/{m}": np.full(len(seeds), np.inf, np.float32)
                 for s in ("valid", "test") for m in ("error", "loss")}  # fmt: skip
        zeros = np.zeros(len(seeds), np.int64)
        return Progress(state, np.ones(len(seeds), bool), worst, worst, zeros)

    def _run(
        self, c: ConfigDict, tasks: Sequence[Task], active: tuple[bool, ...],
        state: State, given: Given, start: int, stop: int, room: tuple[int, ...],
    ) -> tuple[State, Part]:  # fmt: skip
        """Some epochs of all the runs, by a program that is compiled once."""
        names = [task.name for task in tasks]
        name = str((names, c.model.hidden, room, active, given.label.shape))
        if name not in self._programs:
            self._programs[name] = self._compile(c, tasks, room, active)
        state, part = self._programs[name](
            state, given, self._shared, jnp.int32(start), jnp.int32(stop)
        )
        return state, jax.device_get(part)

    def _room(
        self, c: ConfigDict, tasks: Sequence[Task], given: Given
    ) -> tuple[int, ...]:
        """The capacities of the first run: all have as many rows of each kind."""
        one = {"image": given.rows[0], "label": given.label[0]}
        return batches.capacities(tasks, one, c.batch_size)

    def _compile(
        self, c: ConfigDict, tasks: Sequence[Task], room: tuple[int, ...],
        active: tuple[bool, ...],
    ) -> Callable:  # fmt: skip
        """The program that takes all runs of a bundle through some epochs."""
        engine = make_engine(
            tasks, batch_size=c.batch_size, order=c.order, capacity=room
        )

        def one(
            own: tuple[State, Given], shared: Shared, start: jax.Array, stop: jax.Array
        ) -> tuple[State, Part]:
            state, g = own
            images = {"image": batches.Rows(shared.images, g.rows), "label": g.label}

            def body(t: jax.Array, carry: Any) -> Any:
                state, fine, dropped = carry
                key = jax.random.fold_in(g.key, t)
                state, m = engine.epoch(
                    state, images, g.weights[t], shared.rates[t], key, active
                )
                fine &= m.finite & jnp.isfinite(m.loss).all()
                return state, fine, dropped + m.dropped.sum()

            first = state, jnp.array(True), jnp.array(0)
            state, fine, dropped = jax.lax.fori_loop(start, stop, body, first)
            row = experiment.measure(state.params, shared.held, c.model.activation)
            return state, Part(fine, dropped, row)

        def every(
            states: State, given: Given, shared: Shared, start: jax.Array,
            stop: jax.Array,
        ) -> tuple[State, Part]:  # fmt: skip
            each = partial(one, shared=shared, start=start, stop=stop)
            runs = (states, given)
            return jax.vmap(each)(runs) if self.wide else jax.lax.map(each, runs)

        shared_out = jax.shard_map(
            every, mesh=self._mesh, in_specs=(OWN, OWN, ALL, ALL, ALL), out_specs=OWN,
            check_vma=False,
        )  # fmt: skip
        return compiled(shared_out, c.batch_size)


def _filled(runs: Sequence[Run], devices: int) -> list[Run]:
    """The runs, the last one repeated until each device has as many."""
    return [*runs, *[runs[-1]] * (-len(runs) % devices)]


def _active(weights: np.ndarray, epoch: int, few: int) -> tuple[bool, ...]:
    """The tasks of weights [R, epochs, T] that some run still steps on.

    Those that end for the last few epochs alone are kept: a program for these would
    take longer to compile than it saves.
    """
    first = min(epoch, max(weights.shape[1] - few, 0))
    return tuple(bool(w.any()) for w in np.moveaxis(weights[:, first:], 2, 0))


def _advance(
    p: Progress, state: State, part: Part, epoch: int, monitor: str
) -> Progress:
    """What is known after some epochs; a run that diverged stays as bad as it is."""
    better = part.fine & p.fine & (part.row[monitor] < p.best[monitor])
    best = {k: np.where(better, v, p.best[k]) for k, v in part.row.items()}
    return p._replace(
        state=state, fine=p.fine & part.fine, last=part.row, best=best, epoch=epoch,
        best_epoch=np.where(better, epoch, p.best_epoch),
    )  # fmt: skip

"""System 2's epoch in `mtl.engine`: one run, or several in one program."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.mtl_contenders import load_jax
from benchmarks.structured_contenders import LEVEL
from benchmarks.structured_problem import Problem


class Ours:
    """`mtl.engine` with `structured.tasks`; weights: [runs, 3].

    how: "" one run after the other, each in the program of its active tasks; "map" or
    "vmap" all in one program, where a weight of 0 saves nothing.
    """

    def __init__(
        self, problem: Problem, weights: Sequence, device: str, how: str
    ) -> None:
        jax, jnp = load_jax(device)
        from mtl.engine import engine, task
        from mtl.engine.cpu import compiling
        from structured import assemble, config, tasks

        s, c = problem.sizes, config.default()
        c.model.input, c.model.link = (s.code,), (s.link,)
        c.model.output = (s.code_out,)
        c.reconstruct_in.level = LEVEL if problem.noisy else 0.0
        net = assemble.build_network(c, (s.side, s.side), s.outputs)
        made = tasks.make_tasks(c, net)
        every = jnp.ones(len(problem.x), bool)
        x = jnp.asarray(problem.x.reshape(-1, s.side, s.side))
        self.data = {"x": x, "y": jnp.asarray(problem.y)}
        self.data |= {"has_x": every, "has_y": every}
        e = engine.make_engine(
            made,
            self.data,
            batch_size=problem.batch,
            optimizer=tasks.make_optimizer(c),
        )
        state = e.init(task.unflatten(jax.tree.map(jnp.asarray, problem.params)))
        self.flatten, self.how = task.flatten, how
        self.weights = np.asarray(weights, problem.x.dtype)
        self.runs, self.key = len(weights), jax.random.key(0)
        if not how:
            self.states = [state] * self.runs
            jit = {"static_argnames": "active"}
            self.program = compiling.compiled(e.epoch, problem.batch, **jit)
            return

        def mapped(states: Any, data: Any, weights: Any, rate: Any, keys: Any) -> Any:
            each = lambda x: e.epoch(x[0], data, x[1], rate, x[2])  # noqa: E731
            return jax.lax.map(each, (states, weights, keys))

        at_once = jax.vmap(e.epoch, in_axes=(0, None, 0, None, 0))
        program = {"map": mapped, "vmap": at_once}[how]
        self.program = compiling.compiled(program, problem.batch)
        self.states = jax.tree.map(
            lambda x: jnp.broadcast_to(x, (self.runs, *x.shape)), state
        )

    def epoch(self, rate: float, key: Any = None, order: Any = None) -> np.ndarray:
        """One epoch; [runs, 3] sums of losses. key: of each run; None draws others."""
        import jax

        self.key, now = jax.random.split(self.key)
        keys = jax.random.split(now, self.runs)
        keys = keys if key is None else jax.numpy.stack([key] * self.runs)
        rate = self.weights.dtype.type(rate)
        if self.how:
            self.states, metrics = self.program(
                self.states, self.data, self.weights, rate, keys
            )
            return np.asarray(jax.block_until_ready(metrics.loss))
        losses = []
        for run, (weights, own) in enumerate(zip(self.weights, keys, strict=True)):
            active = tuple(bool(w) for w in weights)
            self.states[run], metrics = self.program(
                self.states[run], self.data, weights, rate, own, active=active
            )
            losses.append(np.asarray(jax.block_until_ready(metrics.loss)))
        return np.stack(losses)

    def moved(self, run: int) -> dict[str, np.ndarray]:
        """The parameters of a run, and its velocities by task and name."""
        import jax

        at = (lambda x: x[run]) if self.how else (lambda x: x)
        state = jax.tree.map(at, self.states if self.how else self.states[run])
        found = dict(self.flatten(state.params))
        for i, own in enumerate(state.optimizer_states):
            found |= {f"velocity {i} {k}": v for k, v in own[0].trace.items()}
        return {k: np.asarray(v) for k, v in found.items()}

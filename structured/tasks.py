"""The three tasks of structured output, and the variants as weights over them.

    in          J_in:  reconstruct x, over all examples that have x (F)
    out         J_out: reconstruct y, over all examples that have y (L)
    supervised  J_s:   predict y from x, over the pairs (S)

A variant is the same three tasks with other weights, so that all variants run in one
compiled program, from the same initial parameters.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mtl.engine import schedules
from mtl.engine.task import Params, Task, flatten
from mtl.tasks import corruption
from structured.network import Network

Batch = dict[str, jax.Array]
Augment = Callable[[Batch, jax.Array], Batch]

NAMES = ("in", "out", "supervised")
# Which of the tasks a variant has. "mean" has none: it predicts the mean y.
USES = {
    "mlp": ("supervised",),
    "mlp_in": ("in", "supervised"),
    "mlp_out": ("out", "supervised"),
    "mlp_in_out": ("in", "out", "supervised"),
}
VARIANTS = ("mean", *USES)

ERRORS = {"squared": jnp.square, "absolute": jnp.abs}
OPTIMIZERS: dict[str, Callable[[ConfigDict], optax.GradientTransformation]] = {
    "sgd": lambda c: optax.sgd(1.0, momentum=c.momentum),
    "adam": lambda c: optax.adam(1.0, b1=c.momentum),
}


def build(
    config: ConfigDict, network: Network, augment: Augment | None = None
) -> list[Task]:
    """The tasks, in the order of their steps.

    Args:
      config: of the run.
      network: its parts.
      augment: `(batch, key) -> batch`: what becomes of the data's rows before a task
        sees them. Each step has a key of its own.
    """
    n, c = network, config
    look: Augment = augment or (lambda batch, key: batch)

    def supervised(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        seen = look(batch, key)
        return distance(c.supervised, n.main(params, seen["x"]), seen["y"])

    main_parts = ("encoder_in", "link", "decoder_out")
    return [
        _reconstruct("in", c.reconstruct_in, n.encoder_in, n.decoder_in, look),
        _reconstruct("out", c.reconstruct_out, n.encoder_out, n.decoder_out, look),
        Task(
            "supervised",
            supervised,
            params=main_parts,
            rows=lambda data: data["has_x"] & data["has_y"],
            reduction=c.supervised.batch,
            penalty=decay(c.supervised, main_parts),
        ),
    ]


def weights(config: ConfigDict) -> np.ndarray:
    """[epochs, tasks] importance weights of `config.variant`.

    The paper's: λ_sup = 1; λ_in and λ_out 1 up to an epoch, then linearly down to 0.
    """
    curves = {
        "in": _fall(*config.schedule.input),
        "out": _fall(*config.schedule.output),
        "supervised": schedules.constant,
    }
    table = schedules.table([curves[name] for name in NAMES], config.epochs)
    return table * [name in USES[config.variant] for name in NAMES]


def rates(config: ConfigDict) -> np.ndarray:
    """[epochs] learning rates: constant, then by half a cosine down to 0."""
    c, epoch = config.optim, np.arange(config.epochs)
    start = config.epochs - c.decay_epochs
    part = np.clip((epoch - start) / max(c.decay_epochs, 1), 0, 1)
    return c.rate * (1 + np.cos(np.pi * part)) / 2


def optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """For a rate of 1; each kind of step has a state of its own."""
    c = config.optim
    made = OPTIMIZERS[c.name](c)
    if c.clip:
        made = optax.chain(optax.clip_by_global_norm(c.clip), made)
    return made


def distance(c: ConfigDict, output: jax.Array, target: jax.Array) -> jax.Array:
    """[B] errors of [B, ...]: their squares or sizes, summed or averaged."""
    errors = ERRORS[c.error](output - target).reshape(len(target), -1)
    return errors.sum(axis=1) if c.dimensions == "sum" else errors.mean(axis=1)


def decay(c: ConfigDict, parts: tuple[str, ...]) -> Callable | None:
    """L2 of the matrices of some parts, `params -> c.l2 sum W^2`; None if l2 is 0."""

    def penalty(params: Params) -> jax.Array:
        own = flatten({part: params[part] for part in parts})
        kernels = [v for name, v in own.items() if name.endswith("kernel")]
        return c.l2 * sum(jnp.sum(jnp.square(w)) for w in kernels)

    return penalty if c.l2 else None


def _reconstruct(
    name: str, c: ConfigDict, encode: Callable, decode: Callable, look: Augment
) -> Task:
    field = {"in": "x", "out": "y"}[name]
    parts = (f"encoder_{name}", f"decoder_{name}")

    def loss(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        for_look, for_noise = jax.random.split(key)
        target = look(batch, for_look)[field]
        given = corruption.corrupt(for_noise, target, c.noise, c.level)
        code = encode(params, given)
        if c.center_code:
            code = code - _mean(code, batch["valid"])
        return distance(c, decode(params, code), target)

    rows = partial(_has, field=f"has_{field}")
    penalty = decay(c, parts)
    return Task(name, loss, parts, rows, reduction=c.batch, penalty=penalty)


def _has(data: Batch, field: str) -> jax.Array:
    return data[field]


def _mean(code: jax.Array, valid: jax.Array) -> jax.Array:
    """[D]: the mini-batch mean of the codes [B, D], of the rows that count."""
    own = jnp.where(valid[:, None], code, 0)
    return own.sum(axis=0) / jnp.maximum(valid.sum(), 1)


def _fall(hold: float, end: float) -> schedules.Schedule:
    return lambda epoch: schedules.piecewise(epoch, [(hold, 1.0), (end, 0.0)])

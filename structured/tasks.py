"""Defines the three tasks of structured output, and the variants by their loss weights.

    in          J_in:  reconstruct x, over all examples that have x (F)
    out         J_out: reconstruct y, over all examples that have y (L)
    supervised  J_s:   predict y from x, over the pairs (S)

All variants have the same three tasks with other loss weights, so that they run in one
compiled program, from the same initial parameters.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mtl import optimizers
from mtl.engine import schedules
from mtl.engine.task import Params, Task, flatten
from mtl.host.checks import at_least, get, one_of, require
from mtl.tasks import corruption
from structured.network import Network

Batch = dict[str, jax.Array]
Augment = Callable[[Batch, jax.Array], Batch]

TASK_NAMES = ("in", "out", "supervised")
# The tasks with a loss weight above 0. "mean" has none: it predicts the mean y.
VARIANT_TASKS = {
    "mlp": ("supervised",),
    "mlp_in": ("in", "supervised"),
    "mlp_out": ("out", "supervised"),
    "mlp_in_out": ("in", "out", "supervised"),
}
VARIANTS = ("mean", *VARIANT_TASKS)

ERROR_FUNCTIONS = {"squared": jnp.square, "absolute": jnp.abs}


def check(c: ConfigDict) -> None:
    """Checks the variant, the tasks and their loss weights; raises ConfigError."""
    one_of(c, "variant", VARIANTS)
    for name in ("schedule.input", "schedule.output"):
        epochs = get(c, name)
        fits = len(epochs) == 2 and epochs[0] < epochs[1]
        require(fits, c, name, "two epochs, the first below the second")
    for name in ("reconstruct_in", "reconstruct_out", "supervised"):
        one_of(c, f"{name}.error", tuple(ERROR_FUNCTIONS))
        one_of(c, f"{name}.dimensions", ("sum", "mean"))
        one_of(c, f"{name}.batch", ("sum", "mean"))
        at_least(c, f"{name}.l2", 0)
    for name in ("reconstruct_in", "reconstruct_out"):
        corruption.check(c, name)


def make_tasks(
    config: ConfigDict,
    network: Network,
    augment: Augment | None = None,
    fill: np.ndarray | None = None,
) -> list[Task]:
    """Makes the tasks, in the order of their updates.

    Args:
      config: the config of the run.
      network: the parts of the network.
      augment: `(batch, key) -> batch`, applied to a task's batch before its loss. Each
        update has its own key.
      fill: what P_out gets in place of missing values of y, [D]. None if no value is
        missing. Missing values, NaN, are left out of all errors (ours).
    """
    n, c = network, config
    augment_batch: Augment = augment or (lambda batch, key: batch)

    def supervised(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        augmented = augment_batch(batch, key)
        output = n.main(params, augmented["x"])
        target, known = _split_known(augmented["y"], fill)
        return errors_per_example(c.supervised, output, target, known)

    main_parts = ("encoder_in", "link", "decoder_out")
    return [
        _reconstruct("in", c.reconstruct_in, n.encoder_in, n.decoder_in, augment_batch),
        _reconstruct(
            "out", c.reconstruct_out, n.encoder_out, n.decoder_out, augment_batch, fill
        ),
        Task(
            "supervised",
            supervised,
            params=main_parts,
            rows=lambda data: data["has_x"] & data["has_y"],
            reduction=c.supervised.batch,
            penalty=l2_penalty(c.supervised, main_parts),
        ),
    ]


def loss_weights(config: ConfigDict) -> np.ndarray:
    """Returns the loss weights of `config.variant`, [epochs, tasks].

    As in the paper, λ_sup is 1; λ_in and λ_out are 1 up to an epoch, and then fall
    linearly to 0.
    """
    curves = {
        "in": _hold_then_fall(*config.schedule.input),
        "out": _hold_then_fall(*config.schedule.output),
        "supervised": schedules.constant,
    }
    table = schedules.table([curves[name] for name in TASK_NAMES], config.epochs)
    return table * [name in VARIANT_TASKS[config.variant] for name in TASK_NAMES]


def make_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """Makes the optimizer for a learning rate of 1.

    The engine keeps one optimizer state for each kind of update.
    """
    return optimizers.make(config.optim, **momentum(config.optim))


def momentum(c: ConfigDict) -> dict[str, float]:
    """The arguments of the optimizer that `config.optim.momentum` sets."""
    names = {"sgd": "momentum", "momentum": "momentum", "adam": "b1"}
    return {names[c.name]: c.momentum} if c.name in names else {}


def errors_per_example(
    c: ConfigDict,
    output: jax.Array,
    target: jax.Array,
    known: jax.Array | None = None,
) -> jax.Array:
    """Returns the squared or absolute errors [B] of outputs [B, ...].

    Args:
      c: the config of the task: `error`, and `dimensions`, "sum" or "mean".
      output: [B, ...].
      target: [B, ...].
      known: bool [B, ...], which values of the target count; None counts all. The sum
        and the mean are those of the values that count.
    """
    errors = ERROR_FUNCTIONS[c.error](output - target).reshape(len(target), -1)
    if known is None:
        return errors.sum(axis=1) if c.dimensions == "sum" else errors.mean(axis=1)
    known = known.reshape(errors.shape)
    total = jnp.where(known, errors, 0).sum(axis=1)
    # Rows without y, which the engine ignores, have no known value.
    return total if c.dimensions == "sum" else total / jnp.maximum(known.sum(axis=1), 1)


def l2_penalty(c: ConfigDict, parts: tuple[str, ...]) -> Callable | None:
    """Returns `params -> c.l2 sum W^2` over the matrices of parts; None if l2 is 0."""

    def penalty(params: Params) -> jax.Array:
        selected = flatten({part: params[part] for part in parts})
        kernels = [v for name, v in selected.items() if name.endswith("kernel")]
        return c.l2 * sum(jnp.sum(jnp.square(w)) for w in kernels)

    return penalty if c.l2 else None


def _split_known(
    target: jax.Array, fill: np.ndarray | None
) -> tuple[jax.Array, jax.Array | None]:
    """The target with `fill` in place of NaN, and which values are not NaN."""
    if fill is None:
        return target, None
    known = ~jnp.isnan(target)
    return jnp.where(known, target, fill), known


def _reconstruct(
    name: str,
    c: ConfigDict,
    encode: Callable,
    decode: Callable,
    augment: Augment,
    fill: np.ndarray | None = None,
) -> Task:
    """Makes the task of a denoising auto-encoder on x ("in") or y ("out")."""
    field = {"in": "x", "out": "y"}[name]
    parts = (f"encoder_{name}", f"decoder_{name}")

    def loss(params: Params, batch: Batch, key: jax.Array) -> jax.Array:
        augment_key, noise_key = jax.random.split(key)
        target, known = _split_known(augment(batch, augment_key)[field], fill)
        corrupted = corruption.corrupt(noise_key, target, c.noise, c.level)
        code = encode(params, corrupted)
        if c.center_code:
            code = code - _masked_mean(code, batch["valid"])
        return errors_per_example(c, decode(params, code), target, known)

    rows = partial(_get_field, field=f"has_{field}")
    penalty = l2_penalty(c, parts)
    return Task(name, loss, parts, rows, reduction=c.batch, penalty=penalty)


def _get_field(data: Batch, field: str) -> jax.Array:
    return data[field]


def _masked_mean(code: jax.Array, mask: jax.Array) -> jax.Array:
    """The mean [D] of the codes [B, D] of a mini-batch's valid rows [B]."""
    masked = jnp.where(mask[:, None], code, 0)
    return masked.sum(axis=0) / jnp.maximum(mask.sum(), 1)


def _hold_then_fall(hold: float, end: float) -> schedules.Schedule:
    """1 up to the epoch `hold`, then linearly down to 0 at the epoch `end`."""
    return lambda epoch: schedules.piecewise(epoch, [(hold, 1.0), (end, 0.0)])

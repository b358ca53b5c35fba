"""Optimizers by name, and learning rates by epoch, of all systems.

The engine multiplies the updates of an optimizer made for a learning rate of 1 by the
epoch's learning rate, so that learning rates are data. This equals optax's own learning
rate for optimizers that are linear in it, which those of NAMES are. For `fromage` and
for the limits of `rprop` it does not; `lbfgs` and `polyak_sgd` need the loss too.
"""

import ast
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mtl.engine import schedules
from mtl.engine.task import Flat
from mtl.host.checks import at_least, one_of, require
from mtl.host.errors import ConfigError
from mtl.host.wording import nearest

NAMES = (
    *("sgd", "momentum", "adam", "adamw", "nadam", "nadamw", "radam", "amsgrad"),
    *("adamax", "adamaxw", "adabelief", "adan", "adafactor", "adadelta", "adagrad"),
    *("rmsprop", "lamb", "lars", "lion", "novograd", "sign_sgd", "sm3", "yogi"),
    *("optimistic_gradient_descent",),
)
SCHEDULES = ("constant", "linear", "cosine", "warmup_cosine")


def make(c: ConfigDict, **fixed: Any) -> optax.GradientTransformation:
    """Makes the optimizer of `config.optim`, for a learning rate of 1.

    Args:
      c: with `name`, `arguments`, `weight_decay` and `clip`.
      fixed: arguments that have a field of their own.

    Raises:
      ConfigError: `arguments` holds one that the optimizer does not have, or that has a
        field of its own.
    """
    given = arguments(c)
    for name in set(given) & set(fixed):
        raise ConfigError(
            f"config.optim.arguments={c.arguments!r} must be without {name}, which "
            "config.optim.momentum sets"
        )
    given |= fixed
    parts = [optax.clip_by_global_norm(c.clip)] if c.clip else []
    parts.append(_function(c.name)(1.0, **given))
    if c.weight_decay:
        parts.append(optax.add_decayed_weights(-c.weight_decay, _kernels))
    return optax.chain(*parts) if len(parts) > 1 else parts[0]


def learning_rates(config: ConfigDict) -> np.ndarray:
    """The learning rate of each epoch, [epochs].

    Args:
      config: with `epochs`, and in `optim` with `learning_rate`; `schedule`, the form
        of the fall to 0 over the last `decay_epochs`; and `warmup_epochs`, a linear
        rise in the first ones. The schedule "warmup_cosine" is optax's: it rises from a
        tenth, and falls over all epochs after the rise.

    Examples:
      >>> optim = {"learning_rate": 1.0, "schedule": "cosine"}
      >>> optim |= {"decay_epochs": 2, "warmup_epochs": 1}
      >>> learning_rates(ConfigDict({"epochs": 5, "optim": optim})).round(2)
      array([0.5, 1. , 1. , 1. , 0.5])
    """
    c, epochs = config.optim, config.epochs
    epoch, start = np.arange(epochs), epochs - c.decay_epochs
    if c.schedule == "warmup_cosine":
        low, high, rise = 0.1 * c.learning_rate, c.learning_rate, c.warmup_epochs
        last = max(epochs, rise + 1)
        optaxs = optax.schedules.warmup_cosine_decay_schedule(low, high, rise, last)
        return np.asarray(optaxs(epoch))
    if c.schedule == "constant" or c.decay_epochs == 0:
        rates = schedules.constant(epoch, c.learning_rate)
    elif c.schedule == "linear":
        fall = [(start, c.learning_rate), (epochs, 0.0)]
        rates = schedules.piecewise(epoch, fall)
    else:
        progress = np.clip((epoch - start) / c.decay_epochs, 0, 1)
        rates = c.learning_rate * (1 + np.cos(np.pi * progress)) / 2
    if c.warmup_epochs:
        rates = rates * np.minimum(1.0, (epoch + 1) / (c.warmup_epochs + 1))
    return rates


def check(config: ConfigDict, **fixed: Any) -> None:
    """Checks `config.optim` before any work; see `make` for `fixed`.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    c = config.optim
    one_of(config, "optim.name", NAMES)
    one_of(config, "optim.schedule", SCHEDULES)
    require(c.learning_rate > 0, config, "optim.learning_rate", "above 0")
    for name in ("decay_epochs", "warmup_epochs", "weight_decay", "clip"):
        at_least(config, f"optim.{name}", 0)
    for name in ("decay_epochs", "warmup_epochs"):
        fits = c[name] <= config.epochs
        require(fits, config, f"optim.{name}", f"at most epochs={config.epochs}")
    own = "weight_decay" in _parameters(c.name)
    what = f"0: {c.name} has its own, optim.arguments='weight_decay=0.01'"
    require(not (own and c.weight_decay), config, "optim.weight_decay", what)
    try:  # Optax checks some values when it makes an optimizer or its state.
        made = make(c, **fixed)
        params = {"kernel": jax.ShapeDtypeStruct((2, 2), jnp.float32)}
        jax.eval_shape(lambda p: made.update(p, made.init(p), p), params)
    except (TypeError, ValueError) as e:
        raise ConfigError(
            f"config.optim.arguments={c.arguments!r} must be values that {c.name} "
            f"takes: {e}"
        ) from e


def arguments(c: ConfigDict) -> dict[str, Any]:
    """`config.optim.arguments`, such as "b1=0.8, nesterov=True", as a dict.

    Raises:
      ConfigError: it is no list of keyword arguments, or the optimizer lacks one.
    """
    where = f"config.optim.arguments={c.arguments!r}"
    try:
        call = ast.parse(f"f({c.arguments})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        given = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as e:
        raise ConfigError(
            f"{where} must be arguments such as 'b1=0.8, nesterov=True'"
        ) from e
    known = _parameters(c.name)
    for name in given:
        if name not in known:
            raise ConfigError(
                f"{where} must be arguments of {c.name}: {', '.join(known) or 'none'}"
                + nearest(name, known)
            )
    return given


def _function(name: str) -> Callable[..., optax.GradientTransformation]:
    return (
        partial(optax.sgd, momentum=0.9) if name == "momentum" else getattr(optax, name)
    )


def _parameters(name: str) -> list[str]:
    """The arguments of an optimizer, without learning rate and masks."""
    names = list(inspect.signature(_function(name)).parameters)[1:]
    return [n for n in names if not n.endswith("mask")]


def _kernels(params: Flat) -> dict[str, bool]:
    """Biases and gains do not decay."""
    return {name: name.endswith("kernel") for name in params}

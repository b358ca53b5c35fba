"""Metrics of the user's, and the choice of the best epoch, in all systems.

`config.metrics` names functions of jax.numpy. `config.monitor` names the metric of the
validation set that chooses the best epoch, and `config.monitor_mode` whether it is
lowest or highest there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import jax
from ml_collections import ConfigDict

from mtl.host import plugins
from mtl.host.checks import one_of, require
from mtl.host.errors import ConfigError

Mode = Literal["min", "max"]
# `(predictions, truth) -> number`, by name; hashable, so that it can be a static
# argument.
Named: TypeAlias = tuple[tuple[str, Callable[..., Any]], ...]


def load(own: Sequence[str], taken: Collection[str]) -> Named:
    """Imports the functions of `config.metrics`, each with its name.

    Args:
      own: paths such as "package.module:kappa", which is "kappa".
      taken: the names of other metrics.

    Raises:
      ConfigError: a function cannot be imported, or has the name of another metric.
    """
    named: dict[str, Callable[..., Any]] = {}
    for path in own:
        name, function = plugins.name(path), plugins.load(path, "metrics")
        if name in taken or name in named:
            raise ConfigError(
                f"config.metrics={tuple(own)!r} must be functions of other names than "
                + ", ".join([*taken, *named])
            )
        named[name] = function
    return tuple(named.items())


def check_shapes(named: Named, *shapes: jax.ShapeDtypeStruct) -> None:
    """Checks that metrics of such arrays return one number, before training.

    Raises:
      ConfigError: names the function, and what it returns or raises.
    """
    for name, function in named:
        must = f"config.metrics: {name} must return one number from jax.numpy"
        try:
            shape = jax.eval_shape(function, *shapes).shape
        except Exception as e:  # A function of the user's may raise anything.
            why = str(e).partition("\n")[0]
            raise ConfigError(f"{must}: {type(e).__name__}: {why}") from e
        if shape != ():
            raise ConfigError(f"{must}; it returns the shape {shape}")


def check(c: ConfigDict, modes: Mapping[str, Mode], taken: Collection[str]) -> None:
    """Checks `metrics`, `monitor` and `monitor_mode` of a config.

    Args:
      c: the config.
      modes: of the system's metrics that can be the monitor.
      taken: the names of all metrics of the system.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    fits = all(isinstance(path, str) for path in c.metrics)
    require(fits, c, "metrics", "paths such as ('package.module:function',)")
    own = [f"valid/{name}" for name, _ in load(c.metrics, taken)]
    one_of(c, "monitor", [*(f"valid/{name}" for name in modes), *own])
    allowed = ("min", "max") if c.monitor in own else ("auto", "min", "max")
    one_of(c, "monitor_mode", allowed)


def mode(c: ConfigDict, modes: Mapping[str, Mode]) -> Mode:
    """Whether the best epoch has the lowest or the highest value of the monitor."""
    if c.monitor_mode == "auto":
        return modes[c.monitor.removeprefix("valid/")]
    return c.monitor_mode

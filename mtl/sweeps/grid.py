"""The grid of a sweep: fields and their values, and a config for each run."""

import ast
import hashlib
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mtl.host import fields
from mtl.host.errors import ConfigError

MOST_LETTERS = 200  # In the name of a folder; most file systems allow 255.
EXAMPLE = "--grid optim.learning_rate=0.01,0.1"


class Axis(NamedTuple):
    """A field of the config, such as "optim.learning_rate", and its values."""

    name: str
    values: list[Any]


class Run(NamedTuple):
    """A run of a sweep.

    Attributes:
      setting: the value of each field of the grid.
      seed: of the run.
      config: of the run.
    """

    setting: dict[str, Any]
    seed: int
    config: ConfigDict

    @property
    def name(self) -> str:
        """The run's folder, such as "optim.learning_rate=0.1/seed0"."""
        parts = [f"{name}={_letters(value)}" for name, value in self.setting.items()]
        return f"{_short(','.join(parts))}/seed{self.seed}".lstrip("/")


def parse(text: str, base: ConfigDict) -> Axis:
    """Reads an axis, such as "optim.learning_rate=0.01,0.1".

    Values are Python literals, such as "(50,),(60,50)"; texts need no quotation marks.

    Examples:
        >>> base = ConfigDict({"seed": 0, "optim": {"learning_rate": 0.01}})
        >>> parse("optim.learning_rate=0.01,1", base)
        Axis(name='optim.learning_rate', values=[0.01, 1.0])

    Args:
      text: the field and its values.
      base: the config that has the field.

    Raises:
      ConfigError: there is no such field, or these are no values of it.
    """
    name, _, values = (part.strip() for part in text.partition("="))
    if not values:
        raise ConfigError(f"--grid={text} must be a field and values, as {EXAMPLE}")
    if name == "seed":
        raise ConfigError(f"--grid={text} must be --seeds={values}")
    default = fields.value(base, name)
    found = [_like(value, default) for value in _literals(text, values, default)]
    if any(value in found[:i] for i, value in enumerate(found)):
        raise ConfigError(f"--grid={text} must have each value once")
    return Axis(name, found)


def parse_seeds(texts: Sequence[str]) -> list[int]:
    """Reads the seeds of the flag --seeds.

    Raises:
      ConfigError: one is no whole number, or is given twice.
    """
    if not all(text.strip().isdecimal() for text in texts):
        raise ConfigError(f"--seeds must be whole numbers, not {','.join(texts)}")
    seeds = [int(text) for text in texts]
    if len(set(seeds)) < len(seeds):
        raise ConfigError(f"--seeds must have each seed once, not {','.join(texts)}")
    return seeds


def runs(base: ConfigDict, axes: Sequence[Axis], seeds: Iterable[int]) -> list[Run]:
    """Returns the runs: each combination of values, with each seed.

    Raises:
      ConfigError: a field is on two axes, or two values have the same name.
    """
    names = [axis.name for axis in axes]
    if len(set(names)) < len(names):
        raise ConfigError(f"--grid must have each field once, not {', '.join(names)}")
    found = []
    for values in product(*(axis.values for axis in axes)):
        setting = dict(zip(names, values, strict=True))
        for seed in seeds:
            config = ConfigDict(base.to_dict())
            with config.ignore_type():  # The system's check has a better message.
                config.update_from_flattened_dict(setting | {"seed": seed})
            found.append(Run(setting, seed, config))
    folders: dict[str, Run] = {}
    for run in found:
        other = folders.setdefault(run.name, run)
        if other is not run:
            raise ConfigError(
                f"--grid has {other.setting} and {run.setting}, both with the folder "
                f"{run.name}; take other values"
            )
    return found


def _literals(text: str, values: str, default: Any) -> Sequence[Any]:
    if isinstance(default, str) and values[0] not in "'\"":
        return [value.strip() for value in values.split(",")]
    try:
        return ast.literal_eval(f"({values},)")
    except (ValueError, SyntaxError) as e:
        raise ConfigError(
            f"--grid={text} must have Python values such as {default!r}, separated by "
            "commas"
        ) from e


def _like(value: Any, default: Any) -> Any:
    """A value in the type of the field, where both stand for the same."""
    if isinstance(default, float) and type(value) is int:
        return float(value)
    return tuple(value) if isinstance(value, list) else value


def _letters(value: Any) -> str:
    """A value in letters that file names may have: (60, 50) is 60-50."""
    if isinstance(value, tuple):
        return "-".join(map(_letters, value)) or "none"
    return re.sub(r"[^\w.+-]+", "_", str(value))


def _short(name: str) -> str:
    if len(name) <= MOST_LETTERS:
        return name
    return f"{name[:MOST_LETTERS]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"

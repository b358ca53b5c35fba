"""Checks of config fields; an error names the field, its value and valid values."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mtl.host.errors import ConfigError
from mtl.host.wording import nearest

PRECISIONS = ("default", "high", "highest")


def check_run(c: ConfigDict) -> None:
    """Checks the fields that the runs of systems 1 and 2 share.

    Raises:
      ConfigError: names the field, its value and the allowed values.
    """
    one_of(c, "precision", PRECISIONS)
    for name in ("epochs", "batch_size", "eval_every", "save_every"):
        at_least(c, name, 1)
    for name in ("seed", "patience", "save_minutes", "devices"):
        at_least(c, name, 0)
    require(c.seed < 2**32, c, "seed", "below 2**32")


def check_variant(variant: str, *known: str) -> None:
    """Checks the variant in `--config FILE:variant`.

    Raises:
      ConfigError: it is none of the known ones.
    """
    if variant not in ("", *known):
        names = ", ".join(known)
        raise ConfigError(f"--config has no variant {variant!r}; there is {names}")


def get(c: ConfigDict, name: str) -> Any:
    """The field of a dotted name."""
    for part in name.split("."):
        c = c[part]
    return c


def require(holds: bool, c: ConfigDict, name: str, what: str) -> None:
    """Raises ConfigError, saying what the field must be, if that does not hold."""
    if not holds:
        raise ConfigError(f"config.{name}={get(c, name)!r} must be {what}")


def one_of(c: ConfigDict, name: str, allowed: Sequence[str | int]) -> None:
    """The field must be one of these."""
    hint = nearest(get(c, name), allowed)
    what = f"one of {', '.join(map(str, allowed))}{hint}"
    require(get(c, name) in allowed, c, name, what)


def path_for_source(c: ConfigDict, paths: Mapping[str, str]) -> None:
    """A source of files needs `config.data.path`; `paths` has what it must be."""
    source = c.data.source
    if source in paths:
        what = f"{paths[source]} with data.source={source!r}"
        require(bool(c.data.path), c, "data.path", what)


def at_least(c: ConfigDict, name: str, least: float) -> None:
    """The field must not be less."""
    require(get(c, name) >= least, c, name, f"at least {least}")

"""Functions and classes of the user's, which a config names by their paths."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from mtl.host.errors import ConfigError, broken_file


def name(path: str) -> str:
    """The name of the function."""
    return path.split(":")[-1]


def load(path: str, field: str) -> Callable[..., Any]:
    """Imports a function, also from the current folder.

    Args:
      path: such as "package.module:function".
      field: of the config, for the message.

    Raises:
      ConfigError: there is no such module or function, or the module fails.
    """
    module, _, function = path.partition(":")
    must = f"config.{field}={path!r} must be like 'package.module:function'"
    if not (module and function):
        raise ConfigError(must)
    if os.getcwd() not in sys.path:  # A program of the package does not have it.
        sys.path.append(os.getcwd())
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as e:
        raise ConfigError(f"{must}: {e}") from e
    except Exception as e:  # The user's module may raise anything.
        raise ConfigError(f"config.{field}={path!r}: {broken_file(e)}") from e
    if not callable(found):
        raise ConfigError(f"{must}: {function} is no function")
    return found

"""What all launchers share: flags, quiet logs, and errors that a user can read."""

import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from mtl.host.errors import ConfigError, Error


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reject_extra_args(arguments: Sequence[str]) -> None:
    """Refuses arguments that are no flags.

    Raises:
      UsageError: there are some.
    """
    if arguments:
        raise app.UsageError(f"unknown arguments: {' '.join(arguments)}")


def launch(work: Callable[[Sequence[str]], str], *required: str) -> None:
    """Parses the flags, calls `work` and prints what it returns; exits.

    Args:
      work: takes the arguments that are no flags.
      required: flags that must be given.

    An error that a user can mend (`Error`, or a file that cannot be read or written) is
    printed to standard error without a traceback, and the exit status is 1.
    """

    def main(argv: Sequence[str]) -> None:
        # JAX and Orbax log much; only warnings are shown without --verbosity.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        for name in required:
            if flags.FLAGS[name].value in ("", []):
                raise ConfigError(f"--{name} must not be empty")
        print(work(argv[1:]))

    flags.mark_flags_as_required(required)
    try:
        app.run(main, flags_parser=_parse)
    except (Error, OSError) as e:
        sys.exit(f"error: {e}")


def _parse(argv: list[str]) -> list[str]:
    """Parses the flags: the config file, and changes of its fields, among them."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as e:
        raise ConfigError(f"the config has no such field, or breaks: {e}") from e

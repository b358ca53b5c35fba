"""What all launchers share: flags, quiet logs, and errors that a user can read."""

import io
import os
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from mtl.host.errors import ConfigError, Error


def cores() -> int:
    """How many this process may use."""
    few = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if few else os.cpu_count() or 1


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

    What a user can mend, an `Error` or a file that cannot be read or written, goes to
    standard error without a traceback; the exit status is then 1. So is it on Ctrl-C.
    """

    def main(argv: Sequence[str]) -> None:
        # JAX and Orbax tell everything; warnings are enough unless asked for more.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        for name in required:
            if flags.FLAGS[name].value in ("", []):
                raise ConfigError(f"--{name} must not be empty")
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files may hold bytes that the terminal's encoding lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        print(work(argv[1:]))

    flags.mark_flags_as_required(required)
    try:
        app.run(main, flags_parser=_parse)
    except (Error, OSError) as e:
        sys.exit(f"error: {e}")
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _parse(argv: list[str]) -> list[str]:
    """The flags, among them the config file and what changes its fields."""
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError) as e:
        raise ConfigError(f"the config has no such field, or breaks: {e}") from e

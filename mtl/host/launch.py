"""What all launchers share: flags, quiet logs, and errors that a user can read."""

import atexit
import contextlib
import io
import os
import signal
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from logging import Formatter, LogRecord

from absl import app, flags, logging
from ml_collections import ConfigDict

from mtl.host import fields, flag_errors, named_configs, remote_flags
from mtl.host.errors import ConfigError, Error, PreemptedError
from mtl.host.preemption import SIGNALS

# A training that a signal ended; sysexits.h calls it a temporary failure.
PREEMPTED = 75
HELP = ("-h", "--h", "-help", "--help")
SMOKE = "smoke"  # The variant of a config that checks the program in seconds.
SMOKE_NOTE = (
    "A smoke config: it checks that the program works; its error means nothing."
)


class _PlainFormatter(Formatter):
    """Writes "warning: TEXT", without time, process and line of the source."""

    def format(self, record: LogRecord) -> str:
        return f"{record.levelname.lower()}: {super().format(record)}"


class Terminated(KeyboardInterrupt):
    """A signal ended the program outside of a training."""


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reject_extra_args(arguments: Sequence[str]) -> None:
    """Refuses arguments that are no flags.

    Raises:
      ConfigError: there are some.
    """
    if arguments:
        raise ConfigError(
            f"unknown arguments: {' '.join(arguments)}; write a flag as --NAME=VALUE, "
            "without spaces"
        )


def launch(
    work: Callable[[Sequence[str]], str],
    *required: str,
    default: Callable[[], ConfigDict] | None = None,
    stages: Sequence[Callable[[], ConfigDict]] = (),
    leave_at_once: bool = False,
) -> None:
    """Parses the flags, calls `work` and prints what it returns; exits.

    Args:
      work: takes the arguments that are no flags.
      required: flags that must be given.
      default: makes the default config; `--help` shows its fields.
      stages: make the default configs of other stages; `--help` shows these fields too.
      leave_at_once: end the process without freeing all objects of JAX, which takes a
        third of a second. No thread may still work when `work` returns.

    An error that a user can mend (`Error`, or a file that cannot be read or written) is
    printed to standard error without a traceback, and the exit status is 1, as it is on
    Ctrl-C. It is 75 if a signal ended a training that the same command continues.
    """

    def main(argv: Sequence[str]) -> None:
        # JAX and Orbax log much; only warnings are shown without --verbosity.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        logging.get_absl_handler().setFormatter(_PlainFormatter())
        for number in SIGNALS:
            signal.signal(number, _stop)
        remote_flags.check()
        for name in required:
            if flags.FLAGS[name].value in ("", []):
                raise ConfigError(f"--{name} must not be empty")
        if isinstance(sys.stdout, io.TextIOWrapper):
            # Names of files may hold bytes that the terminal's encoding lacks.
            sys.stdout.reconfigure(errors="backslashreplace")
        if text := work(argv[1:]):
            print(text, flush=True)
            if named_configs.variant() == SMOKE:
                print(SMOKE_NOTE)

    defaults = (*([default] if default else []), *stages)
    if any(a in HELP for a in sys.argv[1:]):
        print(usage(*defaults))
        sys.exit(0)
    flags.mark_flags_as_required(required)
    try:
        app.run(main, flags_parser=partial(flag_errors.parse, defaults=defaults))
    except SystemExit as e:
        if leave_at_once and not e.code:
            _leave("", 0)
        raise
    except (PreemptedError, Terminated, KeyboardInterrupt) as e:
        _leave(*ending(e))
    except (Error, OSError) as e:
        sys.exit(ending(e)[0])


def ending(e: BaseException) -> tuple[str, int]:
    """The last message of a program that ends with an error, and its exit status."""
    if isinstance(e, (PreemptedError, Terminated)):
        return str(e), PREEMPTED
    if isinstance(e, KeyboardInterrupt):
        return str(e) or "interrupted", 1
    if isinstance(e, (Error, OSError)):
        return f"error: {e}", 1
    return "".join(traceback.format_exception(e)), 1


def _leave(message: str, status: int) -> None:
    """Prints to standard error and exits, without the end of the interpreter.

    XLA may still compile or compute in threads of its own. They crash, now and then, if
    the interpreter frees their objects.
    """
    if message:
        with contextlib.suppress(OSError):  # Nobody may be reading any more.
            print(message, file=sys.stderr, flush=True)
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


def _stop(number: int, _: object) -> None:
    """Ends the program as Ctrl-C does; a training saves first, see `Preemption`."""
    name = signal.Signals(number).name
    raise Terminated(f"stopped by {name}; the same command continues")


def usage(*defaults: Callable[[], ConfigDict]) -> str:
    """What a program does, its flags, and the fields of its configs."""
    parts = [sys.modules["__main__"].__doc__ or "", flags.FLAGS.main_module_help()]
    for default in defaults:
        stage = default().get("stage")
        where = f" of stage {stage}" if stage else ""
        parts.append(f"Fields of the config{where}, with their defaults:")
        for field in fields.describe(default):
            line = f"  --config.{field.name}={field.default!r}"
            about = textwrap.wrap(field.comment, 80)
            parts[-1] += "\n".join(["", line, *(f"      {x}" for x in about)])
    return "\n\n".join(part.strip("\n") for part in parts)

"""What all launchers share: flags, quiet logs, and errors that a user can read."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from mtl.errors import Error


def no_more(arguments: Sequence[str]) -> None:
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

    An `Error` goes to standard error as one line without a traceback; the exit status
    is then 1.
    """

    def main(argv: Sequence[str]) -> None:
        # JAX and Orbax tell everything; warnings are enough unless asked for more.
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        try:
            print(work(argv[1:]))
        except Error as e:
            sys.exit(f"error: {e}")

    flags.mark_flags_as_required(required)
    app.run(main)

"""What a launcher prints without a traceback: the user can mend it."""

import traceback


class Error(Exception):
    """Base of all errors that a user can mend."""


class ConfigError(Error):
    """A config field has a value that makes no sense."""


class DataError(Error):
    """A data file is missing, broken or of another kind; names file and fix."""


class WorkdirError(Error):
    """The working directory does not fit what is asked of it."""


class PreemptedError(Error):
    """A signal ended the training; the same command continues it."""


class DivergedError(Error):
    """A loss or a parameter stopped being finite; names epoch and task."""


def broken_file(e: BaseException) -> str:
    """Returns in one line where the code of a user's file failed, and why."""
    if isinstance(e, SyntaxError):
        return f"{e.filename}, line {e.lineno}: {type(e).__name__}: {e.msg}"
    last = traceback.extract_tb(e.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}: {type(e).__name__}: {e}"


def reason(e: Exception) -> str:
    """Returns in one line why something failed, for a table."""
    if isinstance(e, Error):
        return "; ".join(line.strip() for line in str(e).splitlines())
    if isinstance(e, MemoryError):
        return "the memory is full; close other programs"
    if isinstance(e, OSError):
        return " ".join(str(e).split())
    text = " ".join(str(e).split())
    return f"an unexpected error, please report it: {type(e).__name__}: {text}"

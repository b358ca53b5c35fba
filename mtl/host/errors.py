"""What a launcher prints without a traceback: the user can mend it."""


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

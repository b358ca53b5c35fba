"""Runs launchers, as programs of their own or within this process."""

import contextlib
import io
import os
import runpy
import subprocess
import sys
import warnings
from unittest import mock

from absl import app, flags

from mtl.host import launch
from tests.conftest import ROOT

TIMEOUT_S = 600  # Many times what a launcher takes, for a computer that is busy.


def run(module, *arguments):
    """Runs `python -m module` as a user does; returns the finished process."""
    places = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | places,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def call(module, *arguments):
    """Runs a launcher without a process, which would import JAX first.

    Returns what `run` returns.
    """
    command = [module, *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", command),
        mock.patch.object(app, "run", _run_main),
        mock.patch.object(launch, "_leave", _leave),
        warnings.catch_warnings(action="ignore"),  # A test would raise them.
        _flags_of_its_own(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _exit_code(module)
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def _run_main(main, flags_parser):
    """Replaces absl's function, which also changes this process's logs and signals."""
    sys.exit(main(flags_parser(sys.argv)))


def _leave(message, status):
    """Replaces a function that ends this process."""
    print(message, end="\n" if message else "", file=sys.stderr)
    sys.exit(status)


@contextlib.contextmanager
def _flags_of_its_own():
    """Removes the flags that are defined within the context."""
    before = set(flags.FLAGS)
    try:
        yield
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def _exit_code(module):
    """Runs a module, and does what Python does at the end of a program."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
            return 1
        return e.code or 0
    return 0

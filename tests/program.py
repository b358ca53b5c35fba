"""Runs a launcher as a user does."""

import os
import subprocess
import sys

from tests.conftest import ROOT

TIMEOUT_S = 600  # Many times what a launcher takes, for a computer that is busy.


def run(module, *arguments, folder=ROOT, **variables):
    """Runs `python -m module` in a folder; returns the finished process."""
    places = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=folder,
        env=os.environ | places | variables,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )

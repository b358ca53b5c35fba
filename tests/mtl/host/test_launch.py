"""The end of a program."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import atexit, sys
from mtl.host import launch

class Kept:
    def __del__(self):
        print("freed")

kept, words = Kept(), sys.argv.pop(1)
atexit.register(print, "closed")
launch.launch(lambda arguments: words, leave_at_once=sys.argv.pop(1) == "at once")
"""


def run(words, end, stdout=subprocess.PIPE):
    """Runs a program that prints some words; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, words, end],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("end", ["at once", "later"])
def test_a_program_may_leave_before_its_objects_are_freed(end):
    done = run("found", end)
    assert (done.returncode, done.stderr) == (0, "")
    freed = [] if end == "at once" else ["freed"]
    assert done.stdout.splitlines() == ["found", "closed", *freed]


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = run("found", "at once", full)
    assert done.returncode == 1
    assert "error: [Errno 28] No space left on device" in done.stderr

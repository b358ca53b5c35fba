"""The end of a program."""

import subprocess
import sys

import pytest

from tests import program
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


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--workdr=x"], "unknown flag --workdr; did you mean --workdir?"),
        (["--qqq=x"], "unknown flag --qqq; --help shows all flags"),
        (["--run=x"], "unknown flag --run; --help shows all flags"),
        (["--config=digits:smoke"], "--workdir must be given; --help shows all flags"),
        ([], "--config and --workdir must be given; --help shows all flags"),
        (
            ["--config=digits:smoke", "--config.epochs=abc"],
            "--config.epochs=abc: 'abc' is no whole number; --help shows all flags",
        ),
        (
            ["--config=digits:smoke", "--config.optim.learning_rate=fast"],
            "--config.optim.learning_rate=fast: 'fast' is no number; "
            "--help shows all flags",
        ),
        (
            ["--config=digits:smoke", "--workdir=x", "--config.epochs", "=", "5"],
            "--config.epochs==: '=' is no whole number; --help shows all flags",
        ),
        (
            ["--config=digits:smoke", "--workdir=x", "extra"],
            "unknown arguments: extra; write a flag as --NAME=VALUE, without spaces",
        ),
        (["--epochs=3"], "unknown flag --epochs; did you mean --config.epochs?"),
        (
            ["--optim.learning_rate=1"],
            "unknown flag --optim.learning_rate; did you mean "
            "--config.optim.learning_rate?",
        ),
        (
            ["--config=digits:smoke", "--config.shard_data=maybe"],
            "--config.shard_data=maybe: Non-boolean argument to boolean flag; "
            "--help shows all flags",
        ),
    ],
)
def test_a_wrong_flag_is_one_plain_line(flags, said):
    done = program.call("mtl.main", *flags)
    assert (done.returncode, done.stderr) == (1, f"error: {said}\n")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--method=papr", "vertebrae, paper; did you mean paper?"),
        ("--level=9", "T10, T11, T12, L1, L2, L3, L4, L5; --help shows all flags"),
    ],
)
def test_a_flag_of_a_few_values_names_them(flag, said):
    done = program.call("l3spot.predict", "--scans=a", "--out=b", flag)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {flag} must be one of {said}\n",
    )


def test_a_field_of_the_other_stage_is_no_field():
    """Only the config of L3 has a monitor, and only that of the vertebrae has ribs."""
    flags = ["--workdir=x", "--config=vertebrae:smoke"]
    done = program.call("l3spot.main", *flags, "--config.monitor=valid/mean_mm")
    assert done.returncode == 1
    assert done.stderr.startswith("error: config.monitor is no field; ")


def test_an_error_in_a_config_file_names_its_line(tmp_path):
    file = tmp_path / "own.py"
    file.write_text("def get_config():\n    return {}['a']\n")
    done = program.call("mtl.main", f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert done.stderr == f"error: {file}, line 2: KeyError: 'a'\n"


WARNS = """
from absl import logging
from mtl.host import launch
launch.launch(lambda arguments: logging.warning("one is %s", "odd"))
"""


def test_a_warning_is_plain():
    """It has no time, process and line of the source."""
    command = [sys.executable, "-c", WARNS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "warning: one is odd\n"


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "w") as full:
        done = run("found", "at once", full)
    assert done.returncode == 1
    assert "error: [Errno 28] No space left on device" in done.stderr

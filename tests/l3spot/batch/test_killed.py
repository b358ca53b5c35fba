"""Runs of processes that are killed at any moment."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from l3spot import predict
from l3spot.predict import BatchOptions
from l3spot.report.predict_scan import PAPER, PredictOptions
from tests.conftest import ROOT
from tests.l3spot import runs
from tests.l3spot.batch.test_resume import table

pytestmark = pytest.mark.slow

COUNT = 24
TIMEOUT_S = 300
# Python imports this in each process: files appear slowly, one after the other.
SLOW = """
import os, time

replace = os.replace

def slow_replace(*arguments):
    time.sleep(0.05)
    replace(*arguments)

os.replace = slow_replace
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Returns a folder of links to a scan; the last one is broken."""
    folder = tmp_path_factory.mktemp("scans")
    whole = runs.scan(tmp_path_factory.mktemp("one") / "whole")
    broken = runs.scan(tmp_path_factory.mktemp("few") / "few", runs.trunk()[:3])
    for number in range(COUNT):
        place = folder / f"s{number:03d}"
        place.symlink_to(broken if number == COUNT - 1 else whole)
    return folder


@pytest.fixture(scope="module")
def expected(scans, tmp_path_factory):
    """Returns the table of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    options, batch = PredictOptions(method=PAPER), BatchOptions(workers=1)
    predict.predict(scans, out, runs.model("found"), options=options, batch=batch)
    return table(out)


@pytest.fixture
def start(scans, tmp_path):
    """Returns a function that starts l3spot.predict in a process."""
    started, slow = [], tmp_path / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(SLOW)
    paths = {"PYTHONPATH": f"{slow}{os.pathsep}{ROOT}", "JAX_PLATFORMS": "cpu"}

    def start(*flags):
        command = [sys.executable, "-m", "l3spot.predict"]
        command += [f"--scans={scans}", f"--out={tmp_path / 'out'}", "--method=paper"]
        command += [f"--checkpoint={runs.model('found')}", *flags]
        process = subprocess.Popen(
            command, env=os.environ | paths, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    """Returns the exit status of a process, and what it wrote to standard error."""
    _, said = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in said
    return process.returncode, said


def wait_for(process, condition):
    """Waits for a condition while a process runs, and returns its value."""
    end = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def wait_for_results(process, out, count):
    """Waits until so many scans have a picture."""
    wait_for(process, lambda: len(list(out.glob("s???.png"))) >= count)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def family(pid, text):
    """Returns the processes below a process that have a text in their command."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True
    )
    lines = [line.split(None, 2) for line in listed.stdout.splitlines()]
    members = {str(pid)}
    while more := {own for own, parent, _ in lines if parent in members} - members:
        members |= more
    return [int(own) for own, _, args in lines if own in members and text in args]


def test_processes_that_are_killed_leave_results_that_hold(start, expected, tmp_path):
    """Kills the run, or one of its workers, at random; then it runs to its end."""
    rng, out = np.random.default_rng(0), tmp_path / "out"
    flags = ("--workers=2", "--retry_failed")
    for victim in ("parent", "parent", "worker"):
        run = start(*flags)
        workers = wait_for(run, functools.partial(family, run.pid, "spawn_main"))
        wait_for_results(run, out, len(list(out.glob("s???.png"))) + 1)
        time.sleep(rng.uniform(0, 0.3))
        kill(run.pid if victim == "parent" else workers[0])
        run.communicate(timeout=TIMEOUT_S)
    status, said = finish(start(*flags))
    assert status == 1  # One scan is broken.
    assert "1 scan failed" in said
    assert table(out) == expected

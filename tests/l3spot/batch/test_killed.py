"""Runs of processes that are killed at any moment, or that work at once."""

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
# Runs a launcher that waits after its first scan, until there is the file argv[1].
WAITS = """
import os, runpy, sys, time
from l3spot.report import predict_scan

go, whole = sys.argv.pop(1), predict_scan.predict_scan

def wait(*arguments):
    results = whole(*arguments)
    while not os.path.exists(go):
        time.sleep(0.05)
    return results

predict_scan.predict_scan = wait
runpy.run_module("l3spot.predict", run_name="__main__", alter_sys=True)
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

    def start(*flags, code=()):
        command = [sys.executable, *(code or ("-m", "l3spot.predict"))]
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
        process.wait()
        process.stderr.close()


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


def test_shards_work_in_a_folder_at_once_and_none_twice(start, expected, tmp_path):
    go, out = tmp_path / "go", tmp_path / "out"
    first = start("--shard=1/2", code=("-c", WAITS, str(go)))
    wait_for_results(first, out, 1)
    for same in ("--shard=1/2", "--shard=2/3", "--workers=1"):
        status, said = finish(start(same))
        assert status == 1
        assert "another process is finding vertebrae of the part 1/2 in" in said
    other = start("--shard=2/2")
    wait_for_results(other, out, 3)
    kill(other.pid)
    other.communicate()
    finish(start("--shard=2/2"))
    go.touch()
    status, _ = finish(first)
    assert status == 1  # The table has the broken scan of the other shard.
    assert table(out) == expected


@pytest.mark.parametrize("victim", ["ray::result", "raylet/raylet", "gcs_server"])
def test_ray_processes_that_are_killed_leave_results_that_hold(
    start, expected, tmp_path, victim
):
    """Kills a worker, which Ray replaces, or the head; then the run is repeated."""
    pytest.importorskip("ray", reason="Ray is not installed")
    out = tmp_path / "out"
    run = start("--engine=ray", "--workers=2")
    wait_for_results(run, out, 1)
    (first, *_) = family(run.pid, victim)
    kill(first)
    run.communicate(timeout=TIMEOUT_S)
    if victim == "ray::result":
        assert table(out) == expected
    finish(start("--engine=ray", "--workers=2", "--retry_failed"))
    assert table(out) == expected

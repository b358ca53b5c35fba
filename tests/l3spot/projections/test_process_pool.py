"""Processes that finish, fail, are killed or are interrupted."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from l3spot.projections import process_pool
from tests.conftest import ROOT

FOREVER_S = 3600  # Longer than a test takes on a computer that is busy.
BUSY_S = 600  # No test takes as long, unless a process sleeps on.


def work(item):
    """Doubles an item; some words make it fail."""
    if item == "raise":
        raise ValueError("as asked")
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "sleep":
        time.sleep(FOREVER_S)
    return 2 * item


def results(items, workers):
    return dict(process_pool.map_unordered(work, items, workers))


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_each_item_has_its_result(workers):
    assert results([1, 2, 3, "a"], workers) == {0: 2, 1: 4, 2: 6, 3: "aa"}
    assert results([], workers) == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_does_not_stop_the_other_items(workers):
    result = results([1, "raise", 2], workers)
    assert isinstance(result[1], ValueError)
    assert (result[0], result[2]) == (2, 4)


@pytest.mark.slow
def test_a_killed_process_loses_only_its_own_item():
    result = results([1, "die", 2, "die", 3, 4], 2)
    died = [
        n for n, r in result.items() if isinstance(r, process_pool.ProcessDiedError)
    ]
    assert sorted(died) == [1, 3]
    assert "ended with -9" in str(result[1])
    assert [result[n] for n in (0, 2, 4, 5)] == [2, 4, 6, 8]


def kill_next_process(others):
    while not (started := {*multiprocessing.active_children()} - others):
        time.sleep(0.01)
    started.pop().kill()


def test_a_process_killed_while_it_starts_loses_only_its_own_item():
    """pebble's pool would lose all items, and may wait for ever."""
    others = {*multiprocessing.active_children()}
    killer = threading.Thread(target=kill_next_process, args=(others,))
    killer.start()
    result = results(range(6), 2)
    killer.join()
    (died,) = (r for r in result.values() if isinstance(r, Exception))
    assert str(died) == "its process ended with -9"
    assert sum(result[n] == 2 * n for n in range(6)) == 5


def test_processes_end_if_the_caller_stops_iterating():
    start = time.monotonic()
    for number, _ in process_pool.map_unordered(work, [1, "sleep"], 2):
        assert number == 0
        break
    assert time.monotonic() - start < BUSY_S


INTERRUPTED = """
import os, signal, sys, time
from pathlib import Path
from l3spot.projections import process_pool
from mtl.host import workdir

def slow(path):
    # The temporary file is written, and the rename never happens.
    os.replace = lambda *_: time.sleep(3600)
    workdir.write_bytes(Path(path), b"half a file")

if __name__ == "__main__":
    # In the background, a shell ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(process_pool.map_unordered(slow, sys.argv[1:], 2))
    except KeyboardInterrupt:
        sys.exit(7)
"""


def ended(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_and_leaves_no_partial_file(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(INTERRUPTED)
    out = tmp_path / "out"
    out.mkdir()
    files = str(out / "1"), str(out / "2")
    env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.Popen(
        [sys.executable, str(script), *files], env=env, start_new_session=True
    )
    while len(list(out.iterdir())) < 2:
        time.sleep(0.05)
        assert run.poll() is None
    os.killpg(run.pid, signal.SIGINT)
    assert run.wait(BUSY_S) == 7
    assert list(out.iterdir()) == []
    # Python's resource tracker ends a little later.
    assert any(ended(run.pid) or time.sleep(0.05) for _ in range(20 * BUSY_S))

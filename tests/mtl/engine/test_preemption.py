"""A signal saves and ends a training, which continues as if it had not been sent."""

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mtl.engine import fit
from mtl.host import logs
from mtl.host.checkpoint import Checkpoints
from mtl.host.errors import PreemptedError
from mtl.host.preemption import SIGNALS, Preemption
from tests.mtl import tiny


def signalled(epoch, number, **changes):
    """A training that sends its own process a signal in an epoch's evaluation."""
    count = iter(range(99))

    def evaluate(params):
        if next(count) == epoch:  # The initial parameters are evaluated as well.
            os.kill(os.getpid(), number)
        return tiny.training().evaluate(params)

    return tiny.training(evaluate=evaluate, **changes)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_and_stops(tmp_path, number):
    former = signal.getsignal(number)
    whole = fit.fit(tiny.training(), tmp_path / "whole")
    name = signal.Signals(number).name
    said = f"stopped by {name} and saved after epoch 5 of 12; the same command"
    with pytest.raises(PreemptedError, match=said):
        fit.fit(signalled(5, number, save_every=99), tmp_path / "parts")
    assert signal.getsignal(number) == former
    assert Checkpoints(tmp_path / "parts" / "checkpoints" / "last").epoch == 5
    parts = fit.fit(tiny.training(), tmp_path / "parts")
    for one, other in zip(
        tiny.arrays(whole.state).values(),
        tiny.arrays(parts.state).values(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    epochs = [row["epoch"] for row in logs.read_rows(tmp_path / "parts")]
    assert epochs == list(range(1, 13))


def test_a_signal_in_the_last_epoch_lets_it_end(tmp_path):
    result = fit.fit(signalled(12, signal.SIGTERM), tmp_path)
    assert result.summary["epochs"] == 12


def test_checkpoints_are_not_further_apart_than_some_minutes(tmp_path, monkeypatch):
    saved = []
    save = Checkpoints.save

    def note(self, epoch, tree):
        if self._folder.name == "last":
            saved.append(epoch)
        save(self, epoch, tree)

    clock = iter(range(0, 9999, 20))  # Seconds; each epoch looks once or twice.
    monkeypatch.setattr(Checkpoints, "save", note)
    own = SimpleNamespace(
        monotonic=lambda: float(next(clock)), perf_counter=time.perf_counter
    )
    monkeypatch.setattr(fit, "time", own)
    fit.fit(tiny.training(save_every=99, save_minutes=1.0), tmp_path)
    assert saved[0] == 3
    assert saved[-1] == 12
    assert max(np.diff(saved)) <= 3


def test_another_thread_leaves_signals_alone():
    former = [signal.getsignal(number) for number in SIGNALS]
    seen = []

    def work():
        with Preemption() as preempted:
            seen.extend(signal.getsignal(number) for number in SIGNALS)
            seen.append(bool(preempted))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [*former, False]


def test_the_second_signal_has_its_former_effect():
    calls = []
    former = signal.signal(signal.SIGUSR1, lambda *_: calls.append(1))
    try:
        with Preemption() as preempted:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert preempted
            assert calls == []
            os.kill(os.getpid(), signal.SIGUSR1)
            assert calls == [1]
    finally:
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["mtl.main", "mtl.study"])
def test_a_launcher_ends_with_a_status_of_its_own(tmp_path, module):
    config = "digits.py:smoke" if module == "mtl.main" else "table1.py:smoke"
    command = [sys.executable, "-u", "-m", module, f"--workdir={tmp_path / 'run'}"]
    command += [f"--config=configs/mtl/{config}", "--config.epochs=100000"]
    p = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / "run" / ".lock").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(3)
    p.send_signal(signal.SIGTERM)
    _, error = p.communicate(timeout=300)
    assert p.returncode == 75, error
    assert "stopped by SIGTERM" in error
    assert "Traceback" not in error

"""Checkpoints are saved in the background, and each error is raised in the end."""

import resource
import shutil
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine import fit
from mtl.host.checkpoint import Checkpoints, restore_best
from mtl.host.errors import PreemptedError, WorkdirError
from tests.mtl import tiny
from tests.mtl.engine.test_preemption import signalled

SMALL = {"a": np.zeros(1)}
LARGE = {"a": np.random.default_rng(0).normal(size=9999)}


@pytest.fixture
def full_disk():
    """Files that grow beyond 20 kB are refused."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.fixture
def hold(monkeypatch):
    """A save ends only after this event is set."""
    event, finish = threading.Event(), Checkpoints.wait

    def hold_back(saved):
        manager = saved._manager
        wait = manager._wait_for_checkpointers
        manager._wait_for_checkpointers = lambda: (event.wait(60), wait())
        return saved

    monkeypatch.setattr(Checkpoints, "wait", lambda s: (event.set(), finish(s))[1])
    event.back = hold_back
    return event


def newest(folder):
    with Checkpoints(folder, writes=False) as saved:
        return saved.epoch


def test_the_next_epochs_train_while_a_checkpoint_is_saved(tmp_path, hold):
    saved = hold.back(Checkpoints(tmp_path))
    saved.save(1, SMALL)
    assert saved._manager.is_saving_in_progress()
    saved.wait()
    assert not saved._manager.is_saving_in_progress()
    saved.close()
    assert newest(tmp_path) == 1


def test_arrays_can_be_overwritten_once_they_are_saved(tmp_path):
    """The next epoch may take their memory."""
    x = jnp.arange(1e6)
    host = np.arange(1e6)
    with Checkpoints(tmp_path) as saved:
        saved.save(1, {"x": x, "host": host})
        y = jax.jit(lambda x: -x, donate_argnums=0)(x)
        y.block_until_ready()
        host[:] = -1
        saved.wait()
        like = {"x": y, "host": host}
        found = saved.restore(like)
    np.testing.assert_array_equal(found["x"], np.arange(1e6, dtype=np.float32))
    np.testing.assert_array_equal(found["host"], np.arange(1e6))


@pytest.mark.usefixtures("full_disk")
def test_the_next_save_raises_the_error_of_the_one_before(tmp_path):
    with Checkpoints(tmp_path) as saved:
        saved.save(1, SMALL)
        saved.save(2, LARGE)
        with pytest.raises(WorkdirError, match=r"is the disk full\? The last one"):
            saved.save(3, SMALL)
    assert newest(tmp_path) == 1


@pytest.mark.usefixtures("full_disk")
def test_the_end_raises_the_error_of_the_last_save(tmp_path):
    saved = Checkpoints(tmp_path)
    saved.save(1, SMALL)
    saved.save(2, LARGE)
    with pytest.raises(WorkdirError, match=r"cannot save a checkpoint in .*full"):
        saved.close()
    assert newest(tmp_path) == 1


def test_a_folder_that_is_removed_during_a_save_is_an_error(tmp_path, hold):
    saved = hold.back(Checkpoints(tmp_path / "last"))
    saved.save(1, SMALL)
    saved.wait()
    hold.clear()
    saved.save(2, LARGE)
    while (tmp_path / "last").exists():  # Orbax may write into it meanwhile.
        shutil.rmtree(tmp_path / "last", ignore_errors=True)
    with pytest.raises(WorkdirError, match=r"was removed or moved|cannot save"):
        saved.close()


def test_an_error_that_orbax_raises_when_it_closes_is_named(tmp_path):
    saved = Checkpoints(tmp_path / "last")
    saved.save(1, SMALL)
    saved.wait()
    shutil.rmtree(tmp_path / "last")  # As if a late write failed for this.
    saved._manager.wait_until_finished = lambda: (tmp_path / "last/1").stat()
    saved._check_folder = lambda: None
    with pytest.raises(WorkdirError, match=r"cannot save a checkpoint in .*last"):
        saved.close()


def test_a_run_whose_save_fails_ends_with_the_error_and_not_with_a_result(
    tmp_path, monkeypatch
):
    """So does one that a signal stops: it must not say that it was saved."""

    def fail(self, *_):
        raise OSError("no space left")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager._finalize", fail)
    for name, training in {
        "whole": tiny.training(epochs=1),
        "stopped": signalled(1, 15, save_every=99),
    }.items():
        with pytest.raises(WorkdirError, match="no space left") as caught:
            fit.fit(training, tmp_path / name)
        assert not isinstance(caught.value, PreemptedError)


def test_a_run_that_resumes_saves_the_best_parameters_that_a_kill_has_lost(tmp_path):
    result = fit.fit(tiny.training(epochs=2), tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "best")
    fit.fit(tiny.training(epochs=2), tmp_path)
    params = restore_best(tmp_path, tiny.training().params, "this test")
    for name, value in tiny.arrays(result.params).items():
        np.testing.assert_array_equal(tiny.arrays(params)[name], value)

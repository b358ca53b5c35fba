"""Training on the host's side: resume, stop, refuse, report."""

import dataclasses
import functools
import itertools
import json
import multiprocessing
import random
import resource
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from mtl.engine import batches, fit
from mtl.host import logs, workdir
from mtl.host.checkpoint import Checkpoints, restore_best
from mtl.host.errors import DivergedError, WorkdirError
from tests.mtl import tiny


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@functools.cache
def compiled():
    return fit.compile_epoch(tiny.training())


def train(training, folder):
    """Trains with shared programs: tasks and shapes are those of `tiny.training()`."""
    return fit.fit(training, folder, compiled())


def test_a_run_that_stopped_goes_on_as_if_it_had_not(tmp_path):
    whole = train(tiny.training(), tmp_path / "whole")

    count = iter(range(99))

    def stop_at_seven(params):
        if next(count) == 6:
            raise KeyboardInterrupt
        return tiny.training().evaluate(params)

    with pytest.raises(KeyboardInterrupt):
        train(tiny.training(evaluate=stop_at_seven), tmp_path / "parts")
    parts = train(tiny.training(), tmp_path / "parts")
    assert_same_bits(tiny.arrays(parts.state), tiny.arrays(whole.state))
    assert_same_bits(tiny.arrays(parts.params), tiny.arrays(whole.params))
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in logs.read_rows(w)]
        for w in (tmp_path / "whole", tmp_path / "parts")
    ]
    assert rows[0] == rows[1]
    assert [row["epoch"] for row in rows[0]] == list(range(1, 13))


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path):
    """SIGKILL, again and again, also during saves: each epoch saves, and takes long."""
    epochs, kills = 60, 15
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.mtl.tiny"])
    dice = random.Random(0)

    def start(folder):
        folder.mkdir(exist_ok=True)
        child = context.Process(
            target=tiny.train_to_the_end, args=(str(folder), epochs)
        )
        child.start()
        return child

    calm = start(tmp_path / "calm")
    calm.join()
    assert calm.exitcode == 0
    rough, in_a_save, progress = tmp_path / "rough", 0, []
    for _ in range(kills):
        child = start(rough)
        before = len(logs.read_rows(rough))
        while child.is_alive() and len(logs.read_rows(rough)) in (0, before):
            time.sleep(0.005)
        time.sleep(dice.uniform(0, 0.25))
        child.kill()
        child.join()
        in_a_save += any((rough / "checkpoints").rglob("*orbax-checkpoint-tmp*"))
        progress.append(len(logs.read_rows(rough)))
    assert not (rough / "final.npz").exists(), "killed too late to test anything"
    assert in_a_save > 0, f"no kill hit a save: {progress}"
    last = start(rough)
    last.join()
    assert last.exitcode == 0
    with np.load(tmp_path / "calm/final.npz") as a, np.load(rough / "final.npz") as b:
        assert_same_bits(dict(a), dict(b))
    assert [r["epoch"] for r in logs.read_rows(rough)] == list(range(1, epochs + 1))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    good = tiny.training(save_every=3)
    rates = good.learning_rates.copy()
    rates[7:] = 1e30
    with pytest.raises(DivergedError, match=r"task 'denoise' is not finite in epoch 8"):
        train(dataclasses.replace(good, learning_rates=rates), tmp_path)
    rows = logs.read_rows(tmp_path)
    assert [row["epoch"] for row in rows] == list(range(1, 8))
    assert Checkpoints(tmp_path / "checkpoints" / "best").epoch == 7
    # What was saved is what a calm run has after its sixth epoch, so it can go on.
    resumed = train(good, tmp_path)
    calm = train(good, tmp_path / "calm")
    assert_same_bits(tiny.arrays(resumed.state), tiny.arrays(calm.state))


def test_a_parameter_that_is_not_finite_stops_the_run(tmp_path):
    with pytest.raises(DivergedError, match="none yet"):
        train(tiny.training(learning_rates=np.full(12, np.inf)), tmp_path)


def test_patience_stops_early_and_for_good(tmp_path):
    values = [3.0, 2.0, 1.0, *range(4, 99)]
    stuck = tiny.training(evaluate=tiny.evaluations(values), patience=4)
    result = train(stuck, tmp_path)
    assert (result.summary["epochs"], result.summary["best_epoch"]) == (7, 3)
    again = train(stuck, tmp_path)
    assert again.summary["epochs"] == 7
    assert len(logs.read_rows(tmp_path)) == 7


def test_the_epoch_that_patience_stops_at_is_evaluated_and_saved(tmp_path, monkeypatch):
    stuck = tiny.training(
        evaluate=tiny.evaluations(range(1, 99)),
        patience=5,
        eval_every=4,
        save_every=4,
    )
    assert train(stuck, tmp_path).summary["epochs"] == 9
    assert [row["epoch"] for row in logs.read_rows(tmp_path)] == [4, 8, 9]
    monkeypatch.delattr(fit, "_train_epoch")
    assert train(stuck, tmp_path).summary["epochs"] == 9


def test_the_best_epoch_is_kept(tmp_path):
    three = train(tiny.training(epochs=3), tmp_path / "three")
    worse = tiny.training(evaluate=tiny.evaluations([3.0, 2.0, 1.0, *range(4, 99)]))
    result = train(worse, tmp_path / "long")
    assert_same_bits(tiny.arrays(result.params), tiny.arrays(three.state.params))


def test_of_equal_epochs_the_first_is_the_best(tmp_path):
    values = [3.0, 2.0, 2.0, 2.0, 0.0, 0.0]
    tied = tiny.training(epochs=4, evaluate=tiny.evaluations(values))
    assert train(tied, tmp_path).summary["best_epoch"] == 2


def test_the_best_epoch_may_have_the_highest_value(tmp_path):
    values = [1.0, 3.0, 2.0, 3.0, 0.0, 0.0]
    highest = tiny.training(
        epochs=4, evaluate=tiny.evaluations(values), monitor_mode="max"
    )
    assert train(highest, tmp_path).summary["best_epoch"] == 2


@pytest.mark.parametrize(("third", "best"), [(np.nan, 1), (2.0, 3)])
def test_a_run_whose_monitor_is_nan_has_parameters_too(tmp_path, third, best):
    """And they are saved: `restore_best` finds them."""
    values = [np.nan, np.nan, third, 0.0, 0.0]
    odd = tiny.training(epochs=3, evaluate=tiny.evaluations(values))
    result = train(odd, tmp_path)
    assert result.summary["best_epoch"] == best
    saved = restore_best(tmp_path, odd.params, "this test")
    assert_same_bits(tiny.arrays(result.params), tiny.arrays(saved))


def test_callbacks_get_each_row_that_is_logged(tmp_path):
    rows = []
    fit.fit(tiny.training(epochs=5, eval_every=2), tmp_path, callbacks=[rows.append])
    assert rows == logs.read_rows(tmp_path)
    assert [row["epoch"] for row in rows] == [2, 4, 5]


def test_process_0_alone_calls_callbacks(tmp_path, monkeypatch):
    monkeypatch.setattr(fit.processes, "is_first", lambda: False)
    monkeypatch.setattr(fit.workdirs, "make", lambda folder, name: folder.mkdir())
    rows = []
    t = tiny.training(epochs=1)
    fit.fit(t, tmp_path / "run", callbacks=[rows.append])
    assert rows == []


def test_an_epoch_has_its_own_loss_weights_and_rate(tmp_path):
    weights = np.ones((4, 2))
    weights[:, 0] = [0, 0, 1, 0]
    rates = np.array([0.01, 0.0, 0.02, 0.03])
    t = tiny.training(epochs=4, loss_weights=weights, learning_rates=rates)
    train(t, tmp_path)
    rows = logs.read_rows(tmp_path)
    assert [row["rate"] for row in rows] == rates.tolist()
    assert [row["weight/denoise"] for row in rows] == [0, 0, 1, 0]
    assert ["loss/denoise" in row for row in rows] == [False, False, True, False]
    # With the learning rate 0 of the second epoch, only momentum could move anything.
    t = tiny.training(
        epochs=4, loss_weights=weights, learning_rates=rates, optimizer=None
    )
    fit.fit(t, tmp_path / "plain")
    errors = [row["valid/mse"] for row in logs.read_rows(tmp_path / "plain")]
    assert errors[0] == errors[1] != errors[2]


def test_epochs_have_different_orders_and_noise(tmp_path):
    weights = np.ones((2, 2)) * [1, 0]
    t = tiny.training(epochs=2, loss_weights=weights, learning_rates=np.zeros(2))
    train(t, tmp_path)
    rows = logs.read_rows(tmp_path)
    # The parameters stay as they are, so the noise alone changes the loss.
    assert rows[0]["loss/denoise"] != rows[1]["loss/denoise"]


def test_the_log_has_the_mean_loss_of_an_example(tmp_path):
    t = tiny.training(
        epochs=1, learning_rates=np.zeros(1), loss_weights=np.ones((1, 2))
    )
    train(t, tmp_path)
    y = np.asarray(t.data["y"])
    (row,) = logs.read_rows(tmp_path)
    # The head starts at 0, and so do its predictions.
    assert row["loss/regress"] == pytest.approx(np.square(y[:10]).mean(), rel=1e-5)


def test_the_summary_evaluates_the_best_and_the_last_parameters(tmp_path):
    """`finalize` marks the parameters; the marks of both epochs are in the summary."""
    marks = iter(range(99))  # The initial parameters get 0.

    def finalize(params):
        return params | {"mark": jnp.float32(next(marks))}

    def evaluate(params):
        return {"valid/mse": abs(float(params["mark"]) - 2)}

    t = tiny.training(epochs=4, finalize_params=finalize, evaluate=evaluate)
    t = dataclasses.replace(t, params=t.params | {"mark": jnp.float32(0)})
    result = fit.fit(t, tmp_path)
    assert result.params["mark"] == 2
    assert result.summary["best"]["valid/mse"] == 0
    assert result.summary["last"]["valid/mse"] == 3  # `finalize` marks it 5.


def test_speed_counts_each_example_once_an_epoch(tmp_path, monkeypatch):
    t, seconds = tiny.training(epochs=3), itertools.count()
    shared = fit.compile_epoch(t)
    fit.fit(t, tmp_path / "compiles", shared)
    clock = SimpleNamespace(perf_counter=lambda: next(seconds), monotonic=lambda: 0.0)
    monkeypatch.setattr(fit, "time", clock)
    summary = fit.fit(t, tmp_path / "measured", shared).summary
    assert summary["seconds"] == 3
    assert summary["examples_per_second"] == 40


def test_shared_programs_count_their_compilation_once(tmp_path):
    t = tiny.training(epochs=1)
    shared = fit.compile_epoch(t)
    assert fit.fit(t, tmp_path / "a", shared).summary["compile_seconds"] > 0
    assert fit.fit(t, tmp_path / "b", shared).summary["compile_seconds"] == 0


def test_a_batch_with_too_many_rows_for_its_slots_is_run_again(tmp_path, monkeypatch):
    roomy = fit.fit(tiny.training(epochs=3), tmp_path / "roomy")
    monkeypatch.setattr(batches, "max_rows_per_batch", lambda *args: (8, 1))
    tight = fit.fit(tiny.training(epochs=3), tmp_path / "tight")
    assert_same_bits(tiny.arrays(tight.state), tiny.arrays(roomy.state))


def test_the_log_has_losses_weights_rate_and_speed(tmp_path):
    result = train(tiny.training(eval_every=5), tmp_path)
    rows = logs.read_rows(tmp_path)
    assert [row["epoch"] for row in rows] == [5, 10, 12]
    assert rows[0]["weight/denoise"] == pytest.approx(0.9**4)
    assert {"loss/denoise", "loss/regress", "rate", "valid/mse"} < rows[0].keys()
    assert result.summary["last"]["valid/mse"] == rows[-1]["valid/mse"]
    assert result.summary["examples_per_second"] > 0
    assert any((tmp_path / "tensorboard").iterdir())


@pytest.mark.slow
def test_training_learns(tmp_path):
    rows = train(tiny.training(epochs=60), tmp_path).summary
    assert rows["best"]["valid/mse"] < 0.5
    start = float(tiny.training().evaluate(tiny.training().params)["valid/mse"])
    assert start > 5


def test_a_line_cut_short_by_a_kill_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert logs.read_rows(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
    with logs.Log(tmp_path, start=1, epochs=5) as log:
        log.write({"epoch": 2, "valid/error": 0.5})
    assert logs.read_rows(tmp_path) == [{"epoch": 1}, {"epoch": 2, "valid/error": 0.5}]


@pytest.mark.parametrize("content", [b"what\n", b"\xff\n", b"\0\n"])
def test_a_log_that_is_no_json_is_named(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(WorkdirError, match=r"metrics\.jsonl has a line"):
        logs.read_rows(tmp_path)


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(tiny.training(epochs=2), tmp_path)
    (tmp_path / "checkpoints" / "last" / "2" / "default" / "_METADATA").write_text("?")
    with pytest.raises(WorkdirError, match=r"last/2 is damaged"):
        train(tiny.training(epochs=2), tmp_path)


def test_a_checkpoint_that_does_not_fit_is_named_and_the_last_one_stays(tmp_path):
    small, large = {"a": np.zeros(1)}, {"a": np.random.default_rng(0).normal(size=9999)}
    saved = Checkpoints(tmp_path / "last")
    saved.save(1, small)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        saved.save(2, large)
        with pytest.raises(WorkdirError, match=r"cannot save a checkpoint in .*last;"):
            saved.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        saved.close()
    again = Checkpoints(tmp_path / "last")
    assert again.epoch == 1
    assert again.restore(small)["a"] == [0]
    again.close()


def test_one_process_at_a_time(tmp_path):
    again = pytest.raises(WorkdirError, match="another process is training")
    with workdir.lock(tmp_path), again, workdir.lock(tmp_path):
        pass
    with workdir.lock(tmp_path):
        pass


def test_another_config_in_the_same_folder_is_refused(tmp_path):
    config = ConfigDict({"seed": 0, "optim": {"learning_rate": 0.1}, "hidden": (3, 2)})
    workdir.prepare(tmp_path, config, {"rows": 5})
    workdir.prepare(tmp_path, config, {"rows": 5})
    with pytest.raises(WorkdirError, match=r"another data;(.|\n)*rows: 5 -> 6"):
        workdir.prepare(tmp_path, config, {"rows": 6})
    config.optim.learning_rate = 0.2
    with pytest.raises(WorkdirError, match=r"another config;(.|\n)*rate: 0.1 -> 0.2"):
        workdir.prepare(tmp_path, config, {"rows": 5})


def test_a_run_goes_on_with_data_elsewhere(tmp_path):
    def config(path, seed=0):
        return ConfigDict({"seed": seed, "data": {"path": path}})

    free = ("data.path",)
    workdir.prepare(tmp_path, config("here"), {"crc32": "1"}, free)
    workdir.prepare(tmp_path, config("there"), {"crc32": "1"}, free)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved == config("there").to_dict()
    with pytest.raises(WorkdirError, match=r"another data;(.|\n)*crc32: '1' -> '2'"):
        workdir.prepare(tmp_path, config("there"), {"crc32": "2"}, free)
    with pytest.raises(WorkdirError, match=r"another config;(.|\n)*seed: 0 -> 1") as e:
        workdir.prepare(tmp_path, config("here", seed=1), {"crc32": "1"}, free)
    assert "path" not in str(e.value).split("afresh")[1]
    with pytest.raises(WorkdirError, match=r"data\.path: 'there' -> 'here'"):
        workdir.prepare(tmp_path, config("here"), {"crc32": "1"})


def test_a_run_of_an_earlier_version_goes_on_where_a_new_field_has_its_default(
    tmp_path,
):
    def config(**own):
        return ConfigDict({"seed": 0, "data": {"path": "here", **own}})

    default = config(scaling="unit")
    workdir.prepare(tmp_path, config(), {}, default=config())
    with pytest.raises(WorkdirError, match=r"scaling: 'unit' -> 'own'"):
        workdir.prepare(tmp_path, config(scaling="own"), {}, default=default)
    workdir.prepare(tmp_path, config(scaling="unit"), {}, default=default)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved == default.to_dict()
    with pytest.raises(WorkdirError, match=r"scaling: 'unit' -> '\(absent\)'"):
        workdir.prepare(tmp_path, config(), {}, default=default)


def test_environment_says_what_it_ran_on(tmp_path):
    workdir.prepare(tmp_path, ConfigDict({"seed": 0}), {})
    found = json.loads((tmp_path / "environment.json").read_text())
    assert found["jax"] == jax.__version__
    assert found["device"] == jax.devices()[0].device_kind


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match="cannot make the workdir"):
        workdir.prepare(tmp_path / "file" / "run", ConfigDict(), {})


@pytest.mark.parametrize("name", ["file/summary.json", "n" * 300])
def test_a_file_that_cannot_be_written_is_named(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkdirError, match=f"cannot write .*{name}"):
        workdir.write_json(tmp_path / name, {})


def test_an_address_is_no_workdir(tmp_path, monkeypatch):
    """`Path("gs://bucket/run")` would be a folder with the name "gs:"."""
    monkeypatch.chdir(tmp_path)
    for address in ("gs://bucket/run", "s3://bucket/run", "memory://run"):
        with pytest.raises(WorkdirError, match=r"the workdir .*mount the bucket"):
            train(tiny.training(epochs=1), address)
        with pytest.raises(WorkdirError, match=f"the workdir {address} is no folder"):
            workdir.prepare(Path(address), ConfigDict(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loss_weights": np.ones((12, 3))}, r"loss_weights has shape \(12, 3\).* 2 t"),
        ({"loss_weights": np.ones(12)}, r"loss_weights has shape \(12,\)"),
        (
            {"learning_rates": np.ones(5)},
            r"learning_rates has .* 12 epochs",
        ),
        ({"monitor": "valid/error"}, r"monitor='valid/error', but .* valid/mse"),
        (
            {"data": {"x": np.ones((4, 2)), "y": np.ones(3)}},
            r"equally many rows.*'y': 3",
        ),
        ({"data": {"x": {"z": np.ones(4)}}}, r"data\['x'\] must be an array"),
        ({"data": {"x": 3.0}}, r"data\['x'\] must be an array"),
    ],
)
def test_a_training_that_contradicts_itself_is_refused(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        fit.fit(tiny.training(**changes), tmp_path)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_workdir_may_be_a_string(tmp_path):
    assert train(tiny.training(epochs=1), str(tmp_path)).summary["epochs"] == 1


def test_a_folder_that_vanishes_during_the_run_is_not_made_again(tmp_path):
    folder = tmp_path / "run"

    def remove(row):
        if row["epoch"] == 5:
            while not (folder / "checkpoints" / "last" / "3").is_dir():
                time.sleep(0.01)  # It is saved in the background.
            folder.rename(tmp_path / "moved")

    with pytest.raises(WorkdirError, match=r"run.* was removed or moved"):
        fit.fit(tiny.training(save_every=3), folder, callbacks=[remove])
    assert not folder.exists()
    assert Checkpoints(tmp_path / "moved" / "checkpoints" / "last").epoch == 3

"""A stream in place of arrays: the same numbers, resume, prefetch, and refusals."""

import dataclasses
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine import fit
from mtl.engine.streams import Indexed, Replayed
from mtl.engine.task import Task
from mtl.host.checkpoint import Checkpoints
from tests.mtl import tiny

ARRAYS = {name: np.asarray(v) for name, v in tiny.training().data.items()}


class Parts:
    """Forty rows for each epoch, of 200; the numbers of rows with y vary."""

    def __init__(self):
        rng = np.random.default_rng(5)
        self.x = rng.uniform(size=(200, 6)).astype(np.float32)
        self.y = np.where(rng.uniform(size=200) < 0.2, self.x.sum(1), np.nan)
        self.y[80:120] = np.nan  # No row of chunk 2 has y.
        self.asked, self.threads = [], set()

    def chunk(self, epoch):
        self.asked.append(epoch)
        self.threads.add(threading.current_thread())
        at = epoch % 5 * 40
        return {
            "x": self.x[at : at + 40],
            "y": self.y[at : at + 40].astype(np.float32),
        }


def same_bits(a, b):
    for x, y in zip(tiny.arrays(a).values(), tiny.arrays(b).values(), strict=True):
        np.testing.assert_array_equal(x, y)


def test_one_chunk_with_all_data_trains_as_arrays_do(tmp_path):
    arrays = fit.fit(tiny.training(epochs=4), tmp_path / "arrays")
    chunks = fit.fit(
        tiny.training(epochs=4, data=Indexed([ARRAYS] * 4)), tmp_path / "chunks"
    )
    same_bits(chunks.state, arrays.state)
    same_bits(chunks.params, arrays.params)
    assert chunks.summary["last"] == arrays.summary["last"]


@pytest.mark.parametrize("order", ["alternate", "joint"])
def test_each_epoch_trains_its_chunk(tmp_path, order):
    """The reference has arrays; there, a task without an example has weight 0."""
    stream, t = Parts(), tiny.training(epochs=3, order=order, save_every=3)
    streamed = fit.fit(dataclasses.replace(t, data=stream), tmp_path)
    state = fit.compile_epoch(t).engine.init(t.params)
    for epoch in range(3):
        data, weights = Parts().chunk(epoch), t.loss_weights[epoch]
        if np.isnan(data["y"]).all():
            data, weights = data | {"y": np.zeros(40, np.float32)}, weights * [1, 0]
        data = {name: jnp.asarray(field) for name, field in data.items()}
        compiled = fit.compile_epoch(dataclasses.replace(t, data=data))
        key = jax.random.fold_in(t.key, epoch)
        state, _ = compiled(state, data, weights, t.learning_rates[epoch], key)
    same_bits(streamed.state, state)
    assert all(np.isfinite(x).all() for x in tiny.arrays(state).values())
    assert stream.asked == [0, 1, 2]
    assert threading.main_thread() not in stream.threads


def test_an_interrupted_stream_resumes_with_the_same_bits(tmp_path):
    t = tiny.training(epochs=5, data=Parts())
    compiled, calls = fit.compile_epoch(t), iter(range(99))
    whole = fit.fit(t, tmp_path / "whole", compiled)

    def stop(params):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return t.evaluate(params)

    with pytest.raises(KeyboardInterrupt):
        fit.fit(dataclasses.replace(t, evaluate=stop), tmp_path / "parts", compiled)
    stream = Parts()
    parts = fit.fit(dataclasses.replace(t, data=stream), tmp_path / "parts", compiled)
    assert stream.asked == [3, 4]
    same_bits(parts.state, whole.state)
    same_bits(parts.params, whole.params)


def test_an_iterator_is_passed_through_from_its_start():
    stream = Replayed(lambda: ({"x": np.full(3, n)} for n in range(5)))
    assert [int(stream.chunk(n)["x"][0]) for n in (2, 3, 0, 1)] == [2, 3, 0, 1]
    with pytest.raises(ValueError, match="ended before epoch 7"):
        stream.chunk(6)


def test_a_grain_dataset_is_a_stream(tmp_path):
    """With `repeat` and `batch`, chunk n of a shuffled dataset is `dataset[n]`."""
    grain = pytest.importorskip("grain", reason="the extra grain brings it")
    rows = [{name: field[i] for name, field in ARRAYS.items()} for i in range(40)]
    dataset = grain.MapDataset.source(rows).seed(3).shuffle().repeat().batch(25)
    stream = Indexed(dataset)
    seen = np.concatenate([stream.chunk(n)["x"] for n in range(8)])
    assert seen.shape == (200, 6)
    whole = np.sort(np.concatenate([ARRAYS["x"]] * 5), axis=0)
    np.testing.assert_array_equal(np.sort(seen, axis=0), whole)
    t = tiny.training(epochs=3, data=stream)
    assert fit.fit(t, tmp_path).summary["epochs"] == 3


def test_a_task_that_draws_makes_no_step_without_its_examples(tmp_path):
    """A chunk without y has NaN alone to draw."""
    _, regress = tiny.training().tasks
    drawing = Task("regress", regress.loss, regress.params, regress.rows, draws=4)
    ran = fit.fit(
        tiny.training(
            epochs=1,
            tasks=[drawing],
            loss_weights=np.ones((1, 1)),
            data=Indexed([Parts().chunk(2)]),
        ),
        tmp_path,
    )
    same_bits(ran.state.params, tiny.training().params)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"x": ARRAYS["x"]}, "chunk 1 of the stream has .* the same fields"),
        ({k: v[:39] for k, v in ARRAYS.items()}, r"chunk 1 .*\(39, 6\)"),
        (
            ARRAYS | {"x": ARRAYS["x"].astype(np.uint8)},
            "chunk 1 .*uint8",
        ),
        (ARRAYS | {"y": ARRAYS["y"][:5]}, "fields of chunk 1 .* equally many"),
        (ARRAYS | {"x": 3.0}, r"chunk 1\['x'\] must be an array"),
    ],
)
def test_a_chunk_unlike_the_first_is_refused(tmp_path, second, said):
    with pytest.raises(ValueError, match=said):
        fit.fit(tiny.training(epochs=2, data=Indexed([ARRAYS, second])), tmp_path)


def test_an_error_of_the_stream_is_raised_and_earlier_epochs_stay(tmp_path):
    class Broken(Parts):
        def chunk(self, epoch):
            if epoch == 3:
                raise OSError("the disk is gone")
            return super().chunk(epoch)

    before = threading.active_count()
    with pytest.raises(OSError, match="the disk is gone"):
        fit.fit(tiny.training(epochs=5, data=Broken()), tmp_path)
    assert threading.active_count() == before
    assert Checkpoints(tmp_path / "checkpoints" / "last").epoch == 3

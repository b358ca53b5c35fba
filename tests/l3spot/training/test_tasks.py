"""Runs with pretrained filters, a frozen trunk, unlabelled scans, and in folds."""

import csv
import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs.l3spot import phantom
from configs.l3spot import vertebrae as vertebrae_configs
from l3spot import backbones, crossval
from l3spot.backbones import normalisation
from l3spot.backbones.pretrained import converted
from l3spot.localize import model, network
from l3spot.training import config as configs
from l3spot.training import dataset, experiment, initial, ribs, tasks, vertebrae
from l3spot.vertebrae.ribs import SIGNS, SIZE
from mtl.engine.task import flatten
from mtl.host.errors import ConfigError, DataError, WorkdirError
from tests.l3spot.training.bars import images_of_bars

pytestmark = pytest.mark.slow  # It trains networks.


def quick(**changes):
    c = phantom.get_config("smoke")
    c.epochs, c.data.validation, c.windows, c.eval_every = 1, 10, 2, 1
    with c.unlocked():
        c.update_from_flattened_dict(changes)
    return c


def kernels(params):
    return {k: v for k, v in flatten(params).items() if k.endswith("kernel")}


def square_mm(predicted_mm, true_mm):
    return jnp.square(predicted_mm - true_mm).mean()


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Cross-validates with a frozen trunk; returns config, workdir and summary."""
    c = quick(**{
        "model.frozen": True, "model.dtype": "bfloat16", "data.validation": 8,
        "metrics": (f"{__name__}:square_mm",), "optim.name": "nadam",
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("runs") / "folds"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "phantoms", lambda *_: images_of_bars())
        return c, folder, crossval.cross_validate(c, folder, 2)


def test_a_frozen_trunk_is_not_trained(folds):
    c, folder, _ = folds
    trained = kernels(model.load(folder / "fold0" / "model.safetensors").params)
    start = kernels(initial.init_network(c)[1])
    same = {k: np.array_equal(v, start[k]) for k, v in trained.items()}
    assert [k for k, v in same.items() if not v] == ["head/kernel"]


def test_the_trunk_has_its_own_learning_rate():
    made = experiment.optimizer(quick(**{"optim.trunk": 0.1, "optim.name": "adam"}))
    params = {"trunk/conv1/kernel": jnp.ones(3), "head/bias": jnp.ones(())}
    updates, _ = made.update(params, made.init(params), params)
    # Adam's first update has the length of the learning rate.
    np.testing.assert_allclose(updates["head/bias"], -1, rtol=1e-5)
    np.testing.assert_allclose(updates["trunk/conv1/kernel"], -0.1, rtol=1e-5)


def test_the_optimizer_is_adam_with_decoupled_decay_unless_named():
    params = {"trunk/conv1/kernel": jnp.ones(3), "head/bias": jnp.full((), 0.5)}
    grads = jax.tree.map(lambda p: 3.0 * p, params)

    def updates(made):
        return made.update(grads, made.init(params), params)[0]

    default = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.add_decayed_weights(1e-4),
        optax.scale(-1.0),
    )
    equal = partial(jax.tree.map, np.testing.assert_array_equal)
    equal(updates(experiment.optimizer(quick())), updates(default))
    c = quick(**{
        "optim.name": "momentum", "optim.arguments": "nesterov=True", "optim.clip": 0.0
    })  # fmt: skip
    named = optax.sgd(1.0, momentum=0.9, nesterov=True)
    equal(updates(experiment.optimizer(c)), updates(named))


@pytest.mark.parametrize("default", [configs.default, vertebrae.default])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optim.name": "adamm"}, "optim.name='adamm' must be .*did you mean adam?"),
        ({"optim.arguments": "bet1=1"}, "optim.arguments='bet1=1'.*did you mean b1?"),
        ({"optim.schedule": "cosine"}, "optim.decay_epochs=0 must be above 0"),
        ({"optim.warmup_epochs": 99}, "optim.warmup_epochs=99 must be at most epochs"),
        ({"optim.weight_decay": 0.1}, "optim.weight_decay=0.1 must be 0"),
    ],
)
def test_an_optimizer_that_is_not_valid_is_refused(default, changes, message):
    c = default()
    check = vertebrae.check if "stage" in c else configs.check
    check(c)
    c.update_from_flattened_dict(changes)
    with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
        check(c)


def test_the_networks_of_the_vertebrae_take_the_same_fields():
    c = vertebrae_configs.get_config("smoke")
    c.epochs, c.ribs.epochs, c.ribs.batch_size = 8, 6, 2
    c.surroundings.epochs = 6
    c.optim.update({"name": "momentum", "schedule": "linear", "decay_epochs": 4})
    vertebrae.check(c)
    halves = ribs.Halves(np.zeros((8, SIZE, SIZE), np.uint8), np.zeros((8, SIGNS)))
    c.data.count, c.data.validation = 2, 1
    made = ribs.make_training(c, halves)
    rates = 2e-3 * np.array([1, 1, 1, 0.75, 0.5, 0.25])  # No warm-up.
    np.testing.assert_allclose(made.learning_rates, rates)
    params = {"network/kernel": jnp.ones(3)}
    updates, _ = made.optimizer.update(params, made.optimizer.init(params), params)
    np.testing.assert_array_equal(updates["network/kernel"], -np.ones(3))
    c.ribs.epochs = 3
    with pytest.raises(ConfigError, match=r"must be at most ribs\.epochs=3"):
        vertebrae.check(c)
    c.ribs.epochs, c.surroundings.epochs = 6, 2
    with pytest.raises(ConfigError, match=r"must be at most surroundings\.epochs=2"):
        vertebrae.check(c)


def test_filters_and_their_input_come_from_a_file(tmp_path):
    b = backbones.make("alexnet")
    params = jax.tree.map(np.asarray, b.init(jax.random.key(3)))
    path = tmp_path / "filters.safetensors"
    given = converted.Pretrained("alexnet", params, normalisation.CAFFE)
    converted.save(path, given, {})
    c = quick(**{"model.backbone": "alexnet", "model.weights_file": str(path)})
    net, start = initial.init_network(c)
    assert net.input == normalisation.CAFFE
    kept = start["trunk"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kept, params["conv1"]["kernel"])
    c.model.backbone = "vgg16"
    with pytest.raises(ConfigError, match="is of alexnet"):
        initial.init_network(c)
    c.model.weights_file = str(tmp_path / "none.safetensors")
    with pytest.raises(DataError, match=r"none\.safetensors"):  # Before work.
        experiment.train_and_evaluate(c, tmp_path / "run")
    assert not list(tmp_path.glob("run*"))


def test_scans_without_a_label_reconstruct(bars, tmp_path):
    c = quick(**{
        "data.labelled": 4, "data.unlabelled": 12, "data.strips": 12, "epochs": 3,
        "reconstruct.schedule": "constant", "reconstruct.value": 0.25,
    })  # fmt: skip
    summary = experiment.train_and_evaluate(c, tmp_path / "run").summary
    assert (summary["labelled"], summary["pictures"]["train"]) == (12, 24)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["weight/reconstruct"] for row in rows} == {0.25}
    assert {row["weight/spot"] for row in rows} == {0.75}
    assert rows[-1]["loss/reconstruct"] < rows[0]["loss/reconstruct"]
    assert rows[-1]["loss/spot"] > 0


def test_the_loss_weights_follow_the_schedule():
    c = quick(**{"epochs": 5, "reconstruct.t1": 2.0, "reconstruct.sigma": 2.0})
    expected = {
        "stairs": [1, 1, 0, 0, 0],
        "linear": [1, 0.75, 0.5, 0.25, 0],
        "abridged": [1, 0.5, 0, 0, 0],
        "exponential": np.exp(-np.arange(5) / 2),
    }
    for c.reconstruct.schedule, weight in expected.items():
        made, table = tasks.build(c, network.CNN4)
        assert [t.name for t in made] == ["reconstruct", "spot"]
        np.testing.assert_allclose(table.T, [weight, 1 - np.array(weight)])


def test_the_decoder_starts_in_float32_with_x64(x64):
    params = tasks.make_decoder(network.CNN4).init(jax.random.key(0))
    assert {p.dtype for p in params.values()} == {np.dtype(np.float32)}


def test_the_decoder_tiles_patches():
    decoder = tasks.make_decoder(network.CNN4)
    params = decoder.init(jax.random.key(0))
    params["kernel"] = jnp.zeros_like(params["kernel"])
    params["bias"] = jnp.arange(256.0)
    output = decoder.decode(params, jnp.zeros((1, 2, 3, 96)))[0]
    patch = np.arange(256.0).reshape(16, 16)
    np.testing.assert_array_equal(output, np.tile(patch, (2, 3)))


def test_cross_validation_tests_each_scan_and_resumes(
    bars, folds, tmp_path, monkeypatch
):
    c, folder, summary = folds
    lines = (folder / "predictions.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert sorted(int(r["patient"]) for r in rows) == list(range(40))
    # The summary follows from the rows.
    first = [r for r in rows if r["fold"] == "0" and r["l3_mm"] != "nan"]
    errors_mm = [abs(float(r["l3_mm"]) - float(r["predicted_mm"])) for r in first]
    mean_mm = summary.folds[0].errors["mean_mm"]
    assert mean_mm == pytest.approx(np.mean(errors_mm), abs=0.01)
    square = summary.folds[0].errors["square_mm"]
    assert square == pytest.approx(np.square(errors_mm).mean(), rel=0.01)
    assert "square_mm" in crossval.table(summary).splitlines()[0]
    spread = np.mean([fold.errors["std_mm"] for fold in summary.folds])
    assert summary.average["std_mm"] == pytest.approx(spread)
    stored = json.loads((folder / "summary.json").read_text())
    assert stored["folds"][0]["confident"] == summary.folds[0].confident
    assert stored["average"] == summary.average
    assert f"± {spread:.2f}" in crossval.table(summary).splitlines()[-1]
    monkeypatch.setattr(
        experiment, "fit", None
    )  # Finished folds are not trained again.
    assert crossval.cross_validate(c, folder, 2) == summary
    with pytest.raises(ConfigError, match="2 or more"):
        crossval.cross_validate(c, tmp_path / "other", 1)
    with pytest.raises(WorkdirError, match="folds"):
        crossval.cross_validate(c, folder, 3)

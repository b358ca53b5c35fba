"""Runs with filters, with a frozen trunk, with scans without a label, and in folds."""

import csv
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs.l3spot import phantom
from l3spot import backbones, crossval
from l3spot.backbones import normalisation
from l3spot.backbones.pretrained import converted
from l3spot.localize import model, network
from l3spot.training import experiment, tasks
from mtl.engine.task import flatten
from mtl.host.errors import ConfigError, WorkdirError


def quick(**changes):
    c = phantom.get_config("smoke")
    c.epochs, c.data.valid, c.windows, c.eval_every = 1, 10, 2, 1
    with c.unlocked():
        c.update_from_flattened_dict(changes)
    return c


def kernels(params):
    return {k: v for k, v in flatten(params).items() if k.endswith("kernel")}


def test_a_frozen_trunk_stays(bars, tmp_path):
    c = quick(**{"model.frozen": True, "model.dtype": "bfloat16"})
    experiment.train_and_evaluate(c, tmp_path / "run")
    found = kernels(model.load(tmp_path / "run" / "model.safetensors").params)
    start = kernels(experiment.start_from(c)[1])
    same = {k: np.array_equal(v, start[k]) for k, v in found.items()}
    assert [k for k, v in same.items() if not v] == ["head/kernel"]


def test_the_trunk_has_a_rate_of_its_own():
    made = experiment.optimizer(quick(**{"optim.trunk": 0.1, "optim.decay": 0.0}))
    params = {"trunk/conv1/kernel": jnp.ones(3), "head/bias": jnp.ones(())}
    steps, _ = made.update(params, made.init(params), params)
    # Adam's first step has the length of the rate.
    np.testing.assert_allclose(steps["head/bias"], -1, rtol=1e-5)
    np.testing.assert_allclose(steps["trunk/conv1/kernel"], -0.1, rtol=1e-5)


def test_filters_and_their_input_come_from_a_file(tmp_path):
    b = backbones.make("alexnet")
    params = jax.tree.map(np.asarray, b.init(jax.random.key(3)))
    path = tmp_path / "filters.safetensors"
    given = converted.Pretrained("alexnet", params, normalisation.CAFFE)
    converted.save(path, given, {})
    c = quick(**{"model.backbone": "alexnet", "model.weights": str(path)})
    net, start = experiment.start_from(c)
    assert net.input == normalisation.CAFFE
    kept = start["trunk"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kept, params["conv1"]["kernel"])
    c.model.backbone = "vgg16"
    with pytest.raises(ConfigError, match="is of alexnet"):
        experiment.start_from(c)


def test_scans_without_a_label_reconstruct(bars, tmp_path):
    c = quick(**{
        "data.labelled": 4, "data.unlabelled": 12, "data.strips": 12, "epochs": 3,
        "reconstruct.schedule": "constant", "reconstruct.value": 0.25,
    })  # fmt: skip
    summary = experiment.train_and_evaluate(c, tmp_path / "run")
    assert (summary["labelled"], summary["pictures"]["train"]) == (12, 24)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["weight/reconstruct"] for row in rows} == {0.25}
    assert {row["weight/spot"] for row in rows} == {0.75}
    assert rows[-1]["loss/reconstruct"] < rows[0]["loss/reconstruct"]
    assert rows[-1]["loss/spot"] > 0


def test_the_weight_evolves_and_its_complement():
    c = quick(**{"epochs": 5, "reconstruct.t1": 2.0, "reconstruct.sigma": 2.0})
    due = {
        "stairs": [1, 1, 0, 0, 0],
        "linear": [1, 0.75, 0.5, 0.25, 0],
        "abridged": [1, 0.5, 0, 0, 0],
        "exponential": np.exp(-np.arange(5) / 2),
    }
    for c.reconstruct.schedule, weight in due.items():
        made, table = tasks.build(c, network.CNN4)
        assert [t.name for t in made] == ["reconstruct", "spot"]
        np.testing.assert_allclose(table.T, [weight, 1 - np.array(weight)])


def test_patches_are_laid_beside_each_other():
    net = network.CNN4
    params = tasks.init_decoder(jax.random.key(0), net)
    params["kernel"] = jnp.zeros_like(params["kernel"])
    params["bias"] = jnp.arange(256.0)
    found = tasks.decode(net, params, jnp.zeros((1, 2, 3, 96)))[0]
    patch = np.arange(256.0).reshape(16, 16)
    np.testing.assert_array_equal(found, np.tile(patch, (2, 3)))


def test_cross_validation_tests_each_scan_and_resumes(bars, tmp_path, monkeypatch):
    c, folder = quick(**{"data.valid": 8}), tmp_path / "folds"
    told = crossval.cross_validate(c, folder, 2)
    lines = (folder / "predictions.csv").read_text().splitlines()
    rows = list(csv.DictReader(lines))
    assert sorted(int(r["patient"]) for r in rows) == list(range(40))
    # Its numbers are those of its rows.
    first = [r for r in rows if r["fold"] == "0" and r["l3_mm"] != "nan"]
    away = [abs(float(r["l3_mm"]) - float(r["predicted_mm"])) for r in first]
    assert told["folds"][0]["mean_mm"] == pytest.approx(np.mean(away), abs=0.01)
    spread = np.mean([f["std_mm"] for f in told["folds"]])
    assert told["average"]["std_mm"] == pytest.approx(spread)
    assert f"± {spread:.2f}" in crossval.table(told).splitlines()[-1]
    monkeypatch.setattr(experiment, "fit", None)  # Nothing is trained again.
    assert crossval.cross_validate(c, folder, 2) == told
    with pytest.raises(ConfigError, match="2 or more"):
        crossval.cross_validate(c, tmp_path / "other", 1)
    with pytest.raises(WorkdirError, match="folds"):
        crossval.cross_validate(c, folder, 3)

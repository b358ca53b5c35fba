"""One run on several devices gives what it gives on one."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mtl.engine import batches, sharding
from mtl.engine.cpu import products
from mtl.host.errors import ConfigError
from tests.conftest import ROOT

DEVICES = (1, 2, 4, 8)
# Kernels of the tasks of all updates; the tasks "in", "out" and "main" have 2, 2 and 3.
GRADIENTS = {"alternate": 7, "alternate_then_joint": 2 + 2 + 7, "joint": 7}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Arrays and counts of collectives, by the number of devices."""
    found = {}
    for n in DEVICES:
        folder = tmp_path_factory.mktemp(f"devices{n}")
        module = "tests.mtl.engine.on_devices"
        command = [sys.executable, "-m", module, str(folder)]
        environment = os.environ | {"JAX_NUM_CPU_DEVICES": str(n)}
        subprocess.run(command, cwd=ROOT, check=True, env=environment)
        with np.load(folder / "results.npz") as stored:
            counts = json.loads((folder / "collectives.json").read_text())
            found[n] = dict(stored), counts
    return found


@pytest.mark.slow  # It trains in other programs.
@pytest.mark.parametrize("devices", DEVICES[1:])
def test_results_are_those_of_one_device_to_rounding(outcomes, devices):
    expected, found = outcomes[1][0], outcomes[devices][0]
    assert found.keys() == expected.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], 2e-4, 1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("devices", DEVICES)
def test_a_run_that_continues_on_other_devices_ends_as_if_it_had_not(outcomes, devices):
    results = outcomes[devices][0]
    resumed = {k: v for k, v in results.items() if k.startswith("resumed")}
    assert resumed
    for name, value in resumed.items():
        whole = results[name.replace("resumed", "whole")]
        np.testing.assert_allclose(value, whole, 1e-4, 1e-6, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("devices", DEVICES)
def test_each_gradient_of_a_task_is_summed_over_devices_once(outcomes, devices):
    for order, gradients in GRADIENTS.items():
        summed = outcomes[devices][1][order]["matrices"]
        assert summed == (gradients if devices > 1 else 0), order
    joint = outcomes[devices][1]["joint"].get("all-reduce", 0)
    assert joint == (1 if devices > 1 else 0), "one operation sums all of them"


@pytest.mark.slow
def test_devices_exchange_nothing_but_sums(outcomes):
    for devices, (_, counts) in outcomes.items():
        for name, found in counts.items():
            kinds = {"matrices", "all-reduce"} if devices > 1 else {"matrices"}
            assert set(found) == kinds, (devices, name)


def test_padded_slots_are_not_valid_and_repeat_a_row_of_the_task():
    indices = batches.BatchIndices(jnp.array([[3, 1, 4]]), jnp.ones((1, 3), bool))
    row, valid = batches.pad(indices, 4)
    assert row.tolist() == [[3, 1, 4, 4]]
    assert valid.tolist() == [[True, True, True, False]]
    assert batches.pad(indices, 3).row.shape == (1, 3)


def test_the_default_is_all_devices_that_divide_the_batch(monkeypatch):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    assert sharding.device_count(0, 8) == 4
    assert sharding.device_count(0, 6) == 1
    assert sharding.device_count(2, 6) == 2


def test_idle_devices_get_one_warning(monkeypatch, caplog):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    with caplog.at_level("WARNING"):
        for wanted, batch_size in [(0, 8), (1, 10), (2, 10)]:
            sharding.device_count(wanted, batch_size)
        assert caplog.messages == []
        sharding.device_count(0, 10)
        sharding.device_count(0, 10)
    (said,) = caplog.messages
    assert "the run uses 1 of 4 devices" in said
    assert "batch_size=10; take a multiple of 4" in said


def test_one_device_is_no_mesh():
    assert jax.local_device_count() == 1
    assert sharding.data_mesh(0, 8) is None
    assert sharding.data_mesh(1, 8) is None


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (5, r"config.devices=5 must be 0, or from 1 to 4"),
        (3, r"config.devices=3 must divide the batch size, 8"),
    ],
)
def test_devices_that_do_not_fit_are_refused(monkeypatch, wanted, said):
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    with pytest.raises(ConfigError, match=said):
        sharding.device_count(wanted, 8)


def test_small_products_are_plain_where_devices_share_the_rows():
    mesh = jax.make_mesh((1,), ("data",), (jax.sharding.AxisType.Auto,))
    x, w = jnp.ones((2, 3)), jnp.ones((3, 4))

    def program():
        return str(jax.make_jaxpr(lambda x, w: products.matmul(x, w))(x, w))

    assert "custom_vjp" in program()
    with sharding.splitting_rows(mesh):
        assert "custom_vjp" not in program()

"""Finished runs of system 2 that are trained further."""

import jax
import numpy as np
import pytest

from configs.structured import digits
from mtl.host.errors import WorkdirError
from structured import experiment


def smoke(**changes):
    c = digits.get_config("smoke")
    c.epochs, c.eval_every, c.optim.decay_epochs = 4, 1, 0
    c.update_from_flattened_dict(changes)
    return c


@pytest.mark.slow
def test_more_epochs_give_what_a_longer_run_gives(tmp_path):
    experiment.train_and_evaluate(smoke(epochs=2), tmp_path / "run")
    longer = experiment.train_and_evaluate(smoke(), tmp_path / "run")
    whole = experiment.train_and_evaluate(smoke(), tmp_path / "whole")
    jax.tree.map(np.testing.assert_array_equal, longer.params, whole.params)
    np.testing.assert_array_equal(longer.predicted, whole.predicted)
    assert longer.summary["epochs"] == 4
    again = experiment.train_and_evaluate(smoke(patience=9), tmp_path / "run")
    np.testing.assert_array_equal(again.predicted, whole.predicted)
    with pytest.raises(WorkdirError, match="epochs: 4 -> 2"):
        experiment.train_and_evaluate(smoke(epochs=2), tmp_path / "run")
    falling = smoke(**{"epochs": 6, "optim.decay_epochs": 5})
    with pytest.raises(WorkdirError, match="epochs: 4 -> 6"):
        experiment.train_and_evaluate(falling, tmp_path / "run")
    assert (tmp_path / "run" / "summary.json").exists()

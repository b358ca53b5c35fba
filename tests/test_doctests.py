"""The examples in docstrings of public functions give what they say."""

import doctest
import importlib

import pytest

MODULES = (
    *("mtl.engine.schedules", "mtl.engine.fit", "mtl.data.labels", "mtl.config"),
    *("mtl.metrics", "mtl.optimizers", "mtl.sweeps.grid", "mtl.estimator"),
    *("structured.examples", "structured.config", "structured.faces.metrics"),
    "structured.estimator",
    *("l3spot.labels.csv_labels", "l3spot.training.config"),
)


@pytest.mark.parametrize("module", MODULES)
def test_examples(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted > 0
    assert failed == 0

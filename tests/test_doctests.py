"""The examples in docstrings of public functions give what they say."""

import ast
import doctest
import importlib
import inspect

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


@pytest.mark.parametrize("module", MODULES)
def test_examples_have_a_section(module):
    """The site shows other `>>>` as quotations, with all lines in one."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docs = [ast.get_docstring(n) for n in ast.walk(tree) if isinstance(n, kinds)]
    with_examples = [doc for doc in docs if doc and ">>>" in doc]
    assert with_examples
    for doc in with_examples:
        assert ">>>" not in doc.partition("\nExamples:\n")[0], doc

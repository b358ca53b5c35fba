"""The grid of a sweep: values of config fields as flags give them."""

import pytest

from mtl import config as configs
from mtl.host.errors import ConfigError
from mtl.sweeps import grid


def names(*texts, seeds=(0,)):
    base = configs.default()
    axes = [grid.parse(text, base) for text in texts]
    return [run.name for run in grid.runs(base, axes, seeds)]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optim.learning_rate=0.01,1e-3, 1", [0.01, 0.001, 1.0]),
        ("model.hidden=(50,),(60,50),[70]", [(50,), (60, 50), (70,)]),
        ("model.tied=True,False", [True, False]),
        ("method=linear, stairs", ["linear", "stairs"]),
        ("data.path='a,b',\"c\"", ["a,b", "c"]),
        ("epochs=5001", [5001]),
    ],
)
def test_values_have_the_type_of_the_field(text, values):
    axis = grid.parse(text, configs.default())
    assert list(map(type, axis.values)) == list(map(type, values))
    assert axis == (text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate=1", "no field; did you mean optim.learning_rate"),
        ("optim.learning_rat=1", "no field; did you mean optim.learning_rate"),
        ("optim=1", "config.optim is no field; did you mean optim."),
        ("epochs", "must be a field and values, as --grid optim"),
        ("epochs=", "must be a field and values"),
        ("epochs=many", "must have Python values such as 5000"),
        ("epochs=1,,2", "must have Python values"),
        ("epochs=1,2,1", "must have each value once"),
        ("seed=1,2", "must be --seeds=1,2"),
    ],
)
def test_what_is_no_axis_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        grid.parse(text, configs.default())


def test_runs_are_all_combinations_with_all_seeds():
    found = names("optim.learning_rate=0.01,0.1", "model.hidden=(60,50),()", seeds=(3,))
    assert found == [
        "optim.learning_rate=0.01,model.hidden=60-50/seed3",
        "optim.learning_rate=0.01,model.hidden=none/seed3",
        "optim.learning_rate=0.1,model.hidden=60-50/seed3",
        "optim.learning_rate=0.1,model.hidden=none/seed3",
    ]
    assert names(seeds=(1, 2)) == ["seed1", "seed2"]


def test_a_config_has_the_values_and_the_seed_of_its_run():
    base = configs.default()
    (run,) = grid.runs(base, [grid.parse("optim.learning_rate=7", base)], [5])
    assert (run.config.optim.learning_rate, run.config.seed) == (7.0, 5)
    assert base.optim.learning_rate == 0.01


def test_folders_are_short_and_differ():
    long = "data.path=" + ",".join(f"/{'a' * 300}/{i}" for i in range(3))
    found = names(long)
    assert len(set(found)) == 3
    assert max(map(len, found)) < 255
    with pytest.raises(ConfigError, match=r"both with the folder .*=a_b"):
        names("data.path=a/b,a:b")
    with pytest.raises(ConfigError, match="each field once, not epochs, epochs"):
        names("epochs=1", "epochs=2")

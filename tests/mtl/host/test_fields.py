"""A config has the fields of the default config; a help text shows them."""

import re
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from configs.mtl import table1
from l3spot.training import config as l3spot_config
from l3spot.training import vertebrae
from mtl import config as mtl_config
from mtl.host import fields
from mtl.host.errors import ConfigError
from mtl.study import grid
from structured import config as structured_config
from tests import program

ABOUT = "The number of labelled images, l. -1 takes all."
CONFIGS = {
    "mtl": mtl_config,
    "structured": structured_config,
    "l3spot": l3spot_config,
    "vertebrae": vertebrae,
}


def changed(config, **values):
    """The config with other or more fields; `a__b` is config.a.b."""
    content = config.to_dict()
    for name, value in values.items():
        *groups, last = name.split("__")
        group = content
        for part in groups:
            group = group[part]
        group[last] = value
    return ConfigDict(content)


@pytest.mark.parametrize("system", CONFIGS)
@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("optim__weight_decy", r"config\.optim\.weight_decy is no field"),
        ("optim__rate", r"did you mean learning_rate\?"),
        ("epoch", r"config\.epoch is no field; did you mean epochs\?"),
        ("dropout", r"config\.dropout is no field; there are .*batch_size"),
    ],
)
def test_unknown_fields_are_refused(system, field, said):
    own = changed(CONFIGS[system].default(), **{field: 0.5})
    with pytest.raises(ConfigError, match=said):
        CONFIGS[system].check(own)


@pytest.mark.parametrize("system", CONFIGS)
def test_a_missing_field_is_named_with_its_default(system):
    content = CONFIGS[system].default().to_dict()
    del content["optim"]["learning_rate"]
    with pytest.raises(ConfigError, match=r"config\.optim\.learning_rate is missing"):
        CONFIGS[system].check(ConfigDict(content))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", "250"),
        ("epochs", 2.5),
        ("epochs", True),
        ("optim", 0.1),
        ("model__hidden", 50),
        ("model__hidden", ("50",)),
        ("model__hidden", (50, True)),
        ("ladder__costs", (1.0, None)),
        ("data__balanced", 1),
    ],
)
def test_another_type_is_refused(field, value):
    with pytest.raises(ConfigError, match="must be like its default"):
        mtl_config.check(changed(mtl_config.default(), **{field: value}))


def test_a_group_is_named_in_one_line():
    c, default = mtl_config.default(), mtl_config.default()
    with c.unlocked(), c.ignore_type():
        c.gamma = 3
    with pytest.raises(ConfigError, match=r"gamma=3 must be .*, a group of cost$"):
        fields.check(c, default)


def test_whole_numbers_and_lists_are_taken():
    own = {"optim__learning_rate": 1, "model__hidden": [50]}
    mtl_config.check(changed(mtl_config.default(), **own))


@pytest.mark.parametrize("name", ["rates", "parts__a__method"])
def test_unknown_fields_of_a_study_are_refused(name):
    c = changed(table1.get_config("smoke"), **{f"study__{name}": (0.1,)})
    last = name.split("__")[-1]
    with pytest.raises(ConfigError, match=rf"config\.study\..*{last} is no field"):
        grid.check(c)


@pytest.mark.parametrize("system", CONFIGS)
def test_the_description_has_each_field_once(system):
    found = fields.describe(CONFIGS[system].default)
    names = [field.name for field in found]
    assert len(set(names)) == len(names)
    default = CONFIGS[system].default()
    for field in found:
        value = default
        for part in field.name.split("."):
            value = value[part]
        assert value == field.default


def test_comments_are_those_of_the_source():
    ours = {f.name: f.comment for f in fields.describe(mtl_config.default)}
    assert ours["data.labelled"] == ABOUT
    assert ours["reconstruct.loss"].startswith("Ours: the loss of the input layer")
    assert all(ours.values())
    theirs = {f.name: f.comment for f in fields.describe(structured_config.default)}
    assert theirs["patience"] == (
        "The number of epochs without a better one after which training stops. 0 "
        "trains for all epochs."
    )
    assert all(theirs.values())


@pytest.mark.parametrize("system", CONFIGS)
def test_each_field_has_a_comment(system):
    found = fields.describe(CONFIGS[system].default)
    assert [field.name for field in found if not field.comment] == []


def test_comments_of_a_group_are_those_of_its_class():
    found = {f.name: f.comment for f in fields.describe(l3spot_config.default)}
    assert found["augmentation.low_hu"] == "HU that become black."
    assert found["augmentation.box_px"] == "largest side of hidden boxes."
    assert found["low_hu"].startswith("Black at test time")


def test_help_shows_flags_and_fields():
    command = [sys.executable, "-m", "mtl.main", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "--workdir" in done.stdout
    assert f"--config.data.labelled=100\n      {ABOUT}" in done.stdout


def test_a_config_of_an_older_version_is_completed():
    content = mtl_config.default().to_dict()
    content["epochs"] = 7
    del content["gamma"], content["model"]["noise"]
    own = fields.complete(ConfigDict(content), mtl_config.default(), "a/config.json")
    assert own.epochs == 7
    own.epochs = mtl_config.default().epochs
    assert own == mtl_config.default()


def test_a_config_of_another_version_is_refused_by_name():
    content = mtl_config.default().to_dict()
    content["optim"]["rate"] = content["optim"].pop("learning_rate")
    said = r"program or version: optim\.rate is no field; did you mean learning_rate"
    with pytest.raises(ConfigError, match=said):
        fields.complete(ConfigDict(content), mtl_config.default(), "a/config.json")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [("epochs", {"a": 1}, "epochs is a group of fields"), ("data", 3, "data is 3")],
)
def test_a_config_with_other_groups_is_refused_by_name(name, value, said):
    content = ConfigDict(mtl_config.default().to_dict() | {name: value})
    with pytest.raises(ConfigError, match=f"program or version: {said}"):
        fields.complete(content, mtl_config.default(), "a/config.json")


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("optim.learningrate=1", r"optim\.learningrate is no field; did you mean lear"),
        (
            "optim.momentum=0.9",
            r"optim\.momentum is no field; there are arguments, clip",
        ),
        ("momentum=0.9", r"config\.momentum is no field; there are .*batch_size"),
        ("epochs.x=3", r"config\.epochs\.x is no field"),
    ],
)
def test_an_unknown_field_on_the_command_line_names_the_nearest(tmp_path, flag, said):
    place = ["--config", "configs/mtl/digits.py", "--workdir", tmp_path / "run"]
    done = program.call("mtl.main", *place, f"--config.{flag}")
    assert done.returncode == 1
    assert re.search(said, done.stderr)
    assert not (tmp_path / "run").exists()

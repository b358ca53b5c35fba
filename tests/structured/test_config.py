import functools
import importlib
import re

import pytest

from mtl import optimizers
from mtl.engine import spec
from mtl.host import checks
from mtl.host.errors import ConfigError
from mtl.tasks import corruption
from structured import autoencoder, data, tasks
from structured import config as configs
from structured.faces import sources
from structured.faces.schemes import SCHEMES, Scheme
from tests import config_fields
from tests.config_fields import leaves
from tests.conftest import ROOT

NAN = float("nan")

BAD = [
    ("seed", -1),
    ("seed", 2**32),
    ("variant", "no_such"),
    ("epochs", 0),
    ("batch_size", 0),
    ("order", "no_such"),
    ("data.source", "no_such"),
    ("data.path", ""),
    ("data.train", ()),
    ("data.test", ()),
    ("data.pairs", 0),
    ("data.pairs", -2),
    ("data.valid", 0.0),
    ("data.valid", 1.0),
    ("data.valid", -0.1),
    ("data.valid", NAN),
    ("data.points", 0),
    ("augmentation.rotation", -1.0),
    ("augmentation.rotation", NAN),
    ("augmentation.scale", -0.1),
    ("augmentation.scale", NAN),
    ("augmentation.shift", -0.1),
    ("augmentation.shift", NAN),
    ("model.encoder", "no_such"),
    ("model.dtype", "float16"),
    ("model.input", ()),
    ("model.input", (0,)),
    ("model.input", (9, -1)),
    ("model.input", (9.5,)),
    ("model.link", (0,)),
    ("model.link", (9.5,)),
    ("model.output", ()),
    ("model.output", (0,)),
    ("model.channels", ()),
    ("model.channels", (8, 0)),
    ("model.strides", ()),
    ("model.strides", (2, 0)),
    ("model.input_activation", "no_such"),
    ("model.link_activation", "no_such"),
    ("model.output_activation", "no_such"),
    ("model.x_activation", "no_such"),
    ("model.y_activation", "no_such"),
    *((f"{t}.error", "no_such") for t in ("reconstruct_in", "supervised")),
    *((f"{t}.dimensions", "no_such") for t in ("reconstruct_in", "supervised")),
    *((f"{t}.batch", "no_such") for t in ("reconstruct_in", "supervised")),
    *((f"{t}.l2", -1e-9) for t in ("reconstruct_in", "supervised")),
    *((f"{t}.l2", NAN) for t in ("reconstruct_in", "supervised")),
    ("reconstruct_out.error", "no_such"),
    ("reconstruct_out.dimensions", "no_such"),
    ("reconstruct_out.batch", "no_such"),
    ("reconstruct_out.l2", -1e-9),
    ("reconstruct_in.noise", "no_such"),
    ("reconstruct_out.noise", "no_such"),
    ("reconstruct_in.level", -0.1),
    ("reconstruct_in.level", 1.1),
    ("reconstruct_in.level", NAN),
    ("reconstruct_out.level", -0.1),
    ("reconstruct_out.level", NAN),
    ("data.train", ("helen/trainset", "helen/testset")),
    ("data.unlabelled", ("helen/testset",)),
    ("data.unlabelled", ("helen/trainset",)),
    ("data.points", 1),
    ("data.mirror_pairs", (1, 2)),
    ("data.mirror_pairs", ((1, 2, 3),)),
    ("data.mirror_pairs", ((1, 68),)),
    ("data.mirror_pairs", ((1, 2), (2, 3))),
    ("data.mirror_pairs", ((1, 2.5),)),
    ("data.eye_corners", (36,)),
    ("data.eye_corners", (36, 36)),
    ("data.eye_corners", (-1, 45)),
    ("data.eyes", ((36, 37),)),
    ("data.eyes", ((36, 37), ())),
    ("data.eyes", (36, 45)),
    ("data.eyes", ((36, 99), (45,))),
    ("schedule.input", (100.0, 100.0)),
    ("schedule.input", (100.0,)),
    ("schedule.input", (1.0, 2.0, 3.0)),
    ("schedule.input", (NAN, 100.0)),
    ("schedule.input", ("a", "b")),
    ("schedule.output", (700.0, 100.0)),
    ("schedule.output", ()),
    ("optim.name", "no_such"),
    ("optim.learning_rate", 0.0),
    ("optim.learning_rate", -0.1),
    ("optim.learning_rate", NAN),
    ("optim.momentum", -0.1),
    ("optim.momentum", 1.0),
    ("optim.momentum", NAN),
    ("optim.clip", -1.0),
    ("optim.clip", NAN),
    ("optim.arguments", "no_such=1"),
    ("optim.arguments", "0.9"),
    ("optim.schedule", "no_such"),
    ("optim.decay_epochs", -1),
    ("optim.decay_epochs", 1001),
    ("optim.warmup_epochs", -1),
    ("optim.warmup_epochs", 5001),
    ("optim.weight_decay", -1.0),
    ("optim.weight_decay", NAN),
    ("data.valid_seed", -1),
    ("eval_every", 0),
    ("save_every", 0),
    ("save_minutes", -1.0),
    ("patience", -1),
    ("monitor", "no_such"),
    ("monitor_mode", "no_such"),
    ("metrics", (3,)),
    ("devices", -1),
    ("precision", "no_such"),
]
# Crop refuses these.
CROP = [
    ("data.size", 0),
    ("data.context", -1),
    ("data.margin", -0.5),
    ("data.margin", NAN),
]
# Refused only in combination with other fields: see below.
TOGETHER = {"data.unlabelled", "augmentation.on", "augmentation.mirror"}
# Every value of these fields is allowed, or can only be checked with the data.
UNCHECKED = {
    "init_from",
    "data.valid_first",
    "data.square",
    "data.partial_y",
    "data.boxes",
    "data.skip_bad",
    "data.cache",
    "model.tied_input",
    "model.tied_output",
    "reconstruct_in.center_code",
    "reconstruct_out.center_code",
    "shard_data",
}


def with_values(**values):
    """Returns the default config with a path and changed fields; a__b is config.a.b."""
    c = configs.default()
    c.data.path = "somewhere"
    for name, value in values.items():
        part, name = c, name.replace("__", ".").split(".")
        for section in name[:-1]:
            part = part[section]
        part[name[-1]] = value
    return c


assert_refused = functools.partial(config_fields.assert_refused, configs.check)


def test_the_default_passes():
    configs.check(with_values())


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda v: str(v))
def test_bad_value(name, value):
    assert_refused(with_values(**{name: value}), name, value)


@pytest.mark.parametrize(("name", "value"), CROP, ids=lambda v: str(v))
def test_a_bad_crop_is_refused(name, value):
    field = name.split(".")[1]
    with pytest.raises(ConfigError, match=re.escape(f"{field}={value!r}")):
        configs.check(with_values(**{name: value}))


def test_every_field_is_tested_or_needs_no_test():
    bad = {name for name, _ in BAD + CROP} | TOGETHER
    assert not bad & UNCHECKED
    assert set(leaves(configs.default())) == bad | UNCHECKED


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("variant", tasks.VARIANTS),
        ("order", spec.ORDERS),
        ("data.source", data.SOURCES),
        ("model.encoder", ("mlp",)),
        ("model.input_activation", tuple(autoencoder.ACTIVATIONS)),
        ("model.y_activation", tuple(autoencoder.ACTIVATIONS)),
        ("reconstruct_in.noise", corruption.KINDS),
        ("reconstruct_out.error", tuple(tasks.ERROR_FUNCTIONS)),
        ("reconstruct_out.dimensions", ("sum", "mean")),
        ("supervised.batch", ("sum", "mean")),
        ("optim.name", optimizers.NAMES),
        ("precision", checks.PRECISIONS),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_choices_pass_and_an_error_lists_them(name, allowed):
    for value in allowed:
        points = {"data.points": 98} if value == "wflw" else {}
        configs.check(with_values(**{name: value}, **points))
    with pytest.raises(ConfigError, match=re.escape(", ".join(allowed))):
        configs.check(with_values(**{name: "no_such"}))


@pytest.mark.parametrize("source", [s for s in data.SOURCES if s != "digits"])
def test_a_source_of_files_needs_a_path(source):
    c = with_values(data__source=source, data__path="")
    c.data.points = 98 if source == "wflw" else c.data.points
    needed = f"config.data.path='' must be .+ with data.source='{source}'"
    with pytest.raises(ConfigError, match=needed):
        configs.check(c)
    c.data.path = "somewhere"
    configs.check(c)


def test_digits_need_no_path():
    configs.check(with_values(data__source="digits", data__path=""))


@pytest.mark.parametrize("source", ["digits", "npz"])
def test_other_data_have_no_unlabelled_folders_and_no_augmentation(source):
    c = with_values(data__source=source, data__unlabelled=("afw",))
    assert_refused(c, "data.unlabelled", ("afw",))
    c = with_values(data__source=source, augmentation__on=True)
    assert_refused(c, "augmentation.on", True)
    # The folders are not used.
    configs.check(with_values(data__source=source, data__train=(), data__test=()))


def test_faces_may_have_unlabelled_folders_and_augmentation():
    for source in data.FACE_SOURCES:
        c = with_values(data__source=source, data__unlabelled=("afw",))
        c.data.points = 98 if source == "wflw" else c.data.points
        c.augmentation.on = True
        configs.check(c)


def test_a_mirror_needs_pairs_of_points():
    c = with_values(augmentation__on=True, data__points=7)
    assert_refused(c, "augmentation.mirror", True)
    c.augmentation.mirror = False
    configs.check(c)
    configs.check(with_values(data__points=7))
    c.augmentation.mirror, c.data.mirror_pairs = True, ((0, 1), [5, 6])
    configs.check(c)
    for points in SCHEMES:
        configs.check(with_values(augmentation__on=True, data__points=points))


def test_own_fields_replace_the_whole_scheme_that_is_shipped():
    c = with_values(data__eyes=((1,), (2,)))
    scheme = sources.scheme(c.data)
    assert scheme == Scheme(68, eyes=((1,), (2,)))
    assert sources.scheme(with_values().data) is SCHEMES[68]


def test_wflw_has_98_points_and_its_own_boxes():
    c = with_values(data__source="wflw")
    assert_refused(c, "data.points", 68)
    c.data.points, c.data.boxes = 98, "boxes.csv"
    assert_refused(c, "data.boxes", "boxes.csv")
    c.data.boxes = "list"
    configs.check(c)


@pytest.mark.parametrize("task", ["reconstruct_in", "reconstruct_out"])
@pytest.mark.parametrize("kind", corruption.KINDS)
def test_only_a_standard_deviation_of_noise_may_exceed_1(task, kind):
    c = with_values(**{f"{task}.noise": kind, f"{task}.level": 1.5})
    if kind in ("mask", "salt_pepper"):
        assert_refused(c, f"{task}.level", 1.5)
    else:
        configs.check(c)


def test_convolutions_need_strides_and_a_divisible_size():
    c = with_values(model__encoder="cnn")
    assert_refused(c, "data.size", 50)
    c.data.size = 56
    configs.check(c)
    c.model.strides = (2, 1)
    assert_refused(c, "model.strides", (2, 1))
    c.model.strides = (1, 1, 3)
    assert_refused(c, "data.size", 56)
    c.data.size = 57
    configs.check(c)
    # Without convolutions neither is checked.
    configs.check(with_values(model__strides=(2, 1)))


@pytest.mark.parametrize("shape", [(6,), (4, 4, 3)])
def test_convolutions_need_grey_images(shape):
    c = with_values(model__encoder="cnn")
    with pytest.raises(ConfigError, match=r"config.model.encoder='cnn' must be 'mlp'"):
        configs.check_input_shape(c, shape)
    configs.check_input_shape(c, (8, 16))
    c.model.encoder = "mlp"
    configs.check_input_shape(c, shape)


def test_a_link_may_be_one_layer():
    configs.check(with_values(model__link=()))


def test_decay_may_last_all_epochs():
    configs.check(with_values(epochs=9, optim__decay_epochs=9))


# The files in configs/structured


def get_config(name, variant=""):
    return importlib.import_module(f"configs.structured.{name}").get_config(variant)


def variants(name):
    """Returns the variants that the error about an unknown one lists."""
    with pytest.raises(ConfigError, match="no variant 'no_such'; there is ") as e:
        get_config(name, "no_such")
    return str(e.value).split("there is ")[1].split(", ")


SHIPPED = sorted(
    p.stem
    for p in (ROOT / "configs" / "structured").glob("*.py")
    if p.stem != "__init__"
)
ALL = [(name, v) for name in SHIPPED for v in ["", *variants(name)]]


def test_there_are_shipped_configs():
    assert {"digits", "helen"} <= set(SHIPPED)
    assert {v for _, v in ALL} >= {"", "smoke"}


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_shipped_configs_pass(name, variant):
    c = get_config(name, variant)
    if c.data.source != "digits":
        assert_refused(c, "data.path", "")
        c.data.path = "somewhere"
    for c.variant in tasks.VARIANTS:
        configs.check(c)
    assert set(leaves(c)) == set(leaves(configs.default()))


@pytest.mark.parametrize(("name", "variant"), ALL)
def test_the_loss_weights_of_shipped_configs_reach_0(name, variant):
    """Both auto-encoders train at first, and stop before the last epoch."""
    c = get_config(name, variant)
    c.variant = "mlp_in_out"
    table = tasks.loss_weights(c)
    assert (table[0] == 1).all()
    assert table[-1].tolist() == [0, 0, 1]


@pytest.mark.parametrize("name", SHIPPED)
def test_smoke_is_short(name):
    assert get_config(name, "smoke").epochs <= min(10, get_config(name).epochs / 10)


def test_the_helen_config_is_the_papers():
    """The config file for HELEN has the default values, which are the paper's."""
    assert get_config("helen").to_dict() == configs.default().to_dict()

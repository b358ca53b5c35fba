import functools
import importlib
import re

import pytest

from configs.mtl import best
from mtl import config as configs
from mtl import methods, optimizers
from mtl.data import datasets
from mtl.engine import spec
from mtl.host import checks
from mtl.host.errors import ConfigError
from mtl.tasks import corruption, losses, network
from tests import config_fields
from tests.config_fields import leaves
from tests.conftest import ROOT

OF_A_STUDY = {"table1", "weights"}  # See tests/mtl/study/test_grid.py.
SHIPPED = sorted(
    {p.stem for p in (ROOT / "configs" / "mtl").glob("[!_]*.py")} - OF_A_STUDY
)
NAN = float("nan")

BAD = [
    ("seed", -1),
    ("seed", 2**32),
    ("monitor", "test/error"),
    ("method", "no_such"),
    ("epochs", 0),
    ("batch_size", 0),
    ("order", "no_such"),
    ("data.source", "no_such"),
    ("data.labelled", 0),
    ("data.labelled", -5),
    ("data.unlabelled", -2),
    ("model.hidden", ()),
    ("model.hidden", (50, 0)),
    ("model.hidden", (50.5,)),
    ("model.hidden", (-1,)),
    ("model.network", "no_such"),
    ("model.channels", (16, 0)),
    ("model.strides", ()),
    ("model.activation", "no_such"),
    ("model.dtype", "float16"),
    ("data.chunk_rows", 1),
    ("model.norm", "no_such"),
    ("model.noise", -0.1),
    ("model.noise", NAN),
    ("model.noise", 0.3),
    ("unsupervised", "no_such"),
    ("vat.epsilon", 0.0),
    ("vat.iterations", 0),
    ("vat.xi", -1e-6),
    ("vat.entropy", -1.0),
    ("vat.scale", 0.0),
    ("ladder.costs", ()),
    ("ladder.costs", (1.0, -1.0)),
    ("ladder.costs", (0.0, 0.0)),
    ("ladder.costs", ("a",)),
    ("ladder.costs", (1.0, 1.0, 1.0, 1.0)),
    ("gamma.cost", 0.0),
    ("reconstruct.loss", "no_such"),
    ("reconstruct.hidden_loss", "no_such"),
    ("reconstruct.scale", 0.0),
    ("reconstruct.scale", NAN),
    ("reconstruct.noise", "no_such"),
    ("reconstruct.level", -0.1),
    ("reconstruct.level", 1.1),
    ("reconstruct.level", NAN),
    ("classify.reduction", "no_such"),
    ("classify.draws", -1),
    ("schedule.weight", -0.1),
    ("schedule.weight", 1.0),
    ("schedule.t1", 0),
    ("schedule.sigma", 0.0),
    ("schedule.sigma", -1.0),
    ("schedule.sigma", NAN),
    ("schedule.cutoff", -1e-9),
    ("schedule.cutoff", NAN),
    ("weighting.temperature", 0.0),
    ("weighting.temperature", NAN),
    ("weighting.alpha", -0.1),
    ("weighting.alpha", NAN),
    ("weighting.rate", 0.0),
    ("weighting.rate", NAN),
    ("weighting.decay", -0.1),
    ("weighting.decay", NAN),
    ("weighting.factor", 0.0),
    ("weighting.factor", 1.0),
    ("weighting.factor", NAN),
    ("weighting.wait", 0),
    ("optim.name", "no_such"),
    ("optim.learning_rate", 0.0),
    ("optim.learning_rate", -0.1),
    ("optim.learning_rate", NAN),
    ("optim.arguments", "no_such=1"),
    ("optim.arguments", "0.9"),
    ("optim.schedule", "no_such"),
    ("optim.decay_epochs", -1),
    ("optim.decay_epochs", 5001),
    ("optim.warmup_epochs", -1),
    ("optim.warmup_epochs", 5001),
    ("optim.weight_decay", -1.0),
    ("optim.weight_decay", NAN),
    ("optim.clip", -1.0),
    ("optim.clip", NAN),
    ("metrics", (3,)),
    ("monitor", "valid/no_such"),
    ("monitor_mode", "no_such"),
    ("eval_every", 0),
    ("save_every", 0),
    ("save_minutes", -1.0),
    ("data.valid_seed", -1),
    ("data.scaling", "other"),
    ("patience", -1),
    ("devices", -1),
    ("precision", "no_such"),
]
# Any value of these is one of the two that are allowed, or only the data can tell.
UNCHECKED = {
    "data.balanced",
    "data.path",
    "data.valid",
    "init_from",
    "model.tied",
    "reconstruct.reaches_below",
    "shard_data",
}


def with_values(**values):
    """The default with some fields changed: `a__b=1` for config.a.b."""
    c = configs.default()
    c.update_from_flattened_dict({k.replace("__", "."): v for k, v in values.items()})
    return c


assert_refused = functools.partial(config_fields.assert_refused, configs.check)


def test_the_default_passes():
    configs.check(configs.default())


@pytest.mark.parametrize(("name", "value"), BAD, ids=lambda v: str(v))
def test_bad_value(name, value):
    assert_refused(with_values(**{name: value}), name, value)


def test_every_field_has_a_bad_value_here_or_needs_none():
    assert set(leaves(configs.default())) == {name for name, _ in BAD} | UNCHECKED


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("method", methods.METHODS),
        ("order", spec.ORDERS),
        ("optim.name", optimizers.NAMES),
        ("model.activation", tuple(network.ACTIVATIONS)),
        ("reconstruct.loss", tuple(losses.RECONSTRUCTION)),
        ("reconstruct.noise", corruption.KINDS),
        ("classify.reduction", ("mean", "sum")),
        ("precision", checks.PRECISIONS),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_choices_pass_and_are_told_when_another_is_given(name, allowed):
    for value in allowed:
        configs.check(with_values(**{name: value}))
    with pytest.raises(ConfigError, match=re.escape(", ".join(allowed))):
        configs.check(with_values(**{name: "no_such"}))


@pytest.mark.parametrize("source", [s for s in datasets.SOURCES if s != "digits"])
def test_a_source_of_files_needs_a_path(source):
    c = with_values(data__source=source)
    needed = f"config.data.path='' must be .+ with data.source='{source}'"
    with pytest.raises(ConfigError, match=needed):
        configs.check(c)
    c.data.path = "somewhere"
    configs.check(c)


@pytest.mark.parametrize("kind", corruption.KINDS)
def test_a_level_above_1_is_only_for_noise_that_is_no_share(kind):
    c = with_values(reconstruct__noise=kind, reconstruct__level=1.5)
    if kind in ("mask", "salt_pepper"):
        assert_refused(c, "reconstruct.level", 1.5)
    else:
        configs.check(c)


def test_relu_layers_cannot_be_reconstructed_with_cross_entropy():
    c = with_values(model__activation="relu", reconstruct__hidden_loss="cross_entropy")
    assert_refused(c, "reconstruct.hidden_loss", "cross_entropy")
    c.model.activation = "tanh"
    configs.check(c)


@pytest.mark.parametrize("task", methods.UNSUPERVISED)
def test_tasks_with_and_without_normalisation(task):
    allowed = {"reconstruct": ("none",), "vat": network.NORMS}.get(task, ("batch",))
    for norm in network.NORMS:
        noise = 0.3 if norm == "batch" else 0.0
        c = with_values(unsupervised=task, model__norm=norm, model__noise=noise)
        if norm in allowed:
            configs.check(c)
        else:
            assert_refused(c, "model.norm", norm)
            c.method = "baseline_matched"
            configs.check(c)


@pytest.mark.parametrize("task", ["gamma", "ladder"])
def test_denoising_needs_noise(task):
    c = with_values(unsupervised=task, model__norm="batch")
    assert_refused(c, "model.noise", 0.0)


def test_pretraining_is_of_auto_encoders():
    c = with_values(unsupervised="vat", method="pretraining", model__hidden=(9, 9))
    assert_refused(c, "unsupervised", "vat")


def test_pretraining_must_leave_epochs_for_the_classifier():
    c = with_values(method="pretraining", epochs=600, model__hidden=(9, 9, 9))
    c.schedule.t1 = 200
    assert_refused(c, "schedule.t1", 200)
    c.schedule.t1 = 199
    configs.check(c)


def test_patience_must_last_until_the_classifier_trains():
    c = with_values(method="stairs", epochs=500, schedule__t1=100, patience=100)
    assert_refused(c, "patience", 100)
    c.patience = 101
    configs.check(c)


def test_stairs_must_end():
    c = with_values(method="stairs", epochs=500, schedule__t1=500)
    assert_refused(c, "schedule.t1", 500)
    c.schedule.t1 = 499
    configs.check(c)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("method", methods.METHODS)
def test_each_method_has_a_smoke_variant(name, method):
    c = importlib.import_module(f"configs.mtl.{name}").get_config("smoke")
    c.method, c.data.path = method, "somewhere"
    if (method, c.unsupervised) == ("pretraining", "ladder"):
        assert_refused(c, "unsupervised", "ladder")
        return
    configs.check(c)


def test_decay_may_last_all_epochs():
    configs.check(with_values(epochs=9, optim__decay_epochs=9))


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("variant", ["", "smoke"])
def test_shipped_configs_pass(name, variant):
    c = importlib.import_module(f"configs.mtl.{name}").get_config(variant)
    if c.data.source != "digits":
        assert_refused(c, "data.path", "")
        c.data.path = "somewhere"
    configs.check(c)
    assert set(leaves(configs.of_a_run(c))) == set(leaves(configs.default()))


@pytest.mark.parametrize("name", SHIPPED)
def test_smoke_is_short(name):
    get_config = importlib.import_module(f"configs.mtl.{name}").get_config
    assert get_config("smoke").epochs <= min(50, get_config().epochs / 10)


def test_there_are_shipped_configs():
    assert {"best", "digits", "mnist"} <= set(SHIPPED)


@pytest.mark.parametrize("variant", best.VARIANTS)
def test_variants_of_the_best_pass(variant):
    c = best.get_config(variant)
    c.data.path = "somewhere"
    configs.check(c)
    assert variant.startswith(f"{c.unsupervised}{c.data.labelled}")
    assert (c.epochs > 100) == variant.endswith("_full")


@pytest.mark.parametrize("name", SHIPPED)
def test_an_unknown_variant_is_refused(name):
    with pytest.raises(ConfigError, match=r"no variant 'smok'; there is smoke"):
        importlib.import_module(f"configs.mtl.{name}").get_config("smok")

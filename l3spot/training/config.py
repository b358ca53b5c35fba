"""System 3's config: every field; what the paper leaves open is our choice."""

from ml_collections import ConfigDict

from l3spot import backbones
from l3spot.localize import network, window_search
from l3spot.training import augmentation, tasks
from mtl.host.checks import PRECISIONS, at_least, get, one_of, require

SOURCES = ("phantoms", "projections")


def default() -> ConfigDict:
    """CNN4 on phantoms. But for the reach, all of it is ours."""
    c = ConfigDict()
    c.seed = 0  # Initial weights, order, what jitter draws, and who keeps a label.
    c.epochs = 16
    c.batch_size = 16
    c.precision = "default"  # Of matrix products, one of PRECISIONS.

    c.model = ConfigDict()
    c.model.backbone = "cnn4"  # One of backbones.NAMES.
    c.model.weights = ""  # A file of l3spot.convert; "": random filters.
    c.model.frozen = False  # Whether the trunk stays as it is; the paper trains it.
    c.model.dtype = "float32"  # That the trunk computes in, or "bfloat16".

    c.data = ConfigDict()
    # Phantoms, drawn once, or what l3spot.project left.
    c.data.source = "phantoms"
    c.data.path = "runs/phantoms"  # The folder that keeps or has them.
    c.data.patients = ""  # CSV: scan, patient. "": each projection is of another one.
    c.data.seed = 7  # Of phantoms.
    c.data.count = 3000  # Phantoms.
    c.data.test = 0  # The last so many test,
    c.data.valid = 300  # and of the others the last so many validate and calibrate.
    c.data.labelled = 0  # Scans that keep their label in training; 0: all.
    c.data.unlabelled = 0  # Scans without that train as well; -1: all that are left.
    c.data.strips = 0  # Scans with a label are repeated to so many strips an epoch.

    # Of a strip, a stride apart: 32 mm with CNN4, 64 mm with the others.
    c.windows = 8
    c.jitter = ConfigDict(augmentation.Range()._asdict())
    # HU that are black and white at test time; training draws them (`jitter`).
    c.low, c.high = 50.0, 950.0
    c.step = window_search.STEP  # Pixels, of 2 mm, from window to window at test time.
    c.mirror = False  # Whether mirror images are looked at as well, at test time.
    # The paper trains on windows within the reach alone (0); here others learn that L3
    # is a or more above or below, with this weight.
    c.beyond = 0.3
    c.reach = window_search.REACH  # a, mm: 50 in the paper; not to be changed.
    c.huber = 0.3  # Errors, in reaches, from which the loss is linear.

    # The task that needs no label: its weight w, beside 1 - w of the main one.
    c.reconstruct = ConfigDict()
    c.reconstruct.schedule = tasks.NONE  # One of tasks.SCHEDULES.
    c.reconstruct.value = 0.5  # constant
    c.reconstruct.t1 = 8.0  # stairs, abridged; epochs.
    c.reconstruct.sigma = 4.0  # exponential
    c.reconstruct.scale = 1.0  # Of its loss, also in the logs.

    c.optim = ConfigDict()
    c.optim.rate = 2e-3  # Adam's, after a warm-up, falling as a half cosine.
    c.optim.trunk = 1.0  # Times that of all else.
    c.optim.warm_up = 1  # Epochs.
    c.optim.decay = 1e-4  # Of weights, decoupled.
    c.optim.clip = 1.0  # Norm of the gradient.
    c.eval_every = 4
    c.save_every = 1
    c.patience = 0  # Epochs without a better validation error; 0: train to the end.
    return c


def check(c: ConfigDict) -> None:
    """Looks at all fields before any work.

    Raises:
      ConfigError: one makes no sense.
    """
    one_of(c, "data.source", SOURCES)
    one_of(c, "precision", PRECISIONS)
    one_of(c, "model.backbone", backbones.NAMES)
    one_of(c, "model.dtype", network.DTYPES)
    one_of(c, "reconstruct.schedule", tasks.SCHEDULES)
    for name, least in {
        "seed": 0, "epochs": 1, "batch_size": 1, "windows": 1, "data.count": 2,
        "data.valid": 1, "data.test": 0, "data.labelled": 0, "data.unlabelled": -1,
        "data.strips": 0, "eval_every": 1, "save_every": 1, "patience": 0,
        "optim.warm_up": 0, "optim.trunk": 0, "beyond": 0,
    }.items():  # fmt: skip
        at_least(c, name, least)
    for name in (
        *("optim.rate", "optim.clip", "huber", "reconstruct.scale"),
        *("reconstruct.t1", "reconstruct.sigma"),
    ):
        require(get(c, name) > 0, c, name, "above 0")
    held = c.data.valid + c.data.test
    require(held < c.data.count, c, "data.valid", "below data.count - data.test")
    require(c.low < c.high, c, "low", "below config.high")
    require(c.reach == window_search.REACH, c, "reach", f"{window_search.REACH:g}")
    one_of(c, "step", window_search.steps(network.make(c.model.backbone)))
    require(0 < c.reconstruct.value < 1, c, "reconstruct.value", "between 0 and 1")
    own = c.model.backbone not in backbones.PRETRAINED
    require(
        not (own and c.model.weights),
        c,
        "model.weights",
        f"empty for {c.model.backbone}",
    )
    alone = c.reconstruct.schedule == tasks.NONE
    require(alone or not c.model.frozen, c, "model.frozen", "False with reconstruction")
    require(c.data.unlabelled == 0 or not alone, c, "data.unlabelled",
            "0 without a schedule of config.reconstruct")  # fmt: skip

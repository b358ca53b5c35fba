"""System 3's config: every field; what the paper leaves open is our choice."""

from ml_collections import ConfigDict

from l3spot import jitter, spotting
from mtl.checks import PRECISIONS, at_least, one_of, require

SOURCES = ("phantoms", "projections")


def default() -> ConfigDict:
    """The config of the packaged model. But for the reach, all of it is ours."""
    c = ConfigDict()
    c.seed = 0  # Initial weights, order, and what jitter draws.
    c.epochs = 16
    c.batch_size = 16
    c.precision = "default"  # Of matrix products, one of PRECISIONS.

    c.data = ConfigDict()
    c.data.source = (
        "phantoms"  # Drawn once, or what l3spot.project left ("projections").
    )
    c.data.path = "runs/phantoms"  # The folder that keeps or has them.
    c.data.seed = 7  # Of phantoms.
    c.data.count = 3000  # Phantoms; the last `valid` validate.
    c.data.valid = 300  # Phantoms or projections that validate and calibrate.

    c.windows = 8  # Of a strip, 32 mm apart.
    c.jitter = ConfigDict(jitter.Range()._asdict())
    # HU that are black and white at test time; training draws them (`jitter`).
    c.low, c.high = 50.0, 950.0
    # The paper trains on windows within the reach alone (0); here others learn that L3
    # is a or more above or below, with this weight.
    c.beyond = 0.3
    c.reach = spotting.REACH  # a, mm: 50 in the paper; not to be changed.
    c.huber = 0.3  # Errors, in reaches, from which the loss is linear.

    c.optim = ConfigDict()
    c.optim.rate = 2e-3  # Adam's, after a warm-up, falling as a half cosine.
    c.optim.warm_up = 1  # Epochs.
    c.optim.decay = 1e-4  # Of weights, decoupled.
    c.optim.clip = 1.0  # Norm of the gradient.
    c.eval_every = 4
    c.save_every = 1
    return c


def check(c: ConfigDict) -> None:
    """Looks at all fields before any work.

    Raises:
      ConfigError: one makes no sense.
    """
    one_of(c, "data.source", SOURCES)
    one_of(c, "precision", PRECISIONS)
    for name, least in {
        "epochs": 1, "batch_size": 1, "windows": 1, "data.count": 2, "data.valid": 1,
        "eval_every": 1, "save_every": 1, "optim.warm_up": 0, "beyond": 0,
    }.items():  # fmt: skip
        at_least(c, name, least)
    for name in ("optim.rate", "optim.clip", "huber"):
        require(c.optim.get(name.split(".")[-1], c.huber) > 0, c, name, "above 0")
    require(c.data.valid < c.data.count, c, "data.valid", "below data.count")
    require(c.low < c.high, c, "low", "below config.high")
    require(c.reach == spotting.REACH, c, "reach", f"{spotting.REACH:g}")

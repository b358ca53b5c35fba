"""The packaged model: a small network, trained on phantoms alone.

    python -m l3spot.main --config phantom --workdir runs/l3spot

The variant `:smoke` trains on a few phantoms in minutes, most of them compilation.
docs/model_card.md has the model's errors, and the machine that it was trained on.
"""

from ml_collections import ConfigDict

from l3spot.training import config
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config, or a variant of it."""
    checks.check_variant(variant, "smoke")
    c = config.default()
    c.model.backbone = "res4"
    c.data.count, c.data.validation = 1000, 100
    c.epochs, c.eval_every = 56, 8
    c.windows, c.mirror = 10, True
    if variant == "smoke":
        c.data.path = "runs/phantoms-smoke"
        c.data.count, c.data.validation = 40, 20
        c.epochs, c.batch_size, c.eval_every = 2, 4, 1
    return c

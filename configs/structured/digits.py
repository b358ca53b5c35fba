"""Completes scikit-learn's digits (embedded): upper half -> lower half.

Of 1000 training digits, 50 are pairs; the others are used as x alone and as y alone.

    python -m structured.main --config digits --workdir runs/c
"""

from ml_collections import ConfigDict

from mtl.host import checks
from structured import config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; the variant "smoke" trains in seconds."""
    checks.check_variant(variant, "smoke")
    c = config.default()
    c.data.source = "digits"
    c.data.pairs = 50
    c.data.valid = 297 / 1297
    c.model.input, c.model.link, c.model.output = (64,), (64,), (32,)
    # The pixels of the lower half are in [0, 1].
    c.model.y_activation = "sigmoid"
    c.reconstruct_in.l2 = c.reconstruct_out.l2 = 1e-4
    c.batch_size, c.optim.learning_rate = 20, 1e-2
    c.epochs = 300
    c.schedule.input, c.schedule.output = (50.0, 150.0), (50.0, 200.0)
    c.eval_every, c.save_every = 10, 100
    if variant == "smoke":
        c.epochs, c.schedule.input, c.schedule.output = 6, (1.0, 3.0), (1.0, 4.0)
        c.eval_every, c.save_every = 2, 3
    return c

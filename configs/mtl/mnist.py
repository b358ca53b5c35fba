"""ESANN 2016: MNIST, NN1, 1000 labels, 49,000 unlabelled, exponential weights.

    python -m mtl.main --config mnist --workdir runs/mnist \
        --config.data.path=DIR --config.seed=0

DIR holds MNIST's four IDX files. `:smoke` trains in seconds. The errors reached and
the time it takes are in docs/results/mtl.md.
"""

from ml_collections import ConfigDict

from mtl import config
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """The config; variant "smoke" trains in seconds."""
    checks.check_variant(variant, "smoke")
    c = config.default()
    c.data.source = "mnist"
    c.data.valid = 10_000
    c.data.labelled, c.data.unlabelled = 1000, 49_000
    if variant == "smoke":
        c.data.unlabelled = 1000
        c.epochs, c.optim.decay_epochs = 10, 1
        c.eval_every, c.save_every = 5, 5
        c.schedule.t1 = 2
    return c

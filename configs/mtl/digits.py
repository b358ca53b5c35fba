"""ESANN 2016 on scikit-learn's digits (8x8, embedded): 50 labels, 950 unlabelled.

Command, under ten seconds on two CPU cores:

    python -m mtl.main --config digits --workdir runs/digits
"""

from ml_collections import ConfigDict

from mtl import config
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """The config; variant "smoke" trains in seconds."""
    checks.check_variant(variant, "smoke")
    c = config.default()
    c.batch_size = 100
    c.data.labelled = 50
    # The cost of 64 inputs is a twelfth of that of MNIST's 784, and so is its pull.
    c.model.activation, c.reconstruct.scale = "tanh", 1.0
    c.epochs, c.optim.decay_epochs = 1000, 100
    c.eval_every, c.save_every = 50, 200
    if variant == "smoke":
        c.epochs, c.optim.decay_epochs = 40, 4
        c.eval_every, c.save_every = 10, 10
        c.schedule.t1 = 10
    return c

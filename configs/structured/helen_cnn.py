"""Trains the three tasks on HELEN with convolutions and augmentation, unlike the paper.

    python -m structured.main --config helen_cnn \
        --workdir runs/cnn --config.data.path=DIR

The results are in docs/results/structured.md.
"""

from ml_collections import ConfigDict

from mtl.host import checks
from structured import config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config; the variant "smoke" trains in seconds."""
    checks.check_variant(variant, "smoke")
    c = config.default()
    c.data.size, c.data.margin, c.data.context, c.data.square = 64, 0.1, 8, True
    c.augmentation.on = True
    c.augmentation.rotation = 12.0
    c.augmentation.scale, c.augmentation.shift = 0.06, 0.04
    c.model.encoder = "cnn"
    c.model.channels = (32, 32, 64, 64, 128, 128)
    c.model.strides = (2, 1, 2, 1, 2, 1)
    c.model.input_activation = c.model.link_activation = "relu"
    c.model.link = (256,)
    c.model.output_activation, c.model.y_activation = "linear", "linear"
    c.model.tied_input = False
    c.supervised.error = "absolute"
    c.reconstruct_in.l2 = c.reconstruct_out.l2 = 0.0
    c.reconstruct_in.center_code = c.reconstruct_out.center_code = False
    c.variant = "mlp_out"
    c.optim.name, c.optim.learning_rate, c.optim.clip = "adam", 1e-3, 1.0
    c.batch_size, c.epochs, c.optim.decay_epochs = 32, 100, 90
    c.schedule.input, c.schedule.output = (10.0, 40.0), (20.0, 70.0)
    c.eval_every, c.save_every = 5, 50
    if variant == "smoke":
        c.data.size, c.data.context = 32, 4
        c.model.channels, c.model.strides = (8, 16), (2, 2)
        c.epochs, c.optim.decay_epochs = 4, 2
        c.schedule.input, c.schedule.output = (1.0, 2.0), (1.0, 3.0)
        c.eval_every, c.save_every = 1, 2
    return c

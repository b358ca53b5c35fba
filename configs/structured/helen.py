"""Trains as arXiv 1504.07550 on HELEN: 68 points from 50x50 grey faces, Algorithm 2.

    python -m structured.main --config helen \
        --workdir runs/helen --config.data.path=DIR

DIR holds helen/trainset and helen/testset in the 300-W layout; add
`--config.data.unlabelled="('afw',)"` for unlabelled faces. The variant `:smoke` trains
in seconds. The variant `:quick` trains similarly with a twentieth of the updates:
batches of 40, 200 epochs and 20 times the learning rate. The results are in
docs/results/structured.md.
"""

from ml_collections import ConfigDict

from mtl.host import checks
from structured import config


def get_config(variant: str = "") -> ConfigDict:
    """Returns the config, or a variant of it: "smoke" or "quick"."""
    checks.check_variant(variant, "smoke", "quick")
    c = config.default()
    if variant == "quick":
        c.batch_size, c.epochs, c.optim.learning_rate = 40, 200, 2e-2
        c.schedule.input, c.schedule.output = (20.0, 100.0), (20.0, 140.0)
        c.eval_every, c.save_every = 2, 50
    if variant == "smoke":
        c.epochs, c.batch_size, c.model.input = 4, 50, (100,)
        c.schedule.input, c.schedule.output = (1.0, 2.0), (1.0, 3.0)
        c.eval_every, c.save_every = 1, 2
    return c

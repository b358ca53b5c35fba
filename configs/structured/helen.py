"""arXiv 1504.07550 on HELEN: 68 points from 50x50 grey faces, Algorithm 2.

    python -m structured.main --config configs/structured/helen.py \
        --workdir runs/helen --config.data.path=DIR

DIR holds helen/trainset and helen/testset in the 300-W layout; add
`--config.data.unlabelled="('afw',)"` for unlabelled faces. Variants: `:smoke` trains in
seconds; `:quick` goes about the same path in a twentieth of the steps: batches of 40,
200 epochs and 20 times the rate. What they reach is in docs/results/structured.md.
"""

from ml_collections import ConfigDict

from mtl.host import checks
from structured import config


def get_config(variant: str = "") -> ConfigDict:
    """The config, or a variant of it."""
    checks.check_variant(variant, "smoke", "quick")
    c = config.default()
    if variant == "quick":
        c.batch_size, c.epochs, c.optim.rate = 40, 200, 2e-2
        c.schedule.input, c.schedule.output = (20.0, 100.0), (20.0, 140.0)
        c.eval_every, c.save_every = 2, 50
    if variant == "smoke":
        c.epochs, c.batch_size, c.model.input = 4, 50, (100,)
        c.schedule.input, c.schedule.output = (1.0, 2.0), (1.0, 3.0)
        c.eval_every, c.save_every = 1, 2
    return c

"""Backbones in five folds, and few labels: a reduced study, for two cores.

    python -m l3spot.crossval --config configs/l3spot/study.py:cnn4 --workdir FOLDS

Variants: `:cnn4`, `:alexnet`, `:vgg16` and `:vgg16_imagenet` in folds of 200 phantoms,
the last two with a trunk that stays as it is (for a CPU; on a GPU add
`--config.model.frozen=False`), `_imagenet` with the filters of runs/vgg16.safetensors
(l3spot.convert). `:few` has a test set, and few labels
(`--config.data.labelled=30`); `:few_unlabelled` also reconstructs 400 more phantoms.
What they reach: docs/results/l3spot.md.
"""

from ml_collections import ConfigDict

from l3spot.training import config
from mtl.host import checks

FEW = ("few", "few_unlabelled")
BACKBONES = ("cnn4", "alexnet", "vgg16", "vgg16_imagenet")


def get_config(variant: str = "cnn4") -> ConfigDict:
    """The config of a variant."""
    checks.check_variant(variant, *BACKBONES, *FEW)
    c = config.default()
    c.windows = 4
    c.batch_size = 8
    if variant in FEW:
        _few(c, variant)
        return c
    name, _, filters = variant.partition("_")
    c.model.backbone = name
    c.data.count, c.data.valid = 200, 20
    c.epochs, c.eval_every = 20, 10
    if name != "cnn4":
        c.windows = 3  # Strips of 256 rows; CNN4's have 240.
        c.step = 8
        c.optim.rate = 3e-4
    if name == "vgg16":
        c.model.frozen = True
        c.epochs, c.optim.rate = 5, 1e-3
        c.model.weights = "runs/vgg16.safetensors" if filters else ""
    return c


def _few(c: ConfigDict, variant: str) -> None:
    c.data.count, c.data.test, c.data.valid = 1000, 150, 40
    c.data.labelled, c.data.strips = 10, 400
    c.epochs, c.eval_every = 10, 5
    if variant == "few_unlabelled":
        c.data.unlabelled = 400
        c.batch_size = 16  # As many steps, with as many strips of the main task.
        c.reconstruct.schedule = "exponential"
        c.reconstruct.sigma = 2.0

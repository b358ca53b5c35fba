"""A reduced study for two cores: backbones in five folds, and few labels.

    python -m l3spot.crossval --config study:cnn4 --workdir FOLDS

The variants `:cnn4`, `:alexnet`, `:vgg16` and `:vgg16_imagenet` are for folds of 200
phantoms. The last two do not train the trunk, to be fast on a CPU; on a GPU add
`--config.model.frozen=False`. `:vgg16_imagenet` has the filters of
runs/vgg16.safetensors (l3spot.convert). `:few` has a test set and few labels
(`--config.data.labelled=30`); `:few_unlabelled` also reconstructs 400 phantoms without
a label. docs/results/l3spot.md has the results.
"""

from ml_collections import ConfigDict

from l3spot.training import config
from mtl.host import checks

FEW_LABELS = ("few", "few_unlabelled")
BACKBONES = ("cnn4", "alexnet", "vgg16", "vgg16_imagenet")


def get_config(variant: str = "cnn4") -> ConfigDict:
    """Returns the config of a variant."""
    checks.check_variant(variant, *BACKBONES, *FEW_LABELS)
    c = config.default()
    c.windows = 4
    c.batch_size = 8
    if variant in FEW_LABELS:
        _set_few_labels(c, variant)
        return c
    name, _, filters = variant.partition("_")
    c.model.backbone = name
    c.data.count, c.data.validation = 200, 20
    c.epochs, c.eval_every = 20, 10
    if name != "cnn4":
        c.windows = 3  # Strips have 256 rows; CNN4's have 240.
        c.window_stride_px = 8
        c.optim.learning_rate = 3e-4
    if name == "vgg16":
        c.model.frozen = True
        c.epochs, c.optim.learning_rate = 5, 1e-3
        c.model.weights_file = "runs/vgg16.safetensors" if filters else ""
    return c


def _set_few_labels(c: ConfigDict, variant: str) -> None:
    c.data.count, c.data.test, c.data.validation = 1000, 150, 40
    c.data.labelled, c.data.strips = 10, 400
    c.epochs, c.eval_every = 10, 5
    if variant == "few_unlabelled":
        c.data.unlabelled = 400
        c.batch_size = 16  # Keeps the number of updates and of labelled strips.
        c.reconstruct.schedule = "exponential"
        c.reconstruct.sigma = 2.0

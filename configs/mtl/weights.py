"""Weights that set themselves against the paper's, same network, images and seeds.

    python -m mtl.study --config weights --workdir runs/weights \
        --config.data.path=DIR

DIR holds MNIST's four IDX files. NN1, u = all the rest, one joint step, as the papers
of these methods have it. Reduced to suit two cores: 250 epochs at three times the rate
of ESANN 2016, schedules a tenth as long, four seeds. `:full` is the paper's length with
ten seeds, for a GPU. What came out: docs/results/weights.md.
"""

from ml_collections import ConfigDict

from mtl import config, methods
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant; "" is the reduced one."""
    checks.check_variant(variant, "full")
    c = config.named("table1" if variant else "table1:cpu")
    c.order = "joint"
    if not variant:
        c.study.seeds_per_program = 2
    c.study.labelled, c.study.unlabelled = (1000, 100), (-1,)
    del c.study.parts.b
    fixed = ("baseline", "baseline_matched", "stairs", "abridged", "exponential")
    c.study.parts.a.methods = (*fixed, *methods.ADAPTIVE)
    return c

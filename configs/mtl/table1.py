"""ESANN 2016, Table 1: every cell of (a) and (b), with ten seeds, and claims tested.

    python -m mtl.study --config table1 --workdir runs/table1 \
        --config.data.path=DIR

DIR holds MNIST's four IDX files. The same command resumes an interrupted study;
`--report` shows the finished runs. Variants: `:cpu` is the same table in 250 epochs
at three times the rate, schedules a tenth as long, and four seeds, for two cores;
`:smoke` has scikit-learn's digits, and takes a minute or two. What came out so far:
docs/results/table1.md.
"""

from ml_collections import ConfigDict

from mtl import config
from mtl.host import checks


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant; "" is the paper's."""
    checks.check_variant(variant, "cpu", "smoke")
    c = config.default()
    c.data.source = "mnist"
    c.data.valid = 10_000
    c.study = grid()
    if variant == "cpu":
        # A step on the one labelled image of a mini-batch is too long at 0.1.
        c.epochs, c.optim.decay_epochs, c.optim.learning_rate = 250, 25, 0.03
        c.schedule.t1, c.schedule.sigma = 10, 4.0
        c.eval_every = 10
        c.study.seeds, c.study.seeds_per_program = 4, 4
    if variant == "smoke":
        c.data.source, c.data.valid, c.batch_size = "digits", 297, 100
        c.epochs, c.optim.decay_epochs, c.optim.learning_rate = 40, 4, 0.1
        c.schedule.t1, c.schedule.sigma, c.eval_every = 10, 4.0, 10
        c.study.seeds, c.study.seeds_per_program = 2, 2
        c.study.labelled, c.study.unlabelled = (50, 100), (0, 200, -1)
        c.study.parts.b.hidden = ((60, 50),)
    return c


def grid() -> ConfigDict:
    """`config.study`: the paper's l, u, networks, methods; and matched updates."""
    g = ConfigDict()
    g.seeds = 10
    g.seeds_per_program = 10  # Ours: seeds that are trained before the next ones begin.
    g.labelled = (100, 1000, 10_000)
    g.unlabelled = (0, 1000, 2000, 5000, 10_000, 20_000, 40_000, -1)
    g.parts = ConfigDict()
    g.parts.a = ConfigDict()
    g.parts.a.hidden = ((50,),)
    evolving = ("stairs", "abridged", "linear", "exponential")
    g.parts.a.methods = ("baseline", "baseline_matched", *evolving)
    g.parts.b = ConfigDict()
    g.parts.b.hidden = ((60, 50), (70, 60, 50), (80, 70, 60, 50))
    g.parts.b.methods = ("baseline", "exponential")
    g.save_minutes = 2.0  # Ours: an evaluation this long after a save saves again.
    return g

"""The best MLP for few labels: what stands where ESANN 2016 has reconstruction.

    python -m mtl.main --config best:ladder100 --workdir runs/ladder100 \
        --config.data.path=DIR --config.seed=0
    python -m mtl.study --config best:ladder100 --workdir runs/ten \
        --config.data.path=DIR

The second trains ten seeds. DIR holds MNIST's four IDX files. The variants are TASKl,
with TASK `vat` (Miyato et al. 2015), `gamma` or `ladder` (Rasmus et al. 2015) and l =
100 or 1000 labels, on a network and for a time that suit a CPU; TASKl_full has sizes
and epochs of the papers, for a GPU. `smoke` trains in seconds. Steps, errors and times
are in docs/results/best.md.
"""

from ml_collections import ConfigDict

from mtl import config
from mtl.host import checks

TASKS, LABELS = ("vat", "gamma", "ladder"), (100, 1000)
VARIANTS = {
    f"{task}{labels}{size}": (task, labels, size)
    for task in TASKS
    for labels in LABELS
    for size in ("", "_full")
}


def get_config(variant: str = "") -> ConfigDict:
    """The config; no variant is `ladder100`."""
    checks.check_variant(variant, "smoke", *VARIANTS)
    task, labels, size = VARIANTS.get(variant, ("ladder", 100, ""))
    c = config.default()
    c.data.source = "mnist"
    c.data.valid = 10_000
    c.data.labelled = labels
    c.unsupervised = task
    # Both costs in each step, as much of one as of the other.
    c.method, c.order = "constant", "joint"
    c.batch_size, c.classify.draws = 250 if task == "vat" else 100, 100
    c.model.hidden, c.model.norm = (500, 250), "batch"
    c.optim.name, c.optim.learning_rate = "adam", 0.002
    c.epochs, c.optim.decay_epochs = 20, 14
    c.eval_every, c.save_every = 2, 10
    # VAT with entropy minimisation is that of arXiv 1704.03976. The others have costs
    # and noise of the program of arXiv 1507.02672, except that its noise for the ladder
    # with 1000 labels is 0.2.
    c.vat.epsilon, c.vat.entropy = 2.0, 1.0
    c.vat.xi = 1e-6  # The papers'; in float32 better than the exact Hessian.
    if task != "vat":
        c.model.hidden, c.model.noise = (500, 250, 250, 250), 0.3
        c.epochs, c.optim.decay_epochs = 30, 20
    if labels == 1000:
        c.gamma.cost, c.ladder.costs = 10.0, (2000.0, 20.0, 0.1)
    if size == "_full":
        c.model.hidden = (1200, 1200) if task == "vat" else (1000, 500, 250, 250, 250)
        c.epochs, c.optim.decay_epochs = (250, 200) if task == "vat" else (150, 50)
    c.study = config.named("table1").study
    c.study.labelled, c.study.unlabelled = (labels,), (-1,)
    del c.study.parts.b
    c.study.parts.a.hidden, c.study.parts.a.methods = (c.model.hidden,), (c.method,)
    c.study.seeds_per_program = 10 if size else 2  # A run a core, or all at once.
    if variant == "smoke":
        c.study.seeds, c.study.unlabelled = 2, (1000,)
        c.data.unlabelled = 1000
        c.epochs, c.optim.decay_epochs = 2, 1
        c.eval_every, c.save_every = 1, 1
        c.schedule.t1 = 1
    return c

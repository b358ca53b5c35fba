"""What Table 1 with ten seeds must take on a chip, before it is measured.

    python -m benchmarks.study_estimate [--tflops 50] [--gbs 3350] [--us 60]

Counted are the products and the arrays [batch, layer] of each step, for all runs of a
group at once (`mtl.study.grid.run_groups`, as on an accelerator):

- a denoising layer of n by m: five products of 2 B n m operations (code, decode, back
  through each, and the other half of the gradient); its input and its target are each
  read and written about three times, which no fusion saves between products;
- the classifier's step, on the labelled rows of a batch: two products forth and twice
  as many back, through all layers;
- the kernels of a step follow one another: `us` microseconds at least, a guess.

Seconds are the largest of the three. `experiments/gpu/studies.sh` trains the table; its
log and CSV have seconds.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from absl import flags

from benchmarks import measure
from configs.mtl import table1
from mtl.host import launch
from mtl.study import grid

PIXELS, CLASSES, IMAGES = 784, 10, 50_000


class Load(NamedTuple):
    """Steps one after the other, and of all runs: operations and bytes."""

    steps: float
    flop: float
    bytes: float


def load(group: grid.RunGroup) -> Load:
    """Of a group's whole training."""
    c, runs = group.config, len(group.runs)
    rows = c.data.labelled + c.data.unlabelled
    steps, batch = -(-rows // c.batch_size), min(c.batch_size, rows)
    configs = [grid.one_config(c, run) for run in group.runs]
    longest = max(map(grid.unsupervised_share, configs))
    sizes = [PIXELS, *c.model.hidden]
    weights = sum(n * m for n, m in zip(sizes, [*sizes[1:], CLASSES], strict=True))
    below = sum(sizes[:-1])
    dense = sum(n * m for n, m in pairwise(sizes))
    most = max(run.labelled for run in group.runs)
    labelled = max(8, batch * most // rows)
    both = longest * c.epochs * steps
    every = c.epochs * steps
    flop = both * 10 * batch * dense + every * 6 * labelled * weights
    moved = both * 6 * 4 * batch * below + every * 6 * 4 * labelled * below
    return Load(every + both, runs * flop, runs * moved)


def work(arguments: Sequence[str]) -> str:
    """Returns the estimate from command-line flags, by part of the table."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    c = table1.get_config()
    groups = grid.run_groups(c, grid.runs(c, IMAGES), vmapped=True)
    rows: list[tuple[str, float, float, float, float]] = []
    for depth in range(1, 5):
        own = [load(g) for g in groups if len(g.config.model.hidden) == depth]
        steps, flop, moved = map(sum, zip(*own, strict=True))
        seconds = sum(
            max(
                x.flop / args.tflops / 1e12,
                x.bytes / args.gbs / 1e9,
                x.steps * args.us / 1e6,
            )
            for x in own
        )
        rows.append((f"NN{depth}", steps, flop / 1e15, moved / 1e12, seconds))
    head = "", "steps", "PFLOP", "TB", "s"
    text = measure.table(head, rows, (",.0f", ".1f", ".0f", ".0f"))
    total = sum(seconds for *_, seconds in rows)
    return f"{len(groups)} groups\n{text}\nin all {total:.0f} s"


if __name__ == "__main__":
    flags.DEFINE_float("tflops", 50.0, "TFLOP/s of float32 products.")
    flags.DEFINE_float("gbs", 3350.0, "GB/s of memory.")
    flags.DEFINE_float("us", 60.0, "Microseconds of an update step, at least.")
    launch.launch(work)

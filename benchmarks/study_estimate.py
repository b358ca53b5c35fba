"""What Table 1 with ten seeds must take on a chip, before it is measured.

    python -m benchmarks.study_estimate [--tflops 50] [--gbs 3350] [--us 60]

Counted are the products and the arrays [batch, layer] of each step, for all runs of a
bundle at once (`mtl.study.grid.bundles`, as on an accelerator):

- a denoising layer of n by m: five products of 2 B n m operations (code, decode, back
  through each, and the other half of the gradient); its input and its target are each
  read and written about three times, which no fusion saves between products;
- the classifier's step, on the labelled rows of a batch: two products forth and twice
  as many back, through all layers;
- the kernels of a step follow one another: `us` microseconds at least, a guess.

Seconds are the largest of the three. What is measured comes from
`experiments/gpu/table1.sh`; its log and results.csv have seconds.
"""

import argparse
from itertools import pairwise
from typing import NamedTuple

from configs.mtl import table1
from mtl.study import grid

PIXELS, CLASSES, IMAGES = 784, 10, 50_000


class Load(NamedTuple):
    """Steps one after the other, and of all runs: operations and bytes."""

    steps: float
    flop: float
    bytes: float


def load(bundle: grid.RunGroup) -> Load:
    """Of a bundle's whole training."""
    c, runs = bundle.config, len(bundle.runs)
    rows = c.data.labelled + c.data.unlabelled
    steps, batch = -(-rows // c.batch_size), min(c.batch_size, rows)
    longest = max(grid.lasts(grid.one_config(c, run)) for run in bundle.runs)
    sizes = [PIXELS, *c.model.hidden]
    weights = sum(n * m for n, m in zip(sizes, [*sizes[1:], CLASSES], strict=True))
    below = sum(sizes[:-1])
    dense = sum(n * m for n, m in pairwise(sizes))
    most = max(run.labelled for run in bundle.runs)
    labelled = max(8, batch * most // rows)
    both = longest * c.epochs * steps
    every = c.epochs * steps
    flop = both * 10 * batch * dense + every * 6 * labelled * weights
    moved = both * 6 * 4 * batch * below + every * 6 * 4 * labelled * below
    return Load(every + both, runs * flop, runs * moved)


def main() -> None:
    """Prints the estimate, by part of the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tflops", type=float, default=50, help="of float32 products")
    parser.add_argument("--gbs", type=float, default=3350, help="of memory")
    parser.add_argument("--us", type=float, default=60, help="that a step takes")
    a = parser.parse_args()
    c = table1.get_config()
    bundles = grid.run_groups(c, grid.runs(c, IMAGES), wide=True)
    print(
        f"{len(bundles)} bundles\n{'':16}{'steps':>12}{'PFLOP':>10}{'TB':>10}{'s':>8}"
    )
    total = 0.0
    for depth in range(1, 5):
        own = [load(b) for b in bundles if len(b.config.model.hidden) == depth]
        steps, flop, moved = map(sum, zip(*own, strict=True))
        seconds = sum(
            max(x.flop / a.tflops / 1e12, x.bytes / a.gbs / 1e9, x.steps * a.us / 1e6)
            for x in own
        )
        total += seconds
        print(
            f"NN{depth:<14}{steps:12,.0f}{flop / 1e15:10.1f}{moved / 1e12:10.0f}"
            f"{seconds:8.0f}"
        )
    print(f"{'in all':46}{total:10.0f}")


if __name__ == "__main__":
    main()

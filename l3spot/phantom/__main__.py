"""Writes phantoms: a folder of DICOM files for each, and labels.csv.

python -m l3spot.phantom --n 20 --out PHANTOMS

Existing phantoms are not written again, so an interrupted run can be resumed. Labels
are z of the middle of the L3 body in mm, of its end plates, and of the middles of L2
and L4; they are empty where L3 is not in view. To project the phantoms:

python -m l3spot.project --scans PHANTOMS --labels PHANTOMS/labels.csv --out MIPS
"""

import math
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from tqdm import tqdm

from l3spot.phantom import series
from l3spot.phantom.draw import PhantomRanges
from mtl.host import compile_cache, launch, workdir
from mtl.host.errors import ConfigError, WorkdirError


def write(out: str | Path, n: int, seed: int = 0, size: int = 512) -> list[list]:
    """Writes n phantoms.

    Args:
      out: the folder for the phantoms and labels.csv.
      n: the number of phantoms.
      seed: of the random numbers.
      size: pixels a side of a slice; fewer pixels are larger.

    Returns:
      The rows of labels.csv: name, and each z in mm or "", see `series.Truth`.

    Raises:
      ConfigError: an argument is out of its range.
      WorkdirError: `out` holds other phantoms or files, or cannot be written.
    """
    out = Path(out)
    if n < 1 or size < 32 or not 0 <= seed < 2**32:
        raise ConfigError(
            f"--n={n} must be at least 1, --size={size} at least 32, and --seed={seed} "
            "from 0 to 4294967295"
        )
    workdir.make(out, f"--out={out}")
    path, ranges = out / ".how.json", PhantomRanges()
    if not path.exists() and any(out.iterdir()):
        raise WorkdirError(f"--out={out} holds other files; take a folder of its own")
    settings = {"seed": seed, "size": size, "ranges": ranges.to_text()}
    workdir.same(path, settings, f"--out={out}")
    existing = sum(p.is_dir() for p in out.glob("phantom-*"))
    rows = []
    for i in tqdm(range(max(n, existing)), unit="phantom", disable=None):
        name = f"phantom-{i:04d}"
        phantom = series.draw(seed, i, ranges)
        series.write_drawn(out / name, phantom, f"{seed}.{i}.{size}", i, size)
        cells = ["" if math.isnan(z) else z for z in series.truth(phantom)]
        rows.append([name, *cells])
        head = ("scan", *series.Truth._fields)
        workdir.write_csv(out / "labels.csv", head, rows)
    return rows


def launcher(arguments: Sequence[str]) -> str:
    """Writes phantoms from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    compile_cache.enable()  # The programs of a body take most of a minute to compile.
    rows = write(args.out, args.n, args.seed, args.size)
    in_view = sum(z != "" for _, z, *_ in rows)
    return (
        f"{len(rows)} phantoms in {args.out}, L3 in view of {in_view}; see labels.csv"
    )


if __name__ == "__main__":
    flags.DEFINE_integer("n", 20, "The number of phantoms.")
    flags.DEFINE_string("out", None, "The folder for the phantoms.")
    flags.DEFINE_integer("seed", 0, "The seed of the random numbers.")
    flags.DEFINE_integer("size", 512, "Pixels a side of a slice.")
    launch.launch(launcher, "out")

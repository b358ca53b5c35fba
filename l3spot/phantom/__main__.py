"""Writes phantoms: a folder of DICOM files for each, and labels.csv.

python -m l3spot.phantom --n 20 --out PHANTOMS

A phantom that is there already is not made again, so a killed run goes on where it
stopped. The labels are z of the middle of the L3 body, mm; empty where it is not in
view. To project them:

python -m l3spot.project --scans PHANTOMS --labels PHANTOMS/labels.csv --out MIPS
"""

import math
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from tqdm import tqdm

from l3spot.phantom import series
from l3spot.phantom.draw import Ranges
from mtl.host import launch, workdir
from mtl.host.errors import ConfigError, WorkdirError


def write(out: str | Path, n: int, seed: int = 0, size: int = 512) -> list[list]:
    """Writes n phantoms.

    Args:
      out: gets a folder for each, and labels.csv.
      n: how many.
      seed: another one gives others.
      size: pixels a side of a plane; fewer are larger.

    Returns:
      The rows of labels.csv: name, and z in mm or "".

    Raises:
      ConfigError: a number makes no sense.
      WorkdirError: `out` holds other phantoms or files, or cannot be written.
    """
    out = Path(out)
    if n < 1 or size < 32 or not 0 <= seed < 2**32:
        raise ConfigError(
            f"--n={n} must be at least 1, --size={size} at least 32, and --seed={seed} "
            "from 0 to 4294967295"
        )
    workdir.make(out, f"--out={out}")
    path, ranges = out / ".how.json", Ranges()
    if not path.exists() and any(out.iterdir()):
        raise WorkdirError(f"--out={out} holds other files; take a folder of its own")
    how = {"seed": seed, "size": size, "ranges": repr(ranges)}
    workdir.same(path, how, f"--out={out}")
    there = sum(p.is_dir() for p in out.glob("phantom-*"))
    rows = []
    for i in tqdm(range(max(n, there)), unit="phantom", disable=None):
        name = f"phantom-{i:04d}"
        z = series.write(out / name, seed, i, ranges, size)
        rows.append([name, "" if math.isnan(z) else z])
        workdir.write_csv(out / "labels.csv", ("scan", "z_mm"), rows)
    return rows


def launcher(arguments: Sequence[str]) -> str:
    """Writes what the flags say; returns what was left where, in words."""
    launch.no_more(arguments)
    args = flags.FLAGS
    rows = write(args.out, args.n, args.seed, args.size)
    seen = sum(z != "" for _, z in rows)
    return f"{len(rows)} phantoms in {args.out}, L3 in view of {seen}; see labels.csv"


if __name__ == "__main__":
    flags.DEFINE_integer("n", 20, "How many.")
    flags.DEFINE_string("out", None, "The folder that gets them.")
    flags.DEFINE_integer("seed", 0, "Another one gives others.")
    flags.DEFINE_integer("size", 512, "Pixels a side of a plane.")
    launch.launch(launcher, "out")

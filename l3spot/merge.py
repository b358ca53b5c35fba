"""Joins the results of l3spot.predict that several machines have found.

python -m l3spot.merge --results RESULTS1 --results RESULTS2 --out RESULTS

RESULTS gets the files of all scans, and the tables and pages of all of them. Scans
without a result are counted and named, as are those in several folders, those with
another path in each folder and those that a person corrected; two results of a scan
that differ are an error. With one folder and no --out, its tables and pages are made
again, also while l3spot.predict is working in it.
"""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from l3spot.batch import collect, join
from mtl.host import launch
from mtl.host.errors import ConfigError
from mtl.host.wording import counted, named


def launcher(arguments: Sequence[str]) -> str:
    """Joins folders from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    folders = [Path(folder) for folder in args.results]
    if len(folders) > 1 and not args.out:
        raise ConfigError("--out must be given: the folder for the joined results")
    out = Path(args.out or folders[0])
    joined = join.join(folders, out)
    lines = [f"{counted(len(joined.rows), 'result')}; see {out / collect.PAGE}"]
    if joined.lacking:
        lines.append(named(joined.lacking, "scan", "has", "have", "no result"))
    if joined.doubled:
        lines.append(named(joined.doubled, "scan", "is", "are", "in several folders"))
    if joined.apart:
        what = "another path in each folder"
        lines.append(
            f"{named(joined.apart, 'name', 'has', 'have', what)}; one result "
            "of each is kept. If the scans are not the same, give them other names in "
            "a list of scans, and find them again"
        )
    if joined.corrected:
        what = "corrected by a person"
        lines.append(
            f"{named(joined.corrected, 'scan', 'was', 'were', what)}; run "
            "l3spot.correct again, so that the tables have their answers"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    flags.DEFINE_multi_string("results", None, "A folder of results; give all of them.")
    flags.DEFINE_string("out", None, "The folder for the joined results.")
    launch.launch(launcher, "results")

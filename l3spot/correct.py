"""Writes a person's answers beside those of l3spot.predict.

python -m l3spot.correct --results RESULTS --corrections corrections.csv

RESULTS is a folder of l3spot.predict. A person reviews its review.html, which exports
corrections.csv. All lines are checked before anything is written. Then results.csv,
levels.csv and each NAME.json get columns with the final answer; the first answer stays
in its own. NAME.mrk.json, and NAME.dcm and NAME.sr.dcm if the first run was to write
them, are made for the final position. Pictures and index.html show the first answer.

The same command again changes nothing. Another corrections.csv replaces the answers of
the scans that it holds.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from l3spot.report import corrected_results
from l3spot.report.corrected_results import Applied
from mtl.host import launch
from mtl.host.wording import counted


def correct(results: str | Path, corrections_csv: str | Path) -> Applied:
    """Writes the corrected results; see the module's docstring.

    Raises:
      ConfigError: DICOM reports need highdicom, which is not installed.
      DataError: a file is missing or broken, or a correction does not fit the results;
        then nothing is written.
      WorkdirError: a file cannot be written, or is the user's own.
    """
    return corrected_results.apply(Path(results), Path(corrections_csv))


def launcher(arguments: Sequence[str]) -> str:
    """Corrects from command-line flags and returns a summary."""
    launch.reject_extra_args(arguments)
    args = flags.FLAGS
    done = correct(args.results, args.corrections)
    counts = Counter(done.verdicts)
    verdicts = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
    summary = f"{counted(len(done.verdicts), 'scan')} reviewed"
    summary += f" ({verdicts})" if verdicts else ""
    summary += f"; the columns final_* of {Path(args.results) / 'results.csv'} have all"
    if done.not_made:
        number = counted(len(done.not_made), "DICOM file", "was", "were")
        reasons = [f"  {name}: {why}" for name, why in done.not_made.items()]
        summary += "\n".join([f"\n{number} not made:", *reasons])
    return summary


if __name__ == "__main__":
    flags.DEFINE_string("results", None, "The folder of l3spot.predict's results.")
    flags.DEFINE_string("corrections", None, "The corrections.csv of its review.html.")
    launch.launch(launcher, "results", "corrections")

"""The results of a sweep: a row for each run, and a table with means over seeds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mtl.host import remote, tables, workdir
from mtl.own_metrics import Mode
from mtl.sweeps import runs as sweep_runs
from mtl.sweeps.grid import Run
from mtl.sweeps.runs import Outcome

LEGEND = (
    "Mean ± standard deviation over seeds; a run that diverged or failed counts in "
    "none. **Bold**: the {best} {first} of the settings in which all seeds are done. "
    "Settings are chosen by this column; columns of the test set choose nothing."
)

Results = list[tuple[Run, Outcome]]


def write(
    folder: Path, runs: Sequence[Run], columns: Sequence[str], mode: Mode = "min"
) -> Results:
    """Writes results.csv and table.md, with the results that are there.

    Args:
      folder: of the sweep.
      runs: all of them.
      columns: numbers for the table; the first is the one that chooses a setting.
      mode: whether the lowest or the highest value of the first column is the best.

    Returns:
      The runs and their outcomes.
    """
    workdir.make(folder, f"the workdir {folder}")
    remote.bring(folder)
    with workdir.lock(folder, wait=True):  # The other shards write the same files.
        results = [(run, sweep_runs.read(folder / run.name)) for run in runs]
        workdir.write_csv(folder / "results.csv", *_rows(results))
        workdir.write_text(folder / "table.md", markdown(results, columns, mode) + "\n")
    return results


def markdown(results: Results, columns: Sequence[str], mode: Mode = "min") -> str:
    """Returns the legend and the table: a line for each setting.

    Args:
      results: of all runs.
      columns: numbers for the table; those that no run has are left out.
      mode: see `write`.
    """
    known = {name for _, outcome in results for name in outcome.numbers}
    columns = [name for name in columns if name in known]
    groups: dict[str, Results] = {}
    for run, outcome in results:
        groups.setdefault(str(run.setting), []).append((run, outcome))
    head = [*results[0][0].setting, "seeds", *columns]
    lines = [_line(group, columns) for group in groups.values()]
    best = _best(list(groups.values()), columns, mode)
    if best is None:
        return tables.markdown(head, lines)
    place = head.index(columns[0])
    lines[best][place] = f"**{lines[best][place]}**"
    word = "lowest" if mode == "min" else "highest"
    legend = LEGEND.format(best=word, first=columns[0])
    return f"{legend}\n\n{tables.markdown(head, lines)}"


def _rows(results: Results) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of results.csv; a run has no number where it lacks one."""
    fields = list(results[0][0].setting)
    names = sorted({name for _, outcome in results for name in outcome.numbers})
    rows: list[list[object]] = []
    for run, outcome in results:
        values = [str(run.setting[name]) for name in fields]
        numbers = [outcome.numbers.get(name, "") for name in names]
        rows.append(
            [*values, run.seed, outcome.status, *numbers, outcome.why, run.name]
        )
    return [*fields, "seed", "status", *names, "why", "folder"], rows


def _line(group: Results, columns: Sequence[str]) -> list[str]:
    done = [outcome.numbers for _, outcome in group if outcome.status == "done"]
    others = Counter(o.status for _, o in group if o.status != "done")
    counts = [str(len(done)), *(f"{n} {status}" for status, n in others.items())]
    setting = [str(value) for value in group[0][0].setting.values()]
    return [*setting, ", ".join(counts), *(_spread(done, name) for name in columns)]


def _spread(done: Sequence[Mapping[str, float]], name: str) -> str:
    values = [numbers[name] for numbers in done if name in numbers]
    return tables.mean_std(values, ".4g", ".2g") if values else "-"


def _best(groups: Sequence[Results], columns: Sequence[str], mode: Mode) -> int | None:
    """The setting with the best mean of the first column; None if none is done."""
    sign = 1 if mode == "min" else -1
    means = {
        i: sign * np.mean([outcome.numbers[columns[0]] for _, outcome in group])
        for i, group in enumerate(groups)
        if columns and all(columns[0] in outcome.numbers for _, outcome in group)
    }
    return min(means, key=lambda i: means[i]) if means else None

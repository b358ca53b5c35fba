"""Joins the results of a study that several machines have trained parts of."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

from mtl import config as configs
from mtl.host import environment, remote, workdir
from mtl.host.errors import WorkdirError
from mtl.host.shards import WHOLE, Shard
from mtl.study import grid, results
from mtl.study.grid import Run
from mtl.study.results import Row

FILE = "results.csv"
ABOUT = ("config", "data", "environment")  # JSON files that describe a study.


class Joined(NamedTuple):
    """What was joined.

    Attributes:
      lacking: runs of the grid without a result.
      doubled: runs with equal results in several folders.
    """

    lacking: list[Run]
    doubled: list[Run]


def shard_folder(folder: Path, shard: Shard) -> Path:
    """Returns the folder in which a shard keeps its results and checkpoints."""
    if shard == WHOLE:
        return folder
    return folder / f"shard-{shard.number}-of-{shard.total}"


def read(*folders: Path) -> dict[Run, Row]:
    """Reads the results in folders of a study, and those of the shards in them.

    Raises:
      WorkdirError: two results of a run differ, or a file is no table of results.
    """
    found: dict[Run, Row] = {}
    places: dict[Run, Path] = {}
    for folder in folders:
        for path in (folder / FILE, *sorted(folder.glob(f"shard-*-of-*/{FILE}"))):
            for row in results.read(path):
                before = found.setdefault(row.run, row)
                if not _same(before, row):
                    raise WorkdirError(
                        f"{row.run} has two results that differ, in "
                        f"{places[row.run]} and in {path}; remove the wrong line"
                    )
                places.setdefault(row.run, path)
    return found


def training_rows(folder: Path) -> int:
    """Reads the number of training images of a study.

    Raises:
      WorkdirError: data.json is missing or damaged.
    """
    path = folder / "data.json"
    with workdir.damaged(path):
        return int(workdir.read_json(path)["rows"]["train"])


def write(folder: Path, wanted: Iterable[Run]) -> dict[Run, Row]:
    """Writes results.csv with the results of all shards, in the order of the grid.

    Returns:
      These results.

    Raises:
      WorkdirError: see `read`.
    """
    remote.bring(folder)
    with workdir.lock(folder, wait=True):
        rows = read(folder)
        _write(folder, wanted, rows)
    return rows


def merge(config: ConfigDict, folder: Path, sources: Sequence[Path]) -> Joined:
    """Joins the results of several folders of one study.

    Args:
      config: of the study.
      folder: gets the results; it may hold some already.
      sources: folders of the study, such as those of other machines.

    Raises:
      ConfigError: the grid makes no sense.
      WorkdirError: a folder holds no study, or one with another config, other data or
        another JAX_ENABLE_X64; or two results of a run differ.
    """
    grid.check(config)
    about = {n: workdir.read_json(sources[0] / f"{n}.json") for n in ABOUT}
    for source in sources:
        workdir.load_config(source)  # Fails if the folder holds no study.
    for place in (*sources, folder):
        _check_study(place, config, about)
    wanted = grid.runs(config, training_rows(sources[0]))
    times = Counter(run for source in sources for run in read(source))
    workdir.make(folder, f"the workdir {folder}")
    with workdir.lock(folder, wait=True):
        rows = read(folder, *sources)
        for name, content in about.items():
            if not (folder / f"{name}.json").exists():
                workdir.write_json(folder / f"{name}.json", content)
        _write(folder, wanted, rows)
    lacking = [run for run in wanted if run not in rows]
    return Joined(lacking, [run for run in wanted if times[run] > 1])


def _check_study(place: Path, config: ConfigDict, about: Mapping[str, dict]) -> None:
    """Raises WorkdirError if a folder holds another study than the first one."""
    own = configs.of_a_run(config)
    workdir.check_same(place, "config", own, configs.FREE, configs.default())
    workdir.check_same(place, "data", about["data"])
    path = place / "environment.json"
    if path.exists():
        environment.check(place, workdir.read_json(path), about["environment"])


def _same(one: Row, other: Row) -> bool:
    """Whether two results of a run are equal, apart from the time; NaN equals NaN."""
    return str(one._replace(seconds=0.0)) == str(other._replace(seconds=0.0))


def _write(folder: Path, wanted: Iterable[Run], rows: Mapping[Run, Row]) -> None:
    """Writes results.csv; results outside of the grid come last."""
    order = dict.fromkeys(run for run in (*wanted, *rows) if run in rows)
    results.write(folder / FILE, [rows[run] for run in order])

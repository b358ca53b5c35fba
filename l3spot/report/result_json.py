"""NAME.json, the result of a scan; it says what it was made from.

A scan with several results has one file for each, and NAME.json lists their names. It
is the last file of a scan that is written: where it is whole, the others are.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from l3spot.projections import names
from l3spot.report.results_file import LevelRow, ResultRow, ScanRows
from mtl.host import workdir
from mtl.host.errors import WorkdirError

# What a result was made from: the version, the model, the options and the files.
MadeBy: TypeAlias = Mapping[str, Any]
OF_ONE_SCAN = ("path", "files")  # Its keys that differ between scans.
VERDICT = "verdict"  # The key of a person's answer.


class Stored(NamedTuple):
    """What NAME.json and the files that it lists hold.

    Attributes:
      names: of the results.
      results: their rows; none while the scan is being worked on.
      made_by: what they were made from; empty while the scan is being worked on.
      corrected: whether a person corrected one of them, see `l3spot.correct`.
    """

    names: list[str]
    results: list[ScanRows]
    made_by: MadeBy
    corrected: bool = False


def path(out: Path, name: str) -> Path:
    """Returns the path of the result of a scan."""
    return out / f"{names.file_stem(name)}.json"


def announce(out: Path, name: str, results: Sequence[str]) -> None:
    """Writes the names of several results before they exist: their files are a run's.

    Raises:
      WorkdirError: the file cannot be written.
    """
    content = {"scan": name, "results": list(results), "made_by": {}}
    workdir.write_json(path(out, name), content)


def write(out: Path, name: str, results: Sequence[ScanRows], made_by: MadeBy) -> None:
    """Writes the results of a scan, NAME.json last.

    Raises:
      WorkdirError: a file cannot be written.
    """
    one = len(results) == 1 and results[0].row.scan == name
    for row, levels in () if one else results:
        workdir.write_json(path(out, row.scan), _content(row, levels))
    if one:
        content = _content(*results[0])
    else:
        content = {"scan": name, "results": [result.row.scan for result in results]}
    workdir.write_json(path(out, name), content | {"made_by": dict(made_by)})


def read(out: Path, name: str) -> Stored | None:
    """Reads the results of a scan; None if there are none, or they are broken."""
    try:
        content = workdir.read_json(path(out, name))
        made_by = content["made_by"]
        if "results" not in content:
            return Stored([name], [_rows(content)], made_by, VERDICT in content)
        listed = [str(n) for n in content["results"]]
        if not made_by:
            return Stored(listed, [], made_by)
        contents = [workdir.read_json(path(out, n)) for n in listed]
        corrected = any(VERDICT in content for content in contents)
        return Stored(listed, [_rows(c) for c in contents], made_by, corrected)
    except (WorkdirError, OSError, KeyError, TypeError, AttributeError):
        return None


def line(out: Path, name: str) -> str:
    """Returns a result as JSON in one line.

    Raises:
      WorkdirError: there is none.
    """
    return json.dumps(workdir.read_json(path(out, name)), sort_keys=True)


def _content(row: ResultRow, levels: Sequence[LevelRow]) -> dict[str, Any]:
    return row._asdict() | {"levels": [level._asdict() for level in levels]}


def _rows(content: Mapping[str, Any]) -> ScanRows:
    levels = [
        LevelRow(**{k: level[k] for k in LevelRow._fields})
        for level in content["levels"]
    ]
    row = {k: content[k] for k in ResultRow._fields if k != "levels"}
    return ScanRows(
        ResultRow(**row, levels=" ".join(level.level for level in levels)), levels
    )

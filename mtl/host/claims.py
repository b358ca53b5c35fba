"""Which files of a folder runs wrote: a run replaces and deletes no others."""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from mtl.host.errors import WorkdirError

MANIFEST = ".written"  # A line for each file that runs wrote into a folder.


def claim(folder: Path, names: Iterable[str], trusted: bool = False) -> None:
    """Records in a folder's manifest that a run writes these files.

    Args:
      folder: the folder.
      names: of the files.
      trusted: whether a folder without a manifest is that of an earlier version.

    Raises:
      WorkdirError: there is such a file that no run has claimed: it is the user's own.
    """
    before, names = claimed(folder), list(names)
    own = [n for n in names if n not in before and os.path.lexists(folder / n)]
    if own and not (trusted and not before):
        raise WorkdirError(
            f"{folder} holds {own[0]}, which no run wrote; move it, or take another "
            "folder, so that nothing is lost"
        )
    added = "".join(json.dumps(n) + "\n" for n in names if n not in before)
    try:
        with (folder / MANIFEST).open("a", encoding="utf-8") as stream:
            stream.write(added)
    except OSError as e:
        raise WorkdirError(f"cannot write {folder / MANIFEST}: {e.strerror}") from e


def delete_claimed(folder: Path, names: Iterable[str]) -> None:
    """Deletes files that a run has claimed; others stay."""
    before = claimed(folder)
    for name in names:
        if name in before:
            (folder / name).unlink(missing_ok=True)


def claimed(folder: Path) -> set[str]:
    """Returns the names of the files that runs have claimed in a folder.

    Raises:
      WorkdirError: the manifest is broken.
    """
    try:
        lines = (folder / MANIFEST).read_text("utf-8").splitlines()
        return {str(json.loads(line)) for line in lines}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as e:
        raise WorkdirError(f"{folder / MANIFEST} is broken ({e}); delete it") from e

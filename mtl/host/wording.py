"""Words of messages."""

import difflib
from collections.abc import Iterable, Sequence

MOST_NAMED = 5  # In a message.


def counted(n: int, noun: str, singular: str = "", plural: str = "") -> str:
    """Returns a number with its noun and verb: "1 file", "2 files are".

    Args:
      n: the number.
      noun: in the singular; its plural ends in s, as "series" does already.
      singular: the verb after one of them.
      plural: the verb after several.
    """
    ending = "" if n == 1 or noun.endswith("s") else "s"
    return f"{n} {noun}{ending} {singular if n == 1 else plural}".rstrip()


def some(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are: "a, b and 3 more"."""
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def named(
    names: Sequence[str], noun: str, singular: str, plural: str, what: str
) -> str:
    """Returns what is said of some things, with their number and the first names.

    Args:
      names: of the things.
      noun: see `counted`.
      singular: see `counted`.
      plural: see `counted`.
      what: follows the verb: `named(["a", "b"], "run", "has", "have", "no result")` is
        "2 runs have no result: a, b".
    """
    return f"{counted(len(names), noun, singular, plural)} {what}: {some(names)}"


def nearest(value: object, allowed: Iterable[str | int]) -> str:
    """Returns "; did you mean X?" if a value is close to an allowed one, or ""."""
    close = difflib.get_close_matches(str(value), map(str, allowed), n=1)
    return f"; did you mean {close[0]}?" if close else ""

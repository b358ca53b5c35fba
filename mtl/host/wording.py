"""Words of messages."""

from collections.abc import Sequence

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

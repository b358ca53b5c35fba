"""Words of messages."""


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

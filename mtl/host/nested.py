"""Compares nested dicts, such as the configs of two runs."""

from typing import Any


def filled(old: Any, default: Any) -> Any:
    """Returns nested dicts, with the default's values where they have none."""
    if not (isinstance(old, dict) and isinstance(default, dict)):
        return old
    return default | {k: filled(v, default.get(k)) for k, v in old.items()}


def differences(old: object, new: object, name: str = "") -> list[str]:
    """Returns a line such as "a.b: 1 -> 2" for each leaf that differs."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [f"{name}: {old!r} -> {new!r}"]
    lines = []
    for key in sorted(old.keys() | new.keys()):
        there, here = (d.get(key, "(absent)") for d in (old, new))
        lines += differences(there, here, f"{name}.{key}" if name else key)
    return lines

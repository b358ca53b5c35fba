"""Which fields a config has: those of the default config, and no others."""

import ast
import difflib
import inspect
import io
import json
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from mtl.host.errors import ConfigError


class Field(NamedTuple):
    """A field, such as "optim.learning_rate": its default, and what the source says."""

    name: str
    default: Any
    comment: str


def check(c: ConfigDict, default: ConfigDict, where: str = "config") -> None:
    """Checks that a config has the fields of the default config, of the same types.

    A number may be whole where the default is not, and a list stand for a tuple. The
    items of a tuple must be like those of the default, if it has any.

    Raises:
      ConfigError: a field is unknown, missing, or of another type.
    """
    for name in c:
        if name not in default:
            raise ConfigError(f"{where}.{name} is no field; {_nearest(name, default)}")
    for name, value in default.items():
        if name not in c:
            raise ConfigError(
                f"{where}.{name} is missing; start from the default config, "
                f"where it is {_text(value)}"
            )
        if isinstance(value, ConfigDict) and isinstance(c[name], ConfigDict):
            check(c[name], value, f"{where}.{name}")
        elif not _is_like(c[name], value):
            raise ConfigError(
                f"{where}.{name}={_text(c[name])} must be like its default, "
                f"{_text(value)}"
            )


def _text(value: object) -> str:
    """A value, or the fields of a group, in one line."""
    if isinstance(value, ConfigDict):
        return f"a group of {', '.join(value)}"
    return repr(value)


def value(c: ConfigDict, name: str) -> Any:
    """Returns the value of a field such as "optim.learning_rate".

    Raises:
      ConfigError: there is no such field.
    """
    known = dict(leaves(c))
    if name not in known:
        raise ConfigError(f"config.{name} is no field; {_nearest(name, known)}")
    return known[name]


def problem(c: ConfigDict, name: str) -> str:
    """A sentence on a name that is no field or group of a config; "" if it is one."""
    group: Any = c
    for part in name.split("."):
        if not isinstance(group, ConfigDict):
            return f"config.{name} is no field"
        if part not in group:
            return f"config.{name} is no field; {_nearest(part, group)}"
        group = group[part]
    return ""


def complete(c: ConfigDict, default: ConfigDict, path: str) -> ConfigDict:
    """A run's saved config, with the default where an older version had no field.

    Raises:
      ConfigError: the file has a field that this version does not know, a field of
        another type, or a group where this version has a field, or the reverse.
    """
    completed = ConfigDict(default.to_dict(), convert_dict=True)

    def fill(own: ConfigDict, into: ConfigDict, group: str) -> None:
        for name, value in own.items():
            if name not in into:
                raise ConfigError(
                    f"{path} is of another program or version: {group}{name} is no "
                    f"field; {_nearest(name, into)}"
                )
            is_group = isinstance(value, ConfigDict)
            if is_group != isinstance(into[name], ConfigDict):
                what = "a group of fields" if is_group else repr(value)
                raise ConfigError(
                    f"{path} is of another program or version: {group}{name} is {what}"
                )
            if is_group:
                fill(value, into[name], f"{group}{name}.")
            else:
                with into.ignore_type():
                    into[name] = value

    fill(c, completed, "")
    check(completed, default, f"{path}: config")
    return completed


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value has the type of the default, and its items those of its items."""
    if isinstance(default, tuple):
        return isinstance(value, tuple | list) and (
            not default or all(any(_is_like(v, d) for d in default) for v in value)
        )
    if isinstance(value, bool) and not isinstance(default, bool):
        return default is None
    kinds: dict[type, Any] = {float: (float, int), type(None): object}
    return isinstance(value, kinds.get(type(default), type(default)))


def _nearest(name: str, default: Iterable[str]) -> str:
    """What a user may have meant by an unknown field, or all the fields."""
    known = sorted(default)
    parts = [other for other in known if name in other or other in name]
    close = difflib.get_close_matches(name, known, n=1) or parts
    if close:
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(known)}"


def text_without(c: ConfigDict, names: Iterable[str]) -> str:
    """The fields of a config as JSON, except some fields or groups.

    Args:
      c: the config.
      names: of the fields and groups to leave out, such as "seed" and "data".
    """
    names = set(names)

    def kept(name: str) -> bool:
        parts = name.split(".")
        return not names & {".".join(parts[:k]) for k in range(1, len(parts) + 1)}

    return json.dumps({k: v for k, v in leaves(c) if kept(k)}, sort_keys=True)


def describe(default: Callable[[], ConfigDict]) -> list[Field]:
    """The fields that a function such as `mtl.config.default` sets, by name.

    A field's comment stands behind it, or in the lines before it. If the module has
    `GROUPS`, it is a dict of the classes that describe a group in their docstrings.
    """
    module = inspect.getmodule(default)
    comments = _comments(inspect.getsource(module or default))
    for group, described in getattr(module, "GROUPS", {}).items():
        for name, text in _attributes(described).items():
            comments[f"{group}.{name}"] = text

    def comment(name: str) -> str:
        return comments.get(name) or comments.get(name.split(".")[-1], "")

    return [Field(name, x, comment(name)) for name, x in leaves(default())]


def leaves(c: ConfigDict, group: str = "") -> Iterator[tuple[str, Any]]:
    """The name and value of each field, such as "optim.learning_rate" and 0.1."""
    for name, value in c.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{group}{name}.")
        else:
            yield f"{group}{name}", value


def _attributes(described: type) -> dict[str, str]:
    """The texts of "Attributes:" in the docstring of a class, by name."""
    text = (inspect.getdoc(described) or "").partition("Attributes:\n")[2]
    found = re.findall(r"^  (\w+): (.*(?:\n    .*)*)", text, re.MULTILINE)
    return {name: " ".join(about.split()) for name, about in found}


def _comments(source: str) -> dict[str, str]:
    """The comments of assignments to `c.NAME` in a module, by NAME."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}

    def above(line: int) -> list[int]:
        first = line
        while (
            first - 1 in comments and not comments[first - 1].line.split("#")[0].strip()
        ):
            first -= 1
        return list(range(first, line))

    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0])[:2] == "c.":
            last = node.end_lineno or node.lineno
            behind = [n for n in range(node.lineno, last + 1) if n in comments]
            lines = behind or above(node.lineno)
            text = " ".join(comments[n].string.lstrip("# ") for n in lines)
            found[ast.unparse(node.targets[0])[2:]] = text
    return found

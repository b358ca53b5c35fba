"""The programs that `pip install` makes: one for each system, with commands."""

import ast
import gc
import importlib.metadata
import importlib.util
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

from mtl.host.wording import nearest

# Allocations from one search for unused objects to the next. With Python's 700, these
# searches take a sixth of the time in which JAX is imported, and find nothing.
GC_THRESHOLD = 50_000
HELP = ("-h", "-help", "--help", "help")
DISTRIBUTION = "evolving-mtl"


def run(program: str, about: str, commands: Mapping[str, str]) -> None:
    """Runs the command that the first argument names, as `python -m MODULE` does.

    Args:
      program: the name of the program.
      about: what it does, as a sentence.
      commands: the module of each command.
    """
    name, *rest = sys.argv[1:] or [""]
    if name in commands:
        sys.argv = [f"{program} {name}", *rest]
        gc.set_threshold(GC_THRESHOLD)
        runpy.run_module(commands[name], run_name="__main__", alter_sys=True)
    elif name == "--version":
        print(f"{DISTRIBUTION} {importlib.metadata.version(DISTRIBUTION)}")
    elif name in HELP:
        print(usage(program, about, commands))
    elif not name:
        print(usage(program, about, commands), file=sys.stderr)
        sys.exit(2)
    else:
        hint = nearest(name, commands) or f"; see {program} --help"
        print(f"error: {program} has no command {name!r}{hint}", file=sys.stderr)
        sys.exit(2)


def usage(program: str, about: str, commands: Mapping[str, str]) -> str:
    """Returns a help text with each command's first sentence and its module."""
    width = max(map(len, commands))
    lines = [
        f"  {name:{width}}  {_first_line(module)}" for name, module in commands.items()
    ]
    module = next(iter(commands.values()))
    return "\n".join(
        [
            about,
            "",
            f"usage: {program} COMMAND [--flag=value ...]",
            "",
            *lines,
            "",
            f"`{program} COMMAND --help` shows flags, and the fields of the config.",
            f"`python -m {module}` is the same as `{program} {next(iter(commands))}`.",
        ]
    )


def _first_line(module: str) -> str:
    """The first line of a module's docstring; the module is not run."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin:
        raise ModuleNotFoundError(f"there is no module {module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]

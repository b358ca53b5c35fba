"""Parses the flags of a launcher; a wrong one is an error that a user can mend."""

import re
import traceback
from collections.abc import Callable, Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict

from mtl.host import fields
from mtl.host.errors import ConfigError, broken_file
from mtl.host.wording import nearest

NO_WHOLE_NUMBER = r"'\1' is no whole number"
NO_NUMBER = r"'\1' is no number"
Default = Callable[[], ConfigDict]


def parse(argv: list[str], defaults: Sequence[Default] = ()) -> list[str]:
    """Parses the flags, and returns the arguments that are none.

    Args:
      argv: the program and its arguments.
      defaults: make the default configs; a field of `--config` is in one of them.

    Raises:
      ConfigError: a flag is unknown, missing or wrong, or the config file breaks.
    """
    try:
        return flags.FLAGS(argv)
    except flags.Error as e:
        raise ConfigError(_field_hint(_plain(str(e)), defaults)) from e
    except (AttributeError, KeyError) as e:
        configs = [default() for default in defaults]
        # A field may be in the config of another stage alone.
        least = 1 if _names_a_flag(e, argv) else len(configs)
        raise ConfigError(_unknown_field(argv, configs, least) or broken_file(e)) from e


def _plain(text: str) -> str:
    """What absl says of flags, in the words of this project."""
    missing = re.findall(r"Flag (--\S+) must have a value other than None", text)
    if missing:
        return f"{' and '.join(missing)} must be given; --help shows all flags"
    text = re.sub(r"^Unknown command line flag '(\S+)'", r"unknown flag --\1", text)
    text = re.sub(r"\. Did you mean: (\w+).*\?$", _hint, text)
    text = re.sub(r"\('([^']+)', .*\)$", r"\1", text)  # Of an error with two arguments.
    text = re.sub(r"invalid literal for int\(\) .*: '(.*)'$", NO_WHOLE_NUMBER, text)
    text = re.sub(r"could not convert string to float: '(.*)'$", NO_NUMBER, text)
    text = re.sub(r"=([^=]*): value should be one of <(.*)>$", _choice, text)
    hint = "" if text.endswith("?") else "; --help shows all flags"
    return text.removeprefix("flag ") + hint


def _field_hint(text: str, defaults: Sequence[Default]) -> str:
    """Adds the config field of the same name to the error of an unknown flag."""
    name = re.match(r"unknown flag --([\w.]+); --help", text)
    if name and any(not fields.problem(default(), name[1]) for default in defaults):
        return f"unknown flag --{name[1]}; did you mean --config.{name[1]}?"
    return text


def _choice(match: re.Match[str]) -> str:
    """Lists the values that a flag may have, and names the nearest one."""
    given, allowed = match[1], [value for value in match[2].split("|") if value]
    return f"={given} must be one of {', '.join(allowed)}{nearest(given, allowed)}"


def _hint(match: re.Match[str]) -> str:
    """Names a similar flag, unless absl defines it for itself."""
    module = flags.FLAGS.find_module_defining_flag(match[1]) or ""
    return "" if module.startswith("absl.") else f"; did you mean --{match[1]}?"


def _unknown_field(
    argv: Sequence[str], configs: Sequence[ConfigDict], least: int
) -> str:
    """A sentence on the first `--config.NAME` that `least` configs lack, or ""."""
    for name in _names(argv):
        wrong = [problem for c in configs if (problem := fields.problem(c, name))]
        if wrong and len(wrong) >= least:
            return wrong[0]
    return ""


def _names_a_flag(e: BaseException, argv: Sequence[str]) -> bool:
    """Whether ml_collections raised it for a field on the command line."""
    last = traceback.extract_tb(e.__traceback__)[-1]
    names = (name.split(".")[-1] for name in _names(argv))
    return "ml_collections" in last.filename and any(n in str(e) for n in names)


def _names(argv: Sequence[str]) -> Iterator[str]:
    for argument in argv[1:]:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if match:
            yield match[1]

"""The configs of the repository, by name from any folder: `--config helen:quick`."""

import importlib.util
import runpy
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from mtl.host.errors import ConfigError
from mtl.host.wording import nearest

flags.disclaim_key_flags()  # `--config` belongs to the launcher that defines it.


def folder(package: str) -> Path:
    """Returns the folder of the configs of a system's package, such as "mtl".

    An installed package has them in its folder `configs`, and the repository in
    `configs/PACKAGE`.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"there is no package {package}")
    own = Path(spec.submodule_search_locations[0])
    installed = own / "configs"
    return installed if installed.is_dir() else own.parent / "configs" / package


def names(package: str) -> list[str]:
    """Returns the names of a system's configs."""
    files = folder(package).glob("*.py")
    return sorted(file.stem for file in files if not file.stem.startswith("_"))


def find(package: str, config: str) -> str:
    """Returns "FILE" or "FILE:variant" for a name or a path of a config.

    A text with a slash or with the ending .py is a path; all others are names.

    Args:
      package: the system's package.
      config: such as "digits", "helen:quick" or "my/config.py:fast".

    Raises:
      ConfigError: there is no such config.
    """
    name, colon, variant = config.partition(":")
    path = Path(name)
    if "/" not in name and path.suffix != ".py":
        path = folder(package) / f"{name}.py"
    if not path.is_file():
        known = names(package)
        hint = nearest(path.stem, known) or "."
        raise ConfigError(
            f"--config={config} is neither a file nor the name of a config{hint} "
            f"The names are {', '.join(known)}; a file ends in .py"
        )
    return f"{path}{colon}{variant}"


def load(package: str, config: str) -> ConfigDict:
    """Returns the config of a name or a path; see `find`.

    Raises:
      ConfigError: there is no such config, or it has no such variant.
    """
    path, _, variant = find(package, config).partition(":")
    arguments = [variant] if variant else []
    return runpy.run_path(path)["get_config"](*arguments)


def variant() -> str:
    """Returns the variant of the parsed flag `--config`; "" if there is none."""
    if "config" not in flags.FLAGS or not flags.FLAGS["config"].present:
        return ""
    return config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[2]


class _Parser(ConfigFileFlagParser):
    """Reads a config file, of a path or a name."""

    def __init__(self, package: str):
        super().__init__(name="config")
        self._package = package

    def parse(self, path: str) -> ConfigDict:
        return super().parse(find(self._package, path))


def define_flag(package: str, about: str) -> None:
    """Defines `--config` of a launcher, which takes a path or a name.

    Args:
      package: the system's package.
      about: what the config is for, as a sentence.
    """
    known = ", ".join(names(package))
    text = f"{about} A Python file, or one of {known}; a variant follows a colon."
    config_flags.DEFINE_config_file("config", None, text)
    flags.FLAGS["config"].parser = _Parser(package)

"""What the benchmarks share: turns, peak memory, and what the machine is."""

import datetime
import importlib.util
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TypeAlias, TypedDict

from absl import flags
from tabulate import tabulate

from mtl.host.errors import ConfigError
from mtl.host.launch import cores

WARM_UP = 2


def need(package: str) -> None:
    """Checks that a package is installed.

    Raises:
      ConfigError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f"{package} is not installed: pip install {package}")


Machine: TypeAlias = dict[str, str | int | None]


class Memory(TypedDict):
    """Peak of a process, and what of it came after framework and data; GPU: None."""

    peak_mib: float | None
    increase_mib: float | None


NO_MEMORY: Memory = {
    "peak_mib": float("nan"),
    "increase_mib": float("nan"),
}  # On a GPU.


def table(head: Sequence[str], rows: Iterable[Sequence], formats: Sequence[str]) -> str:
    """Figures in aligned columns: a name, then numbers with one format a column."""
    return tabulate(rows, head, tablefmt="plain", floatfmt=("", *formats))


def define_out() -> None:
    """Defines the flag of `write`."""
    flags.DEFINE_string("out", "", "A JSON file for the figures.")


def integers(name: str, least: int = 1) -> list[int]:
    """Reads a flag that is a list of whole numbers.

    Raises:
      ConfigError: one is no whole number, or too low.
    """
    texts = getattr(flags.FLAGS, name)
    numbers = [int(text) if text.isdecimal() else least - 1 for text in texts]
    if min(numbers, default=least) < least:
        raise ConfigError(
            f"--{name}={','.join(texts)} must be whole numbers from {least} on"
        )
    return numbers


def check_splits(splits: int, least: int = 2) -> None:
    """Checks the flag --splits; one draw has no standard deviation.

    Raises:
      ConfigError: there are too few.
    """
    if splits < least:
        raise ConfigError(f"--splits={splits} must be {least} or more")


def write(figures: Mapping[str, object]) -> None:
    """Writes the figures to the JSON file of --out, if it is given."""
    if flags.FLAGS.out:
        text = json.dumps(figures, indent=2) + "\n"
        Path(flags.FLAGS.out).write_text(text)


def seconds(
    work: Mapping[str, Callable[[], object]], turns: int
) -> dict[str, list[float]]:
    """Seconds of each turn of contenders that take turns, after a warm-up.

    Each works twice in a turn, and the second time counts: at first the idle threads of
    the one before still wait busily.
    """
    took: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(WARM_UP + turns):
        for name, do in work.items():
            do()
            start = time.perf_counter()
            do()
            if turn >= WARM_UP:
                took[name].append(time.perf_counter() - start)
    return took


def peak_mib(process: str = "self") -> float:
    """The most memory that this process has held, or, on Linux, another one.

    Linux's own figure, where there is one: `ru_maxrss` is passed on by the parent.
    """
    status = Path(f"/proc/{process}/status")
    if status.exists():
        fields = dict(x.split(":", 1) for x in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def describe(where: Machine) -> str:
    """The machine in a line."""
    return ", ".join(f"{k} {v}" for k, v in where.items() if v)


def machine(gpu: str | None, packages: tuple[str, ...]) -> Machine:
    """Where and with what this was measured."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [x.split(":")[1].strip() for x in lines if x.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": cores(),
        "load before": f"{os.getloadavg()[0]:.1f}",  # PyTorch suffers most by others'.
        "gpu": gpu,
        "python": platform.python_version(),
        **{x: metadata.version(x) for x in packages},
        "date": datetime.date.today().isoformat(),
    }

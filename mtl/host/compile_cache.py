"""Keeps compiled programs on the disk, so that the next process starts sooner."""

import hashlib
import os
import re
import warnings
from pathlib import Path

import jax

FOLDER = "JAX_COMPILATION_CACHE_DIR"  # JAX's variable; processes inherit it.
OPTIONS = {
    # The limit also makes JAX lock the folder while a file is written.
    "JAX_COMPILATION_CACHE_MAX_SIZE": 1 << 28,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": 0.1,
}


def enable() -> None:
    """Keeps the programs that this process and its children compile.

    They lie in evolving-mtl, in XDG_CACHE_HOME or ~/.cache; there is a folder for each
    kind of CPU, because a program may use instructions that another CPU lacks. JAX's
    own variable has precedence. A folder that cannot be written is not used.
    """
    if FOLDER in os.environ:
        return
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = home / "evolving-mtl" / f"compiled-{_cpu()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # There may be no home.
        return
    if not os.access(folder, os.W_OK):
        return
    # A file that a killed process left half written costs time alone.
    message = "Error (reading|writing) persistent compilation cache"
    warnings.filterwarnings("ignore", message)
    for name, value in ({FOLDER: str(folder)} | OPTIONS).items():
        os.environ[name] = str(value)
        jax.config.update(name.lower(), value)


def _cpu() -> str:
    """Returns a short text that differs between CPUs with other instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:  # Not Linux.
        text = ""
    flags = re.search(r"^(flags|Features)\b.*", text, re.MULTILINE)
    return hashlib.sha256((flags[0] if flags else "").encode()).hexdigest()[:12]

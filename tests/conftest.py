"""Fixtures of all tests, and the choice of the tests that run."""

import atexit
import importlib.metadata
import os
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

# All processes of the tests share what one of them compiles. The limit of the size
# makes JAX lock the folder, so that no process reads a file that another one writes.
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.mkdtemp(prefix="compiled-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE
    os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = str(4 << 30)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

    # Checkpoints are synchronised with the disk; in memory that takes no time.
    if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 4 << 30:
        TEMPORARY = tempfile.mkdtemp(prefix="tests-", dir="/dev/shm")
        os.environ["PYTEST_DEBUG_TEMPROOT"] = TEMPORARY
        atexit.register(shutil.rmtree, TEMPORARY, ignore_errors=True)

    # Without emitters of fusions, XLA compiles in less than half of the time. Later
    # versions lack the first flag, and end the process where it is given.
    fast = os.environ.get("JAX_DISABLE_MOST_OPTIMIZATIONS")
    if fast and importlib.metadata.version("jaxlib").startswith("0.10."):
        flags = os.environ.get("XLA_FLAGS", "")
        flags += " --xla_cpu_use_fusion_emitters=false"
        flags += " --xla_cpu_parallel_codegen_split_count=1"
        os.environ["XLA_FLAGS"] = flags

import jax
import pytest

from tests import shapes

shapes.install()

ROOT = Path(__file__).parent.parent

# On a GPU, float32 products would otherwise be rounded to less.
jax.config.update("jax_default_matmul_precision", "highest")


def pytest_deselected(items):
    """Counts the tests that a process of pytest-xdist leaves out."""
    if hasattr(items[0].config, "workeroutput"):
        items[0].config.workeroutput["deselected"] = len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    """Gives that number to pytest's last line; pytest-xdist does not."""
    count = getattr(node, "workeroutput", {}).get("deselected", 0)
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    reporter.stats["deselected"] = [SimpleNamespace()] * count


def pytest_runtest_setup(item):
    """Skips a slow test that would begin after SLOW_TESTS_UNTIL, in seconds of Unix."""
    until = float(os.environ.get("SLOW_TESTS_UNTIL", "inf"))
    if time.time() > until and item.get_closest_marker("slow"):
        pytest.skip("the time for slow tests is over")


def pytest_terminal_summary(terminalreporter, config):
    if "not slow" in config.option.markexpr:  # As in `make test`.
        count = len(terminalreporter.stats.get("deselected", ()))
        terminalreporter.section("tests that were left out")
        terminalreporter.write_line(f"{count} slow tests; `make test-all` runs all.")


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def real_data():
    """The folder of real data sets; the test is skipped without it."""
    folder = Path(os.environ.get("MTL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: set MTL_DATA, or put it into {folder.name}/")
    return folder

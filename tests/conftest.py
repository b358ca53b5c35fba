import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Programs that tests start compile what others have compiled before.
CACHE = tempfile.mkdtemp(prefix="compiled-")
os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)

import jax  # noqa: E402
import pytest  # noqa: E402

from tests import shapes  # noqa: E402

shapes.install()

ROOT = Path(__file__).parent.parent


# On a GPU, float32 products would otherwise be rounded to less.
jax.config.update("jax_default_matmul_precision", "highest")


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

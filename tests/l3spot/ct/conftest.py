"""The trunk in files without compression, for the tests that store it in other ways."""

import pytest

from tests.l3spot import compressed
from tests.l3spot.ct.projected import project
from tests.l3spot.trunk import images, trunk


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """Returns the volume of the trunk and its projections."""
    folder = tmp_path_factory.mktemp("clean") / "scan"
    return project(compressed.write(folder, "explicit", images(trunk())))

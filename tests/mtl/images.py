"""What the tests of the readers share."""

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mtl.host.errors import DataError

repeatable = settings(
    derandomize=True,
    deadline=None,
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def random_images(count, seed=0, shape=(28, 28)):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, *shape), np.uint8)
    return x, rng.integers(0, 10, count, np.uint8)


def assert_refused(read, *parts):
    """DataError, with all these parts in the message."""
    with pytest.raises(DataError) as e:
        read()
    for part in parts:
        assert part in str(e.value)


def assert_same(images, x, y):
    assert images.x.dtype == np.float32
    assert images.y.dtype == np.int32
    np.testing.assert_array_equal(images.x, x.astype(np.float32) / 255)
    np.testing.assert_array_equal(images.y, y)


@st.composite
def mutations(draw, size):
    """A function that changes a few of the bytes of a content of about this size."""
    at = st.integers(0, size)
    some = st.binary(max_size=9)
    edits = draw(st.lists(st.tuples(at, at, some), min_size=1, max_size=3))

    def mutate(content):
        for start, drop, put in edits:
            # Half the edits are replacements, which keep the length.
            drop = len(put) if drop % 2 else drop
            content = content[:start] + put + content[start + drop :]
        return content

    return mutate

"""Configs and checks of datasets, for several test files."""

import numpy as np

from structured import config as configs

FIELDS = ("x", "y", "has_x", "has_y", "frame")


def config(source="digits", **fields):
    c = configs.default()
    c.data.source = source
    c.update_from_flattened_dict(fields)
    return c


def same(a, b):
    for name, one, two in zip(FIELDS, a, b, strict=True):
        assert one.dtype == two.dtype, name
        np.testing.assert_array_equal(one, two, err_msg=name)


def check_missing(e):
    """Checks that missing rows are 0, and that each example has x or y."""
    assert (e.has_x | e.has_y).all()
    assert not e.x[~e.has_x].any()
    assert not e.y[~e.has_y].any()
    assert len({len(field) for field in e}) == 1
    assert e.has_x.dtype == e.has_y.dtype == bool

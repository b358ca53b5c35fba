"""The fields of a config, and the check of their values."""

import re

import pytest

from mtl.host.errors import ConfigError


def leaves(c, prefix=""):
    """Yields the names of all fields, such as "data.path"."""
    for name, value in c.items():
        if hasattr(value, "items"):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def assert_refused(check, c, name, value):
    """Asserts that `check` raises a ConfigError with the field and its value."""
    with pytest.raises(
        ConfigError, match=re.escape(f"config.{name}={value!r} must be ")
    ):
        check(c)

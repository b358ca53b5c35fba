"""Addresses such as gs://bucket/run, and the stores that fsspec opens for them."""

import contextlib
from collections.abc import Iterator

import fsspec

from mtl.host.errors import Error, WorkdirError

# What opens a protocol after `pip install`; PATH is a copy of this repository.
INSTALL = {
    "file": "",
    "memory": "",
    "gs": "'PATH[gcs]'",
    "s3": "'PATH[s3]'",
    "abfs": "adlfs",
    "sftp": "paramiko",
}


def is_address(path: str) -> bool:
    """Whether a path is an address such as gs://bucket/run."""
    return "://" in path


def open_store(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The file system of an address, and the path in it.

    Raises:
      WorkdirError: the protocol is unknown, or its package is not installed; says which
        ones work, and what to install for others.
    """
    protocol = address.split("://")[0].split("::")[-1]
    local = {"auto_mkdir": True} if protocol in ("file", "local") else {}
    try:
        return fsspec.core.url_to_fs(address, **local)
    except Exception as e:  # Each driver has errors of its own.
        raise WorkdirError(
            f"cannot open {address} ({type(e).__name__}: {e}). {_protocols()}"
        ) from e


def parent(address: str) -> tuple[str, str]:
    """The folder of an address, and the name in it.

    Raises:
      WorkdirError: it is a whole bucket.
    """
    folder, _, name = address.rstrip("/").rpartition("/")
    if folder.endswith(":/"):
        raise WorkdirError(f"{address} is a whole bucket; take {address}/NAME")
    return folder, name


@contextlib.contextmanager
def reaching(doing: str, address: str) -> Iterator[None]:
    """Raises all errors of a store's driver as WorkdirError.

    Args:
      doing: "read" or "write to".
      address: in the store.
    """
    try:
        yield
    except Error:
        raise
    except Exception as e:  # Each driver has errors of its own.
        raise WorkdirError(
            f"cannot {doing} {address} ({type(e).__name__}: {e}); check the "
            "bucket's name, and that this machine has credentials which may read "
            "and write there"
        ) from e


def _protocols() -> str:
    """Which protocols work, and what to install for others."""
    works = [name for name in INSTALL if _is_installed(name)]
    others = [
        f"{name}:// after pip install {package}"
        for name, package in INSTALL.items()
        if name not in works
    ]
    return (
        f"These work here: {', '.join(f'{name}://' for name in works)}; and "
        f"{', '.join(others)}, where PATH is a copy of this repository"
    )


def _is_installed(protocol: str) -> bool:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError:
        return False
    return True

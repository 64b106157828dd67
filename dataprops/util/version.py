"""The version of this package."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError, version


@functools.cache
def package_version() -> str:
    """Version of this package."""
    try:
        return version("dataprops")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"

"""Version of this package, and a hash of its files."""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@functools.cache
def package_version() -> str:
    """Version of this package."""
    try:
        return version("dataprops")
    except PackageNotFoundError:  # run from a checkout without installation
        return "unknown"


@functools.cache
def state_of(folder: Path) -> str:
    """Hash of the names and contents of a folder's Python files, 16 hexadecimal digits."""
    state = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        text = path.read_bytes()
        state.update(f"{path.name} {len(text)} ".encode() + text)
    return state.hexdigest()

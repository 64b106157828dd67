"""Files that are whole or absent: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path

import numpy as np


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it. Threads and processes may write the same at once."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write aside, then rename."""
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file aside, then rename."""

    def write(aside: Path) -> None:
        with aside.open("wb") as file:  # given a path, numpy would add its own suffix
            np.savez(file, **arrays)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, write)

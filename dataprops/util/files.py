"""Atomic file writes: to a temporary file in the same folder, then renamed."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np


@functools.lru_cache(1)
def host_mark() -> str:
    """8 hexadecimal digits that identify this machine and its current boot, within which process ids are meaningful."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = f"{platform.node()} {boot.read_text().strip() if boot.is_file() else ''}"
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def aside_of(path: Path) -> Path:
    """A temporary name beside `path`, which contains the writing process and machine."""
    return path.with_name(f".{path.name}.{os.getpid()}.{host_mark()}{secrets.token_hex(4)}.part")


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it. Safe for concurrent writers of the same path."""
    aside = aside_of(path)
    try:
        write(aside)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_aside(path, lambda aside: aside.write_text(text, encoding="utf-8"))


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    """Write an .npz file atomically."""

    def write(aside: Path) -> None:
        with aside.open("wb") as file:  # numpy would append its suffix to a path
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, write)


LEAST_FREE = 2**20  # free bytes below which a disk counts as full


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has no free bytes or inodes; False if unknown."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < LEAST_FREE:
            return True
        files = os.statvfs(folder)
        return files.f_files > 0 and files.f_favail == 0  # some file systems count no files
    return False

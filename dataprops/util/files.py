"""Files that are whole or absent: written beside their place, then renamed."""

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
    """8 hexadecimal digits that stand for this machine and its start, so that a process number is looked up where it was given."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    name = f"{platform.node()} {boot.read_text().strip() if boot.is_file() else ''}"
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


def aside_of(path: Path) -> Path:
    """A new name beside `path` for a file that is not finished: it tells which process of which machine writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.{host_mark()}{secrets.token_hex(4)}.part")


def write_aside(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then rename it. Threads and processes may write the same at once."""
    aside = aside_of(path)
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
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]

    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, write)


LEAST_FREE = 2**20  # bytes of a disk that is not full


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder has no room for anything, of bytes or of files; False if that cannot be told."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(folder).free < LEAST_FREE:
            return True
        files = os.statvfs(folder)
        return files.f_files > 0 and files.f_favail == 0  # some file systems count no files
    return False

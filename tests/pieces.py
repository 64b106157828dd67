"""Pieces of work for workers that are processes: they import this module, and nothing that takes long."""

from __future__ import annotations

import os
import time


def double(value: int) -> int:
    """Twice the value."""
    return 2 * value


def slow_pid(value: int) -> tuple[int, int]:
    """The value and the process that has it, after a while."""
    time.sleep(0.2)
    return value, os.getpid()

"""Single-threaded products, where the order of summation must not depend on the number of threads."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch products on one thread: they are small, and threads would wait for each other on busy cores."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")  # it is not imported for this
    threads = 1 if torch is None else torch.get_num_threads()
    try:
        if torch is not None:
            torch.set_num_threads(1)
        with threadpool_limits(1):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)

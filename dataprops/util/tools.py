"""Execution services of a stage: parallel maps and progress.

Stages are the same whether they run in one process (`inline_tools`) or as Prefect tasks over Dask (`tasks.tools`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

PARENT_SECONDS = 0.5  # interval at which a child checks for its parent
# progress(what, total, unit): context manager; its value is called with the amount done since the last call
Advance = Callable[[int], None]
Progress = Callable[[str, int, str], AbstractContextManager[Advance]]


class Tools(NamedTuple):
    """Execution services of a stage: progress, workers, maps.

    Attributes
    ----------
    map : callable
        map(function, arguments) runs function(*args) for each args, in parallel, and yields results in order of completion.
    job_pool : callable or None
        job_pool(path of a rows file) gives a `distances.allpairs.JobPool` on workers that can read that file; None: the
        pass runs on threads of this process.
    workers : int
        Number of workers; 1 without a pool.
    threads : int
        Threads per worker.
    device : str
        "cpu" or "cuda": device of the pass over pairs.
    progress : callable
    pool_device : str, optional
        Device of the workers, if not `device`; for mixed workers, "cpu".
    """

    map: Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]
    job_pool: Callable[[str], Any] | None
    workers: int
    threads: int
    device: str
    progress: Progress
    pool_device: str | None = None


def no_progress(what: str, total: int, unit: str) -> AbstractContextManager[Advance]:
    """A silent progress."""
    return nullcontext(lambda done: None)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_map(threads: int) -> Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]:
    """A `Tools.map` on threads."""

    def run(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
        with ThreadPoolExecutor(threads) as pool:
            yield from _as_they_come(pool, function, arguments, 2 * threads)

    return run


def process_map(workers: int) -> Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]:
    """A `Tools.map` on processes, or in this one if `workers` is 1, for jobs that need their own process.

    No process outlives an error, Ctrl-C or a killed parent.
    """

    def run(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
        # unlike multiprocessing's spawned processes, these do not import the main script
        from joblib.externals.loky import ProcessPoolExecutor

        if workers == 1:
            for args in arguments:
                yield function(*args)
            return
        pool = ProcessPoolExecutor(workers, initializer=end_with_parent, initargs=(os.getpid(),))
        try:
            yield from _as_they_come(pool, function, arguments, 2 * workers)
        except BaseException:
            pool.shutdown(kill_workers=True)
            raise
        pool.shutdown()

    return run


def end_with_parent(parent: int) -> None:
    """Exit when the parent process is gone, since a killed parent cannot end its children.

    Checked every `PARENT_SECONDS` in a thread, as a piece of work may take minutes.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def _as_they_come(
    pool: Executor, function: Callable[..., Any], arguments: Iterable[tuple], window: int
) -> Iterator[Any]:
    """Results in order of completion, with a bounded number of pieces in flight."""
    waiting: set[Future] = set()
    for args in arguments:
        waiting.add(pool.submit(function, *args))
        if len(waiting) >= window:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def inline_tools(progress: Progress = no_progress, threads: int | None = None) -> Tools:
    """Tools that run everything in this process."""
    count = threads or cores()
    return Tools(thread_map(count), None, 1, count, "cpu", progress)

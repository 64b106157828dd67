"""What a stage may use beside its data: a way to run pieces in parallel, and a way to tell how far it is.

The stages are the same whether they run alone in a process (`inline_tools`) or as Prefect tasks over Dask (`tasks.tools`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

PARENT_SECONDS = 0.5  # between two looks of a child for its parent
# progress(what, total, unit) gives a context whose value is told how much was done since the last call
Advance = Callable[[int], None]
Progress = Callable[[str, int, str], AbstractContextManager[Advance]]


class Tools(NamedTuple):
    """What a stage runs with: progress, workers, maps.

    Attributes
    ----------
    map : callable
        map(function, arguments) runs function(*args) for each args, in parallel, and yields results as they come.
    job_pool : callable or None
        job_pool(path of a rows file) gives a `distances.allpairs.JobPool` on workers that can read that file; None: the
        pass runs on threads of this process.
    workers : int
        Workers that compute jobs; 1 without a pool.
    threads : int
        Threads of each worker.
    device : str
        "cpu" or "cuda": where the pass over pairs computes.
    progress : callable
    pool_device : str, optional
        Where workers compute, if not on `device`: mixed workers are given the blocks of CPUs.
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
    """A `Tools.map` on processes, or in this one if there is only one: for jobs that need a process of their own.

    What is left early - by an error, by Ctrl-C, by a killed parent - leaves no process behind.
    """

    def run(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
        # unlike the standard library's processes these do not run the main script again
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
    """End this process when its parent, of this number, is gone: a killed one cannot end its children.

    From a thread, which looks every `PARENT_SECONDS`: a piece of work may take minutes.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def _as_they_come(
    pool: Executor, function: Callable[..., Any], arguments: Iterable[tuple], window: int
) -> Iterator[Any]:
    """Results in the order in which they are ready, with at most a window of pieces in flight."""
    waiting: set[Future] = set()
    for args in arguments:
        waiting.add(pool.submit(function, *args))
        if len(waiting) >= window:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def inline_tools(progress: Progress = no_progress, threads: int | None = None, device: str = "cpu") -> Tools:
    """Tools that run everything in this process."""
    count = threads or cores()
    return Tools(thread_map(count), None, 1, count, device, progress)

"""A stage's work on a Dask cluster, as plain futures.

Only paths and small records are sent to the workers, which read images and shards themselves; results are small too. Work of a
worker that dies is retried on another; results do not depend on where or in which order it runs.
"""

from __future__ import annotations

import functools
import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from distributed import Client, Future, as_completed

from dataprops.errors import DatapropsError
from dataprops.util.tools import Progress, Tools, cores
from dataprops.util.version import package_version

if TYPE_CHECKING:  # imported when a pass runs; if nothing is new, none does
    from dataprops.distances.allpairs import JobArguments, JobPool, JobResult

log = logging.getLogger(__name__)

ANY_DEVICE = "any"  # each worker uses its GPU if it has one, otherwise its cores
RETRIES = 3  # on another worker, if one dies


def dask_map(client: Client) -> Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]:
    """`Tools.map` on the cluster, with at most two calls in flight per thread."""

    def run(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
        window = 2 * max(1, sum(client.nthreads().values()))

        def submit(args: tuple) -> Future:
            return _submit(client, function, *args)

        return (result for _, result in _windowed(submit, arguments, window))

    return run


def _submit(client: Client, function: Callable[..., Any], *arguments: Any) -> Future:
    """Submit a call; the dashboard shows it under the function's name."""
    key = f"{function.__name__}-{uuid.uuid4()}"
    return client.submit(of_version, package_version(), function, *arguments, key=key, pure=False, retries=RETRIES)


def of_version(wanted: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function on a worker, after checking that its version is the sender's: workers may join during an audit.

    Raises
    ------
    DatapropsError
        If the worker runs another version.
    """
    own = package_version()
    if own != wanted:
        raise DatapropsError(another_version("a worker that joined the cluster runs", own, wanted))
    return function(*arguments)


def another_version(who: str, theirs: str, own: str) -> str:
    """Error message about workers of another version."""
    return f"{who} another version of dataprops ({theirs}, here {own}), so results may differ: install the same version everywhere"


def _windowed(submit: Callable[[Any], Future], arguments: Iterable, window: int) -> Iterator[tuple[Future, Any]]:
    """Keep at most `window` futures in flight, taking arguments lazily; yields them in order of completion."""
    waiting = iter(arguments)
    running = as_completed(with_results=True)
    in_flight = 0
    exhausted = False
    while True:
        while not exhausted and in_flight < window:
            args = next(waiting, _END)
            if args is _END:
                exhausted = True
                break
            running.add(submit(args))
            in_flight += 1
        if not in_flight:
            return
        future, result = next(running)
        in_flight -= 1
        yield future, result


_END = object()


_GPU = threading.Lock()  # a worker has many threads, for decoding, but its GPU runs one job at a time


class Equipment(NamedTuple):
    """A worker's compute device: "cpu" or "cuda", and its name."""

    device: str
    name: str


@functools.cache
def equipment() -> Equipment:
    """This worker's device: a GPU, if torch sees one with exact integer products; otherwise the CPU."""
    import torch

    from dataprops.distances.product import choose_route

    if torch.cuda.is_available():
        try:
            choose_route("cuda")
            return Equipment("cuda", torch.cuda.get_device_name())
        except RuntimeError as error:
            log.warning("not using the GPU %s: %s", torch.cuda.get_device_name(), error)
    return Equipment("cpu", f"{cores()} cores")


def _has() -> tuple[str, str]:
    return tuple(equipment())


def equipment_of(client: Client) -> dict[str, Equipment]:
    """Device of each worker, by its address."""
    return {address: Equipment(*found) for address, found in client.run(_has).items()}


def run_job(
    job: JobArguments, rows_path: str, basis_path: str | None, threads: int, device: str
) -> tuple[int, JobResult]:
    """Run one job of a pass on a worker; device "any" is the worker's own."""
    from dataprops.distances.allpairs import compute_job
    from dataprops.store.rows import open_basis, open_rows

    chosen = equipment().device if device == ANY_DEVICE else device
    with nullcontext() if chosen == "cpu" else _GPU:
        basis = None if basis_path is None else open_basis(basis_path)
        return job.number, compute_job(job._replace(rows=open_rows(rows_path), basis=basis), threads, chosen)


def dask_pool(client: Client, device: str) -> Callable[[str], JobPool]:
    """`Tools.job_pool` on the cluster: one job at a time per worker, on all its threads.

    A job is sent only when a worker is free, so that it starts from the best neighbour distances known by then and returns only
    improvements.
    """

    def pool_of(rows_path: str) -> JobPool:
        from dataprops.store.rows import save_basis

        def pool(arguments: Iterable[JobArguments]) -> Iterator[tuple[int, JobResult]]:
            workers = max(1, len(client.nthreads()))
            threads = max(1, min(client.nthreads().values(), default=1))

            basis_path: str | None = None

            def submit(job: JobArguments) -> Future:
                nonlocal basis_path
                if basis_path is None and job.basis is not None:
                    basis_path = str(save_basis(Path(rows_path).parent, job.basis))
                # rows and basis are not sent: the worker opens them by path
                light = job._replace(rows=None, basis=None)
                return _submit(client, run_job, light, rows_path, basis_path, threads, device)

            for _, result in _windowed(submit, arguments, workers):
                yield result

        return pool

    return pool_of


def dask_tools(client: Client, progress: Progress, device: str) -> Tools:
    """`Tools` that run on this cluster.

    Parameters
    ----------
    device : str
        Device of the workers, from `cluster.device_of`: "cpu", "cuda", or "any" (each worker's own). With "any", block sizes are
        those for GPUs only if all workers have one, and passes in this process use the CPU.
    """
    threads = client.nthreads()
    here, pool = device, None
    if device == ANY_DEVICE:
        found = equipment_of(client)
        for address, has in found.items():
            log.info("worker %s: %s", address, has.name)
        here, pool = "cpu", "cuda" if found and all(has.device == "cuda" for has in found.values()) else "cpu"
    return Tools(
        dask_map(client),
        dask_pool(client, device),
        max(1, len(threads)),
        max(1, min(threads.values(), default=1)),
        here,
        progress,
        pool,
    )

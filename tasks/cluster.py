"""The Dask cluster of a run: local threads, local processes, one process per GPU, or a running scheduler."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from distributed import Client, LocalCluster, Security

from dataprops.errors import DatapropsError
from dataprops.util.tools import cores
from dataprops.util.version import package_version
from tasks.parallel import ANY_DEVICE, another_version

log = logging.getLogger(__name__)

PATIENCE = "20s"  # for the scheduler to answer
STARTS = 5  # attempts: a worker that dies during start-up fails the whole cluster (later, Dask replaces it)
SILENT = 30.0  # seconds without a heartbeat after which a worker is reported; workers send one about every second
KINDS = "local, processes, cuda or an address such as tcp://host:8786"


@contextmanager
def connect(cluster: str, store: Path, workers: int | None = None) -> Iterator[Client]:
    """Open a client of the cluster.

    Parameters
    ----------
    cluster : str
        "local": threads of this process (pixel work releases the GIL; nothing is started or copied). "processes": one process per
        core. "cuda": one process per GPU. "tcp://host:port": a running scheduler, whose workers must see the store under the same
        path; "tls://host:port" with the certificates in Dask's configuration.
    store : Path
        Holds the workers' scratch files; remote workers must be able to read it.
    workers : int, optional
        Threads or processes; default: one per core.

    Raises
    ------
    DatapropsError
        If the cluster is unknown, does not answer, has no workers, or its workers cannot be used.
    """
    count = workers or cores()
    with ExitStack() as opened:
        if cluster == "local":
            # threads that share this process's memory: a machine without a network needs no word about its address
            warnings.filterwarnings("ignore", "Couldn't detect a suitable IP", RuntimeWarning)
            made = LocalCluster(
                n_workers=1, threads_per_worker=count, processes=False, dashboard_address=":0", memory_limit=0
            )
        elif cluster == "processes":
            made = _process_cluster(count, store)
        elif cluster == "cuda":
            made = _cuda_cluster(store)
        elif "://" in cluster:
            made = None
            _check_certificates(cluster)
        else:
            raise DatapropsError(f"unknown cluster {cluster!r}: use {KINDS}")
        if made is not None:
            opened.enter_context(made)
        try:
            client = opened.enter_context(Client(made if made is not None else cluster, timeout=PATIENCE))
        except (OSError, TimeoutError) as error:
            raise DatapropsError(
                f"no Dask scheduler answers at {cluster}: start it (dask scheduler), or use --cluster local"
            ) from error
        if made is None:
            _check_workers(client, cluster, store)
        if cluster != "local":
            opened.enter_context(_silence_told(client))
        yield client


@contextmanager
def _silence_told(client: Client) -> Iterator[None]:
    """Report silent workers while the context lasts: until Dask gives one up, the audit waits for its work."""
    done = threading.Event()
    # in a copy of the context, so that Prefect knows of which run its log is
    listening = partial(copy_context().run, _listen, client, done)
    thread = threading.Thread(target=listening, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(10)


def _listen(client: Client, done: threading.Event) -> None:
    heard: dict[str, tuple[float, float]] = {}  # last heartbeat by the scheduler's clock, and when it was new by ours
    told: set[str] = set()
    while not done.wait(SILENT / 6):
        with suppress(Exception):  # the scheduler is gone: the audit itself says so
            for address, worker in client.scheduler_info(n_workers=-1)["workers"].items():
                last, since = heard.get(address, (None, 0.0))
                if worker["last_seen"] != last:
                    heard[address] = worker["last_seen"], time.monotonic()
                    told.discard(address)
                elif time.monotonic() - since > SILENT and address not in told:
                    told.add(address)
                    # critical: a command shows no less of what a flow logs, and nothing goes on until then
                    log.critical(
                        "worker %s has sent no heartbeat for %.0f s (stopped, or its machine is unreachable): its work is"
                        " repeated elsewhere once Dask gives it up (distributed.scheduler.worker-ttl, 5 minutes by default)",
                        address,
                        SILENT,
                    )


def device_of(cluster: str) -> str:
    """Device on which this cluster's workers compute: "cpu", "cuda", or `ANY_DEVICE` (each worker's own) for a running scheduler."""
    if "://" in cluster:
        return ANY_DEVICE
    return "cuda" if cluster == "cuda" and _cuda_is_there() else "cpu"


def _cuda_is_there() -> bool:
    import torch

    return torch.cuda.is_available()


def _process_cluster(count: int, store: Path, starts: int = STARTS) -> LocalCluster:
    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            local_directory=str(store / "work"),
        )
    except RuntimeError as error:
        if starts == 1:
            raise DatapropsError(
                f"the {count} worker processes failed to start {STARTS} times ({error}): if memory is short, use fewer with"
                " --workers, or --cluster local, which needs none"
            ) from error
        log.warning("a worker process did not start (%s): restarting all", error)
    return _process_cluster(count, store, starts - 1)


def _cuda_cluster(store: Path) -> LocalCluster:
    if not _cuda_is_there():
        log.warning("no CUDA device available: using CPU workers")
        return LocalCluster(
            n_workers=1, threads_per_worker=cores(), processes=False, dashboard_address=":0", memory_limit=0
        )
    try:
        from dask_cuda import LocalCUDACluster  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DatapropsError("--cluster cuda needs dask-cuda: pip install 'dataprops[gpu]'") from error
    import torch

    # decoding uses all cores of the host; a pass uses one GPU per worker
    threads = max(1, cores() // torch.cuda.device_count())
    return LocalCUDACluster(threads_per_worker=threads, dashboard_address=":0", local_directory=str(store / "work"))


def _check_certificates(cluster: str) -> None:
    """Refuse a TLS address if Dask's configuration names no client certificates."""
    if not cluster.startswith("tls://"):
        return
    held = Security().get_connection_args("client").get("ssl_context")
    if held is None:
        raise DatapropsError(
            f"{cluster} needs certificates: set them in Dask's configuration (distributed.comm.tls.ca-file, client.cert,"
            " client.key; deployments/clusters.md), or in the environment (DASK_DISTRIBUTED__COMM__TLS__CA_FILE etc.)"
        )


def _check_workers(client: Client, cluster: str, store: Path) -> None:
    try:
        client.wait_for_workers(1, timeout=30)
    except TimeoutError as error:
        raise DatapropsError(
            f"the scheduler at {cluster} has no workers: start some (dask worker {cluster})"
        ) from error
    own = package_version()
    found = client.run(_look(str(store / "version.json")))
    others = {address: version for address, (version, _) in found.items() if version != own}
    if others:
        address, version = next(iter(others.items()))
        raise DatapropsError(another_version(f"{len(others)} workers of {cluster} run", f"{version} at {address}", own))
    blind = [address for address, (_, sees) in found.items() if not sees]
    if blind:
        raise DatapropsError(
            f"{len(blind)} workers of {cluster} do not see the store {store} (first: {blind[0]}): put it on a file system that"
            " all workers mount under the same path"
        )


def _look(marker: str) -> Callable[[], tuple[str, bool]]:
    """A function to run on a worker: its package version, and whether it sees a file.

    The inner function is pickled by value, so it also runs on workers without this package or with another version.
    """

    def look() -> tuple[str, bool]:
        from importlib.metadata import PackageNotFoundError, version
        from importlib.util import find_spec
        from pathlib import Path

        if find_spec("dataprops") is None:
            return "none", False
        try:
            return version("dataprops"), Path(marker).is_file()
        except PackageNotFoundError:  # as `package_version` has it
            return "unknown", Path(marker).is_file()

    return look

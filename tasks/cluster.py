"""The Dask cluster of a run: local threads, local processes, one process for each GPU, or one that is already there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Client, LocalCluster, Security

from dataprops.errors import DatapropsError
from dataprops.util.tools import cores
from dataprops.util.version import package_version
from tasks.parallel import ANY_DEVICE, another_version

log = logging.getLogger(__name__)

PATIENCE = "20s"  # for a scheduler to answer
STARTS = 5  # a worker that dies while it starts takes its cluster with it; one that dies later is replaced by Dask
KINDS = "local, processes, cuda or an address such as tcp://host:8786"


@contextmanager
def connect(cluster: str, store: Path, workers: int | None = None) -> Iterator[Client]:
    """A client of the cluster.

    Parameters
    ----------
    cluster : str
        "local": threads of this process - the pixel work releases the interpreter's lock, and nothing is started or copied.
        "processes": one process for each core. "cuda": one process for each GPU. "tcp://host:port": a running scheduler,
        whose workers must see the store under the same path; "tls://host:port" with the certificates of Dask's configuration.
    store : Path
        For the workers' scratch files, and the check that they see it.
    workers : int, optional
        Threads or processes; default: the cores.

    Raises
    ------
    DatapropsError
        If the cluster cannot be had.
    """
    count = workers or cores()
    with ExitStack() as opened:
        if cluster == "local":
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
        yield client


def device_of(cluster: str) -> str:
    """Where the workers of this kind of cluster compute products: workers of a running scheduler on what each of them has."""
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
                f"the {count} worker processes did not start ({error}), {STARTS} times: is there memory for them?"
                " use fewer with --workers; --cluster local needs none"
            ) from error
        log.warning("a worker process did not start (%s): all are started again", error)
    return _process_cluster(count, store, starts - 1)


def _cuda_cluster(store: Path) -> LocalCluster:
    if not _cuda_is_there():
        log.warning("no CUDA device is available here: CPU workers are used")
        return LocalCluster(
            n_workers=1, threads_per_worker=cores(), processes=False, dashboard_address=":0", memory_limit=0
        )
    try:
        from dask_cuda import LocalCUDACluster  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise DatapropsError("--cluster cuda needs dask-cuda: pip install 'dataprops[gpu]'") from error
    import torch

    # files are decoded on all cores of the host, while a pass has one GPU for each worker
    threads = max(1, cores() // torch.cuda.device_count())
    return LocalCUDACluster(threads_per_worker=threads, dashboard_address=":0", local_directory=str(store / "work"))


def _check_certificates(cluster: str) -> None:
    """Refuse an encrypted address where Dask's configuration names no certificates of a client."""
    if not cluster.startswith("tls://"):
        return
    held = Security().get_connection_args("client").get("ssl_context")
    if held is None:
        raise DatapropsError(
            f"{cluster} needs certificates: name them in Dask's configuration (distributed.comm.tls.ca-file, client.cert,"
            " client.key; deployments/clusters.md), or DASK_DISTRIBUTED__COMM__TLS__CA_FILE and so on in the environment"
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
            " all workers share, under the same path"
        )


def _look(marker: str) -> Callable[[], tuple[str, bool]]:
    """What a worker is asked: its version of this package, and whether it sees a file. A function inside travels as code: a worker
    that has no such package, or another, answers too.
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

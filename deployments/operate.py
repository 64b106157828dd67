"""Processes that stay: `serve` (everything for one machine) and `watch` (the watcher alone, beside workers elsewhere)."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from dataprops.errors import DatapropsError
from deployments.datasets import Dataset, Operations
from deployments.deploy import operation_for, tags_of
from deployments.watcher import Watcher
from flows.operation import hand_back, revive, sweep
from tasks.events import send_events

log = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0


def chosen(operations: Operations, names: Sequence[str]) -> list[Dataset]:
    """The datasets with these names; all if none is given.

    Raises
    ------
    DatapropsError
        If there is no such dataset.
    """
    known = {dataset.name: dataset for dataset in operations.datasets}
    for name in names:
        if name not in known:
            raise DatapropsError(f"the file has no dataset {name!r}: there are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


@contextmanager
def watching(operations: Operations, datasets: Sequence[Dataset]) -> Iterator[list[Watcher]]:
    """Watch the datasets that want it, and bring lost news on its way again, in threads, while the context lasts."""
    watchers = [Watcher(dataset, operations.store, send_events) for dataset in datasets if dataset.watch]
    stop = threading.Event()
    threads = [threading.Thread(target=w.run, name=f"watch {w.dataset.name}", daemon=True) for w in watchers]
    threads.append(threading.Thread(target=_sweep_on, args=(operations, datasets, stop), name="sweep", daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield watchers
    finally:
        stop.set()
        for watcher in watchers:
            watcher.stop.set()
        for thread in threads:
            thread.join(10)


def _sweep_on(operations: Operations, datasets: Sequence[Dataset], stop: threading.Event) -> None:
    while not stop.wait(SWEEP_SECONDS):
        for dataset in datasets:
            try:
                sweep(operations.store, dataset.name, operation_for(operations, dataset))
            except Exception as error:  # noqa: BLE001 - the server may restart; the news waits in the outbox
                log.warning("news of %s waits: %s", dataset.name, error)
        try:
            revive(tags_of(operations))
        except Exception as error:  # noqa: BLE001
            log.warning("runs that never started were not looked for: %s", error)


def run_worker(pool: str) -> None:
    """Run what is due, in processes of this machine, until SIGINT or SIGTERM. What is cut short then runs again at the next start."""
    from prefect.workers.process import ProcessWorker

    cut_short: set[UUID] = set()

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        worker = ProcessWorker(work_pool_name=pool, create_pool_if_not_found=False)
        inner = worker.run

        async def noted(flow_run: Any, *args: Any, **options: Any) -> Any:
            cut_short.add(flow_run.id)
            result = await inner(flow_run, *args, **options)
            cut_short.discard(flow_run.id)
            return result

        worker.run = noted
        try:
            await worker.start(printer=lambda *words: log.info(*words))
        except asyncio.CancelledError:
            log.info("stopping")

    asyncio.run(work())
    for run in cut_short:
        try:
            hand_back(run, "its worker was stopped")
        except Exception as error:  # noqa: BLE001 - the server may be stopping too
            log.warning("run %s is left as it is: %s", run, error)


def wait_for_signal() -> None:
    """Until SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1.0):
        pass

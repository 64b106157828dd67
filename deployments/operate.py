"""Long-running processes: `serve` (everything on one machine) and `watch` (only the watcher, with workers elsewhere)."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from dataprops.errors import DatapropsError
from dataprops.util.memory import give_back
from deployments.datasets import DatasetEntry, Operations
from deployments.deploy import operation_for, tags_of
from deployments.schedules import plan_anew
from deployments.watcher import Watcher
from flows.notifications import Tries, notice, pass_on
from flows.recovery import LOOKS, Suspects, hand_back, recover
from tasks.events import OPERATING, STOPPED, operator_event, send_events

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0  # interval of checks for lost runs and undelivered notifications
SAY_SECONDS = 30.0  # heartbeat interval; `automations.SILENT` is ten times this


def chosen(operations: Operations, names: Sequence[str]) -> list[DatasetEntry]:
    """The datasets with these names; all if none is given.

    Raises
    ------
    DatapropsError
        If there is no such dataset.
    """
    known = {dataset.name: dataset for dataset in operations.datasets}
    for name in names:
        if name not in known:
            raise DatapropsError(f"the file has no dataset {name!r}: its datasets are {', '.join(known)}")
    return [known[name] for name in names] if names else list(known.values())


@contextmanager
def watching(operations: Operations, datasets: Sequence[DatasetEntry]) -> Iterator[list[Watcher]]:
    """Watch datasets and supervise audits in background threads while the context lasts."""
    watchers = [Watcher(dataset, operations.store, send_events) for dataset in datasets if dataset.watch]
    stop = threading.Event()
    threads = [threading.Thread(target=w.run, name=f"watch {w.dataset.name}", daemon=True) for w in watchers]
    for keep_on in (_look_after_on, _say_on):
        threads.append(threading.Thread(target=keep_on, args=(operations, stop), name=keep_on.__name__, daemon=True))
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


def _look_after_on(operations: Operations, stop: threading.Event) -> None:
    tried: Tries = {}
    suspects: Suspects = {}
    gc.freeze()  # the modules: each look collects cycles, and need not go through these
    while not stop.is_set():
        _try("the server does not answer", _look, operations, tried, suspects)
        give_back()
        stop.wait(LOOK_SECONDS)


def _look(operations: Operations, tried: Tries, suspects: Suspects) -> None:
    with one_client():
        look_after(operations, tried, suspects)


@contextmanager
def one_client() -> Iterator[None]:
    """One client for all requests of a look, which asks several times for each dataset.

    A client of its own for each request takes 25 ms of CPU time instead of 1, and leaves its memory in reference cycles.
    """
    from prefect.context import SyncClientContext

    with SyncClientContext.get_or_create():
        yield


def _say_on(operations: Operations, stop: threading.Event) -> None:
    """Send heartbeats of this process; in a separate thread, since a channel may be slow."""

    def say(what: str) -> None:
        _try(f"the server rejected {what}", send_events, [operator_event(what, operations.project)])

    while not stop.is_set():
        say(OPERATING)
        stop.wait(SAY_SECONDS)
    say(STOPPED)


def look_after_once(operations: Operations) -> None:
    """`look_after`, repeated while runs seem silent, for at most a minute."""
    tried: Tries = {}
    suspects: Suspects = {}
    look_after(operations, tried, suspects)
    for _ in range(LOOKS):
        if not suspects:
            return
        time.sleep(LOOK_SECONDS)
        look_after(operations, tried, suspects)


def look_after(operations: Operations, tried: Tries, suspects: Suspects) -> None:
    """Recover lost runs and stalled schedules, report late and dead audits, resend undelivered notifications, once.

    The steps are independent; one that fails (server restarting, channel down) is repeated at the next call.
    """
    tags = tags_of(operations)
    _try("the check for lost runs failed", recover, tags, suspects)
    _try("the check of schedules failed", plan_anew, tags)
    for dataset in operations.datasets:
        place = (operations.store, dataset.name)
        how = operation_for(operations, dataset)
        _try(f"the check for late audits of {dataset.name} failed", notice, *place, dataset.late, how)
        _try(f"notifications of {dataset.name} are delayed", partial(pass_on, again=True, tried=tried), *place, how)


def _try(otherwise: str, function: Callable[..., Any], *arguments: Any) -> None:
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 - must survive a restart of the server
        log.warning("%s: %s", otherwise, error)


def run_worker(pool: str) -> None:
    """Run due runs in processes on this machine until SIGINT or SIGTERM; interrupted runs are rescheduled."""
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
            log.warning("run %s could not be rescheduled: %s", run, error)


def wait_for_signal() -> None:
    """Wait for SIGINT or SIGTERM."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    while not stop.wait(1.0):
        pass

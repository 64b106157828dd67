"""A helper process for work that can run in parallel with this process, free of its GIL.

An audit starts it first (`start`), since its imports, above all Great Expectations, take longer than everything else in a small audit.
A job is a function given by module and name, with picklable arguments (`submit`); jobs run one after another, for all audits of this
process. The helper exits with this process, or after `IDLE` seconds without work.

If there is no helper (no POSIX pipes, it was killed, or its imports are already loaded here), a job runs in this process when its
result is requested: slower, with the same result.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe
from typing import Any, NamedTuple

from dataprops.util.garbage import collect_seldom

log = logging.getLogger(__name__)

FIRST = "great_expectations"  # imported by the helper when it starts
IDLE = 300.0  # seconds
# library threads would compete with those of the audit for cores, and take three times as long
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# the helper uses this process's module search path, whatever its working directory
COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dataprops.util.helper import serve; "
    "serve(int(sys.argv[2]))"
)


class Failed(NamedTuple):
    """Reply of a job that raised an exception, with the reason."""

    reason: str


class Lost(Exception):
    """The helper exited before it replied."""


class _Child:
    """The running helper and the process that owns it; a forked child must not use it."""

    def __init__(self, process: subprocess.Popen, pipe: Connection) -> None:
        self.process, self.pipe, self.parent = process, pipe, os.getpid()
        self.first: list[Future] = []
        self._asked: deque[Future] = deque()
        self._ended, self._lock = False, threading.Lock()
        # replies are always read, as a helper blocked on sending a large one would not take the next job
        threading.Thread(target=self._listen, name="answers of the helper", daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError, EOFError, ValueError):
            while True:
                answer = self.pipe.recv()
                self._asked.popleft().set_result(answer)
        with self._lock:
            self._ended = True
            while self._asked:
                self._asked.popleft().set_exception(Lost())

    def send(self, job: tuple[str, str, tuple]) -> Future:
        """Send a job; raises OSError if the helper has exited."""
        answer: Future = Future()
        with self._lock:
            if self._ended:
                raise OSError("it has ended")
            self._asked.append(answer)
        self.pipe.send(job)
        return answer

    @property
    def idle(self) -> bool:
        """Whether all jobs have been answered."""
        return not self._asked

    @property
    def alive(self) -> bool:
        """Whether it is running and owned by this process."""
        return self.parent == os.getpid() and self.process.poll() is None


class Job:
    """A job sent to the helper, or run in this process when its result is requested."""

    def __init__(self, module: str, function: str, arguments: tuple, answer: Future | None) -> None:
        self._work, self._answer = (module, function, arguments), answer

    def result(self) -> Any:
        """The function's return value; raises its exceptions."""
        module, function, arguments = self._work
        if self._answer is not None:
            try:
                answer = self._answer.result()
            except Lost:
                log.info("the helper exited: %s runs in this process", function)
                forget()
            else:
                if not isinstance(answer, Failed):
                    return answer
                log.warning("%s failed in the helper and is run again in this process: %s", function, answer.reason)
        return getattr(import_module(module), function)(*arguments)


_lock = threading.Lock()
_child: _Child | None = None


def start(first: Sequence[tuple[str, str]] = ()) -> list[Job]:
    """Start the helper unless it is running or this process has already imported `FIRST`; returns immediately.

    Parameters
    ----------
    first : sequence of (module, function)
        Jobs to run before importing `FIRST`; returned if the helper was started.
    """
    if not _lock.acquire(blocking=False):  # in use by another thread, so it exists
        return []
    try:
        if _running() is not None or (child := _started(first)) is None:
            return []
        return [Job(*work, (), answer) for work, answer in zip(first, child.first, strict=True)]
    finally:
        _lock.release()


def submit(module: str, function: str, *arguments: Any, begin: bool = False, queue: bool = True) -> Job:
    """Submit ``module.function(*arguments)``; returns immediately if the helper is idle or the arguments are small.

    Parameters
    ----------
    begin : bool
        Start the helper if it is not running.
    queue : bool
        Submit the job even if the helper is busy; otherwise it then runs in this process.
    """
    with _lock:
        child = _started() if begin else _running()
        if child is not None and (queue or child.idle):
            try:
                return Job(module, function, arguments, child.send((module, function, arguments)))
            except OSError as error:
                log.info("the helper exited (%r): %s runs in this process", error, function)
                _forget()
    return Job(module, function, arguments, None)


def imports(*modules: str) -> None:
    """Let the helper, if running, import modules that later jobs use."""
    submit("dataprops.util.imports", "import_all", modules)


def stop() -> None:
    """Let the helper finish its jobs and exit, and wait for it."""
    with _lock:
        child = _running()
        _forget()
    if child is not None:
        with suppress(OSError):
            child.pipe.send(None)
        child.process.wait()


def forget() -> None:
    """Stop using the helper."""
    with _lock:
        _forget()


def _forget() -> None:
    global _child
    _child = None


def _running() -> _Child | None:
    return _child if _child is not None and _child.alive else None


def _started(first: Sequence[tuple[str, str]] = ()) -> _Child | None:
    """The helper, started if necessary; None if jobs run in this process. The caller holds the lock."""
    global _child
    if (child := _running()) is not None:
        return child
    _child = None
    if FIRST in sys.modules or os.name != "posix":
        return None
    ours, theirs = Pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, json.dumps(sys.path), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    except OSError as error:  # e.g. out of memory
        log.info("the audit gets no helper (%s): all its work is done in this process", error)
        ours.close()
        return None
    finally:
        theirs.close()
    _child = _Child(process, ours)
    atexit.register(_end, _child)
    try:
        _child.first = [_child.send((*work, ())) for work in first]
        _child.send(("dataprops.util.imports", "import_alone", (FIRST,)))
    except OSError as error:  # it exited immediately
        log.info("the audit gets no helper (%s): all its work is done in this process", error)
        _child = None
    return _child


def _end(child: _Child) -> None:
    """Kill the helper at exit, even in the middle of its imports."""
    if child.parent == os.getpid():
        child.process.kill()


def serve(descriptor: int) -> None:
    """Main loop of the helper: reply on this pipe until the other end closes or it is idle."""
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the audit, and this process exits with it
    with Connection(descriptor) as pipe:
        while pipe.poll(IDLE):
            try:
                job = pipe.recv()
            except EOFError:
                return
            if job is None:
                return
            module, function, arguments = job
            try:
                answer = getattr(import_module(module), function)(*arguments)
            except Exception as error:  # noqa: BLE001 - the caller runs the job itself and raises its error
                answer = Failed(repr(error))
            try:
                pipe.send(answer)
            except BrokenPipeError:  # the audit has exited
                return

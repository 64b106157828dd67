"""A second process beside this one, for work that can be done beside other work: Python's threads take turns, processes do not.

An audit starts it first (`start`), since what it imports - Great Expectations above all - takes longer than everything else that a
small audit does. Work is a function of a module, by their names, with arguments that can be pickled (`submit`); one process does one
job after the other, for all audits of this one. It ends with this process, or after `IDLE` seconds without work.

Where it cannot be had - no POSIX pipes, it was killed, what it imports is imported here already - the work is done in this process
when its result is asked for: slower, with the same result.
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

FIRST = "great_expectations"  # imported by the process when it starts
IDLE = 300.0  # seconds
# beside the threads of the audit, those of a library wait for each other on cores that they do not get: three times the time
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
# the process finds modules where this one does, whatever the folder it is started in
COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dataprops.util.helper import serve; "
    "serve(int(sys.argv[2]))"
)


class Failed(NamedTuple):
    """The answer of a job that raised: what, in words."""

    reason: str


class Lost(Exception):
    """The process ended before it answered."""


class _Child:
    """The running process, and the parent that may use it: after a fork it belongs to neither child."""

    def __init__(self, process: subprocess.Popen, pipe: Connection) -> None:
        self.process, self.pipe, self.parent = process, pipe, os.getpid()
        self.first: list[Future] = []
        self._asked: deque[Future] = deque()
        self._ended, self._lock = False, threading.Lock()
        # always listening: a process that waits to hand over a large answer would not take the next job
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
        """Hand a job over; raises OSError where there is nobody to take it."""
        answer: Future = Future()
        with self._lock:
            if self._ended:
                raise OSError("it has ended")
            self._asked.append(answer)
        self.pipe.send(job)
        return answer

    @property
    def idle(self) -> bool:
        """Whether it has answered everything."""
        return not self._asked

    @property
    def alive(self) -> bool:
        """Whether it runs, and is this process's own."""
        return self.parent == os.getpid() and self.process.poll() is None


class Job:
    """Work that was handed over, or is done here when its result is asked for."""

    def __init__(self, module: str, function: str, arguments: tuple, answer: Future | None) -> None:
        self._work, self._answer = (module, function, arguments), answer

    def result(self) -> Any:
        """What the function returns; raises what it raises."""
        module, function, arguments = self._work
        if self._answer is not None:
            try:
                answer = self._answer.result()
            except Lost:
                log.info("the helper ended: %s runs in this process", function)
                forget()
            else:
                if not isinstance(answer, Failed):
                    return answer
                log.warning("%s is run again in this process; its own said: %s", function, answer.reason)
        return getattr(import_module(module), function)(*arguments)


_lock = threading.Lock()
_child: _Child | None = None


def start(first: Sequence[tuple[str, str]] = ()) -> list[Job]:
    """Start the process, if there is none and this one has not imported what it is started for; returns at once.

    Parameters
    ----------
    first : sequence of (module, function)
        What it does before it imports `FIRST`; the jobs are returned if it was started for them.
    """
    if not _lock.acquire(blocking=False):  # another thread uses it: it is there
        return []
    try:
        if _running() is not None or (child := _started(first)) is None:
            return []
        return [Job(*work, (), answer) for work, answer in zip(first, child.first, strict=True)]
    finally:
        _lock.release()


def submit(module: str, function: str, *arguments: Any, begin: bool = False, queue: bool = True) -> Job:
    """Hand over ``module.function(*arguments)``; returns at once where the process is free, or the arguments are few.

    Parameters
    ----------
    begin : bool
        Start the process if there is none.
    queue : bool
        Hand it over even if the process is at work; otherwise it is then done here.
    """
    with _lock:
        child = _started() if begin else _running()
        if child is not None and (queue or child.idle):
            try:
                return Job(module, function, arguments, child.send((module, function, arguments)))
            except OSError as error:
                log.info("the helper ended (%r): %s runs in this process", error, function)
                _forget()
    return Job(module, function, arguments, None)


def imports(*modules: str) -> None:
    """Have the process import modules that later jobs use, where there is one."""
    submit("dataprops.util.imports", "import_all", modules)


def stop() -> None:
    """End the process when it has done what it was asked for, and wait for that."""
    with _lock:
        child = _running()
        _forget()
    if child is not None:
        with suppress(OSError):
            child.pipe.send(None)
        child.process.wait()


def forget() -> None:
    """Stop using the process."""
    with _lock:
        _forget()


def _forget() -> None:
    global _child
    _child = None


def _running() -> _Child | None:
    return _child if _child is not None and _child.alive else None


def _started(first: Sequence[tuple[str, str]] = ()) -> _Child | None:
    """The process, started if need be; None where this one does the work itself. The caller holds the lock."""
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
    except OSError as error:  # no memory for it, say
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
    except OSError as error:  # it ended at once
        log.info("the audit gets no helper (%s): all its work is done in this process", error)
        _child = None
    return _child


def _end(child: _Child) -> None:
    """End a child with its parent, even in the middle of its imports."""
    if child.parent == os.getpid():
        child.process.kill()


def serve(descriptor: int) -> None:
    """Main loop of the process: answer on this pipe until its other end closes or it is idle."""
    collect_seldom()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the audit, whose end this process sees
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
            except Exception as error:  # noqa: BLE001 - the asking process tries itself, and raises what it then meets
                answer = Failed(repr(error))
            try:
                pipe.send(answer)
            except BrokenPipeError:  # the audit ended meanwhile
                return

"""Great Expectations in a process of its own.

Importing it takes longer than everything else that a small audit does, and a second core is idle meanwhile: so an audit
starts this process first (`start`), and asks it for its verdicts when the numbers are there (`validate`). One process serves
all audits of this one, one after the other; it ends with this process, or after `IDLE` seconds without work.

Where it cannot be started - no POSIX pipes, it was killed, Great Expectations is imported here already - the checks run in
this process: slower, with the same verdicts.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # what is imported here delays the process
    import pandas as pd

    from dataprops.checks.expectations import Structural, Verdicts
    from dataprops.checks.thresholds import Check

log = logging.getLogger(__name__)

IDLE = 300.0  # seconds
# the child finds modules where this process does, whatever the folder it is started in
COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dataprops.checks.validator import serve; "
    "serve(int(sys.argv[2]))"
)


class _Child(NamedTuple):
    """The running process, and the parent that may use it: after a fork it belongs to neither child."""

    process: subprocess.Popen
    pipe: Connection
    parent: int


_lock = threading.Lock()
_child: _Child | None = None


def start() -> None:
    """Start the process, if there is none and this one has not imported Great Expectations; returns at once."""
    if _lock.acquire(blocking=False):  # else another thread uses it: it is there
        try:
            _started()
        finally:
            _lock.release()


def validate(
    frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural], docs: Path | None
) -> Verdicts:
    """As `expectations.validate`, in the process of its own where there is one."""
    global _child
    from dataprops.checks import expectations

    with _lock:
        child = _started()
        if child is not None:
            try:
                child.pipe.send((dict(frames), tuple(checks), tuple(rules), docs))
                verdicts = child.pipe.recv()
                if isinstance(verdicts, expectations.Verdicts):
                    return verdicts
                log.warning("the checks are run again in this process; their own said: %s", verdicts)
            except (OSError, EOFError) as error:
                log.info("the process of the checks ended (%r): they run in this one", error)
                _child = None
    return expectations.validate(frames, checks, rules, docs)


def _started() -> _Child | None:
    """The process, started if need be; None where this one does the work itself. The caller holds the lock."""
    global _child
    if _child is not None and _child.parent == os.getpid() and _child.process.poll() is None:
        return _child
    _child = None
    if "great_expectations" in sys.modules or os.name != "posix":
        return None
    ours, theirs = Pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, json.dumps(sys.path), str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    except OSError as error:  # no memory for it, say
        log.info("the checks get no process of their own (%s): they run in this one", error)
        ours.close()
        return None
    finally:
        theirs.close()
    _child = _Child(process, ours, os.getpid())
    atexit.register(_end, _child)
    return _child


def _end(child: _Child) -> None:
    """End a child with its parent, even in the middle of its imports."""
    if child.parent == os.getpid():
        child.process.kill()


def serve(descriptor: int) -> None:
    """Answer on this pipe until its other end is closed or nobody asks; what the child process runs."""
    import signal
    import warnings

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the audit, whose end this process sees
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations  # noqa: F401

        from dataprops.checks import expectations
    with Connection(descriptor) as pipe:
        while pipe.poll(IDLE):
            try:
                job = pipe.recv()
            except EOFError:
                return
            try:
                answer: Verdicts | str = expectations.validate(*job)
            except Exception as error:  # noqa: BLE001 - the asking process tries itself, and raises what it then meets
                answer = repr(error)
            pipe.send(answer)

"""Guard around third-party code that processes untrusted files.

Decoders raise arbitrary exceptions: `struct.error`, `TokenError`, `RecursionError`, and those written in Rust a `PanicException`,
which is not even an `Exception`. One such file must not abort an audit of a million. The guard converts every exception to the error
its caller handles, except those unrelated to the file: interrupts, an orchestrator's signal, and exhausted resources (`MachineError`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import struct
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dataprops.errors import MachineError
from dataprops.util.budget import OVER, OverBudget

log = logging.getLogger(__name__)

STOPS = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, MachineError)
OUT_OF = {errno.EMFILE: "out of file handles", errno.ENFILE: "out of file handles"}
NO_MEMORY = f"{OVER} there is"
# What an exception of others says of a file, the special before the general
KINDS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    ((RecursionError,), "its parts are nested too deeply"),
    ((NotImplementedError,), "it uses a part of its format that is not supported"),
    ((EOFError, struct.error), "it ends too early"),
    ((OverflowError,), "a number in it is far too large"),
    ((UnicodeError,), "a text in it is not in the encoding that it claims"),
    ((zlib.error,), "its compressed part is damaged"),
    ((LookupError, AttributeError), "a part that its format demands is missing"),
    ((ValueError, TypeError, ArithmeticError), "a value in it is not what its format allows"),
)
OTHERWISE = "it does not follow its format"
_CLASS = re.compile(r"\b[A-Z]\w+(?:Error|Exception)\b")


def is_stop(error: BaseException) -> bool:
    """Whether an exception is a request to stop rather than a data error."""
    return isinstance(error, STOPS) or any(kind.__module__.startswith("prefect.") for kind in type(error).__mro__)


def let_through(error: BaseException) -> None:
    """Re-raise exceptions that no guard may swallow.

    Raises
    ------
    MachineError
        If the process is out of file handles, so that the next file would fail as well.
    """
    if is_stop(error):
        raise error
    if isinstance(error, OSError) and error.errno in OUT_OF:
        raise MachineError(
            f"the process is {OUT_OF[error.errno]}: raise the limit (ulimit -n), or use fewer --workers"
        ) from error


def reason_of(error: BaseException) -> str:
    """Reason in one line: the operating system's message, else a phrase for the kind of error; other messages may quote the file.

    >>> reason_of(FileNotFoundError(2, "No such file or directory")), reason_of(ValueError("Doe, John"))
    ('No such file or directory', 'a value in it is not what its format allows')
    """
    if isinstance(error, MemoryError):
        return str(error) if isinstance(error, OverBudget) else NO_MEMORY
    if words := getattr(error, "strerror", None):
        return str(words).partition("\n")[0]
    return next((words for kinds, words in KINDS if isinstance(error, kinds)), OTHERWISE)


def said(error: BaseException) -> str:
    """What a library that quotes no file says of one, in one line; where that is nothing, or speaks of classes: `reason_of`.

    >>> said(ValueError("cut short")), said(ValueError("thrift: TProtocolException: Invalid data")), said(EOFError())
    ('cut short', 'a value in it is not what its format allows', 'it ends too early')
    """
    told = str(getattr(error, "strerror", None) or error).strip().partition("\n")[0]
    return reason_of(error) if not told or _CLASS.search(told) else told


@contextmanager
def guarded(
    failure: Callable[[BaseException], BaseException], *, passing: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Convert any exception of the body to one error type.

    Parameters
    ----------
    failure : callable
        failure(error) -> the error to raise instead; see `reason_of`.
    passing : tuple of exception types
        Exceptions to re-raise unchanged.

    Raises
    ------
    BaseException
        The result of `failure`, those of `passing`, and those raised by `let_through`.
    """
    try:
        yield
    except BaseException as error:
        let_through(error)
        if isinstance(error, passing):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        log.debug("%s at %s:%s was converted", type(error).__name__, where.filename, where.lineno)
        raise failure(error) from None

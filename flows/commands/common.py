"""Shared by the commands: error handling, exit codes, and output as JSON or for a terminal.

Exit codes: 0 done; 1 an alert at or above --fail-on, and nothing else; 2 usage error or unusable input; 3 system error or
unexpected error; 130 interrupted. Every error is one line; for code 3 the traceback goes to a file (``STORE/errors/``, or the
temporary directory if the store is not writable).
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from dataprops.errors import DatapropsError, MachineError

if TYPE_CHECKING:
    from rich.console import Console


def at_the_edge(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: report an error in one line and exit with its code; see the module."""

    @wraps(function)
    def command(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except BaseException as error:  # noqa: BLE001 - the edge: no error may exit with an alert's code
            leave(error, options.get("store"))

    return command


UNUSABLE, REFUSED, INTERRUPTED, PIPE_CLOSED = 2, 3, 130, 141
UNAUTHORIZED = 401
# errno -> cause and remedy
REFUSALS = {
    errno.ENOSPC: "the disk is full: free some space (check df and df -i), or choose a --store on another disk",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose a --store on another disk",
    errno.EROFS: "the file system is read-only: choose a writable --store",
    errno.EIO: "input/output error, the disk may be failing (see dmesg): choose a --store on another disk",
    errno.ESTALE: "stale network file handle: remount the file system, or choose another --store",
    errno.EACCES: "permission denied: choose a --store you can write to",
    errno.EPERM: "permission denied: choose a --store you can write to",
    errno.EMFILE: "too many open files in this process: raise the limit (ulimit -n), or use fewer --workers",
    errno.ENFILE: "too many open files on this machine: close other programs, or raise the system limit",
    errno.ENOMEM: "out of memory: lower --memory, --workers or --size",
}


def leave(error: BaseException, store: str | None = None) -> NoReturn:
    """Report an error in one line, and exit.

    Raises
    ------
    SystemExit
        With 2 for a caller's error, 3 for a system or unexpected error.
    """
    if isinstance(error, SystemExit | click.ClickException | click.exceptions.Exit):
        raise error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        click.echo("dataprops: interrupted", err=True)
        sys.exit(INTERRUPTED)
    if isinstance(error, BrokenPipeError):  # the reader of the output is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(PIPE_CLOSED)
    from dataprops.util.redact import redacted

    if isinstance(error, DatapropsError) and not isinstance(error, MachineError):
        click.echo(f"dataprops: {redacted(str(error))}", err=True)
        sys.exit(UNUSABLE)
    told = redacted(str(error) if isinstance(error, MachineError) else _refusal(error, store))
    place = _write_traceback(error, store)
    click.echo(f"dataprops: {told} (traceback: {place or 'could not be written'})", err=True)
    sys.exit(REFUSED)


def _refusal(error: BaseException, store: str | None) -> str:
    """Cause and remedy of an error, in one line."""
    told = _known_refusal(error, store)
    other = _other_full_disk(store) if told == REFUSALS[errno.ENOSPC] else None
    return f"the disk of {other} is full: free some space (check df and df -i)" if other else told


def _other_full_disk(store: str | None) -> str | None:
    """A folder that the environment names and whose disk is full while the store's is not: another store would be no remedy."""
    from dataprops.util.files import is_full

    if store is not None and is_full(Path(store).expanduser()):
        return None
    named = (os.environ.get(name) for name in ("PREFECT_HOME", "NUMBA_CACHE_DIR", "TMPDIR"))
    return next((folder for folder in named if folder and is_full(_existing(Path(folder).expanduser()))), None)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next((place for place in (folder, *folder.parents) if place.is_dir()), folder)


def _known_refusal(error: BaseException, store: str | None) -> str:
    from dataprops.util.files import is_full

    if store is not None and Path(store).expanduser().parent.is_dir() and not _is_store(store):
        return (
            f"the store {store} disappeared (removed or unmounted while in use): restore it, or choose another --store"
        )
    if isinstance(error, MemoryError):
        return REFUSALS[errno.ENOMEM]
    for known in _chain(error):
        if type(known).__name__ == "SSLCertVerificationError":  # its errno is that of a denied permission
            return f"{known}: set PREFECT_API_SSL_CERT_FILE to the certificate of the server at PREFECT_API_URL"
        if getattr(getattr(known, "response", None), "status_code", None) == UNAUTHORIZED:
            return "the Prefect server refused the login: set PREFECT_API_AUTH_STRING (user:password)"
    for known in _chain(error):
        if (code := getattr(known, "sqlite_errorcode", 0) & 0xFF) in SQLITE_REFUSALS:
            return REFUSALS[SQLITE_REFUSALS[code]]
    refused = next((known for known in _chain(error) if isinstance(known, OSError) and known.errno in REFUSALS), None)
    if refused is not None and refused.errno is not None:
        return f"{refused.filename}: {REFUSALS[refused.errno]}" if refused.filename else REFUSALS[refused.errno]
    if store is not None and is_full(Path(store).expanduser()):  # a server reports that it failed, not why
        return REFUSALS[errno.ENOSPC]
    if address_limit() is not None and any(isinstance(known, ImportError | OSError) for known in _chain(error)):
        return NO_ADDRESSES  # loaders word this failure in many ways
    words = " ".join(str(error).split())
    shown = words if len(words) <= LONGEST else f"{words[:LONGEST]}..."
    return f"unexpected {type(error).__name__}: {shown}; try again, and if it recurs report it with the traceback"


def address_limit() -> int | None:
    """Limit of the process's address space (``ulimit -v``), bytes; None without a limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def refuse_few_addresses() -> None:
    """Refuse an address-space limit too small to load the libraries: OpenBLAS would exit with the code of an alert, or retry its
    allocation forever.

    Raises
    ------
    MachineError
        If the limit is below `LEAST_ADDRESSES`.
    """
    limit = address_limit()
    if limit is not None and limit < LEAST_ADDRESSES:
        raise MachineError(NO_ADDRESSES)


LEAST_ADDRESSES = 2**32
NO_ADDRESSES = (
    "the address space is limited (ulimit -v) below what the libraries need: raise the limit to 4 GiB or more"
)
LONGEST = 300  # characters shown of a message
SQLITE_REFUSALS = {
    13: errno.ENOSPC,
    8: errno.EROFS,
}  # SQLITE_FULL, SQLITE_READONLY; numbers, because importing sqlite3 is slow


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _is_store(store: str) -> bool:
    with contextlib.suppress(OSError):
        return (Path(store).expanduser() / "version.json").is_file()
    return False


def _write_traceback(error: BaseException, store: str | None) -> Path | None:
    """Write the traceback, credentials in URLs redacted; returns the file."""
    import tempfile
    import time
    import traceback

    from dataprops.util.redact import redacted

    text = redacted("".join(traceback.format_exception(error)))
    name = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}.txt"
    folders = [Path(store).expanduser() / "errors"] if store is not None and _is_store(store) else []
    for folder in (*folders, Path(tempfile.gettempdir()) / "dataprops-errors"):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = folder / name
            file.touch(mode=0o600)
            try:
                file.write_text(text, encoding="utf-8", errors="backslashreplace")
            except OSError:  # a full disk takes the name and no text
                file.unlink()
                raise
            return file
    return None


def stoppable(kept: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: on Ctrl-C report what is kept, and exit with 130."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except KeyboardInterrupt:
                click.echo(f"dataprops: stopped; {kept}, re-run the command to resume", err=True)
                sys.exit(130)

        return command

    return decorate


def caches_of(store: str | Path) -> Path:
    """The store's cache folder, also for matplotlib's fonts, which would go to the home directory otherwise."""
    cache = Path(store).expanduser().resolve() / "cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    return cache


def show(result: dict[str, Any], as_json: bool, written: Callable[[Any, Console], None]) -> None:
    """Print a result as one JSON object, or on the terminal with `written`."""
    if as_json:
        from dataprops.util.json import to_json

        click.echo(to_json(result), nl=False)
    else:
        from rich.console import Console

        written(result, Console())

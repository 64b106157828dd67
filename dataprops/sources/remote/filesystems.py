"""Files here and elsewhere, by one set of functions: local paths, and addresses that fsspec opens.

Credentials come from where each service's own tools look (``~/.aws``, ``AWS_*``, ``GOOGLE_APPLICATION_CREDENTIALS``) and from
fsspec's configuration; ``--rule anonymous=yes`` asks without any, ``--rule endpoint=URL`` names another S3 server. What fails for a
reason that may pass (no connection, 429, 5xx) is tried `TRIES` times. Errors are OSErrors whose text holds no address.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import html
import io
import logging
import os
import posixpath
import stat
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from dataprops.errors import DatapropsError
from dataprops.sources.table import SourceOptions, given_rules
from dataprops.util.budget import LARGEST, allowed, need, read_whole, refuse_size
from dataprops.util.cache import Cache
from dataprops.util.redact import is_url, redacted

# scheme -> (package that opens it, extra of this package that brings it)
SCHEMES: dict[str, tuple[str, str]] = {
    "http": ("aiohttp", ""),
    "https": ("aiohttp", ""),
    "s3": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
    "memory": ("fsspec", ""),
}
ACCESS: dict[str, tuple[str, ...]] = {"anonymous": ("no", "yes"), "endpoint": ()}
TRIES = 4
PAUSE = 0.5  # seconds before the second try; doubled for each further one
CONNECT, READ = 20, 60  # seconds to wait for a connection, and for the next bytes
WHOLE = 2**30  # bytes of a container that is held in memory where a server sends no ranges
PIECE = 2**20  # bytes of a web server's answer that are read at once
REQUESTS = 16  # at once, where each object is asked about
DEPTH = 32  # of folders in an HTML listing
MINUTES_KNOWN = 15  # that an open remote container is taken to be the same

# what services tell of a version of an object
MARKS = ("ETag", "etag", "LastModified", "Last-Modified", "updated", "md5Hash", "mtime", "created")

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Access(NamedTuple):
    """How a service is asked; see `ACCESS`."""

    anonymous: bool = False
    endpoint: str = ""


def access_of(options: SourceOptions) -> Access:
    """The rules about access among the options."""
    rules = given_rules(options)
    return Access(rules.get("anonymous") == "yes", rules.get("endpoint", ""))


def scheme_of(url: str) -> str:
    """The scheme of an address, if it is one that can be opened.

    Raises
    ------
    DatapropsError
        If it is not.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise DatapropsError(f"{redacted(url)}: unknown scheme {scheme}://; expected {', '.join(SCHEMES)}")
    return scheme


def joined(base: str, key: str) -> str:
    """The place of a key below a base; names are quoted where the scheme wants it."""
    if not is_url(base):
        return os.path.join(base, key)  # noqa: PTH118 - keys may hold bytes that are no UTF-8
    head, mark, query = base.partition("?")
    name = quote(os.fsencode(key), safe="/!$&'()*+,;=:@~") if scheme_of(base).startswith("http") else key
    return f"{head.rstrip('/')}/{name}{mark}{query}"


def parent(location: str) -> str:
    """The folder of a file; the query of an address stays, as it may be what opens the files beside it."""
    if not is_url(location):
        return os.path.dirname(location)  # noqa: PTH120
    head, mark, query = location.partition("?")
    return head.rpartition("/")[0] + mark + query


def name_of(location: str) -> str:
    """Name of a file or folder, without what an address adds."""
    path = urlsplit(location).path if location.lower().startswith("http") else location
    return unquote(posixpath.basename(path.rstrip("/"))) if is_url(location) else os.path.basename(location)  # noqa: PTH119


_systems: Cache[Any] = Cache(32)


class _Redact(logging.Filter):
    """Hides secrets in what fsspec logs."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        return True


def _system(url: str, access: Access) -> tuple[Any, str]:
    """fsspec's file system of an address, and the path there."""
    scheme = scheme_of(url)
    user = ""
    if scheme.startswith("http"):
        # the password goes into a header, not into addresses that a library may log
        head, _, rest = url.partition("://")
        authority, slash, path = rest.partition("/")
        user, _, host = authority.rpartition("@")
        url = f"{head}://{host}{slash}{path}"

    def make() -> Any:
        package, extra = SCHEMES[scheme]
        options: dict[str, Any] = {"skip_instance_cache": True, "use_listings_cache": False}
        try:
            import fsspec

            if scheme.startswith("http"):
                import aiohttp

                client: dict[str, Any] = {"timeout": aiohttp.ClientTimeout(None, sock_connect=CONNECT, sock_read=READ)}
                if user:
                    client["headers"] = {"Authorization": f"Basic {base64.b64encode(unquote_to_bytes(user)).decode()}"}
                options |= {"client_kwargs": client, "encoded": True}
            elif scheme == "s3":
                options["anon"] = access.anonymous
                if access.endpoint:
                    options["endpoint_url"] = access.endpoint
            elif scheme in ("gs", "gcs"):
                if access.anonymous:
                    options["token"] = "anon"
                if access.endpoint:
                    options["endpoint_url"] = access.endpoint
            if scheme in ("gs", "gcs") and access.endpoint:
                # the default one would first ask a gRPC service what kind of bucket it is, which an endpoint of one's own
                # does not have, and wait a minute for the answer
                from gcsfs.core import GCSFileSystem  # pyright: ignore[reportMissingImports]

                system = GCSFileSystem(**options)
            else:
                system = fsspec.filesystem(scheme, **options)
        except ImportError as error:
            way = f"pip install 'dataprops[{extra}]'" if extra else f"pip install {package}"
            raise DatapropsError(f"{scheme}:// needs the package {package}: {way}") from error
        for name in ("fsspec.http", "fsspec", "s3fs", "gcsfs"):
            logger = logging.getLogger(name)
            if not any(isinstance(known, _Redact) for known in logger.filters):
                logger.addFilter(_Redact())
        return system

    system = _systems.get((os.getpid(), scheme, user, access), make)
    return system, url if scheme.startswith("http") else system._strip_protocol(url)


def _failures() -> tuple[type[BaseException], ...]:
    """What the libraries in use raise when a request fails."""
    known: list[type[BaseException]] = [OSError, ValueError, asyncio.TimeoutError]
    for module, names in (
        ("aiohttp", ("ClientError",)),
        ("botocore.exceptions", ("BotoCoreError", "ClientError")),
        ("gcsfs.retry", ("HttpError",)),
        ("fsspec.exceptions", ("FSTimeoutError",)),
    ):
        known += [getattr(sys.modules[module], name) for name in names if module in sys.modules]
    return tuple(known)


def _judged(error: BaseException) -> tuple[int, str, bool]:
    """Code and reason of a failure, and whether it may pass."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, _failures()):
        error = error.__cause__  # fsspec calls a web server's every answer so when it asks about an object
    status = getattr(error, "status", None) or getattr(error, "code", None)
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return errno.EFBIG, error.strerror or "", False
    if isinstance(error, ValueError):
        return (
            errno.EINVAL,
            "the address is not well formed (in a password, % / @ ? # are written %25 %2F %40 %3F %23)",
            False,
        )
    if kind in ("NoCredentialsError", "PartialCredentialsError"):
        return errno.EACCES, "no credentials are configured (--rule anonymous=yes asks without)", False
    if isinstance(error, PermissionError) or status in (401, 403):
        return errno.EACCES, "access is denied: credentials are missing or do not allow it", False
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return errno.ENOENT, "nothing is there", False
    if isinstance(status, int) and 400 <= status < 600:
        return errno.EIO, f"the server answers {status}", status == 429 or status >= 500
    return errno.EIO, f"the connection failed ({kind})", True


def patiently(request: Callable[[], Result]) -> Result:
    """Do what needs the network, more than once if need be.

    Raises
    ------
    OSError
        With a reason that holds no address.
    """
    failures = _failures()
    code, reason = errno.EIO, ""
    for attempt in range(TRIES):
        try:
            return request()
        except failures as error:
            code, reason, again = _judged(error)
        if not again:
            raise OSError(code, reason)
        if attempt < TRIES - 1:
            log.debug("%s: another try", reason)
            time.sleep(PAUSE * 2**attempt)
    raise OSError(code, f"{reason}, {TRIES} times")


def read_bytes(location: str, access: Access = Access()) -> bytes:  # noqa: B008 - an immutable record
    """A whole file that may be an image.

    Raises
    ------
    OSError
        If it cannot be read, or has more than `budget.LARGEST` bytes, whatever the server promises.
    OverBudget
        See `budget.need`.
    """
    if not is_url(location):
        return read_whole(location)
    system, path = _system(location, access)
    if scheme_of(location).startswith("http"):
        return patiently(lambda: _streamed(system, path))
    size = patiently(lambda: system.info(path))["size"] or 0  # of a listing: nothing is asked again
    refuse_size(size)
    need(size)
    return patiently(lambda: system.cat_file(path))


def _streamed(system: Any, url: str) -> bytes:
    """A file of a web server, piece by piece: a server may promise less than it sends, or inflate it on the way."""
    import fsspec.asyn

    async def rest(most: int) -> bytes | None:
        parts, size = [], 0
        async for part in answer.content.iter_chunked(PIECE):
            parts.append(part)
            size += len(part)
            if size > most:
                return None
        return b"".join(parts)

    answer = fsspec.asyn.sync(system.loop, _answer, system, url)
    try:
        promised = answer.content_length or 0
        refuse_size(promised)
        need(promised)
        most = min(LARGEST, allowed())
        data = fsspec.asyn.sync(system.loop, rest, most)
        if data is None:
            refuse_size(most + 1, most)
        need(len(data))  # pyright: ignore[reportArgumentType] - fsspec tells no type
        return data  # pyright: ignore[reportReturnType]
    finally:
        system.loop.call_soon_threadsafe(answer.close)


async def _answer(system: Any, url: str, **headers: str) -> Any:
    """A web server's answer, its body not read yet."""
    session = await system.set_session()
    answer = await session.get(system.encode_url(url), headers=headers or None, **system.kwargs)
    try:
        system._raise_not_found_for_status(answer, url)
    except BaseException:
        answer.close()
        raise
    return answer


def first_bytes(location: str, access: Access, count: int) -> bytes:
    """The first bytes of a file at an address; empty if it cannot be read. The rest is not fetched."""
    import fsspec.asyn

    system, path = _system(location, access)

    async def begin() -> bytes:
        answer = await _answer(system, path, Range=f"bytes=0-{count - 1}")
        try:
            return await answer.content.read(count)
        finally:
            answer.close()

    try:
        if scheme_of(location).startswith("http"):
            return patiently(lambda: fsspec.asyn.sync(system.loop, begin))  # pyright: ignore[reportReturnType]
        return patiently(lambda: system.cat_file(path, start=0, end=count))
    except OSError:  # also of an empty object, which has no such range
        return b""


class Reader(NamedTuple):
    """Random access to one file; `range` may be called by several threads at once.

    Attributes
    ----------
    size : int
        Bytes.
    range : callable
        range(start, stop) -> bytes; shorter only where the file ends.
    """

    size: int
    range: Callable[[int, int], bytes]

    def file(self, buffer: int = 2**18) -> io.BufferedReader:
        """A seekable file of its own over it."""
        return io.BufferedReader(_RangeFile(self), buffer)


class _RangeFile(io.RawIOBase):
    def __init__(self, reader: Reader) -> None:
        self.reader, self.at = reader, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + (0, self.at, self.reader.size)[whence]
        if at < 0:
            raise OSError(errno.EINVAL, "a place before the file's start")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        data = self.reader.range(self.at, min(self.at + len(buffer), self.reader.size))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


_readers: Cache[Reader] = Cache(64)


def open_reader(location: str, access: Access = Access()) -> Reader:  # noqa: B008
    """Random access to a file, kept by the process while the file is the same.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    return _readers.get(
        identity(location, access), lambda: _remote(location, access) if is_url(location) else _local(location)
    )


def identity(location: str, access: Access = Access()) -> tuple:  # noqa: B008
    """What an open file is known by: a local one by its size and times, a remote one for some minutes."""
    if is_url(location):
        return location, access, int(time.monotonic() / 60 / MINUTES_KNOWN)
    found = os.stat(location)  # noqa: PTH116
    return location, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _local(location: str) -> Reader:
    if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116 - a pipe would block who opens it
        raise OSError(errno.EINVAL, "not a file")
    file = Path(location).open("rb")  # noqa: SIM115 - closed when no thread holds the reader any more

    def fetch(start: int, stop: int) -> bytes:
        parts = []
        while start < stop:
            part = os.pread(file.fileno(), stop - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return Reader(os.fstat(file.fileno()).st_size, fetch)


def _remote(location: str, access: Access) -> Reader:
    system, path = _system(location, access)
    size = patiently(lambda: system.info(path))["size"]
    if size is None:
        raise OSError(errno.EIO, "the server does not tell its size")
    if scheme_of(location).startswith("http") and size > 1:
        # a server that knows no ranges answers with the whole file
        if size <= WHOLE:
            first = patiently(lambda: system.cat_file(path, start=0, end=1))
            if len(first) == size:
                return Reader(size, lambda start, stop: first[start:stop])
        elif not _sends_ranges(system, path):
            raise OSError(errno.EIO, "the server sends no ranges, and the file is too large to hold in memory")

    def fetch(start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        data = patiently(lambda: system.cat_file(path, start=start, end=stop))
        if len(data) > stop - start:
            raise OSError(errno.EIO, "the server sends more than was asked for")
        return data

    return Reader(size, fetch)


def _sends_ranges(system: Any, path: str) -> bool:
    """Whether a HTTP server honours a range, asked without reading the answer's body."""
    import fsspec.asyn

    async def ask() -> bool:
        session = await system.set_session()
        async with session.get(system.encode_url(path), headers={"Range": "bytes=0-0"}) as answer:
            answer.raise_for_status()
            return answer.status == 206

    return patiently(lambda: fsspec.asyn.sync(system.loop, ask))  # pyright: ignore[reportReturnType]


def _token(info: dict) -> int:
    """A number that changes when the object does; -1 if the service has none."""
    known = [str(info[name]) for name in MARKS if info.get(name)]
    if not known:
        return -1
    text = "\n".join([str(info.get("size")), *known])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def listing(url: str, access: Access) -> dict[str, int]:
    """Files below an address: key -> version token (-1: unknown).

    Raises
    ------
    OSError
        If it cannot be listed.
    """
    system, path = _system(url, access)
    if scheme_of(url).startswith("http"):
        return dict.fromkeys(_linked(system, path), -1)
    found = patiently(lambda: system.find(path, detail=True))
    base = path.rstrip("/")
    files = {name: info for name, info in found.items() if info.get("type") != "directory" and not name.endswith("/")}
    return {name[len(base) :].lstrip("/"): _token(info) for name, info in files.items() if name.startswith(f"{base}/")}


def _linked(system: Any, url: str) -> list[str]:
    """Files below an HTML listing, following links that lead further down."""
    root = url.partition("?")[0].rstrip("/") + "/"
    query = url[len(url.partition("?")[0]) :]
    found: set[str] = set()
    folders, seen = [root], {root}
    with ThreadPoolExecutor(REQUESTS) as pool:
        for _ in range(DEPTH):
            if not folders:
                break
            below: list[str] = []
            for links in pool.map(lambda folder: patiently(lambda: system.ls(folder + query, detail=False)), folders):
                for link in map(html.unescape, links):
                    # sorting links of a server's listing are no files
                    if not link.startswith(root) or "?" in link[len(root) :] or "#" in link or "/../" in link:
                        continue
                    if not link.endswith("/"):
                        found.add(link)
                    elif link not in seen:
                        seen.add(link)
                        below.append(link)
            folders = below
    return [os.fsdecode(unquote_to_bytes(link[len(root) :])) for link in sorted(found)]


def version_tokens(locations: Sequence[str], access: Access) -> list[int]:
    """For each file a number that changes when the file does, -1 if unknown; no file is read, and each is asked about once."""

    def one(location: str) -> int:
        try:
            if not is_url(location):
                return _token({"size": None, "mtime": identity(location)[1:]})
            system, path = _system(location, access)
            return _token(patiently(lambda: system.info(path)))
        except (OSError, ValueError, DatapropsError):
            return -1

    each = list(dict.fromkeys(locations))
    if len(each) < 2 or not any(map(is_url, each)):
        tokens = [one(location) for location in each]
    else:
        with ThreadPoolExecutor(REQUESTS) as pool:
            tokens = list(pool.map(one, each))
    known = dict(zip(each, tokens, strict=True))
    return [known[location] for location in locations]


def is_folder(location: str) -> bool:
    """Whether a local path is a folder; an address is not asked."""
    return not is_url(location) and os.path.isdir(location)  # noqa: PTH112 - names may hold bytes that are no UTF-8

"""Connections to remote storage: file system, credentials, retries and error handling.

Credentials come from each service's usual places (``~/.aws``, ``AWS_*``, ``GOOGLE_APPLICATION_CREDENTIALS``) and from fsspec's
configuration; ``--rule anonymous=yes`` uses none, ``--rule endpoint=URL`` sets another S3 server. Transient failures (no
connection, 429, 5xx) are tried `TRIES` times in total. Errors are OSErrors whose message contains no URL.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from dataprops.errors import DatapropsError
from dataprops.sources.table import SourceOptions, given_rules
from dataprops.util.cache import Cache
from dataprops.util.redact import redacted

# scheme -> (package that opens it, extra of dataprops that installs it)
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
PAUSE = 0.5  # seconds before the first retry; doubled for each further one
CONNECT, READ = 20, 60  # timeouts for connecting, and for the next bytes, seconds

Result = TypeVar("Result")
log = logging.getLogger(__name__)


class Access(NamedTuple):
    """Access settings for a service; see `ACCESS`."""

    anonymous: bool = False
    endpoint: str = ""


def access_of(options: SourceOptions) -> Access:
    """The access rules among the options."""
    rules = given_rules(options)
    return Access(rules.get("anonymous") == "yes", rules.get("endpoint", ""))


def scheme_of(url: str) -> str:
    """Scheme of a URL.

    Raises
    ------
    DatapropsError
        If the scheme is not supported.
    """
    scheme = url.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise DatapropsError(f"{redacted(url)}: unknown scheme {scheme}://; expected {', '.join(SCHEMES)}")
    return scheme


_systems: Cache[Any] = Cache(32)


class _Redact(logging.Filter):
    """Redacts secrets in fsspec's log messages."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redacted(record.getMessage()), None
        return True


def system_of(url: str, access: Access) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it."""
    scheme = scheme_of(url)
    user = ""
    if scheme.startswith("http"):
        # the password goes into a header, not into URLs that a library may log
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
                # the default one would first query a gRPC service for the kind of bucket, which custom endpoints lack, and
                # wait a minute for the answer
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
    """Exceptions that the libraries in use raise when a request fails."""
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
    """Error code and reason of a failure, and whether it is transient."""
    if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, _failures()):
        error = error.__cause__  # fsspec raises FileNotFoundError for any HTTP error when it looks up an object
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
        return errno.EACCES, "no credentials are configured (--rule anonymous=yes connects without)", False
    if isinstance(error, PermissionError) or status in (401, 403):
        return errno.EACCES, "access is denied: credentials are missing or do not allow it", False
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return errno.ENOENT, "nothing is there", False
    if isinstance(status, int) and 400 <= status < 600:
        return errno.EIO, f"the server answers {status}", status == 429 or status >= 500
    return errno.EIO, f"the connection failed ({kind})", True


def patiently(request: Callable[[], Result]) -> Result:
    """Run a request, with retries after transient failures.

    Raises
    ------
    OSError
        With a reason that contains no URL.
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

"""Addresses without their secrets: for everything that is shown, logged or stored.

A user name and password (``https://user:password@host``) and a query (``?X-Amz-Signature=...``) are shown as ``***``. What an
address withholds is remembered by this process alone: it is never written, and another process must be told it again.
"""

from __future__ import annotations

import re

from dataprops.errors import DatapropsError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
HIDDEN = "***"
_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/?#]*@)?([^\s?#'\"<>]*)(\?[^\s#'\"<>]*)?(#[^\s'\"<>]*)?")
_withheld: dict[str, str] = {}


def is_url(text: str) -> bool:
    """Whether a text is an address such as ``s3://bucket/prefix``.

    >>> is_url("s3://bucket/x"), is_url("digits:"), is_url("C:/x"), is_url("/tmp/a")
    (True, False, False, False)
    """
    return URL.match(text) is not None


def redacted(text: str) -> str:
    """A text whose addresses hide what may be secret.

    >>> redacted("cannot read https://me:pw@host/a.zip?sig=1 now")
    'cannot read https://***@host/a.zip?*** now'
    >>> redacted("s3://bucket/a b")
    's3://bucket/a b'
    """

    def hide(found: re.Match) -> str:
        scheme, user, path, query, _ = found.groups()
        return scheme + (f"{HIDDEN}@" if user else "") + path + (f"?{HIDDEN}" if query else "")

    return _PARTS.sub(hide, text)


def withhold(source: str) -> str:
    """The source as it may be shown; `reveal` gives the whole one back, in this process."""
    if HIDDEN in source:
        return source
    shown = redacted(source)  # also of name:address
    if shown != source:
        _withheld[shown] = source
    return shown


def reveal(source: str) -> str:
    """The whole address of what `withhold` gave.

    Raises
    ------
    DatapropsError
        If this process was never told it.
    """
    if HIDDEN not in source or not URL.search(source):
        return source
    if source not in _withheld:
        raise DatapropsError(
            f"{source} hides a password or a signature that this process was not told: they are never stored; give the"
            " whole address again, or credentials by the environment or fsspec's configuration"
        )
    return _withheld[source]

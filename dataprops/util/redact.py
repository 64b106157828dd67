"""Addresses without their secrets: for everything that is shown, logged or stored.

A user name and password (``https://user:password@host``) and a query (``?X-Amz-Signature=...``) are shown as ``***``. What an
address withholds travels with the text that shows it (`Shown`), in memory alone: it is never written or sent, and another process
must be given the whole address again.
"""

from __future__ import annotations

import re

from dataprops.errors import DatapropsError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://")  # bounded: a text of letters alone is looked through once
HIDDEN = "***"
# An address (its scheme may be damaged) ends at a blank, and at a quote or a bracket after which the text around it goes on
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,40})?://)((?:[^\s'\"<>]|['\"](?![\s,;:.)\]}>]|$))+)")
# A password may hold blanks and brackets that are not escaped, and a query a blank
_PASSWORD = re.compile(rf"({URL.pattern})[^\s/:@<>,]+:(?!\d{{1,5}}(?:\s|$))[^/@\r\n]{{1,200}}@")
# A user without a colon may be a damaged one; and an address in a path may have lost its scheme
_USER = re.compile(rf"({URL.pattern})/?[^\s/@'\",]{{1,200}}@")
_INNER = re.compile(r"/[^\s/:@]*:[^\s/@]{1,200}@")
_LATER = re.compile(r"(?<!/)/[^\s/:@'\",]*:[^\s/@'\",]{1,200}@")  # the same behind a blank in that path
_MORE = re.compile(r"(\?\*{3})(?: [^\s'\"<>=&]*&[^\s'\"<>]*)+")
_PORT = re.compile(r"[^:]*:\d{0,5}|[^:]*|\[[0-9A-Fa-f:.]*\](?::\d{0,5})?")  # of a host without a user


class Shown(str):
    """An address as it may be shown; the whole one stays beside it as long as the object itself is handed on."""

    __slots__ = ("whole",)
    whole: str

    def __new__(cls, shown: str, whole: str) -> Shown:
        made = super().__new__(cls, shown)
        made.whole = whole
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy in a file or another process has no secret

    def __copy__(self) -> Shown:
        return self

    def __deepcopy__(self, memo: object) -> Shown:
        return self


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
    plain = _USER.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(rf"\1{HIDDEN}@", text))
    shown = _MORE.sub(r"\1", _ADDRESS.sub(lambda found: found[1] + _hidden(found[2]), plain))
    return _LATER.sub(f"/{HIDDEN}@", shown) if "://" in shown else shown


def without_paths(text: str) -> str:
    """A text whose addresses tell the host alone: for messages about webhooks, whose paths are secrets themselves.

    >>> without_paths("503 for url 'https://hooks.example.org/services/T0/B0/key'")
    "503 for url 'https://hooks.example.org/***'"
    """
    return re.sub(rf"({URL.pattern}[^\s/'\"<>]*)/[^\s'\"<>]*", rf"\1/{HIDDEN}", redacted(text))


def _hidden(rest: str, depth: int = 8) -> str:
    """What follows ``scheme://``, without user, password, query and fragment.

    A password may hold a slash, a question mark or a hash that is not escaped: what stands before the first of them is a user with
    the beginning of a password if it is no host with a port, and an @ follows. So it is with addresses
    in the path, `depth` deep.
    """
    first = re.split(r"[/?#]", rest, maxsplit=1)[0]
    at = first.rfind("@")
    if at < 0 and not _PORT.fullmatch(first):
        at = rest.rfind("@")
    user, rest = (f"{HIDDEN}@", rest[at + 1 :]) if at >= 0 else ("", rest)
    path, mark, _ = rest.partition("?")
    shown = _INNER.sub(f"/{HIDDEN}@", path.partition("#")[0])
    before, within, after = shown.partition("://")  # an address in the path of another, as of a proxy
    return (
        user
        + (before + within + (_hidden(after, depth - 1) if depth else HIDDEN) if within else shown)
        + (f"?{HIDDEN}" if mark and "#" not in path else "")
    )


def withhold(source: str) -> str:
    """The source as it may be shown; `reveal` gives the whole one back of this very object."""
    if HIDDEN in source:
        return source
    address = URL.search(source)  # also of name:address; the source as a whole is one, blanks and all
    shown = source if address is None else source[: address.end()] + _hidden(source[address.end() :])
    return source if shown == source else Shown(shown, source)


def reveal(source: str) -> str:
    """The whole address of what `withhold` gave.

    Raises
    ------
    DatapropsError
        If this text is not what `withhold` gave here.
    """
    if isinstance(source, Shown):
        return source.whole
    if HIDDEN not in source or not URL.search(source):
        return source
    raise DatapropsError(
        f"{source} hides a password or a signature that this process does not have: they are never stored; give the"
        " whole address again, or credentials by the environment or fsspec's configuration"
    )

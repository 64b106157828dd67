"""Redact secrets in URLs, for everything that is shown, logged or stored.

User name and password (``https://user:password@host``) and the query (``?X-Amz-Signature=...``) are replaced by ``***``. The full URL
is attached to the redacted text (`Shown`) in memory only: it is never written or sent, and another process must be given it again.
"""

from __future__ import annotations

import re

from dataprops.errors import DatapropsError

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,40}://")  # bounded, to keep the search linear in texts of letters only
HIDDEN = "***"
# A URL (possibly with a damaged scheme) ends at whitespace, or at a quote or bracket that belongs to the surrounding text
_ADDRESS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]{0,40})?://)((?:[^\s'\"<>]|['\"](?![\s,;:.)\]}>]|$))+)")
# A password may contain unescaped whitespace and brackets, and a query whitespace
_PASSWORD = re.compile(rf"({URL.pattern})[^\s/:@<>,]+:(?!\d{{1,5}}(?:\s|$))[^/@\r\n]{{1,200}}@")
# A user without a colon may be damaged; and a URL within a path may have lost its scheme
_USER = re.compile(rf"({URL.pattern})/?[^\s/@'\",]{{1,200}}@")
_INNER = re.compile(r"/[^\s/:@]*:[^\s/@]{1,200}@")
_LATER = re.compile(r"(?<!/)/[^\s/:@'\",]*:[^\s/@'\",]{1,200}@")  # the same behind a blank in that path
_MORE = re.compile(r"(\?\*{3})(?: [^\s'\"<>=&]*&[^\s'\"<>]*)+")
_PORT = re.compile(r"[^:]*:\d{0,5}|[^:]*|\[[0-9A-Fa-f:.]*\](?::\d{0,5})?")  # of a host without a user


class Shown(str):
    """A redacted URL with the full one attached, as long as this very object is passed on."""

    __slots__ = ("whole",)
    whole: str

    def __new__(cls, shown: str, whole: str) -> Shown:
        made = super().__new__(cls, shown)
        made.whole = whole
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # pickled copies contain no secret

    def __copy__(self) -> Shown:
        return self

    def __deepcopy__(self, memo: object) -> Shown:
        return self


def is_url(text: str) -> bool:
    """Whether a text is a URL such as ``s3://bucket/prefix``.

    >>> is_url("s3://bucket/x"), is_url("digits:"), is_url("C:/x"), is_url("/tmp/a")
    (True, False, False, False)
    """
    return URL.match(text) is not None


def redacted(text: str) -> str:
    """A text with the secrets of all URLs redacted.

    >>> redacted("cannot read https://me:pw@host/a.zip?sig=1 now")
    'cannot read https://***@host/a.zip?*** now'
    >>> redacted("s3://bucket/a b")
    's3://bucket/a b'
    """
    plain = _USER.sub(rf"\1{HIDDEN}@", _PASSWORD.sub(rf"\1{HIDDEN}@", text))
    shown = _MORE.sub(r"\1", _ADDRESS.sub(lambda found: found[1] + _hidden(found[2]), plain))
    return _LATER.sub(f"/{HIDDEN}@", shown) if "://" in shown else shown


def without_paths(text: str) -> str:
    """A text with all URLs reduced to the host, for webhooks, whose paths are secrets.

    >>> without_paths("503 for url 'https://hooks.example.org/services/T0/B0/key'")
    "503 for url 'https://hooks.example.org/***'"
    """
    return re.sub(rf"({URL.pattern}[^\s/'\"<>]*)/[^\s'\"<>]*", rf"\1/{HIDDEN}", redacted(text))


def _hidden(rest: str, depth: int = 8) -> str:
    """The part after ``scheme://``, with user, password, query and fragment redacted.

    A password may contain an unescaped slash, question mark or hash: the text before the first of them is taken as user and start of
    a password if it is not host and port, and an @ follows. The same applies to URLs within the path, up to `depth` levels.
    """
    first = re.split(r"[/?#]", rest, maxsplit=1)[0]
    at = first.rfind("@")
    if at < 0 and not _PORT.fullmatch(first):
        at = rest.rfind("@")
    user, rest = (f"{HIDDEN}@", rest[at + 1 :]) if at >= 0 else ("", rest)
    path, mark, _ = rest.partition("?")
    shown = _INNER.sub(f"/{HIDDEN}@", path.partition("#")[0])
    before, within, after = shown.partition("://")  # a URL within the path of another, as with a proxy
    return (
        user
        + (before + within + (_hidden(after, depth - 1) if depth else HIDDEN) if within else shown)
        + (f"?{HIDDEN}" if mark and "#" not in path else "")
    )


def withhold(source: str) -> str:
    """The source with secrets redacted; `reveal` recovers the full one from this very object."""
    if HIDDEN in source:
        return source
    address = URL.search(source)  # also of name:URL; the whole source is the URL, whitespace included
    shown = source if address is None else source[: address.end()] + _hidden(source[address.end() :])
    return source if shown == source else Shown(shown, source)


def reveal(source: str) -> str:
    """The full URL of a result of `withhold`.

    Raises
    ------
    DatapropsError
        If the text is redacted and does not come from `withhold` in this process.
    """
    if isinstance(source, Shown):
        return source.whole
    if HIDDEN not in source or not URL.search(source):
        return source
    raise DatapropsError(
        f"{source} hides a password or a signature that this process does not have, since they are never stored: give the"
        " full URL again, or credentials by the environment or fsspec's configuration"
    )

"""Common functions for local and remote files: locations and names, whole files, listings, version tokens.

For connections see `connections`; for random access to one file, `readers`.
"""

from __future__ import annotations

import hashlib
import html
import os
import posixpath
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from dataprops.errors import DatapropsError
from dataprops.sources.remote.connections import Access, patiently, scheme_of, system_of
from dataprops.sources.remote.readers import identity
from dataprops.util.budget import LARGEST, allowed, need, read_whole, refuse_size
from dataprops.util.redact import is_url

PIECE = 2**20  # bytes of an HTTP response read at a time
REQUESTS = 16  # concurrent requests, one per object
DEPTH = 32  # maximum depth of folders in an HTML listing

# metadata fields that identify an object's version
MARKS = ("ETag", "etag", "LastModified", "Last-Modified", "updated", "md5Hash", "mtime", "created")


def joined(base: str, key: str) -> str:
    """Location of a key below a base; names are quoted if the scheme requires it."""
    if not is_url(base):
        return os.path.join(base, key)  # noqa: PTH118 - keys may contain bytes that are not UTF-8
    head, mark, query = base.partition("?")
    name = quote(os.fsencode(key), safe="/!$&'()*+,;=:@~") if scheme_of(base).startswith("http") else key
    return f"{head.rstrip('/')}/{name}{mark}{query}"


def parent(location: str) -> str:
    """The folder of a file; a URL keeps its query, which may be needed to open the files beside it."""
    if not is_url(location):
        return os.path.dirname(location)  # noqa: PTH120
    head, mark, query = location.partition("?")
    return head.rpartition("/")[0] + mark + query


def name_of(location: str) -> str:
    """Name of a file or folder, without a URL's query."""
    path = urlsplit(location).path if location.lower().startswith("http") else location
    return unquote(posixpath.basename(path.rstrip("/"))) if is_url(location) else os.path.basename(location)  # noqa: PTH119


def read_bytes(location: str, access: Access = Access()) -> bytes:  # noqa: B008 - an immutable record
    """Read a whole file that may be an image.

    Raises
    ------
    OSError
        If it cannot be read, or has more than `budget.LARGEST` bytes, whatever size the server declares.
    OverBudget
        See `budget.need`.
    """
    if not is_url(location):
        return read_whole(location)
    system, path = system_of(location, access)
    if scheme_of(location).startswith("http"):
        return patiently(lambda: _streamed(system, path))
    size = patiently(lambda: system.info(path))["size"] or 0  # from the cached listing: no further request
    refuse_size(size)
    need(size)
    return patiently(lambda: system.cat_file(path))


def _streamed(system: Any, url: str) -> bytes:
    """Read a file from a web server in pieces: the server may send more than it declares, or decompress on the fly."""
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
        need(len(data))  # pyright: ignore[reportArgumentType] - fsspec is untyped
        return data  # pyright: ignore[reportReturnType]
    finally:
        system.loop.call_soon_threadsafe(answer.close)


async def _answer(system: Any, url: str, **headers: str) -> Any:
    """An HTTP response whose body has not been read."""
    session = await system.set_session()
    answer = await session.get(system.encode_url(url), headers=headers or None, **system.kwargs)
    try:
        system._raise_not_found_for_status(answer, url)
    except BaseException:
        answer.close()
        raise
    return answer


def first_bytes(location: str, access: Access, count: int) -> bytes:
    """The first bytes of a remote file; empty if it cannot be read. The rest is not downloaded."""
    import fsspec.asyn

    system, path = system_of(location, access)

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
    except OSError:  # also for an empty object, where the range is invalid
        return b""


def _token(info: dict) -> int:
    """A number that changes when the object does; -1 if the service provides none."""
    known = [str(info[name]) for name in MARKS if info.get(name)]
    if not known:
        return -1
    text = "\n".join([str(info.get("size")), *known])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def listing(url: str, access: Access) -> dict[str, int]:
    """Files below a URL: key -> version token (-1: unknown).

    Raises
    ------
    OSError
        If it cannot be listed.
    """
    system, path = system_of(url, access)
    if scheme_of(url).startswith("http"):
        return dict.fromkeys(_linked(system, path), -1)
    found = patiently(lambda: system.find(path, detail=True))
    base = path.rstrip("/")
    files = {name: info for name, info in found.items() if info.get("type") != "directory" and not name.endswith("/")}
    return {name[len(base) :].lstrip("/"): _token(info) for name, info in files.items() if name.startswith(f"{base}/")}


def _linked(system: Any, url: str) -> list[str]:
    """Files below an HTML listing, found by following links into subfolders."""
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
                    # sort links of a server's listing are not files
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
    """A number per file that changes when the file does, -1 if unknown; one request per file, without reading it."""

    def one(location: str) -> int:
        try:
            if not is_url(location):
                return _token({"size": None, "mtime": identity(location)[1:]})
            system, path = system_of(location, access)
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
    """Whether a local path is a directory; False for URLs, without a request."""
    return not is_url(location) and os.path.isdir(location)  # noqa: PTH112 - names may contain bytes that are not UTF-8

"""A remote folder, ``s3://bucket/prefix`` or a web server's listing, laid out as class/file or split/class/file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.formats import HEAD, is_image
from dataprops.sources import folder
from dataprops.sources.account import UNSAFE, why_left_out
from dataprops.sources.beside import with_tables
from dataprops.sources.containers.members import kind_of_member
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.connections import access_of
from dataprops.sources.table import SourceOptions
from dataprops.util.cache import Cache
from dataprops.util.redact import redacted

_listed: Cache[dict[str, int]] = Cache(4_000_000, len)  # version tokens of this process's last scans


def list_files(location: str, options: SourceOptions) -> dict[str, int]:
    """Files below a URL: key -> version token.

    Raises
    ------
    DatapropsError
        If it cannot be listed.
    """
    try:
        return filesystems.listing(location, access_of(options))
    except OSError as error:
        raise DatapropsError(
            f"{redacted(location)} cannot be listed: {error.strerror}; give an existing folder that can be listed, a manifest"
            " or an archive"
        ) from None


TABLES = 200  # maximum number of files beside the images downloaded to search for labels
_kinds: Cache[str] = Cache(1000)
_handed: dict[tuple, dict[str, int]] = {}  # listings made by `kind_of`, for reuse by the next scan


def kind_of(location: str, options: SourceOptions, of_containers: Callable[[Iterable[str]], str | None]) -> str:
    """The row of `SOURCES` for a remote folder: of images, or of containers if it has no images."""
    key = (location, access_of(options))

    def look() -> str:
        found = list_files(location, options)
        kind = "url" if any(kind_of_member(name) == "image" for name in found) else of_containers(found) or "url"
        if kind == "url":
            _handed[key] = found
        return kind

    return _kinds.get(key, look)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images below a URL; see `sources.Source`. For objects with unknown extensions, the first bytes are downloaded.

    Raises
    ------
    DatapropsError
        If it cannot be listed, or contains no images.
    """
    key = (location, access_of(options))
    found = _handed.pop(key, None) or list_files(location, options)
    _listed.put(key, found)
    keys = sorted(found, key=os.fsencode)
    kinds = _by_content(location, keys, [kind_of_member(key) for key in keys], options)
    images = [key for key, kind in zip(keys, kinds, strict=True) if kind == "image"]
    ignored = {
        key: UNSAFE if kind == "unsafe" else why_left_out(key)
        for key, kind in zip(keys, kinds, strict=True)
        if kind != "image"
    }
    folders = sorted({"/".join(key.split("/")[:depth]) for key in keys for depth in range(1, key.count("/") + 1)})
    table = folder.layout(redacted(location), images, ignored, folders, options)
    left = [TABLES]

    def text_of(name: str) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EFBIG, "too many tables to fetch each")
        return filesystems.read_bytes(filesystems.joined(location, name), access_of(options))

    return with_tables(table, text_of, options)


def _by_content(location: str, keys: Sequence[str], kinds: Sequence[str], options: SourceOptions) -> list[str]:
    """Kinds of the objects; for unknown extensions, from their first bytes."""
    out, access = list(kinds), access_of(options)
    unknown = [number for number, kind in enumerate(kinds) if kind == "unknown"]

    def looks(number: int) -> bool:
        head = filesystems.first_bytes(filesystems.joined(location, keys[number]), access, HEAD)
        return is_image(head, keys[number])

    if unknown:
        with ThreadPoolExecutor(filesystems.REQUESTS) as pool:
            for number, found in zip(unknown, pool.map(looks, unknown), strict=True):
                out[number] = "image" if found else "other"
    return out


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """Read the bytes of one object."""
    return filesystems.read_bytes(filesystems.joined(location, key), access_of(options))


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per object that changes when it does: from the listing; on a web server, one HEAD request each."""
    access = access_of(options)
    known = _listed.get((location, access), lambda: list_files(location, options))
    out = [known.get(key, -1) for key in keys]
    asked = [i for i, token in enumerate(out) if token < 0]
    for i, token in zip(
        asked, filesystems.version_tokens([filesystems.joined(location, keys[i]) for i in asked], access), strict=True
    ):
        out[i] = token
    return out

"""Content hashes of files, cached with size and time, so that unchanged files are not read again."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.errors import printable
from dataprops.imaging import dicom_header, dicom_identity
from dataprops.imaging.decode import RawImage, UnreadableImage, frames_of, quiet, value_facts
from dataprops.sources import OpenSource
from dataprops.store.held import Kept, size_of
from dataprops.util.budget import bounded, one_image
from dataprops.util.files import write_aside
from dataprops.util.guard import reason_of

log = logging.getLogger(__name__)

# hashed patient, study and series, scanner and site (DICOM only), and the number of frames
IDENTITY = dicom_identity.Identity._fields
_NOBODY = dicom_identity.Identity(None, None, None, 1)
# input of `imaging.ranges.decide` for each image, cached so that unchanged files are not read for it
VALUES = ("values", "low", "high")
_KNOWN = ("key", "content", "bytes", "time", *IDENTITY, *VALUES)
_UNKNOWN = (*_NOBODY, "", math.nan, math.nan)


def hash_bytes(data: bytes | memoryview) -> str:
    """BLAKE2b, 16 bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_image(image: bytes | RawImage) -> str:
    """Hash of a file, or of a decoded image (dtype, shape, mode and pixels)."""
    if isinstance(image, bytes):
        return hash_bytes(image)
    hashed = hashlib.blake2b(
        f"{_name_of(image.pixels.dtype)} {image.pixels.shape} {image.mode} ".encode(), digest_size=16
    )
    hashed.update(np.ascontiguousarray(image.pixels).data)
    return hashed.hexdigest()


@lru_cache
def _name_of(dtype: np.dtype) -> str:
    return str(dtype)  # str(dtype) takes as long as hashing a small image


def read_reason(error: OSError | ValueError) -> str:
    """Why a file could not be read, without its path."""
    if isinstance(error, ValueError) and str(error) == "embedded null byte":  # raised by Python for a path
        return "the file cannot be read: its name contains a NUL character"
    return printable(f"the file cannot be read: {reason_of(error)}")


def changed_at(file: Path) -> tuple[int, int]:
    """Size of a file, and a change time (ns).

    The ctime: archives and copies set the mtime back, so that two swapped files of equal size would look unchanged. If the mtime is
    later (written while the clock was ahead, or no ctime on this system), a number that changes with either.
    """
    stat = file.stat()
    written, changed = stat.st_mtime_ns, stat.st_ctime_ns
    return stat.st_size, changed if written <= changed else (written + changed) % 2**63


class Fingerprints(NamedTuple):
    """Fingerprints of a batch of images: hash (None: unreadable), file size, time in ns (-1: not a file), error, `IDENTITY`,
    `VALUES`; `first` is the position of the first image.
    """

    first: int
    content: list[str | None]
    bytes: list[int]
    time: list[int]
    error: list[str | None]
    patient: list[str | None]
    study: list[str | None]
    series: list[str | None]
    frames: list[int]
    scanner: list[str | None]
    site: list[str | None]
    values: list[str]
    low: list[float]
    high: list[float]


def fingerprint_batch(
    source: OpenSource,
    first: int,
    keys: Sequence[str],
    memory: int | None = None,
    workers: int = 1,
    kept: Kept | None = None,
) -> Fingerprints:
    """Read and hash a batch of images. For `Tools.map`; `memory` and `workers` as in `decoding.decode_batch`."""
    kept = kept or Kept()
    with bounded(memory, workers), kept.turns.take():
        begin, worked = time.perf_counter(), time.thread_time()
        found = _fingerprint_batch(source, first, keys, kept)
        kept.turns.learn(found.bytes, (time.thread_time() - worked) / max(time.perf_counter() - begin, 1e-9))
    return found


def _fingerprint_batch(source: OpenSource, first: int, keys: Sequence[str], kept: Kept) -> Fingerprints:
    rows: list[tuple] = []
    for key in keys:
        whose, facts = _NOBODY, _UNKNOWN[-3:]
        try:
            with one_image():
                file = source.file(key)
                time = -1 if file is None else changed_at(file)[1]
                image = source.read(key)
                size = size_of(image)
                content, error = hash_image(image), None
                facts = value_facts(image)
                kept.put(key, content, image)
                if isinstance(image, bytes) and dicom_header.is_dicom(image[: dicom_header.HEAD]):
                    with quiet():
                        whose = dicom_identity.identity(image, source.options.salt)
                elif isinstance(image, bytes):
                    whose = _NOBODY._replace(frames=frames_of(image))
        except UnreadableImage as reason:
            content, size, time, error = None, 0, -1, str(reason)
        except (OSError, ValueError) as problem:  # ValueError: invalid file name
            content, size, time, error = None, 0, -1, read_reason(problem)
        rows.append((content, size, time, error, *whose, *facts))
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * len(Fingerprints._fields[1:])
    return Fingerprints(first, *(list(column) for column in columns))


def known_fingerprints(source: OpenSource, keys: Sequence[str], cache: Path) -> pd.DataFrame:
    """Cached fingerprints of these images: content (None: must be read), bytes, time, `IDENTITY`, `VALUES`.

    Files are recognised by size and time, other images by their version token (see `sources.Source`), which takes the place of time.
    """
    version_tokens = source.version_tokens(keys)
    entries: list[tuple] = [(None, 0, token, *_UNKNOWN) for token in version_tokens]
    if not cache.is_file():
        return _fingerprints_table(entries)
    try:
        if not set(_KNOWN) <= set(pq.read_schema(cache).names):  # written by an older version
            return _fingerprints_table(entries)
        read = pq.read_table(cache, columns=list(_KNOWN))
        if (read.schema.metadata or {}).get(_SALTED) != _salt_mark(source):
            return _fingerprints_table(entries)  # hashed with another salt
        old = read.to_pydict()
        if set(old) != set(_KNOWN):
            raise ValueError("columns are missing")
    except (OSError, ValueError) as error:  # Arrow raises ValueErrors
        reason = str(error).split("\n")[0]  # Arrow appends the whole schema
        log.warning("the list of known files %s cannot be read (%s): reading all files again", cache.name, reason)
        return _fingerprints_table(entries)
    known = {key: entry for key, *entry in zip(*(old[name] for name in _KNOWN), strict=True)}
    for i, key in enumerate(keys):
        entry = known.get(os.fsencode(key))
        if entry is None:
            continue
        if version_tokens[i] >= 0 and version_tokens[i] == entry[2]:
            entries[i] = tuple(entry)
        file = source.file(key)
        if file is None:
            continue
        try:
            now = changed_at(file)
        except (OSError, ValueError):
            continue
        if now == tuple(entry[1:3]):
            entries[i] = tuple(entry)
    return _fingerprints_table(entries)


_SALTED = b"dataprops.salt"


def _salt_mark(source: OpenSource) -> bytes:
    """Distinguishes salts without revealing them."""
    return hash_bytes(f"mark {source.options.salt}".encode()).encode()


def _fingerprints_table(entries: Sequence[tuple]) -> pd.DataFrame:
    columns = zip(*entries, strict=True) if entries else [()] * len(_KNOWN[1:])
    types = {"bytes": np.int64, "time": np.int64, "frames": np.int64, "low": np.float64, "high": np.float64}
    return pd.DataFrame(
        {
            name: pd.Series(list(values), dtype=types.get(name, object))
            for name, values in zip(_KNOWN[1:], columns, strict=True)
        }
    )


def save_fingerprints(source: OpenSource, keys: Sequence[str], fingerprints: pd.DataFrame, cache: Path) -> None:
    """Save fingerprints for the next run."""
    held = fingerprints["content"].notna() & (fingerprints["time"] >= 0)
    # keys may contain bytes that are not UTF-8
    table = pa.table(
        {
            "key": pa.array([os.fsencode(key) for key, keep in zip(keys, held, strict=True) if keep], pa.binary()),
            "content": pa.array(fingerprints["content"][held].tolist(), pa.string()),
            "bytes": pa.array(fingerprints["bytes"][held].tolist(), pa.int64()),
            "time": pa.array(fingerprints["time"][held].tolist(), pa.int64()),
            **{
                name: pa.array(fingerprints[name][held].tolist(), pa.int64() if name == "frames" else pa.string())
                for name in (*IDENTITY, "values")
            },
            **{name: pa.array(fingerprints[name][held].tolist(), pa.float64()) for name in ("low", "high")},
        }
    ).replace_schema_metadata({_SALTED: _salt_mark(source)})
    cache.parent.mkdir(parents=True, exist_ok=True)
    write_aside(cache, lambda aside: pq.write_table(table, aside))

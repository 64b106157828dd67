"""Canonical images on disk, addressed by content: what was decoded once under the same rules is never decoded again.

    STORE/shards/version.json
    STORE/shards/files/<dataset>.parquet       size and time of each file -> content: unchanged files are not read again
    STORE/shards/<preprocess>/<shard>.npy      uint8 [n, D]
    STORE/shards/<preprocess>/<shard>.parquet  content, row, pixels and facts of each image of the shard

A shard counts only once its .parquet exists, which is written last. It is named by the contents it holds, so two
processes that write the same shard write the same bytes. Unreadable images are recorded too, with the reason, and not
tried again every night. A shard that is damaged is left out with a warning, and its images are decoded again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError, printable
from dataprops.imaging import dicom, dicom_identity
from dataprops.imaging.decode import (
    PASSING,
    Preprocess,
    RawImage,
    UnreadableImage,
    canonical,
    damage,
    decode_values,
    frames_of,
    is_grey,
    quiet,
    resolved,
    value_facts,
)
from dataprops.imaging.measures import Measures, Part, measure_parts, part_of
from dataprops.sources import OpenSource
from dataprops.util.budget import bounded, one_image
from dataprops.util.files import aside_of, write_aside
from dataprops.util.guard import guarded

log = logging.getLogger(__name__)

SCHEMA = 1
SHARD_BYTES = 64 * 2**20
SHARD_IMAGES = 1024
WRITTEN_BYTES = 2**20  # of a shard, at once
MEASURED_BYTES = 2**20  # of images that are measured together; it takes ten times as much for a moment
LEAST_BATCHES = 16  # of a large set, so that every core has work
LEAST_BATCH = 32
SMALL_BYTES = 2048  # of a file, on average, that is read and decoded in turn (`Turns`)
SMALL_PIXELS = 128 * 128  # values of a canonical image; threads bring more to size beside each other
BUSY = 0.6  # share of the time: a thread that waits less is not waiting for files
SCATTERED = 8  # runs of rows of each shard: beyond it they are gathered at once
MAPPED = 128  # shards that stay mapped
# Whose image it is, as hashes, and of which scanner and site, known of DICOM files alone, and how many frames its file holds
IDENTITY = dicom_identity.Identity._fields
_NOBODY = dicom_identity.Identity(None, None, None, 1)
# What `ranges.decide` needs of each image, so that a set whose files did not change is not read for it
VALUES = ("values", "low", "high")
_KNOWN = ("key", "content", "bytes", "time", *IDENTITY, *VALUES)
_UNKNOWN = (*_NOBODY, "", math.nan, math.nan)

MEASURES = tuple(f"original_{name}" for name in Measures._fields)
# of these, what every readable image has: the first, and the first that came with each later change. Images of an older store that
# lack one are decoded again: without it what needs it is not told, which nobody would see
ALWAYS = (MEASURES[0], "original_step")
_INDEX = pa.schema(
    [
        ("content", pa.string()),
        ("row", pa.int64()),
        ("pixels", pa.string()),
        ("format", pa.string()),
        ("mode", pa.string()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("peak", pa.int64()),
        ("grey", pa.bool_()),
        ("error", pa.string()),
        # of the original; absent from shards of before
        ("jpeg_step", pa.float32()),
        *((name, pa.float32()) for name in MEASURES),
    ]
)


def hash_bytes(data: bytes | memoryview) -> str:
    """BLAKE2b, 16 bytes, in hexadecimal."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def hash_image(image: bytes | RawImage) -> str:
    """Content of a file, or of a decoded image (its type, shape and pixels)."""
    if isinstance(image, bytes):
        return hash_bytes(image)
    hashed = hashlib.blake2b(
        f"{_name_of(image.pixels.dtype)} {image.pixels.shape} {image.mode} ".encode(), digest_size=16
    )
    hashed.update(np.ascontiguousarray(image.pixels).data)
    return hashed.hexdigest()


@lru_cache
def _name_of(dtype: np.dtype) -> str:
    return str(dtype)  # numpy takes as long for it as the hash of a small image


def read_reason(error: OSError | ValueError) -> str:
    """Why a file could not be read, without its path."""
    return printable(f"the file cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}")


def changed_at(file: Path) -> tuple[int, int]:
    """Size of a file, and when it last changed (ns).

    The time of its entry: archives and copies set that of its contents back, so that two files of one size that change places would
    otherwise look unchanged. Where that of its contents is later (it was written while the clock was ahead, or the system does not
    keep the other), a number that changes with either.
    """
    stat = file.stat()
    written, changed = stat.st_mtime_ns, stat.st_ctime_ns
    return stat.st_size, changed if written <= changed else (written + changed) % 2**63


class Fingerprints(NamedTuple):
    """Contents of some images: hash (None: cannot be read), size of the file, its time in ns (-1: no file), reason, `IDENTITY`,
    `VALUES`.
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


def size_of(image: bytes | RawImage) -> int:
    """Bytes of a file, or of the pixels of a decoded image."""
    return len(image) if isinstance(image, bytes) else image.pixels.nbytes


def _are_small(sizes: Sequence[int]) -> bool:
    """Whether Python has more work with files of these sizes than decoders."""
    return sum(sizes) <= SMALL_BYTES * len(sizes)


class Turns:
    """Batches of small files one after the other: threads would hand Python's lock to and fro for each of them.

    Of 10,000 JPEG files of 32 x 32 pixels two threads take 1.8 times the processor time of one, and longer by the clock. Files that
    are waited for (a network's) are read beside each other, and so are large ones, on which decoders and hashes work by themselves.
    """

    def __init__(self) -> None:
        self._lock, self._alone = threading.Lock(), True  # the first batch says which files they are

    def take(self, alone: bool | None = None) -> AbstractContextManager:
        """What a batch runs in; `alone` says that it is of small files, else those before tell."""
        return self._lock if (self._alone if alone is None else alone) else nullcontext()

    def learn(self, sizes: Sequence[int], busy: float) -> None:
        """Told of a batch: the sizes of its files, and the share of the time in which its thread worked."""
        self._alone = busy >= BUSY and _are_small(sizes)


class Kept:
    """Images that were read for hashing and will be decoded: held up to a limit, so that they are not read twice.

    Other processes get none: a piece of work that is sent to one reads for itself.

    Parameters
    ----------
    limit : int
        Bytes in all.
    """

    def __init__(self, limit: int = 0) -> None:
        self._free = limit
        self._images: dict[str, tuple[str, bytes | RawImage]] = {}
        self._lock = threading.Lock()
        self.turns = Turns()

    def __reduce__(self) -> tuple:
        return (Kept, ())

    def put(self, key: str, content: str, image: bytes | RawImage) -> None:
        """Keep an image by its key, with its hash, while there is room."""
        size = size_of(image)
        if not isinstance(image, bytes) and getattr(image.pixels.base, "nbytes", 0) > size:
            return  # a view, which would hold the whole of it
        with self._lock:
            if size <= self._free:
                self._free -= size
                self._images[key] = content, image

    def take(self, key: str) -> tuple[str, bytes | RawImage] | None:
        """Hash and image, once; None if it is not there."""
        with self._lock:
            found = self._images.pop(key, None)
            self._free += 0 if found is None else size_of(found[1])
        return found

    def small(self, keys: Sequence[str]) -> bool:
        """Whether these images are all here, and small (`Turns`)."""
        with self._lock:
            found = [self._images.get(key) for key in keys]
        sizes = [size_of(image[1]) for image in found if image is not None]
        return len(sizes) == len(keys) > 0 and _are_small(sizes)


def fingerprint_batch(
    source: OpenSource,
    first: int,
    keys: Sequence[str],
    memory: int | None = None,
    workers: int = 1,
    kept: Kept | None = None,
) -> Fingerprints:
    """Read and hash some images. A piece of work for `Tools.map`; `memory` and `workers` as of `decode_batch`."""
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
                if isinstance(image, bytes) and dicom.is_dicom(image[: dicom.HEAD]):
                    with quiet():
                        whose = dicom_identity.identity(image, source.options.salt)
                elif isinstance(image, bytes):
                    whose = _NOBODY._replace(frames=frames_of(image))
        except UnreadableImage as reason:
            content, size, time, error = None, 0, -1, str(reason)
        except (OSError, ValueError) as problem:  # a ValueError for a name that can be none
            content, size, time, error = None, 0, -1, read_reason(problem)
        rows.append((content, size, time, error, *whose, *facts))
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * len(Fingerprints._fields[1:])
    return Fingerprints(first, *(list(column) for column in columns))


def known_fingerprints(source: OpenSource, keys: Sequence[str], cache: Path) -> pd.DataFrame:
    """What an earlier run knows of these images: content (None: must be read), bytes, time, `IDENTITY`, `VALUES`.

    Files are known by size and time, other images by their version token (see `sources.Source`), which then stands for the time.
    """
    version_tokens = source.version_tokens(keys)
    entries: list[tuple] = [(None, 0, token, *_UNKNOWN) for token in version_tokens]
    if not cache.is_file():
        return _fingerprints_table(entries)
    try:
        if not set(_KNOWN) <= set(pq.read_schema(cache).names):  # written by a version that recorded less
            return _fingerprints_table(entries)
        read = pq.read_table(cache, columns=list(_KNOWN))
        if (read.schema.metadata or {}).get(_SALTED) != _salt_mark(source):
            return _fingerprints_table(entries)  # hashed with another salt
        old = read.to_pydict()
        if set(old) != set(_KNOWN):
            raise ValueError("it lacks columns")
    except (OSError, ValueError) as error:  # Arrow's are ValueErrors
        reason = str(error).split("\n")[0]  # Arrow goes on with the whole schema
        log.warning("the list of known files %s cannot be read (%s): all files are read again", cache.name, reason)
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
    """Remember the contents of files for the next run."""
    held = fingerprints["content"].notna() & (fingerprints["time"] >= 0)
    # keys may hold bytes that are not UTF-8
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


def batch_images(features: int, wanted: int) -> int:
    """Images of one shard, when `wanted` images must be decoded."""
    fit = max(1, SHARD_BYTES // max(1, features))
    return min(SHARD_IMAGES, fit, max(LEAST_BATCH, math.ceil(wanted / LEAST_BATCHES)))


def may_pass(errors: pd.Series) -> pd.Series:
    """Which images to try again: those whose failure may be temporary (`decode.PASSING`)."""
    return errors.astype(object).str.startswith(PASSING).eq(True)


def _again(table: pd.DataFrame) -> pd.Series:
    """Which entries of an index to make again: those that may be read now, and those measured by a version that measured less."""
    return may_pass(table["error"]) | (table["error"].isna() & table[list(ALWAYS)].isna().any(axis=1))


class Batch(NamedTuple):
    """Images to decode into one shard."""

    keys: list[str]
    contents: list[str]


def plan_batches(
    folder: Path, keys: Sequence[str], contents: Sequence[str | None], preprocess: Preprocess
) -> list[Batch]:
    """Batches for the contents that no shard holds yet, each content once."""
    index = open_shards(folder)
    held = set(index.position) - set(index.table.loc[_again(index.table), "content"])
    wanted: dict[str, str] = {}
    for key, content in zip(keys, contents, strict=True):
        if content is not None and content not in held and content not in wanted:
            wanted[content] = key
    step = batch_images(preprocess.features, len(wanted))
    items = list(wanted.items())
    return [
        Batch([key for _, key in items[i : i + step]], [content for content, _ in items[i : i + step]])
        for i in range(0, len(items), step)
    ]


def split_batches(batches: Sequence[Batch], size_of: Mapping[str, int], most: int) -> list[Batch]:
    """The same images in batches whose files have at most `most` bytes together, for batches that travel with their files."""
    out = []
    for batch in batches:
        total, first = 0, 0
        for at, key in enumerate(batch.keys):
            total += size_of[key]
            if total > most and at > first:
                out.append(Batch(batch.keys[first:at], batch.contents[first:at]))
                total, first = size_of[key], at
        out.append(Batch(batch.keys[first:], batch.contents[first:]))
    return out


def decode_batch(
    source: OpenSource,
    batch: Batch,
    preprocess: Preprocess,
    folder: str,
    memory: int | None = None,
    workers: int = 1,
    kept: Kept | None = None,
) -> int:
    """Decode a batch and write its shard; returns the number of images. A piece of work for `Tools.map`.

    A file that changed since it was hashed is recorded under the content it has now.

    Parameters
    ----------
    memory : int, optional
        Bytes that decoding may take in all threads of this process together; see `util.budget.bounded`.
    workers : int
        Processes that share what is free, where `memory` does not say.
    kept : Kept, optional
        Files that were read already.
    """
    kept = kept or Kept()
    with (
        bounded(memory, workers),
        kept.turns.take(alone=preprocess.features <= SMALL_PIXELS and kept.small(batch.keys)),
    ):
        return _decode_batch(source, batch, preprocess, folder, kept)


def _decode_batch(source: OpenSource, batch: Batch, preprocess: Preprocess, folder: str, kept: Kept) -> int:
    entries: list[_Entry] = []
    measured = np.full((len(batch.keys), len(MEASURES)), np.nan, np.float32)
    waiting: dict[int, Part] = {}
    held = 0
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path / "shard")
    try:
        # quiet for the whole batch: doing so for each image takes a fifth of the time of small ones
        with quiet(), aside.open("wb", WRITTEN_BYTES) as file:
            # image by image, so that memory does not grow with the shard
            shape = (len(batch.keys), preprocess.features)
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for row, key in enumerate(batch.keys):
                pixels = np.zeros(preprocess.features, np.uint8)
                with one_image():
                    entry, part = _decode_one(source, key, preprocess, pixels, kept.take(key))
                entries.append(entry)
                file.write(pixels)  # pyright: ignore[reportArgumentType, reportCallIssue]
                if part is not None:
                    waiting[row] = part
                    held += part.levels.nbytes
                if held > MEASURED_BYTES:
                    _measure(waiting, measured)
                    held = 0
            _measure(waiting, measured)
        # by what was read, not by what was planned: a file may have changed meanwhile, in this process or in another
        name = hash_bytes("\n".join(entry.content or "" for entry in entries).encode())
        aside.replace(path / f"{name}.npy")
    finally:
        aside.unlink(missing_ok=True)
    table = _index_table(entries, measured)
    write_aside(path / f"{name}.parquet", lambda aside: pq.write_table(table, aside))
    return len(batch.keys)


class _Entry(NamedTuple):
    """Index entry of one image, but for its row and what is measured of it."""

    content: str | None = None
    pixels: str | None = None
    format: str | None = None
    mode: str | None = None
    width: int = 0
    height: int = 0
    peak: int = -1
    grey: bool = False
    error: str | None = None
    jpeg_step: float = math.nan


def _index_table(entries: Sequence[_Entry], measured: np.ndarray) -> pa.Table:
    """The index of a shard: its entries in the order of its rows, and what was measured, float32 [n, measures]."""
    columns: dict[str, Any] = dict(zip(_Entry._fields, zip(*entries, strict=True), strict=True))
    columns["row"] = np.arange(len(entries))
    unread = np.array([entry.pixels is None for entry in entries])
    columns |= {name: pa.array(measured[:, i], mask=unread) for i, name in enumerate(MEASURES)}
    return pa.table({name: columns[name] for name in _INDEX.names}, schema=_INDEX)


def _measure(waiting: dict[int, Part], measured: np.ndarray) -> None:
    """Measure the images that wait, by row, and enter their numbers."""
    if waiting:
        measured[list(waiting)] = measure_parts(list(waiting.values()))
    waiting.clear()


def _decode_one(
    source: OpenSource,
    key: str,
    preprocess: Preprocess,
    out: np.ndarray,
    read: tuple[str, bytes | RawImage] | None = None,
) -> tuple[_Entry, Part | None]:
    """Index entry of one image and what remains to be measured; its canonical pixels are written to `out`.

    `read` are its hash and itself, where it was read already.
    """
    content = None
    try:
        image = source.read(key) if read is None else read[1]
        content = hash_image(image) if read is None else read[0]
        with guarded(damage, passing=(UnreadableImage,)):
            raw = decode_values(image, preprocess.window) if isinstance(image, bytes) else image
            raw = resolved(raw, preprocess.range)
            pixels, peak = canonical(raw, preprocess)
    except OSError as problem:
        return _Entry(content, error=read_reason(problem)), None
    except UnreadableImage as reason:
        return _Entry(content, error=str(reason)), None
    out[:] = pixels.reshape(-1)
    seen = hash_bytes(out.data), raw.format, raw.mode, raw.width, raw.height, peak, is_grey(raw)
    return _Entry(content, *seen, jpeg_step=raw.jpeg_step), part_of(raw.pixels)


class ShardIndex(NamedTuple):
    """The shards of a folder.

    Attributes
    ----------
    files : list of Path
        Shard files, in order of their names.
    table : DataFrame
        The index rows of all shards, each content once, with the shard's number.
    position : dict
        Content -> row of `table`.
    """

    files: list[Path]
    table: pd.DataFrame
    position: dict[str, int]

    def rows(self, shard: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Canonical images by shard number and row, uint8 [len(at), D], in the order asked for."""
        if not len(at):
            features = _mapped(self.files[0]).shape[1] if self.files else 0
            return np.empty((0, features), np.uint8)
        shard, at = np.asarray(shard), np.asarray(at)
        parts = list(_runs(shard, at))
        if len(parts) == 1:
            number, start, stop, _, _ = parts[0]
            return _mapped(self.files[number])[start:stop]
        numbers = np.unique(shard)
        opened = {int(number): _mapped(self.files[number]) for number in numbers}
        out = np.empty((len(at), next(iter(opened.values())).shape[1]), np.uint8)
        if len(parts) > SCATTERED * len(numbers):
            for number, pixels in opened.items():
                to = np.nonzero(shard == number)[0]
                out[to] = pixels[at[to]]
        else:
            for number, start, stop, to, to_stop in parts:
                out[to:to_stop] = opened[number][start:stop]
        return out


def _mapped(file: Path) -> np.ndarray:
    """A shard's pixels, mapped; opened once, as that takes as long as reading a hundred small images."""
    stat = file.stat()
    return _mapped_state(str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=MAPPED)
def _mapped_state(file: str, *state: int) -> np.ndarray:
    """A file in this state: a damaged one is written anew under its name."""
    return np.load(file, mmap_mode="r")


def _runs(shard: np.ndarray, at: np.ndarray) -> Iterator[tuple[int, int, int, int, int]]:
    """Split positions into runs of consecutive rows of one shard: (shard, start, stop, to, to_stop)."""
    breaks = np.nonzero((np.diff(shard) != 0) | (np.diff(at) != 1))[0] + 1
    starts = np.concatenate([[0], breaks])
    stops = np.concatenate([breaks, [len(at)]])
    for to, to_stop in zip(starts.tolist(), stops.tolist(), strict=True):
        yield int(shard[to]), int(at[to]), int(at[to_stop - 1]) + 1, to, to_stop


def open_shards(folder: Path) -> ShardIndex:
    """Read the indices of a folder's shards; damaged ones are left out with a warning.

    Raises
    ------
    DatapropsError
        If the shards were written by another version.
    """
    _check_version(folder.parent)
    files: list[Path] = []
    tables: list[pa.Table] = []
    for index in sorted(folder.glob("*.parquet")) if folder.is_dir() else ():
        try:
            table = pq.read_table(index, schema=_INDEX)
            file = index.with_suffix(".npy")
            pixels = np.load(file, mmap_mode="r", allow_pickle=False)
            if pixels.ndim != 2 or pixels.dtype != np.uint8 or len(pixels) != table.num_rows:
                raise ValueError(f"it holds {pixels.dtype} {list(pixels.shape)}, its index {table.num_rows} images")
            if file.stat().st_size != pixels.offset + pixels.nbytes:
                raise ValueError("its size is not what its header says")
        except (OSError, ValueError, EOFError, pa.ArrowInvalid) as error:
            log.warning("the shard %s is damaged (%s): its images are decoded again", index.stem, error)
            continue
        tables.append(table.append_column("shard", pa.array([len(files)] * table.num_rows, pa.int64())))
        files.append(file)
    whole = pa.concat_tables(tables) if tables else _INDEX.append(pa.field("shard", pa.int64())).empty_table()
    table = whole.to_pandas()
    table = table[table["content"].notna()]
    # what was tried again and read, or measured since, counts, not the old entry
    table = table.iloc[np.argsort(_again(table).to_numpy(), kind="stable")]
    table = table.drop_duplicates("content").reset_index(drop=True)
    return ShardIndex(files, table, {content: row for row, content in enumerate(table["content"])})


def pinned(folder: Path, names: Sequence[str]) -> ShardIndex:
    """These shards of a folder, numbered in this order, without their indices.

    What holds shard numbers keeps the names beside them: meanwhile an audit of another dataset may add shards to the folder,
    and its list would number them anew.
    """
    return ShardIndex([folder / name for name in names], _INDEX.empty_table().to_pandas(), {})


def describe(index: ShardIndex, contents: Sequence[str | None]) -> pd.DataFrame:
    """Index rows of these contents, in their order; rows of NaN / None where a content is in no shard."""
    rows = [index.position.get(content, -1) if content is not None else -1 for content in contents]
    return index.table.reindex(rows).drop(columns="content").reset_index(drop=True)


def _check_version(shards: Path) -> None:
    marker = shards / "version.json"
    if marker.is_file():
        try:
            schema = json.loads(marker.read_text())["schema"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatapropsError(
                f"{marker} is damaged ({error}): restore it, or remove that folder (the images are then decoded again)"
            ) from error
        if schema != SCHEMA:
            raise DatapropsError(
                f"the shards in {shards} have schema {schema}, this version reads {SCHEMA}: use another --store, or"
                " remove that folder (the images are then decoded again)"
            )
    elif shards.is_dir():
        write_aside(marker, lambda aside: aside.write_text(json.dumps({"schema": SCHEMA}) + "\n"))

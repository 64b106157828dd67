"""Decoding of images that are in no shard yet, in batches; each batch becomes a shard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.imaging.decode import (
    Preprocess,
    RawImage,
    UnreadableImage,
    canonical,
    damage,
    decode_values,
    is_grey,
    quiet,
    resolved,
)
from dataprops.imaging.measures import Part, measure_parts, part_of
from dataprops.sources import OpenSource
from dataprops.store.hashing import hash_bytes, hash_image, read_reason
from dataprops.store.held import Kept
from dataprops.store.shards import INDEX, MEASURES, open_shards, to_read_again
from dataprops.util.budget import bounded, one_image
from dataprops.util.files import aside_of, write_aside
from dataprops.util.guard import guarded

SHARD_BYTES = 64 * 2**20
SHARD_IMAGES = 1024
WRITTEN_BYTES = 2**20  # write buffer of a shard
MEASURED_BYTES = 2**20  # images measured together; temporarily takes ten times as much
LEAST_BATCHES = 16  # for a large dataset, so that every core has work
LEAST_BATCH = 32
SMALL_PIXELS = 128 * 128  # values of a canonical image; larger ones are resized in parallel


def batch_images(features: int, wanted: int) -> int:
    """Images per shard if `wanted` images must be decoded."""
    fit = max(1, SHARD_BYTES // max(1, features))
    return min(SHARD_IMAGES, fit, max(LEAST_BATCH, math.ceil(wanted / LEAST_BATCHES)))


class Batch(NamedTuple):
    """Images to decode into one shard."""

    keys: list[str]
    contents: list[str]


def plan_batches(
    folder: Path, keys: Sequence[str], contents: Sequence[str | None], preprocess: Preprocess
) -> list[Batch]:
    """Batches of the contents that are in no shard yet, each once."""
    index = open_shards(folder)
    held = set(index.position) - set(index.table.loc[to_read_again(index.table), "content"])
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
    """Split batches so that their files have at most `most` bytes in total, for batches sent with their files."""
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
    """Decode a batch and write its shard; returns the number of images. For `Tools.map`.

    A file that changed since it was hashed is recorded under its new content.

    Parameters
    ----------
    memory : int, optional
        Bytes for decoding in all threads of this process; see `util.budget.bounded`.
    workers : int
        Processes that share the free memory if `memory` is not given.
    kept : Kept, optional
        Files that were already read.
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
        # once per batch: per image it would take a fifth of the time of small ones
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
        # named by the contents read, not planned: files may have changed meanwhile
        name = hash_bytes("\n".join(entry.content or "" for entry in entries).encode())
        aside.replace(path / f"{name}.npy")
    finally:
        aside.unlink(missing_ok=True)
    table = _index_table(entries, measured)
    write_aside(path / f"{name}.parquet", lambda aside: pq.write_table(table, aside))
    return len(batch.keys)


class _Entry(NamedTuple):
    """Index entry of an image, without its row and measures."""

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
    """The index of a shard: its entries in row order, with measures float32 [n, measures]."""
    columns: dict[str, Any] = dict(zip(_Entry._fields, zip(*entries, strict=True), strict=True))
    columns["row"] = np.arange(len(entries))
    unread = np.array([entry.pixels is None for entry in entries])
    columns |= {name: pa.array(measured[:, i], mask=unread) for i, name in enumerate(MEASURES)}
    return pa.table({name: columns[name] for name in INDEX.names}, schema=INDEX)


def _measure(waiting: dict[int, Part], measured: np.ndarray) -> None:
    """Measure the waiting images and store the results by row."""
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
    """Index entry of an image, and its part still to be measured; writes its canonical pixels to `out`.

    `read` is its hash and content, if it was already read.
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

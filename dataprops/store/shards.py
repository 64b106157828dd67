"""Canonical images on disk, content-addressed: an image is decoded only once per preprocessing.

    STORE/shards/version.json
    STORE/shards/files/<dataset>.parquet       size and time of each file -> content (`hashing`)
    STORE/shards/<preprocess>/<shard>.npy      uint8 [n, D]
    STORE/shards/<preprocess>/<shard>.parquet  content, row, pixels and metadata of each image of the shard

A shard is valid once its .parquet exists, which is written last (`decoding`). Its name is a hash of its contents, so two processes
writing the same shard write the same bytes. Unreadable images are recorded with the reason, and not retried. A damaged shard is
ignored with a warning, and its images are decoded again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import PASSING
from dataprops.imaging.measures import Measures
from dataprops.util.files import write_aside

log = logging.getLogger(__name__)

SCHEMA = 1
SCATTERED = 8  # mean runs of rows per shard above which rows are gathered by fancy indexing
MAPPED = 128  # shards kept memory-mapped

MEASURES = tuple(f"original_{name}" for name in Measures._fields)
# measures that every readable image has: one per version that added some. Images from older stores without them are decoded again,
# since findings that need them would silently be missing
ALWAYS = (MEASURES[0], "original_step")
INDEX = pa.schema(
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
        # of the original; missing in older shards
        ("jpeg_step", pa.float32()),
        *((name, pa.float32()) for name in MEASURES),
    ]
)


def may_pass(errors: pd.Series) -> pd.Series:
    """Mask of images to retry: those whose failure may be temporary (`decode.PASSING`)."""
    return errors.astype(object).str.startswith(PASSING).eq(True)


def to_read_again(table: pd.DataFrame) -> pd.Series:
    """Mask of index entries to redo: temporary failures, and images without all measures in `ALWAYS`."""
    return may_pass(table["error"]) | (table["error"].isna() & table[list(ALWAYS)].isna().any(axis=1))


class ShardIndex(NamedTuple):
    """The shards of a folder.

    Attributes
    ----------
    files : list of Path
        Shard files, sorted by name.
    table : DataFrame
        Index rows of all shards, each content once, with the shard number.
    position : dict
        Content -> row of `table`.
    """

    files: list[Path]
    table: pd.DataFrame
    position: dict[str, int]

    def rows(self, shard: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Canonical images by shard number and row, uint8 [len(at), D], in the given order."""
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
    """A shard's pixels, memory-mapped and cached: opening takes as long as reading a hundred small images."""
    stat = file.stat()
    return _mapped_state(str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=MAPPED)
def _mapped_state(file: str, *state: int) -> np.ndarray:
    """Map a file; keyed by its state, since a damaged shard is rewritten under the same name."""
    return np.load(file, mmap_mode="r")


def _runs(shard: np.ndarray, at: np.ndarray) -> Iterator[tuple[int, int, int, int, int]]:
    """Split positions into runs of consecutive rows of one shard: (shard, start, stop, to, to_stop)."""
    breaks = np.nonzero((np.diff(shard) != 0) | (np.diff(at) != 1))[0] + 1
    starts = np.concatenate([[0], breaks])
    stops = np.concatenate([breaks, [len(at)]])
    for to, to_stop in zip(starts.tolist(), stops.tolist(), strict=True):
        yield int(shard[to]), int(at[to]), int(at[to_stop - 1]) + 1, to, to_stop


def open_shards(folder: Path) -> ShardIndex:
    """Read the indices of a folder's shards; damaged ones are ignored with a warning.

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
            table = pq.read_table(index, schema=INDEX)
            file = index.with_suffix(".npy")
            pixels = np.load(file, mmap_mode="r", allow_pickle=False)
            if pixels.ndim != 2 or pixels.dtype != np.uint8 or len(pixels) != table.num_rows:
                raise ValueError(f"it has {pixels.dtype} {list(pixels.shape)}, its index {table.num_rows} images")
            if file.stat().st_size != pixels.offset + pixels.nbytes:
                raise ValueError("its size does not match its header")
        except (OSError, ValueError, EOFError, pa.ArrowInvalid) as error:
            log.warning("the shard %s is damaged (%s): its images are decoded again", index.stem, error)
            continue
        tables.append(table.append_column("shard", pa.array([len(files)] * table.num_rows, pa.int64())))
        files.append(file)
    whole = pa.concat_tables(tables) if tables else INDEX.append(pa.field("shard", pa.int64())).empty_table()
    table = whole.to_pandas()
    table = table[table["content"].notna()]
    # entries that were redone take precedence over the old ones
    table = table.iloc[np.argsort(to_read_again(table).to_numpy(), kind="stable")]
    table = table.drop_duplicates("content").reset_index(drop=True)
    return ShardIndex(files, table, {content: row for row, content in enumerate(table["content"])})


def pinned(folder: Path, names: Sequence[str]) -> ShardIndex:
    """These shards of a folder, numbered in this order, without their indices.

    Shard numbers are stored together with these names: an audit of another dataset may add shards to the folder and shift the
    numbering.
    """
    return ShardIndex([folder / name for name in names], INDEX.empty_table().to_pandas(), {})


def describe(index: ShardIndex, contents: Sequence[str | None]) -> pd.DataFrame:
    """Index rows of these contents, in order; NaN / None for contents in no shard."""
    rows = [index.position.get(content, -1) if content is not None else -1 for content in contents]
    return index.table.reindex(rows).drop(columns="content").reset_index(drop=True)


def _check_version(shards: Path) -> None:
    marker = shards / "version.json"
    if marker.is_file():
        try:
            schema = json.loads(marker.read_text())["schema"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatapropsError(
                f"{marker} is damaged ({error}): restore it, or delete that folder (the images are then decoded again)"
            ) from error
        if schema != SCHEMA:
            raise DatapropsError(
                f"the shards in {shards} have schema {schema}, but this version reads {SCHEMA}: use another --store, or"
                " delete that folder (the images are then decoded again)"
            )
    elif shards.is_dir():
        write_aside(marker, lambda aside: aside.write_text(json.dumps({"schema": SCHEMA}) + "\n"))

"""Canonical pixels of a run's images, by id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dataprops.audit.workspace import Run
from dataprops.store import shards

BLOCK_BYTES = 32 * 2**20
OPEN = 64  # shards kept open: opening one takes longer than reading an image


class Pictures:
    """Canonical images of a running audit, uint8 [size, size, channels]."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._preprocess = run.files.decoded.read().preprocess
        self._index = shards.pinned(run.shards / self._preprocess.key, run.files.shard_names.read())
        table = run.files.files.read(["shard", "row", "pixels"])
        self._shard, self._row = table["shard"].to_numpy(), table["row"].to_numpy()
        self._readable = table["pixels"].notna().to_numpy()
        self._open: dict[int, np.ndarray] = {}  # most recently opened shards

    def __call__(self, image: int) -> np.ndarray | None:
        """One image; None if it is unreadable."""
        if not self._readable[image]:
            return None
        shard = int(self._shard[image])
        if shard not in self._open:
            if len(self._open) >= OPEN:
                del self._open[next(iter(self._open))]
            self._open[shard] = np.load(self._index.files[shard], mmap_mode="r")
        shape = (self._preprocess.size, self._preprocess.size, self._preprocess.channels)
        return np.array(self._open[shard][int(self._row[image])]).reshape(shape)

    def blocks(self, ids: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield ids [b] and images uint8 [b, size, size, channels] of the readable ones, in blocks."""
        shape = (self._preprocess.size, self._preprocess.size, self._preprocess.channels)
        wanted = np.asarray(ids, np.int64)
        wanted = wanted[self._readable[wanted]]
        step = max(1, BLOCK_BYTES // self._preprocess.features)
        for start in range(0, len(wanted), step):
            part = wanted[start : start + step]
            yield part, self._index.rows(self._shard[part], self._row[part]).reshape(-1, *shape)

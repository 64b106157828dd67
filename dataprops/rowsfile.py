"""The rows of a pass as a file: what workers need to read them from the shards, wherever they run."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataprops.distances.allpairs import Rows
from dataprops.shards import ShardIndex, pinned


class ShardReader(NamedTuple):
    """A `RowReader` over shards: row i is row `at[i]` of shard `shard[i]`."""

    shards: ShardIndex
    shard: np.ndarray
    at: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.shards.rows(self.shard[rows], self.at[rows])


def save_rows(
    path: Path,
    folder: Path,
    names: Sequence[str],
    shard: np.ndarray,
    at: np.ndarray,
    features: int,
    y: np.ndarray,
    primary: np.ndarray,
) -> None:
    """Write which shard rows, with which labels, make up a pass; `shard` numbers the shard files `names`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(
            file,
            folder=np.array(str(folder)),
            names=np.array(names, dtype=str),
            shard=shard,
            at=at,
            features=np.array(features),
            y=y,
            primary=primary,
        )


@functools.lru_cache(maxsize=2)
def open_rows(path: str) -> Rows:
    """The rows that `save_rows` described."""
    with np.load(path, allow_pickle=False) as saved:
        reader = ShardReader(pinned(Path(str(saved["folder"])), saved["names"].tolist()), saved["shard"], saved["at"])
        return Rows(reader, int(saved["features"]), saved["y"], saved["primary"])

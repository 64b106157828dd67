"""The rows of a pass as a file, and the basis of their sketches: what workers need to read, wherever they run."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataprops.distances.allpairs import Rows
from dataprops.distances.sketch import Basis, basis_arrays, basis_from
from dataprops.store.shards import ShardIndex, pinned
from dataprops.util.files import write_arrays


class ShardReader(NamedTuple):
    """A `RowReader` over shards: row i is row `at[i]` of shard `shard[i]`."""

    shards: ShardIndex
    shard: np.ndarray
    at: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.shards.rows(self.shard[rows], self.at[rows])


class RowPlaces(NamedTuple):
    """Where the rows of a pass lie: row i is row `at[i]` of the shard file `names[shard[i]]` in `folder`."""

    folder: Path
    names: Sequence[str]
    shard: np.ndarray
    at: np.ndarray


def save_rows(
    path: Path,
    places: RowPlaces,
    features: int,
    y: np.ndarray,
    primary: np.ndarray,
) -> None:
    """Write which shard rows, with which labels, make up a pass."""
    write_arrays(
        path,
        folder=np.array(str(places.folder)),
        names=np.array(places.names, dtype=str),
        shard=places.shard,
        at=places.at,
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


def save_basis(folder: Path, basis: Basis) -> Path:
    """Write a basis into a file that is named by its content: a worker that has read one never takes another for it."""
    arrays = basis_arrays(basis)
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(arrays[name].tobytes())
    path = folder / f"basis-{digest.hexdigest()}.npz"
    if not path.exists():
        write_arrays(path, **arrays)
    return path


@functools.lru_cache(maxsize=2)
def open_basis(path: str) -> Basis:
    """The basis that `save_basis` wrote."""
    with np.load(path, allow_pickle=False) as saved:
        return basis_from(dict(saved))

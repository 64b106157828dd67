"""Files from which workers read the rows of a pass and the basis of their sketches."""

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
    """Location of the rows of a pass: row i is row `at[i]` of the shard file `names[shard[i]]` in `folder`."""

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
    """Save the location and labels of a pass's rows."""
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
    """Open the rows saved by `save_rows`."""
    with np.load(path, allow_pickle=False) as saved:
        reader = ShardReader(pinned(Path(str(saved["folder"])), saved["names"].tolist()), saved["shard"], saved["at"])
        return Rows(reader, int(saved["features"]), saved["y"], saved["primary"])


def save_basis(folder: Path, basis: Basis) -> Path:
    """Save a basis in a file named by its content hash, so that workers can cache it by path."""
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
    """Load a basis saved by `save_basis`."""
    with np.load(path, allow_pickle=False) as saved:
        return basis_from(dict(saved))

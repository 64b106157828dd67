"""Checkpoint of an unfinished pass: one .npz, written to a temporary file and renamed, so it is never partial."""

from __future__ import annotations

import logging
import zipfile
from pathlib import Path

import numpy as np

from dataprops.distances.state import NearPairs, State
from dataprops.util.files import write_arrays

log = logging.getLogger(__name__)


def save_checkpoint(path: Path, key: str, state: State, near: NearPairs, done: set[int]) -> None:
    """Save the state and the numbers of the finished jobs."""
    a, b, d2 = near.arrays()
    write_arrays(
        path,
        key=np.array(key),
        done=np.array(sorted(done), np.int64),
        near_a=a,
        near_b=b,
        near_d2=d2,
        near_count=np.array(near.count),
        **state._asdict(),
    )


def load_checkpoint(path: Path, key: str, state: State, near: NearPairs) -> set[int]:
    """Restore `state` and `near` from a checkpoint with the same key; returns the finished jobs (empty if there is none)."""
    if not path.is_file():
        return set()
    try:
        with np.load(path, allow_pickle=False) as saved:
            if str(saved["key"]) != key:
                return set()
            arrays = {name: saved[name] for name in State._fields}
            done = {int(number) for number in saved["done"]}
            pairs = saved["near_a"], saved["near_b"], saved["near_d2"]
            count = int(saved["near_count"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        log.warning("the checkpoint %s cannot be read (%s): starting from scratch", path.name, error)
        return set()
    for name, values in arrays.items():
        getattr(state, name)[:] = values
    near.add(*pairs, count=count)
    log.info("resuming the pass over pairs: %d jobs already done", len(done))
    return done

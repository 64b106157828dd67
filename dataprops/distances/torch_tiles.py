"""Fold one tile into a state with plain torch operations on any device: the fallback on CUDA, and the reference for `kernel`.

Slower than the compiled epilogue on a CPU but straightforward: all squared distances of the tile are computed in int64, the k smallest
of each row (column) are selected by a packed key (distance, position), and merged with the state. On a GPU tiles are large, so that
products dominate.

State tensors are sorted ascending, not heaps: `TorchState` mirrors `state.State` after `finalize`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dataprops.distances.kernel import EMPTY, Rules

_EMPTY = int(EMPTY)
_FAR = 2**62  # sorts after every key


class TorchState(NamedTuple):
    """`state.State` as tensors on one device; neighbours ascending by (d2, index)."""

    knn_d2: Tensor
    knn_index: Tensor
    sharp: Tensor
    sharp_d2: Tensor
    sharp_index: Tensor


class TorchRows(NamedTuple):
    """Rows of one side of a tile: norms int64, labels float64, indices int64, primary bool; as in `allpairs.Block`."""

    norm: Tensor
    y: Tensor
    number: Tensor
    primary: Tensor


def _nearest(state: TorchState, d2: Tensor, allowed: Tensor, other: TorchRows) -> TorchState:
    """Merge the k nearest allowed columns of each row. d2 int64 [m, n]; columns must be in ascending order of index."""
    k = state.knn_d2.shape[1]
    if k == 0:
        return state
    n = d2.shape[1]
    bits = max(1, (n - 1).bit_length())
    keys = torch.where(allowed, (d2 << bits) | torch.arange(n, device=d2.device), _FAR)
    best = keys.topk(min(k, n), dim=1, largest=False).values
    found = best < _FAR
    column = torch.where(found, best & ((1 << bits) - 1), 0)
    new_d2 = torch.where(found, (best >> bits).double(), torch.inf)
    return merge(state, new_d2, torch.where(found, other.number[column], _EMPTY))


def merge(state: TorchState, new_d2: Tensor, new_index: Tensor) -> TorchState:
    """Merge other neighbours of the same rows, [m, any number]; no pair may be in both."""
    k = state.knn_d2.shape[1]
    all_d2 = torch.cat([state.knn_d2, new_d2], dim=1)
    all_index = torch.cat([state.knn_index, new_index], dim=1)
    by_index = all_index.argsort(dim=1, stable=True)
    by_both = by_index.gather(1, all_d2.gather(1, by_index).argsort(dim=1, stable=True))[:, :k]
    return state._replace(knn_d2=all_d2.gather(1, by_both), knn_index=all_index.gather(1, by_both))


def _sharpest(
    state: TorchState, d2: Tensor, rows: TorchRows, other: TorchRows, numeric: bool, allowed: Tensor
) -> TorchState:
    """Merge the sharpest pair of each row; ties go to the smaller index."""
    step = rows.y[:, None] - other.y[None, :]
    differs = (step < 0) | (step > 0)
    gain = torch.where(differs & allowed, (step * step if numeric else torch.ones_like(step)) / d2.double(), 0.0)
    value, column = gain.max(dim=1)
    # max() may return any of several equal columns: take the first
    column = (gain == value[:, None]).to(torch.uint8).argmax(dim=1)
    index = other.number[column]
    better = (value > state.sharp) | ((value == state.sharp) & (value > 0) & (index < state.sharp_index))
    return state._replace(
        sharp=torch.where(better, value, state.sharp),
        sharp_d2=torch.where(better, d2.gather(1, column[:, None])[:, 0].double(), state.sharp_d2),
        sharp_index=torch.where(better, index, state.sharp_index),
    )


def fold(
    g: Tensor,
    rows: TorchRows,
    columns: TorchRows,
    state_a: TorchState,
    state_b: TorchState | None,
    rules: Rules,
) -> tuple[TorchState, TorchState | None, tuple[Tensor, Tensor, Tensor]]:
    """Fold the inner products of one tile.

    Parameters
    ----------
    g : int32 or int64 [m, n]
        Inner products of shifted rows.
    state_b : TorchState or None
        State of the columns; None: only the rows. Ignored if `triangle`, where both directions go to `state_a`.

    Returns
    -------
    state_a, state_b, (near_a, near_b, near_d2)
    """
    d2 = rows.norm[:, None] + columns.norm[None, :] - 2 * g.long()
    distinct = d2 > 0
    if rules.triangle:
        # a diagonal tile is symmetric, so its rows already cover every pair
        once = torch.ones_like(distinct).triu(1)
    else:
        once = torch.ones_like(distinct)
    near = distinct & once & (d2 <= rules.near2) & rows.primary[:, None] & columns.primary[None, :]
    at, to = near.nonzero(as_tuple=True)
    pairs = (rows.number[at], columns.number[to], d2[at, to].double())
    state_a = _nearest(state_a, d2, distinct & columns.primary[None, :], columns)
    state_a = _sharpest(state_a, d2, rows, columns, rules.numeric, distinct)
    if state_b is not None and not rules.triangle:
        turned = d2.t()
        state_b = _nearest(state_b, turned, distinct.t() & rows.primary[None, :], rows)
        state_b = _sharpest(state_b, turned, columns, rows, rules.numeric, distinct.t())
    return state_a, state_b, pairs

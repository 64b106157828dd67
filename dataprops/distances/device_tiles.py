"""Fold one tile into a state on a device, processing close pairs only: once rows have neighbours, almost no pair of a later tile can
change them.

A pair matters only if its squared distance is within the larger of its rows' k-th distances, if it is sharper than the less sharp of
their sharpest pairs, or if it is near-identical. A few elementwise passes find these pairs; they are sorted by a packed key (row,
squared distance, column) and merged. If too many remain, as in the first tiles, the whole tile is folded by `torch_tiles`. Results
are bit-identical to `torch_tiles`. Squared distances are computed in int32 where D allows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dataprops.distances import torch_tiles
from dataprops.distances.kernel import EMPTY, Rules
from dataprops.distances.torch_tiles import TorchRows, TorchState

INT32_MOST = 2**31 - 1
FEW = 1 / 32  # fraction of a tile's pairs above which sorting them costs as much as the whole tile
_EMPTY = int(EMPTY)
_SLACK = 1.0 - 2.0**-49  # lets ties through to the exact comparison

NearArrays = tuple[Tensor, Tensor, Tensor]


class _Pairs(NamedTuple):
    """Pairs from one side's view: its rows, the other side's, int64 positions in the tile, and squared distances, int64."""

    row: Tensor
    other: Tensor
    d2: Tensor


def fold(
    g: Tensor, rows: TorchRows, columns: TorchRows, state_a: TorchState, state_b: TorchState | None, rules: Rules
) -> tuple[TorchState, TorchState | None, NearArrays]:
    """See `torch_tiles.fold`.

    Parameters
    ----------
    g : int32 or int64 [m, n]
        Inner products of shifted rows; overwritten.
    """
    within = state_a if rules.triangle else state_b
    reach_a, reach_b = _reach(state_a, rules.near2), None if within is None else _reach(within, rules.near2)
    if bool(torch.isinf(reach_a).any()) or (reach_b is not None and bool(torch.isinf(reach_b).any())):
        return torch_tiles.fold(g, rows, columns, state_a, state_b, rules)
    d2 = _distances(g, rows.norm, columns.norm)
    close = _close(d2, reach_a, reach_b)
    if not torch.isnan(rows.y).all() and not torch.isnan(columns.y).all():
        close |= _sharper(d2, rows, columns, state_a, within, rules.numeric)
    close &= d2 > 0
    if int(close.sum()) > FEW * close.numel():
        return torch_tiles.fold(_products(d2, rows.norm, columns.norm), rows, columns, state_a, state_b, rules)
    i, j = close.nonzero(as_tuple=True)
    pairs = _Pairs(i, j, d2[i, j].long())
    once = pairs.row < pairs.other if rules.triangle else torch.ones_like(pairs.row, dtype=torch.bool)
    near = once & (pairs.d2 <= rules.near2) & rows.primary[i] & columns.primary[j]
    found = (rows.number[i[near]], columns.number[j[near]], pairs.d2[near].double())
    state_a = _update(state_a, pairs, rows, columns, rules.numeric)
    if state_b is not None and not rules.triangle:
        state_b = _update(state_b, _Pairs(j, i, pairs.d2), columns, rows, rules.numeric)
    return state_a, state_b, found


def _distances(g: Tensor, norm_a: Tensor, norm_b: Tensor) -> Tensor:
    """Squared distances, int32 if they fit (in place over int32 products)."""
    most = int(norm_a.max()) + int(norm_b.max())
    if g.dtype == torch.int32 and 2 * most <= INT32_MOST:  # |2 g| <= norm_a + norm_b
        g.mul_(-2)
        g += norm_a.int()[:, None]
        g += norm_b.int()[None, :]
        return g
    return g.long().mul_(-2).add_(norm_a[:, None]).add_(norm_b[None, :])


def _products(d2: Tensor, norm_a: Tensor, norm_b: Tensor) -> Tensor:
    """Inner products recovered from squared distances, int64."""
    return (norm_a[:, None] + norm_b[None, :] - d2) // 2


def _reach(state: TorchState, near2: float) -> Tensor:
    """Squared distance within which a pair matters to each row, float64."""
    if not state.knn_d2.shape[1]:
        return torch.full_like(state.sharp, near2)
    return state.knn_d2[:, -1].clamp_min(near2)


def _close(d2: Tensor, reach_a: Tensor, reach_b: Tensor | None) -> Tensor:
    """Pairs within reach of their row or their column."""
    top = min(torch.iinfo(d2.dtype).max, 2**62)  # exact as float64: 2^63 - 1 would be rounded up and overflow

    def whole(reach: Tensor) -> Tensor:  # rounding down is exact, since d2 is an integer
        return reach.floor().clamp(-1, top).to(d2.dtype)

    close = d2 <= whole(reach_a)[:, None]
    if reach_b is not None:
        close |= d2 <= whole(reach_b)[None, :]
    return close


def _sharper(
    d2: Tensor, rows: TorchRows, columns: TorchRows, state_a: TorchState, state_b: TorchState | None, numeric: bool
) -> Tensor:
    """Pairs that may be as sharp as the sharpest of their row or their column."""
    step = rows.y[:, None] - columns.y[None, :]
    if not numeric:  # sharper means nearer
        return _close(d2, _sharp_reach(state_a), None if state_b is None else _sharp_reach(state_b)) & (step.abs() > 0)
    floor = state_a.sharp[:, None]
    if state_b is not None:
        floor = torch.minimum(floor, state_b.sharp[None, :])
    return (step.abs() > 0) & (step * step >= d2 * (floor * _SLACK))


def _sharp_reach(state: TorchState) -> Tensor:
    return torch.where(state.sharp > 0, state.sharp_d2, torch.inf)


def _update(state: TorchState, pairs: _Pairs, rows: TorchRows, other: TorchRows, numeric: bool) -> TorchState:
    k = state.knn_d2.shape[1]
    if k:
        listed = other.primary[pairs.other] & (pairs.d2 <= state.knn_d2[pairs.row, -1])
        some = _Pairs(pairs.row[listed], pairs.other[listed], pairs.d2[listed])
        state = torch_tiles.merge(state, *_nearest_of(some, len(rows.norm), k, other))
    return _sharpest_of(state, pairs, rows, other, numeric)


def _nearest_of(pairs: _Pairs, m: int, k: int, other: TorchRows) -> tuple[Tensor, Tensor]:
    """The k nearest of each row's pairs by (squared distance, number): float64 [m, k], int64 [m, k].

    The columns of a tile must be in ascending order of number.
    """
    order = (pairs.d2 * len(other.norm) + pairs.other).argsort()
    order = order[pairs.row[order].argsort(stable=True)]
    row = pairs.row[order]
    first = torch.searchsorted(row, torch.arange(m, device=row.device))
    rank = torch.arange(len(row), device=row.device) - first[row]
    kept = rank < k
    row, rank, order = row[kept], rank[kept], order[kept]
    d2 = torch.full((m, k), torch.inf, dtype=torch.float64, device=row.device)
    number = torch.full((m, k), _EMPTY, dtype=torch.int64, device=row.device)
    d2[row, rank] = pairs.d2[order].double()
    number[row, rank] = other.number[pairs.other[order]]
    return d2, number


def _sharpest_of(state: TorchState, pairs: _Pairs, rows: TorchRows, other: TorchRows, numeric: bool) -> TorchState:
    """Merge the sharpest of each row's pairs; ties go to the smaller number."""
    step = rows.y[pairs.row] - other.y[pairs.other]
    differs = (step < 0) | (step > 0)
    row, column, d2 = (part[differs] for part in pairs)
    rise = step[differs] ** 2 if numeric else torch.ones_like(step[differs])
    value = rise / d2.double()
    best = torch.zeros_like(state.sharp).scatter_reduce(0, row, value, "amax")
    leads = value == best[row]
    number = torch.full_like(state.sharp_index, _EMPTY)
    number = number.scatter_reduce(0, row[leads], other.number[column[leads]], "amin")
    # equally sharp pairs of a row may differ in distance; the one with the smallest number counts
    chosen = leads & (other.number[column] == number[row])
    apart = torch.zeros_like(state.sharp_d2)
    apart[row[chosen]] = d2[chosen].double()
    better = (best > state.sharp) | ((best == state.sharp) & (best > 0) & (number < state.sharp_index))
    return state._replace(
        sharp=torch.where(better, best, state.sharp),
        sharp_d2=torch.where(better, apart, state.sharp_d2),
        sharp_index=torch.where(better, number, state.sharp_index),
    )

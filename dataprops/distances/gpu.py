"""All pairs of one or two blocks on a torch device: the twin of `passes.run_unit`, bit for bit.

The strips of a block are pinned and copied to the device by a thread, on a stream of their own, while the products of earlier
strips run; a product waits only for its own strips. Runs on a bare CUDA machine with torch and numpy alone, and on
``device="cpu"`` for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.folds import Block, Side
from dataprops.distances.kernel import Rules
from dataprops.distances.passes import unlabelled
from dataprops.distances.product import choose_route, product
from dataprops.distances.runner import Runner
from dataprops.distances.state import NearPairs, PassSpec, State, finalize
from dataprops.distances.tiles import rectangle_tiles, triangle_tiles
from dataprops.distances.torch_tiles import TorchRows, TorchState, fold

EDGE = 4096  # rows of a tile: its int64 scratch is about 1 GB


class _Strip(NamedTuple):
    """Some rows of a block on a device, int8 [rows, D]; `ready` is the event of their arrival, None without streams."""

    pixels: torch.Tensor
    rows: TorchRows
    ready: torch.cuda.Event | None


def _send(block: Block, part: slice, device: torch.device, stream: torch.cuda.Stream | None) -> _Strip:
    """Pin and copy a strip: pinning takes the host about as long as copying takes the bus, so both are a thread's."""
    cuda = stream is not None
    with torch.cuda.stream(stream) if cuda else nullcontext():
        host = block.shifted[part]
        pixels = (host.pin_memory() if cuda else host).to(device, non_blocking=cuda)
        rows = TorchRows(
            torch.from_numpy(block.norm[part]).to(device).long(),
            torch.from_numpy(block.y[part]).to(device),
            torch.from_numpy(block.number[part]).to(device).long(),
            torch.from_numpy(block.primary[part]).to(device),
        )
        return _Strip(pixels, rows, stream.record_event() if cuda else None)


def _send_in_turn(
    blocks: list[Block], edge: int, device: torch.device, stream: torch.cuda.Stream | None, sender: Executor
) -> list[list[Future[_Strip]]]:
    """Send the strips of some blocks, the first of each before the second of any: the first tile then waits for little."""
    sent: list[list[Future[_Strip]]] = [[] for _ in blocks]
    for start in range(0, max(block.n for block in blocks), edge):
        for block, strips in zip(blocks, sent, strict=True):
            if start < block.n:
                strips.append(sender.submit(_send, block, slice(start, start + edge), device, stream))
    return sent


def _arrived(sent: Future[_Strip]) -> _Strip:
    """A strip that whatever is launched from now on may use."""
    strip = sent.result()
    if strip.ready is not None:
        torch.cuda.current_stream(strip.pixels.device).wait_event(strip.ready)
    return strip


def _to_device(state: State, edge: int, device: torch.device) -> list[TorchState]:
    final = finalize(state)
    return [
        TorchState(
            torch.from_numpy(final.knn_d2[part]).to(device),
            torch.from_numpy(final.knn_index[part].astype(np.int64)).to(device),
            torch.from_numpy(final.sharp[part]).to(device),
            torch.from_numpy(final.sharp_d2[part]).to(device),
            torch.from_numpy(final.sharp_index[part].astype(np.int64)).to(device),
        )
        for start in range(0, len(state.sharp), edge)
        for part in [slice(start, start + edge)]
    ]


def _from_device(state: State, strips: list[TorchState], edge: int) -> None:
    for number, strip in enumerate(strips):
        part = slice(number * edge, (number + 1) * edge)
        state.knn_d2[part] = strip.knn_d2.cpu().numpy()[:, ::-1]  # descending: a max-heap
        state.knn_index[part] = strip.knn_index.cpu().numpy()[:, ::-1].astype(np.int32)
        state.sharp[part] = strip.sharp.cpu().numpy()
        state.sharp_d2[part] = strip.sharp_d2.cpu().numpy()
        state.sharp_index[part] = strip.sharp_index.cpu().numpy().astype(np.int32)


def run_unit_on_device(
    a: Side,
    b: Side | None,
    spec: PassSpec,
    near: NearPairs,
    runner: Runner,
    on_pairs: Callable[[int], None] | None = None,
    *,
    edge: int = EDGE,
) -> None:
    """See `passes.run_unit`; the runner's device is any torch device string, `edge` the rows of a tile there.

    Raises
    ------
    RuntimeError
        If the device has no exact integer product.
    """
    device = runner.device
    target = torch.device(device)
    route = choose_route(device)
    if not spec.sharp:
        a, b = unlabelled(a), None if b is None else unlabelled(b)
    assert a.state is not None
    stream = torch.cuda.Stream(target) if target.type == "cuda" else None
    with ThreadPoolExecutor(1, "strips") as sender:
        strips = _send_in_turn([a.block] if b is None else [a.block, b.block], edge, target, stream, sender)
        known_a = _to_device(a.state, edge, target)
        known_b = known_a if b is None else None if b.state is None else _to_device(b.state, edge, target)
        tiles = triangle_tiles(a.block.n, edge) if b is None else rectangle_tiles(a.block.n, b.block.n, edge)
        for tile in tiles:
            i, j = tile.rows.start // edge, tile.columns.start // edge
            x, y = _arrived(strips[0][i]), _arrived(strips[-1][j])
            g = product(x.pixels, y.pixels, route)
            if tile.triangle and not torch.equal(g.diagonal().long(), x.rows.norm):
                raise RuntimeError(f"the {route} product gave wrong integers on {device}: its results cannot be used")
            rules = Rules(spec.numeric, spec.near2, tile.triangle, known_b is not None)
            other = None if known_b is None else known_b[j]
            known_a[i], other, pairs = fold(g, x.rows, y.rows, known_a[i], other, rules)
            if known_b is not None and other is not None and not tile.triangle:
                known_b[j] = other
            if len(pairs[0]):
                first, second, d2 = (part.cpu().numpy() for part in pairs)
                near.add(first.astype(np.int32), second.astype(np.int32), d2)
            if on_pairs:
                on_pairs(tile.pairs)
    _from_device(a.state, known_a, edge)
    if b is not None and b.state is not None and known_b is not None:
        _from_device(b.state, known_b, edge)

"""All pairs of one or two blocks on a torch device, bit-identical to `passes.run_unit`.

Host threads read strips of rows into pinned buffers, which are copied to the device on a separate stream and shifted there (x ^ 128)
while the products of earlier strips run; a product waits only for its own strips. Requires only torch, numpy, numba and pandas; runs
on ``device="cpu"`` for tests.

Sketches are not used. At 10^15 int8 operations per second, all products of a tile of 8,192 rows take 0.6 ms at 3,072 features and
20 ms at 150,528. Products of codes of 256 coordinates would take 0.05 ms, and scanning the tile for close pairs as long as for true
distances; reading the single pairs that pass, 1 % of a tile, at 4 TB/s would take 1 ms and 50 ms: more than all products.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch

from dataprops.distances.device_tiles import fold
from dataprops.distances.folds import Block, Side
from dataprops.distances.kernel import Rules
from dataprops.distances.passes import unlabelled
from dataprops.distances.plan import free_device_memory
from dataprops.distances.product import choose_route, product
from dataprops.distances.runner import Runner
from dataprops.distances.state import NearPairs, PassSpec, State, finalize
from dataprops.distances.tiles import rectangle_tiles, triangle_tiles
from dataprops.distances.torch_tiles import TorchRows, TorchState

EDGE = 8192  # rows of a tile: its int64 scratch is about 4 GB
SMALL_EDGE = 4096  # if the device has less free memory than the following
ROOMY = 24 * 2**30
BUFFERS, BUFFER_BYTES = 3, 2**26
NORM_FEATURES = 8192


class _Strip(NamedTuple):
    """Rows of a block on a device, int8 [rows, D]; `ready` is the CUDA event of their arrival, None without streams."""

    pixels: torch.Tensor
    rows: TorchRows
    ready: Any


class _Sender:
    """Copies strips to a device through a ring of pinned buffers, one filled by all threads while another is copied."""

    def __init__(self, device: torch.device, features: int, threads: int) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.threads = ThreadPoolExecutor(max(1, threads), "fill")
        self.share = max(1, BUFFER_BYTES // max(1, features * max(1, threads)))  # rows per thread
        self.step = self.share * max(1, threads)
        pin = self.stream is not None
        self.buffers = [torch.empty(self.step, features, dtype=torch.uint8, pin_memory=pin) for _ in range(BUFFERS)]
        self.busy: list[Any] = [None] * BUFFERS
        self.turn = 0

    def close(self) -> None:
        self.threads.shutdown()

    def send(self, block: Block, part: slice) -> _Strip:
        """Send rows `part` of a block."""
        positions = np.arange(block.n)[part]
        with torch.cuda.stream(self.stream) if self.stream is not None else nullcontext():
            pixels = torch.empty(len(positions), block.features, dtype=torch.uint8, device=self.device)
            for start in range(0, len(positions), self.step):
                self._fill(block, positions[start : start + self.step], pixels[start : start + self.step])
            shifted = pixels.bitwise_xor_(128).view(torch.int8)
            rows = TorchRows(
                _norms(shifted),
                torch.from_numpy(block.y[part]).to(self.device),
                torch.from_numpy(block.number[part]).to(self.device).long(),
                torch.from_numpy(block.primary[part]).to(self.device),
            )
            return _Strip(shifted, rows, None if self.stream is None else self.stream.record_event())

    def _fill(self, block: Block, positions: np.ndarray, target: torch.Tensor) -> None:
        self.turn = (self.turn + 1) % BUFFERS
        buffer, busy = self.buffers[self.turn], self.busy[self.turn]
        if busy is not None:
            busy.synchronize()
        into = buffer.numpy()

        def fill(start: int) -> None:
            some = positions[start : start + self.share]
            if block.raw is not None:
                np.copyto(into[start : start + len(some)], block.raw(some))
            else:
                shifted = block.shifted.numpy() if block.later is None else block.later(some).numpy()
                rows = shifted[some] if block.later is None else shifted
                np.bitwise_xor(rows.view(np.uint8), 128, out=into[start : start + len(some)])

        list(self.threads.map(fill, range(0, len(positions), self.share)))
        target.copy_(buffer[: len(positions)], non_blocking=self.stream is not None)
        if self.stream is not None:
            self.busy[self.turn] = self.stream.record_event()


def _norms(shifted: torch.Tensor) -> torch.Tensor:
    """Squared norms of the rows, int64 [n], a few features at a time to limit the memory of int32 squares."""
    total = torch.zeros(len(shifted), dtype=torch.int64, device=shifted.device)
    for start in range(0, shifted.shape[1], NORM_FEATURES):
        part = shifted[:, start : start + NORM_FEATURES].int()
        total += (part * part).sum(dim=1)
    return total


def _send_in_turn(blocks: list[Block], edge: int, sender: _Sender, thread: Executor) -> list[list[Future[_Strip]]]:
    """Send the strips of some blocks, interleaved, so that the first tile can start early."""
    sent: list[list[Future[_Strip]]] = [[] for _ in blocks]
    for start in range(0, max(block.n for block in blocks), edge):
        for block, strips in zip(blocks, sent, strict=True):
            if start < block.n:
                strips.append(thread.submit(sender.send, block, slice(start, min(block.n, start + edge))))
    return sent


def _arrived(sent: Future[_Strip]) -> _Strip:
    """Make the current stream wait for a strip, and return it."""
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


def tile_edge(device: str) -> int:
    """Rows of a tile on this device."""
    free = free_device_memory(device)
    return EDGE if free is None or free > ROOMY else SMALL_EDGE


def run_unit_on_device(
    a: Side,
    b: Side | None,
    spec: PassSpec,
    near: NearPairs,
    runner: Runner,
    on_pairs: Callable[[int], None] | None = None,
    *,
    edge: int | None = None,
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
    edge = edge or tile_edge(device)
    if not spec.sharp:
        a, b = unlabelled(a), None if b is None else unlabelled(b)
    assert a.state is not None
    sender = _Sender(target, a.block.features, runner.threads)
    with closing(sender), ThreadPoolExecutor(1, "strips") as thread:
        strips = _send_in_turn([a.block] if b is None else [a.block, b.block], edge, sender, thread)
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

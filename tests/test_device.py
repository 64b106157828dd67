"""The route of devices: the same bits as on CPUs. On the CPU everywhere; marked `gpu`, on a CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataprops.distances import device_tiles, gpu, jobs, torch_tiles
from dataprops.distances.allpairs import PassResult, Runner, all_pairs, array_rows
from dataprops.distances.anchors import anchor_pass
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from tests.test_sketch import structured


def same(one, two) -> bool:
    pairs = zip((*one.state, *one.near.arrays()), (*two.state, *two.near.arrays()), strict=True)
    return all(np.array_equal(x, z) for x, z in pairs) and one.near.count == two.near.count


@pytest.mark.parametrize("labels", ["classes", "numbers", "none"])
@pytest.mark.parametrize("features", [6, 300, 33_000])
@pytest.mark.parametrize("block", [1000, 260])
def test_close_pairs_alone_give_the_same_bits(monkeypatch, labels, features, block):
    """Later tiles of a pass on a device look at close pairs alone; with many ties, copies, near copies and secondary rows."""
    n = 430 if features > 10_000 else 900
    rng = np.random.default_rng(features)
    pixels = structured(n, features, 5, 6.0, 1)
    pixels[n // 2 : n // 2 + 40] = pixels[:40]
    pixels[-40:] = np.clip(pixels[:40] + rng.integers(-1, 2, (40, features)), 0, 255)
    y = {
        "classes": rng.integers(0, 3, n).astype(float),
        "numbers": rng.normal(size=n).round(1),
        "none": np.full(n, np.nan),
    }
    y["classes"][::9] = np.nan
    rows = array_rows(pixels, y[labels], rng.random(n) < 0.9)
    spec = PassSpec(6, labels == "numbers", near2=2.0 * features)
    whole, tiles = [], []
    plain, close = torch_tiles.fold, gpu.fold
    monkeypatch.setattr(torch_tiles, "fold", lambda *given: whole.append(1) or plain(*given))
    monkeypatch.setattr(gpu, "fold", lambda *given: tiles.append(1) or close(*given))
    monkeypatch.setattr(gpu, "tile_edge", lambda device: 64)
    monkeypatch.setattr(device_tiles, "FEW", 0.5)
    # the device's route, on the CPU
    monkeypatch.setattr(jobs, "run_unit", lambda a, b, *given: gpu.run_unit_on_device(a, b, *given))
    found = all_pairs(rows, spec, Plan(block, 256, 0, sketches=False), Runner(2))
    monkeypatch.undo()
    assert same(found, all_pairs(rows, spec, Plan(10_000, 256, 0)))
    assert 0 < len(whole) < len(tiles)


def test_a_device_reads_rows_unshifted_and_shifts_them_itself(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40)).astype(np.uint8)
    monkeypatch.setattr(gpu, "BUFFER_BYTES", 300)  # a few rows at a time
    sender = gpu._Sender(torch.device("cpu"), 40, 3)
    strip = sender.send(jobs.raw_block(array_rows(pixels), np.arange(50)), slice(5, 45))
    sender.close()
    wanted = pixels[5:45].astype(np.int64) - 128
    assert np.array_equal(strip.pixels.numpy(), wanted)
    assert np.array_equal(strip.rows.norm.numpy(), (wanted**2).sum(axis=1))


@pytest.mark.parametrize(("labels", "sharp"), [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize("anchored", [False, True])
def test_some_against_all_and_passes_without_labels_give_the_same_bits(monkeypatch, labels, sharp, anchored):
    """Columns without a state of their own, and labels that nobody asks for."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 400).astype(float) if labels else np.full(400, np.nan)
    rows = array_rows(rng.integers(0, 4, (400, 40)).astype(np.uint8), y, rng.random(400) < 0.9)
    spec = PassSpec(5, False, near2=30.0, sharp=sharp)
    anchors = np.arange(0, 400, 3, dtype=np.int32)

    def run(block: int) -> PassResult:
        plan = Plan(block, 64, 0, sketches=False)
        return anchor_pass(rows, anchors, spec, plan) if anchored else all_pairs(rows, spec, plan)

    wanted = run(1000)
    monkeypatch.setattr(gpu, "tile_edge", lambda device: 32)
    monkeypatch.setattr(jobs, "run_unit", lambda a, b, *given: gpu.run_unit_on_device(a, b, *given))
    assert same(run(150), wanted)


@pytest.mark.parametrize(("free", "edge"), [(None, 8192), (24 * 2**30, 4096), (24 * 2**30 + 1, 8192), (2**30, 4096)])
def test_tiles_are_smaller_where_a_device_has_little_memory(monkeypatch, free, edge):
    monkeypatch.setattr(gpu, "free_device_memory", lambda device: free)
    assert gpu.tile_edge("cuda:0") == edge


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("case", [(1_000, 48, 5, "classes"), (9_000, 784, 20, "copies"), (300, 150_528, 20, "numbers")])
def test_a_pass_on_a_cuda_device_ends_in_the_same_bits(case):
    from tests.benchmarks.engine import equal_on

    assert equal_on("cuda", *case)

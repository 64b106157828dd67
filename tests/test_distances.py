"""The exact engine: every route, cut, thread count and order gives what a brute force over integers gives."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.audit import kernels
from dataprops.distances import basis_choice, dots, folds, gpu, lanes, madd, product, tiles
from dataprops.distances.allpairs import (
    JobArguments,
    JobSide,
    Resume,
    Rows,
    Runner,
    all_pairs,
    array_rows,
    compute_job,
    load_block,
    sketchable,
)
from dataprops.distances.folds import Side
from dataprops.distances.kernel import EMPTY, SAFE_FEATURES
from dataprops.distances.passes import run_unit
from dataprops.distances.plan import PassSize, Plan, Resources, plan_pass, working_bytes
from dataprops.distances.state import NearPairs, PassSpec, empty, finalize
from dataprops.distances.tiles import rectangle_tiles, triangle_tiles
from dataprops.errors import DatapropsError
from dataprops.util.version import state_of

WHOLE = Plan(10_000, 1024, 0)


def brute_force(rows: Rows, pixels: np.ndarray, spec: PassSpec):
    """Neighbours, sharpest pair and near pairs by loops over Python integers."""
    wide = pixels.astype(np.int64)
    d2 = ((wide[:, None] - wide[None]) ** 2).sum(-1)
    n, y, primary = len(pixels), rows.y, rows.primary
    neighbours = [
        sorted((int(d2[i, j]), j) for j in range(n) if d2[i, j] > 0 and primary[j])[: spec.k] for i in range(n)
    ]
    sharpest = []
    for i in range(n):
        best = (0.0, 0, int(EMPTY))
        for j in range(n):
            if d2[i, j] > 0 and (y[i] < y[j] or y[i] > y[j]):
                value = ((y[i] - y[j]) ** 2 if spec.numeric else 1.0) / float(d2[i, j])
                if value > best[0]:
                    best = (value, int(d2[i, j]), j)
        sharpest.append(best)
    near = sorted(
        (int(d2[i, j]), i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if 0 < d2[i, j] <= spec.near2 and primary[i] and primary[j]
    )
    return neighbours, sharpest, near


def assert_equals_brute_force(result, rows: Rows, pixels: np.ndarray, spec: PassSpec) -> None:
    neighbours, sharpest, near = brute_force(rows, pixels, spec)
    state = result.state
    for i, wanted in enumerate(neighbours):
        m = len(wanted)
        assert list(zip(state.knn_d2[i, :m], state.knn_index[i, :m], strict=True)) == wanted
        assert (state.knn_index[i, m:] == EMPTY).all()
        assert np.isinf(state.knn_d2[i, m:]).all()
    assert list(zip(state.sharp, state.sharp_d2, state.sharp_index, strict=True)) == sharpest
    a, b, d2 = result.near.arrays()
    assert list(zip(d2, a, b, strict=True)) == near
    assert result.near.count == len(near)


@st.composite
def cases(draw):
    """Small sets with many ties: few features, few values, some labels missing, some rows not primary."""
    n = draw(st.integers(0, 40))
    features = draw(st.integers(1, 4))
    seed = draw(st.integers(0, 2**32 - 1))
    numeric = draw(st.booleans())
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, draw(st.sampled_from([2, 5, 256])), (n, features)).astype(np.uint8)
    y = rng.choice([0.5, 1.0, 4.25], n) if numeric else rng.integers(0, 3, n).astype(float)
    y[rng.random(n) < 0.1] = np.nan
    spec = PassSpec(draw(st.integers(0, 50)), numeric, draw(st.sampled_from([-1.0, 1.0, 100.0])))
    return pixels, array_rows(pixels, y, rng.random(n) < 0.9), spec


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 45), st.sampled_from([3, 17, 256]), st.integers(1, 3), st.booleans())
def test_tiling_and_thread_agnosticism(case, block, smallest, threads, on_pool):
    pixels, rows, spec = case
    pool = (lambda jobs: ((job.number, compute_job(job, 1)) for job in jobs)) if on_pool else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "SMALLEST_EDGE", smallest)
        result = all_pairs(rows, spec, Plan(block, 256, 0), Runner(threads, pool=pool))
    assert_equals_brute_force(result, rows, pixels, spec)


@settings(max_examples=40, deadline=None)
@given(cases(), st.randoms(use_true_random=False))
def test_order_agnosticism_up_to_renaming(case, random):
    pixels, rows, spec = case
    spec = spec._replace(k=0)  # ties make neighbour lists depend on names; distances do not
    n = len(pixels)
    order = list(range(n))
    random.shuffle(order)
    turned = array_rows(pixels[order], rows.y[order], rows.primary[order])
    one, two = all_pairs(rows, spec, WHOLE), all_pairs(turned, spec, WHOLE)
    assert np.array_equal(one.state.sharp[order], two.state.sharp)
    assert one.near.count == two.near.count
    assert sorted(one.near.arrays()[2]) == sorted(two.near.arrays()[2])


@settings(max_examples=40, deadline=None)
@given(cases(), st.sampled_from([5, 16, 64]), st.integers(0, 40))
def test_torch_twin_equals_compiled_epilogue(case, edge, split):
    pixels, rows, spec = case
    n = len(pixels)
    split = min(split, n)

    def run(unit, **how):
        near = NearPairs()
        a, b = Side(load_block(rows, np.arange(split)), empty(split, spec.k)), None
        if split < n:
            b = Side(load_block(rows, np.arange(split, n)), empty(n - split, spec.k))
        unit(a, b, spec, near, Runner(threads=2), **how)
        return [finalize(side.state) for side in (a, b) if side is not None], near.arrays()

    compiled, twin = run(run_unit), run(gpu.run_unit_on_device, edge=edge)
    for one, two in zip(compiled[0], twin[0], strict=True):
        for x, y in zip(one, two, strict=True):
            assert np.array_equal(x, y)
    for x, y in zip(compiled[1], twin[1], strict=True):
        assert np.array_equal(x, y)


@pytest.mark.parametrize("split", [40, 20])
def test_products_begin_before_all_strips_are_on_the_device(monkeypatch, split):
    rows, spec, edge = array_rows(np.arange(40 * 6, dtype=np.uint8).reshape(40, 6)), PassSpec(3), 10
    a = Side(load_block(rows, np.arange(split)), empty(split, 3))
    b = Side(load_block(rows, np.arange(split, 40)), empty(40 - split, 3)) if split < 40 else None
    begun, send, fold = threading.Event(), gpu._Sender.send, gpu.fold

    def last_waits(sender, block, part):
        if part.start == 10 * (split // 10 - 1):
            assert begun.wait(60)
        return send(sender, block, part)

    def folding(*given, **how):
        begun.set()
        return fold(*given, **how)

    monkeypatch.setattr(gpu._Sender, "send", last_waits)
    monkeypatch.setattr(gpu, "fold", folding)
    gpu.run_unit_on_device(a, b, spec, NearPairs(), Runner(), edge=edge)
    assert begun.is_set() and np.isfinite(a.state.knn_d2).all()


@pytest.mark.parametrize("route", sorted(product.ROUTES))
@pytest.mark.parametrize("features", [1, 2, 7, 1023, 1025, 131_071, 131_072, 150_528, 262_017, 362 * 362 * 3])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 5)])
def test_products_are_exact_at_the_corners(route, features, shape):
    m, n = shape
    rng = np.random.default_rng(0)
    a = rng.choice([-128, 127], (m, features)).astype(np.int8)
    b = rng.choice([-128, 127], (n, features)).astype(np.int8)
    a[0], b[0] = -128, -128  # the largest sum there is
    got = product.product(torch.from_numpy(a), torch.from_numpy(b), route).numpy()
    assert np.array_equal(got, a.astype(np.int64) @ b.astype(np.int64).T)


@pytest.mark.parametrize("features", [1, 131_071, 131_072, 150_528])
def test_all_black_against_all_white(features):
    pixels = np.zeros((3, features), np.uint8)
    pixels[1] = 255
    pixels[2, 0] = 1
    state = all_pairs(array_rows(pixels, np.array([0.0, 1.0, 1.0])), PassSpec(5), WHOLE).state
    assert state.knn_d2[0, :2].tolist() == [1.0, 65025.0 * features]
    assert state.knn_index[1, :2].tolist() == [2, 0]
    assert state.sharp[0] == 1.0
    assert state.sharp_d2[1] == 65025.0 * features


def test_a_wrong_product_is_found_out_and_another_route_taken(monkeypatch):
    def saturating(a, b):
        return (a.short() @ b.short().t()).int()

    monkeypatch.setitem(product.ROUTES, "int8", saturating)
    product.choose_route.cache_clear()
    try:
        assert product.choose_route("cpu") == "float32"
    finally:
        product.choose_route.cache_clear()


def test_where_no_product_is_exact_nothing_is_computed(monkeypatch):
    def missing(a, b):
        raise NotImplementedError("no such product here")

    monkeypatch.setattr(product, "ROUTES", {"int8": missing, "float32": lambda a, b: (a.short() @ b.short().t()).int()})
    product.choose_route.cache_clear()
    try:
        with pytest.raises(RuntimeError, match="no exact integer product works on cpu; routes tried: int8, float32"):
            product.choose_route("cpu")
    finally:
        product.choose_route.cache_clear()


@pytest.mark.parametrize("route", sorted(product.ROUTES))
@pytest.mark.parametrize("features", [5, 1024, 1025])
def test_products_of_codes_are_exact_in_the_type_of_their_route(route, features):
    codes = np.random.default_rng(0).integers(-128, 128, (4, features)).astype(np.int8)
    codes[0] = -128
    got = product.code_product(torch.from_numpy(codes), torch.from_numpy(codes), route)
    assert got.dtype == (torch.float32 if route == "float32" and features <= 1024 else torch.int32)
    wide = codes.astype(np.int64)
    assert np.array_equal(got.numpy().astype(np.int64), wide @ wide.T)


@pytest.mark.parametrize(("name", "words"), [("_vnni", "avx512vnni"), ("_madd", "avx2")])
def test_single_pairs_are_multiplied_by_what_is_exact_on_this_processor(name, words, monkeypatch, caplog):
    choose = dots.choose_dots.__wrapped__
    monkeypatch.setattr(dots, "supported", lambda *names: False)
    assert choose() is dots._plain and dots._exact(dots._plain)
    # a processor that says it can, and saturates
    monkeypatch.setattr(dots, "supported", lambda *names: names[-1] == words)

    def saturating(a, b, rows, columns, out):
        dots._plain(a, b, rows, columns, out)
        np.minimum(out, 2**15 - 1, out=out)

    monkeypatch.setattr(dots, name, saturating)
    assert choose() is dots._plain
    assert f"{words} instructions give wrong integers" in caplog.text
    monkeypatch.setattr(dots, name, exact := lambda *rows: dots._plain(*rows))
    assert choose() is exact


@pytest.mark.skipif(not lanes.supported("avx2"), reason="needs AVX2")
def test_single_pairs_by_int16_are_exact():
    assert dots._exact(dots._madd)
    rng = np.random.default_rng(0)
    for features in (1, madd.SHORT - 1, madd.SHORT, madd.STEP, madd.STEP + madd.SHORT + 5, SAFE_FEATURES + 3):
        x = rng.choice(np.array([-128, -127, 0, 127], np.int8), (3, features))
        rows, columns = (part.ravel().astype(np.int32) for part in np.indices((3, 3)))
        dots._madd(x, x, rows, columns, out := np.empty(9, np.int64))
        wide = x.astype(np.int64)
        assert np.array_equal(out, (wide @ wide.T).ravel())


@pytest.mark.skipif(not lanes.supported("avx2"), reason="needs AVX2")
def test_products_by_int16_are_exact_at_every_edge():
    rng = np.random.default_rng(0)
    rows = (1, madd.ROWS - 1, madd.ROWS, 3 * madd.ROWS + 2)
    columns = (1, madd.COLUMNS - 1, madd.COLUMNS, 2 * madd.COLUMNS + 3)
    for features in (1, 2, madd.SHORT, madd.SHORT + 1, madd.DEPTH, madd.DEPTH + 1, 2 * madd.DEPTH + madd.SHORT + 3):
        for m, n in itertools.product(rows, columns):
            a, b = (rng.choice(np.array([-128, -1, 3, 127], np.int8), (k, features)) for k in (m, n))
            got = madd.multiply(torch.from_numpy(a), torch.from_numpy(b))
            assert np.array_equal(got.numpy(), a.astype(np.int64) @ b.T.astype(np.int64)), (m, n, features)


def test_int16_products_are_compiled_only_where_int8_products_are_missing(monkeypatch):
    asked = []
    monkeypatch.setattr(product, "probe", lambda route, device: asked.append(route) or len(asked))
    for names in (("avx512vnni",), ("avxvnni",), ()):
        monkeypatch.setattr(product, "supported", lambda *wanted, names=names: set(wanted) <= set(names))
        asked.clear()
        product.choose_route.__wrapped__("cpu")
        assert ("int16" in asked) == (not names and "int16" in product.ROUTES)
    asked.clear()
    product.choose_route.__wrapped__("cuda")
    assert "int16" not in asked


def test_a_processor_is_what_its_kernels_are_compiled_for(monkeypatch):
    monkeypatch.setattr(lanes.config, "CPU_FEATURES", "+avx,+avx2,-avx512f")
    assert lanes.supported("avx", "avx2") and not lanes.supported("avx512f") and not lanes.supported("avx2", "sse9")
    monkeypatch.setattr(lanes.config, "CPU_FEATURES", None)
    assert lanes.supported() and not lanes.supported("sse9")


@pytest.mark.skipif(not lanes.supported("avx2"), reason="needs AVX2")
def test_a_pass_by_int16_products_is_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    pixels = np.clip(128 + 20 * rng.normal(size=(1_100, 5)) @ rng.normal(size=(5, 300)), 0, 255).astype(np.uint8)
    rows = array_rows(pixels, np.arange(1_100) % 3.0)
    spec, plan = PassSpec(20, near2=400.0), plan_pass(1_100, 300, 20)
    before = all_pairs(rows, spec, plan, Runner())
    for module in (folds, basis_choice):
        monkeypatch.setattr(module, "choose_route", lambda device: "int16")
    monkeypatch.setattr(folds, "choose_dots", lambda: dots._madd)
    after = all_pairs(rows, spec, plan, Runner())
    for name in ("knn_d2", "knn_index", "sharp", "sharp_index"):
        assert np.array_equal(getattr(before.state, name), getattr(after.state, name), equal_nan=True)
    assert [part.tolist() for part in before.near.arrays()] == [part.tolist() for part in after.near.arrays()]


def test_the_kernels_that_an_audit_compiles_are_found_by_the_next(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not kernels.kept()
    (tmp_path / "distances_0").mkdir()
    index = tmp_path / "distances_0/kernel.reduce_tile-1.py311.nbi"
    index.write_text("0.63.1 0123456789abcdef")  # of other code
    assert not kernels.kept()
    index.write_text(f"0.63.1 {state_of(Path(kernels.dataprops.__file__).parent / 'distances')}")
    assert kernels.kept()
    asked = []
    monkeypatch.setattr(kernels.helper, "start", lambda first: asked.append(first) or [])
    kernels.begin()
    index.unlink()
    kernels.begin()
    assert asked == [(), (kernels.COMPILE,)]


def test_a_product_that_goes_wrong_later_stops_the_pass(monkeypatch):
    monkeypatch.setattr(folds, "product", lambda a, b, route: torch.zeros(len(a), len(b), dtype=torch.int32))
    with pytest.raises(RuntimeError, match="wrong integers"):
        all_pairs(array_rows(np.full((3, 4), 7, np.uint8)), PassSpec(1), WHOLE)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([256, 1024]))
def test_tiles_cover_each_pair_once(m, n, edge):
    assert (
        sum((t.rows.stop - t.rows.start) * (t.columns.stop - t.columns.start) for t in rectangle_tiles(m, n, edge))
        == m * n
    )
    total = 0
    for tile in triangle_tiles(m, edge):
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        assert tile.triangle or tile.rows.stop <= tile.columns.start
        total += rows * (rows - 1) // 2 if tile.triangle else rows * columns
    assert total == m * (m - 1) // 2


def test_near_pairs_beyond_the_limit_are_counted_and_the_closest_kept():
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 4, (60, 6)).astype(np.uint8)
    rows = array_rows(pixels)
    every = all_pairs(rows, PassSpec(0, near2=30.0), WHOLE).near
    few = all_pairs(rows, PassSpec(0, near2=30.0, near_limit=10), Plan(7, 256, 0), Runner(2)).near
    assert few.count == every.count > 10
    assert few.count > few.limit
    for x, y in zip(few.arrays(), every.arrays(), strict=True):
        assert np.array_equal(x, y[:10])


def test_a_killed_pass_resumes_without_computing_its_finished_jobs_again(tmp_path, monkeypatch):
    from dataprops.distances import allpairs

    rng = np.random.default_rng(4)
    rows = array_rows(rng.integers(0, 256, (50, 3)).astype(np.uint8), rng.integers(0, 2, 50).astype(float))
    spec, plan, file = PassSpec(4, near2=900.0), Plan(10, 256, 0), tmp_path / "pass.npz"
    whole = all_pairs(rows, spec, plan)
    monkeypatch.setattr(allpairs, "CHECKPOINT_SECONDS", -1.0)
    seen = []

    def killed(pairs):
        seen.append(pairs)
        if len(seen) > 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        all_pairs(rows, spec, plan, on_pairs=killed, resume=Resume(file, "this"))
    assert file.is_file()
    other = all_pairs(rows, spec, plan, resume=Resume(file, "another"))
    assert other.pairs == whole.pairs  # a checkpoint of another pass is not used
    with pytest.raises(KeyboardInterrupt):
        seen.clear()
        all_pairs(rows, spec, plan, on_pairs=killed, resume=Resume(file, "this"))
    resumed = all_pairs(rows, spec, plan, resume=Resume(file, "this"))
    assert 0 < resumed.pairs < whole.pairs
    for x, y in zip(resumed.state, whole.state, strict=True):
        assert np.array_equal(x, y)
    for x, y in zip(resumed.near.arrays(), whole.near.arrays(), strict=True):
        assert np.array_equal(x, y)


def test_the_near_distance_may_be_an_int():
    """An array of integers for what is within reach would lose the infinity that a row without neighbours starts from."""
    pixels = np.random.default_rng(1).integers(0, 256, (70, 5)).astype(np.uint8)
    rows = array_rows(pixels, np.arange(70) % 2.0)
    spec = PassSpec(4)._replace(near2=3000)  # _replace sees to no types
    assert isinstance(PassSpec(4, near2=3000).near2, float)
    for asked in (spec, PassSpec(4, near2=3000)):
        assert_equals_brute_force(all_pairs(rows, asked, WHOLE), rows, pixels, asked)


def test_a_worker_sends_only_what_is_not_beaten_already():
    rng = np.random.default_rng(0)
    rows = array_rows(rng.integers(0, 256, (400, 6)).astype(np.uint8), rng.integers(0, 2, 400).astype(float))
    spec, index = PassSpec(5), np.arange(200, dtype=np.int32)
    bound = all_pairs(rows, spec, WHOLE).state.knn_d2[:, -1]
    job = JobArguments(0, rows, JobSide(index), JobSide(index + 200), True, spec, None, 256)
    blind = compute_job(job, 1)
    told = compute_job(job._replace(a=JobSide(index, bound[:200]), b=JobSide(index + 200, bound[200:])), 1)
    assert len(blind.found_a.row) == len(blind.found_b.row) == 200 * 5
    assert 0 < len(told.found_a.row) < 200 * 5
    assert (told.found_a.d2 <= bound[told.found_a.row]).all()


def test_a_damaged_checkpoint_is_no_obstacle(tmp_path):
    rows = array_rows(np.arange(30, dtype=np.uint8).reshape(10, 3))
    (tmp_path / "pass.npz").write_bytes(b"PK\x03\x04 nothing")
    result = all_pairs(rows, PassSpec(2), WHOLE, resume=Resume(tmp_path / "pass.npz", "k"))
    assert result.pairs == 45


def test_plans_fit_the_memory_they_are_given_and_refuse_with_the_number():
    plan = plan_pass(200_000, 50_176, 20, Resources(memory=4 * 2**30, threads=2))
    assert plan.bytes <= 4 * 2**30
    assert plan.bytes == working_bytes(PassSize(200_000, 50_176, 20), 2, plan.block, plan.edge)
    assert plan_pass(1, 1, 20, Resources(memory=2**26)).block == 1
    with pytest.raises(DatapropsError, match=r"need at least [\d,]+ MiB, and 64 MiB are allowed"):
        plan_pass(1_000_000, 50_176, 20, Resources(memory=64 * 2**20))


def test_sets_of_no_one_and_two_images():
    for n in range(3):
        pixels = np.arange(n * 2, dtype=np.uint8).reshape(n, 2)
        rows = array_rows(pixels, np.arange(n, dtype=float))
        assert_equals_brute_force(all_pairs(rows, PassSpec(3), WHOLE), rows, pixels, PassSpec(3))


def test_plans_for_a_gpu_take_large_blocks_within_its_memory(monkeypatch):
    whole = plan_pass(50_000, 50_176, 20, Resources(memory=2**40, device="cuda"))
    assert whole.block == 50_000  # where this process sees no GPU, its workers may
    monkeypatch.setattr(
        "dataprops.distances.plan.free_device_memory", lambda device: 2**32 if device == "cuda:1" else None
    )
    part = plan_pass(50_000, 50_176, 20, Resources(memory=2**40, device="cuda:1"))
    assert plan_pass(50_000, 50_176, 20, Resources(memory=2**40)).block < part.block
    assert part.block * 50_176 * 2 <= 2**32


def test_the_script_for_a_gpu_runs(monkeypatch):
    """All of it but the device, on the CPU and small."""
    from tests.benchmarks import engine

    monkeypatch.setattr(engine, "GPU_EDGE", 64)
    out: dict = {}
    engine.gpu(out, "cpu", ((90, 48), (90, 300)), ((70, 40, 5, "copies"), (60, 9, 3, "numbers")), distinct=60)
    assert out["equal_to_cpu"] == [True, True]
    assert out["gpu_90_300"]["seconds"] >= 0 and out["gpu_90_48"]["utilisation"] >= 0


def test_the_benchmark_of_real_images_reads_folders_and_says_the_ratios(tmp_path, monkeypatch, capsys):
    """A folder of small images keeps their size, one of several sizes becomes 224 x 224, idx files are read, others left out."""
    import gzip
    import json

    from PIL import Image

    from tests.benchmarks import engine, real

    rng = np.random.default_rng(0)
    for name, sizes in (("small", [(12, 12)]), ("mixed", [(40, 30), (30, 40)])):
        for number in range(24):
            folder = tmp_path / name / "ab"[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            size = sizes[number % len(sizes)]
            Image.fromarray(rng.integers(0, 256, size).astype(np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "digits").mkdir()
    for name, data in (
        ("images-idx3", bytes(16) + rng.bytes(30 * 16)),
        ("labels-idx1", bytes(8) + bytes(range(10)) * 3),
    ):
        (tmp_path / "digits" / f"train-{name}-ubyte.gz").write_bytes(gzip.compress(data))
    (tmp_path / "few").mkdir()
    (tmp_path / "few" / "note.txt").write_text("no image")
    shapes = {name: real.real_set(tmp_path / name) for name in ("small", "mixed", "digits")}
    assert {name: some.pixels.shape for name, some in shapes.items()} == {
        "small": (24, 144),
        "mixed": (24, 224 * 224),
        "digits": (30, 16),
    }
    assert sorted(set(shapes["small"].y)) == [0.0, 1.0] and shapes["digits"].y[9] == 9.0
    monkeypatch.setattr(real, "LEAST", 20)
    monkeypatch.setattr(engine, "faiss_search", lambda pixels, threads: lambda: None)
    monkeypatch.setattr(engine, "sklearn_search", lambda pixels: lambda: None)
    monkeypatch.setattr("sys.argv", ["engine", "--real", str(tmp_path), "--runs", "1", "--threads", "1"])
    engine.main()
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(printed) == {"small", "mixed", "digits"}
    for ratios in printed.values():
        assert set(ratios) == {"faiss", "sklearn", "utilisation", "default_audit_over_k20"}
        assert ratios["utilisation"] > 0 and ratios["default_audit_over_k20"] > 0


def test_sketches_are_for_cpus_and_for_plans_that_have_room_for_them():
    for room in (True, False):
        for device in ("cpu", "cuda"):
            assert sketchable(Plan(10, 256, 0, room), device) == (room and device == "cpu")


def test_a_pass_stays_within_the_memory_that_was_projected(tmp_path):
    """In a process of its own; what the kernel keeps of the file is not counted."""
    script = (
        "import sys; from pathlib import Path; from tests.benchmarks.memory import measure;"
        # the interpreter's own pools, threads and compiled code take some, whatever the size of the set: they are there before
        f"print([measure(n, 12_288, 40 * 2**20, 2, {str(tmp_path)!r}) for n in (600, 6000)])"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    _, out = ast.literal_eval(done.stdout)
    assert out["projected_mib"] <= 40
    assert out["block"] < 6000
    # all rows are 70 MiB; what is freed is not given back at once
    assert out["used_mib"] <= out["projected_mib"] + 30

"""Parts of the engine by the letter: how products are split, how rows are ordered, what a job reads and returns, checkpoints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dataprops.distances import device_tiles, jobs, product, torch_tiles
from dataprops.distances.allpairs import array_rows
from dataprops.distances.checkpoint import load_checkpoint, save_checkpoint
from dataprops.distances.handover import JobArguments, JobSide
from dataprops.distances.kernel import EMPTY, Rules
from dataprops.distances.ordering import alike_together, run_length
from dataprops.distances.runner import Runner
from dataprops.distances.sketch import Sketch, make_sketch
from dataprops.distances.state import NearPairs, PassSpec, empty
from dataprops.distances.tiles import EDGE
from tests.test_sketch import basis_of, structured

RNG = np.random.default_rng

# --- products ------------------------------------------------------------------------------------------------------------


def int8(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(RNG(seed).choice(np.array([-128, -127, 0, 1, 127], np.int8), shape))


def exact(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a.long() @ b.long().t()


@pytest.mark.parametrize("limit", [64, 100, 131, 192])
def test_parts_of_a_product_are_even_and_none_has_more_features_than_fit(limit, monkeypatch):
    widths = []

    def counted(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        widths.append(a.shape[1])
        return exact(a, b).int()

    monkeypatch.setattr(product, "INT32_FEATURES", limit)
    monkeypatch.setitem(product.ROUTES, "counted", counted)
    for features in range(1, 1000, 7):
        widths.clear()
        a, b = int8(3, features), int8(2, features, seed=1)
        found = product.product(a, b, "counted")
        assert torch.equal(found.long(), exact(a, b))
        assert found.dtype == (torch.int32 if features <= limit else torch.int64)
        assert max(widths) <= limit and sum(widths) == features
        assert len(widths) == (1 if features <= limit else -(-features // max(widths)))
        assert features <= limit or max(widths) - widths[-1] <= 64 * len(widths)


@pytest.mark.parametrize("route", sorted(product.ROUTES))
def test_few_features_are_padded_and_products_of_codes_keep_the_routes_type(route):
    for features in (*range(1, 10), 1023, 1024, 1025):
        a, b = int8(4, features), int8(5, features, seed=1)
        assert torch.equal(product.product(a, b, route).long(), exact(a, b))
        codes = product.code_product(a, b, route)
        assert torch.equal(codes.long(), exact(a, b))
        assert codes.dtype == (torch.float32 if route == "float32" and features <= 1024 else torch.int32)


def test_the_quicker_route_that_is_right_is_chosen_and_without_one_it_is_said(monkeypatch):
    def off(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return exact(a, b).int() + (a.shape[1] == 513)  # wrong where it is tried

    def missing(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("no such product here")

    def steps(*times: float):
        clock = iter(np.cumsum(times).tolist())
        monkeypatch.setattr(product.time, "perf_counter", lambda: next(clock))

    right = product._float32
    monkeypatch.setattr(product, "ROUTES", {"off": off, "missing": missing, "one": right, "two": right})
    steps(0, 3, 1, 2, 1, 4)
    assert product.probe("one", "cpu") == 2.0  # the best of three
    assert product.probe("off", "cpu") == product.probe("missing", "cpu") == float("inf")
    for one, two, best in ((2, 3, "one"), (3, 2, "two")):
        steps(*[1, one] * 3, *[1, two] * 3)
        product.choose_route.cache_clear()
        assert product.choose_route("cpu") == best
    monkeypatch.setattr(product, "ROUTES", {"off": off, "missing": missing})
    product.choose_route.cache_clear()
    with pytest.raises(RuntimeError, match="no exact integer product works on cpu; routes tried: off, missing"):
        product.choose_route("cpu")
    product.choose_route.cache_clear()


# --- the order of rows ---------------------------------------------------------------------------------------------------


def test_runs_are_those_of_the_fewest_halvings_that_are_short_enough():
    for n in range(1, 300):
        for most in (1, 2, 5, 16, 64):
            halvings = 0
            while -(-n // 2**halvings) > most:
                halvings += 1
            assert run_length(n, most) == -(-n // 2**halvings)


def sketched(codes: np.ndarray) -> Sketch:
    none = np.zeros(len(codes))
    return Sketch(torch.from_numpy(codes.astype(np.int8)), *[none] * (len(Sketch._fields) - 1))


def test_rows_are_halved_along_the_direction_in_which_they_are_furthest_apart():
    rng = RNG(0)
    codes = np.zeros((2048, 40), np.int8)
    codes[:, 3], codes[:, 5] = rng.permutation(2048) // 8 - 128, rng.integers(-2, 3, 2048)
    codes[:, 39] = rng.integers(-127, 128, 2048)  # beyond the coordinates that are looked at
    order = alike_together(sketched(codes), 64)
    runs = np.sort(codes[order, 3].reshape(-1, 64), axis=1)
    assert sorted(runs.tolist()) == np.repeat(np.arange(-128, 128), 8).reshape(-1, 64).tolist()


def test_rows_that_are_one_run_stay_and_rows_that_are_equal_are_an_order_too():
    assert alike_together(sketched(int8(8, 40).numpy()), 8).tolist() == list(range(8))
    assert sorted(alike_together(sketched(np.full((9, 40), 7)), 2)) == list(range(9))


# --- jobs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "edge", "few", "sketch", "read"),
    [
        ("cpu", 100, 40, True, "unread"),
        ("cpu", 100, 41, True, "loaded"),  # more than an eighth of 320
        ("cpu", 40, 40, True, "unread"),
        ("cpu", 39, 40, True, "loaded"),  # more than a tile
        ("cpu", 100, 40, False, "loaded"),
        ("cuda", 100, 40, True, "raw"),
    ],
)
def test_pixels_of_a_block_are_read_on_demand_if_the_other_is_small_and_bounds_are_known(
    device, edge, few, sketch, read, monkeypatch
):
    for name in ("load", "unread", "raw"):
        monkeypatch.setattr(jobs, f"{name}_block", lambda *_, name=name: name if name != "load" else "loaded")
    known = sketched(np.zeros((320, 4))) if sketch else None
    runner = Runner(device=device, edge=edge)
    assert jobs.second_block(None, np.arange(few), np.arange(320), known, runner) == read  # pyright: ignore[reportArgumentType]
    assert jobs.first_block(None, np.arange(few), runner) == ("raw" if device == "cuda" else "loaded")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("given", [True, False])
def test_a_job_returns_what_was_asked_for_and_the_sketches_that_it_made(both, given):
    pixels = structured(600, 60, 4, 2.0, 0)
    pixels[300:310] = pixels[:10] ^ 1  # near copies
    rows, spec = array_rows(pixels), PassSpec(5, near2=200.0)
    a, b = np.arange(300), np.arange(300, 600)
    block = jobs.load_block(rows, np.arange(600))
    basis = basis_of(block, 16)
    assert basis is not None
    one, two = (make_sketch(basis, block.shifted[side], block.norm[side]) for side in (a, b)) if given else (None, None)
    job = JobArguments(7, rows, JobSide(a, sketch=one), JobSide(b, sketch=two), both, spec, basis, 64)
    result, plain = jobs.compute_job(job, 1), jobs.compute_job(job._replace(basis=None), 1)
    assert (result.sketch_a is None) == (result.sketch_b is None) == given
    assert (result.found_b is not None) == (plain.found_b is not None) == both
    assert result.near_count == plain.near_count == len(result.near[0]) > 0
    d2 = ((pixels[a, None].astype(np.int64) - pixels[b].astype(np.int64)) ** 2).sum(-1)
    assert result.near_count == (d2 <= 200).sum()
    alone = jobs.compute_job(job._replace(b=None), 1)
    assert alone.found_b is None and alone.sketch_b is None and (alone.sketch_a is None) == given
    assert Runner() == (1, "cpu", None, EDGE)


# --- checkpoints ---------------------------------------------------------------------------------------------------------


def test_a_checkpoint_gives_back_what_was_saved_and_nothing_of_another_pass(tmp_path):
    path, state, near = tmp_path / "pass.npz", empty(6, 3), NearPairs()
    assert load_checkpoint(path, "key", empty(6, 3), NearPairs()) == set()
    for at, values in enumerate(state):
        values[:] = at + 1
    near.add(np.array([0, 2]), np.array([1, 3]), np.array([4.0, 9.0]), count=5)
    save_checkpoint(path, "key", state, near, {4, 1})
    other, pairs = empty(6, 3), NearPairs()
    assert load_checkpoint(path, "another", other, pairs) == set()
    assert pairs.count == 0 and all(np.array_equal(x, z) for x, z in zip(other, empty(6, 3), strict=True))
    assert load_checkpoint(path, "key", other, pairs) == {1, 4}
    assert all(np.array_equal(x, z) for x, z in zip(other, state, strict=True))
    assert pairs.count == 5 and all(np.array_equal(x, z) for x, z in zip(pairs.arrays(), near.arrays(), strict=True))


def test_a_checkpoint_that_holds_python_objects_is_not_unpickled(tmp_path, caplog):
    np.savez(tmp_path / "pass.npz", key=np.array(["key", 1], dtype=object))
    assert load_checkpoint(tmp_path / "pass.npz", "key", empty(2, 1), NearPairs()) == set()
    assert "starting from scratch" in caplog.text


# --- a tile on a device --------------------------------------------------------------------------------------------------


def tile_rows(pixels: np.ndarray, first: int, rng: np.random.Generator, numeric: bool) -> torch_tiles.TorchRows:
    y = rng.integers(-2, 3, len(pixels)) / (2.0 if numeric else 1.0)
    y[rng.random(len(pixels)) < 0.2] = np.nan
    norm = (pixels.astype(np.int64) ** 2).sum(1)
    number = np.arange(first, first + len(pixels))
    return torch_tiles.TorchRows(*map(torch.from_numpy, (norm, y, number, rng.random(len(pixels)) < 0.8)))


def nothing_known(n: int, k: int) -> torch_tiles.TorchState:
    far, none = torch.full((n, k), torch.inf, dtype=torch.float64), torch.full((n, k), int(EMPTY))
    zero = torch.zeros(n, dtype=torch.float64)
    return torch_tiles.TorchState(far, none, zero, zero.clone(), torch.full((n,), int(EMPTY)))


@pytest.mark.parametrize("numeric", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("how", ["both", "rows alone", "triangle"])
@pytest.mark.parametrize("wide", [False, True])
def test_close_pairs_of_a_tile_give_what_all_its_pairs_give(how, k, numeric, wide, monkeypatch):
    monkeypatch.setattr(device_tiles, "FEW", 1.0)
    monkeypatch.setattr(device_tiles, "INT32_MOST", 0 if wide else 2**31 - 1)
    whole, rng = torch_tiles.fold, RNG(4 * k + numeric)
    for case in range(12):
        a, b, before = (rng.integers(-2, 3, (n, 3)) for n in (9, 7, 8))  # few values: ties and copies
        b[:2] = a[:2]
        rows, columns = tile_rows(a, 100, rng, numeric), tile_rows(b, 200, rng, numeric)
        first, second = nothing_known(9, k), nothing_known(7, k)
        if case % 4:  # else nothing is known, and the whole tile is folded
            known = tile_rows(before, 0 if case % 2 else 300, rng, numeric)
            known = known._replace(primary=torch.ones(8, dtype=torch.bool))
            none = Rules(numeric, 0.0, False, True)
            first = whole(torch.from_numpy(a @ before.T), rows, known, first, None, none)[0]
            second = whole(torch.from_numpy(b @ before.T), columns, known, second, None, none)[0]
        one, two = (first, None) if how != "both" else (first, second)
        rules = Rules(numeric, float(case % 5), how == "triangle", how == "both")
        given = (rows, rows if how == "triangle" else columns, one, two, rules)
        g = torch.from_numpy(a @ (a if how == "triangle" else b).T).int()
        wanted = whole(g.clone(), *given)
        found = device_tiles.fold(g, *given)
        for x, z in zip(
            (*found[0], *(found[1] or ()), *found[2]), (*wanted[0], *(wanted[1] or ()), *wanted[2]), strict=True
        ):
            assert torch.equal(x, z)


def test_a_tile_of_many_close_pairs_or_of_rows_that_know_nothing_is_folded_whole(monkeypatch):
    calls = []
    whole = torch_tiles.fold
    monkeypatch.setattr(torch_tiles, "fold", lambda g, *given: calls.append(g) or whole(g, *given))
    rng = RNG(0)
    a = rng.integers(-9, 10, (32, 5))
    rows = tile_rows(a, 0, rng, False)._replace(
        y=torch.full((32,), torch.nan), primary=torch.ones(32, dtype=torch.bool)
    )
    g, rules = torch.from_numpy(a @ a.T).int(), Rules(False, 0.0, False, True)
    d2 = ((a[:, None] - a) ** 2).sum(-1)
    for least in (1, 32, 33):  # pairs of which each is within reach of its row: 32 of 1,024 are the limit
        calls.clear()
        reach = np.sort(d2[d2 > 0])[least - 1]
        close = int(((d2 > 0) & (d2 <= reach)).sum())
        state = nothing_known(32, 1)._replace(knn_d2=torch.full((32, 1), float(reach), dtype=torch.float64))
        device_tiles.fold(g.clone(), rows, rows, state, None, rules)
        assert len(calls) == (close > 32)
        assert all(torch.equal(one, g.long()) for one in calls)
    device_tiles.fold(g.clone(), rows, rows, nothing_known(32, 1), None, rules)
    assert len(calls) == 1 + (close > 32)


@pytest.mark.parametrize(("norm", "kind"), [(2**29 - 1, torch.int32), (2**29, torch.int64)])
def test_squared_distances_have_32_bits_where_those_of_opposite_rows_fit(norm, kind):
    norms = torch.tensor([norm, 1])
    g = torch.tensor([[norm, 0], [0, 1]], dtype=torch.int32)
    for sign in (1, -1):
        wanted = norms[:, None] + norms - 2 * sign * g.long()
        found = device_tiles._distances(sign * g, norms, norms)
        assert found.dtype == kind and torch.equal(found.long(), wanted)
        assert torch.equal(device_tiles._products(found, norms, norms), sign * g.long())

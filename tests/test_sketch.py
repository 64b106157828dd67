"""Lower bounds: never above a distance, whatever the images; passes that use them end in the same bits."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.distances import basis_choice, folds, ordering, passes, sketch, tiles
from dataprops.distances.allpairs import Runner, all_pairs, array_rows, load_block
from dataprops.distances.folds import Side
from dataprops.distances.passes import run_unit
from dataprops.distances.plan import Plan
from dataprops.distances.pooled import factors, pool
from dataprops.distances.seeds import SeedRules, Seeds, SeedSide, choose_seeds
from dataprops.distances.sketches import begin_sketches
from dataprops.distances.state import NearPairs, PassSpec, empty, finalize
from tests.test_distances import assert_equals_brute_force


def basis_of(block: folds.Block, coordinates: int) -> sketch.Basis | None:
    """A basis of a block's own rows."""
    chosen, others = basis_choice.sampled_rows(block.n, coordinates)
    factor = factors(block.features)[0]
    sample, tried = (pool(block.shifted[some], block.norm[some], factor) for some in (chosen, others))
    directions = basis_choice.principal_directions(sample.codes, coordinates)
    basis, _ = basis_choice.make_basis(
        directions, basis_choice.products_of(directions, tried, block.norm[others]), coordinates
    )
    return basis


def structured(n: int, features: int, rank: int, noise: float, seed: int) -> np.ndarray:
    """Images of few patterns."""
    rng = np.random.default_rng(seed)
    patterns = rng.normal(size=(rank, features))
    mixed = 128 + 20 * rng.normal(size=(n, rank)) @ patterns + rng.normal(0, noise, (n, features))
    return np.clip(mixed, 0, 255).astype(np.uint8)


@st.composite
def images(draw) -> np.ndarray:
    """Sets of every kind: of few patterns, without structure, of extremes alone, full of copies, all but constant."""
    n, features = draw(st.integers(20, 90)), draw(st.integers(3, 80))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    kind = draw(st.sampled_from(["patterns", "noise", "extremes", "copies", "nearly constant"]))
    if kind == "patterns":
        return structured(n, features, 3, 4.0, seed)
    if kind == "noise":
        return rng.integers(0, 256, (n, features)).astype(np.uint8)
    if kind == "extremes":
        return rng.choice(np.array([0, 255], np.uint8), (n, features))
    if kind == "copies":
        return np.repeat(rng.integers(0, 256, (-(-n // 4), features)).astype(np.uint8), 4, axis=0)[:n]
    return (200 + (rng.random((n, features)) < 0.02)).astype(np.uint8)


@settings(max_examples=80, deadline=None)
@given(images(), st.sampled_from([4, 16, 32]))
def test_bounds_never_exceed_distances(pixels: np.ndarray, coordinates: int) -> None:
    block = load_block(array_rows(pixels), np.arange(len(pixels)))
    basis = basis_of(block, coordinates)
    if basis is None:
        return
    some = sketch.make_sketch(basis, block.shifted, block.norm)
    codes = some.codes.numpy().astype(np.float64)
    apart = np.sqrt(((codes[:, None] - codes) ** 2).sum(-1))
    bound = some.step * (apart - some.error[:, None].astype(np.float64) - some.error)
    wide = pixels.astype(np.float64)
    assert (bound <= np.sqrt(((wide[:, None] - wide) ** 2).sum(-1))).all()


def test_bounds_are_tight_where_images_have_few_patterns() -> None:
    pixels = structured(600, 200, 5, 1.0, 0)
    block = load_block(array_rows(pixels), np.arange(600))
    basis = basis_of(block, 32)
    assert basis is not None
    some = sketch.make_sketch(basis, block.shifted, block.norm)
    codes = some.codes.numpy().astype(np.float64)
    bound = basis.step * (np.sqrt(((codes[0] - codes[1:]) ** 2).sum(-1)) - some.error[0] - some.error[1:])
    distance = np.sqrt(((pixels[0].astype(float) - pixels[1:]) ** 2).sum(-1))
    assert np.median(bound / distance) > 0.9


def test_principal_directions_let_fewer_pairs_pass_than_images_do() -> None:
    """Images of patterns and noise: their span holds the noise of each, the principal components the patterns alone."""
    pixels = structured(1500, 400, 24, 30.0, 0)
    block = load_block(array_rows(pixels), np.arange(1500))
    chosen, others = basis_choice.sampled_rows(1500, 32)
    directions = basis_choice.principal_directions(block.shifted[chosen], 32)
    assert np.abs(directions[-1].numpy() - (pixels[chosen].astype(float) - 128).mean(axis=0)).max() <= 0.5
    images = block.shifted[chosen[:32]].clone()
    images[-1] = directions[-1]
    passed = []
    tried = pool(block.shifted[others], block.norm[others], 1)
    reach = basis_choice.within_reach(block.shifted[others], block.norm[others], 2)
    for some in (directions, images):
        products = basis_choice.products_of(some, tried, block.norm[others])
        basis, along = basis_choice.make_basis(some, products, 32)
        assert basis is not None and along is not None
        passed.append(basis_choice.trial(basis, along, products, reach))
    assert passed[0] < passed[1] / 1.5


def test_data_without_structure_is_not_sketched() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 1024)).astype(np.uint8)
    rows = array_rows(pixels)
    assert begin_sketches(lambda index: load_block(rows, index), 3000, 1024, 3000, True) is None


def test_patterns_of_single_pixels_are_sketched_from_the_pixels_themselves() -> None:
    pixels = structured(3000, 3072, 24, 6.0, 0)  # means of squares keep nothing of them
    rows = array_rows(pixels)
    assert factors(3072)[0] > 1
    sketches = begin_sketches(lambda index: load_block(rows, index), 3000, 3072, 3000, True)
    assert sketches is not None
    assert sketches.basis.factor == 1


@settings(max_examples=100, deadline=None)
@given(
    images(),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 1, 5, 30]),
    st.sampled_from([-1.0, 100.0, 1e6]),
    st.sampled_from([0.0, 1 / 16, 2.0]),
    st.sampled_from([16, 40, 100]),
    st.integers(1, 3),
    st.sampled_from([0.1, 0.1, 1.0]),
)
def test_a_sketched_pass_equals_brute_force(pixels, seed, numeric, k, near2, share, block, threads, unlabelled) -> None:
    rng = np.random.default_rng(seed)
    n = len(pixels)
    y = rng.choice([0.5, 1e6, 1e6 + 0.03, 1e6 + 0.125], n) if numeric else rng.integers(0, 3, n).astype(float)
    y[rng.random(n) < unlabelled] = np.nan
    spec = PassSpec(k, numeric, near2)
    rows = array_rows(pixels, y, rng.random(n) < 0.9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basis_choice, "WIDTHS", ((1, 8),))
        patch.setattr(basis_choice, "ROWS_PER_COORDINATE", 1)
        patch.setattr(basis_choice, "TRIAL_WORK", np.inf)
        patch.setattr(folds, "CHOSEN_WORK", share * basis_choice.pair_cost())
        patch.setattr(tiles, "SMALLEST_EDGE", 8)
        patch.setattr(passes, "SMALLEST_EDGE", 8)
        result = all_pairs(rows, spec, Plan(block, 16, 0), Runner(threads))
    assert_equals_brute_force(result, rows, pixels, spec)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("numeric", [True, False])
def test_products_are_spared_and_nothing_changes(monkeypatch: pytest.MonkeyPatch, both: bool, numeric: bool) -> None:
    """At the real sizes: two blocks, with bounds known, most of the work is gone and every bit is the same."""
    pixels = structured(4400, 1200, 12, 2.0, 1)
    rows = array_rows(pixels, np.arange(4400) % 7.0)
    spec = PassSpec(12, numeric, near2=4.0 * 1200)
    a, b = load_block(rows, np.arange(2200)), load_block(rows, np.arange(2200, 4400))
    pairs = 0
    counting = threading.Lock()
    plain = folds.product

    def counted(x: torch.Tensor, z: torch.Tensor, route: str) -> torch.Tensor:
        nonlocal pairs
        with counting:  # tiles are computed on two threads
            pairs += len(x) * len(z) if x.shape[1] == 1200 else 0
        return plain(x, z, route)

    monkeypatch.setattr(folds, "product", counted)

    known = begin_sketches(lambda index: load_block(rows, index), 4400, 1200, 4400, True)
    assert known is not None

    def run(sketches: bool):
        nonlocal pairs
        one, two = (known.of(block, 2) if sketches else None for block in (a, b))
        sides, near = [Side(a, empty(a.n, 12), one), Side(b, empty(b.n, 12), two)], NearPairs()
        runner = Runner(2, edge=512)
        for side in sides:
            run_unit(side, None, spec, near, runner)
        pairs = 0
        run_unit(sides[0], sides[1] if both else sides[1]._replace(state=None), spec, near, runner)
        return *(finalize(side.state) for side in sides), near.arrays(), pairs

    with_sketches, without = run(True), run(False)
    for one, two in zip(with_sketches[:3], without[:3], strict=True):
        assert all(np.array_equal(x, z) for x, z in zip(one, two, strict=True))
    assert without[3] == 2200 * 2200
    assert with_sketches[3] < 0.5 * without[3]


def test_similar_rows_lie_together() -> None:
    rng = np.random.default_rng(3)
    centres = rng.integers(40, 215, (4, 300))
    kind = rng.integers(0, 4, 1000)
    pixels = np.clip(centres[kind] + rng.normal(0, 5, (1000, 300)), 0, 255).astype(np.uint8)
    block = load_block(array_rows(pixels), np.arange(1000))
    basis = basis_of(block, 32)
    assert basis is not None
    order = ordering.alike_together(sketch.make_sketch(basis, block.shifted, block.norm), 125)
    assert sorted(order) == list(range(1000))
    together = np.mean([np.bincount(kind[order[i : i + 125]]).max() / 125 for i in range(0, 1000, 125)])
    assert together > 0.6  # at random it is about 0.3


@pytest.mark.parametrize("triangle", [False, True])
@pytest.mark.parametrize("numeric", [False, True])
def test_seeds_are_the_nearest_and_the_sharpest_by_the_codes(triangle: bool, numeric: bool) -> None:
    rng = np.random.default_rng(3)
    n, k = 150, 4
    codes = rng.integers(-40, 40, (n, 8)).astype(np.float32)
    g, norm = codes @ codes.T, (codes * codes).sum(axis=1)
    apart = norm[:, None] + norm - 2 * g
    if triangle:
        np.fill_diagonal(apart, np.inf)
    y = rng.integers(0, 3, n).astype(np.float64)
    y[::7] = np.nan
    listed = np.arange(n) % 5 > 0
    unbounded = np.array([0, 3, 7, 149])
    taken = np.tri(n, dtype=np.uint8) if triangle else np.zeros((n, n), np.uint8)
    first_nearest = np.where(listed, apart, np.inf).argmin(axis=1)
    if not triangle:
        taken[3, first_nearest[3]] = 1  # asked for before
    before = taken.copy()
    rows, columns = np.empty((2, len(unbounded) * (k + 1)), np.int32)
    side, rules = SeedSide(norm, y, listed), SeedRules(k, True, numeric, triangle)
    found = choose_seeds(g, unbounded, side, side, rules, Seeds(rows, columns, taken))
    pairs = list(zip(rows[:found].tolist(), columns[:found].tolist(), strict=True))
    assert len(set(pairs)) == found and not any(before[pair] for pair in pairs)
    assert {tuple(pair) for pair in np.argwhere(taken != before).tolist()} == set(pairs)
    if triangle:
        assert all(i < j for i, j in pairs)
    for i in unbounded:
        mine = {j if r == i else r for r, j in pairs if i in (r, j)}
        rise = np.nan_to_num(np.abs(y[i] - y))
        rise = rise if numeric else (rise > 0).astype(float)
        sharpness = rise / np.sqrt(np.maximum(apart[i], 1))
        if np.isnan(y[i]):
            assert len(mine) >= k - 1
        else:
            assert max(sharpness[list(mine)]) == sharpness.max()
        if before[min(i, first_nearest[i]), max(i, first_nearest[i])] == 0:
            assert first_nearest[i] in mine
        if not triangle:
            assert sum(listed[j] for j in mine) >= k - 1

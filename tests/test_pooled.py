"""Small pictures, products of single pairs and the test of many pairs at once: never wrong, whatever the images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.distances import basis_choice, bounds, dots, passes, tiles
from dataprops.distances.allpairs import Runner, all_pairs, array_rows, load_block
from dataprops.distances.bounds import Limits, PairBuffers, Rise, candidates
from dataprops.distances.plan import Plan
from dataprops.distances.pooled import factors, picture_of, pool, still_close
from dataprops.distances.state import PassSpec
from tests.test_distances import assert_equals_brute_force


def pictures(kind: str, n: int, features: int, seed: int) -> np.ndarray:
    """Images of large structures, of none, of extremes, and all but equal ones."""
    rng = np.random.default_rng(seed)
    if kind == "smooth":
        coarse = rng.integers(0, 256, (n, 4, 4, 3))
        return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8).reshape(n, -1)[:, :features]
    if kind == "extremes":
        return rng.choice(np.array([0, 255], np.uint8), (n, features))
    if kind == "nearly equal":
        return (127 + (rng.random((n, features)) < 0.01)).astype(np.uint8)
    return rng.integers(0, 256, (n, features)).astype(np.uint8)


KINDS = ("smooth", "extremes", "nearly equal", "noise")


def test_features_are_read_as_square_pictures_where_they_can_be() -> None:
    assert picture_of(28 * 28) == (28, 1)
    assert picture_of(64 * 64 * 3) == (64, 3)
    assert picture_of(1_000) is None
    assert factors(32 * 32 * 3) == [2, 1]
    assert factors(224 * 224) == [8, 4, 2, 1]
    assert factors(224 * 224 * 3) == [16, 8, 4, 2, 1]
    assert factors(784) == factors(1_000) == factors(100_000) == [1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features, factor", [(3_072, 2), (3_072, 8), (1_024, 4), (1_024, 16)])
def test_bounds_by_small_pictures_never_exceed_distances(kind: str, features: int, factor: int) -> None:
    pixels = pictures(kind, 40, features, features + factor)
    block = load_block(array_rows(pixels), np.arange(40))
    small = pool(block.shifted, block.norm, factor)
    codes, wide = small.codes.numpy().astype(np.float64), pixels.astype(np.float64)
    apart2 = ((codes[:, None] - codes) ** 2).sum(-1) + (small.rest[:, None] - small.rest) ** 2
    bound = factor * (np.sqrt(apart2) - small.moved[:, None] - small.moved)
    distance = np.sqrt(((wide[:, None] - wide) ** 2).sum(-1))
    assert (bound <= distance + 1e-6).all()
    assert np.array_equal(small.inner, (codes * codes).sum(-1))
    if kind == "smooth" and features == 3_072 and factor == 2:  # squares of one colour: nothing is lost
        assert np.allclose(bound, distance, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 700), st.integers(0, 2**32 - 1))
def test_products_of_single_pairs_are_exact(features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int8), (2, 9, features))
    rows, columns = rng.integers(0, 9, (2, 50)).astype(np.int32)
    exact = (a[rows].astype(np.int64) * b[columns]).sum(axis=1)
    for form in {dots.choose_dots(), dots._plain}:
        out = np.empty(50, np.int64)
        form(a, b, rows, columns, out)
        assert np.array_equal(out, exact)


def test_products_of_more_features_than_int32_holds_are_exact() -> None:
    images = np.full((2, 150_001), -128, np.int8)
    out = np.empty(1, np.int64)
    dots.choose_dots()(images, images, np.zeros(1, np.int32), np.ones(1, np.int32), out)
    assert out[0] == 150_001 * 128 * 128


def test_a_form_that_saturates_is_not_used() -> None:
    def saturating(a, b, rows, columns, out):
        dots._plain(a, b, rows, columns, out)
        np.clip(out, -32_768, 32_767, out=out)

    assert dots._exact(dots._plain)
    assert not dots._exact(saturating)


def test_rows_begin_with_a_line_of_the_cache() -> None:
    for features in (1, 64, 784):
        rows = dots.aligned(5, features)
        assert rows.shape == (5, features) and rows.ctypes.data % dots.LINE == 0


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("numeric", [False, True])
@pytest.mark.parametrize("n", [5, 16, 256, 257, 271, 300, 517])
def test_close_pairs_are_those_of_the_formula(n: int, numeric: bool, whole: bool) -> None:
    rng = np.random.default_rng(n)
    m = 37
    codes = [rng.integers(-30, 30, (length, 8)) for length in (m, n)]
    y = [rng.choice([0.0, 1.0, 2.5, np.nan], length).astype(np.float32) for length in (m, n)]

    def side(at: int) -> Limits:
        size = len(codes[at])
        some = rng.random((3, size)).astype(np.float32) * np.array([[3], [40], [50]], np.float32)
        return Limits((codes[at] ** 2).sum(axis=1).astype(np.float32), *some, y[at])

    a, b = side(0), side(1)
    g = (codes[0] @ codes[1].T).astype(np.int32 if whole else np.float32)
    rise = Rise(np.float32(np.inf), np.float32(0.01)) if numeric else Rise(np.float32(1.0), np.float32(0.0))
    step = np.minimum(np.abs(a.y[:, None] - b.y) + rise.least, rise.most)
    within = np.maximum(a.reach[:, None], b.reach)
    sharp = np.nan_to_num(step, nan=0.0) * np.maximum(a.slope[:, None], b.slope)
    within = np.maximum(within, sharp) + (a.error[:, None] + b.error)
    expected = a.norm[:, None] + b.norm - 2 * g <= within * within
    skip = (rng.random((m, n)) < 0.2).astype(np.uint8)
    for given_skip, wanted in ((np.empty((0, 0), np.uint8), expected), (skip, expected & (skip == 0))):
        out = PairBuffers(*np.empty((2, m * n + bounds.COLUMNS_AT_ONCE), np.int32))
        found = candidates(g, a, b, rise, given_skip, out)
        pairs = set(zip(out.rows[:found].tolist(), out.columns[:found].tolist(), strict=True))
        assert len(pairs) == found and pairs == {tuple(pair) for pair in np.argwhere(wanted).tolist()}
    short = PairBuffers(*np.empty((2, bounds.COLUMNS_AT_ONCE), np.int32))
    if expected.sum() > m:
        assert candidates(g, a, b, rise, np.empty((0, 0), np.uint8), short) == -1


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0, 5]), st.integers(1, 2))
def test_a_pass_through_small_pictures_equals_brute_force(kind, seed, numeric, k, threads) -> None:
    rng = np.random.default_rng(seed)
    n, features = 70, 1_024
    pixels = pictures(kind, n, features, seed)
    pixels[40:50] = pixels[:10]
    pixels[50:60] = np.clip(pixels[:10].astype(int) + rng.integers(-2, 3, (10, features)), 0, 255)
    y = rng.choice([0.5, 1e6, 1e6 + 0.125], n) if numeric else rng.integers(0, 3, n).astype(float)
    y[rng.random(n) < 0.1] = np.nan
    spec, rows = PassSpec(k, numeric, 4.0 * features), array_rows(pixels, y, rng.random(n) < 0.9)
    looked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basis_choice, "WIDTHS", ((1, 8),))
        patch.setattr(basis_choice, "ROWS_PER_COORDINATE", 1)
        patch.setattr(basis_choice, "TRIAL_WORK", np.inf)
        patch.setattr(basis_choice, "factors", lambda features: [4, 2, 1])
        patch.setattr(basis_choice, "choose_levels", lambda arriving, passed, features: (tuple(passed), 0.0))
        patch.setattr("dataprops.distances.folds.CHOSEN_WORK", 100.0)
        patch.setattr("dataprops.distances.folds.still_close", lambda *given: looked.append(1) or still_close(*given))
        patch.setattr(tiles, "SMALLEST_EDGE", 8)
        patch.setattr(passes, "SMALLEST_EDGE", 8)
        result = all_pairs(rows, spec, Plan(30, 16, 0), Runner(threads))
    assert looked
    assert_equals_brute_force(result, rows, pixels, spec)

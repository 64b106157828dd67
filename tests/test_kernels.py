"""The compiled kernels by themselves, against loops over Python numbers: quick enough to be tried as plain Python too.

`test_distances` and `test_sketch` try the passes that they make up.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from dataprops.distances import bounds, kernel, sketch
from dataprops.distances.kernel import EMPTY, NearBuffers, Rules, TilePairs, TileSide
from dataprops.distances.plan import PassSize, working_bytes
from dataprops.distances.pooled import PooledSide, pool, still_close
from dataprops.distances.state import NearPairs, PassSpec, State, empty, finalize, found_in, merge, run_of, state_bytes

SEEDS = range(4)


class Case(NamedTuple):
    """Rows of a tile and its columns: pixels less 128, labels, numbers that are in no order, primary flags."""

    pixels: tuple[np.ndarray, np.ndarray]
    y: tuple[np.ndarray, np.ndarray]
    number: tuple[np.ndarray, np.ndarray]
    primary: tuple[np.ndarray, np.ndarray]


def case_of(rng: np.random.Generator, m: int, n: int, numeric: bool, triangle: bool, values: int) -> Case:
    """Few features and values: many ties, and identical images among them."""
    numbers = rng.permutation(2 * (m + n))[: m + n].astype(np.int32)
    pixels = rng.integers(-values, values + 1, (m + n, 3)).astype(np.int64)
    y = rng.choice([-1.5, 0.5, 1.0, 4.25], m + n) if numeric else rng.integers(0, 3, m + n).astype(float)
    y[rng.random(m + n) < 0.15] = np.nan
    primary = rng.random(m + n) < 0.8
    parts = [(part[:m], part[:n] if triangle else part[m:]) for part in (pixels, y, numbers, primary)]
    return Case(*parts)


def sides_of(case: Case, states: tuple[State, State]) -> tuple[TileSide, TileSide]:
    norm = [(pixels**2).sum(axis=1).astype(float) for pixels in case.pixels]
    one, two = (TileSide(norm[i], case.y[i], case.number[i], case.primary[i], *states[i]) for i in (0, 1))
    return one, two


def told_by_loops(case: Case, i: int, j: int, numeric: bool) -> tuple[int, float]:
    """Squared distance and squared sharpness of a pair."""
    d2 = int(((case.pixels[0][i] - case.pixels[1][j]) ** 2).sum())
    one, two = case.y[0][i], case.y[1][j]
    rise = 0.0 if math.isnan(one) or math.isnan(two) else (one - two) ** 2 if numeric else float(one != two)
    return d2, rise / d2 if d2 else 0.0


def check(case: Case, pairs: list[tuple[int, int]], fold: Any, k: int, numeric: bool, near2: float, both: bool) -> None:
    """Fold pairs into two states that know something already; each state, and the near pairs, are those of loops."""
    same = case.number[0] is case.number[1] or np.array_equal(case.number[0], case.number[1])
    states = [empty(len(part), k) for part in case.number]
    if same:
        states[1] = states[0]
    lists: list[dict[int, list]] = [{i: [] for i in range(len(part))} for part in case.number]
    if same:
        lists[1] = lists[0]
    best: list[dict[int, tuple]] = [{i: (0.0, int(EMPTY), 0) for i in range(len(part))} for part in case.number]
    if same:
        best[1] = best[0]
    near = []
    for i, j in pairs:
        d2, sharp = told_by_loops(case, i, j, numeric)
        if d2 == 0:
            continue
        for side, row, other in ((0, i, j), (1, j, i)):
            if side == 1 and not both:
                continue
            number = int(case.number[1 - side][other])
            if case.primary[1 - side][other]:
                lists[side][row].append((d2, number))
            if (sharp, -number) > (best[side][row][0], -best[side][row][1]) and sharp > 0:
                best[side][row] = (sharp, number, d2)
        if d2 <= near2 and case.primary[0][i] and case.primary[1][j]:
            near.append((d2, int(case.number[0][i]), int(case.number[1][j])))
    buffers = NearBuffers(np.empty(len(pairs), np.int32), np.empty(len(pairs), np.int32), np.empty(len(pairs)))
    found = fold(*sides_of(case, (states[0], states[1])), buffers)
    assert sorted(zip(buffers.d2[:found], buffers.a[:found], buffers.b[:found], strict=True)) == sorted(near)
    for side in (0, 1) if both else (0,):
        done = finalize(states[side])
        for row, wanted in lists[side].items():
            wanted = sorted(wanted)[:k]
            wanted += [(math.inf, int(EMPTY))] * (k - len(wanted))
            assert list(zip(done.knn_d2[row], done.knn_index[row], strict=True)) == wanted
            sharp, number, d2 = best[side][row]
            assert (done.sharp[row], done.sharp_index[row], done.sharp_d2[row]) == (sharp, number, d2)
    if not both and not same:
        assert (states[1].knn_index == EMPTY).all() and not states[1].sharp.any()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("numeric", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 64), (3, 65), (2, 131)])
@pytest.mark.parametrize("form", ["tile", "both", "triangle"])
def test_a_tile_folds_as_loops_over_its_pairs(form, shape, k, numeric, seed):
    m, n = (shape[1] // 3 + 1,) * 2 if form == "triangle" else shape
    rng = np.random.default_rng(100 * seed + n)
    case = case_of(rng, m, n, numeric, form == "triangle", (1, 2, 100, 127)[seed])
    near2 = (-1.0, 3.0, 12_000.0, 20_000.0)[seed]
    pairs = [(i, j) for i in range(m) for j in range(n) if form != "triangle" or j > i]
    g = (case.pixels[0] @ case.pixels[1].T).astype(np.int32 if seed % 2 else np.int64)
    rules = Rules(numeric, near2, form == "triangle", form != "tile")
    check(case, pairs, lambda a, b, near: kernel.reduce_tile(g, a, b, rules, near), k, numeric, near2, form != "tile")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("numeric", [False, True])
@pytest.mark.parametrize("k", [0, 1, 3, 4])
@pytest.mark.parametrize("both", [False, True])
def test_single_pairs_fold_as_loops_over_them(both, k, numeric, seed):
    rng = np.random.default_rng(seed)
    case = case_of(rng, 7, 40, numeric, False, (1, 2, 100, 127)[seed])
    near2 = (-1.0, 3.0, 12_000.0, 20_000.0)[seed]
    pairs = [(int(at) // 40, int(at) % 40) for at in rng.permutation(280)[:150]]
    rows, columns = np.array(pairs, np.int32).T.copy()
    products = (case.pixels[0][rows] * case.pixels[1][columns]).sum(axis=1)
    rules = Rules(numeric, near2, False, both)

    def fold(a: TileSide, b: TileSide, near: NearBuffers) -> int:
        return kernel.fold_pairs(TilePairs(rows, columns, products), a, b, rules, near)

    check(case, pairs, fold, k, numeric, near2, both)


@pytest.mark.parametrize("form", ["tile", "pairs"])
@pytest.mark.parametrize("number", [5, 9])
@pytest.mark.parametrize("d2", [3, 7, 49, 103, 107, 1_000_003])
def test_of_equally_sharp_pairs_the_smaller_number_counts_whatever_rounding_does(d2, number, form):
    """d^2 times 1 / d^2 is 1 for some distances, and a little less or more for others; for rows, and for columns by themselves."""
    for at in (0, 1):
        states = empty(1, 0), empty(1, 0)
        states[at].sharp[0], states[at].sharp_d2[0], states[at].sharp_index[0] = 1.0 / d2, d2, 7
        states[1 - at].sharp[0], states[1 - at].sharp_index[0] = 2.0, 1  # the other knows a sharper one
        norm, numbers = (float(d2), 0.0), ((3, number), (number, 3))[at]
        a, b = (
            TileSide(
                np.array([norm[i]]), np.array([float(i)]), np.array([numbers[i]], np.int32), np.ones(1, bool), *side
            )
            for i, side in enumerate(states)
        )
        buffers = NearBuffers(np.empty(1, np.int32), np.empty(1, np.int32), np.empty(1))
        rules = Rules(False, -1.0, False, True)
        if form == "tile":
            kernel.reduce_tile(np.zeros((1, 1), np.int32), a, b, rules, buffers)
        else:
            one = np.zeros(1, np.int32)
            kernel.fold_pairs(TilePairs(one, one, np.zeros(1, np.int64)), a, b, rules, buffers)
        assert states[at].sharp_index[0] == min(number, 7) and states[1 - at].sharp_index[0] == 1


def test_rows_are_shifted_and_their_norms_are_exact():
    for features in (1, 2, 70_001):
        pixels = np.zeros((3, features), np.uint8)
        pixels[1] = 255
        pixels[2] = np.arange(features) % 256
        shifted, norms = np.empty((3, features), np.int8), np.empty(3)
        kernel.shift_rows(pixels, shifted, norms)
        wide = pixels.astype(np.int64) - 128
        assert np.array_equal(shifted, wide) and np.array_equal(norms, (wide**2).sum(axis=1))


@pytest.mark.parametrize(
    ("index", "run"),
    [
        ([], None),
        ([4], slice(4, 5)),
        ([3, 4, 5], slice(3, 6)),
        ([0, 1], slice(0, 2)),
        ([0, 2], None),
        ([3, 5, 4, 6], None),  # as long as a run, and none
        ([5, 4, 3], None),
        ([0, 0, 2], None),
    ],
)
def test_rows_that_are_a_run_are_taken_as_a_slice_and_others_as_they_are(index, run):
    given = np.array(index, np.int64)
    taken = run_of(given)
    if run is None:
        assert taken is given
    else:
        assert taken == run


def test_a_state_takes_the_memory_that_is_projected_and_says_what_was_asked():
    for n, k in ((1, 1), (7, 20), (3, 0)):
        assert sum(part.nbytes for part in empty(n, k)) == state_bytes(n, k)
    assert PassSpec(3) == (3, False, -1.0, 1_000_000, True)
    assert NearPairs().limit == 1_000_000


@pytest.mark.parametrize("count", [2, 3])
def test_near_pairs_are_cut_off_beyond_their_limit(count):
    near = NearPairs(2)
    assert near.count == 0
    for at in range(count):
        near.add(np.array([9], np.int32), np.array([at], np.int32), np.array([3.0 - at]))
    assert near.count == count
    a, b, d2 = near.arrays()
    assert list(zip(d2, a, b, strict=True)) == [(3.0 - at, at, 9) for at in range(count)[::-1]][:2]


@pytest.mark.parametrize("seed", range(12))
def test_states_of_the_same_rows_are_merged_and_what_is_empty_does_not_travel(seed):
    rng = np.random.default_rng(seed)
    for k in (0, 1, 3, 4):
        whole, parts = empty(6, k), [empty(6, k), empty(6, k)]
        for at, number in enumerate(rng.permutation(24).astype(np.int32)):
            d2, row = float(rng.integers(1, 5)), at % 6
            sharp = 1.0 / d2 if rng.random() < 0.6 else 0.0
            for state in (whole, parts[at // 6 % 2]):
                if k and kernel.after(state.knn_d2[row, 0], state.knn_index[row, 0], d2, number):
                    kernel.push(state.knn_d2[row], state.knn_index[row], d2, number)
                if sharp and (sharp, -number) > (state.sharp[row], -state.sharp_index[row]):
                    state.sharp[row], state.sharp_d2[row], state.sharp_index[row] = sharp, d2, number
        found = [found_in(part) for part in parts]
        for part, one in zip(parts, found, strict=True):
            assert len(one.row) == (part.knn_index != EMPTY).sum() and len(one.sharp_row) == (part.sharp > 0).sum()
            assert (one.sharp > 0).all()
        into = empty(6, k)
        for one in found:
            merge(into, one)
        for one, two in zip(finalize(into), finalize(whole), strict=True):
            assert np.array_equal(one, two)


@pytest.mark.parametrize("gone", [False, True])
def test_lists_move_to_their_new_rows_and_those_that_name_a_row_that_is_gone_stay_behind(gone):
    d2 = np.array([[1.0, 2.0, np.inf], [3.0, 4.0, 5.0]])
    number = np.array([[1, 2, EMPTY], [0, 2, 3]], np.int32)
    went = np.array([5, 4, 3, -1 if gone else 0], np.int64)
    new = kernel.Lists(np.full((6, 3), -1.0), np.full((6, 3), -7, np.int32))
    whole = np.empty(2, bool)
    kernel.carry_lists(kernel.Lists(d2, number), new, kernel.Moves(np.array([0, 1]), np.array([4, 5]), went), whole)
    assert whole.tolist() == [True, not gone]
    assert new.d2[4].tolist() == [np.inf, 2.0, 1.0] and new.number[4].tolist() == [EMPTY, 3, 4]
    if gone:
        assert (new.number[5] == -7).all()
    else:
        assert new.d2[5].tolist() == [5.0, 4.0, 3.0] and new.number[5].tolist() == [0, 3, 5]
    assert (new.number[:4] == -7).all()


def test_a_sketch_says_what_rounding_changed_at_most():
    """Besides what the codes lost of a vector, what float64 may have lost of it before: both in steps."""
    rng = np.random.default_rng(0)
    along, axis, centre, step = rng.normal(0, 30, (6, 4)), rng.normal(size=4), rng.normal(size=4), 0.4
    axis /= np.linalg.norm(axis)
    apart2 = (along**2).sum(axis=1) + np.array([0.0, 1.0, 50.0, 900.0, 4.0, 1e4])
    apart2[4] = 0.5 * (along[4] ** 2).sum()  # less than what lies along it, by rounding
    norm = 3 * apart2 + 7.0
    out = sketch.Codes(np.empty((6, 4), np.int8), np.empty(6, np.float32), np.empty(6, np.float32))
    sketch.quantise(along, apart2, norm, sketch.Turned(axis, centre, step), out)
    for i in range(6):
        left = math.sqrt(max(0.0, apart2[i] - (along[i] ** 2).sum()))
        exact = (along[i] + left * axis - centre) / step
        codes = np.clip(np.rint(exact), -127, 127)
        assert out.codes[i].tolist() == codes.tolist() and out.norm[i] == (codes**2).sum()
        unsure = 1e-4 * math.sqrt(apart2[i]) + 1e-7 * math.sqrt(norm[i])
        wanted = (math.sqrt(((exact - codes) ** 2).sum()) + unsure / step) * (1 + 1e-6)
        assert out.error[i] == pytest.approx(wanted, rel=1e-7)
    assert (np.abs(out.codes) == 127).any()  # some are clipped


def test_limits_are_rounded_up_and_what_has_no_sharpest_pair_has_none():
    step, sharp = 0.5, np.array([0.0, 0.04, np.inf])
    some = sketch.Sketch(torch.empty(4, 2), np.arange(4.0), np.arange(4, dtype=np.float32) + 1, np.zeros(4), step)
    found = bounds.limits(some, slice(1, 4), np.array([-1.0, 9.0, np.inf]), sharp, np.array([0.5, np.nan, 2.0]))
    assert found.norm.tolist() == [1, 2, 3]
    up = 1 + 1e-5
    np.testing.assert_allclose(found.error, np.array([2, 3, 4]) * up, rtol=1e-7)
    np.testing.assert_allclose(found.reach, [0.0, 3 / step * up, np.inf], rtol=1e-7)
    np.testing.assert_allclose(found.slope, [1e15, 5 / step * up, 0.0], rtol=1e-7)
    assert (found.error > np.array([2, 3, 4])).all() and found.reach[1] > 6 and found.slope[1] > 10


@pytest.mark.parametrize("numeric", [False, True])
def test_pairs_that_small_pictures_do_not_rule_out_are_those_of_the_formula(numeric):
    rng = np.random.default_rng(1)
    m, n, step = 9, 11, 0.7
    codes = [rng.integers(-9, 10, (count, 5)) for count in (m, n)]
    one, two = (
        PooledSide((code**2).sum(axis=1).astype(float), rng.uniform(0, 30, len(code)), rng.uniform(0, 1, len(code)))
        for code in codes
    )
    y = [rng.choice([0.0, 1.0, 2.5, np.nan], count).astype(np.float32) for count in (m, n)]
    within = [
        bounds.Limits(
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
            rng.uniform(0, 25, count).astype(np.float32),
            rng.uniform(0, 20, count).astype(np.float32),
            labels,
        )
        for count, labels in zip((m, n), y, strict=True)
    ]
    rise = (
        bounds.Rise(np.float32(np.inf), np.float32(0.1)) if numeric else bounds.Rise(np.float32(1.0), np.float32(0.0))
    )
    rows, columns = (part.ravel().astype(np.int32) for part in np.meshgrid(np.arange(m), np.arange(n), indexing="ij"))
    wanted = []
    for i, j in zip(rows.tolist(), columns.tolist(), strict=True):
        apart2 = ((codes[0][i] - codes[1][j]) ** 2).sum() + (one.rest[i] - two.rest[j]) ** 2
        far = max(within[0].reach[i], within[1].reach[j])
        differ = min(abs(y[0][i] - y[1][j]) + rise.least, rise.most)
        if differ > 0:
            far = max(far, differ * max(within[0].slope[i], within[1].slope[j]))
        if math.sqrt(apart2) <= float(far) * step + one.moved[i] + two.moved[j]:
            wanted.append((i, j))
    pairs = TilePairs(rows, columns, (codes[0][rows] * codes[1][columns]).sum(axis=1))
    kept = still_close(pairs, one, two, *within, (rise, step))
    assert list(zip(rows[:kept].tolist(), columns[:kept].tolist(), strict=True)) == wanted
    assert 10 < kept < m * n - 10


@pytest.mark.parametrize("channels, factor", [(1, 2), (3, 4), (1, 16)])
def test_small_pictures_are_the_rounded_means_of_squares_and_say_what_they_left(channels, factor):
    side = 32
    shifted = np.random.default_rng(factor).integers(-128, 128, (3, side * side * channels)).astype(np.int8)
    shifted[1], shifted[2] = 127, -128
    norm = (shifted.astype(np.int64) ** 2).sum(axis=1).astype(float)
    small = pool(torch.from_numpy(shifted), norm, factor)
    assert small.left is not None
    squares = shifted.astype(np.int64).reshape(3, side // factor, factor, side // factor, factor, channels)
    total, area = squares.sum((2, 4)).reshape(3, -1), factor * factor
    codes = np.minimum(127, np.floor((total + area / 2) / area))
    assert np.array_equal(small.codes, codes) and np.array_equal(small.left, total - area * codes)
    assert small.inner.tolist() == (codes**2).sum(axis=1).tolist()
    np.testing.assert_allclose(small.moved, np.sqrt(((total / area - codes) ** 2).sum(axis=1)))
    rest2 = ((squares - squares.mean((2, 4), keepdims=True)) ** 2).sum((1, 2, 3, 4, 5))
    np.testing.assert_allclose(small.rest, np.sqrt(rest2) / factor, atol=1e-6)


@pytest.mark.parametrize("sketched", [False, True])
@pytest.mark.parametrize("anchors", [None, 500])
@pytest.mark.parametrize("block", [900, 5_000, 20_000])
def test_the_memory_of_a_pass_is_projected_part_by_part(block, anchors, sketched):
    n, features, k, threads, edge = 20_000, 32 * 32 * 3, 20, 3, 1_024
    rows = min(block, n)
    held = {900: 3, 5_000: 3, 20_000: 1}[block]  # two of a job, and the next; one, if it is the whole set
    asked = anchors or n
    parts = {
        "state": (asked + 2 * rows) * (12 * k + 20),
        "rows": held * rows * (features + 24),
        "tiles": threads * (min(edge, rows) ** 2 * 28 + 2 * min(edge, rows) * features),
        "what is being read": (threads + 1) * min(2**22, rows * features),
    }
    coordinates = (0 if anchors else 256) if sketched else 0  # few rows do not pay for sketches
    two = min(2, held)
    parts |= {  # also where there are none: a little more than it takes
        "sketches of all": 0 if anchors else n * (coordinates + 17),
        "of a job, in their order": 2 * two * rows * (coordinates + 24),
    }
    if coordinates:
        parts |= {
            "small pictures of a job": two * rows * (features // 4 + 24),  # of squares of 2 x 2
            "a basis": (3 * coordinates + 256) * features,
            "being made": threads * 1_024 * coordinates * 20,
        }
    assert working_bytes(PassSize(n, features, k, anchors), threads, block, edge, sketched) == sum(parts.values())

"""Partners, buckets, borders and cosine coefficients by themselves: what proposes pairs that may show one picture.

`test_auditing` looks at the findings that come of them.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from dataprops.findings import buckets, candidates, partners
from dataprops.findings.candidates import LOWEST_FIRST, SYMMETRIES, VIEWS, WHOLE


def directions(n: int, seed: int, features: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, features)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def planted(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions of a and b; some of b lie close to another row of a, and each to its own, which is no partner."""
    a = directions(n, seed)
    b = a.copy()
    for row in range(0, n, 7):
        other = (row + n // 2) % n
        b[other] = a[row] + 0.02 * directions(1, row)[0]
    return a, (b / np.linalg.norm(b, axis=1, keepdims=True)).astype(np.float32)


def partners_by_loops(a: np.ndarray, b: np.ndarray, closer: float) -> tuple[list, list]:
    """The first rows with their best partners, and the pairs that are closer than usual."""
    n = len(a)
    edges = [int(n * part / min(4, n)) for part in range(min(4, n) + 1)]
    apart = [
        [
            min((1 - float(a[i] @ b[j]), j) for j in range(edges[part], edges[part + 1]) if j != i)
            if any(j != i for j in range(edges[part], edges[part + 1]))
            else (3.0, i)
            for part in range(len(edges) - 1)
        ]
        for i in range(n)
    ]
    best = [min(value for value, _ in row) for row in apart]
    usual = max(float(np.median(best)), 1e-4)
    pairs = []
    for i, row in enumerate(apart):
        values = sorted(value for value, _ in row)
        limit = min(usual, values[-2] if len(values) > 3 else values[-1])
        pairs += [(i, j) for value, j in row if value < closer * limit]
    first = [(i, min(apart[i])[1]) for i in range(0, n, max(1, n // partners.USUAL))]
    return first, pairs


@pytest.mark.parametrize("closer", [0.45, 0.9])
@pytest.mark.parametrize(("n", "seed"), [*((n, seed) for n in (2, 3, 4, 5) for seed in range(6)), (40, 0), (700, 0)])
def test_close_partners_are_those_of_loops(n, seed, closer):
    a, b = planted(n, n + seed)
    row, partner, some = partners.close_partners(torch.from_numpy(a), torch.from_numpy(b), closer)
    first, pairs = partners_by_loops(a, b, closer)
    assert list(zip(row[:some].tolist(), partner[:some].tolist(), strict=True)) == first
    assert list(zip(row[some:].tolist(), partner[some:].tolist(), strict=True)) == pairs
    assert n < 40 or len(pairs) >= n // 7


@pytest.mark.parametrize("one_bucket", [True, False])
def test_pairs_that_meet_in_buckets_are_the_nearest_below_the_limit(one_bucket, monkeypatch):
    """In one bucket all meet; by keys, nineteen of twenty at the limit do, and closer ones more surely."""
    monkeypatch.setattr(partners, "CROWDED", 0.0 if one_bucket else 1e9)
    a, b = planted(400, 3)
    edges = np.array([0, 100, 250, 399, 400])
    limit = 0.2
    best, partner = partners.within(torch.from_numpy(a), torch.from_numpy(b), edges, limit)
    met = wanted = 0
    for i in range(400):
        for part in range(4):
            values = [(1 - float(a[i] @ b[j]), j) for j in range(edges[part], edges[part + 1]) if j != i]
            value, j = min(values, default=(9.0, -1))
            if math.isfinite(best[i, part]):
                assert best[i, part] < limit and partner[i, part] in range(edges[part], edges[part + 1])
                assert best[i, part] == pytest.approx(1 - float(a[i] @ b[partner[i, part]]), abs=1e-5)
            if value < limit:
                wanted += 1
                met += best[i, part] == pytest.approx(value, abs=1e-5)
            if value < limit / 20:
                assert partner[i, part] == j
    assert wanted > 400 and met >= 0.93 * wanted


@pytest.mark.parametrize("angle", [0.05, 0.2, 0.4, 0.9, 1.5])
def test_a_key_has_as_many_planes_as_let_pairs_at_the_limit_meet(angle):
    def meets(planes: int) -> float:
        return 1 - (1 - (1 - angle / math.pi) ** planes) ** partners.TABLES

    planes = partners.planes_of_key(angle)
    assert meets(planes) >= partners.MEET
    assert planes == partners.MOST_PLANES or meets(planes + 1) < partners.MEET
    assert partners.planes_of_key(0.0) == partners.planes_of_key(math.pi) == partners.MOST_PLANES


def test_keys_signatures_and_counts_are_those_of_loops():
    rng = np.random.default_rng(0)
    projected = rng.normal(size=(9, 6)).astype(np.float32)
    projected[0, 0] = 0.0  # lies on the plane: not above it
    keys = buckets.keys(projected, 2, 3)
    assert keys.tolist() == [
        [sum(4 >> plane for plane in range(3) if row[3 * table + plane] > 0) for row in projected] for table in (0, 1)
    ]
    others = rng.integers(0, 8, (2, 5)).astype(np.int32)
    assert buckets.meetings(keys, others, 8) == sum(
        int(keys[table, i] == others[table, j]) for table in (0, 1) for i in range(9) for j in range(5)
    )
    numbers = rng.integers(0, 2**64, 50, np.uint64)
    numbers[:2] = 0, 2**64 - 1
    with np.errstate(over="ignore"):  # they are meant to, and say so where they are not compiled
        assert [int(buckets._ones(number)) for number in numbers] == [int(number).bit_count() for number in numbers]
    rows, planes = directions(5, 1), torch.from_numpy(rng.normal(size=(8, 64)).astype(np.float32))
    signs = partners._signatures(torch.from_numpy(rows), planes)
    wanted = [sum(1 << bit for bit in range(64) if rows[i] @ planes.numpy()[:, bit] > 0) for i in range(5)]
    assert [int(sign) for sign in signs] == wanted


@pytest.mark.parametrize("limit", [0, 3])
def test_pairs_meet_where_a_key_is_the_same_and_signatures_differ_little(limit):
    rng = np.random.default_rng(limit)
    a, b = directions(12, 5), directions(15, 6)
    b[3] = a[3]  # its own number
    keys_a, keys_b = rng.integers(0, 3, (2, 12)).astype(np.int32), rng.integers(0, 3, (2, 15)).astype(np.int32)
    signs_a, signs_b = rng.integers(0, 16, 12).astype(np.uint64), rng.integers(0, 16, 15).astype(np.uint64)
    edges = np.array([0, 4, 15])
    best, partner = np.full((12, 2), np.inf, np.float32), np.full((12, 2), -1)
    rules = buckets.Meeting(3, np.uint64(limit), edges, np.float32(0.9))
    with np.errstate(over="ignore"):
        buckets.meet(buckets.Side(a, keys_a, signs_a), buckets.Side(b, keys_b, signs_b), rules, best, partner)
    for i in range(12):
        for part in (0, 1):
            near = [
                (1 - float(a[i] @ b[j]), j)
                for j in range(edges[part], edges[part + 1])
                if j != i
                and (keys_a[:, i] == keys_b[:, j]).any()
                and int(signs_a[i] ^ signs_b[j]).bit_count() <= limit
                and 1 - float(a[i] @ b[j]) < 0.9
            ]
            value, j = min(near, default=(math.inf, -1))
            assert partner[i, part] == j and best[i, part] == pytest.approx(value, abs=1e-5)


def pictures(n: int, side: int = 64, seed: int = 0) -> np.ndarray:
    """Smooth pictures without symmetry, uint8."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 1, side)
    out = np.zeros((n, side, side))
    for i in range(n):
        for _ in range(12):
            x, y, size, height = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.3), rng.normal()
            out[i] += height * np.exp(-((at[None] - x) ** 2 + (at[:, None] - y) ** 2) / (2 * size**2))
    out -= out.min((1, 2), keepdims=True)
    return np.rint(255 * out / out.max((1, 2), keepdims=True)).astype(np.uint8)


def turn(image: np.ndarray, symmetry: int) -> np.ndarray:
    transpose, across, down = SYMMETRIES[symmetry]
    out = image.T if transpose else image
    out = out[:, ::-1] if across else out
    return out[::-1] if down else out


def test_coefficients_are_the_lowest_of_the_cosine_transform_without_the_mean():
    thumbs = pictures(5, 64)
    found = candidates.coefficients(thumbs, [WHOLE])[WHOLE]
    small = thumbs.reshape(5, 16, 4, 16, 4).mean((2, 4))
    plain = dctn(small, type=2, axes=(1, 2))[:, :8, :8] / 4
    plain[:, 0, 0] = 0
    plain /= np.sqrt((plain**2).sum((1, 2), keepdims=True))
    np.testing.assert_allclose(found, plain, atol=1e-5)
    assert sorted(LOWEST_FIRST.tolist()) == list(range(64))
    order = [row + column for row, column in (divmod(int(at), 8) for at in LOWEST_FIRST)]
    assert order == sorted(order)


@pytest.mark.parametrize("window", [(0.0, 0.0, 0.5, 0.5), (0.25, 0.5, 0.75, 1.0), (0.1, 0.0, 1.0, 0.9)])
def test_coefficients_of_a_window_are_those_of_the_part_that_it_shows(window):
    thumbs = pictures(4, 160)
    left, top, right, bottom = (round(160 * edge) for edge in window)
    part = candidates.coefficients(np.ascontiguousarray(thumbs[:, top:bottom, left:right]), [WHOLE])[WHOLE]
    np.testing.assert_allclose(candidates.coefficients(thumbs, [window])[window], part, atol=1e-5)


@pytest.mark.parametrize("symmetry", range(8))
def test_coefficients_are_turned_as_the_picture_is(symmetry):
    thumbs = pictures(3)
    made = np.stack([turn(image, symmetry) for image in thumbs])
    found = candidates.turned(candidates.coefficients(thumbs, [WHOLE])[WHOLE], symmetry)
    np.testing.assert_allclose(found, candidates.coefficients(np.ascontiguousarray(made), [WHOLE])[WHOLE], atol=1e-5)


@pytest.mark.parametrize("level", [0, 90, 255])
@pytest.mark.parametrize("lines", [(5, 0, 0, 0), (0, 6, 0, 0), (0, 0, 7, 0), (0, 0, 0, 8), (9, 3, 4, 12), (1, 1, 1, 1)])
def test_borders_of_one_colour_are_measured_at_each_side(lines, level):
    """With the line between border and content, a mixture of both."""
    left, top, right, bottom = lines
    content = np.random.default_rng(0).integers(20, 200, (64, 64)).astype(np.uint8)
    thumb = content.copy()
    thumb[:, :left] = thumb[:top] = level
    thumb[:, 64 - right :] = level
    thumb[64 - bottom :] = level
    found = candidates.border_lines(np.stack([thumb, content]))
    assert not found[1].any()
    assert found[0].tolist() == [count + 2 * (count > 0) for count in lines]
    inset = 2 * found[0] / 64
    assert candidates.content_boxes(thumb[None])[0].tolist() == pytest.approx(
        [inset[0] - 1, inset[1] - 1, 1 - inset[2], 1 - inset[3]]
    )


@pytest.mark.parametrize("side", [32, 64])
def test_a_line_of_a_border_may_have_one_pixel_in_fifty_that_is_odd(side):
    content = np.random.default_rng(0).integers(20, 200, (side, side)).astype(np.uint8)
    for odd in (side // 50, side // 50 + 1):
        thumb = content.copy()
        thumb[:, :5] = 250
        thumb[10 : 10 + odd, :5] = 30
        found = candidates.border_lines(thumb[None])[0].tolist()
        assert found == ([5 + side // 32, 0, 0, 0] if odd == side // 50 else [0, 0, 0, 0])


def test_directions_are_coefficients_without_what_all_share_by_their_spread():
    rng = np.random.default_rng(0)
    coef, mean, spread = rng.normal(size=(4, 8, 8)), rng.normal(size=(8, 8)), rng.uniform(0.5, 2, (8, 8))
    some = candidates._Directions(coef.astype(np.float32), mean.astype(np.float32), spread.astype(np.float32))
    flat = ((coef - mean) / spread).reshape(4, -1)
    low = flat[:, LOWEST_FIRST[: candidates.COARSE]]
    np.testing.assert_allclose(some.low(), low / np.linalg.norm(low, axis=1, keepdims=True), atol=1e-5)
    wanted = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    np.testing.assert_allclose(some.at(np.array([2, 0])), wanted[[2, 0]], atol=1e-5)


def test_a_border_takes_no_more_than_two_fifths_of_a_side_and_a_picture_of_one_colour_has_none():
    wide = 40 + pictures(1, 60)[0] // 2
    wide[:, :40] = 0
    assert candidates.border_lines(wide[None])[0].tolist()[0] == int(0.4 * 60)
    assert candidates.border_lines(np.full((1, 64, 64), 9, np.uint8)).tolist() == [[0, 0, 0, 0]]


def test_a_frame_around_a_picture_with_a_margin_is_taken_off_with_it():
    thumb = 60 + pictures(1, 64)[0] // 3
    margin = thumb.copy()
    margin[:10] = margin[-10:] = 200
    margin[:, :10] = margin[:, -10:] = 200
    margin[:4] = margin[-4:] = 0
    margin[:, :4] = margin[:, -4:] = 0
    assert candidates.border_lines(margin[None])[0].tolist() == [12, 12, 12, 12]


def test_content_is_stretched_to_the_full_side():
    thumbs = pictures(2, 64).astype(np.float32)
    whole = np.array([[-1.0, -1.0, 1.0, 1.0], [-0.5, -0.25, 0.5, 0.75]])
    out = candidates.boxed(thumbs, whole)
    np.testing.assert_allclose(out[0], thumbs[0], atol=1e-3)
    # of columns 16 to 48 and rows 24 to 56: each second pixel lies a quarter before or behind one of them
    part = thumbs[1, 23:57, 15:49].astype(np.float64)
    rows = np.repeat(part, 2, 0)
    rows[0::2], rows[1::2] = 0.75 * part + 0.25 * np.roll(part, 1, 0), 0.75 * part + 0.25 * np.roll(part, -1, 0)
    columns = np.repeat(rows, 2, 1)
    columns[:, 0::2], columns[:, 1::2] = (0.75 * rows + 0.25 * np.roll(rows, step, 1) for step in (1, -1))
    np.testing.assert_allclose(out[1], columns[2:-2, 2:-2], atol=0.01)


def test_parts_that_show_nothing_are_no_candidates():
    """Lines of text on white: their lower halves are equal, whatever they say."""
    rng = np.random.default_rng(0)
    thumbs = 255 - rng.integers(0, 200, (40, 16, 16), np.uint8).repeat(4, 1).repeat(4, 2)
    thumbs[:8, 20:] = 255
    found = candidates.candidate_pairs(thumbs)
    lower = [view.a == view.b == candidates.PARTS[2] for view in VIEWS]
    assert not np.array(lower)[found.view].any()


def test_the_best_views_of_the_best_partners_are_kept():
    n, kept = 6, 2
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, n, (2, 60))
    view, closeness = rng.integers(0, 30, 60), np.sort(rng.random(60))
    found = candidates._keep(a, b, view, closeness, n, kept)
    partners_of, views, wanted = [0] * n, {}, []
    for i in range(60):
        pair = min(a[i], b[i]), max(a[i], b[i])
        if len(views.get(pair, [])) >= 2:
            continue
        if pair not in views:
            if partners_of[a[i]] >= kept and partners_of[b[i]] >= kept:
                continue
            partners_of[a[i]] += 1
            partners_of[b[i]] += 1
        one = VIEWS[view[i]]
        if view[i] in views.get(pair, []) and one.a == one.b and one.symmetry not in (5, 6):
            continue  # the same once more, from the other side
        views.setdefault(pair, []).append(view[i])
        wanted.append((a[i], b[i], view[i], np.float32(closeness[i])))
    assert list(zip(*found, strict=True)) == wanted and 0 < len(wanted) < 60


def scene(seed: int, window: tuple[float, float, float, float], side: int = 64) -> np.ndarray:
    """A part of a scene that goes on beyond the unit square, float64 in 0 to 255; half of what it shows is in all scenes."""
    left, top, right, bottom = window
    at = (np.arange(side) + 0.5) / side
    x, y = left + at * (right - left), top + at * (bottom - top)
    out = np.zeros((side, side))
    rng, others = np.random.default_rng(1), np.random.default_rng(seed + 10)
    for number in range(80):
        rng = others if number == 40 else rng
        at_x, at_y, size, height = rng.uniform(-0.5, 1.5), rng.uniform(-0.5, 1.5), rng.uniform(0.05, 0.2), rng.normal()
        out += height * np.exp(-((x[None] - at_x) ** 2 + (y[:, None] - at_y) ** 2) / (2 * size**2))
    return np.clip(128 + 35 * out, 0, 255)


def frame_of(window: tuple[float, float, float, float], shown: tuple[float, float, float, float]) -> tuple:
    """The part of a scene that a picture shows whose window shows this part."""
    across, down = (shown[2] - shown[0]) / (window[2] - window[0]), (shown[3] - shown[1]) / (window[3] - window[1])
    left, top = shown[0] - window[0] * across, shown[1] - window[1] * down
    return left, top, left + across, top + down


def in_view(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of which the first is the second in a view."""
    view, shown = VIEWS[number], (0.1, 0.1, 0.9, 0.9)
    a, b = (scene(number, frame_of(window, shown)) for window in (view.a, view.b))
    if view.a == view.b != WHOLE:  # nothing else than the part is the same
        other = scene(900 + number, WHOLE)
        left, top, right, bottom = (round(64 * edge) for edge in view.a)
        other[top:bottom, left:right] = b[top:bottom, left:right]
        b = other
    if view.symmetry:  # b turned is a
        b = next(turned for i in range(8) if np.array_equal(turn(turned := turn(a, i), view.symmetry), a))
    if view.content:
        small = scene(number, frame_of(view.a, shown), 44)
        a = np.full((64, 64), 255.0)
        a[12:56, 8:52] = small
    return np.rint(a).astype(np.uint8), np.rint(b).astype(np.uint8)


def test_a_pair_is_proposed_in_each_view_that_shows_it():
    """Pictures that are turned, cropped, moved, framed or written on, among others, in the view that says how."""
    others = [np.rint(scene(seed, WHOLE)).astype(np.uint8) for seed in range(2000, 2060)]
    pairs = [in_view(number) for number in range(len(VIEWS))]
    found = candidates.candidate_pairs(np.stack([*(image for pair in pairs for image in pair), *others]))
    views: dict[tuple[int, int], set[int]] = {}
    for a, b, view in zip(found.a.tolist(), found.b.tolist(), found.view.tolist(), strict=True):
        views.setdefault((min(a, b), max(a, b)), set()).add(view)
    planted = {(2 * number, 2 * number + 1): number for number in range(len(VIEWS))}
    elsewhere = {pair: views.get(pair) for pair, number in planted.items() if number not in views.get(pair, set())}
    assert set(elsewhere) <= {(0, 1)}  # the same picture is so in its parts, too
    assert set(planted) <= set(views) and len(views) < 2 * len(planted)
    assert (np.diff(found.closeness) >= 0).all() and (found.closeness < candidates.CLOSER).all()
    assert max(map(len, views.values())) <= 2


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_make_no_pair(n):
    assert len(candidates.candidate_pairs(pictures(n)).a) == 0

"""Marks whose grey levels repeat, by the letter: counts against loops, where the gap lies, and which images bear a mark."""

from __future__ import annotations

import numpy as np
import pytest

from dataprops.findings import stamps, strokes


def test_a_class_exceeds_the_others_where_more_of_it_reach_a_level() -> None:
    found = np.random.default_rng(0).integers(0, 60, (90, 3, 4), dtype=np.uint8)
    found[:15, 1, 2] = 48
    y = np.repeat([0, 1, 2], [20, 30, 40])

    def likelihood(part: int, of: int) -> float:
        share = min(max(part / of, 1e-9), 1 - 1e-6)
        return part * np.log(share) + (of - part) * np.log1p(-share)

    for c, (sure, level) in enumerate(stamps.reach(found, y)):
        for i, j in np.ndindex(3, 4):
            each = []
            for bound in (12, 24, 48):
                own, rest = (int((found[some, i, j] >= bound).sum()) for some in (y == c, y != c))
                of, beside = int((y == c).sum()), int((y != c).sum())
                ratio = likelihood(own, of) + likelihood(rest, beside) - likelihood(own + rest, 90)
                each.append(np.sqrt(2 * max(ratio, 0)) if own / of > rest / beside else 0.0)
            assert sure[i, j] == pytest.approx(max(each), rel=1e-3, abs=2e-3)
            assert level[i, j] == (12, 24, 48)[int(np.argmax(each))]
    assert next(stamps.reach(found, y))[0][1, 2] > 4.5


def test_images_are_cut_in_two_at_the_widest_gap_behind_eight_or_more() -> None:
    away = np.r_[np.full(10, 5.0), np.full(20, 30.0)]
    gap, limit = stamps._cut(away)
    assert gap == pytest.approx(6.0)
    assert limit == pytest.approx(np.sqrt(150))
    assert stamps._cut(away[::-1]) == (gap, limit)
    # four in five of the bearers are within, and a quarter more behind them: 8 of 10 near, and the 12th far
    mixed = np.r_[np.full(8, 5.0), np.full(3, 12.0), np.full(20, 30.0)]
    assert stamps._cut(mixed)[0] == pytest.approx(6.0)
    assert stamps._cut(np.full(7, 5.0)) == (0.0, 0.0)
    assert stamps._cut(np.full(8, 5.0))[0] == pytest.approx(8.0)  # nothing but what is far off
    assert stamps._cut(np.full(8, 0.5))[0] == pytest.approx(20.0)  # rounding
    even = np.linspace(5, 45, 81)  # no gap
    assert stamps._cut(even)[0] < 2


def window(n: int = 60, bearers: int = 10, level: float = 230.0, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Grey levels [n, 49] of noisy pictures on many grounds, a mark on the first ones, and their strokes."""
    rng = np.random.default_rng(seed)
    grey = rng.uniform(20, 180, (n, 1)) + rng.normal(0, 4, (n, 49))
    ground = np.median(grey, axis=1, keepdims=True)
    grey[:bearers, 10:16] = level
    return grey.astype(np.float32), np.maximum(grey - ground, 0).astype(np.float32)


def test_bearers_are_those_of_the_same_levels_also_where_the_search_begins_with_others() -> None:
    grey, shown = window()
    own = np.arange(60) < 30
    start = np.arange(60) < 10
    for begin in (start, start | np.isin(np.arange(60), [20, 21, 22, 23]), np.isin(np.arange(60), [0, 1, 2, 25])):
        found = stamps.borne(grey, shown, begin, own)
        assert found is not None
        assert np.nonzero(found.bearing)[0].tolist() == list(range(10))
        assert found.gap >= 2.5


def test_no_mark_is_told_of_few_bearers_of_both_classes_of_a_weak_one_or_of_a_point() -> None:
    own, start = np.arange(60) < 30, np.arange(60) < 10
    assert stamps.borne(*window(bearers=7), start, own) is None
    assert stamps.borne(*window(bearers=8), start, own) is not None
    # the others bear it: one in ten of ten is too many of thirty
    grey, shown = window()
    grey[40, 10:16], shown[40, 10:16] = 230, 100
    assert stamps.borne(grey, shown, start, own) is not None
    grey[41, 10:16], shown[41, 10:16] = 230, 100
    assert stamps.borne(grey, shown, start, own) is None
    # three pixels are too few to repeat
    grey, shown = window(bearers=0)
    for pixels, told in ((3, False), (4, True)):
        marked, strong = grey.copy(), shown.copy()
        marked[:10, 10 : 10 + pixels], strong[:10, 10 : 10 + pixels] = 230, 120
        assert (stamps.borne(marked, strong, start, own) is not None) == told


def test_what_varies_from_picture_to_picture_is_no_mark() -> None:
    own, start = np.arange(60) < 30, np.arange(60) < 10
    grey, shown = window()
    grey[:10, 10:16] = np.linspace(140, 255, 10)[:, None]  # as strong, in levels of their own
    assert stamps.borne(grey, shown, start, own) is None


def test_an_image_is_as_alike_as_its_strokes_correlate_with_those_of_the_others() -> None:
    shown = np.random.default_rng(2).normal(10, 3, (7, 20)).astype(np.float32)
    wanted = [np.corrcoef(shown[i], np.delete(shown, i, 0).mean(0))[0, 1] for i in range(7)]
    np.testing.assert_allclose(stamps._alike(shown), wanted, atol=1e-4)


def test_levels_of_other_shapes_around_them_are_no_mark() -> None:
    own, start = np.arange(60) < 30, np.arange(60) < 10
    grey, shown = window()
    rng = np.random.default_rng(3)
    for image in range(10):  # each has a stroke of its own beside the pixels that are alike
        at = rng.permutation(np.r_[0:10, 16:49])[:14]
        shown[image, at] += 160
    assert stamps.borne(grey, shown, start, own) is None
    for unlike, told in ((1, True), (3, False)):  # of ten
        grey, shown = window()
        for image in range(unlike):
            shown[image, rng.permutation(np.r_[0:10, 16:49])[:14]] += 160
        assert (stamps.borne(grey, shown, start, own) is not None) == told


def test_levels_that_many_others_have_without_a_mark_are_none() -> None:
    own, start = np.arange(60) < 30, np.arange(60) < 10
    grey, shown = window()
    for plain, told in ((10, True), (11, False)):  # of fifty that do not bear it
        white, flat = grey.copy(), shown.copy()
        white[60 - plain :], flat[60 - plain :] = 230, 0  # plain white throughout: nothing stands out
        assert (stamps.borne(white, flat, start, own) is not None) == told


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("bearers", [8, 9, 12])
def test_a_letter_on_a_tenth_of_a_large_class_is_told_with_its_images(bearers: int, dark: bool) -> None:
    rng = np.random.default_rng(bearers)
    n, side = 240, 64
    ground = rng.uniform(60, 190, (n, 1, 1)) + rng.uniform(-40, 40, (n, 1, 1)) * np.linspace(-1, 1, side)
    images = ground + rng.normal(0, 5, (n, side, side))
    y = np.arange(n) // 120
    bearing = np.arange(0, 4 * bearers, 4)
    images[bearing, 5:12, 54] = images[bearing, 11, 54:59] = 4 if dark else 250
    images = np.clip(images, 0, 255).astype(np.uint8)
    found = strokes.thin_marks(images, y, np.arange(n))
    if bearers == 8:  # of two classes of one size: one in 256, for 16 classes and places
        assert found == []
        return
    (mark,) = found
    assert (mark.label, mark.share) == (0, bearers / 120)
    assert mark.bearers.tolist() == bearing.tolist()
    assert abs(mark.row - 8 / side) < 0.1
    assert abs(mark.column - 56 / side) < 0.1
    few = np.where(np.isin(np.arange(n), bearing), np.arange(n) % 16, np.arange(n) + 100)  # of four patients
    assert strokes.thin_marks(images, y, few) == []


def test_pictures_that_are_one_elsewhere_count_once() -> None:
    rng = np.random.default_rng(4)
    found = rng.integers(0, 90, (6, 20, 20), dtype=np.uint8)
    window = slice(0, 8), slice(12, 20)
    assert stamps.different(found, window) == 6
    found[:, :8, 12:] = rng.integers(0, 90, (8, 8))  # the mark
    assert stamps.different(found, window) == 6
    found[3] = np.clip(found[1] + rng.integers(0, 9, (20, 20)), 0, 96)
    found[5] = found[1]
    assert stamps.different(found, window) == 4
    assert stamps.different(np.zeros((3, 20, 20), np.uint8), window) == 3  # nothing to tell them by


@pytest.mark.parametrize("copies", [1, 2])
def test_copies_of_a_marked_picture_are_no_bearers_of_their_own(copies: int) -> None:
    rng = np.random.default_rng(5)
    images = rng.uniform(60, 190, (240, 1, 1)) + rng.normal(0, 12, (240, 64, 64))
    bearing = np.arange(0, 40, 4)
    for i in range(9 - copies, 10):
        images[bearing[i]] = images[0] + rng.normal(0, 1, (64, 64))
    images[bearing, 5:12, 54] = images[bearing, 11, 54:59] = 250
    images = np.clip(images, 0, 255).astype(np.uint8)
    found = strokes.thin_marks(images, np.arange(240) // 120, np.arange(240))
    assert len(found) == (copies == 1)  # two and three copies of the first: eight and seven pictures


def test_noise_has_no_marks() -> None:
    for seed in range(6):
        images = np.random.default_rng(seed).normal(110, 12, (120, 48, 48))
        images = np.clip(images, 0, 255).astype(np.uint8)
        assert strokes.thin_marks(images, np.arange(120) % (2 + seed % 3), np.arange(120)) == []

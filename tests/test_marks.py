"""Marks, boxes and regions by the letter: arithmetic of each step against loops, and where each bound lies."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from dataprops.findings import boxes, pixel_shortcut, pixels_tell, strokes, trees
from dataprops.findings.boxes import Box
from dataprops.findings.pixels_tell import Told
from dataprops.findings.strokes import Stroke

RNG = np.random.default_rng(0)

# boxes


@pytest.mark.parametrize("side", [16, 33, 64])
def test_windows_of_boxes_are_those_near_the_edge_with_their_levels(side: int) -> None:
    images = np.random.default_rng(side).integers(0, 30, (70, side, side)).astype(np.float32)
    images[3] = 7
    found = boxes._windows(images)
    wide = max(2, side // 16)
    shapes = [(wide, wide), *([(wide // 2, 2 * wide), (2 * wide, wide // 2)] if wide >= 4 else [])]
    wanted = []
    for high, broad in shapes:
        for row in range(0, side - high + 1, max(1, high // 2)):
            for column in range(0, side - broad + 1, max(1, broad // 2)):
                near = min(row, side - high - row) <= 0.1 * side + high
                if near or min(column, side - broad - column) <= 0.1 * side + broad:
                    part = images[:, row : row + high, column : column + broad]
                    low, top = part.min((1, 2)), part.max((1, 2))
                    wanted.append((row + high // 2, column + broad // 2, (low + top) / 2, top - low <= 8))
    assert [tuple(middle) for middle in found.middle] == [row[:2] for row in wanted]
    np.testing.assert_array_equal(found.level, np.stack([row[2] for row in wanted], 1))
    np.testing.assert_array_equal(found.flat, np.stack([row[3] for row in wanted], 1))


def test_levels_that_a_part_of_one_class_shows_are_sorted_by_how_uneven_they_are() -> None:
    # window 0: ten of forty of class 0 at level 20 (bins 2); window 1: eight of them at 100; window 2: four others, too
    y = np.repeat([0, 1], [40, 400])
    level, flat = np.zeros((440, 4), np.float32), np.zeros((440, 4), bool)
    for window, own, at in ((0, 10, 20.0), (1, 8, 100.0), (2, 10, 60.0), (3, 7, 60.0)):
        flat[:own, window], level[:own, window] = True, at
    flat[40:50, 2], level[40:50, 2] = True, 60.0  # 10 of 400: exactly a tenth of the share of 10 of 40
    found = [tuple(map(int, row)) for row in boxes._uneven(level, flat, y)]
    assert found == [(0, 0, 1), (0, 0, 2), (0, 1, 11), (0, 1, 12), (0, 2, 6), (0, 2, 7)]
    flat[50, 2], level[50, 2] = True, 60.0
    assert (0, 2, 7) not in [tuple(map(int, row)) for row in boxes._uneven(level, flat, y)]


def test_two_levels_beside_each_other_count_together_and_the_last_alone() -> None:
    y = np.repeat([0, 1], [20, 20])
    flat = np.zeros((40, 1), bool)
    flat[:8] = True
    level = np.zeros((40, 1), np.float32)
    level[:8, 0] = [15.9, 15.9, 15.9, 15.9, 16.0, 16.0, 16.0, 16.0]
    assert boxes._uneven(level, flat, y).tolist() == [[0, 0, 1]]
    level[:8, 0] = 255.0
    assert boxes._uneven(level, flat, y).tolist() == [[0, 0, 30], [0, 0, 31]]


def shown(side: int, *parts: tuple[slice, slice, float]) -> np.ndarray:
    out = np.zeros((side, side))
    for rows, columns, share in parts:
        out[rows, columns] = share
    return out


def test_a_box_is_what_ends_on_all_sides_within_two_pixels() -> None:
    nothing = np.zeros((40, 40))
    box = shown(40, (slice(2, 8), slice(3, 12), 1.0))
    found = boxes._extent(box, nothing, (4, 5))
    assert found is not None
    assert (found.rows, found.columns, found.beyond) == (slice(2, 8), slice(3, 12), 0.0)
    corner = boxes._extent(shown(40, (slice(0, 6), slice(34, 40), 0.85)), nothing, (3, 36))  # ends with the picture
    assert corner is not None
    assert corner[:2] == (slice(0, 6), slice(34, 40))
    # as long as half of the side, and longer; a line; four pixels from the edge, and five
    assert boxes._extent(shown(40, (slice(2, 8), slice(3, 23), 1.0)), nothing, (4, 5)) is not None
    assert boxes._extent(shown(40, (slice(2, 8), slice(3, 24), 1.0)), nothing, (4, 5)) is None
    assert boxes._extent(shown(40, (slice(2, 4), slice(3, 12), 1.0)), nothing, (3, 5)) is not None
    assert boxes._extent(shown(40, (slice(2, 3), slice(3, 12), 1.0)), nothing, (2, 5)) is None
    for from_edge, told in ((4, True), (5, False)):
        far = shown(40, (slice(from_edge, from_edge + 8), slice(10, 20), 1.0))
        assert (boxes._extent(far, nothing, (from_edge + 3, 15)) is not None) == told
        assert (boxes._extent(far.T, nothing, (15, from_edge + 3)) is not None) == told
        assert (boxes._extent(far[::-1], nothing, (36 - from_edge, 15)) is not None) == told
    # what is shown by half of them two pixels beside it, on one side, and by more
    for share, told in ((0.5, True), (0.52, False)):
        for beside in (
            (slice(8, 12), slice(3, 12)),
            (slice(0, 0), slice(0, 0)),
            (slice(2, 8), slice(12, 16)),
            (slice(2, 8), slice(0, 3)),
        ):
            leading = box + shown(40, (*beside, share))
            assert (boxes._extent(leading, nothing, (4, 5)) is not None) == (told or beside[0] == slice(0, 0))
    # a tenth of it may be missing
    for missing, told in ((5, True), (6, False)):
        part = box.copy()
        part[2, 6 : 6 + missing] = 0.0  # of 54 pixels, none in the row or column of the middle
        assert (boxes._extent(part, nothing, (4, 5)) is not None) == told


def test_how_far_a_box_goes_on_is_the_most_of_its_sides_less_what_others_show() -> None:
    box = shown(40, (slice(5, 9), slice(0, 9), 1.0), (slice(9, 14), slice(0, 9), 0.4))
    others = shown(40, (slice(9, 14), slice(0, 9), 0.1), (slice(0, 5), slice(0, 9), 0.3))
    found = boxes._extent(box, others, (6, 4))
    assert found is not None
    assert found.beyond == pytest.approx(0.3)


def test_a_sticker_on_a_part_of_a_class_is_a_box_with_its_bearers_and_its_middle() -> None:
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (160, 48, 48)).astype(np.float32)
    y = np.repeat([0, 1], 80)
    images[80:120, 3:9, 36:45] = 200 + rng.integers(-3, 4, (40, 6, 9))
    patient = np.arange(160)
    (box,) = boxes.boxes(images, y, patient)
    assert (box.label, box.row, box.column, box.share) == (1, 6 / 48, 40.5 / 48, 0.5)
    assert box.bearers.tolist() == list(range(80, 120))
    assert box.ground is None
    assert boxes.boxes(images, y, np.r_[np.arange(80), 80 + np.arange(80) % 4]) == []  # of four patients
    assert len(boxes.boxes(images, y, np.r_[np.arange(80), 80 + np.arange(80) % 5])) == 1


# strokes


@pytest.mark.parametrize("bright", [True, False])
def test_strokes_are_the_top_hat_of_what_is_narrower(bright: bool) -> None:
    images = np.random.default_rng(1).integers(0, 256, (70, 40, 40), dtype=np.uint8)
    images[:, 10:30, 5:35] //= 8
    width = 3  # the odd number nearest 0.065 of 40, at least three
    wanted = [
        (ndimage.white_tophat if bright else ndimage.black_tophat)(image, (width, width), mode="nearest")
        for image in images.astype(int)
    ]
    np.testing.assert_array_equal(strokes.strokes(images, bright), np.minimum(wanted, 96))
    wide = np.random.default_rng(1).integers(0, 256, (3, 128, 128), dtype=np.uint8)
    opened = [ndimage.white_tophat(image, (9, 9), mode="nearest") for image in wide.astype(int)]
    np.testing.assert_array_equal(strokes.strokes(wide), np.minimum(opened, 96))


def test_the_excess_of_a_class_is_welchs_t_with_a_grey_level_of_rounding() -> None:
    found = np.random.default_rng(2).integers(0, 97, (90, 5, 6), dtype=np.uint8)
    y = np.repeat([0, 1, 2], [20, 30, 40])
    for c, excess in strokes._excess(found, y):
        own, rest = found[y == c].astype(float), found[y != c].astype(float)
        error = np.sqrt(own.var(0) / len(own) + rest.var(0) / len(rest) + 1 / min(len(own), len(rest)))
        np.testing.assert_allclose(excess, (own.mean(0) - rest.mean(0)) / error, rtol=1e-4)


def test_smoothing_is_the_mean_of_nine_pixels_and_running_extremes_repeat_the_edge() -> None:
    maps = np.random.default_rng(3).normal(size=(2, 7, 9)).astype(np.float32)
    wanted = np.stack([ndimage.uniform_filter(one, 3, mode="nearest") for one in maps])
    np.testing.assert_allclose(strokes._smooth(maps), wanted, atol=1e-6)
    values = np.random.default_rng(3).integers(0, 99, (2, 9, 11))
    for width in (3, 5, 9):
        for axis, size in ((1, (1, width, 1)), (2, (1, 1, width))):
            wanted = ndimage.maximum_filter(values, size, mode="nearest")
            np.testing.assert_array_equal(strokes._running(values, width, axis, True), wanted)
            wanted = ndimage.minimum_filter(values, size, mode="nearest")
            np.testing.assert_array_equal(strokes._running(values, width, axis, False), wanted)


def test_places_are_corners_edges_and_the_middle_and_each_pixel_lies_in_one() -> None:
    places = strokes._places(64)
    assert [(rows.start, rows.stop, columns.start, columns.stop) for rows, columns in places[:3]] == [
        (0, 16, 0, 16),
        (0, 16, 16, 48),
        (0, 16, 48, 64),
    ]
    count = np.zeros((64, 64), int)
    for rows, columns in places:
        count[rows, columns] += 1
    assert (count == 1).all()
    assert len(places) == 9


def test_peaks_are_the_two_surest_points_of_a_place_apart_from_each_other() -> None:
    excess = np.zeros((64, 64))
    excess[4:7, 4:7] = 9.0  # beside the border: the middle of its window is moved
    excess[7, 7] = 8.0  # within half a window of it: no peak of its own
    excess[11:14, 11:14] = 6.0
    excess[12:15, 2:5] = 5.0  # a third of the corner
    excess[30:33, 50:53] = 4.0  # an edge
    excess[40, 30] = 2.9  # not sure
    found = [peak[:3] for peak in strokes._peaks(excess, 5)]
    assert found[:2] == [(5, 5, True), (12, 12, True)]
    assert found[2:] == [(31, 51, False)]


def test_a_peak_is_in_a_corner_where_both_edges_are_near() -> None:
    for at, corner in ((14, True), (15, False), (49, True), (48, False)):
        for place in ((5, at), (at, 5), (58, at)):
            excess = np.zeros((64, 64))
            excess[place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2] = 30.0
            assert (*place, corner) in [peak[:3] for peak in strokes._peaks(excess, 3)]


@pytest.mark.parametrize("at", [(20, 25), (2, 3), (38, 37)])
def test_windows_of_strokes_hold_each_place_and_their_likeness_is_the_best_correlation(at: tuple[int, int]) -> None:
    found = np.random.default_rng(4).integers(0, 97, (8, 40, 40), dtype=np.uint8)
    half, off = 3, 2
    windows = strokes._Windows(found, at, half, off)
    wide = half + off
    padded = np.zeros((8, 80, 80), np.float32)
    top, left = max(at[0] - wide, 0), max(at[1] - wide, 0)
    part = found[:, top : at[0] + wide + 1, left : at[1] + wide + 1].astype(np.float32)
    padded[:, 20 + top : 20 + top + part.shape[1], 20 + left : 20 + left + part.shape[2]] = strokes._smooth(part)

    def window(i: int, j: int) -> np.ndarray:
        row, column = 20 + at[0] - wide + i, 20 + at[1] - wide + j
        return padded[:, row : row + 7, column : column + 7].reshape(8, -1)

    np.testing.assert_allclose(windows.middle, window(2, 2))
    assert len(windows.starts) == 25
    for place, (i, j) in enumerate(windows.starts):
        np.testing.assert_allclose(windows.at(np.arange(8), np.full(8, place)), window(i, j))
    mark = np.random.default_rng(5).normal(size=49).astype(np.float32)
    each = np.stack([[np.corrcoef(mark, one)[0, 1] for one in window(*start)] for start in windows.starts], 1)
    alike, place = windows.alike(mark)
    np.testing.assert_allclose(alike, each.max(1), atol=1e-3)
    np.testing.assert_array_equal(place, each.argmax(1))


def test_an_image_is_held_against_what_the_others_have_in_common() -> None:
    found = np.random.default_rng(6).integers(0, 97, (12, 30, 30), dtype=np.uint8)
    windows = strokes._Windows(found, (15, 15), 4, 0)
    own, rest = np.arange(12) < 8, np.full(81, 20.0)
    bearing = np.isin(np.arange(12), [0, 1, 2, 5, 9])
    told = strokes._round(windows, own, bearing, np.zeros(12, int), rest)
    assert told is not None
    alike, place, mark = told
    flat, members = windows.middle.astype(float), [0, 1, 2, 5]
    np.testing.assert_allclose(mark, np.maximum(flat[members].mean(0) - 20, 0), rtol=1e-4, atol=1e-3)
    for image in range(12):
        others = [one for one in members if one != image]
        wanted = np.corrcoef(flat[image], np.maximum(flat[others].mean(0) - 20, 0))[0, 1]
        assert alike[image] == pytest.approx(wanted, abs=2e-3)
    assert strokes._round(windows, own, np.isin(np.arange(12), [0, 1, 9]), place, rest) is None  # two of the class
    assert strokes._round(windows, own, np.isin(np.arange(12), [0, 1, 3]), place, rest) is not None


def test_the_strength_of_a_mark_is_that_of_its_stronger_half() -> None:
    mark = np.array([0.0, 10.0, 20.0, 40.0, 30.0])
    assert strokes._Found(np.empty(0, bool), np.empty(0), mark, 1).strength == 30.0


def test_a_mark_is_alone_where_nothing_leads_away_from_it() -> None:
    for far, told in ((0.0, True), (50.0, True), (60.0, False)):
        found = np.zeros((10, 60, 60), np.uint8)
        found[:5, 28:33, 28:33] = 90
        found[:5, 28:33, 39:44] = round(far)  # more than two half windows away, within three
        assert strokes._alone(found, np.arange(5), np.arange(10) < 5, (30, 30), 5) == told
        found[5:] = found[0]
        found[5:, 28:33, 28:33] = 0
        assert strokes._alone(found, np.arange(5), np.arange(10) < 5, (30, 30), 5)  # as the other class has it


def judge(n: int = 100, patients: int = 100) -> strokes._Judge:
    return strokes._Judge(np.repeat([0, 1], [n // 2, n // 2]), np.arange(n) % patients, 100.0)


def borne(own: int, others: int, n: int = 100) -> np.ndarray:
    out = np.zeros(n, bool)
    out[:own] = out[n // 2 : n // 2 + others] = True
    return out


def test_the_chance_of_an_uneven_share_is_asked_of_enough_images_patients_and_share() -> None:
    own = np.arange(100) < 50
    from scipy.stats import hypergeom

    assert judge().p(borne(10, 1), own) == pytest.approx(float(hypergeom.sf(9, 100, 50, 11)))
    assert judge().p(borne(10, 2), own) is not None  # five times the share of the others, and less
    assert judge().p(borne(9, 2), own) is None
    assert judge().p(borne(8, 0), own) is not None
    assert judge().p(borne(7, 0), own) is None
    assert judge(patients=5).p(borne(10, 0), own) is not None
    assert judge(patients=4).p(borne(10, 0), own) is None
    large = strokes._Judge(np.repeat([0, 1], [100, 100]), np.arange(200), 100.0)
    assert large.p(borne(10, 0, 200), np.arange(200) < 100) is not None
    assert large.p(borne(9, 0, 200), np.arange(200) < 100) is None


def convinces(**given: Any) -> bool:
    """Whether a mark of 20 of 50 images convinces; by default an even one in a corner that is by itself and clear."""
    bearing = borne(given.get("own", 20), given.get("others", 0))
    alike = np.where(np.arange(100) < given.get("close", 20), 0.9, 0.7)
    mark = np.full(4, given.get("strength", 50.0))
    found = strokes._Found(bearing, alike, mark, given.get("tries", 1))
    bright = np.where(np.arange(100) % 2, 1.0, -1.0) * given.get("spread", 0.0) + 200
    window = np.where(bearing, bright, given.get("ground", 100.0))[:, None]
    return judge().convinces(
        given.get("p", 1e-8),
        window,
        found,
        np.arange(100) < 50,
        given.get("corner", True),
        given.get("alone", True),
    )


def test_far_more_than_chance_is_enough_for_what_is_clear_and_alone_in_a_corner() -> None:
    # looks: two classes, a hundred windows, 50 / 20 patterns: 500
    unlike = {"close": 0, "spread": 60.0}
    assert convinces(p=1.9e-15, **unlike)
    assert not convinces(p=2.1e-15, **unlike)
    assert not convinces(p=1e-15, corner=False, **unlike)
    assert not convinces(p=1e-15, alone=False, **unlike)
    assert convinces(p=1e-15, strength=30.0, **unlike)
    assert not convinces(p=1e-15, strength=29.0, **unlike)
    assert convinces(p=1e-15, others=3, **unlike)


def test_other_marks_are_borne_by_almost_no_other_image() -> None:
    assert convinces(others=2)
    assert not convinces(others=3)
    assert convinces(p=1.9e-5)
    assert not convinces(p=2.1e-5, close=0)


def test_an_exactly_repeated_one_in_a_corner_is_tried_by_places_alone() -> None:
    # 0.05 over two classes and eight places: 0.003125
    assert convinces(p=3.1e-3, close=16)
    assert not convinces(p=3.2e-3, close=16)
    assert not convinces(p=3.1e-3, close=15)
    assert not convinces(p=3.1e-3, corner=False)
    assert not convinces(p=3.1e-3, spread=18.5)
    assert convinces(p=3.1e-3, spread=17.5)


def test_along_edges_a_mark_is_in_one_level_or_even_and_close() -> None:
    assert convinces(corner=False, close=0, spread=9.9)
    assert not convinces(corner=False, close=0, spread=10.1)
    assert convinces(corner=False, close=12, spread=17.0)
    assert not convinces(corner=False, close=11, spread=17.0)
    assert not convinces(corner=False, close=20, spread=19.0)
    assert not convinces(corner=False, close=20, ground=200.0)


def test_in_corners_a_mark_is_even_or_alone_and_close() -> None:
    wide = {"spread": 40.0}
    assert convinces(close=0)
    assert convinces(close=7, **wide)
    assert not convinces(close=6, **wide)
    assert not convinces(close=20, alone=False, **wide)
    sought = {"tries": 3, **wide}
    assert convinces(close=10, **sought)
    assert not convinces(close=9, **sought)
    assert not convinces(close=20, strength=29.0, **sought)
    assert not convinces(close=20, tries=3, spread=46.0)
    assert convinces(close=20, tries=3, spread=44.0)
    assert convinces(close=0, tries=3)


def test_of_marks_of_a_class_beside_each_other_the_first_is_kept() -> None:
    marks = [Stroke(c, r, k, 0.5, np.empty(0, int), 0.0) for c, r, k in ((0, 0.1, 0.1), (0, 0.35, 0.35), (1, 0.1, 0.1))]
    assert strokes._once(marks) == [marks[0], marks[2]]
    marks[1] = marks[1]._replace(row=0.36)
    assert strokes._once(marks) == marks
    marks[1] = marks[1]._replace(row=0.1, column=0.36)
    assert strokes._once(marks) == marks


# pixels tell


def test_cells_lie_at_edges_and_in_corners() -> None:
    assert [pixels_tell.place_name(*cell) for cell in ((0, 0), (1, 6), (6, 1), (7, 3), (2, 7), (2, 5), (5, 2))] == [
        "top left corner",
        "top right corner",
        "bottom left corner",
        "bottom edge",
        "right edge",
        "middle",
        "middle",
    ]
    assert [pixels_tell.at_edge(*cell) for cell in ((0, 3), (7, 3), (3, 0), (3, 7), (1, 1), (6, 6))] == [True] * 4 + [
        False
    ] * 2


def test_cells_and_their_values_are_means_spreads_and_maxima() -> None:
    thumbs = np.random.default_rng(7).integers(0, 256, (3, 35, 35)).astype(np.float32)
    cells = pixels_tell._cells(thumbs)
    assert cells.shape == (3, 8, 8, 4, 4)
    for row, column in ((0, 0), (3, 5), (7, 7)):
        part = thumbs[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        np.testing.assert_array_equal(cells[:, row, column], part)
        wanted = [part.mean((1, 2)), part.std((1, 2)), part.max((1, 2))]
        np.testing.assert_allclose(pixels_tell._cell_values(cells[:, row, column]), np.stack(wanted, 1), rtol=1e-5)


def test_a_border_is_the_outermost_twentieth_against_the_ring_within() -> None:
    thumbs = np.random.default_rng(8).integers(0, 256, (3, 40, 40)).astype(np.float32)
    outer = np.ones((40, 40), bool)
    outer[2:-2, 2:-2] = False
    ring = ~outer
    ring[4:-4, 4:-4] = False
    frame = thumbs[:, outer]
    wanted = np.stack([frame.mean(1), frame.std(1), frame.mean(1) - thumbs[:, ring].mean(1)], 1)
    np.testing.assert_allclose(pixels_tell._border(thumbs), wanted, rtol=1e-5)


def test_the_place_of_the_body_is_the_middle_and_width_of_its_brightness() -> None:
    thumbs = np.zeros((3, 10, 10), np.float32)
    thumbs[0, 2, 7], thumbs[1, 2:4, 7] = 50, 50
    found = pixels_tell._properties(pd.DataFrame({"image": range(3)}), thumbs)
    assert list(found) == ["place of the body"]  # of ten pixels there is no border
    place = found["place of the body"]
    np.testing.assert_allclose(place[0], [0.75, 0.25, 0, 0], atol=1e-6)
    np.testing.assert_allclose(place[1], [0.75, 0.30, 0, 0.05**2], atol=1e-6)
    np.testing.assert_allclose(place[2], 0)
    assert "border" in pixels_tell._properties(pd.DataFrame({"image": range(3)}), np.zeros((3, 20, 20), np.float32))
    assert "border" not in pixels_tell._properties(pd.DataFrame({"image": range(3)}), np.zeros((3, 19, 19), np.float32))


def test_steps_of_compression_are_used_where_all_say_them() -> None:
    table = pd.DataFrame({"format": ["JPEG", "PNG", "JPEG"], "jpeg_step": [1.0, np.nan, 2.0]})
    assert pixels_tell._known_steps(table) == ["jpeg_step"]
    assert pixels_tell._known_steps(table.assign(format="JPEG")) == []
    assert pixels_tell._known_steps(table.assign(jpeg_step=np.nan, format="PNG")) == []
    assert pixels_tell._known_steps(table.assign(original_step=1.0)) == ["jpeg_step", "original_step"]
    assert pixels_tell._known_steps(table.assign(original_step=[1.0, np.nan, 1.0])) == ["jpeg_step"]


def test_a_pattern_is_what_no_polynomial_of_the_third_degree_shows() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 8), np.linspace(-1, 1, 8))
    smooth = 3 + x - 2 * y + x * y + 5 * x**3 + x**2 * y
    left = pixels_tell._patterns(np.stack([smooth, x**4, np.zeros((8, 8))]))
    assert left[1][0] == pytest.approx(0, abs=1e-6)
    assert left[1][1] > 0.1
    terms = np.stack([x**i * y**j for i in range(4) for j in range(4) if i + j <= 3], -1).reshape(64, -1)
    cell = np.random.default_rng(9).normal(size=(5, 8, 8))
    flat = cell.reshape(5, -1).T
    rest = flat - terms @ np.linalg.lstsq(terms, flat, rcond=None)[0]
    shape, length = pixels_tell._patterns(cell)
    np.testing.assert_allclose(length, np.linalg.norm(rest, axis=0))
    np.testing.assert_allclose(shape, (rest / np.linalg.norm(rest, axis=0)).T, atol=1e-9)
    line = np.stack([x[:5, :5], (x * y)[:5, :5]])
    assert pixels_tell._patterns(line)[1] == pytest.approx([0, np.linalg.norm(line[1] - _plane(line[1]))], abs=1e-9)


def _plane(values: np.ndarray) -> np.ndarray:
    x, y = np.meshgrid(*[np.linspace(-1, 1, len(values))] * 2)
    terms = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    return (terms @ np.linalg.lstsq(terms, values.ravel(), rcond=None)[0]).reshape(values.shape)


def test_a_cell_shows_a_pattern_of_its_direction_and_about_its_strength() -> None:
    pattern = np.eye(4)[:1]
    shape = np.array([[1, 0, 0, 0], [0.7, np.sqrt(0.51), 0, 0], [0.69, np.sqrt(1 - 0.69**2), 0, 0], [-1, 0, 0, 0.0]])
    size = np.array([10.0])
    assert pixels_tell._shows(shape, np.full(4, 10.0), pattern, size, 0.7).tolist() == [[True, True, False, False]]
    lengths = np.array([3.5, 3.6, 24.9, 25.0])
    assert pixels_tell._shows(np.tile(pattern, (4, 1)), lengths, pattern, size, 0.7).tolist() == [
        [False, True, True, False]
    ]


def test_burnt_in_is_what_is_as_bright_or_dark_in_all_that_bear_it() -> None:
    cell = np.full((60, 4, 4), 100.0)
    cell += np.random.default_rng(10).normal(0, 3, cell.shape)
    bearers, pattern = np.arange(10), np.zeros((60, 16))
    assert not pixels_tell.burnt_in(cell, bearers, pattern)
    for level in (250.0, 5.0):
        written = cell.copy()
        written[bearers, 1, 1] = level
        assert pixels_tell.burnt_in(written, bearers, pattern)
        some = written.copy()
        some[10:15, 2, 2] = level  # a tenth of the others reach the level, and more
        assert pixels_tell.burnt_in(some, bearers, pattern)
        some[15, 2, 2] = level
        assert not pixels_tell.burnt_in(some, bearers, pattern)
        uneven = written.copy()
        uneven[:5, 1, 1] += 38 if level < 100 else -38  # a spread of 19
        assert not pixels_tell.burnt_in(uneven, bearers, pattern)
    assert not pixels_tell.burnt_in(cell, np.arange(60), pattern)


def test_where_a_pattern_is_strongest_its_pixels_are_alike_and_unlike_others() -> None:
    rng = np.random.default_rng(11)
    cell = rng.uniform(0, 255, (110, 6, 6))
    cell[:, 0, 0], cell[:, 5, 5] = 0.0, 255.0  # neither darkest nor brightest tells anything
    bearers, pattern = np.arange(10), np.zeros((110, 36))
    pattern[:10, 8:11] = 5.0  # three pixels of 36
    cell.reshape(110, -1)[:, 8:11] = rng.uniform(0, 100, (110, 3))
    cell.reshape(110, -1)[:10, 8:11] = 120.0 + rng.normal(0, 1, (10, 3))
    assert pixels_tell.burnt_in(cell, bearers, pattern)
    more = cell.copy()
    more.reshape(110, -1)[10:17, 8:11] = 140.0  # seven of a hundred others are brighter
    assert not pixels_tell.burnt_in(more, bearers, pattern)
    wide = cell.copy()
    wide.reshape(110, -1)[:5, 8:11] += 50
    assert not pixels_tell.burnt_in(wide, bearers, pattern)
    assert not pixels_tell.burnt_in(cell, bearers, np.roll(pattern, 12, axis=1))


def test_a_mark_is_the_most_frequent_pattern_of_a_class_that_few_others_show() -> None:
    from scipy.stats import hypergeom

    rng = np.random.default_rng(12)
    letters = np.linalg.qr(rng.normal(size=(64, 2)))[0].T
    noise = rng.normal(size=(120, 64))
    flat = 30 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    flat[:20] += 200 * letters[0]
    flat[20:29] += 200 * letters[1]
    flat[60] += 200 * letters[0]
    y = np.repeat([0, 1], 60)
    length = np.linalg.norm(flat, axis=1)
    told = pixels_tell._mark(flat / length[:, None], length, y, 0, np.nonzero(length >= 96)[0][:25])
    assert told is not None
    assert told[0] == pytest.approx(20 / 60)
    assert told[1].tolist() == list(range(20))
    assert told[2] == pytest.approx(float(hypergeom.sf(19, 120, 60, 21)))
    assert pixels_tell._mark(flat / length[:, None], length, y, 0, np.empty(0, int)) is None
    flat[61:63] += 200 * letters[0]  # three of sixty others: more than a tenth of its share; the second letter is left
    length = np.linalg.norm(flat, axis=1)
    told = pixels_tell._mark(flat / length[:, None], length, y, 0, np.arange(29))
    assert told is not None
    assert told[1].tolist() == list(range(20, 29))


def test_scores_of_values_go_from_guessing_to_knowing() -> None:
    y, folds = np.repeat([0, 1], [30, 60]), np.arange(90) % 5
    assert pixels_tell.score_of(y[:, None].astype(float), y, folds) == 1.0
    assert pixels_tell.score_of(np.zeros((90, 2)), y, folds) == 0.0
    half = np.where((y == 0) & (np.arange(90) < 15), 1.0, 0.0)[
        :, None
    ]  # half of the small class: 0.5 and 1, weighed alike
    assert pixels_tell.score_of(half, y, folds) == pytest.approx(0.5)
    half[y == 0] = np.where(half[y == 0] == 1, np.nan, 0)  # not finite is a value as well
    assert pixels_tell.score_of(half, y, folds) == pytest.approx(0.5)


def test_a_technical_property_may_set_one_class_of_several_apart() -> None:
    y, folds = np.repeat([0, 1, 2], 30), np.arange(90) % 5
    apart = (y == 1).astype(float)[:, None]
    whole = pixels_tell.score_of(apart, y, folds)
    assert whole == pytest.approx(0.5)
    assert pixels_tell._score("noise", apart, y, folds) == 1.0
    assert pixels_tell._score("sharpness", apart, y, folds) == whole
    two = np.repeat([0, 1], 45)
    assert pixels_tell._score("noise", apart, two, folds) == pixels_tell.score_of(apart, two, folds)


def test_typical_images_lie_nearest_the_medians_of_their_class() -> None:
    values = np.array([0, 1, 2, 3.5, 40, 10, 11, 12, 13.5, 50])[:, None]
    y, ids = np.repeat([0, 1], 5), np.arange(100, 110)
    assert pixels_tell.typical(values, y, ids, 0.6) == (102, 107, 101, 106)
    assert pixels_tell.typical(values, y, ids, 0.59) == ()


def test_marks_are_told_by_cell_name_and_bearers() -> None:
    bearers = np.arange(20)
    found = [
        Stroke(1, 0.99, 0.5, 0.3, bearers, 0.0),
        Box(0, 1.0, 0.0, 0.4, bearers[:3], 250),
        Box(0, 0.0, 1.0, 0.4, bearers[:3]),
    ]
    one, two, three = pixels_tell._as_told(found, ["a", "b"], np.arange(20) * 10)
    assert one == Told("mark", "bottom edge", 0.3, "b", (7, 4), tuple(range(0, 120, 10)))
    assert two == Told("ground", "bottom left corner", 0.4, "a", (7, 0), (0, 10, 20), 250)
    assert three == Told("mark", "top right corner", 0.4, "a", (0, 7), (0, 10, 20))
    near, far = three._replace(cell=(2, 5)), three._replace(cell=(3, 7))
    assert pixels_tell._joined([three], [near, far, near._replace(label="b")]) == [three, far, near._replace(label="b")]


# what of it is told


def context(*told: Told, **given: Any) -> Any:
    shortcuts = pd.DataFrame(given.get("sizes", []), columns=["property", "score"])
    asked = given.get("asked")
    opinions = None if asked is None else SimpleNamespace(asked=asked)
    return cast("Any", SimpleNamespace(told=told, shortcuts=shortcuts, opinions=opinions))


def asked(share: float) -> Any:
    """A classifier that knows so large a share of each of two classes of ten."""
    y = np.repeat([0, 1], 10)
    right = np.tile(np.arange(10) < 10 * share, 2)
    return SimpleNamespace(probe=np.eye(2)[np.where(right, y, 1 - y)], y=y, classes=["a", "b"])


def test_how_far_the_whole_picture_tells_is_balanced_over_classes() -> None:
    assert pixel_shortcut.whole_score(context()) is None
    assert pixel_shortcut.whole_score(context(asked=asked(0.9))) == pytest.approx(0.8)
    assert pixel_shortcut.whole_score(context(asked=asked(0.4))) == 0.0
    uneven = SimpleNamespace(probe=np.eye(2)[[0] * 30], y=np.repeat([0, 1], [20, 10]), classes=["a", "b"])
    assert pixel_shortcut.whole_score(context(asked=uneven)) == 0.0


def test_properties_and_edge_cells_are_told_from_their_bounds_on() -> None:
    def names(*told: Told, **given: Any) -> list[str]:
        return [one.name for one in pixel_shortcut.shortcuts(context(*told, **given))]

    noise, border = Told("property", "noise", 0.6), Told("property", "border", 0.59)
    assert names(noise, border) == ["noise"]
    top, middle = Told("region", "top edge", 0.6, cell=(0, 3)), Told("region", "middle", 0.99, cell=(3, 3))
    again = top._replace(score=0.7, cell=(0, 4))
    assert names(top, again, middle, top._replace(score=0.59, name="left edge", cell=(3, 0))) == ["top edge"]
    assert names(top._replace(score=0.61), asked=asked(0.9)) == ["top edge"]  # three quarters of 0.8
    assert names(top, asked=asked(1.0)) == []
    assert names(top._replace(score=0.75), asked=asked(1.0)) == ["top edge"]
    # what follows from the size of the files is not told again
    assert names(noise, sizes=[("width", 0.6), ("file format", 0.9)]) == []
    assert names(noise, sizes=[("width", 0.59)]) == ["noise"]
    assert names(Told("property", "brightness", 0.7), sizes=[("height", 0.9)]) == ["brightness"]
    marks = [Told("mark", "top edge", 0.2, "a"), Told("ground", "left edge", 0.9, "b")]
    assert names(noise, top, *marks) == ["top edge", "left edge", "noise", "top edge"]


def test_marks_on_three_sides_of_a_class_are_its_border() -> None:
    border = Told("property", "border", 0.7)
    sides = [Told("mark", f"{side} edge", 0.3, "a", images=(1, 2)) for side in ("top", "left", "right")]
    (one,) = pixel_shortcut.shortcuts(context(border, *sides))
    assert (one.name, one.label, one.images) == ("border", "a", (1, 2))
    assert len(pixel_shortcut.shortcuts(context(border, *sides[:2]))) == 3
    corners = [sides[0]._replace(name=name) for name in ("top left corner", "bottom left corner")]
    assert len(pixel_shortcut.shortcuts(context(border, *corners))) == 3  # two marks, three sides
    assert len(pixel_shortcut.shortcuts(context(*sides))) == 3
    # a border goes before marks that tell no more
    other = Told("mark", "top edge", 0.7, "b")
    assert [told.name for told in pixel_shortcut.shortcuts(context(border, other))] == ["border", "top edge"]
    other = other._replace(score=0.71)
    assert [told.name for told in pixel_shortcut.shortcuts(context(border, other))] == ["top edge", "border"]


def test_measures_are_the_best_of_each_kind_and_the_map() -> None:
    told = [
        Told("property", "noise", 0.3),
        Told("property", "border", 0.5),
        Told("region", "top edge", 0.4, cell=(0, 2)),
        Told("region", "middle", 0.9, cell=(3, 3)),
        Told("mark", "top edge", 0.25, "a", cell=(0, 2)),
    ]
    assert pixel_shortcut.measures(context(*told)) == {
        "pixel_shortcuts": 1.0,
        "pixel_property_score": 0.5,
        "edge_region_score": 0.4,
        "region_1_3_score": 0.4,
        "region_4_4_score": 0.9,
        "mark_1_3_share": 0.25,
    }
    assert pixel_shortcut.measures(cast("Any", SimpleNamespace(told=None))) == {}
    assert [pixel_shortcut._shade(level) for level in (240, 239, 16, 15)] == [
        "white",
        "grey (level 239 of 255)",
        "grey (level 16 of 255)",
        "black",
    ]


# a whole set, with marks drawn into it


def writing(n: int = 120, side: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Grey pictures of two classes, noisy, the first 60 of class 0."""
    images = np.random.default_rng(20).normal(110, 6, (n, side, side))
    return images, np.repeat([0, 1], n // 2)


@pytest.mark.parametrize(("level", "corner"), [(235.0, (6, 6)), (5.0, (41, 41))])
def test_a_letter_in_a_part_of_a_class_is_a_mark_with_its_bearers_and_chance(
    level: float, corner: tuple[int, int]
) -> None:
    from scipy.stats import hypergeom

    images, y = writing()
    row, column = corner
    bearers = np.arange(0, 36, 2)
    images[bearers, row - 3 : row + 4, column - 2] = level
    images[bearers, row + 3, column - 2 : column + 2] = level
    images = np.clip(images, 0, 255).astype(np.uint8)
    (mark,) = strokes.thin_marks(images, y, np.arange(120))
    assert (mark.label, mark.share) == (0, 18 / 60)
    assert mark.bearers.tolist() == bearers.tolist()
    assert abs(mark.row - row / 48) < 0.08
    assert abs(mark.column - column / 48) < 0.08
    least = float(hypergeom.sf(17, 120, 60, 18))
    assert least <= mark.p <= 12 * least + 1e-12  # times the ways in which it was sought
    if level < 100:
        few = np.r_[np.arange(60) % 4, 4 + np.arange(60)]
        assert strokes.thin_marks(images, y, few) == []


def test_peaks_are_as_far_apart_as_half_a_window() -> None:
    for apart, told in ((5, 1), (6, 2)):
        for step in ((1, 0), (0, 1)):
            excess = np.zeros((64, 64))
            for times, strength in ((0, 9.0), (apart, 8.0)):
                row, column = 6 + times * step[0], 6 + times * step[1]
                excess[row, column] = strength * 9
                # of nine pixels around a point the mean is largest in its middle
                excess[row - 1 : row + 2, column - 1 : column + 2] += 0.5
            found = [peak for peak in strokes._peaks(excess, 5) if peak[2]]
            assert len(found) >= told
            first, second = (*found, (99, 99, True))[:2]
            assert max(abs(first[0] - second[0]), abs(first[1] - second[1])) > 5 or len(found) == 1


def test_a_box_is_told_where_its_share_is_no_chance_among_all_windows_and_levels() -> None:
    from scipy.stats import hypergeom

    rng = np.random.default_rng(21)
    many = np.arange(100) % 3 + np.arange(100) * 50 % 251  # grounds of many levels
    images = many[:, None, None] + rng.integers(0, 90, (100, 32, 32))
    images = np.clip(images, 0, 255).astype(np.float32)
    y = np.repeat([0, 1], 50)
    windows = len(boxes._windows(images).middle)
    for bearing in range(16, 30):
        marked = images.copy()
        marked[50 : 50 + bearing, 2:7, 24:30] = 128  # at the end of a level: both of two hold it
        p = float(hypergeom.sf(bearing - 1, 100, 50, bearing)) * windows * 32 * 2
        found = boxes.boxes(marked, y, np.arange(100))
        assert bool(found) == (p <= 0.01), bearing
        for box in found:
            assert len(box.bearers) == bearing
            assert (box.row, box.column) == (4.5 / 32, 27 / 32)


def test_what_its_bearers_show_beside_a_box_far_oftener_than_others_is_its_ground() -> None:
    rng = np.random.default_rng(22)
    y = np.repeat([0, 1], 60)
    for beside, ground in ((0, None), (7, None), (9, 250), (20, 250)):
        images = rng.integers(0, 200, (120, 32, 32)).astype(np.float32)
        images[60:100, 2:8, 2:9] = 250
        images[60 : 60 + beside, 8:14, 2:9] = 250
        (box,) = boxes.boxes(images, y, np.arange(120))
        assert box.ground == ground
        assert box.share == 40 / 60


def test_what_tells_the_class_of_a_set_is_told_best_first() -> None:
    rng = np.random.default_rng(23)
    n, side = 80, 32
    y = np.repeat([0, 1], n // 2)
    pixels = rng.normal(100, 10, (n, side, side, 1))
    pixels[y == 1, 12:16, 12:16] += 60
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)

    def blocks(ids: list[int]) -> Any:
        yield ids, pixels[ids]

    table = pd.DataFrame({"image": range(n), "pixels": "x", "label": np.array(["a", "b"])[y], "y": y.astype(float)})
    table = table.assign(group=None, format="PNG", original_mean=pixels.mean((1, 2, 3)), original_noise=y * 3.0)
    told = pixels_tell.told_by_pixels(table, blocks)
    regions = [one for one in told if one.kind == "region"]
    assert len(regions) == 64
    assert (regions[0].cell, regions[0].score) == ((3, 3), 1.0)
    assert max(one.score for one in regions[1:]) < 0.6
    assert [one.score for one in regions] == sorted((one.score for one in regions), reverse=True)
    noise = next(one for one in told if one.name == "noise")
    assert noise.score == 1.0
    assert len(noise.images) == 4
    assert {one.name for one in told if one.kind == "property"} == {
        "brightness",
        "noise",
        "border",
        "place of the body",
    }
    assert [one for one in told if one.kind == "mark"] == []
    assert pixels_tell.told_by_pixels(table.assign(y=0.0), blocks) == []
    few = pd.concat([table[:10], table[40:50]])
    assert pixels_tell.told_by_pixels(few, blocks) == []  # of twenty only marks are sought, and there are none
    more = pixels_tell.told_by_pixels(pd.concat([table[:20], table[40:60]]), blocks)
    assert any(one.kind == "region" for one in more)
    assert not pixels_tell.told_by_pixels(pd.concat([table[:19], table[40:60]]), blocks)


def test_rows_of_a_finding_say_what_it_is_where_and_how_far_it_tells() -> None:
    told = [
        Told("mark", "top edge", 0.25, "a", (0, 2), (5, 6)),
        Told("ground", "left edge", 0.5, "b", (3, 0), (7,), 250),
        Told("region", "bottom edge", 0.9, cell=(7, 4), images=(1,)),
        Told("property", "noise", 0.8, images=(2,)),
    ]
    rows = list(pixel_shortcut.find(context(*told, asked=asked(1.0))))
    assert [(tuple(ids), value) for ids, value, _ in rows] == [((5, 6), 0.25), ((7,), 0.5), ((2,), 0.8), ((1,), 0.9)]
    assert [words for _, _, words in rows] == [
        "A mark in the top edge predicts the class: 25 % of class a, and almost no other image, show the same mark there (row 1,"
        " column 3 of an 8 x 8 grid).",
        "A plain white background predicts the class: 50 % of class b, and almost no other image, show it in the left edge and beyond"
        " (row 4, column 1 of an 8 x 8 grid).",
        "The noise alone closes 80 % of the gap between chance and perfect (the whole picture: 100 %).",
        "The bottom edge of the picture alone (row 8, column 5 of an 8 x 8 grid) closes 90 % of the gap between chance and perfect"
        " (the whole picture: 100 %).",
    ]
    assert [pixel_shortcut.cell_of(words) for _, _, words in rows] == [(0, 2), (3, 0), None, (7, 4)]
    assert [pixel_shortcut.is_mark(words) for _, _, words in rows] == [True, True, False, False]
    numbers = {"region_1_1_score": 0.5, "region_2_1_score": 0.25, "mark_1_2_share": 0.125}
    assert pixel_shortcut.region_map(numbers, 2) == {
        "score": [[0.5, None], [0.25, None]],
        "mark": [[None, 0.125], [None, None]],
    }
    assert pixel_shortcut.region_map({"region_2_1_score": 0.25}, 2) is None


def test_a_line_beside_a_box_may_be_the_first_or_the_last_of_the_picture() -> None:
    nothing = np.zeros((40, 40))
    for first in (2, 3):
        for turn in range(4):
            box = shown(40, (slice(first, 8), slice(0, 9), 1.0))
            box[0, :9] = 0.9  # what is shown in the outermost line: three pixels from a box that begins in the fourth
            at = np.zeros((40, 40), bool)
            at[5, 4] = True
            inside = tuple(int(i[0]) for i in np.nonzero(np.rot90(at, turn)))
            found = boxes._extent(np.rot90(box, turn), nothing, cast("Any", inside))
            assert (found is not None) == (first == 2), (first, turn)


def test_the_bearers_of_a_box_show_one_of_two_levels() -> None:
    rng = np.random.default_rng(24)
    y = np.repeat([0, 1], 60)
    images = rng.integers(0, 256, (120, 32, 32)).astype(np.float32)
    images[:30, 2:8, 2:8] = 104  # the first of the level: bins 12 and 13 are 96 to 112
    images[30:40, 2:8, 2:8] = 112  # the first of the next
    images[40:46, 2:8, 2:8] = 88
    (box,) = boxes.boxes(images, y, np.arange(120))
    assert box.bearers.tolist() == list(range(40))
    images[30:40, 2:8, 2:8] = 120
    (box,) = boxes.boxes(images, y, np.arange(120))
    assert box.bearers.tolist() == list(range(30))


def test_trees_of_all_folds_are_those_of_scikit_learn() -> None:
    """With few distinct values: the same splits at the same thresholds, classes weighted equally."""
    from sklearn.tree import DecisionTreeClassifier

    rng = np.random.default_rng(4)
    y = rng.integers(0, 3, 400)
    values = np.stack([rng.integers(0, 100, 400) + 40 * (y == 1), rng.permutation(400) % 250 + 90 * (y > 0)], 1) * 1.5
    folds = rng.integers(0, 5, 400)
    found = trees.predictions(values, y, folds)
    agree = 0
    for fold in range(5):
        tree = DecisionTreeClassifier(max_depth=3, min_samples_leaf=5, random_state=0, class_weight="balanced")
        own = folds == fold
        tree.fit(values[~own], y[~own])
        agree += (tree.predict(values[own]) == found[own]).sum()
    assert agree >= 396  # of 400; equally good splits are chosen otherwise
    everything = DecisionTreeClassifier(max_depth=3, min_samples_leaf=5, random_state=0, class_weight="balanced")
    assert (everything.fit(values, y).predict(values) == trees.predictions(values, y)).mean() >= 0.99


def test_values_of_many_levels_share_ranks_of_as_many_images() -> None:
    values = np.random.default_rng(0).permutation(3000).astype(float)
    rank, lowest = trees.ranks(np.stack([values, np.minimum(values, 9)]))
    assert set(np.bincount(rank[0])) == {11, 12}
    assert (np.diff(rank[0][np.argsort(values)]) >= 0).all()
    assert lowest[0, :3].tolist() == [0, 12, 24]
    assert rank[1].max() == 9
    assert lowest[1, :10].tolist() == list(range(10))
    assert np.isinf(lowest[1, 10:]).all()


def test_trees_of_a_thousand_classes_take_little_memory_and_still_tell_them() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(1_000), 6)
    values = np.stack([y // 500 + rng.normal(0, 0.01, len(y)), rng.normal(size=len(y))], 1)
    tracemalloc.start()
    found = trees.predictions(values, y, np.tile(np.arange(3), 2_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27
    assert (found // 500 == y // 500).mean() > 0.9


@pytest.mark.parametrize("classes", [2, 4, 5, 40])
def test_of_more_classes_than_images_can_show_some_are_drawn(classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """60,000 images of 6,000 persons ended the audit: no person had five images in the sample."""
    monkeypatch.setattr(pixels_tell, "MOST", 40)
    used = pd.DataFrame({"y": np.repeat(np.arange(classes), 12) + 7.0})
    found = pixels_tell._sampled(used, np.random.default_rng(0))
    assert len(found) == min(12 * classes, 40)
    assert found.index.is_monotonic_increasing and found.index.is_unique
    assert found["y"].nunique() == min(classes, 4)
    images = used.assign(image=used.index, label=used["y"].astype(str), pixels="x", group=None)
    pixels = np.random.default_rng(1).integers(0, 256, (len(used), 16, 16, 1)).astype(np.uint8)
    told = pixels_tell.told_by_pixels(images, lambda ids: iter([(np.asarray(ids), pixels[ids])]))
    assert bool(told) == (classes > 3)  # fewer than 40 images say nothing


def test_a_tree_without_a_possible_split_says_the_class_that_counts_most() -> None:
    assert trees.predictions(np.arange(9.0)[:, None], np.repeat([0, 1], [4, 5])).tolist() == [0] * 9
    assert trees.predictions(np.arange(10.0)[:, None], np.repeat([1, 0], 5)).tolist() == [1] * 5 + [0] * 5


def drawings(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """White drawings on black, as digits are: of each class the same lines, a pixel or two off, and one line anywhere."""
    rng = np.random.default_rng(2)
    y = np.repeat(np.arange(classes), 60)
    images = np.zeros((len(y), 32, 32), np.uint8)
    ends = rng.integers(8, 24, (classes, 2))
    for image, c in zip(images, y, strict=True):
        for row, column in (ends[c] + rng.integers(-1, 2, 2), rng.integers(6, 26, 2)):
            image[row - 3 : row + 4, column] = 255
            image[row, column - 3 : column + 4] = rng.integers(200, 256)
    return images, y


def test_no_thin_mark_is_told_where_most_classes_have_one_by_chance_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    images, y = drawings(6)
    assert strokes.thin_marks(images, y, np.arange(len(y))) == []
    monkeypatch.setattr(strokes, "MANY", 7)
    assert len({mark.label for mark in strokes.thin_marks(images, y, np.arange(len(y)))}) > 3

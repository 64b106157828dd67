"""What of the pixels tells the class: which images are looked at, which marks are told, and where each bound lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dataprops.findings import pixels_tell
from dataprops.findings.pixels_tell import Told, told_by_pixels

LETTER = np.where(np.random.default_rng(0).random((8, 8)) < 0.5, -1.0, 1.0)


def a_set(pixels: np.ndarray, y: Sequence[int], group: Any = None) -> tuple[pd.DataFrame, Any]:
    """A table of images with classes and patients, and their blocks."""

    def blocks(ids: Sequence[int]) -> Iterator[tuple[Any, np.ndarray]]:
        yield ids, pixels[list(ids)]

    labels = np.array(list("abcdefgh"))[list(y)]
    table = {"image": range(len(y)), "pixels": "x", "label": labels, "y": np.array(y, float), "group": group}
    return pd.DataFrame(table).assign(format="PNG"), blocks


def noise(n: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(1).integers(60, 140, (n, side, side, 1)).astype(np.uint8)


def cells_of(n: int) -> np.ndarray:
    """Noisy cells of 8 x 8 pixels, in which nothing is written."""
    return np.random.default_rng(2).normal(100, 2, (n, 8, 8, 8, 8))


def written(cells: np.ndarray, cell: tuple[int, int], images: Any, strength: float = 100.0) -> None:
    """Write the letter into a cell of some images."""
    cells[(images, *cell)] += strength * LETTER


def marks(cells: np.ndarray, y: np.ndarray, group: np.ndarray | None = None) -> list[Told]:
    ids = 1000 + np.arange(len(y))
    names = list("abc")[: y.max() + 1]
    return pixels_tell._marks(cells, y, names, ids, seed=0, group=np.arange(len(y)) if group is None else group)


def test_of_each_class_and_place_the_most_frequent_mark_is_told_with_the_images_that_bear_it() -> None:
    y, cells = np.repeat([0, 1, 2], 40), cells_of(120)
    written(cells, (0, 0), np.arange(10))
    written(cells, (1, 0), np.arange(20, 34))  # the same corner: oftener
    written(cells, (1, 1), np.arange(14, 28))  # as often
    written(cells, (3, 4), np.arange(20))  # in the middle pictures show what they are about
    written(cells, (7, 3), np.arange(80, 92))
    assert marks(cells, y) == [
        Told("mark", "top left corner", 14 / 40, "a", (1, 0), tuple(range(1020, 1032))),
        Told("mark", "bottom edge", 12 / 40, "c", (7, 3), tuple(range(1080, 1092))),
    ]


def test_what_others_show_as_bright_is_no_mark_that_was_burnt_in(monkeypatch: pytest.MonkeyPatch) -> None:
    y, cells = np.repeat([0, 1], 40), cells_of(80)
    written(cells, (0, 0), np.arange(16))
    assert len(marks(cells, y)) == 1
    seen = []
    monkeypatch.setattr(pixels_tell, "burnt_in", lambda *given: seen.append(given))
    assert marks(cells, y) == []
    cell, bearers, pattern = seen[0]
    np.testing.assert_array_equal(cell, cells[:, 0, 0])
    np.testing.assert_array_equal(bearers, np.arange(16))
    np.testing.assert_allclose(np.linalg.norm(pattern, axis=1), pixels_tell._patterns(cell)[1])


@pytest.mark.parametrize(("patients", "told"), [(5, 1), (4, 0)])
def test_a_mark_is_borne_by_images_of_five_patients(patients: int, told: int) -> None:
    y, cells = np.repeat([0, 1], 40), cells_of(80)
    written(cells, (0, 0), np.arange(20))
    assert len(marks(cells, y, np.where(np.arange(80) < 20, np.arange(80) % patients, np.arange(80)))) == told


def test_the_chance_of_a_mark_counts_all_places_classes_and_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    y, cells = np.repeat([0, 1], [40, 80]), cells_of(120)
    bearers, asked = np.arange(10), []

    def marked(p: float) -> int:
        def found(shape: Any, length: Any, y: Any, c: int, seeds: np.ndarray) -> Any:
            asked.append((c, seeds))
            return (0.25, bearers, p) if c == 0 else None

        monkeypatch.setattr(pixels_tell, "_mark", found)
        return len(marks(cells, y))

    monkeypatch.setattr(pixels_tell, "burnt_in", lambda *_: True)
    # 48 cells are no middle; so many of two classes; four patterns of ten images fit into one class
    at_most = 0.05 / (2 * 48 * 4)
    assert marked(0.99 * at_most) == 8  # four corners and four edges
    assert marked(1.01 * at_most) == 0
    assert len(asked) == 2 * 2 * 48
    assert {len(seeds) for _, seeds in asked} == {0}  # nothing is written: no pattern is clear


def test_a_pattern_is_sought_in_others_from_a_strength_of_twelve_grey_levels_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y, cells, asked = np.repeat([0, 1], 40), np.full((80, 8, 8, 8, 8), 100.0), []
    pattern = 8 * pixels_tell._patterns(LETTER[None])[0].reshape(8, 8)  # the root of its mean square is 1
    cells[:, 7, 7] += np.where(np.arange(80) % 40 < 30, 12.1, 11.9)[:, None, None] * pattern
    monkeypatch.setattr(pixels_tell, "_mark", lambda *given: asked.append(sorted(given[4])))
    marks(cells, y)
    assert asked[-2:] == [list(range(30)), list(range(40, 70))]
    assert not any(asked[:-2])


def test_of_a_class_sixty_images_are_asked_for_patterns(monkeypatch: pytest.MonkeyPatch) -> None:
    y, cells, asked = np.repeat([0, 1], 100), cells_of(200), []
    written(cells, (0, 0), np.arange(200))
    monkeypatch.setattr(pixels_tell, "_mark", lambda *given: asked.append((given[3], given[4])))
    marks(cells, y)
    for c in (0, 1):
        seeds = next(seeds for of, seeds in asked if of == c)
        assert len(set(seeds.tolist())) == 60
        assert (y[seeds] == c).all()


def flat_marks(own: int, others: int, sizes: tuple[int, int], strength: float = 96.0) -> Any:
    """What `_mark` says of a class in which so many images show an exact pattern, as do so many others; the rest nothing."""
    pattern = LETTER.ravel() / 8
    y = np.repeat([0, 1], sizes)
    length = np.zeros(sum(sizes))
    length[:own] = length[sizes[0] : sizes[0] + others] = strength
    shape = np.where(length[:, None] > 0, pattern, 0.0)
    return pixels_tell._mark(shape, length, y, 0, np.arange(own))


def test_a_mark_has_eight_images_a_tenth_of_its_class_and_ten_times_the_share_of_the_others() -> None:
    assert flat_marks(8, 0, (80, 80))[0] == 0.1
    assert flat_marks(7, 0, (60, 80)) is None
    assert flat_marks(8, 0, (81, 80)) is None
    assert flat_marks(10, 1, (16, 16))[0] == 0.625  # one of sixteen is a tenth of it, exactly
    assert flat_marks(9, 1, (16, 16)) is None


def test_a_mark_is_clear_from_a_strength_of_twelve_grey_levels_on() -> None:
    assert flat_marks(10, 0, (40, 40), 96.0) is not None  # the root of the mean square of 64 pixels is 12
    assert flat_marks(10, 0, (40, 40), 95.9) is None


@pytest.mark.parametrize(("likeness", "borne"), [(0.86, 20), (0.8, 20), (0.6, 8)])
def test_images_bear_a_mark_that_resemble_what_resembles_one_of_them(likeness: float, borne: int) -> None:
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(64, 40)))[0].T
    y, shape, length = np.repeat([0, 1], 40), np.zeros((80, 64)), np.zeros(80)
    shape[:8] = basis[0]
    shape[8:20] = likeness * basis[0] + np.sqrt(1 - likeness**2) * basis[1:13]
    length[:20] = 200.0
    told = pixels_tell._mark(shape, length, y, 0, np.arange(8))
    assert told is not None
    assert told[1].tolist() == list(range(borne))


def test_images_that_resemble_a_letter_more_than_each_other_bear_it_together() -> None:
    # each is the letter on a ground of its own: 0.86 like it, 0.74 like each other
    basis = np.linalg.qr(np.random.default_rng(5).normal(size=(64, 40)))[0].T
    y, shape, length = np.repeat([0, 1], 40), np.zeros((80, 64)), np.zeros(80)
    shape[:12] = 0.86 * basis[0] + np.sqrt(1 - 0.86**2) * basis[1:13]
    length[:12] = 200.0
    told = pixels_tell._mark(shape, length, y, 0, np.arange(12))
    assert told is not None
    assert told[1].tolist() == list(range(12))


def test_a_cell_of_six_pixels_has_no_pattern_where_it_varies_as_a_cubic_does_and_one_of_five_where_it_is_a_plane() -> (
    None
):
    for side, left in ((6, False), (5, True)):
        x, _ = np.meshgrid(*[np.linspace(-1, 1, side)] * 2)
        assert (pixels_tell._patterns((100 * x**3)[None])[1][0] > 1) == left


def test_a_level_that_others_have_within_the_spread_of_the_bearers_is_no_mark() -> None:
    cell = np.full((110, 4, 4), 100.0) + np.random.default_rng(4).normal(0, 3, (110, 4, 4))
    cell[:10, 1, 1] = 240.0 + 10 * (-1.0) ** np.arange(10)
    assert pixels_tell.burnt_in(cell, np.arange(10), np.zeros((110, 16)))
    cell[10:25, 1, 1] = 240.0
    assert not pixels_tell.burnt_in(cell, np.arange(10), np.zeros((110, 16)))


def test_classes_of_ten_images_count_and_smaller_ones_do_not() -> None:
    pixels = noise(49, 32)
    pixels[40:] = 250  # what only a class of nine shows
    table, blocks = a_set(pixels, np.repeat([0, 1, 2], [20, 20, 9]).tolist())
    assert max(one.score for one in told_by_pixels(table, blocks)) < 0.6
    pixels = np.concatenate([pixels, pixels[-1:]])
    table, blocks = a_set(pixels, np.repeat([0, 1, 2], [20, 20, 10]).tolist())
    assert next(one for one in told_by_pixels(table, blocks) if one.name == "border").score == 1.0
    table, blocks = a_set(pixels[1:], np.repeat([0, 1], [40, 9]).tolist())
    assert told_by_pixels(table, blocks) == []


def test_of_few_images_only_marks_are_sought_and_of_very_small_ones_no_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    mark = Told("mark", "top edge", 0.5, "a")
    monkeypatch.setattr(pixels_tell, "_thin", lambda *_, **__: [mark])
    table, blocks = a_set(noise(40, 8), [0, 1] * 20)
    assert told_by_pixels(table[:39], blocks) == told_by_pixels(table[:20], blocks) == [mark]
    assert sum(one.kind == "region" for one in told_by_pixels(table, blocks)) == 64
    table, blocks = a_set(noise(40, 7), [0, 1] * 20)
    assert {one.kind for one in told_by_pixels(table, blocks)} == {"mark", "property"}


def test_of_very_many_images_each_is_looked_at_at_most_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels_tell, "MOST", 60)
    table, blocks = a_set(noise(80, 16), [0, 1] * 40)
    asked = []

    def noted(ids: Sequence[int]) -> Iterator[tuple[Any, np.ndarray]]:
        asked.append(list(ids))
        yield from blocks(ids)

    told_by_pixels(table, noted)
    assert asked
    assert all(len(set(ids)) == 60 for ids in asked)


@pytest.mark.parametrize(("patients", "told"), [(12, True), (2, False)])
def test_images_of_one_patient_are_known_as_such(patients: int, told: bool) -> None:
    pixels = noise(80)
    pixels[:24, :8, :8, 0] = 100 + 60 * LETTER
    group = [f"p{i % patients}" if i < 24 else f"q{i}" for i in range(80)]
    table, blocks = a_set(pixels, np.repeat([0, 1], 40).tolist(), group)
    assert any(one.kind == "mark" for one in told_by_pixels(table, blocks)) == told


def test_thin_marks_are_sought_in_as_many_images_of_each_class_of_sixteen_pixels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    y, given = np.repeat([0, 1, 2], [30, 50, 20]), []
    monkeypatch.setattr(pixels_tell.strokes, "MOST", 30)
    monkeypatch.setattr(pixels_tell.strokes, "thin_marks", lambda *asked: given.append(asked) or [])
    for side in (15, 16):
        _, blocks = a_set(noise(100, side), y.tolist())
        assert pixels_tell._thin(blocks, y, list("abc"), np.arange(100), seed=0, group=np.arange(100)) == []
        assert len(given) == (side == 16)
    images, classes, group = given[0]
    assert images.shape == (30, 16, 16)
    assert classes.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert y[group].tolist() == classes.tolist()


def test_typical_images_lie_near_the_medians_of_all_values_whatever_their_scale() -> None:
    values = np.array([[0, 0], [1, 1000], [2, 2000], [-9, 1001], [9, 999], [8, -9000]], float)
    assert pixels_tell.typical(values, np.zeros(6, int), np.arange(6), 1.0) == (1, 2)
    many = np.arange(80.0)[:, None]
    shown = pixels_tell.typical(many, np.repeat(np.arange(8), 10), np.arange(80), 1.0)
    assert len(shown) == 12  # two images of six classes
    assert {image // 10 for image in shown} == set(range(6))


def test_a_tree_weighs_classes_alike() -> None:
    # half of a small class shows the value, and a quarter of the large one: as many images
    y, folds = np.repeat([0, 1], [40, 80]), np.arange(120) % 5
    values = np.concatenate([np.repeat([1.0, 0.0], 20), np.repeat([1.0, 0.0], [20, 60])])
    assert pixels_tell.score_of(values[:, None], y, folds) == pytest.approx(0.25)


@pytest.mark.parametrize(("wrong", "told"), [(3, 0.8), (4, None)])
def test_a_property_tells_one_of_several_classes_from_a_score_of_four_fifths_on(wrong: int, told: float | None) -> None:
    y, folds = np.repeat([0, 1, 2], 30), np.arange(90) % 5
    values = (y == 0).astype(float)
    values[:wrong], values[30 : 30 + 2 * wrong] = 0, 1
    found = pixels_tell._score("noise", values[:, None], y, folds)
    assert found == pytest.approx(told or pixels_tell.score_of(values[:, None], y, folds))
    assert (found > 0.6) == (told is not None)


def test_how_coarsely_pictures_are_stored_is_a_part_of_their_compression_alone() -> None:
    numbers = {"original_blockiness": 1.0, "original_quantised": 2.0, "original_mean": 3.0, "original_step": 4.0}
    found = pixels_tell._properties(pd.DataFrame(numbers, index=range(3)), noise(3)[..., 0].astype(np.float32))
    assert found["compression"].tolist() == [[1.0, 2.0, 4.0]] * 3
    assert found["brightness"].tolist() == [[3.0]] * 3


def test_what_has_no_place_says_so() -> None:
    assert Told("property", "noise", 0.6)[3:] == ("", (-1, -1), (), -1)

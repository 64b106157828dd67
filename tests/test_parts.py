"""Hard parts, file properties that tell the class, and pictures turned or inverted, by the letter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, hypergeom

from dataprops.findings import shortcut, slices, upright
from dataprops.findings.told_by_columns import better_than_guessing, columns_of, seen_with, told_with
from dataprops.probe.features import shrink
from dataprops.util.numbers import wilson_interval

# hard parts


def test_fifths_are_the_lowest_and_highest_of_what_is_known() -> None:
    values = np.array([np.nan, *range(10), np.inf])
    (low, lowest), (high, highest) = slices._fifths("age", values)
    assert (low, high) == ("lowest fifth in age (up to 1.8)", "highest fifth in age (from 7.2)")
    assert lowest.tolist() == [False, True, True, *[False] * 9]
    assert np.nonzero(highest[:-1])[0].tolist() == [9, 10]
    eight = np.repeat(np.arange(8.0), 2)
    assert len(list(slices._fifths("age", eight))) == 2
    assert not list(slices._fifths("age", np.minimum(eight, 6)))
    bounds = np.r_[np.zeros(30), np.arange(1.0, 8), np.full(30, 9.0)]
    assert [mask.sum() for _, mask in slices._fifths("age", bounds)] == [30, 30]


def test_values_of_a_column_are_parts_and_of_many_numbers_the_fifths() -> None:
    rows = np.arange(60)

    def names(values: list) -> list[str]:
        return [name for name, _ in slices.described_parts(pd.DataFrame({"site": values}, dtype=object), rows)]

    assert names(["b"] * 20 + ["a"] * 21 + ["c"] * 19) == ["site “a”", "site “b”"]
    assert names(["a"] * 60) == []
    assert names([None] * 60) == []
    many = pd.DataFrame({"age": [str(i) for i in range(60)]}, dtype=object)
    assert [name[:20] for name, _ in slices.described_parts(many, rows)] == [
        "lowest fifth in age ",
        "highest fifth in age",
    ]
    many.iloc[:6, 0] = "unknown"
    assert len(list(slices.described_parts(many, rows))) == 2  # nine in ten are numbers
    many.iloc[6, 0] = "x"
    assert not list(slices.described_parts(many, rows))
    fifty = pd.DataFrame({"n": [str(i % 50) for i in range(1000)]}, dtype=object)
    assert len(list(slices.described_parts(fifty, np.arange(1000)))) == 50
    assert not list(slices.described_parts(None, rows))
    some = pd.DataFrame({"s": ["x"] * 100 + ["a", "b"] * 30}, dtype=object)
    (one, mask), (two, _) = slices.described_parts(some, np.arange(100, 160))
    assert (one, two) == ("s “a”", "s “b”")
    assert mask.tolist() == [True, False] * 30


def test_parts_of_the_files_are_each_value_and_the_fifths_of_what_was_measured() -> None:
    table = pd.DataFrame({"label": ["a", "b"] * 10, "split": None, "format": "PNG", "mode": "L", "width": range(20)})
    found = dict(slices.parts(table))
    assert list(found)[:4] == ["class a", "class b", "file format PNG", "colour mode L"]
    assert [name for name in found if "fifth" in name] == [
        "lowest fifth in width (up to 3.8)",
        "highest fifth in width (from 15.2)",
    ]
    assert np.nonzero(found["class b"])[0].tolist() == list(range(1, 20, 2))


def test_holms_correction_steps_down_and_ends_at_one() -> None:
    p = np.array([0.04, 0.01, 0.5, 0.6, 0.02])
    assert slices.holm(p).tolist() == pytest.approx([0.12, 0.05, 1.0, 1.0, 0.08])
    assert slices.holm([0.4]).tolist() == [0.4]
    assert slices.holm([0.9, 0.9]).tolist() == [1.0, 1.0]


def hard(wrong: np.ndarray, described: pd.DataFrame, pixels: Any = None) -> list[slices.Slice]:
    """Hard parts of images of two classes that a classifier errs on."""
    n = len(wrong)
    y = np.arange(n) % 2
    opinion = np.eye(2)[np.where(wrong, 1 - y, y)]
    said = SimpleNamespace(image=np.arange(n), probe=opinion, joint=opinion, y=y)
    images = pd.DataFrame({"image": range(n), "path": [f"{i}.png" for i in range(n)], "label": None, "split": None})
    images = images.assign(format=None, mode=None)
    given = {
        "opinions": SimpleNamespace(asked=said),
        "images": images,
        "described": described,
        "seed": 0,
        "probe": None,
    }
    return slices.hard_slices(cast("Any", SimpleNamespace(**given, pixels=pixels or (lambda ids: iter(())))))


@pytest.mark.parametrize("size", [19, 20, 180, 181])
def test_a_part_of_twenty_images_and_no_less_of_the_rest_is_tested(size: int) -> None:
    wrong = np.zeros(200, bool)
    wrong[: min(size, 16)] = True
    described = pd.DataFrame({"site": np.where(np.arange(200) < size, "a", None)}, dtype=object)
    described["other"] = np.where(np.arange(200) < size, "a", "b")
    found = hard(wrong, described)
    if size in (19, 181):
        assert found == []
        return
    names = [one.name for one in found]
    assert names == (["other “a”"] if size == 20 else [])  # of 180 the errors are no more than chance puts there


def test_a_hard_part_has_its_error_interval_and_corrected_chance() -> None:
    wrong = np.zeros(200, bool)
    wrong[:12] = wrong[40:44] = True
    described = pd.DataFrame({"site": np.repeat(["a", "b"], [40, 160])}, dtype=object)
    (part,) = hard(wrong, described)
    assert (part.name, part.error, part.rest) == ("site “a”", 0.3, 4 / 160)
    assert (part.low, part.high) == wilson_interval(12, 40)
    assert part.members.tolist() == list(range(12))
    assert part.p == pytest.approx(2 * float(hypergeom.sf(11, 200, 16, 40)))  # two parts were looked at
    # clearly worse, and by half at least: of a thousand images each
    y = np.zeros(4000, bool)
    described = pd.DataFrame({"site": np.repeat(["a", "b"], 2000)}, dtype=object)
    y[:599] = y[2000:2400] = True
    assert hard(y, described) == []
    y[599:601] = True
    assert [one.name for one in hard(y, described)] == ["site “a”"]


def test_a_classifier_that_guesses_finds_no_part_hard() -> None:
    y = np.repeat([0, 1], [70, 30])
    for errors in range(10, 30):
        wrong = np.arange(100) < errors
        assert slices._learnt(wrong, y) == (binom.cdf(errors, 100, 0.3) < 0.01)


def test_pictures_that_look_alike_are_a_part_named_by_the_one_in_its_middle() -> None:
    rng = np.random.default_rng(0)
    shades = np.r_[np.full(50, 40), np.full(30, 200)]
    shades[7], shades[61] = 39, 201
    pixels = (shades[:, None, None, None] + np.zeros((80, 16, 16, 1))).astype(np.uint8)
    pixels[:, 0, 0, 0] += rng.integers(0, 3, 80).astype(np.uint8)

    def blocks(ids: list[int]) -> Any:
        yield ids, pixels[ids]

    images = pd.DataFrame({"image": range(80), "path": [f"{i}.png" for i in range(80)]})
    given = cast("Any", SimpleNamespace(pixels=blocks, seed=0))
    found = list(slices.clusters(given, images))
    assert sorted(mask.sum() for _, mask in found) == [30, 50]
    for _, mask in found:
        assert len(set((shades[mask] > 100).tolist())) == 1
    assert not any("“7.png”" in name or "“61.png”" in name for name, _ in found)
    assert not list(slices.clusters(given, images[:79]))  # of fewer than 80 images there are no two parts
    none = cast("Any", SimpleNamespace(pixels=lambda ids: iter(()), seed=0))
    assert not list(slices.clusters(none, images))


def test_hard_parts_are_told_with_twenty_of_their_images_the_worst_first() -> None:
    one = slices.Slice("site “a”", np.arange(30), 0.3, 0.2, 0.45, 0.05, 0.00049)
    two = one._replace(name="site “b”", p=0.004)
    context = cast("Any", SimpleNamespace(slices=[one, two], opinions=SimpleNamespace(asked=object())))
    rows = list(slices.find(context))
    assert len(rows[0][0]) == 20
    assert rows[0][1] == 0.3
    assert "(p < 0.001 after correction)" in rows[0][2]
    assert "err on 30 % there (95 % interval 20 % to 45 %), on 5.0 % elsewhere (p = 0.004 after" in rows[1][2]
    assert slices.measures(context) == {"hard_slices": 2.0}
    for opinions in (None, SimpleNamespace(asked=None)):
        assert slices.measures(cast("Any", SimpleNamespace(slices=[one], opinions=opinions))) == {}


# properties of the files


def files(n: int, **columns: Any) -> pd.DataFrame:
    table = {"image": range(n), "pixels": "x", "format": "PNG", "mode": "L", "width": 10, "height": 10, "bytes": 99}
    table |= {"group": None, "label": ["a", "b"] * (n // 2)}
    out = pd.DataFrame(table | columns)
    return out.assign(y=pd.factorize(out["label"], sort=True)[0].astype(float)) if "y" not in columns else out


def test_properties_of_files_are_numbers_and_codes() -> None:
    table = files(4, format=["PNG", "JPEG", "PNG", "BMP"], width=[10, 20, 30, 40], height=[5, 0, 10, 80])
    found = shortcut.file_properties(table)
    assert found["file format"].tolist() == [2, 1, 2, 0]
    assert found["number of pixels"].tolist() == [50, 0, 300, 3200]
    assert found["aspect ratio"].tolist() == [2, 20, 3, 0.5]


def test_scores_of_properties_go_from_chance_to_certainty() -> None:
    width = np.where(np.arange(40) % 2, 100, 50)
    scores = shortcut.shortcut_scores(files(40, width=width, bytes=np.arange(40)))
    assert scores["property"].tolist()[:1] == ["width"] and scores["score"][0] == 1.0
    assert set(scores["property"]) == {"width", "number of pixels", "aspect ratio", "file size"}
    assert (scores["chance"] == 0.5).all()
    wrong = width.copy()
    wrong[[1, 3, 5, 7]] = 50  # four of twenty of one class: 0.8 and 1
    told = shortcut.shortcut_scores(files(40, width=wrong)).set_index("property").loc["width"]
    assert told["balanced_accuracy"] == pytest.approx(0.9)
    assert told["score"] == pytest.approx(0.8)
    assert shortcut.shortcut_scores(files(40, width=width), "none").empty
    # five images of each class are enough, four are left out
    assert len(shortcut.shortcut_scores(files(10, width=width[:10])))
    assert shortcut.shortcut_scores(files(8, width=width[:8])).empty
    third = files(14, label=["a", "b"] * 5 + ["c"] * 4, width=np.r_[width[:10], [7] * 4])
    assert shortcut.shortcut_scores(third).set_index("property").loc["width", "chance"] == 0.5
    unread = files(40, width=width, pixels=["x"] * 9 + [None] * 31)
    assert shortcut.shortcut_scores(unread).empty


def test_of_numbers_a_property_explains_variance() -> None:
    y = np.arange(60.0)
    scores = shortcut.shortcut_scores(files(60, y=y, width=np.arange(60) + 1), "numbers").set_index("property")
    assert scores.loc["width", "score"] > 0.9
    assert np.isnan(scores.loc["width", "chance"])
    assert len(shortcut.shortcut_scores(files(10, y=y[:10], width=np.arange(10)), "numbers"))
    assert shortcut.shortcut_scores(files(8, y=y[:8], width=np.arange(8)), "numbers").empty
    assert shortcut.shortcut_scores(files(20, y=1.0, width=np.arange(20)), "numbers").empty


def test_folds_keep_groups_together_where_all_have_one_of_five_at_least() -> None:
    y = np.arange(40) % 2
    groups = pd.Series([f"p{i // 4}" for i in range(40)])
    folds = shortcut.class_folds(y, groups, 0)
    assert pd.Series(folds).groupby(groups).nunique().max() == 1
    few = pd.Series([f"p{i % 4}" for i in range(40)])
    part = groups.where(np.arange(40) > 0)
    for other in (few, part):
        folds = shortcut.class_folds(y, other, 0)
        assert np.bincount(folds).tolist() == [8] * 5
        assert all(np.bincount(y[folds == fold]).tolist() == [4, 4] for fold in range(5))
        assert pd.Series(folds).groupby(other).nunique().max() > 1


def test_the_best_property_is_neither_the_size_of_the_files_nor_a_column() -> None:
    rows = [
        ("column “site”", 1.0, 0.5, 1.0),
        ("file size", 0.9, 0.5, 0.8),
        ("width", 0.8, 0.5, 0.6),
        ("height", 0.7, 0.5, 0.4),
    ]
    scores = pd.DataFrame(rows, columns=shortcut.COLUMNS)
    best = shortcut.best_property(scores)
    assert best is not None
    assert best["property"] == "width"
    assert shortcut.best_property(scores[:2]) is None
    context = cast("Any", SimpleNamespace(shortcuts=scores))
    assert shortcut.measures(context) == {"shortcut_score": 0.6, "column_shortcut_score": 1.0}
    assert shortcut.measures(cast("Any", SimpleNamespace(shortcuts=scores[1:]))) == {"shortcut_score": 0.6}
    assert shortcut.measures(cast("Any", SimpleNamespace(shortcuts=scores[:1]))) == {"column_shortcut_score": 1.0}
    assert shortcut.measures(cast("Any", SimpleNamespace(shortcuts=None))) == {}


def test_images_of_each_class_show_its_usual_value() -> None:
    table = files(10, label=["a"] * 6 + ["b"] * 4, image=np.arange(10) + 100)
    values = np.array([5, 1, 1, 1, 9, 8, 10.0, 20, 31, 40])
    # three of six is common; of b the median is 25.5
    assert shortcut._of_each_class(table, values) == [101, 107, 102, 108]
    values[3] = 2  # two of six are not
    assert shortcut._of_each_class(table, values)[0] == 100
    words = np.array(["x", "y", "y", "z", "w", "v", None, None, None, None], object)
    assert shortcut._of_each_class(table, words) == [101, 102]


def test_a_property_is_told_by_class() -> None:
    table = files(8, label=["a"] * 4 + ["b"] * 4, width=[64, 64, 10, 20, 1, 2, 3, 4], format=["PNG"] * 5 + ["JPEG"] * 3)
    assert shortcut._by_class(table, "width") == " By class: a 64 in 50 %; b 2 to 3 in half of them."
    assert shortcut._by_class(table, "file format") == " By class: a PNG in all; b JPEG in 75 %."
    many = files(14, label=list("abcdefg") * 2, width=7, height=2)
    assert shortcut._by_class(many, "aspect ratio").endswith("f 3.50 in all; and 1 more classes.")
    assert "more" not in shortcut._by_class(files(12, label=list("abcdef") * 2), "width")


def test_columns_that_may_tell_are_no_ids_and_not_the_label() -> None:
    n = 64
    images = files(n, label=["a", "b"] * 32, group=[f"p{i // 4}" for i in range(n)])
    described = {
        "site": ["n", "s"] * 32,
        "half": ["n", "s"] * 16 + [None] * 32,
        "less": ["n", "s"] * 15 + ["n"] + [None] * 33,
        "one": ["x"] * n,
        "words": ["a", "b"] * 32,
        "who": [f"p{i // 4}" for i in range(n)],
        "eight": [str(i % 8) for i in range(n)],
        "nine": [f"v{i % 9}" for i in range(n)],
        "twelve": [str(i % 12) for i in range(n)],
        "thirteen": [str(i % 13) for i in range(n)],
        "patient": ["n", "s"] * 32,
    }
    found = dict(columns_of(pd.DataFrame(described, dtype=object), images))
    assert list(found) == ["site", "half", "eight", "twelve"]
    assert found["half"].tolist() == [0, 1] * 16 + [-1] * 32
    assert (found["eight"].dtype.kind, found["twelve"].dtype.kind) == ("i", "f")


def test_a_value_tells_the_class_it_was_seen_with_most_in_other_folds() -> None:
    values = np.array([0, 0, 1, 1, 0, 0, 1, -1, 2, 0])
    y = np.array([0, 0, 1, 1, 0, 1, 1, 0, 0, 0])
    folds = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
    # of fold 0 value 0 is class 0 (both of it), 1 class 1; of fold 1 value 0 is two of four of class 0 and one of two of class 1
    assert seen_with(values, y, folds).tolist() == [0, 0, 1, 1, 0, 0, 1, -1, -1, 0]
    accuracy, chance, sure = better_than_guessing(np.array([0] * 30 + [1] * 20 + [0] * 10), np.repeat([0, 1], 30))
    assert (accuracy, chance) == pytest.approx((0.5 + 1 / 3, 0.5))
    assert sure
    error = np.sqrt(2 * 0.25 / 30) / 2
    for right in range(15, 31):
        found = np.repeat([0, 1, 0], [30, right - 15 + 15, 30 - right])
        assert better_than_guessing(found, np.repeat([0, 1], 30))[2] == (right / 60 >= 4 * error)


def test_what_values_go_with_is_told_of_the_commonest() -> None:
    values = pd.Series(["n"] * 5 + ["s"] * 3 + [None])
    label = pd.Series(["a"] * 4 + ["b"] * 4 + ["a"])
    assert told_with(values, label) == "“n”: a (80 % of 5), “s”: b (all of 3)"
    many = pd.Series([f"v{i}" for i in range(51)])
    assert told_with(many, pd.Series(["a"] * 51)) == ""
    assert told_with(many[:50], pd.Series(["a"] * 50)).count("all of 1") == 3


# turned and inverted pictures


@pytest.mark.parametrize("change", upright.CHANGES, ids=lambda change: change.words)
def test_what_is_said_of_a_changed_picture_is_that_of_the_picture_so_changed(change: upright.Change) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    changed = np.rot90(pixels, change.quarters, (1, 2)) if change.quarters else 255 - pixels
    found = upright._changed(*upright.describe(pixels), change)
    for one, other in zip(found, upright.describe(np.ascontiguousarray(changed)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_edges_are_told_by_direction_and_cell_above_what_lies_beside_them() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (2, 32, 32, 1), dtype=np.uint8)
    edges, coarse = upright.describe(pixels)
    grey = shrink(pixels).numpy()[:, 0]
    wanted = np.zeros((2, 8, 4, 4))
    row = np.arange(30)  # of slopes; cells are of whole pixels, and share those that both reach into
    overlap = np.array([(row >= c * 30 // 4) & (row < -(-(c + 1) * 30 // 4)) for c in range(4)], float)
    overlap /= overlap.sum(1, keepdims=True)
    for image in range(2):
        across = grey[image, 1:-1, 2:] - grey[image, 1:-1, :-2]
        down = grey[image, 2:, 1:-1] - grey[image, :-2, 1:-1]
        for d in range(8):
            along = np.cos(2 * np.pi * d / 8) * across + np.sin(2 * np.pi * d / 8) * down
            strength = np.maximum(along - np.sqrt((across**2 + down**2) / 2), 0)
            wanted[image, d] = overlap @ strength @ overlap.T
        wanted[image] = np.sqrt(wanted[image] / (wanted[image].mean() + 0.2))
    np.testing.assert_allclose(edges, wanted, atol=2e-3)
    np.testing.assert_allclose(coarse[:, 0], grey.reshape(2, 8, 4, 8, 4).mean((2, 4)) - 127.5, atol=1e-3)


def test_pictures_are_judged_by_fits_to_other_folds_without_the_doubted(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    plain = rng.normal(0.5, 1, (60, 6)).astype(np.float32)
    known = rng.permutation(60)[:50]
    changed = (-plain[known]).astype(np.float32)
    own = plain[known].astype(float)

    def squares(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        return ((one[:, None] - two[None]) ** 2).sum(2)

    width = 0.2 / np.median(squares(own, own))

    def kernel(some: np.ndarray) -> np.ndarray:
        return np.exp(-width * squares(some, own)) - np.exp(-width * squares(some, changed.astype(float)))

    folds, sure, held = np.arange(50) % 5, np.ones(50, bool), np.zeros(50)

    def fit(rows: np.ndarray) -> np.ndarray:
        k = kernel(own)[np.ix_(rows, rows)]
        return np.linalg.solve(k + 0.1 * np.eye(rows.sum()), np.ones(rows.sum()))

    for _ in range(2):
        for fold in range(5):
            train = (folds != fold) & sure
            held[folds == fold] = kernel(own)[np.ix_(folds == fold, train)] @ fit(train)
        sure = held > np.quantile(held, 0.1)
    wanted = kernel(plain.astype(float))[:, sure] @ fit(sure)
    wanted[known] = held
    errors = float((held <= 0).mean())
    assert 0 < errors < 0.5
    monkeypatch.setattr(upright, "ERRORS", errors)
    found = upright._judged(plain, changed, known)
    assert found is not None
    np.testing.assert_allclose(found, wanted / np.median(held), atol=1e-3)
    monkeypatch.setattr(upright, "ERRORS", errors - 0.01)
    assert upright._judged(plain, changed, known) is None


def test_the_company_of_a_picture_is_its_third_nearest_other_as_it_is_and_as_changed_back() -> None:
    rng = np.random.default_rng(4)
    plain, back = rng.normal(size=(30, 5)), rng.normal(size=(6, 5))
    doubted = np.array([0, 3, 7, 11, 12, 29])
    as_is, changed = upright._company(plain, doubted, back)
    for at, image in enumerate(doubted):
        others = np.delete(np.arange(30), image)
        assert as_is[at] == pytest.approx(np.sort(((plain[others] - plain[image]) ** 2).sum(1))[2])
        assert changed[at] == pytest.approx(np.sort(((plain[others] - back[at]) ** 2).sum(1))[2])
    (pair,), _ = upright._company(plain[:2], np.array([0]), plain[:1] + 9)  # of two the other one
    assert pair == pytest.approx(((plain[1] - plain[0]) ** 2).sum())


def test_turned_pictures_of_a_set_that_has_an_up_are_odd() -> None:
    rng = np.random.default_rng(5)
    ramp = np.linspace(0, 120, 32)[None, :, None, None]
    pixels = np.clip(ramp + rng.normal(60, 12, (80, 32, 32, 1)), 0, 255).astype(np.uint8)
    pixels[5] = pixels[5, ::-1, ::-1]

    def blocks(ids: list[int]) -> Any:
        yield ids, pixels[ids]

    learnt = np.ones(80, bool)
    found = upright.likeness(blocks, np.arange(80), 0, learnt, lambda _: -0.3)
    half = next(told for change, told in found.items() if change.quarters == 2)
    assert np.nonzero(np.isfinite(half.away))[0].tolist() == [5]
    assert half.told > 0.9
    assert half.score[5] < -0.3
    assert upright.likeness(blocks, np.arange(80), 0, np.arange(80) < 19, lambda _: -0.3) == {}
    assert upright.likeness(blocks, np.arange(80), 0, np.arange(80) < 20, lambda _: -0.3)
    assert upright.likeness(blocks, np.arange(80), 0, learnt, lambda _: -9.0) == {}  # none would be told


def test_a_doubtful_score_needs_clearer_neighbours_unless_the_turn_is_a_quarter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.where(np.arange(40) == 3, -0.59, np.where(np.arange(40) == 8, -0.61, 1.0))
    monkeypatch.setattr(upright, "_judged", lambda *_: scores)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1)).astype(np.uint8)
    both = {0: [3, 8], 2: [3, 8], 3: [3, 8], 1: [3, 8]}
    for ratio, odd in ((1.09, {}), (1.11, both | {0: [8], 2: [8]}), (1.26, both)):
        monkeypatch.setattr(upright, "_company", lambda *_, ratio=ratio: (np.full(2, ratio), np.ones(2)))
        found = upright.likeness(
            lambda ids: iter([(np.asarray(ids), pixels[ids])]), np.arange(40), 0, np.ones(40, bool), lambda _: -0.3
        )
        told = {change.quarters: np.nonzero(one.away == 1)[0].tolist() for change, one in found.items()}
        assert {quarters: at for quarters, at in told.items() if at} == odd


def test_kinds_that_lie_in_opposite_ways_have_each_an_up_of_their_own() -> None:
    rng = np.random.default_rng(5)
    down = np.arange(32)[:, None] + np.zeros((32, 32)) - 15.5
    bar = np.cos(down / 16 * np.pi)  # the same when turned by 180 degrees
    one, two = rng.choice([-1, 1], (2, 200, 1, 1))  # four kinds; which way is bright depends on both
    shade = 20 * (one * bar + two * bar.T + one * two * down / 15.5)
    noise = rng.normal(0, 6, (200, 8, 8)).repeat(4, 1).repeat(4, 2)
    pixels = np.clip(128 + shade + noise, 0, 255).astype(np.uint8)[..., None]
    pixels[[4, 7]] = pixels[[4, 7], ::-1, ::-1]

    def blocks(ids: list[int]) -> Any:
        yield ids, pixels[ids]

    found = upright.likeness(blocks, np.arange(200), 0, np.ones(200, bool), lambda _: -0.6)
    half = next(told for change, told in found.items() if change.quarters == 2)
    assert np.nonzero(np.isfinite(half.away))[0].tolist() == [4, 7]


def test_hard_parts_are_sorted_by_how_much_worse_they_are_and_three_groups_are_apart() -> None:
    wrong = np.zeros(400, bool)
    wrong[:30] = wrong[100:145] = True
    described = pd.DataFrame({"site": np.repeat(["a", "b", "c", "d"], 100)}, dtype=object)
    assert [one.name for one in hard(wrong, described)] == ["site “b”", "site “a”"]
    shades = np.repeat([20, 120, 220], 40)
    pixels = np.zeros((120, 16, 16, 1), np.uint8) + shades[:, None, None, None].astype(np.uint8)

    def blocks(ids: list[int]) -> Any:
        yield ids, pixels[ids]

    images = pd.DataFrame({"image": range(120), "path": [f"{i}.png" for i in range(120)]})
    found = [mask for _, mask in slices.clusters(cast("Any", SimpleNamespace(pixels=blocks, seed=0)), images)]
    assert sorted(sorted(set(shades[mask])) for mask in found) == [[20], [120], [220]]
    no_probe = SimpleNamespace(opinions=SimpleNamespace(asked=SimpleNamespace(probe=None)))
    assert slices.hard_slices(cast("Any", no_probe)) == []
    none = SimpleNamespace(opinions=SimpleNamespace(asked=None))
    assert slices.hard_slices(cast("Any", none)) == []
    assert hard(np.zeros(400, bool), described) == []  # no error at all


def looked_at(images: pd.DataFrame, rows: list[tuple], described: pd.DataFrame | None = None, **given: Any) -> Any:
    """What the finding looks at, with its own bounds."""
    bounds = {check.name: check.max for check in shortcut.FINDING.checks}

    def fails(value: float, *names: str) -> bool:
        return any(value > bounds[name] for name in names)

    scores = pd.DataFrame(rows, columns=shortcut.COLUMNS)
    values = {"images": images, "shortcuts": scores, "described": described, "fails": fails, "kind": "classes"} | given
    return cast("Any", SimpleNamespace(**values))


def test_a_property_that_tells_the_class_too_well_is_a_row_with_images_of_each_class() -> None:
    table = files(8, label=["a", "b"] * 4, width=[10, 20] * 4)
    ((images, score, words),) = shortcut.find(looked_at(table, [("width", 0.9, 0.5, 0.8), ("height", 0.5, 0.5, 0.0)]))
    assert (images, score) == ([0, 1, 2, 3], 0.8)
    assert words == (
        "The width of a file alone predicts the class for 90 % of the images (balanced over the classes; chance: 50 %). By class:"
        " a 10 in all; b 20 in all."
    )
    assert list(shortcut.find(looked_at(table, [("width", 0.6, 0.5, 0.33)]))) == []
    assert len(list(shortcut.find(looked_at(table, [("width", 0.7, 0.5, 0.34)])))) == 1
    assert list(shortcut.find(looked_at(table, []))) == []
    assert list(shortcut.find(cast("Any", SimpleNamespace(shortcuts=None, described=None)))) == []
    table["y"] = [5.0, 1, 7, 3, 0, 2, 6, 4]
    table["width"] = [50, 10, 70, 30, 1, 20, 60, 40]
    numbers = looked_at(table, [("width", np.nan, np.nan, 0.8)], kind="numbers")
    ((images, score, words),) = shortcut.find(numbers)
    assert images.tolist() == [4, 1, 6, 2]
    assert words == "The width of a file alone explains 80 % of the label's variance."
    modes = files(8, mode=["L", "RGB"] * 4)
    ((images, _, words),) = shortcut.find(looked_at(modes, [("colour mode", 1.0, 0.5, 1.0)]))
    assert images == [0, 1, 2, 3]
    assert words.endswith(" By class: a L in all; b RGB in all.")


def test_columns_that_tell_the_class_are_rows_of_their_own() -> None:
    table = files(40)
    described = pd.DataFrame({"site": ["n", "s"] * 20, "dose": [str(1 + i % 2) for i in range(40)]}, dtype=object)
    scores = shortcut.shortcut_scores(table, described=described)
    assert scores["property"].tolist() == ["column “site”", "column “dose”"]
    assert scores["score"].tolist() == [1.0, 1.0]
    assert shortcut.shortcut_scores(table, "numbers", described=described).empty
    rows = [("column “site”", 0.9, 0.5, 0.8), ("column “dose”", 0.66, 0.5, 0.32), ("column “gone”", 1.0, 0.5, 1.0)]
    ((images, score, words),) = shortcut.find(looked_at(table, rows, described))
    assert (images, score) == ([0, 1, 2, 3], 0.8)
    assert words == (
        "The column “site” alone predicts the class for 90 % of the held-out images (balanced over the classes; chance: 50 %). By"
        " value: “n”: a (all of 20), “s”: b (all of 20)."
    )
    assert list(shortcut.find(looked_at(table, rows, None))) == []
    # half of one class: 0.5 and 1, so that the score is half of the way
    part = pd.DataFrame({"site": [("n" if i % 4 else "s") if i % 2 else "n" for i in range(80)]}, dtype=object)
    part["site"] = np.where(np.arange(80) % 4 == 1, "s", "n")
    found = shortcut.shortcut_scores(files(80), described=part)
    assert found[["balanced_accuracy", "score"]].to_numpy().tolist() == [[0.75, 0.5]]
    numbers = pd.DataFrame({"age": [str(20 + 40 * (i % 2) + i // 2 % 12) for i in range(240)]}, dtype=object)
    many = shortcut.shortcut_scores(files(240), described=numbers)
    assert many["score"].tolist() == [1.0]


def test_images_of_a_group_are_on_one_side_of_a_property_s_folds() -> None:
    """Each patient has a width of their own, and one class: held out, it tells nothing; image by image it would."""
    patient = np.arange(60) // 4
    table = files(60, label=np.where(patient % 2, "b", "a"), width=100 + (patient * 7) % 15)
    alone = shortcut.shortcut_scores(table).set_index("property").loc["width", "score"]
    grouped = shortcut.shortcut_scores(table.assign(group=[f"p{i}" for i in patient]))
    together = grouped.set_index("property").loc["width", "score"]
    assert alone - together > 0.1

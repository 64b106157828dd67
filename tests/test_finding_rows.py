"""Each small finding on a table made by hand: its rows and measures by the letter."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from dataprops.checks.defaults import default_checks
from dataprops.findings import (
    class_imbalance,
    copies_across_groups,
    exact_duplicates,
    feature_near_duplicates,
    group_in_classes,
    group_leakage,
    harder_to_learn,
    label_conflicts,
    narrow_range,
    near_conflicts,
    near_duplicates,
    outliers,
    several_frames,
    sharper_labels,
    split_leakage,
    unlabelled,
    unread_labels,
    unreadable,
    unused_columns,
)
from dataprops.findings.blank import is_blank
from dataprops.findings.check import Check, first_sentence
from dataprops.findings.context import Context
from dataprops.findings.copies import duplicate_groups
from dataprops.findings.groups import groups_with_several
from dataprops.findings.nearcopies import NearCopies
from dataprops.findings.registry import Finding
from dataprops.findings.sides import suspect_side
from dataprops.sources.account import FOLDERS_USED

NEAR = ("a", "b", "distance", "rms", "detail", "what", "series")


def table(n: int, **columns: Any) -> pd.DataFrame:
    """Readable images, each another picture of the class a, but for what is given."""
    images = pd.DataFrame(
        {
            "image": np.arange(n),
            "path": [f"{i}.png" for i in range(n)],
            "label": "a",
            "group": None,
            "split": None,
            "content": [f"file {i}" for i in range(n)],
            "pixels": [f"pixels {i}" for i in range(n)],
            "duplicate_of": np.arange(n),
        }
    ).assign(**columns)
    codes = {label: float(code) for code, label in enumerate(sorted(images["label"].dropna().unique()))}
    return images.assign(y=images["label"].map(codes)) if "y" not in columns else images


def near(*pairs: tuple) -> pd.DataFrame:
    """Near-copies: a, b, rms, and what was done."""
    rows = [(a, b, 2 * rms, rms, 0.0, what, series) for a, b, rms, what, series in pairs]
    return pd.DataFrame(rows, columns=list(NEAR)).astype({"a": np.int64, "b": np.int64, "series": bool})


def found(finding: Finding, images: pd.DataFrame, copies: pd.DataFrame | None = None, /, **given: Any) -> list[tuple]:
    """Rows of a finding, with plain numbers."""
    context = Context(images, near() if copies is None else copies, near(), 4, checks=finding.checks, **given)
    return [(tuple(map(int, ids)), float(value), words) for ids, value, words in finding.find(context)]


def measured(finding: Finding, images: pd.DataFrame, copies: pd.DataFrame | None = None, /, **given: Any) -> dict:
    """Measures of a finding."""
    return dict(finding.measures(Context(images, near() if copies is None else copies, near(), 4, **given)))


def test_identical_images_with_two_labels_are_told_pair_by_pair_but_blank_ones() -> None:
    images = table(
        8,
        label=["a", "b", "a", "c", "b", "c", "c", None],
        duplicate_of=[0, 0, 0, 3, 3, 5, 5, 5],
        original_low=[0] * 3 + [5] * 2 + [0] * 3,
        original_high=[200] * 3 + [5] * 2 + [200] * 3,
        original_flat=0.1,
    )
    rows = found(label_conflicts.FINDING, images)
    assert [row[:2] for row in rows] == [((0, 1), 0.0), ((1, 2), 0.0)]
    assert rows[0][2] == "“0.png” is labelled a, the identical picture “1.png” is labelled b."
    assert measured(label_conflicts.FINDING, images) == {"conflict_pairs": 2}
    assert measured(label_conflicts.FINDING, images, kind="none") == {}
    (check,) = label_conflicts.FINDING.checks
    assert (check.fails(0), check.fails(1)) == (False, True)


def test_groups_come_by_name_and_identical_images_by_the_first_with_blank_ones_last() -> None:
    images = table(6, group=["q", "q", "p", "p", "r", "r"], split=["x", "y", "x", "y", "x", "x"])
    assert [name for name, _ in groups_with_several(images, "split")] == ["p", "q"]
    images = table(6, duplicate_of=[0, 0, 2, 3, 3, 2], original_low=0, original_flat=0.1)
    images = images.assign(original_high=[8, 8, 200, 200, 200, 200])
    assert [members.tolist() for members in duplicate_groups(images)] == [[2, 5], [3, 4], [0, 1]]
    assert is_blank(images).tolist() == [True, True, False, False, False, False]
    assert is_blank(images.assign(original_high=9)).tolist() == [False] * 6
    assert is_blank(images.assign(original_high=9, original_flat=0.995)).tolist() == [True] * 6


def test_bounds_of_all_checks_without_thresholds_of_the_users() -> None:
    bounds = {check.name: (check.min, check.max) for check in default_checks()}
    assert bounds == {
        "enough_images": (100, None),
        "unreadable": (None, 0.01),
        "left_out": (None, 0.05),
        "unread_labels": (None, 0),
        "unused_columns": (None, 0.75),
        "narrow_range": (0.25, None),
        "spelling": (None, 0),
        "conflicts": (None, 0),
        "near_conflicts": (None, 0),
        "near_conflicts_close": (None, 0),
        "split_leaks": (None, 0),
        "group_leaks": (None, 0),
        "duplicates": (None, 0.01),
        "near_duplicates": (None, 0.05),
        "copies_across_groups": (None, 0),
        "groups_in_classes": (None, 0),
        "unlabelled": (None, 0),
        "class_ratio": (None, 3.0),
        "smallest_class": (10, None),
        "shortcut": (None, 0.33),
        "shortcut_certain": (None, 0.9),
        "column_shortcut": (None, 0.33),
        "pixel_shortcut": (None, 0),
        "suspect_labels": (None, 0.05),
        "wrong_labels": (None, 0.001),
        "image_quality": (None, 0.01),
        "hard_slices": (None, 0),
        "suggested_group_leaks": (None, 0),
        "loss_rises": (None, 0.0488),
        "sharpness_rises": (None, 0.0),
        "classes_changed": (None, 0),
        "detail_lost": (None, 0.01),
        "outliers": (None, 0.01),
        "dimension_error": (None, 0.1),
        "easier_to_attack": (None, 0.8),
        "attack_penalty": (None, 15.0),
    }


def test_the_same_picture_more_than_once_says_whether_the_files_are_the_same() -> None:
    images = table(6, duplicate_of=[0, 0, 2, 2, 2, -1], content=["x", "x", "u", "v", "w", "z"])
    images.loc[5, "pixels"] = None
    assert found(exact_duplicates.FINDING, images) == [
        ((0, 1), 2, "“0.png” and “1.png” are the same picture; the files are identical, too."),
        ((2, 3, 4), 3, "“2.png” and 2 others are the same picture; the pixels are identical, the files are not."),
    ]
    assert measured(exact_duplicates.FINDING, images) == {"redundant_share": pytest.approx(3 / 5)}
    assert measured(exact_duplicates.FINDING, images.iloc[5:]) == {}


def test_near_copies_with_two_labels_are_told_the_closest_first_and_series_and_unlabelled_not() -> None:
    images = table(6, label=["a", "b", "a", "a", None, "b"])
    copies = near(
        (0, 1, 4.0, "mirrored", False),
        (1, 2, 3.0, "the same view", False),
        (2, 3, 1.0, "the same view", False),
        (3, 4, 1.0, "the same view", False),
        (3, 5, 1.0, "the same view", True),
        (0, 5, 4.5, "turned", False),
    )
    rows = found(near_conflicts.FINDING, images, copies)
    assert [row[:2] for row in rows] == [((1, 2), 3.0), ((0, 1), 4.0), ((0, 5), 4.5)]
    assert rows[1][2] == (
        "“0.png” is labelled a, its near-copy “1.png” is labelled b (mirrored; 4.00 grey levels apart): at least one of the labels"
        " is probably wrong."
    )
    assert measured(near_conflicts.FINDING, images, copies) == {"near_conflict_pairs": 3, "near_conflict_close": 2}
    assert found(near_conflicts.FINDING, images, copies, kind="numbers") == []
    assert measured(near_conflicts.FINDING, images, copies, kind="numbers") == {}


@pytest.mark.parametrize(
    ("doubts", "worse"),
    [([0.5, 0.25], 0), ([0.25, 0.5], 1), ([0.49, 0.1], None), ([0.9, 0.46], None), ([0.9, 0.45], 0)],
)
def test_of_two_labels_the_one_is_suspect_that_is_doubted_twice_as_much(doubts: list, worse: int | None) -> None:
    few, more = np.array([0]), np.array([1])
    sample = SimpleNamespace(image=more, doubt=np.array(doubts[1:]))
    said = SimpleNamespace(image=few, doubt=np.array(doubts[:1]), sample=sample)
    words = suspect_side(cast("Any", SimpleNamespace(opinions=said, images=table(3))))
    high, low = max(doubts), min(doubts)
    wanted = (
        f" The label of “{worse}.png” is the suspect one (probability of another one {high:.2f} against {low:.2f})."
    )
    assert words(0, 1) == (wanted if worse is not None else "")
    assert words(0, 2) == words(2, 0) == ""
    assert suspect_side(cast("Any", SimpleNamespace(opinions=None)))(0, 1) == ""


def test_near_copies_are_grouped_and_what_matters_more_comes_first() -> None:
    images = table(12, split=["train"] * 8 + ["test"] * 4, label=["a"] * 6 + ["b"] * 6)
    copies = near(
        (0, 1, 0.5, "the same view", True),
        (2, 3, 1.0, "the same view", False),
        (2, 4, 2.0, "turned", False),
        (3, 4, 3.0, "cropped", False),
        (4, 5, 2.5, "mirrored", False),
        (1, 6, 4.0, "turned", True),
        (0, 6, 3.5, "cropped", True),
        (7, 8, 5.0, "turned", False),
        (9, 10, 1.5, "the same view", False),
    )
    rows = found(near_duplicates.FINDING, images, copies)
    assert [row[:2] for row in rows] == [((7, 8), 5.0), ((0, 1, 6), 0.5), ((2, 3, 4, 5), 1.0), ((9, 10), 1.5)]
    assert [row[2] for row in rows] == [
        "“7.png” and “8.png” are near-copies (turned): 5.00 grey levels apart on average (RMS) after alignment.",
        "3 images are near-copies of each other (the same view; cropped; turned), 0.50 to 4.00 grey levels apart on average (RMS)"
        " after alignment: “0.png”, “1.png”, “6.png”. They are of one patient or series: neighbouring slices, frames or"
        " repeated exposures rather than copies.",
        "4 images are near-copies of each other (the same view; turned; mirrored; ...), 1.00 to 3.00 grey levels apart on average"
        " (RMS) after alignment: “2.png”, “3.png”, “4.png” and others.",
        "“9.png” and “10.png” are near-copies (the same view): 1.50 grey levels apart on average (RMS).",
    ]
    assert measured(near_duplicates.FINDING, images, copies) == {"near_duplicate_share": 8 / 12, "near_pairs": 9}
    assert measured(near_duplicates.FINDING, images, copies, near_count=10)["near_pairs"] == 10
    assert measured(near_duplicates.FINDING, images.assign(pixels=None)) == {}
    plain = near_duplicates.with_words(pd.DataFrame({"a": [0], "b": [1], "distance": [6.0]}), 4)
    assert plain[["rms", "what", "series"]].to_numpy().tolist() == [[3.0, "the same view", False]]


def test_where_all_images_are_of_one_kind_the_first_row_says_so_and_large_groups_may_be_frames() -> None:
    copies = near(*((0, i, 1.0, "the same view", False) for i in range(1, 21)), (30, 31, 2.0, "turned", False))
    kinds = [NearCopies(copies, 0.99, 1.0, 0.1, alike) for alike in (0.123, 0.0)]
    rows, usual = (
        [row[2] for row in found(near_duplicates.FINDING, table(32), copies, copies=copies_found)]
        for copies_found in kinds
    )
    assert rows[0] == usual[0] + (
        " The images of this dataset are of one kind: 12 % of look-alikes agree in fine detail as copies do elsewhere. Only"
        " pairs that also agree in the brightness of their parts are reported."
    )
    assert usual[0].endswith(
        " and others. So many may also be frames of one scene, or images of one product: look at them before removing any."
    )
    assert (
        rows[1]
        == usual[1]
        == "“30.png” and “31.png” are near-copies (turned): 2.00 grey levels apart on average (RMS) after alignment."
    )
    assert measured(near_duplicates.FINDING, table(32), copies, copies=kinds[0])["near_alike_share"] == 0.123


def test_copies_in_two_splits_are_told_with_all_their_copies_and_counted() -> None:
    images = table(
        12,
        split=["train", "test", "train", "train", "test", None, "test", "train", "train", "test", None, "test"],
        duplicate_of=[0, 0, 2, 2, 4, 5, 5, 7, 7, 7, 10, 11],
    )
    copies = near(
        (0, 4, 1.5, "turned", False),
        (2, 4, 1.0, "the same view", False),
        *((a, b, 1.0, "turned", False) for a, b in ((2, 5), (2, 7), (2, 10), (10, 11))),
    )
    rows = found(split_leakage.FINDING, images, copies)
    assert [row[:2] for row in rows] == [
        ((0, 1), 0.0),
        ((7, 9), 0.0),
        ((8, 9), 0.0),
        ((0, 4), 3.0),
        ((2, 4), 2.0),
        ((3, 4), 2.0),
        ((2, 6), 2.0),
        ((3, 6), 2.0),
        ((2, 9), 2.0),
        ((3, 9), 2.0),
    ]
    assert rows[0][2] == "“0.png” (train) and “1.png” (test) are the same picture."
    assert rows[3][2].endswith("are near-copies (turned): they differ by only 1.50 grey levels on average (RMS).")
    assert rows[4][2].endswith("are near-copies: they differ by only 1.00 grey levels on average (RMS).")
    assert measured(split_leakage.FINDING, images, copies) == {"split_leaks": 10}
    assert measured(split_leakage.FINDING, images.assign(split=None), copies) == {}


def test_copies_of_two_patients_are_told_once_each() -> None:
    images = table(5, group=["p", "q", None, "p", "q"], duplicate_of=[0, 0, 0, 3, 4])
    copies = near((0, 3, 1.0, "turned", False), (0, 4, 2.0, "turned", False), (2, 4, 2.0, "turned", False))
    rows = found(copies_across_groups.FINDING, images, copies)
    assert [row[:2] for row in rows] == [((0, 1), 0.0), ((0, 4), 2.0)]
    assert rows[0][2].startswith(
        "“0.png” of “p” and “1.png” of “q” are one picture (the same picture; 0.00 grey levels"
    )
    assert measured(copies_across_groups.FINDING, images, copies) == {"copies_across_groups": 2}
    assert measured(copies_across_groups.FINDING, images.iloc[:1]) == {"copies_across_groups": 0}
    assert measured(copies_across_groups.FINDING, images.assign(group=None)) == {}


def test_patients_of_two_classes_or_splits_are_told_with_where() -> None:
    images = table(
        7,
        group=["p", "p", "p", "q", "q", None, None],
        label=["a", "b", None, "a", "a", "a", "b"],
        split=["test", "train", "val", "train", "train", "test", "train"],
    )
    classes, splits = group_in_classes.FINDING, group_leakage.FINDING
    assert found(classes, images) == [((0, 1), 2, "Images of “p” are labelled a and b.")]
    assert found(splits, images) == [((0, 1, 2), 3, "Images of “p” are in test, train and val.")]
    assert (measured(classes, images), measured(splits, images)) == ({"groups_in_classes": 1}, {"group_leaks": 1})
    assert found(classes, images, kind="numbers") == []
    assert measured(classes, images, kind="numbers") == measured(classes, images.assign(group=None)) == {}
    assert measured(splits, images.assign(group=None)) == measured(splits, images.assign(split=None)) == {}


def test_pairs_of_features_that_lie_apart_come_first_and_say_what_their_pixels_are() -> None:
    images = table(6, split=["train", "train", "test", "test", None, None], duplicate_of=[0, 0, 2, 3, 4, 5])
    images = images.assign(label=["a", "a", "a", "b", "b", "b"])
    pairs = pd.DataFrame(
        [
            ("near_duplicate", 4, 5, 0.0),
            ("near_duplicate", 0, 1, 0.5),
            ("near_duplicate", 1, 3, 0.25),
            ("sharpest", 2, 3, 1),
        ],
        columns=["kind", "a", "b", "distance"],
    )
    assert found(feature_near_duplicates.FINDING, images, near((0, 3, 1.0, "turned", False)), feature_pairs=pairs) == [
        (
            (1, 3),
            0.25,
            "“1.png” and “3.png” have features only 0.25 apart; near-copies in pixels, too."
            " They have two splits and two labels.",
        ),
        ((4, 5), 0.0, "“4.png” and “5.png” have the same features; no near-copies in pixels."),
        ((0, 1), 0.5, "“0.png” and “1.png” have features only 0.5 apart; identical in pixels, too."),
    ]
    assert measured(feature_near_duplicates.FINDING, images, feature_pairs=pairs) == {"feature_near_pairs": 3}
    assert found(feature_near_duplicates.FINDING, images) == []
    assert measured(feature_near_duplicates.FINDING, images) == {}


def test_images_without_label_unreadable_ones_and_those_of_several_frames_are_each_told() -> None:
    images = table(4, label=["a", None, "b", "b"], error=[None, None, "cut off", None], frames=[1, 2, 3, 1200])
    images = images.assign(format=["PNG", "DICOM", "GIF", "GIF"])
    images.loc[2, "pixels"] = None
    assert found(unlabelled.FINDING, images) == [((1,), 0, "“1.png” has no label.")]
    assert measured(unlabelled.FINDING, images) == {"unlabelled_share": 0.25}
    assert found(unlabelled.FINDING, images, kind="none") == found(unlabelled.FINDING, images.iloc[[0]]) == []
    assert measured(unlabelled.FINDING, images, kind="none") == {}
    assert found(unreadable.FINDING, images) == [((2,), 0, "“2.png”: cut off.")]
    assert measured(unreadable.FINDING, images) == {"n_unreadable": 1, "unreadable_share": 0.25}
    assert measured(unreadable.FINDING, images.iloc[:0]) == {"n_unreadable": 0, "unreadable_share": 0}
    assert found(several_frames.FINDING, images) == [
        ((1,), 2, "“1.png” holds 2 frames; the middle one was used."),
        ((3,), 1200, "“3.png” holds 1,200 frames; the first one was used."),
    ]
    assert found(several_frames.FINDING, images.drop(columns="frames")) == []


def test_the_largest_class_is_held_against_the_smallest() -> None:
    (check,) = class_imbalance.FINDING.checks
    assert check.max is not None
    most = int(check.max)
    images = table(3 + most, label=["a"] * 2 + ["b"] * (most + 1))
    assert found(class_imbalance.FINDING, images) == []
    images = table(4 + 2 * most, label=["a"] * 2 + ["b"] * (2 * most + 2))
    ((ids, ratio, words),) = found(class_imbalance.FINDING, images)
    assert (ids, ratio) == ((), most + 1)
    assert words == f"Class b has {2 * most + 2} images, class a has 2: {most + 1:.1f} times as many."
    assert measured(class_imbalance.FINDING, images) == {"class_ratio": most + 1}
    assert measured(class_imbalance.FINDING, table(3, label=["a", "b", "b"])) == {"class_ratio": 2}
    unread = images.assign(pixels=[None] * 2 + ["x"] * (2 * most + 2))
    for kind, some in (("numbers", images), ("classes", images.iloc[2:]), ("classes", unread)):
        assert found(class_imbalance.FINDING, some, kind=kind) == []
        assert measured(class_imbalance.FINDING, some, kind=kind) == {}


def test_an_outlier_is_beyond_three_ranges_of_the_logarithm_and_takes_its_copies_along() -> None:
    logs = np.arange(19) / 20

    def at(last: float) -> pd.DataFrame:
        images = table(22, knn_distance=[*np.exp(logs), np.exp(last), np.nan, 0.0])
        images.loc[20, "duplicate_of"] = 19
        return images

    quartiles = np.quantile([*logs, 9.0], [0.25, 0.5, 0.75])
    fence = quartiles[2] + 3 * (quartiles[2] - quartiles[0])
    assert found(outliers.FINDING, at(fence - 1e-6)) == []
    ((ids, ratio, words),) = found(outliers.FINDING, at(fence + 1e-6))
    assert ids == (19, 20)
    assert ratio == pytest.approx(np.exp(fence - quartiles[1]), rel=1e-5)
    assert words == f"“19.png” is {ratio:.1f} times as far from its neighbours as the typical image."
    assert measured(outliers.FINDING, at(fence + 1e-6)) == {"outlier_share": 2 / 22}
    assert found(outliers.FINDING, at(fence + 1e-6).iloc[1:]) == []  # nineteen are too few
    far = table(24, knn_distance=[500.0, 50.0, 500.0, *np.exp(logs), 1.0, 1.0])
    assert [ids for ids, _, _ in found(outliers.FINDING, far)] == [(0,), (2,), (1,)]  # the farthest first
    same = table(24, knn_distance=[1.0] * 23 + [50.0])
    assert found(outliers.FINDING, same) == []  # all at one distance: there is no range
    assert measured(outliers.FINDING, same.assign(pixels=None)) == {}


def test_a_set_that_uses_few_grey_levels_is_told_by_the_brightest_of_nearly_all() -> None:
    images = table(101, peak=np.arange(101) / 2)
    assert found(narrow_range.FINDING, images) == [
        ((), 47.5, "The brightest pixel of 95 % of the images is at most grey level 48 of 255.")
    ]
    assert measured(narrow_range.FINDING, images) == {"used_range": 47.5 / 255}
    for peak, told in ((255.0, 0), (63.75, 0), (63.7, 1)):
        assert len(found(narrow_range.FINDING, images.assign(peak=peak))) == told
    assert measured(narrow_range.FINDING, images.assign(pixels=None)) == {}


def since(**given: Any) -> SimpleNamespace:
    """What changed: losses of four images and two sharp pairs."""
    losses = pd.DataFrame(
        {
            "image": [0, 1, 2, 3],
            "before": [1.0, np.nan, 0.5, 1.0],
            "after": [1.2, 2.0, 0.59, 1.1],
            "label_before": pd.Series(["b", None, "a", "a"], dtype=object),
        }
    )
    pairs = pd.DataFrame({"a": [2], "b": [0], "distance": [1234.4], "sharpness": [0.01234]})
    change = {"value": 1.0, "low": 0.5, "expected": 0.1, "before": 1.0}
    return SimpleNamespace(losses=losses, pairs=pairs, change=change, sharpness={"low": 9.0}, **given)


def test_images_that_became_harder_are_told_with_the_label_that_they_had() -> None:
    images = table(4)
    rows = found(harder_to_learn.FINDING, images, since=since())
    assert [row[:1] for row in rows] == [((1,),), ((0,),), ((3,),)]
    assert [row[1] for row in rows] == pytest.approx([1.0, 0.2, 0.1])
    assert rows[0][2] == "“1.png” is new: loss 2, against 1 on average in the previous audit."
    assert rows[1][2] == "“0.png” has a loss of 1.2, 1 in the previous audit; it was labelled “b”, now “a”."
    assert rows[2][2] == "“3.png” has a loss of 1.1, 1 in the previous audit."
    assert measured(harder_to_learn.FINDING, images, since=since()) == {
        "predicted_log_loss_change_low": pytest.approx(0.4)
    }
    falling = since()
    falling.change = {**falling.change, "expected": -0.2}
    assert measured(harder_to_learn.FINDING, images, since=falling) == {"predicted_log_loss_change_low": 0.5}
    for nothing in (None, SimpleNamespace(change={"value": None})):
        assert found(harder_to_learn.FINDING, images, since=nothing) == []
        assert measured(harder_to_learn.FINDING, images, since=nothing) == {}
    falling.change = {**falling.change, "before": 1.5}
    assert [row[0] for row in found(harder_to_learn.FINDING, images, since=falling)] == [(1,), (0,)]
    falling.change = {**falling.change, "low": 0.1, "expected": 0.1}
    assert found(harder_to_learn.FINDING, images, since=falling) == []


def test_new_sharp_pairs_are_told_where_the_sharpness_rose() -> None:
    images = table(4)
    assert found(sharper_labels.FINDING, images, since=since()) == [
        (
            (2, 0),
            0.01234,
            "“2.png” (a) and “0.png” (a) are 1,234 grey levels apart, a pair that the previous audit did not have: sharpness 0.0123.",
        )
    ]
    assert measured(sharper_labels.FINDING, images, since=since()) == {"label_sharpness_rise_low": 9}
    calm = since()
    calm.sharpness = {"low": 0.0}
    assert found(sharper_labels.FINDING, images, since=calm) == []
    for nothing in (None, SimpleNamespace(sharpness=None)):
        assert found(sharper_labels.FINDING, images, since=nothing) == []
        assert measured(sharper_labels.FINDING, images, since=nothing) == {}


def test_labels_that_may_stand_elsewhere_are_told_where_there_are_none_or_one() -> None:
    places = [
        {"what": "labels", "value": FOLDERS_USED, "why": "a table has labels", "option": "--labels"},
        {"what": "labels", "value": "none", "why": "names repeat", "option": "--label"},
        {"what": "names", "value": "none", "why": "names end alike", "option": "--label-pattern"},
        {"what": "names", "value": "none", "why": "else", "option": "--other"},
        {"what": "labels", "value": "some", "why": "else", "option": "--label-pattern"},
    ]
    told = ("A table has labels (--labels).", "Names repeat (--label).", "Names end alike (--label-pattern).")
    first, *rest = [((), 0, words) for words in told]
    finding = unread_labels.FINDING
    assert found(finding, table(3), decisions=places) == [first, *rest]
    assert measured(finding, table(3), decisions=places) == {"places_of_unread_labels": 3}
    assert found(finding, table(3, label=["a", "b", "a"]), decisions=places) == [first]
    assert found(finding, table(3), decisions=places, kind="numbers") == []


def test_a_check_is_broken_beyond_its_bound_and_says_so_in_numbers() -> None:
    def check(**bounds: float) -> Check:
        sentence = (
            "{value:pair is|pairs are} {threshold:.1f} {rise:share} {rise_threshold:.2f} {other:most} {none} {subject}"
        )
        return Check(
            name="n", measure="m", severity="info", title="t", sentence=sentence, subject="all. Of it", **bounds
        )

    both = check(min=1.0, max=2.0)
    assert [both.fails(value) for value in (0.9, 1.0, 2.0, 2.1, float("nan"))] == [True, False, False, True, False]
    assert [both.threshold(value) for value in (0.9, 2.0, 2.1)] == [1.0, 1.0, 2.0]
    assert (check(max=2.0).threshold(0), check(min=1.0).threshold(5)) == (2.0, 1.0)
    assert np.isnan(check().threshold(1.0))
    assert check(max=0.0).words(1.0, {"other": 0.5}) == "1 pair is 0.0 172 % 0.00 50 % of the nan all. Of it"
    assert check(max=0.0).words(1200, {"other": 1.0}, "Many. By class").startswith("1,200 pairs are 0.0 ")
    assert " 0.00 all nan " in check(max=0.0).words(1200, {"other": 1.0})
    assert check(max=0.0).words(1.0, subject="Many (of it). By class").endswith("Many (of it)")
    assert first_sentence("Many (of it). By class.") == ("Many (of it).", "By class.")


def test_of_thousands_of_unused_columns_forty_are_named() -> None:
    names = [f"f{k}" for k in range(3000)]
    (row,) = found(unused_columns.FINDING, table(2), unused_columns=(names[:40], 44))
    assert row == ((), 40.0, f"Not used as label, split or patient: {', '.join(f'“{name}”' for name in names[:40])}.")
    (row,) = found(unused_columns.FINDING, table(2), unused_columns=(names, 3004))
    assert row[1:] == (
        3000.0,
        f"Not used as label, split or patient: {', '.join(f'“{name}”' for name in names[:40])}, and 2,960 more.",
    )

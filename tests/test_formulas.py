"""Small functions against what they say they compute, by hand or by loops: bounds that no audit's test would see moved."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dataprops.distances.kernel import EMPTY
from dataprops.probe import curve, measure
from dataprops.probe.bootstrap import bootstrap_weights
from dataprops.probe.calibrate import cross_fitted, log_softmax
from dataprops.probe.folds import assign_folds
from dataprops.probe.ridge import held_scores, targets
from dataprops.properties import sharpness
from dataprops.properties.distinct import distinct_rows, duplicate_of, image_neighbours

# --- the probe -----------------------------------------------------------------------------------------------------------


def test_a_probe_takes_twenty_images_and_numbers_in_four_groups_that_vary() -> None:
    one_each, y = np.arange(20), np.arange(20) % 2
    assert measure.reason_not_applicable(y, one_each, numeric=False) is None
    few = measure.reason_not_applicable(y[:19], one_each[:19], numeric=False)
    assert few == "it takes 20 labelled, readable images, there are 19"
    told = [
        measure.reason_not_applicable(numbers, groups, numeric=True)
        for numbers, groups in ((y, one_each % 4), (y, one_each % 3), (np.ones(20), one_each))
    ]
    assert told == [None, *["the numbers, or the groups, do not vary"] * 2]
    reason = "it takes two classes with images in 4 groups each (patients; images without one count alone, copies together), there"
    assert measure.reason_not_applicable(0 * y, one_each, numeric=False) == f"{reason} is 1"
    assert measure.reason_not_applicable(y, one_each % 2, numeric=False) == f"{reason} are 0"


def test_features_are_standardised_and_constant_ones_nought() -> None:
    found = measure.standardised(np.array([[1.0, 5.0], [2.0, 5.0]]))
    assert found.tolist() == [[-1, 0], [1, 0]]
    assert found.dtype == np.float32
    assert measure.draw_images(5, 5, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = measure.draw_images(50, 5, 0).tolist()
    assert (len(set(drawn)), drawn) == (5, sorted(drawn))
    assert np.bincount(measure.strata_of(np.arange(101.0), numeric=True)).tolist() == [21, 20, 20, 20, 20]


def test_witnesses_are_averaged_by_the_geometric_mean_over_three_divisions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "fold_count", lambda n: 2)
    rng = np.random.default_rng(0)
    z, y, group, seed = rng.normal(size=(40, 6)), np.arange(40) % 2, np.arange(40) // 2, 7
    kernel, first = z @ z.T / 6, rng.dirichlet([1, 1], 40)
    first[0] = [1, 0]
    logs = [np.log(np.maximum(first, 1e-6))]
    for division in (1, 2):
        fold = assign_folds(y, group, 2, seed + 1_000_003 * division)
        scores = held_scores(kernel, targets(y, 2), fold, strengths=(0.1,)).scores
        logs.append(np.log(cross_fitted(scores, y, fold)))
    found = measure.held_out_averaged(first, kernel, y, group, 0.1, seed)
    np.testing.assert_allclose(found, np.exp(log_softmax(np.mean(logs, axis=0))), rtol=1e-9)


def test_a_curve_has_the_sizes_at_which_each_fold_trains_on_eight_images_of_all_classes() -> None:
    rng = np.random.default_rng(0)

    def sizes(n: int, y: np.ndarray) -> list[int]:
        z, fold, steps = rng.normal(size=(n, 4)), np.arange(n) // 2 % 3, []
        found, scores, held = measure._at_all_sizes(z @ z.T, targets(y, 2), y, np.arange(n), fold, 0, steps.append)
        assert len(found) == len(scores) == len(steps)
        assert (steps[:-1], steps[-1]) == ([0] * (len(steps) - 1), 30)
        assert scores[-1] is held.scores
        subsets = curve.nested_subsets(y, np.arange(n), 0)
        trained = {part: [(subsets[part] & (fold != f)).sum() for f in range(3)] for part in curve.FRACTIONS}
        wanted = [round(np.mean(counts)) for part, counts in trained.items() if part == 1 or min(counts) >= 8]
        assert found == wanted
        return found

    assert sizes(200, np.arange(200) % 2)[1:] == [33, 67, 133]
    assert sizes(12, np.arange(12) % 2) == [8]
    rare = (np.arange(200) == 0).astype(int)  # some fold trains without it
    assert measure._lacks(rare, np.ones(200, bool), np.arange(200) // 2 % 3)
    assert not measure._lacks(np.arange(200) % 2, np.ones(200, bool), np.arange(200) // 2 % 3)


def test_errors_margins_and_confusion_are_those_of_the_largest_size() -> None:
    y, group, folds = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    small = np.array([[0.5, 0.5]] * 4)
    large = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.125, 0.875]])
    weights = np.array([[1, 1, 1]])
    found = measure._of_classes([10, 20], [small, large], y, group, folds, weights, 1.0)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert tuple(found.error) == (0.5, 0.5, 0.5)
    assert [tuple(point) for point in found.curve] == [
        (10, 0.5, pytest.approx(np.log(2))),
        (20, 0.5, pytest.approx(-np.log([0.75, 0.25, 0.5, 0.875]).mean())),
    ]
    assert found.hardness.tolist() == [-0.5, 0.5, 0, -0.75]
    right = measure._of_classes([20], [large[[0, 0, 3, 3]]], y, group, folds, weights, 1.0)
    assert tuple(right.error) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 3)))
    reason = "the reference classifier makes {}, and the gain from more images takes 10 to be measured"
    assert (right.curve[0].error, right.losses[0]) == (0, -np.log(0.75))
    assert right.withheld == reason.format("no held-out error")
    assert found.withheld == reason.format("2 held-out errors")
    assert measure._gains([1], np.ones((1, 1)), 1, weights, group, 1.0)[1] == reason.format("1 held-out error")
    few = measure._gains([1, 2], np.ones((1, 1)), 10, weights, group, 1.0)[1]
    assert few == "there are too few images for a learning curve: it takes three sizes, there are 2"


def test_gains_are_widened_for_the_images_trained_on_and_for_no_curve_being_a_power_law() -> None:
    rng = np.random.default_rng(0)
    losses, weights = rng.uniform(0.5, 1, (30, 3)) * [1, 0.8, 0.6], bootstrap_weights(30, 0)
    gains, withheld = measure._gains([10, 20, 40], losses, 10, weights, np.arange(30), 1.5)
    assert withheld is None
    assert gains is not None
    assert sorted(gains) == [2, 4]
    for times, found in gains.items():
        value, low, high = curve.gain(np.array([10.0, 20, 40]), losses, weights, np.arange(30), times)
        assert found == pytest.approx((value, value - 2.1 * (value - low), value + 2.1 * (high - value)))


def test_squared_errors_of_numbers_are_in_their_variance() -> None:
    target, scores = np.array([[1.0], [-1.0], [0.0]]), [np.zeros((3, 1)), np.array([[0.5], [-1.0], [1.0]])]
    found = measure._of_numbers([5, 9], scores, target, np.arange(3), np.array([0, 1, 1]), np.eye(3, dtype=int), 1.0)
    assert [tuple(point)[:2] for point in found.curve] == [(5, pytest.approx(2 / 3)), (9, pytest.approx(1.25 / 3))]
    assert found.hardness.tolist() == [0.5, 0, 1]
    assert found.error.value == pytest.approx(1.25 / 3)
    assert found.losses.tolist() == [0.25, 0, 1]


# --- sharpness -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "low", "high"),
    [(0.5, 6, 15), (0.2, 1, 9), (0.8, 12, 20), (0.1, float("nan"), 6), (0.9, 15, float("nan"))],
)
def test_a_quantile_lies_between_two_order_statistics(q: float, low: float, high: float) -> None:
    found = sharpness.quantile_interval(np.arange(1.0, 21), q)
    assert found == pytest.approx((low, high), nan_ok=True)


def test_why_there_is_no_sharpness_is_told_apart() -> None:
    nothing = float("nan")
    told = [sharpness.reason_not_measured(np.array(y)) for y in ([nothing], [1.0, 1.0, nothing], [0.0, 1.0])]
    assert told[:2] == ["no image has a label", "all labels are the same"]
    assert told[2].startswith("wherever labels differ, the pictures are identical")
    assert sharpness.left_out_words(0) == ""
    assert sharpness.left_out_words(1, 1).startswith(
        "1 pair of identical pictures with different labels (1 of blank ones) is left"
    )
    assert "are left out: with them the" in sharpness.left_out_words(2)


def test_pairs_of_one_picture_with_two_labels_are_counted() -> None:
    content = np.array([4, 4, 4, 7, 7, 9, 9, 9])
    y = np.array([0.0, 1.0, 1.0, 0.0, np.nan, 1, 2, 3])
    assert sharpness.identical_pairs(content, y) == 5


# --- distinct images -----------------------------------------------------------------------------------------------------


def test_an_image_without_a_label_is_a_row_of_its_own_and_unlike_any_other() -> None:
    images = pd.DataFrame({"image": range(3), "pixels": ["p", "q", "q"], "y": [0.0, np.nan, 0.0]})
    rows = distinct_rows(images)
    assert rows.row.tolist() == [0, 1, 2]
    assert rows.primary.tolist() == [True, True, False]
    assert duplicate_of(rows).tolist() == [0, 1, 1]


@pytest.mark.parametrize("k", [1, 2, 3, 5, 12])
def test_neighbours_of_images_are_the_nearest_others_with_copies_at_distance_nought(k: int) -> None:
    place = {"a": 0.0, "b": 1.0, "c": 3.0, "d": 7.0}
    pixels = np.array(list("bacabaabdc"), object)
    y = np.array([0, 1, 0, 0, 0, 0, np.nan, 1, 0, 0])
    rows = distinct_rows(pd.DataFrame({"image": 10 + np.arange(10), "pixels": pixels, "y": y}))
    primary = np.nonzero(rows.primary)[0]
    at = np.array([place[name] for name in pixels])
    near_row, near_d2 = np.full((10, max(k, 4)), EMPTY, np.int32), np.full((10, max(k, 4)), np.inf)
    for i in range(10):
        others = [row for row in primary if rows.pixels[row] != pixels[i]]
        others.sort(key=lambda row: (abs(place[rows.pixels[row]] - at[i]), row))
        near_row[i, : len(others)] = others
        near_d2[i, : len(others)] = [(place[rows.pixels[row]] - at[i]) ** 2 for row in others]
    neighbour, distance = image_neighbours(rows, np.arange(10), near_d2, near_row, k)
    for i in range(10):
        wanted = sorted((abs(at[j] - at[i]), 10 + j) for j in range(10) if j != i)[:k]
        assert neighbour[i].tolist() == [j for _, j in wanted] + [-1] * (k - len(wanted))
        np.testing.assert_array_equal(distance[i], [d for d, _ in wanted] + [np.nan] * (k - len(wanted)))


def test_an_only_image_has_no_neighbours() -> None:
    rows = distinct_rows(pd.DataFrame({"image": [0], "pixels": ["p"], "y": [0.0]}))
    empty = np.full((1, 2), EMPTY, np.int32)
    neighbour, distance = image_neighbours(rows, np.array([0]), np.full((1, 2), np.inf), empty, 3)
    assert neighbour.tolist() == [[-1, -1, -1]]
    assert np.isnan(distance).all()

"""Small functions against what they say they compute, by hand or by loops: bounds that no audit's test would see moved."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from dataprops.checks import data_docs
from dataprops.distances.kernel import EMPTY
from dataprops.findings.without_copies import dimension_without_copies
from dataprops.laws import calibrations, forecast
from dataprops.laws.change import alarm_score, preprocessing_differs
from dataprops.probe import curve, measure, space
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
    assert few == "it needs 20 labelled, readable images, there are 19"
    told = [
        measure.reason_not_applicable(numbers, groups, numeric=True)
        for numbers, groups in ((y, one_each % 4), (y, one_each % 3), (np.ones(20), one_each))
    ]
    assert told == [None, *["the numbers are constant, or there are too few groups"] * 2]
    reason = "it needs two classes with images in 4 groups each "
    reason += "(a group is a patient, an image without one, or a set of copies), there"
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


def fitted(**known: Any) -> Any:
    """What the probe's results are made of, as far as they use it."""
    return measure.Fitted(**dict.fromkeys(measure.Fitted._fields) | known)  # type: ignore[arg-type]


def test_errors_margins_and_confusion_are_those_of_the_largest_size() -> None:
    y, group, folds = np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), np.array([0, 1, 0, 1])
    small = np.array([[0.5, 0.5]] * 4)
    large = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.125, 0.875]])
    weights = np.array([[1, 1, 1]])
    images = {"y": y, "leak_group": group, "folds": folds}
    found = measure._of_classes(fitted(sizes=[10, 20], probabilities=[small, large], **images), weights, 1.0)
    assert found.confusion is not None
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert tuple(found.error) == (0.5, 0.5, 0.5)
    assert [tuple(point) for point in found.curve] == [
        (10, 0.5, pytest.approx(np.log(2))),
        (20, 0.5, pytest.approx(-np.log([0.75, 0.25, 0.5, 0.875]).mean())),
    ]
    assert found.hardness.tolist() == [-0.5, 0.5, 0, -0.75]
    right = measure._of_classes(fitted(sizes=[20], probabilities=[large[[0, 0, 3, 3]]], **images), weights, 1.0)
    assert tuple(right.error) == (0, 0, pytest.approx(1 - 0.025 ** (1 / 3)))
    reason = "the reference classifier makes {}; measuring the gain from more images requires 10"
    assert (right.curve[0].error, right.losses[0]) == (0, -np.log(0.75))
    assert right.withheld == reason.format("no held-out error")
    assert found.withheld == reason.format("2 held-out errors")
    assert measure._gains([1], np.ones((1, 1)), 1, weights, group, 1.0)[1] == reason.format("1 held-out error")
    few = measure._gains([1, 2], np.ones((1, 1)), 10, weights, group, 1.0)[1]
    assert few == "there are too few images for a learning curve: it needs three sizes, there are 2"


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
    images = {"leak_group": np.arange(3), "folds": np.array([0, 1, 1])}
    found = measure._of_numbers(fitted(sizes=[5, 9], scores=scores, target=target, **images), np.eye(3, dtype=int), 1.0)
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


# --- a space of features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numeric", [False, True])
def test_a_space_is_what_loops_over_all_pairs_say(numeric: bool) -> None:
    rng = np.random.default_rng(0)
    x = 10 * rng.normal(size=(60, 3))
    x[[7, 20, 21]] = x[[3, 3, 8]]  # copies
    x[11] = x[4] + 2e-4
    x[0] = x[59] + 1e-4  # the first row and the last one
    y = rng.integers(0, 3, 60).astype(float)
    y[[3, 7, 20]], y[5], y[[0, 59]] = [0, 1, 2], np.nan, [0, 1]
    found = space.measure_space(x, y, numeric=numeric, k=5, sampling=space.Sampling(40, 3, 9))
    apart = np.sqrt(((x[:, None] - x) ** 2).sum(-1))
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(found.nearest, apart.min(1), atol=1e-12)

    def sharpest(inside: np.ndarray) -> np.ndarray:
        gap = np.abs(y[inside, None] - y[inside]) if numeric else 1.0 * (y[inside, None] != y[inside])
        gap[np.isnan(y[inside, None]) | np.isnan(y[inside])] = np.nan
        between = apart[np.ix_(inside, inside)]
        slopes = np.where((between > 0) & (gap > 0), gap / np.maximum(between, 1e-30), np.nan)
        known = ~np.isnan(slopes).all(1)
        return np.where(known, np.nanmax(np.where(known[:, None], slopes, 0), axis=1), np.nan)

    everything = np.arange(60)
    np.testing.assert_allclose(found.sharpness, sharpest(everything), rtol=1e-9)
    drawn = [np.nanmax(sharpest(sample)) for sample in sharpness.draw_samples(60, 40, 3, 9)]
    assert (found.m, found.draws) == (40, pytest.approx(drawn))
    whole = space.measure_space(x, y, numeric=numeric, k=5, sampling=space.Sampling(60, 3, 9))
    assert (whole.m, whole.draws) == (60, pytest.approx([np.nanmax(found.sharpness)] * 3))
    assert (found.sharpest.a[0], found.sharpest.b[0]) == (0, 59)
    np.testing.assert_allclose(found.sharpest.distance, apart[found.sharpest.a, found.sharpest.b])
    gaps = np.abs(y[found.sharpest.a] - y[found.sharpest.b]) if numeric else 1.0
    assert (np.diff(gaps / found.sharpest.distance) <= 0).all()
    assert len(set(zip(found.sharpest.a, found.sharpest.b, strict=True))) == len(found.sharpest.a) > 20

    distinct = np.setdiff1d(everything, [7, 20, 21])
    assert (found.features, found.distinct) == (3, 57)
    assert found.ratio == pytest.approx((1 / (2 * 4 * 57)) ** (1 / found.estimates["mle"].value))
    fifth = dict(zip(distinct, np.sort(apart[np.ix_(distinct, distinct)], axis=1)[:, 4], strict=True))
    wanted = [(0.0, 3, 7), (0.0, 3, 20), (0.0, 8, 21)]
    wanted += sorted(
        (apart[i, j], i, j)
        for i in distinct
        for j in distinct
        if i < j and apart[i, j] <= found.ratio * min(fifth[i], fifth[j])
    )
    assert len(wanted) >= 5
    assert list(zip(found.near.a, found.near.b, strict=True)) == [(i, j) for _, i, j in wanted]
    np.testing.assert_allclose(found.near.distance, [d for d, _, _ in wanted], atol=1e-9)


def test_a_space_of_too_few_vectors_has_copies_alone() -> None:
    x = np.array([[0.0], [-0.0], [1.0], [2.0]])
    found = space.measure_space(x, np.full(4, np.nan), k=5)
    assert np.isnan(found.ratio)
    assert (found.near.a.tolist(), found.near.b.tolist(), found.near.distance.tolist()) == ([0], [1], [0])
    assert np.isnan(found.sharpness).all()
    assert (found.draws, found.sharpest.a.tolist()) == ([0.0] * 20, [])


# --- forecasts -----------------------------------------------------------------------------------------------------------


def line(**given: Any) -> Any:
    """A law with slopes 0.5 and 0.25, of five sets that were each left out."""
    own = {
        "intercept": 2.0,
        "slopes": {"log_n_per_dimension": 3.0, "log_sharpness": 0.25},
        "intercepts": {"net": 2.0},
        "residuals": {f"set {i}": [i / 10, -i / 10] for i in range(5)},
        "ranges": {"n_train": (100, 1000)},
        "slope_low": {"log_n_per_dimension": 2.0},
        "slope_high": {"log_n_per_dimension": 4.0},
        "clearly": True,
        "verdict": "",
    }
    return SimpleNamespace(**own | given)


MEASURED = {"n_train": 500, "d_data": 12.0, "k_f": 0.02, "m": 500, "classes": 3}


@pytest.fixture
def law(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The law above, in force for the numbers above."""
    own = line()
    monkeypatch.setattr(forecast, "_loss_line", lambda *given: (own, MEASURED, ""))
    monkeypatch.setattr(forecast, "_basis", lambda _, line, where, each: f"{where}; {each}")
    monkeypatch.setattr(forecast, "_score", lambda *given: None)
    return own


def test_a_loss_is_forecast_by_the_line_and_the_misses_of_sets_left_out(law: Any) -> None:
    log_loss = 2 - 3 * np.log(500) / 12 + 0.25 * np.log(0.02)
    calibration: Any = SimpleNamespace(id="c")
    told = forecast.expected_loss({}, np.empty(0), calibration)
    assert (told.value, told.low, told.high) == pytest.approx(tuple(np.exp(log_loss + x) for x in (0, -0.4, 0.4)))
    assert told.level == pytest.approx(5 / 6)
    law.intercepts = {"one": 1.5, "two": 2.5}
    each = "each network: " + ", ".join(
        f"{name} {np.exp(log_loss + by):.3g}" for name, by in (("one", -0.5), ("two", 0.5))
    )
    assert each in forecast.expected_loss({}, np.empty(0), calibration).basis
    law.residuals = {f"set {i}": [0.1] for i in range(4)}
    told = forecast.expected_loss({}, np.empty(0), calibration)
    assert (told.low, told.high, told.level) == (None, None, None)


@pytest.mark.parametrize("free", [True, False])
def test_images_for_a_loss_follow_the_line_and_end_where_loss_and_slope_may_lie(law: Any, free: bool) -> None:
    if not free:
        law.slope_low = law.slope_high = {"log_n_per_dimension": None}
    log_loss = 2 - 3 * np.log(500) / 12 + 0.25 * np.log(0.02)
    told = forecast.images_for_loss({}, np.empty(0), cast("Any", SimpleNamespace(id="c")), np.exp(log_loss - 0.2))
    ends = [500 * np.exp(12 * gap / slope) for gap in (-0.2, 0.6) for slope in ((2, 3, 4) if free else (3,))]
    assert told.value == pytest.approx(500 * np.exp(12 * 0.2 / 3))
    assert (told.low, told.high) == pytest.approx((min(ends), max(ends)))
    assert told.level == pytest.approx(5 / 6)
    assert ("does not include the uncertainty of the slope" in told.basis) is not free


def test_images_needed_are_one_at_least_and_none_where_the_slope_does_not_help() -> None:
    assert forecast._needed(100, 2, 1.0, 4.0) == pytest.approx(100 * np.exp(0.5))
    assert forecast._needed(100, 2, -30.0, 4.0) == 1
    assert forecast._needed(100, 2, 1.0, 0.0) == forecast._needed(1, 700, 1.0, 1.0) == np.inf
    assert forecast._needed(100, 2, -1.0, 0.0) == forecast._needed(100, 2, 0.0, -1.0) == 1
    assert [forecast._count(images) for images in (1.0, 149.0, 1451.0, 1e9, 1.1e9)] == [
        "1",
        "150",
        "1,500",
        "1,000,000,000",
        "more than a billion",
    ]


@pytest.mark.parametrize(
    ("value", "low", "high", "told"),
    [
        (200.0, 100.0, 1e9, "take 200 images of this kind (90 % 100 to 1,000,000,000); the dataset has 150."),
        (
            150.0,
            100.0,
            2e9,
            "expected already: 150 of the 150 images are expected to suffice (90 % from 100, with no finite upper bound",
        ),
        (150.0, None, None, "expected already: 150 of the 150 images are expected to suffice (90 %)."),
        (
            2e9,
            1e9,
            2e9,
            "is expected to take more than a billion images of this kind (90 % from 1,000,000,000, with no",
        ),
        (
            2e9,
            1.1e9,
            2e9,
            "is not reachable by more data of this kind: even the favourable end of the 90 % is beyond a",
        ),
    ],
)
def test_images_needed_are_told_against_those_there_are(value: float, low: Any, high: Any, told: str) -> None:
    assert told in forecast._needed_words(0.5, 150, value, low, high, "90 %")


def test_an_interval_is_the_largest_miss_of_few_sets_and_a_quantile_of_many() -> None:
    misses = {f"set {i}": [float(i)] for i in range(1, 40)}
    assert forecast.miss_quantile(misses) == (38.0, 0.95)  # 0.95 (1 + 1/39) is 38 of 39 sets
    few = dict(list(misses.items())[:9])
    assert forecast.miss_quantile(few) == forecast.miss_quantile(few | {"none": []}) == (9.0, 0.9)
    assert forecast._interval_words(line(residuals=misses), (38.0, 0.95)) == (
        "95 % interval",
        "interval: the 95 % quantile of the leave-one-out errors of 39 datasets",
    )
    called, where = forecast._interval_words(line(), (0.4, 5 / 6))
    assert called == "83 % interval"
    assert where == (
        "interval: the largest leave-one-out error among 5 datasets, expected to cover 83 % of new datasets"
    )


def test_a_law_wants_positive_numbers_and_samples_of_the_papers_size() -> None:
    assert forecast._missing_in(MEASURED, ["n_train", "k_f"]) is None
    for missing in (None, 0.0, float("nan")):
        assert forecast._missing_in(MEASURED | {"k_f": missing}, ["k_f"]) == "the audit has no label sharpness"
    most = forecast.PAPER_SAMPLE
    assert forecast._missing_in(MEASURED | {"m": most}, []) is None
    assert f"this audit has {most + 1}:" in (forecast._missing_in(MEASURED | {"m": most + 1}, []) or "")


def test_a_number_outside_of_the_calibrations_is_an_extrapolation() -> None:
    inside = [forecast._caveat(line(), MEASURED | {"n_train": n, "m": 1000}) for n in (100, 1000)]
    assert inside == ["", ""]
    assert "the number of images 99 is outside the calibration's 100 to 1000." in forecast._caveat(
        line(), MEASURED | {"n_train": 99, "m": 99}
    )
    assert forecast._caveat(line(), MEASURED | {"n_train": None}) == ""
    assert "samples of 499 images" in forecast._caveat(line(), MEASURED | {"m": 499})
    assert forecast._each(line(), {"net": 1.0}) == ""
    two = line(intercepts={"net": 1.0, "other": 2.0})
    assert forecast._each(two, {"net": 1.0, "other": 0.12345}) == "each network: net 1, other 0.123; "


# --- changes, and what expectations saw ----------------------------------------------------------------------------------


def test_an_alarm_is_scored_by_the_table_of_real_sets() -> None:
    with (files("dataprops.laws") / "calibration" / "probe" / "changes.csv").open(encoding="utf-8") as file:
        sets = pd.read_csv(file)
    assert alarm_score() == {
        "sources": len(sets),
        "halves": sets["halves"].sum(),
        "false_alarms": sets["alarms"].sum(),
        "flips_found": sets["flipped_10_alarm"].sum(),
        "resolution_found": sets["resolution_lost_alarm"].sum(),
    }


def test_audits_from_before_windows_had_the_automatic_one() -> None:
    now = {"preprocess": {"size": 64, "window": "auto", "range": None}}
    assert preprocessing_differs({"preprocess": {"size": 64}}, now) is None
    told = preprocessing_differs({"preprocess": {"size": 32}}, now)
    assert told == "the previous audit has size 32, this one 64: comparisons require the same preprocessing"


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (None, "–"),
        ({"observed_value": 0.5, "element_count": 1}, "observed 0.5; 1 value"),
        ({"element_count": 1200, "unexpected_count": 0}, "1,200 values"),
        ({"unexpected_count": 3}, "3 unexpected (–)"),
        (
            {
                "unexpected_count": 1500,
                "unexpected_percent": 12.345,
                "partial_unexpected_list": [*"<bcdefghijklmnopqrstu"],
            },
            "1,500 unexpected (12 %); first: &lt;, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t",
        ),
    ],
)
def test_what_an_expectation_saw_is_told_in_words(seen: Any, words: str) -> None:
    assert data_docs._observed({"result": seen}) == words


def test_a_suite_is_met_where_all_of_its_expectations_are_and_what_failed_comes_first(tmp_path: Path) -> None:
    config = {
        "type": "expect_x",
        "kwargs": {"batch_id": "b", "column": "é"},
        "meta": {"check": "a check", "severity": "info"},
    }
    good, bad = {"success": True, "expectation_config": config}, {"success": False}
    assert data_docs._row(good) == (
        '<tr><td><span class="passed">passed</span></td><td>a check<br><code>expect_x{&quot;column&quot;: &quot;é&quot;}</code></td>'
        "<td>–</td><td>info</td></tr>"
    )
    told = data_docs._row({"success": True, "expectation_config": config | {"description": "told"}})
    assert "<td>told<br>" in told
    for _ in range(2):  # where there are pages already they are written anew
        index = data_docs.write_docs(tmp_path / "docs", {"one": [good, bad], "two": [good]}).read_text(encoding="utf-8")
    assert '>one</a></td><td><span class="failed">failed</span></td><td>1 of 2</td>' in index
    assert '>two</a></td><td><span class="passed">passed</span></td><td>1 of 1</td>' in index
    page = (tmp_path / "docs" / "validations" / "one.html").read_text(encoding="utf-8")
    assert 0 < page.index('class="failed"') < page.index('class="passed"')


@pytest.mark.parametrize(
    "peaks", [[255] * 19 + [0], [255] * 18 + [0] * 2, [], [254] * 20, [calibrations.FULL_PEAK] * 20]
)
def test_scaling_to_the_peak_changes_nothing_where_nearly_all_reach_it(peaks: list[int]) -> None:
    key = calibrations.Preprocess(64, 1, "per-image-max").key
    calibration: Any = SimpleNamespace(id="c", preprocess=[key])
    record = {"labels": {"kind": "classes"}, "preprocess": {"size": 64, "channels": 1, "scale": "full-range"}}
    share = np.mean(np.asarray(peaks) >= calibrations.FULL_PEAK) if peaks else 0.0
    reason = calibrations.reason_not_applicable(calibration, record, np.asarray(peaks))
    assert (reason is None) == (share >= calibrations.FULL_FRACTION)
    narrow = record | {"preprocess": record["preprocess"] | {"range": (0, 200)}}
    assert calibrations.reason_not_applicable(calibration, narrow, np.full(20, 255)) is not None


# --- the dimension without near-copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("images", [49, 50])
def test_the_dimension_without_copies_takes_fifty_images_of_which_each_has_its_neighbours_left(images: int) -> None:
    apart = np.sort(np.random.default_rng(0).uniform(0.4, 0.8, (images, 6)), axis=1)
    rows = [(i, (i + j + 1) % images, apart[i, j]) for i in range(images) for j in range(6 if i else 5)]
    rows += [(i, images, 0.2) for i in range(images)] + [(images, i, 0.2) for i in range(9)]  # the later one of a pair
    rows += [(i, (i + 8) % images, 0.0) for i in range(9)]  # no distance
    neighbours = pd.DataFrame(rows, columns=["image", "neighbour", "distance"])
    table = pd.DataFrame({"image": range(images + 1), "duplicate_of": range(images + 1)})
    found = dimension_without_copies(table, neighbours, pd.DataFrame({"a": [0], "b": [images]}))
    if images < 50:
        assert found is None
        return
    logs = np.log(apart[:, 4:5] / apart[:, :4])  # the first image has five neighbours, so each has five
    assert found is not None and found["without_copies_k"] == 5
    assert found["without_copies_mle"] == pytest.approx(4 / logs.sum(axis=1).mean())

"""The laws against closed forms, and their intervals against simulated truth."""

from __future__ import annotations

import io
import math
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from dataprops.checks.alerts import _told_predictions
from dataprops.laws.change import common_sample, loss_change, probe_change, sharpness_error
from dataprops.laws.gain import loss_if_doubled
from dataprops.laws.networks import doubling
from dataprops.laws.paper import (
    fit_penalty,
    images_needed,
    load_calibration,
    penalty_prediction,
    penalty_score,
    predict_penalty,
)
from dataprops.laws.prediction import Prediction
from dataprops.laws.predictions import PREDICTIONS, Measured, PredictionRow, predict, predicted_measures
from dataprops.report.terminal_laws import print_predictions
from dataprops.util.numbers import percent

BRIGHT = np.full(100, 255)
DIMENSIONS = st.floats(2, 60)
SIZES = st.integers(2_000, 100_000)
SHARPNESS = st.floats(1e-5, 1e-2)
SPREAD = st.floats(0.001, 0.2)


def audit(n=10_000, sharpness=5e-4, std=4e-5, d=20.0, se=0.1, *, m=1000, draws=20, created="2026-11-24T09:00:00+00:00"):
    """A summary as far as the laws look at it."""
    return {
        "run_id": "20261124T090000Z-abcd",
        "created": created,
        "n_images": n + 3,
        "n_unreadable": 3,
        "labels": {"kind": "classes", "classes": {"cat": n // 2, "dog": n - n // 2}},
        "preprocess": {"size": 224, "channels": 1, "range": [0, 255], "scale": "per-image-max"},
        "intrinsic_dimension": {"mle": {"value": d, "se": se}},
        "label_sharpness": {"sample": {"mean": sharpness, "std": std, "m": m, "draws": draws}},
    }


def edited(summary, *path, to):
    """A copy with the value at this path replaced."""
    copy = deepcopy(summary)
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to
    return copy


# --- the calibration -------------------------------------------------------------------------------------------------


def test_the_default_calibration_is_the_papers_eleven_sets():
    table = load_calibration()
    assert len(table) == table["dataset"].nunique() == 11
    assert table["domain"].value_counts().to_dict() == {"medical": 7, "natural": 4}
    assert table["label_sharpness"].between(0.62e-4, 3.45e-4).all()
    law = fit_penalty(table)
    assert f"{law.slope:.1e} {law.intercept:.1f}" == "9.6e+04 -5.6"
    assert table["label_sharpness"].corr(table["attack_loss_penalty"]) == pytest.approx(0.84, abs=0.005)
    assert (law.n, law.low_k, law.high_k) == (11, 0.62e-4, 3.45e-4)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-50, 50)), min_size=4, max_size=20), st.floats(-1, 2))
def test_the_line_and_its_interval_are_those_of_least_squares(points, at):
    k, penalty = np.array(points).T
    if np.ptp(k) < 1e-3:
        return
    law = fit_penalty(pd.DataFrame({"label_sharpness": k, "attack_loss_penalty": penalty}))
    design = np.stack([k, np.ones_like(k)], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, penalty, rcond=None)
    variance = ((penalty - design @ coefficients) ** 2).sum() / (len(k) - 2)
    row = np.array([at, 1.0])
    spread = math.sqrt(variance * (1 + row @ np.linalg.inv(design.T @ design) @ row))
    half = stats.t.ppf(0.95, len(k) - 2) * spread
    expected = np.array([row @ coefficients, row @ coefficients - half, row @ coefficients + half])
    scale = np.abs(expected).max() + np.abs(penalty).max() + 1e-9
    np.testing.assert_allclose(predict_penalty(law, at, level=0.9), expected, atol=1e-6 * scale)
    np.testing.assert_allclose((law.slope, law.intercept), coefficients, atol=1e-6 * scale / np.ptp(k))


def test_the_prediction_interval_holds_the_next_set_as_often_as_it_says():
    rng = np.random.default_rng(1)
    k = load_calibration()["label_sharpness"].to_numpy()
    hits = 0
    for _ in range(2000):
        penalty = 9e4 * k - 5 + rng.normal(0, 6, len(k))
        law = fit_penalty(pd.DataFrame({"label_sharpness": k, "attack_loss_penalty": penalty}))
        new = rng.uniform(0.5e-4, 4e-4)
        _, low, high = predict_penalty(law, new)
        hits += low <= 9e4 * new - 5 + rng.normal(0, 6) <= high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("rows", [0, 2, 5])
def test_no_line_goes_through_too_little(rows):
    with pytest.raises(ValueError, match="three datasets"):
        fit_penalty(pd.DataFrame({"label_sharpness": [1e-4] * rows, "attack_loss_penalty": range(rows)}))


# --- the penalty under attack ----------------------------------------------------------------------------------------


def test_the_penalty_follows_the_line_with_its_interval():
    prediction = penalty_prediction(audit(sharpness=2.61e-4))
    assert prediction.withheld is None
    assert prediction.unit == "nats"
    law = fit_penalty(load_calibration())
    assert (prediction.value, prediction.low, prediction.high) == predict_penalty(law, 2.61e-4)
    assert prediction.significant
    for words in ("19 nats", "4 to 34"):
        assert words in prediction.sentence
    for word in ("lower bound", "extrapolation", "two classes"):
        assert word not in prediction.sentence
    assert "11 datasets" in prediction.basis


@pytest.mark.parametrize(
    "path, value, reason",
    [
        (("preprocess", "size"), 32, "--size 224 --scale per-image-max"),
        (("preprocess", "range"), [0, 1], "0 to 255"),
        (("preprocess", "scale"), "full-range", "--scale per-image-max"),
        (("labels", "kind"), "numbers", "--labels classes"),
        (("labels", "kind"), "none", "classes"),
        (("label_sharpness", "sample", "mean"), None, "no label sharpness"),
        (("label_sharpness", "sample", "m"), 2000, "--sample 1000"),
    ],
)
def test_the_penalty_is_withheld_outside_of_the_calibration(path, value, reason):
    prediction = penalty_prediction(edited(audit(sharpness=2e-4), *path, to=value))
    assert reason in prediction.withheld
    assert prediction.value is prediction.low is prediction.high is prediction.significant is None
    assert not prediction.sentence


@pytest.mark.parametrize("share, allowed", [(0.94, False), (0.95, True), (1.0, True)])
def test_images_that_reach_the_top_need_no_scaling(share, allowed):
    full_range = edited(audit(sharpness=2e-4), "preprocess", "scale", to="full-range")
    peaks = np.where(np.arange(100) < round(100 * share), 250, 249)
    prediction = penalty_prediction(full_range, peaks)
    assert (prediction.withheld is None) == allowed


def test_a_small_set_gives_a_lower_bound_and_an_unusual_one_an_extrapolation():
    assert "lower bound" in penalty_prediction(audit(sharpness=2e-4, m=400)).sentence
    assert "extrapolation" in penalty_prediction(audit(sharpness=0.61e-4)).sentence
    assert "extrapolation" in penalty_prediction(audit(sharpness=3.46e-4)).sentence
    three = edited(audit(sharpness=2e-4), "labels", "classes", to={"a": 1, "b": 1, "c": 1})
    assert "two classes each, this one 3" in penalty_prediction(three).sentence


def test_a_fall_of_the_loss_is_not_told_as_a_rise():
    prediction = penalty_prediction(audit(sharpness=1e-5))
    assert prediction.value < 0
    assert "by 0 nats (95 % interval 0 to" in prediction.sentence


# --- the change since the previous audit -----------------------------------------------------------------------------


@given(SIZES, st.floats(0.92, 1.08), SHARPNESS, SHARPNESS, DIMENSIONS, DIMENSIONS, SPREAD, SPREAD)
def test_the_change_is_the_laws_and_the_way_back_its_opposite(n1, grown, k1, k2, d1, d2, s1, s2):
    n2 = round(n1 * grown)
    old, new = audit(n1, k1, k1 * s1, d1, 0.1), audit(n2, k2, k2 * s2, d2, 0.2)
    forth, back = loss_change(old, new), loss_change(new, old)
    assert forth.value == pytest.approx(math.log(k2 / k1) - math.log(n2) / d2 + math.log(n1) / d1, abs=1e-9)
    assert forth.low < forth.value < forth.high
    assert (back.value, back.low, back.high) == pytest.approx((-forth.value, -forth.high, -forth.low), abs=1e-9)
    assert forth.significant == back.significant == (forth.low > 0 or forth.high < 0)
    assert ("no more than sampling noise" in forth.sentence) == (not forth.significant)


def test_the_interval_is_that_of_simulated_errors():
    """Of a set so large that Student's t is normal."""
    n, draws = 10_000_000, 20
    rng = np.random.default_rng(2)

    def term(k, std, d, se):
        sharpness = k + rng.normal(0, std / math.sqrt(draws), 400_000)
        return np.log(sharpness) - math.log(n) / rng.normal(d, se, 400_000)

    change = term(5.5e-4, 5e-5, 18.5, 0.12) - term(5e-4, 3e-5, 18.0, 0.15)
    prediction = loss_change(audit(n, 5e-4, 3e-5, 18.0, 0.15), audit(n, 5.5e-4, 5e-5, 18.5, 0.12))
    tolerance = 0.01 * (prediction.high - prediction.low)
    np.testing.assert_allclose((prediction.low, prediction.high), np.quantile(change, [0.025, 0.975]), atol=tolerance)


def coverage(n: int, m: int, error, splits: int = 250, draws: int = 20) -> float:
    """Share of pairs of sets, points of two classes in eight dimensions, whose sharpness at m differs by less than the error says."""
    rng = np.random.default_rng(3)
    y = np.arange(n) % 2
    apart = np.nonzero(y[:, None] < y[None])
    held = 0
    for _ in range(splits):
        ends = []
        for _ in range(2):
            x = rng.normal(size=(n, 8))
            d = np.linalg.norm(x[apart[0]] - x[apart[1]], axis=1)
            near = np.argsort(d)[: 60 * (n // m) ** 2]
            a, b = apart[0][near], apart[1][near]
            inside = np.zeros((draws, n), bool)
            for draw in inside:
                draw[rng.permutation(n)[:m]] = True
            k = 1 / d[near][(inside[:, a] & inside[:, b]).argmax(axis=1)]
            ends.append((k.mean(), error(k.std(ddof=1), k.mean(), m, n, draws)))
        held += abs(math.log(ends[0][0] / ends[1][0])) <= math.hypot(ends[0][1], ends[1][1])
    return held / splits


@pytest.mark.parametrize("n, m", [(160, 40), (100, 50)])
def test_the_spread_over_draws_covers_the_error_of_a_sharpest_pair(n, m):
    assert 0.90 <= coverage(n, m, sharpness_error) <= 0.99


def test_the_standard_error_of_draws_from_one_set_would_not_cover_it():
    assert coverage(100, 50, lambda std, mean, m, n, draws: 1.96 * std / mean / math.sqrt(draws)) < 0.7


def test_the_error_of_a_large_set_is_that_of_the_draws():
    assert sharpness_error(0.5, 5.0, 1000, 10**9, 20) == pytest.approx(1.96 * 0.1 / math.sqrt(20), rel=1e-4)
    shared = 0.5**1.5
    assert sharpness_error(0.5, 5.0, 1000, 2000, 20) == pytest.approx(
        1.959964 * 0.1 * math.sqrt(shared / (1 - shared) + 0.05)
    )


def test_an_unchanged_set_has_not_changed():
    prediction = loss_change(audit(created="2026-05-03T09:00:00+00:00"), audit())
    assert prediction.value == 0
    assert not prediction.significant
    assert prediction.sentence.startswith(
        "With the changes since the audit of 3 May, the expected test loss changes by 0 %"
    )
    assert "no more than sampling noise" in prediction.sentence


def test_the_sentence_tells_what_came_and_when():
    old = audit(created="2025-12-31T09:00:00+00:00")
    grown = loss_change(old, audit(n=10_900)).sentence
    assert grown.startswith("With the images added since the audit of 31 December 2025, ")
    assert "With the images removed" in loss_change(old, audit(n=9_100)).sentence
    sharper = loss_change(old, audit(sharpness=9e-4))
    assert sharper.significant
    assert "+80 %" in sharper.sentence
    assert "more than sampling noise; the dataset has become harder to learn from" in sharper.sentence
    assert "no more" not in sharper.sentence
    assert "easier" in loss_change(audit(sharpness=9e-4), audit()).sentence


@pytest.mark.parametrize(
    "path, value, reason",
    [
        (("preprocess", "size"), 32, "size 32, this one 224"),
        (("preprocess", "channels"), 3, "channels 3"),
        (("preprocess", "scale"), "full-range", "scale full-range"),
        (("labels", "kind"), "numbers", "numbers"),
        (("labels", "classes"), {"cat": 1}, "classes"),
        (("label_sharpness", "sample", "m"), 500, "--sample"),
        (("label_sharpness", "sample", "mean"), None, "no label sharpness"),
        (("label_sharpness", "sample", "mean"), 0.0, "no label sharpness"),
        (("intrinsic_dimension",), {}, "no maximum-likelihood"),
        (("intrinsic_dimension", "mle", "value"), None, "no maximum-likelihood"),
        (("intrinsic_dimension", "mle", "se"), None, "no standard error"),
    ],
)
def test_audits_that_do_not_compare_give_no_number(path, value, reason):
    prediction = loss_change(edited(audit(), *path, to=value), audit())
    assert reason in prediction.withheld
    assert prediction.value is prediction.low is prediction.high is None


@pytest.mark.parametrize("n, told", [(11_000, True), (11_001, False), (9_000, True), (8_999, False)])
def test_sets_whose_n_differs_by_more_than_a_tenth_do_not_compare(n, told):
    prediction = loss_change(audit(), audit(n=n))
    assert (prediction.withheld is None) == told
    assert told or "10,000 images, this one" in prediction.withheld


def test_the_first_audit_and_a_set_no_larger_than_its_samples_give_no_number():
    assert "first audit" in loss_change(None, audit()).withheld
    assert "--sample 500" in loss_change(audit(n=1000, std=0.0), audit(n=1000, std=0.0)).withheld


def test_a_spread_that_no_draw_shows_is_borrowed_not_taken_as_certainty():
    full = loss_change(audit(n=5000, std=4e-5), audit(n=5000, std=4e-5))
    borrowed = loss_change(audit(n=5000, std=4e-5), audit(n=5000, std=0.0))
    assert (borrowed.low, borrowed.high) == pytest.approx((full.low, full.high))


def with_samples(n, **sizes):
    return edited(
        audit(n=n, m=min(n, 1000)),
        "label_sharpness",
        "samples",
        to={size[1:]: {"mean": mean, "std": mean / 20, "draws": 20} for size, mean in sizes.items()},
    )


def test_sets_compare_at_the_largest_sample_that_shows_a_spread():
    sizes = {"m100": 1e-4, "m250": 2e-4, "m500": 3e-4}
    large, thousand, small = with_samples(5000, **sizes), with_samples(1000, **sizes), with_samples(120, m100=1e-4)
    assert common_sample(large, large) == 1000
    assert common_sample(large, thousand) == common_sample(thousand, large) == 250
    assert common_sample(small, small) == common_sample(large, small) == 100
    assert common_sample(audit(n=2000), audit(n=2000)) == 1000
    assert common_sample(with_samples(100), with_samples(100)) is None
    other = with_samples(1000, **(sizes | {"m250": 4e-4}))
    assert loss_change(thousand, other).value == pytest.approx(math.log(2))


# --- more images -----------------------------------------------------------------------------------------------------


def test_the_gain_of_doubling_is_the_probes_or_withheld_with_the_reason():
    told = loss_if_doubled({"gain_if_doubled": {"value": 0.3, "low": 0.1, "high": 0.4}})
    assert (told.value, told.low, told.high, told.significant) == (-0.3, -0.4, -0.1, True)
    assert "lower the log loss of the reference classifier by about 30 % (95 % interval 10 % to 40 %)" in told.sentence
    score = doubling()
    for miss in (
        score["miss"],
        score["baseline_miss"],
        score["elsewhere"]["miss"],
        score["elsewhere"]["baseline_miss"],
    ):
        assert f" {math.exp(miss):.2f} " in told.sentence.replace(":", " ")
    assert told.sentence.endswith("there the curve is not distinguishable from the mean.")
    assert "  " not in told.sentence
    more = {"gain_if_doubled": {"value": 0.3, "low": 0.1, "high": 0.4}, "kind": "numbers"}
    told = loss_if_doubled(more | {"gain_if_quadrupled": {"value": 0.5, "low": 0.2, "high": 0.6}})
    assert "squared error of the reference regression by about 30 %" in told.sentence
    assert told.sentence.endswith(
        ", four times as many by about 50 % (20 % to 60 %)."
    )  # no network was trained for numbers
    flat = loss_if_doubled({"gain_if_doubled": {"value": -0.02, "low": -0.1, "high": 0.05}})
    assert "not lower" in flat.sentence
    assert not flat.significant
    few = loss_if_doubled({"gain_if_doubled": None, "withheld": "only 4 held-out errors"})
    assert (few.value, few.withheld) == (None, "only 4 held-out errors")
    assert "--no-probe" in loss_if_doubled(None, "left out with --no-probe").withheld


@given(DIMENSIONS, SHARPNESS, st.floats(0, 5), st.floats(0.05, 2))
def test_the_images_needed_reach_the_loss_under_the_law(d, sharpness, a, target):
    n = images_needed(d, sharpness, a, target)
    if 0 < n < math.inf:
        assert -math.log(n) / d + math.log(sharpness) + a == pytest.approx(math.log(target), abs=1e-6)


def test_halving_the_loss_at_dimension_11_takes_2048_times_the_images():
    assert images_needed(11, 1e-4, 12.0, 0.25) / images_needed(11, 1e-4, 12.0, 0.5) == pytest.approx(2**11)
    assert images_needed(60, 1.0, 20.0, 1e-9) == math.inf


@pytest.mark.parametrize(
    "share, text",
    [(0, "0 %"), (-1e-7, "0 %"), (0.0031, "+0.31 %"), (-0.0412, "-4.1 %"), (0.0996, "+10 %"), (2.5, "+250 %")],
)
def test_percentages_have_two_digits_and_no_negative_zero(share, text):
    assert percent(share, sign=True) == text


def test_records_are_plain_values():
    for prediction in (loss_if_doubled(None), loss_change(None, audit()), loss_change(audit(), audit())):
        record = prediction.as_dict()
        assert set(record) >= {"name", "value", "low", "high", "unit", "basis", "sentence", "withheld"}
        assert all(value is None or type(value) in (str, float, bool) for value in record.values())


def test_a_prediction_is_one_row_that_checks_alerts_and_terminal_follow(monkeypatch):
    """What the row's function gives is predicted, is a measure by the row's name, is told, and is headed by its title."""
    told = Prediction("drift", 0.5, 0.2, 0.8, sentence="It drifts.", basis="nothing", significant=True)
    row = PredictionRow("drift", "Drift of the set", lambda given: told, measure="predicted_drift")
    monkeypatch.setitem(PREDICTIONS, "drift", row)
    made = predict(Measured({}, np.array([255])), {"drift": row})
    assert made == [told]
    assert predicted_measures(made) == {"predicted_drift": 0.5, "predicted_drift_low": 0.2}
    (alert,) = _told_predictions(made, set())
    assert (alert.name, alert.measure, alert.sentence) == ("drift", "predicted_drift", "It drifts.")
    assert list(_told_predictions(made, {"predicted_drift_low"})) == []  # a check of it spoke already
    console = Console(record=True, width=80, file=io.StringIO())
    properties = {"n_train": 10_000, "d_data": 20.0, "k_f": 5e-4, "m": 1000}
    shown = audit() | {"dataset": "set", "properties": properties, "predictions": [told.as_dict()]}
    print_predictions(shown, console)
    assert "Drift of the set\nIt drifts." in console.export_text()


def test_the_interval_of_the_papers_sets_is_that_of_statsmodels():
    """Three lines of our own spare every audit the import; they hold against the library."""
    from statsmodels.regression.linear_model import OLS

    table = load_calibration()
    k = table["label_sharpness"].to_numpy(float)
    line = OLS(table["attack_loss_penalty"].to_numpy(float), np.column_stack([np.ones(len(k)), k])).fit()
    for sharpness in (k.min(), 2e-4, 2 * k.max()):
        frame = line.get_prediction(np.array([[1.0, sharpness]])).summary_frame(alpha=0.05)
        expected = frame[["mean", "obs_ci_lower", "obs_ci_upper"]].to_numpy()[0]
        np.testing.assert_allclose(predict_penalty(fit_penalty(table), sharpness), expected, rtol=1e-9)


# --- what predictions were worth -----------------------------------------------------------------------------------------


def test_scores_are_those_that_the_experiment_and_the_papers_table_give():
    """The curve misses doublings by 0.091, the mean of other sources by 0.112 (tests/benchmarks/truth.md); 6.6 nats, 11.4 (laws)."""
    told = doubling()
    assert (told["pairs"], told["sources"]) == (148, 11)
    assert told["miss"] == pytest.approx(0.091, abs=5e-4)
    assert told["baseline_miss"] == pytest.approx(0.112, abs=5e-4)
    assert told["gain"]["low"] > 0
    further = told["elsewhere"]  # against the calibration's mean change, on sets that it does not have
    assert further["sources"] >= 4
    assert further["gain"]["low"] < 0 < further["gain"]["high"]
    own = penalty_score()
    assert (round(own["rmse"], 1), round(own["baseline_rmse"], 1)) == (6.6, 11.4)


def changed(**values):
    return {"value": 0.2, "low": 0.1, "high": 0.3, "expected": 0.0, "withheld": None} | values


@pytest.mark.parametrize(
    ("change", "words", "significant"),
    [
        (changed(), "harder to learn, or its labels noisier", True),
        (changed(expected=0.15), "as expected from fewer images", False),
        (
            changed(value=-0.2, low=-0.3, high=-0.1, expected=-0.1),
            "as expected from more images of the same kind",
            False,
        ),
        (changed(value=-0.2, low=-0.3, high=-0.1), "easier to learn", True),
        (changed(low=-0.1), "no more than sampling noise", False),
    ],
)
def test_the_change_of_the_probe_is_told_beyond_what_the_number_of_images_explains(change, words, significant):
    before, now = audit(), audit(n=10_100)
    told = probe_change(change, before, now)
    assert words in told.sentence
    assert told.significant is significant
    assert told.score["false_alarms"] <= 0.05 * told.score["halves"]
    assert (told.score["flips_found"], told.score["sources"]) == (4, 6)
    assert probe_change({"withheld": "no probe"}, before, now).withheld == "no probe"
    assert "first audit" in probe_change(change, None, now).withheld

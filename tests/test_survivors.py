"""Mutants that once survived: each test states a boundary that no other test held, so that the mutant fails it."""

from __future__ import annotations

import os
import time
import uuid
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from dataprops.checks import open_alerts
from dataprops.checks.thresholds import load_thresholds
from dataprops.distances.allpairs import all_pairs, array_rows
from dataprops.distances.incremental import Contents, PreviousPass, update, usable
from dataprops.distances.plan import Plan, job_pairs, triangle_jobs
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.findings import small_class
from dataprops.findings.classes import class_sizes
from dataprops.laws import change, gain
from dataprops.laws.change import common_sample, loss_change, probe_change, sharpness_change
from dataprops.laws.gain import loss_if_doubled
from dataprops.probe import (
    activations,
    attack,
    calibrate,
    conjugate,
    curve,
    descriptors,
    feature_file,
    folds,
    paired,
    ridge,
    solve,
)
from dataprops.probe.bootstrap import bootstrap_weights, mean_interval, zero_events_high
from dataprops.probe.calibrate import cross_fitted, log_losses
from dataprops.probe.measure import usable_classes
from dataprops.probe.ridge import held_scores, targets
from dataprops.probe.solve import solve_all
from dataprops.probe.suspects import suspect_labels

WHOLE = Plan(10_000, 1024, 0)
LINE = np.arange(12, dtype=np.uint8)[:, None] * np.uint8(10)  # neighbours are 10 apart: squared 100


@pytest.mark.parametrize("plan", [WHOLE, Plan(5, 256, 0)], ids=["one tile", "several blocks"])
@pytest.mark.parametrize(("near2", "pairs"), [(99.0, 0), (100.0, 11), (399.0, 11), (400.0, 21)])
def test_a_pair_at_the_near_distance_itself_is_near(plan: Plan, near2: float, pairs: int) -> None:
    # with neighbours asked for, and without: then the near distance alone decides which pairs are looked at
    for k in (0, 2):
        assert all_pairs(array_rows(LINE), PassSpec(k, near2=near2), plan).near.count == pairs


def test_a_list_of_near_pairs_that_was_cut_is_not_built_on() -> None:
    spec = PassSpec(2, near2=100.0, near_limit=4)
    names = np.array([f"{i}" for i in range(12)], dtype=object)
    first = all_pairs(array_rows(LINE[:11]), spec, WHOLE)
    y, every = np.full(11, np.nan), np.ones(11, bool)
    known = PreviousPass(
        names[:11], y, every, first.state, *first.near.arrays(), first.near.count, spec, first.sketches
    )
    assert first.near.count > first.near.limit
    assert not usable(known, spec)
    rows = array_rows(LINE)
    result, full = (
        update(known, rows, Contents(names, np.arange(12, dtype=np.int32)), spec, WHOLE),
        all_pairs(rows, spec, WHOLE),
    )
    assert result.near.count == full.near.count == 11
    whole = known._replace(near_count=len(known.near_a))
    assert usable(whole, spec)
    assert not usable(whole, spec._replace(k=3))


@pytest.mark.parametrize(
    ("began", "told"),
    [("2026-01-01T10:00", False), ("2026-01-01T11:00", False), ("2026-01-01T11:01", True), (None, True)],
)
def test_a_run_that_began_before_or_when_the_last_audit_was_settled_is_made_good(began: str | None, told: bool) -> None:
    state = {"open": {}, "outbox": [], "settled": "2026-01-01T11:00"}
    after = open_alerts.with_failure(state, "chest", "It failed.", "r1", "2026-01-01T12:00", began=began)
    assert bool(after["open"]) == told
    assert bool(after["outbox"]) == told


def test_bounds_that_one_value_passes_are_taken_and_those_that_none_does_are_not(tmp_path) -> None:
    file = tmp_path / "thresholds.toml"
    file.write_text("[conflicts]\nmin = 3\nmax = 3\n")
    (check,) = [check for check in load_thresholds(file) if check.name == "conflicts"]
    assert (check.min, check.max) == (3.0, 3.0)
    file.write_text("[conflicts]\nmin = 3.5\nmax = 3\n")
    with pytest.raises(DatapropsError, match=r"min = 3\.5 above max = 3"):
        load_thresholds(file)


CRITICAL, WARNING = ({"name": "leaks", "severity": severity} for severity in ("critical", "warning"))


def test_the_same_alert_is_no_news_and_one_that_is_gone_is_not_open(tmp_path) -> None:
    store = tmp_path
    first = open_alerts.settle(store, "chest", [WARNING], "r1", "2026-01-01")
    assert [item["event"] for item in first] == [open_alerts.OPENED]
    assert open_alerts.settle(store, "chest", [WARNING], "r2", "2026-01-02") == first
    assert open_alerts.load_state(store, "chest")["open"]["leaks"]["since"] == "r1"
    assert len(open_alerts.settle(store, "chest", [CRITICAL], "r3", "2026-01-03")) == 2
    last = open_alerts.settle(store, "chest", [], "r4", "2026-01-04")
    assert [item["event"] for item in last[2:]] == [open_alerts.CLOSED]
    assert open_alerts.load_state(store, "chest")["open"] == {}


def test_a_receipt_goes_after_ninety_days_unless_its_news_still_waits(tmp_path) -> None:
    (waiting,) = open_alerts.settle(tmp_path, "chest", [WARNING], "r1", "2026-01-01")
    fresh, old, held = (str(uuid.UUID(int=1)), str(uuid.UUID(int=2)), waiting["id"])
    for news_id, days in ((fresh, 89.5), (old, 90.5), (held, 90.5)):
        open_alerts.write_receipt(tmp_path, "chest", news_id, "mail", "2026-01-01")
        then = time.time() - days * 86_400
        os.utime(open_alerts.receipts_folder(tmp_path, "chest") / f"{news_id}.json", (then, then))
    with open_alerts.sending(tmp_path, "chest"):
        pass
    left = {news_id for news_id in (fresh, old, held) if open_alerts.receipts(tmp_path, "chest", news_id)}
    assert left == {fresh, held}


def test_a_state_of_the_two_parts_that_it_needs_is_read_and_not_written_without_a_change(tmp_path) -> None:
    path = open_alerts.state_path(tmp_path, "chest")
    path.parent.mkdir(parents=True)
    path.write_text('{"outbox": [], "open": {}}')
    with open_alerts.changing(tmp_path, "chest") as state:
        assert state == {"open": {}, "outbox": []}
    assert path.read_text() == '{"outbox": [], "open": {}}'
    assert open_alerts.empty_state()["schema"] == 1


def chain(images: int) -> np.ndarray:
    return np.stack([np.arange(images - 1), np.arange(1, images)], axis=1)


NO_PAIR = np.empty((0, 2), np.int64)


def test_near_copies_chain_a_fifth_of_a_set_together_and_no_more() -> None:
    assert np.bincount(folds.leak_groups_of(100, None, NO_PAIR, chain(20))).max() == 20
    assert np.bincount(folds.leak_groups_of(100, None, NO_PAIR, chain(21))).max() == 1


@pytest.mark.parametrize(
    ("links", "pair", "far", "together"),
    [(8.0, 4.0, 8.0, True), (8.0, 4.1, 8.0, False), (2.1, 2.0, 64.0, True), (1.9, 0.5, 64.0, False)],
)
def test_a_chain_that_is_too_long_is_cut_at_half_the_distance_five_times(links, pair, far, together) -> None:
    near = np.concatenate([chain(40), [[60, 61]], [[70, 71]]])
    distance = np.r_[np.full(39, links), pair, far]
    unit = folds.leak_groups_of(100, None, NO_PAIR, near, distance)
    assert (unit[60] == unit[61]) == together
    assert unit[0] != unit[1]


def test_three_hundred_images_have_ten_folds_and_folds_of_even_classes_are_even_in_size() -> None:
    assert [folds.fold_count(n) for n in (300, 301)] == [10, 5]
    for seed in range(5):
        fold = folds.assign_folds(np.array([0] * 7 + [1] * 3), np.arange(10), 5, seed)
        assert np.bincount(fold).tolist() == [2] * 5


@pytest.mark.parametrize("folds_of", [2, 5])
def test_the_interval_of_a_change_is_the_bootstraps_widened_by_what_the_states_do_not_share(folds_of: int) -> None:
    rng = np.random.default_rng(0)
    before, after = rng.exponential(size=60), rng.exponential(size=80)
    partner = np.r_[np.arange(30), np.full(50, -1)]  # the image at place 0 is kept, too
    found = paired.change(
        paired.State(before, np.arange(60)), paired.State(after, np.arange(80)), partner, folds_of, seed=3
    )
    weights = bootstrap_weights(60 + 50, 3)
    ours = np.r_[np.arange(30), np.arange(60, 110)]  # images of before first, then what is new
    drawn = np.log(weights[:, ours] @ after / weights[:, ours].sum(1))
    drawn -= np.log(weights[:, :60] @ before / weights[:, :60].sum(1))
    value, wider = np.log(after.mean() / before.mean()), np.sqrt(1 + (80 / 140) * folds_of / (folds_of - 1))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx((value - wider * (value - low), value + wider * (high - value)))


def test_losses_of_nothing_are_a_floor_and_no_infinite_change() -> None:
    nothing, some = paired.State(np.zeros(20), np.arange(20)), paired.State(np.ones(20), np.arange(20))
    assert paired.change(nothing, some, np.arange(20), 5).value == pytest.approx(np.log(1e4))


def test_a_curve_of_two_points_explains_a_change_and_one_of_one_does_not() -> None:
    assert paired.expected_change([(100, 0.5), (200, 0.25)], 200, 100) == pytest.approx(np.log(2))
    assert paired.expected_change([(50, None), (100, 0.5), (200, 0.25)], 200, 100) == pytest.approx(np.log(2))
    for points, before, after in (([(100, 0.5)], 200, 100), ([(1, 2.0), (2, 1.0)], 0, 9), ([(1, 2.0), (2, 1.0)], 9, 0)):
        assert paired.expected_change(points, before, after) == 0.0


def test_refitted_losses_are_in_variances_whatever_the_unit_and_in_nats_of_the_classes_there_are() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    kernel, fold, y = x @ x.T / 3, np.arange(60) % 5, x[:, 0] + 0.1 * rng.normal(size=60)
    losses = paired.refitted_losses(kernel, y, fold, 1e-3, numeric=True)
    np.testing.assert_allclose(paired.refitted_losses(kernel, 40 * y + 7, fold, 1e-3, numeric=True), losses, rtol=1e-6)
    assert losses.min() >= 0
    assert losses.mean() < 0.1  # as good as known: 1 is the mean guessed, 4 the wrong sign
    classes = np.digitize(x[:, 0], [-0.5, 0.5])
    scores = held_scores(kernel, targets(classes, 3), fold, strengths=(1e-3,)).scores
    wanted = log_losses(cross_fitted(scores, classes, fold), classes)
    np.testing.assert_array_equal(paired.refitted_losses(kernel, classes, fold, 1e-3, numeric=False), wanted)


def summary(n: int, *samples: int) -> dict:
    drawn = {str(m): {"m": m, "mean": 1.0, "std": 0.1, "draws": 20} for m in samples}
    return {"n_images": n, "n_unreadable": 0, "label_sharpness": {"samples": drawn, "sample": drawn[str(samples[0])]}}


def test_sharpness_compares_at_samples_of_a_quarter_of_the_smaller_set() -> None:
    for n, m in ((400, 100), (399, 50), (350, 50)):
        assert common_sample(summary(n, 50, 100), summary(500, 50, 100)) == m


def test_an_audit_of_the_same_files_says_so_and_one_without_a_probe_why() -> None:
    now = {"n_images": 100, "n_unreadable": 0, "created": "2026-01-02T00:00:00+00:00", "run_id": "r2"}
    was = {**now, "created": "2026-01-01T00:00:00+00:00", "run_id": "r1"}
    same = probe_change(None, was, {**now, "probe": {}})
    assert (same.value, same.low, same.high, same.significant) == (0.0, 0.0, 0.0, False)
    assert "no more than sampling noise" in same.sentence
    without = probe_change(None, was, {**now, "probe_withheld": "there are no labels"})
    assert without.value is None
    assert "there are no labels" in without.withheld


def test_a_class_of_four_leak_groups_is_tried_and_one_of_three_is_not() -> None:
    y, leak_group = np.array([0] * 4 + [1] * 6 + [2] * 4), np.array([0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10])
    assert usable_classes(y, leak_group).tolist() == [0, 2]


def test_a_rare_class_is_spread_over_folds_where_leak_groups_hold_several_classes() -> None:
    leak_group = np.repeat(np.arange(5), [7, 4, 6, 3, 2])
    y = np.zeros(22, np.int64)
    y[[6, 19]] = 1
    fold = folds.assign_folds(y, leak_group, 2, 0)
    assert [np.bincount(fold[y == c]).tolist() for c in (0, 1)] == [[10, 10], [1, 1]]


@pytest.mark.parametrize("without", [0, 1, None])
def test_two_audits_of_which_one_has_no_sharpness_do_not_compare(without: int | None) -> None:
    audits = [
        summary(1000, 100)
        | {"preprocess": {}, "intrinsic_dimension": {"mle": {"value": 9.0, "se": 0.1}}, "run_id": "a"}
        for _ in range(2)
    ]
    for each in audits:
        each |= {"labels": {"kind": "classes", "classes": {"a": 1}}, "created": "2026-11-24T09:00:00+00:00"}
    if without is not None:
        audits[without]["label_sharpness"] = {"sample": {"m": 100, "mean": None, "std": None, "draws": 20}}
    withheld = loss_change(*audits).withheld
    assert withheld == (None if without is None else "there is no label sharpness to compare")


def test_a_class_of_which_no_image_can_be_read_has_the_size_nought_and_stands_last() -> None:
    images = pd.DataFrame(
        {"label": ["b", "a", "a", "c", None, "d"], "pixels": ["1", "2", "3", None, "4", "5"]},
    )
    assert list(class_sizes(images).items()) == [("a", 2), ("b", 1), ("d", 1), ("c", 0)]


def test_a_class_without_images_has_0_of_them_and_fails_a_bound_of_1():
    images = pd.DataFrame({"image": [0], "label": ["a"], "pixels": ["x"]})
    context = SimpleNamespace(kind="classes", images=images, empty_classes=["b"], fails=lambda value, check: value < 1)
    assert list(small_class.find(cast("Any", context))) == [((), 0, "Class b has no images at all.")]


def test_a_small_class_names_its_readable_images_and_their_number():
    images = pd.DataFrame({"image": [7, 8, 9, 4], "label": ["a", "c", "a", "a"], "pixels": ["x", "y", None, "z"]})
    context = SimpleNamespace(kind="classes", images=images, empty_classes=[], fails=lambda value, check: True)
    found = {told: (rows.tolist(), size) for rows, size, told in small_class.find(cast("Any", context))}
    assert found == {
        "Class a has only 2 readable images.": ([7, 4], 2),
        "Class c has only 1 readable image.": ([8], 1),
    }
    assert small_class.measures(cast("Any", context)) == {"n_classes": 2.0, "smallest_class": 1.0}


# --- the probe's arithmetic ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [0, 1, 2, 29])
def test_no_event_in_some_leak_groups_is_clopper_and_pearsons_bound(groups: int) -> None:
    assert zero_events_high(groups) == pytest.approx(1 - 0.025 ** (1 / max(groups, 1)), abs=1e-12)


def test_two_targets_that_are_not_each_others_negative_are_solved_both(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    z, target, fold = rng.normal(size=(150, 20)), rng.normal(size=(150, 2)), np.arange(150) % 3
    alone = held_scores(z @ z.T / 20, target, fold, strengths=(0.1,))
    monkeypatch.setattr(ridge, "MANY", 50)
    together = held_scores(z @ z.T / 20, target, fold, strengths=(0.1,))
    np.testing.assert_allclose(together.scores, alone.scores, atol=1e-5)


@pytest.mark.parametrize(("rows", "every"), [(70, 1), (999, 1), (1000, 2)])  # more than a core takes at a time
def test_the_curved_kernel_is_the_exponential_of_squared_distances_over_their_median(rows: int, every: int) -> None:
    z = 0.1 * np.random.default_rng(0).normal(size=(rows, 3))
    squared = ((z[:, None] - z) ** 2).sum(-1)
    np.testing.assert_allclose(ridge.gaussian(z @ z.T), np.exp(-squared / np.median(squared[::every])), atol=1e-12)
    assert ridge.gaussian(np.zeros((2, 2))).tolist() == [[1, 1], [1, 1]]  # a median of 0 divides nothing


def test_the_strength_is_chosen_by_all_folds_of_few_images_and_by_the_first_of_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    fold, tried = np.arange(120) % 6, (1e-2, 3.0)
    z = rng.normal(size=(120, 10))
    target = z[:, :1] * np.where(fold == 0, -0.5, 1)[:, None]  # the first fold alone goes the other way
    kernel = z @ z.T / 10
    errors = [(held_scores(kernel, target, fold, strengths=(one,)).scores - target) ** 2 for one in tried]
    first, whole = (int(np.argmin([error[rows].sum() for error in errors])) for rows in (fold == 0, fold >= 0))
    assert (first, whole) == (1, 0)
    assert held_scores(kernel, target, fold, strengths=tried).strength == tried[whole]
    monkeypatch.setattr(ridge, "MANY", 50)
    assert held_scores(kernel, target, fold, strengths=tried).strength == tried[first]
    assert held_scores(kernel, target, fold, strengths=tried[::-1]).strength == tried[first]


def test_strengths_near_one_are_its_neighbours_and_itself() -> None:
    assert ridge.near_strengths(1e-3) == (1e-3, 3e-3)
    assert ridge.near_strengths(1e-1) == (3e-2, 1e-1, 3e-1)
    assert ridge.near_strengths(3.0) == (1.0, 3.0)


@pytest.mark.parametrize("counts", [(25, 10, 5), (25, 15)])
def test_temperature_and_offsets_minimise_the_cross_entropy_with_platts_targets(counts: tuple[int, ...]) -> None:
    from scipy.optimize import minimize

    rng, classes = np.random.default_rng(0), len(counts)
    scores, y = rng.normal(size=(40, classes)), np.repeat(np.arange(classes), counts)
    scores[np.arange(40), y] += 0.7

    def loss(parameters: np.ndarray) -> float:
        total = 0.0
        for row, c in zip(scores, y, strict=True):
            logits = parameters[0] * row + parameters[1:]
            logs = logits - np.log(np.exp(logits).sum())
            right = (counts[c] + 1) / (counts[c] + 2)
            total -= right * logs[c] + (1 - right) / (classes - 1) * (logs.sum() - logs[c])
        return total / 40 + calibrate.RIDGE / 2 * (parameters[1:] ** 2).sum()

    best = minimize(loss, [1.0] + [0.0] * classes, method="BFGS", options={"gtol": 1e-6})
    found = calibrate.fit_scaling(scores, y)
    assert loss(np.array([found.temperature, *found.offset])) <= best.fun + 1e-14
    assert found.temperature == pytest.approx(best.x[0], abs=2e-3)
    assert calibrate.fit_scaling(-10 * scores, y).temperature == 0  # scores that say the opposite say nothing


def test_each_fold_is_scaled_by_all_others_and_large_scores_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    scores, y, fold = rng.normal(size=(60, 2)), rng.integers(0, 2, 60), np.arange(60) % 3
    found = calibrate.cross_fitted(scores, y, fold)
    for f in range(3):
        scaling = calibrate.fit_scaling(scores[fold != f], y[fold != f])
        alone = calibrate.probabilities(scaling, scores[fold == f])
        np.testing.assert_allclose(found[fold == f], alone, rtol=1e-8)  # searched from the fit to all folds
    assert calibrate.log_softmax(np.array([[900.0, 0.0]])).tolist() == [[0, -900]]


def test_suspects_are_over_the_threshold_of_another_class_and_ordered_by_the_margin() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4], [0.45, 0.55]])
    y = np.array([0, 0, 1, 1, 1])
    # thresholds (0.9 + 0.2) / 2 = 0.55 and (0.9 + 0.4 + 0.55) / 3 = 0.617: image 3 is over that of class 0, image 1 of class 1
    found = suspect_labels(p, y)
    assert found.image.tolist() == [1, 3]
    assert found.likelier.tolist() == [1, 0]
    assert found.score == pytest.approx([0.6, 0.2])
    assert not len(
        suspect_labels(np.array([[0.5, 0.5], [0.5, 0.5]]), np.array([0, 1])).image
    )  # as probable as its own class


def test_a_class_that_is_held_equally_likely_everywhere_is_over_its_own_threshold_and_one_without_images_over_none() -> (
    None
):
    p = np.array([[0.3, 0.6, 0.1], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]])
    found = suspect_labels(p, np.array([0, 0, 1, 1, 0]))
    assert (found.image.tolist(), found.likelier.tolist()) == ([0], [1])


def test_an_interval_is_between_the_quantiles_of_the_draws() -> None:
    found = mean_interval(np.arange(1001.0), np.arange(1001), np.eye(1001, dtype=int))
    assert found == pytest.approx((500, 25, 975), abs=1e-9)
    assert mean_interval(np.array([2.0]), np.array([0]), np.ones((10, 1), int)) == (2, 2, 2)


def _systems(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A kernel whose eigenvalues fall as 1 / i^2, and right-hand sides on two subsets."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(n, n)))[0]
    inside = np.stack([np.arange(n) % 3 > 0, np.arange(n) % 4 > 0], axis=1)
    wanted = rng.normal(size=(n, 2, 2)) * inside[:, :, None]
    return (basis / np.arange(1, n + 1) ** 2) @ basis.T, wanted, inside, np.array([1e-3, 2e-3])


@pytest.mark.parametrize(("unit", "rank", "steps"), [(1e-5, 40, 4), (1.0, 5, 12), (1e5, 40, 4)])
def test_a_part_of_low_rank_leaves_few_steps_whatever_the_unit(
    monkeypatch: pytest.MonkeyPatch, unit: float, rank: int, steps: int
) -> None:
    kernel, wanted, inside, shift = _systems(120)
    monkeypatch.setattr(conjugate, "RANK", rank)
    monkeypatch.setattr(conjugate, "MOST", steps)
    monkeypatch.setattr(
        solve, "_cheaper", lambda kernel, inside, shift, outputs: conjugate.Gradients(kernel, inside, shift)
    )
    solved = solve_all(kernel, unit * wanted, inside, shift)
    assert solved is not None
    alpha, image = solved
    np.testing.assert_allclose(image, np.tensordot(kernel, alpha, 1), atol=1e-12 * np.abs(image).max())
    for i, rows in enumerate(inside.T):
        system = kernel[np.ix_(rows, rows)] + shift[i] * np.eye(rows.sum())
        exact = np.linalg.solve(system, wanted[rows, i])
        np.testing.assert_allclose(alpha[rows, i] / unit, exact, atol=1e-6 * np.abs(exact).max() / shift[i] / 100)
        assert not alpha[~rows, i].any()


def test_parts_of_a_set_are_parts_of_each_class_to_half_an_image() -> None:
    y = np.repeat([0, 1, 2], [10, 13, 20])
    parts = curve.nested_subsets(y, np.arange(43), 0)
    counts = {part: np.bincount(y[inside]).tolist() for part, inside in parts.items()}
    assert counts == {8: [1, 2, 2], 4: [2, 3, 5], 2: [5, 6, 10], 1: [10, 13, 20]}


def test_a_gain_is_that_of_the_mean_loss_between_quantiles_of_the_draws() -> None:
    sizes, fall = np.array([50.0, 100, 200, 400]), np.linspace(0.1, 0.9, 81)
    losses = sizes ** -fall[:, None]
    losses[:, 0] = 9.0  # the first of four sizes has no say
    found = curve.gain(sizes, losses, 3 * np.eye(81, dtype=int), np.arange(81))
    of_mean = np.polyfit(np.log(sizes[1:]), np.log(losses.mean(0)[1:]), 1)[0]
    low, high = np.quantile(1 - 2.0**-fall, [0.025, 0.975])
    assert found == pytest.approx((1 - 2**of_mean, low, high), abs=1e-9)
    assert curve.gain(sizes, losses[:1], np.ones((2, 1), int), np.zeros(1, int)).low == pytest.approx(1 - 2**-0.1)


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0.0, 0.2, False), (0.01, 0.2, True), (-0.2, 0.0, False), (-0.2, -0.01, True), (-0.2, 0.2, False)],
)
def test_a_gain_is_significant_where_its_interval_excludes_nought(low: float, high: float, told: bool) -> None:
    prediction = loss_if_doubled({"gain_if_doubled": {"value": (low + high) / 2, "low": low, "high": high}})
    assert (prediction.value, prediction.low, prediction.high) == (-(low + high) / 2, -high, -low)
    assert prediction.significant is told
    assert ("lower the log loss" in prediction.sentence, "not lower" in prediction.sentence) == (True, low + high <= 0)


@pytest.mark.parametrize(
    ("low", "words"), [(0.0, "not distinguishable from the mean."), (0.1, "clearly better than the mean.")]
)
def test_what_a_curve_was_worth_elsewhere_is_told_by_its_interval(low: float, words: str) -> None:
    score = {"miss": 0.1, "baseline_miss": 0.2, "sources": 9}
    told = gain._worth({**score, "elsewhere": {**score, "sources": 3, "gain": {"low": low}}})
    assert told.endswith(words)
    assert "off by a factor of 1.11 and the mean change of the other sources by 1.22" in told


def test_sharpness_of_two_audits_stays_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = ({"mean": 2.0, "draws": 20}, {"mean": 3.0, "draws": 10})
    monkeypatch.setattr(change, "_drawn", lambda *given: ((400, 900), samples, (0.1, 0.2)))
    monkeypatch.setattr(change, "sharpness_error", lambda *given: given)
    means, errors = sharpness_change({}, {}, 100)
    assert means == (2.0, 3.0)
    assert errors == ((0.1, 1.0, 100, 400, 20), (0.2, 1.0, 100, 900, 10))


def test_audits_without_a_common_sample_are_told_half_of_the_smaller_set() -> None:
    audits = [
        summary(n, m) | {"preprocess": {}, "intrinsic_dimension": {"mle": {"value": 9.0, "se": 0.1}}, "run_id": "a"}
        for n, m in ((1001, 100), (1003, 200))
    ]
    for each in audits:
        each |= {"labels": {"kind": "classes", "classes": {"a": 1}}, "created": "2026-11-24T09:00:00+00:00"}
    assert common_sample(*audits) is None
    assert (loss_change(*audits).withheld or "").endswith("audit before and after with --sample 500")


def test_pairs_of_a_job_are_those_of_its_blocks() -> None:
    spec, blocks = PassSpec(2, sharp=False), [np.arange(5), np.arange(3)]
    jobs = triangle_jobs(range(2), spec)
    assert [(job.a, job.b) for job in jobs] == [(0, 0), (1, 1), (0, 1)]
    assert [job_pairs(job, blocks) for job in jobs] == [10, 3, 15]


def test_the_flip_lies_on_the_line_between_the_two_rungs_that_it_is_between(monkeypatch) -> None:
    # a margin that falls with the square of the way, for each of five images at another pace; the last one never meets 0
    pace = torch.tensor([1.0, 0.3, 0.01, 4.0, 1e-7])
    x, sign = torch.full((5, 1, 2, 2), 100.0), torch.ones(5, 1, 2, 2)

    def logits(encoder, linear, moved):
        way = (moved - 100).mean((1, 2, 3)).double().clamp(min=0)
        own = 2 - pace[[int(i) for i in asked[-1]]] * way**2
        return torch.stack([torch.zeros(len(way)).double(), own], 1)

    def of(rows):
        asked.append(rows)
        return rows

    asked: list[list[int]] = []
    guess = torch.tensor([1.0, 2.0, 3.0, 4.0, 10.0]).double()
    predicted, start = torch.ones(5, dtype=torch.int64), torch.full((5,), 2.0).double()
    margins = [lambda way, p=float(p): 2 - p * way**2 for p in pace]
    wanted, left = [], list(range(5))
    order: list[list[int]] = []
    ways = {i: [0.0, *(min(255.0, float(guess[i]) * rung) for rung in attack.RUNGS)] for i in left}
    for step in range(len(attack.RUNGS)):
        order.append(list(left))
        left = [i for i in left if margins[i](min(ways[i][step + 1], 155.0)) > 0]
    for i in range(5):
        at = next((k for k in range(1, len(ways[i])) if margins[i](min(ways[i][k], 155.0)) <= 0), None)
        if at is None:
            wanted.append(255.0)
            continue
        low, high = ways[i][at - 1], ways[i][at]
        before, after = margins[i](min(low, 155.0)), margins[i](min(high, 155.0))
        wanted.append(low + (high - low) * before / (before - after))
    rows = iter(order)
    monkeypatch.setattr(attack, "_logits", lambda *given: of(next(rows)) and logits(*given))
    told = attack._flip(None, None, x, predicted, sign, start, guess)
    np.testing.assert_allclose(told.numpy(), wanted, rtol=1e-5)
    assert wanted[-1] == 255


def test_a_way_that_flips_all_at_the_first_rung_is_not_gone_further(monkeypatch) -> None:
    asked = []

    def logits(encoder, linear, moved):
        asked.append(len(moved))
        return torch.tensor([[1.0, 0.0]] * len(moved))

    monkeypatch.setattr(attack, "_logits", logits)
    x = torch.full((3, 1, 2, 2), 100.0)
    told = attack._flip(
        None, None, x, torch.ones(3, dtype=torch.int64), torch.ones_like(x), torch.ones(3), torch.ones(3)
    )
    assert asked == [3]
    np.testing.assert_allclose(told.numpy(), attack.RUNGS[0] / 2)


def test_an_attack_moves_each_value_by_its_step_and_no_further_than_black_and_white(monkeypatch) -> None:
    seen = []
    weight = torch.tensor([[0.3, -0.2, 0.0, 0.5]]).T

    def logits(encoder, linear, moved):
        seen.append(moved.detach().clone())
        own = moved.flatten(1) @ weight / 100
        return torch.cat([own, torch.zeros_like(own)], 1)

    monkeypatch.setattr(attack, "_logits", logits)
    x = torch.tensor([[[[0.0, 1.0], [9.0, 255.0]]], [[[100.0, 50.0], [9.0, 254.0]]]])
    gradient, penalty, flip = attack._batch(None, None, x, torch.tensor([0, 0]))
    grown = torch.tensor(
        [
            [[[0.0, 1 + attack.EPS], [9.0, 255 - attack.EPS]]],
            [[[100 - attack.EPS, 50 + attack.EPS], [9, 254 - attack.EPS]]],
        ]
    )
    np.testing.assert_allclose(seen[1].numpy(), grown.numpy())
    own = [float((row.flatten() @ weight / 100).item()) for row in x]
    rate = [1 / (1 + np.exp(margin)) for margin in own]
    np.testing.assert_allclose(gradient, [share * 0.01 for share in rate], rtol=1e-4)
    moved = [float((row.flatten() @ weight / 100).item()) for row in grown]
    np.testing.assert_allclose(
        penalty, [np.log1p(np.exp(-b)) - np.log1p(np.exp(-a)) for a, b in zip(own, moved, strict=True)], rtol=1e-3
    )
    # the first rung is as far as the gradient of the margin says, times its factor
    np.testing.assert_allclose(
        (x - seen[2]).abs().amax((1, 2, 3)).numpy(), [attack.RUNGS[0] * margin / 0.01 for margin in own], rtol=1e-4
    )
    assert len(flip) == 2


def oriented(image: np.ndarray) -> np.ndarray:
    """The histograms of oriented gradients of one image [channels, 64, 64], pixel by pixel."""
    cells = np.zeros((8, 8, 8))  # direction, row, column
    for i in range(64):
        for j in range(64):
            across = image[:, i, j + 1] - image[:, i, j - 1] if 0 < j < 63 else 0 * image[:, i, j]
            down = image[:, i + 1, j] - image[:, i - 1, j] if 0 < i < 63 else 0 * image[:, i, j]
            steepest = int((across**2 + down**2).argmax())
            slope = float(np.hypot(across[steepest], down[steepest]))
            at = np.arctan2(down[steepest], across[steepest]) % np.pi / np.pi * 8
            first = int(at)
            cells[first % 8, i // 8, j // 8] += slope * (1 - (at - first)) / 64
            cells[(first + 1) % 8, i // 8, j // 8] += slope * (at - first) / 64
    power = cells.sum(0) ** 2
    out = np.zeros_like(cells)
    for i in range(8):
        for j in range(8):
            around = [power[min(max(i + k, 0), 7), min(max(j + m, 0), 7)] for k in (-1, 0, 1) for m in (-1, 0, 1)]
            out[:, i, j] = np.sqrt(np.minimum(cells[:, i, j] / (np.sqrt(np.mean(around)) + 2), 0.4))
    return out.reshape(-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_edges_and_tones_by_the_letter(channels: int) -> None:
    rng = np.random.default_rng(channels)
    images = (rng.integers(0, 256, (3, channels, 16, 16)).repeat(4, 2).repeat(4, 3) * 0.5).astype(np.float32)
    images += rng.integers(0, 128, images.shape)
    images[1, :, :, :32] = 7  # nothing there, and next to nothing
    told = descriptors.edges(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(told, [oriented(image) for image in images], atol=2e-3)
    bins = 32 if channels == 1 else 4
    for image, share in zip(images, descriptors.tones(torch.from_numpy(images)).numpy(), strict=True):
        steps = np.minimum((image * bins / 256).astype(int), bins - 1).reshape(channels, -1)
        code = steps[0] if channels == 1 else steps[0] * 16 + steps[1] * 4 + steps[2]
        wanted = np.bincount(code, minlength=bins**channels) / 4096
        np.testing.assert_allclose(share, np.sqrt(wanted), atol=1e-6)


def test_a_network_gives_one_vector_for_each_image_in_batches_of_any_size(monkeypatch) -> None:
    monkeypatch.setattr(activations, "BATCH", 4)
    blocks = [np.random.default_rng(i).integers(0, 256, (n, 3, 5, 1), np.uint8) for i, n in enumerate((10, 3))]
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(15, 6), torch.nn.Linear(6, 2))
    images = torch.from_numpy(np.concatenate(blocks)).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = net[1](torch.nn.Flatten()(activations.as_input(images, "cpu"))).numpy()
    np.testing.assert_allclose(
        activations.embed(net, "", "small", blocks), wanted, atol=1e-6
    )  # what the last layer is given
    np.testing.assert_allclose(activations.embed(net, "1", "small", blocks), wanted, atol=1e-6)
    for what, message in (
        (lambda x: x[:1].flatten(1), "'small' gives 1 vectors for 4 images"),
        (lambda x: x.flatten(1) * torch.nan, "'small' gives NaN or infinite values"),
        (lambda x: x @ torch.ones(7), r"'small' cannot take images of 1 x 3 x 5 .*--channels and --size"),
    ):
        broken = torch.nn.Identity()
        monkeypatch.setattr(broken, "forward", what)
        with pytest.raises(DatapropsError, match=message):
            activations.embed(broken, "", "small", blocks)


@pytest.mark.parametrize("everything", [False, True])
def test_a_function_that_makes_a_network_is_given_what_it_asks_for(monkeypatch, everything: bool) -> None:
    asked: list[dict[str, int]] = []

    def some(channels: int, size: int) -> torch.nn.Module:
        asked.append({"channels": channels, "size": size})
        return torch.nn.Linear(channels, size)

    def every(**given: int) -> torch.nn.Module:
        asked.append(given)
        return torch.nn.Linear(given["channels"], given["size"])

    monkeypatch.setattr(activations, "imported", lambda place: every if everything else some)
    state = torch.random.get_rng_state()
    nets = [activations.load_network("m:f", channels=3, classes=5, size=9)[0] for _ in range(2)]
    assert torch.equal(state, torch.random.get_rng_state())
    assert asked == [{"channels": 3, "size": 9} | ({"classes": 5} if everything else {})] * 2
    torch.manual_seed(0)
    seeded = torch.nn.Linear(3, 9)
    torch.random.set_rng_state(state)
    assert all(torch.equal(net.weight, seeded.weight) for net in nets)


@pytest.mark.parametrize(
    ("layers", "told"),
    [(12, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11"), (13, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, ...")],
)
def test_of_many_layers_twelve_are_named(layers: int, told: str) -> None:
    assert activations._some_layers(torch.nn.Sequential(*(torch.nn.Identity() for _ in range(layers)))) == told


@pytest.mark.parametrize("row", [0, 3, 4, 9])
def test_the_first_row_that_is_no_number_is_named(tmp_path, monkeypatch, row: int) -> None:
    monkeypatch.setattr(feature_file, "STRIP", 4)
    vectors = np.ones((11, 2))
    vectors[row:, 1] = np.nan
    np.save(tmp_path / "f.npy", vectors)
    with pytest.raises(DatapropsError, match=rf"first at {row}\.png \(row {row}\)"):
        feature_file.read_features(str(tmp_path / "f.npy"), [f"{i}.png" for i in range(11)])

"""Estimates of the dimension and their errors, by the letter: loops over the same random numbers, on a few dozen points."""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest

from dataprops.errors import DatapropsError
from dataprops.properties import ESTIMATORS, dimension, estimators, register
from dataprops.properties.dimension import (
    closed_form,
    geomle_points,
    geomle_value,
    levina_bickel_terms,
    local_dimension,
    mle_value,
    slope_of,
    two_nn_ratios,
    two_nn_slope,
    twonn_keep,
    twonn_value,
)
from dataprops.properties.estimators import estimate_all, groups

RNG = np.random.default_rng


def points(n: int, k: int, features: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ascending distances of Gaussian points to their k nearest others, and their numbers."""
    x = RNG(seed).normal(size=(n, features))
    apart = np.sqrt(((x[:, None] - x[None]) ** 2).sum(-1))
    np.fill_diagonal(apart, np.inf)
    index = np.argsort(apart, axis=1)[:, :k]
    return np.take_along_axis(apart, index, axis=1), index


# maximum likelihood


def test_terms_and_local_estimates_take_the_k_nearest_alone() -> None:
    t = np.array([[1.0, 2.0, 4.0, 9.0], [2.0, 2.0, 2.0, 3.0]])
    assert levina_bickel_terms(t, 3).tolist() == pytest.approx([math.log(4) + math.log(2), 0.0])
    assert local_dimension(t, 3).tolist() == pytest.approx([2 / math.log(8), math.inf])


def term_of(row: list[float]) -> float:
    return sum(math.log(row[-1] / t) for t in row[:-1])


def jackknifed(distances: np.ndarray, index: np.ndarray, k: int, own: list[int] | range) -> float:
    """Relative variance of a mean of terms with k - 1 neighbours: images left out, less the changes of terms by one neighbour."""
    lists = [list(zip(map(int, js), map(float, ts), strict=True))[:k] for js, ts in zip(index, distances, strict=True)]
    terms = [term_of([t for _, t in one[:-1]]) for one in lists]
    mean, changes, twice = sum(terms) / len(terms), {}, 0.0
    for number, one, term in zip(own, lists, terms, strict=True):
        changes[number] = changes.get(number, 0.0) + mean - term
        for j, _ in one[:-1]:
            change = term_of([t for other, t in one if other != j]) - term
            changes[j] = changes.get(j, 0.0) + change
            twice += change**2
    away = np.array(list(changes.values()))
    return (((away - away.mean()) ** 2).sum() - twice) / sum(terms) ** 2


@pytest.mark.parametrize("k", [3, 5, 8])
def test_the_error_of_the_mle_leaves_images_out_and_takes_off_what_that_counts_twice(k: int) -> None:
    distances, index = points(300, 9)
    value, error = mle_value(distances, index, k, k - 1.0)
    terms = levina_bickel_terms(distances, k)
    assert value == pytest.approx((k - 1) / terms.mean())
    independent = np.std(terms, ddof=1) / terms.mean() / math.sqrt(300)
    wanted = math.sqrt(jackknifed(distances, index, k, range(300)))
    assert error == pytest.approx(value * max(wanted, independent))
    assert wanted > independent  # so that the former is what is tested


def test_the_error_of_the_mle_of_a_sample_of_images_takes_their_numbers_for_others() -> None:
    distances, index = points(300, 9)
    rows = np.sort(RNG(1).choice(299, 90, replace=False))
    index[rows[0], 0] = 299  # the largest number tells how many images there are
    value, error = mle_value(distances[rows], index[rows], 5, 4.0)
    none = [-1 - i for i in range(90)]  # numbers that nobody has for a neighbour
    terms = levina_bickel_terms(distances[rows], 5)
    independent = np.std(terms, ddof=1) / terms.mean() / math.sqrt(90)
    wanted = math.sqrt(jackknifed(distances[rows], index[rows], 5, none))
    assert error == pytest.approx(value * max(wanted, independent), rel=0.01)


def test_terms_that_share_nothing_have_the_error_of_independent_ones() -> None:
    """A jackknife counts the spread of each term once for its image, once more for its neighbours: here three times as much."""
    rng = RNG(2)
    distances = np.exp(np.cumsum(rng.exponential(1 / np.arange(1, 21), (500, 20)), axis=1))
    index = np.arange(500)[:, None] + 500 * np.arange(1, 21)  # 10,500 images, each the neighbour of one at most
    value, error = mle_value(distances, index, 20, 19.0)
    terms = levina_bickel_terms(distances, 19)
    assert error == pytest.approx(value * np.std(terms) / terms.mean() / math.sqrt(500), rel=0.03)


@pytest.mark.parametrize(("k", "missing"), [(2, None), (5, (7, 3))])
def test_without_a_neighbour_to_take_a_place_terms_count_as_independent(k: int, missing: tuple | None) -> None:
    distances, index = points(40, 5)
    if missing:
        index[missing] = -1
    value, error = mle_value(distances, index, k, 4.0)
    terms = levina_bickel_terms(distances, k)
    assert error == pytest.approx(value * np.std(terms, ddof=1) / terms.mean() / math.sqrt(40))


def test_points_whose_neighbours_are_equally_far_have_an_infinite_dimension() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, error = mle_value(np.ones((5, 4)), np.arange(20).reshape(5, 4) % 5, 4, 3.0)
    assert value == math.inf and math.isnan(error)


# two nearest neighbours


def test_the_slope_goes_through_the_origin_over_the_smallest_ratios() -> None:
    log_mu = np.array([0.1, 0.4, 0.5, 2.0])
    y = [-math.log(1 - i / 4) for i in (1, 2, 3)]
    wanted = sum(a * b for a, b in zip(log_mu, y, strict=False)) / sum(a * a for a in log_mu[:3])
    assert two_nn_slope(log_mu, 3) == pytest.approx(wanted)
    assert two_nn_slope(np.zeros(4), 3) == math.inf
    # drawn 0, 2, 1 and 1 times
    assert two_nn_slope(log_mu, 3, np.array([0, 2, 1, 1])) == pytest.approx(two_nn_slope(log_mu[[1, 1, 2, 3]], 3))
    assert [twonn_keep(n) for n in (10, 19, 20, 1001)] == [9, 17, 18, 900]
    assert slope_of(twonn_keep)(np.arange(1.0, 21.0), None) == two_nn_slope(np.arange(1.0, 21.0), 18)


def test_the_closed_form_is_the_mean_ratio_upside_down() -> None:
    log_mu = np.array([0.5, 1.0, 1.5])
    assert closed_form(log_mu, None) == pytest.approx(1.0)
    assert closed_form(log_mu, np.array([0, 3, 0])) == pytest.approx(1.0)
    assert closed_form(log_mu, np.array([3, 0, 0])) == pytest.approx(2.0)
    assert closed_form(np.zeros(3), None) == math.inf


def ratios_within(distances: np.ndarray, index: np.ndarray, inside: set[int], images: list[int]) -> np.ndarray:
    """log(T_2 / T_1) of images among those inside; own numbers are 0..n-1."""
    out = []
    for i in images:
        near = [t for t, j in zip(distances[i], index[i], strict=True) if int(j) in inside]
        if len(near) > 1:
            out.append(math.log(near[1] / near[0]))
    return np.sort(out)


@pytest.mark.parametrize("upper", [0.0, 0.4, 0.5])
@pytest.mark.parametrize("n", [60, 61])
def test_the_error_of_two_neighbours_lies_between_those_of_halves_and_of_groups_left_out(n: int, upper: float) -> None:
    distances, index = points(n, 12)
    value, error = twonn_value(distances, index, closed_form, RNG(5), upper)
    assert value == pytest.approx(closed_form(two_nn_ratios(distances), None))
    rng, everyone = RNG(5), set(range(n))
    apart = []
    halves = [set(rng.permutation(n)[: n // 2].tolist()) for _ in range(48)]
    for half in halves:
        logs = [
            math.log(closed_form(ratios_within(distances, index, part, sorted(part)), None))
            for part in (half, everyone - half)
        ]
        apart.append(logs[0] - logs[1])
    group = rng.permutation(n) % 20
    without = []
    for g in range(20):
        part = {i for i in everyone if group[i] != g}
        without.append(math.log(closed_form(ratios_within(distances, index, part, sorted(part)), None)))
    by_halves = value * math.sqrt(np.mean(np.square(apart))) / 2
    by_groups = value * math.sqrt(19 * np.var(without))
    assert error == pytest.approx(by_halves ** (1 - upper) * by_groups**upper)
    if upper == 0:
        assert twonn_value(distances, index, closed_form, RNG(5))[1] == error


def test_the_error_of_a_sample_draws_which_images_the_rows_are() -> None:
    distances, index = points(90, 20)
    rows = np.sort(RNG(1).choice(90, 50, replace=False))
    index[rows[0], 0] = 89  # the largest number tells how many images there are
    value, error = twonn_value(distances[rows], index[rows], closed_form, RNG(5), 0.25)
    rng = RNG(5)
    own = rng.choice(90, 50, replace=False)
    apart, without = [], []

    def log_within(inside: np.ndarray) -> float:
        images = [i for i in range(50) if inside[own[i]]]
        part = ratios_within(distances[rows], index[rows], set(np.nonzero(inside)[0].tolist()), images)
        return math.log(closed_form(part, None))

    for half in [rng.permutation(90)[:45] for _ in range(48)]:
        inside = np.isin(np.arange(90), half)
        apart.append(log_within(inside) - log_within(~inside))
    group = rng.permutation(90) % 20
    without = [log_within(group != g) for g in range(20)]
    wanted = (math.sqrt(np.mean(np.square(apart))) / 2) ** 0.75 * math.sqrt(19 * np.var(without)) ** 0.25
    assert error == pytest.approx(value * wanted)


def test_too_few_images_to_halve_are_resampled() -> None:
    distances, index = points(3, 2)
    value, error = twonn_value(distances, index, closed_form, RNG(5))
    log_mu, rng = two_nn_ratios(distances), RNG(5)
    for _ in range(48 + 1):
        rng.permutation(3)
    drawn = [closed_form(log_mu[rng.integers(0, 3, 3)], None) for _ in range(200)]
    assert value == pytest.approx(3 / log_mu.sum())
    assert error == pytest.approx(np.std(drawn, ddof=1))
    distances[:, 1] = distances[:, 0]  # every ratio is 1
    value, error = twonn_value(distances, index, closed_form, RNG(5))
    assert value == math.inf and math.isnan(error)


def test_neighbours_that_are_missing_are_none() -> None:
    distances, index = points(60, 12)
    more = np.column_stack([distances, np.full(60, np.inf)]), np.column_stack([index, np.full(60, -1)])
    assert twonn_value(*more, closed_form, RNG(5)) == twonn_value(distances, index, closed_form, RNG(5))
    # a distance without a number, or a number without a distance, is no neighbour
    for odd in (more[0].copy(), more[1].copy()):
        odd[:, -1] = 1e9 if odd.dtype.kind == "f" else 0
        pair = (odd, more[1]) if odd.dtype.kind == "f" else (more[0], odd)
        assert twonn_value(*pair, closed_form, RNG(5)) == twonn_value(distances, index, closed_form, RNG(5))


# GeoMLE


def test_geomle_is_the_mean_of_its_points_within_the_number_of_features() -> None:
    distances, index = points(120, 119)
    found = geomle_points(distances, index, 3)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found, geomle_points(distances, index, 3, k1=25, k2=55, bootstraps=20))
    value, error, note = geomle_value(distances, index, 50, 3, 0)
    assert (value, note) == (pytest.approx(found.mean()), "")
    assert error == pytest.approx(found.std(ddof=1) / math.sqrt(120) / 0.78)
    assert geomle_value(distances, index, 2, 3, 0)[0] == 2.0
    assert geomle_value(distances, index, 50, 3, 120)[0] == value


def test_points_without_enough_neighbours_have_no_geomle() -> None:
    distances, index = points(120, 119)
    distances[0, 40:], index[0, 40:] = np.inf, -1
    found = geomle_points(distances, index, 3)
    assert math.isnan(found[0]) and np.isfinite(found[1:]).all()
    value, _, _ = geomle_value(distances, index, 50, 3, 0)
    assert value == pytest.approx(found[1:].mean())
    short = distances[:, :20], index[:, :20]
    value, error, note = geomle_value(*short, 50, 3, 0)
    assert math.isnan(value) and math.isnan(error)
    assert note == "too few neighbours remain in the bootstrap samples"
    one = geomle_value(distances[:2], index[:2], 50, 3, 120)  # of two points one is known
    assert math.isnan(one[0]) and one[2] == note
    two = geomle_value(distances[:3], index[:3], 50, 3, 120)
    assert math.isfinite(two[0]) and math.isfinite(two[1])
    assert geomle_points(np.empty((0, 30)), np.empty((0, 30), int), 0).shape == (0,)


def test_the_first_image_is_a_neighbour_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimension, "_bootstrap", lambda n, seed, number: np.ones(n, bool))
    distances, index = points(120, 119)
    found = geomle_points(distances, index, 3)
    np.testing.assert_array_equal(found, geomle_points(distances, 119 - index, 3))


@pytest.mark.parametrize("alpha", [5e-3, 0.5])
def test_the_line_to_distance_0_is_a_weighted_ridge_of_the_raw_columns(alpha: float) -> None:
    from sklearn.linear_model import Ridge

    radius = np.sort(RNG(0).uniform(0.2, 3.0, (5, 12)), axis=1)
    d, std = RNG(1).normal(10, 2, (5, 12)), RNG(2).uniform(0.5, 2.0, (5, 12))
    found = dimension._ridge_intercepts(radius, d, std, alpha)
    for i in range(5):
        line = Ridge(alpha=alpha, tol=1e-12).fit(np.stack([radius[i], radius[i] ** 2], 1), d[i], 1 / std[i])
        assert found[i] == pytest.approx(line.intercept_, rel=1e-9)


def test_a_bootstrap_sample_holds_images_that_a_draw_with_replacement_names() -> None:
    drawn = RNG([7, 2]).integers(0, 50, 50)
    assert np.nonzero(dimension._bootstrap(50, 7, 2))[0].tolist() == sorted(set(drawn.tolist()))


# the table of estimators


@pytest.mark.parametrize(
    ("name", "least", "used"),
    [
        *(("mle", 21, 20), ("mle_paper", 21, 20), ("twonn", 11, 2)),
        *(("twonn_paper", 3, 2), ("twonn_closed", 3, 2), ("geomle", 110, 55)),
    ],
)
def test_each_estimator_needs_so_many_images_and_says_which_neighbours_it_used(
    name: str, least: int, used: int
) -> None:
    for n in (least - 1, least):
        distances, index = points(n, min(n - 1, 109))
        found = estimate_all(distances, index, 4, 20, groups=(ESTIMATORS[name].group,))[name]
        assert (found.n, found.k) == (n, used)
        missing = f"needs at least {least} distinct images, has {n}"
        assert (found.note == missing) == (n < least)
        assert math.isfinite(found.value) == (n >= least)


def test_estimates_are_those_of_their_functions_with_random_numbers_of_their_own() -> None:
    distances, index = points(120, 119)
    found = estimate_all(distances, index, 4, 10, 3, full_range=2.0)
    rng = {name: RNG([3, int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())]) for name in found}
    near = distances[:, :10], index[:, :10]
    assert found["mle"][:2] == mle_value(distances, index, 10, 9)
    assert found["mle_paper"][:2] == mle_value(distances, index, 10, 8)
    assert found["twonn"][:2] == twonn_value(*near, slope_of(twonn_keep), rng["twonn"])
    assert found["twonn_paper"][:2] == twonn_value(*near, slope_of(lambda n: n - 1), rng["twonn_paper"], 0.4)
    assert found["twonn_closed"][:2] == twonn_value(*near, closed_form, rng["twonn_closed"])
    assert found["geomle"][:2] == geomle_value(distances / 2, index, 4, 3, 0)[:2]
    assert estimate_all(distances, index, 4) == estimate_all(distances, index, 4, 20, 0, full_range=1.0)
    assert groups() == tuple(dict.fromkeys(ESTIMATORS[name].group for name in found))


def test_neighbours_at_one_distance_give_no_number_and_the_reason() -> None:
    found = estimate_all(np.ones((30, 20)), np.zeros((30, 20), int), 4, groups=("mle", "twonn"))
    for estimate in found.values():
        assert math.isnan(estimate.value) and math.isnan(estimate.se)
        assert estimate.note == "the neighbour distances are all equal"


def test_the_table_says_what_suffices_for_a_sample_and_how_estimates_are_called() -> None:
    assert groups() == ("mle", "twonn", "geomle")
    assert groups(sampled=True) == ("mle", "twonn")
    assert estimators.title_of("mle_paper") == "MLE as in the paper"
    assert estimators.title_of("mle_paper", short=True) == "MLE, paper"
    assert estimators.title_of("another") == "another"
    row = ESTIMATORS["twonn"]
    for name, group in (("Two", "two"), ("two nn", "two"), ("sample", "two"), ("two", "Two")):
        with pytest.raises(DatapropsError, match=r"lower-case letters|is reserved"):
            register(replace(row, name=name, group=group))

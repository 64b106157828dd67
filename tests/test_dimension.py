"""Estimators of the intrinsic dimension: reference values, peers, literal rewritings of the definitions."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import skdim
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors

from dataprops.distances.allpairs import Runner, all_pairs, array_rows
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.properties import ESTIMATORS, Estimator, dimension, estimators, register, sampled, unregister
from dataprops.properties.dimension import (
    geomle_points,
    levina_bickel_terms,
    local_dimension,
    two_nn_ratios,
)
from dataprops.properties.estimators import estimate_all, groups, neighbours_needed

N = 2500


def neighbours(x: np.ndarray, k: int = dimension.GEOMLE_NEIGHBOURS) -> tuple[np.ndarray, np.ndarray]:
    return NearestNeighbors(n_neighbors=min(k, len(x) - 1)).fit(x).kneighbors()


def manifold(name: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    if name == "gaussian":
        return rng.normal(size=(N, 40))
    if name.startswith("sphere"):
        x = rng.normal(size=(N, int(name[6:]) + 1))
        return x / np.linalg.norm(x, axis=1, keepdims=True)
    if name == "ball":
        x = rng.normal(size=(N, 20))
        return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(N, 1)) ** (1 / 20)
    return np.asarray(skdim.datasets.BenchmarkManifolds(random_state=0).generate(n=N, name="M7_Roll", dim=3, d=2))


# of METHOD.md: MLE with k - 2, with k - 1, TwoNN with 10 % discarded; one draw, so a few percent
REFERENCE = {
    "roll": (1.84, 1.94, 2.00),
    "sphere5": (4.65, 4.91, 4.82),
    "sphere10": (8.62, 9.10, 9.47),
    "ball": (14.24, 15.03, 16.60),
    "gaussian": (23.24, 24.53, 28.85),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_known_manifolds_have_the_reference_values(name):
    x = manifold(name)
    distances, index = neighbours(x, 20)
    found = estimate_all(distances, index, x.shape[1], groups=("mle", "twonn"))
    paper, mle, twonn = REFERENCE[name]
    assert found["mle_paper"].value == pytest.approx(paper, rel=0.04)
    assert found["mle"].value == pytest.approx(mle, rel=0.04)
    assert found["twonn"].value == pytest.approx(twonn, rel=0.06)


@pytest.mark.parametrize("name", ["roll", "sphere10", "gaussian"])
def test_equal_to_scikit_dimension(name):
    x = manifold(name)[:600]
    distances, index = neighbours(x, 20)
    found = estimate_all(distances, index, x.shape[1], groups=("mle", "twonn"))
    assert found["twonn"].value == pytest.approx(skdim.id.TwoNN().fit(x).dimension_, rel=1e-9)
    last = skdim.id.TwoNN(discard_fraction=1 / 600 - 1e-12).fit(x).dimension_
    assert found["twonn_paper"].value == pytest.approx(last, rel=1e-9)
    local = skdim.id.MLE(K=20).fit(x).dimension_pw_  # (k - 1) / L_i in scikit-dimension's own convention
    np.testing.assert_allclose(local_dimension(distances, 20), local, rtol=1e-9)


def test_levina_bickel_by_the_letter():
    distances = np.sort(np.random.default_rng(1).uniform(1, 2, (7, 9)), axis=1)
    for k in (2, 5, 9):
        literal = [sum(math.log(t[k - 1] / t[j]) for j in range(k - 1)) for t in distances]
        np.testing.assert_allclose(levina_bickel_terms(distances, k), literal, rtol=1e-12)


def literal_geomle(distances, index, kept, k1, k2, alpha):
    """The published procedure with loops and scikit-learn's ridge, point by point."""
    points = []
    for i in range(len(distances)):
        d, r = [], []
        for inside in kept:
            t = [distances[i, j] for j in range(distances.shape[1]) if inside[index[i, j]]]
            d.append([(k - 2) / sum(math.log(t[k - 1] / t[j]) for j in range(k - 1)) for k in range(k1, k2 + 1)])
            r.append([t[k - 1] for k in range(k1, k2 + 1)])
        radius, mean, std = np.mean(r, 0), np.mean(d, 0), np.std(d, 0, ddof=1)
        model = Ridge(alpha=alpha).fit(np.column_stack([radius, radius**2]), mean, 1 / std)
        points.append(model.intercept_)
    return np.array(points)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_geomle_equals_the_published_procedure(unit):
    x = unit * np.random.default_rng(2).normal(size=(80, 4))
    distances, index = neighbours(x, 79)
    kept = [dimension._bootstrap(80, 5, number) for number in range(6)]
    found = geomle_points(distances, index, 5, k1=6, k2=14, bootstraps=6)
    np.testing.assert_allclose(found, literal_geomle(distances, index, kept, 6, 14, 5e-3), rtol=1e-6)


def test_geomle_corrects_the_curse_of_dimension():
    x = manifold("ball")
    found = estimate_all(*neighbours(x), x.shape[1])
    assert abs(found["geomle"].value - 20) < abs(found["mle"].value - 20)


def test_geomle_does_not_depend_on_the_chunks(monkeypatch):
    x = np.random.default_rng(3).normal(size=(300, 5))
    whole = geomle_points(*neighbours(x), seed=1)
    monkeypatch.setattr(dimension, "_CHUNK", 1000)
    assert np.array_equal(whole, geomle_points(*neighbours(x), seed=1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_scale_and_order_do_not_matter(seed, scale):
    rng = np.random.default_rng(seed)
    distances, index = neighbours(rng.normal(size=(60, 3)), 20)
    order = rng.permutation(60)
    one = estimate_all(distances, index, 3, groups=("mle", "twonn"))
    two = estimate_all(scale * distances[order], index[order], 3, groups=("mle", "twonn"))
    for name in one:
        assert two[name].value == pytest.approx(one[name].value, rel=1e-9)


def test_standard_errors_are_the_spread_over_new_draws():
    values, errors = [], []
    names = ("mle", "twonn", "twonn_closed")
    for seed in range(100):
        x = np.random.default_rng(seed).normal(size=(300, 5))
        found = estimate_all(*neighbours(x, 20), 5, groups=("mle", "twonn"))
        values.append([found[name].value for name in names])
        errors.append([found[name].se for name in names])
    ratio = dict(zip(names, np.mean(errors, 0) / np.std(values, 0, ddof=1), strict=True))
    # a spread of 100 draws is known within 14 % (two standard errors)
    assert all(0.85 < of < 1.45 for of in ratio.values()), ratio


def test_the_error_of_a_sample_of_images_is_that_of_fewer_images():
    x = np.random.default_rng(0).normal(size=(1200, 5))
    distances, index = neighbours(x, 20)
    rows = np.sort(np.random.default_rng(1).choice(1200, 300, replace=False))
    whole = estimate_all(distances, index, 5, groups=("twonn",))["twonn"]
    sampled = estimate_all(distances[rows], index[rows], 5, groups=("twonn",))["twonn"]
    assert 1.4 < sampled.se / whole.se < 2.8


@pytest.mark.parametrize("n", [1, 2, 3, 10, 20, 21, 50])
def test_too_few_images_give_no_number_and_the_reason(n):
    x = np.random.default_rng(4).normal(size=(n, 3))
    distances = np.full((n, 20), np.inf)
    index = np.full((n, 20), -1)
    if n > 1:
        known = neighbours(x, 20)
        distances[:, : known[0].shape[1]], index[:, : known[1].shape[1]] = known
    found = estimate_all(distances, index, 3)
    assert math.isfinite(found["mle"].value) == (n >= 21)
    assert math.isfinite(found["twonn_closed"].value) == (n >= 3)
    for estimate in found.values():
        assert math.isfinite(estimate.value) or f"has {n}" in estimate.note


def test_ratios_are_sorted_logs():
    distances = np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 2.0]])
    np.testing.assert_allclose(two_nn_ratios(distances), [0.0, math.log(2), math.log(3)])


# --- the table of estimators -----------------------------------------------------------------------------------------


def gaussian(n: int = 150, features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Ascending distances and neighbours of Gaussian points."""
    points = np.random.default_rng(3).normal(size=(n, features))
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    index = np.argsort(apart, axis=1)[:, :-1]
    return np.take_along_axis(apart, index, axis=1), index


def test_an_estimate_does_not_depend_on_which_others_were_asked_for():
    distances, index = gaussian()
    together = estimate_all(distances, index, 6, seed=5)
    for row in ESTIMATORS.values():
        alone = estimate_all(distances, index, 6, seed=5, groups=(row.group,))
        assert alone[row.name] == together[row.name]
    assert estimate_all(distances, index, 6, seed=6)["twonn"].se != together["twonn"].se


def test_an_estimator_of_ones_own_is_estimated_and_can_be_removed():
    own = Estimator(
        name="doubled",
        group="doubled",
        title="Twice the closed form",
        short="doubled",
        explanation="nothing one would use",
        estimate=lambda x: (2.0 * estimate_all(x.distances, x.neighbour, 6)["twonn_closed"].value, x.rng.random(), ""),
        least=lambda k: 3,
        collected=30,
    )
    distances, index = gaussian()
    register(own)
    try:
        with pytest.raises(DatapropsError, match="'doubled' is taken"):
            register(own)
        found = estimate_all(distances, index, 6, groups=("doubled", "twonn"))
        assert found["doubled"].value == 2 * found["twonn_closed"].value
        assert neighbours_needed(("doubled",), 20) == 30
        assert "doubled" in groups()
    finally:
        unregister("doubled")
    assert "doubled" not in groups()


def test_geomle_of_a_large_set_is_that_of_a_sample_against_all(monkeypatch):
    """The points are a sample, their neighbours all images: the same numbers as those points have in the whole set."""
    x = np.random.default_rng(4).integers(0, 256, (700, 9)).astype(np.uint8)
    rows = array_rows(x, np.arange(700) % 2.0)
    geomle = replace(estimators.ESTIMATORS["geomle"], points=300)
    monkeypatch.setattr(estimators, "from_samples", lambda groups, n: [geomle])
    monkeypatch.setattr(sampled, "from_samples", estimators.from_samples)
    shown = []

    def show(pairs):
        shown.append(pairs)
        return nullcontext(shown.append)

    found = sampled.sampled_estimates(rows, ("geomle",), sampled.Asked(20, 5), Runner(), show)["geomle"]
    state = all_pairs(rows, PassSpec(160, sharp=False), Plan(700, 256, 0)).state
    points = geomle_points(np.sqrt(state.knn_d2) / 255.0, state.knn_index, 5)
    chosen = np.sort(estimators.generator(5, "images for geomle").choice(700, 300, replace=False))
    assert found.value == pytest.approx(points[chosen].mean(), rel=1e-12)
    assert found.n == 300 and "300 of 700" in found.note
    assert sum(shown[1:]) == shown[0] == 300 * 299 // 2 + 300 * 400


def test_large_sets_collect_no_neighbours_for_geomle():
    assert neighbours_needed(("mle", "geomle"), 20) == neighbours_needed(("mle", "geomle"), 20, 2000) == 160
    assert neighbours_needed(("mle", "geomle"), 20, 2001) == 20
    assert [row.name for row in estimators.from_samples(("mle", "geomle"), 2001)] == ["geomle"]
    assert estimators.from_samples(("mle", "geomle"), 2000) == []

"""How sketches are chosen, by the letter: widths, samples, directions, what passes in a trial, levels, against loops and formulas."""

from __future__ import annotations

import math
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dataprops.distances import basis_choice
from dataprops.distances.pooled import pool
from dataprops.distances.sketch import make_sketch
from tests.test_sketch import structured


def shifted(pixels: np.ndarray) -> tuple[torch.Tensor, np.ndarray]:
    """Images as int8, and their squared norms."""
    codes = torch.from_numpy((pixels.astype(np.int16) - 128).astype(np.int8))
    return codes, (codes.long() ** 2).sum(1).double().numpy()


def distances(pixels: np.ndarray) -> np.ndarray:
    wide = pixels.astype(float)
    return np.sqrt(((wide[:, None] - wide) ** 2).sum(-1))


@pytest.mark.parametrize(
    ("features", "rows", "coordinates"),
    [
        (16_384, 4_096, 512),
        (16_384, 4_095, 256),
        (16_383, 4_096, 256),
        (1_024, 2_048, 256),
        (1_024, 2_047, 128),
        (1_023, 2_048, 128),
        (256, 1_024, 128),
        (256, 1_023, 0),
        (255, 1_024, 0),
    ],
)
def test_a_sketch_is_as_wide_as_there_are_features_and_rows_for(features, rows, coordinates):
    assert basis_choice.width(features, rows) == coordinates


@pytest.mark.parametrize(
    ("n", "coordinates", "sampled"),
    [
        (10_000, 128, 256),
        (10_000, 512, 1_024),
        (3_000, 512, 750),
        (1_200, 256, 300),
        (600, 256, 256),
        (9_000, 1_200, 1_200),
    ],
)
def test_a_sample_and_what_is_held_out_are_spread_evenly(n, coordinates, sampled):
    chosen, others = basis_choice.sampled_rows(n, coordinates)
    assert len(chosen) == sampled and (chosen[0], chosen[-1]) == (0, n - 1)
    tried = max(256, coordinates) // (max(256, coordinates) // 256)
    assert len(others) == tried and others[0] > 0
    for rows in (chosen, others):
        assert np.ptp(np.diff(rows)) <= 1
    # every second of twice as many places, of which so many are taken that no fewer than 256 are left
    places = np.linspace(0, n - 1, 2 * max(256, coordinates)).astype(int)
    assert set(others) <= set(places[1::2].tolist())


def test_directions_are_principal_components_of_one_size_and_the_mean():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(300, 3)))[0]
    pixels = np.clip(100 + rng.normal(size=(400, 3)) * (700, 350, 170) @ axes.T, 0, 255).round().astype(np.uint8)
    codes, _ = shifted(pixels)
    found = basis_choice.principal_directions(codes, 4).numpy().astype(float)
    _, _, wanted = np.linalg.svd(pixels - pixels.mean(axis=0), full_matrices=False)
    for direction, axis in zip(found[:3], wanted[:3], strict=True):
        assert abs(direction @ axis) / np.linalg.norm(direction) > 0.999
        assert np.sqrt((direction**2).mean()) == pytest.approx(127 / 6, rel=0.01)
    assert np.array_equal(found[3], (pixels.astype(float).mean(axis=0) - 128).astype(np.float32).round())
    # of images on one line one direction is left, the others are nothing
    line = np.repeat(np.arange(0, 200, 2, dtype=np.uint8)[:, None], 30, axis=1)
    found = basis_choice.principal_directions(shifted(line)[0], 4)
    assert found[0].abs().min() > 0 and not found[1:3].any()


@pytest.mark.parametrize("place", [1, 2, 7])
def test_a_pair_matters_within_the_farther_reach_of_its_two_images(place):
    pixels = structured(40, 50, 3, 5.0, 0)
    apart = distances(pixels)
    reach = np.sort(apart, axis=1)[:, place]
    wanted = [[max(one, two) for two in reach] for one in reach]
    np.testing.assert_allclose(basis_choice.within_reach(*shifted(pixels), place), wanted)


@pytest.mark.parametrize("factor", [2, 4])
def test_bounds_of_small_pictures_are_those_of_the_formula_and_below_the_distances(factor):
    pixels = structured(30, 16 * 16, 4, 3.0, 0)
    small = pool(*shifted(pixels), factor)
    bounds = basis_choice._picture_bounds(small)
    codes = small.codes.numpy().astype(float)
    for i in range(30):
        for j in range(30):
            squares = small.inner[i] + small.inner[j] - 2 * codes[i] @ codes[j] + (small.rest[i] - small.rest[j]) ** 2
            wanted = factor * (math.sqrt(max(0.0, squares)) - small.moved[i] - small.moved[j])
            assert bounds[i, j] == pytest.approx(wanted, abs=1e-9)
    assert (bounds <= distances(pixels)).all()


@pytest.mark.parametrize("fractions", [(0.5, 0.3), (0.05, 0.2), (0.01, 0.002), (0.4, 0.0)])
@pytest.mark.parametrize("arriving", [0.001, 0.1, 0.4, 0.41])
@pytest.mark.parametrize("features", [1_024, 100_000])
def test_levels_are_those_of_the_least_work(fractions, arriving, features, monkeypatch):
    monkeypatch.setattr(basis_choice, "pair_cost", lambda: 3.0)
    passed = dict(zip((4, 2), fractions, strict=True))

    def work(levels: tuple[int, ...]) -> float:
        total, left = 0.0, arriving
        for factor in levels:
            total += left / factor**2 + left * 256 / features
            left = min(left, passed[factor])
        return 3 * (total + left)

    some = [levels for count in (0, 1, 2) for levels in combinations((4, 2), count)] if arriving <= 0.4 else [()]
    levels, least = basis_choice.choose_levels(arriving, passed, features)
    assert levels == min(some, key=work)
    assert least == pytest.approx(work(levels))


@pytest.mark.parametrize(
    ("route", "quick", "cost"), [("int8", True, 4.5), ("int8", False, 16), ("int16", True, 3), ("float32", False, 2)]
)
def test_what_a_single_pair_costs(route, quick, cost, monkeypatch):
    monkeypatch.setattr(basis_choice, "choose_route", lambda device: route)
    monkeypatch.setattr(basis_choice, "dots_are_quick", lambda: quick)
    assert basis_choice.pair_cost() == cost


@pytest.mark.parametrize(("route", "levels"), [("int8", ()), ("int16", (4,)), ("float32", (4,))])
def test_where_tiles_are_slow_more_pairs_are_looked_at_on_small_pictures(route, levels, monkeypatch):
    monkeypatch.setattr(basis_choice, "choose_route", lambda device: route)
    assert basis_choice.choose_levels(0.6, {4: 0.1}, 50_176)[0] == levels


def test_a_trial_counts_the_pairs_that_sketches_of_the_same_images_do_not_rule_out():
    pixels = structured(500, 256, 6, 3.0, 0)
    codes, norm = shifted(pixels)
    directions = basis_choice.principal_directions(codes[:300], 32)
    codes, norm = codes[300:], norm[300:]
    products = basis_choice.products_of(directions, pool(codes, norm, 1), norm)
    basis, along = basis_choice.make_basis(directions, products, 16)
    assert basis is not None and along is not None and len(basis.axis) == 16
    sketch = make_sketch(basis, codes, norm)
    flat = sketch.codes.numpy().astype(float)
    apart = np.sqrt(((flat[:, None] - flat) ** 2).sum(-1)) - sketch.error[:, None] - sketch.error
    reach = basis_choice.within_reach(codes, norm, 3)
    wanted = (apart * basis.step <= reach).mean()
    assert 0.01 < wanted < 0.5
    assert basis_choice.trial(basis, along, products, reach) == pytest.approx(wanted, abs=2 / 200**2)


@pytest.mark.parametrize("coordinates", [8, 16])
def test_coordinates_keep_the_distances_of_images_in_the_span_and_clip_few(coordinates):
    pixels = structured(300, 100, 3, 0.0, 1)
    codes, norm = shifted(pixels)
    directions = basis_choice.principal_directions(codes, 16)
    products = basis_choice.products_of(directions, pool(codes, norm, 1), norm)
    basis, along = basis_choice.make_basis(directions, products, coordinates)
    assert basis is not None and along is not None and along.shape == (300, coordinates)
    flat = np.sqrt(((along[:, None] - along) ** 2).sum(-1))
    apart = distances(pixels)
    assert (flat <= apart + 1e-6).all() and np.median(flat[apart > 0] / apart[apart > 0]) > 0.95
    clipped = np.abs(along - basis.centre) > 127 * basis.step
    assert clipped.mean() <= 2 / (16 * coordinates)


def test_directions_that_depend_on_each_other_are_one_and_none_at_all_are_no_basis():
    codes, norm = shifted(structured(60, 64, 3, 2.0, 0))
    directions = basis_choice.principal_directions(codes, 8)
    directions[1:7] = directions[0]
    products = basis_choice.products_of(directions, pool(codes, norm, 1), norm)
    basis, along = basis_choice.make_basis(directions, products, 8)
    assert basis is not None and along is not None
    assert np.linalg.matrix_rank(along, tol=1e-6 * np.abs(along).max()) == 1
    directions[:7] = 0
    products = basis_choice.products_of(directions, pool(codes, norm, 1), norm)
    assert basis_choice.make_basis(directions, products, 8) == (None, None)


class Chosen(SimpleNamespace):
    """What is looked at of a basis."""

    def _replace(self, **more):
        return Chosen(**vars(self) | more)


@pytest.mark.parametrize(
    ("n", "place", "kept", "looked", "coordinates"),
    [
        (400, 2, 90, {8: 0.5, 16: 0.25, 32: 0.25}, 16),
        (400, 2, 91, {8: 0.25, 16: 0.125, 32: 0.0}, 8),  # equal work: the narrower
        (10**6, 1, 0, {8: 0.875, 16: 0.75, 32: 0.25}, 32),
        (3, 39, 90, {8: 0.875, 16: 0.75, 32: 0.5}, None),  # as much work as all products
    ],
)
def test_the_width_of_the_least_work_is_chosen(n, place, kept, looked, coordinates, monkeypatch):
    seen = {}
    bounds = np.ones((10, 10))
    bounds.ravel()[:kept] = 0.5
    replaced = {
        "factors": lambda features: [4, 2, 1],
        "pool": lambda rows, norm, factor: SimpleNamespace(codes=factor),
        "within_reach": lambda others, norm, at: seen.update(place=at) or np.full((10, 10), 0.5),
        "_picture_bounds": lambda picture: bounds,
        "principal_directions": lambda codes, count: seen.update(factor=codes, count=count),
        "products_of": lambda directions, others, norm: others.codes,
        "make_basis": lambda directions, products, count: (Chosen(axis=range(count)), count),
        "trial": lambda basis, along, products, reach: along,
        "choose_levels": lambda passed, by, features: ((passed, by, features), looked[passed]),
    }
    for name, function in replaced.items():
        monkeypatch.setattr(basis_choice, name, function)
    others = torch.zeros(40, 64, dtype=torch.int8)
    basis = basis_choice.choose_basis(others, np.zeros(40), others, np.zeros(40), 32, n)
    assert seen == {"place": place, "factor": 4 if kept <= 90 else 1, "count": 32}
    if coordinates is None:
        assert basis is None
    else:
        assert basis is not None and len(basis.axis) == coordinates
        assert basis.levels == (coordinates, {4: kept / 100, 2: kept / 100}, 64)
    monkeypatch.setattr(basis_choice, "make_basis", lambda *_: (None, None))
    assert basis_choice.choose_basis(others, np.zeros(40), others, np.zeros(40), 32, n) is None


@pytest.mark.parametrize("factor", [1, 2])
def test_products_are_in_units_of_the_small_pictures(factor):
    codes, norm = shifted(structured(20, 64, 3, 5.0, 0))
    small = pool(codes, norm, factor)
    directions = small.codes[:4]
    found = basis_choice.products_of(directions, small, norm)
    wide = directions.double()
    assert torch.equal(found.gram, wide @ wide.T) and found.cross.shape == (20, 4)
    assert np.array_equal(found.norm, norm / factor**2) and found.factor == factor

"""Neighbours of float vectors equal a float64 brute force, near-duplicates at every scale and offset included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprops.distances import vectors
from dataprops.distances.kernel import EMPTY
from dataprops.distances.vectors import nearest_vectors
from dataprops.errors import DatapropsError


def brute_force(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    wide = x.astype(np.float64)
    d2 = ((wide[:, None] - wide[None]) ** 2).sum(-1)
    np.fill_diagonal(d2, np.inf)
    order = np.argsort(d2, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(d2, order, 1)), order


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 60),
    st.sampled_from([1, 3, 64, 700]),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e6, 1e30]),
    st.sampled_from([0.0, 1.0, 1e4]),
    st.sampled_from([1e-12, 1e-6, 1e-3]),
    st.sampled_from([np.float32, np.float64]),
)
def test_equal_to_brute_force_at_every_scale_and_offset(seed, n, features, size, offset, nearness, kind):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features))
    half = n // 2
    x[half : 2 * half] = x[:half] + nearness * rng.normal(size=(half, features))  # near-duplicates
    x = ((x + offset) * size).astype(kind)
    k = min(5, n - 1)
    distance, neighbour = nearest_vectors(x, k)
    wanted, order = brute_force(x, k)
    np.testing.assert_allclose(distance, wanted, rtol=1e-11, atol=0)
    # sums of squares in another order may swap neighbours that are equally far to the last digits
    wide = x.astype(np.float64)
    again = np.sqrt(((wide[:, None] - wide[neighbour]) ** 2).sum(-1))
    np.testing.assert_allclose(again, wanted, rtol=1e-11, atol=0)
    tied = np.isclose(np.diff(wanted, axis=1), 0, rtol=0, atol=1e-11 * wanted[:, 1:])
    if not tied.any():
        assert np.array_equal(neighbour, order)


def test_vectors_too_small_for_float32_beside_a_large_one():
    x = 1e-25 * np.random.default_rng(3).normal(size=(30, 6))
    x[0] = 1.0
    distance, neighbour = nearest_vectors(x, 3)
    wanted, order = brute_force(x, 3)
    np.testing.assert_allclose(distance, wanted, rtol=1e-11)
    assert np.array_equal(neighbour, order)


def test_tiles_do_not_change_the_result(monkeypatch):
    x = np.random.default_rng(1).integers(0, 3, (70, 4)).astype(np.float32)  # many ties
    whole = nearest_vectors(x, 6)
    monkeypatch.setattr(vectors, "TILE_MEMORY", 1)
    strips = nearest_vectors(x, 6)
    assert np.array_equal(whole[0], strips[0])
    assert np.array_equal(whole[1], strips[1])


def test_fewer_than_k_others_leave_empty_places():
    distance, neighbour = nearest_vectors(np.zeros((2, 3)), 4)
    assert distance[0].tolist() == [0.0, np.inf, np.inf, np.inf]
    assert neighbour[1].tolist() == [0, EMPTY, EMPTY, EMPTY]
    assert nearest_vectors(np.zeros((0, 3)), 4)[0].shape == (0, 4)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(DatapropsError, match="NaN or infinite"):
        nearest_vectors(np.array([[0.0], [np.nan]]), 1)


def test_the_margin_lets_most_pairs_go_undecided(monkeypatch):
    decided = []
    reduce = vectors._reduce
    monkeypatch.setattr(vectors, "_reduce", lambda *args: decided.append(reduce(*args)))
    x = np.random.default_rng(2).normal(size=(1500, 32))
    nearest_vectors(x, 5)
    assert sum(decided) < 0.25 * 1500 * 1499 / 2

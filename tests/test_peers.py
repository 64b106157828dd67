"""Against others, on manifolds of known dimension and on real digits: what they compute too comes out alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from dataprops.distances.allpairs import Runner, all_pairs, array_rows
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.properties.dimension import geomle_points, geomle_value
from dataprops.properties.estimators import estimate_all
from dataprops.properties.in_memory import intrinsic_dimension, label_sharpness

K = 20


class Set(NamedTuple):
    """Images of 8 bits with classes, and the result of one pass: distances and indices of the nearest, sharpest pairs."""

    pixels: np.ndarray
    y: np.ndarray
    distances: np.ndarray
    index: np.ndarray
    sharp: np.ndarray


@pytest.fixture(scope="module", params=["digits", "roll", "sphere"])
def images(request: pytest.FixtureRequest) -> Set:
    """Distinct images: real digits, or a manifold in bytes."""
    from sklearn.datasets import load_digits

    if request.param == "digits":
        data, y = load_digits(return_X_y=True)
        pixels = np.rint(data * (255 / 16)).astype(np.uint8)
    else:
        rng = np.random.default_rng(0)
        if request.param == "roll":
            angle, height = 1.5 * np.pi * (1 + 2 * rng.random(1500)), 21 * rng.random(1500)
            x = np.stack([angle * np.cos(angle), height, angle * np.sin(angle)], axis=1)
        else:
            x = rng.normal(size=(1500, 6))
            x /= np.linalg.norm(x, axis=1, keepdims=True)
        x = x @ rng.normal(size=(x.shape[1], 196))  # spread over many pixels, so that rounding to bytes matters little
        pixels, y = np.rint(255 * (x - x.min()) / (x.max() - x.min())).astype(np.uint8), rng.integers(0, 3, len(x))
    pixels, first = np.unique(pixels, axis=0, return_index=True)
    y = y[first].astype(float)
    state = all_pairs(array_rows(pixels, y), PassSpec(K), Plan(700, 256, 0), Runner(threads=2)).state
    return Set(pixels, y, np.sqrt(state.knn_d2), state.knn_index, np.sqrt(state.sharp))


def square(pixels: np.ndarray) -> np.ndarray:
    """Rows of pixels as images."""
    side = int(np.sqrt(pixels.shape[1]))
    return pixels.reshape(-1, side, side)


def float64(pixels: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs; of bytes they are exact in float64."""
    x = pixels.astype(np.float64)
    square = (x * x).sum(1)
    d2 = square[:, None] + square[None] - 2 * x @ x.T
    np.fill_diagonal(d2, np.inf)
    return d2


def test_neighbours_and_sharpest_pairs_equal_brute_force_in_float64(images: Set) -> None:
    d2 = float64(images.pixels)
    np.testing.assert_array_equal(images.distances**2, np.sqrt(np.sort(d2, axis=1)[:, :K]) ** 2)
    np.testing.assert_array_equal(images.index, np.argsort(d2, axis=1, kind="stable")[:, :K])  # ties by index
    other = np.where(images.y[:, None] != images.y[None], d2, np.inf).min(1)
    np.testing.assert_allclose(images.sharp, 1 / np.sqrt(other), rtol=1e-12)
    found = label_sharpness(square(images.pixels), images.y.astype(int), m=None)
    assert found.value == pytest.approx(1 / np.sqrt(other.min()), rel=1e-9)


def test_neighbours_equal_those_of_faiss_and_scikit_learn(images: Set) -> None:
    faiss = pytest.importorskip("faiss")
    from sklearn.neighbors import NearestNeighbors

    index = faiss.IndexFlatL2(images.pixels.shape[1])
    index.add(images.pixels.astype(np.float32))
    theirs, _ = index.search(images.pixels.astype(np.float32), K + 1)
    # faiss expands |a - b|^2 in float32: near pairs come out with the error of |a|^2
    bound = 4e-7 * (images.pixels.astype(np.float64) ** 2).sum(1).max()
    np.testing.assert_allclose(theirs[:, 1:], images.distances**2, rtol=1e-5, atol=bound)
    distances, _ = NearestNeighbors(n_neighbors=K, algorithm="brute").fit(images.pixels.astype(np.float64)).kneighbors()
    np.testing.assert_allclose(distances, images.distances, rtol=1e-7)


def test_dimensions_equal_those_of_scikit_dimension(images: Set) -> None:
    skdim = pytest.importorskip("skdim")
    found = estimate_all(images.distances, images.index, images.pixels.shape[1], groups=("mle", "twonn"))
    x = images.pixels.astype(np.float64)
    assert found["twonn"].value == pytest.approx(skdim.id.TwoNN().fit(x).dimension_, rel=1e-6)
    local = (
        skdim.id.MLE(K=K).fit(x).dimension_pw_
    )  # (k - 1) / L_i; its inverses are averaged, after MacKay and Ghahramani
    assert found["mle"].value == pytest.approx(1 / np.mean(1 / local), rel=1e-6)


def test_twonn_equals_dadapy(images: Set) -> None:
    data = pytest.importorskip("dadapy").Data
    found = estimate_all(images.distances, images.index, images.pixels.shape[1], groups=("twonn",))
    theirs, *_ = data(images.pixels.astype(np.float64)).compute_id_2NN(algorithm="base", mu_fraction=0.9)
    assert found["twonn"].value == pytest.approx(theirs, rel=0.02)


@pytest.mark.parametrize(("images", "true"), [("roll", 2), ("sphere", 5)], indirect=["images"])
def test_manifolds_have_their_dimension(images: Set, true: int) -> None:
    found = intrinsic_dimension(square(images.pixels), estimator="mle")
    assert found.value == pytest.approx(true, rel=0.12)


# The published code of GeoMLE, github.com/stat-ml/GeoMLE at 89a33a4: its DataGenerator(random_state=7) with 500 points, its geomle()
# with nb_iter1=5, nb_iter2=20, random_state=1 and the neighbours named. Mean and standard deviation over its five repetitions, each
# of 20 bootstrap samples as ours are (numpy 2.4, scikit-learn 1.9; 2026-11-27). It sets estimates below 0 to 0.
GEOMLE_PUBLISHED = {
    # manifold: features, (k = 10..40), (k = 25..55)
    "sphere of 5": (10, (5.5948, 0.0133), (5.1708, 0.0256)),
    "sphere of 10": (15, (10.9312, 0.0406), (10.3689, 0.0415)),
    "roll": (3, (1.7297, 0.0689), (0.0, 0.0)),
    "s-curve": (3, (2.1831, 0.0208), (2.1303, 0.0143)),
    "helix": (3, (1.0920, 0.0592), None),
}


def its_manifold(name: str, n: int = 500) -> np.ndarray:
    """The points of that generator, without the features that are 0 throughout."""
    rng = np.random.RandomState(7)
    if name.startswith("sphere"):
        x = rng.randn(n, int(name.split()[-1]) + 1)
        return x / np.sqrt((x**2).sum(1, keepdims=True))
    t = rng.rand(n)
    if name == "helix":
        t = 2 * np.pi / n + 2 * np.pi * t
        return np.stack([(2 + np.cos(8 * t)) * np.cos(t), (2 + np.cos(8 * t)) * np.sin(t), np.sin(8 * t)], 1)
    other = rng.rand(n)
    if name == "roll":
        t = 1.5 * np.pi * (1 + 2 * t)
        return np.stack([t * np.cos(t), 21 * other, t * np.sin(t)], 1)
    t = 3 * np.pi * (t - 0.5)
    return np.stack([np.sin(t), 2 * other, np.sign(t) * (np.cos(t) - 1)], 1)


@pytest.mark.parametrize("name", GEOMLE_PUBLISHED)
def test_geomle_gives_the_numbers_of_its_published_code(name: str) -> None:
    features, (few, few_sd), many = GEOMLE_PUBLISHED[name]
    d2 = ((points := its_manifold(name))[:, None] - points[None]) ** 2
    distances = np.sqrt(d2.sum(-1))
    np.fill_diagonal(distances, np.inf)
    index = np.argsort(distances, 1, kind="stable")[:, :160]
    distances = np.take_along_axis(distances, index, 1)
    found = np.mean([geomle_points(distances, index, seed, k1=10, k2=40).mean() for seed in range(3)])
    assert found == pytest.approx(few, abs=0.015 * few + 2 * few_sd)
    if many is not None:  # the neighbours that an audit takes
        value, _, _ = geomle_value(distances, index, features, 0, 0)
        assert value == pytest.approx(many[0], abs=0.015 * many[0] + 2 * many[1])

"""Choose the projection of the sketches: leading principal components of a sample, as many as minimise the total work.

For several widths, a trial on held-out images measures the fraction of pairs that the bounds do not prune; the width with the least
work is chosen. The bounds themselves are derived in `sketch`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.dots import dots_are_quick
from dataprops.distances.pooled import Pooled, factors, pool
from dataprops.distances.product import choose_route, product
from dataprops.distances.sketch import Basis, along_directions, empty_sketch, quantise_into
from dataprops.util.threads import one_thread

log = logging.getLogger(__name__)

WIDTHS = ((16_384, 512), (1_024, 256), (256, 128))  # (minimum features, maximum coordinates of a sketch)
NARROWER = (4, 2, 1)  # divisors of the maximum width to try
SAMPLE_PER_COORDINATE = 2  # images per coordinate in the sample for the principal components
MOST_SAMPLED = 1_024
PART = 16_384  # features of the directions computed at once
WIDEST_SPREAD = 6.0  # clip directions at this multiple of their root mean square
OVERSAMPLING = 16  # extra directions of the randomized decomposition
LEAST_SAMPLE = 256  # rows of the trial
ROWS_PER_COORDINATE = 8  # with fewer rows, sketches cost more than they save
TRIAL_NEIGHBOURS = 20  # neighbours per row of the whole set; scaled down to the size of the trial
TRIAL_WORK = 1.0  # maximum work relative to all products; with clusters, at least the tiles between them are pruned
# cost of the product of a single pair relative to a pair in a tile, by route
PAIR_COST = {"int8": 16.0, "int16": 3.0, "float32": 2.0}
QUICK_PAIR_COST = 4.5  # the same if products of single pairs are vectorised (`dots_are_quick`)
# fraction of pairs that pass on downscaled images: 0.03 to 0.35 on real sets, 1 for patterns of single pixels
NOTHING_KEPT = 0.9
# fraction of a tile's pairs, by route; with more, downscaled images are skipped
MOST_LOOKED_AT = {"int8": 0.4, "int16": 0.7, "float32": 0.7}
LEVEL_FEATURES = 256  # overhead of testing a pair at one level, in features
LEAST_EIGENVALUE = 1e-6  # relative to the largest; smaller ones are (nearly) linearly dependent directions
ORTHOGONAL = 1e-9  # tolerance of A A^T - I
CLIPPED = 16  # coordinates per clipped one


def pair_cost() -> float:
    """Cost of the product of a single pair relative to a pair in a tile."""
    return min(PAIR_COST[choose_route("cpu")], QUICK_PAIR_COST if dots_are_quick() else math.inf)


def most_looked_at() -> float:
    """Largest fraction of a tile's pairs to look at on downscaled images."""
    return MOST_LOOKED_AT[choose_route("cpu")]


def width(features: int, rows: int) -> int:
    """Maximum coordinates of a sketch; 0 if sketches cost more than they save."""
    for least, coordinates in WIDTHS:
        if features >= least and rows >= ROWS_PER_COORDINATE * coordinates:
            return coordinates
    return 0


def sampled_rows(n: int, coordinates: int) -> tuple[np.ndarray, np.ndarray]:
    """Evenly spaced rows from which to compute a basis, and held-out rows for the trial, int64 each."""
    wanted = min(max(coordinates, MOST_SAMPLED), max(coordinates, n // 4), SAMPLE_PER_COORDINATE * coordinates)
    between = np.linspace(0, n - 1, 2 * max(LEAST_SAMPLE, coordinates)).astype(np.int64)[1::2]
    return np.linspace(0, n - 1, wanted).astype(np.int64), between[:: max(1, len(between) // LEAST_SAMPLE)]


def principal_directions(sample: torch.Tensor, count: int) -> torch.Tensor:
    """Leading principal components of a sample and its mean, scaled and rounded to int8: [count, D], the mean last.

    By a randomized decomposition of the sample's Gram matrix (Halko, Martinsson & Tropp 2011). Bounds hold for any
    directions; principal ones are the tightest.

    Parameters
    ----------
    sample : int8 [s, D]
    """
    s, features = sample.shape
    gram = product(sample, sample, choose_route("cpu")).double()
    gram -= gram.mean(dim=0)
    gram -= gram.mean(dim=1, keepdim=True)
    size = gram.diagonal().mean().clamp_min(1e-30)
    scaled = (gram / size).float()
    wide = min(s, count - 1 + OVERSAMPLING)
    begin = torch.from_numpy(np.random.default_rng(0).normal(size=(s, wide)).astype(np.float32))
    span, _ = torch.linalg.qr(scaled @ (scaled @ begin))
    _, inner = torch.linalg.eigh(span.t() @ scaled @ span)
    weights = span @ inner.flip(1)[:, : count - 1]
    weights -= weights.mean(dim=0)  # equivalent to centring the images
    length2 = ((scaled @ weights) * weights).sum(dim=0).double() * size
    spread = (length2.clamp_min(0) / features).sqrt()  # root mean square of a component
    weights *= torch.where(spread > 1e-6 * spread.max(), 127 / (WIDEST_SPREAD * spread), 0.0).float()
    directions = torch.zeros(count, features, dtype=torch.int8)
    mean = torch.full((1, s), 1 / s)
    for start in range(0, features, PART):
        part = slice(start, start + PART)
        some = sample[:, part].float()
        directions[: weights.shape[1], part] = (weights.t() @ some).round().clamp(-127, 127).to(torch.int8)
        directions[-1, part] = (mean @ some).round()[0].to(torch.int8)
    return directions


class Products(NamedTuple):
    """Inner products from which the width is chosen, for p directions (the last is the mean c) and s held-out images, float64.

    Attributes
    ----------
    gram, cross : [p, p], [s, p]
        Inner products of the directions, and of the images with them.
    norm : float64 [s]
        Squared norms of the images, in units of the downscaled images.
    factor : int
        Downscaling factor.
    """

    gram: torch.Tensor
    cross: torch.Tensor
    norm: np.ndarray
    factor: int


def products_of(directions: torch.Tensor, others: Pooled, norm: np.ndarray) -> Products:
    """Compute all inner products needed to choose the width, once for all widths.

    Parameters
    ----------
    directions : int8 [p, q]
    others : Pooled
        Held-out images.
    norm : float64 [s]
        Squared norms of their pixels.
    """
    gram = product(directions, directions, choose_route("cpu")).double()
    return Products(gram, others.products(directions), norm / others.factor**2, others.factor)


@one_thread()
def choose_basis(
    sample: torch.Tensor, sample_norm: np.ndarray, others: torch.Tensor, norm: np.ndarray, coordinates: int, n: int
) -> Basis | None:
    """The basis with the least work among several widths; None if sketches would not save work.

    Parameters
    ----------
    sample, others : int8 [s, D], [t, D]
        Images from which the directions are computed, and held-out images for the trial.
    sample_norm, norm : float64 [s], [t]
        Their squared norms.
    n : int
        Images of the whole set.
    """
    sizes = factors(others.shape[1])
    pictures = {factor: pool(others, norm, factor) for factor in sizes}
    place = min(max(1, round(TRIAL_NEIGHBOURS * len(others) / n)), len(others) - 1)
    reach = within_reach(others, norm, place)
    passed_by = {factor: float((_picture_bounds(pictures[factor]) <= reach).mean()) for factor in sizes if factor > 1}
    log.debug("fraction of a sample's pairs that pass on downscaled images, by factor: %s", passed_by)
    # images with coarse structure allow the directions to be computed on downscaled images at a fraction of the cost
    factor = sizes[0] if passed_by.get(sizes[0], 0.0) <= NOTHING_KEPT else sizes[-1]
    directions = principal_directions(pool(sample, sample_norm, factor).codes, coordinates)
    products = products_of(directions, pictures[factor], norm)
    best, least = None, TRIAL_WORK
    for part in NARROWER:
        basis, along = make_basis(directions, products, coordinates // part)
        if basis is None or along is None:
            continue
        passed = trial(basis, along, products, reach)
        levels, looked = choose_levels(passed, passed_by, others.shape[1])
        work = len(basis.axis) / others.shape[1] + looked
        log.debug("with sketches of %d coordinates %.2f %% of a sample's pairs pass", len(basis.axis), 100 * passed)
        if work < least:
            best, least = basis._replace(levels=levels), work
    return best


def within_reach(others: torch.Tensor, norm: np.ndarray, place: int) -> np.ndarray:
    """Distance within which each pair matters, float64 [s, s]: the larger of both images' distances to their `place`-th nearest."""
    g = product(others, others, choose_route("cpu")).numpy()
    distance = np.sqrt(np.maximum(0.0, norm[:, None] + norm - 2.0 * g))
    reach = np.partition(distance, place, axis=1)[:, place]
    return np.maximum(reach[:, None], reach)


def choose_levels(arriving: float, passed: Mapping[int, float], features: int) -> tuple[tuple[int, ...], float]:
    """The downscaling factors that minimise the work, and that work relative to the products of all pairs.

    Parameters
    ----------
    arriving : float
        Fraction of all pairs that reach this stage.
    passed : mapping of int to float
        Factor -> fraction of all pairs that pass at it, coarsest first.
    features : int
        D.
    """

    def work(levels: tuple[int, ...]) -> float:
        total, left = 0.0, arriving
        for factor in levels:
            total += left * (1 / factor**2 + LEVEL_FEATURES / features)
            left = min(left, passed[factor])
        return pair_cost() * (total + left)

    if arriving > most_looked_at():
        return (), work(())
    every = [tuple(f for i, f in enumerate(passed) if chosen >> i & 1) for chosen in range(2 ** len(passed))]
    best = min(every, key=work)
    return best, work(best)


def _picture_bounds(picture: Pooled) -> np.ndarray:
    """Lower bounds of the distances of all pairs, in grey levels, float64 [s, s]."""
    g = product(picture.codes, picture.codes, choose_route("cpu")).numpy()
    rest = picture.rest[:, None] - picture.rest
    apart2 = picture.inner[:, None] + picture.inner - 2.0 * g + rest * rest
    return picture.factor * (np.sqrt(np.maximum(0.0, apart2)) - picture.moved[:, None] - picture.moved)


def make_basis(
    directions: torch.Tensor, products: Products, coordinates: int
) -> tuple[Basis | None, np.ndarray | None]:
    """A basis of the first directions, and the rotated coordinates of the held-out images in it; None if ill-conditioned.

    Parameters
    ----------
    directions : int8 [p, q]
    products : Products
        Of these directions.
    coordinates : int
        A power of two; one of them is that of r.
    """
    from scipy.linalg import hadamard  # deferred: a tenth of a second that small images do not need

    used = [*range(coordinates - 1), len(directions) - 1]
    gram, cross = products.gram[used][:, used], products.cross[:, used]
    inner = gram[:-1, :-1]
    values, vectors = torch.linalg.eigh(inner)
    kept = values > LEAST_EIGENVALUE * values[-1]
    if not kept.any() or not values[-1] > 0:
        return None, None
    onto = vectors[:, kept] / values[kept].sqrt()
    off = onto.T @ inner @ onto - torch.eye(onto.shape[1], dtype=torch.float64)
    if torch.linalg.matrix_norm(off) > ORTHOGONAL:
        return None, None
    signs = np.random.default_rng(0).choice((-1.0, 1.0), coordinates)
    rotation = hadamard(coordinates) * (signs / np.sqrt(coordinates))
    turn = torch.zeros(coordinates, coordinates, dtype=torch.float64)
    turn[:-1] = onto @ torch.from_numpy(np.ascontiguousarray(rotation[:, : onto.shape[1]].T))
    axis = np.ascontiguousarray(rotation[:, -1])
    origin, origin_norm = (gram[-1] @ turn).numpy(), float(gram[-1, -1])
    plain = directions[used].contiguous(), turn, axis, origin, origin_norm, np.zeros(coordinates), 1.0
    basis = Basis(*plain, products.factor)
    along, apart2 = along_directions(basis, cross, products.norm)
    left = np.sqrt(np.maximum(0.0, apart2 - (along * along).sum(axis=1)))
    vectors = along + left[:, None] * axis
    centre = vectors.mean(axis=0)
    # the largest few coordinates are clipped, which raises the error of their rows and lowers that of all others
    step = float(np.quantile(np.abs(vectors - centre), 1 - 1 / (CLIPPED * coordinates))) / 127
    return (basis._replace(centre=centre, step=step), along) if step > 0 else (None, None)


def trial(basis: Basis, along: np.ndarray, products: Products, reach: np.ndarray) -> float:
    """Fraction of the pairs of some rows that the bounds do not prune (close to 1 on data without structure).

    Parameters
    ----------
    along : float64 [s, p]
        Rotated coordinates of the rows.
    reach : float64 [s, s]
        Distances within which pairs matter.
    """
    sketch = empty_sketch(basis, products.norm)
    apart2 = np.maximum(0.0, products.norm - 2.0 * products.cross[:, -1].numpy() + basis.origin_norm)
    quantise_into(sketch, slice(None), basis, along, apart2)
    codes = product(sketch.codes, sketch.codes, choose_route("cpu")).numpy()
    apart = sketch.norm[:, None] + sketch.norm - 2.0 * codes
    bound = (np.sqrt(np.maximum(0.0, apart)) - sketch.error[:, None] - sketch.error) * sketch.step
    return float((bound <= reach).mean())

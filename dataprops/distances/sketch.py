"""Lower bounds of distances from short sketches, so that most pairs need no product of all their features.

The idea is filter-and-refine (Faloutsos et al. 1994: a filter that never overestimates a distance dismisses nothing
wrongly). With c any fixed image, A an orthogonal projection onto a few directions and r the length of what A leaves of x - c, the map
x -> (A(x - c), r) never lengthens a distance:

    ||x - y||^2 = ||A(x - y)||^2 + ||(I - A)(x - y)||^2 >= ||Ax - Ay||^2 + (r_x - r_y)^2.

The directions are the principal components of some of the images, c their mean, all rounded to int8: whatever was rounded away makes
them a little worse, and never wrong, as A is made orthogonal from the rounded ones by exact products. The vector (A(x - c), r) is
turned by a fixed orthogonal matrix, so that its energy is spread over its coordinates, and rounded to int8 steps; the length of what
rounding changed is kept as the row's `error`. Then, in steps,

    ||x - y|| >= ||code_x - code_y|| - error_x - error_y,

where the codes' distance comes from the same exact int8 product as everything else, over a few coordinates in place of D. How tight
the bound is only decides how many pairs must be looked at in full; a trial on other images tells it for several widths, and the width
with the least work is taken.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from scipy.linalg import hadamard

from dataprops.distances.dots import dots_are_quick
from dataprops.distances.lanes import LANES, close_lanes
from dataprops.distances.pooled import Pooled, factors, pool
from dataprops.distances.product import choose_route, product
from dataprops.util.compiled import njit
from dataprops.util.threads import one_thread

log = logging.getLogger(__name__)

WIDTHS = ((16_384, 512), (1_024, 256), (256, 128))  # from so many features on: coordinates of a sketch at most
NARROWER = (4, 2, 1)  # parts of them that are tried
SAMPLE_PER_COORDINATE = 2  # images that the directions are the principal components of
MOST_SAMPLED = 1_024
PART = 16_384  # features of the directions made at once
WIDEST_SPREAD = 6.0  # times the root mean square of a direction: what lies beyond is clipped
OVERSAMPLING = 16  # directions beyond those wanted, of the randomized decomposition
LEAST_SAMPLE = 256  # rows of the trial
ROWS_PER_COORDINATE = 8  # fewer rows do not repay making their sketches
CHUNK = 1_024  # rows sketched at once by a thread
TRIAL_NEIGHBOURS = 20  # of all rows; in the trial so many fewer as its sample is smaller
TRIAL_WORK = 1.0  # of that of all products: where there are clusters, tiles between them are spared at least
# products of single pairs cost so many times those of a tile, by route
PAIR_COST = {"int8": 16.0, "float32": 3.0}
QUICK_PAIR_COST = 6.0  # where single pairs have an instruction of their own
NOTHING_KEPT = (
    0.9  # of the pairs that small pictures let pass: of real sets 0.03 to 0.35 do, of patterns of single pixels all
)
MOST_LOOKED_AT = 0.4  # of a tile's pairs: more are not looked at through small pictures
LEVEL_FEATURES = 256  # what looking at a pair through a picture costs beside its squares
COLUMNS_AT_ONCE = 256  # of a tile: pairs come in this order, and so many rows of pixels stay in cache
SORTED_COORDINATES = 32  # random turns of all: enough to tell like from unlike
ROUND_UP = 1.0 + 1e-5  # float32 loses less
STEEPEST = 1e15  # for infinity: times 0 it is 0, and its square is a float32
LEAST_EIGENVALUE = 1e-6  # of the largest: directions that (nearly) depend on others add nothing
ORTHOGONAL = 1e-9  # how far A A^T may be from the identity
# A within ORTHOGONAL of a projection moves r by at most sqrt(ORTHOGONAL) * ||x - c||, and A(x - c) by less
CLIPPED = 16  # times as many coordinates as one that is clipped
MARGIN = 1e-4  # of ||x - c||
ROUNDING = 1e-7  # of ||x||: what float64 loses of x - c


def pair_cost() -> float:
    """Of the product of a single pair, over that of a pair in a tile."""
    return min(PAIR_COST[choose_route("cpu")], QUICK_PAIR_COST if dots_are_quick() else math.inf)


class Basis(NamedTuple):
    """How sketches are made.

    Attributes
    ----------
    directions : int8 [p, D]
        The last is c.
    turn : float64 [p, p]
        From products with the directions to turned coordinates of Ax; nothing comes from the last.
    axis : float64 [p]
        Turned coordinate axis of r.
    origin : float64 [p]
        Turned coordinates of Ac.
    origin_norm : float
        Squared norm of c.
    centre : float64 [p]
        Subtracted from every vector.
    step : float
        Length of one int8 step, in units of the pictures.
    factor : int
        Squares of so many pixels a side make the pictures of `pooled` that directions lie in.
    levels : tuple of int
        Factors of the pictures that pairs are looked at through before they are multiplied in full; coarse ones first.
    """

    directions: torch.Tensor
    turn: torch.Tensor
    axis: np.ndarray
    origin: np.ndarray
    origin_norm: float
    centre: np.ndarray
    step: float
    factor: int = 1
    levels: tuple[int, ...] = ()

    @property
    def length(self) -> float:
        """Of one int8 step, in grey levels."""
        return self.step * self.factor


def basis_arrays(basis: Basis) -> dict[str, np.ndarray]:
    """A basis as arrays, by the names of its attributes: to be kept in a file."""
    return {
        name: np.asarray(value) for name, value in (basis._asdict() | {"levels": np.array(basis.levels, int)}).items()
    }


def basis_from(arrays: Mapping[str, np.ndarray]) -> Basis:
    """A basis from the arrays of `basis_arrays`."""
    directions, turn = (torch.from_numpy(arrays[name]) for name in ("directions", "turn"))
    origin = arrays["origin"], float(arrays["origin_norm"])
    levels = tuple(arrays["levels"].tolist())
    whole = float(arrays["step"]), int(arrays["factor"]), levels
    return Basis(directions, turn, arrays["axis"], *origin, arrays["centre"], *whole)


class Sketch(NamedTuple):
    """Sketches of n rows.

    Attributes
    ----------
    codes : int8 [n, p]
    norm : float32 [n]
        Squared norms of the codes.
    error : float32 [n]
        What rounding changed at most, in steps.
    pixel_norm : float64 [n]
        Squared norms of the rows themselves.
    step : float
        Length of a step, in grey levels.
    levels : tuple of int
        Of the basis.
    """

    codes: torch.Tensor
    norm: np.ndarray
    error: np.ndarray
    pixel_norm: np.ndarray
    step: float
    levels: tuple[int, ...] = ()

    def take(self, order: np.ndarray) -> Sketch:
        """Rows in another order."""
        return self._replace(
            codes=take_rows(self.codes, order),
            norm=self.norm[order],
            error=self.error[order],
            pixel_norm=self.pixel_norm[order],
        )


def take_rows(x: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Copies of some rows; numpy's copying is several times as fast as torch's for int8."""
    return torch.from_numpy(np.take(x.numpy(), rows, axis=0))


def width(features: int, rows: int) -> int:
    """Coordinates of a sketch; 0 where sketches do not pay."""
    for least, coordinates in WIDTHS:
        if features >= least and rows >= ROWS_PER_COORDINATE * coordinates:
            return coordinates
    return 0


def sampled_rows(n: int, coordinates: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of n that a basis is made from, at even spaces, and others to try it on. int64."""
    wanted = min(max(coordinates, MOST_SAMPLED), max(coordinates, n // 4), SAMPLE_PER_COORDINATE * coordinates)
    between = np.linspace(0, n - 1, 2 * max(LEAST_SAMPLE, coordinates)).astype(np.int64)[1::2]
    return np.linspace(0, n - 1, wanted).astype(np.int64), between[:: max(1, len(between) // LEAST_SAMPLE)]


def principal_directions(sample: torch.Tensor, count: int) -> torch.Tensor:
    """The first principal components of some images and their mean, scaled and rounded to int8: [count, D], the mean last.

    By a randomized decomposition of the images' products with each other (Halko, Martinsson & Tropp 2011): any directions will do, the
    principal ones do best.

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
    weights -= weights.mean(dim=0)  # the mean itself then need not be subtracted from the images
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
    """What a width is chosen by: of p directions (the last is the mean c) and s other images, float64.

    Attributes
    ----------
    gram, cross : [p, p], [s, p]
        Inner products of the directions, and of the others with them.
    norm : float64 [s]
        Squared norms of the others, in units of the pictures.
    factor : int
        Of the pictures.
    """

    gram: torch.Tensor
    cross: torch.Tensor
    norm: np.ndarray
    factor: int


def products_of(directions: torch.Tensor, others: Pooled, norm: np.ndarray) -> Products:
    """All products that the choice of a width needs: they are multiplied once, whatever the number of widths tried.

    Parameters
    ----------
    directions : int8 [p, q]
    others : Pooled
        Images that the directions were not made from.
    norm : float64 [s]
        Squared norms of their pixels.
    """
    gram = product(directions, directions, choose_route("cpu")).double()
    return Products(gram, others.products(directions), norm / others.factor**2, others.factor)


@one_thread()
def choose_basis(
    sample: torch.Tensor, sample_norm: np.ndarray, others: torch.Tensor, norm: np.ndarray, coordinates: int, n: int
) -> Basis | None:
    """A basis of at most so many coordinates, of the width with the least work; None where none pays.

    Parameters
    ----------
    sample, others : int8 [s, D], [t, D]
        Images that the directions are made from, and others to try them on.
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
    log.debug("small pictures, by pixels of a square's side, let pass %s of a sample's pairs", passed_by)
    # what has no large structures keeps nothing in small pictures; otherwise directions are found there at a fraction of the work
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
        log.debug("sketches of %d coordinates let %.2f %% of a sample's pairs pass", len(basis.axis), 100 * passed)
        if work < least:
            best, least = basis._replace(levels=levels), work
    return best


def within_reach(others: torch.Tensor, norm: np.ndarray, place: int) -> np.ndarray:
    """Distance within which a pair of some images counts, float64 [s, s]: to this nearest of either of the two."""
    g = product(others, others, choose_route("cpu")).numpy()
    distance = np.sqrt(np.maximum(0.0, norm[:, None] + norm - 2.0 * g))
    reach = np.partition(distance, place, axis=1)[:, place]
    return np.maximum(reach[:, None], reach)


def choose_levels(arriving: float, passed: Mapping[int, float], features: int) -> tuple[tuple[int, ...], float]:
    """Factors of the pictures that it pays to look at pairs through, and the work then, in products of all pairs.

    Parameters
    ----------
    arriving : float
        Fraction of all pairs that are looked at.
    passed : mapping of int to float
        Fraction of all pairs that pictures let pass, by their factors, coarse first.
    features : int
        D.
    """

    def work(levels: tuple[int, ...]) -> float:
        total, left = 0.0, arriving
        for factor in levels:
            total += left * (1 / factor**2 + LEVEL_FEATURES / features)
            left = min(left, passed[factor])
        return pair_cost() * (total + left)

    if arriving > MOST_LOOKED_AT:
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
    """A basis of the first directions, and the turned coordinates of the others in it; None if the numbers do not allow one.

    Parameters
    ----------
    directions : int8 [p, q]
    products : Products
        Of these directions.
    coordinates : int
        A power of two; one of them is that of r.
    """
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
    along, apart2 = _along(basis, cross, products.norm)
    left = np.sqrt(np.maximum(0.0, apart2 - (along * along).sum(axis=1)))
    vectors = along + left[:, None] * axis
    centre = vectors.mean(axis=0)
    # the last few are clipped: the error of their rows grows, that of all others shrinks
    step = float(np.quantile(np.abs(vectors - centre), 1 - 1 / (CLIPPED * coordinates))) / 127
    return (basis._replace(centre=centre, step=step), along) if step > 0 else (None, None)


def _along(basis: Basis, cross: torch.Tensor, norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turned coordinates of A(x - c), float64 [n, p], and squared lengths of x - c, from products with the directions [n, p]."""
    along = torch.mm(cross, basis.turn).numpy()
    along -= basis.origin
    return along, np.maximum(0.0, norm - 2.0 * cross[:, -1].numpy() + basis.origin_norm)


class Turned(NamedTuple):
    """What rounding needs of a basis: float64 axis and centre [p], and the length of a step; see `Basis`."""

    axis: np.ndarray
    centre: np.ndarray
    step: float


class Codes(NamedTuple):
    """Where rounding writes: int8 [n, p], float32 [n], float32 [n]; see `Sketch`."""

    codes: np.ndarray
    norm: np.ndarray
    error: np.ndarray


@njit(nogil=True, cache=True)
def quantise(along, apart2, norm, basis, out):
    """Round the vectors (A(x - c), r), turned and centred, to int8 steps.

    Parameters
    ----------
    along : float64 [n, p]
        Turned coordinates of A(x - c).
    apart2, norm : float64 [n], [n]
        Squared lengths of x - c, and of x.
    basis : Turned
    out : Codes
    """
    p = along.shape[1]
    inverse = 1.0 / basis.step
    for i in range(along.shape[0]):
        inside = 0.0
        for j in range(p):
            inside += along[i, j] * along[i, j]
        left = np.sqrt(max(0.0, apart2[i] - inside))
        lost = 0.0
        total = 0
        for j in range(p):
            exact = (along[i, j] + left * basis.axis[j] - basis.centre[j]) * inverse
            code = min(127.0, max(-127.0, np.rint(exact)))
            lost += (exact - code) * (exact - code)
            out.codes[i, j] = np.int8(code)
            total += np.int32(code) * np.int32(code)
        out.norm[i] = total
        unsure = MARGIN * np.sqrt(apart2[i]) + ROUNDING * np.sqrt(norm[i])
        out.error[i] = (np.sqrt(lost) + unsure * inverse) * (1.0 + 1e-6)


def trial(basis: Basis, along: np.ndarray, products: Products, reach: np.ndarray) -> float:
    """Fraction of the pairs of some rows that bounds let pass; on data without structure nearly all pass.

    Parameters
    ----------
    along : float64 [s, p]
        Turned coordinates of the rows.
    reach : float64 [s, s]
        Distances within which pairs count.
    """
    sketch = _empty_sketch(basis, products.norm)
    apart2 = np.maximum(0.0, products.norm - 2.0 * products.cross[:, -1].numpy() + basis.origin_norm)
    _quantise_into(sketch, slice(None), basis, along, apart2)
    codes = product(sketch.codes, sketch.codes, choose_route("cpu")).numpy()
    apart = sketch.norm[:, None] + sketch.norm - 2.0 * codes
    bound = (np.sqrt(np.maximum(0.0, apart)) - sketch.error[:, None] - sketch.error) * sketch.step
    return float((bound <= reach).mean())


def _empty_sketch(basis: Basis, norm: np.ndarray) -> Sketch:
    n = len(norm)
    codes = torch.from_numpy(np.empty((n, len(basis.axis)), np.int8))
    return Sketch(codes, np.empty(n, np.float32), np.empty(n, np.float32), norm, basis.length, basis.levels)


def _quantise_into(sketch: Sketch, part: slice, basis: Basis, along: np.ndarray, apart2: np.ndarray) -> None:
    out = Codes(sketch.codes.numpy()[part], sketch.norm[part], sketch.error[part])
    norm = sketch.pixel_norm[part] / basis.factor**2
    quantise(along, apart2, norm, Turned(basis.axis, basis.centre, basis.step), out)


def make_sketch(basis: Basis, shifted: torch.Tensor, norm: np.ndarray, threads: int = 1) -> Sketch:
    """Sketch all rows.

    Parameters
    ----------
    shifted : int8 [n, D]
    norm : float64 [n]
        Squared norms of the rows.
    """
    n = len(norm)
    sketch = _empty_sketch(basis, norm)

    def work(start: int) -> None:
        torch.set_num_threads(1)
        part = slice(start, start + CHUNK)
        pictures = pool(shifted[part], norm[part], basis.factor)
        cross = pictures.products(basis.directions)
        _quantise_into(sketch, part, basis, *_along(basis, cross, norm[part] / basis.factor**2))

    run_over(range(0, n, CHUNK), work, threads)
    return sketch


def run_over(items: range, work: Callable[[int], None], threads: int) -> None:
    """Run `work` for every item, on threads."""
    with ThreadPoolExecutor(threads, "sketch") as pool:
        for future in [pool.submit(work, item) for item in items]:
            future.result()


def run_length(n: int, most: int) -> int:
    """Length of the runs that n rows are halved into, at most `most`."""
    return -(-n // 2 ** max(0, math.ceil(math.log2(n / most))))


def alike_together(sketch: Sketch, run: int) -> np.ndarray:
    """An order of the rows in which similar ones lie together: halved along their widest direction down to runs of this length.

    Neighbours then meet in the first tiles, and what they found prunes the others. int64 [n].
    """
    points = sketch.codes[:, :SORTED_COORDINATES].numpy().astype(np.float32)
    order = np.arange(len(points))
    waiting = [(0, len(points))]
    while waiting:
        start, stop = waiting.pop()
        if stop - start <= run:
            continue
        rows = points[order[start:stop]]
        rows -= rows.mean(axis=0)
        direction = rows[np.argmax((rows * rows).sum(axis=1))]
        for _ in range(2):  # steps of the power method: about the first principal axis
            direction = (rows @ direction) @ rows
            direction /= max(float(np.linalg.norm(direction)), 1e-30)
        middle = (stop - start) // 2
        order[start:stop] = order[start:stop][np.argpartition(rows @ direction, middle)]
        waiting += [(start, start + middle), (start + middle, stop)]
    return order


class Limits(NamedTuple):
    """What the pairs of some rows must stay within to matter; float32 [n] each, lengths in steps.

    Attributes
    ----------
    norm, error
        Of the sketch.
    reach
        Distance within which a pair matters to the row's neighbours, or as near-identical.
    slope
        Times the difference of two labels: distance within which the pair is as sharp as the row's sharpest.
    y
        Labels; NaN = unlabelled.
    """

    norm: np.ndarray
    error: np.ndarray
    reach: np.ndarray
    slope: np.ndarray
    y: np.ndarray


def limits(sketch: Sketch, rows: slice, reach2: np.ndarray, sharp: np.ndarray, y: np.ndarray) -> Limits:
    """Limits of some rows from their running results.

    Parameters
    ----------
    reach2 : float64 [rows]
        Squared distance within which a pair matters.
    sharp : float64 [rows]
        Squared sharpness of the row's sharpest pair; infinity: sharper pairs are not asked for.
    y : float64 [rows]
    """
    with np.errstate(divide="ignore"):
        slope = np.minimum(ROUND_UP / (np.sqrt(sharp) * sketch.step), STEEPEST)
    reach = np.sqrt(np.maximum(0.0, reach2)) * (ROUND_UP / sketch.step)
    return Limits(
        sketch.norm[rows],
        sketch.error[rows] * np.float32(ROUND_UP),
        reach.astype(np.float32),
        slope.astype(np.float32),
        y.astype(np.float32),
    )


class Rise(NamedTuple):
    """How differences of two labels count in bounds: float32, `least` more (for what float32 lost of them), and at most `most`."""

    most: np.float32
    least: np.float32


class PairBuffers(NamedTuple):
    """Where pairs of a tile are written, int32, row by row."""

    rows: np.ndarray
    columns: np.ndarray


@njit(nogil=True, cache=True)
def _last_lanes(g, b, whole):
    """What is left of a tile beyond whole groups of lanes, filled up to one."""
    m, n = g.shape
    rest = n - whole
    last = np.zeros((m, LANES), g.dtype)
    last[:, :rest] = g[:, whole:]
    filled = np.full((5, LANES), np.nan, np.float32)  # nothing compares with it
    for row, values in enumerate(b):
        filled[row, :rest] = values[whole:]
    return last, Limits(filled[0], filled[1], filled[2], filled[3], filled[4])


@njit(nogil=True, cache=True)
def _not_skipped(out, before, found, skip):
    """Drop the columns of a row that are not asked for; the number of pairs then."""
    kept = before
    for e in range(before, found):
        out.columns[kept] = out.columns[e]
        kept += 1 - skip[out.columns[e]]
    return kept


@njit(nogil=True, cache=True)
def candidates(g, a, b, rise, skip, out):
    """Pairs of a tile that could matter, by the bounds; their number, or -1 if there are more than the buffers hold.

    Parameters
    ----------
    g : int32 or float32 [m, n]
        Inner products of the codes: exact in float32, as are the norms and their sums.
    a, b : Limits
        Of the rows and the columns.
    rise : Rise
    skip : uint8 [m, n] or [0, 0]
        1 where a pair is not asked for.
    out : PairBuffers
    """
    m, n = g.shape
    most = out.rows.shape[0] - COLUMNS_AT_ONCE
    whole = n - n % LANES
    last_g, last_b = _last_lanes(g, b, whole)
    found = 0
    for begin in range(0, n, COLUMNS_AT_ONCE):
        end = min(whole, begin + COLUMNS_AT_ONCE)
        for i in range(m):
            if found > most:
                return -1
            of_i = (a.norm[i], a.error[i], a.reach[i], a.slope[i], a.y[i])
            before = found
            found = close_lanes(g, b, (i, begin, end, 0, found), of_i, rise, out)
            if begin <= whole < min(n, begin + COLUMNS_AT_ONCE):  # once, with the columns that it follows
                found = close_lanes(last_g, last_b, (i, 0, 1, whole, found), of_i, rise, out)
            if skip.shape[0]:
                found = _not_skipped(out, before, found, skip[i])
    return found

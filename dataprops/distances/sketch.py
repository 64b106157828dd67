"""Lower bounds of distances from short sketches, so that most pairs need no product of all their features.

The idea is filter-and-refine (Faloutsos et al. 1994: a filter that never overestimates a distance dismisses nothing
wrongly). With A an orthogonal projection onto the span of some of the images (the landmarks) and r the length of what A
leaves of an image, the map x -> (Ax, r) never lengthens a distance:

    ||x - y||^2 = ||A(x - y)||^2 + ||(I - A)(x - y)||^2 >= ||Ax - Ay||^2 + (r_x - r_y)^2.

The vector (Ax, r) is turned by a fixed orthogonal matrix, so that its energy is spread over its coordinates, and rounded to int8
steps; the length of what rounding changed is kept as the row's `error`. Then, in steps,

    ||x - y|| >= ||code_x - code_y|| - error_x - error_y,

where the codes' distance comes from the same exact int8 product as everything else, over `WIDTHS` features in place of D. Whatever
the images, the bound holds; how tight it is only decides how many pairs must be looked at in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from scipy.linalg import hadamard

from dataprops.distances.kernel import SAFE_FEATURES
from dataprops.distances.product import choose_route, product

WIDTHS = ((16_384, 512), (1_024, 256))  # from so many features on: coordinates of a sketch at most
NARROWER = (8, 4, 2)  # parts of them that are tried first: images with few patterns need few
NARROW_ENOUGH = 1.25  # times the pairs that all coordinates let pass: so few more may a narrower sketch
LEAST_SAMPLE = 256  # rows of the trial
ROWS_PER_COORDINATE = 8  # fewer rows do not repay making their sketches
CHUNK = 1_024  # rows sketched at once by a thread
TRIAL_REACH = 4  # neighbours, itself among them, within whose distance the trial counts pairs
TRIAL_SHARE = 0.5  # of a sample's pairs: where there are clusters, tiles between them are spared at least
SORTED_COORDINATES = 32  # random turns of all: enough to tell like from unlike
ROUND_UP = 1.0 + 1e-5  # float32 loses less
STEEPEST = 1e15  # for infinity: times 0 it is 0, and its square is a float32
LEAST_EIGENVALUE = 1e-6  # of the largest: landmarks that (nearly) depend on others add nothing
ORTHOGONAL = 1e-9  # how far A A^T may be from the identity
# A within ORTHOGONAL of a projection moves r by at most sqrt(ORTHOGONAL) * ||x||, and Ax by less; rounding in float64 is smaller still
MARGIN = 1e-4  # of ||x||


class Basis(NamedTuple):
    """How sketches are made.

    Attributes
    ----------
    landmarks : int8 [p, D]
        The last is zero.
    turn : float64 [p, p]
        From products with the landmarks to turned coordinates of Ax.
    axis : float64 [p]
        Turned coordinate axis of r.
    centre : float64 [p]
        Subtracted from every vector.
    step : float
        Length of one int8 step.
    """

    landmarks: torch.Tensor
    turn: torch.Tensor
    axis: np.ndarray
    centre: np.ndarray
    step: float


def basis_arrays(basis: Basis) -> dict[str, np.ndarray]:
    """A basis as arrays, by the names of its attributes: to be kept in a file."""
    return {name: np.asarray(value) for name, value in basis._asdict().items()}


def basis_from(arrays: Mapping[str, np.ndarray]) -> Basis:
    """A basis from the arrays of `basis_arrays`."""
    landmarks, turn = (torch.from_numpy(arrays[name]) for name in ("landmarks", "turn"))
    return Basis(landmarks, turn, arrays["axis"], arrays["centre"], float(arrays["step"]))


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
        Of the basis.
    """

    codes: torch.Tensor
    norm: np.ndarray
    error: np.ndarray
    pixel_norm: np.ndarray
    step: float

    def take(self, order: np.ndarray) -> Sketch:
        """Rows in another order."""
        return Sketch(
            take_rows(self.codes, order), self.norm[order], self.error[order], self.pixel_norm[order], self.step
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
    """Rows of n that a basis is made from, at even spaces: the landmarks, and others to try it on. int64."""
    most = max(LEAST_SAMPLE, coordinates)
    between = np.linspace(0, n - 1, 2 * most).astype(np.int64)[1::2]
    return np.linspace(0, n - 1, coordinates).astype(np.int64), between


class Products(NamedTuple):
    """What bases are chosen by: of p landmarks and s other images, float64.

    Attributes
    ----------
    gram, cross : [p, p], [s, p]
        Inner products of the landmarks, and of the others with them.
    distance, norm : [s, s], [s]
        Of the others: distances, and squared norms.
    """

    gram: torch.Tensor
    cross: torch.Tensor
    distance: np.ndarray
    norm: np.ndarray


def products_of(landmarks: torch.Tensor, sample: torch.Tensor, norm: np.ndarray) -> Products:
    """All products that a choice among bases needs: they are multiplied once, whatever the number of bases tried.

    Parameters
    ----------
    landmarks : int8 [p, D]
    sample : int8 [s, D]
        Other images, which show the range of coordinates: of the landmarks themselves nothing is left over.
    norm : float64 [s]
        Squared norms of the sample.
    """
    route = choose_route("cpu")
    g = product(sample, sample, route).numpy()
    distance = np.sqrt(np.maximum(0.0, norm[:, None] + norm - 2.0 * g))
    gram, cross = (product(x, landmarks, route).double() for x in (landmarks, sample))
    return Products(gram, cross, distance, norm)


def choose_basis(landmarks: torch.Tensor, sample: torch.Tensor, norm: np.ndarray) -> Basis | None:
    """A basis of so many coordinates, or the narrowest that is nearly as good; None where none pays. See `products_of`."""
    coordinates = len(landmarks)
    products = products_of(landmarks, sample, norm)
    widest, least = make_basis(landmarks, products, np.arange(coordinates))
    if widest is None or least > TRIAL_SHARE:
        return None
    for part in NARROWER:
        fewer = np.linspace(0, coordinates - 1, coordinates // part).astype(np.int64)
        basis, passed = make_basis(landmarks, products, fewer)
        if basis is not None and passed <= NARROW_ENOUGH * least:
            return basis
    return widest


def make_basis(landmarks: torch.Tensor, products: Products, chosen: np.ndarray) -> tuple[Basis | None, float]:
    """A basis onto the span of some of the landmarks, and what it lets pass, see `trial`; None if the numbers do not allow one.

    Parameters
    ----------
    landmarks : int8 [p, D]
    products : Products
        Of these landmarks.
    chosen : int64 [q]
        Which of them; q is a power of two.
    """
    coordinates = len(chosen)
    # one coordinate of r, and so one landmark less; a row of zeros in its place keeps the product's shape even
    landmarks = take_rows(landmarks, chosen)
    landmarks[-1] = 0
    gram, cross = products.gram[chosen][:, chosen], products.cross[:, chosen]
    gram[-1] = gram[:, -1] = cross[:, -1] = 0
    values, vectors = torch.linalg.eigh(gram)
    kept = values > LEAST_EIGENVALUE * values[-1]
    if not kept.any():
        return None, 1.0
    onto = vectors[:, kept] / values[kept].sqrt()
    off = onto.T @ gram @ onto - torch.eye(onto.shape[1], dtype=torch.float64)
    if torch.linalg.matrix_norm(off) > ORTHOGONAL:
        return None, 1.0
    signs = np.random.default_rng(0).choice((-1.0, 1.0), coordinates)
    rotation = hadamard(coordinates) * (signs / np.sqrt(coordinates))
    turn = onto @ torch.from_numpy(np.ascontiguousarray(rotation[:, : onto.shape[1]].T))
    axis = np.ascontiguousarray(rotation[:, -1])
    along = torch.mm(cross, turn).numpy()
    left = np.sqrt(np.maximum(0.0, products.norm - (along * along).sum(axis=1)))
    vectors = along + left[:, None] * axis
    centre = vectors.mean(axis=0)
    step = float(np.abs(vectors - centre).max()) / 127
    if not step > 0:
        return None, 1.0
    basis = Basis(landmarks, turn, axis, centre, step)
    return basis, trial(basis, along, products)


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
def quantise(along, norm, basis, out):
    """Round the vectors (Ax, r), turned and centred, to int8 steps.

    Parameters
    ----------
    along : float64 [n, p]
        Turned coordinates of Ax.
    norm : float64 [n]
        Squared norms of the rows.
    basis : Turned
    out : Codes
    """
    p = along.shape[1]
    inverse = 1.0 / basis.step
    for i in range(along.shape[0]):
        inside = 0.0
        for j in range(p):
            inside += along[i, j] * along[i, j]
        left = np.sqrt(max(0.0, norm[i] - inside))
        lost = 0.0
        total = 0
        for j in range(p):
            exact = (along[i, j] + left * basis.axis[j] - basis.centre[j]) * inverse
            code = min(127.0, max(-127.0, np.rint(exact)))
            lost += (exact - code) * (exact - code)
            out.codes[i, j] = np.int8(code)
            total += np.int32(code) * np.int32(code)
        out.norm[i] = total
        out.error[i] = (np.sqrt(lost) + MARGIN * np.sqrt(norm[i]) * inverse) * (1.0 + 1e-6)


def trial(basis: Basis, along: np.ndarray, products: Products) -> float:
    """Share of the pairs of some rows that bounds let pass; on data without structure nearly all pass.

    Parameters
    ----------
    along : float64 [s, p]
        Turned coordinates of the rows.
    """
    sketch = _empty_sketch(basis, products.norm)
    _quantise_into(sketch, slice(None), basis, along)
    codes = product(sketch.codes, sketch.codes, choose_route("cpu")).numpy()
    apart = sketch.norm[:, None] + sketch.norm - 2.0 * codes
    bound = (np.sqrt(np.maximum(0.0, apart)) - sketch.error[:, None] - sketch.error) * sketch.step
    # about as many rows as a tile's share come within this reach; the bounds let a few times more pass
    place = min(TRIAL_REACH, len(along) - 1)
    reach = np.partition(products.distance, place, axis=1)[:, place]
    return float((bound <= reach[:, None]).mean())


def _empty_sketch(basis: Basis, norm: np.ndarray) -> Sketch:
    n = len(norm)
    codes = np.empty((n, len(basis.axis)), np.int8)
    return Sketch(torch.from_numpy(codes), np.empty(n, np.float32), np.empty(n, np.float32), norm, basis.step)


def _quantise_into(sketch: Sketch, part: slice, basis: Basis, along: np.ndarray) -> None:
    out = Codes(sketch.codes.numpy()[part], sketch.norm[part], sketch.error[part])
    quantise(along, sketch.pixel_norm[part], Turned(basis.axis, basis.centre, basis.step), out)


def make_sketch(basis: Basis, shifted: torch.Tensor, norm: np.ndarray, threads: int = 1) -> Sketch:
    """Sketch all rows.

    Parameters
    ----------
    shifted : int8 [n, D]
    norm : float64 [n]
        Squared norms of the rows.
    """
    n = len(norm)
    route = choose_route("cpu")
    sketch = _empty_sketch(basis, norm)

    def work(start: int) -> None:
        torch.set_num_threads(1)
        part = slice(start, start + CHUNK)
        along = torch.mm(product(shifted[part], basis.landmarks, route).double(), basis.turn).numpy()
        _quantise_into(sketch, part, basis, along)

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
def _mark_close(g, norm_i, norm, error_i, error, reach_i, reach, slope_i, slope, y_i, y, most, least, marks):
    """Mark the columns whose bound from row i is within what matters to one of the two; no branches: it vectorises.

    Fourteen arguments: arrays that come as arguments are proved apart from each other, those inside a tuple are not.
    """
    for j in range(g.shape[0]):
        step = min(abs(y_i - y[j]) + least, most)
        step = step if step > np.float32(0.0) else np.float32(0.0)  # NaN is not
        within = max(max(reach_i, reach[j]), step * max(slope_i, slope[j])) + (error_i + error[j])
        marks[j] = norm_i + norm[j] - np.float32(2.0) * np.float32(g[j]) <= within * within


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
    marks = np.zeros(-(-n // 8) * 8, np.uint8)
    eights = marks.view(np.uint64)  # eight columns at a look: most have no mark
    found = 0
    for i in range(m):
        of_i = (a.norm[i], b.norm, a.error[i], b.error, a.reach[i], b.reach, a.slope[i], b.slope, a.y[i], b.y)
        _mark_close(g[i], *of_i, rise.most, rise.least, marks)
        if skip.shape[0]:
            for j in range(n):
                marks[j] &= 1 - skip[i, j]
        for word in range(eights.shape[0]):
            if eights[word] == 0:
                continue
            if found + 8 > out.rows.shape[0]:
                return -1
            for j in range(8 * word, 8 * word + 8):
                out.rows[found] = i
                out.columns[found] = j
                found += marks[j]
    return found


@njit(nogil=True, cache=True)
def pair_products(a, b, rows, columns, out):
    """Exact inner products of single pairs: int8 [., D] rows a[rows[e]] and b[columns[e]] -> int64 out[e]."""
    features = a.shape[1]
    for e in range(rows.shape[0]):
        x = a[rows[e]]
        y = b[columns[e]]
        total = np.int64(0)
        for start in range(0, features, SAFE_FEATURES):
            part = x[start : start + SAFE_FEATURES]
            other = y[start : start + SAFE_FEATURES]
            some = np.int32(0)
            for j in range(part.shape[0]):
                # a product fits int16: the compiler then multiplies and adds twice as many at once
                some = np.int32(some + np.int32(np.int16(np.int16(part[j]) * np.int16(other[j]))))
            total += some
        out[e] = total

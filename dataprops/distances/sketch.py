"""Lower bounds of distances from short sketches, so that most pairs need no product over all features.

Filter and refine (Faloutsos et al. 1994: a filter that never overestimates a distance causes no false dismissals). With c any fixed
image, A an orthogonal projection onto a few directions, and r the norm of the residual of x - c, the map x -> (A(x - c), r) is
1-Lipschitz:

    ||x - y||^2 = ||A(x - y)||^2 + ||(I - A)(x - y)||^2 >= ||Ax - Ay||^2 + (r_x - r_y)^2.

The directions are principal components of a sample and c is its mean, all rounded to int8. Rounding makes the bounds slightly looser,
never invalid, since A is orthogonalised from the rounded directions by exact products. The vector (A(x - c), r) is rotated by a fixed
orthogonal matrix, to spread its energy over the coordinates, and quantised to int8 steps; the norm of the quantisation error is the
row's `error`. Then, in steps,

    ||x - y|| >= ||code_x - code_y|| - error_x - error_y,

where the distance of the codes comes from the same exact int8 product, over a few coordinates instead of D. The tightness of the bound
only affects how many pairs must be computed in full: `basis_choice` chooses the directions by a trial, `bounds` applies the bounds to
a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.pooled import pool
from dataprops.util.compiled import njit

CHUNK = 1_024  # rows sketched at once by a thread
# deviation of A from a projection by `basis_choice.ORTHOGONAL` changes r by at most sqrt(ORTHOGONAL) * ||x - c||, A(x - c) by less
MARGIN = 1e-4  # of ||x - c||
ROUNDING = 1e-7  # of ||x||; bounds the rounding error of x - c in float64


class Basis(NamedTuple):
    """Parameters of a sketch.

    Attributes
    ----------
    directions : int8 [p, D]
        The last is c.
    turn : float64 [p, p]
        Maps products with the directions to rotated coordinates of Ax; the last product is ignored.
    axis : float64 [p]
        Rotated coordinate axis of r.
    origin : float64 [p]
        Rotated coordinates of Ac.
    origin_norm : float
        Squared norm of c.
    centre : float64 [p]
        Subtracted from every vector.
    step : float
        Quantisation step, in units of the downscaled images.
    factor : int
        Downscaling factor (`pooled`) of the images on which the directions are defined.
    levels : tuple of int
        Downscaling factors at which pairs are tested before they are computed in full; coarsest first.
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
        """Quantisation step in grey levels."""
        return self.step * self.factor


def basis_arrays(basis: Basis) -> dict[str, np.ndarray]:
    """A basis as arrays keyed by attribute, for storage."""
    return {
        name: np.asarray(value) for name, value in (basis._asdict() | {"levels": np.array(basis.levels, int)}).items()
    }


def basis_from(arrays: Mapping[str, np.ndarray]) -> Basis:
    """Inverse of `basis_arrays`."""
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
        Upper bound of the quantisation error, in steps.
    pixel_norm : float64 [n]
        Squared norms of the rows themselves.
    step : float
        Quantisation step, in grey levels.
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
        """Reorder the rows."""
        return self._replace(
            codes=take_rows(self.codes, order),
            norm=self.norm[order],
            error=self.error[order],
            pixel_norm=self.pixel_norm[order],
        )


def take_rows(x: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Copy some rows, with numpy, which is several times as fast as torch for int8."""
    return torch.from_numpy(np.take(x.numpy(), rows, axis=0))


def along_directions(basis: Basis, cross: torch.Tensor, norm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotated coordinates of A(x - c), float64 [n, p], and squared norms of x - c, from products with the directions [n, p]."""
    along = torch.mm(cross, basis.turn).numpy()
    along -= basis.origin
    return along, np.maximum(0.0, norm - 2.0 * cross[:, -1].numpy() + basis.origin_norm)


class Turned(NamedTuple):
    """Fields of `Basis` needed for quantisation: float64 axis and centre [p], and the step."""

    axis: np.ndarray
    centre: np.ndarray
    step: float


class Codes(NamedTuple):
    """Output arrays of the quantisation: int8 [n, p], float32 [n], float32 [n]; see `Sketch`."""

    codes: np.ndarray
    norm: np.ndarray
    error: np.ndarray


@njit(nogil=True, cache=True)
def quantise(along, apart2, norm, basis, out):
    """Quantise the rotated and centred vectors (A(x - c), r) to int8 steps.

    Parameters
    ----------
    along : float64 [n, p]
        Rotated coordinates of A(x - c).
    apart2, norm : float64 [n], [n]
        Squared norms of x - c and of x.
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


def empty_sketch(basis: Basis, norm: np.ndarray) -> Sketch:
    """Allocate sketches for the rows of `norm`."""
    n = len(norm)
    codes = torch.from_numpy(np.empty((n, len(basis.axis)), np.int8))
    return Sketch(codes, np.empty(n, np.float32), np.empty(n, np.float32), norm, basis.length, basis.levels)


def quantise_into(sketch: Sketch, part: slice, basis: Basis, along: np.ndarray, apart2: np.ndarray) -> None:
    """`quantise` some rows of a sketch."""
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
    sketch = empty_sketch(basis, norm)

    def work(start: int) -> None:
        torch.set_num_threads(1)
        part = slice(start, start + CHUNK)
        pictures = pool(shifted[part], norm[part], basis.factor)
        cross = pictures.products(basis.directions)
        quantise_into(sketch, part, basis, *along_directions(basis, cross, norm[part] / basis.factor**2))

    run_over(range(0, n, CHUNK), work, threads)
    return sketch


def run_over(items: range, work: Callable[[int], None], threads: int) -> None:
    """Run `work` for every item, on threads."""
    with ThreadPoolExecutor(threads, "sketch") as pool:
        for future in [pool.submit(work, item) for item in items]:
            future.result()

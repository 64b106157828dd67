"""Lower bounds from downscaled images: block means over squares of pixels, many times shorter than the pixels.

With P the orthogonal projection onto images that are constant on each square of f x f pixels, and w_x = x - Px,

    ||x - y||^2 = ||P(x - y)||^2 + ||w_x - w_y||^2 >= ||Px - Py||^2 + (||w_x|| - ||w_y||)^2.

Block means are rounded to int8, so that they are multiplied like pixels; the rounding error of each image is known and included.
Natural and medical images differ mostly in coarse structure, so few squares give tight bounds. The bounds hold for any interpretation
of the features as an image: side and channels are inferred from their number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.dots import aligned
from dataprops.distances.product import choose_route, product
from dataprops.util.compiled import njit

LEAST_SQUARES = 512  # squares of the smallest images, on which directions are computed
MOST_FACTOR = 16  # sums over larger squares overflow int16
LEAST_PIXELS = 1_024  # shorter rows are not downscaled


class Pooled(NamedTuple):
    """Downscaled rows; lengths in units of `factor`.

    Attributes
    ----------
    codes : int8 [n, q]
        Mean of each square, rounded.
    inner : float64 [n]
        Squared norms of the codes.
    rest : float64 [n]
        ||w_x||, the norm of the residual x - Px.
    moved : float64 [n]
        Norm of the rounding error.
    factor : int
        Side of a square in pixels; 1: the rows themselves.
    left : int8 [n, q], optional
        Rounding remainder of the sum of each square; with it the sums are exact.
    """

    codes: torch.Tensor
    inner: np.ndarray
    rest: np.ndarray
    moved: np.ndarray
    factor: int
    left: torch.Tensor | None = None

    @property
    def side(self) -> PooledSide:
        """The fields needed for bounds, without the codes."""
        return PooledSide(self.inner, self.rest, self.moved)

    def part(self, rows: slice) -> Pooled:
        """Views of some rows."""
        left = None if self.left is None else self.left[rows]
        return Pooled(self.codes[rows], self.inner[rows], self.rest[rows], self.moved[rows], self.factor, left)

    def products(self, directions: torch.Tensor) -> torch.Tensor:
        """Products of the unrounded images with int8 [p, q] directions: float64 [n, p], exact to float64."""
        route = choose_route("cpu")
        cross = product(self.codes, directions, route).double()
        if self.left is not None:
            cross += product(self.left, directions, route).double() / self.factor**2
        return cross


class PooledSide(NamedTuple):
    """As in `Pooled`, for the rows or the columns of a tile."""

    inner: np.ndarray
    rest: np.ndarray
    moved: np.ndarray


class Picture(NamedTuple):
    """Interpretation of the features as an image: side in pixels, and (interleaved) channels."""

    side: int
    channels: int


def picture_of(features: int) -> Picture | None:
    """The square image of one or three channels with this number of features, if there is one."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side * side * channels == features:
            return Picture(side, channels)
    return None


def factors(features: int) -> list[int]:
    """Possible downscaling factors, largest first; [1] if there are none."""
    picture = picture_of(features)
    if picture is None or features < LEAST_PIXELS:
        return [1]
    powers = (2**power for power in range(MOST_FACTOR.bit_length()))
    fitting = [f for f in powers if picture.side % f == 0 and features // (f * f) >= LEAST_SQUARES]
    return fitting[::-1]


def empty_pictures(n: int, features: int, factor: int, whole: bool = False) -> Pooled:
    """Allocate downscaled images of n rows for `pool_into`; `whole`: with the rounding remainders."""
    inner, rest, moved = np.empty((3, n))
    codes, left = (torch.from_numpy(aligned(rows, features // factor**2)) for rows in (n, n if whole else 0))
    return Pooled(codes, inner, rest, moved, factor, left if whole else None)


def pool_into(out: Pooled, shifted: torch.Tensor, norm: np.ndarray) -> None:
    """Downscale all rows into `out`.

    Parameters
    ----------
    out : Pooled
        With a factor > 1 from `factors`.
    shifted : int8 [n, D]
    norm : float64 [n]
        Squared norms of the rows.
    """
    picture = picture_of(shifted.shape[1])
    assert picture is not None
    left = np.empty((0, out.codes.shape[1]), np.int8) if out.left is None else out.left.numpy()
    _pool(shifted.numpy(), norm, picture, out.factor, Pooling(out.codes.numpy(), out.inner, out.rest, out.moved, left))


def pool(shifted: torch.Tensor, norm: np.ndarray, factor: int) -> Pooled:
    """Downscale all rows, keeping the rounding remainders; with factor 1, the rows themselves."""
    n, features = shifted.shape
    if factor == 1:
        return Pooled(shifted, norm, np.zeros(n), np.zeros(n), 1)
    out = empty_pictures(n, features, factor, whole=True)
    pool_into(out, shifted, norm)
    return out


def pictures_bytes(features: int) -> int:
    """Maximum bytes of a row's downscaled images."""
    return sum(features // (factor * factor) + 24 for factor in factors(features) if factor > 1)


class Pooling(NamedTuple):
    """Output arrays of the kernel; see `Pooled`."""

    codes: np.ndarray
    inner: np.ndarray
    rest: np.ndarray
    moved: np.ndarray
    left: np.ndarray


@njit(nogil=True, cache=True)
def _pool(shifted, norm, picture, factor, out):
    line = picture.side * picture.channels
    short = line // factor
    area, bits = factor * factor, 2 * int(np.rint(np.log2(factor)))
    column = np.empty(line, np.int16)
    for i in range(shifted.shape[0]):
        # integer sums vectorise
        squares, lost, kept = np.int64(0), np.int64(0), np.int64(0)
        for band in range(picture.side // factor):
            column[:] = 0
            for row in range(band * factor, (band + 1) * factor):
                pixels = shifted[i, row * line : (row + 1) * line]
                for j in range(line):
                    column[j] += np.int16(pixels[j])
            width = line
            while width > short:  # adjacent values are added pairwise, in place
                width //= 2
                if picture.channels == 1:
                    for j in range(width):
                        column[j] = column[2 * j] + column[2 * j + 1]
                else:
                    for j in range(0, width, 3):
                        column[j] = column[2 * j] + column[2 * j + 3]
                        column[j + 1] = column[2 * j + 1] + column[2 * j + 4]
                        column[j + 2] = column[2 * j + 2] + column[2 * j + 5]
            codes = out.codes[i, band * short : (band + 1) * short]
            for j in range(short):
                total = np.int32(column[j])
                code = min(np.int32(127), (total + np.int32(area // 2)) >> np.int32(bits))
                left = np.int32(total - code * np.int32(area))
                codes[j] = np.int8(code)
                column[j] = np.int16(left)
                squares += np.int64(np.int32(total * total))
                kept += np.int64(np.int32(code * code))
                lost += np.int64(np.int32(left * left))
            if out.left.shape[0]:
                lefts = out.left[i, band * short : (band + 1) * short]
                for j in range(short):
                    lefts[j] = np.int8(column[j])
        out.inner[i] = kept
        out.rest[i] = np.sqrt(max(0.0, norm[i] - squares / area) / area)
        out.moved[i] = np.sqrt(np.float64(lost)) / area


@njit(nogil=True, cache=True)
def still_close(pairs, a, b, limits_a, limits_b, measure):
    """Keep the pairs whose bound is within the limits of one of their rows; returns their number.

    Parameters
    ----------
    pairs : kernel.TilePairs
        Rows and columns are compacted in place; products are those of the codes.
    a, b : PooledSide
        Of the rows and the columns of the tile.
    limits_a, limits_b : bounds.Limits
        Lengths in steps of the codes.
    measure : (Rise, float64)
        Treatment of label differences, and the length of a step in units of these images.
    """
    rise, step = measure
    kept = 0
    for e in range(pairs.rows.shape[0]):
        i = pairs.rows[e]
        j = pairs.columns[e]
        across = a.rest[i] - b.rest[j]
        apart2 = a.inner[i] + b.inner[j] - 2.0 * pairs.products[e] + across * across
        within = max(limits_a.reach[i], limits_b.reach[j])
        differ = min(abs(limits_a.y[i] - limits_b.y[j]) + rise.least, rise.most)
        if differ > np.float32(0.0):  # false for NaN
            within = max(within, differ * max(limits_a.slope[i], limits_b.slope[j]))
        far = within * step + a.moved[i] + b.moved[j]
        if apart2 <= far * far:
            pairs.rows[kept] = i
            pairs.columns[kept] = j
            kept += 1
    return kept

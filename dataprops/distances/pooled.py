"""Pictures made small: sums over squares of pixels, which bound distances from below and are many times shorter than the pixels.

With P the orthogonal projection onto pictures that are constant on each square of f x f pixels, and w what it leaves of x,

    ||x - y||^2 = ||P(x - y)||^2 + ||w_x - w_y||^2 >= ||Px - Py||^2 + (||w_x|| - ||w_y||)^2.

Means of squares are rounded to int8, so that they are multiplied as pixels are; each picture is thereby moved by a length that is
known. Most of what tells natural or medical pictures apart is in their large structures, so bounds over few squares go far. Any
reading of the features as a picture gives true bounds: the side and the channels are taken from their number.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.dots import aligned
from dataprops.distances.product import choose_route, product
from dataprops.util.compiled import njit

LEAST_SQUARES = 512  # of the smallest pictures: what directions are sought in
MOST_FACTOR = 16  # sums of more pixels would not fit int16
LEAST_PIXELS = 1_024  # fewer features are short enough as they are


class Pooled(NamedTuple):
    """Rows as small pictures; lengths in units of `factor`.

    Attributes
    ----------
    codes : int8 [n, q]
        Mean of each square, rounded.
    inner : float64 [n]
        Squared norms of the codes.
    rest : float64 [n]
        Length of what squares of one colour leave of a row.
    moved : float64 [n]
        How far rounding moved a row.
    factor : int
        Pixels of a square's side; 1: the rows themselves.
    left : int8 [n, q], optional
        What rounding took off the sum of each square: with it nothing is lost.
    """

    codes: torch.Tensor
    inner: np.ndarray
    rest: np.ndarray
    moved: np.ndarray
    factor: int
    left: torch.Tensor | None = None

    @property
    def side(self) -> PooledSide:
        """What bounds need beside the codes."""
        return PooledSide(self.inner, self.rest, self.moved)

    def part(self, rows: slice) -> Pooled:
        """Views of some rows."""
        left = None if self.left is None else self.left[rows]
        return Pooled(self.codes[rows], self.inner[rows], self.rest[rows], self.moved[rows], self.factor, left)

    def products(self, directions: torch.Tensor) -> torch.Tensor:
        """Products of the unrounded pictures with int8 [p, q] directions: float64 [n, p], exact to its last digits."""
        route = choose_route("cpu")
        cross = product(self.codes, directions, route).double()
        if self.left is not None:
            cross += product(self.left, directions, route).double() / self.factor**2
        return cross


class PooledSide(NamedTuple):
    """As in `Pooled`, of the rows or the columns of a tile."""

    inner: np.ndarray
    rest: np.ndarray
    moved: np.ndarray


class Picture(NamedTuple):
    """How features are read: side in pixels, and channels, which lie beside each other."""

    side: int
    channels: int


def picture_of(features: int) -> Picture | None:
    """A square picture of one or three channels with so many features, if there is one."""
    for channels in (1, 3):
        side = math.isqrt(features // channels)
        if side * side * channels == features:
            return Picture(side, channels)
    return None


def factors(features: int) -> list[int]:
    """Sides of squares that a picture can be cut into, the largest first; [1] where there are none."""
    picture = picture_of(features)
    if picture is None or features < LEAST_PIXELS:
        return [1]
    powers = (2**power for power in range(MOST_FACTOR.bit_length()))
    fitting = [f for f in powers if picture.side % f == 0 and features // (f * f) >= LEAST_SQUARES]
    return fitting[::-1]


def empty_pictures(n: int, features: int, factor: int, whole: bool = False) -> Pooled:
    """Where `pool_into` writes small pictures of n rows; `whole`: and what rounding takes off them."""
    inner, rest, moved = np.empty((3, n))
    codes, left = (torch.from_numpy(aligned(rows, features // factor**2)) for rows in (n, n if whole else 0))
    return Pooled(codes, inner, rest, moved, factor, left if whole else None)


def pool_into(out: Pooled, shifted: torch.Tensor, norm: np.ndarray) -> None:
    """Write small pictures of all rows.

    Parameters
    ----------
    out : Pooled
        Its factor is one of `factors`, above 1.
    shifted : int8 [n, D]
    norm : float64 [n]
        Squared norms of the rows.
    """
    picture = picture_of(shifted.shape[1])
    assert picture is not None
    left = np.empty((0, out.codes.shape[1]), np.int8) if out.left is None else out.left.numpy()
    _pool(shifted.numpy(), norm, picture, out.factor, Pooling(out.codes.numpy(), out.inner, out.rest, out.moved, left))


def pool(shifted: torch.Tensor, norm: np.ndarray, factor: int) -> Pooled:
    """Small pictures of all rows, with what rounding takes off them; of factor 1 the rows themselves."""
    n, features = shifted.shape
    if factor == 1:
        return Pooled(shifted, norm, np.zeros(n), np.zeros(n), 1)
    out = empty_pictures(n, features, factor, whole=True)
    pool_into(out, shifted, norm)
    return out


def pictures_bytes(features: int) -> int:
    """Most memory that the small pictures of a row take."""
    return sum(features // (factor * factor) + 24 for factor in factors(features) if factor > 1)


class Pooling(NamedTuple):
    """Where small pictures are written; see `Pooled`."""

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
        # whole numbers: their sums vectorise
        squares, lost, kept = np.int64(0), np.int64(0), np.int64(0)
        for band in range(picture.side // factor):
            column[:] = 0
            for row in range(band * factor, (band + 1) * factor):
                pixels = shifted[i, row * line : (row + 1) * line]
                for j in range(line):
                    column[j] += np.int16(pixels[j])
            width = line
            while width > short:  # neighbours are added to each other in place
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
    """Keep the pairs whose bound is within what matters to one of the two; their number.

    Parameters
    ----------
    pairs : kernel.TilePairs
        Rows and columns are shortened in place; products are those of the codes.
    a, b : PooledSide
        Of the rows and the columns of the tile.
    limits_a, limits_b : bounds.Limits
        Lengths in steps of the codes.
    measure : (Rise, float64)
        How labels count, and the length of a step in units of these pictures.
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
        if differ > np.float32(0.0):  # NaN is not
            within = max(within, differ * max(limits_a.slope[i], limits_b.slope[j]))
        far = within * step + a.moved[i] + b.moved[j]
        if apart2 <= far * far:
            pairs.rows[kept] = i
            pairs.columns[kept] = j
            kept += 1
    return kept

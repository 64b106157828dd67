"""Ridge regression on one-vs-rest targets, in dual form: one kernel matrix serves all folds and subsets.

    K = Z Z^T / features        alpha = (K_tt + l I)^-1 (Y_t - mean Y_t)        f = mean Y_t + K_st alpha

Targets are +1 for the class and -1 for others; for numbers, the standardised number. The strength l is the one of `STRENGTHS` with
the smallest held-out squared error. Folds must be stratified and of whole groups: under a strong ridge, leave-one-out inverts the
predictions (the mean moves away from the image left out).

Solving dominates the cost, so strengths are searched upwards and downwards from a nearby one (`held_scores`); for many images the
strength is chosen on the first fold, and the other folds are then solved all at once (`solve`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from dataprops.probe.solve import solve_all
from dataprops.probe.threads import in_threads

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
ROWS = 64  # kernel rows per piece
BLOCK = 512  # images per block of inner products
WIDTH = 4096  # features per piece of a product in double precision
OUTPUTS = 32  # with more targets, solving each fold once in double precision is cheaper
MANY = 1000  # with more images, only strengths next to the best one of a half are tried, on one fold

Fit = tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]  # scores of the held-out rows, and (alpha, mean)


class HeldScores(NamedTuple):
    """Held-out scores.

    Attributes
    ----------
    scores : float64 [n, outputs]
    strength : float
    fits : list of (alpha [train, outputs], mean [outputs])
        Fit of each fold, in order, at that strength.
    """

    scores: np.ndarray
    strength: float
    fits: list[tuple[np.ndarray, np.ndarray]]


def targets(y: np.ndarray, classes: int) -> np.ndarray:
    """-1 and +1, float64 [n, classes]."""
    return 2.0 * (y[:, None] == np.arange(classes)) - 1.0


def inner_products(features: np.ndarray) -> np.ndarray:
    """float64 [n, n] of float32 features [n, p], divided by p.

    Summed in double precision for at most `MANY` images: single precision depends on the processor's instructions, which the
    solution amplifies to 1e-4 of what is reported. For more images that would take four times as long.
    """
    z = np.ascontiguousarray(features, np.float32)
    n, width = z.shape
    out = np.empty((n, n))
    product = _in_double if n <= MANY else _in_single

    def fill(start: int) -> None:
        rows = slice(start, start + BLOCK)
        for other in range(0, start + 1, BLOCK):  # the kernel is symmetric
            columns = slice(other, other + BLOCK)
            block = np.divide(product(z[rows], z[columns]), max(1, width), dtype=np.float64)
            out[rows, columns] = block
            out[columns, rows] = block.T

    in_threads(fill, range(0, n, BLOCK)[::-1])  # the longest first
    return out


def _in_single(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b.T


def _in_double(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b.T in double precision, of float32 [m, p] and [n, p], a few features at a time; symmetric if they are the same."""
    out = np.zeros((len(a), len(b)))
    same = a.shape == b.shape and np.may_share_memory(a, b)
    for start in range(0, a.shape[1], WIDTH):
        some = slice(start, start + WIDTH)
        left = a[:, some].astype(np.float64)
        out += left @ (left if same else b[:, some].astype(np.float64)).T
    return out


def gaussian(kernel: np.ndarray) -> np.ndarray:
    """exp(-d^2 / median d^2), float64 [n, n], of inner products [n, n]; d is the distance of the features."""
    n, square = len(kernel), np.diagonal(kernel)
    few = slice(None, None, max(1, n // 500))  # rows from which the median is estimated
    scale = max(float(np.median(np.maximum(square[few, None] + square - 2 * kernel[few], 0.0))), 1e-12)
    curved = np.empty_like(kernel)

    def fill(start: int) -> None:
        rows = slice(start, start + ROWS)  # fits into a core's cache
        some = np.multiply(kernel[rows], 2 / scale, out=curved[rows])
        some -= square[rows, None] / scale
        some -= square / scale
        np.exp(np.minimum(some, 0.0, out=some), out=some)

    in_threads(fill, range(0, n, ROWS))
    return curved


def solve(kernel: np.ndarray, train: np.ndarray, target: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """(alpha [train, outputs], mean [outputs]) of a fit to the rows `train`."""
    return _solved(kernel[np.ix_(train, train)], target[train], strength)


def _solved(matrix: np.ndarray, target: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """As `solve`, given the kernel of the training rows.

    Uses torch because scipy's factorisation holds the GIL, which would block other folds and the progress bar.
    """
    mean = target.mean(0)
    shifted = torch.from_numpy(matrix).clone()
    shifted.diagonal().add_(_shift(np.diagonal(matrix), strength))
    factor = torch.linalg.cholesky(shifted)
    return torch.cholesky_solve(torch.from_numpy(target - mean), factor).numpy(), mean


def _shift(diagonal: np.ndarray, strength: float) -> float:
    """The ridge term added to the diagonal at a given strength."""
    return strength * max(float(diagonal.mean()), 1e-12)


class _System(NamedTuple):
    """A fit with one strength to the rows `train`, evaluated on the rows `held`."""

    held: np.ndarray
    train: np.ndarray
    strength: float


def _fits_together(kernel: np.ndarray, target: np.ndarray, systems: list[_System]) -> list[Fit] | None:
    """All fits by `solve_all`; None if they do not converge."""
    rows = np.unique(np.concatenate([system.train for system in systems]))
    own = kernel if len(rows) == len(kernel) else kernel[np.ix_(rows, rows)]
    inside = np.stack([np.isin(rows, system.train) for system in systems], axis=1)
    shift = np.array([_shift(np.diagonal(kernel)[system.train], system.strength) for system in systems])
    means = [target[system.train].mean(0) for system in systems]
    # with two classes one target is the negative of the other, and so are the solutions
    mirrored = target.shape[1] == 2 and bool((target[:, 0] == -target[:, 1]).all())
    used = target[rows, :1] if mirrored else target[rows]
    wanted = (used[:, None] - np.stack(means)[:, : used.shape[1]]) * inside[:, :, None]
    solved = solve_all(own, wanted, inside, shift)
    if solved is None:
        return None
    alpha, image = solved
    if own is not kernel:
        image = _everywhere(kernel, rows, alpha, image)
    fits: list[Fit] = []
    for i, (system, mean) in enumerate(zip(systems, means, strict=True)):
        mine = alpha[inside[:, i], i]
        mine = np.concatenate([mine, -mine], axis=1) if mirrored else mine
        scores = image[system.held, i]
        fits.append(((np.concatenate([scores, -scores], axis=1) if mirrored else scores) + mean, (mine, mean)))
    return fits


def _everywhere(kernel: np.ndarray, rows: np.ndarray, alpha: np.ndarray, image: np.ndarray) -> np.ndarray:
    """kernel[:, rows] @ alpha for all images [n, systems, outputs], given that of `rows` as `image`."""
    out = np.empty((len(kernel), *alpha.shape[1:]))
    out[rows] = image
    flat = alpha.reshape(len(rows), -1)
    others = np.setdiff1d(np.arange(len(kernel)), rows)

    def fill(start: int) -> None:
        some = others[start : start + ROWS]
        out[some] = (kernel[np.ix_(some, rows)] @ flat).reshape(len(some), *alpha.shape[1:])

    in_threads(fill, range(0, len(others), ROWS))
    return out


def _fits(kernel: np.ndarray, target: np.ndarray, systems: list[_System]) -> list[Fit]:
    """(held-out scores, (alpha, mean)) of each system; for many rows and few targets solved jointly if that converges."""
    if max(len(system.train) for system in systems) > MANY and target.shape[1] <= OUTPUTS:
        together = _fits_together(kernel, target, systems)
        if together is not None:
            return together

    def some(mine: list[_System]) -> list[Fit]:
        held, train = mine[0].held, mine[0].train
        own, across = kernel[np.ix_(train, train)], kernel[np.ix_(held, train)]  # gathered once for all strengths
        found = [_solved(own, target[train], system.strength) for system in mine]
        return [(across @ alpha + mean, (alpha, mean)) for alpha, mean in found]

    of = [list(group) for _, group in groupby(systems, key=lambda system: id(system.train))]
    return [fit for fits in in_threads(some, of) for fit in fits]


def held_scores(
    kernel: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    subset: np.ndarray | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
    near: float | None = None,
) -> HeldScores:
    """Held-out scores of all images, with training limited to `subset` (bool [n], by default all).

    The strength is the best of `strengths`; with `near`, the search starts at the neighbours of that one and continues while the
    best is at an end.
    """
    subset = np.ones(len(target), bool) if subset is None else subset
    parts = [(np.nonzero(folds == fold)[0], np.nonzero((folds != fold) & subset)[0]) for fold in np.unique(folds)]

    def fitted(some: list[tuple[np.ndarray, np.ndarray]], tried: Sequence[float]) -> dict[float, list[Fit]]:
        """Strength -> fits of these folds."""
        fits = _fits(kernel, target, [_System(*part, strength) for part in some for strength in tried])
        return {strength: fits[i :: len(tried)] for i, strength in enumerate(tried)}

    def missed(fits: list[Fit]) -> float:
        return sum(((scores - target[held]) ** 2).sum() for (scores, _), (held, _) in zip(fits, parts, strict=False))

    many = len(parts[0][1]) > MANY
    left = strengths if near is None else near_strengths(near)
    choosing = parts[:1] if many and len(left) > 1 else parts
    found: dict[float, list[Fit]] = {}
    best = left[0]
    while left:
        found |= fitted(choosing, left)
        best = min(found, key=lambda strength: missed(found[strength]))
        left = () if near is None else tuple(one for one in near_strengths(best) if one not in found)
    fits = found[best]
    if len(choosing) < len(parts):
        fits = fits + fitted(parts[1:], (best,))[best]
    scores = np.empty(target.shape)
    for (held, _), fit in zip(parts, fits, strict=True):
        scores[held] = fit[0]
    return HeldScores(scores, best, [fit[1] for fit in fits])


def near_strengths(strength: float) -> tuple[float, ...]:
    """A strength and its neighbours in `STRENGTHS`."""
    at = STRENGTHS.index(strength)
    return STRENGTHS[max(0, at - 1) : at + 2]

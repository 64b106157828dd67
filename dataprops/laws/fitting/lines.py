"""Weighted least squares with one intercept per family of networks, vectorised over weightings of the datasets.

The intercepts are partialled out (Frisch-Waugh-Lovell), which leaves a system of one or two slopes built from per-dataset
sums. Fits to thousands of resamples, and all leave-one-dataset-out fits, are then a few matrix products. The fit to the whole
table uses the full design matrix (`fit_whole`); tests hold both against statsmodels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dataprops.laws.fitting.resampling import Statistic

SINGULAR = 1e-8  # smallest eigenvalue ratio of the terms' correlation matrix; below it they are collinear


@dataclass(frozen=True)
class Design:
    """Design matrix and target of a law.

    Attributes
    ----------
    x : float [rows, slopes]
    y : float [rows]
    dataset, family : int [rows]
        Codes into `datasets` and `families`.
    datasets, families : tuple of str
    at : int [rows]
        Position of each row in the table.
    """

    x: np.ndarray
    y: np.ndarray
    dataset: np.ndarray
    family: np.ndarray
    datasets: tuple[str, ...]
    families: tuple[str, ...]
    at: np.ndarray

    def without(self, slopes: np.ndarray) -> Design:
        """The same with these slopes fixed, so that only intercepts are fitted."""
        return Design(
            self.x[:, :0], self.y - self.x @ slopes, self.dataset, self.family, self.datasets, self.families, self.at
        )

    def on(self, x: np.ndarray) -> Design:
        """The same rows with other terms."""
        return Design(x, self.y, self.dataset, self.family, self.datasets, self.families, self.at)


class OLSFit(NamedTuple):
    """Ordinary least-squares fit to all rows.

    Attributes
    ----------
    slopes : float [slopes]
    intercepts : float [families]
    r2 : float
        Fraction of the total variance explained, variance between families included.
    residual_sd : float
    residuals : float [rows]
    """

    slopes: np.ndarray
    intercepts: np.ndarray
    r2: float
    residual_sd: float
    residuals: np.ndarray


def fit_whole(design: Design) -> OLSFit | None:
    """Ordinary least squares over all rows; None if they do not determine the slopes."""
    rows, count = design.x.shape
    families = np.eye(len(design.families))[design.family]
    center, scale = _scales(design.x)
    if not np.isfinite(coefficients(design)(np.ones((1, len(design.datasets)), np.int64))[0, :count]).all():
        return None
    columns = np.hstack([families, (design.x - center) / scale])
    found = np.linalg.lstsq(columns, design.y, rcond=None)[0]
    residuals = design.y - columns @ found
    squares = float(residuals @ residuals)
    slopes = found[len(design.families) :] / scale
    free = rows - len(design.families) - count
    spread = float(np.sqrt(squares / free)) if free > 0 else np.nan
    total = float(((design.y - design.y.mean()) ** 2).sum())
    r2 = 1 - squares / total if total > 0 else np.nan
    return OLSFit(slopes, found[: len(design.families)] - center @ slopes, r2, spread, residuals)


def coefficients(design: Design) -> Statistic:
    """Slopes followed by intercepts, as a statistic; NaN where a resample does not determine them."""
    sets, families, count = len(design.datasets), len(design.families), design.x.shape[1]
    center, scale = _scales(design.x)
    x, at = (design.x - center) / scale, (design.dataset, design.family)
    n, sy = np.zeros((sets, families)), np.zeros((sets, families))
    sx = np.zeros((sets, families, count))
    sxx, sxy = np.zeros((sets, count, count)), np.zeros((sets, count))
    np.add.at(n, at, 1.0)
    np.add.at(sy, at, design.y)
    np.add.at(sx, at, x)
    np.add.at(sxx, design.dataset, x[:, :, None] * x[:, None, :])
    np.add.at(sxy, design.dataset, x * design.y[:, None])

    def statistic(weights: np.ndarray) -> np.ndarray:
        w = weights.astype(float)
        rows, y_sum = w @ n, w @ sy
        x_sum = np.tensordot(w, sx, 1)
        one_over = 1 / np.maximum(rows, 1)
        left = np.tensordot(w, sxx, 1) - np.einsum("bfp,bfq,bf->bpq", x_sum, x_sum, one_over)
        right = w @ sxy - np.einsum("bfp,bf,bf->bp", x_sum, y_sum, one_over)
        slopes = _solve(left, right, rows.sum(axis=1))
        means = (y_sum - np.einsum("bfp,bp->bf", x_sum, slopes)) * one_over
        slopes = slopes / scale
        intercepts = np.where(rows > 0, means - (slopes @ center)[:, None], np.nan)
        return np.hstack([slopes, intercepts])

    return statistic


def _scales(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; 1 as deviation of a constant column."""
    spread = x.std(axis=0)
    return x.mean(axis=0), np.where(spread > 1e-12 * np.abs(x).max(axis=0, initial=0.0), spread, 1.0)


def _solve(left: np.ndarray, right: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Solve [draws, slopes, slopes] systems of standardised columns; NaN for singular ones."""
    count = right.shape[1]
    if not count:
        return right
    size = np.diagonal(left, axis1=1, axis2=2)
    flat = (size < SINGULAR * np.maximum(rows, 1)[:, None]).any(axis=1)
    root = np.sqrt(np.where(flat[:, None], 1.0, size))
    matrix = left / root[:, :, None] / root[:, None, :]
    matrix[flat] = np.eye(count)
    singular = flat | (np.linalg.det(matrix) < SINGULAR)
    matrix[singular] = np.eye(count)
    slopes = np.linalg.solve(matrix, (right / root)[:, :, None])[:, :, 0] / root
    slopes[singular] = np.nan
    return slopes


def left_out_residuals(design: Design) -> np.ndarray:
    """Leave-one-dataset-out residuals: each row's y minus its prediction by a fit to the other datasets, float [rows].

    NaN where the other datasets do not determine it: too few, or a family that occurs only in this one.
    """
    sets, count = len(design.datasets), design.x.shape[1]
    if sets < 2:
        return np.full(len(design.y), np.nan)
    found = coefficients(design)(1 - np.eye(sets, dtype=np.int64))[design.dataset]
    rows = np.arange(len(design.y))
    return design.y - found[rows, count + design.family] - (design.x * found[:, :count]).sum(axis=1)

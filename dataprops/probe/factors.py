"""Approximate solutions of ridge systems by a single-precision Cholesky factorisation of each system."""

from __future__ import annotations

import numpy as np
import torch

from dataprops.probe.threads import in_threads


class Factors:
    """(K_tt + s I)^-1 for each subset t, of K float32 [n, n], inside bool [n, systems], and shift float64 [systems].

    Raises
    ------
    torch.linalg.LinAlgError
        If a system is not positive definite in single precision.
    """

    def __init__(self, kernel: torch.Tensor, inside: np.ndarray, shift: np.ndarray) -> None:
        single = kernel.numpy()
        self.rows = [np.nonzero(member)[0] for member in inside.T]

        def factor(system: int) -> torch.Tensor:
            rows = self.rows[system]
            matrix = torch.from_numpy(single[np.ix_(rows, rows)])
            matrix.diagonal().add_(float(shift[system]))
            return torch.linalg.cholesky(matrix)

        self.factors = in_threads(factor, range(len(self.rows)))

    def directions(self, right: np.ndarray) -> np.ndarray:
        """Solutions for right-hand sides float64 [n, systems, outputs]."""
        out = np.zeros_like(right)

        def solve(system: int) -> None:
            rows, lower = self.rows[system], self.factors[system]
            # two triangular solves: `cholesky_solve` takes eight times as long for one column
            x = torch.linalg.solve_triangular(lower, torch.from_numpy(right[rows, system]).float(), upper=False)
            out[rows, system] = torch.linalg.solve_triangular(lower.T, x, upper=True).numpy()

        in_threads(solve, range(len(self.rows)))
        return out

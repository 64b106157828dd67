"""Ridge fits to many subsets of the same images at once, by conjugate gradients: one product with the kernel serves them all.

    (K_tt + s I) alpha = Y_t - mean Y_t        for each subset t of the rows, with its own s

Directions are found in single precision, residuals are taken in double, and what is left is solved for again, until it is `CLOSE`.
A low-rank part of the kernel (Nystrom, of `RANK` rows drawn by seed) takes its large eigenvalues out of the iteration [1]_: what is
left has a condition of (next eigenvalue + s) / s. Where s is too small for that, a system is reported as not solved.

References
----------
.. [1] Z. Frangella, J. A. Tropp, M. Udell, Randomized Nystrom Preconditioning, SIAM J. Matrix Anal. Appl. 44 (2023).
"""

from __future__ import annotations

import numpy as np
import torch

from dataprops.probe.threads import in_threads

RANK = 300
CLOSE = (
    1e-6  # residual of a solution, relative to the right-hand side: scores of 4,000 CIFAR images moved by 2e-6 at most
)
INNER = 1e-3  # what single precision is asked for at a time
REFINEMENTS = 4
MOST = 50  # iterations at a time: a factorisation is cheaper than more
LEAST_SHIFT = 5e-6  # relative to the kernel's norm: below it single precision finds no directions
ROWS = 512  # of a product that one thread takes; sums do not depend on how many there are


def solve_all(kernel: np.ndarray, wanted: np.ndarray, inside: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    """The solutions alpha, float64 [n, systems, outputs], 0 outside of each subset; None without convergence.

    Parameters
    ----------
    kernel : float64 [n, n]
    wanted : float64 [n, systems, outputs]
        Right-hand sides, 0 outside of each subset.
    inside : bool [n, systems]
    shift : float64 [systems]
        Above 0.
    """
    if float(shift.min()) < LEAST_SHIFT * float(np.linalg.norm(kernel)):
        return None
    double = torch.from_numpy(kernel)
    single = double.float()
    try:
        part = _LowRank(single, inside, shift)
    except torch.linalg.LinAlgError:  # rounding made the drawn rows' products indefinite
        return None
    mask = inside[:, :, None]
    alpha = np.zeros_like(wanted)
    missing = wanted
    length = np.maximum(np.linalg.norm(wanted, axis=0), np.finfo(float).tiny)
    for _ in range(REFINEMENTS):
        alpha = alpha + _directions(single, part, missing)
        missing = wanted - (_product(double, torch.from_numpy(alpha)).numpy() * mask + shift[:, None] * alpha)
        left = float((np.linalg.norm(missing, axis=0) / length).max())
        if left <= CLOSE:
            return alpha
        if not left < 1.0:
            return None
    return None


def _product(kernel: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """kernel @ x of x [n, systems, outputs], in blocks of rows."""
    # of few columns the product of the transposes takes half the time
    flat = x.reshape(len(x), -1).T.contiguous()
    rows = in_threads(lambda start: flat @ kernel[start : start + ROWS].T, range(0, len(kernel), ROWS))
    return torch.cat(rows, 1).T.reshape(x.shape)


class _LowRank:
    """The inverse of (L L^T + s I) on each subset, with L L^T the Nystrom part of the kernel."""

    def __init__(self, kernel: torch.Tensor, inside: np.ndarray, shift: np.ndarray) -> None:
        drawn = np.sort(np.random.default_rng(0).permutation(len(kernel))[:RANK])
        some = kernel[:, drawn]
        core = some[drawn].double()
        core.diagonal().add_(1e-6 * core.norm().clamp(min=1e-12))  # its small eigenvalues are rounding
        factor = torch.linalg.cholesky(core).float()
        self.rows = torch.linalg.solve_triangular(factor, some.T, upper=False).T.contiguous()
        self.inside = torch.from_numpy(inside).float().unsqueeze(2)
        self.shift = torch.from_numpy(shift).float().view(1, -1, 1)
        whole = self.rows.double().T @ self.rows.double()
        inverses = []
        for member, s in zip(inside.T, shift, strict=True):
            out = self.rows[torch.from_numpy(~member)].double()
            squares = whole - out.T @ out
            squares.diagonal().add_(float(s))
            inverses.append(torch.cholesky_inverse(torch.linalg.cholesky(squares)).float())
        self.inverses = torch.stack(inverses)

    def solve(self, x: torch.Tensor) -> torch.Tensor:
        """Of x [n, systems, outputs], 0 outside of the subsets."""
        n, systems, outputs = x.shape
        inner = (x.reshape(n, -1).T.contiguous() @ self.rows).reshape(systems, outputs, -1)
        inner = torch.bmm(inner, self.inverses).reshape(systems * outputs, -1)
        return (x - (inner @ self.rows.T).T.reshape(x.shape)) * self.inside / self.shift


def _directions(kernel: torch.Tensor, part: _LowRank, wanted: np.ndarray) -> np.ndarray:
    """Solutions in single precision, to `INNER` or as far as `MOST` iterations go."""
    scale = np.maximum(np.linalg.norm(wanted, axis=0), np.finfo(float).tiny)
    residual = torch.from_numpy(wanted / scale).float()  # of length 1
    x, z = torch.zeros_like(residual), part.solve(residual)
    direction, slope = z, (residual * z).sum(0)
    tiny = torch.finfo(torch.float32).tiny
    for _ in range(MOST):
        image = _product(kernel, direction) * part.inside + part.shift * direction
        step = slope / (direction * image).sum(0).clamp(min=tiny)
        x = x + step * direction
        residual = residual - step * image
        if float(residual.norm(dim=0).max()) <= INNER:
            break
        z = part.solve(residual)
        before, slope = slope, (residual * z).sum(0)
        direction = z + slope / before.clamp(min=tiny) * direction
    return x.double().numpy() * scale

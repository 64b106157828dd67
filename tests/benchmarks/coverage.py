"""Coverage of intervals: ``python -m tests.benchmarks.coverage FOLDER [--side 64] [--channels 1] [--sizes 500,1000] [--splits 60]``

Repeatedly draws two disjoint samples of N images from a real set (class/file), estimates each with its standard error, and counts how
often the difference is within 1.645 sqrt(se_A^2 + se_B^2): 90 % if the errors are correct. `ratio` is the root mean square standard
error over the spread between samples: 1 if correct. Prints rows of the table in coverage.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dataprops.properties.estimators import ESTIMATORS, estimate_all, groups, neighbours_needed

K = 20
NINETY = 1.645


def load(folder: Path, side: int, channels: int) -> np.ndarray:
    """Distinct images of a set as float32 [n, D]."""
    mode, rows = "L" if channels == 1 else "RGB", []
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        with Image.open(file) as image:
            rows.append(np.asarray(image.convert(mode).resize((side, side), Image.Resampling.BILINEAR)).reshape(-1))
    return np.unique(np.stack(rows), axis=0).astype(np.float32)


def squared_distances(x: np.ndarray) -> np.ndarray:
    """All pairs, float32 [n, n]; exact below 2^24, as the pixels are whole numbers."""
    norms = (x.astype(np.float64) ** 2).sum(axis=1)
    return np.maximum(norms[:, None] + norms[None] - 2.0 * (x @ x.T), 0).astype(np.float32)


def estimates(d2: np.ndarray, chosen: np.ndarray, features: int, wanted: Sequence[str], seed: int) -> dict:
    """Value and error of each estimator on some images."""
    collected = min(neighbours_needed(wanted, K), len(chosen) - 1)
    within = d2[np.ix_(chosen, chosen)]
    np.fill_diagonal(within, np.inf)
    nearest = np.argpartition(within, collected, axis=1)[:, :collected]
    values = np.take_along_axis(within, nearest, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    distances = np.sqrt(np.take_along_axis(values, order, axis=1).astype(float))
    return estimate_all(
        distances, np.take_along_axis(nearest, order, axis=1), features, K, seed, wanted, full_range=255.0
    )


def covered(pairs: list[tuple[dict, dict]], name: str) -> tuple[float, float, float]:
    """Mean estimate, error over spread, and share of the differences within 90 % intervals."""
    values = np.array([[one[name].value, other[name].value] for one, other in pairs])
    errors = np.array([[one[name].se, other[name].se] for one, other in pairs])
    apart, error = values[:, 0] - values[:, 1], np.sqrt((errors**2).sum(axis=1))
    ratio = np.sqrt((error**2).mean() / (apart**2).mean())
    return float(values.mean()), float(ratio), float((np.abs(apart) <= NINETY * error).mean())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--sizes", default="500,1000")
    parser.add_argument("--splits", type=int, default=60)
    parser.add_argument("--estimators", default=",".join(groups()))
    asked = parser.parse_args()
    x = load(asked.folder, asked.side, asked.channels)
    d2, wanted, rng = squared_distances(x), asked.estimators.split(","), np.random.default_rng(0)
    for n in (int(size) for size in asked.sizes.split(",") if 2 * int(size) <= len(x)):
        draws = (rng.permutation(len(x))[: 2 * n] for _ in range(asked.splits))
        pairs = [
            (estimates(d2, draw[:n], x.shape[1], wanted, 0), estimates(d2, draw[n:], x.shape[1], wanted, 0))
            for draw in draws
        ]
        for row in ESTIMATORS.values():
            if row.group in wanted:
                value, ratio, share = covered(pairs, row.name)
                print(
                    f"| {asked.folder.name} | {n} | {row.name} | {value:.1f} | {ratio:.2f} | {share:.2f} |", flush=True
                )


if __name__ == "__main__":
    main()

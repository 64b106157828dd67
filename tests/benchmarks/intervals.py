"""Do the intervals of changes cover? ``python -m tests.benchmarks.intervals FOLDER [--size 300] [--splits 40]``

Two disjoint samples of N images of one real set (class/file) differ by chance alone: the 95 % interval of their difference should
hold 0 in 95 of 100 draws. Looked at: the log ratio of label sharpness at equal M (`laws.change.sharpness_error`; as in the table, of
90 % intervals, with error over spread), the dimension of audits that share half of their images, error and log loss of the probe
(`probe.bootstrap.mean_interval`), and shares of classes and of copies (`audit.history.fraction_change`), these by drawing counts.
Prints rows of the tables in coverage.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dataprops.audit.history import fraction_change
from dataprops.laws.change import sharpness_error
from dataprops.probe.bootstrap import bootstrap_weights, mean_interval
from dataprops.probe.calibrate import log_losses
from dataprops.probe.measure import held_out
from dataprops.properties.sharpness import draw_samples
from dataprops.util.normal import Z
from tests.benchmarks.coverage import NINETY, estimates, squared_distances

DRAWS = 20


def load(folder: Path, side: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct images uint8 [n, side, side, channels] and their classes."""
    mode, rows, labels = ("L" if channels == 1 else "RGB"), [], []
    for c, part in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for file in sorted(path for path in part.rglob("*") if path.is_file()):
            with Image.open(file) as image:
                rows.append(np.asarray(image.convert(mode).resize((side, side), Image.Resampling.BILINEAR)))
            labels.append(c)
    x = np.stack(rows).reshape(len(rows), side, side, channels)
    _, first = np.unique(x.reshape(len(x), -1), axis=0, return_index=True)
    return x[np.sort(first)], np.array(labels)[np.sort(first)]


class SharpPairs(NamedTuple):
    """The nearest pairs of unlike labels of a set, nearest first: K_F of any part of it is that of the first pair it holds."""

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray

    @classmethod
    def of(cls, d2: np.ndarray, y: np.ndarray, most: int = 2_000_000) -> SharpPairs:
        """Of all squared distances [n, n] and labels [n]."""
        a, b = np.nonzero(np.triu(y[:, None] != y[None], 1))
        values = d2[a, b]
        kept = np.argpartition(values, most)[:most] if len(values) > most else np.arange(len(values))
        kept = kept[np.argsort(values[kept], kind="stable")]
        return cls(a[kept], b[kept], np.sqrt(values[kept]))

    def sharpness(self, held: np.ndarray) -> float:
        """K_F of the images that a mask [n] holds."""
        both = held[self.a] & held[self.b]
        first = int(both.argmax())
        if not both[first]:
            raise ValueError("none of the pairs kept lies in the sample: keep more")
        return 1.0 / float(self.distance[first])


def sharpest(pairs: SharpPairs, chosen: np.ndarray, total: int, m: int, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of K_F over draws of m of the chosen images."""
    out = []
    for draw in draw_samples(len(chosen), m, DRAWS, seed):
        held = np.zeros(total, bool)
        held[chosen[draw]] = True
        out.append(pairs.sharpness(held))
    return float(np.mean(out)), float(np.std(out, ddof=1))


def of_sharpness(pairs: SharpPairs, total: int, n: int, m: int, splits: int) -> tuple[float, float]:
    """Share of the draws in which the 90 % interval of the log ratio holds 0, and root mean square error over spread."""
    rng, apart, errors = np.random.default_rng(0), [], []
    for _ in range(splits):
        both = rng.permutation(total)[: 2 * n]
        (a, spread_a), (b, spread_b) = (sharpest(pairs, half, total, m, 0) for half in (both[:n], both[n:]))
        widths = (sharpness_error(spread_a, a, m, n, DRAWS), sharpness_error(spread_b, b, m, n, DRAWS))
        apart.append(math.log(b / a))
        errors.append(math.hypot(*widths) / Z)
    held = np.abs(apart) <= NINETY * np.array(errors)
    ratio = math.sqrt(np.mean(np.square(errors)) / np.mean(np.square(apart)))
    return float(held.mean()), ratio


def of_drift(x: np.ndarray, n: int, splits: int, wanted: Sequence[str]) -> dict[str, float]:
    """Of each estimator the share of draws in which the 95 % interval of the dimension's change holds 0.

    The two audits share half of their n images, as those of a set do of which parts were replaced; the interval takes their errors
    as independent (`audit.history`), so it is expected to hold 0 more often.
    """
    d2, rng = squared_distances(x), np.random.default_rng(3)
    held: dict[str, list[bool]] = {}
    for _ in range(splits):
        kept, old, new = np.split(rng.permutation(len(x))[: n // 2 * 3], 3)
        found = [estimates(d2, np.sort(np.concatenate([kept, other])), x.shape[1], wanted, 0) for other in (old, new)]
        for name, one in found[0].items():
            other = found[1][name]
            held.setdefault(name, []).append(abs(one.value - other.value) <= Z * math.hypot(one.se, other.se))
    return {name: float(np.mean(values)) for name, values in held.items()}


def of_probe(x: np.ndarray, y: np.ndarray, n: int, splits: int) -> np.ndarray:
    """The same of the classifier's error and log loss, whose intervals are joined as the halves' own: [2, 2], held and half width
    over 1.96 times the spread."""
    rng, held, apart, widths = np.random.default_rng(1), np.zeros(2), [], []
    for _ in range(splits):
        both = rng.permutation(len(y))[: 2 * n]
        found = []
        for half in (both[:n], both[n:]):
            seen = held_out(x[half], y[half]).probabilities
            unit, weights = np.arange(n), bootstrap_weights(n, 0)
            wrong = (seen.argmax(1) != y[half]).astype(float)
            found.append([mean_interval(values, unit, weights) for values in (wrong, log_losses(seen, y[half]))])
        differences, halves = [], []
        for at, ((one, low_a, high_a), (two, low_b, high_b)) in enumerate(zip(*found, strict=True)):
            below, above = math.hypot(one - low_a, high_b - two), math.hypot(high_a - one, two - low_b)
            held[at] += one - two - below <= 0 <= one - two + above
            differences.append(one - two)
            halves.append((below + above) / 2)
        apart.append(differences)
        widths.append(halves)
    spread = np.sqrt(np.square(apart).mean(axis=0))
    return np.stack([held / splits, np.sqrt(np.square(widths).mean(axis=0)) / Z / spread], axis=1)


def of_shares(share: float, kept: int, added: int, removed: int, draws: int = 4000) -> float:
    """Share of the draws in which the interval of a share's change holds 0, the truth being one mix throughout."""
    rng, held = np.random.default_rng(2), 0
    for _ in range(draws):
        parts = [(int(rng.binomial(of, share)), of) for of in (kept, added, removed)]
        _, low, high = fraction_change(*parts)
        held += low <= 0 <= high
    return held / draws


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--splits", type=int, default=40)
    parser.add_argument("--drift", type=int, default=60, help="Splits of the drift; 0: none.")
    parser.add_argument("--probe", type=int, default=20, help="Splits of the probe; 0: none.")
    asked = parser.parse_args()
    x, y = load(asked.folder, asked.side, asked.channels)
    n, name = min(asked.size, len(x) // 2), asked.folder.name
    pairs = SharpPairs.of(squared_distances(x.reshape(len(x), -1).astype(np.float32)), y)
    for m in (n // 4, n // 2):
        held, ratio = of_sharpness(pairs, len(x), n, m, asked.splits)
        print(f"| {name} | {n} | sharpness, M = {m}, 90 % | {held:.2f} ({ratio:.2f}) |", flush=True)
    if asked.drift:
        for estimator, held in of_drift(
            x.reshape(len(x), -1).astype(np.float32), n, asked.drift, ("mle", "twonn")
        ).items():
            print(f"| {name} | {n} | drift of {estimator}, half of the images shared | {held:.2f} |", flush=True)
    if asked.probe:
        for what, (held, ratio) in zip(("error", "log loss"), of_probe(x, y, n, asked.probe), strict=True):
            print(f"| {name} | {n} | {what} of the probe | {held:.2f} ({ratio:.2f}) |", flush=True)
    for share, kept, added, removed in (
        (0.5, 500, 100, 0),
        (0.5, 500, 100, 100),
        (0.02, 500, 100, 50),
        (0.02, 2000, 50, 0),
    ):
        told = f"share of {share:.0%}: {kept} kept, {added} added, {removed} removed"
        print(f"| drawn | {kept + added} | {told} | {of_shares(share, kept, added, removed):.2f} |", flush=True)


if __name__ == "__main__":
    main()

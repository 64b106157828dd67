"""Coverage of intervals of changes: ``python -m tests.benchmarks.intervals FOLDER [--size 300] [--splits 40]``

Two disjoint samples of N images of one real set (class/file) differ by chance alone, so the 95 % interval of their difference should
contain 0 in 95 of 100 draws. Tested: the log ratio of label sharpness at equal M (`laws.change.sharpness_error`; in the table with 90
% intervals and error over spread), the dimension of audits that share half of their images, error, log loss and gain of the probe, the
number of wrong labels (a tenth changed at random), and fractions of classes and copies (`audit.property_changes.fraction_change`),
the latter by simulated counts.
Prints rows of the tables in coverage.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from dataprops.audit.property_changes import fraction_change
from dataprops.audit.stages.probe import near_alike
from dataprops.findings import second_opinion
from dataprops.findings.second_opinion import wrong_labels
from dataprops.laws.change import sharpness_error
from dataprops.probe import descriptors
from dataprops.probe.features import fit_encoder, shrink
from dataprops.probe.folds import leak_groups_of
from dataprops.probe.measure import Probe, held_out_averaged, held_out_curved, held_out_described, run_probe
from dataprops.probe.ridge import inner_products
from dataprops.properties.sharpness import draw_samples
from dataprops.util.normal import Z
from dataprops.util.threads import one_thread
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
    as independent (`audit.property_changes`), so it is expected to hold 0 more often.
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


def leak_groups(x: np.ndarray, k: int = 20) -> np.ndarray:
    """The leak groups that an audit forms of images without patients: those that are far nearer than others stay together."""
    flat = x.reshape(len(x), -1).astype(np.float32)
    distance = np.sqrt(np.maximum(squared_distances(flat), 0))
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, :k]
    image = np.repeat(np.arange(len(x)), k)
    rows = {"image": image, "neighbour": near.ravel(), "distance": distance[image, near.ravel()]}
    pairs = near_alike(pd.DataFrame(rows), flat.shape[1], pd.DataFrame())
    apart = pairs["distance"].to_numpy(float)
    return leak_groups_of(len(x), None, np.empty((0, 2), np.int64), pairs[["a", "b"]].to_numpy(np.int64), apart)


def probed(x: np.ndarray, y: np.ndarray, leak_group: np.ndarray | None = None) -> tuple[Probe, np.ndarray]:
    """What the reference classifier makes of images, by default each its own group, and their features; nothing is attacked."""
    with one_thread():
        _, features = fit_encoder(shrink(x), 0)
    return run_probe(None, y, np.arange(len(y)) if leak_group is None else leak_group, features=features), features


def of_probe(x: np.ndarray, y: np.ndarray, n: int, splits: int) -> list[tuple[str, float, str]]:
    """Of the classifier's error and log loss, whose intervals are joined as the halves' own, the share of the draws in which the
    interval of the difference holds 0; of the gain from twice as many images that in which it holds what the halves together
    show on average: what of, share, and more (half width over 1.96 times the spread). Near-copies are one group, as in an audit.
    """
    rng, held, apart, widths = np.random.default_rng(1), np.zeros(2), [], []
    gains, at_n, at_2n = [], [], []
    for _ in range(splits):
        both = rng.permutation(len(y))[: 2 * n]
        found = [probed(x[half], y[half], leak_groups(x[half]))[0] for half in (both[:n], both[n:])]
        at_2n.append(probed(x[both], y[both], leak_groups(x[both]))[0].log_loss.value)
        at_n += [probe.log_loss.value for probe in found]
        gains += [probe.gains[2] for probe in found if probe.gains]
        differences, halves = [], []
        for at, (one, two) in enumerate(zip(*([probe.error, probe.log_loss] for probe in found), strict=True)):
            below = math.hypot(one.value - one.low, two.high - two.value)
            above = math.hypot(one.high - one.value, two.value - two.low)
            held[at] += one.value - two.value - below <= 0 <= one.value - two.value + above
            differences.append(one.value - two.value)
            halves.append((below + above) / 2)
        apart.append(differences)
        widths.append(halves)
    spread = np.sqrt(np.square(apart).mean(axis=0))
    ratio = np.sqrt(np.square(widths).mean(axis=0)) / Z / spread
    rows = [
        (f"{what} of the probe", held[at] / splits, f"{ratio[at]:.2f}") for at, what in enumerate(("error", "log loss"))
    ]
    gained = 1 - float(np.mean(at_2n)) / float(np.mean(at_n))
    if gains:
        share = float(np.mean([gain.low <= gained <= gain.high for gain in gains]))
        rows.append(("gain from twice as many images", share, f"{gained:.0%}, {len(gains)} intervals"))
    return rows


def of_wrong_labels(x: np.ndarray, y: np.ndarray, n: int, splits: int, flipped: float = 0.1) -> float:
    """Share of the draws in which the interval of the number of wrong labels holds that of the labels that were changed at random.

    What was wrong before counts against it.
    """
    rng, held = np.random.default_rng(4), 0
    for _ in range(splits):
        chosen = rng.permutation(len(y))[:n]
        changed, classes = rng.choice(n, round(flipped * n), replace=False), int(y.max()) + 1
        given = y[chosen].copy()
        given[changed] = (given[changed] + rng.integers(1, classes, len(changed))) % classes
        found = wrong_labels(witnesses(x[chosen], given, classes))
        held += found.low <= len(changed) <= found.high
    return held / splits


def witnesses(x: np.ndarray, y: np.ndarray, classes: int) -> second_opinion.Opinions:
    """What all witnesses say of the labels of some images, each its own group."""
    probe, features = probed(x, y)
    d2 = squared_distances(x.reshape(len(x), -1).astype(np.float32))
    np.fill_diagonal(d2, np.inf)
    kernel, image = inner_products(features), np.arange(len(y))
    voters = np.argsort(d2, axis=1, kind="stable")[:, : second_opinion.NEAR]
    curved = held_out_curved(kernel, y, probe.fold, image)
    averaged = held_out_averaged(probe.probabilities, kernel, y, image, probe.strength)
    alike = second_opinion.most_alike(kernel, image)
    small = shrink(x)
    told = [descriptors.edges(shrink(x, descriptors.SIDE)), descriptors.tones(small), descriptors.textures(small)]
    described = held_out_described(told, y, probe.fold, image)
    held = (probe.probabilities, alike, curved, averaged, described)
    said = second_opinion.Witness(image, [str(c) for c in range(classes)], *held)
    return second_opinion._all_asked(image, y, second_opinion.alike_votes(voters, y, classes), said)


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
    parser.add_argument("--drift", type=int, default=60, help="Number of splits for the drift; 0: skip.")
    parser.add_argument("--probe", type=int, default=20, help="Number of splits for the probe; 0: skip.")
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
        for what, held, more in of_probe(x, y, n, asked.probe):
            print(f"| {name} | {n} | {what} | {held:.2f} ({more}) |", flush=True)
        held = of_wrong_labels(x, y, n, asked.probe)
        print(f"| {name} | {n} | number of wrong labels, 10 % changed | {held:.2f} |", flush=True)
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

"""What changed in a set's properties between two audits, and what of it is more than sampling noise.

Every change has a 95 % interval and says what that assumes:

- d_data: independent bootstrap errors; at equal N where the sets differ in size, since estimates grow with N
- K_F: at samples of one size M (`laws.change.common_sample`, `laws.change.sharpness_error`)
- shares of classes and of copies: audits of a growing set share images, so not the audits are compared as if they were two
  samples, but their parts: kept, added and removed images are three independent samples of the source. The interval of the
  change, a contrast of three proportions, is by the method of variance estimates recovery (MOVER) [1]_ on Wilson
  intervals; with nothing removed it is Newcombe's for added against earlier images, times the share of the added.
- the mix of all classes: chi-square test of homogeneity of the three parts, by random tables where counts are small.

References
----------
.. [1] G. Y. Zou, A. Donner, Construction of confidence limits about effect measures: a general approach, Stat. Med. 27
   (2008).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dataprops.audit.matched import Matched
from dataprops.laws.change import common_sample, sharpness_change
from dataprops.laws.prediction import LEVEL
from dataprops.util.normal import Z
from dataprops.util.numbers import wilson_interval

SAME_SIZE = 0.1  # sets whose sizes differ by less have dimensions that compare as they are
SAME_VALUE = 1e-12  # a change within rounding
SMALL_COUNT = 5.0  # Cochran: with smaller expected counts the chi-square distribution does not hold
RANDOM_TABLES = 2000


@dataclass(frozen=True)
class Change:
    """A property in two audits.

    Attributes
    ----------
    name, title : str
    before, after : float or None
        The property; None if an audit lacks it.
    value, low, high : float or None
        The change and its 95 % interval; None if withheld.
    scale : str
        "difference", or "log ratio" of after and before.
    significant : bool or None
        Whether the change is more than sampling noise; None if it cannot be told.
    basis : str
        What the interval assumes.
    withheld : str or None
        Why there is no change.
    """

    name: str
    title: str
    before: float | None = None
    after: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    scale: str = "difference"
    significant: bool | None = None
    basis: str = ""
    withheld: str | None = None


def fraction_change(
    kept: tuple[int, int], added: tuple[int, int], removed: tuple[int, int], level: float = LEVEL
) -> tuple[float, float, float]:
    """Change of a share from (kept + removed) to (kept + added), and its interval; each part is (count, of).

    share(B) - share(A) = w_a p_added - w_r p_removed + (w_r - w_a) p_kept, with w_a the share of the added among B's
    images and w_r that of the removed among A's.

    Examples
    --------
    >>> change, low, high = fraction_change((500, 1000), (10, 100), (0, 0))
    >>> print(f"{change:.3f} {low < high < 0}")
    -0.036 True
    """
    w_added = added[1] / max(1, kept[1] + added[1])
    w_removed = removed[1] / max(1, kept[1] + removed[1])
    value = below = above = 0.0
    for (count, of), weight in ((added, w_added), (removed, -w_removed), (kept, w_removed - w_added)):
        if not of or not weight:
            continue
        p = count / of
        low, high = wilson_interval(count, of, level)
        value += weight * p
        down, up = (p - low, high - p) if weight > 0 else (high - p, p - low)
        below += (weight * down) ** 2
        above += (weight * up) ** 2
    return value, value - math.sqrt(below), value + math.sqrt(above)


def mix_test(table: np.ndarray, seed: int = 0) -> float | None:
    """p-value of homogeneity of rows of counts [parts, classes]; None if there is nothing to compare.

    Pearson's chi-square; where an expected count is below `SMALL_COUNT`, its distribution over random tables of the same
    margins.
    """
    table = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(table.shape) < 2:
        return None
    from scipy.stats import MonteCarloMethod, chi2_contingency

    outcome = chi2_contingency(table, correction=False)
    if outcome.expected_freq.min() < SMALL_COUNT:
        draws = MonteCarloMethod(n_resamples=RANDOM_TABLES, rng=np.random.default_rng(seed))
        outcome = chi2_contingency(table, correction=False, method=draws)
    return float(outcome.pvalue)


def _changed(name: str, title: str, ends: tuple[Any, Any], interval: tuple[float, float, float], **how: Any) -> Change:
    value, low, high = interval
    how.setdefault("significant", low > 0 or high < 0)
    return Change(name, title, *ends, value, low, high, **how)


def dimension_change(a: Mapping[str, Any], b: Mapping[str, Any], tables: Sequence[pd.DataFrame] = ()) -> Change:
    """Change of the maximum-likelihood dimension, from bootstrap standard errors taken as independent.

    Parameters
    ----------
    a, b : mapping
        Summaries.
    tables : two DataFrames, optional
        Their properties, with estimates of subsets of equal size (``intrinsic_dimension.mle@N``).
    """
    name, title = "d_data", "intrinsic dimension"
    ends: list[Any] = [(audit["intrinsic_dimension"].get("mle") or {}) for audit in (a, b)]
    values = tuple(end.get("value") for end in ends)
    if any(value is None or end.get("se") is None for value, end in zip(values, ends, strict=True)):
        return Change(name, title, *values, withheld="an audit has no dimension with a standard error")
    if a.get("k") != b.get("k"):
        return Change(name, title, *values, withheld=f"the audits took {a.get('k')} and {b.get('k')} neighbours (--k)")
    n = [audit["n_images"] - audit["n_unreadable"] for audit in (a, b)]
    shared = "errors taken as independent: audits share images, so the interval is conservative"
    ses = [end["se"] for end in ends]
    at_equal = max(n) <= (1 + SAME_SIZE) * min(n)
    if not at_equal and len(tables) == 2:
        subsets = [
            {
                int(key.rpartition("@")[2]): (value, se)
                for key, value, se in table[["property", "value", "se"]].itertuples(index=False)
                if key.startswith("intrinsic_dimension.mle@") and math.isfinite(value + se)
            }
            for table in tables
        ]
        common = set(subsets[0]) & set(subsets[1])
        if common:
            size = max(common)
            values, ses = zip(*(found[size] for found in subsets), strict=True)
            at_equal, shared = True, f"of {size:,} random images of each set; {shared}"
    value, half = float(values[1]) - float(values[0]), Z * math.hypot(*ses)
    interval = (value, value - half, value + half)
    if at_equal:
        return _changed(name, title, values, interval, basis=shared)
    # an estimate grows with N: only a change against that direction says something of the images
    against = interval[2] < 0 if n[1] > n[0] else interval[1] > 0
    return _changed(
        name,
        title,
        values,
        interval,
        significant=True if against else None,
        basis=f"at {n[0]:,} and {n[1]:,} images: estimates grow with N, so growth with it says nothing; {shared}",
    )


def sharpness_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Log ratio of the label sharpness at equal M, and the change of the expected penalty that it brings."""
    name, title = "k_f", "label sharpness"
    m = common_sample(a, b)
    if a["labels"]["kind"] != b["labels"]["kind"]:
        reason = f"the labels were read as {a['labels']['kind']}, then as {b['labels']['kind']}"
    else:
        reason = None if m is not None else "no samples of one size, smaller than both sets, were drawn (--sample)"
    if reason or m is None:
        return [Change(name, title, withheld=reason), Change("penalty", "expected penalty", withheld=reason)]
    ends, errors = sharpness_change(a, b, m)
    value, half = math.log(ends[1] / ends[0]), math.hypot(*errors)
    out = [
        _changed(
            name,
            f"{title}, M = {m:,}",
            ends,
            (value, value - half, value + half),
            scale="log ratio",
            basis="spread over draws, carried over to the mean; sets taken as independent, which is conservative",
        )
    ]
    return [*out, _penalty_change(a, b)]


def recorded_prediction(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((p for p in summary.get("predictions", ()) if p["name"] == name), {"withheld": "it was not predicted"})


def _penalty_change(a: Mapping[str, Any], b: Mapping[str, Any]) -> Change:
    """Both calibrations are lines in K_F, so the change is slope times that of K_F, and has its error."""
    name, title = "penalty", "expected penalty, nats"
    ends: list[Any] = [recorded_prediction(audit, "attack_penalty") for audit in (a, b)]
    values = tuple(end.get("value") for end in ends)
    for end in ends:
        if end.get("withheld"):
            return Change(name, title, *values, withheld=end["withheld"])
    if ends[0].get("calibration") != ends[1].get("calibration"):
        return Change(name, title, *values, withheld="the audits rest on different calibrations")
    samples = [audit["label_sharpness"]["sample"] for audit in (a, b)]
    m = samples[0]["m"]
    n = min(audit["n_images"] - audit["n_unreadable"] for audit in (a, b))
    if m != samples[1]["m"] or m >= n:
        return Change(
            name, title, *values, withheld="the sharpness behind them is not of samples of one size (--sample)"
        )
    (k_a, k_b), (error_a, error_b) = sharpness_change(a, b, m)
    value = float(values[1]) - float(values[0])
    half = abs(value / (k_b - k_a)) * math.hypot(k_a * error_a, k_b * error_b) if k_a != k_b else 0.0
    return _changed(
        name,
        title,
        values,
        (value, value - half, value + half),
        basis="error of the label sharpness alone; the calibration's line is taken as it is",
    )


def class_changes(a: pd.DataFrame, b: pd.DataFrame, matched: Matched) -> tuple[list[Change], float | None]:
    """Change of each class's share of the labelled images, and the p-value of the same class mix in kept, added and removed images.

    Relabelled images are a fact, no noise: they shift the change and do not widen its interval. The intervals hold
    together for all classes (Bonferroni); a class counts as changed only where the whole mix does.
    """
    labels_a, labels_b = (table["label"].to_numpy(object) for table in (a, b))
    known_a, known_b = (pd.notna(labels) for labels in (labels_a, labels_b))
    classes = sorted({str(label) for label in (*labels_a[known_a], *labels_b[known_b])})
    if not classes:
        return [], None
    parts = {
        "kept": labels_b[matched.kept_b & known_b],
        "added": labels_b[~matched.kept_b & known_b],
        "removed": labels_a[~matched.kept_a & known_a],
    }
    counts = {part: pd.Series(labels, dtype=object).value_counts() for part, labels in parts.items()}
    table = np.array([[int(counts[part].get(name, 0)) for name in classes] for part in parts])
    totals = table.sum(1)
    n_a, n_b = int(known_a.sum()), int(known_b.sum())
    if not n_a or not n_b:
        return [], None
    p = mix_test(table)
    out = []
    for number, name in enumerate(classes):
        kept, added, removed = ((int(table[i, number]), int(totals[i])) for i in range(3))
        before, after = int((labels_a == name).sum()) / n_a, int((labels_b == name).sum()) / n_b
        value, low, high = fraction_change(kept, added, removed, 1 - (1 - LEVEL) / len(classes))
        moved = (after - before) - value  # by relabelling
        told = (p is not None and p < 1 - LEVEL and (low > 0 or high < 0)) or abs(moved) > SAME_VALUE
        out.append(
            _changed(
                f"share.{name}",
                f"share of {name}",
                (before, after),
                (value + moved, low + moved, high + moved),
                significant=told,
                basis="kept, added and removed images as three samples of one source; together for all classes",
            )
        )
    return out, p


def copies_change(a: pd.DataFrame, b: pd.DataFrame, matched: Matched) -> Change:
    """Change of the share of readable images that repeat another's pixels.

    Images less distinct pictures, counted for the kept ones, for what the added brought, and for what the removed took
    away. Each copy counts as an event of its own: a folder copied as a whole shows.
    """

    def repeats(pixels: pd.Series) -> tuple[int, int]:
        readable = pixels.dropna()
        return len(readable) - readable.nunique(), len(readable)

    all_a, all_b = repeats(a["pixels"]), repeats(b["pixels"])
    name, title = "copies", "share of exact copies"
    if not all_a[1] or not all_b[1]:
        return Change(name, title, withheld="an audit has no readable image")
    kept = repeats(b["pixels"][matched.kept_b])
    added = (all_b[0] - kept[0], all_b[1] - kept[1])
    kept_a = repeats(a["pixels"][matched.kept_a])
    removed = (all_a[0] - kept_a[0], all_a[1] - kept_a[1])
    ends = (all_a[0] / all_a[1], all_b[0] / all_b[1])
    return _changed(
        name,
        title,
        ends,
        fraction_change(kept, added, removed),
        basis="kept, added and removed images as three samples; as many copies among the added as among the others",
    )

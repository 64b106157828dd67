"""Changes of a dataset's properties between two audits, and whether they exceed sampling noise.

Every change has a 95 % interval and states its assumptions:

- d_data: independent bootstrap errors; at equal N if the sizes differ, since estimates grow with N
- K_F: at equal sample size M (`laws.change.common_sample`, `laws.change.sharpness_error`)
- class and copy fractions: audits of a growing dataset share images and are not independent samples, but kept, added and removed
  images are. The change is a contrast of three proportions; its interval is by the method of variance estimates recovery
  (MOVER) [1]_ on Wilson intervals. With nothing removed it is Newcombe's interval for added against earlier images, times the
  fraction of added images.
- class mix: chi-square test of homogeneity of the three parts, with random tables for small counts.

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

SAME_SIZE = 0.1  # relative size difference up to which dimensions are compared directly
# numbers of the same files differ by less between versions of this program (log loss: by up to 4e-5) and machines; alerts need 0.05
SAME_FILES = 1e-4
ROUNDING = 1e-12  # of fractions
SMALL_COUNT = 5.0  # Cochran: the chi-square approximation fails for smaller expected counts
RANDOM_TABLES = 2000


@dataclass(frozen=True)
class Change:
    """Change of a property between two audits.

    Attributes
    ----------
    name, title : str
    before, after : float or None
        Values; None if missing in an audit.
    value, low, high : float or None
        The change and its 95 % interval; None if withheld.
    scale : str
        "difference", or "log ratio" of after and before.
    significant : bool or None
        Whether the change exceeds sampling noise; None if undetermined.
    basis : str
        Assumptions of the interval.
    withheld : str or None
        Why the change is not reported.
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
    """Change of a fraction from (kept + removed) to (kept + added): value, low, high. Each part is (count, total).

    fraction(B) - fraction(A) = w_a p_added - w_r p_removed + (w_r - w_a) p_kept, where w_a is the fraction of added images in B
    and w_r that of removed images in A.

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
    """p-value of homogeneity of counts [parts, classes]; None if there is nothing to compare.

    Pearson's chi-square; with expected counts below `SMALL_COUNT`, simulated over random tables with the same margins.
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
    """Change of the maximum-likelihood dimension, treating bootstrap standard errors as independent.

    Parameters
    ----------
    a, b : mapping
        Summaries.
    tables : two DataFrames, optional
        Their properties tables, with estimates on random subsets (``intrinsic_dimension.mle@N``).
    """
    name, title = "d_data", "intrinsic dimension"
    ends: list[Any] = [(audit["intrinsic_dimension"].get("mle") or {}) for audit in (a, b)]
    values = tuple(end.get("value") for end in ends)
    if any(value is None or end.get("se") is None for value, end in zip(values, ends, strict=True)):
        return Change(name, title, *values, withheld="an audit lacks a dimension with standard error")
    if a.get("k") != b.get("k"):
        return Change(name, title, *values, withheld=f"the audits used {a.get('k')} and {b.get('k')} neighbours (--k)")
    n = [audit["n_images"] - audit["n_unreadable"] for audit in (a, b)]
    shared = "errors treated as independent: the audits share images, so the interval is conservative"
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
            at_equal, shared = True, f"on {size:,} random images of each audit; {shared}"
    value, half = float(values[1]) - float(values[0]), Z * math.hypot(*ses)
    interval = (value, value - half, value + half)
    if at_equal:
        return _changed(name, title, values, interval, basis=shared)
    # estimates grow with N: only a change in the opposite direction is informative
    against = interval[2] < 0 if n[1] > n[0] else interval[1] > 0
    return _changed(
        name,
        title,
        values,
        interval,
        significant=True if against else None,
        basis=f"at {n[0]:,} and {n[1]:,} images: estimates grow with N, so an increase with N is not informative; {shared}",
    )


def sharpness_changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Log ratio of the label sharpness at equal M, and the resulting change of the expected penalty."""
    name, title = "k_f", "label sharpness"
    m = common_sample(a, b)
    if a["labels"]["kind"] != b["labels"]["kind"]:
        reason = f"the labels were read as {a['labels']['kind']}, then as {b['labels']['kind']}"
    else:
        reason = (
            None if m is not None else "the audits have no common sample size smaller than both datasets (--sample)"
        )
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
            basis="error of the mean from the spread over samples; audits treated as independent, which is conservative",
        )
    ]
    return [*out, _penalty_change(a, b)]


def recorded_prediction(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((p for p in summary.get("predictions", ()) if p["name"] == name), {"withheld": "it was not predicted"})


def _penalty_change(a: Mapping[str, Any], b: Mapping[str, Any]) -> Change:
    """The calibration is linear in K_F, so the change is the slope times that of K_F, with the same relative error."""
    name, title = "penalty", "expected penalty, nats"
    ends: list[Any] = [recorded_prediction(audit, "attack_penalty") for audit in (a, b)]
    values = tuple(end.get("value") for end in ends)
    for end in ends:
        if end.get("withheld"):
            return Change(name, title, *values, withheld=end["withheld"])
    if ends[0].get("calibration") != ends[1].get("calibration"):
        return Change(name, title, *values, withheld="the audits used different calibrations")
    samples = [audit["label_sharpness"]["sample"] for audit in (a, b)]
    m = samples[0]["m"]
    n = min(audit["n_images"] - audit["n_unreadable"] for audit in (a, b))
    if m != samples[1]["m"] or m >= n:
        return Change(name, title, *values, withheld="their label sharpness is from different sample sizes (--sample)")
    (k_a, k_b), (error_a, error_b) = sharpness_change(a, b, m)
    value = float(values[1]) - float(values[0])
    half = abs(value / (k_b - k_a)) * math.hypot(k_a * error_a, k_b * error_b) if k_a != k_b else 0.0
    return _changed(
        name,
        title,
        values,
        (value, value - half, value + half),
        basis="error of the label sharpness only; the calibration line is taken as exact",
    )


def class_changes(a: pd.DataFrame, b: pd.DataFrame, matched: Matched) -> tuple[list[Change], float | None]:
    """Change of each class's fraction of the labelled images, and the p-value of a homogeneous class mix (`mix_test`).

    Relabelling is not sampling noise: it shifts the change without widening its interval. Intervals are simultaneous for all
    classes (Bonferroni); a class counts as changed only if the class mix does.
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
        told = (p is not None and p < 1 - LEVEL and (low > 0 or high < 0)) or abs(moved) > ROUNDING
        out.append(
            _changed(
                f"share.{name}",
                f"share of {name}",
                (before, after),
                (value + moved, low + moved, high + moved),
                significant=told,
                basis="kept, added and removed images as three samples of one source; simultaneous for all classes",
            )
        )
    return out, p


def copies_change(a: pd.DataFrame, b: pd.DataFrame, matched: Matched) -> Change:
    """Change of the fraction of readable images that repeat another's pixels.

    Counts images minus distinct pictures for the kept images, and the increments due to added and removed ones. Each copy is
    treated as an independent event, so a folder copied as a whole is significant.
    """

    def repeats(pixels: pd.Series) -> tuple[int, int]:
        readable = pixels.dropna()
        return len(readable) - readable.nunique(), len(readable)

    all_a, all_b = repeats(a["pixels"]), repeats(b["pixels"])
    name, title = "copies", "share of exact copies"
    if not all_a[1] or not all_b[1]:
        return Change(name, title, withheld="an audit has no readable images")
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
        basis="kept, added and removed images as three samples with the same expected fraction of copies",
    )

"""What changed between audits of one dataset, and what of it is more than sampling noise.

Both audits are read from their result folders; nothing is decoded or computed again. Every change has a 95 % interval and
says what that assumes:

- images are matched by path and content, then by content: *kept*, *added*, *removed* (a moved file is kept)
- d_data: independent bootstrap errors; at equal N where the sets differ in size, since estimates grow with N
- K_F: at samples of one size M (`laws.common_sample`, `laws.sharpness_error`)
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

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.audit.compared import Remembered
from dataprops.audit.opened import opened_closed
from dataprops.errors import DatapropsError
from dataprops.findings import FINDINGS
from dataprops.laws.change import common_sample, loss_change, preprocessing_differs, sharpness_change
from dataprops.laws.prediction import LEVEL, Prediction
from dataprops.store.folder import finished_runs, load_summary
from dataprops.util.normal import Z
from dataprops.util.numbers import wilson_interval

log = logging.getLogger(__name__)

COLUMNS = ["image", "path", "label", "content", "pixels"]
EXAMPLES = 20  # findings named of each kind
SAME_SIZE = 0.1  # sets whose sizes differ by less have dimensions that compare as they are
SMALL_COUNT = 5.0  # Cochran: with smaller expected counts the chi-square distribution does not hold
RANDOM_TABLES = 2000
SAME_VALUE = 1e-12  # a change within rounding
ALWAYS = ("sharpest_pairs",)  # findings that every set has: they do not open or close


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


class Matched(NamedTuple):
    """Masks over the images of two audits: which are kept; and for each kept one of B its row in A (else -1)."""

    kept_a: np.ndarray
    kept_b: np.ndarray
    partner: np.ndarray


def match(a: pd.DataFrame, b: pd.DataFrame) -> Matched:
    """Pair the images of two audits: same path and content first, then same content. Each image is in one pair at most.

    A file that could not be read has no content; it is matched by its path.
    """
    partner = np.full(len(b), -1, np.int64)
    one, two = (table["content"].fillna("").to_numpy(object) for table in (a, b))
    paths = [table["path"].to_numpy(object) for table in (a, b)]
    for keys_a, keys_b in ((list(zip(one, paths[0], strict=True)), list(zip(two, paths[1], strict=True))), (one, two)):
        free: dict[Any, list[int]] = {}
        taken = set(partner[partner >= 0].tolist())
        for row in range(len(a) - 1, -1, -1):
            if row not in taken and keys_a[row] != "":
                free.setdefault(keys_a[row], []).append(row)
        for row in np.nonzero(partner < 0)[0]:
            rows = free.get(keys_b[row])
            if rows:
                partner[row] = rows.pop()
    kept_a = np.zeros(len(a), bool)
    kept_a[partner[partner >= 0]] = True
    return Matched(kept_a, partner >= 0, partner)


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


def _recorded(summary: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next((p for p in summary.get("predictions", ()) if p["name"] == name), {"withheld": "it was not predicted"})


def _penalty_change(a: Mapping[str, Any], b: Mapping[str, Any]) -> Change:
    """Both calibrations are lines in K_F, so the change is slope times that of K_F, and has its error."""
    name, title = "penalty", "expected penalty, nats"
    ends: list[Any] = [_recorded(audit, "attack_penalty") for audit in (a, b)]
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
        told = (p is not None and p < 1 - LEVEL and (low > 0 or high < 0)) or abs(moved) > 1e-12
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


def brought(images: pd.DataFrame, findings: pd.DataFrame, new: np.ndarray) -> dict[str, dict[str, Any]]:
    """Findings that name an image of this mask, by kind: how many, of how many, and the first of them."""
    numbers = set(images["image"].to_numpy()[new].tolist())
    out = {}
    for kind, rows in findings.groupby("kind", sort=False):
        named = rows[[any(int(i) in numbers for i in ids) for ids in rows["images"]]]
        if len(named):
            some = named.head(EXAMPLES)
            out[str(kind)] = {
                "count": len(named),
                "of": len(rows),
                "first": [
                    {"paths": [str(p) for p in paths], "detail": detail}
                    for paths, detail in zip(some["paths"], some["detail"], strict=True)
                ],
            }
    return {kind: out[kind] for kind in FINDINGS if kind in out}


def compare(folder_a: Path, folder_b: Path, summary_b: dict[str, Any] | None = None) -> dict[str, Any]:
    """What changed from audit A to audit B: plain values, as `dataprops compare --json` prints them.

    Parameters
    ----------
    summary_b : dict, optional
        The summary of B, where its folder has none yet: a run that is being finished.

    Raises
    ------
    DatapropsError
        If a folder is not a readable result, or the audits cannot be compared; the message says why.
    """
    a, b = _summary_of(folder_a), summary_b or _summary_of(folder_b)
    reason = preprocessing_differs(a, b)
    if reason:
        raise DatapropsError(
            f"the runs {a['run_id']} and {b['run_id']} do not compare: {reason}. Choose two runs with the same preprocessing"
            f" (dataprops history {b['dataset']} lists them), or audit again with the earlier options"
        )
    images_a, images_b = (_table(folder, "images", COLUMNS) for folder in (folder_a, folder_b))
    matched = match(images_a, images_b)
    counts = _image_counts(images_a, images_b, matched)
    properties = [_table(folder, "properties", ["property", "value", "se"]) for folder in (folder_a, folder_b)]
    changes, p = _changes((a, b), properties, (images_a, images_b), matched)
    if not (counts["added"] or counts["removed"] or counts["relabelled"]):
        changes = [_of_same_files(change) for change in changes]
    findings_a, findings_b = (
        _table(folder, "findings", ["kind", "images", "paths", "detail"]) for folder in (folder_a, folder_b)
    )
    kinds = [*FINDINGS, *findings_a["kind"], *findings_b["kind"]]
    opened, closed = opened_closed(findings_a, findings_b, matched.partner, kinds)
    return {
        "dataset": b["dataset"] if a["dataset"] == b["dataset"] else f"{a['dataset']}, {b['dataset']}",
        "a": {"run_id": a["run_id"], "created": a["created"], "n_images": a["n_images"]},
        "b": {"run_id": b["run_id"], "created": b["created"], "n_images": b["n_images"]},
        "images": counts,
        "changes": [asdict(change) for change in changes],
        "class_mix_p": p,
        "opened": opened,
        "closed": closed,
        "brought": brought(images_b, findings_b, ~matched.kept_b),
        "took": {kind: found["count"] for kind, found in brought(images_a, findings_a, ~matched.kept_a).items()},
        "drift": [change.name for change in changes if change.significant],
    }


def _image_counts(images_a: pd.DataFrame, images_b: pd.DataFrame, matched: Matched) -> dict[str, int]:
    kept = np.nonzero(matched.kept_b)[0]
    before = images_a["label"].fillna("").to_numpy(object)[matched.partner[kept]]
    after = images_b["label"].fillna("").to_numpy(object)[kept]
    return {
        "kept": len(kept),
        "added": int((~matched.kept_b).sum()),
        "removed": int((~matched.kept_a).sum()),
        "relabelled": int((before != after).sum()),
    }


def _changes(
    audits: tuple[dict[str, Any], dict[str, Any]],
    properties: Sequence[pd.DataFrame],
    images: tuple[pd.DataFrame, pd.DataFrame],
    matched: Matched,
) -> tuple[list[Change], float | None]:
    """Every change with its interval, and the p-value of a homogeneous class mix."""
    a, b = audits
    classes, p = [], None
    if a["labels"]["kind"] == b["labels"]["kind"] == "classes":
        classes, p = class_changes(*images, matched)
    told = _recorded(b, "log_loss_change")
    measured = b.get("previous") == a["run_id"] and told.get("value") is not None
    loss = Prediction(**told) if measured else loss_change(a, b)
    loss_row = Change(
        "log_loss",
        "loss of the reference classifier" if measured else "expected test loss by the paper's law",
        value=loss.value,
        low=loss.low,
        high=loss.high,
        scale="log ratio",
        significant=loss.significant,
        basis=loss.basis,
        withheld=loss.withheld,
    )
    changes = [dimension_change(a, b, properties), *sharpness_changes(a, b), loss_row, *classes]
    return [*changes, copies_change(*images, matched)], p


def same_files(folder: Path, images: pd.DataFrame) -> bool:
    """Whether an earlier audit saw the very same files with the same labels; False where its table is gone.

    Parameters
    ----------
    folder : Path
        Of the earlier audit's results.
    images : DataFrame
        path, label, content of this one.
    """
    columns = ["path", "label", "content"]
    try:
        before = pd.read_parquet(folder / "images.parquet", columns=columns)
    except (OSError, ValueError):
        return False
    one, two = (table[columns].sort_values("path").fillna("").to_numpy(object) for table in (before, images))
    return np.array_equal(one, two)


def _of_same_files(change: Change) -> Change:
    """A change between two audits of the very same files: none, without an interval, where the numbers are the same."""
    if change.value is None or abs(change.value) > SAME_VALUE:
        return change
    return replace(change, value=0.0, low=0.0, high=0.0, significant=False, basis="the same files with the same labels")


def timeline(store: Path, dataset: str, last: int | None = None) -> list[dict[str, Any]]:
    """One record for each finished run, oldest first; each says what drifted since the run before it.

    A run whose files are damaged is left out with a warning.

    Raises
    ------
    DatapropsError
        If the dataset has no finished run.
    """
    folders = finished_runs(store, dataset)
    if not folders:
        raise DatapropsError(f"{store} has no finished audit of {dataset!r}; it has {_datasets(store)}")
    remembered = Remembered(store, dataset)
    out, before = [], None
    for folder in folders[-last:] if last else folders:
        try:
            s = _summary_of(folder)
        except DatapropsError as error:
            log.warning("%s", error)
            continue
        mle = s["intrinsic_dimension"].get("mle") or {}
        sample, penalty = s["label_sharpness"]["sample"], _recorded(s, "attack_penalty")
        record: dict[str, Any] = {
            "run_id": s["run_id"],
            "created": s["created"],
            "reason": s.get("reason"),
            "n_images": s["n_images"],
            "n_unreadable": s["n_unreadable"],
            "d_data": mle.get("value"),
            "d_data_se": mle.get("se"),
            "k_f": sample["mean"],
            "k_f_m": sample["m"],
            "penalty": penalty.get("value") if not penalty.get("withheld") else None,
            "duplicates": s["findings"].get("exact_duplicates", 0),
            "conflicts": s["findings"].get("label_conflicts", 0),
            "alerts": [alert["name"] for alert in s.get("alerts", ()) if alert["severity"] != "info"],
            "drift": None,
            "opened": None,
            "closed": None,
            "not_compared": None,
        }
        if before is not None:
            found = remembered.get(before, folder)
            if found is None:
                found = _briefly(before, folder)
                if "drift" in found:
                    remembered.put(before, folder, found)
            record |= found
        out.append(record)
        before = folder
    remembered.save({folder.name for folder in folders})
    return out


def _briefly(before: Path, after: Path) -> dict[str, Any]:
    """What `timeline` says of two runs, or why they are not comparable."""
    try:
        return in_brief(compare(before, after))
    except DatapropsError as error:
        return {"not_compared": str(error)}


def in_brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `timeline` says of a comparison."""
    brief: dict[str, Any] = {"drift": found["drift"], "images": found["images"]}
    for name in ("opened", "closed"):
        brief[name] = {kind: part["count"] for kind, part in found[name].items() if kind not in ALWAYS}
    return brief


def find_runs(store: Path, one: str, two: str) -> tuple[Path, Path]:
    """Result folders of two run ids; or of a dataset, then a run: a run id of it, `latest` or `previous`.

    ``NAME latest`` and ``NAME previous`` both compare the dataset's last two runs; ``NAME RUN`` compares that run with the latest.

    Raises
    ------
    DatapropsError
        If there is no such run.
    """
    runs = finished_runs(store, one) if (store / "results" / one).is_dir() and "/" not in one else []
    if not runs:
        return _run(store, one), _run(store, two)
    if two in ("latest", "previous"):
        if len(runs) < 2:
            raise DatapropsError(f"{one!r} has one finished run in {store}: a comparison needs two")
        return runs[-2], runs[-1]
    return _run(store, two), runs[-1]


def _run(store: Path, run_id: str) -> Path:
    found = [path for path in sorted((store / "results").glob("*/*")) if path.name == run_id]
    if not found:
        raise DatapropsError(
            f"{store} has no run {run_id!r}; its datasets are {_datasets(store)}: see dataprops history"
        )
    return found[0]


def _datasets(store: Path) -> str:
    names = sorted(path.name for path in (store / "results").glob("*") if finished_runs(store, path.name))
    return ", ".join(names) or "none"


def _summary_of(folder: Path) -> dict[str, Any]:
    try:
        return load_summary(folder)
    except (OSError, json.JSONDecodeError) as error:
        raise DatapropsError(f"the summary in {folder} cannot be read ({error}): choose another run") from error


def _table(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(folder / f"{name}.parquet", columns=columns)
    except (OSError, ValueError, KeyError) as error:  # Arrow's are ValueErrors
        raise DatapropsError(f"{folder / name}.parquet cannot be read ({error}): choose another run") from error

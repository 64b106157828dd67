"""Comparison of a dataset with others: the shipped calibration's sources, the paper's datasets, and the newest audits of the
store's other datasets.

Only numbers under the same preprocessing are compared: sharpness at 32 and at 224 pixels are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from dataprops.laws.paper import PAPER_SCALE, PAPER_SIZE
from dataprops.report.numbers import number, percent, sample_of

LIKE = 2.0  # largest size ratio of compared datasets: error, dimension and sharpness depend on the number of images
ALIKE = 0.05  # largest relative difference of M at which sharpness is compared
SIDE, SCALE = 32, "full-range"  # preprocessing of the shipped calibration


class Place(NamedTuple):
    """A dataset to compare: its name and numbers (None: unknown)."""

    name: str
    dimension: float | None
    sharpness: float | None
    error: float | None


def preprocessing(summary: Mapping[str, Any]) -> str:
    """The preprocessing as text: '224 × 224 × 1, full-range'."""
    p = summary["preprocess"]
    return f"{p['size']} × {p['size']} × {p['channels']}, {p['scale']}"


def place_of(summary: Mapping[str, Any]) -> Place:
    """A dataset's numbers, from its summary."""
    error = ((summary.get("probe") or {}).get("error") or {}).get("value")
    mle = (summary["intrinsic_dimension"].get("mle") or {}).get("value")
    return Place(str(summary["dataset"]), mle, sample_of(dict(summary)).get("mean"), error)


def history_point(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record for the history plot."""
    place = place_of(summary)
    return {
        "created": summary["created"],
        "n_images": summary["n_images"],
        "d_data": place.dimension,
        "error": place.error,
        "alerts": len(summary.get("alerts") or ()),
    }


def rank_sentences(summary: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rank of the dataset among the store's others, or why it is not ranked."""
    here = preprocessing(summary)
    like = [place_of(other) for other in others if preprocessing(other) == here]
    unlike = len(others) - len(like)
    out = []
    own = place_of(summary)
    ranked = (
        ("dimension", "Intrinsic dimension", number),
        ("sharpness", "Label sharpness", number),
        ("error", "Error of the reference classifier", percent),
    )
    for field, what, shown in ranked:
        mine = getattr(own, field)
        known = [getattr(place, field) for place in like if getattr(place, field) is not None]
        if mine is None or not known:
            continue
        lower = sum(value < mine for value in known)
        if len(known) == 1:
            there = f"{shown(known[0])} in the only comparable dataset of this store"
        else:
            there = f"lower in {lower} of {len(known)} other datasets of this store ({shown(min(known))} to {shown(max(known))})"
        out.append(f"{what} {shown(mine)}; {there}.")
    if not like:
        out.append(
            f"No other dataset of this store was audited at {here}: numbers are comparable only under the same preprocessing."
            if others
            else "This store has no other datasets to compare with."
        )
    elif unlike:
        left = "1 more dataset has different preprocessing and is" if unlike == 1 else None
        out.append(f"{left or f'{unlike} more datasets have different preprocessing and are'} excluded.")
    return out


def calibration_sentence(summary: Mapping[str, Any], cells: pd.DataFrame | None = None) -> str:
    """Rank of the dataset among the shipped calibration's sources at similar size, or why it is not ranked.

    The classifier's error is always measured at `SIDE` x `SIDE`, dimension and sharpness at the audit's preprocessing.

    Parameters
    ----------
    cells : DataFrame, optional
        source, n_train, channels, p_error, d_data, k_f, k_f_m; default: `laws.networks.load_cells`.
    """
    from dataprops.laws.networks import load_cells  # imports torch, which the store's page does not need

    cells = load_cells() if cells is None else cells
    probe, made = summary.get("probe") or {}, summary["preprocess"]
    n = probe.get("n_images") or summary["n_images"]
    near = cells[(cells["n_train"] <= LIKE * n) & (cells["n_train"] >= n / LIKE)]
    of = cells["source"].nunique()
    if summary["labels"]["kind"] != "classes":
        return (
            f"Not ranked among the {of} sources of the shipped calibration: they have classes, this dataset has none."
        )
    if near.empty:
        low, high = int(cells["n_train"].min()), int(cells["n_train"].max())
        return (
            f"Not ranked among the {of} sources of the shipped calibration: they were measured at {low:,} to {high:,} images, and"
            f" error and dimension depend on the number of images ({n:,} here)."
        )
    if made["scale"] != SCALE:
        return f"Not ranked among the {of} sources of the shipped calibration: their grey levels are not rescaled (--scale {SCALE})."
    like = made["size"] == SIDE
    ranked = [_ranked("error of the reference classifier", percent, place_of(summary).error, near, "p_error")]
    if like:
        dimension = (summary["intrinsic_dimension"].get("mle_paper") or {}).get("value")
        ranked.append(_ranked("intrinsic dimension", number, dimension, near, "d_data"))
        m, mean, sharp = _of_like_samples(summary, cells[cells["channels"] == made["channels"]])
        ranked.append(_ranked(f"label sharpness (M = {m:,})", number, mean, sharp, "k_f"))
    told = "; ".join(filter(None, ranked))
    why = (
        ""
        if like
        else f" Dimension and sharpness are not ranked: the calibration's were measured at {SIDE} × {SIDE}, this"
        f" audit's at {preprocessing(summary)}."
    )
    return (
        f"Among the sources of the shipped calibration with {n / LIKE:,.0f} to {LIKE * n:,.0f} images: {told}.{why}"
        if told
        else ""
    )


def _of_like_samples(summary: Mapping[str, Any], cells: pd.DataFrame) -> tuple[int, float | None, pd.DataFrame]:
    """Largest sample size M that audit and calibration share (within `ALIKE`), the audit's mean sharpness, and the cells at that M."""
    sharpness = summary["label_sharpness"]
    samples = {int(m): sample for m, sample in sharpness.get("samples", {}).items()}
    samples.setdefault(sharpness["sample"]["m"], sharpness["sample"])
    for m, sample in sorted(samples.items(), reverse=True):
        like = cells[(cells["k_f_m"] - m).abs() <= ALIKE * m]
        if len(like):
            return m, sample["mean"], like
    return 0, None, cells.iloc[:0]


def _ranked(what: str, shown: Any, mine: float | None, cells: pd.DataFrame, column: str) -> str:
    """'intrinsic dimension 9.1, lower in 4 of 12'; empty if there is nothing to compare."""
    means = cells.dropna(subset=[column]).groupby("source")[column].mean()
    if mine is None or means.empty:
        return ""
    return f"{what} {shown(mine)}, lower in {int((means < mine).sum()) or 'none'} of {len(means)}"


def paper_sentence(summary: Mapping[str, Any], table: pd.DataFrame | None) -> str:
    """Rank of the dataset among the paper's datasets, or why it is not ranked."""
    p = summary["preprocess"]
    # images that use their full range are the same under both scales, so a prediction may exist
    spoken = any(one["name"] == "attack_penalty" and not one["withheld"] for one in summary["predictions"])
    if p["size"] != PAPER_SIZE or (p["scale"] != PAPER_SCALE and not spoken):
        return (
            f"Not ranked among the paper's eleven datasets: they were measured at {PAPER_SIZE} × {PAPER_SIZE}, each image scaled"
            f" to its maximum, this audit at {preprocessing(summary)} (use --size {PAPER_SIZE} --scale {PAPER_SCALE})."
        )
    if table is None or not {"dataset", "d_data"} <= set(table.columns):
        return ""
    mine = (summary["intrinsic_dimension"].get("mle_paper") or {}).get("value")
    means = table.dropna(subset=["d_data"]).groupby("dataset")["d_data"].mean()
    if mine is None or means.empty:
        return ""
    lower = int((means < mine).sum())
    return (
        f"Intrinsic dimension by the paper's estimator {number(mine)}, lower in {lower} of the {len(means)} datasets behind the"
        " prediction of the loss under attack."
    )

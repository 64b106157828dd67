"""Where a set stands among others: the sources of the calibration that ships, the datasets of the paper, and the newest audits of
the store's other datasets.

Numbers are ranked under the same preprocessing only: a sharpness at 32 pixels says nothing beside one at 224.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from dataprops.laws.paper import PAPER_SCALE, PAPER_SIZE
from dataprops.report.numbers import number, percent, sample_of

LIKE = 2.0  # times as many images, or fewer: error, dimension and sharpness all change with their number
ALIKE = 0.05  # sharpness grows with M: by less than this difference of M is seen
SIDE, SCALE = 32, "full-range"  # of the images of the calibration that ships


class Place(NamedTuple):
    """A dataset among others: its name and the numbers it is ranked by; None where it has none."""

    name: str
    dimension: float | None
    sharpness: float | None
    error: float | None


def preprocessing(summary: Mapping[str, Any]) -> str:
    """'224 × 224 × 1, full-range', as it is compared."""
    p = summary["preprocess"]
    return f"{p['size']} × {p['size']} × {p['channels']}, {p['scale']}"


def place_of(summary: Mapping[str, Any]) -> Place:
    """A dataset's place by its summary."""
    error = ((summary.get("probe") or {}).get("error") or {}).get("value")
    mle = (summary["intrinsic_dimension"].get("mle") or {}).get("value")
    return Place(str(summary["dataset"]), mle, sample_of(dict(summary)).get("mean"), error)


def history_point(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A run in the plot of a dataset's history."""
    place = place_of(summary)
    return {
        "created": summary["created"],
        "n_images": summary["n_images"],
        "d_data": place.dimension,
        "error": place.error,
        "alerts": len(summary.get("alerts") or ()),
    }


def rank_sentences(summary: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the set ranks among the store's others, or why it is not ranked."""
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
            there = f"{shown(known[0])} in the one other dataset of this store that compares"
        else:
            there = f"lower in {lower} of {len(known)} other datasets of this store ({shown(min(known))} to {shown(max(known))})"
        out.append(f"{what} {shown(mine)}; {there}.")
    if not like:
        out.append(
            f"No other dataset of this store was audited at {here}: numbers under other preprocessing do not compare."
            if others
            else "This store holds no other dataset to compare with."
        )
    elif unlike:
        left = "1 more was audited under other preprocessing and is" if unlike == 1 else None
        out.append(f"{left or f'{unlike} more were audited under other preprocessing and are'} left out.")
    return out


def calibration_sentence(summary: Mapping[str, Any], cells: pd.DataFrame | None = None) -> str:
    """How the set ranks among the sources of the calibration that ships, each at about as many images; or why it does not.

    The classifier's error is always measured at `SIDE` x `SIDE`, the dimension and the sharpness as the audit was told.

    Parameters
    ----------
    cells : DataFrame, optional
        source, n_train, channels, p_error, d_data, k_f, k_f_m; default: `laws.networks.load_cells`.
    """
    from dataprops.laws.networks import load_cells  # the store's page, which needs no torch, comes without it

    cells = load_cells() if cells is None else cells
    probe, made = summary.get("probe") or {}, summary["preprocess"]
    n = probe.get("n_images") or summary["n_images"]
    near = cells[(cells["n_train"] <= LIKE * n) & (cells["n_train"] >= n / LIKE)]
    of = cells["source"].nunique()
    if summary["labels"]["kind"] != "classes":
        return f"The {of} sources of the shipped calibration have classes: a set without them is not ranked among them."
    if near.empty:
        low, high = int(cells["n_train"].min()), int(cells["n_train"].max())
        return (
            f"Not ranked among the {of} sources of the shipped calibration: they were measured at {low:,} to {high:,} images, and"
            f" error and dimension change with the number of images ({n:,} here)."
        )
    if made["scale"] != SCALE:
        return f"Not ranked among the {of} sources of the shipped calibration: their grey levels are as they were (--scale {SCALE})."
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
    """M of the largest samples of the audit that the calibration has about alike, their mean sharpness, and its cells at that M."""
    sharpness = summary["label_sharpness"]
    samples = {int(m): sample for m, sample in sharpness.get("samples", {}).items()}
    samples.setdefault(sharpness["sample"]["m"], sharpness["sample"])
    for m, sample in sorted(samples.items(), reverse=True):
        like = cells[(cells["k_f_m"] - m).abs() <= ALIKE * m]
        if len(like):
            return m, sample["mean"], like
    return 0, None, cells.iloc[:0]


def _ranked(what: str, shown: Any, mine: float | None, cells: pd.DataFrame, column: str) -> str:
    """'intrinsic dimension 9.1, lower in 4 of 12'; nothing where there is nothing to compare."""
    means = cells.dropna(subset=[column]).groupby("source")[column].mean()
    if mine is None or means.empty:
        return ""
    return f"{what} {shown(mine)}, lower in {int((means < mine).sum()) or 'none'} of {len(means)}"


def paper_sentence(summary: Mapping[str, Any], table: pd.DataFrame | None) -> str:
    """How the set ranks among the paper's datasets, or why it is not."""
    p = summary["preprocess"]
    # images that reach the top of their range are the same under both scales: a prediction is then made
    spoken = any(one["name"] == "attack_penalty" and not one["withheld"] for one in summary["predictions"])
    if p["size"] != PAPER_SIZE or (p["scale"] != PAPER_SCALE and not spoken):
        return (
            f"The paper's eleven datasets were measured at {PAPER_SIZE} × {PAPER_SIZE}, each image scaled to its brightest"
            f" value; this audit was at {preprocessing(summary)}, so it is not placed among them"
            f" (--size {PAPER_SIZE} --scale {PAPER_SCALE} does)."
        )
    if table is None or not {"dataset", "d_data"} <= set(table.columns):
        return ""
    mine = (summary["intrinsic_dimension"].get("mle_paper") or {}).get("value")
    means = table.dropna(subset=["d_data"]).groupby("dataset")["d_data"].mean()
    if mine is None or means.empty:
        return ""
    lower = int((means < mine).sum())
    return (
        f"Intrinsic dimension by the paper's estimator {number(mine)}, lower in {lower} of the {len(means)} datasets that the"
        " prediction of the loss under attack rests on."
    )

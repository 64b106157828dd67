"""Tables of the properties of a set and of its images, from a finished pass over pairs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.distances.allpairs import Rows, Runner, all_pairs, load_block, subset
from dataprops.distances.folds import Block
from dataprops.distances.kernel import EMPTY
from dataprops.distances.plan import Resources, plan_pass
from dataprops.distances.product import choose_route, product
from dataprops.distances.state import PassSpec, State
from dataprops.properties.dimension import Estimate, local_dimension
from dataprops.properties.distinct import Distinct, duplicate_of, image_neighbours
from dataprops.properties.estimators import estimate_all
from dataprops.properties.sharpness import (
    IntervalEstimate,
    draw_samples,
    identical_pairs,
    left_out_words,
    reason_not_measured,
)
from dataprops.util.normal import Z
from dataprops.util.tools import Tools

SUBSETS = (500, 1000, 2500, 5000)  # subset sizes for the dimension, so that sets can be compared at equal N
SAMPLES = (100, 250, 500)  # sample sizes for the sharpness besides M, so that audits of small sets can be compared
SHARPEST_PAIRS = 50
FEW_ROWS = 512  # up to this size a sample is compared directly, since starting a pass takes longer
SHARPEST_ROWS = 4096  # rows searched for the sharpest pairs; more only if very many are equally sharp


def contents_only(state: State, rows: Distinct, asked: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Distances and neighbours among distinct contents, numbered 0..n-1; empty slots are infinite and -1.

    One row per distinct content, or per anchor (`asked`, ascending row numbers) if the state has only those.
    """
    primary = np.nonzero(rows.primary)[0]
    number = np.full(rows.n + 1, -1, np.int64)
    number[primary] = np.arange(len(primary))
    at = primary if asked is None else slice(None)
    listed = state.knn_index[at]
    neighbour = number[np.where(listed == EMPTY, rows.n, listed)]
    return np.sqrt(state.knn_d2[at]), neighbour


def subset_estimates(
    tools: Tools, rows: Rows, primary: np.ndarray, *, k: int, seed: int, memory: int | None = None
) -> list[tuple[int, Estimate]]:
    """The maximum-likelihood dimension of random subsets of fixed sizes."""
    sizes = [size for size in SUBSETS if size < len(primary)]
    if not sizes:
        return []
    out = []
    total = sum(size * (size - 1) // 2 for size in sizes)
    with tools.progress("dimension against N", total, "pairs") as advance:
        for size in sizes:
            chosen = np.sort(np.random.default_rng([seed, size]).choice(primary, size, replace=False))
            part = subset(rows, chosen)
            spec = PassSpec(k, sharp=False)
            plan = plan_pass(size, rows.features, k, Resources(memory=memory, threads=tools.threads))
            state = all_pairs(part, spec, plan, Runner(tools.threads, tools.device), on_pairs=advance).state
            estimate = estimate_all(np.sqrt(state.knn_d2), state.knn_index, rows.features, k, 0, ("mle",))["mle"]
            out.append((size, estimate))
    return out


def sharper_rows(chosen: np.ndarray, whole: State) -> tuple[float, np.ndarray]:
    """Bound the sharpest pair among some rows: a squared sharpness that is attained, and the rows that could form a sharper pair.

    If both rows of a sharpest pair of the whole set are chosen, its sharpness is attained. No pair is sharper than the sharpest pair
    of either of its rows, so only rows with a sharper one can improve on it.
    """
    n = len(whole.sharp)
    is_chosen = np.zeros(n + 1, bool)  # the last entry stands for a missing partner
    is_chosen[chosen] = True
    named = whole.sharp_index[chosen]
    other = np.where(named == EMPTY, n, named)
    sharp = whole.sharp[chosen]
    found = float(sharp[is_chosen[other]].max(initial=0.0))
    return found, chosen[sharp > found]


class Drawing(NamedTuple):
    """Samples of images: M, number of draws, and random seed."""

    sample: int = 1000
    draws: int = 20
    seed: int = 0


def sampled_sharpness(
    tools: Tools,
    rows: Rows,
    images: Distinct,
    whole: State | None,
    drawn: Drawing,
    *,
    numeric: bool,
    memory: int | None = None,
) -> dict[int, list[float]]:
    """The paper's label sharpness of each draw, by sample size; empty if no two labels differ.

    The last size is M, or the size of the set if smaller. `whole` is the state of a pass over all pairs, if there was one.
    """
    n, (sample, draws, seed) = len(images.images), drawn
    if len(np.unique(images.y[~np.isnan(images.y)])) < 2:
        return {}
    m = min(sample, n)
    sizes = [size for size in SAMPLES if size < m] + [m]
    out: dict[int, list[float]] = {size: [] for size in sizes}
    spec = PassSpec(0, numeric=numeric)
    with tools.progress("sharpness of samples", len(sizes) * draws, "draws") as advance:
        for size in sizes:
            for draw in draw_samples(n, size, draws, seed):
                chosen = np.unique(images.row[draw])  # duplicates in the draw add no pair
                found = 0.0
                if whole is not None:
                    found, chosen = sharper_rows(chosen, whole)
                if 1 < len(chosen) <= FEW_ROWS:
                    found = max(found, _sharpest_among(rows, chosen, numeric))
                elif len(chosen) > 1:
                    plan = plan_pass(len(chosen), rows.features, 0, Resources(memory=memory, threads=tools.threads))
                    part = subset(rows, chosen)
                    state = all_pairs(part, spec, plan, Runner(tools.threads, tools.device)).state
                    found = max(found, state.sharp.max(initial=0.0))
                out[size].append(float(np.sqrt(found)))
                advance(1)
    return out


def _sharpest_among(rows: Rows, chosen: np.ndarray, numeric: bool) -> float:
    """Squared sharpness of the sharpest pair among a few rows; 0 if no two labels differ."""
    _, sharp = _between(load_block(rows, chosen), numeric)
    return float(np.fmax.reduce(sharp, axis=None, initial=0.0))  # NaN if unlabelled


def _between(block: Block, numeric: bool) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and squared sharpness of all pairs of a block, float64 [b, b]; NaN for identical images."""
    g = product(block.shifted, block.shifted, choose_route("cpu")).numpy()
    d2 = block.norm[:, None] + block.norm[None, :] - 2.0 * g
    d2[d2 <= 0] = np.nan
    step = block.y[:, None] - block.y[None, :]
    return d2, (step * step if numeric else ((step < 0) | (step > 0)).astype(float)) / d2


def properties_table(
    estimates: dict[str, Estimate],
    subsets: list[tuple[int, Estimate]],
    summary: dict[str, IntervalEstimate],
    draws: dict[int, list[float]],
    n: int,
    sample: int,
    anchors: int | None = None,
) -> pd.DataFrame:
    """The properties of a set, one row each: property, value, se, n, k, m, low, high, note.

    low and high are the ends of the 95 % interval of an estimate; values from all pairs have none.
    """
    nan = float("nan")
    rows: list[tuple] = []
    named = [(f"intrinsic_dimension.{name}", e, 0) for name, e in estimates.items()]
    named += [(f"intrinsic_dimension.mle@{size}", e, size) for size, e in subsets]
    for name, e, size in named:
        rows.append((name, e.value, e.se, e.n, e.k, size, e.value - Z * e.se, e.value + Z * e.se, e.note))
    top = summary["max"]
    labelled = np.isfinite(top.value) or np.isfinite(top.low)
    missing = "" if labelled else "no two images with different labels"
    n_sharp = n if anchors is None else anchors
    bounded = "" if anchors is None else "a lower bound: the largest value of the sample"
    rows.append(("label_sharpness.all_pairs", top.value, nan, n_sharp, 0, 0, top.low, top.high, missing or bounded))
    m = min(sample, n)
    note = missing or (
        f"the dataset has {n} images: M = {m}" if m < sample else "se is the standard deviation over draws"
    )
    *smaller, wanted = sorted(draws) or [m]
    for size in (wanted, *smaller):
        values = draws.get(size, [nan, nan])
        name = "sample" if size == wanted else f"m{size}"
        # 0 for equal values, instead of the rounding error of their mean
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1)) if np.ptp(values) != 0 else 0.0
        half = Z * spread / math.sqrt(len(values))
        told = note if size == wanted else ""
        rows.append((f"label_sharpness.{name}", mean, spread, n, 0, size, mean - half, mean + half, told))
    for name in ("q50", "q95", "q99"):
        value, low, high = summary[name]
        rows.append((f"label_sharpness.{name}", value, nan, n_sharp, 0, 0, low, high, missing))
    return pd.DataFrame(rows, columns=["property", "value", "se", "n", "k", "m", "low", "high", "note"])


def with_words_on_labels(properties: pd.DataFrame, rows: Distinct, blank: np.ndarray) -> pd.DataFrame:
    """Add notes to the table: why there is no label sharpness, or which pairs were excluded from it.

    `blank`: which of the rows' images are blank, bool [m].

    If all images with different labels are identical, the sharpness is undefined: all values become NaN instead of the 0 of samples
    without a pair.
    """
    y = rows.y[rows.row]
    content = rows.content_row[rows.row]
    identical = identical_pairs(content, y)
    sharp = properties["property"].str.startswith("label_sharpness.")
    top: Any = properties.set_index("property").loc["label_sharpness.all_pairs"]
    out = properties.copy()
    if math.isnan(top["value"]) and math.isnan(top["low"]):
        out.loc[sharp, ["value", "se", "low", "high"]] = float("nan")
        out.loc[sharp, "note"] = reason_not_measured(y)
    elif identical:
        told = out["property"].isin(["label_sharpness.all_pairs", "label_sharpness.sample"])
        words = left_out_words(identical, identical - identical_pairs(content[~blank], y[~blank]))
        out.loc[told, "note"] = [f"{note}; {words}" if note else words for note in out.loc[told, "note"]]
    return out


def image_values(
    images: pd.DataFrame, rows: Distinct, state: State, k: int, anchors: np.ndarray | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The per-image table with its local values, and the neighbour lists (image, rank, neighbour, distance).

    Parameters
    ----------
    anchors : int32 [A], optional
        Row numbers of the state's rows, if not all; only images of these rows get values.
    """
    place = np.arange(rows.n)
    if anchors is not None:
        place = np.full(rows.n, -1)
        place[anchors] = np.arange(len(anchors))
    asked = np.nonzero(place[rows.row] >= 0)[0]
    own = place[rows.row[asked]]
    content = place[rows.content_row[rows.row[asked]]]
    neighbours, apart = image_neighbours(rows, asked, state.knn_d2[own], state.knn_index[own], k)
    kth = np.sqrt(state.knn_d2[:, k - 1])
    local = np.full(len(kth), np.nan)
    # rows that are not primary take the values of the primary row with the same content
    has = np.isfinite(kth) & (rows.primary if anchors is None else True)
    local[has] = local_dimension(np.sqrt(state.knn_d2[has]), k)
    kth[~has] = np.nan
    named = state.sharp_index[own]
    found = named != EMPTY
    of_asked = {
        "neighbour": neighbours[:, 0],
        "neighbour_distance": apart[:, 0],
        "knn_distance": kth[content],
        "local_dimension": local[content],
        "sharpness": np.where(found, np.sqrt(state.sharp[own]), np.nan),
        "sharpest_image": np.where(found, rows.first[np.where(found, named, 0)], -1),
        "sharpest_distance": np.where(found, np.sqrt(state.sharp_d2[own]), np.nan),
    }
    values = {"duplicate_of": pd.Series(duplicate_of(rows), index=rows.images)}
    values |= {name: pd.Series(column, index=rows.images[asked]) for name, column in of_asked.items()}
    table = images.drop(columns=["row", "shard", "grey"]).set_index("image")
    for name, column in values.items():
        table[name] = column.reindex(table.index, fill_value=-1 if column.dtype.kind == "i" else np.nan)
    m = len(asked)
    long = pd.DataFrame(
        {
            "image": np.repeat(rows.images[asked], k),
            "rank": np.tile(np.arange(1, k + 1), m),
            "neighbour": neighbours.reshape(-1),
            "distance": apart.reshape(-1),
        }
    )
    return table.reset_index(), long.loc[long["neighbour"] >= 0]


def sharpest_pairs(
    rows: Rows,
    images: Distinct,
    state: State,
    *,
    numeric: bool,
    anchors: np.ndarray | None = None,
    limit: int = SHARPEST_PAIRS,
) -> pd.DataFrame:
    """The sharpest pairs of the set, sharpest first: a, b (first images of their rows), distance, sharpness.

    The sharpest pair of each row is known, and `limit` distinct ones of them bound the `limit`-th sharpest pair from below. Both rows
    of any pair that reaches the bound must reach it themselves; these rows are few, and all their pairs are computed.
    If only `anchors` were compared with all rows, the pairs are the anchors' own sharpest pairs.
    """
    found = np.nonzero(state.sharp_index != EMPTY)[0].astype(np.int32)
    row = found if anchors is None else anchors[found]
    named = state.sharp_index[found]
    own = pd.DataFrame({"a": np.minimum(row, named), "b": np.maximum(row, named), "sharp": state.sharp[found]})
    best = own.drop_duplicates(["a", "b"]).nlargest(limit, "sharp")
    if best.empty:
        return pd.DataFrame({"a": [], "b": [], "distance": [], "sharpness": []}).astype({"a": np.int64, "b": np.int64})
    if anchors is not None:
        d2 = state.sharp_d2[found][best.index]
        return pd.DataFrame(
            {
                "a": images.first[best["a"]],
                "b": images.first[best["b"]],
                "distance": np.sqrt(d2),
                "sharpness": np.sqrt(best["sharp"]),
            }
        ).reset_index(drop=True)
    bound = best["sharp"].min()
    strong = np.nonzero(state.sharp > bound)[0]
    equal = np.nonzero(state.sharp == bound)[0][: max(0, SHARPEST_ROWS - len(strong))]
    block = load_block(rows, np.sort(np.concatenate([strong, equal])))
    d2, sharp = _between(block, numeric)
    one, two = np.nonzero(np.triu(sharp >= bound, 1))
    ids = images.first[block.number]
    pairs = pd.DataFrame(
        {"a": ids[one], "b": ids[two], "distance": np.sqrt(d2[one, two]), "sharpness": np.sqrt(sharp[one, two])}
    )
    return pairs.sort_values(["sharpness", "a", "b"], ascending=[False, True, True]).head(limit).reset_index(drop=True)


def pairs_table(near: pd.DataFrame, sharpest: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """Near-identical and sharpest pairs in one table: kind, a, b, path_a, path_b, label_a, label_b, distance, sharpness."""
    parts = [near.assign(kind="near_duplicate", sharpness=float("nan")), sharpest.assign(kind="sharpest")]
    pairs = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    for side in ("a", "b"):
        at = pairs[side].to_numpy(np.int64)
        pairs[f"path_{side}"] = images["path"].to_numpy(object)[at]
        pairs[f"label_{side}"] = images["label"].to_numpy(object)[at]
    columns = ["kind", "a", "b", "path_a", "path_b", "label_a", "label_b", "distance", "sharpness"]
    return pairs.loc[:, [*columns, *(name for name in ("rms", "detail", "what", "series") if name in pairs)]]

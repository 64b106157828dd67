"""Near-copies: which pairs of distinct images show the same picture, how it was changed, and with what confidence.

1. Candidates: exact neighbours that are much closer than the others (`neighbours`), and pairs from `candidates` (turned, cropped,
   bordered, brightened or written on).
2. Each candidate is aligned with its partner (`align`). `detail`, the agreement of the fine detail, is near 1 for a copy.
   Images whose detail is no more than rounding error (blank or nearly so) are left to the image-quality finding.
3. The threshold is computed from the dataset: images and their farther neighbours, which look alike but are not copies, are aligned
   in the same way; a copy stands out from them (`detail_threshold`). The tail of their agreement gives the expected number of false
   pairs.
4. Exact comparison: the distance between the canonical images as they are, and the difference after alignment and the best linear
   map of grey levels (RMS, grey levels).

If `near_rms` is given, unaligned images are near-copies if and only if they differ by at most that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.agreement import detail_spread
from dataprops.findings.align import Alignment, align
from dataprops.findings.candidates import VIEWS, Candidates, candidate_pairs
from dataprops.findings.copy_difference import compare
from dataprops.findings.copy_threshold import (
    MOST_HALF,
    WORTH_CONFIRMING,
    alike_share,
    chance,
    detail_threshold,
    false_fraction,
    near_ratio,
    ordinary_detail,
)
from dataprops.findings.copy_words import describe, rotation
from dataprops.findings.rows import or_none
from dataprops.findings.thumbnails import LEAST_SIDE, SIDE, Blocks, Stretched, stretched

COLUMNS = ["a", "b", "distance", "rms", "detail", "what", "series"]
MOST_IMAGES = 40_000  # maximum distinct images for the search for turned and cropped copies
STRICTER = (
    1 / 3
)  # stricter threshold for turned and rotated images, as a fraction of the way to 1: more pairs fit by chance
ROTATED = 1.5  # minimum rotation, degrees
# fraction of the detail that does not agree at all, and the fraction of the way to 1 that the rest must then exceed: resampled copies
# agree slightly less everywhere, two superimposed outlines in some places only
IN_PARTS, STRICTER_IN_PARTS = 0.015, 0.4
MOVED = 0.05  # minimum change of position (relative to half the side) or scale that counts as moved
ENLARGED = 1.5  # maximum side of thumbnails relative to the originals' side
FINE_SIDE = 128  # pixels per side of the images on which copies are confirmed
CONFIRMED_AT_ONCE = 256
MOST_RESIDUAL = 0.7  # maximum difference relative to the standard deviation: a correlation of about 0.7
# fraction of one grey level from which an image is taken for a drawing, whose outlines other drawings share; maximum difference of the
# means of its cells from those of a copy, e.g. by a letter: grey levels, and relative to their own spread
DRAWN, OTHER_TONES, OTHER_PART = 0.25, 5.3, 0.7
NULL_PAIRS = 300
LEAST_SHOWN = 0.36  # minimum fine detail, grey levels (RMS): three times the rounding error
# contrast, relative to the dataset's median and in grey levels, below both of which images are close whatever they show
LEAST_CONTRAST, ENOUGH_CONTRAST = 0.25, 8.0
NEAR_DETAIL = 0.5  # minimum agreement of unaligned near pairs, relative to the threshold
LOOKED_AT = 0.75  # maximum ratio to the k-th neighbour's distance of a candidate pair


class NearCopies(NamedTuple):
    """The near-copies of a dataset.

    Attributes
    ----------
    pairs : DataFrame
        a, b (ids, a < b); distance (exact, between the canonical images as they are); rms (grey levels after alignment); detail;
        what ("the same view", "flipped left to right", "5 % crop", ...); series (bool: neighbours of one patient or series).
    detail_threshold : float
        Minimum agreement of a copy; NaN if detail was not compared.
    near_rms : float
        Maximum difference (RMS, grey levels) of near-identical unaligned images in this dataset.
    false_share : float
        Estimated fraction of false pairs.
    alike : float
        Fraction of the farther neighbours whose detail agrees as that of copies, if the images are of one kind; else 0.
    """

    pairs: pd.DataFrame
    detail_threshold: float
    near_rms: float
    false_share: float
    alike: float = 0.0


def _confirmed(small: Stretched, blocks: Blocks | None, distinct: np.ndarray, pairs: Candidates) -> Alignment:
    """Align the candidates; if pixels are given, those that agree on thumbnails are aligned again at twice the size."""
    found = _aligned(small, pairs)
    worth = _best_views(pairs, found.detail)
    detail = np.zeros_like(found.detail)
    detail[worth] = found.detail[worth]
    found = found._replace(detail=detail)
    if blocks is None:
        return found
    for start in range(0, len(worth), CONFIRMED_AT_ONCE):
        at = worth[start : start + CONFIRMED_AT_ONCE]
        ids = np.unique(np.concatenate([pairs.a[at], pairs.b[at]]))
        large = stretched(blocks, distinct[ids], FINE_SIDE)
        if large.thumbs.shape[1] <= small.thumbs.shape[1]:
            return found
        part = Candidates(
            np.searchsorted(ids, pairs.a[at]), np.searchsorted(ids, pairs.b[at]), pairs.view[at], pairs.closeness[at]
        )
        for name, value in _aligned(large, part, found.warp[at])._asdict().items():
            getattr(found, name)[at] = value
    return found


def _aligned(made: Stretched, pairs: Candidates, start: np.ndarray | None = None) -> Alignment:
    """`align`, with gain and offset for the grey levels before stretching."""
    found = align(made.thumbs, pairs, start)
    gain = found.gain * made.gain[pairs.b] / made.gain[pairs.a]
    offset = (found.gain * made.offset[pairs.b] + found.offset - made.offset[pairs.a]) / made.gain[pairs.a]
    return found._replace(gain=gain, offset=offset)


def _best_views(pairs: Candidates, detail: np.ndarray) -> np.ndarray:
    """Indices of the candidates to confirm: for each pair its best unturned and its best turned view, the simplest among equals.

    Turned views have a stricter threshold, and a sky agrees with its mirror image.
    """
    order = np.argsort(-(detail - 0.002 * np.minimum(pairs.view, 9)), kind="stable")
    order = order[detail[order] >= WORTH_CONFIRMING]
    turned = np.array([VIEWS[view].symmetry > 0 for view in pairs.view[order]], np.int64)
    low, high = np.minimum(pairs.a, pairs.b)[order], np.maximum(pairs.a, pairs.b)[order]
    return np.sort(order[np.unique(np.stack([low, high, turned], 1), axis=0, return_index=True)[1]])


def _plain(images: pd.DataFrame, neighbours: pd.DataFrame, place: np.ndarray) -> pd.DataFrame:
    """Pairs of an image and one of its six nearest, if distinct: a, b (positions), distance, ratio."""
    near = neighbours[(neighbours["distance"] > 0) & (neighbours["rank"] <= neighbours["rank"].min() + 5)]
    first = images["duplicate_of"].to_numpy(np.int64)
    a, b = first[near["image"].to_numpy()], first[near["neighbour"].to_numpy()]
    kth = images["knn_distance"].to_numpy(float)
    limit = np.fmin(kth[a], kth[b])
    table = pd.DataFrame(
        {"a": place[np.minimum(a, b)], "b": place[np.maximum(a, b)], "distance": near["distance"].to_numpy(float)}
    )
    table["ratio"] = table["distance"] / limit
    table = table[(table["a"] != table["b"]) & np.isfinite(table["ratio"]) & (table["a"] >= 0) & (table["b"] >= 0)]
    return table.drop_duplicates(["a", "b"]).reset_index(drop=True)


def _null(neighbours: pd.DataFrame, first: np.ndarray, place: np.ndarray, seed: int) -> Candidates:
    """Pairs of an image and one of its farther neighbours, as non-copies."""
    far = neighbours[(neighbours["rank"] >= max(2, neighbours["rank"].max() // 2)) & (neighbours["distance"] > 0)]
    if len(far) > NULL_PAIRS:
        far = far.iloc[np.sort(np.random.default_rng(seed).choice(len(far), NULL_PAIRS, replace=False))]
    a, b = place[first[far["image"].to_numpy()]], place[first[far["neighbour"].to_numpy()]]
    kept = (a >= 0) & (b >= 0) & (a != b)
    return _as_they_are(a[kept], b[kept])


def _as_they_are(a: np.ndarray, b: np.ndarray) -> Candidates:
    """Pairs in the first view, neither turned nor cropped, of the usual closeness."""
    return Candidates(a, b, np.zeros(len(a), np.int64), np.ones(len(a), np.float32))


def near_copies(
    images: pd.DataFrame,
    neighbours: pd.DataFrame,
    blocks: Blocks,
    *,
    near_rms: float | None = None,
    listed: pd.DataFrame | None = None,
    features: int,
    seed: int = 0,
) -> NearCopies:
    """Find the near-copies of a dataset.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables.
    blocks : callable
        See `Context.pixels`.
    near_rms : float, optional
        Overrides the dataset's own threshold for unaligned images: `listed` must then hold all pairs within it.
    listed : DataFrame, optional
        a, b, distance.
    features : int
        D, the number of values of a canonical image.
    """
    distinct = images.loc[images["duplicate_of"] == images["image"], "image"].to_numpy(np.int64)
    if len(distinct) < 3 or neighbours.empty:
        pairs = _table([], [], np.zeros(0), np.zeros(0), np.zeros(0), [], [])
        return NearCopies(pairs, float("nan"), near_rms or 0.0, 0.0)
    place = np.full(len(images), -1, np.int64)
    place[distinct] = np.arange(len(distinct))
    plain = _plain(images, neighbours, place)
    k = int(neighbours["rank"].max())
    ratio = near_ratio(images, k)
    own = _original_side(images, distinct)
    # upscaled images have no detail at the scale of single pixels
    small = stretched(blocks, distinct, SIDE if own >= SIDE / ENLARGED else max(LEAST_SIDE, int(own)))
    if min(small.thumbs.shape[1], own) < LEAST_SIDE:
        ratio = near_ratio(images, k, false_fraction(len(distinct)))
        return _by_distance(images, distinct, plain, ratio, near_rms, listed, features)
    candidates = _candidates(small.thumbs, plain, _shows_enough(small))
    first = images["duplicate_of"].to_numpy(np.int64)
    fine = blocks if own >= FINE_SIDE / ENLARGED else None
    found = _confirmed(small, fine, distinct, candidates)
    null = _confirmed(small, fine, distinct, _null(neighbours, first, place, seed)).detail
    alike = alike_share(null)
    threshold = detail_threshold(null, len(candidates.a))
    contrast = _contrasts(small)
    contrasting = plain[contrast[plain["a"]] & contrast[plain["b"]]]
    best = _decide(candidates, found, contrasting, ratio, threshold, ordinary_detail(null))
    if near_rms is not None and listed is not None:
        best = _overruled(best, listed, place)
    a, b = distinct[best["a"].to_numpy(np.int64)], distinct[best["b"].to_numpy(np.int64)]
    distance, rms, spread, apart, half, cells, flat = compare(blocks, a, b, best)
    same = best["as_it_is"].to_numpy(bool) | (rms <= MOST_RESIDUAL * spread)
    given = best["as_it_is"].to_numpy(bool) & (near_rms is not None)
    same &= given | (alike == 0) | (half <= MOST_HALF * cells)
    same &= given | (flat < DRAWN) | (apart <= np.minimum(OTHER_TONES, OTHER_PART * cells))
    best, a, b, distance, rms = best[same], a[same], b[same], distance[same], rms[same]
    what = describe(images, a, b, best)
    series = _series(images, a, b, best)
    pairs = _table(a, b, distance, rms, best["detail"].to_numpy(float), what, series)
    expected = chance(null, threshold) * len(candidates.a)
    share = 0.0 if near_rms is not None or not len(pairs) else min(1.0, expected / len(pairs))
    return NearCopies(pairs, threshold, _shown_rms(near_rms, best, distance, ratio, images, features), share, alike)


def _original_side(images: pd.DataFrame, distinct: np.ndarray) -> float:
    """Median of the original images' shorter sides, in pixels; infinite if unknown. Upscaling adds no detail."""
    if "width" not in images or "height" not in images:
        return float("inf")
    side = np.fmin(images["width"].to_numpy(float), images["height"].to_numpy(float))[distinct]
    side = side[np.isfinite(side) & (side > 0)]
    return float(np.median(side)) if len(side) else float("inf")


def _shows_enough(small: Stretched) -> np.ndarray:
    """Whether the fine detail of thumbnails exceeds rounding error, bool [n]."""
    return detail_spread(small.thumbs) / small.gain >= LEAST_SHOWN


def _contrasts(small: Stretched) -> np.ndarray:
    """Whether contrast is sufficient, absolutely or relative to the dataset's median, bool [n]; otherwise any two images are close."""
    contrast = small.thumbs.std(axis=(1, 2)) / small.gain
    return contrast >= min(LEAST_CONTRAST * np.median(contrast), ENOUGH_CONTRAST)


def _candidates(thumbs: np.ndarray, plain: pd.DataFrame, usable: np.ndarray) -> Candidates:
    """Pairs to align: unusually close neighbours, and the result of `candidate_pairs`."""
    near = plain[plain["ratio"] < LOOKED_AT]
    sought = candidate_pairs(thumbs) if len(thumbs) <= MOST_IMAGES else Candidates(*(np.empty(0, np.int64),) * 4)
    found = Candidates(
        np.concatenate([near["a"].to_numpy(np.int64), sought.a]),
        np.concatenate([near["b"].to_numpy(np.int64), sought.b]),
        np.concatenate([np.zeros(len(near), np.int64), sought.view]),
        np.concatenate([near["ratio"].to_numpy(np.float32), sought.closeness]),
    )
    both = usable[found.a] & usable[found.b]
    return Candidates(*(column[both] for column in found))


def _decide(
    candidates: Candidates,
    found: Alignment,
    plain: pd.DataFrame,
    ratio: float,
    threshold: float,
    ordinary: float = 0.0,
) -> pd.DataFrame:
    """Best alignment of each pair judged to be a copy: positions a and b, the candidate's index, and its measures."""
    table = pd.DataFrame(
        {
            "a": candidates.a,
            "b": candidates.b,
            "view": candidates.view,
            "number": np.arange(len(candidates.a)),
            "detail": found.detail,
            "gain": found.gain,
            "offset": found.offset,
            "differing": found.differing,
            "covered": found.covered,
        }
    )
    table["warp"] = list(found.warp)
    table["low"], table["high"] = table[["a", "b"]].min(axis=1), table[["a", "b"]].max(axis=1)
    near = plain.rename(columns={"a": "low", "b": "high"})[["low", "high", "ratio"]]
    table = table.merge(near, on=["low", "high"], how="left", sort=False)
    turned = np.array([VIEWS[view].symmetry > 0 for view in table["view"]], bool)
    rotated = np.array([abs(rotation(warp)) >= ROTATED for warp in table["warp"]], bool)
    moved = np.array([np.abs(warp - np.eye(2, 3)).max() >= MOVED for warp in table["warp"]], bool)
    # images with the same frame are close without being copies: unaligned near pairs must also agree in detail
    least = max(NEAR_DETAIL * threshold, ordinary)
    table["as_it_is"] = (table["ratio"] <= ratio) & (table["detail"] >= least) & ~turned & ~moved
    left = np.where(turned | rotated, 1 - STRICTER, 1.0)  # of the way from the threshold to 1
    left *= np.where(table["differing"] > IN_PARTS, 1 - STRICTER_IN_PARTS, 1.0)
    least_detail = 1 - left * (1 - threshold)
    table = table[(table["detail"] >= least_detail) | table["as_it_is"]]
    # among equally good views, the simplest
    table["rank"] = table["detail"] - 0.002 * table["view"].clip(upper=9)
    table = table.sort_values(["rank", "number"], ascending=[False, True], kind="stable")
    return table.drop_duplicates(["low", "high"]).reset_index(drop=True)


def _overruled(best: pd.DataFrame, listed: pd.DataFrame, place: np.ndarray) -> pd.DataFrame:
    """Unchanged pairs by the given distance; turned, cropped or changed pairs as found."""
    a, b = place[listed["a"].to_numpy(np.int64)], place[listed["b"].to_numpy(np.int64)]
    given = pd.DataFrame({"low": np.minimum(a, b), "high": np.maximum(a, b)})
    both = given.merge(best, on=["low", "high"], how="left")
    both["a"], both["b"] = both["low"], both["high"]
    plain = {"view": 0, "detail": 1.0, "gain": 1.0, "offset": 0.0, "differing": 0.0, "covered": 1.0}
    both["as_it_is"] = True
    warps: list[Any] = [np.eye(2, 3, dtype=np.float32)] * len(both)
    both["warp"] = warps
    both = both.fillna(plain)
    changed = best[[not _is_plain(row) for row in best.itertuples()]]
    return pd.concat([both, changed], ignore_index=True).drop_duplicates(["low", "high"]).reset_index(drop=True)


def _is_plain(row: object) -> bool:
    warp: np.ndarray = row.warp  # type: ignore[attr-defined]
    same_place = float(np.abs(warp - np.eye(2, 3)).max()) < 0.03
    return same_place and VIEWS[int(row.view)].symmetry == 0 and abs(row.gain - 1) < 0.05 and abs(row.offset) < 6  # type: ignore[attr-defined]


def _by_distance(
    images: pd.DataFrame,
    distinct: np.ndarray,
    plain: pd.DataFrame,
    ratio: float,
    near_rms: float | None,
    listed: pd.DataFrame | None,
    features: int,
) -> NearCopies:
    """Near-copies of images too small to have detail, by distance alone."""
    if near_rms is not None and listed is not None:
        chosen = listed[["a", "b", "distance"]].reset_index(drop=True)
        a, b = chosen["a"].to_numpy(np.int64), chosen["b"].to_numpy(np.int64)
    else:
        chosen = plain[plain["ratio"] <= ratio]
        a, b = distinct[chosen["a"].to_numpy(np.int64)], distinct[chosen["b"].to_numpy(np.int64)]
    distance = chosen["distance"].to_numpy(float)
    rms = distance / np.sqrt(features)
    pairs = _table(a, b, distance, rms, np.full(len(a), np.nan), ["the same view"] * len(a), [False] * len(a))
    expected = false_fraction(len(distinct)) * len(distinct) / 2
    share = 0.0 if near_rms is not None or not len(a) else min(1.0, expected / len(a))
    return NearCopies(pairs, float("nan"), _median_rms(near_rms, ratio, images, features), share)


def _median_rms(near_rms: float | None, ratio: float, images: pd.DataFrame, features: int) -> float:
    if near_rms is not None:
        return near_rms
    middle = (
        float(np.nanmedian(images["knn_distance"].to_numpy(float))) if images["knn_distance"].notna().any() else 0.0
    )
    return ratio * middle / np.sqrt(features)


def _shown_rms(
    near_rms: float | None,
    best: pd.DataFrame,
    distance: np.ndarray,
    ratio: float,
    images: pd.DataFrame,
    features: int,
) -> float:
    """Threshold shown in the distance histogram: the distance of the farthest unchanged near-copy, else from the ratio."""
    plain = np.array([_is_plain(row) for row in best.itertuples()], bool) & best["as_it_is"].to_numpy(bool)
    if near_rms is None and plain.any():
        return float(distance[plain].max() / np.sqrt(features))
    return _median_rms(near_rms, ratio, images, features)


def _table(
    a: Sequence[int] | np.ndarray,
    b: Sequence[int] | np.ndarray,
    distance: np.ndarray,
    rms: np.ndarray,
    detail: np.ndarray,
    what: Sequence[str],
    series: Sequence[bool],
) -> pd.DataFrame:
    one, two = np.asarray(a, np.int64), np.asarray(b, np.int64)
    table = pd.DataFrame(
        {
            "a": np.minimum(one, two),
            "b": np.maximum(one, two),
            "distance": distance,
            "rms": rms,
            "detail": detail,
            "what": pd.Series(list(what), dtype=object),
            "series": np.asarray(series, bool),
        }
    )
    return table.sort_values(["rms", "a", "b"], kind="stable").reset_index(drop=True)


def _series(images: pd.DataFrame, a: np.ndarray, b: np.ndarray, best: pd.DataFrame) -> list[bool]:
    """Whether each pair is of one patient or series and likely to be two exposures or slices rather than copies."""
    same = np.zeros(len(a), bool)
    for name in ("group", "series", "study"):
        if name in images:
            values = or_none(images[name])
            same |= np.array(
                [values[i] is not None and values[i] == values[j] for i, j in zip(a, b, strict=True)], bool
            )
    moved = np.array([float(np.abs(np.asarray(w) - np.eye(2, 3)).max()) > 0.03 for w in best["warp"]], bool)
    other = moved | (best["detail"].to_numpy(float) < 0.9) | (best["differing"].to_numpy(float) > 0.1)
    return (same & other).tolist()

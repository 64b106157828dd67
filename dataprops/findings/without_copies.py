"""Intrinsic dimension with one image per group of near-copies; near-copies bias TwoNN most."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataprops.properties.dimension import levina_bickel_terms, two_nn_ratios, two_nn_slope, twonn_keep

LEAST, LEAST_NEIGHBOURS = 50, 5  # minimum images, and neighbours per image


def dimension_without_copies(
    images: pd.DataFrame, neighbours: pd.DataFrame, near: pd.DataFrame
) -> dict[str, float] | None:
    """MLE, TwoNN, and the number of neighbours used; None without near-copies, or if too few images remain.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables.
    near : DataFrame
        Near-copies: a, b. The later image of each pair is excluded.
    """
    if near.empty:
        return None
    dropped = near[["a", "b"]].max(axis=1).unique()
    distinct = images.loc[images["duplicate_of"] == images["image"], "image"]
    kept = distinct[~distinct.isin(dropped)]
    rows = neighbours[
        neighbours["image"].isin(kept) & neighbours["neighbour"].isin(kept) & (neighbours["distance"] > 0)
    ]
    counts = rows["image"].value_counts()
    if len(counts) < LEAST:
        return None
    # nearly all images have at least this many left; images with fewer are excluded
    k = int(counts.quantile(0.02, interpolation="lower"))
    if k < LEAST_NEIGHBOURS:
        return None
    rows = rows[rows["image"].isin(counts.index[counts >= k])].sort_values(["image", "distance"], kind="stable")
    distances = rows.groupby("image")["distance"].head(k).to_numpy(float).reshape(-1, k)
    log_mu = two_nn_ratios(distances)
    mle = (k - 1) / float(levina_bickel_terms(distances, k).mean())
    twonn = two_nn_slope(log_mu, twonn_keep(len(log_mu)))
    if not np.isfinite([mle, twonn]).all():
        return None
    return {"without_copies_mle": mle, "without_copies_twonn": twonn, "without_copies_k": float(k)}

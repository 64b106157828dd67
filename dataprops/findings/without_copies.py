"""The intrinsic dimension as if of each group of near-copies one image were there: they are what wrecks TwoNN first."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataprops.properties.dimension import levina_bickel_terms, two_nn_ratios, two_nn_slope, twonn_keep

LEAST, LEAST_NEIGHBOURS = 50, 5  # images, and neighbours of each


def dimension_without_copies(
    images: pd.DataFrame, neighbours: pd.DataFrame, near: pd.DataFrame
) -> dict[str, float] | None:
    """MLE, TwoNN, and the neighbours that they rest on; None where there are no near-copies, or too few images without them.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables.
    near : DataFrame
        Near-copies: a, b. Of a pair the later image is left out.
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
    # nearly all images have so many left; the lists end earlier for the rest, which are left out
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

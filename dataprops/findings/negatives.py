"""Pictures with black and white exchanged, told by what distinguishes the set's own pictures from their negatives.

The features of the reference classifier (its filters are patches of the set, see `probe.features`) are computed of each picture and of
its negative, and a ridge classifier learns which is which; picture and negative are held out together. A picture is inverted if its
negative is clearly the likelier original. Nothing is said of sets whose pictures look like their negatives.
"""

from __future__ import annotations

import numpy as np
import torch

from dataprops.findings.thumbnails import Blocks
from dataprops.probe.calibrate import cross_fitted, fit_scaling, probabilities
from dataprops.probe.features import encode, fit_encoder, of_negatives, shrink
from dataprops.probe.folds import assign_folds, fold_count
from dataprops.probe.ridge import held_scores, inner_products, solve, targets
from dataprops.util.threads import one_thread

LEAST, MOST = 100, 1500  # pictures; of larger sets so many are drawn: each takes a millisecond, and as much again
LEARNT_FROM = 500  # pictures; the others are judged by a classifier that saw none of them
STRENGTHS = (1e-2, 1e-1, 1.0)
ERRORS = 0.12  # of pictures and negatives that are taken for each other, at most


def log_odds(blocks: Blocks, ids: np.ndarray, seed: int = 0, learnt: np.ndarray | None = None) -> np.ndarray | None:
    """Natural logarithm of the odds that each picture, and not its negative, is an original; float64 [n].

    NaN for pictures that were not drawn. None for fewer than `LEAST`, or where they are not told from their negatives.

    Parameters
    ----------
    learnt : bool [n], optional
        The pictures that may be learnt from; others (blank, blurred, noisy) are only judged.
    """
    learnt = np.ones(len(ids), bool) if learnt is None else learnt
    if learnt.sum() < LEAST:
        return None
    drawn = np.random.default_rng([seed, 13]).permutation(len(ids))[:MOST]
    with one_thread():
        parts = [shrink(pixels) for _, pixels in blocks(ids[drawn].tolist())]
        x = torch.cat(parts) if parts else torch.empty(0)
        if len(x) < len(drawn):  # some can no longer be read
            return None
        judged = _judged(x, np.nonzero(learnt[drawn])[0][:LEARNT_FROM], seed)
    if judged is None:
        return None
    out = np.full(len(ids), np.nan)
    out[drawn] = judged
    return out


def _judged(x: torch.Tensor, known: np.ndarray, seed: int) -> np.ndarray | None:
    m = len(known)
    encoder, features = fit_encoder(x[known], seed, negatives=True)
    y = np.repeat([0, 1], m)
    folds = assign_folds(y, np.tile(np.arange(m), 2), fold_count(2 * m), seed)
    kernel, target = inner_products(features), targets(y, 2)
    held = held_scores(kernel, target, folds, strengths=STRENGTHS)
    p = cross_fitted(held.scores, y, folds)
    if (p.argmax(1) != y).mean() > ERRORS:
        return None
    out = np.empty(len(x))
    out[known] = _log_odds(p[:m], p[m:])
    rest = np.setdiff1d(np.arange(len(x)), known)
    if len(rest):
        everything = np.arange(2 * m)
        alpha, mean = solve(kernel, everything, target, held.strength)
        weight = features.T.astype(np.float64) @ alpha / features.shape[1]
        scaling = fit_scaling(held.scores, y)
        others = encode(encoder, x[rest])
        pair = [
            probabilities(scaling, part.numpy() @ weight + mean) for part in (others, of_negatives(encoder, others))
        ]
        out[rest] = _log_odds(*pair)
    return out


def _log_odds(as_it_is: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Half the difference of the two log odds; columns of both are original, negative."""
    one, other = (np.clip(p, 1e-6, 1) for p in (as_it_is, negative))
    return (np.log(one[:, 0] / one[:, 1]) - np.log(other[:, 0] / other[:, 1])) / 2

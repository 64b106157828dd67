"""Folds that keep together what belongs together: images of one patient, and identical or near-identical images.

A fold is filled with whole groups, largest first, each going where the classes then stay most even.
"""

from __future__ import annotations

import numpy as np

LEAST, MOST = 20, 4_000  # images that a classifier is trained on and judged by
MOST_CLASSES = 400  # of 4,000 images: ten of each
LEAST_GROUPS = 4  # of each class: with two or three, a fold takes a large part of what there is to learn from

FOLDS, FOLDS_OF_FEW, FEW = 5, 10, 300
HALVINGS = 5
CHAIN = 0.2  # a chain of near-identical images that holds more of the set is no chain of copies


def unite(n: int, groups: np.ndarray | None, pairs: np.ndarray) -> np.ndarray:
    """Number of each image's leak group, int64 [n]: images of one group, and those joined by a pair, share one.

    Parameters
    ----------
    n : int
        Images.
    groups : int64 [n], optional
        Patient of each image; negative: none, the image counts alone.
    pairs : int64 [p, 2]
        Images that are identical or nearly so.

    >>> unite(4, np.array([0, 0, -1, -1]), np.array([[1, 2]]))
    array([0, 0, 0, 1])
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    own = np.arange(n)
    edges = [np.asarray(pairs, np.int64).reshape(-1, 2)]
    if groups is not None:
        known = np.nonzero(np.asarray(groups) >= 0)[0]
        _, first, inverse = np.unique(np.asarray(groups)[known], return_index=True, return_inverse=True)
        edges.append(np.stack([known, known[first][inverse]], axis=1))
    a, b = np.concatenate(edges).T
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(n, n))
    _, leak_group = connected_components(graph, directed=False)
    _, first, inverse = np.unique(leak_group, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return order[inverse] if n else own


def leak_groups_of(
    n: int, groups: np.ndarray | None, identical: np.ndarray, near: np.ndarray, distance: np.ndarray | None = None
) -> np.ndarray:
    """Leak groups as `unite` makes them; of near pairs the nearest, so far that they chain no large share of the set together.

    Near-identical is not transitive: thousands of nearly black images can hang together although the ends differ. Then only pairs
    of half the largest distance count, a quarter, and so on (`HALVINGS` times); without distances none does.
    """
    identical, near = identical.reshape(-1, 2), near.reshape(-1, 2)
    without = unite(n, groups, identical)
    most = max(CHAIN * n, np.bincount(without).max(initial=0))
    limits = [np.inf]
    if distance is not None and len(distance):
        limits += [float(distance.max()) / 2**halving for halving in range(1, HALVINGS + 1)]
    for limit in limits:
        kept = near if distance is None else near[distance <= limit]
        with_near = unite(n, groups, np.concatenate([identical, kept]))
        if np.bincount(with_near).max(initial=0) <= most:
            return with_near
    return without


def fold_count(n: int) -> int:
    """Ten folds of a small set, so that little is lost from training; five of others."""
    return FOLDS_OF_FEW if n <= FEW else FOLDS


def assign_folds(
    y: np.ndarray, leak_group: np.ndarray, folds: int, seed: int, given: np.ndarray | None = None
) -> np.ndarray:
    """Fold of each image, int64 [n]: no leak group in two of them, each class spread as evenly as leak groups allow.

    Parameters
    ----------
    y : int64 [n]
        Classes 0..c-1 (of numbers: their quintile).
    leak_group : int64 [n]
        Of `unite`.
    folds : int
    seed : int
        Decides between folds that are equally good.
    given : int64 [n], optional
        Folds that images have already (-1: none): their leak groups stay there, a leak group with several in the fold of most of its
        images.
    """
    rng = np.random.default_rng([seed, 11])
    classes = int(y.max(initial=0)) + 1
    names, code = np.unique(leak_group, return_inverse=True)
    counts = np.zeros((len(names), classes))
    np.add.at(counts, (code, y), 1)
    share = 1 / np.maximum(counts.sum(0), 1)
    # large leak groups first, and among equals by chance; of one class with few images before many
    order = rng.permutation(len(names))
    order = order[np.argsort(-(counts[order] * share).sum(1), kind="stable")]
    held = np.zeros((folds, classes))
    size = np.zeros(folds)
    chosen = np.empty(len(names), np.int64)
    tie = rng.permutation(folds) * 1e-9
    set_already = np.full(len(names), -1, np.int64) if given is None else _fold_of_units(code, given, folds)
    order = order[np.argsort(set_already[order] < 0, kind="stable")]
    for number in order:
        mine = counts[number]
        # how uneven the classes of this leak group become, and then the sizes
        cost = ((held + mine) * share * (mine > 0)).sum(1) + 1e-3 * size / len(y) + tie
        at = int(np.argmin(cost)) if set_already[number] < 0 else int(set_already[number])
        chosen[number] = at
        held[at] += mine
        size[at] += mine.sum()
    return chosen[code]


def _fold_of_units(code: np.ndarray, given: np.ndarray, folds: int) -> np.ndarray:
    """The fold that most of a leak group's images have already; -1 where none has one."""
    votes = np.zeros((int(code.max(initial=-1)) + 1, folds), np.int64)
    known = given >= 0
    np.add.at(votes, (code[known], given[known]), 1)
    return np.where(votes.any(1), votes.argmax(1), -1)

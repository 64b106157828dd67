"""Stratified group folds: images of one patient, and identical or near-identical images, stay in one fold.

Leak groups are assigned greedily, largest first, each to the fold that keeps the classes most balanced.
"""

from __future__ import annotations

import numpy as np

LEAST, MOST = 20, 4_000  # smallest and largest number of images of a probe
MOST_CLASSES = 400  # ten images of each in 4,000
LEAST_GROUPS = 4  # of each class: with two or three, a fold holds too large a part of the class

FOLDS, FOLDS_OF_FEW, FEW = 5, 10, 300
HALVINGS = 5
CHAIN = 0.2  # fraction of the set; a larger chain of near-identical images is not a chain of copies


def unite(n: int, groups: np.ndarray | None, pairs: np.ndarray) -> np.ndarray:
    """Leak group of each image, int64 [n]: the connected components of groups and pairs.

    Parameters
    ----------
    n : int
        Images.
    groups : int64 [n], optional
        Patient of each image; negative: unknown, the image is its own group.
    pairs : int64 [p, 2]
        Identical or near-identical images.

    >>> unite(4, np.array([0, 0, -1, -1]), np.array([[1, 2]]))
    array([0, 0, 0, 1])
    """
    edges = [np.asarray(pairs, np.int64).reshape(-1, 2)]
    if groups is not None:
        known = np.nonzero(np.asarray(groups) >= 0)[0]
        _, first, inverse = np.unique(np.asarray(groups)[known], return_index=True, return_inverse=True)
        edges.append(np.stack([known, known[first][inverse]], axis=1))
    a, b = np.concatenate(edges).T
    root = np.arange(n)  # of each image, an image of its component, never a later one; finally the first
    while (root[a] != root[b]).any():
        low = np.minimum(root[a], root[b])
        for ends in (root[a], root[b], a, b):
            np.minimum.at(root, ends, low)
        root = root[root]
    return np.unique(root, return_inverse=True)[1]


def leak_groups_of(
    n: int, groups: np.ndarray | None, identical: np.ndarray, near: np.ndarray, distance: np.ndarray | None = None
) -> np.ndarray:
    """Leak groups by `unite`, with near pairs limited so that no chain of them joins more than `CHAIN` of the set.

    Near-identity is not transitive: thousands of nearly black images can form one component although its ends differ. Then only
    pairs within half of the largest distance are used, a quarter, and so on (`HALVINGS` times); without distances, none.
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
    """Ten folds for small sets, which leaves more images for training; five for others."""
    return FOLDS_OF_FEW if n <= FEW else FOLDS


def assign_folds(
    y: np.ndarray, leak_group: np.ndarray, folds: int, seed: int, given: np.ndarray | None = None
) -> np.ndarray:
    """Fold of each image, int64 [n]: leak groups are not split, and classes are balanced as far as leak groups allow.

    Parameters
    ----------
    y : int64 [n]
        Classes 0..c-1 (for numbers: the quintile).
    leak_group : int64 [n]
        From `unite`.
    folds : int
    seed : int
        Breaks ties between folds.
    given : int64 [n], optional
        Existing fold of each image (-1: none); a leak group keeps the fold of most of its images.
    """
    rng = np.random.default_rng([seed, 11])
    classes = int(y.max(initial=0)) + 1
    names, code = np.unique(leak_group, return_inverse=True)
    counts = np.zeros((len(names), classes))
    np.add.at(counts, (code, y), 1)
    share = 1 / np.maximum(counts.sum(0), 1)
    # largest leak groups first, sizes weighted by 1 / class size, ties in random order
    order = rng.permutation(len(names))
    order = order[np.argsort(-(counts[order] * share).sum(1), kind="stable")]
    held = np.zeros((folds, classes))
    size = np.zeros(folds)
    chosen = np.empty(len(names), np.int64)
    tie = rng.permutation(folds) * 1e-9
    set_already = np.full(len(names), -1, np.int64) if given is None else _existing_fold(code, given, folds)
    order = order[np.argsort(set_already[order] < 0, kind="stable")]
    for number in order:
        mine = counts[number]
        # imbalance of the leak group's classes, then fold size
        cost = ((held + mine) * share * (mine > 0)).sum(1) + 1e-3 * size / len(y) + tie
        at = int(np.argmin(cost)) if set_already[number] < 0 else int(set_already[number])
        chosen[number] = at
        held[at] += mine
        size[at] += mine.sum()
    return chosen[code]


def _existing_fold(code: np.ndarray, given: np.ndarray, folds: int) -> np.ndarray:
    """The fold to which most of a leak group's images are already assigned; -1 if none is."""
    votes = np.zeros((int(code.max(initial=-1)) + 1, folds), np.int64)
    known = given >= 0
    np.add.at(votes, (code[known], given[known]), 1)
    return np.where(votes.any(1), votes.argmax(1), -1)

"""Shallow classification trees on a few values, of all folds at once.

Values are reduced to at most `LEVELS` ranks, so that the best split of every node in every fold is read from one histogram, in a
quarter of the time of fitting one tree for each fold. Classes count equally; splits minimise the Gini impurity [1]_ and leave at least
`LEAF` images on each side. With at most `LEVELS` distinct values nothing is lost; of more, equally many images share a rank. With more
than `MANY` classes there are fewer ranks, so that the histogram does not grow.

References
----------
.. [1] L. Breiman, J. Friedman, R. Olshen, C. Stone, Classification and Regression Trees, 1984.
"""

from __future__ import annotations

import numpy as np

DEPTH, LEAF = 3, 5
LEVELS, LEAST_LEVELS = 256, 16  # ranks: maximum; at least so many with any number of classes
MANY = 100  # classes with which a histogram of `LEVELS` ranks is as large as it may be


def ranks(values: np.ndarray, levels: int = LEVELS) -> tuple[np.ndarray, np.ndarray]:
    """Ranks within each row of values [m, n], int64 from 0 and below `levels`, equal values alike; and the lowest value of each rank
    [m, levels], infinite where there is none.

    >>> rank, lowest = ranks(np.array([[3.5, -1.0, 3.5, 7.0]]))
    >>> rank.tolist(), lowest[:, :4].tolist()
    ([[1, 0, 1, 2]], [[-1.0, 3.5, 7.0, inf]])
    """
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, 1)
    rank = _changes(ordered)
    number = values.shape[1]
    if rank.max() >= levels:
        first = np.maximum.accumulate(
            np.where(np.diff(rank, prepend=-1) > 0, np.arange(number), 0), axis=1
        )  # of equal values
        rank = np.where(rank[:, -1:] < levels, rank, _changes(first * levels // number))
    out = np.empty_like(rank)
    np.put_along_axis(out, order, rank, 1)
    lowest = np.full((len(values), levels), np.inf)
    row, start = np.nonzero(np.diff(rank, prepend=-1))
    lowest[row, rank[row, start]] = ordered[row, start]
    return out, lowest


def _changes(ordered: np.ndarray) -> np.ndarray:
    """Number of changes up to each value of rows [m, n], int64."""
    return np.pad((ordered[:, 1:] != ordered[:, :-1]).cumsum(1), [(0, 0), (1, 0)])


def predictions(values: np.ndarray, y: np.ndarray, folds: np.ndarray | None = None) -> np.ndarray:
    """Class of each image by a tree fitted to the images of the other folds, int64 [n].

    Parameters
    ----------
    values : float [n, m]
    y : int64 [n]
        Classes, from 0.
    folds : int64 [n], optional
        Without them, one tree is fitted to all images and classifies these.
    """
    test = np.ones((1, len(y)), bool) if folds is None else folds == np.unique(folds)[:, None]
    trees, classes, features = len(test), int(y.max()) + 1, values.shape[1]
    # images that a tree is fitted to, then those that it classifies
    parts = [np.nonzero(test if folds is None else ~test), np.nonzero(test)]
    tree, image = (np.concatenate(both) for both in zip(*parts, strict=True))
    fitted = len(parts[0][0])
    levels = max(LEAST_LEVELS, LEVELS * MANY // max(classes, MANY))
    rank, lowest = ranks(np.ascontiguousarray(values.T), levels)
    code, label = rank.take(image, 1), y[image[:fitted]]
    weight = 1.0 / np.maximum(np.bincount(label * trees + tree[:fitted], minlength=classes * trees), 1)
    node = tree
    for depth in range(DEPTH):
        shape = (classes, features, trees * 2**depth, levels)
        place = (label * features * shape[2] + node[:fitted]) * levels
        place = place + code[:, :fitted] + (np.arange(features) * shape[2] * levels)[:, None]
        count = np.bincount(place.ravel(), minlength=int(np.prod(shape))).reshape(shape)
        feature, last, following = _best_split(count, weight.reshape(classes, trees).repeat(2**depth, 1))
        middle = (lowest[feature, last] + lowest[feature, following]) / 2
        split = (lowest[feature] <= middle[:, None]).sum(1)
        node = 2 * node + (code[feature[node], np.arange(len(node))] >= split[node])
    leaves = trees * 2**DEPTH
    count = np.bincount(label * leaves + node[:fitted], minlength=classes * leaves).reshape(classes, leaves)
    likely = (count * weight.reshape(classes, trees).repeat(2**DEPTH, 1)).argmax(0)
    out = np.empty(len(y), np.int64)
    out[image[fitted:]] = likely[node[fitted:]]
    return out


def _best_split(count: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best split of each node by its images of each rank [classes, features, nodes, ranks] and the weights of the classes [classes,
    nodes]: the feature, the last rank on the left and the first on the right, [nodes] each. If no split leaves `LEAF` images on both
    sides, both are the very last."""
    left = count.cumsum(3, dtype=np.int32)
    number = left.sum(0, dtype=np.int32)
    fits = (number >= LEAF) & (number[..., -1:] - number >= LEAF)
    share = left * weight[:, None, :, None]
    whole = share[..., -1]
    # sums over classes on the left, and by (a - b)^2 = a^2 - 2 a b + b^2 on the right, without arrays for each class
    size, square = np.einsum("kjnl->jnl", share), np.einsum("kjnl,kjnl->jnl", share, share)
    other = np.einsum("kjn,kjn->jn", whole, whole)[..., None] - 2 * np.einsum("kjn,kjnl->jnl", whole, share) + square
    worth = square / np.maximum(size, 1e-12) + other / np.maximum(size[..., -1:] - size, 1e-12)
    worth = np.where(fits, worth, -1.0)
    worth[..., -1] = np.maximum(worth[..., -1], -0.5)
    features, nodes, levels = worth.shape
    best = np.moveaxis(worth, 0, 1).reshape(nodes, features * levels).argmax(1)
    feature, last = best // levels, best % levels
    there = number[feature, np.arange(nodes)]
    following = last + (there == there[np.arange(nodes), last][:, None]).sum(
        1
    )  # ranks between have no image of the node
    return feature, last, np.minimum(following, levels - 1)

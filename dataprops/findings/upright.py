"""Rotated and inverted images, detected by classifiers that tell the dataset's images from their own transformed versions.

1. *Features* (`describe`): strength of edges in eight directions in each cell of a 4 x 4 grid, and the image itself on an 8 x 8 grid;
   for inversion its luma, and red and blue minus luma, with equal weight: the brightness of photographs varies far more than their
   colour, and skin, sky and grass are seldom blue, brown or red. A transformed image has the same values permuted or negated, so that
   nothing is computed twice.
2. *One classifier per transformation*: score(x) = sum a_i (k(x, x_i) - k(x, transformed x_i)) with a Gaussian kernel k, by ridge
   regression to 1. Training images get out-of-fold scores; the images least certain in a first fit are excluded from training.
3. *Abstention*: if too many images look transformed (`ERRORS`), or too few would be detected if they were (`TOLD`), the dataset has
   no preferred orientation, or polarity, and nothing is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dataprops.findings.kernel_ridge import AT_ONCE, BATCH, DOUBTED, drawn, fitted, out_of_fold, squares, width_of
from dataprops.findings.thumbnails import Blocks, luma, pieces
from dataprops.util.grid import cell_means, resized
from dataprops.util.threads import one_thread

SIDE = 32  # pixels
LEARNT_FROM = 500  # maximum training images; others are scored by a classifier that has not seen them
DIRECTIONS, CELLS, COARSE = 8, 4, 8  # edge directions; cells per side of their grid; cells per side of the image's grid
FAINT = 0.2  # grey levels: mean edge strength of an empty image
LEAST_VARIED = float(COARSE)  # variation of a plane that is one grey level in each cell: less is rounding
ERRORS, TOLD = 0.12, 0.2  # fraction of images: maximum that look transformed; minimum detected if transformed
COMPANY = 3  # number of similar images that form a kind of their own
NEARER = 1.1  # ratio of squared distances to `COMPANY` neighbours, as is to changed back, below which an image is among its kind
# the same where the score is above `CLEAR`; for quarter turns, which unlike the other changes do not negate the score, `NEARER` always
# holds
CLEAR, DOUBTFUL = -0.6, 1.25


class Change(NamedTuple):
    """A transformation of the whole image.

    Attributes
    ----------
    fault : str
    words : str
        Description, after "seems".
    quarters : int
        Quarter turns counter-clockwise; 0: inversion of black and white.
    """

    fault: str
    words: str
    quarters: int


CHANGES = (
    Change("inverted", "inverted (black and white exchanged)", 0),
    Change("wrong_orientation", "turned by 180°", 2),
    Change("wrong_orientation", "turned by 90° clockwise", 3),
    Change("wrong_orientation", "turned by 90° counter-clockwise", 1),
)


class Likeness(NamedTuple):
    """How much each image resembles the dataset rather than its transformed version.

    Attributes
    ----------
    score : float64 [n]
        1 is typical of the dataset; a transformed image has about -1.
    away : float64 [n]
        Squared distance of an odd image, changed back, to the nearest others: of several changes the one with the smallest was made.
        Infinite for images that are not odd: the score is above the bound, or they are among similar ones (`_company`).
    told : float
        Fraction of the dataset's images, scored by classifiers that have not seen them, that would be at most the bound if they were
        transformed.
    """

    score: np.ndarray
    away: np.ndarray
    told: float


def likeness(
    blocks: Blocks, ids: np.ndarray, seed: int, learnt: np.ndarray, bound: Callable[[np.ndarray], float]
) -> dict[Change, Likeness]:
    """Likeness to the dataset of each image, for each transformation that the dataset can detect.

    Parameters
    ----------
    blocks : callable
        See `Context.pixels`.
    ids : int64 [n]
    seed : int
    learnt : bool [n]
        Images that may be used for training; others (blank, blurred, noisy) are only scored.
    bound : callable
        Maximum score of an odd image, from all scores; negative.
    """
    known = drawn(learnt, LEARNT_FROM, np.random.default_rng([seed, 13]))
    if not len(known):
        return {}
    with one_thread():
        edges, coarse = _described(blocks, ids)
        in_colour = _opponent(coarse)
        planes = ((plane, LEAST_VARIED) for plane in (coarse, *in_colour.swapaxes(0, 1)))
        for part, least in ((edges, 1e-6), *planes):  # equal weight
            part /= max(np.sqrt(part[known].var(0).sum()), least)
        out = {}
        for image, changes in ((in_colour, CHANGES[:1]), (coarse, CHANGES[1:])):
            plain = _flat(edges, image)
            for change in changes:
                judged = _judged(plain, _flat(*_changed(edges[known], image[known], change)), known)
                if judged is None:
                    continue
                least = bound(judged)
                told = float((judged[known] >= -least).mean())  # transforming an image negates its score
                if told < TOLD:
                    continue
                away = np.full(len(ids), np.inf)
                at = np.nonzero(judged <= least)[0]  # few, since each is compared with the whole dataset
                if len(at):
                    back = _flat(*_changed(edges[at], image[at], change._replace(quarters=-change.quarters)))
                    unclear = (judged[at] > CLEAR) & (change.quarters % 2 == 0)
                    as_is, changed = _company(plain, at, back)
                    away[at] = np.where(as_is < np.where(unclear, DOUBTFUL, NEARER) * changed, np.inf, changed)
                out[change] = Likeness(judged, away, told)
    return out


def describe(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges float32 [n, DIRECTIONS, CELLS, CELLS] and image [n, channels, COARSE, COARSE] of uint8 [n, h, w, channels]."""
    x = resized(pixels, SIDE)
    n, channels, side, _ = x.shape
    grey = luma(x.transpose(0, 2, 3, 1))
    across, down = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2], grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    beside = np.hypot(across, down) * np.float32(np.sqrt(0.5))  # cuts off directions more than 45 degrees away
    cells = cell_means(side - 2, CELLS)
    edges = np.empty((n, DIRECTIONS, CELLS, CELLS), np.float32)
    for direction in range(DIRECTIONS):
        angle = 2 * np.pi * direction / DIRECTIONS
        along = np.float32(np.cos(angle)) * across + np.float32(np.sin(angle)) * down
        edges[:, direction] = cells @ np.maximum(along - beside, 0) @ cells.T
    edges = np.sqrt(edges / (edges.mean((1, 2, 3), keepdims=True) + FAINT))
    step = side // COARSE
    return edges, x.reshape(n, channels, COARSE, step, COARSE, step).mean((3, 5)) - np.float32(127.5)


def _opponent(coarse: np.ndarray) -> np.ndarray:
    """Luma, and red and blue minus luma, of coloured images [n, 3, COARSE, COARSE]; a copy of grey ones."""
    if coarse.shape[1] == 1:
        return coarse.copy()
    level = luma(coarse.transpose(0, 2, 3, 1))
    return np.stack([level, coarse[:, 0] - level, coarse[:, 2] - level], axis=1)


def _described(blocks: Blocks, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`describe` for images by id; zeros for unreadable images."""
    out: list[np.ndarray] = []
    for at, pixels in pieces(blocks, ids, AT_ONCE):
        some = describe(pixels)
        out = out or [np.zeros((len(ids), *one.shape[1:]), np.float32) for one in some]
        for whole, one in zip(out, some, strict=True):
            whole[at] = one
    if not out:
        return np.zeros((len(ids), DIRECTIONS, CELLS, CELLS), np.float32), np.zeros((len(ids), 1, 1, 1), np.float32)
    return out[0], out[1]


def _changed(edges: np.ndarray, coarse: np.ndarray, change: Change) -> tuple[np.ndarray, np.ndarray]:
    if not change.quarters:
        return np.roll(edges, DIRECTIONS // 2, axis=1), -coarse
    turn = -change.quarters * DIRECTIONS // 4  # directions are ordered from right to down
    return np.roll(np.rot90(edges, change.quarters, (2, 3)), turn, axis=1), np.rot90(coarse, change.quarters, (2, 3))


def _flat(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _judged(plain: np.ndarray, changed: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """`likeness` scores of all images, trained on the images `known` and their transformed versions; None if too many are
    misjudged."""
    own = plain[known]
    width = width_of(own)

    def kernel(some: np.ndarray) -> np.ndarray:
        return np.exp(-width * squares(some, own)) - np.exp(-width * squares(some, changed))

    k = kernel(own).astype(np.float64)

    def weights(train: np.ndarray) -> np.ndarray:
        return fitted(k[np.ix_(train, train)], np.ones(train.sum()))

    held, sure = out_of_fold(
        len(known),
        lambda train, test: k[np.ix_(test, train)] @ weights(train),
        lambda held: held > np.quantile(held, DOUBTED),
    )
    if (held <= 0).mean() > ERRORS:
        return None
    weight = np.zeros(len(known), np.float32)
    weight[sure] = weights(sure)
    out = np.concatenate([kernel(plain[i : i + BATCH]) @ weight for i in range(0, len(plain), BATCH)])
    out = out.astype(np.float64)
    out[known] = held
    return out / float(np.median(held))


def _company(plain: np.ndarray, doubted: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances of doubted images to the `COMPANY` nearest others, as they are and changed back (`back`), float64 [m].

    A dataset may contain two kinds of images, e.g. bright and dark: those of the rarer kind have similar images, a transformed one has
    none.
    """
    out = np.empty((2, len(doubted)))
    at = min(COMPANY, len(plain) - 1) - 1
    for start in range(0, len(doubted), BATCH):
        some = slice(start, start + BATCH)
        for nearest, one in zip(out, (plain[doubted[some]], back[some]), strict=True):
            distance = squares(one, plain)
            distance[np.arange(len(distance)), doubted[some]] = np.inf
            nearest[some] = np.partition(distance, at, 1)[:, at]
    return out[0], out[1]

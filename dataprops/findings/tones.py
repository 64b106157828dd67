"""Images whose tones are spoilt: dark, overexposed, of low contrast, or cut off at white and black.

What is dark or burnt out differs from dataset to dataset, so each dataset is its own measure. Copies of its images are spoilt in each
way (`SPOILT`), and a classifier learns to tell them from the images as they are:

1. *Features* (`describe`): how many pixels lie in six ranges of grey levels, of luma and of the largest and smallest channel (white
   paper is white in all channels at once, burnt skin in one after the other); quantiles and spread; how much of the border is white.
2. *Classifier*: ridge regression with a Gaussian kernel, to -1 for an image and +1 for its spoilt copy. Training images get
   out-of-fold scores; those most like spoilt ones in a first fit are excluded from training, since they may be spoilt.
3. *Kind*: what looks overexposed also looks cut off at white. A second regression, learnt from the copies of all faults, says which
   of them an image resembles most.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dataprops.findings.kernel_ridge import AT_ONCE, BATCH, DOUBTED, drawn, fitted, out_of_fold, squares, width_of
from dataprops.findings.thumbnails import Blocks, luma, pieces
from dataprops.util.threads import one_thread

LEARNT_FROM = 200  # maximum training images
PIXELS = 32  # rows and columns of an image that are looked at, at most
ENDS = (3, 24, 56, 200, 232, 253)  # grey levels that bound the ranges
LITTLE = 0.002  # fraction of the pixels that is added before taking logarithms: two in a thousand
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BESIDE = 3  # grey levels around the most frequent one that are ground


class Spoilt(NamedTuple):
    """A way to spoil tones.

    Attributes
    ----------
    fault : str
        What an image is that looks so.
    copies : callable
        Spoilt copies of uint8 [n, h, w, channels], each by an amount that the generator draws.
    """

    fault: str
    copies: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _on_line(pixels: np.ndarray, slope: np.ndarray, offset: np.ndarray | float) -> np.ndarray:
    moved = pixels * slope[:, None, None, None] + np.reshape(offset, (-1, 1, 1, 1))
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)


def _cut(pixels: np.ndarray, black: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Grey levels stretched so that the fractions `black` and `white` [n] of what is not ground are cut off."""
    counts = _histograms(_planes(pixels)[0])
    level = np.arange(256)
    shown = counts * (np.abs(level - counts.argmax(axis=1)[:, None]) > BESIDE)
    few = shown.sum(axis=1) < counts.sum(axis=1) / 64  # of one colour
    shown[few] = counts[few]
    below = shown.cumsum(axis=1) / shown.sum(axis=1, keepdims=True)
    low = np.where(black > 0, (below < black[:, None]).sum(axis=1), 0)
    high = (below < 1 - white[:, None]).sum(axis=1)
    slope = 255 / np.maximum(high - low, 8)
    return _on_line(pixels, slope, -low * slope)


def _dark(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _on_line(pixels, rng.uniform(0.1, 0.22, len(pixels)), 0.0)


def _overexposed(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _on_line(pixels, rng.uniform(2, 3, len(pixels)), rng.uniform(30, 90, len(pixels)))


def _flat(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _on_line(pixels, rng.uniform(0.08, 0.16, len(pixels)), rng.uniform(60, 140, len(pixels)))


def _both_ends(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    part = rng.uniform(0.1, 0.2, len(pixels))
    return _cut(pixels, part, part)


def _highlights(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return _cut(pixels, np.zeros(len(pixels)), rng.uniform(0.15, 0.3, len(pixels)))


SPOILT = (
    Spoilt("dark", _dark),
    Spoilt("overexposed", _overexposed),
    Spoilt("low_contrast", _flat),
    Spoilt("clipped_range", _both_ends),
    Spoilt("clipped_white", _highlights),
)


class Likeness(NamedTuple):
    """How much each image looks spoilt, by fault.

    Attributes
    ----------
    score : dict of float64 [n]
        About -1 for images as the others, 1 for their spoilt copies.
    kind : dict of float64 [n]
        Largest for the fault whose copies the image resembles most among the copies of all faults.
    paper : float64 [n]
        Fraction of white pixels that three of the sides have at least: the ground that an object lies on, rather than a burnt sky.
    """

    score: dict[str, np.ndarray]
    kind: dict[str, np.ndarray]
    paper: np.ndarray


def likeness(blocks: Blocks, ids: np.ndarray, seed: int, learnt: np.ndarray, asked: np.ndarray) -> Likeness:
    """Likeness of each image to spoilt copies of the dataset's images.

    Parameters
    ----------
    blocks : callable
        See `Context.pixels`.
    ids : int64 [n]
    seed : int
    learnt : bool [n]
        Images that may be used for training. Of fewer than `kernel_ridge.LEAST` nothing is learnt, and the result is empty.
    asked : bool [n]
        Images that are scored, with those used for training; the rest is not read and scores -1.
    """
    rng = np.random.default_rng([seed, 17])
    known = drawn(learnt, LEARNT_FROM, rng)
    if not len(known):
        return Likeness({}, {}, np.zeros(len(ids)))
    rows = np.union1d(known, np.nonzero(asked)[0])
    known = np.searchsorted(rows, known)
    plain, samples, paper = _described(blocks, ids[rows], known)
    if samples is None:
        return Likeness({}, {}, np.zeros(len(ids)))

    def of_all(some: np.ndarray, rest: float = -1.0) -> np.ndarray:
        out = np.full(len(ids), rest)
        out[rows] = some
        return out

    with one_thread():
        copies = {way.fault: describe(way.copies(samples, rng)) for way in SPOILT}
        score = {name: of_all(_scores(plain, some, known)) for name, some in copies.items()}
        return Likeness(score, {name: of_all(some) for name, some in _kinds(plain, copies).items()}, of_all(paper, 0.0))


def describe(pixels: np.ndarray) -> np.ndarray:
    """Features float32 [n, features] of uint8 [n, h, w, channels]."""
    return _features(_planes(pixels))


def _features(planes: list[np.ndarray]) -> np.ndarray:
    n = len(planes[0])
    border = np.ones(planes[0].shape[1:], bool)
    border[1:-1, 1:-1] = False
    white = planes[-1 if len(planes) == 1 else 1] >= ENDS[-1]
    counts = [_histograms(plane) for plane in planes]
    out = []
    for one in counts:
        below = np.pad(one.cumsum(axis=1) / one.sum(axis=1, keepdims=True), ((0, 0), (1, 0)))
        parts = np.diff(below[:, [0, *ENDS, 256]], axis=1)
        out.append(np.log2(np.delete(parts, 3, axis=1) + LITTLE))
    below = counts[0].cumsum(axis=1) / counts[0].sum(axis=1, keepdims=True)
    levels = np.stack([(below < part).sum(axis=1) for part in QUANTILES], axis=1)
    low, high = levels[:, 0], levels[:, -1]
    mean = counts[0] @ np.arange(256.0) / counts[0].sum(axis=1)
    square = counts[0] @ np.arange(256.0) ** 2 / counts[0].sum(axis=1)
    out.append(levels / 32)
    out.append(
        np.stack(
            [
                4 * (white[:, border].mean(axis=1) - white.reshape(n, -1).mean(axis=1)),
                np.log2(high - low + 8),
                np.log2(high + 8),
                np.log2(263 - low),
                np.sqrt(np.maximum(square - mean * mean, 0)) / 16,
            ],
            axis=1,
        )
    )
    return np.concatenate(out, axis=1).astype(np.float32)


def _paper(planes: list[np.ndarray]) -> np.ndarray:
    """Fraction of white that three of the sides have at least, float64 [n]: the ground that an object lies on."""
    white = planes[-1] >= ENDS[-1]
    sides = np.stack([white[:, 0], white[:, -1], white[:, :, 0], white[:, :, -1]], axis=1).mean(axis=2)
    return np.sort(sides, axis=1)[:, 1]


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Luma, and of coloured images the largest and the smallest channel, uint8 [n, h, w] of at most `PIXELS` rows and columns."""
    step = -(-pixels.shape[1] // PIXELS)
    few = pixels[:, step // 2 :: step, step // 2 :: step]
    grey = np.rint(luma(few)).astype(np.uint8)
    if few.shape[-1] == 1:
        return [grey]
    red, green, blue = np.ascontiguousarray(
        np.moveaxis(few, -1, 0)
    )  # numpy is slow at reducing an axis of length three
    return [grey, np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)]


def _histograms(values: np.ndarray) -> np.ndarray:
    flat = values.reshape(len(values), -1)
    offset = 256 * np.arange(len(flat))[:, None]
    return np.bincount((flat + offset).ravel(), minlength=256 * len(flat)).reshape(len(flat), 256)


def _described(blocks: Blocks, ids: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Features of images by id, zeros for unreadable ones; the pixels of those `known`; and `Likeness.paper`."""
    out = samples = None
    paper = np.zeros(len(ids))
    place = {int(image): i for i, image in enumerate(known)}
    for at, pixels in pieces(blocks, ids, AT_ONCE):
        planes = _planes(pixels)
        some = _features(planes)
        if out is None or samples is None:
            out = np.zeros((len(ids), some.shape[1]), np.float32)
            samples = np.zeros((len(known), *pixels.shape[1:]), np.uint8)
        out[at], paper[at] = some, _paper(planes)
        for image, one in zip(at, pixels, strict=True):
            if image in place:
                samples[place[image]] = one
    return np.zeros((len(ids), 0), np.float32) if out is None else out, samples, paper


def _scores(plain: np.ndarray, spoilt: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Scores of all images, learnt from the images `known` and their spoilt copies."""
    near, both = _kernel(np.concatenate([plain[known], spoilt]))
    goal, within = np.repeat([-1.0, 1.0], len(known)), near(both)

    def weights(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.nonzero(np.tile(train, 2))[0]
        return rows, fitted(within[np.ix_(rows, rows)], goal[rows]).astype(np.float32)

    def scored(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        rows, weight = weights(train)
        return within[np.ix_(test, rows)] @ weight

    held, sure = out_of_fold(len(known), scored, lambda held: held < np.quantile(held, 1 - DOUBTED))
    rows, weight = weights(sure)
    out = np.concatenate([near(plain[i : i + BATCH])[:, rows] @ weight for i in range(0, len(plain), BATCH)])
    out[known] = held
    return out


def _kinds(plain: np.ndarray, copies: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of one ridge regression for all faults, learnt from some of the spoilt copies alone."""
    few = [some[: LEARNT_FROM // 2] for some in copies.values()]
    near, all_copies = _kernel(np.concatenate(few))
    goal = np.repeat(np.eye(len(few)), [len(some) for some in few], axis=0)
    weight = fitted(near(all_copies), goal).astype(np.float32)
    out = np.concatenate([near(plain[i : i + BATCH]) @ weight for i in range(0, len(plain), BATCH)])
    return dict(zip(copies, out.T, strict=True))


def _kernel(learnt: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """The Gaussian kernel of features with those `learnt`, float32 [m, k]; and the latter."""
    centre, spread = learnt.mean(axis=0), learnt.std(axis=0) + 0.01
    scaled = (learnt - centre) / spread
    few = scaled[:: max(1, len(scaled) // 200)]
    width = width_of(few)
    return lambda some: np.exp(-width * squares((some - centre) / spread, scaled)), learnt

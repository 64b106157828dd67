"""The two properties of images in memory, without a store or files, by the same engine and with the same results as an audit.

Images are first made canonical: uint8, of one size, in [0, 255], so that values are comparable with those of audits. Floats are
converted as in `sources.arrays`: within [0, 1] they are multiplied by 255 and rounded.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from dataprops.distances.allpairs import Rows, Runner, all_pairs, array_rows, subset
from dataprops.distances.plan import Resources, free_memory, plan_pass
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import Preprocess, RawImage, canonical, default_channels, is_grey, resolved, value_facts
from dataprops.imaging.ranges import IMAGE, Facts, decide, unusual
from dataprops.properties.dimension import Estimate
from dataprops.properties.estimators import ESTIMATORS, estimate_all, from_samples, neighbours_needed
from dataprops.properties.sampled import Asked, sampled_estimates
from dataprops.properties.sharpness import draw_samples, identical_pairs, left_out_words, reason_not_measured
from dataprops.sources.arrays import Items, as_array, channels_axis, is_dataset, label_text, paired, raw_image, to_raw
from dataprops.sources.labels import label_values
from dataprops.util.caller import warn_caller
from dataprops.util.tools import cores

MEMORY_FRACTION = 0.5  # of the free memory, for the canonical images
LOOK = 64  # images inspected for size and colour


class Sharpness(NamedTuple):
    """Label sharpness of a set.

    Attributes
    ----------
    value : float
        Mean over the draws of max |y_j - y_k| / ||x_j - x_k||; the maximum over all pairs if m is None. Unit 1 / grey level: distances
        are Euclidean over the D values of a canonical image in [0, top]. NaN if no two labels differ. Pairs of identical images with
        different labels, which would make it infinite, are excluded with a warning; NaN if there are no other pairs of labels.
    std : float
        Standard deviation over the draws; 0 if every draw is the whole set.
    m : int
        Images per draw.
    draws : int
        Draws of m images.
    """

    value: float
    std: float
    m: int
    draws: int


class _Images(NamedTuple):
    """Images by number: their count, a getter, and the labels if the items do not contain them."""

    n: int
    image: Any
    labels_of: Sequence | None


def label_sharpness(
    dataset: Any,
    labels: Sequence | None = None,
    *,
    m: int | None = 1000,
    draws: int = 20,
    seed: int = 0,
    kind: str = "auto",
    size: int | None = None,
    channels: int | None = None,
    scale: str = "full-range",
    top: float = 255.0,
    threads: int | None = None,
) -> Sharpness:
    """Label sharpness K_F = max |y_j - y_k| / ||x_j - x_k|| of a dataset (Konz & Mazurowski, ICLR 2024).

    Parameters
    ----------
    dataset : Dataset, array, or pair (images, labels)
        A torch Dataset of items (image, label); or images [n, height, width], with 1 or 3 channels last or second.
    labels : sequence of n, optional
        Classes or numbers, if `dataset` is an array.
    m : int or None
        Images per draw, the paper's M; None: all pairs of the set. Only images that are drawn are read.
    draws, seed : int
        Number of draws, and random seed.
    kind : str
        "auto", "classes" (different classes are 1 apart) or "numbers".
    size, channels, scale
        Of the canonical images, as in an audit. Default size: that of the images if square and equal, else 224.
    top : float
        Upper end of the range of grey levels: 255 (the default) or 1, which makes the value 255 times larger.
    threads : int, optional
        Default: the number of cores.

    Raises
    ------
    DatapropsError
        If an image or an option is unusable, or there are fewer than two images.

    >>> images = np.zeros((4, 2, 2), np.uint8)
    >>> images[1:] += np.arange(10, 40, 10, dtype=np.uint8)[:, None, None]
    >>> label_sharpness(images, ["a", "a", "b", "b"], m=None)  # the nearest two of different classes are 2 * 10 apart
    Sharpness(value=0.05, std=0.0, m=4, draws=1)
    """
    if m is not None and m < 2:
        raise DatapropsError(f"m is {m}; expected at least 2 images, or None for all")
    if draws < 1:
        raise DatapropsError(f"draws is {draws}; expected at least 1")
    images = _images(dataset, labels)
    count = images.n if m is None else min(m, images.n)
    whole = count == images.n  # every draw would be the same
    samples = [np.arange(images.n)] if whole else draw_samples(images.n, count, draws, seed)
    used = np.unique(np.concatenate(samples))
    pixels, given = _canonical(images, used, size, channels, scale)
    kind, y, _ = label_values(given, kind)
    rows, row, _, content = _distinct(pixels, y)
    spec = PassSpec(0, numeric=kind == "numbers")
    values = []
    for sample in samples:
        chosen = np.unique(row[np.searchsorted(used, sample)])  # copies of an image in the draw add no pair
        plan = plan_pass(len(chosen), rows.features, 0, Resources(threads=threads or cores()))
        state = all_pairs(subset(rows, chosen), spec, plan, Runner(threads or cores())).state
        values.append(float(np.sqrt(state.sharp.max(initial=0.0))) * 255.0 / top)
    identical = identical_pairs(content, y)
    if not any(values) and (len(np.unique(y[~np.isnan(y)])) < 2 or identical):
        values = [float("nan")] * len(values)
        warnings.warn(f"the label sharpness is NaN: {reason_not_measured(y)}", stacklevel=2)
    elif told := left_out_words(identical):
        warnings.warn(f"label sharpness: {told}", stacklevel=2)
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Sharpness(float(np.mean(values)), spread, count, len(values))


def intrinsic_dimension(
    dataset: Any,
    labels: Sequence | None = None,
    *,
    estimator: str = "mle",
    k: int = 20,
    seed: int = 0,
    size: int | None = None,
    channels: int | None = None,
    scale: str = "full-range",
    threads: int | None = None,
) -> Estimate:
    """Intrinsic dimension of the images of a dataset: the number of degrees of freedom of the data manifold.

    Parameters
    ----------
    dataset, labels, size, channels, scale, threads
        As in `label_sharpness`; labels are ignored.
    estimator : str
        A key of `estimators.ESTIMATORS`: "mle", "mle_paper", "twonn", "twonn_paper", "twonn_closed", "geomle" or a registered one.
    k : int
        Neighbours of the maximum-likelihood estimates.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Estimate
        value, se (standard error over images), n (distinct images at which it is evaluated), k, note (why value is NaN, or that it
        is from a sample).

    Raises
    ------
    DatapropsError
        If an image or an option is unusable, or the images do not fit in memory.
    """
    if estimator not in ESTIMATORS:
        raise DatapropsError(f"estimator is {estimator!r}; expected {', '.join(ESTIMATORS)}")
    if not 3 <= k <= 1000:
        raise DatapropsError(f"k is {k}; expected 3 to 1000 neighbours")
    images = _images(dataset, labels)
    pixels, _ = _canonical(images, np.arange(images.n), size, channels, scale)
    rows, _, first, _ = _distinct(pixels, np.zeros(images.n))
    row = ESTIMATORS[estimator]
    runner = Runner(threads or cores())
    if from_samples((row.group,), rows.n):
        asked = Asked(k, seed)
        some = sampled_estimates(rows, (row.group,), asked, runner, lambda pairs: nullcontext(lambda done: None))
        return some[estimator]
    spec = PassSpec(neighbours_needed((row.group,), k), sharp=False)
    plan = plan_pass(len(first), rows.features, spec.k, Resources(threads=threads or cores()))
    state = all_pairs(rows, spec, plan, runner).state
    found = estimate_all(np.sqrt(state.knn_d2), state.knn_index, rows.features, k, seed, (row.group,), full_range=255.0)
    if np.isnan(found[estimator].value):
        warnings.warn(f"the intrinsic dimension is NaN: {found[estimator].note or 'too few images'}", stacklevel=2)
    return found[estimator]


def _images(dataset: Any, labels: Sequence | None) -> _Images:
    dataset, labels = paired(dataset, labels)
    if is_dataset(dataset):
        if labels is not None:
            raise DatapropsError("labels can be given only with an array; a Dataset's items contain theirs")
        items = Items(dataset)
        found = _Images(len(items), items.item, None)
    else:
        array = as_array(dataset)
        first = channels_axis(array.shape) == 1
        if labels is not None and len(labels) != len(array):
            raise DatapropsError(f"there are {len(array)} images and {len(labels)} labels: give one for each")
        found = _Images(len(array), lambda i: raw_image(array[i], channels_first=first), labels)
    if found.n < 2:
        raise DatapropsError(f"there are {found.n} images; expected at least 2")
    return found


def _read(images: _Images, number: int) -> tuple[RawImage, str | None]:
    try:
        if isinstance(found := images.image(number), RawImage):
            return found, None if images.labels_of is None else label_text(images.labels_of[number])
        return to_raw(found[0]), label_text(found[1])
    except OSError as error:
        raise DatapropsError(
            f"image {number} cannot be used: {error.strerror or error}; remove it, or run dataprops.audit.audit, which reports"
            " such images and continues"
        ) from None


def _canonical(
    images: _Images, used: np.ndarray, size: int | None, channels: int | None, scale: str
) -> tuple[np.ndarray, list[str | None]]:
    """Canonical images uint8 [len(used), D] and labels of the images `used`."""
    look = (
        [_read(images, int(number))[0] for number in used[:: max(1, len(used) // LOOK)]]
        if not (size and channels)
        else []
    )
    if size is None:
        shapes = {raw.pixels.shape[:2] for raw in look}
        side = next(iter(shapes))
        chosen = side[0] if len(shapes) == 1 and side[0] == side[1] else 224
    else:
        chosen = size
    preprocess = Preprocess(chosen, channels or default_channels([is_grey(raw) for raw in look]), scale)
    need, free = len(used) * preprocess.features, free_memory()
    if need > MEMORY_FRACTION * free:
        raise DatapropsError(
            f"{len(used):,} images of {preprocess.features:,} values need {need >> 20:,} MiB, and {free >> 20:,} MiB are free: use a"
            " smaller size or m, or dataprops.audit.audit, which stores them on disk"
        )
    pixels = np.empty((len(used), preprocess.features), np.uint8)
    labels: list[str | None] = []
    values = _range(images, used)
    for at, number in enumerate(used):
        raw, label = _read(images, int(number))
        pixels[at] = canonical(resolved(raw, values), preprocess)[0].reshape(-1)
        labels.append(label)
    return pixels, labels


def _range(images: _Images, used: np.ndarray) -> str:
    """The common range of the set (`ranges.Range.text`); 8-bit images are not read for it."""
    if not _read(images, int(used[0]))[0].values:
        return IMAGE
    facts = [value_facts(_read(images, int(number))[0]) for number in used]
    kinds, low, high = zip(*facts, strict=True)
    text = decide(Facts(kinds, np.array(low), np.array(high)))[0].text
    if told := unusual(text):
        warn_caller(f"{told}; they were rescaled to 0 to 255: pass the images as they were before normalisation")
    return text


def _distinct(pixels: np.ndarray, y: np.ndarray) -> tuple[Rows, np.ndarray, np.ndarray, np.ndarray]:
    """Rows of distinct (pixels, label), the row of each image, the first image of each row, and the number of each image's pixels."""
    seen: dict[tuple[bytes, float | None], int] = {}
    contents: dict[bytes, int] = {}
    row, content = np.empty((2, len(pixels)), np.int64)
    for at, key in enumerate(_keys(pixels, y)):
        row[at] = seen.setdefault(key, len(seen))
        content[at] = contents.setdefault(key[0], len(contents))
    first = np.unique(row, return_index=True)[1]
    return array_rows(pixels if len(first) == len(pixels) else pixels[first], y[first]), row, first, content


def _keys(pixels: np.ndarray, y: np.ndarray) -> Iterable[tuple[bytes, float | None]]:
    import hashlib

    for image, label in zip(pixels, y.tolist(), strict=True):
        yield hashlib.blake2b(image, digest_size=16).digest(), None if label != label else label

"""Slices of the data on which the reference classifiers together err more than on the rest.

Their joint opinion (`second_opinion.joined`) errs less than one of them, so that what is hard in a slice stands out more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.findings.thumbnails import thumbnails
from dataprops.util.chance import as_many
from dataprops.util.numbers import percent, wilson_interval
from dataprops.util.threads import one_thread

LEAST = 20  # minimum images per slice
LEVEL = 0.01  # significance level after Holm's correction
WORSE = 1.5  # minimum ratio of its error to that of the rest
MOST_VALUES, NUMERIC = 50, 0.9  # column values tested as slices; with more, the fraction that must be numeric
MOST_CLUSTERS, CLUSTERED = 10, 8  # image clusters; side of the thumbnails that are clustered
COLUMNS = {"label": "class", "split": "split", "format": "file format", "mode": "colour mode"}
NUMBERS = {
    "original_mean": "brightness",
    "original_spread": "contrast",
    "original_focus": "sharpness",
    "original_noise": "noise",
    "width": "width",
    "height": "height",
}


class Slice(NamedTuple):
    """A subset: its name, its images, its error with a 95 % interval (Wilson), the error of the rest, and the corrected p-value."""

    name: str
    members: np.ndarray
    error: float
    low: float
    high: float
    rest: float
    p: float


def parts(images: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask of each slice tested."""
    for column, name in COLUMNS.items():
        values = images[column]
        for value in sorted(values.dropna().astype(str).unique())[:50]:
            yield f"{name} {value}", (values.astype(str) == value).to_numpy()
    for column, name in NUMBERS.items():
        if column not in images:
            continue
        yield from _fifths(name, images[column].to_numpy(float))


def described_parts(described: pd.DataFrame | None, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask of each value of a manifest's other columns (site, scanner, sex); for columns of many
    numbers, lowest and highest fifth."""
    if described is None:
        return
    for column in described:
        values = described[column].iloc[rows].astype(object)
        known = values.dropna()
        count = known.value_counts()
        if 1 < len(count) <= MOST_VALUES:
            for value in sorted(count.index[count >= LEAST]):
                yield f"{column} {quoted(value)}", (values == value).to_numpy(bool)
            continue
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        if len(known) and np.isfinite(numbers).sum() >= NUMERIC * len(known):
            yield from _fifths(str(column), numbers)


def _fifths(name: str, values: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    known = values[np.isfinite(values)]
    if len(np.unique(known)) < 8:
        return
    low, high = np.quantile(known, [0.2, 0.8])
    yield f"lowest fifth in {name} (up to {low:.3g})", values <= low
    yield f"highest fifth in {name} (from {high:.3g})", values >= high


def clusters(context: Context, images: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Name and mask of each cluster of similar images (k-means of thumbnails), named by its central image."""
    from sklearn.cluster import KMeans

    many = min(MOST_CLUSTERS, len(images) // (2 * LEAST))
    if many < 2:
        return
    small = thumbnails(context.pixels, images["image"].to_numpy(np.int64), CLUSTERED).reshape(len(images), -1)
    if not np.ptp(small, axis=0).any():  # no pixels available
        return
    with one_thread():
        clustering = KMeans(many, n_init=1, random_state=context.seed)  # pyright: ignore[reportArgumentType]
        found = clustering.fit(small.astype(np.float64))
    away = ((small - found.cluster_centers_[found.labels_]) ** 2).sum(1)
    path = images["path"].to_numpy(object)
    for number in range(many):
        mask = found.labels_ == number
        if mask.any():
            middle = path[np.nonzero(mask)[0][np.argmin(away[mask])]]
            yield f"pictures that look like {quoted(middle)}", mask


def holm(p: Sequence[float]) -> np.ndarray:
    """P-values corrected by Holm's step-down method.

    Same result as statsmodels' ``multipletests``, which runs a full garbage collection on every call.

    >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(order), 0, -1))
    out = np.empty(len(order))
    out[order] = np.minimum(stepped, 1.0)
    return out


def hard_slices(context: Context) -> list[Slice]:
    """Significantly worse slices, worst first: one-sided hypergeometric tests with Holm's correction over all slices tested.

    Images of one patient are hard together, so counts are divided by the design effect of each slice (Rao and Scott 1992), in tests
    and intervals.
    """
    said = None if context.opinions is None else context.opinions.asked
    if said is None or said.probe is None:
        return []
    wrong = said.joint.argmax(1) != said.y
    if not _learnt(wrong, said.y):
        return []  # a classifier at chance predicts the largest class everywhere, and "errs" on the others
    images = context.images.iloc[said.image]
    n, total = len(wrong), int(wrong.sum())
    every = (*parts(images), *described_parts(context.described, said.image), *clusters(context, images))
    looked = [(name, mask) for name, mask in every if LEAST <= mask.sum() <= n - LEAST]
    if not looked or not total:
        return []
    alike = shared_errors(wrong, _units(context, said.image))
    effects = [alike(mask) for _, mask in looked]
    corrected = holm([_chance(wrong, mask, effect) for (_, mask), effect in zip(looked, effects, strict=True)])
    out = []
    for (name, mask), effect, value in zip(looked, effects, corrected, strict=True):
        errors, size = int(wrong[mask].sum()), int(mask.sum())
        rest = (total - errors) / (n - size)
        if value < LEVEL and errors / size >= WORSE * rest:
            low, high = wilson_interval(errors / effect, size / effect)
            worst = np.nonzero(mask & wrong)[0]
            out.append(Slice(name, said.image[worst], errors / size, low, high, rest, float(value)))
    return sorted(out, key=lambda s: s.rest - s.error)


def _units(context: Context, image: np.ndarray) -> np.ndarray:
    """Leak group (patient, copies) of each of these images; without the probe's table, each image is its own."""
    if context.probe is None or "leak_group" not in context.probe:
        return image
    return context.probe.set_index("image")["leak_group"].reindex(image).to_numpy()


def shared_errors(wrong: np.ndarray, unit: np.ndarray) -> Callable[[np.ndarray], float]:
    """Design effect of a slice, as a function of its mask bool [n]: the variance of its number of errors if units are drawn, relative
    to images drawn one by one; at least 1.

    Parameters
    ----------
    wrong : bool [n]
    unit : [n]
        Patient of each image. The errors of any two images of one have the same correlation, estimated within the slice and within
        the rest.
    """
    unit = np.unique(unit, return_inverse=True)[1]

    def pairs(a: np.ndarray) -> float:
        """Sum of a_i a_j over ordered pairs of images of one unit."""
        return float((np.bincount(unit, a) ** 2).sum() - (a**2).sum())

    many = pairs(np.ones(len(unit)))

    def effect(mask: np.ndarray) -> float:
        if not many:
            return 1.0
        centred = wrong - np.where(mask, wrong[mask].mean(), wrong[~mask].mean())
        correlation = pairs(centred) / many / max(float((centred**2).mean()), 1e-12)
        a = mask - mask.mean()
        return max(1.0, 1 + correlation * pairs(a) / float((a**2).sum()))

    return effect


def _chance(wrong: np.ndarray, mask: np.ndarray, effect: float) -> float:
    """P-value of a slice whose counts are divided by its design effect."""
    counts = (wrong[mask].sum(), len(wrong), wrong.sum(), mask.sum())
    return as_many(*(round(float(count) / effect) for count in counts))


def _learnt(wrong: np.ndarray, y: np.ndarray) -> bool:
    """Whether the classifier is significantly better than predicting the largest class (one-sided binomial test)."""
    from scipy.special import bdtr

    guessed = 1 - np.bincount(y).max() / len(y)
    return float(bdtr(int(wrong.sum()), len(y), guessed)) < LEVEL


def _found(context: Context) -> Sequence[Slice]:
    """Slices from the context if already computed: clustering reads all pixels."""
    return hard_slices(context) if context.slices is None else context.slices


def find(context: Context) -> Iterator[Row]:
    """One row per slice, with misclassified images; its value is its error."""
    for s in _found(context):
        errs = f"{percent(s.error)} there (95 % interval {percent(s.low)} to {percent(s.high)}), on {percent(s.rest)} elsewhere"
        p = "p < 0.001" if s.p < 0.001 else f"p = {s.p:.1g}"
        yield (
            s.members[:20],
            s.error,
            f"Hard: {s.name}. The reference classifiers together err on {errs} ({p} after correction).",
        )


def measures(context: Context) -> dict[str, float]:
    """hard_slices: number of slices."""
    if context.opinions is None or context.opinions.asked is None:
        return {}
    return {"hard_slices": float(len(_found(context)))}


FINDING = Finding(
    name="slices",
    severity="info",
    title="Hard parts of the data",
    explanation=(
        "On these parts the reference classifiers err significantly more than on the rest (corrected for all slices tested). Report"
        " their results separately; they may need more images or better labels."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="hard_slices",
            measure="hard_slices",
            max=0,
            severity="info",
            title="no part of the data is clearly harder",
            sentence="{value:part of the data is|parts of the data are} clearly harder to classify than the rest.",
            reason="p below 0.01 after correction for all slices, and one and a half times the error of the rest",
        ),
    ),
    shown="groups",
)

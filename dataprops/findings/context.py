"""The input of a finding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.check import Check

if TYPE_CHECKING:
    from dataprops.findings.nearcopies import NearCopies
    from dataprops.findings.pixels_tell import Told
    from dataprops.findings.quality import Fault
    from dataprops.findings.second_opinion import Opinions
    from dataprops.findings.since import Since
    from dataprops.findings.slices import Slice


def _no_pixels(ids: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    return iter(())


class Context(NamedTuple):
    """An audited dataset, as passed to findings.

    Attributes
    ----------
    images : DataFrame
        The run's images with their local values (the result table `images`); row i is image i.
    near : DataFrame
        Near-copies among distinct images: a, b (ids), distance; and rms, detail, what, series if they were searched for (see
        `nearcopies`).
    sharpest : DataFrame
        The sharpest pairs, sharpest first: a, b, distance, sharpness.
    features : int
        D, the number of values of a canonical image.
    kind : str
        Kind of labels: "classes", "numbers" or "none".
    near_count : int or None
        Total number of near-identical pairs, if `near` is truncated.
    empty_classes : tuple of str
        Classes without images.
    left_out : tuple of (str, str)
        Files of the source that were not read as images, each with the reason.
    spellings : tuple of (str, dict)
        Classes with several spellings: the spelling kept, and the number of images with each.
    unused_columns : (sequence of str, int)
        Unused columns of the manifest, and its number of columns.
    decisions : sequence of mapping
        Guesses made while reading the source: what, value, why, option.
    described : DataFrame or None
        Other columns of the manifest for each image, as text (None if missing).
    shortcuts : DataFrame or None
        Result of `shortcut_scores`; None: not computed.
    neighbours : DataFrame or None
        Nearest distinct images of each image (the result table `neighbours`).
    probe : DataFrame or None
        Predictions of the reference classifier for each image (the result table `probe`); None: not trained.
    feature_pairs : DataFrame or None
        Pairs in the space of user-supplied features: kind (near_duplicate, sharpest), a, b (ids), distance; None: no features.
    since : Since or None
        Changes since the previous audit; None: no previous audit.
    copies : NearCopies or None
        How `near` was found; None if it was passed in.
    faults : sequence of Fault or None
        Image-quality faults; None: not searched for.
    told : sequence of Told or None
        Pixel cues that predict the class; None: not searched for.
    opinions : Opinions or None
        Witnesses' class probabilities for each label (`second_opinion`); None: not computed.
    slices : sequence of Slice or None
        Hard slices of the data; None: computed on each request.
    checks : tuple of Check
        Active checks, with the user's thresholds.
    pixels : callable
        pixels(ids) yields (ids of a block, their canonical images uint8 [b, height, width, channels]), without unreadable images.
        Blocks are small, so that iterating holds one at a time in memory.
    seed : int
        Seed of every random draw.
    limit : int
        Maximum rows listed per finding.
    """

    images: pd.DataFrame
    near: pd.DataFrame
    sharpest: pd.DataFrame
    features: int
    kind: str = "classes"
    near_count: int | None = None
    empty_classes: tuple[str, ...] = ()
    left_out: Sequence[tuple[str, str]] = ()
    spellings: Sequence[tuple[str, Mapping[str, int]]] = ()
    unused_columns: tuple[Sequence[str], int] = ((), 0)
    decisions: Sequence[Mapping[str, str]] = ()
    shortcuts: pd.DataFrame | None = None
    neighbours: pd.DataFrame | None = None
    probe: pd.DataFrame | None = None
    feature_pairs: pd.DataFrame | None = None
    since: Since | None = None
    described: pd.DataFrame | None = None
    copies: NearCopies | None = None
    faults: Sequence[Fault] | None = None
    told: Sequence[Told] | None = None
    opinions: Opinions | None = None
    slices: Sequence[Slice] | None = None
    checks: tuple[Check, ...] = ()
    pixels: Callable[[Sequence[int]], Iterator[tuple[np.ndarray, np.ndarray]]] = _no_pixels
    seed: int = 0
    limit: int = 100_000

    def fails(self, value: float, *checks: str) -> bool:
        """Whether a value fails any of these checks under the active thresholds; disabled checks never fail."""
        return any(check.fails(value) for check in self.checks if check.name in checks)

"""Everything that a finding may look at."""

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
    """An audited set, as findings see it.

    Attributes
    ----------
    images : DataFrame
        The run's images with their local values (the result table `images`); row i is image i.
    near : DataFrame
        Near-copies among distinct images: a, b (ids), distance; and rms, detail, what, series where they were looked for (see
        `nearcopies`).
    sharpest : DataFrame
        The sharpest pairs, the sharpest first: a, b, distance, sharpness.
    features : int
        D, values of a canonical image.
    kind : str
        Of the labels: "classes", "numbers" or "none".
    near_count : int or None
        Near-identical pairs in all, where not all are listed in `near`.
    empty_classes : tuple of str
        Classes that are there by name only.
    left_out : tuple of (str, str)
        Files of the source that are no images of the set, each with the reason.
    spellings : tuple of (str, dict)
        Classes with several spellings: the one that is kept, and how many images have each.
    unused_columns : (sequence of str, int)
        Columns of the manifest that took no part, and how many columns it has.
    decisions : sequence of mapping
        What was guessed in reading the source: what, value, why, option.
    described : DataFrame or None
        What else a manifest says of each image, column by column, as texts (None where it says nothing).
    shortcuts : DataFrame or None
        Of `shortcut_scores`; None: not computed.
    neighbours : DataFrame or None
        The nearest distinct images of each (the result table `neighbours`).
    probe : DataFrame or None
        What the reference classifier makes of each image (the result table `probe`); None: there is none.
    feature_pairs : DataFrame or None
        Pairs in the space of the user's features: kind (near_duplicate, sharpest), a, b (ids), distance; None: there is no such space.
    since : Since or None
        What changed since the previous audit; None: there is none.
    copies : NearCopies or None
        How `near` was found; None where it was given.
    faults : sequence of Fault or None
        Bad pictures; None: not looked for.
    told : sequence of Told or None
        What of the pixels tells the class; None: not looked for.
    opinions : Opinions or None
        What two witnesses say of each label; None: not asked.
    slices : sequence of Slice or None
        Hard parts of the data; None: looked for each time that they are asked for.
    checks : tuple of Check
        The checks in force, with the user's thresholds.
    pixels : callable
        pixels(ids) yields (ids of a block, their canonical images uint8 [b, height, width, channels]); unreadable images are left
        out. Blocks are small: whoever goes through them holds one at a time.
    seed : int
        For whatever draws.
    limit : int
        Rows listed of one finding.
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
        """Whether a value breaks any of these checks, by the thresholds in force; one that is disabled breaks none."""
        return any(check.fails(value) for check in self.checks if check.name in checks)

"""Options of the findings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FindOptions:
    """What counts as a finding.

    Attributes
    ----------
    features : int
        D, values of a canonical image.
    kind : str
        "classes", "numbers" or "none".
    outlier_fence : float
        An outlier's log distance exceeds the third quartile by more than this many interquartile ranges.
    class_ratio : float
        Largest to smallest class beyond which classes are unequal.
    small_class : int
        A class with fewer images is very small.
    shortcut_score : float
        Score of a file property from which it is a shortcut.
    empty_classes : tuple of str
        Classes that are there by name only.
    limit : int
        Rows listed of one kind.
    seed : int
        Of the cross-validation's folds.
    """

    features: int
    kind: str = "classes"
    outlier_fence: float = 3.0
    class_ratio: float = 3.0
    small_class: int = 10
    shortcut_score: float = 0.33
    empty_classes: tuple[str, ...] = ()
    limit: int = 100_000
    seed: int = 0

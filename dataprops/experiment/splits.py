"""Training and test images: balanced over the classes, disjoint, and - by group - with no patient on both sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.probe.folds import unite


class Impossible(DatapropsError):
    """The set is too small for a sample; the message has the numbers."""


class Sample(NamedTuple):
    """Positions in the table of images: train int64 [N], test int64 [n_test], randomly shuffled."""

    train: np.ndarray
    test: np.ndarray


def leak_groups(group: list[str | None], pixels: list[str]) -> np.ndarray:
    """Leak group of each image, shared by images of one group and by identical images.

    Parameters
    ----------
    group : list of n
        Patient; None or NaN: unknown, the image is its own group.
    pixels : list of n
        Content of the canonical image.

    >>> leak_groups(["p", "p", None, None], ["a", "b", "b", "c"])
    array([0, 0, 0, 1])
    """
    patient, _ = pd.factorize(np.array(group, object))  # none: -1
    _, first, content = np.unique(pixels, return_index=True, return_inverse=True)
    return unite(len(pixels), patient, np.stack([np.arange(len(pixels)), first[content]], axis=1))


def quotas(n: int, classes: int) -> list[int]:
    """Divide n images evenly over the classes; the first classes get the remainder.

    >>> quotas(7, 3)
    [3, 2, 2]
    """
    return [n // classes + (c < n % classes) for c in range(classes)]


def draw(y: np.ndarray, leak_group: np.ndarray, n_train: int, n_test: int, seed: int) -> Sample:
    """A balanced sample. The test images of a seed do not depend on N, and training sets of increasing N are nested.

    Parameters
    ----------
    y : int64 [n]
        Classes 0..c-1.
    leak_group : int64 [n]
        Never split between training and test; see `leak_groups`.

    Raises
    ------
    Impossible
        If the set is too small.
    """
    classes = int(y.max(initial=0)) + 1
    rng = np.random.default_rng([seed, n_test])
    order = rng.permutation(int(leak_group.max(initial=-1)) + 1)
    members = np.split(np.argsort(leak_group, kind="stable"), np.cumsum(np.bincount(leak_group))[:-1])
    need = np.array(quotas(n_test, classes))
    test: list[int] = []
    rest: list[np.ndarray] = []
    for number in order:  # whole leak groups first
        inside = rng.permutation(members[number])
        count = np.bincount(y[inside], minlength=classes)
        if need.any() and (count <= need).all():
            test.extend(inside)
            need -= count
        else:
            rest.append(inside)
    left: list[np.ndarray] = []
    for inside in rest:  # then parts of leak groups, whose other images are dropped
        if not need[y[inside]].any():
            left.append(inside)
            continue
        for c in range(classes):
            part = inside[y[inside] == c][: need[c]]
            test.extend(part)
            need[c] -= len(part)
    if need.any():
        short = int(np.argmax(need))
        wanted = quotas(n_test, classes)[short]
        raise Impossible(
            f"impossible: {n_test} test images need {wanted} of class {short}, and there are {wanted - need[short]}"
        )
    pool = np.concatenate([np.empty(0, np.int64), *left])
    train: list[np.ndarray] = []
    for c, wanted in enumerate(quotas(n_train, classes)):
        of = pool[y[pool] == c]
        if len(of) < wanted:
            raise Impossible(
                f"impossible: N = {n_train} needs {wanted} training images of class {c}, and {len(of)} remain"
                f" beside {n_test} test images"
            )
        train.append(of[:wanted])
    chosen = np.concatenate(train)
    return Sample(np.random.default_rng([seed, n_train, 1]).permutation(chosen), rng.permutation(np.array(test)))


def held_back(y: np.ndarray, leak_group: np.ndarray, sample: Sample, most: int, seed: int) -> np.ndarray:
    """Positions of up to `most` validation images, int64 [h]: from leak groups outside the sample, balanced as far as possible.

    Used to fit what needs images that are neither training nor test images, such as a temperature.
    """
    used = np.unique(leak_group[np.concatenate([sample.train, sample.test])])
    free = np.nonzero(~np.isin(leak_group, used))[0]
    free = np.random.default_rng([seed, 19]).permutation(free)
    classes = int(y.max(initial=0)) + 1
    parts = [free[y[free] == c][:wanted] for c, wanted in enumerate(quotas(most, classes))]
    return np.sort(np.concatenate(parts)).astype(np.int64)

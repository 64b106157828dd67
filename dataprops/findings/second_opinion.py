"""What two witnesses that have not seen a label say of it: the reference classifier, and the nearest other images.

- The probe's held-out probabilities (`probe.held_out`: grouped folds, so that a patient does not vouch for himself).
- The labels of the nearest distinct images of other groups, exact and already known: (votes for a class + its share) / (voters + 1).

The joint probability of class c is proportional to prior(c) p_probe(c)^a p_near(c)^b. The two exponents, and one offset for each
class, are those under which the given labels are most likely: few numbers, so that single wrong labels do not shape them, and the
result is calibrated on the set itself. The score of a label is 1 - its joint probability.

How many labels are wrong is read where the witnesses are surest: of the `SUREST` fraction of images, as many labels as contradict them
are wrong (they err there least). That share, with Wilson's interval, is taken for the whole set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.rows import or_none
from dataprops.findings.thumbnails import Blocks
from dataprops.probe.measure import LEAST, MOST, held_out, usable_classes

SIDE = 32  # pixels of the images that the probe sees
SUREST = 0.3
LEAST_CLASS = 5
NEAR = 15  # voters


class Opinions(NamedTuple):
    """What the witnesses say of n labelled images.

    Attributes
    ----------
    image : int64 [n]
    classes : list of str
    y : int64 [n]
        The given class, as a place in `classes`.
    joint, near : float64 [n, classes]
        Probabilities; `near` of the nearest images alone.
    probe : float64 [n, classes] or None
        Of the reference classifier; None for sets of more than `probe.measure.MOST` images.
    """

    image: np.ndarray
    classes: list[str]
    y: np.ndarray
    joint: np.ndarray
    near: np.ndarray
    probe: np.ndarray | None

    @property
    def score(self) -> np.ndarray:
        """How suspect each label is, 0 to 1."""
        return 1 - self.joint[np.arange(len(self.y)), self.y]

    @property
    def likelier(self) -> np.ndarray:
        """The most probable class other than the given one."""
        other = self.joint.copy()
        other[np.arange(len(self.y)), self.y] = -1
        return other.argmax(1)


def near_votes(
    images: pd.DataFrame, neighbours: pd.DataFrame, place: np.ndarray, y: np.ndarray, classes: int
) -> np.ndarray:
    """Probabilities by the labels of the nearest images, float64 [n, classes]; copies and images of one group have no vote."""
    group = or_none(images["group"])
    one, two = neighbours["image"].to_numpy(np.int64), neighbours["neighbour"].to_numpy(np.int64)
    same = np.array([a is not None and a == b for a, b in zip(group[one], group[two], strict=True)], bool)
    votes = (neighbours["distance"].to_numpy(float) > 0) & ~same & (place[one] >= 0) & (place[two] >= 0)
    one, two = place[one[votes]], place[two[votes]]
    # the first NEAR voters of each image; the table is ordered by image and rank
    starts = np.r_[True, one[1:] != one[:-1]] if len(one) else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(one)), 0))
    kept = np.arange(len(one)) - first < NEAR
    count = np.zeros((len(y), classes))
    np.add.at(count, (one[kept], y[two[kept]]), 1.0)
    share = np.bincount(y, minlength=classes) / len(y)
    return (count + share) / (count.sum(1, keepdims=True) + 1)


def joined(near: np.ndarray, probe: np.ndarray | None, y: np.ndarray) -> np.ndarray:
    """The joint probabilities, float64 [n, classes]."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    witnesses = [np.log(np.clip(p, 1e-4, 1)) for p in (near, probe) if p is not None]
    n, classes = near.shape
    at = np.arange(n)

    def parts(x: np.ndarray) -> np.ndarray:
        z = np.broadcast_to(x[len(witnesses) :], (n, classes)).copy()
        for weight, witness in zip(x, witnesses, strict=False):
            z += weight * witness
        return z - logsumexp(z, axis=1, keepdims=True)

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        log_p = parts(x)
        rest = np.exp(log_p)
        rest[at, y] -= 1
        slopes = [float((rest * witness).sum()) / n for witness in witnesses]
        offsets = rest.sum(0) / n + 1e-3 * x[len(witnesses) :]
        value = -log_p[at, y].mean() + 5e-4 * float((x[len(witnesses) :] ** 2).sum())
        return value, np.r_[slopes, offsets]

    start = np.r_[np.ones(len(witnesses)) / len(witnesses), np.zeros(classes)]
    bounds = [(0.0, 3.0)] * len(witnesses) + [(-5.0, 5.0)] * classes
    return np.exp(parts(minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x))


def opinions(
    images: pd.DataFrame, neighbours: pd.DataFrame, blocks: Blocks, *, ask_probe: bool = True, seed: int = 0
) -> Opinions | None:
    """Ask both witnesses; None where there are too few images or classes.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables, of a set with classes.
    blocks : callable
        See `Context.pixels`.
    ask_probe : bool
        False: the nearest images alone.
    """
    used = images[images["pixels"].notna() & images["y"].notna()]
    group = or_none(used["group"])
    unit = np.array([str(name) if name is not None else f"\0{i}" for i, name in enumerate(group)], object)
    # copies stay together, too
    unit, _ = pd.factorize(
        np.where(used["duplicate_of"].duplicated(keep=False), used["duplicate_of"].astype(str), unit)
    )
    _, y = np.unique(used["y"].to_numpy(float), return_inverse=True)
    usable = [c for c in usable_classes(y, unit) if (y == c).sum() >= LEAST_CLASS]
    kept = np.isin(y, usable)
    if len(usable) < 2 or kept.sum() < LEAST:
        return None
    used, unit = used[kept], unit[kept]
    values, y = np.unique(used["y"].to_numpy(float), return_inverse=True)
    names = used.drop_duplicates("y").set_index("y")["label"]
    ids = used["image"].to_numpy(np.int64)
    place = np.full(len(images), -1, np.int64)
    place[ids] = np.arange(len(ids))
    near = near_votes(images, neighbours, place, y, len(values))
    probe = None
    if ask_probe and len(ids) <= MOST:
        pixels = _pixels(blocks, ids)
        if pixels is not None:
            probe = held_out(pixels, y, unit, seed).probabilities
    return Opinions(ids, [str(names[value]) for value in values], y, joined(near, probe, y), near, probe)


def _pixels(blocks: Blocks, ids: np.ndarray) -> np.ndarray | None:
    """Canonical images reduced by a whole factor, uint8 [n, s, s, channels]."""
    out = None
    place = {int(image): i for i, image in enumerate(ids)}
    for part, pixels in blocks(ids.tolist()):
        step = max(1, pixels.shape[1] // SIDE)
        side = pixels.shape[1] // step
        whole = np.asarray(pixels)[:, : side * step, : side * step].astype(np.float32)
        small = whole.reshape(len(part), side, step, side, step, -1).mean((2, 4))
        if out is None:
            out = np.zeros((len(ids), *small.shape[1:]), np.uint8)
        out[[place[int(image)] for image in part]] = np.rint(small)
    return out


class WrongLabels(NamedTuple):
    """Estimated number of wrong labels, with a 95 % interval."""

    value: float
    low: float
    high: float


def wrong_labels(said: Opinions) -> WrongLabels:
    """How many labels are wrong, from the images of which the witnesses are surest."""
    from statsmodels.stats.proportion import proportion_confint

    n = len(said.y)
    top = said.joint.max(1)
    surest = np.argsort(-top, kind="stable")[: max(1, round(SUREST * n))]
    against = int((said.joint[surest].argmax(1) != said.y[surest]).sum())
    low, high = proportion_confint(against, len(surest), method="wilson")
    return WrongLabels(n * against / len(surest), n * float(low), n * float(high))

"""What witnesses that have not seen a label say of it: the reference classifier, and the nearest other images.

- The probe's held-out probabilities (`probe.held_out`: grouped folds, so that a patient does not vouch for himself).
- The labels of the nearest distinct images of other groups, exact and already known: (votes for a class + its share) / (voters + 1).
- The same of the images whose features (the probe's, before it has seen a label) have the largest cosine with the image's own: pixels
  alone call two pictures near that are equally dark.

The joint probability of class c is proportional to prior(c) times the product of p_w(c)^a_w. The exponents, and one offset for each
class, are those under which the given labels are most likely: few numbers, so that single wrong labels do not shape them, and the
result is calibrated on the set itself. The score of a label is 1 - its joint probability. Where the witnesses tell nothing of the
labels beyond the sizes of the classes (likelihood-ratio test), the joint probabilities are nearly these sizes, and nothing is suspect.

How many labels are wrong: a witness errs less the surer it is, a wrong label contradicts it however sure it is. So the chance that
a label contradicts the witnesses is floor + (1 - floor) / (1 + exp(b + a margin)), a >= 0, with the margin between their first and
second class; the floor is the share of wrong labels. Its 95 % interval is that of the profile likelihood, and begins at 0 wherever the
witnesses' own errors explain what is seen (also where the labels cannot be learnt: then a = 0, and the floor is not told from b).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.rows import or_none
from dataprops.probe.measure import LEAST, MOST
from dataprops.util.files import write_arrays

LEAST_CLASS = 5
NEAR = 15  # voters
LEARNT = 15.0  # nats by which they beat the sizes of the classes, at least; random labels came to 10 once in 60 sets
HINT = 0.01  # weight of witnesses that tell nothing clear: they order the labels, and call none suspect
HIGHEST = 0.5  # share of wrong labels that is considered
# of the labels contradict the witnesses: these err too often, also where they are sure, to count anything by
TOO_MANY = 1 / 3


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
    probe, alike : float64 [n, classes] or None
        Of the reference classifier, and of the nearest by its features; None for sets of more than `probe.measure.MOST` images.
    """

    image: np.ndarray
    classes: list[str]
    y: np.ndarray
    joint: np.ndarray
    near: np.ndarray
    probe: np.ndarray | None = None
    alike: np.ndarray | None = None

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


class Witness(NamedTuple):
    """What the reference classifier says of n images.

    Attributes
    ----------
    image : int64 [n]
    classes : list of str
        In order.
    probabilities : float64 [n, classes]
        Held out.
    alike : int64 [n, NEAR]
        The images of other groups that are most alike in its features; -1: no more.
    """

    image: np.ndarray
    classes: list[str]
    probabilities: np.ndarray
    alike: np.ndarray

    def save(self, path: Path) -> None:
        """Write it whole."""
        write_arrays(path, **self._replace(classes=np.array(self.classes))._asdict())

    @classmethod
    def load(cls, path: Path) -> Witness | None:
        """What was written, or None."""
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as saved:
            return cls(saved["image"], saved["classes"].tolist(), saved["probabilities"], saved["alike"])


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


def most_alike(features: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Places of the `NEAR` images of other units whose features [n, p] have the largest cosines, int64 [n, NEAR]; -1: no more."""
    n = len(unit)
    wide = features.astype(np.float64)
    wide /= np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    out = np.full((n, NEAR), -1, np.int64)
    for start in range(0, n, 1024):
        cosine = wide[start : start + 1024] @ wide.T
        cosine[unit[start : start + 1024, None] == unit[None]] = -np.inf
        order = np.argsort(-cosine, axis=1, kind="stable")[:, :NEAR]
        known = np.isfinite(np.take_along_axis(cosine, order, 1))
        out[start : start + 1024, : order.shape[1]] = np.where(known, order, -1)
    return out


def alike_votes(voters: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities by the labels of these places [n, NEAR] (-1: none), float64 [n, classes]."""
    share = np.bincount(y, minlength=classes) / len(y)
    labels = np.where(voters >= 0, y[voters], -1)
    count = np.stack([(labels == c).sum(1) for c in range(classes)], 1)
    return (count + share) / (count.sum(1, keepdims=True) + 1)


def joined(witnesses: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """The joint probabilities, float64 [n, classes], of what witnesses say, each [n, classes]."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    witnesses = [np.log(np.clip(p, 1e-4, 1)) for p in witnesses]
    n, classes = witnesses[0].shape
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
    log_p = parts(minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x)
    share = np.bincount(y, minlength=classes) / n
    if (log_p[at, y] - np.log(share[y])).sum() < LEARNT:
        return (1 - HINT) * share + HINT * np.exp(log_p)
    return np.exp(log_p)


def opinions(images: pd.DataFrame, neighbours: pd.DataFrame, witness: Witness | None) -> Opinions | None:
    """Ask all witnesses; None where there are too few images or classes.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables, of a set with classes.
    witness : Witness or None
        What the reference classifier says; None, or of fewer images than the set has: the nearest images alone are asked.
    """
    used = images[images["pixels"].notna() & images["y"].notna()]
    if witness is not None and len(used) <= MOST:
        used = used.set_index("image", drop=False).loc[witness.image]
    else:
        witness = None
        sizes = used["y"].value_counts()
        used = used[used["y"].isin(sizes.index[sizes >= LEAST_CLASS])]
    names, y = np.unique(used["label"].astype(str).to_numpy(object), return_inverse=True)
    if len(names) < 2 or len(used) < LEAST:
        return None
    ids = used["image"].to_numpy(np.int64)
    place = np.full(len(images), -1, np.int64)
    place[ids] = np.arange(len(ids))
    near = near_votes(images, neighbours, place, y, len(names))
    probe = alike = None
    if witness is not None:
        probe = witness.probabilities
        alike = alike_votes(np.where(witness.alike >= 0, place[witness.alike], -1), y, len(names))
    joint = joined([p for p in (near, probe, alike) if p is not None], y)
    return Opinions(ids, [str(name) for name in names], y, joint, near, probe, alike)


class WrongLabels(NamedTuple):
    """Estimated number of wrong labels, with a 95 % interval; and how many labels contradict the witnesses in all."""

    value: float
    low: float
    high: float
    contradicted: float


def wrong_labels(said: Opinions) -> WrongLabels:
    """How many labels contradict the witnesses however confident these are: the floor of the module's docstring, times n."""
    from scipy.optimize import brentq, minimize_scalar
    from scipy.special import gammaincinv

    n = len(said.y)
    first, second = np.sort(said.joint, axis=1)[:, [-1, -2]].T
    margin = np.log(np.maximum(first, 1e-12) / np.maximum(second, 1e-12))
    if margin.std() < 2 * HINT:  # they say the same of every image
        return WrongLabels(0.0, 0.0, n * HIGHEST, 0.0)
    margin = margin / margin.std()
    against = (said.joint.argmax(1) != said.y).astype(float)
    if against.mean() > TOO_MANY:
        return WrongLabels(0.0, 0.0, n * HIGHEST, float(against.sum()))

    def profile(floor: float) -> float:
        return _loss_given_floor(margin, against, floor)

    floors = np.r_[0.0, np.geomspace(min(1 / (4 * n), 1e-3), HIGHEST, 24)]
    losses = np.array([profile(floor) for floor in floors])
    best = int(losses.argmin())
    around = floors[max(best - 1, 0)], floors[min(best + 1, len(floors) - 1)]
    value = float(minimize_scalar(profile, bounds=around, method="bounded", options={"xatol": 1e-4}).x)
    value = value if profile(value) < losses[best] else float(floors[best])
    # 95 % of chi-square with one degree of freedom, halved; scipy.stats has it by name, and takes a second to import
    limit = min(profile(value), losses[best]) + float(gammaincinv(0.5, 0.95))
    low = 0.0 if losses[0] <= limit else float(brentq(lambda f: profile(f) - limit, 0.0, value, xtol=1e-5))
    high = HIGHEST if losses[-1] <= limit else float(brentq(lambda f: profile(f) - limit, value, HIGHEST, xtol=1e-5))
    return WrongLabels(n * value, n * low, n * high, float(against.sum()))


def _loss_given_floor(margin: np.ndarray, against: np.ndarray, floor: float) -> float:
    """The least negative log-likelihood of the contradictions, over a and b, under a given share of wrong labels."""
    from scipy.optimize import minimize
    from scipy.special import expit

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        own = expit(-(x[0] + x[1] * margin))
        p = np.clip(floor + (1 - floor) * own, 1e-12, 1 - 1e-12)
        slope = (against / p - (1 - against) / (1 - p)) * (1 - floor) * own * (1 - own)
        value = -(against * np.log(p) + (1 - against) * np.log(1 - p)).sum()
        return float(value), np.array([slope.sum(), (slope * margin).sum()])

    bounds = [(-10.0, 10.0), (0.0, 10.0)]
    starts = ([0.0, 1.0], [-1.0, 3.0], [1.0, 0.2])
    return min(float(minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").fun) for start in starts)

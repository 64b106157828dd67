"""Label errors from witnesses that have not seen the label: the reference classifier, and the nearest other images.

Witnesses, each giving class probabilities:

- The probe's held-out probabilities (`probe.held_out`; folds are grouped, so that no patient is in both training and test).
- The labels of the nearest distinct images of other groups, by exact distance: (votes for a class + its frequency) / (voters + 1).
- The same for the images with the largest cosine of the probe's features, computed without labels: pixel distances alone consider
  any two equally dark images near.
- A second, nonlinear classifier of the same features and folds (`probe.measure.held_out_curved`).
- For datasets of at most `probe.ridge.MANY` images, such classifiers of edges, of tones and of textures (`probe.descriptors`).

For small datasets, all classifiers' probabilities are averaged over several fold assignments (`probe.measure.held_out_averaged`).

The joint probability of class c is proportional to prior(c) times the product of p_w(c)^a_w. The exponents and one offset per class
maximise the likelihood of the given labels: so few parameters that single wrong labels hardly affect them, and the result is
calibrated on the dataset itself. If the witnesses do not predict the labels better than the class frequencies (likelihood-ratio
test), the given labels are trusted almost fully, and nothing is suspect.

The score of a given label g is the probability that it is wrong if class c is recorded as g with probability T_cg: the sum over
c != g of joint_c T_cg, divided by the sum over all c. T is estimated from the joint probabilities in one step from 2 % noise, then
shrunk by 70 % towards uniform errors: frequently confused classes get more weight, as do their suspects.

Number of wrong labels: a fraction e of the labels is modelled as drawn uniformly at random, so that the given label has probability
(1 - e) joint + e / classes; all parameters are fitted jointly. Witnesses that err on hard images are explained by exponents; labels
that contradict confident witnesses, in any class, only by e. The 95 % interval is from the profile likelihood; it starts at 0
whenever the witnesses' own errors explain the data (also if the labels cannot be learnt). Labels exchanged between two similar
classes look like these errors and are hardly counted: the interval's end is at least the number of labels of two classes that the
witnesses would exchange (`exchanged`). If the witnesses hardly tell the classes (`EXPLAINED`), the interval starts at 0.

If nearly all images are classified with equal confidence, this fails: each label could be wrong with the same small probability. A
second test then uses the classifiers' margins, log p(given) - log p(best other): hard images form the tail of the margins, wrong
labels a separate mode. Its location is known from the margins of deliberately exchanged labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.rows import or_none
from dataprops.probe.calibrate import log_softmax
from dataprops.probe.folds import LEAST, MOST
from dataprops.util.files import write_arrays

LEAST_CLASS = 5
NEAR = 15  # neighbours that vote
ROWS = 256  # of the kernel at once
LEARNT = 15.0  # minimum log-likelihood gain over class frequencies, nats; random labels reached 10 once in 60 datasets
HINT = 0.01  # weight of uninformative witnesses: they rank the labels, but make none suspect
LARGEST = 6.0  # maximum exponent
RANDOM = 0.8  # maximum fraction of labels modelled as random
NOISE = 0.02  # fraction of wrong labels from which the estimate of T starts
OWN_NOISE = 0.3  # weight of the estimated T; the rest is uniform
PRECISE = 1e-7  # relative tolerance of the mean negative log-likelihood, far below what affects the interval
APART = 2.0  # minimum gain of a separate mode over a tail, nats; 54 samples of unmodified datasets reached 1.2
TOLD = 0.9  # the median margin of given labels must exceed this quantile of wrong labels' margins
PLANTED = 800  # margins of exchanged labels that define the mode
ANY = 1e-3  # fraction of outliers in the mixture of margins
# minimum gain over class frequencies, relative to what there is to gain: below, the labels contradicted are as well the witnesses'
# own errors. Of 264 draws of 27 datasets with 3 to 10 % of the labels flipped, those with an alert have 0.28 or more
EXPLAINED = 0.2
SHOWN = 2.5  # minimum gain in nats from wrong labels; twice that is chi-squared: one dataset in 80 by chance
SHOWN_BY_FEW = 5.0  # without the descriptors, whose errors differ: 52 samples of unmodified datasets reached 4.7


class Opinions(NamedTuple):
    """Witnesses' opinions on n labelled images.

    Attributes
    ----------
    image : int64 [n]
    classes : list of str
    y : int64 [n]
        The given class, as an index of `classes`.
    joint, near : float64 [n, classes]
        Joint probabilities; those from the nearest images alone.
    probe, alike, curved, averaged : float64 [n, classes] or None
        Probabilities from the reference classifier, the nearest images by its features, the second classifier, and the first one
        averaged over fold assignments; None for datasets of more than `probe.folds.MOST` images.
    described : float64 [m, n, classes] or None
        Probabilities from the classifiers of edges, tones and textures; m is 0 or 3.
    sample : Opinions or None
        For such datasets: all witnesses' opinions on the sample that the reference classifier was run on.
    number : WrongLabels or None
        Estimated number of wrong labels among `asked`; None without reference classifier, since the errors of neighbours alone look
        like wrong labels.
    """

    image: np.ndarray
    classes: list[str]
    y: np.ndarray
    joint: np.ndarray
    near: np.ndarray
    probe: np.ndarray | None = None
    alike: np.ndarray | None = None
    curved: np.ndarray | None = None
    averaged: np.ndarray | None = None
    described: np.ndarray | None = None
    sample: Opinions | None = None
    number: WrongLabels | None = None

    @property
    def asked(self) -> Opinions | None:
        """Opinions of all witnesses, on all images or on the sample; None without reference classifier."""
        return self if self.probe is not None else self.sample

    @property
    def witnesses(self) -> list[np.ndarray]:
        """Probabilities of the available witnesses, each [n, classes]."""
        linear = self.probe if self.averaged is None else self.averaged
        described = () if self.described is None else self.described
        return [p for p in (self.near, linear, self.alike, self.curved, *described) if p is not None]

    @property
    def doubt(self) -> np.ndarray:
        """Joint probability of the classes other than the given one, 0 to 1."""
        return 1 - self.joint[np.arange(len(self.y)), self.y]

    @property
    def score(self) -> np.ndarray:
        """Probability that each label is wrong, 0 to 1 (see the module)."""
        joint, y, classes = self.joint, self.y, self.joint.shape[1]
        own = np.eye(classes)
        noise = own * (1 - NOISE) + (1 - own) * NOISE / (classes - 1)
        truth = _truth(joint, y, noise)
        written = np.zeros((classes, classes))
        np.add.at(written.T, y, truth)
        written /= np.maximum(written.sum(1, keepdims=True), 1e-12)
        wrong = 1 - np.diagonal(written)[:, None]
        noise = OWN_NOISE * written + (1 - OWN_NOISE) * (own * (1 - wrong) + (1 - own) * wrong / (classes - 1))
        return 1 - _truth(joint, y, noise)[np.arange(len(y)), y]

    @property
    def likelier(self) -> np.ndarray:
        """Most probable class other than the given one."""
        other = self.joint.copy()
        other[np.arange(len(self.y)), self.y] = -1
        return other.argmax(1)


class Witness(NamedTuple):
    """Results of the reference classifier on n images.

    Attributes
    ----------
    image : int64 [n]
    classes : list of str
        Sorted.
    probabilities : float64 [n, classes]
        Held-out probabilities.
    alike : int64 [n, NEAR]
        Most similar images of other groups by its features; -1: no more.
    curved, averaged : float64 [n, classes]
        Held-out probabilities of the second classifier, and of the first one averaged over fold assignments.
    described : float64 [m, n, classes]
        Held-out probabilities of the classifiers of edges, tones and textures; m is 0 or 3.
    """

    image: np.ndarray
    classes: list[str]
    probabilities: np.ndarray
    alike: np.ndarray
    curved: np.ndarray
    averaged: np.ndarray
    described: np.ndarray

    def save(self, path: Path) -> None:
        """Write to a file."""
        write_arrays(path, **self._replace(classes=np.array(self.classes))._asdict())

    @classmethod
    def load(cls, path: Path) -> Witness | None:
        """Read a file written by `save`; None if there is none."""
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as saved:
            columns = {name: saved[name] for name in cls._fields}
        return cls(**columns | {"classes": columns["classes"].tolist()})


def near_votes(
    images: pd.DataFrame, neighbours: pd.DataFrame, place: np.ndarray, y: np.ndarray, classes: int
) -> np.ndarray:
    """Class probabilities from the nearest images' labels, float64 [n, classes]; copies and images of the same group do not vote."""
    group = or_none(images["group"])
    one, two = neighbours["image"].to_numpy(np.int64), neighbours["neighbour"].to_numpy(np.int64)
    same = np.array([a is not None and a == b for a, b in zip(group[one], group[two], strict=True)], bool)
    votes = (neighbours["distance"].to_numpy(float) > 0) & ~same & (place[one] >= 0) & (place[two] >= 0)
    one, two = place[one[votes]], place[two[votes]]
    # first NEAR voters of each image; the table is sorted by image and rank
    starts = np.r_[True, one[1:] != one[:-1]] if len(one) else np.zeros(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(one)), 0))
    kept = np.arange(len(one)) - first < NEAR
    count = np.zeros((len(y), classes))
    np.add.at(count, (one[kept], y[two[kept]]), 1.0)
    share = np.bincount(y, minlength=classes) / len(y)
    return (count + share) / (count.sum(1, keepdims=True) + 1)


def most_alike(kernel: np.ndarray, leak_group: np.ndarray) -> np.ndarray:
    """Positions of the `NEAR` images of other leak groups with the largest cosine of features, int64 [n, NEAR]; -1: no more.

    `kernel` holds the features' inner products, float64 [n, n]; ties are resolved by position.
    """
    import torch

    from dataprops.probe.threads import in_threads

    n = len(leak_group)
    length = np.sqrt(np.maximum(np.diagonal(kernel), 1e-24))

    def some(start: int) -> np.ndarray:
        part = slice(start, start + ROWS)
        cosine = kernel[part] / (length[part, None] * length)
        cosine[leak_group[part, None] == leak_group[None]] = -np.inf
        least = torch.from_numpy(cosine).topk(min(NEAR, n))[0][:, -1:].numpy()
        row, image = np.nonzero((cosine >= least) & np.isfinite(cosine))  # including ties with the last one
        order = np.lexsort((image, -cosine[row, image], row))
        row, image = row[order], image[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row)
        near = np.full((len(cosine), NEAR), -1, np.int64)
        near[row[rank < NEAR], rank[rank < NEAR]] = image[rank < NEAR]
        return near

    return np.concatenate(in_threads(some, range(0, n, ROWS)))


def alike_votes(voters: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """Class probabilities from the labels at these positions [n, NEAR] (-1: none), float64 [n, classes]."""
    share = np.bincount(y, minlength=classes) / len(y)
    labels = np.where(voters >= 0, y[voters], -1)
    count = np.stack([(labels == c).sum(1) for c in range(classes)], 1)
    return (count + share) / (count.sum(1, keepdims=True) + 1)


def _truth(joint: np.ndarray, y: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Probabilities of the true class [n, classes], if class c is recorded as g with probability noise[c, g]."""
    q = joint * noise[:, y].T
    return q / np.maximum(q.sum(1, keepdims=True), 1e-300)


class Joint(NamedTuple):
    """A fit: negative log-likelihood in nats; vector of exponents, offsets and random fraction; class probabilities."""

    loss: float
    x: np.ndarray
    probabilities: np.ndarray


def _fitted(logs: np.ndarray, y: np.ndarray, random: tuple[float, float], start: np.ndarray | None = None) -> Joint:
    """Maximum-likelihood fit to witnesses' log probabilities [witnesses, n, classes], with bounds on the random fraction."""
    from scipy.optimize import minimize

    count, n, classes = logs.shape
    at = np.arange(n)

    def probabilities(x: np.ndarray) -> np.ndarray:
        return np.exp(log_softmax(np.tensordot(x[:count], logs, 1) + x[count:-1]))

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        p, offset, share = probabilities(x), x[count:-1], x[-1]
        own = p[at, y]
        likely = np.maximum((1 - share) * own + share / classes, 1e-300)
        right = (1 - share) * own / likely
        p *= -right[:, None]
        p[at, y] += right
        slopes = [-float((p * one).sum()) for one in logs]
        value = -np.log(likely).sum() + 5e-4 * n * float((offset**2).sum())
        by_share = -((1 / classes - own) / likely).sum()
        return value / n, np.r_[slopes, -p.sum(0) + 1e-3 * n * offset, by_share] / n

    bounds = [(0.0, LARGEST)] * count + [(-5.0, 5.0)] * classes + [random]
    begun = np.r_[np.ones(count) / count, np.zeros(classes), np.mean(random)] if start is None else start
    begun = np.r_[begun[:-1], np.clip(begun[-1], *random)]
    found = minimize(loss, begun, jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": PRECISE})
    return Joint(n * float(found.fun), found.x, probabilities(found.x))


def _logs(witnesses: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([np.log(np.clip(p, 1e-4, 1)) for p in witnesses])


def joined(witnesses: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Joint probabilities, float64 [n, classes], of witnesses' probabilities, each [n, classes]."""
    p = _fitted(_logs(witnesses), y, (0.0, 0.0)).probabilities
    if _gain(p, y)[0] < LEARNT:
        return (1 - HINT) * np.eye(p.shape[1])[y] + HINT * p
    return p


def _gain(p: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Log-likelihood of the labels beyond that of the class frequencies: in nats, and as a fraction of what there is to gain."""
    most = -np.log((np.bincount(y, minlength=p.shape[1]) / len(y))[y]).sum()
    gain = most + np.log(p[np.arange(len(y)), y]).sum()
    return float(gain), float(gain / max(most, 1e-12))


def opinions(images: pd.DataFrame, neighbours: pd.DataFrame, witness: Witness | None) -> Opinions | None:
    """Opinions of all witnesses and the number of wrong labels; None if there are too few images or classes.

    Parameters
    ----------
    images, neighbours : DataFrame
        Result tables of a dataset with classes.
    witness : Witness or None
        Results of the reference classifier; None: use the nearest images alone. If it covers a sample only, all images get the opinion
        of the nearest images, and the sample that of all witnesses.
    """
    said = _ask(images, neighbours, witness)
    return said if said is None or said.asked is None else said._replace(number=wrong_labels(said.asked))


def _ask(images: pd.DataFrame, neighbours: pd.DataFrame, witness: Witness | None) -> Opinions | None:
    """`opinions`, without the number of wrong labels."""
    used = images[images["pixels"].notna() & images["y"].notna()]
    whole = witness is not None and len(used) <= MOST
    if witness is not None and whole:
        used = used.set_index("image", drop=False).loc[witness.image]
    else:
        sizes = used["y"].value_counts()
        used = used[used["y"].isin(sizes.index[sizes >= LEAST_CLASS])]
    names, y = np.unique(used["label"].astype(str).to_numpy(object), return_inverse=True)
    if len(names) < 2 or len(used) < LEAST:
        return None
    ids = used["image"].to_numpy(np.int64)
    place = np.full(len(images), -1, np.int64)
    place[ids] = np.arange(len(ids))
    near = near_votes(images, neighbours, place, y, len(names))
    if witness is not None and whole:
        return _all_asked(ids, y, near, witness._replace(classes=[str(name) for name in names]))
    said = Opinions(ids, [str(name) for name in names], y, joined((near,), y), near)
    return said if witness is None else said._replace(sample=_sample(said, place, witness))


def _sample(said: Opinions, place: np.ndarray, witness: Witness) -> Opinions | None:
    """All witnesses' opinions on the reference classifier's sample; nearest images vote whether in the sample or not."""
    at = place[witness.image]
    classes, y = np.unique(said.y[at[at >= 0]], return_inverse=True)
    if (at < 0).any() or [said.classes[c] for c in classes] != witness.classes or len(at) < LEAST:
        return None
    near = said.near[np.ix_(at, classes)]
    return _all_asked(witness.image, y, near / near.sum(1, keepdims=True), witness)


def _all_asked(ids: np.ndarray, y: np.ndarray, near: np.ndarray, witness: Witness) -> Opinions:
    """All witnesses' opinions on the images of `witness`."""
    place = np.full(int(ids.max()) + 1, -1, np.int64)
    place[ids] = np.arange(len(ids))
    alike = alike_votes(np.where(witness.alike >= 0, place[witness.alike], -1), y, len(witness.classes))
    held = (witness.probabilities, alike, witness.curved, witness.averaged, witness.described)
    said = Opinions(ids, witness.classes, y, near, near, *held)
    return said._replace(joint=joined(said.witnesses, y))


class WrongLabels(NamedTuple):
    """Estimated number of wrong labels, with a 95 % interval whose end includes exchanged ones; `shown`: the smallest number within
    `SHOWN` (or `SHOWN_BY_FEW`) nats of the best fit, 0 if the labels can be explained without wrong ones."""

    value: float
    low: float
    high: float
    shown: float


def wrong_labels(said: Opinions) -> WrongLabels:
    """Estimate the number of wrong labels from the random fraction e of the module's docstring."""
    from scipy.optimize import brentq
    from scipy.special import gammaincinv

    logs, n, classes = _logs(said.witnesses), len(said.y), said.joint.shape[1]
    none = _fitted(logs, said.y, (0.0, 0.0))
    best = none
    for share in (0.02, 0.1):  # start near zero, and farther away
        tried = _fitted(logs, said.y, (0.0, RANDOM), np.r_[none.x[:-1], share])
        best = tried if tried.loss < best.loss else best
    share = float(best.x[-1])

    def above(random: float, limit: float) -> float:
        return _fitted(logs, said.y, (random, random), best.x).loss - best.loss - limit

    def crossing(end: float, limit: float) -> float:
        """Value between the best fraction and `end` at which the loss exceeds its minimum by `limit`; `end` if there is none."""
        if above(end, limit) <= 0:
            return end
        root: Any = brentq(above, end, share, args=(limit,), xtol=max(0.02 * share, 0.1 / n))
        return float(root)

    # half the 95 % quantile of chi-squared with one degree of freedom; avoids importing scipy.stats, which takes a second
    limit = float(gammaincinv(0.5, 0.95))
    needed = SHOWN if said.described is not None and len(said.described) else SHOWN_BY_FEW
    low, high, shown = crossing(0.0, limit), crossing(RANDOM, limit), crossing(0.0, needed)
    wrong = n * (1 - 1 / classes)  # some labels drawn at random are right
    highest = max(wrong * high, exchanged(said.joint, said.y))
    if _gain(none.probabilities, said.y)[1] < EXPLAINED:
        return WrongLabels(wrong * share, 0.0, highest, 0.0)
    return WrongLabels(wrong * share, wrong * low, highest, max(wrong * shown, n * set_apart(said)))


def exchanged(joint: np.ndarray, y: np.ndarray) -> float:
    """Number of labels that could be exchanged between two classes: of any two, the most whose joint opinion is the other one.

    All of these are wrong if no image is hard, which the opinions cannot tell. 0 if there are only two classes, where exchanged labels
    are random ones.
    """
    classes = joint.shape[1]
    if classes == 2:
        return 0.0
    count = np.zeros((classes, classes))
    np.add.at(count, (y, joint.argmax(1)), 1)
    np.fill_diagonal(count, 0)
    return float((count + count.T).max())


def set_apart(said: Opinions) -> float:
    """Smallest fraction of wrong labels, within `APART` nats of the best fit, whose margins form a separate mode; 0 if a tail.

    The other labels' margins have a normal upper side and a lower side proportional to exp(-x^b), b from 0.8 to 2.
    """
    from scipy.optimize import brentq, minimize
    from scipy.special import gammaln

    held = [p for p in (said.averaged, said.curved) if p is not None]  # edges or tones alone separate few datasets
    if not held:
        return 0.0
    margins = _margins(np.mean([np.log(np.clip(p, 1e-6, 1)) for p in held], axis=0))
    own = np.arange(margins.shape[1]) == said.y[:, None]
    z, wrong = margins[own], np.sort(margins[~own])
    if np.median(z) <= np.quantile(wrong, TOLD):  # the classifiers do not separate the classes: any mode is chance
        return 0.0
    wrong = wrong[np.linspace(0, len(wrong) - 1, min(PLANTED, len(wrong))).astype(int)]
    middle = np.quantile(wrong, [0.25, 0.75])
    wide = 0.9 * max(1e-3, min(wrong.std(), (middle[1] - middle[0]) / 1.34)) * len(wrong) ** -0.2
    anywhere = ANY / max(np.ptp(z), 1e-3)
    hump = np.exp(-(((z[:, None] - wrong) / wide) ** 2) / 2).mean(1) / (wide * np.sqrt(2 * np.pi))

    def loss(x: np.ndarray, random: float | None = None) -> float:
        top, lower, upper, power = x[:4]
        share = x[4] if random is None else random
        away, below = np.abs(z - top), z < top
        fall = np.where(below, away / np.exp(lower), away / np.exp(upper)) ** np.where(below, power, 2.0)
        size = np.exp(lower + gammaln(1 + 1 / power)) + np.exp(upper) * np.sqrt(np.pi) / 2
        right = (1 - ANY) * np.exp(-fall) / size + anywhere
        return -float(np.log((1 - share) * right + share * ((1 - ANY) * hump + anywhere)).sum())

    spread = float(np.log(max(z.std(), 1e-3)))
    bounds = [(float(z.min()), float(z.max()) + 1e-9), (-5.0, 5.0), (-5.0, 5.0), (0.8, 2.0)]

    def fitted(random: float) -> float:
        starts = [[float(np.median(z)), spread, spread - 0.5, power] for power in (1.0, 1.6)]
        starts += [list(one.x[:4]) for one in free if random]  # optima that the given fraction may be close to
        return min(minimize(loss, x, (random,), "L-BFGS-B", bounds=bounds).fun for x in starts)

    starts = [
        [float(np.median(z)), spread, spread - 0.5, power, share] for power in (1.0, 1.6) for share in (0.03, 0.1)
    ]
    free = [minimize(loss, x, method="L-BFGS-B", bounds=[*bounds, (0.0, RANDOM)]) for x in starts]
    best = min(free, key=lambda one: one.fun)
    if fitted(0.0) - best.fun <= APART:
        return 0.0
    share = float(best.x[-1])
    root: Any = brentq(lambda e: min(fitted(e) - best.fun, 2 * APART) - APART, 0.0, share, xtol=0.1 / len(z))
    return float(root)


def _margins(logs: np.ndarray) -> np.ndarray:
    """Margin of each possible label: its log probability minus the largest of the others, [n, classes]."""
    two = np.partition(logs, -2, axis=1)[:, -2:]
    return logs - np.where(logs == two[:, 1:], two[:, :1], two[:, 1:])

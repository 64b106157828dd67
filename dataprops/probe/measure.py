"""The whole probe: train and evaluate the reference classifier on images and labels.

    images -> features.py -> ridge.py (scores of images not trained on) -> calibrate.py (probabilities)
                                    |-> curve.py, suspects.py, attack.py, and intervals by bootstrap.py and spread.py

Pure functions: the same images, labels, leak groups and seed give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from dataprops.probe import curve
from dataprops.probe.attack import Attack, Linear, attack
from dataprops.probe.bootstrap import bootstrap_weights, held_out_interval, zero_events_high
from dataprops.probe.calibrate import Scaling, cross_fitted, fold_scalings, log_losses, log_softmax, rescaled
from dataprops.probe.features import Encoder, fit_encoder, shrink
from dataprops.probe.folds import LEAST, LEAST_GROUPS, assign_folds, fold_count
from dataprops.probe.ridge import (
    MANY,
    HeldScores,
    gaussian,
    held_scores,
    inner_products,
    targets,
)
from dataprops.probe.spread import training_ratio
from dataprops.probe.suspects import Suspects, suspect_labels
from dataprops.util.threads import one_thread

ATTACKED = 100
DIVISIONS = 3  # repetitions of the cross-validation over which evidence of wrong labels is averaged
LEAST_PROBABILITY = 1e-6
CURVED = 1e-2  # start of the search for the Gaussian kernel's ridge strength (1e-3 to 3e-2 on four sets)

Advance = Callable[[int], None]


class HeldOut(NamedTuple):
    """Held-out predictions of a classifier.

    Attributes
    ----------
    probabilities : float64 [n, classes]
    folds : int64 [n]
    features : float32 [n, p]
    strength : float
        Ridge strength.
    """

    probabilities: np.ndarray
    folds: np.ndarray
    features: np.ndarray
    strength: float


class Estimate(NamedTuple):
    """A mean over images with its 95 % interval (`bootstrap.held_out_interval`)."""

    value: float
    low: float
    high: float


class CurvePoint(NamedTuple):
    """A point of the learning curve: mean number of training images, error and log loss over all images."""

    n: int
    error: float
    log_loss: float


class Probe(NamedTuple):
    """Results of the probe.

    Attributes
    ----------
    error : Estimate
        Held-out error rate; for numbers the fraction of unexplained variance.
    log_loss : Estimate or None
        Calibrated, nats; None for numbers.
    confusion : int64 [classes, classes] or None
        Given class (rows) by predicted class (columns).
    curve : list of CurvePoint
    gains : dict of int to Gain, or None
        2 and 4 times as many images; None with `withheld`.
    withheld : str or None
    folds : int
    leak_groups : int
        Number of leak groups, the units of the bootstrap.
    fold : int64 [n]
    probabilities : float64 [n, classes] or None
    losses, wrong : float64 [n]
        Per image: held-out log loss (for numbers the squared error), and whether the prediction is wrong.
    hardness : float64 [n]
        p(most probable other class) - p(given class): -1 easy, 1 hard. For numbers the absolute error in standard deviations.
    suspects : Suspects or None
    attacked : int64 [a]
        Positions of the attacked images.
    attack : Attack or None
    kernel : float64 [n, n] or None
        Inner products of the images' features (`ridge.inner_products`).
    strength : float
        Ridge strength on all images.
    """

    error: Estimate
    log_loss: Estimate | None
    confusion: np.ndarray | None
    curve: list[CurvePoint]
    gains: dict[int, curve.Gain] | None
    withheld: str | None
    folds: int
    leak_groups: int
    fold: np.ndarray
    probabilities: np.ndarray | None
    losses: np.ndarray
    wrong: np.ndarray
    hardness: np.ndarray
    suspects: Suspects | None
    attacked: np.ndarray
    attack: Attack | None
    kernel: np.ndarray | None = None
    strength: float = float("nan")


def held_out(images: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, seed: int = 0) -> HeldOut:
    """Held-out class probabilities by cross-validation.

    Parameters
    ----------
    images : uint8 [n, h, w, c]
    y : int64 [n]
        Classes 0..c-1, each with images in at least two groups (at least `LEAST_GROUPS` for reliable results).
    groups : int64 [n], optional
        Leak groups (`folds.leak_groups_of`); by default each image is its own.
    seed : int

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(40) % 2
    >>> images = rng.integers(0, 100, (40, 16, 16, 1)) + 100 * y[:, None, None, None]
    >>> held_out(images.astype(np.uint8), y).probabilities.argmax(1).tolist() == y.tolist()
    True
    """
    leak_group = np.arange(len(y)) if groups is None else groups
    with one_thread():
        x = shrink(images)
        _, features = fit_encoder(x, seed)
        return held_out_of(features, y, leak_group, seed)


def held_out_of(features: np.ndarray, y: np.ndarray, leak_group: np.ndarray, seed: int = 0) -> HeldOut:
    """As `held_out`, from any features float32 [n, p] of mean 0 and comparable scale."""
    classes = int(y.max()) + 1
    folds = assign_folds(y, leak_group, fold_count(len(y)), seed)
    held = held_scores(inner_products(features), targets(y, classes), folds)
    return HeldOut(cross_fitted(held.scores, y, folds), folds, features, held.strength)


def held_out_averaged(
    p: np.ndarray, kernel: np.ndarray, y: np.ndarray, leak_group: np.ndarray, strength: float, seed: int = 0
) -> np.ndarray:
    """Held-out probabilities float64 [n, classes], averaged over repeated cross-validation; `p` is that of the first division.

    In small sets a prediction depends so much on the other training images that the geometric mean over `DIVISIONS` divisions
    ranks wrong labels better. With more than `ridge.MANY` images `p` is returned as it is.
    """
    if len(y) > MANY:
        return p
    target, logs = targets(y, p.shape[1]), [np.log(np.maximum(p, LEAST_PROBABILITY))]
    for division in range(1, DIVISIONS):
        # a seed that no audit with another --seed uses
        folds = assign_folds(y, leak_group, fold_count(len(y)), seed + 1_000_003 * division)
        scores = held_scores(kernel, target, folds, strengths=(strength,)).scores
        logs.append(np.log(np.maximum(cross_fitted(scores, y, folds), LEAST_PROBABILITY)))
    return np.exp(log_softmax(np.mean(logs, axis=0)))


def held_out_curved(
    kernel: np.ndarray, y: np.ndarray, folds: np.ndarray, leak_group: np.ndarray, seed: int = 0
) -> np.ndarray:
    """As `held_out_averaged`, with kernel ridge regression on a Gaussian kernel exp(-d^2 / median d^2) of the same features.

    Parameters
    ----------
    kernel : float64 [n, n]
        Inner products of the features (`ridge.inner_products`).
    y, folds, leak_group : int64 [n]
    seed : int
        Seed of the further divisions.
    """
    target = targets(y, int(y.max()) + 1)
    curved = gaussian(kernel)
    if len(y) > MANY:  # the strength is chosen on a subset
        part = np.arange(len(y)) % (len(y) // MANY + 1) == 0
        strength = held_scores(curved[np.ix_(part, part)], target[part], folds[part], near=CURVED).strength
        held = held_scores(curved, target, folds, strengths=(strength,))
    else:
        held = held_scores(curved, target, folds, near=CURVED)
    return held_out_averaged(cross_fitted(held.scores, y, folds), curved, y, leak_group, held.strength, seed)


def held_out_described(
    descriptions: Sequence[torch.Tensor], y: np.ndarray, folds: np.ndarray, leak_group: np.ndarray, seed: int = 0
) -> np.ndarray:
    """`held_out_curved` for each centred descriptor [n, p] of the images, float64 [descriptors, n, classes].

    Empty for more than `ridge.MANY` images: each costs as much as the classifier itself, and adds less in large sets.
    """
    if len(y) > MANY:
        return np.empty((0, len(y), int(y.max()) + 1))
    kernels = (inner_products((one - one.mean(0)).numpy()) for one in descriptions)
    return np.stack([held_out_curved(kernel, y, folds, leak_group, seed) for kernel in kernels])


def standardised(features: np.ndarray) -> np.ndarray:
    """Standardise a user's features [n, p] to mean 0 and standard deviation 1, float32; constant ones become 0."""
    features = np.asarray(features, np.float64)
    spread = features.std(0)
    return ((features - features.mean(0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)


def reason_not_applicable(y: np.ndarray, leak_group: np.ndarray, *, numeric: bool) -> str | None:
    """Why the probe cannot be run on these labels (classes, or numbers); None if it can."""
    if len(y) < LEAST:
        return f"it needs {LEAST} labelled, readable images, there are {len(y)}"
    if numeric:
        return (
            None
            if np.std(y) > 0 and len(np.unique(leak_group)) > 3
            else "the numbers are constant, or there are too few groups"
        )
    usable = usable_classes(y, leak_group)
    if len(usable) < 2:
        return (
            f"it needs two classes with images in {LEAST_GROUPS} groups each (a group is a patient, an image without one, or a set"
            f" of copies), there {'is' if len(usable) == 1 else 'are'} {len(usable)}"
        )
    return None


def usable_classes(y: np.ndarray, leak_group: np.ndarray) -> np.ndarray:
    """Classes with enough leak groups for training and testing."""
    classes, of = np.unique(y, return_inverse=True)
    groups, group = np.unique(leak_group, return_inverse=True)
    pairs = np.unique(of * len(groups) + group)  # (class, group) combinations that occur
    count = np.bincount(pairs // len(groups), minlength=len(classes))
    return classes[count >= LEAST_GROUPS].astype(np.int64)


def draw_images(n: int, most: int, seed: int) -> np.ndarray:
    """A random sample of at most `most` of n images, sorted."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, 5]).choice(n, most, replace=False))


class Fitted(NamedTuple):
    """Scores of images not trained on, at each training size; `evaluate` makes the probe's results of them.

    Attributes
    ----------
    encoder : Encoder or None
        With x, float32 [n, c, 32, 32]; None if features were given.
    features : float32 [n, p]
    y : int64 [n] or float64 [n]
        Classes 0..c-1, or numbers.
    leak_group, folds : int64 [n]
        Leak groups 0..g-1.
    kernel : float64 [n, n]
        Inner products of the features (`ridge.inner_products`).
    target : float64 [n, outputs]
    sizes : list of int
        Mean number of training images.
    scores : list of float64 [n, outputs]
        For each size.
    held : HeldScores
        At the largest size.
    scalings : list of list of Scaling
        For each size and fold; empty for numbers, like `probabilities`.
    probabilities : list of float64 [n, classes]
        For each size.
    """

    encoder: Encoder | None
    x: torch.Tensor | None
    features: np.ndarray
    y: np.ndarray
    leak_group: np.ndarray
    folds: np.ndarray
    kernel: np.ndarray
    target: np.ndarray
    sizes: list[int]
    scores: list[np.ndarray]
    held: HeldScores
    scalings: list[list[Scaling]]
    probabilities: list[np.ndarray]


@one_thread()
def fit(
    images: np.ndarray | torch.Tensor | None,
    y: np.ndarray,
    leak_group: np.ndarray,
    *,
    numeric: bool = False,
    features: np.ndarray | None = None,
    seed: int = 0,
    advance: Advance | None = None,
) -> Fitted:
    """Train on all but each fold, at all training sizes; parameters as for `run_probe`."""
    step = advance or (lambda _: None)
    encoder = x = None
    if features is None:
        assert images is not None
        x = images if isinstance(images, torch.Tensor) else shrink(images)
        encoder, features = fit_encoder(x, seed)
    step(30)
    _, leak_group = np.unique(leak_group, return_inverse=True)
    strata = strata_of(y, numeric=numeric)
    target = ((y - y.mean()) / y.std())[:, None] if numeric else targets(y, int(y.max()) + 1)
    folds = assign_folds(strata, leak_group, fold_count(len(y)), seed)
    kernel = inner_products(features)
    step(10)
    sizes, scores, held = _at_all_sizes(kernel, target, strata, leak_group, folds, seed, step)
    scalings = [] if numeric else [fold_scalings(one, y, folds) for one in scores]
    probabilities = [] if numeric else [rescaled(one, folds, own) for one, own in zip(scores, scalings, strict=True)]
    return Fitted(
        encoder, x, features, y, leak_group, folds, kernel, target, sizes, scores, held, scalings, probabilities
    )


@one_thread()
def evaluate(fitted: Fitted, seed: int = 0, attacked: int = ATTACKED, advance: Advance | None = None) -> Probe:
    """Error, learning curve and attack, with intervals; parameters as for `run_probe`."""
    step = advance or (lambda _: None)
    weights = bootstrap_weights(int(fitted.leak_group.max()) + 1, seed)
    ratio = training_ratio(len(np.unique(fitted.folds)))
    results = _of_classes if fitted.probabilities else _of_numbers
    probe = results(fitted, weights, ratio)._replace(kernel=fitted.kernel, strength=fitted.held.strength)
    step(10)
    if fitted.probabilities and fitted.encoder is not None and fitted.x is not None:
        chosen = draw_images(len(fitted.y), attacked, seed)
        _, head = np.unique(fitted.folds, return_inverse=True)
        tried = attack(fitted.encoder, _heads(fitted), head[chosen], fitted.x[chosen], fitted.y[chosen])
        probe = probe._replace(attacked=chosen, attack=tried)
    step(20)
    return probe


def run_probe(
    images: np.ndarray | torch.Tensor | None,
    y: np.ndarray,
    leak_group: np.ndarray,
    *,
    numeric: bool = False,
    features: np.ndarray | None = None,
    seed: int = 0,
    attacked: int = ATTACKED,
) -> Probe:
    """Run the whole probe.

    Parameters
    ----------
    images : uint8 [n, h, w, c], or float32 [n, c, 32, 32] of `features.shrink`, or None
        None if `features` are given: then nothing is attacked.
    y : int64 [n] or float64 [n]
        Classes 0..c-1, or numbers.
    leak_group : int64 [n]
    numeric : bool
    features : float32 [n, p], optional
        Standardised; used instead of the probe's own.
    seed : int
    attacked : int
        Maximum number of images to attack.
    """
    return evaluate(fit(images, y, leak_group, numeric=numeric, features=features, seed=seed), seed, attacked)


def strata_of(y: np.ndarray, *, numeric: bool) -> np.ndarray:
    """Strata of the folds: the classes, or the quintiles of numbers."""
    return np.searchsorted(np.quantile(y, [0.2, 0.4, 0.6, 0.8]), y) if numeric else y


def _at_all_sizes(
    kernel: np.ndarray,
    target: np.ndarray,
    strata: np.ndarray,
    leak_group: np.ndarray,
    folds: np.ndarray,
    seed: int,
    step: Advance,
) -> tuple[list[int], list[np.ndarray], HeldScores]:
    """Training sizes, the held-out scores at each, and the full result at the largest."""
    sizes: list[int] = []
    scores: list[np.ndarray] = []
    held: HeldScores | None = None
    for part, subset in curve.nested_subsets(strata, leak_group, seed).items():
        trained = np.array([(subset & (folds != fold)).sum() for fold in np.unique(folds)])
        whole = part == 1
        if not whole and (trained.min() < curve.LEAST_TRAINED or _lacks(strata, subset, folds)):
            continue
        held = held_scores(kernel, target, folds, subset, near=None if held is None else held.strength)
        sizes.append(round(float(trained.mean())))
        scores.append(held.scores)
        step(30 if whole else 0)
    assert held is not None
    return sizes, scores, held


def _lacks(strata: np.ndarray, subset: np.ndarray, folds: np.ndarray) -> bool:
    """Whether some class is missing from the training images of a fold."""
    return any(len(np.unique(strata[subset & (folds != fold)])) < len(np.unique(strata)) for fold in np.unique(folds))


def _of_classes(fitted: Fitted, weights: np.ndarray, ratio: float) -> Probe:
    held, y, leak_group, folds = fitted.probabilities, fitted.y, fitted.leak_group, fitted.folds
    p, classes = held[-1], held[-1].shape[1]
    predicted = p.argmax(1)
    losses = np.stack([log_losses(h, y) for h in held], axis=1)
    wrong = (predicted != y).astype(float)
    error = Estimate(*held_out_interval(wrong, leak_group, weights, ratio))
    error = error._replace(high=min(1.0, error.high))
    if not wrong.any():
        error = error._replace(high=zero_events_high(weights.shape[1]))
    points = [
        CurvePoint(n, float((h.argmax(1) != y).mean()), float(loss))
        for n, h, loss in zip(fitted.sizes, held, losses.mean(0), strict=True)
    ]
    own = p[np.arange(len(y)), y]
    other = np.where(np.arange(classes) == y[:, None], -1.0, p).max(1)
    gains, withheld = _gains(fitted.sizes, losses, int(wrong.sum()), weights, leak_group, ratio)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (y, predicted), 1)
    return Probe(
        error,
        Estimate(*held_out_interval(losses[:, -1], leak_group, weights, ratio)),
        confusion,
        points,
        gains,
        withheld,
        len(np.unique(folds)),
        weights.shape[1],
        folds,
        p,
        losses[:, -1],
        wrong,
        other - own,
        suspect_labels(p, y),
        np.empty(0, np.int64),
        None,
    )


def _of_numbers(fitted: Fitted, weights: np.ndarray, ratio: float) -> Probe:
    target, sizes, leak_group, folds = fitted.target, fitted.sizes, fitted.leak_group, fitted.folds
    squares = np.stack([(s[:, 0] - target[:, 0]) ** 2 for s in fitted.scores], axis=1)
    points = [CurvePoint(n, float(miss), float("nan")) for n, miss in zip(sizes, squares.mean(0), strict=True)]
    gains, withheld = _gains(sizes, squares, len(target), weights, leak_group, ratio)
    return Probe(
        Estimate(*held_out_interval(squares[:, -1], leak_group, weights, ratio)),
        None,
        None,
        points,
        gains,
        withheld,
        len(np.unique(folds)),
        weights.shape[1],
        folds,
        None,
        squares[:, -1],
        np.full(len(target), np.nan),
        np.sqrt(squares[:, -1]),
        None,
        np.empty(0, np.int64),
        None,
    )


def _gains(
    sizes: list[int], losses: np.ndarray, errors: int, weights: np.ndarray, leak_group: np.ndarray, ratio: float
) -> tuple[dict[int, curve.Gain] | None, str | None]:
    if errors < curve.LEAST_ERRORS:
        told = "no held-out error" if errors == 0 else f"{errors} held-out error{'s' if errors > 1 else ''}"
        return None, (
            f"the reference classifier makes {told}; measuring the gain from more images requires {curve.LEAST_ERRORS}"
        )
    if len(sizes) < curve.LATE:
        return None, f"there are too few images for a learning curve: it needs three sizes, there are {len(sizes)}"
    n = np.array(sizes, float)
    gains = {times: curve.gain(n, losses, weights, leak_group, times) for times in (2, 4)}
    return {times: curve.widened(gain, ratio) for times, gain in gains.items()}, None


def _heads(fitted: Fitted) -> list[Linear]:
    """Each fold's classifier as a linear map of the features, calibrated on the scores of the other folds."""
    heads, features = [], fitted.features
    for fold, (alpha, mean), scaling in zip(
        np.unique(fitted.folds), fitted.held.fits, fitted.scalings[-1], strict=True
    ):
        weight = features[fitted.folds != fold].T @ alpha.astype(np.float32) / features.shape[1]
        offset = scaling.temperature * mean + scaling.offset
        heads.append(Linear(torch.from_numpy(scaling.temperature * weight).float(), torch.from_numpy(offset).float()))
    return heads


__all__ = ["Encoder", "HeldOut", "Probe", "held_out", "held_out_of", "run_probe"]

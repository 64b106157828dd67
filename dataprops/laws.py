"""The scaling laws of Konz & Mazurowski 2024, and what they predict for a measured set.

With L the test loss of a network trained to convergence on N images, and R the mean distance an image can be moved
before the prediction changes:

    log L <= -(1/d_data) log N + log K_F + a        (generalization)
    log R >= -log K_F + b                           (robustness)

The constants belong to a family of networks and cancel between two audits of one dataset. The laws are correlational,
found on CNNs with two classes; every prediction says what it rests on and has a 95 % interval, or says why it is
withheld.

- `loss_change`: log L2 - log L1 between two audits, its interval by the delta method.
- `penalty_prediction`: the rise of the loss under attack, by the least-squares line through the paper's eleven sets.
- `loss_if_doubled`: what twice as many images would bring.

The laws fitted to a user's own networks, and what these predict: `fitting`, `calibrations`, `forecast`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LEVEL = 0.95
Z = NormalDist().inv_cdf((1 + LEVEL) / 2)
PAPER = "konz2024"
PAPER_SIZE = 224
PAPER_RANGE = (0, 255)
PAPER_SCALE = "per-image-max"
PAPER_SAMPLE = 1000
FULL_PEAK = 250  # an image whose brightest value is at least this is changed by at most 2 % by the paper's scaling
FULL_SHARE = 0.95
DRAWN_SHARE = 0.25  # samples that take more of a set are too much alike to show their spread well
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


@dataclass(frozen=True)
class Prediction:
    """A predicted number with its interval, or the reason why there is none.

    Attributes
    ----------
    name : str
    value, low, high : float or None
        The prediction and its 95 % interval (or at `level`); None if withheld.
    unit : str
    basis : str
        What it rests on, and what was assumed.
    sentence : str
        In words.
    withheld : str or None
        The reason, and the way to get the prediction.
    significant : bool or None
        Whether the interval excludes 0; None where that is no question.
    level : float or None
        Of the interval, where it is not 95 %.
    calibration : str or None
        The table of trained networks that it rests on: `PAPER`, or the id of one in the store.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    basis: str = ""
    sentence: str = ""
    withheld: str | None = None
    significant: bool | None = None
    level: float | None = None
    calibration: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class PenaltyLaw(NamedTuple):
    """Least-squares line penalty = slope K_F + intercept, with what a prediction interval needs.

    Attributes
    ----------
    slope, intercept : float
        Nats per unit of label sharpness (per grey level), nats.
    residual_sd : float
        Root of the residual sum of squares over n - 2, nats.
    n : int
        Datasets.
    mean_k, ssx : float
        Mean of their sharpness, and sum of squared deviations from it.
    low_k, high_k : float
        Range of their sharpness.
    """

    slope: float
    intercept: float
    residual_sd: float
    n: int
    mean_k: float
    ssx: float
    low_k: float
    high_k: float


def load_calibration() -> pd.DataFrame:
    """The paper's eleven datasets, read off its figures.

    Returns
    -------
    DataFrame
        dataset, domain ("medical", "natural"), channels, d_data, label_sharpness (at M = 1000, 1 / grey level),
        attack_loss_penalty (nats; FGSM, eps 2/255).
    """
    with (files("dataprops") / "calibration" / f"{PAPER}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


def fit_penalty(table: pd.DataFrame) -> PenaltyLaw:
    """Ordinary least squares of attack_loss_penalty on label_sharpness.

    Parameters
    ----------
    table : DataFrame
        With these two columns, at least three rows, not all of one sharpness.

    Raises
    ------
    ValueError
        If no line with a spread goes through the table.

    Examples
    --------
    >>> law = fit_penalty(load_calibration())
    >>> print(f"{law.slope:.1e} {law.intercept:.1f}")
    9.6e+04 -5.6
    """
    k = table["label_sharpness"].to_numpy(float)
    penalty = table["attack_loss_penalty"].to_numpy(float)
    if len(k) < 3 or np.ptp(k) == 0:
        raise ValueError(f"a line needs three datasets that differ in label_sharpness, got {len(k)} rows")
    mean = float(k.mean())
    ssx = float(((k - mean) ** 2).sum())
    slope = float(((k - mean) * (penalty - penalty.mean())).sum()) / ssx
    intercept = float(penalty.mean()) - slope * mean
    residual = float(((penalty - slope * k - intercept) ** 2).sum())
    return PenaltyLaw(
        slope, intercept, math.sqrt(residual / (len(k) - 2)), len(k), mean, ssx, float(k.min()), float(k.max())
    )


def predict_penalty(law: PenaltyLaw, sharpness: float, level: float = LEVEL) -> tuple[float, float, float]:
    """Penalty of a new dataset, and its prediction interval by Student's t with n - 2 degrees of freedom; nats.

    The interval is that of one more dataset, not of the line: value -+ t s sqrt(1 + 1/n + (K - mean K)^2 / ssx).
    """
    value = law.slope * sharpness + law.intercept
    spread = math.sqrt(1 + 1 / law.n + (sharpness - law.mean_k) ** 2 / law.ssx)
    half = _student(law.n - 2, level) * law.residual_sd * spread
    return value, value - half, value + half


def _student(degrees: float, level: float = LEVEL) -> float:
    """Student's t that is exceeded on either side with probability 1 - level in all."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def penalty_prediction(record: Mapping[str, Any], peaks: Sequence[int] | np.ndarray = ()) -> Prediction:
    """The rise of the test loss under FGSM (eps 2/255) that the paper's eleven sets suggest for this one.

    It holds only under the paper's preprocessing, and is withheld otherwise.

    Parameters
    ----------
    record : mapping
        Of a summary: `labels` {kind, classes}, `preprocess` {size, range, scale}, `label_sharpness.m1000` {mean, m}.
    peaks : int [n]
        Largest grey level of each readable image before scaling. Where nearly all reach the top, the paper's scaling
        changes next to nothing, and its calibration holds without it.
    """
    name = "attack_penalty"
    reason = _outside_calibration(record, np.asarray(peaks))
    if reason:
        return Prediction(name, withheld=reason)
    table = load_calibration()
    law = fit_penalty(table)
    sample = record["label_sharpness"]["m1000"]
    sharpness, m = float(sample["mean"]), int(sample["m"])
    value, low, high = predict_penalty(law, sharpness)
    remarks = []
    if m < PAPER_SAMPLE:
        remarks.append(
            f"a lower bound, since sharpness was measured on {m:,} images instead of {PAPER_SAMPLE:,} and can only grow"
            " with more"
        )
    if not law.low_k <= sharpness <= law.high_k:
        remarks.append(
            f"an extrapolation, since the sharpness {sharpness:.2e} is outside the range {law.low_k:.2e} to"
            f" {law.high_k:.2e} of the {law.n} sets"
        )
    classes = len(record["labels"].get("classes") or ())
    if classes > 2:
        remarks.append(f"the {law.n} sets have two classes each, this one {classes}")
    caveat = f" Read it with care: {'; '.join(remarks)}." if remarks else ""
    by_domain = table.groupby("domain")["attack_loss_penalty"]
    natural, medical = by_domain.max()["natural"], by_domain.agg(["min", "max"]).loc["medical"]
    return Prediction(
        name,
        value,
        low,
        high,
        "nats",
        f"default calibration: least squares over the {law.n} datasets of Konz & Mazurowski 2024 (read off their"
        " figures), interval for one more dataset; FGSM, eps 2/255",
        "Changing every picture on purpose by an amount nobody would see is expected to raise the test loss of a"
        f" network trained on this set by {'at least ' if m < PAPER_SAMPLE else ''}{_nats(value)} nats (95 % interval"
        f" {_nats(low)} to {_nats(high)}; the paper's everyday pictures reach {natural:.0f}, its radiology sets"
        f" {medical['min']:.0f} to {medical['max']:.0f}).{caveat}",
        significant=low > 0,
        calibration=PAPER,
    )


def _outside_calibration(record: Mapping[str, Any], peaks: np.ndarray) -> str | None:
    """Why the paper's calibration says nothing of a set, or None."""
    preprocess, sample = record["preprocess"], record["label_sharpness"]["m1000"]
    if record["labels"]["kind"] != "classes":
        return "the calibration holds for classes, and this set has none (--labels classes reads numbers as classes)"
    if sample["mean"] is None or not math.isfinite(sample["mean"]) or sample["mean"] <= 0:
        return "there is no label sharpness: it takes two images that differ, with different labels"
    if preprocess["size"] != PAPER_SIZE:
        return (
            f"the calibration holds at {PAPER_SIZE} x {PAPER_SIZE} pixels, this audit is at {preprocess['size']} x"
            f" {preprocess['size']}: use --size {PAPER_SIZE} --scale {PAPER_SCALE}"
        )
    if tuple(preprocess.get("range", PAPER_RANGE)) != PAPER_RANGE:
        return f"the calibration holds for grey levels 0 to 255, this audit has {preprocess['range']}"
    if sample["m"] > PAPER_SAMPLE:
        return (
            f"the calibration holds for samples of {PAPER_SAMPLE} images, this audit has {sample['m']}:"
            f" use --sample {PAPER_SAMPLE}"
        )
    full = float(np.mean(peaks >= FULL_PEAK)) if len(peaks) else 0.0
    if preprocess["scale"] != PAPER_SCALE and full < FULL_SHARE:
        return (
            "the calibration holds for images scaled to their brightest value, and only"
            f" {math.floor(100 * full)} % of these reach the top of the range: use --scale {PAPER_SCALE}"
        )
    return None


def _nats(value: float) -> str:
    """Nats in a sentence: a loss that the line lets fall is no rise; the record keeps the number."""
    return f"{max(value, 0.0):.0f}"


def loss_if_doubled(d: float | None, se: float | None = None) -> Prediction:
    """The relative change of the test loss when the set doubles, 2^(-1/d) - 1, from the generalization law.

    Parameters
    ----------
    d, se : float or None
        Intrinsic dimension and its standard error; without one there is no interval.
    """
    name = "loss_if_doubled"
    if d is None or not math.isfinite(d) or d <= 0:
        return Prediction(name, withheld="there is no intrinsic dimension: it takes more images than neighbours (--k)")

    def change(dimension: float) -> float:
        return math.expm1(-math.log(2) / dimension) if dimension > 0 else -1.0

    value = change(d)
    low = high = None
    interval = "no interval: the standard error of the dimension is not known"
    if se is not None and math.isfinite(se):
        low, high = change(d - Z * se), change(d + Z * se)
        interval = f"95 % interval {percent(-high)} to {percent(-low)}"
    return Prediction(
        name,
        value,
        low,
        high,
        "relative",
        "generalization law of Konz & Mazurowski 2024, an upper bound observed for convolutional networks; the interval"
        " holds the uncertainty of the dimension alone",
        "Twice as many images of this kind are expected to lower the test loss by about"
        f" {percent(-value)} ({interval}), as far as the law, an upper bound observed for convolutional networks,"
        " holds here.",
    )


def images_needed(d: float, sharpness: float, a: float, target_loss: float) -> float:
    """N* = exp(d (log K_F + a - log L*)): images for a target test loss, by the generalization law.

    Parameters
    ----------
    d, sharpness : float
        Intrinsic dimension and label sharpness.
    a : float
        The constant of the family of networks, from a trained one: a = log L + log(N) / d - log K_F.
    target_loss : float
        L*.

    Returns
    -------
    float
        Infinite where it is beyond any number of images.
    """
    exponent = d * (math.log(sharpness) + a - math.log(target_loss))
    return math.exp(exponent) if exponent < 700 else math.inf


def sharpness_error(std: float, mean: float, m: int, n: int, draws: int) -> float:
    """Half width of the 95 % interval of log K_F, K_F the mean over draws of m out of n images of one source.

    Draws from one set share images and vary less than samples from the source would. The mean over all draws of m out
    of n is a U-statistic: its variance is at most m/n of a sample's [1]_, and the spread within the set shows at least
    the rest. So a sample's is at most std^2 / (1 - m/n); m/n of it is common to all draws, since the set itself is a
    sample, and the rest averages out over them. The set shows this spread through n/m samples that share nothing:
    Student's t has so many degrees of freedom.

    Simulated with 20 draws (the largest of m exponentials, thousands of sets) the interval holds the truth in 94 to
    95 % of the sets for m/n from 0.05 to 0.5, and in 91 % at 0.8; for pairs of points in 8 and 20 dimensions in 97 %
    and more. The standard error of the draws, 1.96 std / sqrt(draws), holds it in 12 to 82 %; 1.96 std in 50 to 100 %.

    References
    ----------
    .. [1] W. Hoeffding, A class of statistics with asymptotically normal distribution, Ann. Math. Stat. 19 (1948).
    """
    share = m / n
    return _student(n / m) * std / mean * math.sqrt(share / (1 - share) + 1 / draws)


def common_sample(previous: Mapping[str, Any], current: Mapping[str, Any]) -> int | None:
    """The size of samples at which the sharpness of two audits compares; None if there is none.

    The largest that both audits drew and that takes at most `DRAWN_SHARE` of the smaller set; else the smallest that
    does not take all of it.
    """
    n = min(_readable(previous), _readable(current))
    one, two = _samples(previous), _samples(current)
    common = sorted(m for m in one if m in two and m < n)
    apart = [m for m in common if m <= DRAWN_SHARE * n]
    return apart[-1] if apart else common[0] if common else None


def _samples(audit: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Size of samples -> {mean, std, draws}, where there is a sharpness."""
    sharpness = audit["label_sharpness"]
    found = {int(m): sample for m, sample in sharpness.get("samples", {}).items()}
    found.setdefault(sharpness["m1000"]["m"], sharpness["m1000"])
    return {m: sample for m, sample in found.items() if _positive(sample["mean"])}


def loss_change(previous: Mapping[str, Any] | None, current: Mapping[str, Any]) -> Prediction:
    """log L2 - log L1 = log(K2/K1) - log(N2)/d2 + log(N1)/d1 between two audits of one dataset.

    The interval is by the delta method on the log scale, from the bootstrap standard errors of d and the standard
    deviation of K_F over draws, carried over to the mean over draws (`sharpness_error`). The four are taken as
    independent. They are not: audits of a growing set share images, so their errors rise and fall together and partly
    cancel; the interval is rather too wide. K_F is that of samples of one size (`common_sample`). Each d is estimated
    at its audit's own N, and estimates of one source grow somewhat with N: of a set that has grown much, a small
    predicted change means little.

    Parameters
    ----------
    previous, current : mapping
        Summaries of the audits: `created`, `run_id`, `n_images`, `n_unreadable`, `labels`, `preprocess`,
        `intrinsic_dimension.mle` {value, se}, `label_sharpness.m1000` {mean, std, m, draws} and, if there, `samples`
        {size: {mean, std, draws}}. `previous` is None if there is none.
    """
    name = "log_loss_change"
    if previous is None:
        return Prediction(name, withheld="this is the first audit of the dataset in this store")
    reason = _not_comparable(previous, current)
    if reason:
        return Prediction(name, withheld=reason)
    m = common_sample(previous, current)
    if m is None:
        return Prediction(
            name,
            withheld="there is no label sharpness of samples of one size, smaller than both sets, to compare: audit"
            f" before and after with --sample {max(2, min(map(_readable, (previous, current))) // 2)}",
        )
    audits = (previous, current)
    sizes, samples = [_readable(audit) for audit in audits], [_samples(audit)[m] for audit in audits]
    # where no draw differs from another the other audit's spread stands in: it is the same kind of images
    spreads = [(sample["std"] or 0.0) / sample["mean"] for sample in samples]
    spreads = [one or other for one, other in zip(spreads, reversed(spreads), strict=True)]
    terms, squares = [], 0.0
    for audit, n, sample, spread in zip(audits, sizes, samples, spreads, strict=True):
        d, se = audit["intrinsic_dimension"]["mle"]["value"], audit["intrinsic_dimension"]["mle"]["se"]
        terms.append(math.log(sample["mean"]) - math.log(n) / d)
        squares += sharpness_error(spread, 1.0, m, n, sample["draws"]) ** 2 + (Z * se * math.log(n) / d**2) ** 2
    value, half = terms[1] - terms[0], math.sqrt(squares)
    low, high = value - half, value + half
    significant = low > 0 or high < 0
    noise = "more than sampling noise" if significant else "no more than sampling noise"
    verdict = (
        f"{noise}; the set has become {'harder' if value > 0 else 'easier'} to learn from" if significant else noise
    )
    return Prediction(
        name,
        value,
        low,
        high,
        "log loss",
        f"generalization law of Konz & Mazurowski 2024, against run {previous['run_id']}; label sharpness at M = {m};"
        " delta method from the bootstrap standard errors of the dimensions and the standard deviation of the sharpness"
        " over draws, taken as independent (the audits share images, so the interval is rather too wide)",
        f"With {_what_changed(*sizes)} since the audit of {_day(previous['created'], current['created'])}, the expected"
        f" test loss changes by {_growth(value)} (95 % interval {_growth(low)} to {_growth(high)}): {verdict}.",
        significant=significant,
    )


def _readable(audit: Mapping[str, Any]) -> int:
    return audit["n_images"] - audit["n_unreadable"]


def _not_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why two audits do not compare, or None."""
    for key, now in new["preprocess"].items():
        before = old["preprocess"].get(key, "auto" if key == "window" else None)  # older audits knew no other window
        if before != now:
            return f"the previous audit has {key} {before}, this one {now}: they compare only under one preprocessing"
    if old["labels"]["kind"] != new["labels"]["kind"]:
        return f"the previous audit read the labels as {old['labels']['kind']}, this one as {new['labels']['kind']}"
    if set(old["labels"].get("classes") or ()) != set(new["labels"].get("classes") or ()):
        return "the classes are others than in the previous audit, and so is the task"
    if not (_samples(old) and _samples(new)):
        return "there is no label sharpness to compare"
    for audit in (old, new):
        estimate = audit["intrinsic_dimension"].get("mle") or {}
        if not _positive(estimate.get("value")):
            return "there is no maximum-likelihood intrinsic dimension to compare"
        if estimate.get("se") is None or not math.isfinite(estimate["se"]):
            return "the intrinsic dimension has no standard error"
    return None


def _positive(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _what_changed(before: int, after: int) -> str:
    return "the images added" if after > before else "the images removed" if after < before else "the changes"


def _growth(log_change: float) -> str:
    """A change of the log as one of the number itself, in a sentence."""
    return percent(math.expm1(min(log_change, 700.0)), sign=True)


def _day(created: str, now: str) -> str:
    """'3 May', with the year if it is another than now's; from ISO dates."""
    year, month, day = created[:10].split("-")
    text = f"{int(day)} {MONTHS[int(month) - 1]}"
    return text if now[:4] == year else f"{text} {year}"


def percent(share: float, *, sign: bool = False) -> str:
    """A share as a percentage in a sentence, to two digits below ten: '-4.0 %', '12 %', '0 %'.

    Examples
    --------
    >>> percent(0.00312), percent(-0.041, sign=True), percent(1.5, sign=True), percent(-1e-9, sign=True)
    ('0.31 %', '-4.1 %', '+150 %', '0 %')
    """
    hundred = 100 * share
    size = abs(hundred)
    if size < 0.005:
        return "0 %"
    digits = 0 if size >= 9.95 else 1 if size >= 0.995 else 2
    return f"{hundred:{'+' if sign else ''}.{digits}f} %"

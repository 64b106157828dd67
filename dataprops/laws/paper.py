"""The scaling laws of Konz & Mazurowski (ICLR 2024), and their predictions for a measured set.

With L the test loss of a network trained to convergence on N images, and R the mean distance an image can be moved
before the prediction changes:

    log L <= -(1/d_data) log N + log K_F + a        (generalization)
    log R >= -log K_F + b                           (robustness)

The constants a and b depend on the family of networks and cancel between two audits of one dataset. The laws are
correlational, found on CNNs with two classes; every prediction states its basis and a 95 % interval, or why it is withheld.

- `change.loss_change`: log L2 - log L1 between two audits, with a delta-method interval.
- `penalty_prediction`: loss increase under attack, by the least-squares line through the paper's eleven sets.

Fits to a user's own networks and their predictions: `fitting`, `calibrations`, `forecast`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.laws.prediction import LEVEL, Prediction, student

PAPER = "konz2024"
PAPER_SIZE = 224
PAPER_RANGE = (0, 255)
PAPER_SCALE = "per-image-max"
PAPER_SAMPLE = 1000
FULL_PEAK = 250  # the paper's scaling changes an image whose maximum is at least this by at most 2 %
FULL_FRACTION = 0.95


class PenaltyLaw(NamedTuple):
    """Least-squares line penalty = slope K_F + intercept, with the terms of its prediction interval.

    Attributes
    ----------
    slope, intercept : float
        Nats per unit of label sharpness (1 / grey level); nats.
    residual_sd : float
        sqrt(residual sum of squares / (n - 2)), nats.
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
    with (files("dataprops.laws") / "calibration" / f"{PAPER}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


def fit_penalty(table: pd.DataFrame) -> PenaltyLaw:
    """Ordinary least squares of attack_loss_penalty on label_sharpness.

    Parameters
    ----------
    table : DataFrame
        With these two columns and at least three rows that differ in sharpness.

    Raises
    ------
    ValueError
        If there are fewer rows, or all have the same sharpness.

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


@lru_cache(maxsize=1)
def penalty_score() -> dict[str, Any]:
    """Leave-one-out rmse of the line on the paper's own sets, in nats, and that of the mean (`baseline_rmse`)."""
    table = load_calibration()
    misses = []
    for row in table.itertuples():
        others = table.drop(index=row.Index)  # pyright: ignore[reportArgumentType, reportCallIssue]
        law = fit_penalty(others)
        told = law.slope * row.label_sharpness + law.intercept
        misses.append((row.attack_loss_penalty - told, row.attack_loss_penalty - others["attack_loss_penalty"].mean()))
    rmse, baseline = np.sqrt(np.mean(np.square(misses), axis=0))
    return {
        "rmse": float(rmse),
        "baseline_rmse": float(baseline),
        "baseline": "the mean",
        "unit": "nats",
        "sources": len(table),
    }


def predict_penalty(law: PenaltyLaw, sharpness: float, level: float = LEVEL) -> tuple[float, float, float]:
    """Penalty of a new dataset with its prediction interval, in nats.

    value -+ t s sqrt(1 + 1/n + (K - mean K)^2 / ssx), with t of n - 2 degrees of freedom: the interval of a new dataset, not of
    the line.
    """
    value = law.slope * sharpness + law.intercept
    spread = math.sqrt(1 + 1 / law.n + (sharpness - law.mean_k) ** 2 / law.ssx)
    half = student(law.n - 2, level) * law.residual_sd * spread
    return value, value - half, value + half


def penalty_prediction(record: Mapping[str, Any], peaks: Sequence[int] | np.ndarray = ()) -> Prediction:
    """Increase in test loss under FGSM (eps 2/255), predicted from the paper's eleven sets.

    Withheld for any preprocessing other than the paper's.

    Parameters
    ----------
    record : mapping
        A summary: `labels` {kind, classes}, `preprocess` {size, range, scale}, `label_sharpness.sample` {mean, m}.
    peaks : int [n]
        Largest grey level of each readable image before scaling. If nearly all are close to 255, the paper's scaling hardly
        changes the images, and the calibration applies without it.
    """
    name = "attack_penalty"
    reason = _outside_calibration(record, np.asarray(peaks))
    if reason:
        return Prediction(name, withheld=reason)
    table = load_calibration()
    law = fit_penalty(table)
    sample = record["label_sharpness"]["sample"]
    sharpness, m = float(sample["mean"]), int(sample["m"])
    value, low, high = predict_penalty(law, sharpness)
    remarks = []
    if m < PAPER_SAMPLE:
        remarks.append(
            f"a lower bound, since sharpness was measured on {m:,} images instead of {PAPER_SAMPLE:,} and can only increase"
            " with more images"
        )
    if not law.low_k <= sharpness <= law.high_k:
        remarks.append(
            f"an extrapolation, since the sharpness {sharpness:.2e} is outside the range {law.low_k:.2e} to"
            f" {law.high_k:.2e} of the {law.n} sets"
        )
    classes = len(record["labels"].get("classes") or ())
    if classes > 2:
        remarks.append(f"the {law.n} sets have two classes each, this one {classes}")
    caveat = f" Caution: {'; '.join(remarks)}." if remarks else ""
    by_domain = table.groupby("domain")["attack_loss_penalty"]
    highest: Any = by_domain.max()
    natural, medical = highest["natural"], by_domain.agg(["min", "max"]).loc["medical"]
    return Prediction(
        name,
        value,
        low,
        high,
        "nats",
        f"default calibration: least squares over the {law.n} datasets of Konz & Mazurowski 2024 (read off their"
        " figures), prediction interval of a new dataset; FGSM, eps 2/255",
        "An adversarial perturbation nobody would see (FGSM, eps 2/255) is expected to raise the test loss of a"
        f" network trained on this dataset by {_nats(value)} nats (95 % interval"
        f" {_nats(low)} to {_nats(high)}; the paper's everyday pictures reach {natural:.0f}, its radiology sets"
        f" {medical['min']:.0f} to {medical['max']:.0f}).{caveat}",
        significant=low > 0,
        calibration=PAPER,
        score=penalty_score(),
    )


def _outside_calibration(record: Mapping[str, Any], peaks: np.ndarray) -> str | None:
    """Why the paper's calibration does not apply to a set; None if it does."""
    preprocess, sample = record["preprocess"], record["label_sharpness"]["sample"]
    if record["labels"]["kind"] != "classes":
        return (
            "the calibration applies to classes, and this dataset has none (--labels classes reads numbers as classes)"
        )
    if sample["mean"] is None or not math.isfinite(sample["mean"]) or sample["mean"] <= 0:
        return "there is no label sharpness: it needs two different images with different labels"
    if preprocess["size"] != PAPER_SIZE:
        return (
            f"the calibration applies at {PAPER_SIZE} x {PAPER_SIZE} pixels, this audit is at {preprocess['size']} x"
            f" {preprocess['size']}: use --size {PAPER_SIZE} --scale {PAPER_SCALE}"
        )
    if tuple(preprocess.get("range", PAPER_RANGE)) != PAPER_RANGE:
        return f"the calibration applies to grey levels 0 to 255, this audit has {preprocess['range']}"
    if sample["m"] > PAPER_SAMPLE:
        return (
            f"the calibration applies to samples of {PAPER_SAMPLE} images, this audit has {sample['m']}:"
            f" use --sample {PAPER_SAMPLE}"
        )
    full = float(np.mean(peaks >= FULL_PEAK)) if len(peaks) else 0.0
    if preprocess["scale"] != PAPER_SCALE and full < FULL_FRACTION:
        return (
            "the calibration applies to images scaled to their own maximum, and only"
            f" {math.floor(100 * full)} % of these images reach the top of the range: use --scale {PAPER_SCALE}"
        )
    return None


def _nats(value: float) -> str:
    """Nats for a sentence, with a predicted decrease shown as 0; the record keeps the number."""
    return f"{max(value, 0.0):.0f}"


def images_needed(d: float, sharpness: float, a: float, target_loss: float) -> float:
    """Images needed for a target test loss by the generalization law: N* = exp(d (log K_F + a - log L*)).

    Parameters
    ----------
    d, sharpness : float
        Intrinsic dimension and label sharpness.
    a : float
        Constant of the family of networks, from a trained network: a = log L + log(N) / d - log K_F.
    target_loss : float
        L*.

    Returns
    -------
    float
        Infinite on overflow.
    """
    exponent = d * (math.log(sharpness) + a - math.log(target_loss))
    return math.exp(exponent) if exponent < 700 else math.inf

"""The scaling laws of Konz & Mazurowski 2024, and what they predict for a measured set.

With L the test loss of a network trained to convergence on N images, and R the mean distance an image can be moved before
the prediction changes:

    log L <= -(1/d_data) log N + log K_F + a        (generalization)
    log R >= -log K_F + b                           (robustness)

The constants belong to a family of networks and cancel between two audits of one dataset. The laws are correlational, found on
CNNs with two classes; every prediction says what it rests on and has a 95 % interval, or says why it is withheld.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LEVEL = 0.95
PAPER_SIZE = 224
PAPER_SAMPLE = 1000
FULL_PEAK = 250  # an image whose brightest value is at least this is changed by at most 2 % by the paper's scaling
FULL_SHARE = 0.95


@dataclass(frozen=True)
class Prediction:
    """A predicted number with its interval, or the reason why there is none.

    Attributes
    ----------
    name : str
    value, low, high : float or None
        None if withheld.
    unit : str
    basis : str
        What it rests on.
    sentence : str
        In words.
    withheld : str or None
        The reason, and the way to get the prediction.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    basis: str = ""
    sentence: str = ""
    withheld: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Line(NamedTuple):
    """A least-squares line y = slope x + intercept, with what a prediction interval needs."""

    slope: float
    intercept: float
    residual_sd: float
    n: int
    mean_x: float
    ssx: float
    low_x: float
    high_x: float


def load_calibration() -> pd.DataFrame:
    """The paper's eleven datasets: d_data, label_sharpness, attack_loss_penalty (read off its figures)."""
    with (files("dataprops") / "calibration" / "konz2024.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, comment="#")


def fit_line(x: np.ndarray, y: np.ndarray) -> Line:
    """Ordinary least squares of y on x."""
    x, y = np.asarray(x, float), np.asarray(y, float)
    n, mean = len(x), float(x.mean())
    ssx = float(((x - mean) ** 2).sum())
    slope = float(((x - mean) * (y - y.mean())).sum()) / ssx
    intercept = float(y.mean()) - slope * mean
    residual = float(((y - slope * x - intercept) ** 2).sum())
    return Line(slope, intercept, math.sqrt(residual / (n - 2)), n, mean, ssx, float(x.min()), float(x.max()))


def predict_line(line: Line, x: float, level: float = LEVEL) -> tuple[float, float, float]:
    """Value and prediction interval at x, by Student's t with n - 2 degrees of freedom."""
    from scipy.stats import t

    value = line.slope * x + line.intercept
    half = (
        t.ppf(0.5 + level / 2, line.n - 2)
        * line.residual_sd
        * math.sqrt(1 + 1 / line.n + (x - line.mean_x) ** 2 / line.ssx)
    )
    return value, value - half, value + half


def predicted_penalty(
    sharpness: float | None,
    *,
    m: int,
    size: int,
    scale: str,
    kind: str,
    peaks: np.ndarray,
) -> Prediction:
    """The rise of the test loss under FGSM (eps 2/255) that the paper's eleven sets suggest for this one.

    Parameters
    ----------
    sharpness : float or None
        Label sharpness of samples of m images.
    size, scale : int, str
        Preprocessing.
    kind : str
        Kind of the labels.
    peaks : int [n]
        Largest grey level of each readable image before scaling.
    """
    name = "attack_penalty"
    if kind != "classes" or sharpness is None or not math.isfinite(sharpness):
        return Prediction(name, withheld="needs two classes that differ in their images")
    if size != PAPER_SIZE:
        return Prediction(
            name, withheld=f"the calibration holds at 224 x 224, this audit is at {size} x {size}: use --size 224"
        )
    if scale != "per-image-max" and float(np.mean(peaks >= FULL_PEAK)) < FULL_SHARE:
        return Prediction(
            name,
            withheld="the calibration holds for images scaled to their brightest value, and many of these do not reach 255:"
            " use --scale per-image-max",
        )
    line = fit_line(*load_calibration()[["label_sharpness", "attack_loss_penalty"]].to_numpy().T)
    value, low, high = predict_line(line, sharpness)
    remarks = []
    if m < PAPER_SAMPLE:
        remarks.append(f"the set has only {m} images for samples of 1000, so the true value is rather higher")
    if not line.low_x <= sharpness <= line.high_x:
        remarks.append("the sharpness lies outside the eleven sets' range, so this is an extrapolation")
    extra = f" ({'; '.join(remarks)})" if remarks else ""
    return Prediction(
        name,
        value,
        low,
        high,
        "nats",
        "default calibration: the eleven datasets of Konz & Mazurowski 2024",
        f"A small deliberate disturbance (FGSM, 2/255) is expected to raise the test loss of a network trained on this set by"
        f" {value:.0f} nats (95 % interval {low:.0f} to {high:.0f}){extra}.",
    )


def predicted_doubling(d: float | None, se: float | None) -> Prediction:
    """The relative change of the test loss when the set doubles: 2^(-1/d) - 1, from the generalization law."""
    name = "loss_if_doubled"
    if d is None or not math.isfinite(d) or d <= 0:
        return Prediction(name, withheld="needs an intrinsic dimension")
    spread = 1.96 * (se if se is not None and math.isfinite(se) else 0.0)

    def change(dimension: float) -> float:
        return 2 ** (-1 / dimension) - 1

    value, low, high = change(d), change(max(d - spread, 1e-9)), change(d + spread)
    return Prediction(
        name,
        value,
        low,
        high,
        "relative",
        "generalization law of Konz & Mazurowski 2024; interval from the standard error of the dimension",
        f"Twice as many images of this kind are expected to lower the test loss by about {-value:.1%}"
        f" (95 % interval {-high:.1%} to {-low:.1%}).",
    )


def images_needed(d: float, sharpness: float, a: float, target_loss: float) -> float:
    """N* = exp(d (log K_F + a - log L*)): images for a target test loss, by the generalization law."""
    return math.exp(d * (math.log(sharpness) + a - math.log(target_loss)))


def _common_sample(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The largest size of samples that both audits measured the sharpness of."""
    one, two = old["label_sharpness"].get("samples", {}), new["label_sharpness"].get("samples", {})
    common = [m for m in one if m in two and one[m]["mean"] and two[m]["mean"]]
    return max(common, key=int, default=None)


def _comparable(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Why two audits do not compare, or None."""
    if old["preprocess"] != new["preprocess"]:
        return "the previous audit used another preprocessing"
    if old["labels"]["kind"] != new["labels"]["kind"]:
        return "the previous audit read the labels in another way"
    if not _common_sample(old, new):
        return "there is no label sharpness of samples of one size to compare (sets of 100 images or more have some)"
    if not all((audit["intrinsic_dimension"].get("mle") or {}).get("value") for audit in (old, new)):
        return "there is no intrinsic dimension to compare"
    return None


def predicted_change(old: dict[str, Any] | None, new: dict[str, Any], seed: int = 0, draws: int = 20_000) -> Prediction:
    """log L2 - log L1 = log(K2/K1) - log(N2)/d2 + log(N1)/d1 between two audits of one dataset.

    Parameters
    ----------
    old, new : dict
        Summaries of the audits.

    The interval is by Monte Carlo: d normal with its bootstrap standard error, K (the mean over draws of M images) normal
    with the standard deviation over draws divided by the root of their number; old and new taken as independent, which makes it wide
    rather than narrow where the sets overlap.
    """
    name = "log_loss_change"
    if old is None:
        return Prediction(name, withheld="this is the first audit of the dataset in this store")
    reason = _comparable(old, new)
    if reason:
        return Prediction(name, withheld=reason)
    rng = np.random.default_rng(seed)
    m = _common_sample(old, new) or ""

    def term(audit: dict[str, Any]) -> tuple[float, np.ndarray]:
        d, se = audit["intrinsic_dimension"]["mle"]["value"], audit["intrinsic_dimension"]["mle"]["se"] or 0.0
        k = audit["label_sharpness"]["samples"][m]
        error = (k["std"] or 0.0) / math.sqrt(k["draws"])
        n = audit["n_images"] - audit["n_unreadable"]
        dimensions = np.maximum(rng.normal(d, se, draws), 0.5)
        sharpness = np.maximum(rng.normal(k["mean"], error, draws), k["mean"] * 1e-3)
        return math.log(k["mean"]) - math.log(n) / d, np.log(sharpness) - math.log(n) / dimensions

    (one, spread_one), (two, spread_two) = term(old), term(new)
    value = two - one
    low, high = np.quantile(spread_two - spread_one, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    verdict = (
        "no more than sampling noise" if low <= 0 <= high else "a worse network" if low > 0 else "a better network"
    )
    return Prediction(
        name,
        value,
        float(low),
        float(high),
        "log loss",
        f"generalization law of Konz & Mazurowski 2024, against run {old['run_id']}, K at M = {m}",
        f"Against the audit of {old['created'][:10]} the expected test loss changes by {math.expm1(value):+.1%} (95 % interval"
        f" {math.expm1(low):+.1%} to {math.expm1(high):+.1%}): {verdict}.",
    )

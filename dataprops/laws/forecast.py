"""Predictions of a store's calibration for a measured set: test loss, loss increase under attack, images for a target loss.

Intervals are conformal for grouped data [1]_, from leave-one-dataset-out residuals: every dataset has the same weight, shared
equally by its rows, and the half width is the quantile of the absolute residuals at (1 + 1/G) times the nominal level. G
datasets support a level of at most G/(G+1), so 95 % takes 19. With fewer, the half width is the largest residual and the level
is G/(G+1): 92 % for 11 datasets, 83 % for 5; below 5 there is no interval. The new set is assumed exchangeable with those of the
calibration.

References
----------
.. [1] R. Dunn, L. Wasserman, A. Ramdas, Distribution-free prediction sets for two-layer hierarchical models, JASA 118 (2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dataprops.laws.calibrations import Calibration, reason_not_applicable
from dataprops.laws.fitting.fitted import FittedLaw
from dataprops.laws.fitting.sources import conformal_half
from dataprops.laws.paper import PAPER_SAMPLE, penalty_prediction
from dataprops.laws.prediction import LEVEL, Prediction

LEAST = 5  # datasets; the level of an interval from fewer would be below 83 %
REACH = 1e9  # images; a target that takes more counts as out of reach
NO_CALIBRATION = (
    "the store has no calibration, and the paper's table has no losses: run dataprops experiment, then dataprops fit"
)


def miss_quantile(residuals: Mapping[str, Sequence[float]]) -> tuple[float, float] | None:
    """Half width of a prediction interval, and its level; None with fewer than `LEAST` datasets.

    Examples
    --------
    >>> miss_quantile({f"set {i}": [i / 10, -i / 10] for i in range(5)})
    (0.4, 0.8333333333333334)
    """
    sets = [np.abs(np.asarray(values, float)) for values in residuals.values() if len(values)]
    if len(sets) < LEAST:
        return None
    level = min(LEVEL, len(sets) / (len(sets) + 1))
    code = np.repeat(np.arange(len(sets)), [len(misses) for misses in sets])
    return conformal_half(np.concatenate(sets), code, level), level


def _interval_words(line: FittedLaw, spread: tuple[float, float] | None) -> tuple[str, str]:
    """(name of the interval, how it was obtained)."""
    sets = len(line.residuals)
    if spread is None:
        return (
            "no interval",
            f"no interval: it needs leave-one-out residuals of {LEAST} datasets, the calibration has {sets}",
        )
    share = f"{math.floor(100 * spread[1] + 1e-9)} %"
    if spread[1] < LEVEL:
        return f"{share} interval", (
            f"interval: the largest leave-one-out error among {sets} datasets, expected to cover {share} of new datasets"
        )
    return (
        f"{share} interval",
        f"interval: the {share} quantile of the leave-one-out errors of {sets} datasets",
    )


def measured_numbers(record: Mapping[str, Any]) -> dict[str, float | None]:
    """Numbers of a summary under the calibration's column names."""
    dimension = (record["intrinsic_dimension"].get("mle_paper") or {}).get("value")
    sample = record["label_sharpness"]["sample"]
    return {
        "n_train": record["n_images"] - record["n_unreadable"],
        "d_data": dimension,
        "k_f": sample["mean"],
        "m": sample["m"],
        "classes": len(record["labels"].get("classes") or ()),
    }


NAMES = {
    "n_train": "number of images",
    "d_data": "intrinsic dimension (MLE as in the paper)",
    "k_f": "label sharpness",
    "classes": "number of classes",
}


def _missing_in(measured: Mapping[str, float | None], columns: Iterable[str]) -> str | None:
    """Why a law that needs these columns does not apply to a set; None if it does."""
    for name in columns:
        value = measured[name]
        if value is None or not math.isfinite(value) or value <= 0:
            return f"the audit has no {NAMES[name]}"
    if measured["m"] is not None and measured["m"] > PAPER_SAMPLE:
        return (
            f"calibrations apply to samples of {PAPER_SAMPLE} images, this audit has {measured['m']:.0f}:"
            f" use --sample {PAPER_SAMPLE}"
        )
    return None


def _caveat(line: FittedLaw, measured: Mapping[str, float | None]) -> str:
    """Caveats to append to the prediction's sentence; "" if there are none."""
    remarks = []
    for name, (low, high) in line.ranges.items():
        value = measured.get(name)
        if value is not None and not low <= value <= high:
            remarks.append(
                f"an extrapolation, since the {NAMES[name]} {value:.4g} is outside the calibration's {low:.4g} to {high:.4g}"
            )
    if (measured["m"] or 0) < min(PAPER_SAMPLE, measured["n_train"] or 0):
        remarks.append(
            f"label sharpness was measured on samples of {measured['m']:,} images, and is larger in samples of"
            f" {PAPER_SAMPLE:,}: use --sample {PAPER_SAMPLE}"
        )
    return f" Caution: {'; '.join(remarks)}." if remarks else ""


def _unproven(calibration: Calibration, line: FittedLaw) -> str | None:
    """Why the prediction of a calibration's law is withheld; None if the law clearly beats the baselines."""
    if line.clearly:
        return None
    told = line.verdict or "it was fitted by an earlier version: run dataprops fit again"
    return f"the law of calibration {calibration.id} is not shown to predict held-out datasets. {told}"


def _score(calibration: Calibration, line: FittedLaw) -> dict[str, Any] | None:
    """Leave-one-dataset-out rmse of the law and of log N alone; None for fits that do not record it."""
    own, base = (calibration.fit.get(part, {}).get(line.law, {}) for part in ("lodo", "baselines"))
    own = own.get(line.form, {})
    if own.get("rmse") is None:
        return None
    return {
        "rmse": own["rmse"],
        "baseline_rmse": base.get("log_n", {}).get("rmse"),
        "baseline": "log N alone",
        "unit": own["unit"],
        "sources": len(line.residuals),
    }


def _basis(calibration: Calibration, line: FittedLaw, where: str, families: str) -> str:
    slopes = ", ".join(f"{value:.3g} for {term.replace('_', ' ')}" for term, value in line.slopes.items())
    return (
        f"calibration {calibration.id} of this store ({len(line.residuals)} datasets; {', '.join(line.intercepts)});"
        f" slopes {line.form}: {slopes}; {families}{where}"
    )


def not_by_own(prediction: Prediction, reason: str) -> Prediction:
    """A prediction of the shipped calibration, with the reason why the store's own is not used for it."""
    reason = reason.removesuffix(".")
    if prediction.withheld is None:
        return replace(prediction, unused=reason)
    if prediction.withheld == reason:
        return prediction
    told = f"the store's own calibration is not used: {reason}; for the shipped calibration, {prediction.withheld}"
    return replace(prediction, withheld=told)


def expected_penalty(record: Mapping[str, Any], peaks: np.ndarray, calibration: Calibration | None) -> Prediction:
    """Expected increase in test loss under FGSM (eps 2/255), from the store's calibration, else from the paper's eleven sets.

    Parameters
    ----------
    record : mapping
        A summary.
    peaks : int [n]
        See `calibrations.reason_not_applicable`.
    calibration : Calibration or None
    """
    if calibration is None:
        return penalty_prediction(record, peaks)
    line = calibration.lines.get("robustness")
    measured = measured_numbers(record)
    reason = reason_not_applicable(calibration, record, peaks) or (
        _missing_in(measured, ["k_f"]) or _unproven(calibration, line)
        if line
        else f"the calibration {calibration.id} has no attacks (penalty_2)"
    )
    if reason or line is None:
        paper = penalty_prediction(record, peaks)
        if paper.withheld:
            own = (reason or "").removesuffix(".")
            return replace(paper, withheld=f"{own}; for the paper's calibration, {paper.withheld}")
        return not_by_own(paper, reason or "")
    k = float(measured["k_f"] or 0.0)
    value = line.intercept + line.slopes["sharpness"] * k
    spread = miss_quantile(line.residuals)
    called, where = _interval_words(line, spread)
    low, high = (None, None) if spread is None else (value - spread[0], value + spread[0])
    ends = "" if low is None or high is None else f" {max(low, 0.0):.2g} to {max(high, 0.0):.2g}"
    return Prediction(
        "attack_penalty",
        value,
        low,
        high,
        "nats",
        _basis(
            calibration, line, where, _each(line, {f: a + value - line.intercept for f, a in line.intercepts.items()})
        )
        + "; FGSM, eps 2/255",
        "An adversarial perturbation nobody would see (FGSM, eps 2/255) is expected to raise the test loss of a network"
        f" trained on this dataset by {max(value, 0.0):.2g} nats ({called}{ends}; by the store's own calibration)."
        f"{_caveat(line, measured)}",
        significant=low is not None and low > 0,
        level=None if spread is None else spread[1],
        calibration=calibration.id,
        score=_score(calibration, line),
    )


def _each(line: FittedLaw, values: Mapping[str, float]) -> str:
    """The prediction for each family of networks, if there are several."""
    if len(line.intercepts) < 2:
        return ""
    return "each network: " + ", ".join(f"{family} {value:.3g}" for family, value in values.items()) + "; "


def _log_loss(line: FittedLaw, measured: Mapping[str, float | None]) -> float:
    """Expected log test loss, averaged over families of networks."""
    n, d, k = (float(measured[name] or 0.0) for name in ("n_train", "d_data", "k_f"))
    return (
        line.intercept
        - line.slopes["log_n_per_dimension"] * math.log(n) / d
        + line.slopes["log_sharpness"] * math.log(k)
    )


def _loss_line(
    record: Mapping[str, Any], peaks: np.ndarray, calibration: Calibration | None
) -> tuple[FittedLaw | None, dict[str, float | None], str]:
    """The fitted generalization law, the set's numbers, and why there is no prediction ("" if there is)."""
    measured = measured_numbers(record)
    if calibration is None:
        return None, measured, NO_CALIBRATION
    line = calibration.lines.get("generalization")
    if line is None:
        why = calibration.fit["laws"]["generalization"].get("missing", "the law could not be fitted")
        return None, measured, f"the calibration {calibration.id} has no generalization law: {why}"
    reason = reason_not_applicable(calibration, record, peaks) or _missing_in(measured, ["n_train", "d_data", "k_f"])
    reason = reason or _unproven(calibration, line)
    return line, measured, reason or ""


def expected_loss(record: Mapping[str, Any], peaks: np.ndarray, calibration: Calibration | None) -> Prediction:
    """Expected test loss, in nats, of a network like the calibration's trained on all readable images of the set."""
    name = "test_loss"
    line, measured, reason = _loss_line(record, peaks, calibration)
    if reason or line is None or calibration is None:
        return Prediction(name, withheld=reason)
    log_loss = _log_loss(line, measured)
    spread = miss_quantile(line.residuals)
    called, where = _interval_words(line, spread)
    value = math.exp(log_loss)
    low, high = (None, None) if spread is None else (math.exp(log_loss - spread[0]), math.exp(log_loss + spread[0]))
    ends = "" if low is None else f" {low:.2g} to {high:.2g}"
    families = {family: math.exp(log_loss + a - line.intercept) for family, a in line.intercepts.items()}
    return Prediction(
        name,
        value,
        low,
        high,
        "nats",
        _basis(calibration, line, where, _each(line, families)),
        f"A network like those of the calibration, trained on these {measured['n_train']:,} images, is expected to have a"
        f" test loss of {value:.2g} nats ({called}{ends}).{_caveat(line, measured)}",
        level=None if spread is None else spread[1],
        calibration=calibration.id,
        score=_score(calibration, line),
    )


def images_for_loss(
    record: Mapping[str, Any], peaks: np.ndarray, calibration: Calibration | None, target: float
) -> Prediction:
    """Images needed for a target test loss: N* = N (L / L*)^(d/s), with s the slope of (log N)/d.

    The interval evaluates N* at both ends of the interval of the expected loss and, where the slope is free, at both ends of
    its bootstrap interval. If that contains 0, the upper end is infinite.
    """
    name = "images_needed"
    line, measured, reason = _loss_line(record, peaks, calibration)
    if reason or line is None or calibration is None:
        return Prediction(name, withheld=reason)
    n, d = float(measured["n_train"] or 0), float(measured["d_data"] or 0)
    log_loss, term = _log_loss(line, measured), "log_n_per_dimension"
    spread = miss_quantile(line.residuals)
    called, where = _interval_words(line, spread)
    slopes = [end for end in (line.slope_low[term], line.slope_high[term]) if end is not None]
    value = _needed(n, d, log_loss - math.log(target), line.slopes[term])
    low = high = None
    if spread is not None:
        gaps = [log_loss - math.log(target) + sign * spread[0] for sign in (-1, 1)]
        ends = [_needed(n, d, gap, slope) for gap in gaps for slope in [line.slopes[term], *slopes]]
        low, high = min(ends), max(ends)
    if not slopes:
        where += "; it does not include the uncertainty of the slope, which is unknown"
    sentence = _needed_words(target, n, value, low, high, called) + _caveat(line, measured)
    return Prediction(
        name,
        value,
        low,
        high,
        "images",
        _basis(calibration, line, where, ""),
        sentence,
        level=None if spread is None else spread[1],
        calibration=calibration.id,
        score=_score(calibration, line),
    )


def _needed(n: float, d: float, gap: float, slope: float) -> float:
    """Images at which the log loss is lower by `gap`; infinite if more images do not lower it."""
    if gap > 0 and slope <= 0:
        return math.inf
    exponent = d * gap / slope if slope > 0 else -math.inf
    return max(1.0, n * math.exp(exponent)) if exponent < 700 else math.inf


def _count(images: float) -> str:
    if images > REACH:
        return "more than a billion"
    digits = max(0, math.floor(math.log10(images)) - 1)  # two significant digits
    return f"{round(images, -digits):,.0f}"


def _needed_words(target: float, n: float, value: float, low: float | None, high: float | None, called: str) -> str:
    start = f"A test loss of {target:.3g} nats"
    if low is not None and low > REACH:
        return (
            f"{start} is not reachable by more data of this kind: even the favourable end of the {called} is beyond a"
            " billion images."
        )
    if low is None:
        told = f"({called})"
    elif high is not None and high > REACH:
        told = f"({called} from {_count(low)}, with no finite upper bound: more data of this kind may not reach it)"
    else:
        told = f"({called} {_count(low)} to {_count(high or value)})"
    if value > REACH:
        return f"{start} is expected to take {_count(value)} images of this kind {told}."
    if value <= n:
        return f"{start} is expected already: {_count(value)} of the {n:,.0f} images are expected to suffice {told}."
    return f"{start} is expected to take {_count(value)} images of this kind {told}; the dataset has {n:,.0f}."

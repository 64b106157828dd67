"""Change between two audits of one dataset: label sharpness at equal sample size, and the predicted change in loss."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from dataprops.laws.prediction import Prediction
from dataprops.util.normal import Z
from dataprops.util.numbers import percent

# the law's N-term does not hold (laws/README.md), so audits whose image counts differ by more are not compared
MOST_GROWTH = 0.10
DRAWN_FRACTION = 0.25  # larger samples overlap too much for their spread to be estimated well


MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def sharpness_error(std: float, mean: float, m: int, n: int, draws: int) -> float:
    """Half width of the 95 % interval of log K_F, where K_F is the mean over draws of m out of n images of one source.

    Draws from one set share images, so they vary less than independent samples from the source. The mean over all draws of m
    out of n is a U-statistic: its variance is at most m/n of a single sample's [1]_, and close to that where single images
    dominate. K_F depends on pairs: two draws share an image with probability m/n, a pair with (m/n)^2, and where independent
    pairs dominate its variance is (m/n)^2 of a single sample's. Real sets lie between, as some images are in many of the
    sharpest pairs: with r = (m/n)^(3/2), a sample's variance is std^2 / (1 - r); a fraction r of it is common to all draws, and
    the rest averages out over them.

    Coverage measured between disjoint halves of eight real sets (`tests/benchmarks/coverage.md`): 90 % intervals cover the
    difference in 82 to 96 % of 100 splits at m/n = 1/4 and in 80 to 98 % at 1/2. With r = m/n and Student's t for n/m
    disjoint samples, which is right for a maximum of single values, they cover 98 to 100 %; with r = (m/n)^2, 71 to 95 %.

    References
    ----------
    .. [1] W. Hoeffding, A class of statistics with asymptotically normal distribution, Ann. Math. Stat. 19 (1948).
    """
    shared = (m / n) ** 1.5
    return Z * std / mean * math.sqrt(shared / (1 - shared) + 1 / draws)


def common_sample(previous: Mapping[str, Any], current: Mapping[str, Any]) -> int | None:
    """The sample size at which to compare the sharpness of two audits; None if they have none in common.

    The largest that both audits drew and that is at most `DRAWN_FRACTION` of the smaller set; else the smallest common one
    below the size of that set.
    """
    n = min(_readable(previous), _readable(current))
    one, two = _samples(previous), _samples(current)
    common = sorted(m for m in one if m in two and m < n)
    apart = [m for m in common if m <= DRAWN_FRACTION * n]
    return apart[-1] if apart else common[0] if common else None


def sample_spreads(previous: Mapping[str, Any], current: Mapping[str, Any], m: int) -> list[float]:
    """Standard deviation over draws of the sharpness at sample size m, for each of two audits (m from `common_sample`)."""
    return [float(_samples(audit)[m]["std"] or 0.0) for audit in (previous, current)]


def _samples(audit: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Sample size -> {mean, std, draws}, where the sharpness is defined."""
    sharpness = audit["label_sharpness"]
    found = {int(m): sample for m, sample in sharpness.get("samples", {}).items()}
    found.setdefault(sharpness["sample"]["m"], sharpness["sample"])
    return {m: sample for m, sample in found.items() if _positive(sample["mean"])}


def _drawn(
    previous: Mapping[str, Any], current: Mapping[str, Any], m: int
) -> tuple[list[int], list[Mapping[str, Any]], list[float]]:
    """For two audits: number of readable images, sample statistics at size m, and relative spread over draws."""
    audits = (previous, current)
    sizes, samples = [_readable(audit) for audit in audits], [_samples(audit)[m] for audit in audits]
    # an audit whose draws are all equal takes the other audit's spread, as the images are of the same kind
    spreads = [(sample["std"] or 0.0) / sample["mean"] for sample in samples]
    spreads = [one or other for one, other in zip(spreads, reversed(spreads), strict=True)]
    return sizes, samples, spreads


def sharpness_change(
    previous: Mapping[str, Any], current: Mapping[str, Any], m: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Label sharpness of two audits at sample size m, and half widths of the 95 % intervals of its log (`sharpness_error`).

    Both audits must have drawn samples of `m`, which must be below the size of both sets (`common_sample`).
    """
    sizes, samples, spreads = _drawn(previous, current, m)
    one, two = (
        sharpness_error(spread, 1.0, m, n, sample["draws"])
        for spread, n, sample in zip(spreads, sizes, samples, strict=True)
    )
    return (float(samples[0]["mean"]), float(samples[1]["mean"])), (one, two)


def loss_change(previous: Mapping[str, Any] | None, current: Mapping[str, Any]) -> Prediction:
    """Predicted change in the log test loss between two audits of one dataset.

        log L2 - log L1 = log(K2/K1) - log(N2)/d2 + log(N1)/d1        (law 1 of Konz & Mazurowski 2024, see `paper`)

    The interval is by the delta method on the log scale, from the bootstrap standard errors of d and the standard error of
    the mean K_F over draws (`sharpness_error`). The four terms are treated as independent. In fact audits of a growing set
    share images, so their errors are positively correlated and partly cancel: the interval is conservative. K_F is taken at
    equal sample size (`common_sample`). Where N differs by more than `MOST_GROWTH` the prediction is withheld: d itself grows
    with N, and the term (log N)/d had the wrong sign in half of the pairs tested.

    Parameters
    ----------
    previous, current : mapping
        Summaries of the audits: `created`, `run_id`, `n_images`, `n_unreadable`, `labels`, `preprocess`,
        `intrinsic_dimension.mle` {value, se}, `label_sharpness.sample` {mean, std, m, draws} and, if present, `samples`
        {size: {mean, std, draws}}. `previous` is None for the first audit.
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
            withheld="the audits have no common sample size below the size of both datasets at which to compare label sharpness:"
            f" audit before and after with --sample {max(2, min(map(_readable, (previous, current))) // 2)}",
        )
    audits = (previous, current)
    sizes, samples, spreads = _drawn(previous, current, m)
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
        f"{noise}; the dataset has become {'harder' if value > 0 else 'easier'} to learn from" if significant else noise
    )
    return Prediction(
        name,
        value,
        low,
        high,
        "log loss",
        f"generalization law of Konz & Mazurowski 2024, against run {previous['run_id']}; label sharpness at M = {m};"
        " delta method from the bootstrap standard errors of the dimensions and the standard deviation of the sharpness"
        " over draws, taken as independent (the audits share images, so the interval is conservative)",
        f"{_told(previous, current, 'the expected test loss', (value, low, high))}: {verdict}.",
        significant=significant,
    )


@lru_cache(maxsize=1)
def alarm_score() -> dict[str, Any]:
    """Reliability of alarms from the paired change: counts over real sets, from `tests/benchmarks/changes.py`.

    Returns
    -------
    dict
        sources, halves (pairs of random halves compared), false_alarms among them, flips_found (sources on which flipping a tenth
        of the labels raised an alarm), resolution_found (the same for lost resolution).
    """
    with (files("dataprops.laws") / "calibration" / "probe" / "changes.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {
        "sources": len(rows),
        "halves": sum(int(row["halves"]) for row in rows),
        "false_alarms": sum(int(row["alarms"]) for row in rows),
        "flips_found": sum(row["flipped_10_alarm"] == "True" for row in rows),
        "resolution_found": sum(row["resolution_lost_alarm"] == "True" for row in rows),
    }


def probe_change(
    change: Mapping[str, Any] | None, previous: Mapping[str, Any] | None, current: Mapping[str, Any]
) -> Prediction:
    """Paired change in the held-out loss of the reference classifier since the previous audit (`probe.paired`).

    Parameters
    ----------
    change : mapping or None
        value, low, high, expected (the part explained by the number of images; log ratios), before, after (nats), paired, new,
        gone; or `withheld`. None: the files are unchanged, so the audit reused the tables of the previous one.
    previous, current : mapping
        Summaries.
    """
    name = "log_loss_change"
    if previous is None:
        return Prediction(name, withheld="this is the first audit of the dataset in this store")
    if change is None:
        if current.get("probe") is None:
            return Prediction(name, withheld=f"it is measured by the probe: {current.get('probe_withheld')}")
        change = dict.fromkeys(("value", "low", "high", "expected"), 0.0)
    if change.get("withheld"):
        return Prediction(name, withheld=change["withheld"])
    value, low, high, expected = (float(change[key]) for key in ("value", "low", "high", "expected"))
    harder, easier = low - max(expected, 0.0) > 0, high < 2 * min(expected, 0.0)
    verdict = "no more than sampling noise"
    if harder:
        verdict = "more than sampling noise; the dataset has become harder to learn, or its labels noisier"
    elif easier:
        verdict = "more than sampling noise; the dataset has become easier to learn"
    elif high < 0:
        verdict = "as expected from more images of the same kind"
    elif low > 0:
        verdict = "as expected from fewer images"
    return Prediction(
        name,
        value,
        low,
        high,
        "log loss",
        f"reference classifier, against run {previous['run_id']}: images in both audits keep their folds, new ones are assigned to"
        " folds; bootstrap over groups",
        f"{_told(previous, current, 'the held-out loss of the reference classifier', (value, low, high))}: {verdict}.",
        significant=harder or easier,
        score=alarm_score(),
    )


def _told(
    previous: Mapping[str, Any], current: Mapping[str, Any], what: str, change: tuple[float, float, float]
) -> str:
    """'With 20 more images since the audit of ..., the ... changes by ... (95 % interval ... to ...)'."""
    sizes = _readable(previous), _readable(current)
    value, low, high = map(_growth, change)
    return (
        f"With {_what_changed(*sizes)} since the audit of {_day(previous['created'], current['created'])}, {what} changes by {value}"
        f" (95 % interval {low} to {high})"
    )


def _readable(audit: Mapping[str, Any]) -> int:
    return audit["n_images"] - audit["n_unreadable"]


def preprocessing_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why two audits cannot be compared because of their preprocessing, or None."""
    for key, now in new["preprocess"].items():
        before = old["preprocess"].get(key, "auto" if key == "window" else None)  # the only window of older versions
        if before != now:
            return f"the previous audit has {key} {before}, this one {now}: comparisons require the same preprocessing"
    return None


def _not_comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Why two audits are not comparable, or None."""
    reason = preprocessing_differs(old, new)
    if reason:
        return reason
    if old["labels"]["kind"] != new["labels"]["kind"]:
        return f"the previous audit read the labels as {old['labels']['kind']}, this one as {new['labels']['kind']}"
    if set(old["labels"].get("classes") or ()) != set(new["labels"].get("classes") or ()):
        return "the classes differ from those of the previous audit, so it is a different task"
    before, after = _readable(old), _readable(new)
    if abs(after - before) > MOST_GROWTH * before:
        return (
            f"the previous audit has {before:,} images, this one {after:,}: the law's dependence on N does not hold at"
            f" this scale, so sets are compared only where N differs by at most {percent(MOST_GROWTH)}"
        )
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
    """A change in the log as a signed percentage change."""
    return percent(math.expm1(min(log_change, 700.0)), sign=True)


def _day(created: str, now: str) -> str:
    """'3 May', with the year if it is not that of `now`; both are ISO dates."""
    year, month, day = created[:10].split("-")
    text = f"{int(day)} {MONTHS[int(month) - 1]}"
    return text if now[:4] == year else f"{text} {year}"

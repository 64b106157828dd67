"""What changed between two audits of one dataset: label sharpness at samples of one size, and what the law makes of it."""

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

# the law's N-term does not hold (laws/README.md): audits whose numbers of images differ by more do not compare
MOST_GROWTH = 0.10
DRAWN_FRACTION = 0.25  # samples that take more of a set are too much alike to show their spread well


MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def sharpness_error(std: float, mean: float, m: int, n: int, draws: int) -> float:
    """Half width of the 95 % interval of log K_F, K_F the mean over draws of m out of n images of one source.

    Draws from one set share images and vary less than samples from the source would. The mean over all draws of m out
    of n is a U-statistic: its variance is at most m/n of a sample's [1]_, and near that where single images decide. K_F is
    decided by pairs: two draws share an image with probability m/n, a pair with (m/n)^2, and where pairs of unlike images decide
    its variance is (m/n)^2 of a sample's. Real sets lie between, as some images are in many of the sharpest pairs: with
    r = (m/n)^(3/2), a sample's variance is std^2 / (1 - r), r of it common to all draws, and the rest averages out over them.

    Counted between disjoint halves (`tests/benchmarks/coverage.md`): of eight real sets 90 % intervals hold the
    difference in 82 to 96 % of 100 splits at m/n = 1/4, 80 to 98 % at 1/2. With r = m/n and Student's t for the n/m
    samples that share nothing, which is right for the largest of single values, they hold 98 to 100 %; with r = (m/n)^2 71 to 95 %.

    References
    ----------
    .. [1] W. Hoeffding, A class of statistics with asymptotically normal distribution, Ann. Math. Stat. 19 (1948).
    """
    shared = (m / n) ** 1.5
    return Z * std / mean * math.sqrt(shared / (1 - shared) + 1 / draws)


def common_sample(previous: Mapping[str, Any], current: Mapping[str, Any]) -> int | None:
    """The size of samples at which the sharpness of two audits compares; None if there is none.

    The largest that both audits drew and that takes at most `DRAWN_FRACTION` of the smaller set; else the smallest that
    does not take all of it.
    """
    n = min(_readable(previous), _readable(current))
    one, two = _samples(previous), _samples(current)
    common = sorted(m for m in one if m in two and m < n)
    apart = [m for m in common if m <= DRAWN_FRACTION * n]
    return apart[-1] if apart else common[0] if common else None


def sample_spreads(previous: Mapping[str, Any], current: Mapping[str, Any], m: int) -> list[float]:
    """Standard deviation over draws of the sharpness of m images, of two audits that both drew them (`common_sample`)."""
    return [float(_samples(audit)[m]["std"] or 0.0) for audit in (previous, current)]


def _samples(audit: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    """Size of samples -> {mean, std, draws}, where there is a sharpness."""
    sharpness = audit["label_sharpness"]
    found = {int(m): sample for m, sample in sharpness.get("samples", {}).items()}
    found.setdefault(sharpness["sample"]["m"], sharpness["sample"])
    return {m: sample for m, sample in found.items() if _positive(sample["mean"])}


def _drawn(
    previous: Mapping[str, Any], current: Mapping[str, Any], m: int
) -> tuple[list[int], list[Mapping[str, Any]], list[float]]:
    """Of two audits: readable images, draws of m images, and the relative spread of the sharpness over these."""
    audits = (previous, current)
    sizes, samples = [_readable(audit) for audit in audits], [_samples(audit)[m] for audit in audits]
    # where no draw differs from another the other audit's spread stands in: it is the same kind of images
    spreads = [(sample["std"] or 0.0) / sample["mean"] for sample in samples]
    spreads = [one or other for one, other in zip(spreads, reversed(spreads), strict=True)]
    return sizes, samples, spreads


def sharpness_change(
    previous: Mapping[str, Any], current: Mapping[str, Any], m: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Label sharpness at samples of m images of two audits, and the half widths of the 95 % intervals of its log.

    `m` is one that both drew and that is smaller than both sets (`common_sample`). The half widths are those of
    `sharpness_error`.
    """
    sizes, samples, spreads = _drawn(previous, current, m)
    one, two = (
        sharpness_error(spread, 1.0, m, n, sample["draws"])
        for spread, n, sample in zip(spreads, sizes, samples, strict=True)
    )
    return (float(samples[0]["mean"]), float(samples[1]["mean"])), (one, two)


def loss_change(previous: Mapping[str, Any] | None, current: Mapping[str, Any]) -> Prediction:
    """log L2 - log L1 = log(K2/K1) - log(N2)/d2 + log(N1)/d1 between two audits of one dataset.

    The interval is by the delta method on the log scale, from the bootstrap standard errors of d and the standard
    deviation of K_F over draws, carried over to the mean over draws (`sharpness_error`). The four are taken as
    independent. They are not: audits of a growing set share images, so their errors rise and fall together and partly
    cancel; the interval is conservative. K_F is that of samples of one size (`common_sample`). Where N differs by
    more than `MOST_GROWTH` nothing is predicted: d itself grows with N, and the term (log N)/d had the wrong sign in half of
    the pairs it was tried on.

    Parameters
    ----------
    previous, current : mapping
        Summaries of the audits: `created`, `run_id`, `n_images`, `n_unreadable`, `labels`, `preprocess`,
        `intrinsic_dimension.mle` {value, se}, `label_sharpness.sample` {mean, std, m, draws} and, if there, `samples`
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
        " over draws, taken as independent (the audits share images, so the interval is conservative)",
        f"{_told(previous, current, 'the expected test loss', (value, low, high))}: {verdict}.",
        significant=significant,
    )


@lru_cache(maxsize=1)
def alarm_score() -> dict[str, Any]:
    """How reliable an alarm by the paired change is: counts over real sets, from `tests/benchmarks/changes.py`.

    Returns
    -------
    dict
        sources, halves (random halves compared), false_alarms among them, flips_found (of as many sets, with a tenth of the labels
        flipped), resolution_found.
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
    """How the held-out loss of the reference classifier changed since the previous audit, image by image (`probe.paired`).

    Parameters
    ----------
    change : mapping or None
        value, low, high, expected (what another number of images explains; logs of ratios), before, after (nats), paired, new, gone;
        or `withheld`. None: the audit took over the tables of the previous one, whose files are the same.
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
        verdict = "more than sampling noise; the set has become harder to learn, or its labels noisier"
    elif easier:
        verdict = "more than sampling noise; the set has become easier to learn"
    elif high < 0:
        verdict = "as more images of one kind bring it"
    elif low > 0:
        verdict = "as fewer images bring it"
    return Prediction(
        name,
        value,
        low,
        high,
        "log loss",
        f"reference classifier, against run {previous['run_id']}: images of both audits in the same folds, new ones in new places;"
        " bootstrap over groups",
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
    """Why the numbers of two audits are not comparable at all, or None."""
    for key, now in new["preprocess"].items():
        before = old["preprocess"].get(key, "auto" if key == "window" else None)  # older audits knew no other window
        if before != now:
            return f"the previous audit has {key} {before}, this one {now}: they compare only under one preprocessing"
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
            f" this scale, so sets compare only where N differs by at most {percent(MOST_GROWTH)}"
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
    """A change of the log, in words, as a change of the number itself."""
    return percent(math.expm1(min(log_change, 700.0)), sign=True)


def _day(created: str, now: str) -> str:
    """'3 May', with the year unless it is the current one; from ISO dates."""
    year, month, day = created[:10].split("-")
    text = f"{int(day)} {MONTHS[int(month) - 1]}"
    return text if now[:4] == year else f"{text} {year}"

"""Key numbers of an audit, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from dataprops.report.actions import counted
from dataprops.report.more_images import doubled_error, is_numeric, surely_gains
from dataprops.report.numbers import NO_SPREAD, NOTHING, largest_sharpness, number, percent, plus_minus, sample_of

DOUBLED = "With twice as many images"


class Key(NamedTuple):
    """A key number, with its interval in `value` or `note`; `of` is its key in `words.WORDS`."""

    name: str
    value: str
    note: str
    of: str = ""


def interval_text(value: Mapping[str, Any] | None) -> tuple[str, str]:
    """{value, low, high} of a fraction -> ('12 %', '95 % interval 10 to 14 %')."""
    if not value or value.get("value") is None:
        return "–", ""
    ends = [value.get("low"), value.get("high")]
    if any(end is None for end in ends):
        return percent(value["value"]), ""
    low, high = (percent(end).removesuffix(" %") for end in ends)
    return percent(value["value"]), f"95 % interval {low} to {high} %"


def _probe_keys(summary: Mapping[str, Any]) -> list[Key]:
    """Error of the reference classifier (or regression), and the gain from twice as many images."""
    keys, probe = [], summary.get("probe") or {}
    error = ("Error of a reference classifier", "probe.error")
    saved = ("Log loss reduction with twice the images", "probe.gain_if_doubled")
    if is_numeric(probe):
        error = ("Unexplained variance of a reference regression", "probe.unexplained")
        saved = ("Squared error reduction with twice the images", "probe.gain_of_squares")
    if probe.get("error"):
        value, note = interval_text(probe["error"])
        parts = [note, "on held-out patients" if probe.get("grouped_by") == "group" else "on held-out images"]
        if probe.get("chance") and not is_numeric(probe):
            parts.append(f"always guessing the largest class errs on {percent(probe['chance'])}")
        parts += probe.get("notes") or []
        keys.append(Key(error[0], value, "; ".join(filter(None, parts)), error[1]))
    gain = probe.get("gain_if_doubled")
    if gain:
        value, note = interval_text(gain)
        after = None if is_numeric(probe) or not surely_gains(gain) else doubled_error(probe)
        if after:
            told = ", ".join(filter(None, [f"log loss {value} lower", note]))
            keys.append(Key(DOUBLED, f"error {percent(after[0])} → {percent(after[1])}", told, saved[1]))
        else:
            keys.append(Key(saved[0], value, note, saved[1]))
    elif why := probe.get("withheld") or summary.get("probe_withheld"):
        keys.append(Key(saved[0], NOTHING, f"unknown: {why}", saved[1]))
    return keys


def keys_of(summary: Mapping[str, Any]) -> list[Key]:
    """All key numbers of an audit."""
    s = summary
    classes = counted(len(s["labels"]["classes"]), "class", "classes")
    kinds = {"classes": classes, "numbers": "numeric labels", "none": "no labels"}
    keys = [
        Key("Images", f"{s['n_images']:,}", f"{s['n_unreadable']:,} unreadable; {kinds[s['labels']['kind']]}", "images")
    ]
    keys += _probe_keys(s)
    mle = s["intrinsic_dimension"].get("mle") or {"value": None, "se": None}
    low, high = mle.get("interval") or (None, None)
    ends = f"95 % interval {number(low)} to {number(high)}" if low is not None and high is not None else "no interval"
    told = f"{ends}; MLE, k = {s.get('k', '–')}"
    keys.append(Key("Intrinsic dimension", plus_minus(mle["value"], mle["se"]), told, "intrinsic_dimension.mle"))
    sample = sample_of(dict(s))
    note = f"mean ± spread of {sample['draws']} samples of {sample['m']:,}"
    if no_spread(sample):
        missing = s["label_sharpness"].get("note") or "no different labels"  # earlier versions have no note
        whole = f"maximum over all {sample['m']:,} images, 1 / grey level"
        note = missing if sample["mean"] is None else "; ".join(filter(None, [whole, s["label_sharpness"].get("note")]))
    keys.append(Key("Label sharpness", plus_minus(sample["mean"], sample["std"]), note, "label_sharpness.sample"))
    if not no_spread(sample) or s["label_sharpness"].get("at_least") is not None:  # otherwise the same number
        told = "; ".join(filter(None, ["maximum of this dataset, 1 / grey level", s["label_sharpness"].get("note")]))
        keys.append(Key("Label sharpness, all pairs", largest_sharpness(s), told, "label_sharpness.all_pairs"))
    return [*keys, *feature_keys(s.get("feature_space"))]


def no_spread(sample: Mapping[str, Any]) -> bool:
    """Whether all samples are the whole dataset (no spread except rounding), or there are none."""
    return not sample["std"] or sample["std"] <= NO_SPREAD * abs(sample["mean"])


def feature_keys(space: Mapping[str, Any] | None) -> list[Key]:
    """The same numbers in the user's feature space, if given."""
    if space is None:
        return []
    where, keys = f"in the {space['features']:,} features of {space['source']}", []
    probe = space.get("probe") or {}
    if probe.get("error"):
        value, note = interval_text(probe["error"])
        told = f"{note}, {where}".lstrip(", ")
        keys.append(Key("Error of a reference classifier, your features", value, told, "probe.error"))
    mle = space["intrinsic_dimension"].get("mle") or {"value": None, "se": None}
    value = plus_minus(mle["value"], mle["se"])
    keys.append(Key("Intrinsic dimension, your features", value, where, "intrinsic_dimension.mle"))
    sample = space["label_sharpness"]["sample"]
    note = f"mean ± spread of {sample['draws']} samples of {sample['m']:,}, {where}"
    if no_spread(sample):
        note = f"maximum over all {sample['m']:,} images, {where}"
    value = plus_minus(sample["mean"], sample["std"])
    keys.append(Key("Label sharpness, your features", value, note, "label_sharpness.sample"))
    pairs = space["near_duplicates"]
    note = f"pairs, involving {pairs['images']:,} images, {where}"
    return [*keys, Key("Near-copies, your features", f"{pairs['pairs']:,}", note, "near_pairs")]

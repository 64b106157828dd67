"""What comes first, on the page, in a notebook and in messages: the verdict, what to do next, and the numbers that carry it.

A row of `ACTIONS` turns a kind of finding into a thing to do, the most useful first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from dataprops.checks.alerts import detail_of
from dataprops.findings import FINDINGS
from dataprops.findings.check import SEVERITIES, first_sentence
from dataprops.report.numbers import NO_SPREAD, NOTHING, largest_sharpness, number, percent, plus_minus, sample_of

STEPS = 7
FIRST = ("suspect_labels",)  # shown also where they raised no alert
FEW = "enough_images"  # the check that fails where a set is too small
# decide what is done next: other numbers stand below
CARRYING = ("images", "probe.error", "probe.unexplained", "probe.gain_if_doubled", "probe.gain_of_squares")
PICTURES = 6  # images shown beside a step
DOUBLED = "With twice as many images"
FAULTS = {  # of a picture, as they follow "3 are"
    "clipped_range": "clipped at black and white",
    "low_contrast": "of low contrast",
    "noise": "noisy",
    "compressed": "heavily compressed",
    "odd_size": "of an odd size",
    "odd_aspect": "of an odd shape",
    "nearly_blank": "nearly blank",
    "grey_among_colour": "grey among coloured ones",
    "wrong_orientation": "turned",
}
WORDS = {
    "critical": "Do not train on this set as it is",
    "warning": "Look at the warnings first",
    "info": "Nothing serious",
}
Found = pd.DataFrame


class Step(NamedTuple):
    """A thing to do: a sentence, the place on the page that shows why, and images that do."""

    text: str
    href: str
    images: tuple[int, ...] = ()


class Key(NamedTuple):
    """A number that carries the verdict, with its interval in the value or the note; `of` is its row of `words.WORDS`."""

    name: str
    value: str
    note: str
    of: str = ""


class Verdict(NamedTuple):
    """good, info, warning or critical; and a sentence."""

    severity: str
    sentence: str


class FirstScreen(NamedTuple):
    """The first screen."""

    verdict: Verdict
    steps: list[Step]
    keys: list[Key]


def _many(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"


def _images(found: Found) -> int:
    return len({int(i) for ids in found["images"] for i in ids})


def _copies(found: Found) -> int:
    return int(sum(len(ids) - 1 for ids in found["images"] if len(ids)))


def _detail(found: Found) -> str:
    return str(found["detail"].iloc[0])


def _conflicts(found: Found) -> str:
    return (
        f"Relabel or remove {_many(_images(found), 'image', 'images')}: the same picture carries different labels"
        if _images(found)
        else _detail(found)
    )


def _leaks(found: Found) -> str:
    pairs = "of a pair of copies" if len(found) == 1 else f"of each of {len(found):,} pairs of copies"
    return f"Keep one image {pairs} across splits: test results are over-optimistic until then"


def _clause(text: str) -> str:
    """A sentence as it stands after a colon: its first word small, unless it is a name or a short form."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _then(found: Found) -> str:
    return _clause(_detail(found))


def _bad_pictures(found: Found) -> str:
    """'4 bad pictures: 3 blurred, 1 dark', from sentences that begin with the fault."""
    counts = found["detail"].str.split(":").str[0].value_counts()
    named = [(FAULTS.get(str(fault), str(fault).replace("_", " ")), count) for fault, count in counts.items()]
    if len(named) == 1:
        return f"{_many(_images(found), 'picture', 'pictures')} {'that is' if len(found) == 1 else 'that are'} {named[0][0]}"
    told = ", ".join(f"{count:,} {fault}" for fault, count in named)
    return f"{_many(_images(found), 'bad picture', 'bad pictures')}: {told}"


def _slices(found: Found) -> str:
    part, _, errs = _detail(found).removeprefix("Hard: ").rpartition(". A reference classifier errs on ")
    told = f"{part}: it errs on {errs.rpartition(' (p ')[0] or errs}" if part else errs
    if len(found) == 1:
        return f"Collect more of what the classifier finds hard, {told}"
    return f"Collect more of the {len(found):,} parts that the classifier finds hard, first {told}"


def _shortcut(found: Found) -> str:
    what = "Export all classes in one format and size"
    if _detail(found).startswith("The column "):
        what = "Take all classes from the same sites and scanners, or test on some that were not trained on"
    return f"{what}: {_clause(first_sentence(_detail(found))[0])}"


def _patients(found: Found) -> str:
    option, told, _ = _detail(found).partition(" would name ")
    where, how = ("the file names", option) if told else ("the headers", "a manifest that has them as --group-column")
    count = f"{found['value'].iloc[0]:,.0f} of them seem to be in {where}"
    return f"Name the patients, so that none is both trained on and tested on: {count}; audit again with {how}"


# kind -> what to do, as a sentence without its full stop; in the order of use
ACTIONS: dict[str, Callable[[Found], str]] = {
    "unread_labels": lambda f: f"Say what is the class, or that it was read right, and audit again: {_then(f)}",
    "narrow_range": lambda f: f"Name the range of the grey levels and audit again, before anything else: {_then(f)}",
    "spelling": lambda f: (
        f"Write {_many(len(f), 'class', 'classes')} in one spelling each, or pass --as-written: {_then(f)}"
    ),
    "label_conflicts": _conflicts,
    "split_leakage": _leaks,
    "group_leakage": lambda f: (
        f"Split by patient: {_many(len(f), 'patient has', 'patients have')} images in two splits"
    ),
    "unreadable": lambda f: f"Restore or remove {_many(len(f), 'file that cannot', 'files that cannot')} be read",
    "near_conflicts": lambda f: (
        f"Compare the labels of {_many(len(f), 'pair', 'pairs')} of near-copies that are labelled differently"
    ),
    "classes_changed": lambda f: f"Check that the change of the classes is intended: {_then(f)}",
    "harder_to_learn": lambda f: (
        f"Look at {_many(_images(f), 'image', 'images')} that made the set harder to learn since the previous audit:"
        " labels may be wrong, or pictures degraded"
    ),
    "detail_lost": lambda f: (
        f"Restore {_many(_images(f), 'picture', 'pictures')} that lost detail since the previous audit, if that was not intended"
    ),
    "suspect_labels": lambda f: (
        f"Check the labels of {_many(_images(f), 'image', 'images')}, the most doubtful first: the reference classifier"
        " disagrees with them"
    ),
    "copies_across_groups": lambda f: (
        f"Find out which patient {'a pair of copies belongs' if len(f) == 1 else f'{len(f):,} pairs of copies belong'} to: the"
        " two are filed under different ones"
    ),
    "pixel_shortcut": lambda f: f"Remove the shortcut in the pixels, or split so that it cannot help: {_then(f)}",
    "shortcut": _shortcut,
    "unlabelled": lambda f: f"Label or remove {_many(_images(f), 'image', 'images')} without a label",
    "exact_duplicates": lambda f: (
        f"Remove {_many(_copies(f), 'redundant copy', 'redundant copies')} in {_many(len(f), 'group', 'groups')} of"
        " identical pictures"
    ),
    "near_duplicates": lambda f: (
        f"Keep one of each of {len(f):,} groups of near-identical images, or each group in one split"
        if len(f) > 1
        else f"Keep one of {_images(f):,} near-identical images, or {'both' if _images(f) == 2 else 'all of them'} in one split"
    ),
    "sharper_labels": lambda f: (
        f"Compare the labels of {_many(len(f), 'pair', 'pairs')} of similar images that came since the previous audit"
    ),
    "feature_near_duplicates": lambda f: (
        f"Look at {_many(len(f), 'pair', 'pairs')} of images that your features hardly tell apart"
    ),
    "image_quality": lambda f: f"Repair or remove {_bad_pictures(f)}",
    "common_faults": lambda f: f"Look whether many pictures are meant to be like this: {_then(f)}",
    "group_suggestion": _patients,
    "class_imbalance": lambda f: f"Balance the classes, or weight them: {_then(f)}",
    "small_class": lambda f: f"Add images to {_many(len(f), 'very small class', 'very small classes')}, or merge them",
    "slices": _slices,
    "group_in_classes": lambda f: (
        f"Check that {_many(len(f), 'patient is', 'patients are')} meant to have images in more than one class"
    ),
    "left_out": lambda f: (
        f"Check whether {_many(len(f), 'file that was left out belongs', 'files that were left out belong')} to the set"
    ),
    "several_frames": lambda f: (
        f"Audit DICOM as dicom:FOLDER, or save pages as files, to have every frame: only one of"
        f" {_many(len(f), 'file', 'files')} was used"
    ),
    "misnamed": lambda f: f"Rename {_many(len(f), 'file', 'files')} whose extension is that of another format",
    "unused_columns": lambda f: f"Name the label, split or patient column, if it is among these: {_then(f)}",
    "outliers": lambda f: f"Check whether {_many(_images(f), 'outlier belongs', 'outliers belong')} to the set",
}


def _kinds_of(check: str) -> set[str]:
    """Kinds of findings that are the evidence of a check."""
    return {kind for f in FINDINGS.values() for c in f.checks if c.name == check for kind in c.kinds}


def _use(alert: Mapping[str, Any]) -> int:
    """Place in the order of the steps of what is the evidence of an alert; what has none comes last."""
    if not alert.get("findings"):
        return len(ACTIONS) + 1
    order = {kind: at for at, kind in enumerate(ACTIONS)}
    return min((order.get(kind, len(ACTIONS)) for kind in _kinds_of(alert["name"])), default=len(ACTIONS))


def verdict_of(summary: Mapping[str, Any]) -> Verdict:
    """The verdict in words, from the alerts."""
    alerts = summary["alerts"]
    if not alerts:
        return Verdict("good", "No alert. Every check that applies to this set passed.")
    # of equally severe ones what the first step acts on
    first = min((alert for alert in alerts if alert["severity"] == alerts[0]["severity"]), key=_use)
    count = len(alerts) - 1
    others = f" And {_many(count, 'more alert', 'more alerts')}." if count else ""
    return Verdict(first["severity"], f"{WORDS[first['severity']]}: {_clause(first['sentence'])}{others}")


def more_data(summary: Mapping[str, Any]) -> str | None:
    """What twice as many images would bring, by the learning curve of the reference classifier; None where it cannot be told."""
    probe = summary.get("probe") or {}
    gain = probe.get("gain_if_doubled")
    if not gain or gain.get("value") is None:
        return None
    loss = "squared error" if is_numeric(probe) else "log loss"
    interval = f" by {percent(gain['low'])} to {percent(gain['high'])}" if gain.get("low") is not None else ""
    if not _surely_gains(gain):
        either = interval and gain["low"] < 0 < gain["high"]
        may = (
            f"may rise by {percent(-gain['low'])} or fall by {percent(gain['high'])}" if either else f"falls{interval}"
        )
        told = "hardly falls" if not gain["value"] else may if interval else "does not fall"
        return f"More images of this kind are not certain to help: with twice as many the {loss} {told}"
    error = doubled_error(probe)
    what = "the variance not explained" if is_numeric(probe) else "error"
    told = f"{what} would fall from {percent(error[0])} to {percent(error[1])}; " if error else ""
    fall = f"{loss} falls by {percent(gain['value'])}{f' ({interval[4:]})' if interval else ''}"
    return f"Collect more: with twice as many images {told}{fall}"


def _surely_gains(gain: Mapping[str, Any]) -> bool:
    """Whether twice as many images help for certain: the interval, where there is one, lies above 0."""
    return gain["value"] > 0 and (gain.get("low") is None or gain["low"] > 0)


def is_numeric(probe: Mapping[str, Any]) -> bool:
    """Whether the reference classifier is a regression: the labels are numbers."""
    return probe.get("kind") == "numbers"


def no_better_than_guessing(summary: Mapping[str, Any]) -> str | None:
    """That the reference classifier learns nothing that always naming the largest class does not know; None where it does."""
    probe = summary.get("probe") or {}
    error, guessing = probe.get("error") or {}, probe.get("chance")
    if is_numeric(probe) or not guessing or error.get("high") is None or error["high"] < guessing:
        return None
    return (
        f"Look at labels and preprocessing before collecting more: a reference classifier errs on {percent(error['value'])} of"
        f" held-out images ({percent(error['low'])} to {percent(error['high'])}), always naming the largest class on"
        f" {percent(guessing)}"
    )


def doubled_error(probe: Mapping[str, Any]) -> tuple[float, float] | None:
    """Error now, and at twice as many images by the power law through the last two points of the curve; None where it is flat.

    Of a regression it is the variance not explained, whose fall is the gain.
    """
    if is_numeric(probe):
        gain = (probe.get("gain_if_doubled") or {}).get("value")
        return (probe["error"]["value"], probe["error"]["value"] * (1 - gain)) if gain else None
    curve = [p for p in probe.get("curve") or () if p.get("error") and p.get("n")]
    if len(curve) < 2 or curve[-1]["n"] <= curve[-2]["n"] or curve[-1]["error"] >= curve[-2]["error"]:
        return None
    (n0, e0), (n1, e1) = ((p["n"], p["error"]) for p in curve[-2:])
    return e1, e1 * 2 ** (math.log(e1 / e0) / math.log(n1 / n0))


def evidence_of(check: str, findings: pd.DataFrame, told: str = "", value: float = float("nan")) -> str:
    """What the finding that a check's alert rests on (`checks.alerts.detail_of`) says beyond `told`; empty where that is nothing."""
    kinds = _kinds_of(check)
    found = findings[findings["kind"].isin(list(kinds))]
    detail = detail_of(found, value) or ""
    first, rest = first_sentence(detail)
    return rest if first.rstrip(".") in told else detail


def alert_of_kinds(summary: Mapping[str, Any]) -> dict[str, str]:
    """Kind of finding -> the severity of the worst alert that it is the evidence of."""
    severities = {alert["name"]: str(alert.get("severity")) for alert in reversed(summary["alerts"])}
    raised = [
        (kind, severities[check.name])
        for finding in FINDINGS.values()
        for check in finding.checks
        if check.name in severities
        for kind in check.kinds
    ]
    order = {severity: at for at, severity in enumerate(SEVERITIES)}
    return dict(sorted(raised, key=lambda one: order.get(one[1], -1)))


def _alerted(summary: Mapping[str, Any], *severities: str) -> set[str]:
    """Kinds of findings that are the evidence of an alert of these severities (of any, without them)."""
    return {kind for kind, severity in alert_of_kinds(summary).items() if not severities or severity in severities}


def _step(kind: str, found: Found) -> Step:
    named = list(dict.fromkeys(int(i) for ids in found["images"].head(PICTURES) for i in list(ids)[:2]))
    if kind in ACTIONS:
        text = ACTIONS[kind](found)
    else:
        text = f"Look at “{FINDINGS[kind].title if kind in FINDINGS else kind.replace('_', ' ')}”: {_detail(found)}"
    return Step(f"{text.rstrip('.')}.", f"#find={kind}", tuple(named[:PICTURES]))


def in_order(kinds: Iterable[str], summary: Mapping[str, Any]) -> list[str]:
    """Kinds of findings in the order in which one acts on them: what raised a critical alert, a warning, and then the rest as
    `ACTIONS` has it; what is not in it comes last, as it was given.
    """
    there = dict.fromkeys(kinds)
    known = [*(kind for kind in ACTIONS if kind in there), *(kind for kind in there if kind not in ACTIONS)]
    critical, warned = _alerted(summary, "critical"), _alerted(summary, "critical", "warning")
    return sorted(known, key=lambda kind: (kind not in critical, kind not in warned))


def steps_of(summary: Mapping[str, Any], findings: pd.DataFrame) -> list[Step]:
    """What to do next, the most useful first (`in_order`)."""
    serious = findings.loc[findings["severity"].isin(["critical", "warning"]), "kind"]
    there = set(findings["kind"])
    kinds = [
        *(kind for kind in ACTIONS if kind in there),
        *(kind for kind in dict.fromkeys(serious) if kind not in ACTIONS),
    ]
    told = _more_images(summary)
    alerted = _alerted(summary)
    # the severe first, so that none of those is cut off
    ordered = in_order(kinds, summary)
    kept = sorted(ordered, key=lambda kind: kind not in alerted and kind not in FIRST)[: STEPS - (told is not None)]
    out = [_step(kind, findings[findings["kind"] == kind]) for kind in in_order(kept, summary)]
    return [*out, told] if told else out


def _more_images(summary: Mapping[str, Any]) -> Step | None:
    """The step to collect more: because the set is too small to say much of, or because the learning curve says what it brings."""
    told = no_better_than_guessing(summary) or more_data(summary)
    if told is None and any(alert["name"] == FEW for alert in summary["alerts"]):
        return Step(
            f"Collect more images: {summary['n_images']:,} are too few for the numbers below to be reliable.", "#key"
        )
    return Step(f"{told}.", "#plots") if told else None


def interval_text(value: Mapping[str, Any] | None) -> tuple[str, str]:
    """{value, low, high} of a share -> ('12 %', '95 % interval 10 to 14 %')."""
    if not value or value.get("value") is None:
        return "–", ""
    ends = [value.get("low"), value.get("high")]
    if any(end is None for end in ends):
        return percent(value["value"]), ""
    low, high = (percent(end).removesuffix(" %") for end in ends)
    return percent(value["value"]), f"95 % interval {low} to {high} %"


def _probe_keys(summary: Mapping[str, Any]) -> list[Key]:
    """Error of the reference classifier, and what twice the images save; of a regression in its own words."""
    keys, probe = [], summary.get("probe") or {}
    error = ("Error of a reference classifier", "probe.error")
    saved = ("Log loss saved by twice the images", "probe.gain_if_doubled")
    if is_numeric(probe):
        error = ("Variance a reference regression leaves unexplained", "probe.unexplained")
        saved = ("Squared error saved by twice the images", "probe.gain_of_squares")
    if probe.get("error"):
        value, note = interval_text(probe["error"])
        parts = [note, "on patients held out" if probe.get("grouped_by") == "group" else "on images held out"]
        if probe.get("chance") and not is_numeric(probe):
            parts.append(f"always naming the largest class: {percent(probe['chance'])}")
        parts += probe.get("notes") or []
        keys.append(Key(error[0], value, "; ".join(filter(None, parts)), error[1]))
    gain = probe.get("gain_if_doubled")
    if gain:
        value, note = interval_text(gain)
        after = None if is_numeric(probe) or not _surely_gains(gain) else doubled_error(probe)
        if after:
            told = ", ".join(filter(None, [f"log loss {value} lower", note]))
            keys.append(Key(DOUBLED, f"error {percent(after[0])} → {percent(after[1])}", told, saved[1]))
        else:
            keys.append(Key(saved[0], value, note, saved[1]))
    elif why := probe.get("withheld") or summary.get("probe_withheld"):
        keys.append(Key(saved[0], NOTHING, f"not known: {why}", saved[1]))
    return keys


def keys_of(summary: Mapping[str, Any]) -> list[Key]:
    """The numbers that carry the verdict, with their intervals."""
    s = summary
    kinds = {"classes": f"{len(s['labels']['classes'])} classes", "numbers": "numeric labels", "none": "no labels"}
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
        missing = s["label_sharpness"].get("note") or "no labels to tell apart"  # no note: of an earlier version
        note = missing if sample["mean"] is None else f"the largest of all {sample['m']:,} images"
    keys.append(Key("Label sharpness", plus_minus(sample["mean"], sample["std"]), note, "label_sharpness.sample"))
    told = "; ".join(filter(None, ["the largest of this set, 1 / grey level", s["label_sharpness"].get("note")]))
    keys.append(Key("Label sharpness, all pairs", largest_sharpness(s), told, "label_sharpness.all_pairs"))
    return [*keys, *feature_keys(s.get("feature_space"))]


def no_spread(sample: Mapping[str, Any]) -> bool:
    """Whether every sample is the whole set, so that they differ by nothing but floating point; or there is none."""
    return not sample["std"] or sample["std"] <= NO_SPREAD * abs(sample["mean"])


def feature_keys(space: Mapping[str, Any] | None) -> list[Key]:
    """The same numbers in the space of the user's features, where one was given."""
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
        note = f"the largest of all {sample['m']:,} images, {where}"
    value = plus_minus(sample["mean"], sample["std"])
    keys.append(Key("Label sharpness, your features", value, note, "label_sharpness.sample"))
    pairs = space["near_duplicates"]
    note = f"pairs, of {pairs['images']:,} images, {where}"
    return [*keys, Key("Near-copies, your features", f"{pairs['pairs']:,}", note, "near_pairs")]


def first_screen(summary: Mapping[str, Any], findings: pd.DataFrame) -> FirstScreen:
    """The first screen of an audit."""
    keys = keys_of(summary)
    if summary.get("feature_space") is None:  # else all, so that pixels and the user's features stand beside each other
        keys = [key for key in keys if key.of in CARRYING]
    return FirstScreen(verdict_of(summary), steps_of(summary, findings), keys)

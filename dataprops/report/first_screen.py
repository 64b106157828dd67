"""What comes first, on the page, in a notebook and in messages: the verdict, what to do next, and the numbers that carry it.

A row of `ACTIONS` turns a kind of finding into a thing to do, the most useful first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from dataprops.findings import FINDINGS
from dataprops.report.numbers import largest_sharpness, number, percent, plus_minus, sample_of

STEPS = 6
PICTURES = 6  # images shown beside a step
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
    """A number that carries the verdict, with its interval in the value or the note."""

    name: str
    value: str
    note: str


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
    pairs = _many(len(found), "pair of images that is", "pairs of images that are")
    return f"Take apart {pairs} in two splits: test results are over-optimistic until then"


# kind -> what to do, as a sentence without its full stop; in the order of use
ACTIONS: dict[str, Callable[[Found], str]] = {
    "label_conflicts": _conflicts,
    "split_leakage": _leaks,
    "group_leakage": lambda f: (
        f"Split by patient: {_many(len(f), 'patient has', 'patients have')} images in two splits"
    ),
    "unreadable": lambda f: f"Restore or remove {_many(len(f), 'file that cannot', 'files that cannot')} be read",
    "near_conflicts": lambda f: (
        f"Compare the labels of {_many(len(f), 'group', 'groups')} of near-copies that are labelled differently"
    ),
    "suspect_labels": lambda f: (
        f"Check the labels of {_many(_images(f), 'image', 'images')}, the most doubtful first: the reference classifier"
        " disagrees with them"
    ),
    "pixel_shortcut": lambda f: f"Remove the shortcut in the pixels, or split so that it cannot help: {_detail(f)}",
    "shortcut": lambda f: f"Export all classes in one format and size: {_detail(f)}",
    "unlabelled": lambda f: f"Label or remove {_many(_images(f), 'image', 'images')} without a label",
    "exact_duplicates": lambda f: (
        f"Remove {_many(_copies(f), 'redundant copy', 'redundant copies')} in {_many(len(f), 'group', 'groups')} of"
        " identical pictures"
    ),
    "image_quality": lambda f: f"Look at {_many(_images(f), 'image', 'images')} of poor quality",
    "group_suggestion": lambda f: f"Name the patients, so that leaks between splits are found: {_detail(f)}",
    "near_duplicates": lambda f: (
        f"Keep near-identical images in one split, or one of each: {_many(len(f), 'group', 'groups')} of them"
    ),
    "class_imbalance": lambda f: f"Balance the classes, or weight them: {_detail(f)}",
    "small_class": lambda f: f"Add images to {_many(len(f), 'very small class', 'very small classes')}, or merge them",
    "slices": lambda f: f"Collect more where the set is hard: {_detail(f)}",
    "outliers": lambda f: f"Look whether {_many(_images(f), 'outlier belongs', 'outliers belong')} to the set",
    "group_in_classes": lambda f: (
        f"Check that {_many(len(f), 'patient is', 'patients are')} meant to have images in more than one class"
    ),
}


def verdict_of(summary: Mapping[str, Any]) -> Verdict:
    """The verdict in words, from the alerts."""
    alerts = summary["alerts"]
    if not alerts:
        return Verdict("good", "No alert. Every check that applies to this set passed.")
    first = alerts[0]
    count = len(alerts) - 1
    others = f" And {_many(count, 'more alert', 'more alerts')}." if count else ""
    return Verdict(first["severity"], f"{WORDS[first['severity']]}: {first['sentence']}{others}")


def more_data(summary: Mapping[str, Any]) -> str | None:
    """What twice as many images would bring, by the learning curve of the reference classifier; None where it cannot be told."""
    probe = summary.get("probe") or {}
    gain = probe.get("gain_if_doubled")
    if not gain or gain.get("value") is None:
        return None
    interval = f"{percent(gain['low'])} to {percent(gain['high'])}" if gain.get("low") is not None else ""
    if gain["value"] <= 0 or (gain.get("low") is not None and gain["low"] <= 0):
        return (
            f"More images of this kind are not certain to help: twice as many change the loss by {interval or 'little'}"
        )
    error = doubled_error(probe)
    told = f"error would fall from {percent(error[0])} to {percent(error[1])}" if error else ""
    loss = f"log loss falls by {percent(gain['value'])}{f' ({interval})' if interval else ''}"
    return f"Collect more: with twice as many images {f'{told}; ' if told else ''}{loss}"


def doubled_error(probe: Mapping[str, Any]) -> tuple[float, float] | None:
    """Error now, and at twice as many images by the power law through the last two points of the curve; None where it is flat."""
    curve = [p for p in probe.get("curve") or () if p.get("error") and p.get("n")]
    if len(curve) < 2 or curve[-1]["n"] <= curve[-2]["n"] or curve[-1]["error"] >= curve[-2]["error"]:
        return None
    (n0, e0), (n1, e1) = ((p["n"], p["error"]) for p in curve[-2:])
    return e1, e1 * 2 ** (math.log(e1 / e0) / math.log(n1 / n0))


def steps_of(summary: Mapping[str, Any], findings: pd.DataFrame) -> list[Step]:
    """What to do next, the most useful first."""
    out = []
    for kind, say in ACTIONS.items():
        found = findings[findings["kind"] == kind]
        if len(found):
            named = list(dict.fromkeys(int(i) for ids in found["images"].head(PICTURES) for i in list(ids)[:2]))
            out.append(Step(f"{say(found).rstrip('.')}.", f"#find={kind}", tuple(named[:PICTURES])))
    for kind in dict.fromkeys(findings.loc[findings["severity"].isin(["critical", "warning"]), "kind"]):
        if kind not in ACTIONS:
            found = findings[findings["kind"] == kind]
            name = FINDINGS[kind].title if kind in FINDINGS else kind.replace("_", " ")
            out.append(Step(f"Look at “{name}”: {_detail(found).rstrip('.')}.", f"#find={kind}"))
    told = more_data(summary)
    out = out[: STEPS - (told is not None)]
    if told:
        out.append(Step(f"{told}.", "#plots"))
    return out


def interval_text(value: Mapping[str, Any] | None) -> tuple[str, str]:
    """{value, low, high} of a share -> ('12 %', '95 % interval 10 to 14 %')."""
    if not value or value.get("value") is None:
        return "–", ""
    ends = [value.get("low"), value.get("high")]
    if any(end is None for end in ends):
        return percent(value["value"]), ""
    low, high = (percent(end).removesuffix(" %") for end in ends)
    return percent(value["value"]), f"95 % interval {low} to {high} %"


def keys_of(summary: Mapping[str, Any]) -> list[Key]:
    """The numbers that carry the verdict, with their intervals."""
    s = summary
    kinds = {"classes": f"{len(s['labels']['classes'])} classes", "numbers": "numeric labels", "none": "no labels"}
    keys = [Key("Images", f"{s['n_images']:,}", f"{s['n_unreadable']:,} unreadable; {kinds[s['labels']['kind']]}")]
    probe = s.get("probe") or {}
    if probe.get("error"):
        value, note = interval_text(probe["error"])
        keys.append(Key("Error of a reference classifier", value, f"{note}, on images held out".lstrip(", ")))
    gain = probe.get("gain_if_doubled")
    if gain:
        value, note = interval_text(gain)
        keys.append(Key("Log loss saved by twice the images", value, note))
    mle = s["intrinsic_dimension"].get("mle") or {"value": None, "se": None}
    low, high = mle.get("interval") or (None, None)
    ends = f"95 % interval {number(low)} to {number(high)}" if low is not None and high is not None else "no interval"
    keys.append(Key("Intrinsic dimension", plus_minus(mle["value"], mle["se"]), f"{ends}; MLE, k = {s.get('k', '–')}"))
    sample = sample_of(dict(s))
    note = f"mean ± spread of {sample['draws']} samples of {sample['m']:,}"
    keys.append(Key("Label sharpness", plus_minus(sample["mean"], sample["std"]), note))
    keys.append(Key("Label sharpness, all pairs", largest_sharpness(s), "the largest of this set, 1 / grey level"))
    return keys


def first_screen(summary: Mapping[str, Any], findings: pd.DataFrame) -> FirstScreen:
    """The first screen of an audit."""
    return FirstScreen(verdict_of(summary), steps_of(summary, findings), keys_of(summary))

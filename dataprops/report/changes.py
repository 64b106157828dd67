"""Sentences about the changes between two audits, for the page, the terminal and messages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dataprops.findings import FINDINGS
from dataprops.report.first_screen import in_order
from dataprops.report.numbers import number, percent

NEAR = ("split_leakage", "near_duplicates", "near_conflicts")  # depend on a threshold estimated from the dataset
COUNTED = ("sharpest_pairs",)  # every dataset has them: they open and close with every image


def unchanged(found: Mapping[str, Any]) -> bool:
    """Whether both audits had the same files with the same labels."""
    counts = found["images"]
    return not (counts["added"] or counts["removed"] or counts["relabelled"])


def files_sentence(found: Mapping[str, Any]) -> str:
    """'12 images added, 3 removed, 1 relabelled; 700 are the same.'"""
    counts = found["images"]
    if unchanged(found):
        return (
            f"Same files as in the previous audit: none of {counts['kept']:,} images was added, removed or relabelled."
        )
    parts = [f"{counts[name]:,} {name}" for name in ("added", "removed", "relabelled") if counts[name]]
    return f"Images: {', '.join(parts)}; {counts['kept'] - counts['relabelled']:,} are unchanged."


def title(kind: str) -> str:
    """Title of a kind of finding, even if it is no longer registered."""
    return FINDINGS[kind].title if kind in FINDINGS else kind.replace("_", " ").capitalize()


def opened_and_closed(found: Mapping[str, Any]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(kind, count) of opened and of closed findings, most useful first, without `COUNTED`."""
    out = []
    for name in ("opened", "closed"):
        kinds = found.get(name) or {}
        order = in_order(kinds, {"alerts": []})
        out.append([(k, kinds[k]["count"]) for k in order if k not in COUNTED and kinds[k]["count"]])
    return out[0], out[1]


def change_text(change: Mapping[str, Any]) -> str:
    """'intrinsic dimension 11.2 -> 12.4 (+0.6 to +1.8)'."""
    before, after = ends(change)
    _, low, high = amounts(change)
    if change["before"] is None:
        return f"{change['title']} ({low} to {high})"
    return f"{change['title']} {before} → {after} ({low} to {high})"


def _is_share(change: Mapping[str, Any]) -> bool:
    return change["name"].startswith("share.") or change["name"] == "copies"


def ends(change: Mapping[str, Any]) -> tuple[str, str]:
    """A property's values before and after, as text; fractions in percent."""
    shown = percent if _is_share(change) else number
    before, after = ("–" if change[name] is None else shown(change[name]) for name in ("before", "after"))
    return before, after


def amounts(change: Mapping[str, Any]) -> tuple[str, str, str]:
    """A change and the ends of its interval, with signs: ratios in percent, fractions in percentage points."""
    values = [change[name] for name in ("value", "low", "high")]
    if change["scale"] == "log ratio":
        value, low, high = (f"{100 * math.expm1(min(x, 700.0)):+.1f} %" for x in values)
    elif _is_share(change):
        value, low, high = (f"{100 * x:+.2g} points" for x in values)
    else:
        value, low, high = (f"{'+' if x > 0 else ''}{number(x)}" for x in values)
    return value, low, high


def _moved(found: Mapping[str, Any], opened: Sequence[tuple[str, int]]) -> str:
    """Explanation if near-copies opened although no image was added; otherwise empty."""
    near = [kind for kind, _ in opened if kind in NEAR]
    if not near or not found["images"]["removed"] or found["images"]["added"] or found["images"]["relabelled"]:
        return ""
    return (
        "New near-copies although no image was added: the threshold for near-copies is estimated from the dataset, and"
        " images were removed. Clean and audit again."
    )


def sentences(found: Mapping[str, Any]) -> list[str]:
    """One sentence per change; the first is about the files."""
    out = [files_sentence(found)]
    opened, closed = opened_and_closed(found)
    if opened:
        out.append(f"New: {', '.join(f'{count:,} × {title(kind)}' for kind, count in opened)}.")
    if moved := _moved(found, opened):
        out.append(moved)
    if closed:
        out.append(f"Resolved: {', '.join(f'{count:,} × {title(kind)}' for kind, count in closed)}.")
    told = [change_text(change) for change in found["changes"] if change["significant"]]
    if told:
        out.append(f"Beyond sampling noise: {'; '.join(told)}.")
    elif not unchanged(found):
        out.append("No property changed beyond sampling noise.")
    return out

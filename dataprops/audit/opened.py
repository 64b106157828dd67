"""Findings that opened or closed between two audits of a dataset, and findings in added images.

Images are identified by `matched.match`, not by their ids. A finding persists if the other audit has one of the same kind that
shares two of its images (one, if it has only one); one without images persists if the other has one without images. If its images
are mere examples (`BY_WORDS`), it persists if the other has one with the same subject. The rest opened or closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings import FINDINGS

EXAMPLES = 20  # findings listed per kind
BY_WORDS = ("shortcut", "pixel_shortcut")  # their images are examples, which may differ between audits


def _subject(detail: str) -> str:
    """The subject of a finding's text: 'The width of a file', 'A mark in the top left corner'."""
    return re.split(r" alone\b| (?:tells|predicts) the class", detail, maxsplit=1)[0]


def _groups(rows: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    """Image -> positions of its findings."""
    out: dict[int, list[int]] = {}
    for place, ids in enumerate(rows):
        for image in ids:
            out.setdefault(int(image), []).append(place)
    return out


def _goes_on(ids: Sequence[int], others: dict[int, list[int]], sizes: Sequence[int], imageless: bool) -> bool:
    if not len(ids):
        return imageless
    shared: dict[int, int] = {}
    for image in ids:
        for place in others.get(int(image), ()):
            shared[place] = shared.get(place, 0) + 1
    return any(count >= min(2, len(ids), sizes[place]) for place, count in shared.items())


def _new(mine: pd.DataFrame, theirs: pd.DataFrame, kinds: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Findings of `mine` that are not in `theirs`; both use the same image numbers."""
    out = {}
    there = set(mine["kind"])
    for kind in (kind for kind in kinds if kind in there):
        rows, before = mine[mine["kind"] == kind], theirs[theirs["kind"] == kind]
        old = [list(ids) for ids in before["images"]]
        others, sizes = _groups(old), [len(ids) for ids in old]
        imageless = any(not size for size in sizes)
        if kind in BY_WORDS:
            known = set(before["detail"].map(_subject))
            fresh = rows[[_subject(detail) not in known for detail in rows["detail"]]]
        else:
            fresh = rows[[not _goes_on(list(ids), others, sizes, imageless) for ids in rows["images"]]]
        if len(fresh):
            out[kind] = _counted(fresh, len(rows))
    return out


def _counted(found: pd.DataFrame, of: int) -> dict[str, Any]:
    """Count of findings, total of their kind, and the first `EXAMPLES`."""
    some = found.head(EXAMPLES)
    first = [
        {"paths": [str(p) for p in paths], "detail": detail}
        for paths, detail in zip(some["paths"], some["detail"], strict=True)
    ]
    return {"count": len(found), "of": of, "first": first}


def opened_closed(
    findings_a: pd.DataFrame, findings_b: pd.DataFrame, partner: np.ndarray, kinds: Iterable[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Findings that opened and that closed from audit A to B, by kind: count, total, first examples.

    Parameters
    ----------
    partner : int [n]
        For each image of B its number in A, or -1.
    kinds : iterable of str
        Kinds to compare, in the order of the result.
    """
    kinds = list(dict.fromkeys(kinds))
    # images only in B get numbers unused in A
    number = np.where(partner >= 0, partner, -2 - np.arange(len(partner)))
    images: list[Any] = [[int(number[int(i)]) for i in ids] for ids in findings_b["images"]]
    in_a = findings_b.assign(images=images)
    return _new(in_a, findings_a, kinds), _new(findings_a, in_a, kinds)


def brought(images: pd.DataFrame, findings: pd.DataFrame, new: np.ndarray) -> dict[str, dict[str, Any]]:
    """Findings with an image in the mask `new`, by kind: count, total, first examples."""
    numbers = set(images["image"].to_numpy()[new].tolist())
    out = {}
    for kind, rows in findings.groupby("kind", sort=False):
        named = rows[[any(int(i) in numbers for i in ids) for ids in rows["images"]]]
        if len(named):
            out[str(kind)] = _counted(named, len(rows))
    return {kind: out[kind] for kind in FINDINGS if kind in out}

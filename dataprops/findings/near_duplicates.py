"""Near-copies: the same picture twice, but not pixel-identical."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted
from dataprops.findings.without_copies import dimension_without_copies
from dataprops.probe.folds import unite
from dataprops.util.numbers import percent

NAMED = 3  # images and changes listed in a message
MANY = 20  # images of a group, beyond which they are frames or products alike rather than copies


class Group(NamedTuple):
    """A group of near-copies.

    Attributes
    ----------
    members : int64 [m]
        Image ids, ascending.
    first : tuple of int
        Ids of the closest pair.
    least, most : float
        Smallest and largest distance of its pairs (RMS, grey levels).
    changes : tuple of str
        Changes between the images, that of the closest pair first.
    series : bool
        Whether all its pairs are within a series.
    """

    members: np.ndarray
    first: tuple[int, int]
    least: float
    most: float
    changes: tuple[str, ...]
    series: bool


def with_words(near: pd.DataFrame, features: int) -> pd.DataFrame:
    """Pairs with all columns; columns missing from a plain list of pairs and distances are added."""
    out = near.copy()
    if "rms" not in out:
        out["rms"] = out["distance"] / np.sqrt(features)
    for name, value in (("what", "the same view"), ("series", False), ("detail", float("nan"))):
        if name not in out:
            out[name] = value
    return out


def groups(near: pd.DataFrame) -> list[Group]:
    """Connected components of near-copies, ordered by their closest pair."""
    if near.empty:
        return []
    # whole columns at once: with thousands of groups, a DataFrame per group is slow
    near = near.sort_values(["rms", "a", "b"], kind="stable")
    pair, rms, what, series = (near[c].to_numpy() for c in (["a", "b"], "rms", "what", "series"))
    ids, ends = np.unique(pair.astype(np.int64), return_inverse=True)
    ends = ends.reshape(-1, 2)
    label = unite(len(ids), None, ends)
    members, pairs = _by_label(label), _by_label(label[ends[:, 0]])
    out = [
        Group(
            ids[members[component]],
            (int(pair[at[0], 0]), int(pair[at[0], 1])),
            float(rms[at[0]]),
            float(rms[at[-1]]),
            tuple(dict.fromkeys(what[at])),
            bool(series[at].all()),
        )
        for component, at in enumerate(pairs)
    ]
    return [out[component] for component in np.argsort([at[0] for at in pairs])]


def _by_label(label: np.ndarray) -> list[np.ndarray]:
    """Positions of each label, ascending."""
    return np.split(np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))[:-1])


def _weight(group: Group, split: np.ndarray, label: np.ndarray) -> tuple[bool, bool, bool, float]:
    """Sort key: groups across splits first, then with several labels, copies before series, closest first."""
    splits = {str(split[i]) for i in group.members if split[i] is not None}
    labels = {str(label[i]) for i in group.members if label[i] is not None}
    return len(splits) < 2, len(labels) < 2, group.series, group.least


def sentence(group: Group, path: np.ndarray) -> str:
    """Description of a group."""
    told = "; ".join(group.changes[:NAMED]) + ("; ..." if len(group.changes) > NAMED else "")
    aligned = "" if group.changes == ("the same view",) else " after alignment"
    series = " They are of one patient or series: neighbouring slices, frames or repeated exposures rather than copies."
    if len(group.members) == 2:
        one, other = (quoted(path[i]) for i in group.first)
        start = (
            f"{one} and {other} are near-copies ({told}): {group.least:.2f} grey levels apart on average (RMS){aligned}"
        )
    else:
        members: list[int] = group.members[:NAMED].tolist()
        named = ", ".join(quoted(path[i]) for i in members)
        start = (
            f"{len(group.members)} images are near-copies of each other ({told}), {group.least:.2f} to {group.most:.2f} grey levels"
            f" apart on average (RMS){aligned}: {named}" + (" and others" if len(group.members) > NAMED else "")
        )
    many = " So many may also be frames of one scene, or images of one product: look at them before removing any."
    return f"{start}.{series if group.series else many if len(group.members) > MANY else ''}"


def find(context: Context) -> Iterator[Row]:
    """One row per group of near-copies, most important first; its value is its minimum distance (RMS, grey levels)."""
    images = context.images
    path, split, label = (or_none(images[name]) for name in ("path", "split", "label"))
    found = groups(with_words(context.near, context.features))
    alike = context.copies.alike if context.copies else 0.0
    note = (
        f" The images of this dataset are of one kind: {percent(alike)} of look-alikes agree in fine detail as copies do elsewhere."
        " Only pairs that also agree in the brightness of their parts are reported."
    )
    for number, group in enumerate(sorted(found, key=lambda group: _weight(group, split, label))):
        yield group.members, group.least, sentence(group, path) + (note if alike and not number else "")


def measures(context: Context) -> dict[str, float]:
    """near_duplicate_share: fraction of readable images with a near-copy, series excluded; near_pairs: total number of pairs; the
    thresholds; and the intrinsic dimension without near-copies: without_copies_mle, _twonn, _k."""
    readable = context.images[context.images["pixels"].notna()]
    if not len(readable):
        return {}
    near = with_words(context.near, context.features)
    copies = near.loc[~near["series"].astype(bool), ["a", "b"]]
    in_pair = readable["duplicate_of"].isin(pd.unique(copies.to_numpy().ravel()))
    count = len(near) if context.near_count is None else context.near_count
    out = {"near_duplicate_share": float(in_pair.mean()), "near_pairs": float(count)}
    if context.copies is not None:
        out |= {
            "near_rms": context.copies.near_rms,
            "near_detail_threshold": context.copies.detail_threshold,
            "near_false_share": context.copies.false_share,
            "near_alike_share": context.copies.alike,
        }
    if context.neighbours is not None:
        out |= dimension_without_copies(context.images, context.neighbours, copies) or {}
    return {name: value for name, value in out.items() if np.isfinite(value)}


FINDING = Finding(
    name="near_duplicates",
    severity="info",
    title="Near-copies",
    explanation=(
        "One picture, more than once: exported twice, re-encoded, brightened, cropped, turned or written on. Keep one of each group:"
        " a network counts it several times, and a copy in the test part makes its result over-optimistic."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="near_duplicates",
            measure="near_duplicate_share",
            max=0.05,
            severity="warning",
            title="few near-copies",
            sentence=(
                "{value:share} of the images have a near-copy (at most {threshold:share} are tolerated): "
                "the dataset contains less than its size suggests."
            ),
            reason=(
                "repeated exposures are common; one image in twenty makes the dataset smaller than it looks. The threshold for"
                " near-copies is computed from the dataset: their detail agrees more than that of any pair of look-alikes"
            ),
        ),
    ),
    shown="groups",
)

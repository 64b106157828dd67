"""Compare classes from folders with those of a table or annotations of the same images.

If they differ, the folders are used and the difference is reported, unless the table evidently has the actual classes.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Mapping

import pandas as pd

from dataprops.sources.account import FOLDERS_USED, IN_DOUBT, NO_KNOWN_FORM, Decision, decide
from dataprops.sources.columns import POSITIVE, texts_of
from dataprops.sources.companions import MOST_TABLES, TABLES, Companions, few_of_a_kind
from dataprops.sources.filled import replace_labels
from dataprops.sources.labels import SEPARATOR, spelling_key, words_of
from dataprops.sources.levels import ALIKE
from dataprops.sources.lists import split_of_list
from dataprops.sources.neighbours import Told, neighbour_tables
from dataprops.sources.table import shown
from dataprops.util.names import without_ending

SAME = 0.01  # largest fraction of images whose labels may differ
SHOWN = 3  # labels or tables shown in a decision
INNER = "folders below the first level are named like the labels"
# words of classes that 0 stands for
NEGATIVE = frozenset(
    ("negative", "neg", "no", "non", "not", "normal", "healthy", "benign", "absent", "without", "control", "uninfected")
)


def compare(table: pd.DataFrame, beside: Companions, annotated: Mapping[str, Mapping[str, str | None]]) -> None:
    """Report the first table or annotation file whose classes differ from the folders.

    Parameters
    ----------
    annotated : mapping
        Annotation file -> image -> label.
    """
    own = dict(zip(table["key"], table["label"], strict=True))
    other: Decision | None = None
    used: set[str] = set()
    tables = beside.ending(*TABLES)
    headed = [name for name in beside.headed if split_of_list(name) is None]
    texts = [
        name
        for name in beside.ending(".txt")
        if split_of_list(name) is None and posixpath.dirname(name) not in beside.folders
    ]
    for told in neighbour_tables(beside, table["split"].tolist(), tables + headed):
        label = {key: name for key, name in told.label.items() if name is not None and own.get(key) is not None}
        if len(label) < ALIKE * sum(name is not None for name in own.values()) and not told.split:
            continue
        same = _same(label, own)
        if not same and len(label) >= ALIKE * len(own) and (why := _names_more(label, own, told)) is not None:
            made = Decision("labels", f"of the table {shown(told.name)}", why, "--layout")
            replace_labels(table, told.label, told.several, made, *told.decisions)
            return
        if not same and other is None and len(label) >= ALIKE * len(own) and _are_classes(label, told):
            other = _others(told.name, label, len(own), f"giving {shown(told.name)} in place of the folder")
        if same:
            used.add(told.name)
            if (why := _swapped(label, own, told)) is not None:
                decide(table, Decision("labels", IN_DOUBT, why, "--layout none"))
    whole = {key: one for told in annotated.values() for key, one in told.items() if one is not None}
    if len(whole) >= ALIKE * len(own) and not _same(whole, own) and _are_inner(whole):  # train.json and val.json
        files = ", ".join(map(shown, list(annotated)[:SHOWN]))
        made = Decision("labels", "categories of the annotated objects", f"{INNER} of {files}", "--layout")
        replace_labels(table, whole, any(SEPARATOR in name for name in whole.values()), made)
        return
    for name, told in annotated.items():
        label = {key: one for key, one in told.items() if one is not None and own.get(key) is not None}
        used.add(name)
        if other is None and len(label) >= ALIKE * len(own) and len(set(label.values())) > 1 and not _same(label, own):
            other = _others(name, label, len(own), "--layout none")
    table.attrs["understood"] = used
    if other is not None:
        decide(table, other)
        return
    stems = {without_ending(key) for key in own}
    unread = [name for name in tables if without_ending(name) not in stems and name not in used]
    unread += [
        name
        for name in few_of_a_kind(texts)
        if name not in headed and beside.text(name).partition("\n")[0].count("\t") > 1
    ]
    if unread and len(unread) <= MOST_TABLES:
        named = f"{', '.join(map(shown, unread[:SHOWN]))}{', ...' if len(unread) > SHOWN else ''}"
        why = f"{named} {'lies' if len(unread) == 1 else 'lie'} beside them, {NO_KNOWN_FORM}"
        decide(table, Decision("labels", "of the folders", why, "giving the table in place of the folder"))


def _same(label: Mapping[str, str], own: Mapping[str, str | None]) -> bool:
    """Whether labels and folders define the same classes, up to their names."""
    pairs = Counter((own[key], name) for key, name in label.items())
    folders = {folder: max(n for (f, _), n in pairs.items() if f == folder) for folder, _ in pairs}
    labels = {name: max(n for (_, m), n in pairs.items() if m == name) for _, name in pairs}
    return min(sum(folders.values()), sum(labels.values())) >= (1 - SAME) * len(label)


def _swapped(label: Mapping[str, str], own: Mapping[str, str | None], told: Told) -> str | None:
    """Why 0 and 1 of a table contradict the names of the folders, ``negative`` being 1; None if they do not."""
    value_of = {
        folder: Counter(label[key] for key in label if own[key] == folder) for folder in {own[key] for key in label}
    }
    value_of = {folder or "": count.most_common(1)[0][0] for folder, count in value_of.items()}
    none = [folder for folder in value_of if NEGATIVE & set(words_of(folder))]
    called = {word for column in told.used for word in words_of(column)}  # of a column normal, 1 is the class normal
    if len(value_of) != 2 or len(none) != 1 or NEGATIVE & called:
        return None
    (other,) = value_of.keys() - set(none)
    if value_of[none[0]].lower() not in POSITIVE or value_of[other].lower() not in ("0", "0.0", "false", "no"):
        return None
    pairs = ", ".join(f"{value} for {shown(folder)}" for folder, value in sorted(value_of.items()))
    return f"{shown(told.name)} has {pairs}: either may be swapped"


def _others(name: str, label: Mapping[str, str], images: int, option: str) -> Decision:
    """The decision for the folders, against the labels of a file."""
    most = Counter(label.values()).most_common()
    seen = ", ".join(f"{shown(name)} {number:,}" for name, number in most[:SHOWN])
    more = ", ..." if len(most) > SHOWN else ""
    why = f"{shown(name)} labels {len(label):,} of {images:,} images differently from their folders: {seen}{more}"
    return Decision("labels", FOLDERS_USED, why, option)


def _are_inner(label: Mapping[str, str]) -> bool:
    """Whether the labels are names of folders below the first level."""
    inner = sum(
        spelling_key(name) in {spelling_key(part) for part in key.split("/")[1:-1]} for key, name in label.items()
    )
    return inner >= (1 - SAME) * len(label)


def _names_more(label: Mapping[str, str], own: Mapping[str, str | None], told: Told) -> str | None:
    """Why the classes are a table's labels rather than the folders, else None: deeper folders are named like the labels, or the
    folders are numbers from another column of the table (PadChest's ``ImageDir``).
    """
    if _are_inner(label):
        return f"{INNER} of it"
    if not all((own[key] or "").isdecimal() for key in label) or all(name.isdecimal() for name in label.values()):
        return None
    for column in (str(column) for column in told.frame.columns if str(column) not in told.used):
        texts = texts_of(told.frame[column])
        if sum(texts[told.row_of[key]] == own[key] for key in label) >= (1 - SAME) * len(label):
            return f"the folders are its column {column!r}"
    return None


def _are_classes(label: Mapping[str, str], told: Told) -> bool:
    """Whether labels have few values and are not from a column chosen only because it is binary."""
    named = not any("0 and 1" in one.why for one in told.decisions)
    return named and 1 < len(set(label.values())) <= len(label) / 2

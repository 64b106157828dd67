"""Metadata files in a folder of images: tables, annotations and lists that supply what its folder names do not.

They supply missing labels, splits and patients: ``metadata.csv`` or ``.jsonl`` of Hugging Face's imagefolder, BIDS participants, COCO
annotations (`coco`), object annotations (`objects`), one file per image (`sidecars`), any other table whose rows name the images
(`neighbours`). A table that matches no images is reported, so that it can be given as the source instead. Split lists apply to all
images without a split (see `lists`).
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Sequence

import pandas as pd

from dataprops.sources.account import MASK, Decision, decide, withdraw
from dataprops.sources.classnames import with_names
from dataprops.sources.coco import annotated_by, coco, may_be_coco
from dataprops.sources.columns import (
    LABELS,
    asks_for_labels,
    known_as,
    labels_first,
    named_columns,
    plain_name,
    texts_of,
)
from dataprops.sources.companions import LISTS, MOST_TABLES, TABLES, Companions
from dataprops.sources.compared import compare
from dataprops.sources.ends import without_zeros
from dataprops.sources.filled import add_absent, fill, fill_labels, tell_labels
from dataprops.sources.ids import with_ids
from dataprops.sources.joins import labels_of_lists
from dataprops.sources.labels import words_of
from dataprops.sources.levels import ALIKE
from dataprops.sources.lists import split_of_list, with_splits
from dataprops.sources.neighbours import (
    WHOLE,
    agreeing,
    columns_of,
    described_by,
    disagreeing,
    neighbour_tables,
)
from dataprops.sources.objects import cvat, exports_of_tools, voc, yolo
from dataprops.sources.people import with_persons
from dataprops.sources.sidecars import sidecars
from dataprops.sources.table import SourceOptions
from dataprops.sources.tablepatients import with_patients
from dataprops.sources.unused import PROSE, with_unused
from dataprops.sources.versions import with_versions
from dataprops.util.names import stem_of

METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"})
PARTICIPANTS = ("participants.tsv", "participants.csv")
CONDITIONS = ("group", "condition", "arm", "cohort")  # columns of participants that may be the label
LISTED = re.compile(r"(?:annotations?|labels?)\.json", re.IGNORECASE)
THIN = 3  # images per folder; with no more on average, labels of a table take precedence over the folders
# files of unknown layout that may hold labels
MAY_TELL = (".xml", ".npy", ".npz", ".mat", ".pkl", ".pt", ".h5", ".cfg")
SHEETS = (".ods", ".xls")  # tables that are not read
_DEFAULTS = SourceOptions()


def with_tables(table: pd.DataFrame, read: Callable[[str], bytes], options: SourceOptions) -> pd.DataFrame:
    """Complete the table of a folder's images from its metadata files; labels normally only if its folders name no classes.

    Parameters
    ----------
    read : callable
        read(key) -> content of a file that was left out, bytes. Raises OSError.
    """
    beside = Companions(table["key"].tolist(), list(table.attrs.get("ignored", ())), read, options)
    named = options.layout.split("/") if options.layout else []  # what it says stays; what else is known is filled in
    if "split" not in named:
        with_splits(table, beside)
    if "class" in named:
        if "group" not in named:
            with_patients(table, beside)
        withdraw(table, "splits", value="none")  # confirmed
        return table
    _classes(table, beside)
    with_versions(table)
    if masks := table.attrs.pop("masks", set()):
        table = _without_masks(table, masks)
        beside = beside.of(table["key"].tolist())
    with_patients(table, beside)
    with_names(table, beside)
    with_unused(table, beside)
    return table


def _without_masks(table: pd.DataFrame, masks: set[str]) -> pd.DataFrame:
    """Move images that a table declares as masks to the files left out."""
    kept = table[~table["key"].isin(masks)].reset_index(drop=True)
    kept.attrs = {
        **table.attrs,
        "ignored": [*table.attrs.get("ignored", ()), *sorted(masks)],
        "reasons": {**table.attrs.get("reasons", {}), **dict.fromkeys(sorted(masks), MASK)},
    }
    return kept


def _classes(table: pd.DataFrame, beside: Companions) -> None:
    """Labels from the folders, or from metadata files if the folders give none."""
    classes = table["label"]
    if classes.nunique() > 1:
        if with_persons(table, beside, classes.tolist()):
            return
        thin = len(table) <= THIN * table["label"].nunique()
        if table["label"].notna().any() and not (thin and _thin(table, beside)):
            if thin and with_ids(table, beside):
                return
            if classes.isna().any():
                _rest(table, beside)
            compare(table, beside, annotated_by(table, beside))
            return
        classes = pd.Series([None] * len(table), dtype=object) if table["label"].notna().any() else table["label"]
    # a single folder is not a class if a table has labels
    table["label"] = pd.Series([None] * len(table), dtype=object)
    _labels(table, beside)
    if table["split"].notna().any():  # set by a table meanwhile
        withdraw(table, "splits", value="none")
    if table["label"].isna().all():
        table["label"] = classes
    elif classes.notna().any():
        withdraw(table, "classes")


def _thin(table: pd.DataFrame, beside: Companions) -> bool:
    """Whether folders of few images each (``Mass-Training_P_00001_LEFT_CC``) are not classes: tables name nearly all images.

    If so, the decision that they are classes is removed.
    """
    tables = agreeing(neighbour_tables(beside, table["split"].tolist()), len(table))
    label = {key: one for told in tables for key, one in told.label.items() if one is not None}
    named = {key for told in tables for key in (*told.label, *told.masks)}
    if len(named) < WHOLE * len(table) or not 1 < len(set(label.values())) <= len(label) / THIN:
        return False
    withdraw(table, "classes")
    table.attrs["empty_classes"] = []
    return True


def _rest(table: pd.DataFrame, beside: Companions) -> None:
    """Labels of images outside the class folders, from a table with the same class names as the folders.

    Examples are ImageNet's validation images and the test set of GTSRB.
    """
    own = {key: name for key, name in zip(table["key"], table["label"], strict=True) if name is not None}
    alone = {key for key in table["key"] if key not in own}
    folders = {without_zeros(name): name for name in own.values()}
    above = {"", *(key[: at.start()] for key in alone for at in re.finditer("/", key))}
    near = [name for name in beside.names if posixpath.dirname(name) in above]
    for told in neighbour_tables(beside, table["split"].tolist(), near):
        label = {key: folders.get(without_zeros(name)) for key, name in told.label.items() if name is not None}
        understood = sum(name is not None and own.get(key, name) == name for key, name in label.items())
        if not alone & label.keys() or understood < ALIKE * len(label):
            continue
        found = {key: name for key, name in label.items() if key in alone and name is not None}
        fill_labels(table, found)
        why = f"{told.name} lists {len(found):,} of {len(alone):,} images outside the class folders"
        decide(table, Decision("labels", f"of the table {posixpath.basename(told.name)}", why, "--layout"))


def _labels(table: pd.DataFrame, beside: Companions) -> None:
    """Labels from the first kind of metadata file that has any."""
    if table["group"].notna().any():
        _participants(table, beside)
    if table["label"].isna().all() and table["group"].notna().any():
        with_persons(table, beside, [name and posixpath.basename(name) for name in table["group"]])
    called = [(name, posixpath.basename(name)) for name in beside.names]
    if first := [name for name, base in called if base.lower() in METADATA or LISTED.fullmatch(base)]:
        _neighbours(table, beside, first)
    if table["label"].isna().all():
        for name in may_be_coco(beside):
            coco(table, name, beside)
    if asks_for_labels(beside.options) and table["label"].isna().all():
        _neighbours(table, beside)
    for kind in (yolo, voc, cvat, exports_of_tools, sidecars, _lists):
        if table["label"].isna().all():
            _unless_few(kind, table, beside)
    named = table["label"].notna().any() or _neighbours(table, beside)
    if not named and not with_ids(table, beside):
        _tell_unread(table, beside)


def _tell_unread(table: pd.DataFrame, beside: Companions) -> None:
    """Report files that may hold labels, if none was read."""
    others = beside.ending(*TABLES) + _long_texts(beside)
    sheets = () if others else beside.ending(*SHEETS)
    called, out = ("tables", "giving the table") if others or sheets else ("files", "a table")
    others = others or sheets or beside.ending(*MAY_TELL)
    if not others or any(told["what"] == "labels" for told in table.attrs.get("decisions", ())):
        return
    why = f"{called} lie beside the images: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}"
    option = "saving it as .xlsx or .csv" if sheets else f"{out} in place of the folder"
    if len(others) <= MOST_TABLES and (found := columns_of(beside, others)) is not None:
        why = f"{why}; {found[0]} names images, and has the columns {named_columns(found[1])}"
        option = f"--label-column {shlex.quote(labels_first(found[1])[0])}"
    decide(table, Decision("labels", "none", why, option))


def _unless_few(kind: Callable[[pd.DataFrame, Companions], None], table: pd.DataFrame, beside: Companions) -> None:
    """Labels from one kind of annotations, or from tables if those label more images."""
    before, several = list(table.attrs.get("decisions", ())), table.attrs.get("several", False)
    kind(table, beside)
    found = table["label"].notna().sum()
    if not 0 < found < WHOLE * len(table):
        return
    tables = agreeing(neighbour_tables(beside, table["split"].tolist()), len(table))
    if sum(label is not None for told in tables for label in told.label.values()) > found:
        table["label"] = pd.Series([None] * len(table), dtype=object)
        table.attrs.update(decisions=before, several=several)
        _neighbours(table, beside)


def _lists(table: pd.DataFrame, beside: Companions) -> None:
    """Labels from lists that refer to images indirectly (`joins`)."""
    if (found := labels_of_lists(beside)) is not None:
        value = f"of the list {posixpath.basename(found.name)}"
        tell_labels(table, found.value_of, value, f"{found.name} labels", f", {found.how}")


def _long_texts(beside: Companions) -> list[str]:
    """Text files that may hold labels: named like the images, one list per class, or with lines for at least a tenth of the images."""
    images, texts = len(beside.keys), beside.ending(*LISTS)
    own = [name for name in texts if stem_of(name) in beside.stems]
    found = own if len(own) >= images / 2 else []
    lists: list[str] = []
    for name in texts:
        if name in own or PROSE & set(words_of(posixpath.basename(name))):
            continue
        lines = beside.lines(name)
        bare = sum(stem_of(line) in beside.stems for line in lines)
        found += [name] if len(lines) >= max(3, images / 10) and bare < len(lines) / 2 else []
        lists += [name] if bare >= max(2, ALIKE * len(lines)) and split_of_list(name) is None else []
    return found + (lists if len(lists) > 1 else [])  # cat.txt, dog.txt


def _neighbours(table: pd.DataFrame, beside: Companions, names: Sequence[str] | None = None) -> bool:
    """Labels from tables whose rows name the images, of any name or only these; returns whether there are such tables."""
    found = neighbour_tables(beside, table["split"].tolist(), names)
    tables = agreeing(found, len(table))
    table.attrs["understood"] = {told.name for told in found}
    if found and not tables:
        why = f"{' and '.join(disagreeing(found))} give the same images different labels"
        decide(table, Decision("labels", "none", why, "giving one of them in place of the folder"))
    for told in tables:
        columns = {"label": told.label, "split": told.split, "group": told.group}
        rows = {key: row for row, key in enumerate(told.label)}
        named = fill(table, rows, {name: [values[key] for key in rows] for name, values in columns.items()})
        add_absent(table, told.absent)
        table.attrs["masks"] = table.attrs.get("masks", set()) | told.masks
        more = f"; {len(told.absent):,} listed images are missing" if told.absent else ""
        why = f"{told.name} names {named:,} of {len(table):,} images{more}"
        value = f"of the table {posixpath.basename(told.name)}"
        decide(table, Decision("labels", value, why, "--layout, or giving another table in place of the folder"))
        decide(table, *told.decisions)
        if told.several:
            table.attrs["several"] = True
    if tables:
        table.attrs["described"], table.attrs["unused_columns"] = described_by(tables)
    return bool(found)


def _participants(table: pd.DataFrame, beside: Companions) -> None:
    """Labels of the subjects of a BIDS dataset, from its participants table."""
    name = next((name for name in beside.names if posixpath.basename(name).lower() in PARTICIPANTS), None)
    if name is None:
        return
    frame, options = beside.frame(name), beside.options
    if not len(frame.columns):
        return
    ids = next((column for column in frame.columns if plain_name(column) in ("participantid", "subjectid")), None)
    columns = [column for column in frame.columns if column != ids]
    known = [*known_as(columns, LABELS), *known_as(columns, CONDITIONS)]
    asked = options.label_column != _DEFAULTS.label_column
    column = options.label_column if options.label_column in columns else known[0] if known and not asked else None
    if ids is None or column is None:
        have = ", ".join(map(str, columns))
        decide(table, Decision("labels", "none", f"{name} has the participant columns {have}", "--label-column"))
        return
    told = dict(zip(map(_participant, texts_of(frame[ids])), texts_of(frame[column]), strict=True))
    labels = [told.get(_participant(group)) for group in table["group"]]
    table["label"] = pd.Series(labels, dtype=object)
    number = sum(label is not None for label in labels)
    why = f"{name} has {number:,} of {len(labels):,} images' participants"
    decide(table, Decision("labels", f"{column!r} of the participants", why, "--label-column"))


def _participant(name: str | None) -> str:
    return (name or "").strip().lower().removeprefix("sub-")

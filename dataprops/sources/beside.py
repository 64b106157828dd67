"""Metadata files in a folder of images: tables, annotations and lists that supply what its folder names do not.

They supply missing labels, splits and patients: ``metadata.csv`` or ``.jsonl`` of Hugging Face's imagefolder, BIDS participants, COCO
annotations (`coco`), object annotations (`objects`), one file per image (`sidecars`), any other table whose rows name the images
(`neighbours`). A table that matches no images is reported, so that it can be given as the source instead. Split lists apply to all
images without a split (see `lists`).
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Sequence

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import MASK, Decision, decide, withdraw
from dataprops.sources.classnames import with_names
from dataprops.sources.coco import annotated_by, coco, may_be_coco
from dataprops.sources.columns import (
    LABELS,
    PARTS,
    PATIENTS,
    asks_for_labels,
    known_as,
    labels_first,
    labels_of,
    optional,
    plain_name,
    texts_of,
)
from dataprops.sources.compared import compare
from dataprops.sources.ends import by_ends, without_zeros
from dataprops.sources.filled import add_absent, fill, fill_labels, tell_absent
from dataprops.sources.ids import with_ids, with_patients_of_ids
from dataprops.sources.joins import labels_of_lists
from dataprops.sources.labels import SEPARATOR, joined, words_of
from dataprops.sources.levels import ALIKE
from dataprops.sources.lists import split_of_list, with_splits
from dataprops.sources.neighbours import (
    MOST_TABLES,
    TABLES,
    WHOLE,
    agreeing,
    columns_of,
    described_by,
    disagreeing,
    named_columns,
    neighbour_tables,
    with_patients,
)
from dataprops.sources.objects import cvat, exports_of_tools, voc, yolo
from dataprops.sources.people import with_persons
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.sidecars import sidecars
from dataprops.sources.table import SourceOptions
from dataprops.sources.tablefile import as_text, read_table
from dataprops.sources.unused import PROSE, with_unused
from dataprops.sources.versions import with_versions
from dataprops.util.names import stem_of

METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"})
PARTICIPANTS = ("participants.tsv", "participants.csv")
CONDITIONS = ("group", "condition", "arm", "cohort")  # columns of participants that may be the label
LISTED = re.compile(r"(?:annotations?|labels?|_annotations\.createml)\.json", re.IGNORECASE)
THIN = 3  # images per folder; with no more on average, labels of a table take precedence over the folders
MAY_TELL = (".xml", ".npy", ".npz", ".mat", ".pkl", ".pt", ".h5")  # files of unknown layout that may hold labels
KEPT = 2**25  # bytes of metadata files cached while the rules are tried
_DEFAULTS = SourceOptions()


def with_tables(table: pd.DataFrame, read: Callable[[str], bytes], options: SourceOptions) -> pd.DataFrame:
    """Complete the table of a folder's images from its metadata files; labels normally only if its folders name no classes.

    Parameters
    ----------
    read : callable
        read(key) -> content of a file that was left out, bytes. Raises OSError.
    """
    names, read = list(table.attrs.get("ignored", ())), _once(read)
    if options.layout and options.layout != "none":  # says what it names; what else is known stays known
        if "split" not in options.layout:
            with_splits(table, names, read)
        if "group" not in options.layout:
            with_patients(table, names, read, options)
        withdraw(table, "splits", value="none")  # confirmed
        return table
    with_splits(table, names, read)
    _classes(table, names, read, options)
    with_versions(table)
    table = _without_masks(table, table.attrs.pop("masks", set()))
    with_patients(table, names, read, options)
    with_patients_of_ids(table, names, read, options)
    with_names(table, names, read, options)
    with_unused(table, names, read)
    return table


def _once(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """`read` with a cache of `KEPT` bytes, since several rules read the same files and each read may be a download."""
    kept: dict[str, bytes] = {}
    left = KEPT

    def reading(name: str) -> bytes:
        nonlocal left
        if name in kept:
            return kept[name]
        data = read(name)
        if len(data) <= left:
            kept[name] = data
            left -= len(data)
        return data

    return reading


def _without_masks(table: pd.DataFrame, masks: set[str]) -> pd.DataFrame:
    """Move images that a table declares as masks to the files left out."""
    if not masks:
        return table
    kept = table[~table["key"].isin(masks)].reset_index(drop=True)
    kept.attrs = {
        **table.attrs,
        "ignored": [*table.attrs.get("ignored", ()), *sorted(masks)],
        "reasons": {**table.attrs.get("reasons", {}), **dict.fromkeys(masks, MASK)},
    }
    return kept


def _classes(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels from the folders, or from metadata files if the folders give none."""
    classes = table["label"]
    if classes.nunique() > 1:
        if with_persons(table, names, read, options, classes.tolist()):
            return
        thin = len(table) <= THIN * table["label"].nunique()
        if table["label"].notna().any() and not (thin and _thin(table, names, read, options)):
            if thin and with_ids(table, names, read, options):
                return
            if classes.isna().any():
                _rest(table, names, read, options)
            compare(table, names, read, options, annotated_by(table, names, read))
            return
        classes = pd.Series([None] * len(table), dtype=object) if table["label"].notna().any() else table["label"]
    # a single folder is not a class if a table has labels
    table["label"] = pd.Series([None] * len(table), dtype=object)
    _labels(table, names, read, options)
    if table["split"].notna().any():  # set by a table meanwhile
        withdraw(table, "splits", value="none")
    if table["label"].isna().all():
        table["label"] = classes
    elif classes.notna().any():
        withdraw(table, "classes")


def _thin(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> bool:
    """Whether folders of few images each (``Mass-Training_P_00001_LEFT_CC``) are not classes: tables name nearly all images.

    If so, the decision that they are classes is removed.
    """
    tables = agreeing(
        neighbour_tables(table["key"].tolist(), names, read, options, table["split"].tolist()), len(table)
    )
    label = {key: one for told in tables for key, one in told.label.items() if one is not None}
    named = {key for told in tables for key in (*told.label, *told.masks)}
    if len(named) < WHOLE * len(table) or not 1 < len(set(label.values())) <= len(label) / THIN:
        return False
    withdraw(table, "classes")
    table.attrs["empty_classes"] = []
    return True


def _rest(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels of images outside the class folders, from a table with the same class names as the folders.

    Examples are ImageNet's validation images and the test set of GTSRB.
    """
    own = {key: name for key, name in zip(table["key"], table["label"], strict=True) if name is not None}
    alone = {key for key in table["key"] if key not in own}
    folders = {without_zeros(name): name for name in own.values()}
    above = {"", *(key[: at.start()] for key in alone for at in re.finditer("/", key))}
    near = [name for name in names if posixpath.dirname(name) in above]
    for told in neighbour_tables(table["key"].tolist(), near, read, options, table["split"].tolist()):
        label = {key: folders.get(without_zeros(name)) for key, name in told.label.items() if name is not None}
        understood = sum(name is not None and own.get(key, name) == name for key, name in label.items())
        if not alone & label.keys() or understood < ALIKE * len(label):
            continue
        found = {key: name for key, name in label.items() if key in alone and name is not None}
        fill_labels(table, found)
        why = f"{told.name} lists {len(found):,} of {len(alone):,} images outside the class folders"
        decide(table, Decision("labels", f"of the table {posixpath.basename(told.name)}", why, "--layout"))


def _labels(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels from the first kind of metadata file that has any."""
    if table["group"].notna().any():
        _participants(table, names, read, options)
    if table["label"].isna().all() and table["group"].notna().any():
        with_persons(table, names, read, options, [name and posixpath.basename(name) for name in table["group"]])
    for name in names:
        if posixpath.basename(name).lower() in METADATA or LISTED.fullmatch(posixpath.basename(name)):
            _metadata(table, name, read, options)
    if table["label"].isna().all():
        for name in may_be_coco(table["key"].tolist(), names):
            coco(table, name, read)
    if asks_for_labels(options) and table["label"].isna().all():
        _neighbours(table, names, read, options)
    for kind in (yolo, voc, cvat, exports_of_tools, sidecars, _lists):
        if table["label"].isna().all():
            _unless_few(kind, table, names, read, options)
    named = table["label"].notna().any() or _neighbours(table, names, read, options)
    if not named and not with_ids(table, names, read, options):
        others = [name for name in names if name.lower().endswith(TABLES)]
        others += _long_texts(table["key"].tolist(), names, read)
        called, out = ("tables", "giving the table") if others else ("files", "a table")
        others = others or [name for name in names if name.lower().endswith(MAY_TELL)]
        if others and all(told["what"] != "labels" for told in table.attrs.get("decisions", ())):
            why = f"{called} lie beside the images: {', '.join(others[:3])}{', ...' if len(others) > 3 else ''}"
            columns = columns_of(table["key"].tolist(), others, read) if len(others) <= MOST_TABLES else None
            if columns is None:
                decide(table, Decision("labels", "none", why, f"{out} in place of the folder"))
            else:
                why = f"{why}; {columns[0]} names images, and has the columns {named_columns(columns[1])}"
                option = f"--label-column {shlex.quote(labels_first(columns[1])[0])}"
                decide(table, Decision("labels", "none", why, option))


def _unless_few(
    kind: Callable[[pd.DataFrame, Sequence[str], Callable[[str], bytes]], None],
    table: pd.DataFrame,
    names: Sequence[str],
    read: Callable[[str], bytes],
    options: SourceOptions,
) -> None:
    """Labels from one kind of annotations, or from tables if those label more images."""
    before, several = list(table.attrs.get("decisions", ())), table.attrs.get("several", False)
    kind(table, names, read)
    found = table["label"].notna().sum()
    if not 0 < found < WHOLE * len(table):
        return
    keys, splits = table["key"].tolist(), table["split"].tolist()
    tables = agreeing(neighbour_tables(keys, names, read, options, splits), len(table))
    if sum(label is not None for told in tables for label in told.label.values()) > found:
        table["label"] = pd.Series([None] * len(table), dtype=object)
        table.attrs.update(decisions=before, several=several)
        _neighbours(table, names, read, options)


def _lists(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Labels from lists that refer to images indirectly (`joins`)."""
    if (found := labels_of_lists(table["key"].tolist(), names, read)) is None:
        return
    named = fill_labels(table, found.value_of)
    why = f"{found.name} labels {named:,} of {len(table):,} images, {found.how}"
    decide(table, Decision("labels", f"of the list {posixpath.basename(found.name)}", why, "--layout"))


def _long_texts(keys: Sequence[str], names: Sequence[str], read: Callable[[str], bytes]) -> list[str]:
    """Text files that may hold labels: named like the images, one list per class, or with lines for at least a tenth of the images."""
    stems = {stem_of(key) for key in keys}
    texts = [name for name in names if name.lower().endswith((".txt", ".lst"))]
    own = [name for name in texts if stem_of(name) in stems]
    found = own if len(own) >= len(keys) / 2 else []
    lists: list[str] = []
    for name in texts:
        if name in own or PROSE & set(words_of(posixpath.basename(name))):
            continue
        try:
            lines = [line for line in as_text(read(name))[0].splitlines() if line.strip()]
        except OSError:
            continue
        bare = sum(stem_of(line.strip()) in stems for line in lines)
        found += [name] if len(lines) >= max(3, len(keys) / 10) and bare < len(lines) / 2 else []
        lists += [name] if bare >= max(2, ALIKE * len(lines)) and split_of_list(name) is None else []
    return found + (lists if len(lists) > 1 else [])  # cat.txt, dog.txt


def _metadata(table: pd.DataFrame, name: str, read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels from a table with a column file_name, relative to the table's folder."""
    try:
        frame = read_table(_objects(read(name), name), name).frame
    except (OSError, ValueError):
        return
    column = next((c for c in frame.columns if plain_name(c) in ("filename", "path", "image")), None)
    if column is None:
        return
    used = [column]
    try:
        label, _, told = labels_of(frame, options, name, used)
    except DatapropsError:
        return
    split, _ = optional(frame, options.split_column, _DEFAULTS.split_column, PARTS, "split", used)
    group, _ = optional(frame, options.group_column, _DEFAULTS.group_column, PATIENTS, "group", used)
    base = posixpath.dirname(name)
    rows: dict[str, int] = {}
    sets: dict[str, set[str]] = defaultdict(set)
    for row, path in enumerate(
        frame[column].tolist()
    ):  # there may be one row per object: an image gets the labels of all
        key = posixpath.normpath(posixpath.join(base, forward_slashes(str(path))))
        sets[key].update((label[row] or "").split(SEPARATOR) if label[row] is not None else ())
        first = rows.setdefault(key, row)
        label[first] = joined(sets[key]) if len(sets[key]) > 1 else label[first]
    if not rows.keys() & set(table["key"]):  # relative to another folder: match path suffixes
        known = by_ends(table["key"].tolist())
        ends = {known.get(folded(path.removeprefix(f"{base}/"))): row for path, row in rows.items()}
        rows = {path: row for path, row in ends.items() if path is not None}
    else:
        tell_absent(table, rows)
    if not rows:
        return
    if any(SEPARATOR in (one or "") for one in label):
        table.attrs["several"] = True
    found = fill(table, rows, {"label": label, "split": split, "group": group})
    why = f"{name} names {found:,} of {len(table):,} images"
    decide(table, Decision("labels", f"of the table {posixpath.basename(name)}", why, "--layout"), *told)


def _neighbours(
    table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions
) -> bool:
    """Labels from tables of any name whose rows name the images; returns whether there are such tables."""
    found = neighbour_tables(table["key"].tolist(), names, read, options, table["split"].tolist())
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


def _objects(data: bytes, name: str) -> bytes:
    """Convert a CreateML file to a table whose label joins the names of an image's objects; other files are returned unchanged."""
    if not name.lower().endswith("createml.json"):
        return data
    rows = json.loads(data)
    if not isinstance(rows, list):
        raise ValueError("it is not a list of images")
    named = [
        {"path": row.get("image"), "label": joined(str(one.get("label")) for one in row.get("annotations", ()))}
        for row in rows
        if isinstance(row, dict) and all(isinstance(one, dict) for one in row.get("annotations", ()))
    ]
    return json.dumps(named).encode()


def _participants(
    table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions
) -> None:
    """Labels of the subjects of a BIDS dataset, from its participants table."""
    name = next((name for name in names if posixpath.basename(name).lower() in PARTICIPANTS), None)
    if name is None:
        return
    try:
        frame = read_table(read(name), name).frame
    except (OSError, ValueError):
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

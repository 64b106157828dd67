"""Tables in a folder of images: ``metadata.csv`` or ``.jsonl`` as imagefolder reads it, the participants of BIDS, COCO's annotations,
the lists of objects of YOLO, DOTA, KITTI, Pascal VOC and CVAT.

They give labels, splits and patients to images whose folders tell none; so does a table of any other name whose rows name the images
(see `neighbours`). A table that does not is told of, so that it can be given instead. Lists of splits count for all images without one
(see `lists`).
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import ABSENT, COMPANION, MASK, Decision, decide
from dataprops.sources.classnames import with_names
from dataprops.sources.columns import (
    LABELS,
    PARTS,
    PATIENTS,
    known_as,
    labels_of,
    optional,
    plain_name,
    texts_of,
)
from dataprops.sources.compared import compare
from dataprops.sources.ends import by_ends, stem_of, without_zeros
from dataprops.sources.exports import annotated, parts
from dataprops.sources.ids import with_ids, with_patients_of_ids
from dataprops.sources.joins import labels_of_lists
from dataprops.sources.labels import SEPARATOR, joined, words_of
from dataprops.sources.lists import split_of_list, with_splits
from dataprops.sources.neighbours import (
    MOST_TABLES,
    TABLES,
    WHOLE,
    agreeing,
    columns_of,
    described_by,
    image_of,
    neighbour_tables,
    with_patients,
)
from dataprops.sources.people import with_persons
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.structure import ALIKE, SPLITS
from dataprops.sources.table import SourceOptions
from dataprops.sources.tablefile import as_text, read_table
from dataprops.sources.versions import with_versions

METADATA = frozenset({"metadata.csv", "metadata.jsonl", "metadata.parquet", "_classes.csv", "_annotations.csv"})
PARTICIPANTS = ("participants.tsv", "participants.csv")
CONDITIONS = ("group", "condition", "arm", "cohort")  # of participants: what may be the label
YOLO = frozenset({"data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names", "classes.names"})
LISTED = re.compile(r"(?:annotations?|labels?|_annotations\.createml)\.json", re.IGNORECASE)
FEW_CLASSES = 200  # different texts beside images that may be classes
THIN = 3  # images of a folder, of which it takes more to be a class where tables tell others
WORD, WORDS = 60, 3  # characters, and words, of a class
CATEGORY = ("name", "scientificName", "scientific_name")  # of COCO's categories
DEEPEST = 4  # levels of objects of JSON in which a class is looked for
PROSE = frozenset(
    ("readme", "license", "licence", "requirements", "notice", "changelog", "notes", "terms", "description")
)
MAY_TELL = (".xml", ".npy", ".npz", ".mat", ".pkl", ".pt", ".h5")  # files of no known form that may hold labels
EXPORTED = (".json", ".jsonl", ".ndjson", ".manifest")
KEPT = 2**25  # bytes of files beside images, that are kept while rules look into them
COCO_MOST = 2**29  # bytes of a file of annotations
# files that others wrote: nothing here takes back what it took, or looks twice at a text that does not end as it should
_NUMBER = r"[-+]?(?:\d++(?:\.\d++)?+|\.\d++)(?:[eE][-+]?\d++)?+"
_BOX = re.compile(rf"\d+(?: {_NUMBER}){{4,}}")  # class, and a box or an outline
# other lists of an image's objects: the class after eight coordinates (DOTA), or before fourteen numbers or fifteen (KITTI)
_DOTA = re.compile(rf"(?:{_NUMBER} ){{8}}(?P<name>\S+)(?: \d)?")
_KITTI = re.compile(rf"(?P<name>[A-Za-z]\S*+)(?: {_NUMBER}){{14,15}}")
_REMARK = re.compile(r"(?:imagesource|gsd) ?:.*", re.IGNORECASE)
NO_OBJECT = frozenset(("DontCare",))
OF_OBJECTS = ("labels", "labelTxt", "label_2", "Annotations", "annotations")  # folders beside images/
_CVAT_IMAGE = re.compile(r"<image\b")
_CVAT_NAME, _CVAT_SUBSET = (re.compile(rf'\b{attribute}="([^"]*)"') for attribute in ("name", "subset"))
_CVAT_LABEL = re.compile(
    r'<(?:box|polygon|polyline|points|ellipse|cuboid|mask|skeleton|tag)\b[^<>]*?\blabel="([^"<]*)"'
)
_DEFAULTS = SourceOptions()


def with_tables(table: pd.DataFrame, read: Callable[[str], bytes], options: SourceOptions) -> pd.DataFrame:
    """The images of a folder with what tables in it tell; labels only where no folder names a class.

    Parameters
    ----------
    read : callable
        read(key) -> the bytes of a file that was left out. Raises OSError.
    """
    if options.layout and options.layout != "none":
        return table
    names, read = list(table.attrs.get("ignored", ())), _once(read)
    with_splits(table, names, read)
    _classes(table, names, read, options)
    with_versions(table)
    table = _without_masks(table, table.attrs.pop("masks", set()))
    with_patients(table, names, read, options)
    with_patients_of_ids(table, names, read, options)
    with_names(table, names, read, options)
    return table


def _once(read: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """As `read`; what several rules look into is kept, up to `KEPT` bytes in all: another reading may be another download."""
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
    """The images but for those that a table calls masks."""
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
    """Labels of the folders, or of what lies beside the images where these tell none."""
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
            compare(table, names, read, options, _annotated(table, names, read))
            return
        classes = pd.Series([None] * len(table), dtype=object) if table["label"].notna().any() else table["label"]
    # the only folder tells nothing where a table tells more
    table["label"] = pd.Series([None] * len(table), dtype=object)
    _labels(table, names, read, options)
    if table["split"].notna().any():  # a table has told them since
        told = table.attrs.get("decisions", ())
        table.attrs["decisions"] = [one for one in told if (one["what"], one["value"]) != ("splits", "none")]
    if table["label"].isna().all():
        table["label"] = classes
    elif classes.notna().any():
        table.attrs["decisions"] = [told for told in table.attrs.get("decisions", ()) if told["what"] != "classes"]


def _thin(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> bool:
    """Whether folders of few images each, ``Mass-Training_P_00001_LEFT_CC``, are no classes: tables tell some of nearly all."""
    tables = agreeing(
        neighbour_tables(table["key"].tolist(), names, read, options, table["split"].tolist()), len(table)
    )
    label = {key: one for told in tables for key, one in told.label.items() if one is not None}
    named = {key for told in tables for key in (*told.label, *told.masks)}
    if len(named) < WHOLE * len(table) or not 1 < len(set(label.values())) <= len(label) / THIN:
        return False
    table.attrs["decisions"] = [one for one in table.attrs.get("decisions", ()) if one["what"] != "classes"]
    table.attrs["empty_classes"] = []
    return True


def _rest(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels of images that lie in no class, where others do, by a table that calls the classes as the folders do.

    So have ImageNet's validation and the test set of traffic signs theirs.
    """
    own = {key: name for key, name in zip(table["key"], table["label"], strict=True) if name is not None}
    alone = {key for key in table["key"] if key not in own}
    folders = {without_zeros(name): name for name in own.values()}
    above = {"", *(key[: at.start()] for key in alone for at in re.finditer("/", key))}
    near = [name for name in names if posixpath.dirname(name) in above]
    for told in neighbour_tables(table["key"].tolist(), near, read, options, table["split"].tolist()):
        label = {key: folders.get(without_zeros(name)) for key, name in told.label.items() if name is not None}
        agreed = sum(name is not None and own.get(key, name) == name for key, name in label.items())
        if not alone & label.keys() or agreed < ALIKE * len(label):
            continue
        found = {key: name for key, name in label.items() if key in alone and name is not None}
        _set_labels(table, found)
        why = f"{told.name} names {len(found):,} of {len(alone):,} images that lie in no folder of a class"
        decide(table, Decision("labels", f"of the table {posixpath.basename(told.name)}", why, "--layout"))


def _labels(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions) -> None:
    """Labels from the first kind of table that has any."""
    if table["group"].notna().any():
        _participants(table, names, read, options)
    if table["label"].isna().all() and table["group"].notna().any():
        with_persons(table, names, read, options, [name and name.rpartition("/")[2] for name in table["group"]])
    for name in names:
        if posixpath.basename(name).lower() in METADATA or LISTED.fullmatch(posixpath.basename(name)):
            _metadata(table, name, read, options)
    if table["label"].isna().all():
        for name in _may_be_coco(table["key"].tolist(), names):
            _coco(table, name, read)
    for kind in (_yolo, _voc, _cvat, _exports, _sidecars, _lists):
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
                why = f"{why}; {columns[0]} names images, and has the columns {columns[1]}"
                decide(table, Decision("labels", "none", why, "--label-column COLUMN"))


def _unless_few(
    kind: Callable[[pd.DataFrame, Sequence[str], Callable[[str], bytes]], None],
    table: pd.DataFrame,
    names: Sequence[str],
    read: Callable[[str], bytes],
    options: SourceOptions,
) -> None:
    """Labels of one kind of annotations; where these leave images without one, and tables name more, of these tables."""
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
    """Labels by lists that name no image themselves (`joins`)."""
    if (found := labels_of_lists(table["key"].tolist(), names, read)) is None:
        return
    named = _set_labels(table, found.value_of)
    why = f"{found.name} tells {named:,} of {len(table):,} images, {found.how}"
    decide(table, Decision("labels", f"of the list {posixpath.basename(found.name)}", why, "--layout"))


def _long_texts(keys: Sequence[str], names: Sequence[str], read: Callable[[str], bytes]) -> list[str]:
    """Texts that may hold labels: called as images are, or of a line for at least a tenth of them that says more than its name."""
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
    """Labels of a table with the column file_name, counted from its folder."""
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
    for row, path in enumerate(frame[column].tolist()):  # a row for each object of an image: it has the labels of all
        key = posixpath.normpath(posixpath.join(base, forward_slashes(str(path))))
        sets[key].update((label[row] or "").split(SEPARATOR) if label[row] is not None else ())
        first = rows.setdefault(key, row)
        label[first] = joined(sets[key]) if len(sets[key]) > 1 else label[first]
    if not rows.keys() & set(table["key"]):  # paths of another folder: by their ends
        known = by_ends(table["key"].tolist())
        ends = {known.get(folded(path.removeprefix(f"{base}/"))): row for path, row in rows.items()}
        rows = {path: row for path, row in ends.items() if path is not None}
    else:
        _tell_absent(table, rows)
    if not rows:
        return
    if any(SEPARATOR in (one or "") for one in label):
        table.attrs["several"] = True
    found = _set(table, rows, {"label": label, "split": split, "group": group})
    why = f"{name} names {found:,} of {len(table):,} images"
    decide(table, Decision("labels", f"of the table {posixpath.basename(name)}", why, "--layout"), *told)


def _neighbours(
    table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions
) -> bool:
    """Labels of tables of any name that name the images; whether anything was told of them."""
    found = neighbour_tables(table["key"].tolist(), names, read, options, table["split"].tolist())
    tables = agreeing(found, len(table))
    if found and not tables:
        why = f"{' and '.join(told.name for told in found[:3])} give the same images different labels"
        decide(table, Decision("labels", "none", why, "giving one of them in place of the folder"))
    for told in tables:
        columns = {"label": told.label, "split": told.split, "group": told.group}
        rows = {key: row for row, key in enumerate(told.label)}
        named = _set(table, rows, {name: [values[key] for key in rows] for name, values in columns.items()})
        _add_absent(table, told.absent)
        table.attrs["masks"] = table.attrs.get("masks", set()) | told.masks
        more = f"; {len(told.absent):,} that it names are not there" if told.absent else ""
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
    """A file of CreateML as a table: the names of an image's objects as its label; others as they are."""
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


def _sidecars(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Labels of a text of one word, of a class of JSON or of Labelme's shapes, in a file beside each image, or called so elsewhere."""
    there = set(names)
    elsewhere: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if posixpath.splitext(name)[1].lower() in ("", ".json", ".txt", ".cls"):
            elsewhere[stem_of(name)].append(name)
    own: dict[str, list[str]] = defaultdict(list)  # one file of JSON for all images of a folder
    for name in names:
        if name.lower().endswith(".json") and posixpath.dirname(name):
            own[posixpath.dirname(name)].append(name)
    found: dict[str, str] = {}
    patients: dict[str, str] = {}
    used: dict[str, str] = {}
    told = False  # whether JSON says that these are labels
    for key in table["key"]:
        stem = posixpath.splitext(key)[0]
        beside = (*(stem + ending for ending in (".txt", ".cls", ".json")), f"{key}.json")
        name = next((one for one in beside if one in there), None)
        others = elsewhere.get(posixpath.basename(stem), []) or own.get(posixpath.dirname(key), [])
        if name is None and len(others) != 1:
            continue
        name = name or others[0]
        try:
            text = as_text(read(name))[0].strip()
            whole = json.loads(text) if not name.endswith((".txt", ".cls")) else None
        except (OSError, ValueError, RecursionError):
            return
        label = _label_of(whole) if whole is not None else text if "\n" not in text else None
        told = told or isinstance(whole, dict)
        if label:
            found[key], used[name] = label, COMPANION
        if whole is not None and (patient := _value_of(whole, PATIENTS)) is not None:
            patients[key] = patient
    values = {part for value in found.values() for part in value.split(SEPARATOR)}
    few = 1 < len(values) <= max(2, min(FEW_CLASSES, len(found) / 2))
    words = few and (told or all(len(value) <= WORD and len(value.split()) <= WORDS for value in values))
    if len(found) < len(table) / 2 or not words:  # captions, or something else
        return
    named = _set_labels(table, found)
    table.attrs["reasons"] = {**table.attrs.get("reasons", {}), **used}
    why = f"files beside {named:,} of {len(table):,} images name one of {len(values):,}"
    decide(table, Decision("labels", "of the files beside the images", why, "--layout"))
    if len(set(patients.values())) > 1 and table["group"].isna().all():
        table["group"] = pd.Series([patients.get(key) for key in table["key"]], dtype=object)
        why = f"files beside {len(patients):,} of {len(table):,} images name one"
        decide(table, Decision("groups", "of the files beside the images", why, "--group-pattern"))


def _label_of(whole: Any) -> str | None:
    """The class in a JSON value: a text, its label, class or diagnosis, or the labels of Labelme's shapes."""
    if isinstance(whole, dict) and isinstance(whole.get("shapes"), list):
        return joined(str(shape["label"]) for shape in whole["shapes"] if isinstance(shape, dict) and "label" in shape)
    return _value_of(whole, LABELS) if isinstance(whole, dict) else str(whole) if isinstance(whole, str | int) else None


def _value_of(whole: Any, names: Sequence[str]) -> str | None:
    """The first value of such a name in a JSON object, or in the objects within it, the outer ones first.

    >>> _value_of({"meta": {"clinical": {"diagnosis": "nevus"}}}, LABELS)
    'nevus'
    """
    level = [whole]
    for _ in range(DEEPEST):
        level = [one for one in level if isinstance(one, dict)]
        told = {plain_name(key): value for one in level for key, value in one.items() if _is_text(value)}
        if (name := next((name for name in names if name in told), None)) is not None:
            return joined(map(str, told[name])) if isinstance(told[name], list) else str(told[name])
        level = [value for one in level for value in one.values()]
    return None


def _is_text(value: Any) -> bool:
    """Whether a value of JSON is a text, a number, or a list of texts."""
    several = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return isinstance(value, str | int) or bool(several)


def _tell_absent(table: pd.DataFrame, named: Iterable[str]) -> None:
    """Count images that a table lists but that are missing as left out."""
    known = {*table["key"], *table.attrs.get("ignored", ())}
    _add_absent(table, [path for path in named if path not in known])


def _add_absent(table: pd.DataFrame, absent: Sequence[str]) -> None:
    table.attrs["ignored"] = [*table.attrs.get("ignored", ()), *absent]
    table.attrs["reasons"] = {**table.attrs.get("reasons", {}), **dict.fromkeys(absent, ABSENT)}


def _participants(
    table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions
) -> None:
    """Labels of the subjects of a BIDS tree, by the table of its participants."""
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
        decide(table, Decision("labels", "none", f"{name} tells {have} of the participants", "--label-column"))
        return
    told = dict(zip(map(_participant, texts_of(frame[ids])), texts_of(frame[column]), strict=True))
    labels = [told.get(_participant(group)) for group in table["group"]]
    table["label"] = pd.Series(labels, dtype=object)
    number = sum(label is not None for label in labels)
    why = f"{name} has {number:,} of {len(labels):,} images' participants"
    decide(table, Decision("labels", f"{column!r} of the participants", why, "--label-column"))


def _participant(name: str | None) -> str:
    return (name or "").strip().lower().removeprefix("sub-")


def _set(table: pd.DataFrame, rows: Mapping[str, int], values: Mapping[str, list[str | None]]) -> int:
    """Fill in unknown values from a table; returns how many images it lists."""
    at = [rows.get(key) for key in table["key"]]
    for column, told in values.items():
        own = table[column].tolist()
        if column == "label" and any(known is None and row is not None for known, row in zip(own, at, strict=True)):
            table.attrs["empty_classes"] = []  # folders are no classes here: one without images is none that is missing
        table[column] = pd.Series(
            [known if row is None or known is not None else told[row] for known, row in zip(own, at, strict=True)],
            dtype=object,
        )
    return sum(row is not None for row in at)


def _set_labels(table: pd.DataFrame, labels: Mapping[str, str | None]) -> int:
    """Fill in unknown labels, by image; several of one image stand in one text (`SEPARATOR`). Returns how many images it lists."""
    if any(SEPARATOR in (label or "") for label in labels.values()):
        table.attrs["several"] = True
    return _set(table, {key: row for row, key in enumerate(labels)}, {"label": list(labels.values())})


def _may_be_coco(keys: Sequence[str], names: Sequence[str]) -> list[str]:
    """Files of JSON that may be annotations: those that are called so, and where there are few those of any name: ``train.json``."""
    stems = {posixpath.splitext(key)[0] for key in keys}
    whole = [name for name in names if name.lower().endswith(".json")]
    few = [name for name in whole if posixpath.splitext(name)[0] not in stems]
    base = {name: posixpath.basename(name).lower() for name in whole}
    called = (
        "annotation" in name.lower() or base[name].startswith("instances") or "coco" in base[name] for name in whole
    )
    return [name for name, so in zip(whole, called, strict=True) if so or (len(few) <= MOST_TABLES and name in few)]


def _annotated(
    table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]
) -> dict[str, dict[str, str | None]]:
    """What COCO's annotations say of images whose folders tell classes, by the file; their sequences are filled in."""
    found: dict[str, dict[str, str | None]] = {}
    for name in _may_be_coco(table["key"].tolist(), names):
        copy = table[["key", "group"]].assign(label=pd.Series([None] * len(table), dtype=object))
        copy.attrs = {}
        _coco(copy, name, read)
        if copy["label"].notna().any():
            found[name] = {key: one for key, one in zip(copy["key"], copy["label"], strict=True) if one is not None}
            for told in copy.attrs["decisions"]:
                if told["what"] == "groups":
                    table["group"] = copy["group"]
                    decide(table, Decision(**told))
    return found


def _coco(table: pd.DataFrame, name: str, read: Callable[[str], bytes]) -> None:
    """Categories of the annotated objects of each image."""
    try:
        data = read(name)
        whole: dict[str, Any] = json.loads(data) if len(data) <= COCO_MOST else {}
        categories = {_first(row, "id", "category_id"): str(_first(row, *CATEGORY)) for row in whole["categories"]}
        files = {_first(row, "id", "image_id"): str(row["file_name"]) for row in whole["images"]}
        _sequences(table, name, whole["images"])
        found: dict[str, set[str]] = defaultdict(set)
        if not whole.get("annotations"):  # a list of images, as of COCO's test set: another file tells the objects
            return
        for row in whole["annotations"]:
            found[files[row["image_id"]]].add(categories[row["category_id"]])
    except (OSError, ValueError, KeyError, TypeError, StopIteration, RecursionError):
        return
    by_tail: dict[str, list[str]] = defaultdict(list)
    for key in table["key"]:
        by_tail[posixpath.basename(key)].append(key)
    labels: list[str | None] = []
    rows: dict[str, int] = {}
    for file in files.values():
        tails = [
            key for key in by_tail.get(posixpath.basename(file), ()) if f"/{key}".endswith(f"/{forward_slashes(file)}")
        ]
        if len(tails) > 1:  # several parts number their images alike: each has annotations of its own
            own = posixpath.normpath(posixpath.join(posixpath.dirname(name), forward_slashes(file)))
            tails = [key for key in tails if key == own]
        if len(tails) == 1:
            rows[tails[0]] = len(labels)
            labels.append(joined(found.get(file, ())))
    if not rows:
        return
    named = _set(table, rows, {"label": labels})
    if any("|" in (label or "") for label in labels):
        table.attrs["several"] = True
    why = f"{name} annotates {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "categories of the annotated objects", why, "--layout"))


def _first(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of the names that is there, which is hashable."""
    return row[next(name for name in names if name in row)]


def _sequences(table: pd.DataFrame, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Patients or sequences that COCO's list of images names, as sets of camera traps have them."""
    field = next(iter(known_as(list(dict.fromkeys(key for row in rows[:1] for key in row)), PATIENTS)), None)
    if field is None:
        return
    known = by_ends(table["key"].tolist())
    told = {image_of(str(row["file_name"]), known): str(row[field]) for row in rows if row.get(field) is not None}
    group = [told.get(key) if own is None else own for key, own in zip(table["key"], table["group"], strict=True)]
    everybody = len(set(told.values())) == 1 and len(told) > len(table) / 2
    if not everybody and group != table["group"].tolist():
        table["group"] = pd.Series(group, dtype=object)
        decide(table, Decision("groups", f"{field!r} of {name}", f"it names {len(told):,} images", "--group-pattern"))


def _yolo(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Classes of the objects that ``labels/x.txt`` lists for ``images/x.jpg``; an empty list is an image without any."""
    texts = {name for name in names if name.lower().endswith(".txt")}
    found: dict[str, set[str]] = {}
    for key in table["key"] if texts else ():
        stem = posixpath.splitext(key)[0]
        beside = (
            f"{stem[:at]}{other}{stem[end:]}.txt" for at, end in _folders_called_images(stem) for other in OF_OBJECTS
        )
        place = next((place for place in (f"{stem}.txt", *beside) if place in texts), None)
        if place is None:
            continue
        try:
            lines = [" ".join(line.split()) for line in read(place).decode("utf-8").splitlines()]
        except (OSError, ValueError):
            return
        classes_of = [_class_in(line) for line in lines if line and not _REMARK.fullmatch(line)]
        if None in classes_of:  # no list of boxes: a caption, a list of files
            return
        found[key] = {one for one in classes_of if one is not None} - NO_OBJECT
    if not any(found.values()):
        return
    classes = next((named for name in names if (named := _class_names(name, read))), {})
    labels = {key: joined(classes.get(code, code) for code in codes) for key, codes in found.items()}
    named = _set_labels(table, labels)
    why = f".txt files list the objects of {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "classes of the annotated objects", why, "--layout"))


def _voc(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Names of the objects in the .xml file of each image, beside it or in a folder ``Annotations``."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name.lower().endswith(".xml"):
            files[posixpath.basename(name)[: -len(".xml")]].append(name)
    found: dict[str, set[str]] = {}
    for key in table["key"] if files else ():
        stem = posixpath.splitext(key)[0]
        there = files.get(posixpath.basename(stem), [])
        file = f"{stem}.xml" if f"{stem}.xml" in there else there[0] if len(there) == 1 else None
        if file is None:
            continue
        try:
            text = as_text(read(file))[0]
        except (OSError, ValueError):
            continue
        if "<annotation" in text:
            found[key] = set(_voc_objects(text))
    if not any(found.values()):
        return
    named = _set_labels(table, {key: joined(objects) for key, objects in found.items()})
    why = f".xml files annotate {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "names of the annotated objects", why, "--layout"))


def _voc_objects(text: str) -> Iterator[str]:
    """The first name within each object."""
    for part in text.split("<object>")[1:]:
        name, _, after = part.partition("</object>")[0].partition("<name>")[2].partition("<")
        if after.startswith("/name>"):
            yield html.unescape(name.strip())


def _class_in(line: str) -> str | None:
    """The class in one line of a list of objects: YOLO's number, or the name of DOTA and KITTI.

    >>> _class_in("3 0.5 0.5 0.1 0.1"), _class_in("0 0 0 2 2 2 2 0 large-vehicle 1"), _class_in("a cat on a mat")
    ('3', 'large-vehicle', None)
    """
    if _BOX.fullmatch(line):
        return line.partition(" ")[0]
    named = _DOTA.fullmatch(line) or _KITTI.fullmatch(line)
    return named["name"] if named else None


def _cvat(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Labels of the shapes and tags that CVAT's .xml lists for each image; an image without any has none of them."""
    known = by_ends(table["key"].tolist())
    found: dict[str, set[str]] = {}
    used: list[str] = []
    for name in names:
        try:
            data = read(name) if name.lower().endswith(".xml") else b""
            text = as_text(data)[0] if len(data) <= COCO_MOST else ""
        except (OSError, ValueError):
            continue
        images = _cvat_images(text) if "<annotations" in text else ()
        here = [(_cvat_image(image, known), inside) for image, inside in images]
        used += [name] if any(key for key, _ in here) else []
        for key, inside in here:
            if key is not None:
                found.setdefault(key, set()).update(html.unescape(one) for one in _CVAT_LABEL.findall(inside))
    if not any(found.values()):
        return
    named = _set_labels(table, {key: joined(objects) for key, objects in found.items()})
    why = f"{', '.join(used[:3])} {'annotates' if len(used) == 1 else 'annotate'} {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "labels of the annotated objects", why, "--layout"))


def _cvat_images(text: str) -> Iterator[tuple[str, str]]:
    """Attributes of each image, and what lies within it."""
    for part in _CVAT_IMAGE.split(text)[1:]:
        attributes, begun, rest = part.partition(">")
        inside, ended, _ = rest.partition("</image>")
        if begun and attributes.endswith("/"):
            yield attributes[:-1], ""
        elif ended:
            yield attributes, inside


def _exports(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Labels in the JSON files of tools of annotation (`exports`)."""
    known = by_ends(table["key"].tolist())
    found: dict[str, set[str]] = {}
    tools: set[str] = set()
    splits: dict[str | None, str] = {}
    stems = {posixpath.splitext(key)[0] for key in table["key"]}  # x.json beside x.jpg: see _sidecars
    for name in names:
        if not name.lower().endswith(EXPORTED) or posixpath.splitext(name)[0] in stems:
            continue
        try:
            data = read(name)
            text = as_text(data)[0] if len(data) <= COCO_MOST else ""
            whole = json.loads(text) if name.lower().endswith(".json") else list(map(json.loads, text.splitlines()))
        except (OSError, ValueError, RecursionError):
            continue
        tool, images = annotated(whole, name) or ("", [])
        for path, labels in images:
            if (key := image_of(path, known)) is not None:
                found.setdefault(key, set()).update(labels)
                tools.add(tool)
        splits |= {image_of(path, known): part for path, part in parts(whole).items()} if images else {}
    if not any(found.values()):
        return
    named = _set_labels(table, {key: joined(labels) for key, labels in found.items()})
    if splits and table["split"].isna().all():
        told = [SPLITS.get(splits.get(key, "").lower(), splits.get(key)) for key in table["key"]]
        table["split"] = pd.Series(told, dtype=object)
    why = f"{' and '.join(sorted(tools))} annotated {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "of the tool's export", why, "--layout"))


def _cvat_image(attributes: str, known: Mapping[str, str | None]) -> str | None:
    """The image that CVAT's attributes name; of a project, with the part of it that is a folder."""
    name, subset = _CVAT_NAME.search(attributes), _CVAT_SUBSET.search(attributes)
    if name is None:
        return None
    paths = [name[1]] if subset is None else [f"{subset[1]}/{name[1]}", name[1]]
    return next((key for path in paths if (key := image_of(html.unescape(path), known)) is not None), None)


def _folders_called_images(stem: str) -> list[tuple[int, int]]:
    """Where a folder ``images`` begins and ends in a path, the last first; KITTI's is ``image_2``."""
    return [found.span(1) for found in re.finditer(r"(?:^|/)([Ii]mages|image_2)(?=/)", stem)][::-1]


def _class_names(name: str, read: Callable[[str], bytes]) -> dict[str, str]:
    """Names of YOLO's classes by their numbers: the ``names`` of data.yaml, or the lines of classes.txt."""
    base = posixpath.basename(name).lower()
    if base not in YOLO:
        return {}
    try:
        text = read(name).decode("utf-8")
    except (OSError, ValueError):
        return {}
    if not base.endswith((".yaml", ".yml")):
        return {str(number): line.strip() for number, line in enumerate(text.splitlines()) if line.strip()}
    listed = re.search(r"^names:\s*+\[", text, re.MULTILINE)
    if listed and (end := text.find("]", listed.end())) >= 0:
        parts = text[listed.end() : end].split(",")
        return {str(number): part.strip().strip("'\"") for number, part in enumerate(parts)}
    block = re.search(r"^names:[ \t]*\n((?:[ \t]*(?:-|\d+:)[^\n]*(?:\n|$))+)", text, re.MULTILINE)
    lines = re.findall(r"^[ \t]*+(-|\d++:)[ \t]*+(.+)$", block[1], re.MULTILINE) if block else []
    named = [(mark, word.rstrip(" \t").strip("'\"")) for mark, word in lines]
    return {mark.rstrip(":") if mark != "-" else str(n): word for n, (mark, word) in enumerate(named)}

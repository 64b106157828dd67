"""Object annotations: YOLO, DOTA, KITTI, Pascal VOC, CVAT, and the exports of other tools (`exports`)."""

from __future__ import annotations

import html
import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from dataprops.sources.account import Decision, decide
from dataprops.sources.coco import COCO_MOST
from dataprops.sources.ends import by_ends
from dataprops.sources.exports import annotated, parts
from dataprops.sources.filled import fill_labels
from dataprops.sources.labels import joined
from dataprops.sources.neighbours import image_of
from dataprops.sources.splitnames import SPLITS
from dataprops.sources.tablefile import as_text
from dataprops.util.names import without_ending

YOLO = frozenset({"data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names", "classes.names"})
EXPORTED = (".json", ".jsonl", ".ndjson", ".manifest")
# possessive quantifiers: no backtracking on malformed input
_NUMBER = r"[-+]?(?:\d++(?:\.\d++)?+|\.\d++)(?:[eE][-+]?\d++)?+"
_BOX = re.compile(rf"\d+(?: {_NUMBER}){{4,}}")  # class, then a box or polygon
# other formats: the class follows eight coordinates (DOTA), or precedes 14 or 15 numbers (KITTI)
_DOTA = re.compile(rf"(?:{_NUMBER} ){{8}}(?P<name>\S+)(?: \d)?")
_KITTI = re.compile(rf"(?P<name>[A-Za-z]\S*+)(?: {_NUMBER}){{14,15}}")
_REMARK = re.compile(r"(?:imagesource|gsd) ?:.*", re.IGNORECASE)
NO_OBJECT = frozenset(("DontCare",))
OF_OBJECTS = ("labels", "labelTxt", "label_2", "Annotations", "annotations")  # sibling folders of images/
_CVAT_IMAGE = re.compile(r"<image\b")
_CVAT_NAME, _CVAT_SUBSET = (re.compile(rf'\b{attribute}="([^"]*)"') for attribute in ("name", "subset"))
_CVAT_LABEL = re.compile(
    r'<(?:box|polygon|polyline|points|ellipse|cuboid|mask|skeleton|tag)\b[^<>]*?\blabel="([^"<]*)"'
)


def yolo(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Fill in labels from the object classes that ``labels/x.txt`` lists for ``images/x.jpg``; an empty list means no objects."""
    texts = {name for name in names if name.lower().endswith(".txt")}
    found: dict[str, set[str]] = {}
    for key in table["key"] if texts else ():
        stem = without_ending(key)
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
        if None in classes_of:  # not boxes but a caption or a file list
            return
        found[key] = {one for one in classes_of if one is not None} - NO_OBJECT
    if not any(found.values()):
        return
    classes = next((named for name in names if (named := _class_names(name, read))), {})
    labels = {key: joined(classes.get(code, code) for code in codes) for key, codes in found.items()}
    named = fill_labels(table, labels)
    why = f".txt files list the objects of {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "classes of the annotated objects", why, "--layout"))


def _class_in(line: str) -> str | None:
    """Class in one line of an object list: YOLO's number, or the name in DOTA and KITTI.

    >>> _class_in("3 0.5 0.5 0.1 0.1"), _class_in("0 0 0 2 2 2 2 0 large-vehicle 1"), _class_in("a cat on a mat")
    ('3', 'large-vehicle', None)
    """
    if _BOX.fullmatch(line):
        return line.partition(" ")[0]
    named = _DOTA.fullmatch(line) or _KITTI.fullmatch(line)
    return named["name"] if named else None


def _folders_called_images(stem: str) -> list[tuple[int, int]]:
    """Spans of the ``images`` folders in a path, the last first; in KITTI, ``image_2``."""
    return [found.span(1) for found in re.finditer(r"(?:^|/)([Ii]mages|image_2)(?=/)", stem)][::-1]


def _class_names(name: str, read: Callable[[str], bytes]) -> dict[str, str]:
    """YOLO class names by number: ``names`` in data.yaml, or the lines of classes.txt."""
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


def voc(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Fill in labels from the object names in the .xml file of each image, beside it or in a folder ``Annotations``."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name.lower().endswith(".xml"):
            files[posixpath.basename(name)[: -len(".xml")]].append(name)
    found: dict[str, set[str]] = {}
    for key in table["key"] if files else ():
        stem = without_ending(key)
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
    named = fill_labels(table, {key: joined(objects) for key, objects in found.items()})
    why = f".xml files annotate {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "names of the annotated objects", why, "--layout"))


def _voc_objects(text: str) -> Iterator[str]:
    """The first name in each object."""
    for part in text.split("<object>")[1:]:
        name, _, after = part.partition("</object>")[0].partition("<name>")[2].partition("<")
        if after.startswith("/name>"):
            yield html.unescape(name.strip())


def cvat(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Fill in labels from the shapes and tags in CVAT's .xml; an image without any has no objects."""
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
    named = fill_labels(table, {key: joined(objects) for key, objects in found.items()})
    why = f"{', '.join(used[:3])} {'annotates' if len(used) == 1 else 'annotate'} {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "labels of the annotated objects", why, "--layout"))


def _cvat_images(text: str) -> Iterator[tuple[str, str]]:
    """Attributes and content of each image element."""
    for part in _CVAT_IMAGE.split(text)[1:]:
        attributes, begun, rest = part.partition(">")
        inside, ended, _ = rest.partition("</image>")
        if begun and attributes.endswith("/"):
            yield attributes[:-1], ""
        elif ended:
            yield attributes, inside


def _cvat_image(attributes: str, known: Mapping[str, str | None]) -> str | None:
    """The image that CVAT's attributes refer to; in a project, the subset is a folder."""
    name, subset = _CVAT_NAME.search(attributes), _CVAT_SUBSET.search(attributes)
    if name is None:
        return None
    paths = [name[1]] if subset is None else [f"{subset[1]}/{name[1]}", name[1]]
    return next((key for path in paths if (key := image_of(html.unescape(path), known)) is not None), None)


def exports_of_tools(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Fill in labels from the JSON exports of annotation tools (`exports`)."""
    known = by_ends(table["key"].tolist())
    found: dict[str, set[str]] = {}
    tools: set[str] = set()
    files: set[str] = set()
    splits: dict[str | None, str] = {}
    stems = {without_ending(key) for key in table["key"]}  # x.json beside x.jpg: see sidecars
    for name in names:
        if not name.lower().endswith(EXPORTED) or without_ending(name) in stems:
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
                files.add(name)
        splits |= {image_of(path, known): part for path, part in parts(whole).items()} if images else {}
    if not any(found.values()):
        return
    named = fill_labels(table, {key: joined(labels) for key, labels in found.items()})
    if splits and table["split"].isna().all():
        told = [SPLITS.get(splits.get(key, "").lower(), splits.get(key)) for key in table["key"]]
        table["split"] = pd.Series(told, dtype=object)
    table.attrs["understood"] = files
    why = f"{' and '.join(sorted(tools))} annotated {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "of the tool's export", why, "--layout"))

"""Object annotations: YOLO, DOTA, KITTI, Pascal VOC, CVAT, and the exports of other tools (`exports`)."""

from __future__ import annotations

import html
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from dataprops.sources.companions import Companions
from dataprops.sources.exports import annotated, parts
from dataprops.sources.filled import tell_labels
from dataprops.sources.labels import joined
from dataprops.sources.splitnames import SPLITS
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


def yolo(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in labels from the object classes that ``labels/x.txt`` lists for ``images/x.jpg``; an empty list means no objects."""
    texts = set(beside.ending(".txt"))
    found: dict[str, set[str]] = {}
    for key in table["key"] if texts else ():
        stem = without_ending(key)
        others = (
            f"{stem[:at]}{other}{stem[end:]}.txt" for at, end in _folders_called_images(stem) for other in OF_OBJECTS
        )
        place = next((place for place in (f"{stem}.txt", *others) if place in texts), None)
        if place is None:
            continue
        lines = [" ".join(line.split()) for line in beside.lines(place)]
        classes_of = [_class_in(line) for line in lines if not _REMARK.fullmatch(line)]
        if None in classes_of or place in beside.lost:  # not boxes but a caption or a file list
            return
        found[key] = {one for one in classes_of if one is not None} - NO_OBJECT
    if not any(found.values()):
        return
    classes = next((named for name in beside.names if (named := _class_names(name, beside))), {})
    labels = {key: joined(classes.get(code, code) for code in codes) for key, codes in found.items()}
    tell_labels(table, labels, "classes of the annotated objects", ".txt files list the objects of")


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


def _class_names(name: str, beside: Companions) -> dict[str, str]:
    """YOLO class names by number: ``names`` in data.yaml, or the lines of classes.txt."""
    base = posixpath.basename(name).lower()
    text = beside.text(name) if base in YOLO else ""
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


def voc(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in labels from the object names in the .xml file of each image, beside it or in a folder ``Annotations``."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in beside.ending(".xml"):
        files[posixpath.basename(name)[: -len(".xml")]].append(name)
    found: dict[str, set[str]] = {}
    for key in table["key"] if files else ():
        stem = without_ending(key)
        there = files.get(posixpath.basename(stem), [])
        file = f"{stem}.xml" if f"{stem}.xml" in there else there[0] if len(there) == 1 else None
        if file is not None and "<annotation" in (text := beside.text(file)):
            found[key] = set(_voc_objects(text))
    if any(found.values()):
        labels = {key: joined(objects) for key, objects in found.items()}
        tell_labels(table, labels, "names of the annotated objects", ".xml files annotate")


def _voc_objects(text: str) -> Iterator[str]:
    """The first name in each object."""
    for part in text.split("<object>")[1:]:
        name, _, after = part.partition("</object>")[0].partition("<name>")[2].partition("<")
        if after.startswith("/name>"):
            yield html.unescape(name.strip())


def cvat(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in labels from the shapes and tags in CVAT's .xml; an image without any has no objects."""
    found: dict[str, set[str]] = {}
    used: list[str] = []
    for name in beside.ending(".xml"):
        text = beside.text(name)
        images = _cvat_images(text) if "<annotations" in text else ()
        here = [(_cvat_image(image, beside), inside) for image, inside in images]
        used += [name] if any(key for key, _ in here) else []
        for key, inside in here:
            if key is not None:
                found.setdefault(key, set()).update(html.unescape(one) for one in _CVAT_LABEL.findall(inside))
    if any(found.values()):
        labels = {key: joined(objects) for key, objects in found.items()}
        who = f"{', '.join(used[:3])} {'annotates' if len(used) == 1 else 'annotate'}"
        tell_labels(table, labels, "labels of the annotated objects", who)


def _cvat_images(text: str) -> Iterator[tuple[str, str]]:
    """Attributes and content of each image element."""
    for part in _CVAT_IMAGE.split(text)[1:]:
        attributes, begun, rest = part.partition(">")
        inside, ended, _ = rest.partition("</image>")
        if begun and attributes.endswith("/"):
            yield attributes[:-1], ""
        elif ended:
            yield attributes, inside


def _cvat_image(attributes: str, beside: Companions) -> str | None:
    """The image that CVAT's attributes refer to; in a project, the subset is a folder."""
    name, subset = _CVAT_NAME.search(attributes), _CVAT_SUBSET.search(attributes)
    if name is None:
        return None
    paths = [name[1]] if subset is None else [f"{subset[1]}/{name[1]}", name[1]]
    return next((key for path in paths if (key := beside.image(html.unescape(path))) is not None), None)


def exports_of_tools(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in labels from the JSON exports of annotation tools (`exports`)."""
    found: dict[str, set[str]] = {}
    tools: set[str] = set()
    files: set[str] = set()
    splits: dict[str | None, str] = {}
    stems = {without_ending(key) for key in table["key"]}  # x.json beside x.jpg: see sidecars
    for name in beside.ending(*EXPORTED):
        if without_ending(name) in stems:
            continue
        whole = beside.json(name) if name.lower().endswith(".json") else beside.json_lines(name)
        tool, images = annotated(whole, name) or ("", [])
        for path, labels in images:
            if (key := beside.image(path)) is not None:
                found.setdefault(key, set()).update(labels)
                tools.add(tool)
                files.add(name)
        splits |= {beside.image(path): part for path, part in parts(whole).items()} if images else {}
    if not any(found.values()):
        return
    labels = {key: joined(some) for key, some in found.items()}
    tell_labels(table, labels, "of the tool's export", f"{' and '.join(sorted(tools))} annotated")
    if splits and table["split"].isna().all():
        told = [SPLITS.get(splits.get(key, "").lower(), splits.get(key)) for key in table["key"]]
        table["split"] = pd.Series(told, dtype=object)
    table.attrs["understood"] = files

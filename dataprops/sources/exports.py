"""Labels from the JSON exports of annotation tools: one row of `EXPORTS` per tool.

A row takes the parsed file and its name, and yields (image, labels); for another tool's file it yields nothing or raises
AttributeError, IndexError, KeyError, TypeError or ValueError.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import Any

from dataprops.util.names import stem_of

Annotated = Iterator[tuple[str, set[str]]]


def _dicts(values: Any) -> Iterator[dict[str, Any]]:
    """The dicts among the items of a list or the values of a dict."""
    return (value for value in (values.values() if isinstance(values, dict) else values) if isinstance(value, dict))


def _texts(value: Any) -> set[str]:
    """The non-empty strings of a list, or a string."""
    values = value if isinstance(value, list) else [value]
    return {one for one in values if isinstance(one, str) and one}


def _datumaro(whole: Any, name: str) -> Annotated:
    """``items`` with label indices; the file name is the subset."""
    labels = whole["categories"]["label"]["labels"]
    part = stem_of(name)
    for item in _dicts(whole["items"]):
        path = item.get("image", {}).get("path") or str(item["id"])
        numbers = (one.get("label_id") for one in _dicts(item["annotations"]))
        yield f"{part}/{path}", {str(labels[number]["name"]) for number in numbers if number is not None}


def _vott(whole: Any, name: str) -> Annotated:
    """``assets`` of an export, or one asset per file, with the tags of their regions."""
    for one in _dicts(whole.get("assets", [whole])):
        tags = (_texts(region["tags"]) for region in _dicts(one["regions"]))
        yield str(one["asset"]["name"]), set().union(*tags)


def _label_studio(whole: Any, name: str) -> Annotated:
    """Tasks with the choices and region labels of their annotations."""
    for task in _dicts(whole):
        if not task["annotations"]:  # not annotated yet
            continue
        (image, *_) = (value for value in task["data"].values() if isinstance(value, str))
        results = (
            result["value"]
            for one in _dicts(task["annotations"])
            for result in _dicts(one["result"])
            if "value" in result
        )
        told = (
            _texts(texts) for value in results for key, texts in value.items() if key.endswith(("labels", "choices"))
        )
        yield image, set().union(*told)


def _label_studio_min(whole: Any, name: str) -> Annotated:
    """Label Studio's JSON-MIN export."""
    for task in _dicts(whole):
        named = [task[key] for key in ("choice", "label") if key in task and "annotation_id" in task]
        for value in named:
            regions = [text for one in _dicts(value) for key, text in one.items() if key.endswith("labels")]
            yield task["image"], set().union(*map(_texts, regions or [value]))


def _via(whole: Any, name: str) -> Annotated:
    """Files with the first attribute of each region and of the file."""
    for one in _dicts(whole.get("_via_img_metadata", whole)):
        regions = [region["region_attributes"] for region in _dicts(one["regions"])]
        values = [next(iter(told.values())) for told in (*regions, one.get("file_attributes") or {}) if told]
        yield (
            one["filename"],
            {key for value in values for key in (value if isinstance(value, dict) else _texts(value))},
        )


def _supervisely(whole: Any, name: str) -> Annotated:
    """One file per image, ``ann/x.jpg.json`` for ``img/x.jpg``, with objects, or else tags."""
    objects = {str(one["classTitle"]) for one in _dicts(whole["objects"])}
    folder, file = posixpath.split(name[: -len(".json")])
    yield f"{posixpath.dirname(folder)}/img/{file}", objects or {str(tag["name"]) for tag in _dicts(whole["tags"])}


def _sagemaker(whole: Any, name: str) -> Annotated:
    """One row per image, with class names in ``...-metadata``."""
    for row in _dicts(whole):
        told = [value for key, value in row.items() if key.endswith("-metadata")]
        maps = (value for one in told for key, value in one.items() if key in ("class-name", "class-map"))
        yield (
            row["source-ref"],
            {text for one in maps for text in _texts(list(one.values()) if isinstance(one, dict) else one)},
        )


def _vertex(whole: Any, name: str) -> Annotated:
    """One row per image, with one or several classifications, or boxes."""
    for row in _dicts(whole):
        told = [row.get("classificationAnnotation", {}), *row.get("classificationAnnotations", ())]
        told += row.get("boundingBoxAnnotations", ())
        yield row["imageGcsUri"], {one["displayName"] for one in told if one}


def parts(whole: Any) -> dict[str, str]:
    """Image -> split in Vertex AI's rows, with their names: training, validation, test."""
    rows = [row for row in _dicts(whole) if isinstance(row.get("dataItemResourceLabels"), dict)]
    return {
        str(row.get("imageGcsUri")): str(value)
        for row in rows
        for key, value in row["dataItemResourceLabels"].items()
        if key.endswith("ml_use")
    }


def _darwin(whole: Any, name: str) -> Annotated:
    """One file per image, with named tags or shapes (V7)."""
    item = whole["item"] if "item" in whole else {"name": whole["image"]["original_filename"]}
    named = {str(one["name"]) for one in _dicts(whole["annotations"])}
    path = str(item.get("path") or "").strip("/")
    yield f"{path}/{item['name']}".lstrip("/"), named


def _labelbox(whole: Any, name: str) -> Annotated:
    """One row per image, with the answers and objects of its labels in each project."""
    for row in _dicts(whole):
        image = row["data_row"].get("external_id") or row["data_row"]["row_data"]
        made = [label["annotations"] for project in _dicts(row["projects"]) for label in _dicts(project["labels"])]
        if not made:  # not annotated yet
            continue
        answers = [one for some in made for one in _dicts(some.get("classifications", ()))]
        chosen = [one.get("radio_answer") or one.get("checklist_answers") or {} for one in answers]
        named = [*(one for some in made for one in some.get("objects", ())), *chosen]
        flat = (one for some in named for one in (some if isinstance(some, list) else [some]))
        yield image, {str(one["name"]) for one in flat if one}


def _fiftyone(whole: Any, name: str) -> Annotated:
    """``classes``, and ``labels`` with the class indices of each image."""
    classes, labels = whole["classes"], whole["labels"]
    for image, label in labels.items():
        told = label if isinstance(label, list) else [label]
        yield image, {str(classes[one] if isinstance(one, int) else one) for one in told if one is not None}


def _createml(whole: Any, name: str) -> Annotated:
    """One row per image of the file's folder, with the labels of its objects."""
    folder = posixpath.dirname(name)
    for row in _dicts(whole):
        yield posixpath.join(folder, row["image"]), {str(one["label"]) for one in _dicts(row["annotations"])}


EXPORTS: dict[str, Callable[[Any, str], Annotated]] = {
    "Datumaro": _datumaro,
    "VoTT": _vott,
    "Label Studio": _label_studio,
    "Label Studio JSON-MIN": _label_studio_min,
    "VIA": _via,
    "Supervisely": _supervisely,
    "SageMaker": _sagemaker,
    "Vertex AI": _vertex,
    "V7": _darwin,
    "Labelbox": _labelbox,
    "FiftyOne": _fiftyone,
    "CreateML": _createml,
}


def annotated(whole: Any, name: str) -> tuple[str, list[tuple[str, set[str]]]] | None:
    """The tool that exported a file, and its (image, labels); None if no known tool did.

    >>> annotated([{"data": {"image": "/data/1.jpg"}, "annotations": [{"result": [{"value": {"choices": ["cat"]}}]}]}], "a.json")
    ('Label Studio', [('/data/1.jpg', {'cat'})])
    """
    for tool, of in EXPORTS.items():
        try:
            found = list(of(whole, name))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            continue
        if found:
            return tool, found
    return None

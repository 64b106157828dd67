"""Rows of JSON tables: lists of objects, one object per line, lists per split, objects keyed by image."""

from __future__ import annotations

import json
from typing import Any

from dataprops.imaging.formats import SURE
from dataprops.sources.splitnames import are_splits
from dataprops.util.names import ending_of

KINDS = ("categories", "category", "classes", "labels", "label")  # of objects, in Hugging Face's metadata.jsonl


def records(text: str, name: str) -> list[dict[str, Any]]:
    """Rows of a JSON file, or of one with an object per line, by its name.

    Raises
    ------
    ValueError
        If it has no form that is read.
    """
    try:
        rows = _listed(json.loads(text)) if name.endswith(".json") else _lines(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    if rows and all(isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in rows):
        rows = [{"path": path, "label": label} for path, label in rows]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("its lines are not JSON objects")
    return [{key: _plain(_path_of(_kinds_of(value))) for key, value in row.items()} for row in rows]


def _kinds_of(value: Any) -> Any:
    """Object classes in a dict that lists them beside the boxes, or in a list of objects; other values are returned unchanged.

    >>> _kinds_of({"bbox": [[0, 0, 2, 2]], "categories": ["cat"]}), _kinds_of({"width": 3})
    (['cat'], {'width': 3})
    >>> _kinds_of([{"box": {"r": 1}, "category": "cell"}, {"box": {"r": 5}, "category": "cell"}])
    ['cell']
    """
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        name = next((name for name in KINDS if all(isinstance(one.get(name), str) for one in value)), None)
        return value if name is None else sorted({one[name] for one in value})
    if not isinstance(value, dict):
        return value
    return next((value[name] for name in KINDS if isinstance(value.get(name), list)), value)


def _path_of(value: Any) -> Any:
    """The image in a dict that describes one: ``{"pathname": "/images/1.png", "shape": ...}``; other values are unchanged."""
    paths = (
        [one for one in value.values() if isinstance(one, str) and ending_of(one) in SURE]
        if isinstance(value, dict)
        else ()
    )
    return paths[0] if len(paths) == 1 else value


def _lines(text: str) -> list[Any]:
    """Values of a JSON lines file.

    Raises
    ------
    ValueError
        Naming the first invalid line.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number} is not valid JSON: {str(error).partition(': line')[0]}") from None
    return rows


def _listed(whole: Any) -> list[Any]:
    """Rows of a JSON file: a list; the only list in an object; one list per split; or an object keyed by image name.

    Raises
    ------
    ValueError
        If it has none of these forms.
    """
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise ValueError("it is neither a list nor an object")
    if {"images", "annotations"} <= set(whole):
        raise ValueError("it holds COCO annotations: give the folder that has the images and this file")
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    if len(lists) > 1 and are_splits(list(lists)):
        return [{"split": key, **row} for key, rows in lists.items() for row in rows if isinstance(row, dict)]
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists and not all(isinstance(value, str) for rows in lists.values() for value in rows):
        raise ValueError(f"it holds several lists, {', '.join(list(lists)[:4])}: keep one")
    if whole and all(isinstance(value, dict) for value in whole.values()):
        called = any(
            isinstance(cell, str) and ending_of(cell) in SURE for row in whole.values() for cell in row.values()
        )
        return [{"key" if called else "path": key, **value} for key, value in whole.items()]
    return [{"path": key, "label": value} for key, value in whole.items()]


def _plain(value: Any) -> Any:
    """A JSON value as a cell: a string, a list as its text, or None."""
    if value is None or value == "":
        return None
    return str(value)

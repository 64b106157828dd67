"""Per-image label files, beside the image or with the same name elsewhere: a word, a class in JSON, or Labelme's shapes."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dataprops.sources.account import COMPANION, Decision, decide
from dataprops.sources.columns import LABELS, PATIENTS, plain_name
from dataprops.sources.companions import Companions
from dataprops.sources.filled import tell_labels
from dataprops.sources.labels import SEPARATOR, joined
from dataprops.util.names import ending_of, stem_of, without_ending

FEW_CLASSES = 200  # maximum number of classes
WORD, WORDS = 60, 3  # maximum characters and words of a class name
DEEPEST = 4  # nesting depth of JSON objects searched for a class


def sidecars(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in labels from per-image files beside the images or elsewhere: one word, a class in JSON, or Labelme's shapes."""
    there = set(beside.names)
    elsewhere: dict[str, list[str]] = defaultdict(list)
    own: dict[str, list[str]] = defaultdict(list)  # one JSON file for all images in a folder
    for name in beside.names:
        if ending_of(name) in ("", ".json", ".txt", ".cls"):
            elsewhere[stem_of(name)].append(name)
        if name.lower().endswith(".json") and posixpath.dirname(name):
            own[posixpath.dirname(name)].append(name)
    found: dict[str, str] = {}
    patients: dict[str, str] = {}
    used: dict[str, str] = {}
    told = False  # whether the labels come from JSON objects
    for key in table["key"]:
        stem = without_ending(key)
        names = (*(stem + ending for ending in (".txt", ".cls", ".json")), f"{key}.json")
        name = next((one for one in names if one in there), None)
        others = elsewhere.get(posixpath.basename(stem), []) or own.get(posixpath.dirname(key), [])
        if name is None and len(others) != 1:
            continue
        name = name or others[0]
        is_text = name.endswith((".txt", ".cls"))
        text = beside.text(name).strip()
        whole = None if is_text else beside.json(name)
        if name in beside.lost or (whole is None and not is_text and text != "null"):
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
    if len(found) < len(table) / 2 or not words:  # captions or unrelated text
        return
    tell_labels(table, found, "of the files beside the images", "files beside", f" name one of {len(values):,}")
    table.attrs["reasons"] = {**table.attrs.get("reasons", {}), **used}
    if len(set(patients.values())) > 1 and table["group"].isna().all():
        table["group"] = pd.Series([patients.get(key) for key in table["key"]], dtype=object)
        why = f"files beside {len(patients):,} of {len(table):,} images name one"
        decide(table, Decision("groups", "of the files beside the images", why, "--group-pattern"))


def _label_of(whole: Any) -> str | None:
    """The class in a JSON value: a string; an object's label, class or diagnosis; or the labels of Labelme's shapes."""
    if isinstance(whole, dict) and isinstance(whole.get("shapes"), list):
        return joined(str(shape["label"]) for shape in whole["shapes"] if isinstance(shape, dict) and "label" in shape)
    return _value_of(whole, LABELS) if isinstance(whole, dict) else str(whole) if isinstance(whole, str | int) else None


def _value_of(whole: Any, names: Sequence[str]) -> str | None:
    """The first value with one of the names in a JSON object, breadth-first through nested objects.

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
    """Whether a JSON value is a string, a number, or a list of strings."""
    several = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    return isinstance(value, str | int) or bool(several)

"""COCO annotations beside the images: the categories of an image's objects, and its sequence."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dataprops.sources.account import Decision, decide
from dataprops.sources.columns import PATIENTS, known_as
from dataprops.sources.companions import MOST_TABLES, Companions
from dataprops.sources.filled import fill
from dataprops.sources.labels import joined
from dataprops.sources.resolve import forward_slashes
from dataprops.util.names import without_ending

CATEGORY = ("name", "scientificName", "scientific_name")  # fields that name a category


def may_be_coco(beside: Companions) -> list[str]:
    """JSON files that may be annotations, by name; also those of any other name (``train.json``) if there are few."""
    stems = {without_ending(key) for key in beside.keys}
    whole = beside.ending(".json")
    few = {name for name in whole if without_ending(name) not in stems}
    few = few if len(few) <= MOST_TABLES else set()
    base = {name: posixpath.basename(name).lower() for name in whole}
    called = (
        "annotation" in name.lower() or base[name].startswith("instances") or "coco" in base[name] for name in whole
    )
    return [name for name, so in zip(whole, called, strict=True) if so or name in few]


def annotated_by(table: pd.DataFrame, beside: Companions) -> dict[str, dict[str, str | None]]:
    """Labels from COCO annotations of images that have classes from folders: file -> image -> label. Sequences are filled in."""
    found: dict[str, dict[str, str | None]] = {}
    for name in may_be_coco(beside):
        copy = table[["key", "group"]].assign(label=pd.Series([None] * len(table), dtype=object))
        copy.attrs = {}
        coco(copy, name, beside)
        if copy["label"].notna().any():
            found[name] = {key: one for key, one in zip(copy["key"], copy["label"], strict=True) if one is not None}
            for told in copy.attrs["decisions"]:
                if told["what"] == "groups":
                    table["group"] = copy["group"]
                    decide(table, Decision(**told))
    return found


def coco(table: pd.DataFrame, name: str, beside: Companions) -> None:
    """Label images in place with the categories of their objects in the file `name`; no change if it is not a COCO file."""
    try:
        whole = beside.json(name)
        categories = {_first(row, "id", "category_id"): str(_first(row, *CATEGORY)) for row in whole["categories"]}
        files = {_first(row, "id", "image_id"): str(row["file_name"]) for row in whole["images"]}
        _sequences(table, name, whole["images"], beside)
        found: dict[str, set[str]] = defaultdict(set)
        if not whole.get("annotations"):  # only a list of images, as for COCO's test set
            return
        for row in whole["annotations"]:
            found[files[row["image_id"]]].add(categories[row["category_id"]])
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
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
        if len(tails) > 1:  # several splits use the same file names, each with its own annotations
            own = posixpath.normpath(posixpath.join(posixpath.dirname(name), forward_slashes(file)))
            tails = [key for key in tails if key == own]
        if len(tails) == 1:
            rows[tails[0]] = len(labels)
            labels.append(joined(found.get(file, ())))
    if not rows:
        return
    named = fill(table, rows, {"label": labels})
    if any("|" in (label or "") for label in labels):
        table.attrs["several"] = True
    why = f"{name} annotates {named:,} of {len(table):,} images"
    decide(table, Decision("labels", "categories of the annotated objects", why, "--layout"))


def _first(row: Mapping[str, Any], *names: str) -> Any:
    """The value of the first of these fields that exists. Raises StopIteration if there is none."""
    return row[next(name for name in names if name in row)]


def _sequences(table: pd.DataFrame, name: str, rows: Sequence[Mapping[str, Any]], beside: Companions) -> None:
    """Set groups from patients or sequences in the COCO list of images, as camera-trap datasets have them."""
    field = next(iter(known_as(list(dict.fromkeys(key for row in rows[:1] for key in row)), PATIENTS)), None)
    if field is None:
        return
    told = {beside.image(str(row["file_name"])): str(row[field]) for row in rows if row.get(field) is not None}
    group = [told.get(key) if own is None else own for key, own in zip(table["key"], table["group"], strict=True)]
    everybody = len(set(told.values())) == 1 and len(told) > len(table) / 2
    if not everybody and group != table["group"].tolist():
        table["group"] = pd.Series(group, dtype=object)
        decide(table, Decision("groups", f"{field!r} of {name}", f"it names {len(told):,} images", "--group-pattern"))

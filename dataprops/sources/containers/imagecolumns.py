"""Image and label columns of Arrow tables, in the Hugging Face hub's format.

An image is a struct {bytes, path} (bytes null: the file at path, below the table's folder), plain binary, a list of either
(several images per row), or nested lists of numbers (Array2D). The schema's ``huggingface`` metadata names the image columns and
the classes; a list of classes is a multi-label image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources import arrays
from dataprops.sources.account import Decision
from dataprops.sources.columns import LABELS, PATIENTS, known_as, last_word
from dataprops.sources.labels import joined
from dataprops.sources.table import SourceOptions, given_rules

FILE, ENCODED, LIST, PIXELS = "file", "encoded", "list", "pixels"
NAMES = ("image", "img", "picture", "photo", "pixel_values", "jpg", "png", "jpeg", "webp", "images", "scan")
OTHERS = re.compile(r"mask|seg|label|annotation|depth|edge|condition|target", re.IGNORECASE)
_DEFAULTS = SourceOptions()


class ImageColumn(NamedTuple):
    """An image column, how it stores images, and the decisions that selected it."""

    name: str
    kind: str
    decisions: tuple[Decision, ...] = ()


def kind_of(kind: pa.DataType) -> str | None:
    """How a column of this type stores images; None if it does not."""
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and is_binary(kind.field("bytes").type):
        return FILE
    if is_binary(kind):
        return ENCODED
    depth = 0
    while is_list(kind):
        kind, depth = kind.value_type, depth + 1
    if depth == 1 and kind_of(kind) in (FILE, ENCODED):
        return LIST
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return PIXELS if depth in (2, 3) and numeric else None


def is_binary(kind: pa.DataType) -> bool:
    """Whether a type is binary."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is a list."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def features(schema: pa.Schema) -> dict[str, Any]:
    """Column descriptions from the metadata of the ``datasets`` library."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _kind_named(feature: Any) -> str:
    """The ``_type`` of a feature; for a list, that of its items."""
    if isinstance(feature, list):
        return _kind_named(feature[0]) if feature else ""
    if not isinstance(feature, dict):
        return ""
    inner = feature.get("feature")
    return _kind_named(inner) if isinstance(inner, dict) else str(feature.get("_type", ""))


def image_column(schema: pa.Schema, options: SourceOptions) -> ImageColumn | None:
    """The image column; None if the table is a manifest."""
    able = {field.name: kind for field in schema if (kind := kind_of(field.type))}
    named = given_rules(options).get("images")
    if named:
        return ImageColumn(named, able[named]) if named in able else None
    told = features(schema)
    known = [name for name in able if _kind_named(told.get(name)) == "Image"]
    structs = [name for name, kind in able.items() if kind == FILE]
    lists = [name for name, kind in able.items() if kind == LIST and known_as([name], NAMES)]
    arrays_ = [
        name
        for name, kind in able.items()
        if kind == PIXELS and (known_as([name], NAMES) or _kind_named(told.get(name)).startswith("Array"))
    ]
    # a manifest's paths may be binary too
    plain = [name for name, kind in able.items() if kind == ENCODED and options.path_column not in schema.names]
    some = known or structs or lists or plain or arrays_
    if not some:
        return None
    best = next(iter(known_as(some, NAMES)), None) or next((n for n in some if not OTHERS.search(n)), some[0])
    decisions = ()
    if len(some) > 1:
        why = f"of the image columns {', '.join(some)} by its name"
        decisions = (Decision("columns", f"{best!r} holds the images", why, "--rule images=NAME"),)
    return ImageColumn(best, able[best], decisions)


def class_names(feature: Any) -> list[str] | None:
    """Class names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list):
        return class_names(feature[0]) if feature else None
    if not isinstance(feature, dict):
        return None
    if isinstance(feature.get("feature"), dict):
        return class_names(feature["feature"])
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else None


def text_of(value: Any, names: Sequence[str] | None) -> str | None:
    """A label as text: the class name of a code; several labels joined."""
    if isinstance(value, list):
        return joined(part for item in value if (part := text_of(item, names)) is not None)
    if value is None or value != value:
        return None
    if names is None:
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if value == -1:  # the hub's code for a hidden label
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)


def label_column(
    schema: pa.Schema, images: str, where: str, options: SourceOptions
) -> tuple[str | None, list[Decision]]:
    """The label column, and the decisions made.

    Raises
    ------
    DatapropsError
        If the column does not exist, or the choice is ambiguous.
    """
    if options.label_column in schema.names:
        return options.label_column, []
    if options.label_column != _DEFAULTS.label_column:
        raise DatapropsError(
            f"{where} has no column {options.label_column!r} (it has {', '.join(schema.names)}): name it with"
            " --label-column"
        )
    classes = [name for name, feature in features(schema).items() if class_names(feature) and name in schema.names]
    if len(classes) > 1:
        raise DatapropsError(
            f"{where} has several class columns ({', '.join(classes)}): choose one with --label-column"
        )
    others = [name for name in schema.names if name != images]
    ending = [name for name in others if last_word(name) in LABELS]
    named = classes or known_as(others, LABELS) or (ending if len(ending) == 1 else [])
    if not named:
        seen = ", ".join((ending or others)[:4])
        why = f"of the columns {seen} no single one is named like a label" if seen else "there is no other column"
        return None, [Decision("labels", "none", why, "--label-column")]
    why = "it is the only class column" if classes else "by its name"
    return named[0], [Decision("columns", f"{named[0]!r} is the label", why, "--label-column")]


def group_column(schema: pa.Schema, options: SourceOptions) -> tuple[str | None, list[Decision]]:
    """The patient column: the one requested, otherwise the first with a known name."""
    if options.group_column in schema.names or options.group_column != _DEFAULTS.group_column:
        return options.group_column, []
    named = known_as(schema.names, PATIENTS)
    if not named:
        return None, []
    return named[0], [Decision("columns", f"{named[0]!r} is the group", "by its name", "--group-column")]


def pixels_of(value: Any) -> RawImage:
    """Convert nested lists to an image.

    Raises
    ------
    OSError
        If they do not form one.
    """
    try:
        numbers = np.asarray(value)
    except ValueError:
        raise OSError(0, "its pixel rows differ in length") from None
    if numbers.dtype.kind not in "uifb":
        raise OSError(0, "it holds no numbers")
    if numbers.dtype.kind in "ui" and numbers.min(initial=0) >= 0 and numbers.max(initial=0) <= 255:
        numbers = numbers.astype(np.uint8)
    return arrays.to_raw(numbers)

"""Label files beside images in WebDataset shards: ``key.jpg`` with ``key.cls``, ``key.json`` or ``key.txt``.

The key of an image is its name without extension or, if no file has that key, without further dot-separated parts (so that names
with dots keep their own files, and ``key.left.jpg`` uses those of ``key``). The label is the text of .cls, otherwise the label
field of .json (or a field named class, category or the like), otherwise the text of .txt, unless nearly every image has a
different text: these are captions, not classes.
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from dataprops.sources.account import Decision
from dataprops.sources.columns import LABELS, PATIENTS, known_as
from dataprops.sources.labels import joined
from dataprops.sources.splitnames import split_value
from dataprops.sources.table import SourceOptions

CLASS = ("cls", "class", "label", "lbl", "target")
SIDECARS = (*(f".{ending}" for ending in CLASS), ".json", ".txt")
LABEL = 200  # maximum characters of a label
OWN_TEXTS = 0.5  # minimum fraction of distinct texts for captions
FEW, WORDS = 20, 3  # with fewer than FEW images, captions need a median of WORDS words


_DEFAULTS = SourceOptions()


class Beside(NamedTuple):
    """Label, split and group from the files beside an image."""

    label: str | None
    split: str | None
    group: str | None


def texts_by_key(texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Text files by key: key -> {extension: text}."""
    out: dict[str, dict[str, str]] = defaultdict(dict)
    for name, text in texts.items():
        stem, ending = posixpath.splitext(name)
        out[stem][ending[1:].lower()] = text
    return dict(out)


def keys_of(name: str) -> Iterable[str]:
    """Candidate keys of an image, longest first.

    >>> list(keys_of("a.b/x.1.left.png"))
    ['a.b/x.1.left', 'a.b/x.1', 'a.b/x']
    """
    head, tail = posixpath.split(name)
    while "." in tail:
        tail = tail.rpartition(".")[0]
        if tail:
            yield f"{head}/{tail}" if head else tail


def key_of(name: str, keyed: Mapping[str, Any]) -> str | None:
    """The longest image key that is a prefix of a text file's name."""
    return next((key for key in keys_of(name) if key in keyed), None)


def are_captions(texts: Sequence[str]) -> bool:
    """Whether the texts of a dataset are captions: most images have a different one.

    >>> are_captions(["cat", "dog"]), are_captions([f"a cat, number {i}" for i in range(9)]), are_captions(["cat"] * 9)
    (False, True, False)
    """
    if len(texts) < 2 or len(set(texts)) <= OWN_TEXTS * len(texts):
        return False
    return len(texts) >= FEW or median(len(text.split()) for text in texts) >= WORDS


def captions_of(images: Iterable[str], keyed: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Texts of the images without another label."""
    found = (keyed[key] for name in images if (key := key_of(name, keyed)) is not None)
    return [told["txt"] for told in found if told.get("txt") and not any(ending in told for ending in CLASS)]


def beside(name: str, told: Mapping[str, str], options: SourceOptions, captions: bool) -> Beside:
    """Label, split and group from the files beside an image."""
    fields: dict[str, Any] = {}
    if "json" in told:
        try:
            read = json.loads(told["json"])
            fields = read if isinstance(read, dict) else {options.label_column: read}
        except (ValueError, RecursionError):
            fields = {}
    label = next((text for ending in CLASS if (text := _label(told.get(ending)))), None)
    label = label or _value(_field(fields, options.label_column, _DEFAULTS.label_column, LABELS))
    if label is None and "/" not in name and "json" not in told and not captions:
        text = told.get("txt", "")
        label = text if text and len(text) <= LABEL and "\n" not in text else None  # a report is not a label
    split = _value(_field(fields, options.split_column, _DEFAULTS.split_column, ()))
    group = _value(_field(fields, options.group_column, _DEFAULTS.group_column, PATIENTS))
    return Beside(label, split and split_value(split), group)


def _field(fields: Mapping[str, Any], wanted: str, default: str, names: Sequence[str]) -> Any:
    """The requested field, otherwise the first with a known name."""
    if wanted in fields or wanted != default:
        return fields.get(wanted)
    known = known_as(list(fields), names)
    return fields[known[0]] if known else None


def fields_of(texts: Iterable[Mapping[str, str]]) -> list[str]:
    """Field names of the first .json beside an image."""
    for told in texts:
        if "json" in told:
            try:
                read = json.loads(told["json"])
            except (ValueError, RecursionError):
                return []
            return [str(name) for name in read] if isinstance(read, dict) else []
    return []


def _label(text: str | None) -> str | None:
    """The text of a .cls: unchanged, or a list as several labels."""
    if text and text[:1] == "[":
        try:
            return _value(json.loads(text)) or text
        except (ValueError, RecursionError):
            return text
    return text or None


def _value(value: Any) -> str | None:
    """A field as text; a list as several labels."""
    if isinstance(value, list):
        parts = [part for item in value if (part := _value(item)) is not None]
        return joined(parts) if parts else None
    if isinstance(value, str | int | float) and value != "":
        return str(value)
    return None


def told_of(labels: Sequence[str | None], captions: bool, fields: Sequence[str] = ()) -> list[Decision]:
    """Decisions about the files beside the images; `fields` are those of their .json."""
    known = sum(label is not None for label in labels)
    if captions and not known:
        why = "nearly every image has a text of its own: captions"
        return [Decision("labels", "none", why, "--label-column, or .cls beside the images")]
    if not known and fields:
        why = f"the .json beside the images hold {', '.join(fields[:8])}{', ...' if len(fields) > 8 else ''}"
        return [Decision("labels", "none", why, "--label-column")]
    if known and known < len(labels):
        why = f"{len(labels) - known:,} of {len(labels):,} images have no file with a label beside them"
        return [Decision("labels", f"{known:,} from files beside the images", why, "--label-column")]
    return []

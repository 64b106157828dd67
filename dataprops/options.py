"""Options, each declared once: a field of a frozen dataclass, with type, bounds, default and help text.

    size: Annotated[int, Interval(ge=1, le=4096), Option("Side of the canonical image, pixels")] = 224

Everything else derives from the field: value checks (`util.validation.check_values`), the command-line option
(`flows.commands.options`), the keys of datasets files and grids, and the reference table. A field without an `Option` can be set
from Python only. `ReadingOptions` are shared by audits and grids.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from inspect import get_annotations
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from dataprops.util.validation import OptionError, check_values, plain_value, require


class Option(NamedTuple):
    """Help text and parsing of an option.

    Attributes
    ----------
    words : str
        Help text, one line; "" if the command supplies it.
    default : str
        Default as shown in the help, if its value is not self-explanatory.
    metavar : str
        Placeholder for the value in the help.
    parse : callable or None
        Command-line text -> value; raises ValueError with what is expected. By default, lists are comma-separated.
    each : str
        Name of a repeatable option, given once per item, e.g. "rule" for ``--rule a=b --rule c=d``.
    """

    words: str
    default: str = ""
    metavar: str = ""
    parse: Callable[[str], Any] | None = None
    each: str = ""


class Row(NamedTuple):
    """An option, read from its field.

    Attributes
    ----------
    name : str
    kind : type
        int, float, bool, str, tuple or dict.
    choices : tuple
        Allowed values of a ``Literal``; otherwise ().
    bounds : dict
        Bounds of a number: ge, gt, le, lt.
    default : object
        None also for a default factory.
    option : Option
    """

    name: str
    kind: type
    choices: tuple[Any, ...]
    bounds: dict[str, float]
    default: Any
    option: Option

    def read(self, value: Any) -> Any:
        """Convert a value to the field's type: command-line text is parsed, lists become tuples.

        Raises
        ------
        OptionError
            If the text cannot be parsed.
        """
        if isinstance(value, str) and self.option.parse is not None:
            try:
                return self.option.parse(value)
            except ValueError as error:
                raise OptionError(self.name, f"{self.name} must be {error}, got {value!r}", str(error)) from None
        if isinstance(value, str) and self.choices and value in map(str, self.choices):
            return next(choice for choice in self.choices if str(choice) == value)
        if self.kind is not tuple:
            return value
        if isinstance(value, str):
            return (value,) if self.option.each else tuple(value.split(","))
        return tuple(value) if isinstance(value, list | tuple) else (value,)


@cache
def rows(kind: type) -> dict[str, Row]:
    """Options of a dataclass by name: its own fields first, then inherited ones."""
    hints = get_type_hints(kind, include_extras=True)
    own = [field for field in fields(kind) if field.name in get_annotations(kind)]
    made = [_row(field, hints[field.name]) for field in dict.fromkeys((*own, *fields(kind)))]
    return {row.name: row for row in made if row is not None}


def _row(field: Any, hint: Any) -> Row | None:
    metadata: list[Any] = []
    choices: tuple[Any, ...] = ()
    kind: Any = None
    todo = [hint]
    while todo:
        part = todo.pop(0)
        if get_origin(part) is Annotated:
            metadata += part.__metadata__
            todo.append(part.__origin__)
        elif get_origin(part) in (Union, types.UnionType):
            todo += [one for one in get_args(part) if one is not type(None)]
        elif get_origin(part) is Literal:
            choices, kind = get_args(part), type(get_args(part)[0])
        else:
            kind = get_origin(part) or part
    option = next((one for one in metadata if isinstance(one, Option)), None)
    if option is None:
        return None
    bounds = {
        key: getattr(one, key)
        for one in metadata
        for key in ("ge", "gt", "le", "lt")
        if getattr(one, key, None) is not None
    }
    return Row(field.name, kind, choices, bounds, None if field.default is MISSING else field.default, option)


def same_fields(record: Any, kind: type) -> dict[str, Any]:
    """Fields of `record` that `kind` has too, by name."""
    wanted = {field.name for field in fields(kind)}
    return {field.name: getattr(record, field.name) for field in fields(record) if field.name in wanted}


def check_record(record: Any) -> None:
    """Check the options of a frozen dataclass on creation, and store them as plain values: paths as str, lists as tuples.

    Raises
    ------
    OptionError
        For the first invalid option: its name, what is expected, and its value.
    """
    names = list(rows(type(record)))
    for name in names:
        object.__setattr__(record, name, plain_value(getattr(record, name)))
    check_values(type(record), {name: getattr(record, name) for name in names})


def whole_numbers(text: str) -> tuple[int, ...]:
    """'0,1' -> (0, 1); raises ValueError with what is expected."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError("comma-separated whole numbers") from None


@dataclass(frozen=True, kw_only=True)
class ReadingOptions:
    """How a source is read: which images are included, and where their label, split and patient come from."""

    path_column: Annotated[str, Option("Manifest column with the image paths")] = "path"
    label_column: Annotated[str, Option("Manifest column with the labels")] = "label"
    split_column: Annotated[str, Option("Manifest column with the splits")] = "split"
    group_column: Annotated[str, Option("Manifest column with the patient ids")] = "group"
    group_pattern: Annotated[
        str | None, Option("Regular expression over the relative path; its first group is the patient id")
    ] = None
    label_pattern: Annotated[
        str | None, Option("Regular expression over the relative path; its first group is the label")
    ] = None
    window: Annotated[
        str,
        Option(
            "Intensity window of DICOM and NIfTI: auto (the file's window, otherwise by modality), file, percentiles, a preset "
            "such as lung or brain, or CENTRE/WIDTH"
        ),
    ] = "auto"
    range: Annotated[
        str,
        Option(
            "Values mapped to black and white in files with more than 8 bits: auto, unit, byte, a bit depth (12bit), "
            "LOW:HIGH, or image (each image's own range)"
        ),
    ] = "auto"
    patients: Annotated[
        Literal["auto", "patient", "study", "series", "none"],
        Option("Grouping of DICOM images; auto: by patient, or by study if all share one patient id"),
    ] = "auto"
    rules: Annotated[
        tuple[str, ...],
        Option(
            "Labelling rule of a named source, e.g. uncertain=positive; repeatable",
            metavar="NAME=VALUE",
            each="rule",
        ),
    ] = ()
    include: Annotated[
        tuple[str, ...],
        Option(
            "Read only matching paths, e.g. 'images/*', without mask detection; repeatable",
            metavar="GLOB",
            each="include",
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Option("Skip matching paths, e.g. '*_mask.png'; repeatable", metavar="GLOB", each="exclude"),
    ] = ()
    layout: Annotated[
        str,
        Option("Meaning of the folder levels, from the top: class, split, group or *, e.g. split/class", "detected"),
    ] = ""
    images: Annotated[
        str, Option("Folder that a manifest's paths are relative to", "searched near the manifest", "DIRECTORY")
    ] = ""
    suffix: Annotated[str, Option("File extension missing from a manifest's paths", "detected", ".jpg")] = ""
    one_hot: Annotated[
        str,
        Option("One-hot label columns of a manifest, comma-separated", metavar="COLUMNS"),
    ] = ""
    label: Annotated[str, Option("For multi-label images: the label to classify against the rest", metavar="NAME")] = ""
    as_written: Annotated[
        bool, Option("Do not normalise labels: 'Cat' and 'cat ' are distinct, 'nan' is a class, 'a|b' is one label")
    ] = False

    def check(self) -> None:
        """Check all options.

        Raises
        ------
        OptionError
            For the first invalid option.
        """
        check_record(self)
        for rule in self.rules:
            require("=" in rule, "rules", rule, "name=value")

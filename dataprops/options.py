"""Options, one row each: a field of a frozen record, with type, bounds, default and words.

    size: Annotated[int, Interval(ge=1, le=4096), Option("Side of the canonical image, pixels")] = 224

Everything else is made from that row: the check of its value (`util.validation.check_values`), the option of the command line
(`flows.commands.options`), the keys of a file of datasets and of a grid, and the reference table. A field without an `Option` is
set from Python only. `ReadingOptions` are those of every command that reads images: an audit and a grid have them all.
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
    """The words of an option.

    Attributes
    ----------
    words : str
        What it says, in a line; "", for one that is explained where it is used.
    default : str
        What holds where nothing is asked, if the default does not say so itself.
    metavar : str
        What stands for the value in the help.
    parse : callable or None
        Text of a command line -> the value; raises ValueError with what is expected. Without it lists are comma-separated.
    each : str
        Name of an option that is given once for each item, e.g. "rule" for ``--rule a=b --rule c=d``.
    """

    words: str
    default: str = ""
    metavar: str = ""
    parse: Callable[[str], Any] | None = None
    each: str = ""


class Row(NamedTuple):
    """An option as its field says it.

    Attributes
    ----------
    name : str
    kind : type
        int, float, bool, str, tuple or dict.
    choices : tuple
        The values that are allowed; () for others than ``Literal``.
    bounds : dict
        Of a number: ge, gt, le, lt.
    default : object
        None also where it is made anew for each record.
    option : Option
    """

    name: str
    kind: type
    choices: tuple[Any, ...]
    bounds: dict[str, float]
    default: Any
    option: Option

    def read(self, value: Any) -> Any:
        """A value as the record wants it: what a command line gives as text is parsed, a list becomes a tuple.

        Raises
        ------
        OptionError
            If a text cannot be parsed.
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
    """The options of a record by their names: those of its own first, then those it shares with others."""
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
    """The fields of a record that another kind of record has too, by their names."""
    wanted = {field.name for field in fields(kind)}
    return {field.name: getattr(record, field.name) for field in fields(record) if field.name in wanted}


def check_record(record: Any) -> None:
    """Check the options of a frozen record when it is made, and keep them as plain values: paths as text, lists as tuples.

    Raises
    ------
    OptionError
        Naming the first one that is wrong, what it takes, and its value.
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
    """How a source is read: which images count, and where label, split and patient of each stand."""

    path_column: Annotated[str, Option("Column of a manifest that has the paths of the images")] = "path"
    label_column: Annotated[str, Option("Column of a manifest that has the labels")] = "label"
    split_column: Annotated[str, Option("Column of a manifest that has the splits")] = "split"
    group_column: Annotated[str, Option("Column of a manifest that names the patient")] = "group"
    group_pattern: Annotated[
        str | None, Option("Regular expression over the relative path; its first group names the patient")
    ] = None
    label_pattern: Annotated[
        str | None, Option("Regular expression over the relative path; its first group is the label")
    ] = None
    window: Annotated[
        str,
        Option(
            "Which values of DICOM and NIfTI become black and white: auto (the file's own window, else by modality), file, "
            "percentiles, a preset such as lung or brain, or CENTRE/WIDTH"
        ),
    ] = "auto"
    range: Annotated[
        str,
        Option(
            "Which values become black and white where files have more than 8 bits: auto, unit, byte, a bit depth (12bit), "
            "LOW:HIGH, or image (each from its own)"
        ),
    ] = "auto"
    patients: Annotated[
        Literal["auto", "patient", "study", "series", "none"],
        Option("Group of a DICOM image; auto: the patient, or the study where one id stands for everybody"),
    ] = "auto"
    rules: Annotated[
        tuple[str, ...],
        Option(
            "How a named source makes its labels, e.g. uncertain=positive; may be given several times",
            metavar="NAME=VALUE",
            each="rule",
        ),
    ] = ()
    include: Annotated[
        tuple[str, ...],
        Option(
            "Only these paths, e.g. 'images/*', and masks are not looked for; may be given several times",
            metavar="GLOB",
            each="include",
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Option("Leave out these paths, e.g. '*_mask.png'; may be given several times", metavar="GLOB", each="exclude"),
    ] = ()
    layout: Annotated[
        str, Option("What the folder levels are, from the top: class, split, group or *, e.g. split/class", "as found")
    ] = ""
    images: Annotated[
        str, Option("Folder that a manifest's paths are relative to", "looked for beside the manifest", "DIRECTORY")
    ] = ""
    suffix: Annotated[str, Option("File extension that a manifest's paths lack", "looked for", ".jpg")] = ""
    one_hot: Annotated[
        str,
        Option("Columns of a manifest, comma-separated; the one that is 1 names the label", metavar="COLUMNS"),
    ] = ""
    label: Annotated[str, Option("For images with several labels: the one to tell from the rest", metavar="NAME")] = ""
    as_written: Annotated[
        bool, Option("Labels as they are written: 'Cat' and 'cat ' are two, 'nan' is a class, 'a|b' is one label")
    ] = False

    def check(self) -> None:
        """Check all options of this record.

        Raises
        ------
        OptionError
            Naming the first one that is wrong.
        """
        check_record(self)
        for rule in self.rules:
            require("=" in rule, "rules", rule, "name=value")

"""Validate options against the annotations of a record, by pydantic, with one place for the error messages.

An annotation gives the type and, as ``Annotated[int, Interval(ge=1, le=4096)]`` or ``Literal["a", "b"]``, the allowed values.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, get_type_hints

from dataprops.errors import DatapropsError
from dataprops.util.nearest import did_you_mean

WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a string",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
}
_LOW = {"minimum": "at least", "exclusiveMinimum": "more than"}
_HIGH = {"maximum": "at most", "exclusiveMaximum": "less than"}


class OptionError(DatapropsError):
    """An invalid value of an option.

    Attributes
    ----------
    option : str
        Name of the option.
    expected : str
        Accepted values; "" if there is no such option.
    """

    def __init__(self, option: str, what: str, expected: str = "") -> None:
        super().__init__(what)
        self.option, self.expected = option, expected


class Meets(NamedTuple):
    """A condition on a value beyond its type: ``Annotated[str, Meets(check)]``.

    Attributes
    ----------
    check : callable
        value -> what was expected; "" if the value is valid.
    """

    check: Callable[[Any], str]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import PydanticCustomError, core_schema

        def meets(value: Any) -> Any:
            if expected := self.check(value):
                raise PydanticCustomError("expected", "{expected}", {"expected": expected})
            return value

        return core_schema.no_info_after_validator_function(meets, handler(source))


def plain_value(value: Any) -> Any:
    """A value as annotations expect it: paths as strings, numpy numbers as Python's, lists as tuples."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return tuple(value)
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


@cache
def _model(kind: type) -> Any:
    import pydantic

    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {name: (hint, None) for name, hint in hints.items()}
    return pydantic.create_model(
        kind.__name__,
        __config__=pydantic.ConfigDict(
            extra="forbid", strict=True, arbitrary_types_allowed=True, protected_namespaces=()
        ),
        **fields,
    )


def check_values(kind: type, values: Mapping[str, Any]) -> None:
    """Validate values against the annotations of the class `kind`.

    Raises
    ------
    OptionError
        For the first invalid option, with what it accepts and its value.
    """
    import pydantic

    try:
        _model(kind)(**values)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        name, value = str(first["loc"][0]), values.get(str(first["loc"][0]))
        if first["type"] == "extra_forbidden":
            known = list(get_type_hints(kind))
            raise OptionError(
                name, f"unknown option {name!r}: {did_you_mean(name, known)}options are {', '.join(known)}"
            ) from None
        expected = _expected(kind, name, error)
        raise OptionError(name, f"{name} must be {expected}, got {value!r}", expected) from None


def _expected(kind: type, name: str, error: Any) -> str:
    """What an option accepts, from its validation errors (one for each member of a union)."""
    errors = [one for one in error.errors(include_url=False) if one["loc"][0] == name]
    if said := next((one["msg"] for one in errors if one["type"] == "expected"), ""):
        return said
    schema = _model(kind).model_json_schema()["properties"][name]
    parts = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    allowed = [value for part in parts for value in part.get("enum", [part["const"]] if "const" in part else [])]
    if allowed:
        return _or([str(value) for value in allowed])
    if "items" in parts[0]:
        item = parts[0]["items"]
        bound = _bound([item])
        several = f"a list of {KINDS.get(item.get('type', ''), 'a value').removeprefix('a ')}s"
        some = " with at least one" if parts[0].get("minItems") else ""
        return f"{several}{some}{f', each {bound}' if bound else ''}"
    found = [one["type"] for one in errors]
    typed = [WORDS[one] for one in found if one in WORDS]
    if typed and len(typed) == len([one for one in found if one != "none_required"]):
        return typed[0]
    return _bound(parts) or KINDS.get(parts[0].get("type", ""), "another value")


KINDS = {"number": "a number", "integer": "a whole number", "string": "a string"}


def _or(words: list[str]) -> str:
    """'a, b or c'."""
    return " or ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _bound(parts: list[Any]) -> str:
    """'between 1 and 3', 'at least 1' or ''."""
    low = next(((word, part[key]) for part in parts for key, word in _LOW.items() if key in part), None)
    high = next(((word, part[key]) for part in parts for key, word in _HIGH.items() if key in part), None)
    if low and high:
        return f"between {low[1]:g} and {high[1]:g}"
    bound = low or high
    return f"{bound[0]} {bound[1]:g}" if bound else ""


def require(holds: bool, option: str, value: object, expected: str) -> None:
    """Check a condition that an annotation cannot express.

    Raises
    ------
    OptionError
        If it does not hold.
    """
    if not holds:
        raise OptionError(option, f"{option} must be {expected}, got {value!r}", expected)

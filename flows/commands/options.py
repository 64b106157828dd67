"""Command-line options from the fields of a dataclass: name, type, bounds, default and help; see `dataprops.options`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import click

from dataprops.audit.config import AuditConfig
from dataprops.errors import DatapropsError
from dataprops.options import ReadingOptions, Row, rows

STORE = click.option("--store", default=AuditConfig.store, show_default=True, help="Folder with the audits.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to stdout and nothing else.")
QUIET = click.option("--quiet", is_flag=True, help="Hide progress.")


class GroupedCommand(click.Command):
    """A command whose `--help` lists the options for reading the source under a heading of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Reading the source": []}
        reading = rows(ReadingOptions)
        for parameter in self.get_params(ctx):
            if record := parameter.get_help_record(ctx):
                sections["Reading the source" if parameter.name in reading else "Options"].append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def options_of(kind: type, leave_out: Collection[str] = ()) -> Callable[[Any], Any]:
    """Decorator: give a command one option for each field of `kind`, in order."""

    def decorate(function: Any) -> Any:
        for name, row in reversed(rows(kind).items()):
            if name not in leave_out:
                function = option_of(row)(function)
        return function

    return decorate


def option_of(row: Row) -> Callable[[Any], Any]:
    """The option of a field. Its value is None or () if it is not given and its default is not shown."""
    words, name, default = row.option, row.name.replace("_", "-"), row.default
    told = f" [default: {words.default}]" if words.default else ""
    given: dict[str, Any] = {"help": f"{words.words}.{told}"}
    if row.kind is bool:
        return click.option(
            f"--{name}/--no-{name}" if default else f"--{name}",
            is_flag=True,
            default=default,
            show_default=bool(default),
            **given,
        )
    if words.each:
        return click.option(f"--{words.each}", row.name, multiple=True, metavar=words.metavar or None, **given)
    if default not in (None, "", ()) and not words.default:
        given |= {"default": default, "show_default": True}
    return click.option(
        f"--{name}", row.name, metavar=words.metavar or None, callback=_reader(row), **given, type=_type(row)
    )


class _Whole(click.IntRange):
    """An integer whose bounds `--help` shows; the dataclass checks them, with the same message as from Python and files."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.INT.convert(value, param, ctx)


class _Number(click.FloatRange):
    """A float, as `_Whole`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return click.FLOAT.convert(value, param, ctx)


def _type(row: Row) -> click.ParamType:
    if row.choices:
        return click.Choice([str(choice) for choice in row.choices])
    if row.kind in (int, float) and row.option.parse is None:
        low, high = (row.bounds.get(key, row.bounds.get(strict)) for key, strict in (("ge", "gt"), ("le", "lt")))
        made: Any = _Whole if row.kind is int else _Number
        if low is None and high is None:
            return click.INT if row.kind is int else click.FLOAT
        return made(low, high, min_open="gt" in row.bounds, max_open="lt" in row.bounds)
    return click.STRING


def _reader(row: Row) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def read(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return value if value is None else row.read(value)
        except DatapropsError as error:
            raise click.BadParameter(str(error)) from error

    return read


def asked(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given (not None)."""
    return {name: value for name, value in options.items() if value is not None}

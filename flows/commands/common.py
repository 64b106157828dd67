"""What the commands share: errors at the edge, and a result as JSON or for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from dataprops.errors import DatapropsError

if TYPE_CHECKING:
    from rich.console import Console


def at_the_edge(function: Callable[..., Any]) -> Callable[..., Any]:
    """Say what the caller got wrong in one line, and exit with 2."""

    @wraps(function)
    def command(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except DatapropsError as error:
            click.echo(f"dataprops: {error}", err=True)
            sys.exit(2)

    return command


def stoppable(kept: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """On Ctrl-C say what is kept, and exit with 130."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def command(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except KeyboardInterrupt:
                click.echo(f"dataprops: stopped; {kept}, the same command goes on from there", err=True)
                sys.exit(130)

        return command

    return decorate


def show(result: dict[str, Any], as_json: bool, written: Callable[[Any, Console], None]) -> None:
    """One JSON object on stdout, or the result as `written` puts it on the terminal."""
    if as_json:
        from dataprops.util.json import to_json

        click.echo(to_json(result), nl=False)
    else:
        from rich.console import Console

        written(result, Console())

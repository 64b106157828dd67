"""The datasets file: datasets, schedules and notification channels, validated completely before anything is deployed.

Errors name file and line. Paths are relative to the file. A channel's value "env:NAME" is read from the environment at deployment, to
keep passwords out of the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt

from dataprops.audit.config import NAME, AuditConfig, from_dict
from dataprops.checks.alerts import SEVERITIES
from dataprops.checks.thresholds import load_thresholds
from dataprops.errors import DatapropsError
from dataprops.experiment import grid_options
from dataprops.options import rows
from dataprops.util.nearest import did_you_mean
from dataprops.util.toml import text_of, toml_of
from dataprops.util.validation import Meets, OptionError, check_values, plain_value
from deployments.channels import CHANNELS
from deployments.schedules import due

URL = re.compile(r"https?://[^/\s]+(/\S*)?")
REMOTE = re.compile(r"[a-z][a-z0-9+]*://")
FROM_ENVIRONMENT = "env:"
PLAIN = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")  # allowed in block names


@dataclass(frozen=True)
class Channel:
    """A notification channel; the kinds are in `channels.CHANNELS`."""

    name: str
    kind: str
    values: Mapping[str, Any]


def _cron(value: str) -> str:
    from prefect.client.schemas.schedules import CronSchedule

    try:
        CronSchedule(cron=value)
    except ValueError:  # pydantic's is one
        return 'a cron expression such as "0 3 * * *"'
    return "" if due(value, None, datetime.now(UTC), 1) else 'a cron expression whose date exists, such as "0 3 1 * *"'


def _zone(value: str) -> str:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        return "a time zone such as Europe/Berlin"
    return ""


def _severity(value: str) -> str:
    return "" if value in SEVERITIES else ", ".join(SEVERITIES)


Seconds = Annotated[float, Gt(0)]
Minutes = Annotated[float, Meets(lambda value: "" if value >= 1 / 6 else "at least 10 seconds, that is 0.17 minutes")]


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset in operation.

    Attributes
    ----------
    name : str
    options : mapping
        Fields of `dataprops.audit.config.AuditConfig`.
    schedule, timezone : str
        Cron expression ("": none), and its time zone.
    tell : tuple of str
        Names of channels.
    level : str
        Minimum severity sent to channels.
    late : float
        Minutes after which a run that has not started is reported.
    watch : str
        Folder, file or remote prefix to watch; "" for none.
    settle, poll : float
        Seconds without changes after which a copy counts as finished; polling interval (seconds) for remote prefixes and folders
        without change notifications.
    again : float
        Seconds after which an arrival that no audit followed is reported again.
    cluster, workers
        As for `flows.audit.audit`.
    """

    name: str
    options: Mapping[str, Any]
    schedule: Annotated[str, Meets(_cron)] = ""
    timezone: Annotated[str, Meets(_zone)] = "UTC"
    tell: tuple[str, ...] = ()
    level: Annotated[str, Meets(_severity)] = "warning"
    late: Minutes = 15.0
    watch: str = ""
    settle: Seconds = 10.0
    poll: Seconds = 300.0
    again: Seconds = 3600.0
    cluster: str = "local"
    workers: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True)
class GridEntry:
    """An experiment grid in operation.

    Attributes
    ----------
    name : str
    options : mapping
        As for `flows.experiment.experiment`.
    schedule, timezone : str
        Cron expression ("": none), and its time zone.
    cluster, workers
        As for `flows.experiment.experiment`.
    """

    name: str
    options: Mapping[str, Any]
    schedule: Annotated[str, Meets(_cron)] = ""
    timezone: Annotated[str, Meets(_zone)] = "UTC"
    cluster: str = "processes"
    workers: Annotated[int, Ge(1)] | None = None


@dataclass(frozen=True)
class Operations:
    """Content of a datasets file.

    Attributes
    ----------
    file : Path
    project : str
        Tag of everything deployed from this file.
    store : Path
    pool : str
        Work pool.
    base_url : str
        URL under which results are served, for links in the UI and in messages.
    """

    file: Path
    project: str
    store: Path
    pool: str
    base_url: str
    datasets: tuple[DatasetEntry, ...]
    experiments: tuple[GridEntry, ...]
    channels: tuple[Channel, ...]


TOP = ("project", "store", "pool", "base_url", "datasets", "experiments", "channels")
OPTIONS = rows(AuditConfig).keys() - {"name", "store", "reason"}
OWN = {option.name for option in fields(DatasetEntry)} - {"name", "options"}
GRID_OPTIONS = grid_options.OPTIONS.keys() - {"name", "store"}
KNOWN = {name: grid_options.OPTIONS[name] for name in GRID_OPTIONS}
OWN_OF_GRID = {option.name for option in fields(GridEntry)} - {"name", "options"}


class _File:
    """A parsed file that can name the line of a key in errors."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.text = text_of(path)
            self.table = toml_of(self.text)
        except OSError as error:
            raise DatapropsError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DatapropsError(f"{path} is not valid UTF-8 (byte {error.start})") from error
        except tomllib.TOMLDecodeError as error:
            raise DatapropsError(f"{_toml_place(path, self.text, str(error))}") from error

    def wrong(self, where: tuple[str, ...], what: str) -> DatapropsError:
        return DatapropsError(f"{self.path}, line {line_of(self.text, where)}: {what}")

    @contextmanager
    def naming(self, *where: str) -> Iterator[None]:
        """Add the line to library errors."""
        try:
            yield
        except DatapropsError as error:
            raise self.wrong(where, str(error)) from error

    @contextmanager
    def naming_option(self, where: tuple[str, ...]) -> Iterator[None]:
        """Add the line to library errors: the option's, otherwise the table's."""
        try:
            yield
        except DatapropsError as error:
            named = [error.option] if isinstance(error, OptionError) else []
            raise self.wrong((*where, *named), str(error)) from error


def _toml_place(path: Path, text: str, said: str) -> str:
    found = re.search(r"\(at line (\d+), column (\d+)\)", said)
    words = re.sub(r"\s*\(at .*\)", "", said)
    if found:
        return f"{path}, line {found[1]}, column {found[2]}: not valid TOML: {words}"
    return f"{path}, line {text.count(chr(10)) + 1}: not valid TOML: {words}"


def line_of(text: str, where: tuple[str, ...]) -> int:
    """Line of a key, given by its path; if not found, of its nearest enclosing table.

    Examples
    --------
    >>> text = 'store = "x"\\n[datasets.chest]\\nsource = "chest"\\nsize = 5'
    >>> line_of(text, ("datasets", "chest", "size")), line_of(text, ("datasets", "chest", "tell")), line_of(text, ())
    (4, 2, 1)
    """
    best, depth, header = 1, 0, ()
    for number, line in enumerate(text.splitlines(), 1):
        if table := re.fullmatch(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(#.*)?", line):
            header = _keys(table[1])
            path = header
        elif key := re.match(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", line):
            path = header + _keys(key[1])
        else:
            continue
        if where[: len(path)] == path and len(path) > depth:
            best, depth = number, len(path)
    return best


def _keys(text: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", text))


def read_operations(path: str | Path) -> Operations:
    """Read and validate a datasets file.

    Raises
    ------
    DatapropsError
        If it cannot be read or is invalid; the message names file and line.
    """
    path = Path(path).expanduser().resolve()
    file = _File(path)
    table = file.table
    _known(file, (), table, TOP)
    for name in ("datasets", "experiments", "channels"):
        for key, value in _table(file, (name,), table.get(name, {})).items():
            _table(file, (name, key), value)
            if not NAME.fullmatch(key):
                raise file.wrong((name, key), f"the name {key!r} may contain only letters, digits, '.', '_' and '-'")
    if not table.get("datasets") and not table.get("experiments"):
        raise file.wrong((), "no dataset: add a table [datasets.NAME] with its source")
    project = _text(file, table, "project", re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-") or "datasets")
    for where, name in [(("project",), project), *((("channels", name), name) for name in table.get("channels", {}))]:
        if not PLAIN.fullmatch(name):
            raise file.wrong(where, f"the name {name!r} may contain only lower-case letters, digits and single '-'")
    base_url = _text(file, table, "base_url", "http://127.0.0.1:4280")
    if not URL.fullmatch(base_url):
        raise file.wrong(("base_url",), f"base_url must be http://host:port, got {base_url!r}")
    store = (path.parent / Path(_text(file, table, "store", AuditConfig.store)).expanduser()).resolve()
    channels = tuple(_channel(file, name, dict(row)) for name, row in table.get("channels", {}).items())
    names = tuple(channel.name for channel in channels)
    datasets = tuple(_dataset(file, name, row, store, names) for name, row in table.get("datasets", {}).items())
    experiments = tuple(_experiment(file, name, row, store) for name, row in table.get("experiments", {}).items())
    return Operations(
        path, project, store, _text(file, table, "pool", "dataprops"), base_url, datasets, experiments, channels
    )


def _table(file: _File, where: tuple[str, ...], value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise file.wrong(where, f"{'.'.join(where)} must be a table: write [{'.'.join(where)}] with its keys below")
    return value


def _known(file: _File, where: tuple[str, ...], table: Mapping[str, Any], known: Any) -> None:
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known).strip() or f"valid keys: {', '.join(sorted(known))}"
            raise file.wrong((*where, key), f"unknown key {key!r}: {hint}")


def _text(file: _File, table: Mapping[str, Any], key: str, default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or not value:
        raise file.wrong((key,), f"{key} must be a string, got {value!r}")
    return value


def _channel(file: _File, name: str, row: dict[str, Any]) -> Channel:
    where = ("channels", name)
    kind = row.pop("kind", None)
    if kind not in CHANNELS:
        hint = did_you_mean(str(kind), CHANNELS).strip()
        told = f"kind must be one of {', '.join(CHANNELS)}, got {kind!r}{f': {hint}' if hint else ''}"
        raise file.wrong((*where, "kind"), told)
    spec = CHANNELS[kind]
    _known(file, where, row, {*spec.wanted, *spec.optional})
    for key in spec.wanted:
        if key not in row:
            raise file.wrong(where, f"a channel of kind {kind!r} needs {key!r}")
    values = {}
    for key, value in row.items():
        if isinstance(value, str) and value.startswith(FROM_ENVIRONMENT):
            variable = value.removeprefix(FROM_ENVIRONMENT)
            if variable not in os.environ:
                raise file.wrong((*where, key), f"the environment variable {variable} is not set")
            value = os.environ[variable]
        values[key] = value
    if said := spec.check(values):
        raise file.wrong((*where, "url"), said)
    return Channel(name, kind, values)


def _dataset(file: _File, name: str, row: Mapping[str, Any], store: Path, channels: tuple[str, ...]) -> DatasetEntry:
    where = ("datasets", name)
    _known(file, where, row, OPTIONS | OWN)
    if "source" not in row:
        raise file.wrong(where, f"the dataset {name!r} has no source")
    own = {key: value for key, value in row.items() if key in OWN}
    own = _checked(file, where, DatasetEntry, own)
    own["tell"] = own.get("tell", ())
    for channel in own["tell"]:
        if channel not in channels:
            there = f"channels are {', '.join(channels)}" if channels else "add a table [channels.NAME]"
            raise file.wrong((*where, "tell"), f"no channel is named {channel!r}: {there}")
    if "watch" in row:
        own["watch"] = _absolute(file.path.parent, str(row["watch"]))
    return DatasetEntry(name, _audit_options(file, name, row, store), **own)


def _audit_options(file: _File, name: str, row: Mapping[str, Any], store: Path) -> dict[str, Any]:
    """The audit options of a dataset, as for `AuditConfig`."""
    where = ("datasets", name)
    options = {key: value for key, value in row.items() if key in OPTIONS}
    _checked(file, where, AuditConfig, options)
    options["source"] = _absolute(file.path.parent, str(row["source"]))
    if "thresholds" in options:
        options["thresholds"] = _absolute(file.path.parent, str(options["thresholds"]))
        try:
            load_thresholds(options["thresholds"])
        except DatapropsError as error:
            raise file.wrong((*where, "thresholds"), str(error)) from error
    options |= {"name": name, "store": str(store)}
    with file.naming_option(where):
        from_dict(options)
    return options


def _checked(file: _File, where: tuple[str, ...], kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values, checked against the annotations of `kind`."""
    values = {key: plain_value(value) for key, value in given.items()}
    with file.naming_option(where):
        check_values(kind, values)
    return values


def _experiment(file: _File, name: str, row: Mapping[str, Any], store: Path) -> GridEntry:
    from dataprops.experiment.models import check_model

    where = ("experiments", name)
    _known(file, where, row, GRID_OPTIONS | OWN_OF_GRID)
    if "sources" not in row and "grid" not in row:
        raise file.wrong(where, f"the experiment {name!r} has neither sources nor grid")
    own = {key: value for key, value in row.items() if key in OWN_OF_GRID}
    own = _checked(file, where, GridEntry, own)
    with file.naming_option(where):
        options = grid_options.read_options({key: value for key, value in row.items() if key in GRID_OPTIONS}, KNOWN)
    options["sources"] = tuple(_place(file.path.parent, source) for source in options.get("sources", ()))
    if "grid" in options:
        options["grid"] = _absolute(file.path.parent, options["grid"])
        with file.naming(*where, "grid"):
            grid_options.load_grid(options["grid"])
    options |= {"name": name, "store": str(store)}
    with file.naming_option(where):
        grid = grid_options.experiment_from(options)
    with file.naming(*where, "models"):
        for model in grid.models:
            if ":" not in model:  # user models are imported where they are trained
                check_model(model, grid.settings.size)
    return GridEntry(name, options, **own)


def _place(folder: Path, source: str) -> str:
    """A grid's source, optionally prefixed with its domain, with an absolute path."""
    domain, equals, place = source.partition("=")
    return (
        f"{domain}={_absolute(folder, place)}"
        if equals and domain in grid_options.DOMAINS
        else _absolute(folder, source)
    )


def _absolute(folder: Path, text: str) -> str:
    """Make a path of the file absolute; ``name:location`` and URLs are unchanged."""
    if REMOTE.match(text):
        return text
    path = Path(os.path.expanduser(text))  # noqa: PTH111 - Path.expanduser raises for a folder that is named ~x
    kind, colon, location = text.partition(":")
    if colon and kind.isidentifier() and not (folder / path).exists():
        place = folder / Path(location)
        return f"{kind}:{place.resolve()}" if location and place.exists() else text
    return os.path.abspath(folder / path)  # noqa: PTH100 - a link stays a link

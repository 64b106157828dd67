"""Build a grid from plain values; command-line options, deployment parameters and grid files use the same names.

Options override the grid file, which overrides the preset. Lists may be given as comma-separated text, as on the command line. Imports
nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, get_args

from annotated_types import Ge, Gt

from dataprops.errors import DatapropsError
from dataprops.experiment.grid import PRESETS, Dataset, Domain, Experiment, Preset
from dataprops.options import Option, Row, rows
from dataprops.util.nearest import did_you_mean
from dataprops.util.toml import text_of, toml_of
from dataprops.util.validation import OptionError, check_values, require

DOMAINS = get_args(Domain)


@dataclass(frozen=True)
class Asked:
    """Options of the command alone: sources, a grid file, and settings for all models."""

    sources: Annotated[
        tuple[str, ...], Option("Folders, manifests, NAME:LOCATION", metavar="SOURCE", each="source")
    ] = ()
    grid: Annotated[
        str | None,
        Option("TOML file that lists datasets with their options, in addition to the SOURCEs", metavar="FILE"),
    ] = None
    batch: Annotated[
        Annotated[int, Ge(1)] | None, Option("Batch size, for all models", "that of the preset, else of the model")
    ] = None
    lr: Annotated[
        Annotated[float, Gt(0)] | None, Option("Learning rate, for all models", "that of the preset, else of the model")
    ] = None


KINDS = (Asked, Experiment, Preset, Dataset)  # in order of precedence for options with the same name
OF_A_SET = rows(Dataset)
OF_THE_PRESET = rows(Preset)
OF_EVERY_MODEL = ("batch", "lr")
OPTIONS = {name: row for kind in reversed(KINDS) for name, row in rows(kind).items() if name != "source"}
OF_THE_SETS = OF_A_SET.keys() - {"source", "name", "test", "sizes"}
IN_A_GRID_FILE = {name: OPTIONS[name] for name in OPTIONS.keys() - OF_THE_SETS - {"sources", "grid", "store"}}


def experiment_from(options: Mapping[str, Any]) -> Experiment:
    """An experiment from options by name; None means not given.

    Raises
    ------
    DatapropsError
        If an option is unknown or its value is invalid, or the grid file cannot be used.

    Examples
    --------
    >>> made = experiment_from({"sources": ["natural=digits:"], "models": "resnet18", "preset": "quick", "sizes": [40, 80]})
    >>> made.name, made.settings.sizes, made.datasets[0].domain
    ('quick', (40, 80), 'natural')
    """
    given = read_options(options, OPTIONS)
    listed, file = load_grid(given["grid"]) if "grid" in given else ((), {})
    of_sets = {name: given[name] for name in OF_THE_SETS if name in given}
    datasets = (*listed, *(parse_source(source, **of_sets) for source in given.get("sources", ())))
    asked = {**file, **given}
    preset = asked.get("preset", Experiment.preset)
    models = asked.get("models", Experiment.models)
    changed = {name: asked[name] for name in OF_THE_PRESET if name in asked}
    changed |= {name: dict.fromkeys(models, asked[name]) for name in OF_EVERY_MODEL if name in asked}
    if "epochs" in asked:  # applies to all models
        changed["longer"] = {}
    return Experiment(
        datasets,
        models,
        str(Path(asked.get("store", Experiment.store)).expanduser().resolve()),
        asked.get("name", preset),
        preset,
        replace(PRESETS[preset], **changed),
        **{name: asked[name] for name in ("seeds", "split", "device", "threads") if name in asked},
    )


def read_options(options: Mapping[str, Any], known: Mapping[str, Row]) -> dict[str, Any]:
    """Parse and validate the options that are given.

    Raises
    ------
    OptionError
        If one is unknown or its value is invalid.
    """
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known) or f"options are {', '.join(sorted(known))}"
            raise OptionError(name, f"unknown option {name!r}: {hint.strip()}")
    read = {name: known[name].read(value) for name, value in options.items() if value is not None}
    for kind in KINDS:
        check_values(
            kind, {name: read[name] for name, row in rows(kind).items() if known.get(name) is row and name in read}
        )
    return read


def parse_source(text: str, **defaults: Any) -> Dataset:
    """'medical=scans/' -> a Dataset of that domain; without a domain, the defaults apply.

    >>> parse_source("natural=digits:").domain, parse_source("digits:", domain="medical").domain
    ('natural', 'medical')
    """
    domain, equals, source = text.partition("=")
    if equals and domain in DOMAINS:
        return Dataset(source, **{**defaults, "domain": domain})
    return Dataset(text, **defaults)


def load_grid(path: str | Path) -> tuple[tuple[Dataset, ...], dict[str, Any]]:
    """Read a grid file: a ``[[dataset]]`` table for each set (fields of `Dataset`), and options of the experiment above them.

    Relative paths are resolved against the file's folder.

    Raises
    ------
    DatapropsError
        If the file cannot be read, or contains an unknown name or an invalid value.
    """
    file = Path(path)
    try:
        table = toml_of(text_of(file))
    except (OSError, ValueError) as error:
        raise DatapropsError(f"the grid file {file} cannot be read: {error}") from error
    where = str(file)
    try:
        datasets = []
        for number, row in enumerate(table.pop("dataset", []), 1):
            where = f"{file}, dataset {number}"
            read = read_options(row, OF_A_SET)
            require("source" in read, "source", None, "the location of its images")
            beside = file.resolve().parent / read["source"]
            # not Path.exists, which raises for a name that is too long
            if os.path.exists(beside) or ":" not in read["source"]:  # noqa: PTH110
                read["source"] = str(beside)
            datasets.append(Dataset(**read))
        where = str(file)
        return tuple(datasets), read_options(table, IN_A_GRID_FILE)
    except DatapropsError as error:
        raise DatapropsError(f"{where}: {error}") from error

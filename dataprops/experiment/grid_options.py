"""A grid from plain values: the words of the command's options, of a deployment's parameters and of a grid file are the same.

What a grid file says is the default of what is asked, and a preset the default of both. Lists may be written as text with
commas, as on the command line. Imports nothing heavy.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataprops.audit.config import PATIENTS, require
from dataprops.errors import DatapropsError
from dataprops.experiment.grid import DEVICES, DOMAINS, PRESETS, SPLITS, Dataset, Experiment

Reader = Callable[[str, Any], Any]  # (name of the option, value) -> the value as the records want it


def parse_sizes(text: str) -> tuple[int, ...]:
    """'500:1750:250' or '125,250,500' -> numbers of training images; the end of a range belongs to it.

    >>> parse_sizes("500:1000:250"), parse_sizes("64,128")
    ((500, 750, 1000), (64, 128))
    """
    try:
        if ":" in text:
            first, last, step = (int(part) for part in text.split(":"))
            sizes = tuple(range(first, last + 1, step))
        else:
            sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise DatapropsError(f"sizes is {text!r}; expected FIRST:LAST:STEP or numbers with commas, as 500:1750:250")
    return sizes


def _sizes(name: str, value: Any) -> tuple[int, ...]:
    if isinstance(value, str):
        return parse_sizes(value)
    sizes = _numbers(name, value)
    require(bool(sizes) and min(sizes) >= 1, name, value, "numbers of images, as [500, 750], or FIRST:LAST:STEP")
    return sizes


def _text(name: str, value: Any) -> str:
    require(isinstance(value, str) and bool(value), name, value, "a text")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    items = value.split(",") if isinstance(value, str) else value
    good = isinstance(items, list | tuple) and all(isinstance(item, str) and item for item in items)
    require(good, name, value, "a list of texts")
    return tuple(items)


def _sources(name: str, value: Any) -> tuple[str, ...]:
    # a path may hold a comma
    return _texts(name, [value] if isinstance(value, str) else value)


def _numbers(name: str, value: Any) -> tuple[int, ...]:
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    try:
        # a bool is an int to Python, and 1.5 would become one
        numbers = tuple(int(item) for item in items if type(item) in (int, str))
    except ValueError:
        numbers = ()
    require(bool(numbers) and len(numbers) == len(items), name, value, "whole numbers")
    return numbers


def _whole(name: str, value: Any) -> int:
    require(type(value) is int, name, value, "a whole number")
    return value


def _number(name: str, value: Any) -> float:
    require(type(value) in (int, float), name, value, "a number")
    return float(value)


def _switch(name: str, value: Any) -> bool:
    require(type(value) is bool, name, value, "true or false")
    return value


def _channels(name: str, value: Any) -> int:
    require(value in (1, 3, "1", "3"), name, value, "1 (grey) or 3 (colour)")
    return int(value)


def _one_of(*known: str) -> Reader:
    def read(name: str, value: Any) -> str:
        require(value in known, name, value, " or ".join(known))
        return value

    return read


# option -> how its value is read
OF_THE_SETS: dict[str, Reader] = {
    "domain": _one_of(*DOMAINS),
    "classes": _texts,
    "group_pattern": _text,
    "group_column": _text,
    "label_column": _text,
    "rules": _sources,
    "channels": _channels,
    **dict.fromkeys(("include", "exclude"), _sources),  # a glob may hold a comma
    **dict.fromkeys(("label_pattern", "layout", "images", "suffix", "one_hot", "label", "range", "window"), _text),
    "as_written": _switch,
    "patients": _one_of(*PATIENTS),
}
OF_A_SET: dict[str, Reader] = {
    **dict.fromkeys(("source", "name", "path_column", "split_column"), _text),
    "test": _whole,
    "sizes": _sizes,
    **OF_THE_SETS,
}
OF_THE_PRESET: dict[str, Reader] = {
    "sizes": _sizes,
    "test": _whole,
    "epochs": _whole,
    "size": _whole,
    "patience": _whole,
    "attacked": _whole,
}
OF_EVERY_MODEL: dict[str, Reader] = {"batch": _whole, "lr": _number}
OF_THE_GRID: dict[str, Reader] = {
    "models": _texts,
    "preset": _one_of(*PRESETS),
    "name": _text,
    "seeds": _numbers,
    "split": _one_of(*SPLITS),
    "device": _one_of(*DEVICES),
    "threads": _whole,
}
IN_A_GRID_FILE: dict[str, Reader] = {**OF_THE_PRESET, **OF_EVERY_MODEL, **OF_THE_GRID}
OPTIONS: dict[str, Reader] = {"sources": _sources, "grid": _text, "store": _text, **OF_THE_SETS, **IN_A_GRID_FILE}


def experiment_from(options: Mapping[str, Any]) -> Experiment:
    """An experiment from options by their names; None stands for what is not given.

    Raises
    ------
    DatapropsError
        If an option is unknown or its value is no such thing, or the grid file cannot be used.

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
    if "epochs" in asked:  # of all models, as it says
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


def read_options(options: Mapping[str, Any], known: Mapping[str, Reader]) -> dict[str, Any]:
    """The options that are given, read.

    Raises
    ------
    DatapropsError
        If one is unknown or its value is no such thing.
    """
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"options are {', '.join(sorted(known))}"
            raise DatapropsError(f"unknown option {name!r}: {hint}")
    return {name: known[name](name, value) for name, value in options.items() if value is not None}


def parse_source(text: str, **defaults: Any) -> Dataset:
    """'medical=scans/' -> a Dataset of that domain; a source alone has the default options.

    >>> parse_source("natural=digits:").domain, parse_source("digits:", domain="medical").domain
    ('natural', 'medical')
    """
    domain, equals, source = text.partition("=")
    if equals and domain in DOMAINS:
        return Dataset(source, **{**defaults, "domain": domain})
    return Dataset(text, **defaults)


def load_grid(path: str | Path) -> tuple[tuple[Dataset, ...], dict[str, Any]]:
    """Read a grid file: a ``[[dataset]]`` table for each set (fields of `Dataset`), and options of the experiment above them.

    A source that is a relative path is taken from the file's folder.

    Raises
    ------
    DatapropsError
        If the file cannot be read, or holds an unknown name or an unusable value.
    """
    file = Path(path)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatapropsError(f"the grid file {file} cannot be read: {error}") from error
    where = str(file)
    try:
        datasets = []
        for number, row in enumerate(table.pop("dataset", []), 1):
            where = f"{file}, dataset {number}"
            read = read_options(row, OF_A_SET)
            require("source" in read, "source", None, "where its images are")
            beside = file.resolve().parent / read["source"]
            if beside.exists() or ":" not in read["source"]:
                read["source"] = str(beside)
            datasets.append(Dataset(**read))
        where = str(file)
        return tuple(datasets), read_options(table, IN_A_GRID_FILE)
    except DatapropsError as error:
        raise DatapropsError(f"{where}: {error}") from error

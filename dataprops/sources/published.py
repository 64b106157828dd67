"""Published datasets of image folders with one table: ``isic:PATH`` and the like find the table, and the images below PATH.

Columns are detected as in any manifest (`columns`), or set by options.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources import folder, manifest
from dataprops.sources.table import SourceOptions, image_table, shown


class Published(NamedTuple):
    """File patterns of the table, the likeliest first, and a patient pattern for paths if the table has no patient column."""

    tables: tuple[str, ...]
    group_pattern: str | None = None


TABLES: dict[str, Published] = {
    "isic": Published(("*GroundTruth*.csv", "*ground_truth*.csv", "*metadata*.csv", "train*.csv")),
    "ham10000": Published(("HAM10000_metadata*", "*metadata*.csv", "*GroundTruth*.csv")),
    "aptos": Published(("train.csv", "train*.csv")),
    "eyepacs": Published(("trainLabels*.csv", "*labels*.csv"), r"(\d+)_(?:left|right)"),
    "nih": Published(("Data_Entry_2017*.csv", "Data_Entry*.csv", "sample_labels.csv")),
}


def table_of(name: str, root: Path) -> Path:
    """The dataset's table: among files that match the likeliest pattern, the one closest to the root.

    Raises
    ------
    DatapropsError
        If there is none, or the path is not a directory.
    """
    if not root.is_dir():
        raise DatapropsError(f"{name}: {root} is not a directory: give the folder that holds the table and the images")
    for pattern in TABLES[name].tables:
        found = [path for path in root.rglob(pattern) if path.is_file() and not path.name.startswith(".")]
        if found:
            return min(found, key=lambda path: (len(path.parts), os.fsencode(path)))
    raise DatapropsError(f"{name}: no table below {root} (looked for {', '.join(TABLES[name].tables)})")


def scan(name: str) -> Callable[[str, SourceOptions], pd.DataFrame]:
    """The `scan` of `sources.Source` for a published dataset; keys are relative to its folder."""

    def scan(location: str, options: SourceOptions) -> pd.DataFrame:
        root = Path(location)
        table = table_of(name, root)
        options = replace(
            options,
            images=options.images or str(root.resolve()),
            group_pattern=options.group_pattern or TABLES[name].group_pattern,
        )
        found = manifest.scan(str(table), options)
        keys = [
            os.path.relpath(table.parent.resolve() / key, root.resolve()).replace(os.sep, "/") for key in found["key"]
        ]
        columns = (found[column].tolist() for column in ("label", "split", "group"))
        out = image_table(keys, *columns, path=[shown(key) for key in keys])
        out.attrs.update(found.attrs)
        return out

    return scan


read = folder.read

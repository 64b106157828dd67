"""Table files: CSV with any encoding and separator, TSV, JSON lines, Excel, Parquet; all values are read as text.

The forms of texts are in `texttable`, of JSON in `jsontable`, Parquet in `parquetfile`. Ambiguities are reported as decisions.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

from dataprops.sources import matlab
from dataprops.sources.account import Decision
from dataprops.sources.jsontable import records
from dataprops.sources.parquetfile import open_parquet, whole_parquet
from dataprops.sources.table import column_values
from dataprops.sources.texttable import (
    LOOK,
    as_text,
    begins_with_images,
    blanks_of,
    names_missing,
    separator_of,
    with_path,
    without_bars,
    without_remarks,
)
from dataprops.util.budget import need

TEXTS = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json")
EXCEL = ".xlsx"
BYTES_OF_CELL = 8  # bytes of memory per byte of text in an Excel or Parquet file
FILLED = 0.8  # minimum fraction of a sheet's columns filled by its header row

MOST_COLUMNS = 60_000  # enough for 224 x 224 pixels; pandas is slow with hundreds of thousands


class Table(NamedTuple):
    """Columns as text, and the decisions made while reading."""

    frame: pd.DataFrame
    decisions: list[Decision]


def read_table(data: bytes, name: str) -> Table:
    """Read a table from its bytes.

    Parameters
    ----------
    name : str
        For its extension.

    Raises
    ------
    ValueError
        With the reason (pandas' and Arrow's parsing errors are ValueErrors).
    """
    lower = name.lower()
    if lower.endswith(".parquet"):
        columns = whole_parquet(open_parquet(io.BytesIO(data), len(data)))
        # bypass pandas' types, which turn integers into floats if a label is missing
        values = {name: column_values(columns[name]) for name in columns.column_names}
        texts = sum(len(cell) for cells in values.values() for cell in cells if isinstance(cell, str | bytes))
        need(BYTES_OF_CELL * texts)
        frame = {name: pd.Series(cells, dtype=object) for name, cells in values.items()}
        return Table(pd.DataFrame(frame), [])
    if lower.endswith(EXCEL):
        return Table(_sheet(data), [])
    if lower.endswith(matlab.SUFFIX):
        return Table(_of_matlab(data), [])
    text, encoding = as_text(data)
    text, said = without_remarks(text)
    text = without_bars(with_path(text)) if lower.endswith(".txt") else text
    decisions = []
    if encoding == "cp1252":
        why = "its bytes are not valid UTF-8"
        decisions.append(Decision("table", "read as Windows-1252", why, "saving it as UTF-8"))
    if lower.endswith((".jsonl", ".ndjson", ".json")):
        return Table(pd.DataFrame(records(text, lower)), decisions)
    tabs = lower.endswith((".tsv", ".tab")) and "\t" in text.partition("\n")[0]
    separator = said or ("\t" if tabs else separator_of(text))
    if separator == "," and "," not in text.partition("\n")[0]:
        separator = blanks_of(text) if lower.endswith(".txt") or begins_with_images(text) else separator
    columns = text.partition("\n")[0].count(separator) + 1
    if columns > MOST_COLUMNS:
        raise ValueError(f"it has {columns:,} columns, more than a table of images should have ({MOST_COLUMNS:,})")
    names = names_missing(text, separator)
    # labels stay text: 007 is not 7
    frame = pd.read_csv(
        io.StringIO(text),
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        sep=separator,
        skipinitialspace=True,
        engine="python" if len(separator) > 1 else "c",
        names=names,
        header=None if names else 0,
        index_col=False if names else None,
    )
    frame.columns = _distinct_names(frame.columns)
    frame, repeated = _without_repeated_names(frame)
    decisions += repeated
    if names:
        why = "its first row names an image"
        decisions.append(
            Decision("table", f"no header: columns taken as {', '.join(names)}", why, "adding a header row")
        )
    if separator in ";\t":
        decisions += _decimal_commas(frame)
    return Table(frame, decisions)


def _distinct_names(columns: Iterable[object]) -> list[str]:
    """Column names without blanks around them; those that are then alike are numbered, as pandas does.

    >>> _distinct_names(["file", "class", "class ", "class.1"])
    ['file', 'class', 'class.1', 'class.1.1']
    """
    names, seen = dict[str, None](), Counter[str]()
    for column in columns:
        plain = name = str(column).strip()
        while name in names:
            seen[plain] += 1
            name = f"{plain}.{seen[plain]}"
        names[name] = None
    return list(names)


def _sheet(data: bytes) -> pd.DataFrame:
    """The first sheet of an Excel file, all values as text."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            need(BYTES_OF_CELL * sum(member.file_size for member in archive.infolist()))
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is not an Excel sheet: {error}") from error
    frame = pd.read_excel(io.BytesIO(data), dtype=str, keep_default_na=False, na_values=[""], engine="openpyxl")
    frame.columns = _distinct_names(frame.columns)
    return _below_titles(frame)


def _below_titles(frame: pd.DataFrame) -> pd.DataFrame:
    """Skip title rows of a sheet: the header is the first row that fills nearly all columns."""
    if sum(column.startswith("Unnamed") for column in frame.columns) * 2 < len(frame.columns) or len(frame.columns) < 2:
        return frame
    for row in range(min(LOOK, len(frame) - 1)):
        names = [str(cell).strip() for cell in frame.iloc[row] if cell == cell and cell is not None]
        if len(names) >= FILLED * len(frame.columns) and len(set(names)) == len(names):
            below = frame.iloc[row + 1 :].reset_index(drop=True)
            below.columns = [
                str(cell).strip() if cell == cell and cell is not None else f"Unnamed: {at}"
                for at, cell in enumerate(frame.iloc[row])
            ]
            return below
    return frame


def _of_matlab(data: bytes) -> pd.DataFrame:
    """The table in a MATLAB file, all values as text.

    Raises
    ------
    ValueError
        If there is none.
    """
    need(BYTES_OF_CELL * len(data))
    found = matlab.columns(data, matlab.LARGEST_TABLE)
    if not found:
        raise ValueError("it holds no table: no list of texts")
    texts = {name: [None if cell in (None, "") else str(cell) for cell in cells] for name, cells in found.items()}
    return pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in texts.items()})


def _without_repeated_names(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Decision]]:
    """Drop repeated header rows, as in concatenated tables."""
    if len(frame.columns) < 2:
        return frame, []
    rows = frame[frame[frame.columns[0]] == frame.columns[0]]
    repeated = rows.index[[row == list(frame.columns) for row in rows.to_numpy().tolist()]]
    if not len(repeated):
        return frame, []
    why = f"{len(repeated)} rows repeat the column names"
    told = Decision("table", "repeated header rows left out", why, "another name for the first column")
    return frame.drop(repeated).reset_index(drop=True), [told]


def _decimal_commas(frame: pd.DataFrame) -> list[Decision]:
    """Convert decimal commas, ``0,5``, to points, in place."""
    found = []
    for column in frame.columns:
        values = frame[column].dropna()
        fits = values.str.fullmatch(r"\s*[+-]?\d+(?:,\d+)?\s*")
        if len(values) and fits.all() and values.str.contains(",", regex=False).any():
            frame[column] = frame[column].str.replace(",", ".", regex=False)
            found.append(column)
    if not found:
        return []
    why = f"the numbers of {', '.join(found[:3])} have one comma, which does not separate columns"
    return [Decision("table", "decimal commas read as points", why, "saving it with decimal points")]

"""Tables as people keep them: CSV of any encoding and separator, TSV, JSON lines, Parquet; all values as text.

UTF-8, UTF-16 (by its mark or its zero bytes) and, where it is neither, Windows-1252. The separator is the one of , ; tab and | that
splits the first rows into the same number of columns. What was not plain is told as a decision.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from typing import Any, NamedTuple

import pandas as pd
import pyarrow.parquet as pq

from dataprops.sources.account import Decision
from dataprops.sources.table import column_values

TEXTS = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json")
SEPARATORS = ",;\t|"
LOOK = 50  # rows that tell the separator
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class Table(NamedTuple):
    """Columns as they are written, and what was decided to read them."""

    frame: pd.DataFrame
    decisions: list[Decision]


def read_table(data: bytes, name: str) -> Table:
    """Read a table from its bytes.

    Parameters
    ----------
    name : str
        For its ending.

    Raises
    ------
    ValueError
        With the reason (pandas' and Arrow's parsing errors are ValueErrors).
    """
    lower = name.lower()
    if lower.endswith(".parquet"):
        columns = pq.read_table(io.BytesIO(data))
        # not through pandas' types: whole numbers stay whole numbers where a label is missing
        frame = {name: pd.Series(column_values(columns[name]), dtype=object) for name in columns.column_names}
        return Table(pd.DataFrame(frame), [])
    text, encoding = decoded(data)
    decisions = []
    if encoding == "cp1252":
        why = "its bytes are not valid UTF-8"
        decisions.append(Decision("table", "read as Windows-1252", why, "saving it as UTF-8"))
    if lower.endswith((".jsonl", ".ndjson", ".json")):
        return Table(pd.DataFrame(_records(text, lower)), decisions)
    separator = "\t" if lower.endswith((".tsv", ".tab")) else separator_of(text)
    # labels stay the text they are: 007 is no 7
    frame = pd.read_csv(
        io.StringIO(text), dtype=str, keep_default_na=False, na_values=[""], sep=separator, skipinitialspace=True
    )
    frame.columns = [str(column).strip() for column in frame.columns]
    return Table(frame, decisions)


def decoded(data: bytes) -> tuple[str, str]:
    """Text of bytes, and the encoding that gave it.

    >>> decoded("é".encode("utf-16"))[0], decoded(b"\\xe9"), decoded("\\ufeffa".encode())[0]
    ('é', ('é', 'cp1252'), 'a')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding), encoding
    head = data[:1000]
    if head.count(0) > len(head) / 4:
        encoding = "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
        return data.decode(encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), "cp1252"


def separator_of(text: str) -> str:
    """The separator of a table: the one that gives the same, largest number of columns in most of the first rows.

    >>> separator_of("a;b\\n1,5;2\\n"), separator_of("a,b\\n1;2,3\\n"), separator_of("path\\n1.png\\n")
    (';', ',', ',')
    """
    lines = text.splitlines()[:LOOK]
    best, most = ",", 1
    for separator in SEPARATORS:
        try:
            rows = [row for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if row]
        except csv.Error:
            continue
        width = len(rows[0]) if rows else 0
        if width > most and sum(len(row) == width for row in rows) >= 0.9 * len(rows):
            best, most = separator, width
    return best


def _records(text: str, name: str) -> list[dict[str, Any]]:
    if name.endswith(".json"):
        whole = json.loads(text)
        rows = whole if isinstance(whole, list) else next((v for v in whole.values() if isinstance(v, list)), [])
    else:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("its lines are not JSON objects")
    return [{key: _plain(value) for key, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    """A JSON value as a cell: text, a list as its text, None."""
    if value is None or value == "":
        return None
    return str(value)

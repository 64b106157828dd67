"""Table files: CSV with any encoding and separator, TSV, JSON lines, Excel, Parquet; all values are read as text.

Encodings: UTF-8, UTF-16 (by its byte-order mark or zero bytes), otherwise Windows-1252. The separator is the one of , ; tab and |
that splits the first rows into the same number of columns. Ambiguities are reported as decisions.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.imaging.formats import SURE
from dataprops.sources import matlab
from dataprops.sources.account import Decision
from dataprops.sources.splitnames import SPLITS, are_splits
from dataprops.sources.table import column_values
from dataprops.util.budget import need
from dataprops.util.names import ending_of

TEXTS = (".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json")
SEPARATORS = ",;\t|"
EXCEL = ".xlsx"
BYTES_OF_CELL = 8  # bytes of memory per byte of text in an Excel or Parquet file
LAST_BLANK = r"\s+(?=\S+\s*$)"  # separator of lists as in ImageNet: a path and a number
BLANKS = r"\s+"  # separator of lists with more than two values per row
LOOK = 50  # rows used to detect the separator
LEAST_SAME = 5  # rows with the same value that make it no label
FILLED = 0.8  # minimum fraction of a sheet's columns filled by its header row
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its prefix
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

KINDS = ("categories", "category", "classes", "labels", "label")  # of objects, in Hugging Face's metadata.jsonl
LEAST_ROWS, ROWS_PER_BYTE = 10**6, 64  # limit on rows: a Parquet header may declare any number
AT_ONCE, LEAST_AT_ONCE = 16 * 2**20, 16  # batch size, bytes and rows, for columns of undeclared text size
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
    text, said = _without_remarks(text)
    text = _without_bars(_with_path(text)) if lower.endswith(".txt") else text
    decisions = []
    if encoding == "cp1252":
        why = "its bytes are not valid UTF-8"
        decisions.append(Decision("table", "read as Windows-1252", why, "saving it as UTF-8"))
    if lower.endswith((".jsonl", ".ndjson", ".json")):
        return Table(pd.DataFrame(_records(text, lower)), decisions)
    tabs = lower.endswith((".tsv", ".tab")) and "\t" in text.partition("\n")[0]
    separator = said or ("\t" if tabs else separator_of(text))
    if separator == "," and "," not in text.partition("\n")[0]:
        separator = _blanks_of(text) if lower.endswith(".txt") or _begins_with_images(text) else separator
    columns = text.partition("\n")[0].count(separator) + 1
    if columns > MOST_COLUMNS:
        raise ValueError(f"it has {columns:,} columns, more than a table of images should have ({MOST_COLUMNS:,})")
    names = _names_missing(text, separator)
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
    frame.columns = [str(column).strip() for column in frame.columns]
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


def has_bars(text: str) -> bool:
    """Whether a text is a table with bars around its rows, as in PH2: ``|| Name || Diagnosis ||``."""
    return text.lstrip().startswith("|") and text.strip().partition("\n")[0].rstrip().endswith("|")


def _without_bars(text: str) -> str:
    """Convert a table with bars around its rows to CSV, without other lines; other texts are returned unchanged.

    >>> _without_bars("|| Name || A ||\\n|| x ||  ||\\n\\nA: legend\\n")
    'Name,A\\nx,\\n'
    """
    if not has_bars(text):
        return text
    bar = "||" if text.lstrip().startswith("||") else "|"
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("|")]
    rows = [[cell.strip() for cell in line.removeprefix(bar).removesuffix(bar).split(bar)] for line in lines]
    rows = [row for row in rows if len(row) == len(rows[0]) and not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


def _with_path(text: str) -> str:
    """Add the missing header of the first column to a list such as CelebA's attributes; other texts are returned unchanged.

    >>> _with_path("1\\nSmiling Young\\n1.jpg  -1 1\\n")
    'path,Smiling,Young\\n1.jpg,-1,1'
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    lines = lines[1:] if lines and lines[0] == [str(len(lines) - 2)] else lines  # number of rows
    if len(lines) < 2 or len(lines[1]) != len(lines[0]) + 1 or len(lines[1]) < 3 or ending_of(lines[1][0]) not in SURE:
        return text
    if ending_of(lines[0][0]) in SURE:  # a row, and the next one has a name of one word more
        return text
    return "\n".join(",".join(line) for line in (["path", *lines[0]], *lines[1:]))


def open_parquet(source: Any, size: int, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file with string and binary columns kept dictionary-encoded: a kilobyte may decode to gigabytes.

    Arrow cannot do so for columns of `_by_differences`; `read_group` limits their memory.

    Raises
    ------
    ValueError
        If it declares more rows than a file of its size can hold.
    """
    told: Any = metadata or pq.read_metadata(source)
    source.seek(0)
    rows, most = told.num_rows, max(LEAST_ROWS, ROWS_PER_BYTE * size)
    if not 0 <= rows <= most:
        raise ValueError(f"it declares {rows:,} rows in {size:,} bytes")
    leaves = (told.schema.column(number) for number in range(len(told.schema)))
    others = _by_differences(told)
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path not in others]
    return pq.ParquetFile(source, metadata=told, read_dictionary=texts)


def whole_parquet(file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
    """Columns of all row groups, each with its own dictionaries: Arrow cannot unify those of structs and lists."""
    groups = [read_group(file, number, columns) for number in range(file.num_row_groups)]
    return pa.concat_tables(groups) if groups else file.read(columns)


def _by_differences(told: pq.FileMetaData) -> set[str]:
    """String columns with delta encoding in any row group."""
    return {
        chunk.path_in_schema
        for number in range(told.num_row_groups)
        for chunk in (told.row_group(number).column(at) for at in range(told.num_columns))
        if chunk.physical_type == "BYTE_ARRAY" and any("DELTA" in encoding for encoding in chunk.encodings)
    }


def read_group(file: pq.ParquetFile, number: int, columns: list[str] | None = None) -> pa.Table:
    """Read columns of one row group.

    The decoded size of delta-encoded strings (`_by_differences`) is unknown before reading. A value is at most as long as its stored
    column, so batches are sized to fit `AT_ONCE` in this worst case, and memory is counted batch by batch.

    Raises
    ------
    OverBudget
        If they exceed the memory budget.
    """
    group = file.metadata.row_group(number)
    wanted = None if columns is None else {name.partition(".")[0] for name in columns}
    others = _by_differences(file.metadata)
    chunks = [group.column(at) for at in range(group.num_columns)]
    watched = [
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema in others and (wanted is None or chunk.path_in_schema.split(".")[0] in wanted)
    ]
    if not watched or not group.num_rows:
        return file.read_row_group(number, columns)
    rows, batches, held = max(LEAST_AT_ONCE, AT_ONCE // max(1, *watched)), [], 0
    for batch in file.iter_batches(rows, [number], columns):
        held += batch.nbytes
        need(held)
        batches.append(batch)
    return pa.Table.from_batches(batches)


def _without_remarks(text: str) -> tuple[str, str]:
    """Strip the comment lines before a table; also the separator named by Excel's ``sep=;``.

    >>> _without_remarks("sep=;\\na;b\\n"), _without_remarks("# made by x\\na,b\\n"), _without_remarks("#a,b\\n1,2\\n")
    (('a;b\\n', ';'), ('a,b\\n', ''), ('#a,b\\n1,2\\n', ''))
    """
    said = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    if said:
        return text[said.end() :], said[1]
    remarks = re.match(r"(?:#[^\n]*\n)+", text)
    if not remarks:
        return text, ""
    separator = separator_of(text[remarks.end() :])
    first = text[remarks.end() :].partition("\n")[0].count(separator)
    alike = remarks[0].strip().rpartition("\n")[2].count(separator) == first  # a header line that starts with #
    return (text, "") if alike else (text[remarks.end() :], "")


def _sheet(data: bytes) -> pd.DataFrame:
    """The first sheet of an Excel file, all values as text."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            need(BYTES_OF_CELL * sum(member.file_size for member in archive.infolist()))
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is not an Excel sheet: {error}") from error
    frame = pd.read_excel(io.BytesIO(data), dtype=str, keep_default_na=False, na_values=[""], engine="openpyxl")
    frame.columns = [str(column).strip() for column in frame.columns]
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


def _are_boxes(rows: Sequence[Sequence[str]], first: int) -> bool:
    """Whether four consecutive cells of each row, starting at `first`, are a box: left, top, right, bottom."""
    boxes = [[cell.strip() for cell in row[first : first + 4]] for row in rows]
    if not all(len(box) == 4 and all(re.fullmatch(r"\d+(\.\d+)?", cell) for cell in box) for box in boxes):
        return False
    return all(float(box[0]) < float(box[2]) and float(box[1]) < float(box[3]) for box in boxes)


def _names_missing(text: str, separator: str) -> list[str] | None:
    """Column names for a table without a header, whose first row is an image; None if it has a header."""
    rows = _first_rows(text, separator)
    cells = rows[0] if rows else []
    at = [number for number, cell in enumerate(cells) if ending_of(cell.strip().replace("\\", "/")) in SURE]
    if len(at) == 1 and at[0] == 1 and len(cells) > 2 and cells[0].strip().lower() in SPLITS:  # TRAIN,gs://a/1.jpg,cat
        return ["split", "path", "label", *(f"column {n + 1}" for n in range(3, len(cells)))]
    if len(at) == 1 and at[0] == 2 and len(cells) == 3 and separator == "\t" and cells[0].strip().isdecimal():
        return ["column 1", "label", "path"]  # MXNet list: number, label, path
    if len(at) != 1 or (len(cells) > 2 and at[0] != 0 and separator != BLANKS):
        return None
    (path,) = at
    if len(cells) > 3 and all(
        re.fullmatch(r"-?[01]", cell.strip()) for row in rows for number, cell in enumerate(row) if number != path
    ):
        return ["path" if number == path else f"column {number + 1}" for number in range(len(cells))]  # one-hot columns
    label = path + 1 if path + 1 < len(cells) else path - 1
    if len(cells) == 6 and path == 0 and _are_boxes(rows, 1) and not _are_boxes(rows, 2):
        label = 5  # 1.png;774;411;815;446;11
    if len(cells) > 2 and len(rows) > LEAST_SAME and len({row[label] for row in rows if len(row) > label}) == 1:
        label = len(cells)  # the same in every row: which of the others is the label, the file does not tell
    return ["path" if n == path else "label" if n == label else f"column {n + 1}" for n in range(len(cells))]


def _first_rows(text: str, separator: str) -> list[list[str]]:
    """Values of the first rows, without a last line that may be truncated."""
    lines = text.splitlines()[:LOOK]
    lines = [line for line in (lines if text.endswith("\n") or len(lines) < 2 else lines[:-1]) if line.strip()]
    if len(separator) > 1:
        return [re.split(separator, line.strip()) for line in lines]
    return [row for row in csv.reader(lines, delimiter=separator) if row]


def lists_images(head: bytes) -> bool:
    """Whether a text starts as a list of images: a path and optionally a label per line.

    >>> lists_images(b"a/1.png 0\\nb/2.png 1\\n"), lists_images(b"Notes on these images\\n"), lists_images(b"a.txt")
    (True, False, False)
    """
    text = as_text(head)[0]
    rest = text.partition("\n")[2]
    if _with_path(rest) != rest:
        return True
    separator = separator_of(text)
    if separator == "," and "," not in text.partition("\n")[0]:
        separator = _blanks_of(text)
    return _names_missing(text, separator) is not None or _has_header(text, separator)


def has_header(head: bytes) -> bool:
    """Whether a text starts as a table: names of columns, then rows of as many values, one of them an image.

    >>> has_header(b"id path\\n1 a.png\\n2 b.png\\n"), has_header(b"a.png 0\\nb.png 1\\n")
    (True, False)
    """
    text = as_text(head)[0]
    separator = separator_of(text)
    return _has_header(text, _blanks_of(text) if separator not in text.partition("\n")[0] else separator)


def _has_header(text: str, separator: str) -> bool:
    rows = _first_rows(text, separator)
    images = [[ending_of(cell.strip().replace("\\", "/")) in SURE for cell in row] for row in rows]
    same = len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return same and not any(images[0]) and any(map(all, zip(*images[1:], strict=True)))


def _blanks_of(text: str) -> str:
    """Separator of a space-separated list: the last space, or every space if rows have over two values, one of them an image."""
    lines = text.splitlines()[:LOOK]
    rows = [
        line.split() for line in (lines if text.endswith("\n") or len(lines) < LOOK else lines[:-1]) if line.strip()
    ]
    places = [[at for at, cell in enumerate(row) if ending_of(cell) in SURE] for row in rows]
    if len(rows) > 2 and not places[0] and len(rows[0]) == len(rows[1]):
        rows, places = rows[1:], places[1:]  # a header
    alike = len({(len(row), *at) for row, at in zip(rows, places, strict=True)}) == 1
    return BLANKS if alike and len(rows[0]) > 2 and len(places[0]) == 1 else LAST_BLANK


def _begins_with_images(text: str) -> bool:
    """Whether each line after the first has several values between blanks, the first of them an image: ``cells/1.png  1.0  mono``.

    >>> _begins_with_images("a/1.png  1.0  mono\\na/2.png  0.0  poly\\n"), _begins_with_images("path\\nmy cat.png\\n")
    (True, False)
    """
    rows = _first_rows(text, _blanks_of(text))
    return len(rows) > 1 and all(len(row) == len(rows[0]) > 1 and ending_of(row[0]) in SURE for row in rows[1:])


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


def as_text(data: bytes) -> tuple[str, str]:
    """Decode bytes; return the text and its encoding.

    >>> as_text("é".encode("utf-16"))[0], as_text(b"\\xe9"), as_text("\\ufeffa".encode())[0]
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
    """Separator of a table: the one that gives the same, largest number of columns in most of the first rows.

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
    try:
        rows = _listed(json.loads(text)) if name.endswith(".json") else _lines(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
    if rows and all(isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) for row in rows):
        rows = [{"path": path, "label": label} for path, label in rows]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("its lines are not JSON objects")
    return [{key: _plain(_path_of(_kinds_of(value))) for key, value in row.items()} for row in rows]


def _kinds_of(value: Any) -> Any:
    """Object classes in a dict that lists them beside the boxes, or in a list of objects; other values are returned unchanged.

    >>> _kinds_of({"bbox": [[0, 0, 2, 2]], "categories": ["cat"]}), _kinds_of({"width": 3})
    (['cat'], {'width': 3})
    >>> _kinds_of([{"box": {"r": 1}, "category": "cell"}, {"box": {"r": 5}, "category": "cell"}])
    ['cell']
    """
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        name = next((name for name in KINDS if all(isinstance(one.get(name), str) for one in value)), None)
        return value if name is None else sorted({one[name] for one in value})
    if not isinstance(value, dict):
        return value
    return next((value[name] for name in KINDS if isinstance(value.get(name), list)), value)


def _path_of(value: Any) -> Any:
    """The image in a dict that describes one: ``{"pathname": "/images/1.png", "shape": ...}``; other values are unchanged."""
    paths = (
        [one for one in value.values() if isinstance(one, str) and ending_of(one) in SURE]
        if isinstance(value, dict)
        else ()
    )
    return paths[0] if len(paths) == 1 else value


def _lines(text: str) -> list[Any]:
    """Values of a JSON lines file.

    Raises
    ------
    ValueError
        Naming the first invalid line.
    """
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"line {number} is not valid JSON: {str(error).partition(': line')[0]}") from None
    return rows


def _listed(whole: Any) -> list[Any]:
    """Rows of a JSON file: a list; the only list in an object; one list per split; or an object keyed by image name.

    Raises
    ------
    ValueError
        If it has none of these forms.
    """
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise ValueError("it is neither a list nor an object")
    if {"images", "annotations"} <= set(whole):
        raise ValueError("it holds COCO annotations: give the folder that has the images and this file")
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    if len(lists) > 1 and are_splits(list(lists)):
        return [{"split": key, **row} for key, rows in lists.items() for row in rows if isinstance(row, dict)]
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists and not all(isinstance(value, str) for rows in lists.values() for value in rows):
        raise ValueError(f"it holds several lists, {', '.join(list(lists)[:4])}: keep one")
    if whole and all(isinstance(value, dict) for value in whole.values()):
        called = any(
            isinstance(cell, str) and ending_of(cell) in SURE for row in whole.values() for cell in row.values()
        )
        return [{"key" if called else "path": key, **value} for key, value in whole.items()]
    return [{"path": key, "label": value} for key, value in whole.items()]


def _plain(value: Any) -> Any:
    """A JSON value as a cell: a string, a list as its text, or None."""
    if value is None or value == "":
        return None
    return str(value)

"""Tables of pixel values, like Kaggle's MNIST, its variants and FER2013: ``pixels:TABLE``, and any CSV recognised as one.

Either each pixel has a column (``label,pixel0,pixel1,...``, ``1x1,1x2,...``, or only numbers without a header), or one column holds
all pixels of an image, space-separated (``emotion,pixels,Usage``). Rows with a square number of values are grey images; ``--rule
shape=32x32x3`` sets the shape of others. Label and split are found as in any manifest. The table is parsed once per process.
"""

from __future__ import annotations

import csv
import errno
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.account import Decision, told
from dataprops.sources.columns import roles
from dataprops.sources.containers import arraysets
from dataprops.sources.containers.arraysets import LEAST, Named
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.connections import access_of
from dataprops.sources.table import SourceOptions, chosen_rules, image_table
from dataprops.sources.texttable import as_text
from dataprops.util.budget import need
from dataprops.util.cache import Cache
from dataprops.util.guard import said

RULES: dict[str, tuple[str, ...]] = {"shape": ()}
HEAD = 2**20  # bytes read for the first two rows
BYTES_OF_CHARACTER = 4  # of memory: a float32 takes at least two characters of text
_PIXEL = re.compile(r"(?:pix|pixel|px)[-_ ]?\d+|\d+x\d+|\d+", re.IGNORECASE)


class Form(NamedTuple):
    """How a table stores pixels: these columns, one per pixel or one for all; and whether it has a header."""

    columns: list[str]
    in_one: bool
    names: list[str]
    named: bool


class Pixels(NamedTuple):
    """A parsed table: one row of values per image, and the other columns as text."""

    pixels: np.ndarray
    others: pd.DataFrame

    @property
    def nbytes(self) -> int:
        return int(self.pixels.nbytes) + int(self.others.memory_usage().sum())


_held: Cache[Pixels] = Cache(2**30, lambda table: table.nbytes)


def form_of(head: bytes) -> Form | None:
    """How a table with this beginning stores pixels; None if it does not.

    >>> form_of(b"label," + b",".join(b"pixel%d" % n for n in range(49)) + b"\\n1," + b",".join([b"0"] * 49)).columns[0]
    'pixel0'
    >>> form_of(b"path,label\\na.png,1\\n") is None
    True
    """
    try:
        rows = [row for _, row in zip(range(2), csv.reader(as_text(head)[0].splitlines()), strict=False)]
    except (ValueError, csv.Error):  # truncated within a character, or not a table: reported when it is read
        return None
    if len(rows) < 2 or len(rows[0]) != len(rows[1]):
        return None
    names, cells = ([cell.strip() for cell in row] for row in rows)
    if len(cells) < LEAST:
        lists = [name for name, cell in zip(names, cells, strict=True) if _is_list(cell)]
        return Form(lists, True, names, True) if len(lists) == 1 else None
    if all(map(_is_whole, names)):  # no header: numbers from the first row on
        side = [width for width in (len(cells), len(cells) - 1) if _is_side(width)]
        if not side or not all(map(_is_whole, cells)):
            return None
        names = [f"column {number + 1}" for number in range(len(cells))]
        return Form(names[len(cells) - side[0] :], False, names, False)
    columns = [name for name, cell in zip(names, cells, strict=True) if _PIXEL.fullmatch(name) and _is_whole(cell)]
    return Form(columns, False, names, True) if len(columns) >= max(LEAST, len(names) - 10) else None


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _is_list(cell: str) -> bool:
    parts = cell.split()
    return len(parts) >= LEAST and all(map(_is_whole, parts))


def _is_side(values: int) -> bool:
    return round(values**0.5) ** 2 == values or round((values / 3) ** 0.5) ** 2 * 3 == values


def holds_pixels(path: Path) -> bool:
    """Whether a table holds pixel values rather than paths; False if unknown."""
    if path.suffix.lower() not in (".csv", ".tsv"):
        return False
    try:
        return _form(path) is not None
    except OSError:
        return False


def _form(path: Path) -> Form | None:
    with path.open("rb") as file:
        return form_of(file.read(HEAD))


def _table(location: str) -> Pixels:
    """The parsed table, cached.

    Raises
    ------
    DatapropsError
        If it cannot be parsed.
    """
    path = Path(location)
    try:
        stat = path.stat()
        return _held.get((location, stat.st_size, stat.st_mtime_ns), lambda: _parsed(path))
    except OSError as error:
        raise DatapropsError(f"{location} cannot be read: {error.strerror}") from None
    except ValueError as error:  # includes pandas' parsing errors
        raise DatapropsError(f"{location} cannot be read as a pixel table: {said(error)}") from None


def _parsed(path: Path) -> Pixels:
    form = _form(path)
    if form is None:
        raise ValueError("its first rows have no pixel columns")
    need(BYTES_OF_CHARACTER * path.stat().st_size)
    columns = set(form.columns)
    kinds = {name: np.float32 if name in columns and not form.in_one else str for name in form.names}
    frame = pd.read_csv(
        path,
        dtype=kinds,
        names=form.names,
        header=0 if form.named else None,
        keep_default_na=False,
        na_values=[""],
        index_col=False,
    )
    others = frame[[name for name in form.names if name not in columns]].astype(object)
    others = others.where(others.notna(), None)
    if not form.in_one:
        return Pixels(_narrow(frame[form.columns].to_numpy(np.float32)), others)
    rows = [np.array(str(cell).split(), np.float32) for cell in frame[form.columns[0]]]
    lengths = pd.Series([len(row) for row in rows])
    values = np.full((len(rows), int(lengths.mode()[0])), np.nan, np.float32)
    for number, row in enumerate(rows):  # a truncated row keeps no values, and becomes a finding
        if len(row) == values.shape[1]:
            values[number] = row
    return Pixels(_narrow(values), others)


def _narrow(values: np.ndarray) -> np.ndarray:
    """Convert to uint8 if all values fit, to int32 if all are integers."""
    if np.isnan(values).any() or (values != np.rint(values)).any():
        return values
    return values.astype(np.uint8 if values.min(initial=0) >= 0 and values.max(initial=0) <= 255 else np.int32)


def _shape(location: str, table: Pixels, options: SourceOptions) -> tuple[int, ...]:
    named = Named(location, table.pixels.shape, table.pixels.dtype)
    return arraysets.shaped(named, options).shape[1:]


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of a pixel table; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If it is not a pixel table, or its rows are not square and no rule sets their shape.
    """
    chosen_rules(options, RULES)
    table = _table(location)
    sides = " x ".join(map(str, _shape(location, table, options)))
    why = f"its rows have {table.pixels.shape[1]:,} pixels each"
    decisions = [Decision("shape", f"images of {sides}", why, "--rule shape=HEIGHTxWIDTH")]
    n = len(table.pixels)
    frame = table.others
    if list(frame.columns) == ["column 1"]:
        frame = frame.rename(columns={"column 1": "label"})
        decisions.append(
            Decision("columns", "the first column is the label", "the table has no header", "adding a header row")
        )
    found = roles(frame, options, location, [], bare=not len(frame.columns))
    width = len(str(max(n - 1, 0)))
    out = image_table([f"{row:0{width}d}" for row in range(n)], found.label, found.split, found.group)
    if not n:
        raise DatapropsError(f"{location} lists no images")
    if found.several:
        out.attrs["several"] = True
    return told(out, {}, (), [*decisions, *found.decisions])


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """Read one image."""
    table = _table(location)
    if not key.isdigit() or int(key) >= len(table.pixels):
        raise OSError(errno.ENOENT, "the table has no such row")
    return arraysets.as_image(table.pixels[int(key)].reshape(_shape(location, table, options)))


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per image that changes when the table does."""
    return filesystems.version_tokens([location] * len(keys), access_of(options))

"""Forms of tables in texts: encoding, separator, comments, bars, and names of columns, which may be missing.

Encodings: UTF-8, UTF-16 (by its byte-order mark or zero bytes), otherwise Windows-1252. The separator is the one of , ; tab and |
that splits the first rows into the same number of columns.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence

from dataprops.imaging.formats import SURE
from dataprops.sources.splitnames import SPLITS
from dataprops.util.names import ending_of

SEPARATORS = ",;\t|"
LAST_BLANK = r"\s+(?=\S+\s*$)"  # separator of lists as in ImageNet: a path and a number
BLANKS = r"\s+"  # separator of lists with more than two values per row
LOOK = 50  # rows used to detect the separator
LEAST_SAME = 5  # rows with the same value that make it no label
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is its prefix
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def has_bars(text: str) -> bool:
    """Whether a text is a table with bars around its rows, as in PH2: ``|| Name || Diagnosis ||``."""
    return text.lstrip().startswith("|") and text.strip().partition("\n")[0].rstrip().endswith("|")


def without_bars(text: str) -> str:
    """Convert a table with bars around its rows to CSV, without other lines; other texts are returned unchanged.

    >>> without_bars("|| Name || A ||\\n|| x ||  ||\\n\\nA: legend\\n")
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


def with_path(text: str) -> str:
    """Add the missing header of the first column to a list such as CelebA's attributes; other texts are returned unchanged.

    >>> with_path("1\\nSmiling Young\\n1.jpg  -1 1\\n")
    'path,Smiling,Young\\n1.jpg,-1,1'
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    lines = lines[1:] if lines and lines[0] == [str(len(lines) - 2)] else lines  # number of rows
    if len(lines) < 2 or len(lines[1]) != len(lines[0]) + 1 or len(lines[1]) < 3 or ending_of(lines[1][0]) not in SURE:
        return text
    if ending_of(lines[0][0]) in SURE:  # a row, and the next one has a name of one word more
        return text
    return "\n".join(",".join(line) for line in (["path", *lines[0]], *lines[1:]))


def without_remarks(text: str) -> tuple[str, str]:
    """Strip the comment lines before a table; also the separator named by Excel's ``sep=;``.

    >>> without_remarks("sep=;\\na;b\\n"), without_remarks("# made by x\\na,b\\n"), without_remarks("#a,b\\n1,2\\n")
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


def _are_boxes(rows: Sequence[Sequence[str]], first: int) -> bool:
    """Whether four consecutive cells of each row, starting at `first`, are a box: left, top, right, bottom."""
    boxes = [[cell.strip() for cell in row[first : first + 4]] for row in rows]
    if not all(len(box) == 4 and all(re.fullmatch(r"\d+(\.\d+)?", cell) for cell in box) for box in boxes):
        return False
    return all(float(box[0]) < float(box[2]) and float(box[1]) < float(box[3]) for box in boxes)


def names_missing(text: str, separator: str) -> list[str] | None:
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
    if with_path(rest) != rest:
        return True
    separator = _separator_or_blanks(text)
    return names_missing(text, separator) is not None or _has_header(text, separator)


def has_header(head: bytes) -> bool:
    """Whether a text starts as a table: names of columns, then rows of as many values, one of them an image.

    >>> has_header(b"id path\\n1 a.png\\n2 b.png\\n"), has_header(b"a.png 0\\nb.png 1\\n")
    (True, False)
    """
    try:
        text = as_text(head)[0]
    except UnicodeDecodeError:  # bytes that only begin like UTF-16
        return False
    return _has_header(text, _separator_or_blanks(text))


def _separator_or_blanks(text: str) -> str:
    separator = separator_of(text)
    return separator if separator in text.partition("\n")[0] else blanks_of(text)


def _has_header(text: str, separator: str) -> bool:
    rows = _first_rows(text, separator)
    images = [[ending_of(cell.strip().replace("\\", "/")) in SURE for cell in row] for row in rows]
    same = len(rows) > 1 and len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    return same and not any(images[0]) and any(map(all, zip(*images[1:], strict=True)))


def blanks_of(text: str) -> str:
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


def begins_with_images(text: str) -> bool:
    """Whether each line after the first has several values between blanks, the first of them an image: ``cells/1.png  1.0  mono``.

    >>> begins_with_images("a/1.png  1.0  mono\\na/2.png  0.0  poly\\n"), begins_with_images("path\\nmy cat.png\\n")
    (True, False)
    """
    rows = _first_rows(text, blanks_of(text))
    return len(rows) > 1 and all(len(row) == len(rows[0]) > 1 and ending_of(row[0]) in SURE for row in rows[1:])


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

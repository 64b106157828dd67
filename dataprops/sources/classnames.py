"""Names for numeric class labels, from a file beside the images.

The file is JSON (``{"1": "pink primrose"}`` or ``{"healthy": 4}``), a table or list with a number and a name per row, a list of names
(in numeric order, from 0 or 1), or a MATLAB file with a cell array of strings.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from dataprops.sources import matlab
from dataprops.sources.account import Decision, decide
from dataprops.sources.companions import Companions
from dataprops.sources.ends import without_zeros
from dataprops.sources.labels import SEPARATOR, joined, words_of
from dataprops.sources.tablefile import read_table
from dataprops.sources.texttable import as_text
from dataprops.util.names import stem_of, word_table

CALLED = frozenset(
    word_table("""
    class classes classnames classname category categories cat label labels names name map mapping meta synset
    synsets index idx
    """)
)
ENDINGS = (".json", ".txt", ".names", ".csv", ".tsv", ".mat")
NAME = frozenset(("name", "class", "label", "category", "species", "common", "disease", "description"))
CODE = re.compile(r"[A-Za-z]{0,2}\d{1,6}")  # 7, n7
MOST_BYTES, MOST_FILES = 2**20, 20
LONGEST = 100  # characters of a name


def with_names(table: pd.DataFrame, beside: Companions) -> None:
    """Replace numeric labels in place by their names, if a file beside the images names all of them."""
    sets = [[] if label is None else str(label).split(SEPARATOR) for label in table["label"]]
    codes = {code for some in sets for code in some}
    if beside.options.as_written or len(codes) < 2 or not all(CODE.fullmatch(code) for code in codes):
        return
    likely = [name for name in beside.ending(*ENDINGS) if CALLED & set(words_of(stem_of(name)))]
    for name in likely[:MOST_FILES]:
        try:
            found = _names_in(beside.data(name, MOST_BYTES), name, {without_zeros(code) for code in codes})
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if found is None:
            continue
        labels = [joined(found[without_zeros(code)] for code in some) if some else None for some in sets]
        table["label"] = pd.Series(labels, dtype=object)
        first = min(codes, key=lambda code: (len(without_zeros(code)), code))
        why = f"{name} has a name for each of {len(codes):,} numbers, {first} is {found[without_zeros(first)]}"
        decide(table, Decision("classes", f"names of {posixpath.basename(name)}", why, "--as-written"))
        return


def _names_in(data: bytes, name: str, codes: set[str]) -> dict[str, str] | None:
    """Number -> name, if the file has a distinct name for every code, else None."""
    for pairs in _pairs(data, name, codes):
        named = {without_zeros(str(code).strip()): str(text).strip() for code, text in pairs}
        texts = [named.get(code, "") for code in codes]
        if (
            codes <= named.keys()
            and len(named) == len(pairs) == len(set(named.values()))
            and all(0 < len(text) <= LONGEST and not text.isdecimal() for text in texts)
        ):
            return named
    return None


def _pairs(data: bytes, name: str, codes: set[str]) -> list[list[tuple[Any, Any]]]:
    """Candidate lists of (number, name) in a file."""
    lower = name.lower()
    if lower.endswith(matlab.SUFFIX):
        lists = [
            value for value in matlab.load(data, MOST_BYTES).values() if isinstance(value, list) and len(value) > 1
        ]
        return [_counted([str(text) for text in some], codes) for some in lists]
    text = as_text(data)[0]
    if lower.endswith(".json"):
        whole = json.loads(text)
        if isinstance(whole, list) and all(isinstance(one, str) for one in whole):
            return [_counted(whole, codes)]
        pairs = list(whole.items()) if isinstance(whole, dict) else []
        named = [(code, text[-1] if isinstance(text, list) and text else text) for code, text in pairs]
        return [
            [pair for pair in named if isinstance(pair[1], str)],  # also ImageNet's {"0": ["n01440764", "tench"]}
            [(code, text) for text, code in pairs if isinstance(code, int | str)],
        ]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    pairs = (re.fullmatch(rf"({CODE.pattern})[:=\s]+([^\s,;|].*)", line) for line in lines)
    turned = (re.fullmatch(r"(\S.*?)[:=\s]+(\d+)", line) for line in lines)
    found = [[(one[1], one[2]) for one in pairs if one], [(one[2], one[1]) for one in turned if one]]
    if "," in text or "\t" in text:
        frame = read_table(data, f"{stem_of(name)}.csv").frame
        columns = [str(column) for column in frame.columns]
        of_codes = [column for column in columns if codes <= {without_zeros(str(one).strip()) for one in frame[column]}]
        texts = [column for column in columns if NAME & set(words_of(column)) and not frame[column].isna().any()]
        texts.sort(key=lambda column: -len(NAME & set(words_of(column))))  # stable: the first of equals
        found += [
            list(dict.fromkeys(zip(frame[code], frame[column], strict=True)))  # one row per image or per class
            for code in of_codes[:1]
            for column in texts
            if column != code
        ]
    return found if lower.endswith((".csv", ".tsv")) else [*found, _counted(lines, codes)]


def _counted(lines: Sequence[str], codes: set[str]) -> list[tuple[Any, Any]]:
    """Number the names from 0 if 0 is a code, else from 1; empty if a code is no number or their count does not fit."""
    if not all(map(str.isdecimal, codes)):
        return []
    numbers = {int(code) for code in codes}
    first = 0 if 0 in numbers else 1
    return [(str(n), line) for n, line in enumerate(lines, first)] if max(numbers) - first == len(lines) - 1 else []

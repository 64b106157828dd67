"""The files beside the images, each read once: as bytes, text, JSON or a table. One that cannot be read counts as empty."""

from __future__ import annotations

import copy
import json
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from dataprops.sources.ends import by_ends, image_of
from dataprops.sources.labels import words_of
from dataprops.sources.table import SourceOptions
from dataprops.sources.tablefile import read_table
from dataprops.sources.texttable import as_text, has_header
from dataprops.util.names import ending_of, stem_of, without_ending

TABLES = (".csv", ".tsv", ".xlsx", ".parquet", ".json", ".jsonl", ".mat")
LISTS = (".txt", ".lst")
MOST_TABLES, MOST_BYTES = 40, 2**27  # tables per folder; bytes per table
LARGEST = 2**29  # bytes of any other file, such as annotations
HEAD = 2**14  # bytes read to test what a text file lists
KEPT = 2**25  # bytes of files cached while the rules are tried
EXAMPLES = frozenset(("submission", "submissions", "sample", "example", "prediction", "predictions"))


class Companions:
    """Files beside the images.

    Parameters
    ----------
    keys, names : sequence of str
        Keys of the images; names of the files.
    read : callable
        read(name) -> bytes. Raises OSError.
    options : SourceOptions
    """

    def __init__(
        self, keys: Sequence[str], names: Sequence[str], read: Callable[[str], bytes], options: SourceOptions
    ) -> None:
        self.keys, self.names, self.options = list(keys), list(names), options
        self.lost = set[str]()  # files that could not be read
        self.columns = dict[str, tuple[str, ...]]()  # of the tables read so far
        self._read, self._kept, self._left = read, dict[str, bytes](), KEPT

    def of(self, keys: Sequence[str]) -> Companions:
        """The same files beside other images."""
        made = copy.copy(self)
        for name in ("known", "stems", "folders", "headed"):
            made.__dict__.pop(name, None)
        made.keys = list(keys)
        return made

    def data(self, name: str, most: int = LARGEST) -> bytes:
        """Content of a file; empty if it cannot be read, or has more bytes than `most`. Several rules read the same files, and each
        read may be a download: `KEPT` bytes are cached.
        """
        data = self._kept.get(name)
        if data is None:
            try:
                data = self._read(name)
            except OSError:
                self.lost.add(name)
                data = b""
            if len(data) <= self._left:
                self._kept[name] = data
                self._left -= len(data)
        return data if len(data) <= most else b""

    def text(self, name: str, most: int = LARGEST) -> str:
        """Text of a file."""
        try:
            return as_text(self.data(name, most))[0]
        except ValueError:
            return ""

    def lines(self, name: str, most: int = LARGEST) -> list[str]:
        """Lines of a file that are not blank, without blanks around them."""
        return [line.strip() for line in self.text(name, most).splitlines() if line.strip()]

    def json(self, name: str, most: int = LARGEST) -> Any:
        """Value of a JSON file; None for other files."""
        try:
            return json.loads(self.text(name, most))
        except (ValueError, RecursionError):
            return None

    def json_lines(self, name: str) -> list[Any]:
        """Values of the lines of a file; empty unless each is one of JSON."""
        try:
            return [json.loads(line) for line in self.text(name).splitlines()]
        except (ValueError, RecursionError):
            return []

    def frame(self, name: str) -> pd.DataFrame:
        """Rows of a table; empty for other files."""
        try:
            if not name.lower().endswith(TABLES) and name not in self.headed:
                return pd.DataFrame()
            called = name if name.lower().endswith(TABLES) else f"{without_ending(name)}.txt"
            data = self.data(name, MOST_BYTES)
            return read_table(data, called).frame if data else pd.DataFrame()
        except (ValueError, KeyError, TypeError, RecursionError):
            return pd.DataFrame()

    @cached_property
    def known(self) -> Mapping[str, str | None]:
        """See `ends.by_ends`."""
        return by_ends(self.keys)

    def image(self, path: str | None) -> str | None:
        """The image that a path refers to; see `ends.image_of`."""
        return None if path is None else image_of(path, self.known)

    @cached_property
    def stems(self) -> set[str]:
        """Names of the images without folder and extension: a file with such a name belongs to one image."""
        return {stem_of(key) for key in self.keys}

    @cached_property
    def folders(self) -> set[str]:
        """Folders that hold images: a text file in one of several is seldom a table or list of the dataset."""
        return {posixpath.dirname(key) for key in self.keys}

    @cached_property
    def tables(self) -> list[str]:
        """Files that are tables by their extensions, except those of one for each image."""
        return few_of_a_kind(self.ending(*TABLES))

    @cached_property
    def headed(self) -> list[str]:
        """Text files that are tables with names of columns, except those of one for each image and those in one of several folders
        of images."""
        within = self.folders - {""} if len(self.folders) > 1 else set()
        likely = [
            name
            for name in few_of_a_kind(self.ending(*LISTS))
            if stem_of(name) not in self.stems and posixpath.dirname(name) not in within
        ]
        return [name for name in likely if has_header(self.data(name, MOST_BYTES)[:HEAD])]

    def alike(
        self, names: Sequence[str], named: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame
    ) -> list[dict[str, pd.DataFrame]]:
        """Tables by name, those with the same columns together: parts of one table, such as splits. `named` names their columns."""
        found: dict[tuple[str, ...], dict[str, pd.DataFrame]] = {}
        for name in names if len(names) <= MOST_TABLES else ():
            if not (frame := self.frame(name)).empty:
                frame = named(frame)
                found.setdefault(tuple(map(str, frame.columns)), {})[name] = frame
        return list(found.values())

    def ending(self, *endings: str) -> list[str]:
        """Names of the files with one of these extensions."""
        return [name for name in self.names if name.lower().endswith(endings)]


def is_example(name: str) -> bool:
    """Whether a table is a template for submissions: ``sample_submission.csv``, but not ``sample_labels.csv``."""
    words = set(words_of(stem_of(name)))
    return bool(EXAMPLES & words) and not {"label", "labels"} & words


def few_of_a_kind(names: Sequence[str]) -> list[str]:
    """File names, except those with an extension so common that they are per-image files."""
    many = {ending for ending, number in Counter(map(ending_of, names)).items() if number > MOST_TABLES}
    return [name for name in names if ending_of(name) not in many]


def with_header_as_row(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A table whose header was its first row, with these names for its columns."""
    row = pd.DataFrame([list(frame.columns)], columns=frame.columns, dtype=object)
    return pd.concat([row, frame], ignore_index=True).set_axis(list(names), axis=1)

"""Tables keyed by ids that occur in image or folder names, used if no table lists the images themselves.

``train/5776db0cec75/8174f49500a5/1.dcm`` belongs to the row ``5776db0cec75_study``, ``jpeg/1.3.6.1.4/1-247.jpg`` to the row whose
path contains the folder ``1.3.6.1.4``, ``00070df0-bbc3_green.png`` to the row ``00070df0-bbc3``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import Decision, decide, withdraw
from dataprops.sources.columns import roles, texts_of
from dataprops.sources.companions import TABLES, Companions, few_of_a_kind, is_example
from dataprops.sources.ends import beginning_of
from dataprops.sources.lists import split_of_list
from dataprops.sources.neighbours import DESCRIBED
from dataprops.sources.resolve import forward_slashes
from dataprops.sources.table import Said, SourceOptions
from dataprops.util.names import stem_of

ID = re.compile(r"(?=.*\d)[\w.-]{4,}")  # a candidate; shorter numbers are ambiguous
# minimum fraction of images matched by all tables, and by one; SHARE is also the minimum fraction of distinct ids among a table's rows
SHARE, LEAST = 0.7, 0.1


def with_ids(table: pd.DataFrame, beside: Companions) -> bool:
    """Fill in labels, splits and patients from a table of ids; return whether there is one."""
    likely = few_of_a_kind([name for name in beside.ending(*TABLES) if not is_example(name)])
    best: dict[str, list[_Told]] = defaultdict(list)  # by label columns, which tables with different columns may share
    for parts in beside.alike(likely):
        if (told := _best(beside.keys, parts, beside.options)) is not None:
            best[told.by].append(told)
    for some in sorted(best.values(), key=lambda some: -sum(len(told.label) for told in some)):
        label = {key: one for told in reversed(some) for key, one in told.label.items()}
        if len(label) >= SHARE * len(beside.keys):
            _fill(table, some)
            return True
    return False


class _Told(NamedTuple):
    """Values by image key from tables with the same columns, the columns that supply them, the reason for the match, and the values of
    the other columns.
    """

    by: str
    label: dict[str, str | None]
    split: dict[str, str | None]
    group: dict[str, str | None]
    several: bool
    why: str
    decisions: list[Decision]
    described: dict[str, dict[str, str | None]]


def _best(keys: Sequence[str], parts: Mapping[str, pd.DataFrame], options: SourceOptions) -> _Told | None:
    """Values from tables with the same columns, matched by the ids that cover most images; None without a match."""
    frame = pd.concat(parts.values(), ignore_index=True)
    splits = [split_of_list(name) for name, own in parts.items() for _ in range(len(own))]
    best = None
    for columns, ids in id_columns(frame):
        for what, called in called_by(keys, ids):
            rows = {key: ids[name] for key, name in zip(keys, called, strict=True) if name in ids}
            if len(rows) < LEAST * len(keys) or len({some[0] for some in rows.values()}) < 3:
                continue
            whose = {key: name for key, name in zip(keys, called, strict=True) if name in ids}
            why = f"values of {columns} in {' and '.join(parts)} are {what} of {len(rows):,} images"
            told = _told(frame, options, rows, whose, splits, why)
            best = told if told is not None and (best is None or len(told.label) > len(best.label)) else best
    return best


def id_columns(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, list[int]]]]:
    """Id columns with distinct values, and the rows of each id; path columns count as one, by the folders in their paths."""
    ways: dict[str, list[int]] = defaultdict(list)
    of_paths: list[str] = []
    for column in map(str, frame.columns):
        texts = texts_of(frame[column])
        told = [text.strip() for text in texts if text is not None]
        if sum("/" in text or "\\" in text for text in told) > SHARE * len(frame):
            of_paths.append(column)
            for row, text in enumerate(texts):
                for part in forward_slashes(text or "").strip("/").split("/")[:-1]:
                    ways[part] += [row] if ways[part][-1:] != [row] else []
            continue
        ends = {found[1] if (found := re.search(r"_([a-z]+)$", text)) else "" for text in told}
        cut = f"_{min(ends)}" if len(ends) == 1 and ends != {""} else ""  # ..._study
        rows: dict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            if text is not None:
                rows[text.strip().removesuffix(cut)].append(row)
        if len(rows) >= SHARE * len(frame) and all(map(ID.fullmatch, rows)):
            yield column, rows
    if of_paths:
        yield ", ".join(of_paths), {part: rows for part, rows in ways.items() if ID.fullmatch(part)}


def called_by(keys: Sequence[str], ids: dict[str, list[int]]) -> Iterator[tuple[str, list[str | None]]]:
    """Candidate ids of each image: the folder at each level, deepest first, then the prefix of its name that is a known id."""
    ways = [key.split("/")[:-1] for key in keys]
    for level in range(max(map(len, ways), default=0) - 1, -1, -1):
        yield "folders", [way[level] if len(way) > level else None for way in ways]
    yield "the beginnings of the names", [beginning_of(stem_of(key), ids) or None for key in keys]


def _told(
    frame: pd.DataFrame,
    options: SourceOptions,
    rows: Mapping[str, list[int]],
    whose: Mapping[str, str | None],
    splits: Sequence[str | None],
    why: str,
) -> _Told | None:
    """Values of the matched rows, if they give each image one label out of few; otherwise None."""
    used: list[str] = []
    try:
        columns = roles(frame, options, why, used)
    except DatapropsError:
        return None
    labels, group = columns.label, columns.group
    some = {key: {labels[row] for row in own} - {None} for key, own in rows.items()}
    if any(len(one) > 1 for one in some.values()) or len(set(labels)) > len(set(whose.values())) / 2:
        return None
    told_group = columns.told["group"]
    own = columns.split if any(columns.split) or len(set(splits)) < 2 else splits
    first = {key: row[0] for key, row in rows.items()}
    groups = {key: group[row] for key, row in first.items()} if any(group) else dict(whose)
    if not any(group):
        told_group = [Decision("groups", f"{len(set(groups.values())):,} ids", why, "--group-pattern")]
        if len(set(groups.values())) == len(groups):
            groups, told_group = dict[str, str | None](), []
    found = {key: labels[row] for key, row in first.items()}
    texts = {str(name): texts_of(frame[name]) for name in [one for one in frame.columns if one not in used][:DESCRIBED]}
    described = {name: {key: values[row] for key, row in first.items()} for name, values in texts.items()}
    split_of_key = {key: own[row] for key, row in first.items()}
    by, told = ", ".join(columns.by), [*columns.told["label"], *told_group]
    return _Told(by, found, split_of_key, groups, columns.several, why, told, described)


def _fill(table: pd.DataFrame, tables: Sequence[_Told]) -> None:
    """Fill in labels and patients, and splits if the folders give none."""
    for column in ("label", "split", "group"):
        told = {key: value for one in tables for key, value in getattr(one, column).items()}
        if any(told.values()) and (column != "split" or table["split"].isna().all()):
            table[column] = pd.Series([told.get(key) for key in table["key"]], dtype=object)
    table.attrs["described"] = Said(tables[0].described)
    if any(one.several for one in tables):
        table.attrs["several"] = True
    withdraw(table, "classes", "groups")
    withdraw(table, "splits", value="none")
    table.attrs["empty_classes"] = []
    for one in tables:
        decide(table, Decision("labels", "of a table of ids", one.why, "--layout"), *one.decisions)

"""Patients and splits from tables beside the images, with or without labels, that list nearly all of them, their slides or studies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from dataprops.sources.account import Decision, decide, withdraw
from dataprops.sources.columns import PATHS, is_patient, known_as, optional, texts_of
from dataprops.sources.companions import Companions
from dataprops.sources.ids import called_by, id_columns
from dataprops.sources.neighbours import NAMED, WHOLE, are_numbers, images_of
from dataprops.sources.parts import rows_by_parts


def with_patients(table: pd.DataFrame, beside: Companions, names: Sequence[str] | None = None) -> None:
    """Fill in missing splits and patients from tables that list nearly all images, with or without labels; only from these `names`."""
    tables = beside.tables if names is None else names
    # a single folder "train" for all images does not override several splits in a table
    missing = [column for column in ("split", "group") if column == "group" or table[column].nunique(dropna=False) == 1]
    if not missing or beside.options.group_pattern is not None or not tables:
        return
    keys = beside.keys
    found: dict[str, dict[str, str | None]] = {column: {} for column in missing}
    told_of: dict[str, list[str]] = {column: [] for column in missing}
    how = ""
    for name in tables:
        frame = beside.frame(name)
        rows, used = _rows_of(frame, beside.known)
        if not rows and not frame.empty:
            by_parts, parts = rows_by_parts(keys, frame)
            used = [name for name in parts if not is_patient(name)]
            rows = {key: some[0] for key, some in by_parts.items()}
            if not rows and table["group"].isna().all():
                rows, how = _rows_by_ids(name, frame, beside)
        for column in missing if rows else ():
            values, _ = optional(frame, column, beside.options, used)
            own = {key: values[row] for key, row in rows.items() if values[row] is not None}
            if own and all(found[column].get(key, value) == value for key, value in own.items()):
                found[column] |= own
                told_of[column].append(f"{used[-1]!r} of {name}")
    for column, values in found.items():
        if len(set(values.values())) < 2 or not _enough(values.keys(), table, column):
            continue
        text = [values.get(key) for key in keys]
        own = table[column].tolist()
        if column == "group" and table[column].notna().any() and not _coarser(text, own):
            if not any(one is None and value is not None for one, value in zip(own, text, strict=True)):
                continue
            if any(None not in pair and pair[0] != pair[1] for pair in zip(own, text, strict=True)):
                continue
            text = [value if one is None else one for one, value in zip(own, text, strict=True)]
        table[column] = pd.Series(text, dtype=object)
        withdraw(table, f"{column}s", value="none")
        why = how or f"it names {len(values):,} of {len(keys):,} images"
        told = Decision(f"{column}s", ", ".join(told_of[column]), why, f"--{column}-column")
        decide(table, told)


def _rows_by_ids(name: str, frame: pd.DataFrame, beside: Companions) -> tuple[dict[str, int], str]:
    """Row by image of a table of slides or studies whose ids begin the names, or are the folders, of nearly all images; and how."""
    used: list[str] = []
    optional(frame, "group", beside.options, used)  # the patient is what is asked for
    for column, ids in id_columns(frame.drop(columns=used)) if used else ():
        for what, called in called_by(beside.keys, ids):
            rows = {key: ids[one][0] for key, one in zip(beside.keys, called, strict=True) if one in ids}
            if len(rows) >= WHOLE * len(beside.keys):
                return rows, f"values of {column} in {name} are {what} of nearly all images"
    return {}, ""


def _enough(named: Collection[str], table: pd.DataFrame, column: str) -> bool:
    """Whether tables list enough images: nearly all. For patients, nearly all labelled images or nearly all of a split with half of
    the images suffice, as a test set may have neither label nor patient.
    """
    parts = [table]
    if column == "group":
        parts += [table[table["label"].notna()]]
        parts += [part for _, part in table.groupby("split") if len(part) >= len(table) / 2]
    return any(len(part) and part["key"].isin(named).mean() >= WHOLE for part in parts)


def _coarser(patients: Sequence[str | None], folders: Sequence[str | None]) -> bool:
    """Whether each patient of a table spans several folders that were taken for patients: ``patient_004_node_1``, ``..._node_4``."""
    pairs = {(folder, patient) for folder, patient in zip(folders, patients, strict=True) if folder is not None}
    return len({folder for folder, _ in pairs}) == len(pairs) > len(set(patients) - {None}) > 1


def _rows_of(frame: pd.DataFrame, known: Mapping[str, str | None]) -> tuple[dict[str, int], list[str]]:
    """Row by image, and the column that names the images; empty for an unrelated table."""
    columns = [str(column) for column in frame.columns]
    named = known_as(columns, PATHS)
    for column in dict.fromkeys((*named, *columns)):
        paths = texts_of(frame[column])
        if column not in named and are_numbers(paths):
            continue  # unrelated numbers
        at = images_of(paths, known)
        rows = {key: row for row, key in reversed(list(enumerate(at))) if key is not None}
        if sum(key is not None for key in at) >= NAMED * len(at):
            return rows, [column]
    return {}, []

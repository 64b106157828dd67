"""RSNA Intracranial Hemorrhage Detection: CT slices; per slice, the label table has a row for "any" and one per hemorrhage type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.layout import Image, base_of, have, key_of, listing, missing, need, read_table

TREE = """\
    PATH/stage_2_train.csv            rows ID_012345678_any,0 ...
    PATH/stage_2_train/ID_012345678.dcm ...    (or, prepared, PATH/stage_2_train_png/ID_012345678.png)
    (or PATH/rsna-intracranial-hemorrhage-detection/...)
"""
RULES = {
    "bleeding": ("any", "epidural", "intraparenchymal", "intraventricular", "subarachnoid", "subdural"),
}
FOLDERS = ("rsna-intracranial-hemorrhage-detection",)
TABLE = "stage_2_train.csv"
PLACES = (("stage_2_train", ".dcm"), ("stage_2_train_png", ".png"))
LABELS = {"0": "negative", "1": "positive"}


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the slices; see `paper.Reader`. Patients are recorded only in the DICOM headers, not in the layout."""
    base = base_of(root, FOLDERS, (TABLE,))
    file = need("rsna", TREE, base, TABLE)
    place = next(((name, ending) for name, ending in PLACES if have(base, name) is not None), None)
    if place is None:
        raise missing("rsna", base / PLACES[0][0], TREE)
    table = read_table(file, ("ID", "Label"))
    ending = f"_{rules['bleeding']}"
    rows = table[table["ID"].str.endswith(ending)].drop_duplicates()  # the published table has repeated rows
    if rows.empty:
        raise DatapropsError(f"{file} has no row whose ID ends in {ending}")
    twice = rows["ID"].duplicated()
    if twice.any():
        raise DatapropsError(f"{file} gives {rows['ID'][twice].iloc[0]!r} two labels")
    wrong = ~rows["Label"].isin(LABELS)
    if wrong.any():
        row = rows.index[wrong][0]
        raise DatapropsError(f"{file}, row {row + 1}, column 'Label': {rows['Label'][row]!r} is neither 0 nor 1")
    folder = key_of(base / place[0], root)
    names = rows["ID"].str.slice(0, -len(ending))
    return listing(
        Image(f"{folder}/{name}{place[1]}", LABELS[label]) for name, label in zip(names, rows["Label"], strict=True)
    )

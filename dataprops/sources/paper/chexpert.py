"""CheXpert: chest X-rays with 14 observations, each positive, negative, uncertain or not mentioned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.layout import Image, base_of, first_group, key_of, listing, need, read_table

TREE = """\
    PATH/train.csv    PATH/train/patient00001/study1/view1_frontal.jpg ...
    PATH/valid.csv    PATH/valid/patient64541/study1/view1_frontal.jpg ...    (may be absent)
    (or PATH/CheXpert-v1.0/..., PATH/CheXpert-v1.0-small/...)
"""
# defaults as in the paper: pleural effusion; uncertain and empty count as negative
RULES = {
    "finding": (),
    "uncertain": ("negative", "positive", "drop"),
    "empty": ("negative", "drop"),
    "view": ("all", "frontal", "lateral"),
}
FINDING = "Pleural Effusion"
FOLDERS = ("CheXpert-v1.0", "CheXpert-v1.0-small")
TABLES = (("train", "train.csv"), ("val", "valid.csv"))
PATIENT = re.compile(r"(?:^|/)(patient\d+)/")
VIEW = "Frontal/Lateral"
MEANINGS = {1.0: "positive", 0.0: "negative", -1.0: "uncertain"}


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images; see `paper.Reader`."""
    finding = rules["finding"].strip() or FINDING
    base = base_of(root, FOLDERS, ("train.csv",))
    need("chexpert", TREE, base, "train.csv")
    need("chexpert", TREE, base, "train")
    images = []
    for split, name in TABLES:
        file = base / name
        if not file.is_file():
            continue
        table = read_table(file, ("Path", finding, VIEW))
        before = key_of(base, root)
        before = "" if before == "." else f"{before}/"
        columns = (table["Path"], table[finding], table[VIEW])
        for row, (path, value, view) in enumerate(zip(*columns, strict=True)):
            if rules["view"] not in ("all", view.strip().lower()):
                continue
            label = _label(value, rules, file, row, finding)
            if label is None:
                continue
            # "CheXpert-v1.0-small/train/patient00001/...": the first folder is the dataset's root, which may be renamed
            inside = path[path.find("/") + 1 :]
            images.append(Image(before + inside, label, split, first_group(PATIENT, inside)))
    return listing(images)


def _label(value: str, rules: Mapping[str, str], file: Path, row: int, finding: str) -> str | None:
    """Positive, negative, or None (left out)."""
    text = value.strip()
    try:
        meaning = MEANINGS[float(text)] if text else "empty"
    except (ValueError, KeyError):
        raise DatapropsError(f"{file}, row {row + 1}, column {finding!r}: {value!r} is not 1, 0, -1 or empty") from None
    meaning = rules.get(meaning, meaning)
    return None if meaning == "drop" else meaning

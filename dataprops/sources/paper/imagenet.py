"""ImageNet (ILSVRC): class folders named by WordNet ids, or Kaggle's layout, with all validation images in one folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.folder import EXTENSIONS
from dataprops.sources.paper.layout import (
    Image,
    base_of,
    folders_in,
    images_in,
    key_of,
    listing,
    missing,
    need,
    read_table,
)
from dataprops.util.names import without_ending

TREE = """\
    PATH/train/n01440764/*.JPEG    PATH/val/n01440764/*.JPEG    (val may be absent; or PATH/n01440764/*.JPEG alone)
    or, as on Kaggle,
    PATH/ILSVRC/Data/CLS-LOC/train/n01440764/*.JPEG
    PATH/ILSVRC/Data/CLS-LOC/val/*.JPEG    PATH/LOC_val_solution.csv    (may both be absent)
"""
RULES: dict[str, tuple[str, ...]] = {}
WNID = re.compile(r"n\d{8}")
KAGGLE = "ILSVRC/Data/CLS-LOC"
SOLUTION = "LOC_val_solution.csv"


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images; see `paper.Reader`."""
    base = base_of(root, (KAGGLE,), ("train", "val", "n[0-9]*"))
    if _wnids(base):
        places: list[tuple[str | None, Path]] = [(None, base)]
    else:
        need("imagenet", TREE, base, "train", "val")
        places = [(split, base / split) for split in ("train", "val") if (base / split).is_dir()]
    images: list[Image] = []
    ignored: list[str] = []
    empty: list[str] = []
    for split, folder in places:
        classes = _wnids(folder)
        if not classes and split == "val":
            found, others = _flat_val(root, folder)
            images += found
            ignored += others
            continue
        if not classes:
            raise missing("imagenet", folder / "n01440764", TREE)
        for inner in classes:
            place = key_of(inner, root)
            names, others = images_in(inner, EXTENSIONS)
            images += [Image(f"{place}/{name}", inner.name, split) for name in names]
            ignored += [f"{place}/{name}" for name in others]
            if not names:
                empty.append(place)
    return listing(images, ignored, empty)


def _wnids(folder: Path) -> list[Path]:
    return [inner for inner in folders_in(folder) if WNID.fullmatch(inner.name)] if folder.is_dir() else []


def _flat_val(root: Path, folder: Path) -> tuple[list[Image], list[str]]:
    """Validation images in one folder, with classes from the table: "ILSVRC2012_val_00000001", "n01751748 x1 y1 x2 y2 ..."."""
    table_file = need("imagenet", TREE, root, SOLUTION, f"../{SOLUTION}", f"../../../{SOLUTION}")
    table = read_table(table_file, ("ImageId", "PredictionString"))
    classes = {}
    for row, (image, text) in enumerate(zip(table["ImageId"], table["PredictionString"], strict=True)):
        name = text.split(" ", 1)[0]
        if not WNID.fullmatch(name):
            raise DatapropsError(
                f"{table_file}, row {row + 1}, column 'PredictionString': {text!r} does not start with a class"
            )
        classes[image] = name
    place = key_of(folder, root)
    names, ignored = images_in(folder, EXTENSIONS)
    images = [Image(f"{place}/{name}", classes.get(without_ending(name)), "val") for name in names]
    return images, [f"{place}/{name}" for name in ignored]

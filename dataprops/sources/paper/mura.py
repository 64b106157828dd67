"""MURA: X-rays of the upper limb; a study's folder name says whether it is normal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.folder import EXTENSIONS
from dataprops.sources.paper.layout import Image, base_of, folders_in, images_in, key_of, listing, need

TREE = """\
    PATH/train/XR_ELBOW/patient00011/study1_negative/image1.png ...
    PATH/valid/XR_ELBOW/patient11186/study1_positive/image1.png ...    (may be absent)
    (or PATH/MURA-v1.1/...)
"""
RULES = {
    "part": ("all", "elbow", "finger", "forearm", "hand", "humerus", "shoulder", "wrist"),
}
SPLITS = {"train": "train", "valid": "val"}
PATIENT = re.compile(r"patient\d+")
STUDY = re.compile(r"study\d+_(positive|negative)")


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images; see `paper.Reader`."""
    base = base_of(root, ("MURA-v1.1",), ("train",))
    need("mura", TREE, base, "train")
    images: list[Image] = []
    ignored: list[str] = []
    for name, split in SPLITS.items():
        if not (base / name).is_dir():
            continue
        for part in folders_in(base / name):
            if rules["part"] != "all" and part.name.lower() != f"xr_{rules['part']}":
                continue
            place = key_of(part, root)
            names, others = images_in(part, EXTENSIONS)
            ignored += [f"{place}/{other}" for other in others]
            for inside in names:
                folders = inside.split("/")
                study = STUDY.fullmatch(folders[-2]) if len(folders) > 1 else None
                if study is None:
                    ignored.append(f"{place}/{inside}")
                    continue
                # patient numbers are the same across body parts
                patient = next((folder for folder in folders if PATIENT.fullmatch(folder)), None)
                images.append(Image(f"{place}/{inside}", study[1], split, patient))
    if not images:
        part = "XR_ELBOW" if rules["part"] == "all" else f"XR_{rules['part'].upper()}"
        raise DatapropsError(
            f"mura: there is no {base / 'train' / part}/patient*/study*_positive or _negative with images; expected:\n\n"
            f"{TREE.rstrip()}\n\n(see dataprops/sources/README.md)"
        )
    return listing(images, ignored)

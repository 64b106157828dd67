"""OAI: knee X-rays, one knee each, in folders by Kellgren-Lawrence grade; grades 2 to 4 are osteoarthritis."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.layout import class_folders, images_of_folders, listing, missing

TREE = """\
    PATH/0/9003175L.png ... PATH/4/...    or KL0 ... KL4, or the same in PATH/train, PATH/val, PATH/test
"""
RULES = {"label": ("osteoarthritis", "grade")}
GRADES = {f"{before}{grade}": str(grade) for grade in range(5) for before in ("", "kl", "kl_", "kl-", "kl ")}
LEAST_GRADE = 2
# the 7-digit participant id; the side follows
PATIENT = re.compile(r"(?<!\d)(9\d{6})(?!\d)")


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the knees; see `paper.Reader`."""
    folders = class_folders(root, GRADES)
    if not folders:
        raise missing("oai", root / "0", TREE)
    grades = {grade for _, grade, _ in folders}
    if rules["label"] == "osteoarthritis" and max(map(int, grades)) < LEAST_GRADE:
        raise DatapropsError(
            f"oai: {root} has only folders for the grades {', '.join(sorted(grades))}, none of which is osteoarthritis:"
            " use --rule label=grade (also for folders 0 and 1 that mean without and with)"
        )
    found, ignored, empty = images_of_folders(root, folders, PATIENT)
    images = [image._replace(label=_label(grade, rules["label"])) for image, grade in found]
    return listing(images, ignored, empty)


def _label(grade: str, rule: str) -> str:
    if rule == "grade":
        return grade
    return "positive" if int(grade) >= LEAST_GRADE else "negative"

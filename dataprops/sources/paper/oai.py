"""OAI: knee X-rays, one knee each, in folders by Kellgren-Lawrence grade; grades 2 to 4 are osteoarthritis."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.layout import in_class_folders, listing, missing

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
    knees = in_class_folders(root, GRADES, PATIENT)
    if knees is None:
        raise missing("oai", root / "0", TREE)
    found, ignored, empty = knees
    grades = {str(image.label) for image in found}
    if rules["label"] == "osteoarthritis" and max(map(int, grades), default=LEAST_GRADE) < LEAST_GRADE:
        raise DatapropsError(
            f"oai: {root} has only folders for the grades {', '.join(sorted(grades))}, none of which is osteoarthritis:"
            " use --rule label=grade (also for folders 0 and 1 that mean without and with)"
        )
    images = [image._replace(label=_label(str(image.label), rules["label"])) for image in found]
    return listing(images, ignored, empty)


def _label(grade: str, rule: str) -> str:
    if rule == "grade":
        return grade
    return "positive" if int(grade) >= LEAST_GRADE else "negative"

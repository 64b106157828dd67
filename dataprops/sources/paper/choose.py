"""Selection of the images to audit: splits, classes, and a class-balanced subset, as in the paper.

A draw takes the images with the smallest BLAKE2b hash of seed and path. So a larger subset contains every smaller one,
images added to the dataset replace others only at random, and the choice of classes does not affect which images of a
class are drawn.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.labels import label_values
from dataprops.sources.paper.layout import rule_number

log = logging.getLogger(__name__)

# rules shared by all datasets of the paper; see `table.chosen_rules`
RULES: dict[str, tuple[str, ...]] = {"split": (), "classes": (), "subset": (), "subset-seed": ()}
RANDOM_CLASSES = 2


def rank(seed: int, text: str) -> bytes:
    """Sort key of a path or class in a draw with this seed."""
    return hashlib.blake2b(f"{seed}\n".encode() + os.fsencode(text), digest_size=16).digest()


def choose(table: pd.DataFrame, rules: Mapping[str, str]) -> pd.DataFrame:
    """Rows of a listing selected by the rules; ``attrs["chosen"]`` describes the selection.

    Corrupt multi-image files (``attrs["damaged"]``) are kept for any choice of classes, because their content is unknown.
    Other unlabelled images are dropped if classes or a subset are chosen.

    Raises
    ------
    DatapropsError
        If a split, class or number is invalid, or a class has too few images.
    """
    seed = rule_number(rules, "subset-seed", 0)
    attrs = dict(table.attrs)
    damaged = table["key"].isin(attrs.get("damaged", frozenset()))
    keep = pd.Series(True, index=table.index)
    if wanted := _names(rules["split"]):
        _known(wanted, sorted(set(table["split"].dropna())), "split")
        keep &= table["split"].isin(wanted)
        damaged &= keep
    labels = table["label"].where(keep & ~damaged)
    classes = label_values([None if pd.isna(label) else label for label in labels], "classes")[2]
    if wanted := _names(rules["classes"]):
        if wanted == ["random"]:
            if len(classes) < RANDOM_CLASSES:
                raise DatapropsError(f"the rule 'classes' is 'random', but there is only one class: {classes}")
            drawn = sorted(classes, key=lambda name: rank(seed, name))[:RANDOM_CLASSES]
            wanted = [name for name in classes if name in drawn]
        _known(wanted, classes, "classes")
        classes = wanted
        keep &= table["label"].isin(classes)
    if rules["subset"].strip():
        count = rule_number(rules, "subset", 0, least=max(1, len(classes)))
        keep &= _balanced(table, labels.where(keep), classes, count, seed)
    chosen = table[keep | damaged].reset_index(drop=True)
    asked = {name: rules[name] for name in RULES if rules[name]}
    attrs["chosen"] = {**asked, "images": len(chosen), "of": len(table), "labels": tuple(classes)}
    chosen.attrs = attrs
    if asked:
        log.info(
            "%d of %d images by the rules %s; classes: %s",
            len(chosen),
            len(table),
            ", ".join(f"{name}={value}" for name, value in asked.items()),
            ", ".join(classes),
        )
    return chosen


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _known(wanted: list[str], known: list[str], rule: str) -> None:
    for name in wanted:
        if name not in known:
            raise DatapropsError(f"the rule {rule!r} asks for {name!r}; there are {', '.join(known) or 'none'}")


def _balanced(table: pd.DataFrame, labels: pd.Series, classes: list[str], count: int, seed: int) -> pd.Series:
    """Mask of the rows in a class-balanced subset of `count`; the first classes get the remainder."""
    if not classes:
        raise DatapropsError("the rule 'subset' needs labels, and no image has one")
    keep = pd.Series(False, index=table.index)
    paths = table["path"].tolist()
    for place, name in enumerate(classes):
        share = count // len(classes) + (place < count % len(classes))
        rows = table.index[labels == name]
        if len(rows) < share:
            raise DatapropsError(
                f"the rule 'subset' asks for {count} images, {share} of the class {name!r}, which has {len(rows)}:"
                f" ask for {len(classes) * min(int((labels == c).sum()) for c in classes)} at most"
            )
        order = sorted(rows, key=lambda row: rank(seed, paths[row]))
        keep[order[:share]] = True
    return keep

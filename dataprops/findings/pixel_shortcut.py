"""Pixel cues other than the content that predict the class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row
from dataprops.util.numbers import percent

if TYPE_CHECKING:
    from dataprops.findings.pixels_tell import Told

PROPERTY_SCORE = 0.6  # chance (0) to perfect (1), for a single property
REGION_SCORE = 0.6  # the same for a single cell at the edge
OF_WHOLE = 0.75  # minimum score of an edge cell, relative to the whole image
EXAMPLES = 12
SIZES = ("width", "height", "number of pixels")  # of the original files
OF_SIZE = ("sharpness", "noise", "compression", "clipped range", "tone curve (gamma)")  # depend on resolution
PLACE = re.compile(r"\(row (\d), column (\d) of an 8 x 8 grid\)")
BORDER, SIDES, LEAST_SIDES = (
    "border",
    frozenset(("top", "bottom", "left", "right")),
    3,
)  # marks on this many sides are a border
GRID = 8  # grid cells per side


def whole_score(context: Context) -> float | None:
    """Chance-corrected balanced accuracy of the reference classifier on whole images, 0 (chance) to 1; None without classifier."""
    said = None if context.opinions is None else context.opinions.asked
    if said is None or said.probe is None:
        return None
    found = said.probe.argmax(1)
    hit = np.mean([(found[said.y == c] == c).mean() for c in np.unique(said.y)])
    chance = 1 / len(said.classes)
    return max(0.0, float((hit - chance) / (1 - chance)))


def size_score(context: Context) -> float:
    """How well file size in pixels predicts the class; reported by the finding `shortcut`, so its consequences are not repeated
    here."""
    table = context.shortcuts
    return (
        0.0
        if table is None
        else max((float(v) for v in table.loc[table["property"].isin(SIZES), "score"]), default=0.0)
    )


def shortcuts(context: Context) -> list[Told]:
    """Marks, plain backgrounds, predictive properties, and edge cells that predict the class nearly as well as the whole image.

    At most one cell per location. Properties that depend on image size are omitted if size predicts the class at least as well.
    """
    from dataprops.findings.pixels_tell import at_edge  # deferred: imports torch

    whole = whole_score(context)
    out, places = [], set()
    by_size = size_score(context)
    for told in context.told or ():
        if told.name in OF_SIZE and by_size >= told.score:
            continue
        if told.kind in ("mark", "ground") or (told.kind == "property" and told.score >= PROPERTY_SCORE):
            out.append(told)
        elif (
            told.kind == "region" and told.score >= max(REGION_SCORE, OF_WHOLE * (whole or 0.0)) and at_edge(*told.cell)
        ):
            if told.name not in places:
                out.append(told)
            places.add(told.name)
    out = _framed(out)
    order = {"mark": 0, "ground": 1, "property": 2, "region": 3}
    marks = max((told.score for told in out if told.kind == "mark"), default=0.0)
    # if the border predicts better than any mark, the marks at the edge are part of it
    return sorted(out, key=lambda t: (-1 if t.name == BORDER and t.score >= marks else order[t.kind], -t.score))


def _framed(found: list[Told]) -> list[Told]:
    """Replace a class's marks on all sides of the image by its border, of which they are part."""
    if not any(told.name == BORDER for told in found):
        return found
    for label in dict.fromkeys(told.label for told in found if told.kind == "mark"):
        around = [told for told in found if told.kind == "mark" and told.label == label]
        sides = {word for told in around for word in told.name.split() if word in SIDES}
        if len(around) >= LEAST_SIDES and len(sides) >= LEAST_SIDES:
            found = [
                told._replace(label=label, images=around[0].images) if told.name == BORDER else told
                for told in found
                if told not in around
            ]
    return found


def find(context: Context) -> Iterator[Row]:
    """One row per cue; its value is its score, or for a mark or background the fraction of the class that shows it."""
    whole = whole_score(context)
    beside = "" if whole is None else f" (the whole picture: {percent(whole)})"
    for told in shortcuts(context):
        score = percent(told.score)
        place = f"(row {told.cell[0] + 1}, column {told.cell[1] + 1} of an 8 x 8 grid)"
        if told.kind in ("mark", "ground"):
            shown = f"predicts the class: {score} of class {told.label}, and almost no other image, show"
            yield (
                told.images,
                told.score,
                f"A mark in the {told.name} {shown} the same mark there {place}."
                if told.kind == "mark"
                else f"A plain {_shade(told.level)} background {shown} it in the {told.name} and beyond {place}.",
            )
            continue
        where = f"The {told.name}" if told.kind == "property" else f"The {told.name} of the picture"
        cell = "" if told.kind == "property" else f" {place}"
        own = f"; class {told.label} has one of its own" if told.label else ""
        yield (
            told.images,
            told.score,
            f"{where} alone{cell} closes {score} of the gap between chance and perfect{beside}{own}.",
        )


def cell_of(detail: str) -> tuple[int, int] | None:
    """Row and column of the cell named in a finding's sentence, from 0; None if there is none.

    >>> cell_of("The top edge of the picture alone (row 1, column 4 of an 8 x 8 grid) closes 70 % of the gap ...")
    (0, 3)
    """
    found = PLACE.search(detail)
    return None if found is None else (int(found[1]) - 1, int(found[2]) - 1)


def is_mark(detail: str) -> bool:
    """Whether a finding's sentence is about a mark or plain background: all its images show it."""
    return detail.startswith(("A mark in the ", "A plain "))


def _shade(level: int) -> str:
    """Description of a grey level.

    >>> _shade(252), _shade(3), _shade(90)
    ('white', 'black', 'grey (level 90 of 255)')
    """
    return "white" if level >= 240 else "black" if level <= 15 else f"grey (level {level} of 255)"


def measures(context: Context) -> dict[str, float]:
    """pixel_shortcuts: number of cues; pixel_property_score, edge_region_score: the best of each; and the map of regions:
    region_ROW_COLUMN_score on an 8 x 8 grid, and mark_ROW_COLUMN_share where part of a class shows a mark."""
    from dataprops.findings.pixels_tell import at_edge

    if context.told is None:
        return {}
    out = {"pixel_shortcuts": float(len(shortcuts(context)))}
    scores = [told.score for told in context.told if told.kind == "property"]
    edges = [told.score for told in context.told if told.kind == "region" and at_edge(*told.cell)]
    if scores:
        out["pixel_property_score"] = max(scores)
    if edges:
        out["edge_region_score"] = max(edges)
    out |= {region_measure(*told.cell): told.score for told in context.told if told.kind == "region"}
    out |= {mark_measure(*told.cell): told.score for told in context.told if told.kind == "mark"}
    return out


def region_measure(row: int, column: int) -> str:
    """Name of the measure of a map cell: how well it alone predicts the class, from chance (0) to perfect (1).

    >>> region_measure(0, 7)
    'region_1_8_score'
    """
    return f"region_{row + 1}_{column + 1}_score"


def mark_measure(row: int, column: int) -> str:
    """Name of the measure of a mark in a cell: fraction of its class that shows it."""
    return f"mark_{row + 1}_{column + 1}_share"


def region_map(numbers: Mapping[str, float], grid: int = GRID) -> dict[str, list[list[float | None]]] | None:
    """The map of a run from its measures: `score` and `mark` of each cell, row by row; None if not computed."""
    if region_measure(0, 0) not in numbers:
        return None
    cells = [[(row, column) for column in range(grid)] for row in range(grid)]
    return {
        what: [[numbers.get(name(*cell)) for cell in line] for line in cells]
        for what, name in (("score", region_measure), ("mark", mark_measure))
    }


FINDING = Finding(
    name="pixel_shortcut",
    severity="warning",
    title="Something other than the content predicts the class",
    explanation=(
        "A mark, a border, the brightness or the compression of the pictures differs between the classes. A network may learn that"
        " instead of what the picture shows, and fail on other data. Remove the difference between the classes, or crop it away."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="pixel_shortcut",
            measure="pixel_shortcuts",
            max=0,
            severity="warning",
            title="nothing but the content predicts the class",
            sentence="{subject}: a network may learn that instead of what the image shows.",
            subject="Something other than the content (marks, borders, brightness, compression) predicts the class",
            reason=(
                "one overall property or one cell at the edge closes six tenths of the gap between chance and perfect, or only one"
                " class has a mark"
            ),
        ),
    ),
    shown="groups",
)

"""Pixel cues other than the content that predict the class: global properties, single regions, and marks of one class.

- *Properties* of the originals (brightness, contrast, sharpness, noise, compression, tone curve, colour) and of composition (border,
  place of the body): a shallow tree on each, cross-validated with groups kept together.
- *Regions*: the same on mean, spread and maximum of each cell of an 8 x 8 grid. Compared with the whole image this is a map: an edge
  cell that nearly predicts the class is suspect, one in the middle is probably content.
- *Marks*: an edge cell in which part of a class, and almost no other image, shows the same pattern: a letter, a ruler, a logo. A tree
  misses a mark shown by a fifth of a class. Thin marks on any background are found by `strokes`, flat ones by `boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.findings import strokes
from dataprops.findings.boxes import Box, boxes
from dataprops.findings.pixel_shortcut import EXAMPLES, GRID, PROPERTY_SCORE, REGION_SCORE
from dataprops.findings.rows import in_turn
from dataprops.findings.shortcut import FOLDS, class_folds
from dataprops.findings.thumbnails import Blocks, least, thumbnails
from dataprops.findings.trees import predictions
from dataprops.util.chance import as_many

# not content; brightness only if it separates one class by `APART` (at most 0.68 in nine clean datasets)
TECHNICAL = ("border", "brightness", "clipped range", "compression", "noise", "tone curve (gamma)")
APART = 0.8  # minimum score of one class against the rest
MOST = 3000  # images used
LEAST = 40  # with fewer images, only marks are searched for
MARKED, MARKED_IMAGES, MARK_RATIO = 0.1, 8, 10.0  # fraction of the class; images; ratio to the fraction of the rest
MARKED_PATIENTS = 5  # minimum patients among its bearers, if patients are known
MARK_LEVEL = 0.05  # significance level of the pattern's distribution over classes, corrected for all tests
EVEN = 18.0  # maximum standard deviation over the bearers of a mark's brightest (or darkest) level
UNLIKE = 0.9  # fraction of other images that do not reach that level in the same cell
EVEN_PIXELS, UNLIKE_PIXELS = 24.0, 0.94  # the same for single pixels where the pattern is strongest
SEEDS = 60  # images of each class used as templates
SAME_PATTERN = 0.7  # correlation of two cells after removal of smooth variation
SAME_AS_MEAN = 0.75  # correlation of a cell with the mean of similar cells
REFINED = 4  # templates refined per class and cell
CLEAR = 12.0  # minimum contrast of a pattern, grey levels (RMS)
LEAST_STROKES = 16  # minimum side in pixels; below it letters have no strokes
FRAME = 0.05  # width of a border, relative to the side
LEAST_FRAMED = round(1 / FRAME)  # minimum side in pixels; in smaller images the outermost pixels are content
COLUMNS = ["kind", "name", "score", "class", "row", "column", "images"]

PROPERTIES = {
    "brightness": ("original_mean", "original_quarter", "original_low", "original_high", "original_white"),
    "contrast": ("original_spread",),
    "sharpness": ("original_focus",),
    "noise": ("original_noise",),
    "compression": ("original_blockiness", "original_quantised"),
    "clipped range": ("original_clipped",),
    "tone curve (gamma)": ("original_holes", "original_spikes"),
    "colour": ("original_colour",),
}


class Told(NamedTuple):
    """A cue that predicts the class.

    Attributes
    ----------
    kind : str
        "property", "region", "mark", or "ground": a plain background at one location.
    name : str
        Name of the property, or location of the region.
    score : float
        Balanced accuracy under cross-validation, scaled from chance (0) to perfect (1); for a mark or ground, the fraction of its
        class that shows it.
    label : str
        Class of a mark or ground, else "".
    cell : tuple of int
        Row and column of a region; (-1, -1) for a property.
    images : tuple of int
        Examples (ids): images that show the mark or ground; otherwise typical images of each class.
    level : int
        Grey level of a ground, else -1.
    """

    kind: str
    name: str
    score: float
    label: str = ""
    cell: tuple[int, int] = (-1, -1)
    images: tuple[int, ...] = ()
    level: int = -1


def place_name(row: int, column: int, grid: int = GRID) -> str:
    """Description of a cell's location."""
    down = "top" if row < 2 else "bottom" if row >= grid - 2 else ""
    across = "left" if column < 2 else "right" if column >= grid - 2 else ""
    if down and across:
        return f"{down} {across} corner"
    if down or across:
        return f"{down or across} edge"
    return "middle"


def at_edge(row: int, column: int, grid: int = GRID) -> bool:
    """Whether a cell is on the edge of the grid."""
    return row in (0, grid - 1) or column in (0, grid - 1)


def told_by_pixels(images: pd.DataFrame, blocks: Blocks, *, seed: int = 0) -> list[Told]:
    """Cues of a dataset with classes: all properties and regions with their scores, and the marks; best first within each kind."""
    used = images[images["pixels"].notna() & images["y"].notna()]
    sizes = used["y"].value_counts()
    used = used[used["y"].isin(sizes.index[sizes >= 2 * FOLDS])]
    if used["y"].nunique() < 2:
        return []
    used = _sampled(used, np.random.default_rng([seed, 7]))
    ids = used["image"].to_numpy(np.int64)
    _, y = np.unique(used["y"].to_numpy(float), return_inverse=True)
    names = [str(name) for name in used.drop_duplicates("y").sort_values("y")["label"]]
    group = pd.factorize(used["group"].where(used["group"].notna(), used["image"].map(lambda i: f"\0{i}")))[0]
    marks = _thin(blocks, y, names, ids, seed=seed, group=group)
    if len(used) < LEAST:
        return marks
    folds = class_folds(y, used["group"], seed)
    thumbs = thumbnails(blocks, ids).astype(np.float32)
    out = []
    for name, values in _properties(used, thumbs).items():
        score = _score(name, values, y, folds)
        out.append(Told("property", name, score, images=typical(values, y, ids, score)))
    if thumbs.shape[1] >= GRID:
        cells = _cells(thumbs)
        for row in range(GRID):
            for column in range(GRID):
                values = _cell_values(cells[:, row, column])
                score = score_of(values, y, folds)
                shown = typical(values, y, ids, score)
                out.append(Told("region", place_name(row, column), score, "", (row, column), shown))
        marks = _joined(marks, _marks(cells, y, names, ids, seed=seed, group=group))
        marks = _joined(marks, _as_told(boxes(thumbs, y, group), names, ids))
    out += marks
    return sorted(out, key=lambda told: (told.kind, -told.score))


def _sampled(used: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """At most `MOST` images, of so few classes that they have `2 * FOLDS` images each in the mean."""
    classes = np.unique(used["y"])
    if len(classes) > MOST // (2 * FOLDS):
        used = used[used["y"].isin(rng.choice(classes, MOST // (2 * FOLDS), replace=False))]
    return used if len(used) <= MOST else used.iloc[np.sort(rng.choice(len(used), MOST, replace=False))]


def typical(values: np.ndarray, y: np.ndarray, ids: np.ndarray, score: float) -> tuple[int, ...]:
    """Typical images (ids) of each class: the two whose values [n, m] are closest to the class medians, interleaved.

    Empty if the score is below the reporting threshold.
    """
    if score < min(PROPERTY_SCORE, REGION_SCORE):
        return ()
    values = np.where(np.isfinite(values), values, -1.0)
    scaled = values / np.maximum(values.std(0), 1e-9)
    chosen = []
    for c in np.unique(y)[: EXAMPLES // 2]:
        own = np.nonzero(y == c)[0]
        away = np.abs(scaled[own] - np.median(scaled[own], axis=0)).sum(1)
        chosen.append(ids[own[np.argsort(away, kind="stable")[:2]]])
    return tuple(in_turn(chosen))


def _thin(
    blocks: Blocks, y: np.ndarray, names: list[str], ids: np.ndarray, *, seed: int, group: np.ndarray
) -> list[Told]:
    """Thin marks, from at most `strokes.MOST` images, balanced over classes."""
    rng = np.random.default_rng([seed, 17])
    each = strokes.MOST // len(names)
    some = np.sort(np.concatenate([rng.permutation(np.nonzero(y == c)[0])[:each] for c in range(len(names))]))
    images = thumbnails(blocks, ids[some], strokes.SIDE, least)
    if images.shape[1] < LEAST_STROKES:
        return []
    return _as_told(strokes.thin_marks(images, y[some], group[some]), names, ids[some])


def _as_told(found: Sequence[strokes.Stroke | Box], names: list[str], ids: np.ndarray) -> list[Told]:
    """Marks with their cells and the ids of some bearers."""
    out = []
    for mark in found:
        row, column = (min(int(at * GRID), GRID - 1) for at in (mark.row, mark.column))
        bearers = tuple(int(i) for i in ids[mark.bearers[:EXAMPLES]])
        told = Told("mark", place_name(row, column), mark.share, names[mark.label], (row, column), bearers)
        ground = mark.ground if isinstance(mark, Box) else None
        out.append(told if ground is None else told._replace(kind="ground", level=ground))
    return out


def _joined(thin: list[Told], thick: list[Told]) -> list[Told]:
    """Merge the marks of both searches; of adjacent marks of a class, the thin one is kept."""
    return [
        *thin,
        *(
            mark
            for mark in thick
            if not any(
                mark.label == one.label and max(abs(a - b) for a, b in zip(mark.cell, one.cell, strict=True)) <= 2
                for one in thin
            )
        ),
    ]


def _score(name: str, values: np.ndarray, y: np.ndarray, folds: np.ndarray) -> float:
    """`score_of`; for a technical property that clearly separates one of several classes, the score of that class if higher."""
    score = score_of(values, y, folds)
    if name not in TECHNICAL or y.max() < 2:
        return score
    ones = ((y == c).astype(np.int64) for c in range(int(y.max()) + 1))
    # a tree that does not separate the class from the others among the images it was fitted to need not be cross-validated
    alone = max((score_of(values, one, folds) for one in ones if score_of(values, one) >= APART), default=0.0)
    return max(score, alone) if alone >= APART else score


def score_of(values: np.ndarray, y: np.ndarray, folds: np.ndarray | None = None) -> float:
    """Balanced accuracy of a shallow tree on these values [n, m], cross-validated and scaled from chance (0) to 1; at least 0.

    Without folds, the accuracy on the images that it was fitted to.
    """
    values = np.ascontiguousarray(np.where(np.isfinite(values), values, -1.0), np.float32)
    if (values == values[0]).all():
        return 0.0
    found = predictions(values, y, folds)
    hit = np.array([(found[y == c] == c).mean() for c in np.unique(y)])
    chance = 1 / len(hit)
    return max(0.0, float((hit.mean() - chance) / (1 - chance)))


def _properties(used: pd.DataFrame, thumbs: np.ndarray) -> dict[str, np.ndarray]:
    out = {}
    for name, columns in PROPERTIES.items():
        known = [column for column in columns if column in used]
        if name == "compression":
            known += _known_steps(used)
        if known:
            out[name] = used[known].to_numpy(float)
    side = thumbs.shape[1]
    if side >= LEAST_FRAMED:
        out["border"] = _border(thumbs)
    mass = thumbs / np.maximum(thumbs.sum((1, 2), keepdims=True), 1)
    line = (np.arange(side) + 0.5) / side
    x, y = (mass.sum(1) * line).sum(1), (mass.sum(2) * line).sum(1)
    wide = (mass.sum(1) * line**2).sum(1) - x * x
    high = (mass.sum(2) * line**2).sum(1) - y * y
    out["place of the body"] = np.stack([x, y, wide, high], 1)
    return out


def _known_steps(used: pd.DataFrame) -> list[str]:
    """Columns of JPEG quantisation steps (from file headers and from pixels) that are known for all images: missing values, e.g. from
    older versions, must not act as a category."""
    known = []
    if "jpeg_step" in used:
        unknown = used.loc[used["jpeg_step"].isna(), "format"]
        if len(unknown) < len(used) and not unknown.isin(("JPEG", "MPO")).any():
            known.append("jpeg_step")
    if "original_step" in used and used["original_step"].notna().all():
        known.append("original_step")
    return known


def _border(thumbs: np.ndarray) -> np.ndarray:
    """Mean and spread of the outermost `FRAME` of the image, and its mean's difference from the next ring inwards, [n, 3]."""
    side = thumbs.shape[1]
    width = round(FRAME * side)
    inner = np.zeros((side, side), bool)
    inner[width:-width, width:-width] = True
    frame = thumbs[:, ~inner]
    ring = np.zeros((side, side), bool)
    ring[2 * width : -2 * width or None, 2 * width : -2 * width or None] = True
    next_frame = thumbs[:, inner & ~ring]
    return np.stack([frame.mean(1), frame.std(1), frame.mean(1) - next_frame.mean(1)], 1)


def _cells(thumbs: np.ndarray) -> np.ndarray:
    """Grey levels of each cell, [n, grid, grid, c, c]."""
    cell = thumbs.shape[1] // GRID
    cut = thumbs[:, : cell * GRID, : cell * GRID]
    return cut.reshape(len(thumbs), GRID, cell, GRID, cell).transpose(0, 1, 3, 2, 4)


def _cell_values(cell: np.ndarray) -> np.ndarray:
    flat = cell.reshape(len(cell), -1)
    return np.stack([flat.mean(1), flat.std(1), flat.max(1)], 1)


def _patterns(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells [n, c, c] without smooth variation, as unit vectors [n, c * c], and their norms.

    Smooth variation is a polynomial of up to the third degree: it fits the outline of a body, but not a letter.
    """
    side = cell.shape[1]
    x, y = np.meshgrid(*[np.linspace(-1, 1, side)] * 2)
    degree = 3 if side >= 6 else 1  # with few pixels, a higher degree would leave nothing
    smooth = np.stack([x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)], -1).reshape(
        side * side, -1
    )
    basis, _ = np.linalg.qr(smooth)
    flat = cell.reshape(len(cell), -1).astype(np.float64)
    flat = flat - (flat @ basis) @ basis.T
    length = np.linalg.norm(flat, axis=1)
    return flat / np.maximum(length, 1e-3)[:, None], length


def _marks(
    cells: np.ndarray, y: np.ndarray, names: list[str], ids: np.ndarray, *, seed: int, group: np.ndarray
) -> list[Told]:
    """Patterns in one cell of part of a class and almost no other image: the most frequent one per class and location."""
    best: dict[tuple[int, str], Told] = {}
    looks = len(names) * sum(place_name(row, column) != "middle" for row in range(GRID) for column in range(GRID))
    rng = np.random.default_rng([seed, 11])
    asked = {c: rng.permutation(np.nonzero(y == c)[0])[:SEEDS] for c in range(len(names))}
    for row in range(GRID):
        for column in range(GRID):
            if place_name(row, column) == "middle":  # the middle shows the content
                continue
            shape, length = _patterns(cells[:, row, column])
            for c, seeds in asked.items():
                told = _mark(shape, length, y, c, seeds[length[seeds] >= CLEAR * np.sqrt(shape.shape[1])])
                if told is None or len(np.unique(group[told[1]])) < MARKED_PATIENTS:
                    continue
                if not burnt_in(cells[:, row, column], told[1], shape * length[:, None]):
                    continue
                patterns = (y == c).sum() / len(told[1])  # number of such patterns possible in the class
                if told[2] * looks * patterns > MARK_LEVEL:
                    continue
                place = c, place_name(row, column)
                if place not in best or told[0] > best[place].score:
                    examples = tuple(int(ids[i]) for i in told[1][:EXAMPLES])
                    best[place] = Told("mark", place_name(row, column), told[0], names[c], (row, column), examples)
    return list(best.values())


def _shows(shape: np.ndarray, length: np.ndarray, pattern: np.ndarray, size: np.ndarray, least: float) -> np.ndarray:
    """Which cells [n] show which patterns [m], by direction and strength, bool [m, n]."""
    cosine = pattern @ shape.T
    ratio = cosine * length[None, :] / np.maximum(size, 1e-3)[:, None]
    # a white letter's contrast depends on the darkness of its background
    return (cosine >= least) & (ratio > 0.35) & (ratio < 2.5)


def burnt_in(cell: np.ndarray, bearers: np.ndarray, pattern: np.ndarray) -> bool:
    """Whether the brightest pixel of a cell has the same level in all bearers of a pattern and a lower one in most other images.

    Or the darkest pixel, or the pixels where the pattern is strongest. A letter has one level wherever it lies in the cell; outlines
    shared by many images do not.
    """
    flat = cell.reshape(len(cell), -1)
    others = np.delete(np.arange(len(flat)), bearers)
    if not len(others):
        return False
    for level in (flat.max(1), -flat.min(1)):
        own = level[bearers]
        if own.std() <= EVEN and (level[others] < own.mean() - own.std()).mean() >= UNLIKE:
            return True
    strength = np.abs(pattern[bearers].mean(0))
    strongest = flat[:, np.argsort(-strength, kind="stable")[: max(3, len(strength) // 10)]]
    own = strongest[bearers]
    above = (strongest[others] < own.mean(0)).mean(0)
    even = np.median(own.std(0)) <= EVEN_PIXELS
    return bool(even and np.median(np.maximum(above, 1 - above)) >= UNLIKE_PIXELS)


def _mark(
    shape: np.ndarray, length: np.ndarray, y: np.ndarray, c: int, seeds: np.ndarray
) -> tuple[float, np.ndarray, float] | None:
    """Fraction of the class that shows its most frequent specific pattern, these images, and the p-value of that distribution."""
    if not len(seeds):
        return None
    own = y == c
    alike = _shows(shape, length, shape[seeds], length[seeds], SAME_PATTERN)
    # averaging the images similar to a seed removes the background of the mark
    worth = alike[:, own].sum(1) - MARK_RATIO * alike[:, ~own].sum(1)
    first = np.argsort(-worth, kind="stable")[:REFINED]
    bearing = alike[first] & own
    template = np.stack([(shape[row] * length[row, None]).mean(0) for row in bearing])
    size = np.linalg.norm(template, axis=1)
    alike = _shows(shape, length, template / np.maximum(size, 1e-3)[:, None], size, SAME_AS_MEAN)
    alike = alike[size >= CLEAR * np.sqrt(shape.shape[1])]
    share, rest = alike[:, own].mean(1), alike[:, ~own].mean(1)
    fits = (alike[:, own].sum(1) >= MARKED_IMAGES) & (share >= np.maximum(MARKED, MARK_RATIO * rest))
    if not fits.any():
        return None
    most = int(np.argmax(np.where(fits, share, -1)))
    bearers = int(alike[most].sum())
    p = as_many(int((alike[most] & own).sum()), len(y), int(own.sum()), bearers)
    return float(share[most]), np.nonzero(alike[most] & own)[0], p

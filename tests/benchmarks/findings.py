"""Recall and precision of findings on faults planted in real sets, with peers in the same run.

    python -m tests.benchmarks.findings DATA [--sets a,b] [--kinds copies,labels,shortcuts,pictures] [--images 300]
        [--each 15] [--longest 64]

Every folder in DATA is a set, every folder in it a class. One line of JSON per set and kind, then tables in Markdown: recall and
precision with Wilson's 95 % intervals. Peers: imagehash, cleanlab, and CleanVision and imagededup if installed. `--each`: originals
per kind of copy. `--longest`: downscale images to this longer side first. In sets so large that near-copies are searched in buckets,
they are also searched among all pairs.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from dataprops.findings import Context, partners
from dataprops.findings.nearcopies import near_copies
from dataprops.findings.pixel_shortcut import shortcuts
from dataprops.findings.pixels_tell import told_by_pixels
from dataprops.findings.quality import faults
from dataprops.findings.second_opinion import Witness, most_alike, opinions, wrong_labels
from dataprops.imaging.measures import Measures, measure_image
from dataprops.probe import descriptors
from dataprops.probe.features import fit_encoder, shrink
from dataprops.probe.measure import held_out_averaged, held_out_curved, held_out_described, held_out_of
from dataprops.probe.ridge import inner_products

K = 20
SETS = ("covid_cxr3", "knee_oa", "brain_tumor_mri4_128", "blood_cells", "malaria_cells", "covid_ct_128", "recyclables")
SETS += ("tiny_imagenet10", "cifar10_cat_dog")
GROUPS = {"covid_cxr3": r"^(.{8})", "knee_oa": r"^(.+).\.\w+$", "malaria_cells": r"(?i)^(.+?)thin"}
Pixels = np.ndarray  # uint8 [h, w] or [h, w, 3]


class Planted(NamedTuple):
    """Images with their labels and groups (None: not known)."""

    pixels: list[Pixels]
    labels: list[str]
    groups: list[str | None]


def load(folder: Path, most: int, seed: int, longest: int = 4096) -> Planted:
    """A set, at most so many images of it, as many of each class."""
    rng = np.random.default_rng(seed)
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    out = Planted([], [], [])
    for place in classes:
        files = sorted(file for file in place.rglob("*") if file.is_file())
        for i in sorted(rng.permutation(len(files))[: most // len(classes)]):
            with Image.open(files[i]) as image:
                plain = image if image.mode in ("L", "RGB") else image.convert("RGB")
                plain.thumbnail((longest, longest), Image.Resampling.BILINEAR, reducing_gap=None)
                out.pixels.append(np.asarray(plain))
            out.labels.append(place.name)
            found = re.search(GROUPS[folder.name], files[i].name) if folder.name in GROUPS else None
            out.groups.append(found.group(1) if found else None)
    return out


class Tables(NamedTuple):
    """What an audit has of a set before its findings."""

    images: pd.DataFrame
    neighbours: pd.DataFrame
    canonical: np.ndarray

    def blocks(self, ids: Sequence[int]):
        """See `Context.pixels`."""
        yield np.asarray(ids), self.canonical[np.asarray(ids)]


_MEASURED: dict[int, tuple[Pixels, Measures]] = {}  # by the identity of an array, which is kept alive


def measured(pixels: Pixels) -> Measures:
    """The measures of a picture, once for each."""
    if id(pixels) not in _MEASURED:
        _MEASURED[id(pixels)] = (pixels, measure_image(pixels))
    return _MEASURED[id(pixels)][1]


def tables(planted: Planted, neighbours: bool = True) -> Tables:
    """The result tables of a set, as an audit makes them; without distances where no finding asks for them."""
    coloured = float(
        np.mean([one.ndim == 3 and np.ptp(one[::4, ::4].astype(int), axis=2).max() > 8 for one in planted.pixels])
    )
    side = 224 if np.median([max(one.shape[:2]) for one in planted.pixels]) > 100 else 64
    mode = "RGB" if coloured > 0.5 else "L"
    canonical = np.stack(
        [
            np.asarray(Image.fromarray(p).convert(mode).resize((side, side), Image.Resampling.BILINEAR))
            for p in planted.pixels
        ]
    ).reshape(len(planted.pixels), side, side, -1)
    n = len(canonical)
    flat = canonical.reshape(n, -1).astype(np.float64) if neighbours else np.arange(n, dtype=float)[:, None]
    norm = (flat * flat).sum(1)
    d2 = np.maximum(norm[:, None] + norm[None] - 2 * flat @ flat.T, 0)
    np.fill_diagonal(d2, np.inf)
    order = np.argsort(d2, axis=1, kind="stable")[:, :K]
    distance = np.sqrt(np.take_along_axis(d2, order, 1))
    images = pd.DataFrame({"image": np.arange(n), "path": [f"{i}.png" for i in range(n)], "pixels": "x"})
    names, y = np.unique(planted.labels, return_inverse=True)
    first: dict[bytes, int] = {}
    images = images.assign(
        duplicate_of=[first.setdefault(one.tobytes(), i) for i, one in enumerate(canonical)],
        knn_distance=distance[:, -1],
        local_dimension=(K - 1) / np.maximum(np.log(distance[:, -1:] / np.maximum(distance, 1e-9)).sum(1), 1e-9),
        width=[one.shape[1] for one in planted.pixels],
        height=[one.shape[0] for one in planted.pixels],
        mode=["L" if one.ndim == 2 else "RGB" for one in planted.pixels],
        y=y.astype(float),
        label=names[y],
        group=pd.Series(planted.groups, dtype=object),
    )
    images = images.assign(split=None, series=None, study=None, format="PNG", error=None, content=None, frames=1)
    for name, values in zip(Measures._fields, np.array([measured(p) for p in planted.pixels]).T, strict=True):
        images[f"original_{name}"] = values
    near = pd.DataFrame({"image": np.repeat(np.arange(n), K), "rank": np.tile(np.arange(1, K + 1), n)})
    return Tables(images, near.assign(neighbour=order.ravel(), distance=distance.ravel()), canonical)


def wilson(hits: float, of: float) -> str:
    """A fraction in per cent with its interval."""
    from statsmodels.stats.proportion import proportion_confint

    if not of:
        return "-"
    low, high = proportion_confint(round(hits), round(of), method="wilson")
    return f"{100 * hits / of:.0f} ({100 * low:.0f}-{100 * high:.0f})"


# ---- copies


def image_of(change: Callable[[Image.Image], Image.Image]) -> Callable[[Pixels], Pixels]:
    """A change of Pillow images as one of arrays."""
    return lambda pixels: np.asarray(change(Image.fromarray(pixels)))


def jpeg(quality: int) -> Callable[[Pixels], Pixels]:
    """Re-encoding."""

    def change(pixels: Pixels) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    return change


def crop(part: float) -> Callable[[Pixels], Pixels]:
    """The picture without a margin of half the part on each side, at its old size."""

    def change(image: Image.Image) -> Image.Image:
        w, h = image.size
        dx, dy = max(1, round(w * part / 2)), max(1, round(h * part / 2))
        return image.crop((dx, dy, w - dx, h - dy)).resize((w, h), Image.Resampling.BILINEAR)

    return image_of(change)


def shift(part: float, edge: str = "edge") -> Callable[[Pixels], Pixels]:
    """Moved to the right and down; the uncovered edge repeats the old one, is black, or shows what went out on the other side."""
    fill: dict[str, Any] = {"edge": {"mode": "edge"}, "black": {"mode": "constant"}, "wrapped": {"mode": "wrap"}}

    def change(pixels: Pixels) -> Pixels:
        dy, dx = max(1, round(part * pixels.shape[0])), max(1, round(part * pixels.shape[1]))
        return np.pad(pixels, [(dy, 0), (dx, 0), *[(0, 0)] * (pixels.ndim - 2)], **fill[edge])[:-dy, :-dx]

    return change


def border(part: float, level: int, how: str = "added") -> Callable[[Pixels], Pixels]:
    """A frame around the picture, which keeps its size ("added"), is shrunk into it, or loses its edge."""

    def change(pixels: Pixels) -> Pixels:
        wide = max(1, round(part * min(pixels.shape[:2])))
        h, w = pixels.shape[:2]
        inner = pixels
        if how == "shrunk":
            inner = np.asarray(Image.fromarray(pixels).resize((w - 2 * wide, h - 2 * wide), Image.Resampling.BILINEAR))
        if how == "over the edge":
            inner = pixels[wide:-wide, wide:-wide]
        return np.pad(inner, [(wide, wide), (wide, wide), *[(0, 0)] * (pixels.ndim - 2)], constant_values=level)

    return change


def text(pixels: Pixels) -> Pixels:
    """A white letter in a corner, a seventh of the height."""
    image = Image.fromarray(pixels)
    high = max(7, image.height // 7)
    white = 255 if image.mode == "L" else (255, 255, 255)
    x, y, w = image.width - high, max(1, high // 6), max(1, high // 7)
    draw = ImageDraw.Draw(image)
    right = x + round(0.6 * high)
    draw.line(
        [(x, y + high), (x, y), (right, y), (right, y + high // 2), (x, y + high // 2), (right, y + high)], white, w
    )
    return np.asarray(image)


def thin_text(pixels: Pixels) -> Pixels:
    """A white letter of Pillow's own font in a corner, a ninth of the width: strokes of a pixel or two."""
    image = Image.fromarray(pixels)
    size = max(5, image.width // 9)
    white = 255 if image.mode == "L" else (255, 255, 255)
    place = (image.width - size - 3, 2)
    ImageDraw.Draw(image).text(place, "R", fill=white, font=ImageFont.load_default(size=size))
    return np.asarray(image)


def grey(pixels: Pixels) -> Pixels:
    """Grey, as a colour image."""
    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB")) if pixels.ndim == 3 else pixels


def scaled(factor: float, plus: float = 0.0) -> Callable[[Pixels], Pixels]:
    """A line of the grey levels, clipped."""
    return lambda pixels: np.clip(np.rint(pixels * factor + plus), 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "brightness + 10 %": scaled(1.1),
    "contrast - 20 %": scaled(0.8, 25),
    "noise of 4 levels": lambda p: np.clip(p + np.random.default_rng(0).normal(0, 4, p.shape), 0, 255).astype(np.uint8),
    "JPEG 50": jpeg(50),
    "half size and back": image_of(
        lambda i: i.resize((i.width // 2, i.height // 2), Image.Resampling.BILINEAR).resize(i.size)
    ),
    "grey": grey,
    "flipped": lambda p: p[:, ::-1].copy(),
    "upside down": lambda p: p[::-1].copy(),
    "quarter turn": lambda p: np.rot90(p).copy(),
    "crop 5 %": crop(0.05),
    "crop 10 %": crop(0.1),
    "shift 5 %": shift(0.05),
    "shift 10 %": shift(0.1),
    "shift 10 %, black": shift(0.1, "black"),
    "shift 10 %, wrapped": shift(0.1, "wrapped"),
    "border 6 %": border(0.06, 0),
    "grey border 10 %": border(0.1, 128, "shrunk"),
    "white border over the edge": border(0.06, 255, "over the edge"),
    "letter": text,
}
EACH = 15  # originals of a kind in one round


def copies(planted: Planted, seed: int, each: int = EACH) -> dict[str, Any]:
    """Planted copies, so many of every kind, each of another original."""
    base = tables(planted)
    known = base.images["duplicate_of"].duplicated(keep=False).to_numpy(copy=True)
    clean, _ = _copies_of(base)
    known[list({i for pair in clean for i in pair})] = True  # what the set itself holds twice is no original
    free = iter(np.random.default_rng(seed).permutation(np.nonzero(~known)[0]))
    pixels, origin, kind = list(planted.pixels), [], []
    for name, change in COPIES.items():
        for _ in range(min(each, int((~known).sum()) // len(COPIES))):
            i = int(next(free))
            if name == "grey" and planted.pixels[i].ndim == 2:
                continue
            pixels.append(change(planted.pixels[i]))
            origin.append(i)
            kind.append(name)
    n = len(planted.pixels)
    full = planted._replace(pixels=pixels, labels=planted.labels + [planted.labels[i] for i in origin])
    full = full._replace(groups=[None] * len(pixels))
    wanted = {(i, n + j): name for j, (i, name) in enumerate(zip(origin, kind, strict=True))}
    out: dict[str, Any] = {"planted": dict(Counter(kind)), "clean pairs": len(clean)}
    made = tables(full)
    ours, seconds = _copies_of(made)
    said = {"ours": ours, "all pairs": None, "imagehash": _by_hash(pixels), "CleanVision": cleanvision(pixels)[1]}
    said["imagededup"] = imagededup(pixels)
    if len(pixels) >= partners.SMALL:
        with mock.patch.object(partners, "SMALL", len(pixels) + 1):
            said["all pairs"], _ = _copies_of(made)
    for who, pairs in said.items():
        if pairs is None:
            continue
        hits = Counter(wanted[pair] for pair in pairs if pair in wanted)
        out[who] = {"hits": dict(hits), "wrong": len(pairs - set(wanted) - clean)}
    return out | {"images": len(pixels), "seconds": seconds}


def _copies_of(made: Tables) -> tuple[set[tuple[int, int]], float]:
    begin = time.perf_counter()
    features = int(np.prod(made.canonical.shape[1:]))
    found = near_copies(made.images, made.neighbours, made.blocks, features=features).pairs
    pairs = {(int(min(p)), int(max(p))) for p in found[["a", "b"]].to_numpy()}
    same = made.images["duplicate_of"].to_numpy()
    pairs |= {(int(j), i) for i, j in enumerate(same) if i != j}  # exact duplicates are told apart
    return pairs, time.perf_counter() - begin


def _by_hash(pixels: Sequence[Pixels], most: int = 8) -> set[tuple[int, int]]:
    import imagehash

    bits = np.stack([imagehash.phash(Image.fromarray(p)).hash.ravel() for p in pixels]).astype(np.int16)
    away = bits @ (1 - bits).T
    away = away + away.T
    one, two = np.nonzero(np.triu(away <= most, 1))
    return set(zip(one.tolist(), two.tolist(), strict=True))


def imagededup(pixels: Sequence[Pixels]) -> set[tuple[int, int]] | None:
    """Pairs by imagededup's PHash as it comes (at most 10 bits apart); None where it is not installed."""
    try:
        from imagededup.methods import PHash
    except ImportError:
        return None
    method = PHash(verbose=False)
    codes = {str(i): method.encode_image(image_array=one) for i, one in enumerate(pixels)}
    found = method.find_duplicates(encoding_map=codes, num_dist_workers=0)
    return {(int(a), int(b)) for a, others in found.items() for b in others if int(a) < int(b)}


def cleanvision(pixels: Sequence[Pixels]) -> tuple[dict[int, set[str]] | None, set[tuple[int, int]] | None]:
    """CleanVision's issues of each image, and its pairs of (near) duplicates; None where it is not installed."""
    try:
        from cleanvision import Imagelab
    except ImportError:
        return None, None
    with TemporaryDirectory() as folder:
        for i, one in enumerate(pixels):
            Image.fromarray(one).save(f"{folder}/{i:05d}.png")
        lab = Imagelab(data_path=folder, verbose=False)
        lab.find_issues(n_jobs=1, verbose=False)
        table = lab.issues
        flags: dict[int, set[str]] = defaultdict(set)
        for column in [c for c in table if c.startswith("is_") and "duplicate" not in c]:
            for path in table.index[table[column]]:
                flags[int(Path(path).stem)].add(column[3:-6])
        pairs = set()
        for kind in ("exact_duplicates", "near_duplicates"):
            for group in lab.info.get(kind, {}).get("sets", []):
                ids = sorted(int(Path(path).stem) for path in group)
                pairs |= {(a, b) for at, a in enumerate(ids) for b in ids[at + 1 :]}
    return flags, pairs


# ---- labels


def labels(planted: Planted, seed: int) -> dict[str, Any]:
    """Flipped labels: average precision of the ranking, and the estimated number."""
    names = sorted(set(planted.labels))
    y = np.array([names.index(label) for label in planted.labels])
    made = tables(planted)
    x = shrink(made.canonical)
    _, features = fit_encoder(x, seed)
    described = [
        descriptors.edges(shrink(made.canonical, descriptors.SIDE)),
        descriptors.tones(x),
        descriptors.textures(x),
    ]
    rows = []
    for share in (0.0, 0.03, 0.05, 0.1):
        for kind in ("random", "similar") if share else ("none",):
            rng = np.random.default_rng([seed, round(100 * share)])
            given = y.copy()
            at = rng.permutation(len(y))[: round(share * len(y))]
            given[at] = (y[at] + rng.integers(1, len(names), len(at))) % len(names)
            if kind == "similar":
                if len(names) == 2:
                    continue
                one, two = _most_similar(made, y)
                pool = np.nonzero((y == one) | (y == two))[0]
                given = y.copy()
                at = rng.permutation(pool)[: round(share * len(y))]
                given[at] = np.where(y[at] == one, two, one)
            images = made.images.assign(y=given.astype(float), label=np.array(names, object)[given])
            begin = time.perf_counter()
            said = opinions(images, made.neighbours, _witness(images, features, described))
            seconds = time.perf_counter() - begin
            assert said is not None
            rows.append({"share": share, "kind": kind, "seconds": seconds} | _ranked(said, at))
    return {"labels": rows}


def _witness(images: pd.DataFrame, features: np.ndarray, described: list[torch.Tensor]) -> Witness:
    names, y = np.unique(images["label"].astype(str), return_inverse=True)
    alone = images["duplicate_of"].map(lambda i: f"image {i}")  # copies, and images of one group, stay together
    unit = pd.factorize(images["group"].where(images["group"].notna(), alone))[0]
    held = held_out_of(features, y, unit)
    kernel = inner_products(features)
    curved = held_out_curved(kernel, y, held.folds, unit)
    averaged = held_out_averaged(held.probabilities, kernel, y, unit, held.strength)
    further = held_out_described(described, y, held.folds, unit)
    alike = most_alike(kernel, unit)
    return Witness(np.arange(len(y)), names.tolist(), held.probabilities, alike, curved, averaged, further)


def _most_similar(made: Tables, y: np.ndarray) -> tuple[int, int]:
    near = made.neighbours.query("rank <= 5")
    one, two = y[near["image"]], y[near["neighbour"]]
    count = np.zeros((y.max() + 1, y.max() + 1))
    np.add.at(count, (np.minimum(one, two), np.maximum(one, two)), one != two)
    best = np.unravel_index(count.argmax(), count.shape)
    return int(best[0]), int(best[1])


def _ranked(said: Any, at: np.ndarray) -> dict[str, Any]:
    from cleanlab.rank import get_label_quality_scores
    from sklearn.metrics import average_precision_score

    truth = np.isin(said.image, at)
    here = np.arange(len(said.y))
    wrong = wrong_labels(said)
    out = {"n": len(here), "flips": int(truth.sum()), "estimate": [round(float(v), 1) for v in wrong[:3]]}
    out["alert"] = bool(wrong.shown / len(here) > 0.001)
    if truth.any():
        scores = {"ours": said.score, "neighbours": 1 - said.alike[here, said.y]}
        for method in ("self_confidence", "normalized_margin"):
            scores[f"cleanlab {method}"] = 1 - get_label_quality_scores(said.y, said.probe, method=method)
        out |= {name: float(average_precision_score(truth, score)) for name, score in scores.items()}
    return out


# ---- shortcuts

SHORTCUTS: dict[str, tuple[Callable[[Pixels], Pixels], float, str]] = {
    "thin letter on 100 %": (thin_text, 1.0, "mark: .*(corner|edge)"),
    "thin letter on 50 %": (thin_text, 0.5, "mark: .*(corner|edge)"),
    "thin letter on 20 %": (thin_text, 0.2, "mark: .*(corner|edge)"),
    "letter on 100 %": (text, 1.0, "corner|edge"),
    "letter on 50 %": (text, 0.5, "corner|edge"),
    "letter on 20 %": (text, 0.2, "corner|edge"),
    "grey border": (border(0.06, 128), 1.0, "border"),
    "gamma 1.2": (lambda p: np.rint(255 * (p / 255) ** 1.2).astype(np.uint8), 1.0, "gamma"),
    "brightness + 20": (scaled(1.0, 20), 1.0, "brightness"),
    "JPEG 70": (jpeg(70), 1.0, "compression"),
}


def shortcut(planted: Planted, seed: int) -> dict[str, Any]:
    """Each shortcut on the first class; what is told of the set as it is, and what beyond that."""
    names = sorted(set(planted.labels))
    clean, seconds = _told(planted)
    out: dict[str, Any] = {"clean": sorted(clean), "seconds": seconds}
    for name, (change, part, wanted) in SHORTCUTS.items():
        own = [i for i, label in enumerate(planted.labels) if label == names[0]]
        chosen = set(np.random.default_rng(seed).permutation(own)[: round(part * len(own))].tolist())
        made = planted._replace(pixels=[change(p) if i in chosen else p for i, p in enumerate(planted.pixels)])
        found, _ = _told(made)
        out[name] = {"named": any(re.search(wanted, one) for one in found - clean), "found": sorted(found - clean)}
    return out


def _told(planted: Planted) -> tuple[set[str], float]:
    made = tables(planted, neighbours=False)
    begin = time.perf_counter()
    told = told_by_pixels(made.images, made.blocks)
    seconds = time.perf_counter() - begin
    empty = pd.DataFrame(columns=["a", "b", "distance", "sharpness"])
    context = Context(made.images, empty, empty, made.canonical[0].size, told=told)
    return {f"{one.kind}: {one.name}{' of ' + one.label if one.label else ''}" for one in shortcuts(context)}, seconds


# ---- pictures


def cut_range(one: Pixels, rng: np.random.Generator) -> Pixels:
    """A picture with a tenth to a fifth of what is not its ground cut off at black, and as many at white."""
    grey_levels = np.asarray(Image.fromarray(one).convert("L")).ravel()
    ground = np.bincount(grey_levels, minlength=256).argmax()
    shown = grey_levels[np.abs(grey_levels.astype(int) - ground) > 3]
    share = rng.uniform(0.1, 0.2)
    low, high = np.quantile(shown if len(shown) >= 50 else grey_levels, [share, 1 - share])
    return np.clip(np.rint((one.astype(float) - low) / max(high - low, 8) * 255), 0, 255).astype(np.uint8)


def nearly_one_colour(one: Pixels, rng: np.random.Generator) -> Pixels:
    """One colour, and the picture at a sixth of its size somewhere on it."""
    side = max(3, min(one.shape[:2]) // 6)
    out = np.empty_like(one)
    out[...] = rng.integers(0, 256, one.shape[2:])
    top, left = (int(rng.integers(length - side + 1)) for length in one.shape[:2])
    out[top : top + side, left : left + side] = np.asarray(Image.fromarray(one).resize((side, side)))
    return out


PICTURES: dict[str, Callable[[Pixels, np.random.Generator], Pixels]] = {
    "dark": lambda p, rng: scaled(rng.uniform(0.12, 0.22))(p),
    "overexposed": lambda p, rng: scaled(rng.uniform(2.2, 3), rng.uniform(30, 90))(p),
    "low_contrast": lambda p, rng: scaled(rng.uniform(0.08, 0.16), rng.uniform(60, 140))(p),
    "blurred": lambda p, rng: image_of(
        lambda i: i.filter(ImageFilter.GaussianBlur(max(2, min(i.size) / rng.uniform(20, 35))))
    )(p),
    "noise": lambda p, rng: np.clip(p + rng.normal(0, rng.uniform(35, 60), p.shape), 0, 255).astype(np.uint8),
    "blank": lambda p, rng: np.full_like(p, rng.integers(0, 256)),
    "odd_size": lambda p, rng: image_of(lambda i: i.resize((max(8, i.width // 4), max(8, i.height // 4))))(p),
    "odd_aspect": lambda p, rng: p[: max(8, p.shape[0] // 4)],
    "grey_among_colour": lambda p, rng: grey(p),
    "clipped_range": cut_range,
    "compressed": lambda p, rng: jpeg(int(rng.choice([6, 10, 15, 20])))(p),
    "nearly_blank": nearly_one_colour,
    "inverted": lambda p, rng: 255 - p,
    "wrong_orientation": lambda p, rng: np.rot90(p, int(rng.integers(1, 4))),
}
PEER = {
    "dark": "dark",
    "overexposed": "light",
    "low_contrast": "low_information",
    "blurred": "blurry",
    "blank": "low_information",
}
PEER |= {"odd_size": "odd_size", "odd_aspect": "odd_aspect_ratio", "grey_among_colour": "grayscale"}
BAD = 6  # images of each fault


def pictures(planted: Planted, seed: int) -> dict[str, Any]:
    """Spoilt pictures, `BAD` of each fault; and what is flagged of the set as it is."""
    rng = np.random.default_rng([seed, 3])
    clean_tables = tables(planted, neighbours=False)
    begin = time.perf_counter()
    clean = faults(clean_tables.images, clean_tables.blocks)
    seconds = time.perf_counter() - begin
    order = iter(rng.permutation(len(planted.pixels)))
    pixels, truth = list(planted.pixels), {}
    for name, spoil in PICTURES.items():
        for _ in range(BAD):
            i = int(next(order))
            if name == "grey_among_colour" and pixels[i].ndim == 2:
                continue
            pixels[i], truth[i] = np.ascontiguousarray(spoil(pixels[i], rng)), name
    made = tables(planted._replace(pixels=pixels), neighbours=False)
    found: dict[int, set[str]] = defaultdict(set)
    for fault in faults(made.images, made.blocks):
        found[fault.image].add(fault.fault)
    out: dict[str, Any] = {"planted": dict(Counter(truth.values())), "clean": dict(Counter(f.fault for f in clean))}
    out |= {"flagged clean": len({f.image for f in clean}), "images": len(pixels), "seconds": seconds}
    peer = cleanvision(pixels)[0]
    for who, said, word in (("ours", found, {k: k for k in PICTURES}), ("CleanVision", peer, PEER)):
        if said is None:
            continue
        hits = Counter(name for i, name in truth.items() if word.get(name) in said.get(i, ()))
        out[who] = {"hits": dict(hits), "others flagged": len(set(said) - set(truth))}
    return out


# ---- tables

KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "copies": copies,
    "labels": labels,
    "shortcuts": shortcut,
    "pictures": pictures,
}


def report(rows: list[dict[str, Any]]) -> str:
    """The lines of a run as tables in Markdown."""
    out = []
    for kind in ("copies", "pictures"):
        chosen = [row for row in rows if row["what"] == kind]
        if not chosen:
            continue
        planted: Counter[str] = sum((Counter(row["planted"]) for row in chosen), Counter())
        peers = [
            who
            for who in ("ours", "all pairs", "imagehash", "imagededup", "CleanVision")
            if all(who in row for row in chosen)
        ]
        out += [f"| {kind} | planted | {' | '.join(peers)} |", "|---" * (len(peers) + 2) + "|"]
        hits = {who: sum((Counter(row[who]["hits"]) for row in chosen), Counter()) for who in peers}
        for name, of in planted.items():
            out.append(f"| {name} | {of} | " + " | ".join(wilson(hits[who][name], of) for who in peers) + " |")
        wrong = "wrong" if kind == "copies" else "others flagged"
        for who in peers:
            false, right = sum(row[who][wrong] for row in chosen), sum(hits[who].values())
            out.append(f"\n{who}: precision {wilson(right, right + false)} ({false} {wrong})")
        out.append("")
    return "\n".join(out + _label_table(rows) + _shortcut_table(rows))


def _label_table(rows: list[dict[str, Any]]) -> list[str]:
    flat = pd.DataFrame([{"set": r["set"]} | one for r in rows if r["what"] == "labels" for one in r["labels"]])
    if flat.empty:
        return []
    clean = flat[flat["flips"] == 0]
    told = flat[flat["flips"] > 0]
    scores = [c for c in told if c in ("ours", "neighbours") or c.startswith("cleanlab")]
    mean = told.groupby(["set", "kind"])[scores].mean().round(3).reset_index()
    out = ["| set | flips | " + " | ".join(scores) + " |", "|---" * (len(scores) + 2) + "|"]
    out += ["| " + " | ".join(str(v) for v in row) + " |" for row in mean.itertuples(index=False)]
    held = sum(e[1] <= f <= e[2] for e, f in zip(told["estimate"], told["flips"], strict=True))
    out.append(
        f"\nThe interval of the number holds the flips in {held} of {len(told)}; alerts with flips:"
        f" {int(told['alert'].sum())}, on sets as they are: {int(clean['alert'].sum())} of {len(clean)}"
    )
    return [*out, ""]


def _shortcut_table(rows: list[dict[str, Any]]) -> list[str]:
    chosen = [row for row in rows if row["what"] == "shortcuts"]
    if not chosen:
        return []
    out = ["| shortcut | named in sets |", "|---|---|"]
    for name in SHORTCUTS:
        missed = ", ".join(row["set"] for row in chosen if not row[name]["named"])
        out.append(
            f"| {name} | {sum(row[name]['named'] for row in chosen)} of {len(chosen)}{'; not ' + missed if missed else ''} |"
        )
    return [*out, *(f"{row['set']} as it is: {'; '.join(row['clean']) or 'nothing'}" for row in chosen), ""]


def main() -> None:
    """Run the chosen kinds on the chosen sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--each", type=int, default=EACH)
    parser.add_argument("--longest", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in given.sets.split(","):
        planted = load(given.data / name, given.images, given.seed, given.longest)
        _MEASURED.clear()
        for kind in given.kinds.split(","):
            begin = time.perf_counter()
            more = {"each": given.each} if kind == "copies" else {}
            row = {"set": name, "what": kind} | KINDS[kind](planted, given.seed, **more)
            rows.append(row | {"all seconds": round(time.perf_counter() - begin, 1)})
            print(json.dumps(rows[-1], default=float), flush=True)
    print(report(rows))


if __name__ == "__main__":
    main()

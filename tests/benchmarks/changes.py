"""Alarms from the paired change between two audits: on planted changes of real sets, and with no change (random halves).

    python -m tests.benchmarks.changes DIR [--halves 17] [--sets NAME ...] [--sharpness]

DIR contains the sets as DIR/NAME/<class>/<file>. One JSON line per set: false alarms among disjoint random halves (groups are not
split); and for each planted change the log ratio of the losses with its interval, and whether it is an alarm. The computation is that
of an audit (`audit.since`), without the store. Groups: patients, if known from the file names.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from dataprops.laws.change import sharpness_change
from dataprops.probe import curve, paired
from dataprops.probe.calibrate import cross_fitted, log_losses
from dataprops.probe.features import fit_encoder, shrink
from dataprops.probe.folds import assign_folds, fold_count, unite
from dataprops.probe.ridge import held_scores, inner_products, targets
from dataprops.probe.space import Sampling, measure_space

# set -> what names the group in a file's name
SETS = {
    "covid_cxr3": r"^(.{8})",
    "brain_tumor_mri4_128": r"^(.*)$",
    "knee_oa_kl5_128": r"__(\d+)[LR]?",
    "malaria_cells": r"^(.*?)(?:ThinF|thin)",
    "recyclables": r"^(.*)$",
    "cifar10_cat_dog": r"^(.*)$",
}
MOST = 400
THRESHOLD = math.log(1.05)


class Images(NamedTuple):
    """x float32 [n, 3, 32, 32], classes, units (groups and identical images)."""

    x: torch.Tensor
    y: np.ndarray
    unit: np.ndarray

    def part(self, at: np.ndarray) -> Images:
        """Some of them."""
        return Images(self.x[at], self.y[at], np.unique(self.unit[at], return_inverse=True)[1])


class Audit(NamedTuple):
    """A set as an audit saw it: held-out losses in their folds, and what a later one compares with."""

    images: Images
    features: np.ndarray
    strength: float
    folds: np.ndarray
    losses: np.ndarray


def load(folder: Path, pattern: str, most: int, seed: int) -> Images:
    """A random part of a set, classes as they are."""
    files = sorted(folder.glob("*/*"))
    files = [
        files[i] for i in np.sort(np.random.default_rng([seed, 1]).choice(len(files), min(most, len(files)), False))
    ]
    x = torch.cat([shrink(np.asarray(Image.open(file).convert("RGB"))[None]) for file in files])
    _, y = np.unique([file.parent.name for file in files], return_inverse=True)
    found = [re.search(pattern, file.stem) for file in files]
    names = [match[1] if match else file.stem for match, file in zip(found, files, strict=True)]
    _, group = np.unique([f"{name}" for name in names], return_inverse=True)
    _, first, same = np.unique(x.numpy().reshape(len(x), -1), axis=0, return_index=True, return_inverse=True)
    return Images(x, y, unite(len(x), group, np.stack([np.arange(len(x)), first[same.ravel()]], 1)))


def audited(images: Images, seed: int = 0) -> Audit:
    """What the probe stage of an audit does, without curve and attack."""
    _, features = fit_encoder(images.x, seed)
    folds = assign_folds(images.y, images.unit, fold_count(len(images.y)), seed)
    held = held_scores(inner_products(features), targets(images.y, int(images.y.max()) + 1), folds)
    losses = log_losses(cross_fitted(held.scores, images.y, folds), images.y)
    return Audit(images, features, held.strength, folds, losses)


def compared(before: Audit, images: Images, partner: np.ndarray) -> tuple[paired.LossChange, bool]:
    """The paired change, and whether it is an alarm."""
    now = audited(images)
    given = np.where(partner >= 0, before.folds[partner], -1)
    folds = int(before.folds.max()) + 1
    fold = assign_folds(images.y, images.unit, folds, 0, given)
    losses = paired.refitted_losses(inner_products(now.features), images.y, fold, now.strength, numeric=False)
    states = paired.State(before.losses, before.images.unit), paired.State(losses, images.unit)
    change = paired.change(*states, partner, folds)
    expected = paired.expected_change(_curve(before), len(before.losses), len(losses))
    return change, bool(change.low - max(expected, 0.0) > THRESHOLD)


def _curve(of: Audit) -> list[tuple[float, float]]:
    kernel, y = inner_products(of.features), of.images.y
    out = []
    for subset in list(curve.nested_subsets(y, of.images.unit, 0).values())[1:]:
        scores = held_scores(kernel, targets(y, int(y.max()) + 1), of.folds, subset, (of.strength,)).scores
        out.append((subset.sum() * 0.8, float(log_losses(cross_fitted(scores, y, of.folds), y).mean())))
    return out


def false_alarms(images: Images, halves: int) -> dict[str, object]:
    """Alarms among pairs of disjoint random halves."""
    units, alarms, values = int(images.unit.max()) + 1, 0, []
    for draw in range(halves):
        one = np.random.default_rng([draw, 3]).permutation(units) < units // 2
        inside = one[images.unit]
        a, b = images.part(np.nonzero(inside)[0]), images.part(np.nonzero(~inside)[0])
        change, alarm = compared(audited(a), b, np.full(len(b.y), -1))
        alarms += alarm
        values.append(round(float(change.value), 3))
    return {"halves": halves, "alarms": alarms, "values": values}


def sharper(images: Images, halves: int, part_of: int) -> dict[str, object]:
    """Alarms that the label sharpness rose, among pairs of disjoint random halves, both ways; samples of a part of a half."""
    units, alarms = int(images.unit.max()) + 1, 0
    for draw in range(halves):
        one = np.random.default_rng([draw, 3]).permutation(units) < units // 2
        parts = [images.part(np.nonzero(side)[0]) for side in (one[images.unit], ~one[images.unit])]
        m = min(len(part.y) for part in parts) // part_of
        audits = []
        for part in parts:
            flat = part.x.numpy().reshape(len(part.y), -1)
            drawn = measure_space(flat, part.y.astype(float), sampling=Sampling(m, 20, draw)).draws
            sample = {"m": m, "mean": float(np.mean(drawn)), "std": float(np.std(drawn, ddof=1)), "draws": 20}
            audits.append({"n_images": len(part.y), "n_unreadable": 0, "label_sharpness": {"sample": sample}})
        ends, errors = sharpness_change(audits[0], audits[1], m)
        alarms += abs(np.log(ends[1] / ends[0])) > np.hypot(*errors)
    return {"halves": 2 * halves, "alarms": int(alarms)}


def planted(images: Images) -> dict[str, object]:
    """Each change of the set since a first audit of four fifths of it."""
    rng = np.random.default_rng(5)
    n = len(images.y)
    order = rng.permutation(n)
    old = np.sort(order[: round(n / 1.2)])
    before = audited(images.part(old))
    first = before.images
    same = np.arange(len(old))
    flipped = first.y.copy()
    at = rng.choice(len(old), round(0.1 * len(old)), replace=False)
    flipped[at] = (flipped[at] + 1) % (images.y.max() + 1)
    small = torch.nn.functional.interpolate(first.x, (6, 6), mode="area")
    coarse = torch.nn.functional.interpolate(small, (32, 32), mode="bilinear", align_corners=False)
    more = np.concatenate([old, np.setdiff1d(np.arange(n), old)])
    copies = np.concatenate([np.arange(len(old)), at])
    twice = Images(first.x[copies], first.y[copies], first.unit[copies])
    half = np.sort(rng.choice(len(old), len(old) // 2, replace=False))
    cases = {
        "flipped_10": (before, first._replace(y=flipped), same),
        "resolution_lost": (before, first._replace(x=coarse), same),
        "more_20": (before, images.part(more), np.r_[same, np.full(n - len(old), -1)]),
        "leak_removed": (audited(twice), first, same),
        "half_left": (before, first.part(half), half),
        "nothing": (before, first, same),
    }
    out: dict[str, object] = {}
    for name, (earlier, now, partner) in cases.items():
        change, alarm = compared(earlier, now, partner)
        out[name] = {
            "value": round(change.value, 3),
            "low": round(change.low, 3),
            "high": round(change.high, 3),
            "alarm": alarm,
        }
    return out


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--halves", type=int, default=17)
    parser.add_argument("--most", type=int, default=MOST)
    parser.add_argument("--sharpness", action="store_true", help="only count false alarms of the label sharpness")
    parser.add_argument("--part-of", type=int, default=5, help="sample size as a half divided by this number")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.sets:
        images = load(args.folder / name, SETS[name], args.most, 0)
        told = {"set": name, "images": len(images.y), "units": int(images.unit.max()) + 1}
        if args.sharpness:
            print(json.dumps(told | {"sharper": sharper(images, args.halves, args.part_of)}), flush=True)
            continue
        print(json.dumps(told | planted(images) | {"no_change": false_alarms(images, args.halves)}), flush=True)


if __name__ == "__main__":
    main()

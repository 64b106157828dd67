"""Validation of the shipped calibration on independent sets: train networks on them, and compare with the predictions.

    python -m tests.benchmarks.unseen DATA ROWS.csv [--families resnet18,mlp] [--sizes 64,128] [--seeds 0] [--sets NAME ...]
    python -m tests.benchmarks.unseen --judge ROWS.csv

Every folder in DATA is a set, DATA/SOURCE[__TASK]/<class>/<file>; classes are balanced, and training and test images are separated as
in `networks`. A row is written when its network is done, and existing rows are not recomputed; the smallest sizes come first. Training
and evaluation are those of the experiment (truth.md). `--judge` predicts each row by the shipped calibration from the probe of the
training images, and prints one JSON line: coverage of 90 % intervals, and the error against that of log N alone; and for doubled sets
the change predicted by the probe's curve against the mean change of the calibration's networks.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataprops.experiment.samples import HELD_BACK
from dataprops.experiment.splits import Impossible, draw, held_back
from dataprops.laws import networks as shipped
from dataprops.laws.fitting import sources
from tests.benchmarks.networks import Images, Task, _append, described, load, trained

TESTED, HELD, LEFT = 300, 72, 0.5  # test images, held-out images, and the part of a set that both may take at most
TARGETS = ("log_loss", "logit_error", "log_penalty")


def channels_of(folder: Path) -> int:
    """3 where any of the first images of a class is in colour."""
    first = [sorted(c.iterdir())[0] for c in sorted(folder.iterdir()) if c.is_dir()]
    return 3 if any(Image.open(file).mode != "L" for file in first) else 1


def cell(name: str, images: Images, channels: int, n: int, seed: int, family: str, known: dict) -> dict[str, Any]:
    """One row."""
    tested = min(TESTED, int(LEFT * len(images.y)) - HELD)
    if (name, n, seed) not in known:
        sample = draw(images.y, images.leak_group, n, tested, seed)
        hold = held_back(images.y, images.leak_group, sample, min(HELD_BACK, HELD), seed)
        known.clear()
        known[name, n, seed] = sample, hold, described(images, sample, seed)
    sample, hold, columns = known[name, n, seed]
    row = {
        "dataset": name,
        "source": name.split("__")[0],
        "channels": channels,
        "classes": int(images.y.max()) + 1,
        "model": family,
    }
    row |= {"n_train": n, "n_test": len(sample.test), "n_hold": len(hold), "seed": seed}
    return row | columns | trained(images, sample, hold, family, seed)


def predicted(rows: pd.DataFrame, target: str) -> pd.DataFrame:
    """Of each row: source, model, n_train; told, log N's prediction and measured, target's scale; whether the interval holds."""
    out = []
    for family, mine in rows.groupby("model"):
        best = shipped.best_form(target, str(family))
        cells = sources.converged(shipped.load_cells().query("model == @family"))
        design = sources.rows_of(cells, sources.FORMS["log_n"], target)
        plain = sources.coefficients(design, np.ones(len(design.y), bool))
        mine = mine.reset_index(drop=True)
        told, base = (sources.rows_of(mine, sources.FORMS[form], target) for form in (best.form, "log_n"))
        at = told.x @ np.array(best.coefficients)
        table = mine[["source", "model", "n_train"]].assign(told=at, log_n=base.x @ plain, measured=told.y)
        out.append(
            table.assign(half=best.width.at(at), holds=np.abs(told.y - at) <= best.width.at(at), clearly=best.clearly)
        )
    return pd.concat(out, ignore_index=True)


def judged(rows: pd.DataFrame) -> dict[str, Any]:
    """Family -> target -> networks, share of intervals that hold, root mean square misses (each source as one), gain over log N."""
    rows = sources.converged(rows)
    rows = rows[rows["p_loss"].notna()]
    out: dict[str, Any] = {}
    for target in TARGETS:
        table = predicted(rows, target)
        for family, mine in table.groupby("model"):
            code = pd.factorize(mine["source"], sort=True)[0]
            one, two = (
                sources.by_source((mine["measured"] - mine[name]).to_numpy(), code) for name in ("told", "log_n")
            )
            out.setdefault(str(family), {})[target] = {
                "networks": len(mine),
                "sources": len(one),
                "hold": float(mine["holds"].mean()),
                "median_half": float(mine["half"].median()),
                "rmse": float(np.sqrt(one.mean())),
                "log_n": float(np.sqrt(two.mean())),
                "gain": sources.bootstrap_sources(two - one),
                "told_as_a_number": bool(mine["clearly"].all()),
            }
    return out | {"doubling": sources.doubling_score(rows, shipped.doubling()["change"])}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--families", default="mlp,resnet18")
    parser.add_argument("--sizes", default="64,128,256")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--sets", nargs="*")
    asked = parser.parse_args()
    if asked.judge:
        print(json.dumps(judged(pd.read_csv(asked.rows))))
        return
    names = asked.sets or sorted(folder.name for folder in asked.data.iterdir() if folder.is_dir())
    there = pd.read_csv(asked.rows) if asked.rows.exists() else pd.DataFrame(columns=["dataset", "n_train"])
    done = set(zip(*(there.get(key, []) for key in ("dataset", "n_train", "seed", "model")), strict=True))
    loaded: dict[str, tuple[Images, int]] = {}
    known: dict = {}
    sizes, seeds = ([int(value) for value in text.split(",")] for text in (asked.sizes, asked.seeds))
    for family in asked.families.split(","):
        for n, seed, name in ((n, seed, name) for n in sizes for seed in seeds for name in names):
            if (name, n, seed, family) in done:
                continue
            if name not in loaded:
                channels = channels_of(asked.data / name)
                loaded[name] = load(asked.data, Task(name), channels), channels
            try:
                row = cell(name, *loaded[name], n, seed, family, known)
            except Impossible as reason:
                print(name, n, seed, reason, flush=True)
                continue
            _append(asked.rows, list(shipped.load_cells().columns), row)
            print(name, n, seed, family, f"{row['test_loss_scaled']:.3f}", row["seconds"], flush=True)


if __name__ == "__main__":
    main()

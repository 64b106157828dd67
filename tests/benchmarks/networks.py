"""Train the networks of the validation experiment (truth.md), one row each, resumable.

    python -m tests.benchmarks.networks DATA ROWS.csv [--families cnn4,mlp] [--seeds 1,2] [--most 1024] [--tasks ...]
    python -m tests.benchmarks.networks --judge ROWS.csv

DATA contains the sets as DATA/NAME/<class>/<file>. A row is written when its network is done, and existing rows are not recomputed;
the smallest sizes come first. Sizes and numbers of test images of each task are those of the shipped rows. Textures and faces need
scikit-image. Samples are drawn anew for each seed; groups, and images within 2 grey levels of each other, are not split.

`--judge` takes rows of further seeds: each is predicted, with its interval, by the fit of its family to the shipped networks on all
other sources. Prints one JSON line per family, size (0: all) and target: networks, sources, rmse of log N, the law and the shipped
form (every source with the same weight), its gain over log N, coverage of the intervals, and the spread between seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from dataprops.experiment.after import reestimate_batch_norm, scaled_columns
from dataprops.experiment.attacks import fgsm_results
from dataprops.experiment.samples import HELD_BACK, measure_sample
from dataprops.experiment.splits import Impossible, Sample, draw, held_back
from dataprops.experiment.training import Recipe, as_input, evaluate, fit, isolated_torch_state
from dataprops.imaging.decode import Preprocess, canonical, decode
from dataprops.laws.fitting import sources
from dataprops.laws.networks import best_form, load_cells
from dataprops.probe.folds import unite
from dataprops.probe.measure import reason_not_applicable, run_probe
from dataprops.sources.digits import _digits

SIDE, BATCH, NEAR, POOL = 32, 32, 2.0, 4_000
STEPS = {64: 600, 128: 800, 256: 1000, 512: 1400, 1024: 2000}
LR = {"vgg13": 1e-4}
LONGER = {"vgg13": 1.5}
ALONE = r"^(.*)$"
# set -> what names the group in a file's name
GROUPS = {
    "covid_cxr3": r"^(.{8})",
    "knee_oa_kl5_128": r"__(\d+)[LR]?",
    "malaria_cells": r"^(.*?)(?:ThinF|thin)",
    "traffic_signs": r"^(\d{5})",
}


class Task(NamedTuple):
    """A set, and its classes; none: all."""

    folder: str
    classes: tuple[str, ...] = ()


TASKS = {
    "blood4": Task("blood_cells"),
    "blood_eos_neu": Task("blood_cells", ("eosinophil", "neutrophil")),
    "brain4": Task("brain_tumor_mri4_128"),
    "brain_gli_men": Task("brain_tumor_mri4_128", ("glioma_tumor", "meningioma_tumor")),
    "brain_yes_no": Task("brain_mri_yesno"),
    "chest_ct": Task("covid_ct_128"),
    "cifar_air_auto": Task("cifar10_airplane_automobile"),
    "cifar_cat_dog": Task("cifar10_cat_dog"),
    "cxr_pneumonia": Task("covid_cxr3", ("no_findings", "pneumonia")),
    "digits10": Task("digits"),
    "digits_3_8": Task("digits", ("3", "8")),
    "faces": Task("faces"),
    "knee_0_3": Task("knee_oa_kl5_128", ("KL0", "KL3")),
    "knee_0_4": Task("knee_oa_kl5_128", ("KL0", "KL4")),
    "malaria": Task("malaria_cells"),
    "mnist10": Task("mnist"),
    "mnist_3_8": Task("mnist", ("3", "8")),
    "mnist_4_9": Task("mnist", ("4", "9")),
    "recyclables4": Task("recyclables"),
    "recyclables_glass_plastic": Task("recyclables", ("glass", "plastic")),
    "signs6": Task("traffic_signs"),
    "signs_30_50": Task("traffic_signs", ("speed_30", "speed_50")),
    "textures3": Task("textures"),
    "tiny10": Task("tiny_imagenet10"),
    "tiny_bus_car": Task("tiny_imagenet10", ("school_bus", "sports_car")),
    "tiny_cat_dog": Task("tiny_imagenet10", ("tabby_cat", "golden_retriever")),
}


class Images(NamedTuple):
    """pixels uint8 [n, 32, 32, c], classes and leak groups int64 [n]."""

    pixels: np.ndarray
    y: np.ndarray
    leak_group: np.ndarray


def _resized(images: list[np.ndarray], channels: int) -> np.ndarray:
    raw = [Image.fromarray(image).convert("L" if channels == 1 else "RGB") for image in images]
    out = np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for image in raw])
    return out.reshape(len(out), SIDE, SIDE, channels)


def _mnist(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    import gzip

    images = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels.astype(np.int64)


def _packaged(name: str) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Images, classes and groups of what packages ship: digits, textures (tiles, grouped in blocks of 4 x 4) and faces."""
    if name == "digits":
        pixels, y = _digits()
        return list(pixels), y, np.arange(len(y))
    package = find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        raise ImportError("faces and textures need scikit-image, which has them")
    folder = Path(package.submodule_search_locations[0]) / "data"
    if name == "faces":
        faces = np.load(folder / "lfw_subset.npy")
        return list(np.rint(faces * 255).astype(np.uint8)), np.repeat([0, 1], 100), np.arange(200)
    tiles, y, group = [], [], []
    for c, image in enumerate(np.asarray(Image.open(folder / f"{n}.png")) for n in ("brick", "grass", "gravel")):
        for row in range(0, image.shape[0] - SIDE + 1, SIDE):
            for column in range(0, image.shape[1] - SIDE + 1, SIDE):
                tiles.append(np.ascontiguousarray(image[row : row + SIDE, column : column + SIDE]))
                y.append(c)
                group.append(c * 10_000 + row // (4 * SIDE) * 100 + column // (4 * SIDE))
    return tiles, np.array(y), np.unique(group, return_inverse=True)[1]


def load(data: Path, task: Task, channels: int) -> Images:
    """The images of a task, at most `POOL` of them, at 32 x 32."""
    root = data / task.folder
    if task.folder == "mnist":
        found, y = _mnist(root)
        images, group = list(found), np.arange(len(y))
    elif not root.is_dir():
        images, y, group = _packaged(task.folder)
    else:
        return _of_files(root, task, channels)
    if task.classes:
        keep = np.isin(y, [int(c) for c in task.classes])
        images, y, group = [im for im, k in zip(images, keep, strict=True) if k], y[keep], group[keep]
    at = np.sort(np.random.default_rng(0).permutation(len(y))[:POOL])
    return _joined(_resized([images[i] for i in at], channels), np.unique(y[at], return_inverse=True)[1], group[at])


def _of_files(root: Path, task: Task, channels: int) -> Images:
    classes = task.classes or tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir()))
    files = [file for c in classes for file in sorted((root / c).iterdir())]
    at = np.sort(np.random.default_rng(0).permutation(len(files))[:POOL])
    files = [files[i] for i in at]
    how = Preprocess(size=SIDE, channels=channels)
    pixels = np.stack([canonical(decode(file.read_bytes()), how)[0] for file in files])
    found = [re.search(GROUPS.get(root.name, ALONE), file.stem) for file in files]
    names = [
        f"{f.parent.name} {f.name}" if m is None or m[1] == f.stem else m[1] for m, f in zip(found, files, strict=True)
    ]
    if root.name == "traffic_signs":  # tracks are numbered in each class anew
        names = [f"{file.parent.name} {name}" for name, file in zip(names, files, strict=True)]
    return _joined(
        pixels, np.array([classes.index(file.parent.name) for file in files]), np.unique(names, return_inverse=True)[1]
    )


def _joined(pixels: np.ndarray, y: np.ndarray, group: np.ndarray) -> Images:
    """Images within `NEAR` grey levels root mean square are of one leak group, with their groups."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float32)
    square, limit, pairs = (flat**2).sum(1), NEAR**2 * flat.shape[1], []
    for start in range(0, len(flat), 500):
        part = square[start : start + 500, None] + square - 2 * flat[start : start + 500] @ flat.T
        a, b = np.nonzero(part <= limit)
        pairs.append(np.stack([a + start, b], 1))
    return Images(pixels, y.astype(np.int64), unite(len(y), group, np.concatenate(pairs)))


def described(images: Images, sample: Sample, seed: int) -> dict[str, Any]:
    """Properties and probe of the training images, as columns."""
    pixels, y, leak_group = (part[sample.train] for part in images)
    flat = pixels.reshape(len(pixels), -1)
    table = pd.DataFrame({"y": y, "pixels": [image.tobytes() for image in flat], "label": y.astype(str), "group": None})
    values = measure_sample(flat, table, seed)
    told = {name: values[name] for name in ("d_data", "k_f", "k_q95", "k_mean", "k_f_m")}
    told["groups_least"] = min(len(np.unique(leak_group[y == c])) for c in range(int(y.max()) + 1))
    if reason_not_applicable(y, leak_group, numeric=False) is not None:
        return told
    probe = run_probe(pixels, y, leak_group, seed=seed)
    assert probe.log_loss is not None and probe.attack is not None
    told |= {"p_error": probe.error.value, "p_loss": probe.log_loss.value, "p_wrong": probe.wrong.sum()}
    told |= {"p_gradient": probe.attack.gradient.mean(), "p_penalty": probe.attack.penalty.mean()}
    told |= {"p_flip_log": np.log(probe.attack.flip).mean(), "curve": json.dumps([list(p) for p in probe.curve])}
    if probe.gains is not None:
        told |= dict(zip(("gain2", "gain2_low", "gain2_high"), probe.gains[2], strict=True))
    return told


def trained(images: Images, sample: Sample, hold: np.ndarray, family: str, seed: int) -> dict[str, Any]:
    """One network: its losses, errors and rise under FGSM, as columns."""
    began, n = time.monotonic(), len(sample.train)
    steps = int(STEPS[n] * LONGER.get(family, 1))
    x = torch.from_numpy(np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2)))
    y = torch.from_numpy(images.y)
    epochs = math.ceil(steps / math.ceil(n / BATCH))
    classes = int(images.y.max()) + 1
    recipe = Recipe(family, x.shape[1], classes, SIDE, LR.get(family, 1e-3), BATCH, epochs, seed=seed)
    net = fit(recipe, x[sample.train], y[sample.train]).net
    test = x[sample.test], y[sample.test]
    with isolated_torch_state(1):
        reestimate_batch_norm(net, x[sample.train])
        train_loss, train_accuracy = evaluate(net, x[sample.train], y[sample.train])
        test_loss, _ = evaluate(net, *test)
        told = scaled_columns(net, test, (x[hold], y[hold]))
        clean, moved = fgsm_results(net, as_input(test[0], "cpu"), test[1], [0.0, 2 / 255])
    told |= {"train_loss": train_loss, "train_accuracy": train_accuracy, "test_loss": test_loss, "steps": steps}
    told |= {"adv_loss_2": moved.loss, "adv_error_2": 1 - moved.accuracy, "penalty_2": moved.loss - clean.loss}
    return told | {"seconds": round(time.monotonic() - began, 1)}


def plan(shipped: pd.DataFrame, seeds: list[int], families: list[str], most: int) -> list[tuple[str, int, int, str]]:
    """(task, N, seed, family): the smallest N first, and of equals the first family."""
    first = shipped[(shipped["model"] == "cnn4") & (shipped["seed"] == 0) & (shipped["n_train"] <= most)]
    cells = [(row.dataset, int(row.n_train)) for row in first.itertuples()]
    order = {name: i for i, name in enumerate(families)}
    rows = [(name, n, seed, family) for seed in seeds for name, n in cells for family in families]
    return sorted(rows, key=lambda row: (row[1], row[2], row[0], order[row[3]]))


def predicted(rows: pd.DataFrame, family: str, target: str) -> pd.DataFrame:
    """Of each row of a family: what the fits to the other sources of the shipped rows miss it by, and whether their interval holds."""
    cells, form = sources.converged(load_cells().query("model == @family")), best_form(target, family).form
    parts = []
    for source, mine in rows.groupby("source"):
        others, mine = cells[cells["source"] != source].reset_index(drop=True), mine.reset_index(drop=True)
        told = mine[["dataset", "source", "n_train", "seed"]].assign(measured=sources.TARGETS[target](mine))
        for name in ("log_n", "law_free", form):
            design, new = (sources.rows_of(part, sources.FORMS[name], target) for part in (others, mine))
            at = new.x @ sources.coefficients(design, np.ones(len(design.y), bool))
            told[name] = new.y - at
            if name == form:
                misses = sources.left_out(design)
                half = sources.width_of(design.y - misses, misses, design.source).at(at)
                told = told.assign(shipped=told[name], holds=np.abs(told[name]) <= half, half=half)
        parts.append(told)
    return pd.concat(parts, ignore_index=True)


def judged(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """One record for each family, size and target (see above)."""
    rows = sources.converged(rows)
    rows, first = rows[rows["p_loss"].notna()], sources.converged(load_cells())
    for family, mine in rows.groupby("model"):
        for target in ("log_loss", "logit_error"):
            table = predicted(mine, str(family), target)
            old = first[(first["model"] == family) & (first["seed"] == 0)]
            old = old.assign(measured=sources.TARGETS[target](old))[["dataset", "n_train", "measured"]]
            for n in (0, *sorted(table["n_train"].unique())):
                part = table if n == 0 else table[table["n_train"] == n]
                same: Any = part[["dataset", "n_train"]].drop_duplicates()
                every = pd.concat([part[["dataset", "n_train", "measured"]], old.merge(same)])
                spread = every.groupby(["dataset", "n_train"])["measured"].var(ddof=1)
                code = pd.factorize(part["source"], sort=True)[0]
                one, law, two = (
                    sources.by_source(part[name].to_numpy(float), code) for name in ("shipped", "law_free", "log_n")
                )
                yield {
                    "family": family,
                    "n": int(n),
                    "target": target,
                    "networks": len(part),
                    "sources": len(one),
                    "between_seeds": float(np.sqrt(spread.mean())),
                    "log_n": float(np.sqrt(two.mean())),
                    "law": float(np.sqrt(law.mean())),
                    "rmse": float(np.sqrt(one.mean())),
                    "gain": sources.bootstrap_sources(two - one),
                    "hold": float(part["holds"].mean()),
                    "median_half": float(part["half"].median()),
                }


def main() -> None:
    """Train what is missing, or judge what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--families", default="cnn4,mlp")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--most", type=int, default=1024)
    parser.add_argument("--tasks", default=",".join(TASKS))
    asked = parser.parse_args()
    if asked.judge:
        for record in judged(pd.read_csv(asked.rows)):
            print(json.dumps(record))
        return
    shipped = load_cells()
    there = pd.read_csv(asked.rows) if asked.rows.exists() else pd.DataFrame(columns=shipped.columns)
    done = set(zip(there["dataset"], there["n_train"], there["seed"], there["model"], strict=True))
    loaded: dict[str, Images] = {}
    known: dict[tuple, tuple[Sample, np.ndarray, dict[str, Any]]] = {}
    for name, n, seed, family in plan(
        shipped, [int(s) for s in asked.seeds.split(",")], asked.families.split(","), asked.most
    ):
        if (name, n, seed, family) in done or name not in asked.tasks.split(","):
            continue
        facts = shipped[shipped["dataset"] == name].iloc[0]
        try:
            if name not in loaded:
                loaded[name] = load(asked.data, TASKS[name], int(facts["channels"]))
            images = loaded[name]
            if (name, n, seed) not in known:
                sample = draw(images.y, images.leak_group, n, int(facts["n_test"]), seed)
                hold = held_back(images.y, images.leak_group, sample, min(HELD_BACK, int(facts["n_hold"])), seed)
                known = {(name, n, seed): (sample, hold, described(images, sample, seed))}
        except (Impossible, ImportError) as reason:
            print(name, n, seed, reason, flush=True)
            continue
        sample, hold, columns = known[name, n, seed]
        row = {key: facts[key] for key in ("dataset", "source", "domain", "channels", "classes")}
        row |= {"model": family, "n_train": n, "n_test": len(sample.test), "n_hold": len(hold), "seed": seed}
        row |= columns | trained(images, sample, hold, family, seed)
        _append(asked.rows, list(shipped.columns), row)
        print(name, n, seed, family, f"{row['test_loss_scaled']:.3f}", row["seconds"], flush=True)


def _append(path: Path, names: list[str], row: dict[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="", extrasaction="ignore")
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.5g}" if isinstance(v, (float, np.floating)) else v for k, v in row.items()})


if __name__ == "__main__":
    main()

"""Grids of trainings: what the properties of a set do to a network, cell by cell.

    gather -> describe -> train -> collect

`gather` lists and decodes the images with the stages of the audit; `describe` draws each sample (dataset, N, seed) and measures the
properties of exactly its training images; `train` computes the cells; `collect` writes the table. Everything lies in

    STORE/experiments/<name>/
      experiment.json               what was asked for
      data/<dataset>.parquet        the readable images of the task's classes; .json: facts of the set
      samples/<dataset>-<N>-<seed>.json   the properties of a sample; .npz: its images
      work/<cell>.*.pt, .json, .layers/   checkpoint and progress of an unfinished cell
      cells/<cell>.json             a finished or failed cell, with all that the table has no column for
      cells.parquet                 one row for each cell

A cell's file appears by a rename when the cell is finished, so a killed grid goes on where it stood; a cell is computed again if
what it was made from has changed. A cell that fails is a row with a reason. What the caller got wrong stops before any work.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops import stages
from dataprops.audit import Call, call_directly
from dataprops.dimension import estimate_all
from dataprops.distances.allpairs import all_pairs, array_rows
from dataprops.distances.passes import PassSpec
from dataprops.distances.plan import plan_pass
from dataprops.distinct import distinct_rows
from dataprops.errors import DatapropsError
from dataprops.grid import Cell, Dataset, Experiment, dataset_name, plan_cells
from dataprops.images import Preprocess
from dataprops.properties import contents_only, sampled_sharpness
from dataprops.shards import describe as describe_shards
from dataprops.shards import open_shards
from dataprops.sharpness import sharpness_summary
from dataprops.sources import open_source
from dataprops.splits import Impossible, draw, units
from dataprops.store import locked, open_store, start_run, write_aside, write_table, write_text
from dataprops.tools import Progress, Tools, cores, inline_tools, no_progress

log = logging.getLogger(__name__)

VERSION = 1  # of what a cell does: cells of another version are computed again
EPS = (1, 2, 4, 8)  # grey levels
PGD_EPS = 2
DRAWS = 20
POLL_SECONDS = 1.0

# name -> what it is; the order of the table
COLUMNS: dict[str, str] = {
    "dataset": "name of the set",
    "domain": "medical, natural or unknown",
    "model": "network",
    "n_train": "training images N",
    "n_test": "test images",
    "seed": "of the sample, the weights and the order",
    "preset": "where the settings come from",
    "preprocess": "key of the canonical images",
    "channels": "1 or 3",
    "size": "side, pixels",
    "classes": "number of classes",
    "split": "group or image",
    "d_data": "intrinsic dimension of the training images: MLE with factor k-2, k = 20",
    "d_data_se": "its standard error (bootstrap over images)",
    "d_data_mle": "the same with factor k-1",
    "d_data_twonn": "TwoNN, 10 % discarded",
    "k_f": "label sharpness, mean over 20 draws of M = min(1000, N) training images",
    "k_f_std": "its standard deviation over the draws; 0 where M = N, as every draw is the whole sample",
    "k_f_m": "M",
    "k_f_all": "label sharpness over all pairs of the training images",
    "k_q95": "95 % quantile of the K_j",
    "train_loss": "mean cross-entropy of the training images after training, eval mode, nats",
    "test_loss": "of the test images",
    "test_accuracy": "share of the test images",
    **{f"adv_loss_{e}": f"mean cross-entropy of the attacked images, FGSM with eps = {e} grey levels" for e in EPS},
    **{f"adv_acc_{e}": f"accuracy under FGSM, eps = {e}" for e in EPS},
    **{f"penalty_{e}": f"adv_loss_{e} - clean loss of the same images, nats" for e in EPS},
    "pgd_loss_2": "mean cross-entropy under ten-step PGD, eps = 2, of n_pgd images",
    "pgd_penalty_2": "pgd_loss_2 - clean loss of the same images",
    "flip_eps": "mean smallest eps that changes the prediction, grey levels; an image that no eps changes counts as 255",
    "d_repr_last": "MLE (k-2) dimension of the last hidden layer's output for the training images",
    "d_repr_peak": "the largest over the layers",
    "d_repr_layers": "JSON: layer -> estimator -> value",
    "peak_layer": "name of the layer of d_repr_peak",
    "seconds": "of the cell: training, attacks, representations",
    "epochs": "epochs trained",
    "device": "cpu or cuda",
    "status": "done or failed",
    "reason": "why it failed",
    "k_f_100": "label sharpness, mean over 20 draws of M = 100: compares at unequal N",
    "n_attacked": "test images under FGSM",
    "n_pgd": "test images under PGD",
    "flip_never": "attacked images that no eps changed",
    "classes_named": "the labels of the task, joined by |",
    "n_groups": "groups (patients) among the training images; images without one count alone",
}


def run_experiment(experiment: Experiment, tools: Tools, call: Call = call_directly) -> Path:
    """Compute a grid, or what is missing of it; returns its folder.

    Raises
    ------
    DatapropsError
        If a source, a model or an option is unusable, or the experiment is running already.
    """
    store = open_store(experiment.store)
    check(experiment)
    with locked(store, f"experiment-{experiment.name}"):
        experiment.folder.mkdir(parents=True, exist_ok=True)
        write_text(experiment.folder / "experiment.json", json.dumps(asdict(experiment), indent=1) + "\n")
        for stage in STAGES:
            call(stage, experiment, tools)
    return experiment.folder


def check(experiment: Experiment) -> None:
    """Refuse what cannot work, before any work.

    Raises
    ------
    DatapropsError
        Naming the source or the model.
    """
    from dataprops.models import find_model

    for dataset in experiment.datasets:
        config = dataset.audit(experiment.store, experiment.settings)
        open_source(config.source, stages.source_options(config))
    for name in experiment.models:
        least = find_model(name).least
        if experiment.settings.size < least:
            raise DatapropsError(f"{name} needs images of {least} pixels at least, size is {experiment.settings.size}")
    if experiment.device == "cuda":
        device_of(experiment)


def device_of(experiment: Experiment) -> str:
    """Where networks are trained.

    Raises
    ------
    DatapropsError
        If a GPU is wanted and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if experiment.device == "cuda" and not there:
        raise DatapropsError("no CUDA device is available here: use --device cpu")
    return "cuda" if there and experiment.device != "cpu" else "cpu"


# ---- gather


def gather(experiment: Experiment, tools: Tools) -> dict[str, int]:
    """List and decode the images of every dataset; returns the images of each."""
    here = inline_tools(tools.progress)
    return {
        dataset_name(dataset): _gather_one(experiment, dataset, here)
        for dataset in {dataset_name(dataset): dataset for dataset in experiment.datasets}.values()
    }


def _gather_one(experiment: Experiment, dataset: Dataset, tools: Tools) -> int:
    config = dataset.audit(experiment.store, experiment.settings)
    with locked(Path(experiment.store), config.dataset):
        run = start_run(config)
        try:
            scanned = stages.scan(run, tools)
            decoded = stages.decode(run, tools)
            images = pd.read_parquet(run.work / "images.parquet")
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
    images = images[images["pixels"].notna() & images["y"].notna()]
    counts = images["label"].value_counts()
    chosen = task_classes(dataset, list(scanned.classes), counts.to_dict())
    table = images[images["label"].isin(chosen)].reset_index(drop=True)
    table = table.assign(y=table["label"].map({label: code for code, label in enumerate(chosen)}).astype(np.int64))
    folder = experiment.folder / "data"
    write_table(folder / f"{config.dataset}.parquet", table[["path", "label", "y", "group", "content", "pixels"]])
    facts = {
        "domain": dataset.domain,
        "classes": chosen,
        "preprocess": asdict(decoded.preprocess),
        "n_images": len(table),
        "n_unreadable": decoded.n_unreadable,
    }
    write_text(folder / f"{config.dataset}.json", json.dumps(facts) + "\n")
    return len(table)


def task_classes(dataset: Dataset, classes: list[str], counts: dict[str, int]) -> list[str]:
    """The labels of the task: the named ones, all ("*"), or the two largest classes.

    Raises
    ------
    DatapropsError
        If a named class holds no readable image, or fewer than two classes do.
    """
    held = [label for label in classes if counts.get(label, 0)]
    if len(held) < 2:
        raise DatapropsError(f"{dataset.source} has images of {len(held)} classes: a task needs two at least")
    if dataset.classes == ("*",):
        return held
    for label in dataset.classes:
        if label not in held:
            raise DatapropsError(f"{dataset.source} has no images of class {label!r}: classes are {', '.join(held)}")
    if dataset.classes:
        return list(dataset.classes)
    largest = sorted(held, key=lambda label: -counts[label])[:2]
    return [label for label in held if label in largest]


def _facts(folder: Path, dataset: str) -> dict[str, Any]:
    return json.loads((folder / "data" / f"{dataset}.json").read_text(encoding="utf-8"))


def load_images(store: Path, preprocess: Preprocess, contents: list[str]) -> np.ndarray:
    """Canonical images by content, uint8 [n, D]."""
    shards = open_shards(store / "shards" / preprocess.key)
    place = describe_shards(shards, contents)
    if place["shard"].isna().any():
        raise DatapropsError(
            f"{int(place['shard'].isna().sum())} images are gone from the store: run the command again"
        )
    return shards.rows(place["shard"].to_numpy(np.int64), place["row"].to_numpy(np.int64))


# ---- describe


def _sample_name(cell: Cell) -> str:
    return f"{cell.dataset}-{cell.n_train}-{cell.seed}"


def describe(experiment: Experiment, tools: Tools) -> int:
    """Draw every sample and measure the properties of its training images; returns how many samples are possible."""
    samples = {_sample_name(cell): cell for cell in plan_cells(experiment)}
    possible = 0
    with tools.progress("measuring samples", len(samples), "samples") as advance:
        for done in tools.map(describe_sample, ((experiment, cell) for cell in samples.values())):
            possible += done
            advance(1)
    return possible


def describe_sample(experiment: Experiment, cell: Cell) -> bool:
    """Draw and measure one sample, unless that is done; False if the set is too small for it. A piece for `Tools.map`."""
    folder = experiment.folder
    facts = _facts(folder, cell.dataset)
    table = pd.read_parquet(folder / "data" / f"{cell.dataset}.parquet")
    where = folder / "samples" / f"{_sample_name(cell)}.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    group = [None] * len(table) if experiment.split == "image" else table["group"].tolist()
    pixels = [str(i) for i in range(len(table))] if experiment.split == "image" else table["pixels"].tolist()
    try:
        sample = draw(table["y"].to_numpy(), units(group, pixels), cell.n_train, cell.n_test, cell.seed)
    except Impossible as reason:
        named = str(reason)
        for code, label in enumerate(facts["classes"]):
            named = named.replace(f"class {code}", f"class {label!r}")
        write_text(where, json.dumps({"reason": named}) + "\n")
        return False
    preprocess = Preprocess(**facts["preprocess"])
    train = table.iloc[sample.train]
    marks = [preprocess.key, *train["content"], "|", *table["content"].iloc[sample.test], *table["y"].astype(str)]
    key = hashlib.blake2b("\n".join(marks).encode(), digest_size=16).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        if json.loads(where.read_text(encoding="utf-8")).get("key") == key:
            return True
    write_aside(where.with_suffix(".npz"), lambda aside: _save_npz(aside, train=sample.train, test=sample.test))
    values = measure_sample(
        load_images(Path(experiment.store), preprocess, train["content"].tolist()), train, cell.seed
    )
    known = train["group"].fillna(train["path"]).nunique()
    write_text(where, json.dumps({"key": key, "n_groups": int(known), **values}) + "\n")
    return True


def _save_npz(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)


def measure_sample(images: np.ndarray, table: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Dimension and sharpness of some images (uint8 [n, D], and their rows of the table), as columns of the results."""
    k = 20
    numbered = table.assign(image=np.arange(len(table)))
    rows = distinct_rows(numbered)
    everything = array_rows(images[rows.first], rows.y, rows.primary)
    plan = plan_pass(rows.n, everything.features, k)
    state = all_pairs(everything, PassSpec(k), plan).state
    distance, neighbour = contents_only(state, rows, None)
    d = estimate_all(distance, neighbour, everything.features, k, seed, ("mle", "twonn"))
    sharp = np.sqrt(state.sharp[rows.row])
    summary = sharpness_summary(np.where(sharp > 0, sharp, np.nan))
    draws = sampled_sharpness(_SharpnessOptions(seed), inline_tools(threads=1), everything, rows, state, "classes")
    m = max(draws, default=0)
    return {
        "d_data": d["mle_paper"].value,
        "d_data_se": d["mle_paper"].se,
        "d_data_mle": d["mle"].value,
        "d_data_twonn": d["twonn"].value,
        "k_f": float(np.mean(draws[m])) if m else float("nan"),
        "k_f_std": float(np.std(draws[m], ddof=1)) if m else float("nan"),
        "k_f_m": m,
        "k_f_all": summary["max"].value,
        "k_q95": summary["q95"].value,
        "k_f_100": float(np.mean(draws[100])) if 100 in draws else float("nan"),
    }


class _SharpnessOptions:
    """What `properties.sampled_sharpness` reads of an audit's options."""

    def __init__(self, seed: int):
        self.sample, self.draws, self.seed, self.memory = 1000, DRAWS, seed, None


# ---- train


def train(experiment: Experiment, tools: Tools) -> dict[str, int]:
    """Compute the cells that are not finished; returns how many are done and failed."""
    cells = plan_cells(experiment)
    device = device_of(experiment)
    work = experiment.folder / "work"
    (experiment.folder / "cells").mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    missing = [cell for cell in cells if not _finished(experiment, cell, device)]
    images = sum(cell.n_train for cell in missing) * experiment.settings.epochs
    if missing:
        with tools.progress("training", images, "images") as advance, _watching(work, missing, advance):
            for line in tools.map(run_cell, ((experiment, cell, device) for cell in missing)):
                log.info("%s", line)
    rows = [_load_cell(experiment, cell) for cell in cells]
    count = {status: sum(row["status"] == status for row in rows if row) for status in ("done", "failed")}
    with contextlib.suppress(OSError):
        work.rmdir()
    return count


@contextlib.contextmanager
def _watching(work: Path, cells: list[Cell], advance: Callable[[int], None]) -> Iterator[None]:
    """Move the bar by what the cells, wherever they run, write into their progress files."""
    told = dict.fromkeys((cell.key for cell in cells), 0)
    stop = threading.Event()

    def look() -> None:
        for file in work.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                done = json.loads(file.read_text(encoding="utf-8"))["images"]
                if file.stem in told and done > told[file.stem]:
                    advance(done - told[file.stem])
                    told[file.stem] = done

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True, name="experiment")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()
        for file in work.glob("*.json"):
            file.unlink(missing_ok=True)


def _load_cell(experiment: Experiment, cell: Cell) -> dict[str, Any] | None:
    try:
        return json.loads((experiment.folder / "cells" / f"{cell.key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _fingerprint(experiment: Experiment, cell: Cell, device: str, sample_key: str) -> str:
    recipe = recipe_of(experiment, cell, 0, 0, device)
    settings = experiment.settings
    made_from = [VERSION, sample_key, repr(recipe), settings.attacked, settings.pgd, experiment.split, cell.n_test]
    return hashlib.blake2b(repr(made_from).encode(), digest_size=16).hexdigest()


def _finished(experiment: Experiment, cell: Cell, device: str) -> bool:
    row = _load_cell(experiment, cell)
    if row is None or row["status"] != "done":
        return False
    sample = json.loads((experiment.folder / "samples" / f"{_sample_name(cell)}.json").read_text(encoding="utf-8"))
    return "key" in sample and row["fingerprint"] == _fingerprint(experiment, cell, device, sample["key"])


def recipe_of(experiment: Experiment, cell: Cell, channels: int, classes: int, device: str):
    """How the network of a cell is trained."""
    from dataprops.models import find_model
    from dataprops.training import Recipe

    settings, model = experiment.settings, find_model(cell.model)
    return Recipe(
        cell.model,
        channels,
        classes,
        settings.size,
        settings.lr.get(cell.model, model.lr),
        settings.batch.get(cell.model, model.batch),
        settings.epochs,
        settings.weight_decay,
        settings.patience,
        cell.seed,
        device,
        experiment.threads,
    )


def run_cell(experiment: Experiment, cell: Cell, device: str) -> str:
    """Compute one cell and write its file, whatever happens; returns a line that says how it went. A piece for `Tools.map`."""
    began = time.monotonic()
    facts = _facts(experiment.folder, cell.dataset)
    row: dict[str, Any] = {
        **asdict(cell),
        "domain": facts["domain"],
        "preset": experiment.preset,
        "preprocess": Preprocess(**facts["preprocess"]).key,
        "channels": facts["preprocess"]["channels"],
        "size": facts["preprocess"]["size"],
        "classes": len(facts["classes"]),
        "classes_named": "|".join(facts["classes"]),
        "split": experiment.split,
        "device": device,
        "status": "failed",
        "reason": "",
    }
    sample = json.loads((experiment.folder / "samples" / f"{_sample_name(cell)}.json").read_text(encoding="utf-8"))
    if "reason" in sample:
        row["reason"] = sample["reason"]
    else:
        key = sample.pop("key")
        made_from = _fingerprint(experiment, cell, device, key)
        row |= sample | {"fingerprint": made_from}
        checkpoint = experiment.folder / "work" / f"{cell.key}.{made_from}.pt"
        try:
            row |= train_cell(experiment, cell, facts, device, checkpoint)
            row["status"] = "done"
        except Exception as error:
            log.warning("the cell %s failed", cell.key, exc_info=error)
            row["reason"] = f"{type(error).__name__}: {error}"
    row["seconds"] = time.monotonic() - began
    write_text(experiment.folder / "cells" / f"{cell.key}.json", json.dumps(_plain(row), allow_nan=False) + "\n")
    for file in (experiment.folder / "work").glob(f"{cell.key}.*.pt"):
        file.unlink(missing_ok=True)
    if row["status"] == "failed":
        return f"{cell.key}: failed: {row['reason']}"
    return (
        f"{cell.key}: test loss {row['test_loss']:.3f}, accuracy {row['test_accuracy']:.3f}, training loss"
        f" {row['train_loss']:.3f}, {row['seconds']:.0f} s"
    )


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: None."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def train_cell(
    experiment: Experiment, cell: Cell, facts: dict[str, Any], device: str, checkpoint: Path
) -> dict[str, Any]:
    """Train, test, attack and look into one network; the columns that come of it."""
    import torch

    from dataprops import attacks
    from dataprops.training import alone, evaluate, fit

    settings, folder = experiment.settings, experiment.folder
    preprocess = Preprocess(**facts["preprocess"])
    table = pd.read_parquet(folder / "data" / f"{cell.dataset}.parquet")
    with np.load(folder / "samples" / f"{_sample_name(cell)}.npz", allow_pickle=False) as saved:
        parts = {name: table.iloc[saved[name]] for name in ("train", "test")}

    def tensors(part: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
        flat = load_images(Path(experiment.store), preprocess, part["content"].tolist())
        side = preprocess.size
        images = torch.from_numpy(np.array(flat)).view(len(part), side, side, preprocess.channels)
        return images.permute(0, 3, 1, 2), torch.from_numpy(part["y"].to_numpy(np.int64).copy())

    images, y = tensors(parts["train"])
    test_images, test_y = tensors(parts["test"])
    work = folder / "work"
    progress = work / f"{cell.key}.json"

    def tell(epochs: int, loss: float) -> None:
        write_text(progress, json.dumps({"images": epochs * len(images), "epoch": epochs, "loss": loss}))

    recipe = recipe_of(experiment, cell, preprocess.channels, len(facts["classes"]), device)
    times = [time.process_time()]
    fitted = fit(recipe, images, y, checkpoint=checkpoint, on_epoch=tell)
    times.append(time.process_time())
    with alone(experiment.threads):
        net = fitted.net
        train_loss, _ = evaluate(net, images, y, device)
        test_loss, test_accuracy = evaluate(net, test_images, test_y, device)
        attacked = min(settings.attacked or cell.n_test, cell.n_test)
        tried = min(settings.pgd or attacked, attacked)
        row = attack_columns(net, test_images[:attacked], test_y[:attacked], tried, device)
        times.append(time.process_time())
        first = ~parts["train"]["pixels"].duplicated().to_numpy()
        scratch = work / f"{cell.key}.layers"
        try:
            row |= layer_columns(net, cell.model, images[torch.from_numpy(first)], scratch, cell.seed, device)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    times.append(time.process_time())
    return row | {
        "train_loss": train_loss,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "epochs": len(fitted.losses),
        "n_attacked": attacked,
        "n_pgd": tried,
        "losses": fitted.losses,
        "recipe": asdict(recipe),
        "cpu_seconds_of": dict(zip(("training", "attacks", "representations"), np.diff(times).tolist(), strict=True)),
        "pgd_steps": attacks.PGD_STEPS,
    }


def attack_columns(net: Any, images: Any, y: Any, tried: int, device: str) -> dict[str, Any]:
    """FGSM on these test images, PGD on the first `tried` of them, and the eps that changes predictions."""
    from dataprops.attacks import fgsm_results, flip_distance, pgd_result
    from dataprops.training import as_input, evaluate

    x, target = as_input(images, device), y.to(device)
    clean, *results = fgsm_results(net, x, target, [0.0, *(eps / 255 for eps in EPS)])
    row: dict[str, Any] = {}
    for eps, result in zip(EPS, results, strict=True):
        row[f"adv_loss_{eps}"] = result.loss
        row[f"adv_acc_{eps}"] = result.accuracy
        row[f"penalty_{eps}"] = result.loss - clean.loss
    few, _ = evaluate(net, images[:tried], y[:tried], device)
    strong = pgd_result(net, x[:tried], target[:tried], PGD_EPS / 255)
    row["pgd_loss_2"] = strong.loss
    row["pgd_penalty_2"] = strong.loss - few
    distance = flip_distance(net, x).numpy() * 255
    row["flip_never"] = int(np.isinf(distance).sum())
    row["flip_eps"] = float(np.minimum(distance, 255.0).mean())
    return row


def layer_columns(net: Any, model: str, images: Any, scratch: Path, seed: int, device: str) -> dict[str, Any]:
    """Dimension of the layers for distinct training images."""
    from dataprops.models import find_model
    from dataprops.representations import hidden_layers, layer_dimensions
    from dataprops.training import as_input

    known = find_model(model)
    layers = known.layers or hidden_layers(net, as_input(images[:1], device))
    measured = layer_dimensions(net, layers, images, scratch, device=device, seed=seed)
    values = {
        layer: {name: round(e.value, 6) if np.isfinite(e.value) else None for name, e in found.estimates.items()}
        | {"features": found.features, "distinct": found.distinct}
        for layer, found in measured.items()
    }
    paper = {layer: found.estimates["mle_paper"].value for layer, found in measured.items()}
    finite = {layer: value for layer, value in paper.items() if np.isfinite(value)}
    peak = max(finite, key=lambda layer: finite[layer]) if finite else ""
    last = known.last or (layers[-1] if layers else "")
    return {
        "d_repr_last": paper.get(last, float("nan")),
        "d_repr_peak": finite.get(peak, float("nan")),
        "d_repr_layers": json.dumps(values),
        "peak_layer": peak,
    }


# ---- collect


def collect(experiment: Experiment, tools: Tools) -> int:
    """Write the table of the grid's cells; returns its rows."""
    rows = [_load_cell(experiment, cell) for cell in plan_cells(experiment)]
    table = cell_table([row for row in rows if row is not None])
    write_table(experiment.folder / "cells.parquet", table)
    return len(table)


_TEXT = ("dataset", "domain", "model", "preset", "preprocess", "split", "device", "status", "reason", "peak_layer")
_TEXT += ("d_repr_layers", "classes_named")
_WHOLE = ("n_train", "n_test", "seed", "channels", "size", "classes")


def cell_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Cells as a table, in the order of dataset, model, N, seed: numbers are float64 (NaN = not measured), no text is ""."""
    rows = sorted(rows, key=lambda row: (row["dataset"], row["model"], row["n_train"], row["seed"]))
    columns = {}
    for name in COLUMNS:
        values = [row.get(name) for row in rows]
        if name in _TEXT:
            columns[name] = pd.Series(["" if value is None else value for value in values], dtype=object)
        elif name in _WHOLE:
            columns[name] = pd.Series(values, dtype=np.int64)
        else:
            columns[name] = pd.Series([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    return pd.DataFrame(columns)


def load_cells(store: str | Path, name: str = "*") -> pd.DataFrame:
    """The cells of all experiments of a store (or of those whose name fits), with a column `experiment`."""
    tables = [
        pd.read_parquet(file).assign(experiment=file.parent.name)
        for file in sorted(Path(store).glob(f"experiments/{name}/cells.parquet"))
    ]
    return pd.concat(tables, ignore_index=True) if tables else cell_table([]).assign(experiment="")


STAGES = (gather, describe, train, collect)


# ---- tools


def process_map(workers: int) -> Callable[[Callable[..., Any], Iterable[tuple]], Iterator[Any]]:
    """A `Tools.map` on processes: torch's generator belongs to a process, so only one network is trained in each."""

    def run(function: Callable[..., Any], arguments: Iterable[tuple]) -> Iterator[Any]:
        # unlike the standard library's processes these do not run the main script again
        from joblib.externals.loky import FIRST_COMPLETED, ProcessPoolExecutor, wait

        if workers == 1:
            for args in arguments:
                yield function(*args)
            return
        waiting = set()
        pool = ProcessPoolExecutor(workers)
        try:
            for args in arguments:
                waiting.add(pool.submit(function, *args))
                if len(waiting) >= 2 * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BaseException:
            pool.shutdown(kill_workers=True)
            raise
        pool.shutdown()

    return run


def experiment_tools(experiment: Experiment, progress: Progress = no_progress, workers: int | None = None) -> Tools:
    """Processes of this machine: one for each core on a CPU, one on a GPU, unless `workers` says otherwise."""
    device = device_of(experiment)
    count = workers or (1 if device == "cuda" else max(1, cores() // experiment.threads))
    # what the libraries of a worker read when they load
    os.environ.setdefault("OMP_NUM_THREADS", str(experiment.threads))
    return Tools(process_map(count), None, count, experiment.threads, device, progress)

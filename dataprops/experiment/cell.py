"""Compute one cell: train, test, attack, measure representations, and record the result or the failure."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dataprops.experiment.grid import Cell, Experiment
from dataprops.experiment.samples import sample_name
from dataprops.experiment.sets import facts_of, load_images
from dataprops.experiment.table import EPS, load_cell
from dataprops.imaging.decode import Preprocess
from dataprops.util.files import write_text
from dataprops.util.json import plain

if TYPE_CHECKING:
    import torch

    from dataprops.experiment.training import Recipe

log = logging.getLogger(__name__)

VERSION = 3  # version of the computation; cells of other versions are recomputed
PGD_EPS = 2


def _fingerprint(experiment: Experiment, cell: Cell, device: str, sample_key: str) -> str:
    recipe = recipe_of(experiment, cell, 0, 0, device)
    settings = experiment.settings
    made_from = [VERSION, sample_key, repr(recipe), settings.attacked, settings.pgd, experiment.split, cell.n_test]
    return hashlib.blake2b(repr(made_from).encode(), digest_size=16).hexdigest()


def finished(experiment: Experiment, cell: Cell, device: str) -> bool:
    """Whether the cell is finished with the current inputs."""
    row = load_cell(experiment, cell)
    if row is None or row["status"] != "done":
        return False
    sample = json.loads((experiment.folder / "samples" / f"{sample_name(cell)}.json").read_text(encoding="utf-8"))
    return "key" in sample and row["fingerprint"] == _fingerprint(experiment, cell, device, sample["key"])


def recipe_of(experiment: Experiment, cell: Cell, channels: int, classes: int, device: str) -> Recipe:
    """How the network of a cell is trained."""
    from dataprops.experiment.models import find_model
    from dataprops.experiment.training import Recipe

    settings, model = experiment.settings, find_model(cell.model)
    return Recipe(
        cell.model,
        channels,
        classes,
        settings.size,
        settings.lr.get(cell.model, model.lr),
        settings.batch.get(cell.model, model.batch),
        settings.epochs_of(cell.model),
        settings.weight_decay,
        settings.patience,
        cell.seed,
        device,
        experiment.threads,
    )


def run_cell(experiment: Experiment, cell: Cell, device: str) -> str:
    """Compute one cell and write its file, also on failure; returns a status line. For `Tools.map`."""
    began = time.monotonic()
    facts = facts_of(experiment.folder, cell.dataset)
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
    sample = json.loads((experiment.folder / "samples" / f"{sample_name(cell)}.json").read_text(encoding="utf-8"))
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
    write_text(experiment.folder / "cells" / f"{cell.key}.json", json.dumps(plain(row), allow_nan=False) + "\n")
    for file in (experiment.folder / "work").glob(f"{cell.key}.*.pt"):
        file.unlink(missing_ok=True)
    if row["status"] == "failed":
        return f"{cell.key}: failed: {row['reason']}"
    return (
        f"{cell.key}: test loss {row['test_loss']:.3f}, accuracy {row['test_accuracy']:.3f}, training loss"
        f" {row['train_loss']:.3f}, {row['seconds']:.0f} s"
    )


def train_cell(
    experiment: Experiment, cell: Cell, facts: dict[str, Any], device: str, checkpoint: Path
) -> dict[str, Any]:
    """Train, test and attack one network and measure its representations; returns the columns."""
    import torch

    from dataprops.experiment import attacks
    from dataprops.experiment.after import CONVERGED, reestimate_batch_norm, scaled_columns
    from dataprops.experiment.training import evaluate, fit, isolated_torch_state

    settings, folder, preprocess = experiment.settings, experiment.folder, Preprocess(**facts["preprocess"])
    table = pd.read_parquet(folder / "data" / f"{cell.dataset}.parquet")
    with np.load(folder / "samples" / f"{sample_name(cell)}.npz", allow_pickle=False) as saved:
        parts = {name: table.iloc[saved[name]] for name in ("train", "test", "hold")}

    def tensors(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        return _tensors(Path(experiment.store), preprocess, parts[part])

    (images, y), (test_images, test_y) = tensors("train"), tensors("test")
    work = folder / "work"
    progress = work / f"{cell.key}.json"

    def tell(epochs: int, loss: float) -> None:
        write_text(progress, json.dumps({"images": epochs * len(images), "epoch": epochs, "loss": loss}))

    recipe = recipe_of(experiment, cell, preprocess.channels, len(facts["classes"]), device)
    times = [time.process_time()]
    fitted = fit(recipe, images, y, checkpoint=checkpoint, on_epoch=tell)
    times.append(time.process_time())
    with isolated_torch_state(experiment.threads):
        net = fitted.net
        reestimate_batch_norm(net, images, device)
        train_loss, _ = evaluate(net, images, y, device)
        test_loss, test_accuracy = evaluate(net, test_images, test_y, device)
        scaled = scaled_columns(net, (test_images, test_y), tensors("hold"), device)
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
    seconds = dict(zip(("training", "attacks", "representations"), np.diff(times).tolist(), strict=True))
    measured = {
        "converged": float(train_loss <= CONVERGED),
        "train_loss": train_loss,
        "test_loss": test_loss,
        "test_accuracy": test_accuracy,
        "epochs": len(fitted.losses),
        "n_attacked": attacked,
        "n_pgd": tried,
        "losses": fitted.losses,
        "recipe": asdict(recipe),
        "cpu_seconds_of": seconds,
        "pgd_steps": attacks.PGD_STEPS,
    }
    return row | scaled | measured


def _tensors(store: Path, preprocess: Preprocess, part: pd.DataFrame) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of a sample, uint8 [n, c, h, w], and their classes."""
    import torch

    flat = load_images(store, preprocess, part["content"].tolist())
    side = preprocess.size
    images = torch.from_numpy(np.array(flat)).view(len(part), side, side, preprocess.channels)
    return images.permute(0, 3, 1, 2), torch.from_numpy(part["y"].to_numpy(np.int64).copy())


def attack_columns(net: Any, images: Any, y: Any, tried: int, device: str) -> dict[str, Any]:
    """Columns of FGSM on these test images, PGD on the first `tried` of them, and flip distances."""
    from dataprops.experiment.attacks import fgsm_results, flip_distance, pgd_result
    from dataprops.experiment.training import as_input, evaluate

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
    """Columns of the intrinsic dimension of the layers, over distinct training images."""
    from dataprops.experiment.models import find_model
    from dataprops.experiment.representations import LayerOptions, hidden_layers, layer_dimensions
    from dataprops.experiment.training import as_input

    known = find_model(model)
    layers = known.layers or hidden_layers(net, as_input(images[:1], device))
    measured = layer_dimensions(net, layers, images, scratch, device, LayerOptions(seed=seed))
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

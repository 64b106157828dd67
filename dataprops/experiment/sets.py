"""The datasets of a grid: list and decode images with the stages of the audit, and choose the classes of the task."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import start_run
from dataprops.errors import DatapropsError
from dataprops.experiment.grid import Dataset, Experiment, dataset_name
from dataprops.imaging.decode import Preprocess
from dataprops.store.folder import locked
from dataprops.store.shards import describe as describe_shards
from dataprops.store.shards import open_shards
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.tools import Tools, inline_tools


def gather(experiment: Experiment, tools: Tools) -> dict[str, int]:
    """List and decode the images of every dataset; returns the number of images of each."""
    here = inline_tools(tools.progress)
    return {
        dataset_name(dataset): _gather_one(experiment, dataset, here)
        for dataset in {dataset_name(dataset): dataset for dataset in experiment.datasets}.values()
    }


def _gather_one(experiment: Experiment, dataset: Dataset, tools: Tools) -> int:
    config = dataset.audit(experiment.store, experiment.settings)
    with locked(Path(experiment.store), config.dataset, experiment.wait):
        run = start_run(config)
        try:
            scanned = scan(run, tools)
            decoded = decode(run, tools)
            images = run.files.files.read()
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
    images = images[images["pixels"].notna() & images["y"].notna()]
    counts: Any = images["label"].value_counts().to_dict()
    chosen = task_classes(dataset, list(scanned.classes), counts)
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
    """The classes of the task: those named, all ("*"), or the two largest.

    Raises
    ------
    DatapropsError
        If a named class has no readable image, or fewer than two classes have any.
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


def facts_of(folder: Path, dataset: str) -> dict[str, Any]:
    """The facts that `gather` wrote about a set."""
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

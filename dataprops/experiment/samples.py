"""Draw the samples of a grid (dataset, N, seed) and measure the properties of their training images."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops.distances.allpairs import all_pairs, array_rows
from dataprops.distances.plan import plan_pass
from dataprops.distances.state import PassSpec
from dataprops.experiment.grid import Cell, Experiment, plan_cells
from dataprops.experiment.sets import facts_of, load_images
from dataprops.experiment.splits import Impossible, draw, held_back, leak_groups
from dataprops.imaging.decode import Preprocess
from dataprops.properties.distinct import distinct_rows
from dataprops.properties.estimators import estimate_all
from dataprops.properties.sharpness import sharpness_summary
from dataprops.properties.tables import Drawing, contents_only, sampled_sharpness
from dataprops.util.files import write_arrays, write_text
from dataprops.util.tools import Tools, inline_tools

DRAWS = 20
HELD_BACK = 150  # maximum number of validation images, for the temperature
MADE = "2"  # version of sampling and measurements


def sample_name(cell: Cell) -> str:
    """File name of a cell's sample, shared by all models."""
    return f"{cell.dataset}-{cell.n_train}-{cell.seed}"


def describe(experiment: Experiment, tools: Tools) -> int:
    """Draw every sample and measure the properties of its training images; returns the number of possible samples."""
    samples = {sample_name(cell): cell for cell in plan_cells(experiment)}
    possible = 0
    with tools.progress("measuring samples", len(samples), "samples") as advance:
        for done in tools.map(describe_sample, ((experiment, cell) for cell in samples.values())):
            possible += done
            advance(1)
    return possible


def describe_sample(experiment: Experiment, cell: Cell) -> bool:
    """Draw and measure one sample, if not yet done; False if the set is too small for it. For `Tools.map`."""
    folder = experiment.folder
    facts = facts_of(folder, cell.dataset)
    table = pd.read_parquet(folder / "data" / f"{cell.dataset}.parquet")
    where = folder / "samples" / f"{sample_name(cell)}.json"
    where.parent.mkdir(parents=True, exist_ok=True)
    group: list[str | None] = [None] * len(table) if experiment.split == "image" else table["group"].tolist()
    pixels = [str(i) for i in range(len(table))] if experiment.split == "image" else table["pixels"].tolist()
    try:
        leak_group = leak_groups(group, pixels)
        sample = draw(table["y"].to_numpy(), leak_group, cell.n_train, cell.n_test, cell.seed)
    except Impossible as reason:
        named = str(reason)
        for code, label in enumerate(facts["classes"]):
            named = named.replace(f"class {code}", f"class {label!r}")
        write_text(where, json.dumps({"reason": named}) + "\n")
        return False
    preprocess = Preprocess(**facts["preprocess"])
    train = table.iloc[sample.train]
    marks = [MADE, preprocess.key, *train["content"], "|", *table["content"].iloc[sample.test], *table["y"].astype(str)]
    key = hashlib.blake2b("\n".join(marks).encode(), digest_size=16).hexdigest()
    with contextlib.suppress(OSError, ValueError):
        if json.loads(where.read_text(encoding="utf-8")).get("key") == key:
            return True
    hold = held_back(table["y"].to_numpy(np.int64), leak_group, sample, HELD_BACK, cell.seed)
    write_arrays(where.with_suffix(".npz"), train=sample.train, test=sample.test, hold=hold)
    images = load_images(Path(experiment.store), preprocess, train["content"].tolist())
    values = measure_sample(images, train, cell.seed) | {"n_hold": len(hold)}
    pixels_of = np.asarray(images).reshape(len(train), preprocess.size, preprocess.size, preprocess.channels)
    values |= probe_sample(pixels_of, train["y"].to_numpy(np.int64), leak_group[sample.train], cell.seed)
    known = train["group"].fillna(train["path"]).nunique()
    write_text(where, json.dumps({"key": key, "n_groups": int(known), **values}) + "\n")
    return True


def measure_sample(images: np.ndarray, table: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Dimension and sharpness of images (uint8 [n, D], with their rows of the table), as result columns."""
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
    draws = sampled_sharpness(
        inline_tools(threads=1), everything, rows, state, Drawing(draws=DRAWS, seed=seed), numeric=False
    )
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
        "k_mean": float(sharp[sharp > 0].mean()) if (sharp > 0).any() else float("nan"),
        "k_f_100": float(np.mean(draws[100])) if 100 in draws else float("nan"),
    }


def probe_sample(images: np.ndarray, y: np.ndarray, leak_group: np.ndarray, seed: int) -> dict[str, Any]:
    """Result columns of the probe on the training images uint8 [n, h, w, c]; NaN if it is withheld."""
    from dataprops.probe.measure import reason_not_applicable, run_probe

    named = ("p_error", "p_loss", "p_wrong", "p_gradient", "p_penalty")
    least = min(len(np.unique(leak_group[y == c])) for c in range(int(y.max()) + 1))
    told: dict[str, Any] = dict.fromkeys(named, float("nan")) | {"groups_least": least}
    if reason_not_applicable(y, leak_group, numeric=False) is not None:
        return told
    found = run_probe(images, y, leak_group, seed=seed)
    assert found.log_loss is not None and found.attack is not None
    return told | {
        "p_error": found.error.value,
        "p_loss": found.log_loss.value,
        "p_wrong": float(found.wrong.sum()),
        "p_gradient": float(found.attack.gradient.mean()),
        "p_penalty": float(found.attack.penalty.mean()),
    }

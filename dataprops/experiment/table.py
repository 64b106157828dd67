"""Cells as files and as a table: columns, and their representation in JSON and Parquet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops.experiment.grid import Cell, Experiment
from dataprops.laws.fitting.table import CONVERGED

EPS = (1, 2, 4, 8)  # grey levels
SPREAD = ("test_loss", "test_loss_scaled", "test_error")  # columns whose spread over seeds is reported

# name -> description, in the order of the table
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
    "k_f_std": "its standard deviation over the draws; 0 if M = N, as every draw is the whole sample",
    "k_f_m": "M",
    "k_f_all": "label sharpness over all pairs of the training images",
    "k_q95": "95 % quantile of the K_j",
    "k_mean": "mean of the K_j",
    "p_error": "cross-validated error of the probe on the training images",
    "p_loss": "its calibrated log loss, nats",
    "p_wrong": "number of training images it misclassifies",
    "p_gradient": "mean L1 norm of its input gradient, nats per grey level",
    "p_penalty": "increase in its log loss under FGSM with eps = 2 grey levels, nats",
    "groups_least": "smallest number of groups of a class; with fewer than four the probe is withheld",
    "train_loss": "mean cross-entropy of the training images after training, eval mode, nats",
    "test_loss": "mean cross-entropy of the test images, nats",
    "test_accuracy": "fraction of the test images classified correctly",
    "test_error": "fraction of the test images misclassified",
    "errors": "their number",
    "n_hold": "validation images for the temperature",
    "temperature": "fitted to the validation images, at least 1",
    "test_loss_scaled": "test loss with temperature scaling, nats; NaN without validation images",
    "converged": f"1 if the training loss is at most {CONVERGED} nats, else 0; fits use only cells with 1",
    "test_loss_sd": "standard deviation of test_loss over the converged seeds of this dataset, network and N; NaN with one",
    "test_loss_scaled_sd": "of test_loss_scaled",
    "test_error_sd": "of test_error",
    **{f"adv_loss_{e}": f"mean cross-entropy of the attacked images, FGSM with eps = {e} grey levels" for e in EPS},
    **{f"adv_acc_{e}": f"accuracy under FGSM, eps = {e}" for e in EPS},
    **{f"penalty_{e}": f"adv_loss_{e} - clean loss of the same images, nats" for e in EPS},
    "pgd_loss_2": "mean cross-entropy under ten-step PGD, eps = 2, of n_pgd images",
    "pgd_penalty_2": "pgd_loss_2 - clean loss of the same images",
    "flip_eps": "mean of the smallest eps that changes the prediction, grey levels; 255 for images that no eps changes",
    "d_repr_last": "MLE (k-2) dimension of the last hidden layer's output for the training images",
    "d_repr_peak": "maximum over the layers",
    "d_repr_layers": "JSON: layer -> estimator -> value",
    "peak_layer": "name of the layer of d_repr_peak",
    "seconds": "of the cell: training, attacks, representations",
    "epochs": "epochs trained",
    "device": "cpu or cuda",
    "status": "done or failed",
    "reason": "why it failed",
    "k_f_100": "label sharpness, mean over 20 draws of M = 100, for comparisons at unequal N",
    "n_attacked": "test images under FGSM",
    "n_pgd": "test images under PGD",
    "flip_never": "attacked images whose prediction no eps changed",
    "classes_named": "the labels of the task, joined by |",
    "n_groups": "groups (patients) in the training images; an image without one is its own group",
}


def load_cell(experiment: Experiment, cell: Cell) -> dict[str, Any] | None:
    """A cell's file; None if it is missing or unreadable."""
    try:
        return json.loads((experiment.folder / "cells" / f"{cell.key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


_TEXT = ("dataset", "domain", "model", "preset", "preprocess", "split", "device", "status", "reason", "peak_layer")
_TEXT += ("d_repr_layers", "classes_named")
_WHOLE = ("n_train", "n_test", "seed", "channels", "size", "classes")


def cell_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Cells as a table, sorted by dataset, model, N, seed; numbers are float64 (NaN = not measured), missing text is ""."""
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
    return _with_spread(pd.DataFrame(columns))


def _with_spread(table: pd.DataFrame) -> pd.DataFrame:
    """Fill in the spread over seeds."""
    for name in SPREAD:
        known = table[name].where(table["converged"] == 1)
        table[f"{name}_sd"] = known.groupby([table[key] for key in ("dataset", "model", "n_train")]).transform("std")
    return table


def load_cells(store: str | Path) -> pd.DataFrame:
    """The cells of all experiments of a store, with a column `experiment`."""
    tables = [
        pd.read_parquet(file).assign(experiment=file.parent.name)
        for file in sorted(Path(store).glob("experiments/*/cells.parquet"))
    ]
    return pd.concat(tables, ignore_index=True) if tables else cell_table([]).assign(experiment="")

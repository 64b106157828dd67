"""The table to fit: one row per trained network, or per dataset; columns may be missing.

Columns as in `cells.parquet` of an experiment (laws/README.md, "Fitting your own"); the names in the paper's table are mapped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError

ALIASES = {"label_sharpness": "k_f", "attack_loss_penalty": "penalty_2", "d_repr": "d_repr_last"}
ATTACKS = {
    "penalty_1": "FGSM, eps 1/255",
    "penalty_2": "FGSM, eps 2/255",
    "penalty_4": "FGSM, eps 4/255",
    "penalty_8": "FGSM, eps 8/255",
    "pgd_penalty_2": "PGD, eps 2/255",
}
# nats; a network with a larger training loss has not fitted its training images and is excluded
CONVERGED = 0.3
NUMBERS = (
    "n_train",
    "channels",
    "classes",
    "d_data",
    "k_f",
    "k_f_m",
    "test_loss",
    "flip_eps",
    "d_repr_last",
    "d_repr_peak",
    *ATTACKS,
)
TEXTS = {"dataset": "", "domain": "unknown", "model": "any network", "preset": "", "preprocess": "", "status": "done"}


class TrainingTable(NamedTuple):
    """A table prepared for fitting.

    Attributes
    ----------
    table : DataFrame
        All of `NUMBERS` (float, NaN where unknown) and `TEXTS`, and `family`: networks that share their intercepts.
    absent : tuple of str
        Numeric columns that are missing or contain no number.
    notes : tuple of str
        Excluded rows and caveats, in sentences.
    """

    table: pd.DataFrame
    absent: tuple[str, ...]
    notes: tuple[str, ...]


def learned(table: pd.DataFrame) -> np.ndarray:
    """Which rows are networks that fitted their training images, bool [rows]; shared by all fits.

    Networks with a `train_loss` above `CONVERGED`, or with `converged` = 0 (as for a NaN loss), did not. A row with neither
    value counts as fitted.
    """
    return ~(_numbers(table, "train_loss") > CONVERGED) & ~(_numbers(table, "converged") == 0)


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float [rows]; NaN for non-numeric values or a missing column."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    parsed: Any = pd.to_numeric(table[name], errors="coerce")
    return parsed.to_numpy(float)


def points_of(table: pd.DataFrame) -> TrainingTable:
    """Rows of completed training runs, with numeric columns converted.

    Raises
    ------
    DatapropsError
        If there is no column `dataset`, or no completed row.
    """
    if "dataset" not in table.columns:
        raise DatapropsError(
            f"the table has no column 'dataset' (it has {', '.join(map(str, table.columns[:12]))}): every row must name its dataset"
        )
    table = table.rename(columns={old: new for old, new in ALIASES.items() if new not in table.columns})
    out: Any = pd.DataFrame(index=range(len(table)))
    for name, default in TEXTS.items():
        values = table[name] if name in table.columns else pd.Series(default, index=table.index)
        out[name] = values.astype(object).where(values.notna(), default).astype(str).to_numpy()
    for name in NUMBERS:
        numbers = _numbers(table, name)
        out[name] = np.where(np.isfinite(numbers), numbers, np.nan)
    out["learned"] = learned(table)
    notes = []
    unfinished = ~out["status"].eq("done")
    if unfinished.any():
        notes.append(f"{unfinished.sum():,} of {len(out):,} rows are left out: their training did not finish")
        out = out.loc[~unfinished].reset_index(drop=True)
    if out.empty:
        raise DatapropsError(f"none of the {len(table)} rows of the table is a completed training run: nothing to fit")
    unlearned = ~out.pop("learned")
    if unlearned.any():
        notes.append(
            f"{unlearned.sum():,} of {len(out):,} rows are left out: their training loss is above {CONVERGED} nats, so the network"
            " has not fitted its training images"
        )
        out = out[~unlearned].reset_index(drop=True)
    if out.empty:
        raise DatapropsError(
            f"none of the {len(table)} networks has a training loss of at most {CONVERGED} nats: train longer"
        )
    presets = out["preset"].nunique()
    out["family"] = out["model"] + (" (" + out["preset"] + ")" if presets > 1 else "")
    notes += _to_mind(out)
    absent = tuple(name for name in NUMBERS if out[name].isna().all())
    return TrainingTable(out, absent, tuple(notes))


def _to_mind(out: pd.DataFrame) -> list[str]:
    """Caveats about the fitted rows, in sentences."""
    notes = []
    nothing_left = out["test_loss"] <= 0
    if nothing_left.any():
        notes.append(
            f"{_rows(nothing_left)} a test loss of 0 or less, which has no logarithm: left out of the generalization laws"
        )
    if (out["penalty_2"] < 0).any():
        notes.append(
            f"{_rows(out['penalty_2'] < 0)} a negative penalty (the attack lowered the loss), which is kept: that law is linear"
        )
    channels = sorted(out["channels"].dropna().unique())
    if len(channels) > 1:
        notes.append(
            f"the table mixes sets of {' and '.join(f'{c:.0f}' for c in channels)} channels, as the paper's does: label"
            " sharpness scales with the channels, so part of its effect may be that of grey against colour (see"
            " within_channels)"
        )
    sizes = out["k_f_m"].dropna()
    if sizes.nunique() > 1:
        notes.append(
            f"label sharpness was measured on samples of {sizes.min():,.0f} to {sizes.max():,.0f} images: it is smaller in smaller"
            " samples, which biases the comparison between training set sizes"
        )
    return notes


def _rows(which: Any) -> str:
    """'1 row has', '1,200 rows have'."""
    count = int(which.sum())
    return "1 row has" if count == 1 else f"{count:,} rows have"


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a CSV (lines starting with # are comments) or Parquet file.

    Raises
    ------
    DatapropsError
        If it cannot be read.
    """
    path = Path(path).expanduser()
    try:
        if path.suffix.lower() == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, comment="#")
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise DatapropsError(f"the table {path} cannot be read ({error}): it must be CSV or Parquet") from error


def read_experiments(store: Path) -> pd.DataFrame:
    """Cells of all experiments in a store; the column `experiment` has the experiment's name.

    Raises
    ------
    DatapropsError
        If there are none.
    """
    files = sorted((store / "experiments").glob("*/cells.parquet"))
    if not files:
        raise DatapropsError(
            f"the store {store} has no finished experiment (experiments/*/cells.parquet): run dataprops experiment first,"
            " or fit a table with --table"
        )
    return pd.concat([read_table(file).assign(experiment=file.parent.name) for file in files], ignore_index=True)


def one_preprocessing(table: pd.DataFrame, key: str | None = None) -> pd.DataFrame:
    """Rows with one preprocessing, for any number of channels.

    Parameters
    ----------
    key : str, optional
        Preprocessing key, with or without channels; by default the only one in the table.

    Raises
    ------
    DatapropsError
        If the table has several and no key is given, or has no rows with that key.
    """
    if "preprocess" not in table.columns:
        if key is not None:
            raise DatapropsError(f"the table has no column 'preprocess' to select {key!r} by: omit --preprocess")
        return table
    kinds = table["preprocess"].fillna("").astype(str).map(any_channels)
    there = sorted(set(kinds))
    if key is not None:
        chosen = table.loc[kinds == any_channels(key)]
        if chosen.empty:
            raise DatapropsError(f"no row has the preprocessing {key!r}; there is {', '.join(there)}")
        return chosen
    if len(there) > 1:
        raise DatapropsError(
            f"the rows have {len(there)} different preprocessings ({', '.join(there)}), across which label sharpness is not"
            f" comparable: choose one with --preprocess, e.g. --preprocess {there[0]}"
        )
    return table


def any_channels(key: str) -> str:
    """'224x224x1-per-image-max-v1' -> '224x224-per-image-max-v1'."""
    shape, dash, rest = key.partition("-")
    sides = shape.split("x")
    return "x".join(sides[:2]) + dash + rest


def listed(names: Iterable[str], most: int = 8) -> str:
    """Comma-separated names, at most `most` of them."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

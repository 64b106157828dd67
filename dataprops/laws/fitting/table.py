"""The table that laws are fitted to: one row for each trained network, or for each dataset, as far as its columns go.

Columns as in `cells.parquet` of an experiment (laws/README.md, "Fitting your own"); the paper's table has names of its own.
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
# nats: a network whose training loss is above has not learned its training images, and says nothing about a law
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
    """A table that laws can be fitted to.

    Attributes
    ----------
    table : DataFrame
        All of `NUMBERS` (float, NaN where unknown) and `TEXTS`, and `family`: networks that share their constants.
    absent : tuple of str
        Columns of numbers that the table does not have, or that hold no number.
    notes : tuple of str
        What was left out, and what to mind, in sentences.
    """

    table: pd.DataFrame
    absent: tuple[str, ...]
    notes: tuple[str, ...]


def learned(table: pd.DataFrame) -> np.ndarray:
    """Which rows are networks that learned their training images, bool [rows]: the one rule of all fits.

    A `train_loss` above `CONVERGED` says that a network did not, as does `converged` = 0, which a loss that is not a number
    has, too. Where a row has neither value, its network is taken to have learned.
    """
    return ~(_numbers(table, "train_loss") > CONVERGED) & ~(_numbers(table, "converged") == 0)


def _numbers(table: pd.DataFrame, name: str) -> np.ndarray:
    """A column as float [rows]; NaN where there is no number, or no such column."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    parsed: Any = pd.to_numeric(table[name], errors="coerce")
    return parsed.to_numpy(float)


def points_of(table: pd.DataFrame) -> TrainingTable:
    """Rows of finished trainings, with numeric columns as numbers.

    Raises
    ------
    DatapropsError
        If there is no column `dataset`, or no finished row.
    """
    if "dataset" not in table.columns:
        raise DatapropsError(
            f"the table has no column 'dataset' (it has {', '.join(map(str, table.columns[:12]))}): each row must name its dataset"
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
        raise DatapropsError(f"the table has {len(table)} rows and none is of a finished training: nothing to fit")
    unlearned = ~out.pop("learned")
    if unlearned.any():
        notes.append(
            f"{unlearned.sum():,} of {len(out):,} rows are left out: their training loss is above {CONVERGED} nats, so the network"
            " has not learned its training images and says nothing about a law"
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
            f"{_rows(nothing_left)} a test loss of 0 or less, which has no logarithm: left out of the laws of the loss"
        )
    if (out["penalty_2"] < 0).any():
        notes.append(
            f"{_rows(out['penalty_2'] < 0)} a negative penalty (the attack lowered the loss), which is kept: that law is linear"
        )
    channels = sorted(out["channels"].dropna().unique())
    if len(channels) > 1:
        notes.append(
            f"the table mixes sets of {' and '.join(f'{c:.0f}' for c in channels)} channels, as the paper's does: label"
            " sharpness scales with the channels, so part of what it explains may be grey against colour (see"
            " within_channels)"
        )
    sizes = out["k_f_m"].dropna()
    if sizes.nunique() > 1:
        notes.append(
            f"label sharpness is that of samples of {sizes.min():,.0f} to {sizes.max():,.0f} images: smaller samples have"
            " smaller maxima, which biases the comparison between training sizes"
        )
    return notes


def _rows(which: Any) -> str:
    """'1 row has', '1,200 rows have'."""
    count = int(which.sum())
    return "1 row has" if count == 1 else f"{count:,} rows have"


def read_table(path: str | Path) -> pd.DataFrame:
    """A CSV (lines that start with # are remarks) or Parquet file.

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
    """Cells of all experiments of a store, with the name of each one in the column `experiment`.

    Raises
    ------
    DatapropsError
        If there is none.
    """
    files = sorted((store / "experiments").glob("*/cells.parquet"))
    if not files:
        raise DatapropsError(
            f"the store {store} has no finished experiment (experiments/*/cells.parquet): run dataprops experiment first,"
            " or fit a table with --table"
        )
    return pd.concat([read_table(file).assign(experiment=file.parent.name) for file in files], ignore_index=True)


def one_preprocessing(table: pd.DataFrame, key: str | None = None) -> pd.DataFrame:
    """Rows of one preprocessing, whatever the number of channels.

    Parameters
    ----------
    key : str, optional
        Key of the preprocessing, with or without channels; by default the only one in the table.

    Raises
    ------
    DatapropsError
        If the table has several and none is named, or has no rows of the one that is.
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
            f"the rows are of {len(there)} preprocessings ({', '.join(there)}), and label sharpness does not compare across"
            f" them: choose one with --preprocess, e.g. --preprocess {there[0]}"
        )
    return table


def any_channels(key: str) -> str:
    """'224x224x1-per-image-max-v1' -> '224x224-per-image-max-v1'."""
    shape, dash, rest = key.partition("-")
    sides = shape.split("x")
    return "x".join(sides[:2]) + dash + rest


def listed(names: Iterable[str], most: int = 8) -> str:
    """Names in a sentence, the first few of many."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

"""The laws of the paper, one row each: target, terms, and theoretical slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


def positive_log(values: Any) -> np.ndarray:
    """Natural logarithm; NaN for values <= 0."""
    positive = values.where(values > 0).to_numpy(float)
    return np.log(positive)


def _per_dimension(dimension: str) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda table: -positive_log(table["n_train"]) / table[dimension].where(table[dimension] > 0).to_numpy(float)


@dataclass(frozen=True)
class Law:
    """A law as a row of data.

    Attributes
    ----------
    title : str
    target : str
        Predicted column.
    logarithm : bool
        Whether the target is the logarithm of that column.
    unit : str
        Unit of its errors.
    terms : dict of str to callable
        Name -> function of the table, float [rows].
    needs : tuple of str
        Columns.
    theory : tuple of float or None
        Theoretical slopes, from the paper.
    """

    title: str
    target: str
    logarithm: bool
    unit: str
    terms: dict[str, Callable[[pd.DataFrame], np.ndarray]]
    needs: tuple[str, ...]
    theory: tuple[float, ...] | None


def _of_representation(where: str, dimension: str) -> Law:
    """Loss against N by the intrinsic dimension of the representations, measured at `where`."""
    return Law(
        f"representation: log L = -(1/d_repr) log N + c, d_repr {where}",
        "test_loss",
        True,
        "log nats",
        {"log_n_per_dimension": _per_dimension(dimension)},
        ("test_loss", "n_train", dimension),
        (1.0,),
    )


LAWS: dict[str, Law] = {
    "generalization": Law(
        "generalization: log L = -(1/d_data) log N + log K_F + a",
        "test_loss",
        True,
        "log nats",
        {"log_n_per_dimension": _per_dimension("d_data"), "log_sharpness": lambda table: positive_log(table["k_f"])},
        ("test_loss", "n_train", "d_data", "k_f"),
        (1.0, 1.0),
    ),
    "robustness": Law(
        "robustness: loss increase under FGSM, eps 2/255, against K_F",
        "penalty_2",
        False,
        "nats",
        {"sharpness": lambda table: table["k_f"].to_numpy(float)},
        ("penalty_2", "k_f"),
        None,
    ),
    "flip_distance": Law(
        "robustness: log R = -log K_F + b, R the smallest step that flips the prediction",
        "flip_eps",
        True,
        "log grey levels",
        {"log_sharpness": lambda table: positive_log(table["k_f"])},
        ("flip_eps", "k_f"),
        (-1.0,),
    ),
    "representation": _of_representation("of the last block", "d_repr_last"),
    "representation_peak": _of_representation("where it peaks", "d_repr_peak"),
}
BOUNDS = {"bound": "d_repr_last", "bound_peak": "d_repr_peak"}

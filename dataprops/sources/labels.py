"""Labels as numbers: codes of classes, or the values themselves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dataprops.errors import DatapropsError


def _number(text: str) -> float | None:
    if "_" in text:  # Python reads 1_5 as 15; in a label it is a name
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def label_values(
    labels: Sequence[str | None], kind: str = "auto", paths: Sequence[str] | None = None
) -> tuple[str, np.ndarray, list[str]]:
    """Turn labels into numbers.

    Parameters
    ----------
    labels : sequence of str or None
        None = unlabelled.
    kind : str
        "classes", "numbers", or "auto": numbers if every label is one and at least one is not a whole number,
        else classes.
    paths : sequence of str, optional
        For the error message.

    Returns
    -------
    kind : str
        "classes", "numbers" or "none".
    y : float64 [n]
        Position in `classes`, or the number; NaN = unlabelled.
    classes : list of str
        Distinct labels, whole numbers in numeric order, others in alphabetic order; empty unless `kind` is "classes".

    Raises
    ------
    DatapropsError
        If "numbers" are wanted and a label is none.
    """
    given = sorted({label for label in labels if label is not None})
    if not given:
        return "none", np.full(len(labels), np.nan), []
    numbers = {label: _number(label) for label in given}
    if kind == "auto":
        values = list(numbers.values())
        fractional = all(v is not None for v in values) and any(v is not None and v != int(v) for v in values)
        kind = "numbers" if fractional else "classes"
    if kind == "numbers":
        for position, label in enumerate(labels):
            if label is not None and numbers[label] is None:
                where = f" (of {paths[position]})" if paths is not None else ""
                raise DatapropsError(
                    f"the label {label!r}{where} is no finite number: use --labels classes, or correct it"
                )
        table = {label: float(value) for label, value in numbers.items() if value is not None}
        return "numbers", np.array([math.nan if label is None else table[label] for label in labels]), []
    whole = {label: value for label, value in numbers.items() if value is not None and value == int(value)}
    if len(whole) == len(given):
        given.sort(key=lambda label: (whole[label], label))
    code = {label: float(position) for position, label in enumerate(given)}
    return "classes", np.array([math.nan if label is None else code[label] for label in labels]), given

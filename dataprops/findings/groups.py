"""Groups (e.g. the images of a patient) with several values in a column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd


def groups_with_several(images: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Name and images of each group with several values in a column."""
    given = images[images["group"].notna() & images[column].notna()]
    several = given.groupby("group")[column].nunique()
    wanted = given[given["group"].isin(several.index[several > 1])]
    parts: Any = wanted.groupby("group", sort=True)
    yield from parts

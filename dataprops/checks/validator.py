"""Great Expectations in the helper process (`util.helper`): its import takes longer than the rest of a small audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dataprops.util import helper

if TYPE_CHECKING:  # imports here would delay start-up
    import pandas as pd

    from dataprops.checks.expectations import Structural, Verdicts
    from dataprops.checks.thresholds import Check


def validate(
    frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural], docs: Path | None
) -> Verdicts:
    """`expectations.validate`, run in the helper process if there is one."""
    arguments = (dict(frames), tuple(checks), tuple(rules), docs)
    return helper.submit("dataprops.checks.expectations", "validate", *arguments, begin=True).result()

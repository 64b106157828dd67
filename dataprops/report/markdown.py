"""A short summary in markdown, with pictures, for the Prefect UI."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings import FINDINGS
from dataprops.report.numbers import how_compared, largest_sharpness, number, plus_minus
from dataprops.report.pictures import data_uri

PAIRS = 3
SIDE = 112  # pixels


def _plain(text: str) -> str:
    """Text that markdown leaves alone."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|])", r"\\\1", text)


def markdown_summary(
    summary: dict[str, Any], tables: Mapping[str, pd.DataFrame], picture: Callable[[int], np.ndarray | None]
) -> str:
    """Key figures, alerts, counts of findings, and the sharpest pairs as pictures."""
    mle = summary["intrinsic_dimension"].get("mle") or {"value": None, "se": None}
    sample = summary["label_sharpness"]["sample"]
    lines = [
        f"# {_plain(summary['dataset'])}",
        "",
        "| property | value |",
        "|---|---|",
        f"| images | {summary['n_images']:,} ({summary['n_unreadable']:,} unreadable) |",
        f"| intrinsic dimension (MLE) | {plus_minus(mle['value'], mle['se'])} |",
        f"| label sharpness, all pairs | {largest_sharpness(summary)} |",
        f"| label sharpness, M = {sample['m']} | {plus_minus(sample['mean'], sample['std'])} |",
        "",
        *([how_compared(summary), ""] if how_compared(summary) else []),
        "## Alerts",
        "",
    ]
    lines += [f"- **{alert['severity']}**: {_plain(alert['sentence'])}" for alert in summary["alerts"]] or ["None."]
    lines += ["", "## Findings", ""]
    counts = {kind: count for kind, count in summary["findings"].items() if count}
    lines += [f"- {FINDINGS[kind].title}: {count:,}" for kind, count in counts.items()] or ["None."]
    pairs = []
    for a, b, sharpness in tables["sharpest"][["a", "b", "sharpness"]].head(PAIRS).itertuples(index=False):
        one, two = picture(int(a)), picture(int(b))
        if one is not None and two is not None:
            label = tables["images"]["label"].to_numpy(object)
            both = np.concatenate([one, two], axis=1)
            pairs.append(
                f"![images {a} and {b}]({data_uri(both, 2 * SIDE)})\n\n"
                f"{_plain(str(label[int(a)]))} against {_plain(str(label[int(b)]))}, sharpness {number(sharpness)}\n"
            )
    if pairs:
        lines += ["", "## Sharpest pairs", "", *pairs]
    lines += ["", f"Report: `{summary['report']}`", "", f"Data Docs: `{summary['data_docs']}`"]
    return "\n".join(lines) + "\n"

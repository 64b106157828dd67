"""A markdown summary with pictures for the Prefect UI: verdict, next steps, and alerts with their images."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings.pixel_shortcut import cell_of
from dataprops.findings.rows import or_none
from dataprops.report.changes import title
from dataprops.report.first_screen import evidence_of, first_screen, in_order
from dataprops.report.gallery import LAST, PLACED
from dataprops.report.key_numbers import keys_of
from dataprops.report.numbers import how_compared, number
from dataprops.report.pictures import data_uri, framed
from dataprops.report.text import visible

PAIRS = 3  # sharpest pairs, after the alerts
SIDE = 112  # pixels
SHOWN = 4  # pictures per alert


def _plain(text: Any) -> str:
    """Escape text for markdown."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|])", r"\\\1", visible(text))


def _place(check: str, findings: pd.DataFrame) -> tuple[tuple[int, int] | None, set[int]]:
    """Grid cell with an alert's evidence, if any, and the images of that finding."""
    if check != PLACED or not len(found := findings[findings["kind"] == PLACED]):
        return None, set()
    first = found.iloc[0]
    return cell_of(str(first["detail"])), {int(i) for i in first["images"]}


def _beside(pictures: list[np.ndarray]) -> np.ndarray:
    """Concatenate pictures of equal size side by side."""
    return np.concatenate(pictures, axis=1)


def markdown_summary(
    summary: dict[str, Any], tables: Mapping[str, pd.DataFrame], picture: Callable[[int], np.ndarray | None]
) -> str:
    """Markdown with verdict, next steps, alerts with pictures, key numbers and counts of findings."""
    first = first_screen(summary, tables["findings"])
    lines = [f"# {_plain(summary['dataset'])}", "", f"**{_plain(first.verdict.sentence)}**", ""]
    if first.steps:
        lines += ["## What to do next", "", *[f"{at}. {_plain(s.text)}" for at, s in enumerate(first.steps, 1)], ""]
    lines += ["## Alerts", ""]
    path, label = (or_none(tables["images"][name]) for name in ("path", "label"))
    for alert in tables["alerts"].to_dict("records"):
        told = evidence_of(alert["name"], tables["findings"], alert["sentence"], alert["value"])
        lines.append(f"- **{alert['severity']}**: {_plain(alert['sentence'])}{f' {_plain(told)}' if told else ''}")
        named = [int(i) for i in list(alert["images"])[:SHOWN]]
        # frame the cell in the images of that finding
        cell, placed = _place(alert["name"], tables["findings"])
        some = [
            (i, framed(pixels, cell) if cell is not None and i in placed else pixels)
            for i in named
            if (pixels := picture(i)) is not None
        ]
        if some:
            names = "; ".join(_plain(f"{path[i]} ({label[i]})" if label[i] is not None else path[i]) for i, _ in some)
            row = _beside([pixels for _, pixels in some])
            lines += ["", f"  ![images of this alert]({data_uri(row, len(some) * SIDE)})", "", f"  {names}", ""]
    if not len(tables["alerts"]):
        lines.append("None.")
    lines += ["", "| property | value | |", "|---|---|---|"]
    lines += [
        f"| {key.name[0].lower() + key.name[1:]} | {_plain(key.value)} | {_plain(key.note)} |"
        for key in keys_of(summary)
    ]
    lines += ["", *([how_compared(summary), ""] if how_compared(summary) else []), "## Findings", ""]
    counts = {kind: summary["findings"][kind] for kind in in_order(summary["findings"], summary)}
    counts = {kind: count for kind, count in counts.items() if count and kind not in LAST}
    lines += [f"- {_plain(title(kind))}: {count:,}" for kind, count in counts.items()] or ["None."]
    lines += _sharpest(tables, picture)
    lines += ["", f"Report: `{summary['report']}`", "", f"Data Docs: `{summary['data_docs']}`"]
    return "\n".join(lines) + "\n"


def _sharpest(tables: Mapping[str, pd.DataFrame], picture: Callable[[int], np.ndarray | None]) -> list[str]:
    label, out = tables["images"]["label"].to_numpy(object), []
    for a, b, sharpness in tables["sharpest"][["a", "b", "sharpness"]].head(PAIRS).itertuples(index=False):
        one, two = picture(int(a)), picture(int(b))
        if one is not None and two is not None:
            out.append(
                f"![images {a} and {b}]({data_uri(_beside([one, two]), 2 * SIDE)})\n\n"
                f"{_plain(label[int(a)])} against {_plain(label[int(b)])}, sharpness {number(sharpness)}\n"
            )
    return ["", "## Sharpest pairs", "", *out] if out else []

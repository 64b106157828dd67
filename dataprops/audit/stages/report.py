"""Stage 8: the report, and the publication of the results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pandas as pd

from dataprops.audit import drawn
from dataprops.audit.comparison import compare, in_brief
from dataprops.audit.pictures import Pictures
from dataprops.audit.records import Published
from dataprops.audit.remembered import Remembered
from dataprops.audit.summary import run_table
from dataprops.audit.workspace import Run, Workspace, publish
from dataprops.errors import DatapropsError
from dataprops.laws.calibrations import points_behind
from dataprops.report.markdown import markdown_summary
from dataprops.report.page import begin_plots, render
from dataprops.report.standing import history_point
from dataprops.store.folder import finished_runs, load_summary, other_summaries
from dataprops.util.files import write_text
from dataprops.util.json import to_json
from dataprops.util.tools import Tools

RUNS = 50  # audits in the plot of the history


def report_tables(files: Workspace) -> dict[str, pd.DataFrame]:
    """The tables that the report is made of; those of the reference classifier are empty where it did not run."""
    return {
        "images": files.images.read(),
        "properties": files.properties.read(),
        "findings": files.findings.read(),
        "shortcuts": files.shortcuts.read(),
        "checks": files.checks.read(),
        "alerts": files.alerts.read(),
        "near": files.near_pairs(),
        "sharpest": files.sharpest_pairs(),
        "predictions": files.probe.read(),
    }


def _compared(run: Run, summary: dict[str, Any]) -> dict[str, Any] | str | None:
    """What changed since the previous audit, or why that is unknown; None if there is none."""
    if summary["previous"] is None:
        return None
    previous = run.results.parent / summary["previous"]
    try:
        found = compare(previous, run.files.results, summary)
        remembered = Remembered(Path(run.store), run.config.dataset)
        remembered.put(previous, Path(summary["run_id"]), in_brief(found))
        remembered.save({folder.name for folder in finished_runs(Path(run.store), run.config.dataset)} | {run.run_id})
        return found
    except DatapropsError as error:
        return f"The audit before cannot be compared: {error}."


def _history(run: Run, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The last audits of the dataset under this preprocessing, as the report's plot shows them; this one is the last."""
    earlier = []
    for folder in finished_runs(Path(run.store), run.config.dataset)[-RUNS:]:
        try:
            earlier.append(load_summary(folder))
        except (OSError, ValueError):
            continue
    return [history_point(s) for s in [*earlier, summary] if s["preprocess"] == summary["preprocess"]]


def report(run: Run, tools: Tools) -> Published:
    """Write the report, and publish it with the result tables in one step."""
    begin = time.perf_counter()
    files = run.files
    summary: dict[str, Any] = files.summary.read() | {"seconds": files.seconds.read()}
    tables = report_tables(files)
    drawing = begin_plots(summary, tables, _history(run, summary), drawn.taken(run))  # it takes the longest
    files.run_row.write(run_table(run, summary))
    picture = Pictures(run)
    points = points_behind(Path(run.store), summary["predictions"])
    page = render(
        summary,
        tables,
        picture,
        points,
        compared=_compared(run, summary),
        others=other_summaries(Path(run.store), run.config.dataset),
        drawing=drawing,
    )
    write_text(files.results / "report.html", page)
    write_text(files.results / "summary.md", markdown_summary(summary, tables, picture))
    summary["seconds"]["report"] = time.perf_counter() - begin
    write_text(files.results / "summary.json", to_json(summary))  # last: a folder that has it is whole
    return Published(str(publish(run)))

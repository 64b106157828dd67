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
from dataprops.store.folder import finished_runs, other_summaries, readable
from dataprops.util.files import write_text
from dataprops.util.json import to_json
from dataprops.util.tools import Tools

RUNS = 50  # audits in the history plot


def report_tables(files: Workspace) -> dict[str, pd.DataFrame]:
    """Input tables of the report; `predictions` is empty if the reference classifier did not run."""
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
    """Changes since the previous audit, or why they are unknown; None without a previous audit."""
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
        return f"The previous audit is not comparable: {error}."


def _history(run: Run, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Records of the dataset's last audits with this preprocessing, ending with this one, for the history plot."""
    earlier = [s for _, s in readable(finished_runs(Path(run.store), run.config.dataset)[-RUNS:])]
    return [history_point(s) for s in [*earlier, summary] if s["preprocess"] == summary["preprocess"]]


def report(run: Run, tools: Tools) -> Published:
    """Write the report, and publish all results in one atomic step."""
    begin = time.perf_counter()
    files = run.files
    summary: dict[str, Any] = files.summary.read() | {"seconds": files.seconds.read()}
    tables = report_tables(files)
    drawing = begin_plots(summary, tables, _history(run, summary), drawn.taken(run))  # takes longest
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
    write_text(files.results / "summary.json", to_json(summary))  # last: marks the folder as complete
    return Published(str(publish(run)))

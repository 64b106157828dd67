"""Stage 7: the report, and the publication of the results."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from dataprops.audit.pictures import Pictures
from dataprops.audit.records import Published
from dataprops.audit.summary import run_table
from dataprops.audit.workspace import Run, Workspace, publish
from dataprops.laws.calibrations import points_behind
from dataprops.report import markdown_summary, render
from dataprops.util.files import write_text
from dataprops.util.json import to_json
from dataprops.util.tools import Tools


def report_tables(files: Workspace) -> dict[str, pd.DataFrame]:
    """The tables that the report is made of."""
    return {
        "images": files.images.read(),
        "properties": files.properties.read(),
        "findings": files.findings.read(),
        "shortcuts": files.shortcuts.read(),
        "checks": files.checks.read(),
        "alerts": files.alerts.read(),
        "near": files.near_pairs(),
        "sharpest": files.sharpest_pairs(),
    }


def report(run: Run, tools: Tools) -> Published:
    """Write the report, and publish it with the result tables in one step."""
    begin = time.perf_counter()
    files = run.files
    summary = files.summary.read() | {"seconds": files.seconds.read()}
    tables = report_tables(files)
    files.run_row.write(run_table(run, summary))
    picture = Pictures(run)
    points = points_behind(Path(run.store), summary["predictions"])
    write_text(files.results / "report.html", render(summary, tables, picture, points))
    write_text(files.results / "summary.md", markdown_summary(summary, tables, picture))
    summary["seconds"]["report"] = time.perf_counter() - begin
    write_text(files.results / "summary.json", to_json(summary))  # last: a folder that has it is whole
    return Published(str(publish(run)))

"""The report: one self-contained HTML page, a short markdown for the Prefect UI, and a summary for the terminal."""

from __future__ import annotations

from dataprops.report.markdown import markdown_summary
from dataprops.report.page import render

__all__ = ["markdown_summary", "render"]

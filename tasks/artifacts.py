"""Prefect artifacts of a finished audit: a summary with pictures, tables of properties and findings, links to the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd

from dataprops.util.numbers import NOTHING


def artifact_key(kind: str, dataset: str) -> str:
    """Artifact key: Prefect allows lower-case letters, digits and dashes."""
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', dataset.lower()).strip('-')}"


def property_rows(properties: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the properties table; a missing value is a dash, with the reason as note.

    Examples
    --------
    >>> note = "all labels are the same"
    >>> table = pd.DataFrame({"property": ["label_sharpness.sample"], "value": [float("nan")], "se": None, "n": [4], "note": note})
    >>> property_rows(table)[0]["value"], property_rows(table)[0]["note"]
    ('–', 'all labels are the same')
    """
    return [
        {
            "property": str(row["property"]),
            "value": NOTHING if pd.isna(row["value"]) else f"{row['value']:.6g}",
            "standard error": NOTHING if pd.isna(row["se"]) else f"{row['se']:.2g}",
            "images": int(row["n"]),
            "note": str(row["note"] or ""),
        }
        for row in properties.to_dict("records")
    ]


def publish_artifacts(results: Path, summary: dict[str, Any], link: str | None = None) -> None:
    """Create the artifacts of a run from its results; `link`, the URL of the served results, is added to the summary."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    from dataprops.report.changes import title
    from dataprops.report.gallery import LAST

    properties = pd.read_parquet(results / "properties.parquet")
    dataset = summary["dataset"]
    create_table_artifact(
        property_rows(properties),
        key=artifact_key("properties", dataset),
        description=f"Measured properties of {dataset}",
    )
    counted = {kind: count for kind, count in summary["findings"].items() if count and kind not in LAST}
    findings = [{"finding": title(kind), "count": count} for kind, count in counted.items()]
    create_table_artifact(findings, key=artifact_key("findings", dataset), description=f"Findings in {dataset}")
    text = (results / "summary.md").read_text(encoding="utf-8")
    if link:
        text += f"\n[Open the report]({link}/report.html) · [Open the Data Docs]({link}/data_docs/index.html)\n"
    create_markdown_artifact(text, key=artifact_key("audit", dataset), description=f"Audit of {dataset}")


def publish_links(link: str, dataset: str) -> None:
    """Create link artifacts to the served report and Data Docs."""
    from prefect.artifacts import create_link_artifact

    for kind, page, text in (("report", "report.html", "Report"), ("data-docs", "data_docs/index.html", "Data Docs")):
        create_link_artifact(
            link=f"{link}/{page}",
            link_text=f"{text} of {dataset}",
            key=artifact_key(kind, dataset),
            description=f"{text} of this run",
        )

"""What a finished audit shows in the Prefect UI: a summary with pictures, the results as a table, links to the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd


def artifact_key(kind: str, dataset: str) -> str:
    """Artifact keys are lower-case letters, digits and dashes."""
    return f"{kind}-{re.sub(r'[^a-z0-9]+', '-', dataset.lower()).strip('-')}"


def publish_artifacts(results: Path, summary: dict[str, Any]) -> None:
    """Create the artifacts of a run from its results."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    properties = pd.read_parquet(results / "properties.parquet")
    dataset = summary["dataset"]
    rows = [
        {"property": row.property, "value": f"{row.value:.6g}", "standard error": f"{row.se:.2g}", "images": row.n}
        for row in properties.itertuples()
    ]
    create_table_artifact(
        rows, key=artifact_key("properties", dataset), description=f"Measured properties of {dataset}"
    )
    findings = [{"finding": kind, "count": count} for kind, count in summary["findings"].items()]
    create_table_artifact(findings, key=artifact_key("findings", dataset), description=f"Findings in {dataset}")
    text = (results / "summary.md").read_text(encoding="utf-8")
    create_markdown_artifact(text, key=artifact_key("audit", dataset), description=f"Audit of {dataset}")

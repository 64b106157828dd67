"""Shared by the operations commands: logging, and the table of changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deployments.deploy import Step


def quiet_prefect() -> None:
    """Disable Prefect's telemetry; call before Prefect is imported."""
    for name in ("PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY"):
        os.environ.setdefault(name, "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")


def show_log() -> None:
    """Log to stderr with timestamps, for a long-running process."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("deployments", "flows", "dataprops"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False  # Prefect's handler would repeat it


def show_changes(changes: Iterable[Step]) -> None:
    """Print one line per change."""
    for change in changes:
        click.echo(f"{change.outcome:<10} {change.kind:<11} {change.name}")

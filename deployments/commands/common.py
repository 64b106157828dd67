"""What the commands of operation share: log lines, the table of changes."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deployments.deploy import Step


def quiet_prefect() -> None:
    """Settings that Prefect reads when it is imported, which must not have happened yet: nothing is sent to its makers."""
    for name in ("PREFECT_SERVER_ANALYTICS_ENABLED", "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY"):
        os.environ.setdefault(name, "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")


def show_log() -> None:
    """Log lines of a process that stays, with the time, on stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for name in ("deployments", "flows", "dataprops"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False  # Prefect's handler would say it again


def show_changes(changes: Iterable[Step]) -> None:
    """One line for each thing."""
    for change in changes:
        click.echo(f"{change.outcome:<10} {change.kind:<11} {change.name}")

"""Alert messages, sent through Prefect notification blocks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from dataprops.checks.open_alerts import CLOSED, receipts, sending, write_receipt
from dataprops.report.text import all_visible
from dataprops.util.redact import without_paths
from tasks.mail import Mail

__all__ = ["Mail", "message", "send", "send_once"]  # a block is loaded by name: its class must be imported

log = logging.getLogger(__name__)

PATHS_SHOWN = 5
# covers an outage of about an hour; after that, `flows.notifications.send_waiting` retries
RETRY_SECONDS = [5, 20, 60, 300, 900, 1800]


def message(news: Mapping[str, Any], report: str | None = None) -> tuple[str, str]:
    """Subject and body of a message.

    Examples
    --------
    >>> subject, text = message({"event": "audit.alert.closed", "name": "conflicts", "severity": "critical",
    ...     "dataset": "chest", "sentence": "2 pairs carry different labels.", "run_id": "r", "id": "i"})
    >>> subject
    '[closed] chest: conflicts'
    >>> text.splitlines()[0]
    'Resolved: 2 pairs carry different labels.'
    """
    news = all_visible(dict(news))
    closed = news["event"] == CLOSED
    subject = f"[{'closed' if closed else news['severity']}] {news['dataset']}: {news['name']}"
    lines = [f"Resolved: {news['sentence']}" if closed else news["sentence"]]
    paths = news.get("paths") or []
    if paths and not closed:
        more = f" (and {len(paths) - PATHS_SHOWN} more)" if len(paths) > PATHS_SHOWN else ""
        lines += ["", "Images: " + ", ".join(paths[:PATHS_SHOWN]) + more]
    if report:
        lines += ["", f"Report: {report}"]
    return subject, "\n".join([*lines, "", f"(audit {news['run_id']}, message {news['id']})"])


def send_once(channel: str, block: str, news: Mapping[str, Any], report: str | None, store: Path) -> bool:
    """Send a notification through a block unless it has a receipt; returns whether it was sent now.

    Parameters
    ----------
    channel : str
        Name of the channel, used in the receipt.
    block : str
        E.g. "custom-webhook/name".
    news : mapping
        See `dataprops.checks.open_alerts.news`.
    report : str or None
        URL of the run's report.
    store : Path
        Store with the receipts.

    Raises
    ------
    NotificationError
        With the channel's error message, URLs redacted.
    """
    from prefect.blocks.abstract import NotificationError
    from prefect.blocks.core import Block

    dataset = news["dataset"]
    with sending(store, dataset):
        if channel in receipts(store, dataset, news["id"]):
            log.info("already delivered to %s", channel)
            return False
        opened: Any = Block.load(block)
        subject, text = message(news, report)
        try:
            with opened.raise_on_failure():
                opened.notify(text, subject=subject)
        except Exception as error:  # noqa: BLE001 - whatever a channel raises
            # Prefect stores exceptions, and HTTP libraries quote the URL, whose path is a secret
            said = error.log.strip() if isinstance(error, NotificationError) else str(error) or type(error).__name__
            raise NotificationError(f"{channel} delivery failed: {without_paths(said)}") from None
        write_receipt(store, dataset, news["id"], channel, datetime.now(UTC).isoformat(timespec="seconds"))
    log.info("sent to %s: %s", channel, subject)
    return True


@task(
    task_run_name="send to {channel}",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    cache_policy=NO_CACHE,
)
def send(channel: str, block: str, news: Mapping[str, Any], report: str | None, store: str) -> bool:
    """`send_once` as a task; Prefect retries it on any error."""
    return send_once(channel, block, news, report, Path(store))

"""The Prefect flow `deliver`: sends one notification to its channels. An automation starts it with the event's payload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from dataprops.checks.open_alerts import forget
from tasks.channels import send


def _run_name() -> str:
    news = runtime.flow_run.parameters["news"]
    return f"{news['dataset']}: {news['name']} {news['event'].rpartition('.')[2]}"


@flow(name="deliver", flow_run_name=_run_name, validate_parameters=False)
def deliver(news: dict[str, Any], channels: dict[str, str], store: str) -> dict[str, str]:
    """Send a notification to every channel; channels are retried and fail independently.

    Parameters
    ----------
    news : dict
        See `dataprops.checks.open_alerts.news`; `report` is the address of the run's report.
    channels : dict
        Name -> notification block, as "custom-webhook/name".
    store : str
        Store with the receipts.

    Returns
    -------
    dict
        Channel -> "sent" or "already delivered".
    """
    task: Any = send
    waiting = {name: task.submit(name, block, news, news.get("report"), store) for name, block in channels.items()}
    sent = {name: future.result(raise_on_failure=False) for name, future in waiting.items()}
    failed = {name: said for name, said in sent.items() if isinstance(said, Exception)}
    if failed:
        # the notification stays in the outbox and is retried later
        raise RuntimeError("; ".join(f"{name} delivery failed: {error}" for name, error in failed.items()))
    forget(Path(store), news["dataset"], [news["id"]])
    return {name: "sent" if now else "already delivered" for name, now in sent.items()}

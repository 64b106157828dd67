"""Reconciles a Prefect server with a datasets file: deployments, automations and notification blocks; only changes are written.

Our objects have the tags `dataprops` and `project:NAME` (blocks have no tags: their names begin with both). Objects no longer in the
file are found by them and removed; others are not touched. Changes in the UI that the file does not cover (a paused schedule, a
disabled automation) are kept.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from dataprops.errors import DatapropsError
from deployments import automations
from deployments.channels import CHANNELS
from deployments.datasets import Channel, DatasetEntry, Operations
from flows.operation import Operation
from flows.server import configured_url, prefect_home
from tasks.pages import all_pages

if TYPE_CHECKING:
    from prefect.blocks.core import Block
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

MARK = "dataprops"
AUDIT, EXPERIMENT, DELIVER = "flows.audit.audit", "flows.experiment.experiment", "flows.deliver.deliver"
ANSWER = 60.0  # timeout for a busy server, seconds; a missing one refuses at once
POOL_LIMIT = 2  # concurrent runs of a pool that we create: an audit and a delivery
# for every run on any worker: only our log lines in the UI, and frequent heartbeats
RUN_ENVIRONMENT = {
    "PREFECT_LOGGING_EXTRA_LOGGERS": "dataprops,tasks,flows",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "DASK_LOGGING__DISTRIBUTED": "error",
    # import the installed packages even if the worker's directory has packages named `flows` or `tasks`
    "PYTHONSAFEPATH": "1",
}


class Step(NamedTuple):
    """Outcome for one object: created, updated, unchanged or removed."""

    kind: str
    name: str
    outcome: str


class Wanted(NamedTuple):
    """A deployment as specified by the file."""

    flow: str
    name: str
    entrypoint: str
    description: str
    parameters: Mapping[str, Any]
    tags: tuple[str, ...]
    schedule: tuple[str, str] | None
    one_at_a_time: bool

    @property
    def full_name(self) -> str:
        return f"{self.flow}/{self.name}"


def tags_of(operations: Operations) -> tuple[str, str]:
    """Tags of everything created from this file."""
    return MARK, f"project:{operations.project}"


def block_name(operations: Operations, channel: str) -> str:
    """Name of a channel's block; unambiguous, since project and channel names have no double dash."""
    return f"{MARK}-{operations.project}--{channel}"


def operation_for(operations: Operations, dataset: DatasetEntry) -> Operation:
    """The `operation` parameter of a dataset's runs."""
    channels = {row.name: row for row in operations.channels}
    blocks = {name: _slug(operations, channels[name]) for name in dataset.tell}
    return Operation(dataset.level, blocks, operations.base_url, str(operations.file))


def _slug(operations: Operations, channel: Channel) -> str:
    """Identifier with which Prefect loads a channel's block: "custom-webhook/name"."""
    block = CHANNELS[channel.kind].block(channel.values)
    return f"{block.get_block_type_slug()}/{block_name(operations, channel.name)}"


def wanted_deployments(operations: Operations) -> list[Wanted]:
    """The deployments of all datasets and experiments, and the one that delivers notifications."""
    mark = tags_of(operations)
    wanted = []
    for dataset in operations.datasets:
        parameters = {
            "options": _plain(dataset.options),
            "cluster": dataset.cluster,
            "workers": dataset.workers,
            "operation": asdict(operation_for(operations, dataset)),
        }
        schedule = (dataset.schedule, dataset.timezone) if dataset.schedule else None
        text = f"Audit of {dataset.name}: {dataset.options['source']}"
        wanted.append(Wanted("audit", dataset.name, AUDIT, text, parameters, (*mark, dataset.name), schedule, True))
    for experiment in operations.experiments:
        schedule = (experiment.schedule, experiment.timezone) if experiment.schedule else None
        options = _plain(experiment.options)
        parameters = {"options": options, "cluster": experiment.cluster, "workers": experiment.workers}
        text = f"Experiment {experiment.name}: {', '.join([*options['sources'], *filter(None, [options.get('grid')])])}"
        tags = (*mark, experiment.name)
        wanted.append(Wanted("experiment", experiment.name, EXPERIMENT, text, parameters, tags, schedule, True))
    if operations.channels:
        text = "Sends one alert to its channels; started by an automation"
        parameters = {"store": str(operations.store)}
        wanted.append(Wanted("deliver", operations.project, DELIVER, text, parameters, mark, None, False))
    return wanted


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _load(entrypoint: str) -> Any:
    from importlib import import_module

    module, _, name = entrypoint.rpartition(".")
    return getattr(import_module(module), name)


def require_server(patience: float = 0.0) -> str:
    """URL of the Prefect server.

    Waits up to `patience` seconds for it to answer: it may be starting or busy.

    Raises
    ------
    DatapropsError
        If none is configured or it does not answer.
    """
    import urllib.error
    import urllib.request

    url = configured_url(prefect_home())
    way_out = "start one (prefect server start) and set PREFECT_API_URL to its URL, e.g. http://127.0.0.1:4200/api"
    if not url:
        raise DatapropsError(f"no Prefect server is configured: {way_out}")
    deadline = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=ANSWER):
                return url
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() >= deadline:
                raise DatapropsError(f"no Prefect server answers at {url} ({error}): {way_out}") from error
            time.sleep(1.0)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def deployed_datasets() -> set[str]:
    """Names of the datasets with a deployed audit."""
    with _client() as client:
        flows = {flow.id: flow.name for flow in all_pages(client.read_flows)}
        deployments = all_pages(client.read_deployments)
    return {found.name for found in deployments if MARK in found.tags and flows.get(found.flow_id) == "audit"}


def deploy(operations: Operations) -> list[Step]:
    """Update the server to match the file; returns the outcome for each object.

    Raises
    ------
    DatapropsError
        If an object of the same name exists that was not created from this project; then nothing is written.
    """
    with _client() as client:
        wanted = wanted_deployments(operations)
        _refuse_foreign(client, operations, wanted)
        changes = [_ensure_pool(client, operations.pool)]
        blocks: dict[str, UUID] = {}
        for channel in operations.channels:
            blocks[channel.name], change = _ensure_block(operations, channel)
            changes.append(change)
        ids: dict[str, UUID] = {}
        for row in wanted:
            ids[row.full_name], change = _ensure_deployment(client, operations, row)
            changes.append(change)
        rules = automations.wanted(operations, tags_of(operations), ids, blocks, lambda d: operation_for(operations, d))
        changes += [_ensure_automation(client, rule) for rule in rules]
        changes += _remove_vanished(client, operations, wanted, {rule.name for rule in rules}, set(blocks.values()))
    return changes


def _refuse_foreign(client: SyncPrefectClient, operations: Operations, wanted: list[Wanted]) -> None:
    mark = set(tags_of(operations))
    for found in all_pages(client.read_deployments):
        file = (found.parameters.get("operation") or {}).get("file") if mark <= set(found.tags) else None
        if file and Path(file) != operations.file and Path(file).is_file():
            raise DatapropsError(
                f'project {operations.project!r} was deployed from {file}: set `project = "NAME"` at the top of one of the'
                " two files, or delete the old one"
            )
    for row in wanted:
        found = _read_deployment(client, row.full_name)
        if found is not None and not set(tags_of(operations)) <= set(found.tags):
            raise DatapropsError(
                f"a deployment {row.full_name!r} already exists and was not created from project {operations.project!r} (its"
                f" tags: {', '.join(found.tags) or 'none'}): rename the dataset, or delete that deployment"
            )


def _read_deployment(client: SyncPrefectClient, name: str) -> Any | None:
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def _ensure_pool(client: SyncPrefectClient, name: str) -> Step:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        pool = WorkPoolCreate(
            name=name, type="process", base_job_template=template, concurrency_limit=POOL_LIMIT, description="dataprops"
        )
        client.create_work_pool(pool)
        return Step("work pool", name, "created")
    # pools are not specified by the file: keep the owner's settings
    return Step("work pool", name, "unchanged")


def _ensure_block(operations: Operations, channel: Channel) -> tuple[UUID, Step]:
    from prefect.blocks.core import Block

    name = block_name(operations, channel.name)
    block = CHANNELS[channel.kind].block(channel.values)
    try:
        found: Any = Block.load(_slug(operations, channel))
    except ValueError:
        return block.save(name), Step("channel", channel.name, "created")
    if _block_values(found) == _block_values(block):
        return found._block_document_id, Step("channel", channel.name, "unchanged")
    return block.save(name, overwrite=True), Step("channel", channel.name, "updated")


def _block_values(block: Block) -> dict[str, Any]:
    values = block.model_dump(mode="json", context={"include_secrets": True})
    return {name: value for name, value in values.items() if not name.startswith("_")}  # saved blocks also have an id


def _ensure_deployment(client: SyncPrefectClient, operations: Operations, row: Wanted) -> tuple[UUID, Step]:
    found = _read_deployment(client, row.full_name)
    desired = _desired(operations, row)
    there = None if found is None else _as_desired(found)
    if found is not None and there == desired:
        return found.id, Step("deployment", row.full_name, "unchanged")
    active = True
    if found is not None and found.schedules and there and there["schedule"] == row.schedule:
        active = found.schedules[0].active  # a user may have paused it
    made = _write_deployment(client, row, desired, active)
    return made, Step("deployment", row.full_name, "created" if found is None else "updated")


def _desired(operations: Operations, row: Wanted) -> dict[str, Any]:
    """The desired state of a deployment on the server."""
    return {
        "description": row.description,
        "tags": sorted(row.tags),
        "parameters": dict(row.parameters),
        "entrypoint": row.entrypoint,
        "pool": operations.pool,
        "variables": {"env": {**RUN_ENVIRONMENT, "MPLCONFIGDIR": str(operations.store / "cache")}},
        "schedule": row.schedule,
        "limit": (1, "ENQUEUE") if row.one_at_a_time else None,
    }


def _write_deployment(client: SyncPrefectClient, row: Wanted, desired: Mapping[str, Any], active: bool) -> UUID:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.utilities.callables import parameter_schema

    flow = _load(row.entrypoint)
    schedules, limits = [], {}
    if row.schedule:
        cron = CronSchedule(cron=row.schedule[0], timezone=row.schedule[1])
        schedules = [DeploymentScheduleCreate(schedule=cron, active=active, slug="schedule")]
    if desired["limit"]:
        count, strategy = desired["limit"]
        options = ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy(strategy))
        limits = {"concurrency_limit": count, "concurrency_options": options}
    return client.create_deployment(
        client.create_flow(flow),
        row.name,
        schedules=schedules,
        parameters=desired["parameters"],
        description=desired["description"],
        work_pool_name=desired["pool"],
        tags=desired["tags"],
        entrypoint=desired["entrypoint"],
        parameter_openapi_schema=parameter_schema(flow).model_dump_for_openapi(),
        enforce_parameter_schema=False,
        job_variables=desired["variables"],
        **limits,
    )


def _as_desired(found: Any) -> dict[str, Any]:
    """The current state of a deployment, in the format of `_desired`."""
    schedules = [(row.schedule.cron, row.schedule.timezone) for row in found.schedules if hasattr(row.schedule, "cron")]
    limit = found.global_concurrency_limit
    strategy = found.concurrency_options.collision_strategy.value if found.concurrency_options else None
    return {
        "description": found.description,
        "tags": sorted(found.tags),
        "parameters": found.parameters,
        "entrypoint": found.entrypoint,
        "pool": found.work_pool_name,
        "variables": found.job_variables,
        "schedule": schedules[0] if len(schedules) == len(found.schedules) == 1 else schedules or None,
        "limit": None if limit is None else (limit.limit, strategy),
    }


def _ensure_automation(client: SyncPrefectClient, rule: AutomationCore) -> Step:
    found = client.read_automations_by_name(rule.name)
    if not found:
        client.create_automation(rule)
        return Step("automation", rule.name, "created")
    for double in found[1:]:  # two deploys at once
        client.delete_automation(double.id)
    if automations.comparable(found[0]) == automations.comparable(rule):
        return Step("automation", rule.name, "unchanged")
    rule = rule.model_copy(update={"enabled": found[0].enabled})  # a user may have switched it off
    client.update_automation(found[0].id, rule)
    return Step("automation", rule.name, "updated")


def _remove_vanished(
    client: SyncPrefectClient, operations: Operations, wanted: list[Wanted], rules: set[str], blocks: set[UUID]
) -> list[Step]:
    """Remove objects with our tags that are no longer in the file."""
    mark = set(tags_of(operations))
    removed = []
    for rule in all_pages(client.read_automations):
        if mark <= set(rule.tags) and rule.name not in rules:
            client.delete_automation(rule.id)
            removed.append(Step("automation", rule.name, "removed"))
    names = {row.full_name for row in wanted}
    flows: dict[UUID, str] = {}
    for found in all_pages(client.read_deployments):
        if mark <= set(found.tags):
            name = flows.setdefault(found.flow_id, client.read_flow(found.flow_id).name) + f"/{found.name}"
            if name not in names:
                client.delete_deployment(found.id)
                removed.append(Step("deployment", name, "removed"))
    prefix = block_name(operations, "")
    for document in all_pages(client.read_block_documents):
        if (document.name or "").startswith(prefix) and document.id not in blocks and _is_channel(document):
            client.delete_block_document(document.id)
            removed.append(Step("channel", (document.name or "").removeprefix(prefix), "removed"))
    return removed


def _is_channel(document: Any) -> bool:
    return document.block_schema is not None and "notify" in document.block_schema.capabilities

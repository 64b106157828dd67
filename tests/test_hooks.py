"""What a run that failed tells, whoever calls the hook for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dataprops.checks.open_alerts import RUN_FAILED, load_state
from dataprops.store.folder import open_store

RUN = "0f6f4a52-7f0e-4a4e-9a53-9a7a3a1c9f10"


def test_a_failed_run_is_told_also_where_the_caller_names_the_arguments(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.audit import audit

    sent = []
    store = open_store(tmp_path / "store")
    parameters = {"options": {"source": str(tmp_path / "scans"), "store": str(store)}, "operation": {"level": "info"}}
    failed = SimpleNamespace(id=RUN, name="scans (new data)", parameters=parameters)
    assert audit.on_failure_hooks
    for hook in audit.on_failure_hooks:
        monkeypatch.setattr(sys.modules[hook.__module__], "send_events", sent.extend)
        hook(flow=audit, flow_run=failed, state=SimpleNamespace(message="the disk is full", name="Failed"))
    state = load_state(store, "scans")
    assert list(state["open"]) == [RUN_FAILED]
    assert [event["payload"]["run_id"] for event in sent] == [RUN]
    assert "the disk is full" in state["outbox"][0]["sentence"]

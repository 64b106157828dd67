"""What a run that died tells, when a worker calls the hook for it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from dataprops.alert_state import RUN_FAILED, load_state
from dataprops.store import open_store

RUN = "0f6f4a52-7f0e-4a4e-9a53-9a7a3a1c9f10"


def test_a_killed_run_is_told_by_its_worker_which_names_the_arguments(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.audit import audit

    sent = []
    store = open_store(tmp_path / "store")
    parameters = {"options": {"source": str(tmp_path / "scans"), "store": str(store)}, "operation": {"level": "info"}}
    died = SimpleNamespace(id=RUN, name="scans (new data)", parameters=parameters)
    for hook in audit.on_crashed_hooks:
        monkeypatch.setattr(sys.modules[hook.__module__], "send_events", sent.extend)
        hook(flow=audit, flow_run=died, state=SimpleNamespace(message="exited with -9", name="Crashed"))
    state = load_state(store, "scans")
    assert list(state["open"]) == [RUN_FAILED]
    assert [event["payload"]["run_id"] for event in sent] == [RUN]
    assert "exited with -9" in state["outbox"][0]["sentence"]

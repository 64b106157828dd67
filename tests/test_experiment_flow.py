"""A grid as a flow, in this process and on the server of the tests of operation; `test_flow` has a flow in a process of its own."""

from __future__ import annotations

import json

import pandas as pd

from dataprops.experiment import load_cells
from tests.shell import invoke


def test_the_flow_gives_the_same_table_as_inline(prefect_server, tmp_path, monkeypatch):
    common = ["experiment", "natural=digits:", "--models", "tests.tiny_nets:Mlp", "--preset", "quick", "--size", "8"]
    common += ["--sizes", "40", "--test", "60", "--epochs", "2", "--name", "one", "--workers", "1", "--json"]
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.url)
    with prefect_server.client():
        flow = invoke(*common, "--store", str(tmp_path / "flow"))
    assert flow.exit_code == 0, flow.output
    inline = invoke(*common, "--store", str(tmp_path / "inline"), "--inline", "--quiet")
    assert inline.exit_code == 0, inline.output
    told = json.loads(flow.stdout)
    assert (told["done"], told["failed"]) == (1, 0)
    one, two = (load_cells(tmp_path / name).drop(columns="seconds") for name in ("flow", "inline"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert one["experiment"].tolist() == ["one"]
    assert "training" in flow.stderr
    (run,) = [run for run in prefect_server.runs("experiment") if run["name"] == "one"]
    assert run["state_type"] == "COMPLETED"

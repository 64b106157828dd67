"""Experiment grids in the file of datasets: read with their lines, deployed with plain parameters, which run the flow."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dataprops.experiment import experiment_tools, run_experiment
from dataprops.experiment.grid_options import experiment_from
from dataprops.store.folder import open_store
from deployments.datasets import GRID_OPTIONS, OWN_OF_GRID, read_operations
from deployments.deploy import wanted_deployments
from tests.make_images import random_folder
from tests.test_deployments import GOOD, assert_refused, written

GRID = """
[experiments.small]
sources = ["natural=digits:", "medical=chest"]
models = ["tests.tiny_nets:Mlp"]
preset = "quick"
size = 8
sizes = [40]
test = 40
epochs = 2
seeds = [0]
schedule = "0 4 * * 6"
workers = 1
"""


def test_an_experiment_of_the_file_becomes_a_deployment_with_plain_parameters(tmp_path):
    operations = read_operations(written(tmp_path, GOOD + GRID))
    row = next(row for row in wanted_deployments(operations) if row.flow == "experiment")
    assert (row.full_name, row.entrypoint) == ("experiment/small", "flows.experiment.experiment")
    assert (row.schedule, row.one_at_a_time) == (("0 4 * * 6", "UTC"), True)
    assert row.tags == ("dataprops", "project:datasets", "small")
    assert json.loads(json.dumps(row.parameters)) == row.parameters
    assert row.parameters["options"] == {
        "sources": ["natural=digits:", f"medical={tmp_path / 'chest'}"],
        "models": ["tests.tiny_nets:Mlp"],
        "preset": "quick",
        "size": 8,
        "sizes": [40],
        "test": 40,
        "epochs": 2,
        "seeds": [0],
        "name": "small",
        "store": str(tmp_path / "audits"),
    }
    assert (row.parameters["cluster"], row.parameters["workers"]) == ("processes", 1)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("sizes = [40]", "sises = [40]", 24, "unknown key 'sises': did you mean sizes?"),
        ("sizes = [40]", 'sizes = "few"', 24, "sizes must be FIRST:LAST:STEP"),
        ("sizes = [40]", "sizes = [2]", 24, "each at least 4"),
        ('["tests.tiny_nets:Mlp"]', '["resnet19"]', 21, "unknown model 'resnet19'"),
        ('["tests.tiny_nets:Mlp"]', '["vgg13"]', 21, "vgg13 needs images of at least 32 pixels, size is 8"),
        ("epochs = 2", "epochs = 0", 26, "epochs must be at least 1, got 0"),
        ("seeds = [0]", "seeds = [0.5]", 27, "seeds must be a list of whole numbers"),
        ('"0 4 * * 6"', '"at night"', 28, "schedule must be a cron expression"),
        ('"0 4 * * 6"', '"0 3 30 2 *"', 28, "schedule must be a cron expression whose date exists"),
        ("workers = 1", 'workers = "two"', 29, "workers must be a whole number"),
        ("preset", "name = 'other'\npreset", 22, "unknown key 'name'"),
        ('sources = ["natural=digits:", "medical=chest"]', "", 19, "neither sources nor grid"),
        ('["natural=digits:", "medical=chest"]', '["digits:", "digits:"]', 19, "two datasets have the name 'digits'"),
        ("preset", 'grid = "none.toml"\npreset', 22, "none.toml cannot be read"),
    ],
)
def test_a_wrong_experiment_is_refused_with_its_line(tmp_path, old, new, line, says):
    assert_refused(written(tmp_path, GOOD + GRID.replace(old, new, 1)), f"line {line}:", says)


def test_the_guides_experiment_is_read_and_every_key_is_in_its_table(tmp_path):
    guide = (Path(__file__).parents[1] / "deployments/README.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml experiments.toml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (experiment,) = read_operations(written(tmp_path, text)).experiments
    assert experiment.options["sizes"] == (80, 120, 160)
    table = guide.split("| key of an experiment")[1].split("\n\n")[0]
    named = [key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(GRID_OPTIONS | OWN_OF_GRID)


RUN = """
import json, sys
from pathlib import Path
from flows.server import server_for
with server_for(Path(sys.argv[1])) as ready:
    from flows.experiment import experiment
    ready()
    print(experiment(**json.loads(sys.argv[2])))
"""


@pytest.mark.slow
def test_what_the_deployment_of_an_experiment_carries_runs_the_flow(tmp_path):
    """The same cells as inline; in a process of its own, which a worker would start."""
    random_folder(tmp_path / "chest", {"a": 60, "b": 60})
    (row,) = wanted_deployments(read_operations(written(tmp_path, 'store = "audits"\n' + GRID)))
    store = open_store(tmp_path / "audits")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(store), json.dumps(row.parameters)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folder = store / "experiments/small"
    assert done.stdout.strip() == str(folder)
    cells = pd.read_parquet(folder / "cells.parquet")
    assert cells["status"].tolist() == ["done"] * 2
    assert cells["domain"].tolist() == ["medical", "natural"]
    inline = experiment_from({**row.parameters["options"], "store": str(tmp_path / "inline")})
    again = pd.read_parquet(run_experiment(inline, experiment_tools(inline, workers=1)) / "cells.parquet")
    pd.testing.assert_frame_equal(cells.drop(columns="seconds"), again.drop(columns="seconds"), check_exact=True)

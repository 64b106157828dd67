"""The commands of deployments/README.md, run as they stand there: `dataprops` in this process, the worker as one of its own."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.make_images import random_folder
from tests.prefect_server import console_environment, end, until
from tests.shell import bash

pytestmark = pytest.mark.timeout(3600)
GUIDE = Path(__file__).parents[1] / "deployments" / "README.md"


def blocks(mark: str) -> list[str]:
    """Texts of the fenced blocks with this mark."""
    return re.findall(rf"^```{mark}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def guided(prefect_server, inbox, tmp_path_factory):
    """The guide, followed in a folder with a dataset; returns server and folder when the audit it asks for is there."""
    root = tmp_path_factory.mktemp("guide")
    images = random_folder(root / "chest", {"a": 60, "b": 60})
    (root / "chest/b/twin.png").write_bytes((root / "chest/a/000.png").read_bytes())
    assert len(images) == 120
    for package in ("flows", "tasks"):  # of a project of the user's, in which the worker is started
        (root / package).mkdir()
        (root / package / "__init__.py").write_text("raise RuntimeError('a package of the project was imported')\n")
    (file,) = blocks("toml datasets.toml")
    (root / "datasets.toml").write_text(file.replace("datasets.chest", "datasets.guide"))
    environment = {**prefect_server.environment, "WARD_URL": f"{inbox.url}/guide"}
    environment["PATH"] = console_environment(root / "bin")["PATH"]

    outputs = []
    with pytest.MonkeyPatch.context() as patch, prefect_server.client():
        patch.chdir(root)
        patch.setenv("PREFECT_API_URL", prefect_server.url)
        for name in ("WARD_URL", "PATH"):
            patch.setenv(name, environment[name])
        for text in blocks("bash run"):
            # the dataset of the other tests on this server has the same name
            text = text.replace("notify chest", "notify guide").replace("dataset.chest", "dataset.guide")
            code, said = bash(text, tmp_path_factory.mktemp("shell"))
            assert code == 0, f"{text}\n{said}"
            outputs.append(said)
    (worker,) = blocks("bash background")
    with (root / "worker.log").open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", f"exec {worker}"], env=environment, cwd=root, stdout=out, stderr=out, start_new_session=True
        )
    try:
        until(lambda: inbox.subjects("/guide"), "the alert of the guide's dataset")
        yield prefect_server, root, outputs
    finally:
        end(process)


def test_the_commands_do_what_the_guide_says(guided):
    _, _, (checked, deployed, watched, notified, called) = guided
    assert "1 datasets, 1 channels, valid" in checked
    assert "created    deployment  audit/guide" in deployed
    assert "guide: new data, told" in watched
    assert "sent       dataset.arrived guide" in notified
    assert called == ""


def test_three_arrivals_before_a_worker_was_there_became_one_audit(guided):
    server, root, _ = guided
    runs = [run for run in server.runs("audit", "guide") if "auto-scheduled" not in run["tags"]]
    assert sorted(run["state_type"] for run in runs) == ["CANCELLED", "CANCELLED", "COMPLETED"]
    assert len(list((root / "audits/results/guide").iterdir())) == 1


def test_the_message_of_the_guide_is_what_it_says(guided, inbox):
    assert "[critical] guide: conflicts" in inbox.subjects("/guide")


def test_every_key_of_the_guides_table_is_one_and_none_is_missing():
    from deployments.datasets import OWN

    table = GUIDE.read_text(encoding="utf-8").split("| key of a dataset")[1].split("\n\n")[0]
    named = {key for row in table.splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == OWN | {"source"}

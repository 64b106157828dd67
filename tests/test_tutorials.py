"""The tutorials, followed as they stand: every block marked `run` is run, in order, in an empty folder."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.prefect_server import console_environment

FOLDER = Path(__file__).parents[1] / "dataprops" / "tutorials"
BLOCK = re.compile(
    r"^```(?P<kind>bash|python|toml) (?P<what>run|write=(?P<file>\S+))(?: exit=(?P<code>\d))?\n(?P<text>.*?)^```$",
    re.M | re.S,
)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_a_tutorial_does_what_it_says(path, tmp_path, monkeypatch):
    environment = console_environment(tmp_path / "bin") | {"HOME": str(tmp_path)}
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": path.stem}  # as in a notebook, a block knows what earlier ones defined
    blocks = list(BLOCK.finditer(path.read_text(encoding="utf-8")))
    assert len(blocks) > 1
    for block in blocks:
        if block["file"]:
            (tmp_path / block["file"]).write_text(block["text"], encoding="utf-8")
        elif block["kind"] == "python":
            exec(compile(block["text"], str(path), "exec"), names)
        else:
            done = subprocess.run(
                ["bash", "-euc", block["text"]], env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == int(block["code"] or 0), f"{block['text']}\n{done.stdout}{done.stderr}"


def test_every_tutorial_is_named_in_the_readme():
    readme = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        assert f"dataprops/tutorials/{path.name}" in readme

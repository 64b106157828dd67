"""The tutorials, followed as they stand: every block marked `run` is run, in order, in an empty folder.

The command line is that of this process (`tests.shell`); `test_flow` has it as a process of its own.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.shell import bash

FOLDER = Path(__file__).parents[1] / "dataprops" / "tutorials"
BLOCK = re.compile(
    r"^```(?P<kind>bash|python|toml) (?P<what>run|write=(?P<file>\S+))(?: exit=(?P<code>\d))?\n(?P<text>.*?)^```$",
    re.M | re.S,
)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_a_tutorial_does_what_it_says(path, tmp_path, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
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
            code, said = bash(block["text"], tmp_path_factory.mktemp("shell"))
            assert code == int(block["code"] or 0), f"{block['text']}\n{said}"


def test_every_tutorial_is_named_in_the_readme():
    readme = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.md"):
        assert f"dataprops/tutorials/{path.name}" in readme

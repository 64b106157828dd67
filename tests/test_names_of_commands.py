"""Every command that a text names is one, with the options that are shown: in code, errors, help, READMEs and guides."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from flows.cli import main

ROOT = Path(__file__).parents[1]
PLACES = ("dataprops", "tasks", "flows", "deployments", "tests", ".")
# what follows the program's name where no command is meant: "a dataprops store", "give dataprops again"
OTHER = {
    *("store", "stores", "import", "again", "as", "is", "itself", "and", "in"),
    *("package", "project", "that", "for", "of", "to", "with", "authors"),
}
NAMED = re.compile(r"(?<![\w./-])dataprops ([a-z]+)\b([^`\n]*)")


def texts() -> list[tuple[Path, int, str]]:
    """Every line of a text file of ours that names the program."""
    found = []
    for place in PLACES:
        pattern = "*" if place == "." else "**/*"
        for path in sorted((ROOT / place).glob(pattern)):
            if (
                path.suffix in (".py", ".md", ".jinja", ".toml", ".yaml", ".cff")
                and path.is_file()
                and path != Path(__file__)
            ):
                lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
                found += [(path, n, line) for n, line in enumerate(lines, 1) if "dataprops " in line]
    return found


def options_of(command: click.Command) -> set[str]:
    return {
        "--help",
        *(name for one in command.params if isinstance(one, click.Option) for name in (*one.opts, *one.secondary_opts)),
    }


def wrong(line: str) -> list[str]:
    """What a line names that there is not."""
    context = click.Context(main)
    out = []
    for found in NAMED.finditer(line):
        word, rest = found.groups()
        if line[: found.start()].rstrip().endswith(("from", "import")) or word in OTHER:
            continue
        command = main.get_command(context, word)
        if command is None:
            out.append(f"dataprops {word}")
            continue
        shown = re.split(r"[|#;&]| {3,}|\"", rest)[0]
        used = re.findall(r"(?<!\S)(--[a-z][a-z-]*)", shown)
        out += [f"dataprops {word} {name}" for name in used if name not in options_of(command)]
    return out


def test_the_check_finds_what_is_wrong():
    assert wrong("run dataprops experiments, then dataprops fit") == ["dataprops experiments"]
    assert wrong("    dataprops audit scans/ --store x --no-such 1  # --other") == ["dataprops audit --no-such"]
    assert wrong("from dataprops import audit") == wrong("it is not a dataprops store") == []


@pytest.mark.parametrize("place", PLACES)
def test_commands_and_options_that_texts_name_exist(place: str):
    here = [one for one in texts() if (ROOT / place in one[0].parents if place != "." else one[0].parent == ROOT)]
    assert here
    found = [f"{path.relative_to(ROOT)}:{number}: {name}" for path, number, line in here for name in wrong(line)]
    assert not found, "\n".join(found)

"""A shell in which `dataprops` is the command line of this process: in one of its own each command imports for ten seconds."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from click.testing import CliRunner, Result

from flows.cli import main

PRELUDE = """
dataprops() {{
    printf '%q ' "$@" >&{ask}
    echo >&{ask}
    local code
    read -r code <&{answer}
    cat {said}
    return "$code"
}}
"""


@contextmanager
def logging_restored() -> Iterator[None]:
    """A command sets up the logging of a process that is its own."""
    ours = [logging.getLogger(name) for name in ("dataprops", "flows", "tasks", "deployments")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in ours]
    try:
        yield
    finally:
        for logger, (handlers, level, propagate) in zip(ours, before, strict=True):
            logger.handlers[:], logger.propagate = handlers, propagate
            logger.setLevel(level)


def invoke(*words: str) -> Result:
    """Run `dataprops WORDS` in this process, and leave its environment and logging as they were."""
    with patch.dict(os.environ), logging_restored():
        return CliRunner().invoke(main, words)


def bash(text: str, folder: Path) -> tuple[int, str]:
    """Run lines of bash in the working folder, and the commands among them in this process: exit code, and all output.

    Parameters
    ----------
    text : str
        Ends at the first line that fails.
    folder : Path
        For the output of commands.
    """
    said = folder / "said"
    (asks, ask), (answer, answers) = os.pipe(), os.pipe()
    script = PRELUDE.format(ask=ask, answer=answer, said=shlex.quote(str(said))) + text
    with (
        patch.dict(os.environ),
        logging_restored(),
        (folder / "output").open("wb") as output,
        subprocess.Popen(
            ["bash", "-euc", script], stdout=output, stderr=subprocess.STDOUT, pass_fds=(ask, answer)
        ) as process,
    ):
        os.close(ask)
        os.close(answer)
        with open(asks, encoding="utf-8") as asked, open(answers, "w", encoding="utf-8") as told:  # noqa: PTH123
            for line in asked:
                done = CliRunner().invoke(main, shlex.split(line))
                said.write_text(done.output, encoding="utf-8")
                print(done.exit_code, file=told, flush=True)
    return process.returncode, (folder / "output").read_text(encoding="utf-8")

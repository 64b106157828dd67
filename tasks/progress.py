"""How far a long stage is: a bar on the terminal, and a progress artifact in the Prefect UI."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataprops.util.tools import Advance, Progress
from tasks.artifacts import artifact_key

if TYPE_CHECKING:
    from rich.console import Console

log = logging.getLogger(__name__)

ARTIFACT_SECONDS = 2.0  # the UI polls no faster
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_number(value: float) -> str:
    """1234567 -> '1.2 M'."""
    for scale, letter in SCALES:
        if value >= scale:
            return f"{value / scale:.1f} {letter}"
    return f"{value:.0f}"


def terminal_progress(console: Console) -> Progress:
    """Bars with rate and time left, on `console` (the terminal's error stream: the results have the other one)."""
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            rate = f", {short_number(speed)}/s" if speed else ""
            return Text(
                f"{short_number(task.completed)} of {short_number(task.total or 0)} {task.fields['unit']}{rate}"
            )

    @contextmanager
    def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
        if not console.is_terminal:
            begin = time.monotonic()
            yield lambda done: None
            console.print(f"{what}: {short_number(total)} {unit} in {time.monotonic() - begin:.1f} s", soft_wrap=True)
            return
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            Amount(),
            TimeRemainingColumn(compact=True),
        )
        with Bars(*columns, console=console) as bars:
            task = bars.add_task(what, total=total, unit=unit)
            yield lambda done: bars.advance(task, done)

    return progress


def prefect_progress(inner: Progress) -> Progress:
    """`inner`, and a progress artifact of the running flow, moved at most every few seconds from a thread-safe count."""

    @contextmanager
    def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        key = artifact_key("progress", what)
        artifact = create_progress_artifact(progress=0.0, key=key, description=f"{what}: {total:,} {unit}")
        lock = threading.Lock()
        done = 0
        with inner(what, total, unit) as advance:

            def both(more: int) -> None:
                nonlocal done
                advance(more)
                with lock:
                    done += more

            ticking = threading.Event()

            def tell() -> None:
                # from a thread of its own: a worker's count must not wait for the server
                while not ticking.wait(ARTIFACT_SECONDS):
                    update_progress_artifact(artifact_id=artifact, progress=100.0 * done / max(1, total))

            teller = threading.Thread(target=tell, daemon=True, name="progress")
            teller.start()
            try:
                yield both
            finally:
                ticking.set()
                teller.join()
        update_progress_artifact(artifact_id=artifact, progress=100.0)

    return progress

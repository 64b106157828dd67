"""Progress of long stages: a bar on the terminal, and a progress artifact in the Prefect UI."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, cast

from dataprops.util.tools import Advance, Progress

if TYPE_CHECKING:
    from uuid import UUID

    from rich.console import Console

log = logging.getLogger(__name__)

SILENCE = 1.2  # seconds; a computing thread may delay output by almost another second
LOGGED = 30.0  # seconds between lines of the same work in a log
ARTIFACT_SECONDS = 2.0  # polling interval of the UI
SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_number(value: float) -> str:
    """1234567 -> '1.2 M'."""
    for scale, letter in SCALES:
        if value >= scale:
            return f"{value / scale:.1f} {letter}"
    return f"{value:.0f}"


class Teller:
    """Reports progress on a terminal: bars with rate and time left for counted work, otherwise a line of text every `SILENCE` s.

    A log gets a line when the work changes, and every `LOGGED` s.

    Parameters
    ----------
    console : Console
        On stderr; stdout is for results.
    what : callable
        what() -> description of the current work.
    """

    def __init__(self, console: Console, what: Callable[[], str] = lambda: "at work") -> None:
        self._console, self._what = console, what
        self._lock, self._bars, self._over = threading.Lock(), 0, threading.Event()
        self._spoke = self._began = time.monotonic()

    def __enter__(self) -> Progress:
        self._say("starting")
        self._thread = threading.Thread(target=self._tell, daemon=True, name="under way")
        self._thread.start()
        return self.progress

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _tell(self) -> None:
        looked, work = self._began, ""
        while not self._over.wait(0.1):
            with self._lock:
                now = time.monotonic()
                if self._bars or now - max(self._spoke, looked) < SILENCE:
                    continue
                looked, text, before = now, self._what(), work
                work = text.partition(":")[0]  # without how much of it is done
                if self._console.is_terminal or work != before or now - self._spoke >= LOGGED:
                    self._say(f"{text} ({now - self._began:.0f} s)")
        if self._console.is_terminal:
            self._console.file.write("\r\x1b[K")

    def _say(self, text: str) -> None:
        """Print a line; on a terminal the next one overwrites it."""
        self._spoke = time.monotonic()
        if self._console.is_terminal:
            self._console.file.write(f"\r\x1b[K{text[: max(20, self._console.width - 1)]}")
            self._console.file.flush()
        else:
            self._console.print(text, soft_wrap=True, markup=False)

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        """Implements `Progress`."""
        begin = time.monotonic()
        if not self._console.is_terminal:
            yield lambda done: None
            with self._lock:
                self._spoke = time.monotonic()
                much = "done" if unit == "%" else f"{short_number(total)} {unit}"
                self._console.print(f"{what}: {much} in {time.monotonic() - begin:.1f} s", soft_wrap=True)
            return
        with self._lock:
            self._bars += 1
            self._console.file.write("\r\x1b[K")
        try:
            with _bars(self._console) as bars:
                task = bars.add_task(what, total=total, unit=unit)
                yield lambda done: bars.advance(task, done)
        finally:
            with self._lock:
                self._bars -= 1
                self._spoke = time.monotonic()


def _bars(console: Console):
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

    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        Amount(),
        TimeRemainingColumn(compact=True),
    )
    return Bars(*columns, console=console)


def terminal_progress(console: Console) -> Progress:
    """Progress bars on `console`; see `Teller`."""
    return Teller(console).progress


def prefect_progress(inner: Progress) -> Progress:
    """`inner`, plus a progress artifact of the running flow, created after `ARTIFACT_SECONDS` and updated at that interval."""

    @contextmanager
    def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
        lock = threading.Lock()
        done = 0
        artifact: UUID | None = None
        with inner(what, total, unit) as advance:

            def both(more: int) -> None:
                nonlocal done
                advance(more)
                with lock:
                    done += more

            ticking = threading.Event()

            def tell() -> None:
                # in a separate thread: counting must not wait for the server
                nonlocal artifact
                while not ticking.wait(ARTIFACT_SECONDS):
                    from prefect.artifacts import create_progress_artifact, update_progress_artifact

                    from tasks.artifacts import artifact_key

                    percent = 100.0 * done / max(1, total)
                    if artifact is None:
                        about = f"{what}: {total:,} {unit}"
                        made = create_progress_artifact(percent, artifact_key("progress", what), about)
                        artifact = cast("UUID", made)  # synchronous in this thread, so not a coroutine
                    else:
                        update_progress_artifact(artifact, progress=percent)

            # the copied context assigns the artifact to this flow run
            teller = threading.Thread(target=copy_context().run, args=(tell,), daemon=True, name="progress")
            teller.start()
            try:
                yield both
            finally:
                ticking.set()
                teller.join()
        if artifact is not None:
            from prefect.artifacts import update_progress_artifact

            update_progress_artifact(artifact, progress=100.0)

    return progress

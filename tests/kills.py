"""SIGKILL at random moments, and whether what is left is whole: ``python -m tests.kills --kills 100``.

Each kill has one of these kinds, drawn by the seed: an audit; an audit of a set that has grown; a grid of trainings; a clean-up of the
store; an audit by the command line on Dask's processes with a Prefect server of its own, of which any process may be hit; the same on
a Dask scheduler that was started before, of which the scheduler or a worker may be hit. The moment is drawn as a fraction of
the processor time (of the command lines: of the time) that the undisturbed one took. Then the store must open, its locks be free, the
same command end with the results of the undisturbed one, and no process, no unfinished file be left. One line for each kill, and
the counts.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import psutil

from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.store.folder import finished_runs, load_summary, locked, open_store
from dataprops.store.prune import Policy, holding, plan, remove
from dataprops.util.tools import inline_tools, no_progress
from tests.kill_audits import HEAVY
from tests.make_images import random_folder, save

ROOT = Path(__file__).parents[1]
TABLES = ("images", "properties", "neighbours", "pairs", "findings", "shortcuts", "checks", "alerts")
MEASURED = (
    "n_images",
    "preprocess",
    "intrinsic_dimension",
    "label_sharpness",
    "findings",
    "conflicts",
    "checks",
    "alerts",
)
OPTIONS = {"size": 12, "k": 4, "sample": 50, "draws": 3}
WEIGHTS = {"audit": 30, "grown": 24, "grid": 20, "clean-up": 16, "command": 6, "scheduler": 4}
ENDED = (0, 1)  # 1: an alert
PATIENCE = 120.0  # seconds until processes of a killed one must be gone


class Wrong(Exception):
    """What a kill must not leave."""


class Kind(NamedTuple):
    """How to prepare a folder for a kill, what is killed, and the results to compare."""

    prepare: Callable[[Path], None]
    run: Callable[[Path], None]
    results: Callable[[Path], object]


# the forked kinds


def _audited(folder: Path) -> None:
    config = AuditConfig(str(folder / "scans"), str(folder / "store"), estimators=("mle", "twonn"), **OPTIONS)
    composition.run_stages(config, inline_tools(no_progress, 1))


def _scans(folder: Path) -> None:
    images = random_folder(folder / "scans", {"cat": 30, "dog": 30})
    save(folder / "scans/dog/twin.png", images["cat/000.png"])
    (folder / "scans/dog/broken.png").write_bytes(b"no image")


def _grow(folder: Path) -> None:
    _scans(folder)
    _audited(folder)
    random_folder(folder / "scans", {"cat/new": 8, "dog/new": 8}, seed=1)
    (folder / "scans/cat/007.png").unlink()


def _tables(folder: Path) -> object:
    store = open_store(folder / "store")
    with locked(store, "scans"):  # the lock went with the process
        # the first that ended since: it is the killed one where it was hit after its results were whole
        run = finished_runs(store, "scans")[(folder / "scans/cat/new").exists()]
    # the newest of each state alone is kept, and nothing that is unfinished
    for left in (*(store / "work").glob("*/*"), *store.rglob("*.part"), *store.rglob("*.unfinished.npz")):
        if left.name in ("purge.lock", "global.lock"):  # Dask's own, empty, one for all runs
            continue
        raise Wrong(f"left behind: {left.relative_to(store)}")
    tables = {name: pd.read_parquet(run / f"{name}.parquet") for name in TABLES}
    return tables, {name: load_summary(run)[name] for name in MEASURED}


def _grid(folder: Path) -> None:
    from dataprops.experiment import experiment_tools, run_experiment
    from dataprops.experiment.grid import Dataset, Experiment, Preset

    net = "tests.tiny_nets:Mlp"
    settings = Preset(
        size=8, scale="per-image-max", sizes=(40, 80), test=60, epochs=4, lr={net: 3e-3}, attacked=30, pgd=10
    )
    sets = (Dataset("digits:", domain="natural"),)
    experiment = Experiment(sets, (net,), str(folder / "store"), "small", "quick", settings, device="cpu")
    run_experiment(experiment, experiment_tools(experiment, workers=1))


def _cells(folder: Path) -> object:
    (table,) = open_store(folder / "store").rglob("cells.parquet")
    if (table.parent / "work").exists():
        raise Wrong("left behind: work of the grid")
    return {"cells": pd.read_parquet(table).drop(columns=["seconds"])}, None


def _runs(folder: Path) -> None:
    _grow(folder)
    _audited(folder)
    shutil.rmtree(folder / "scans/dog")
    random_folder(folder / "scans", {"bird": 30}, seed=2)
    _audited(folder)


def _pruned(folder: Path) -> None:
    store = open_store(folder / "store")
    with holding(store, shards=True) as (free, busy):
        remove(store, plan(store, Policy(1, None, shards=True), free, busy))


def _kept(folder: Path) -> object:
    store = open_store(folder / "store")
    files = sorted(path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file())
    return {}, [name for name in files if not name.endswith(".lock")]


# the kinds by the command line


def _command(folder: Path, *cluster: str) -> None:
    """Ends the process with the command's exit code."""
    words = ["audit", str(folder / "scans"), "--store", str(folder / "store"), "--quiet", "--estimators", "mle,twonn"]
    words += [word for name, value in OPTIONS.items() for word in (f"--{name}", str(value))]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(folder), "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "prefect")}
    os.execve(sys.executable, [sys.executable, "-m", "flows.cli", *words, *cluster], environment)


KINDS = {
    "audit": Kind(_scans, _audited, _tables),
    "grown": Kind(_grow, _audited, _tables),
    "grid": Kind(lambda folder: None, _grid, _cells),
    "clean-up": Kind(_runs, _pruned, _kept),
    "command": Kind(_scans, lambda folder: _command(folder, "--cluster", "processes", "--workers", "2"), _tables),
    "scheduler": Kind(_scans, lambda folder: _command(folder, "--cluster", (folder / "address").read_text()), _tables),
}
BY_FORK = ("audit", "grown", "grid", "clean-up")


def begin(kind: str, folder: Path) -> psutil.Process:
    """Start the work of a kind in a process of its own."""
    child = os.fork()
    if not child:
        code = 3
        try:
            sink = os.open(folder / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            KINDS[kind].run(folder)
            code = 0
        except BaseException:  # noqa: BLE001 - it must not go on as its parent
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    return psutil.Process(child)


def spent(process: psutil.Process, kind: str) -> float:
    """The time by which a moment is chosen."""
    if kind not in BY_FORK:
        return time.time() - process.create_time()
    times = process.cpu_times()
    return times.user + times.system


def whole(process: psutil.Process, kind: str) -> tuple[float, int]:
    """Wait for the end; the time it took, and its exit code."""
    last = 0.0
    while True:
        with suppress(psutil.Error):
            last = max(last, spent(process, kind))
        ended, status = os.waitpid(process.pid, os.WNOHANG)
        if ended:
            return last, os.waitstatus_to_exitcode(status)
        time.sleep(0.01)


@contextmanager
def scheduler(folder: Path, *, wanted: bool) -> Iterator[list[psutil.Process]]:
    """A Dask scheduler with two workers, whose address is written into the folder."""
    if not wanted:
        yield []
        return
    found = folder / "scheduler.json"
    found.unlink(missing_ok=True)  # of the one that was killed
    commands = [["dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(found)]]
    commands += [
        ["dask_worker", "--scheduler-file", str(found), "--nthreads", "1", "--local-directory", str(folder)]
    ] * 2
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{words[0]}", *words[1:]],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for words in commands
    ]
    try:
        while not found.exists() or not found.read_text():
            time.sleep(0.05)
        (folder / "address").write_text(json.loads(found.read_text())["address"])
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            for child in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else ():
                with suppress(psutil.Error):
                    child.kill()
            process.kill()
            process.wait()


def kill(kind: str, folder: Path, moment: float, rng: random.Random) -> str:
    """Begin, and kill at this moment; who was hit."""
    with scheduler(folder, wanted=kind == "scheduler") as others:
        process = begin(kind, folder)
        while spent(process, kind) < moment and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.002)
        family = process.children(recursive=True)
        victim = process if kind in BY_FORK else rng.choice([process, *family, *others])
        told = "the command"
        with suppress(psutil.Error):
            told = told if victim == process else " ".join(victim.cmdline())[-60:]
            victim.kill()
        if kind in BY_FORK or victim == process:
            os.waitpid(process.pid, 0)
        else:
            whole(process, kind)
        # the workers of a scheduler that was started before stay, with theirs
        _, alive = psutil.wait_procs(family, PATIENCE)
        if alive:
            raise Wrong(f"still running: {[' '.join(one.cmdline())[-80:] for one in alive]}")
    return told


def same(one: object, two: object) -> None:
    """Refuse results that differ."""
    (tables, rest), (others, other) = one, two  # pyright: ignore[reportGeneralTypeIssues]
    if rest != other:
        raise Wrong("the summaries or the files that are kept differ from the undisturbed ones")
    for name, table in tables.items():
        try:
            pd.testing.assert_frame_equal(table, others[name], check_exact=True)
        except AssertionError as error:
            raise Wrong(f"{name} differs from the undisturbed one: {error}") from None


def apart(kind: str, folder: Path) -> None:
    """Prepare in a process of its own: one that computed in threads of OpenMP cannot be forked, its children wait for these."""
    child = os.fork()
    if not child:
        code = 1
        try:
            KINDS[kind].prepare(folder)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(child, 0)[1]:
        raise Wrong(f"{kind} could not be prepared")


class Undisturbed:
    """Of each kind the prepared folder, how long it took, and its results; made when first asked for."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.known: dict[str, tuple[float, object]] = {}

    def of(self, kind: str) -> tuple[float, object]:
        """Time and results."""
        if kind not in self.known:
            prepared, folder = self.base / f"{kind}-prepared", self.base / f"{kind}-whole"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(prepared, ignore_errors=True)
            prepared.mkdir()
            apart(kind, prepared)
            shutil.copytree(prepared, folder)
            with scheduler(folder, wanted=kind == "scheduler"):
                took, code = whole(begin(kind, folder), kind)
            if code not in ENDED:
                raise Wrong(f"the undisturbed one failed: {(folder / 'said.txt').read_text()[-500:]}")
            self.known[kind] = took, KINDS[kind].results(folder)
        return self.known[kind]


def one(number: int, kind: str, seed: int, undisturbed: Undisturbed) -> str:
    """One kill, in a folder of its own; what happened.

    Raises
    ------
    Wrong
    """
    took, wanted = undisturbed.of(kind)
    rng = random.Random(f"{seed} {number}")
    moment = rng.uniform(0.02, 1.0) * took
    folder = undisturbed.base / "killed" / "case"
    shutil.rmtree(folder.parent, ignore_errors=True)
    shutil.copytree(undisturbed.base / f"{kind}-prepared", folder)
    told = kill(kind, folder, moment, rng)
    if (folder / "store").exists():
        open_store(folder / "store")
    with scheduler(folder, wanted=kind == "scheduler"):
        _, code = whole(begin(kind, folder), kind)
    if code not in ENDED:
        raise Wrong(f"the next one ended with {code}: {(folder / 'said.txt').read_text()[-500:]}")
    same(KINDS[kind].results(folder), wanted)
    return f"{told}, after {moment:.2f} of {took:.2f} s"


def _said(folder: Path) -> str:
    """What the killed process and the next one wrote, its last lines, indented."""
    said = folder / "said.txt"
    lines = said.read_text(errors="replace").splitlines() if said.exists() else []
    return "".join(f"    {line}\n" for line in lines[-40:])


def main() -> int:
    """Kill, print what happened, and count; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description="SIGKILL at random moments, and whether what is left is whole.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    asked = parser.parse_args()
    for name in HEAVY:  # once, before the forks
        import_module(name)
    kinds = asked.kinds or list(KINDS)
    chosen = random.Random(asked.seed).choices(kinds, [WEIGHTS[kind] for kind in kinds], k=asked.kills)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as base:
        undisturbed = Undisturbed(Path(base))
        for number, kind in enumerate(chosen):
            try:
                print(f"{number} {kind}: {one(number, kind, asked.seed, undisturbed)}", flush=True)
                counts[kind] += 1
            except Exception as error:  # noqa: BLE001 - the others are looked at, too
                counts["wrong"] += 1
                print(f"WRONG {number} {kind}: {error!r}\n{_said(undisturbed.base / 'killed/case')}", flush=True)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in kinds)
    print(f"{counts.total()} kills ({told}), {counts['wrong']} wrong", flush=True)
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

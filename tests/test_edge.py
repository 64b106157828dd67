"""Exit codes at the edge: 1 is an alert and nothing else; what a machine refuses is one line, 3, and a traceback in a file."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner

from dataprops.audit import workspace
from dataprops.audit.config import AuditConfig
from dataprops.errors import DatapropsError, MachineError
from dataprops.store import folder, prune
from dataprops.store.folder import existing_store, finished_runs, open_store
from flows import server
from flows.cli import main
from flows.commands.common import leave
from tests.make_images import random_folder


def left(error, store=None):
    with pytest.raises(SystemExit) as caught:
        leave(error, store)
    return caught.value.code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatapropsError("no such folder"), 2),
        (MachineError("out of file handles"), 3),
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (MemoryError(), 3),
        (ZeroDivisionError("division by zero"), 3),
        (AssertionError(), 3),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_error_leaves_with_the_code_of_an_alert(error, code, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    assert left(error) == code
    told = capfd.readouterr().err
    assert told.startswith("dataprops: ")
    assert told.count("\n") == 1
    files = list((tmp_path / "dataprops-errors").glob("*"))
    assert len(files) == (code == 3)
    if files:
        assert type(error).__name__ in files[0].read_text()
        assert str(files[0]) in told


@pytest.mark.parametrize("refusal", ["the disk is full", "the file system is read-only"])
def test_what_a_database_says_of_its_disk_is_told_with_the_way_out(refusal, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect.db")) as database:
        database.execute("create table x (y blob)")
        database.execute("pragma max_page_count = 4" if "full" in refusal else "pragma query_only = 1")
        with pytest.raises(sqlite3.OperationalError) as caught:
            database.execute("insert into x values (zeroblob(100000))")
    wrapped = RuntimeError("(sqlite3.OperationalError)")  # as SQLAlchemy does
    wrapped.__cause__ = caught.value
    assert left(wrapped) == left(caught.value) == 3
    first, second = capfd.readouterr().err.splitlines()
    assert first.startswith(f"dataprops: {refusal}: ") and second.startswith(f"dataprops: {refusal}: ")


@pytest.mark.parametrize("most", [700_000, 2_560_000, 4_194_303])  # from some 2.5 million on a flow waited for ever
@pytest.mark.parametrize("how", ["--inline", ""], ids=["inline", "flow"])
def test_too_little_memory_for_the_libraries_is_told_and_is_no_alert(how, most, tmp_path):
    command = f"ulimit -v {most}; exec {sys.executable} -m flows.cli audit digits: {how} --store {tmp_path}/store"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("dataprops: the address space is limited (ulimit -v)")
    assert done.stderr.count("\n") == 1


def test_a_library_that_is_not_loaded_under_a_limit_is_the_machines_refusal(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("flows.commands.common.address_limit", lambda: 2**32)
    assert left(ImportError("failed to map segment from shared object")) == 3
    assert "raise the limit" in capfd.readouterr().err
    monkeypatch.setattr("flows.commands.common.address_limit", lambda: None)
    assert left(ImportError("no module named x")) == 3
    assert "unexpected ImportError" in capfd.readouterr().err


def test_what_an_address_hides_is_in_no_message_and_no_traceback(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    left(ValueError("cannot read https://me:hidden@host/a.zip?sig=hidden"))
    (file,) = (tmp_path / "dataprops-errors").glob("*")
    assert "hidden" not in capfd.readouterr().err + file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    for error in (DatapropsError, MachineError):
        left(error("no such place: 'https://me:hidden@host/a.zip?sig=hidden'"))
        assert (
            "no such place: 'https://***@host/a.zip?***'" in (told := capfd.readouterr().err) and "hidden" not in told
        )


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("edge") / "scans"
    random_folder(root, {"cat": 8, "dog": 8})
    return root


def audited(scans: Path, store: Path):
    words = ["audit", str(scans), "--store", str(store), "--inline", "--quiet", "--size", "8", "--k", "4"]
    return CliRunner().invoke(
        main, [*words, "--estimators", "mle", "--sample", "4", "--draws", "2", "--no-probe", "--json"]
    )


REFUSALS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "too many open files": errno.EMFILE}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("place", ["shards", "states", "work", "results"])
def test_a_machine_that_refuses_ends_with_3_and_the_next_run_is_whole(refusal, place, scans, tmp_path, monkeypatch):
    code, store = REFUSALS[refusal], tmp_path / "store"
    replace = os.replace

    def refuse(source, target, **options):
        if Path(target).is_relative_to(store / place):
            raise OSError(code, os.strerror(code), str(target))
        return replace(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        refused = audited(scans, store)
    assert refused.exit_code == 3, refused.output
    assert refusal in refused.stderr
    assert len(list((store / "errors").glob("*.txt"))) == 1
    assert not list((store / "work").glob("*/*"))
    whole = audited(scans, store)
    assert whole.exit_code in (0, 1), whole.output


@pytest.fixture
def small_disk(tmp_path):
    """mount(bytes) gives an empty disk of that size; grow(bytes) makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: int, *options: str) -> Path:
        subprocess.run(["umount", str(disk)], check=False, capture_output=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=False, capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.decode().strip()}")
        return disk

    def remount(option: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{option}", str(disk)], check=True)

    yield mount, remount
    subprocess.run(["umount", "-l", str(disk)], check=False, capture_output=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a disk")
@pytest.mark.parametrize(
    "tenths", [pytest.param(n, marks=[] if n == 5 else pytest.mark.slow) for n in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)]
)
def test_a_disk_that_is_full_or_read_only_ends_with_3_and_the_next_run_is_whole(
    tenths, scans, tmp_path, small_disk, monkeypatch
):
    mount, remount = small_disk
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))  # a traceback goes there if the store has no room
    undisturbed = audited(scans, tmp_path / "store")
    files = [path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file()]
    whole = sum(-(-size // 4096) * 4096 for size in files)
    store = mount(max(8192, whole * tenths // 10)) / "store"
    refused = audited(scans, store)
    assert refused.exit_code == 3, refused.output
    assert refused.stderr.count("\n") == 1 and "disk is full" in refused.stderr, refused.stderr
    assert not list(store.glob("results/*/*/summary.json"))
    remount(f"size={20 * whole}")
    again = audited(scans, store)
    assert again.exit_code == undisturbed.exit_code, again.output
    for name in ("intrinsic_dimension", "label_sharpness", "findings"):
        assert json.loads(again.stdout)[name] == json.loads(undisturbed.stdout)[name]
    assert not list(store.rglob("*.part"))
    del refused  # its traceback holds the file that could not be written
    gc.collect()
    remount("ro")
    refused = audited(scans, store)
    assert refused.exit_code == 3 and "read-only" in refused.stderr and refused.stderr.count("\n") == 1, refused.output
    assert CliRunner().invoke(main, ["history", "scans", "--store", str(store)]).exit_code == 0  # what is there is read


FLOW_TENTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)


def by_flow(
    scans: Path, store: Path, home: Path, module: Sequence[str] = ("flows.cli",), **options
) -> subprocess.CompletedProcess:
    words = ["audit", str(scans), "--store", str(store), "--quiet", "--size", "8", "--k", "4", "--json", "--no-probe"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", *module, *words, "--estimators", "mle", "--sample", "4", "--draws", "2"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False, **options)


def refused_and_resumed(refused, words: str, scans: Path, store: Path, home: Path) -> None:
    """It ended with 3 and one line; the next flow ends as one that was not disturbed."""
    assert refused.returncode == 3, refused.stderr
    lines = [line for line in refused.stderr.splitlines() if "EventsWorker" not in line]  # what Prefect says of itself
    assert len(lines) == 1 and words in lines[0], refused.stderr
    assert not list(store.glob("results/*/*/summary.json"))
    again = by_flow(scans, store, home)
    undisturbed = audited(scans, home / "undisturbed")
    assert again.returncode == undisturbed.exit_code, again.stderr
    for name in ("intrinsic_dimension", "label_sharpness", "findings"):
        assert json.loads(again.stdout)[name] == json.loads(undisturbed.stdout)[name]
    assert not list(store.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a disk")
@pytest.mark.parametrize("tenths", FLOW_TENTHS)
def test_a_disk_that_is_full_ends_a_flow_with_3_and_the_next_is_whole(tenths, scans, tmp_path, small_disk):
    """Also where Prefect's server, which keeps its database in the store, finds no room."""
    mount, remount = small_disk
    assert by_flow(scans, tmp_path / "first", tmp_path).returncode in (0, 1)
    files = [path.stat().st_size for path in (tmp_path / "first").rglob("*") if path.is_file()]
    whole = sum(-(-size // 4096) * 4096 for size in files)
    store = mount(max(8192, whole * tenths // 10)) / "store"
    refused = by_flow(scans, store, tmp_path)
    remount(f"size={20 * whole}")
    if tenths >= 8 and refused.returncode != 3:  # only events found no room, which Prefect writes when a run is over
        undisturbed = audited(scans, tmp_path / "undisturbed")
        assert refused.returncode == undisturbed.exit_code, refused.stderr
        assert json.loads(refused.stdout)["findings"] == json.loads(undisturbed.stdout)["findings"]
        return
    refused_and_resumed(refused, "disk is full", scans, store, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("most", [16, 20, 24, 32])
def test_a_flow_of_few_file_handles_has_enough_or_ends_with_3_and_the_next_is_whole(most, scans, tmp_path):
    """How many it takes depends on what it inherits, and on what is open at one moment."""

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    refused = by_flow(scans, tmp_path / "store", tmp_path, preexec_fn=few)
    if refused.returncode in (0, 1):
        assert list((tmp_path / "store").glob("results/*/*/summary.json"))
        return
    refused_and_resumed(refused, "too many open files", scans, tmp_path / "store", tmp_path)


@pytest.mark.parametrize(
    "moment", ["distances", *(pytest.param(name, marks=pytest.mark.slow) for name in ("scan", "decoding", "report"))]
)
def test_a_flow_that_is_refused_memory_ends_with_3_and_the_next_is_whole(moment, scans, tmp_path):
    refused = by_flow(scans, tmp_path / "store", tmp_path, ("tests.changing", moment, "memory", str(scans)))
    refused_and_resumed(refused, "out of memory", scans, tmp_path / "store", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("most", [4_096, 4_500, 5_000])
def test_a_flow_of_little_memory_has_enough_or_ends_with_3_and_the_next_is_whole(most, scans, tmp_path):
    """MiB of addresses, of the flow and of each process that it starts."""

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (most * 2**20, most * 2**20))

    refused = by_flow(scans, tmp_path / "store", tmp_path, preexec_fn=little)
    if refused.returncode in (0, 1):
        assert list((tmp_path / "store").glob("results/*/*/summary.json"))
        return
    refused_and_resumed(refused, "memory", scans, tmp_path / "store", tmp_path)


@pytest.mark.parametrize(("said", "kind"), [("database or disk is full", OSError), ("a bug", MachineError)])
def test_a_server_that_does_not_start_is_the_machines_refusal(said, kind, tmp_path):
    (tmp_path / "server.log").write_text(f"sqlite3.OperationalError: {said}\n")
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
        with pytest.raises(kind, match="No space left" if kind is OSError else "did not start"):
            server._wait(ended, "http://127.0.0.1:9/api", tmp_path / "server.log")


def test_what_fails_on_a_full_disk_in_another_process_is_told_as_that(tmp_path, monkeypatch, capfd):
    """A server answers that it failed, and not why."""
    open_store(tmp_path / "store")
    for free, told in ((10**9, "unexpected RuntimeError"), (4096, "the disk is full")):
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: SimpleNamespace(free=free))
        with pytest.raises(SystemExit) as left:
            leave(RuntimeError("Internal Server Error"), str(tmp_path / "store"))
        assert left.value.code == 3
        assert told in capfd.readouterr().err


def test_a_store_that_vanishes_is_no_alert_and_no_result(scans, tmp_path, monkeypatch):
    from dataprops.audit import composition

    store = tmp_path / "store"

    real = composition.stage
    for at in ("distances", "report"):

        def vanishing(name, at=at):
            if name == at:
                store.rename(tmp_path / "gone")
            return real(name)

        monkeypatch.setattr(composition, "stage", vanishing)
        found = audited(scans, store)
        assert found.exit_code == 3, found.output
        assert "disappeared" in found.stderr
        assert not list(store.glob("results/*/*"))
        for place in (store, tmp_path / "gone"):
            if place.exists():
                place.rename(tmp_path / f"old{at}{place.name}")


def test_a_store_that_lost_its_marker_is_told_from_a_folder_that_is_none(tmp_path):
    store = open_store(tmp_path / "store")
    folder.open_salt(store)
    (store / "version.json").unlink()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").write_text("no store")
    for opened in (open_store, existing_store):
        with pytest.raises(DatapropsError, match=r"without its marker version\.json"):
            opened(store)
        with pytest.raises(DatapropsError, match="is not a dataprops store"):
            opened(tmp_path / "other")
    (store / "version.json").write_text('{"schema": 1, "made_by": "dataprops"}')
    assert existing_store(store) == store


def test_what_a_killed_decoder_left_is_swept_by_the_next_run(scans, tmp_path):
    store = tmp_path / "store"
    assert audited(scans, store).exit_code in (0, 1)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mark = prune.host_mark()
    here = store / f"shards/.shard.{dead.pid}.{mark}00000000.part"
    running = store / f"shards/.shard.{os.getpid()}.{mark}00000000.part"
    elsewhere = store / f"shards/.shard.{dead.pid}.0123456700000000.part"
    for part in (here, running, elsewhere):
        part.write_bytes(b"unfinished")
    assert audited(scans, store).exit_code in (0, 1)
    assert [part.exists() for part in (here, running, elsewhere)] == [False, True, True]
    old = time.time() - 2 * prune.STALE_SECONDS
    os.utime(elsewhere, (old, old))
    assert prune.stale_parts(store) == [elsewhere]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_the_server_of_a_killed_command_ends(scans, tmp_path):
    words = ["audit", str(scans), "--store", str(tmp_path / "store"), "--quiet", "--size", "8", "--k", "4"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    servers: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while not servers and command.poll() is None and time.monotonic() < deadline:
        servers = psutil.Process(command.pid).children(recursive=True)
        time.sleep(0.05)
    assert servers, "no server was started"
    time.sleep(0.5)
    command.kill()
    command.wait()
    _, alive = psutil.wait_procs(servers, timeout=90)  # one that still imports ends when it has done so
    assert alive == []


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_the_processes_of_a_killed_grid_end():
    script = (
        "import time\nfrom dataprops.util.tools import process_map\n"
        "for _ in process_map(2)(time.sleep, [(0.1,), (0.1,), (60,), (60,)]): print('one', flush=True)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE)
    assert command.stdout is not None
    assert command.stdout.readline() == b"one\n"
    children = psutil.Process(command.pid).children(recursive=True)
    assert len(children) >= 2
    command.kill()
    command.communicate()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


@pytest.mark.parametrize("jump", [timedelta(days=-400), timedelta(seconds=-1), timedelta(days=400)], ids=str)
def test_a_clock_that_jumps_leaves_the_newest_run_the_newest(jump, tmp_path, monkeypatch, caplog):
    store = open_store(tmp_path / "store")
    now = datetime(2026, 11, 27, 8, 30, 0, 999_999, tzinfo=UTC)
    names = []
    for moment in (now, now + jump, now + jump, now + 2 * jump):
        monkeypatch.setattr(
            workspace, "datetime", type("Clock", (datetime,), {"now": classmethod(lambda cls, tz, at=moment: at)})
        )
        run = workspace.start_run(AuditConfig("digits:", str(store)))
        run.results.mkdir(parents=True)
        (run.results / "summary.json").write_text(json.dumps({"run_id": run.run_id, "created": run.created}))
        names.append(run.run_id)
        assert finished_runs(store, run.config.dataset)[-1] == run.results
    assert names == sorted(set(names))
    assert "this run is dated just after it" in caplog.text  # two began in one moment at least
    begun = [json.loads((folder / "summary.json").read_text())["created"] for folder in finished_runs(store, "digits")]
    assert begun == sorted(begun)

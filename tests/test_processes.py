"""Work in other processes: what they are given, how they end, and that the result is the same without them."""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
import threading
from multiprocessing.connection import Pipe
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import dataprops
from dataprops.audit import kernels
from dataprops.distances import allpairs, kernel
from dataprops.imaging import formats
from dataprops.util import helper, tools
from dataprops.util.version import state_of


def pid_and_square(value: int) -> tuple[int, int]:
    return os.getpid(), value * value


def refused_at(value: int) -> int:
    if value == 2:
        raise ValueError("two")
    return value


def test_one_worker_is_this_process_and_several_are_others() -> None:
    values = [(value,) for value in range(7)]
    alone = list(tools.process_map(1)(pid_and_square, values))
    assert alone == [(os.getpid(), value * value) for (value,) in values]
    others = list(tools.process_map(2)(pid_and_square, values))
    assert sorted(square for _, square in others) == [square for _, square in alone]
    assert os.getpid() not in {pid for pid, _ in others}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_process_is_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match="two"):
        list(tools.process_map(workers)(refused_at, [(value,) for value in range(5)]))


def test_a_child_ends_when_its_parent_has_another_number(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [7, 7, 7, 1]
    ended: list[int] = []
    over = threading.Event()

    def leave(code: int) -> None:
        ended.append(code)
        over.set()

    monkeypatch.setattr(tools, "PARENT_SECONDS", 0.001)
    monkeypatch.setattr(tools, "os", SimpleNamespace(getppid=lambda: parents.pop(0), _exit=leave))
    tools.end_with_parent(7)
    assert over.wait(60)
    assert (ended, parents) == ([1], [])


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No helper runs, and one would be started: nothing here has imported what it is started for."""
    monkeypatch.setattr(helper, "_child", None)
    monkeypatch.setattr(helper, "FIRST", "a_module_that_nobody_has")


def here() -> int:
    return os.getpid()


def failing(*arguments: object, **options: object) -> None:
    raise OSError(12, "Cannot allocate memory")


@pytest.mark.usefixtures("apart")
def test_a_helper_that_cannot_be_started_leaves_the_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper.subprocess, "Popen", failing)
    assert helper.start([(__name__, "here")]) == []
    assert helper.submit(__name__, "here", begin=True).result() == os.getpid()


@pytest.mark.usefixtures("apart")
def test_a_helper_that_ends_at_once_leaves_the_work_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper._Child, "send", failing)
    assert helper.start([(__name__, "here")]) == []
    assert helper.submit(__name__, "here", begin=True).result() == os.getpid()


def test_a_helper_that_takes_no_job_any_more_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = SimpleNamespace(alive=True, idle=True, send=failing)
    monkeypatch.setattr(helper, "_child", gone)
    assert helper.submit(__name__, "here").result() == os.getpid()
    assert helper._child is None


def test_who_asks_while_another_thread_starts_the_helper_does_not_wait() -> None:
    with helper._lock:
        assert helper.start([(__name__, "here")]) == []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch):
    """Run the helper's main loop here: jobs that it is given, then the other end is closed, or not; its answers."""
    monkeypatch.setattr(helper, "collect_seldom", lambda: None)
    before = signal.getsignal(signal.SIGINT)

    def run(*jobs: object, closed: bool) -> list[object]:
        ours, theirs = Pipe()
        descriptor = os.dup(theirs.fileno())
        theirs.close()
        for job in jobs:
            ours.send(job)
        if closed:
            ours.close()
        helper.serve(descriptor)
        answers = []
        while not closed and ours.poll():
            try:
                answers.append(ours.recv())
            except EOFError:
                break
        ours.close()
        return answers

    yield run
    signal.signal(signal.SIGINT, before)


def test_the_helper_answers_until_it_is_told_to_end(served) -> None:
    answers = served((__name__, "here", ()), (__name__, "refused_at", (2,)), None, closed=False)
    assert answers == [os.getpid(), helper.Failed("ValueError('two')")]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # Ctrl-C is for the audit


def test_the_helper_ends_when_nobody_hears_it_any_more(served) -> None:
    assert served((__name__, "here", ()), closed=True) == []  # while it answers
    assert served(closed=True) == []  # while it waits


def test_the_helper_ends_when_it_is_idle(served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "IDLE", 0.01)
    assert served(closed=False) == []


def test_the_kernels_are_compiled_for_rows_of_several_shards_and_of_a_mapped_file(monkeypatch) -> None:
    passes = []
    passed, rows_of = allpairs.all_pairs, allpairs.array_rows
    monkeypatch.setattr(allpairs, "array_rows", lambda pixels, labels: passes.append(pixels) or rows_of(pixels, labels))
    monkeypatch.setattr(allpairs, "all_pairs", lambda *given: passes.append(passed(*given)))
    kernels.compile_all()
    assert kernel.reduce_tile.signatures
    assert [pixels.flags.writeable for pixels in passes[::2]] == [True, False]
    np.testing.assert_array_equal(passes[0], passes[2])
    first, second = passes[1::2]
    for one, two in zip(first.state, second.state, strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.pairs == 96 * 95 // 2


def test_kernels_are_kept_where_numba_was_told_to_keep_them_and_for_this_code_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not kernels.kept()
    index = tmp_path / "distances_1" / "kernel.reduce_tile-12.py311.nbi"
    index.parent.mkdir()
    index.write_bytes(b"of another state of the code")
    assert not kernels.kept()
    source = kernels.Path(kernels.dataprops.__file__).parent / "distances"
    index.write_bytes(state_of(source).encode() + b"...")
    assert kernels.kept()


def test_an_audit_waits_for_kernels_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def start(first: tuple = ()) -> list[SimpleNamespace]:
        asked.append(first)
        return [SimpleNamespace(result=lambda: asked.append("waited")) for _ in first]

    monkeypatch.setattr(helper, "start", start)
    for kept in (False, True):
        monkeypatch.setattr(kernels, "kept", lambda kept=kept: kept)
        kernels.begin()
        kernels.wait()
        kernels.wait()
    assert asked == [(kernels.COMPILE,), "waited", ()]


def test_the_package_gives_what_it_names_and_nothing_else() -> None:
    assert dataprops.__getattr__("audit") is sys.modules["dataprops.audit"]  # before anything has imported it
    assert dataprops.__getattr__("label_sharpness") is dataprops.label_sharpness
    assert set(dataprops.__all__) <= set(dir(dataprops))
    with pytest.raises(AttributeError, match="no attribute 'sharpness'"):
        dataprops.__getattr__("sharpness")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Pillow's, of a rare format
def test_a_rare_file_that_ends_early_is_an_image_that_cannot_be_read() -> None:
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, "IM")
    assert formats.is_image(out.getvalue()[:40], "x.im")
    assert not formats.is_image(out.getvalue()[:8], "x.im")
    assert not formats.is_image(out.getvalue()[:40], "x.txt")


def test_libtiff_writes_where_the_system_does_not_say_what_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[str] = []
    monkeypatch.setattr(formats.ctypes, "CDLL", lambda path: handlers.append(path))
    monkeypatch.setattr(formats, "Path", lambda name: SimpleNamespace(read_text=failing))
    formats.silence_libtiff.__wrapped__()
    text = (
        "7f00-7f01 r-xp 00000000 08:01 12  /usr/lib/libjpeg.so.8\n7f02-7f03 r-xp 0 08:01 13  /usr/lib/libtiff-1a.so.6\n"
    )
    monkeypatch.setattr(formats, "Path", lambda name: SimpleNamespace(read_text=lambda **given: text))
    formats.silence_libtiff.__wrapped__()
    assert handlers == ["/usr/lib/libtiff-1a.so.6"]


def test_the_command_of_the_readmes_picture_says_how_it_is_called(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    for words, told in (
        ([], "python -m dataprops.report.example RESULTS OUT.png"),
        ([str(tmp_path), "x.png"], "dataprops: "),
    ):
        monkeypatch.setattr(sys, "argv", ["example", *words])
        monkeypatch.delitem(sys.modules, "dataprops.report.example", raising=False)
        with pytest.raises(SystemExit, match=told):
            runpy.run_module("dataprops.report.example", run_name="__main__")

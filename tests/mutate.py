"""Small changes of modules, each against the tests that run the changed line: ``python -m tests.mutate dataprops/checks/alerts.py``.

A mutant differs in one place: a bound that is met or not, plus for minus, times for over, and for or, a constant one larger, a
condition turned over. pytest collects the tests once. A fork of that process runs each test alone, for its time and its lines; then
a fork for each mutant takes over the changed code and runs the tests of that line till one fails, the quick ones and those that
failed for the same function first. A mutant that no test fails is a survivor: printed with its line, to be killed by a test or
explained. Tests that fail or take long alone are left out, and so is what other processes run.

What numba compiles is tried as plain Python (``--interpreted``).
"""

from __future__ import annotations

import argparse
import ast
import gc
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple, cast

import pytest

ROOT = Path(__file__).parents[1]
WAITED = 300  # seconds of the clock: a fork that takes more waits for something
COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARED |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
COMPUTED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
}
JOINED = {ast.And: ast.Or, ast.Or: ast.And}
REFUSING = ("strict", "frozen", "kw_only", "slots", "cache", "nogil")  # keywords that change no result
HELD = (FunctionType, type, ModuleType)


def sites(tree: ast.AST) -> list[tuple[ast.AST, int]]:
    """Places that can be changed: node, and which of its parts. Annotations are not, nor keywords that change no result."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                skipped.update(map(id, ast.walk(annotation)))
        if isinstance(node, ast.keyword) and node.arg in REFUSING:
            skipped.update(map(id, ast.walk(node)))
    found: list[tuple[ast.AST, int]] = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare):
            found += [(node, at) for at, op in enumerate(node.ops) if type(op) in COMPARED]
        elif (
            (isinstance(node, ast.BinOp) and type(node.op) in COMPUTED)
            or isinstance(node, ast.BoolOp)
            or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))
            or (isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float))
        ):
            found.append((node, 0))
    return found


def change(node: Any, at: int) -> str:
    """Change a node in place; what was changed."""
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops[at] = COMPARED[type(node.ops[at])]()
    elif isinstance(node, ast.BinOp):
        node.op = COMPUTED[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = JOINED[type(node.op)]()
    elif isinstance(node, ast.UnaryOp):
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
        ast.fix_missing_locations(node)
    elif isinstance(node.value, bool):
        node.value = not node.value
    else:
        node.value = node.value + 1 if isinstance(node.value, int) else node.value * 1.25 or 1.0
    return f"{before}  ->  {ast.unparse(node)}"


class Mutant(NamedTuple):
    """One change: where it is, in words, and how to make it."""

    number: int
    line: int
    lines: range  # of the statement, without the statements in it
    function: str  # that it lies in, or nothing
    what: str
    tree: ast.Module


def mutants(path: Path, most: int, seed: int) -> Iterator[Mutant]:
    """All mutants of a module; of very many a sample."""
    text = path.read_text(encoding="utf-8")
    count = len(sites(ast.parse(text)))
    for number in sorted(random.Random(seed).sample(range(count), min(most, count))):
        tree = ast.parse(text)
        node, at = sites(tree)[number]
        lines, function = around(tree, node)
        yield Mutant(number, getattr(node, "lineno", 0), lines, function, change(node, at), tree)


def around(tree: ast.Module, node: ast.AST) -> tuple[range, str]:
    """Lines of the statement that holds a node, and the function whose body it lies in."""
    lines, function, place = range(0), "", tree
    while place is not node:
        inner = next(child for child in ast.iter_child_nodes(place) if any(part is node for part in ast.walk(child)))
        if isinstance(inner, ast.stmt):
            bodies = [part[0].lineno for field in ("body", "handlers") if (part := getattr(inner, field, None))]
            lines = range(inner.lineno, min([*bodies, (inner.end_lineno or inner.lineno) + 1]))
            lines = lines or range(inner.lineno, inner.lineno + 1)
        if isinstance(place, ast.FunctionDef | ast.AsyncFunctionDef) and inner in place.body:
            function += f"{place.name} "
        place = inner
    return lines, function


def codes(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """All functions within compiled code, by name and line."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found[inner.co_qualname, inner.co_firstlineno] = inner
            found |= codes(inner)
    return found


def take_over(mutant: Mutant, module: ModuleType, functions: list[FunctionType]) -> None:
    """Put a mutant in place of the code of a module that is loaded already, wherever parts of it were imported to."""
    code = compile(mutant.tree, str(module.__file__), "exec")
    new = codes(code)
    if not mutant.function:  # defaults, constants, fields: what runs when the module is imported
        fresh = {name: value for name, value in vars(module).items() if name.startswith("__")}
        exec(code, fresh)
        for name, value in fresh.items():
            if not name.startswith("__") and name in vars(module):
                replace(vars(module), name, value, set())
    for function in functions:
        key = function.__code__.co_qualname, function.__code__.co_firstlineno
        if key in new and new[key].co_freevars == function.__code__.co_freevars:
            function.__code__ = new[key]


def replace(holder: dict[str, Any], name: str, new: Any, seen: set[int]) -> None:
    """Give what is called so its new value: constants in all modules that have them, and what functions and classes hold."""
    old = holder[name]
    if id(old) in seen or old is new:
        return
    seen.add(id(old))
    old, new = getattr(old, "__wrapped__", old), getattr(new, "__wrapped__", new)
    if isinstance(old, FunctionType):
        if isinstance(new, FunctionType):
            old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    elif isinstance(old, type):
        for part, value in vars(new).items():
            if part in vars(old) and (not part.startswith("__") or part == "__init__"):
                inner = vars(old)[part]
                if isinstance(inner, FunctionType):
                    replace({part: inner}, part, value, seen)
                elif isinstance(inner, bool | int | float | str | tuple):
                    setattr(old, part, value)
    elif isinstance(getattr(old, "__dict__", None), dict) and not isinstance(old, HELD) and vars(old):
        for part, value in vars(new).items():
            if callable(inner := vars(old).get(part)):
                replace({part: inner}, part, value, seen)
            else:
                vars(old)[part] = value
    else:
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is old:
                setattr(module, name, new)


class Forked(NamedTuple):
    """A process that runs tests."""

    pipe: int
    begun: float
    about: Any
    folder: Path


class Mutating:
    """Runs the tests of a session in forks."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.running: dict[int, Forked] = {}
        self.answers: list[tuple[Any, str]] = []
        self.left = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In place of running each test once."""
        self.session = session
        self.items = {item.nodeid: item for item in session.items}
        self.files = {str(path): self.module(path) for path in self.asked.modules}
        functions: dict[str, list[FunctionType]] = {path: [] for path in self.files}
        for thing in gc.get_objects():
            if type(thing) is FunctionType and thing.__code__.co_filename in functions:
                functions[thing.__code__.co_filename].append(thing)
        gc.freeze()
        table = self.measured()
        for path, module in self.files.items():
            self.tried(Path(path), module, functions[path], table)
        return True

    def module(self, path: Path) -> ModuleType:
        """The module of a file, as it was imported."""
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        __import__(name)
        return sys.modules[name]

    def fork(self, about: Any, ids: list[str], seconds: float, before: Callable[[], Any], after: Callable) -> None:
        """Run tests in a fork, until the first fails; its answer is kept."""
        while len(self.running) >= self.asked.jobs:
            self.wait()
        folder = Path(tempfile.mkdtemp(prefix="mutant", dir=self.asked.scratch))
        out, into = os.pipe()
        child = os.fork()
        if child:
            os.close(into)
            self.running[child] = Forked(out, time.monotonic(), about, folder)
            return
        answer = "broken"
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            os.setpgid(0, 0)
            limit = int(seconds) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
            tempfile.tempdir = str(folder)
            cast("Any", self.session.config)._tmp_path_factory._given_basetemp = folder / "base"
            given = before()
            failed = ""
            for at, name in enumerate(ids):
                following = self.items[ids[at + 1]] if at + 1 < len(ids) else None
                item = self.items[name]
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self.session.testsfailed:
                    failed = name
                    break
            answer = after(given, failed)
        except BaseException as error:  # noqa: BLE001 - a mutant may do anything
            answer = f"broken {type(error).__name__} {error}"[:300]
        os.write(into, answer.encode())
        os._exit(0)

    def wait(self) -> None:
        """Until one fork more has ended."""
        while True:
            for child, forked in self.running.items():
                done, _ = os.waitpid(child, os.WNOHANG)
                if not done and time.monotonic() - forked.begun > WAITED:
                    os.kill(child, 9)
                    done, _ = os.waitpid(child, 0)
                if done:
                    with os.fdopen(forked.pipe, "rb") as pipe:
                        os.set_blocking(pipe.fileno(), False)
                        answer = pipe.read() or b""
                    with suppress(OSError):
                        os.killpg(child, signal.SIGKILL)  # what it started and left
                    shutil.rmtree(forked.folder, ignore_errors=True)
                    del self.running[child]
                    self.answers.append((forked.about, answer.decode() or "ended"))
                    return
            time.sleep(0.01)

    def answered(self) -> list[tuple[Any, str]]:
        """What is known by now; nothing runs any more."""
        while self.running:
            self.wait()
        answers, self.answers = self.answers, []
        return answers

    def measured(self) -> dict[str, tuple[float, dict[str, list[int]]]]:
        """Processor seconds and lines of each test that passes alone in time; kept in a file if one is named."""
        import coverage

        kept: dict[str, Any] = {}
        if self.asked.table and self.asked.table.is_file():
            kept = json.loads(self.asked.table.read_text())
        rooms = [str(ROOT / room / "*") for room in ("dataprops", "tasks", "flows", "deployments")]

        def before() -> Any:
            measure = coverage.Coverage(data_file=None, config_file=False, include=rooms)
            measure.start()
            return measure

        def after(measure: Any, failed: str) -> str:
            measure.stop()
            if failed:
                return "failed"
            data = measure.get_data()
            lines = {os.path.relpath(name, ROOT): sorted(data.lines(name)) for name in data.measured_files()}
            into = Path(tempfile.gettempdir()).parent / f"lines{os.getpid()}"
            into.write_text(json.dumps([round(sum(os.times()[:4]), 2), lines]))
            return str(into)

        def take() -> None:
            answers, self.answers = self.answers, []
            for name, answer in answers:
                file = Path(answer)
                kept[name] = None
                if file.is_absolute():
                    kept[name] = json.loads(file.read_text())
                    file.unlink()

        new = [name for name in self.items if name not in kept]
        for count, name in enumerate(new):
            self.fork(name, [name], self.asked.slow, before, after)
            take()
            if self.asked.table and count % 50 == 0:
                self.asked.table.write_text(json.dumps(kept))
        while self.running:
            self.wait()
        take()
        if self.asked.table:
            self.asked.table.write_text(json.dumps(kept))
        return {name: row for name, row in kept.items() if row and name in self.items}

    def tried(
        self, path: Path, module: ModuleType, functions: list[FunctionType], table: dict[str, tuple[float, dict]]
    ) -> None:
        """Try the mutants of one module, and print its survivors."""
        own = str(path.relative_to(ROOT))
        tests = {name: (cost, set(lines[own])) for name, (cost, lines) in table.items() if lines.get(own)}
        found: dict[str, Counter] = {}
        survivors: list[Mutant] = []
        unseen: list[Mutant] = []
        broken = tried = 0
        unchanged = Mutant(-1, 0, range(0), "all", "", ast.parse(path.read_text(encoding="utf-8")))
        quick: list[str] = []
        for name in sorted(tests, key=lambda name: tests[name][0]):
            if sum(tests[before][0] for before in quick) < self.asked.seconds:
                quick.append(name)
        while quick:
            self.fork(0, quick, 1200, lambda: take_over(unchanged, module, functions), lambda _, failed: failed or "-")
            ((_, failed),) = self.answered()
            if failed == "-":
                break
            if failed not in quick:
                sys.stdout.write(f"{own}: unchanged, its tests end as {failed!r}\n")
                return
            quick.remove(failed)
            del tests[failed]

        def take() -> None:
            nonlocal broken
            answers, self.answers = self.answers, []
            for mutant, answer in answers:
                if answer == "-":
                    survivors.append(mutant)
                    sys.stdout.write(f"{own}:{mutant.line}: #{mutant.number} {mutant.function}: {mutant.what}\n")
                elif answer in tests:
                    found.setdefault(mutant.function, Counter())[answer] += 1
                elif answer != "ended":
                    broken += 1
                    sys.stdout.write(f"{own}:{mutant.line}: #{mutant.number} {mutant.what}: {answer}\n")
            sys.stdout.flush()

        begin = time.monotonic()
        try:
            for mutant in mutants(path, self.asked.most, self.asked.seed):
                if self.asked.numbers and mutant.number not in self.asked.numbers:
                    continue
                if time.monotonic() - begin > 60 * self.asked.minutes:
                    break
                tried += 1
                near = [name for name in tests if not mutant.function or not tests[name][1].isdisjoint(mutant.lines)]
                if not near:
                    unseen.append(mutant)
                    sys.stdout.write(
                        f"{own}:{mutant.line}: #{mutant.number} {mutant.function}: {mutant.what} (no test)\n"
                    )
                    continue
                before = found.get(mutant.function, Counter())
                near.sort(key=lambda name: (-before[name], tests[name][0]))
                chosen, spent = [], 0.0
                for name in near:
                    if spent < self.asked.seconds:
                        chosen.append(name)
                        spent += tests[name][0]

                def change_it(mutant: Mutant = mutant) -> None:
                    take_over(mutant, module, functions)

                self.fork(mutant, chosen, 3 * spent + 10, change_it, lambda _, failed: failed or "-")
                take()
            while self.running:
                self.wait()
            take()
        finally:
            self.left += len(survivors) + len(unseen)
            sys.stdout.write(
                f"== {own}: {tried} mutants, {len(survivors)} survived, {len(unseen)} on lines that no test runs, "
                f"{broken} not even begun; {len(tests)} tests, {time.monotonic() - begin:.0f} s\n"
            )
            sys.stdout.flush()


def main() -> int:
    """Print survivors and counts; 1 if there are any, 2 if there is nothing to try them with."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("modules", nargs="+", type=lambda name: Path(name).resolve())
    parser.add_argument("--tests", nargs="*", default=[], help="Test files. [default: all]")
    parser.add_argument("-k", default="", help="Only these tests, as pytest's -k.")
    parser.add_argument("--minutes", type=float, default=60.0, help="No mutant of a module is begun after so long.")
    parser.add_argument("--most", type=int, default=10_000, help="A sample of so many mutants of each module.")
    parser.add_argument("--numbers", type=int, nargs="*", help="Only the mutants of these numbers.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20.0, help="Tests of one mutant, in processor seconds.")
    parser.add_argument("--slow", type=float, default=6.0, help="Tests that take more are left out.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", type=Path, help="Keep times and lines of the tests here.")
    parser.add_argument("--interpreted", action="store_true", help="Do not compile with numba.")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # threads do not live on in a fork
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if asked.interpreted:
        os.environ["NUMBA_DISABLE_JIT"] = "1"
    tests = asked.tests or [str(file) for file in sorted((ROOT / "tests").glob("test_*.py"))]
    mutating = Mutating(asked)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the counts are printed even so
    with tempfile.TemporaryDirectory(prefix="mutants") as asked.scratch:
        arguments = ["-q", "-s", "-p", "no:cacheprovider", "-p", "pytest_timeout", *tests]
        code = pytest.main([*arguments, *(["-k", asked.k] if asked.k else [])], plugins=[mutating])
    return 1 if mutating.left else 0 if code in (0, pytest.ExitCode.NO_TESTS_COLLECTED) else 2


if __name__ == "__main__":
    sys.exit(main())

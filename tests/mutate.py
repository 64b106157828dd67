"""Small changes of a module, each against its tests: ``python -m tests.mutate dataprops/checks/alerts.py``.

Without test files those that bear the module's name run, else those that import it.

A mutant differs in one place: a bound that is met or not, plus for minus, times for over, and for or, a constant one larger, a
condition turned over. Each is put in place of the module in a process of its own (a fork, with the heavy libraries loaded), and the
tests run till the first fails. A mutant that no test fails is a survivor: printed with its line, to be killed by a test or explained.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.abc
import importlib.util
import os
import random
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SECONDS = 120  # of the processor: a mutant that takes more goes round in circles, and is found
WAITED = 1200  # and of the clock, for one that waits
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


def sites(tree: ast.AST) -> list[tuple[ast.AST, int]]:
    """Places that can be changed: node, and which of its parts. Words of docstrings and annotations are not."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if annotation is not None:
                skipped.update(map(id, ast.walk(annotation)))
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


class Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives a module its changed code."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        package = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, self.path, loader=self, submodule_search_locations=package
        )

    def exec_module(self, module: Any) -> None:
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)


def mutants(path: Path, most: int, seed: int) -> Iterator[tuple[int, str, ast.Module]]:
    """Line, description and code of each mutant; of very many a sample."""
    text = path.read_text(encoding="utf-8")
    count = len(sites(ast.parse(text)))
    chosen = sorted(random.Random(seed).sample(range(count), min(most, count)))
    for number in chosen:
        tree = ast.parse(text)
        node, at = sites(tree)[number]
        yield getattr(node, "lineno", 0), change(node, at), tree


def survives(name: str, path: Path, tree: ast.Module, tests: list[str]) -> bool:
    """Whether no test fails."""
    assert name not in sys.modules, "it is loaded unchanged"
    child = os.fork()
    if child == 0:
        import pytest

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))

        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.meta_path.insert(0, Mutant(name, path, tree))
        try:
            os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # half a second of each
            code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", *tests])
        except BaseException:  # noqa: BLE001 - a mutant may do anything
            code = 9
        os._exit(int(code))
    begin = time.monotonic()
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) == 0
        if time.monotonic() - begin > WAITED:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return False
        time.sleep(0.02)


def own_tests(path: Path) -> list[str]:
    """The test files of a module: ``test_<its name>.py``, else all that import it or name from it."""
    named = ROOT / "tests" / f"test_{path.stem}.py"
    if named.is_file():
        return [str(named)]
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    package, _, stem = module.rpartition(".")
    wanted = re.compile(
        rf"^(from {re.escape(module)} import|import {re.escape(module)}|from {re.escape(package)} import .*\b{stem}\b)",
        re.M,
    )
    files = sorted((ROOT / "tests").glob("test_*.py"))
    return [str(file) for file in files if wanted.search(file.read_text(encoding="utf-8"))]


def preload(tests: list[str], changed: str) -> None:
    """Import what the test files import, but for modules that lead to the changed one: once, before the forks."""
    asked: set[str] = {"numba", "numpy", "pandas", "pyarrow.parquet", "pytest", "scipy.stats", "torch"}
    for file in (Path(test) for test in tests if test.endswith(".py")):
        asked |= imported(file)
    for name in sorted(asked):
        if name.partition(".")[0] == "tests" or changed in leads_to(name):
            continue
        importlib.import_module(name)


@cache
def imported(file: Path) -> frozenset[str]:
    """Modules that a file imports as it is imported itself, not within a function."""
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            within = [f"{node.module}.{name.name}" for name in node.names]
            ours = (ROOT / node.module.partition(".")[0]).is_dir()
            found.update(name for name in within if ours and file_of(name))
    return frozenset(found)


def file_of(name: str) -> Path | None:
    """The file of a module of this repository."""
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


@cache
def leads_to(name: str) -> frozenset[str]:
    """A module, the packages it lies in, and all of this repository that these import."""
    seen, left = set(), [name]
    while left:
        this = left.pop()
        if this not in seen and (file := file_of(this)):
            seen.add(this)
            left += [this.rpartition(".")[0], *imported(file)]
    return frozenset(seen)


def main() -> int:
    """Print survivors and counts; 1 if there are any, 2 if there is nothing to try them with."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="*", help="Test files. [default: the module's own]")
    parser.add_argument("-k", default="", help="Only these tests, as pytest's -k.")
    parser.add_argument("--minutes", type=float, default=60.0, help="No mutant is begun after so long.")
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip", type=int, default=0, help="Go on after so many that were tried before.")
    asked = parser.parse_args()
    path = asked.module.resolve()
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    tests = [*(asked.tests or own_tests(path)), *(["-k", asked.k] if asked.k else [])]
    if not tests or tests[0] == "-k":
        sys.stdout.write(f"no test file imports {name}: name one\n")
        return 2
    if str(path) in map(os.path.abspath, tests):
        sys.stdout.write("pytest would import the module from its own file, unchanged: name other test files\n")
        return 2
    preload(tests, name)
    if not survives(name, path, ast.parse(path.read_text(encoding="utf-8")), tests):
        sys.stdout.write("the tests fail without any change\n")
        return 2
    left = tried = 0
    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))  # the counts are printed even so
    try:
        for line, what, tree in islice(mutants(path, asked.most, asked.seed), asked.skip, None):
            if time.monotonic() - begin > 60 * asked.minutes:
                break
            survived = survives(name, path, tree, tests)
            tried += 1
            if survived:
                left += 1
                sys.stdout.write(f"{asked.module}:{line}: {what}\n")
                sys.stdout.flush()
    finally:
        sys.stdout.write(f"{asked.module}: {tried} mutants, {left} survived\n")
        sys.stdout.flush()
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())

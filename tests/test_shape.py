"""The shape of the code: functions that can be read at once, with arguments that can be named at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
LINES, PARAMETERS = 60, 7  # of a function, without its docstring
# compiled kernels: numba inlines the scalars of a scan, and a scan that is cut into functions is slower; calls in memory, whose
# keyword arguments are what a user may ask for
ALLOWED = {
    "dataprops/distances/kernel.py": {"_mark", "_offer", "reduce_tile"},
    "dataprops/properties/in_memory.py": {"label_sharpness", "intrinsic_dimension"},
}


def functions(text: str) -> Iterator[tuple[str, int, int]]:
    """(name, lines without docstring, parameters but self) of each function; commands have an argument for each option."""
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = node.body[0]
        documented = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
        lines = (node.end_lineno or 0) - node.lineno + 1
        if documented:
            lines -= (first.end_lineno or 0) - first.lineno + 1
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if not any("click." in ast.unparse(one) for one in node.decorator_list):
            yield node.name, lines, len([one for one in given if one.arg not in ("self", "cls")])


def test_functions_are_counted():
    text = (
        'def f(self, a, *, b):\n    """Two\n    lines."""\n    return a\n\n@click.command()\ndef g(a, b):\n    pass\n'
    )
    assert list(functions(text)) == [("f", 2, 2)]


def test_no_function_has_more_lines_or_parameters_than_can_be_read_at_once():
    long = []
    for room in ("dataprops", "tasks", "flows", "deployments"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            long += [
                f"{name}: {function} has {lines} lines, {parameters} parameters"
                for function, lines, parameters in functions(path.read_text(encoding="utf-8"))
                if (lines > LINES or parameters > PARAMETERS) and function not in ALLOWED.get(name, ())
            ]
    assert not long, "\n".join(long)


def long_lines(text: str) -> list[str]:
    """Lines of prose of more than 100 columns: not of tables, code, pictures, headings and addresses, which cannot be broken."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
    free = ("|", "    ", "<", "#")
    return [line for line in prose if len(line) > 100 and not line.startswith(free) and " " in line[:100].strip()]


def test_readmes_have_at_most_100_columns():
    assert long_lines("a" * 60 + " " + "b" * 60) and not long_lines("| " + "a " * 60) and not long_lines("x" * 120)
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    pages += [page for room in ("dataprops", "tasks", "flows", "deployments") for page in (ROOT / room).rglob("*.md")]
    wide = {
        page.relative_to(ROOT).as_posix(): lines for page in pages if (lines := long_lines(page.read_text("utf-8")))
    }
    assert not wide

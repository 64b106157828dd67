"""Reference tables of the READMEs, generated from the code: ``python -m dataprops.reference`` updates them.

Each table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; `TABLES` maps names to generators. A test checks that they
are current.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
ROOT = Path(__file__).parent


def _rows(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def estimators() -> str:
    """Table of `properties.ESTIMATORS`."""
    from dataprops.properties import ESTIMATORS

    rows = [(f"`{row.name}`", f"`{row.group}`", row.explanation) for row in ESTIMATORS.values()]
    return _rows(("`intrinsic_dimension.`", "`--estimators`", "description"), rows)


def findings() -> str:
    """Table of `findings.FINDINGS`."""
    from dataprops.findings import FINDINGS

    rows = [(f"`{row.name}`", row.severity, row.title, row.explanation) for row in FINDINGS.values()]
    return _rows(("finding", "severity", "title", "explanation"), rows)


def checks() -> str:
    """Table of the default checks."""
    from dataprops.checks.defaults import default_checks

    def bound(low: float | None, high: float | None) -> str:
        return " ".join([*([] if low is None else [f"min {low:g}"]), *([] if high is None else [f"max {high:g}"])])

    rows = [
        (f"`{c.name}`", f"`{c.measure}`", bound(c.min, c.max), c.severity, c.title, c.reason) for c in default_checks()
    ]
    return _rows(("check", "measure", "bound", "severity", "expectation", "rationale"), rows)


def options() -> str:
    """Table of the options of `audit.config.AuditConfig`."""
    from dataprops.audit.config import AuditConfig
    from dataprops.options import rows

    table = []
    for row in rows(AuditConfig).values():
        default = row.option.default or ("" if row.default in (None, "", ()) else f"`{row.default}`")
        table.append((f"`{row.name}`", default, f"{row.option.words}."))
    return _rows(("option", "default", "description"), table)


def rules() -> str:
    """Table of the labelling rules of `sources.SOURCES`."""
    from dataprops.sources import SOURCES

    rows = [
        (f"`{kind}`", f"`{rule}`", ", ".join(f"`{value}`" if value else "any" for value in values) or "any")
        for kind, source in SOURCES.items()
        for rule, values in source.rules.items()
    ]
    return _rows(("source", "`--rule`", "values, default first"), rows)


def columns() -> str:
    """Table of the columns of an audit's result tables."""
    from dataprops.audit.columns import TABLES

    rows = [
        (f"`{name}`", f"`{column}`", words)
        for name, table in TABLES.items()
        for column, words in [("", f"one row for {table.row}"), *table.columns.items()]
    ]
    return _rows(("table", "column", "description"), [(t, c if c != "``" else "*", w) for t, c, w in rows])


TABLES: dict[str, Callable[[], str]] = {
    "estimators": estimators,
    "findings": findings,
    "checks": checks,
    "options": options,
    "rules": rules,
    "columns": columns,
}


def filled(text: str) -> str:
    """A README's text with its tables regenerated."""
    return PLACE.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def readmes() -> list[Path]:
    """READMEs with generated tables."""
    return [path for path in sorted(ROOT.rglob("*.md")) if PLACE.search(path.read_text(encoding="utf-8"))]


def main() -> None:
    """Update the tables of all READMEs."""
    for path in readmes():
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()

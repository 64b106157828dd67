"""The history of a dataset, and comparisons of two audits, on a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dataprops.report.changes import amounts, ends, files_sentence, opened_and_closed, title, unchanged
from dataprops.report.first_screen import in_order
from dataprops.report.numbers import number, plus_minus
from dataprops.report.text import all_visible, in_words

if TYPE_CHECKING:
    from rich.console import Console

BARS = "▁▂▃▄▅▆▇█"
# property -> name shown
DRIFTED = {
    "d_data": "intrinsic dimension",
    "k_f": "label sharpness",
    "penalty": "expected penalty",
    "log_loss": "expected test loss",
    "copies": "share of exact copies",
}
WIDEST = 34  # terminal columns for a property's name, which may include a long class name
NAMED = 3  # findings shown per kind


def sparkline(values: Sequence[float | None]) -> str:
    """One bar per value, scaled from the smallest to the largest; a dot for a missing value.

    Examples
    --------
    >>> sparkline([1.0, 2.0, None, 8.0]), sparkline([5.0, 5.0])
    ('▁▂·█', '▄▄')
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return "·" * len(values)
    low, span = min(known), max(known) - min(known)
    return "".join(
        "·"
        if value is None or not math.isfinite(value)
        else BARS[3]
        if not span
        else BARS[round((value - low) / span * (len(BARS) - 1))]
        for value in values
    )


def print_history(dataset: str, runs: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a row per audit, a sparkline per property, and opened findings, closed findings and drift."""
    from rich.table import Table
    from rich.text import Text

    dataset, runs = all_visible(dataset), all_visible(list(runs))
    table = Table(title=Text(dataset), title_justify="left", box=None, padding=(0, 1, 0, 0))  # fits 80 columns
    # known only at the paper's preprocessing
    penalty = ("penalty",) if any(run["penalty"] is not None for run in runs) else ()
    for heading in ("run", "images", "dimension", "sharpness", *penalty, "duplicates", "conflicts"):
        table.add_column(heading, justify="left" if heading == "run" else "right", no_wrap=True)
    for run in runs:
        table.add_row(
            Text(run["run_id"]),
            f"{run['n_images']:,}",
            plus_minus(run["d_data"], run["d_data_se"]),
            number(run["k_f"]),
            *(number(run[name]) for name in penalty),
            f"{run['duplicates']:,}",
            f"{run['conflicts']:,}",
        )
    console.print(table)
    bars = Table.grid(padding=(0, 2))
    lines = (("images", "n_images"), ("dimension", "d_data"), ("sharpness", "k_f"), *((name, name) for name in penalty))
    for name, key in lines:
        bars.add_row(name, sparkline([run[key] for run in runs]))
    console.print(bars)
    if len(runs) > 1:
        console.print(Text("\nsince the previous run", style="bold"))
    for run in runs[1:]:
        console.print(Text(f"{run['run_id']}  {_told(run)}"))


def _told(run: dict[str, Any]) -> str:
    """Changes of a run: files, opened and closed findings, drift."""
    if run["not_compared"]:
        return run["not_compared"]
    parts = []
    if unchanged(run):
        parts.append("same files")
    for name, kinds in (("opened", run.get("opened")), ("closed", run.get("closed"))):
        if kinds:
            parts.append(
                f"{name}: {', '.join(f'{kinds[kind]:,} × {title(kind)}' for kind in in_order(kinds, {'alerts': []}))}"
            )
    drift = ", ".join(DRIFTED.get(name) or name.replace("share.", "share of ") for name in run["drift"] or ())
    parts.append(f"beyond sampling noise: {drift}" if drift else "nothing beyond sampling noise")
    return "; ".join(parts)


def print_comparison(found: dict[str, Any], console: Console) -> None:
    """Print changed files, opened and closed findings, and property changes with intervals."""
    from rich.table import Table
    from rich.text import Text

    found = all_visible(found)
    console.print(Text(f"\n{found['dataset']}: {found['a']['run_id']} -> {found['b']['run_id']}", style="bold"))
    console.print(Text(files_sentence(found)))
    _print_opened(found, console)
    measured = [change for change in found["changes"] if not change["withheld"]]
    if still := [change["title"] for change in measured if _still(change)]:
        console.print(Text(f"\nunchanged: {', '.join(still)}"))
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("", overflow="ellipsis", no_wrap=True, max_width=WIDEST)
    for heading in ("before", "after"):
        table.add_column(heading, no_wrap=True)
    table.add_column("change (95 % interval)", overflow="fold")
    table.add_column("significant", overflow="fold", min_width=len("significant"))
    for change in measured:
        if _still(change):
            continue
        value, low, high = amounts(change)
        told = {True: "yes", False: "no", None: "undetermined"}[change["significant"]]
        low, high = (
            low.removesuffix(" points").removesuffix(" %"),
            high.removesuffix(" points"),
        )  # the unit is printed once
        table.add_row(Text(change["title"]), *ends(change), f"{value} ({low} to {high})", told)
    if table.row_count:
        console.print(table)
    for reason in dict.fromkeys(change["withheld"] for change in found["changes"] if change["withheld"]):
        names = ", ".join(change["title"] for change in found["changes"] if change["withheld"] == reason)
        console.print(Text(f"withheld: {names} ({reason})"))
    if found["class_mix_p"] is not None:
        console.print(Text(f"class mix homogeneous (chi-square): p = {found['class_mix_p']:.2g}"))


def _still(change: dict[str, Any]) -> bool:
    """Whether a property is exactly the same, as of the same files."""
    return change["value"] == change["low"] == change["high"] == 0


def _print_opened(found: dict[str, Any], console: Console) -> None:
    from rich.text import Text

    for heading, (kinds, name) in zip(
        ("new findings", "resolved findings"),
        zip(opened_and_closed(found), ("opened", "closed"), strict=True),
        strict=True,
    ):
        if not kinds:
            continue
        console.print(Text(f"\n{heading}", style="bold"))
        for kind, count in kinds:
            console.print(Text(f"{count:>8,}  {title(kind)}"))
            for example in found[name][kind]["first"][:NAMED]:
                console.print(Text(f"            {in_words(example['detail'])}", style="dim"))

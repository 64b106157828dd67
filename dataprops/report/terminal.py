"""The summary of an audit on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataprops.findings import FINDINGS
from dataprops.properties.estimators import title_of
from dataprops.report.numbers import how_compared, largest_sharpness, number, plus_minus

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Key figures, findings, alerts, and where the files lie."""
    from rich.table import Table
    from rich.text import Text

    s = summary
    shape = f"{s['preprocess']['size']} x {s['preprocess']['size']} x {s['preprocess']['channels']}"
    console.print(Text(f"\n{s['dataset']}", style="bold"), Text(f"  run {s['run_id']}", style="dim"), sep="")
    table = Table.grid(padding=(0, 2))
    table.add_row("images", Text(f"{s['n_images']:,} at {shape}, {s['n_unreadable']:,} unreadable"))
    classes = s["labels"]["classes"]
    if classes:
        some = ", ".join(f"{name} {count:,}" for name, count in list(classes.items())[:6])
        table.add_row("classes", Text(f"{some}, ..." if len(classes) > 6 else some))
    for name, estimate in s["intrinsic_dimension"].items():
        table.add_row(f"dimension, {title_of(name)}", plus_minus(estimate["value"], estimate["se"]))
    sharp, sample = s["label_sharpness"], s["label_sharpness"]["sample"]
    table.add_row("label sharpness, all pairs", largest_sharpness(s))
    table.add_row(f"label sharpness, M = {sample['m']:,}", plus_minus(sample["mean"], sample["std"]))
    table.add_row("sharpness, 95 % and 99 % of images", f"{number(sharp['q95'])}, {number(sharp['q99'])}")
    console.print(table)
    if how_compared(s):
        console.print(Text(f"\n{how_compared(s)}"))
    counts = [(FINDINGS[kind].title, count) for kind, count in s["findings"].items() if count]
    console.print(Text("\nfindings", style="bold"))
    found = Table.grid(padding=(0, 2))
    for title, count in counts:
        found.add_row(f"{count:>8,}", Text(title))
    console.print(found if counts else "none")
    console.print(Text("\nalerts", style="bold"))
    for alert in s["alerts"]:
        console.print(Text(f"{alert['severity']:<9}", style=STYLES[alert["severity"]]), Text(alert["sentence"]), sep="")
    if not s["alerts"]:
        console.print("none: every check that applies passed")
    spoken = [prediction for prediction in s["predictions"] if prediction["withheld"] is None]
    if spoken:
        console.print(Text("\nexpected", style="bold"))
    for prediction in spoken:
        console.print(Text(prediction["sentence"]))
    console.print(Text("\nreport   ", style="bold"), Text(s["report"]), sep="", soft_wrap=True)
    console.print(Text("results  ", style="bold"), Text(s["results"]), sep="", soft_wrap=True)

"""The summary of an audit on a terminal, in the wording and order of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataprops.properties.estimators import title_of
from dataprops.report.changes import title
from dataprops.report.first_screen import in_order, verdict_of
from dataprops.report.gallery import LAST
from dataprops.report.key_numbers import keys_of
from dataprops.report.numbers import how_compared, number, plus_minus
from dataprops.report.terminal_laws import unused_calibration
from dataprops.report.text import all_visible
from dataprops.report.words import caution

if TYPE_CHECKING:
    from rich.console import Console

TOLD_ABOVE = ("loss_if_doubled",)  # among the next steps and numbers; how it was tested is in the report
STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan", "good": "green"}


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Print verdict, next steps, alerts, key numbers, findings, and the locations of the results."""
    from rich.table import Table
    from rich.text import Text

    s = all_visible(summary)
    shape = f"{s['preprocess']['size']} x {s['preprocess']['size']} x {s['preprocess']['channels']}"
    console.print(Text(f"\n{s['dataset']}", style="bold"), Text(f"  run {s['run_id']}", style="dim"), sep="")
    verdict = verdict_of(s)
    console.print(Text(verdict.sentence, style=STYLES[verdict.severity]))
    if s.get("next"):
        console.print(Text("\nnext", style="bold"))
        steps = Table.grid(padding=(0, 1))
        for at, step in enumerate(s["next"], 1):
            steps.add_row(f"{at}.", Text(step))
        console.print(steps)
    console.print(Text("\nalerts", style="bold"))
    for alert in s["alerts"]:
        console.print(Text(f"{alert['severity']:<9}", style=STYLES[alert["severity"]]), Text(alert["sentence"]), sep="")
    if not s["alerts"]:
        console.print("none: all applicable checks passed")
    console.print(Text("\nnumbers", style="bold"))
    table = Table.grid(padding=(0, 2))
    classes = s["labels"]["classes"]
    table.add_row("compared at", Text(shape))
    if classes:
        some = ", ".join(f"{name} {count:,}" for name, count in list(classes.items())[:6])
        table.add_row("classes", Text(f"{some}, ..." if len(classes) > 6 else some))
    for key in keys_of(s):
        table.add_row(key.name[0].lower() + key.name[1:], Text(f"{key.value}  {key.note}"))
    known = {name: one for name, one in s["intrinsic_dimension"].items() if one["value"] is not None}
    others = {name: one for name, one in known.items() if name != "mle"}
    if others:
        estimates = (f"{plus_minus(one['value'], one['se'])} ({title_of(name)})" for name, one in others.items())
        table.add_row("dimension, other estimators", ". ".join(["; ".join(estimates), *caution(s)]))
    sharp = s["label_sharpness"]
    if sharp["q95"] is not None:
        table.add_row("sharpness, 95 % and 99 % of images", f"at most {number(sharp['q95'])}, {number(sharp['q99'])}")
    console.print(table)
    _account(s, console)
    if how_compared(s):
        console.print(Text(f"\n{how_compared(s)}"))
    counts = [(title(kind), s["findings"][kind]) for kind in in_order(s["findings"], s) if kind not in LAST]
    counts = [(name, count) for name, count in counts if count]
    console.print(Text("\nfindings", style="bold"))
    found = Table.grid(padding=(0, 2))
    for name, count in counts:
        found.add_row(f"{count:>8,}", Text(name))
    console.print(found if counts else "none")
    spoken = [one for one in s["predictions"] if one["withheld"] is None and one["name"] not in TOLD_ABOVE]
    if spoken:
        console.print(Text("\nexpected", style="bold"))
    for prediction in spoken:
        console.print(Text(prediction["sentence"]))
    for line in unused_calibration(spoken):
        console.print(Text(line))
    console.print(Text("\nreport   ", style="bold"), Text(s["report"]), sep="", soft_wrap=True)
    console.print(Text("results  ", style="bold"), Text(s["results"]), sep="", soft_wrap=True)


def _account(summary: dict[str, Any], console: Console) -> None:
    """Print settings detected for the whole dataset, with the option that overrides each, and files left out, with reasons."""
    from rich.text import Text

    decided, left_out = summary.get("decisions") or [], summary.get("left_out") or {}
    if decided or left_out.get("count"):
        console.print(Text("\ndetected for the dataset", style="bold"))
    for decision in decided:
        told = f"{decision['what']}: {decision['value']} ({decision['why']}; override with {decision['option']})"
        console.print(Text(told))
    if left_out.get("by_reason"):
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in left_out["by_reason"].items())
        console.print(Text(f"{left_out['count']:,} files left out: {reasons}"))

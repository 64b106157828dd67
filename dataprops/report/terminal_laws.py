"""Fits and predictions on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dataprops.laws.fitting.table import listed
from dataprops.laws.predictions import PREDICTIONS
from dataprops.report.numbers import NOTHING, number

if TYPE_CHECKING:
    from rich.console import Console


def _with_interval(value: Mapping[str, Any]) -> str:
    if value.get("fixed"):
        return f"{number(value['value'])} (fixed)"
    if value.get("low") is None and value.get("high") is None:
        return number(value["value"])
    return f"{number(value['value'])} ({number(value['low'])} to {number(value['high'])})"


def _rows(laws: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Table rows: (law, quantity, value with 95 % interval)."""
    rows = []
    for name, law in laws.items():
        title = name.replace("_", " ")
        if "rows" not in law:
            if "violations" in law:
                low, high = law["violations_interval"]
                share = {"value": law["violations"], "low": low, "high": high}
                rows.append((title, f"share of {law['n']:,} rows above the bound", _with_interval(share)))
            continue
        if "slope" in law:
            rows.append((title, "slope, nats per unit of K_F", _with_interval(law["slope"])))
            for r, words in (("pearson_r", "Pearson r of the datasets' means"), ("spearman_r", "Spearman r")):
                low, high = law[f"{r}_interval"]
                rows.append(("", words, _with_interval({"value": law[r], "low": low, "high": high})))
            for channels, part in law.get("within_channels", {}).items():
                told = part.get("missing") or number(part["pearson_r"])
                rows.append(
                    (
                        "",
                        f"Pearson r within {channels} channel{'s' if channels != '1' else ''}",
                        f"{told}, {part['datasets']} datasets",
                    )
                )
        elif "missing" in law:
            rows.append((title, law["missing"], ""))
        for form in ("free", "fixed"):
            if form in law and "missing" in law[form]:
                rows.append((title, f"slopes {form}: {law[form]['missing']}", ""))
            elif form == "free" and form in law:
                for i, (term, slope) in enumerate(law[form]["slopes"].items()):
                    theory = f" (theory {number(slope['theory'])})" if "theory" in slope else ""
                    rows.append(
                        ("" if i else title, f"slope of {term.replace('_', ' ')}{theory}", _with_interval(slope))
                    )
    return rows


def print_fit(result: dict[str, Any], console: Console) -> None:
    """Print slopes and correlations with intervals, held-out errors with baselines, and conclusions."""
    from rich.table import Table
    from rich.text import Text

    families, datasets = result["families"], result["datasets"]
    console.print(
        Text(f"\n{result['rows']:,} rows, {len(datasets)} datasets", style="bold"),
        Text(f"  {listed(datasets)}; {listed(families)}", style="dim"),
        sep="",
    )
    rows = _rows(result["laws"])
    if rows:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("law", "", "value (95 % interval)"):
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
        console.print(Text(_how(result["laws"]), style="dim"))
    if result["lodo"]:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for heading in ("error on a held-out dataset", "slopes free", "fixed", "mean", "log N alone"):
            table.add_column(heading, justify="left" if heading.startswith("error") else "right")
        for name, forms in result["lodo"].items():
            errors = [forms.get(form, {}).get("rmse") for form in ("free", "fixed")]
            errors += [result["baselines"][name][b]["rmse"] for b in ("mean", "log_n")]
            unit = next(iter(forms.values()))["unit"]
            table.add_row(f"{name.replace('_', ' ')}, {unit}", *[number(error) for error in errors])
        console.print(Text("\n") if rows else "", table)
    console.print()
    for verdict in result["verdicts"].values():
        console.print(Text(verdict["sentence"]))
    if not result["verdicts"]:
        console.print(Text(result["verdict"]))
    judged = [told for targets in result.get("forms", {}).values() for told in targets.values() if "sentence" in told]
    if judged:
        console.print(Text("\npredictors evaluated the same way, one source held out at a time", style="bold"))
    for told in judged:
        console.print(Text(told["sentence"]))
    for note in result["notes"]:
        console.print(Text(f"Note: {note}."))
    absent = [f"{name.replace('_', ' ')} ({law['missing']})" for name, law in result["laws"].items() if _absent(law)]
    if absent:
        console.print(Text(f"Not fitted: {'; '.join(absent)}."))
    if result.get("folder"):
        console.print(Text("\ncalibration  ", style="bold"), Text(result["folder"]), sep="", soft_wrap=True)


def _absent(law: Mapping[str, Any]) -> bool:
    return "missing" in law and "rows" not in law


def _how(laws: Mapping[str, Any]) -> str:
    """The interval methods used."""
    ways = []
    for law in laws.values():
        for part in (law, law.get("free", {})):
            if part.get("interval"):
                ways.append(part["interval"])
    return "intervals: " + "; ".join(dict.fromkeys(ways)) if ways else ""


def print_predictions(result: dict[str, Any], console: Console) -> None:
    """Print the predictions for networks trained on a dataset, each with its basis."""
    from rich.text import Text

    p, shape = result["properties"], result["preprocess"]
    console.print(
        Text(f"\n{result['dataset']}", style="bold"), Text(f"  audit {result['run_id']}", style="dim"), sep=""
    )
    channels = f"{shape['size']} x {shape['size']} x {shape['channels']}, {shape['scale']}"
    dimension = number(p["d_data"]) if p["d_data"] is not None else NOTHING
    console.print(
        Text(
            f"{p['n_train']:,} images at {channels}; dimension (MLE as in the paper) {dimension}, label sharpness at"
            f" M = {p['m']:,} {number(p['k_f'])}"
        )
    )
    for prediction in result["predictions"]:
        console.print(Text(f"\n{PREDICTIONS[prediction['name']].title}", style="bold"))
        if prediction["withheld"]:
            console.print(Text(f"withheld: {prediction['withheld']}"))
        else:
            console.print(Text(prediction["sentence"]))
            console.print(Text(prediction["basis"], style="dim"))
    for line in unused_calibration(result["predictions"]):
        console.print(Text(f"\n{line}"))


def unused_calibration(predictions: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line per reason for not using the store's calibration, with the predictions concerned."""
    titles: dict[str, list[str]] = {}
    for prediction in predictions:
        if prediction.get("unused") and prediction["withheld"] is None:  # missing in audits by earlier versions
            titles.setdefault(prediction["unused"], []).append(PREDICTIONS[prediction["name"]].title.lower())
    return [
        f"The store's own calibration is not used for: {', '.join(names)}. Reason: {reason}."
        for reason, names in titles.items()
    ]

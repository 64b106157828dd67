"""The report as a self-contained HTML document: no network, no other files, no scripts but its own.

The template escapes names and labels; invisible characters (control characters, bidirectional marks) are shown as escapes. The
content security policy allows only the page's own style sheet and script (by hash) and embedded pictures.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd

from dataprops.findings import FINDINGS
from dataprops.findings.removal import REMOVALS
from dataprops.laws.predictions import PREDICTIONS
from dataprops.report.changes import sentences
from dataprops.report.figures import placed_figures
from dataprops.report.first_screen import PICTURES, evidence_of, first_screen
from dataprops.report.gallery import PICTURED, gallery_data
from dataprops.report.key_numbers import keys_of
from dataprops.report.numbers import how_compared, largest_sharpness, number, percent, plus_minus
from dataprops.report.pictures import Picture
from dataprops.report.plots import DRAWN_FROM, Drawing, Drawn
from dataprops.report.standing import calibration_sentence, paper_sentence, rank_sentences
from dataprops.report.text import visible
from dataprops.report.words import FIRST, WORDS, disagreement, words_of
from dataprops.util import helper

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*(?: &#39;.+?&#39;)?")  # of the command line, with a quoted value
TOGETHER = re.compile(r"\d[\d.,]* %")  # not to be broken across lines
JUDGED = ("suspect_labels", "image_quality", "outliers")  # need review: not in the suggested command


def asset(name: str) -> str:
    """Text of a file in this package."""
    return (files("dataprops") / "report" / name).read_text(encoding="utf-8")


def content_policy(style: str, script: str = "") -> str:
    """A content security policy that allows only this style sheet and script, and embedded pictures."""

    def allowed(text: str) -> str:
        if not text:
            return "'none'"
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"

    return (
        f"default-src 'none'; script-src {allowed(script)}; style-src {allowed(style)}; img-src data:; base-uri 'none';"
        " form-action 'none'"
    )


def embedded(data: Any) -> str:
    """JSON that is safe inside a script element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("\u2028", "\\u2028")


def environment():
    """Jinja environment with autoescaping and the templates' filters."""
    from jinja2 import Environment, select_autoescape

    made = Environment(autoescape=select_autoescape(default=True, default_for_string=True), trim_blocks=True)
    made.filters.update(number=number, percent=percent, visible=visible, prose=_prose)
    return made


def _prose(text: str) -> Any:
    """Escape a sentence; command options as code, and no line break between a number and its percent sign."""
    from markupsafe import Markup, escape

    told = TOGETHER.sub(r'<span class="together">\g<0></span>', str(escape(visible(text))))
    return Markup(OPTION.sub(r'<span class="option">\g<0></span>', told))


def _outcome(success: Any) -> str:
    return "skipped" if success is None or pd.isna(success) else "passed" if success else "failed"


def _alert_kind(name: str, found: Sequence[str]) -> str | None:
    """The kind of finding that is evidence for an alert."""
    for kind in found:
        finding = FINDINGS.get(kind)
        if finding is not None and name in {check.name for check in finding.checks}:
            return kind
    return None


def _numbers(summary: Mapping[str, Any], properties: pd.DataFrame) -> list[dict[str, Any]]:
    """The main properties (`words.FIRST`), with explanations."""
    rows = properties.drop_duplicates("property").set_index("property")
    out = []
    for name in FIRST:
        if name not in rows.index:
            continue
        row: Any = rows.loc[name]
        value = plus_minus(row["value"], row["se"])
        if name == "label_sharpness.all_pairs":
            value = largest_sharpness(dict(summary))
        facts = [f"{int(row['n']):,} images"]
        facts += [f"k = {int(row['k'])}"] if row["k"] else []
        facts += [f"M = {int(row['m']):,}"] if row["m"] else []
        facts += [str(row["note"])] if isinstance(row["note"], str) and row["note"] else []
        told = next((key.note for key in keys_of(summary) if key.of == name), "")
        out.append({"name": name, "words": WORDS[name], "value": value, "told": told, "note": "; ".join(facts) + "."})
    return out


def _near_share(tables: Mapping[str, pd.DataFrame]) -> float:
    """Fraction of images with an identical or near-identical copy."""
    findings, n = tables["findings"], len(tables["images"])
    twins = findings.loc[findings["kind"].isin(["exact_duplicates", "near_duplicates"]), "images"]
    return len({int(i) for ids in twins for i in ids}) / n if n else 0.0


def _what(kind: Mapping[str, Any]) -> str:
    one = {"pairs": "pair", "groups": "group", "images": "image", "text": "finding"}[kind["shown"]]
    return one if kind["count"] == 1 else f"{one}s"


def _base(source: str) -> str:
    """Prefix that makes listed paths absolute in manifests exported from the page."""
    path = Path(source).expanduser()
    if path.is_dir():
        return f"{path.resolve()}/"
    return f"{path.resolve().parent}/" if path.is_file() and path.suffix.lower() in (".csv", ".parquet") else ""


def _cleaning(summary: Mapping[str, Any]) -> str:
    """Command that writes a manifest without the certain findings; empty if there are none."""
    names = [row.names[0] for kind, row in REMOVALS.items() if summary["findings"].get(kind) and kind not in JUDGED]
    store = Path(summary["results"]).parents[2] if len(Path(summary["results"]).parents) > 2 else "STORE"
    if not names:
        return ""
    return f"dataprops clean {summary['dataset']} --store {store} --remove {','.join(names)} --out clean.csv"


def attack_sentence(summary: Mapping[str, Any]) -> str:
    """Sentence about the attack on the reference classifier, with the mean sharpness; empty if it was not attacked."""
    attack = (summary.get("probe") or {}).get("attack")
    if not attack:
        return ""
    return (
        f"Attack on the reference classifier ({attack['images']:,} held-out images): FGSM with eps"
        f" {number(attack['eps'])}/255 raises its loss by {number(attack['penalty'], 2)} nats on average, and half of the images"
        f" flip at {number(attack['flip_median'], 2)}/255 or less. Mean label sharpness per image (mean K_j):"
        f" {number(attack.get('k_mean'))} / grey level."
    )


def _alert(row: dict[Any, Any], kinds: list[str], findings: pd.DataFrame) -> dict[str, Any]:
    """An alert with its gallery kind, some pictures, and the text of its first finding."""
    return {
        **row,
        "kind": _alert_kind(row["name"], kinds),
        "pictures": [int(i) for i in row["images"][:PICTURES]],
        "detail": evidence_of(row["name"], findings, row["sentence"], row["value"]),
    }


def begin_plots(
    summary: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    history: Sequence[Mapping[str, Any]] = (),
    measured: helper.Job | None = None,
) -> Drawing:
    """Draw the plots in the background while the rest of the page is built.

    Parameters
    ----------
    history : sequence of dict
        Records of this dataset's audits, oldest first, including this one.
    measured : helper.Job, optional
        Job of `plots.measured_plots` for the same tables, if already submitted.
    """
    drawn = Drawn(summary, {name: tables[name] for name in DRAWN_FROM if name in tables}, history)
    wanted = "other_plots" if measured else "every_plot"
    # if nothing was computed, the helper may still be importing, which takes longer than drawing here
    return Drawing(measured, helper.submit("dataprops.report.plots", wanted, drawn, queue=False))


def render(
    summary: dict[str, Any],
    tables: Mapping[str, pd.DataFrame],
    picture: Picture,
    points: pd.DataFrame | None = None,
    *,
    compared: Mapping[str, Any] | str | None = None,
    others: Sequence[Mapping[str, Any]] = (),
    drawing: Drawing | None = None,
) -> str:
    """The report of an audit as a self-contained HTML document.

    Parameters
    ----------
    summary : dict
        Summary of the audit.
    tables : mapping
        images, findings, properties, alerts, checks, shortcuts; optionally predictions.
    picture : callable
        Image id -> canonical uint8 [size, size, channels], or None.
    points : DataFrame, optional
        Table of trained networks behind the predictions, to show this dataset among theirs.
    compared : dict or str, optional
        Changes since the previous audit (`audit.comparison.compare`), or why they are unknown.
    others : sequence of dict
        Summaries of the newest audits of the store's other datasets.
    drawing : plots.Drawing, optional
        Plots from `begin_plots`; by default, plots of this audit without history.
    """
    from markupsafe import Markup

    findings = tables["findings"]
    drawing = drawing or begin_plots(summary, tables)
    data = gallery_data(summary, tables, picture)
    data["base"] = _base(summary["source"])
    kinds = [kind["id"] for kind in data["kinds"]]
    css, js = asset("style.css"), asset("gallery.js")
    template = environment().from_string(asset("page.html.jinja"))
    changed = [compared] if isinstance(compared, str) else sentences(compared) if compared else []
    standing = [*rank_sentences(summary, others), calibration_sentence(summary), paper_sentence(summary, points)]
    plots, estimates = drawing.result()
    return template.render(
        s=summary,
        css=Markup(css),
        js=Markup(js),
        policy=content_policy(css, js),
        data=data,
        data_json=Markup(embedded(data)),
        cleaning=_cleaning(summary),
        changed=changed,
        standing=[line for line in standing if line],
        alerts=[_alert(row, kinds, findings) for row in tables["alerts"].to_dict("records")],
        cut=f"This page has pictures of the first {PICTURED} findings of each kind." if _are_cut(findings) else "",
        what=_what,
        plots=plots,
        estimates=estimates,
        placed=placed_figures(points, summary),
        attack=attack_sentence(summary),
        prediction_names={row.name: row.title for row in PREDICTIONS.values()},
        withheld=[p for p in summary["predictions"] if p["withheld"]],
        **_numbers_in_words(summary, tables),
    )


def _are_cut(findings: pd.DataFrame) -> bool:
    return bool(findings["kind"].value_counts().max() > PICTURED)


def _numbers_in_words(summary: dict[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Template variables for numbers and tables."""
    first, numbers = first_screen(summary, tables["findings"]), _numbers(summary, tables["properties"])
    told = {number["name"] for number in numbers}
    return {
        "first": first,
        "rest": [key for key in keys_of(summary) if key not in first.keys and key.of not in told],
        "words": WORDS,
        "words_of": words_of,
        "how_compared": how_compared(summary),
        "disagreement": disagreement(summary, _near_share(tables)),
        "numbers": numbers,
        "properties": tables["properties"].to_dict("records"),
        "shortcuts": tables["shortcuts"].to_dict("records"),
        "checks": [{**row, "outcome": _outcome(row["success"])} for row in tables["checks"].to_dict("records")],
    }

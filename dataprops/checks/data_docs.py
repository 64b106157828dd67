"""Data Docs: check results as HTML pages, an index and one page per Great Expectations suite.

Great Expectations' own pages load styles and scripts from eight external hosts: they are blank offline, and reveal to those hosts
who views which audit. These pages have the same content (each expectation, its arguments, observed and unexpected values) and load
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from dataprops.util.files import write_text
from dataprops.util.numbers import percent

STYLE = """:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:62em;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;vertical-align:top;padding:.35em .8em .35em 0;border-bottom:1px solid #8886}
td:first-child,td:last-child,th{white-space:nowrap}
.failed{color:#b3261e;font-weight:600}.passed{color:#1f7a45}code{font-size:.85em}
@media(prefers-color-scheme:dark){.failed{color:#ff9a91}.passed{color:#7fce9b}}"""
HEAD = "".join(f'<th scope="col">{name}</th>' for name in ("Outcome", "Expectation", "Observed", "Severity"))
SHOWN = 20  # unexpected values listed


def _page(title: str, body: str) -> str:
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><main><h1>{escape(title)}</h1>\n{body}</main></body></html>\n"
    )


def _outcome(success: bool) -> str:
    return f'<span class="{"passed" if success else "failed"}">{"passed" if success else "failed"}</span>'


def _observed(result: Mapping[str, Any]) -> str:
    """The observed and unexpected values, as text."""
    seen = result.get("result") or {}
    parts = []
    if seen.get("observed_value") is not None:
        parts.append(f"observed {seen['observed_value']}")
    if seen.get("element_count") is not None:
        parts.append(f"{seen['element_count']:,} value{'' if seen['element_count'] == 1 else 's'}")
    if seen.get("unexpected_count"):
        share = percent(seen.get("unexpected_percent", math.nan) / 100)
        parts.append(f"{seen['unexpected_count']:,} unexpected ({share})")
        some = [str(value) for value in (seen.get("partial_unexpected_list") or [])[:SHOWN]]
        if some:
            parts.append(f"first: {', '.join(some)}")
    return escape("; ".join(parts) or "–")


def _row(result: Mapping[str, Any]) -> str:
    config = result.get("expectation_config") or {}
    options = {k: v for k, v in (config.get("kwargs") or {}).items() if k != "batch_id"}
    told = config.get("description") or (config.get("meta") or {}).get("check") or ""
    return (
        f"<tr><td>{_outcome(bool(result.get('success')))}</td><td>{escape(str(told))}<br><code>{escape(str(config.get('type', '')))}"
        f"{escape(json.dumps(options, default=str, ensure_ascii=False))}</code></td><td>{_observed(result)}</td>"
        f"<td>{escape(str((config.get('meta') or {}).get('severity', '')))}</td></tr>"
    )


def write_docs(folder: Path, suites: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """Write the pages; returns the path of the index.

    Parameters
    ----------
    suites : mapping
        Suite name -> its results, each as from Great Expectations' ``to_json_dict``.
    """
    (folder / "validations").mkdir(parents=True, exist_ok=True)
    rows = []
    for name, results in suites.items():
        good = sum(bool(result.get("success")) for result in results)
        body = (
            f'<p><a href="../index.html">All suites</a></p><table><thead><tr>{HEAD}</tr></thead><tbody>'
            + "\n".join(
                _row(result) for result in sorted(results, key=lambda one: bool(one.get("success")))
            )  # failures first
            + "</tbody></table>"
        )
        write_text(folder / "validations" / f"{name}.html", _page(f"Expectations on {name}", body))
        rows.append(
            f'<tr><td><a href="validations/{escape(name)}.html">{escape(name)}</a></td><td>{_outcome(good == len(results))}</td>'
            f"<td>{good} of {len(results)}</td></tr>"
        )
    body = (
        '<p><a href="../report.html">The report of this audit</a></p><table><thead><tr><th scope="col">Suite</th>'
        '<th scope="col">Outcome</th><th scope="col">Expectations met</th></tr></thead><tbody>'
        + "\n".join(rows)
        + "</tbody></table>"
    )
    write_text(folder / "index.html", _page("Data Docs", body))
    return folder / "index.html"

"""Matplotlib figures as inline SVG, recoloured by the page's style sheet.

Colours are the colour-blind-safe palette of Okabe and Ito. They are SVG attributes, so that the style sheet can replace them on a dark
page; `style` attributes are avoided, since the page's content security policy forbids them. An artist with gid ``tip:TEXT`` shows
TEXT as a tooltip.
"""

from __future__ import annotations

import hashlib
import html
import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from dataprops.report.numbers import raised
from dataprops.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY, INK = "#0072b2", "#d55e00", "#009e73", "#6b7280", "#374151"
TIP = "tip:"
LETTER = 0.068  # average width of an 8-point letter, inches


class Plot(NamedTuple):
    """A plot: title stating the result, SVG, and an optional note."""

    title: str
    svg: str
    note: str = ""


def new_figure(height: float = 2.7, names: Sequence[str] = (), top: float = 0.12) -> tuple[Figure, Axes]:
    """A figure with one axes, `height` inches high, `top` inches of margin above; `names` are its y tick labels.

    Margins are estimated from text lengths: a layout engine that measures text takes as long as drawing.
    """
    from matplotlib.figure import Figure

    width = 5.2
    figure = Figure(figsize=(width, height))
    left = min(1.9, 0.16 + LETTER * max((len(name) for name in names), default=0)) if names else 0.62
    axes = figure.add_axes((left / width, 0.5 / height, (width - left - 0.12) / width, (height - 0.5 - top) / height))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors=INK)
    return figure, axes


def powers(axis: Axis) -> None:
    """Format tick labels: 12,000, or 2.5 with the power of ten in the axis label."""
    from matplotlib.ticker import FuncFormatter

    low, high = axis.get_view_interval()
    top = max(abs(low), abs(high))
    power = math.floor(math.log10(top)) if top > 0 else 0
    if -3 < power < 5:
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}")
        )
        return
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 10.0**power:.4g}"))
    told = axis.get_label_text()
    unit = f"10{raised(power)} / " if told.endswith(", 1 / grey level") else ""
    axis.set_label_text(told.replace("1 / ", unit) if unit else f"{told} × 10{raised(power)}")


def _attributes(match: re.Match) -> str:
    """Convert a style attribute to presentation attributes; the font comes from the page's style sheet."""
    out = []
    for part in html.unescape(match[1]).split(";"):
        name, _, value = part.strip().partition(": ")
        if name == "font":
            size = re.search(r"([\d.]+)px", value)
            out += [f'font-size="{size[1]}"'] if size else []
        elif name and value and name not in ("mix-blend-mode", "font-family"):
            out.append(f'{name}="{html.escape(value)}"')
    return " ".join(out)


def svg_of(figure: Figure, alt: str) -> str:
    """A figure as an SVG element; `alt` is its text alternative."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    for part in (figure, *figure.axes):
        part.patch.set(facecolor="none", edgecolor="none")
    settings: Any = {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "dataprops"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # text is drawn with the reader's fonts
        warnings.filterwarnings("ignore", "Creating legend")  # raised if slow, on a busy machine
        # `savefig` would draw twice
        FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    # namespace URLs look like external resources
    text = re.sub(r'\s+xmlns:xlink="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\s+xmlns="[^"]*"', "", text)
    text = re.sub(r'style="([^"]*)"', _attributes, text)
    text = re.sub(rf'<g id="{TIP}([^"]*)">', r'<g class="tip"><title>\1</title>', text)
    # ids must be unique within a page
    mark = f"p{hashlib.blake2b(alt.encode(), digest_size=4).hexdigest()}-"
    text = re.sub(r'\bid="', f'id="{mark}', text)
    text = re.sub(r'href="#', f'href="#{mark}', text)
    text = text.replace("url(#", f"url(#{mark}")
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(alt)}" ', 1)


def tip(artist: Any, text: str) -> None:
    """Give an artist a tooltip."""
    artist.set_gid(TIP + visible(text))


def short(name: Any) -> str:
    """A name, truncated to 24 characters."""
    text = visible(name)
    return text if len(text) <= 24 else f"{text[:23]}…"


def add_box(axes: Axes, x: float, y: float, width: float, height: float, text: str, **look: Any) -> None:
    """A box with a tooltip; three times as fast as a bar, since the caller sets the axis limits."""
    from matplotlib.patches import Rectangle

    look = {"linewidth": 0} | look
    box = axes.add_artist(Rectangle((x, y), width, height, **look))
    box.set_clip_on(False)
    tip(box, text)

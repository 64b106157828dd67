"""The page of a store, and what is told while an audit is at work."""

from __future__ import annotations

import io
import time

from rich.console import Console

from dataprops.audit import audit
from dataprops.audit.underway import in_words, running
from dataprops.report.plots import new_figure
from dataprops.report.standing import Place
from dataprops.report.store_page import _plots, names_beside, render_store
from dataprops.util.tools import inline_tools, no_progress
from tasks import progress
from tasks.progress import Teller
from tests.make_images import SIZE, random_folder, save


def test_the_page_shows_datasets_history_and_worst_findings_and_what_runs(tmp_path):
    store = tmp_path / "store"
    images = random_folder(tmp_path / "set", {"a<b": 12, "b": 12})
    options = {"store": str(store), "size": SIZE, "k": 5, "probe": False}
    audit(tmp_path / "set", name="good", **options)
    save(tmp_path / "set/b/twin.png", images["a<b/000.png"])
    seen = []

    def watch(what, total, unit):
        seen.extend(running(store))
        return no_progress(what, total, unit)

    for _ in range(2):
        bad = audit(tmp_path / "set", name="bad", tools=inline_tools(watch), **options)
    told = next(one for one in seen if one.get("total") and one["unit"] == "pairs")
    assert told["dataset"] == "bad" and "0 % of" in in_words(told)
    most = {"what": "comparing", "done": 999, "total": 1000, "unit": "pairs"}
    assert in_words(most) == "comparing: 99 % of 1,000 pairs"
    assert in_words({"what": "training the probe", "done": 30, "total": 100, "unit": "%"}) == "training the probe: 30 %"
    assert {one["stage"] for one in seen} >= {"decode", "distances", "measure"}
    assert running(store) == []
    page = render_store(store, [told | {"words": in_words(told)}])
    assert f'href="/results/bad/{bad["run_id"]}/report.html"' in page
    assert "carries different labels" in page and "bad: 2 audits" in page and "good: 1 audit<" in page
    assert "<progress max=" in page and 'http-equiv="refresh"' in page
    assert 'http-equiv="refresh"' not in render_store(store)
    assert "style-src 'sha256-" in page.replace("&#39;", "'") and "<script" not in page
    assert "Label sharpness against dimension" in page
    assert "No audit has finished yet" in render_store(tmp_path / "none")


def test_a_plot_has_two_sets_or_the_calibrations_beside():
    one = [{"preprocessing": "224 × 224 × 1, full-range", "place": Place("mine", 11.0, 2e-4, 0.1)}]
    assert _plots(one) == []  # the table says it
    assert len(_plots([*one, {**one[0], "place": Place("yours", 12.0, 3e-4, 0.2)}])) == 2
    small = [{"preprocessing": "32 × 32 × 3, full-range", "place": Place("mine", 11.0, 2e-4, 0.1)}]
    sharp, error = _plots(small)
    assert "recyclables" in sharp.svg and "recyclables" in error.svg and "at 256 images" in sharp.note


def test_names_in_a_plot_cover_neither_each_other_nor_other_points():
    _, axes = new_figure(3.2)
    axes.set_xlim(0, 20)
    axes.set_ylim(0, 25)
    close = [
        ("brain_tumor_mri4_128", 12.4, 21.7),
        ("malaria_cells", 14.4, 20.9),
        ("a", 14.2, 21.9),
        ("at the edge", 19.9, 5),
    ]
    boxes = names_beside(axes, close)
    for i, (left, bottom, right, top) in enumerate(boxes):
        assert right <= 72 * 5.2 and left >= 0
        for low, floor, high, roof in boxes[:i]:
            assert right <= low or high <= left or top <= floor or roof <= bottom
    assert [text.get_text() for text in axes.texts] == [name for name, _, _ in close]


def test_nothing_is_silent_for_long(monkeypatch):
    monkeypatch.setattr(progress, "SILENCE", 0.2)
    out = io.StringIO()
    with Teller(Console(file=out, width=80), lambda: f"measuring: {time.monotonic()} of 9 images") as count:
        time.sleep(1.0)
        with count("counting", 3, "images") as advance:
            advance(3)
    starting, measuring, counting = out.getvalue().splitlines()  # a log has one line of each
    assert starting == "starting" and measuring.startswith("measuring: ")
    assert counting.startswith("counting: 3 images in")

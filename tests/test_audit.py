"""The audit as a whole, inline: numbers equal to a brute force, planted faults found and nothing else, the same again and again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image
from threadpoolctl import threadpool_info, threadpool_limits

from dataprops.audit import audit
from dataprops.audit.composition import run_stages
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.distances import distances
from dataprops.audit.stages.measure import measure
from dataprops.audit.stages.scan import scan
from dataprops.audit.summary import base_summary
from dataprops.audit.workspace import start_run
from dataprops.errors import DatapropsError
from dataprops.findings import since
from dataprops.findings.rows import rows
from dataprops.store.folder import SCHEMA, locked, open_store
from dataprops.util.tools import inline_tools
from tests.make_images import SIZE, noise, random_folder, save

TABLES = ("run", "properties", "images", "neighbours", "pairs", "findings", "alerts", "checks", "shortcuts")


def tables_of(summary: dict) -> dict[str, pd.DataFrame]:
    paths = {name: Path(summary["results"]) / f"{name}.parquet" for name in TABLES}
    return {name: pd.read_parquet(path) for name, path in paths.items() if path.is_file()}


def brute_force(pixels: np.ndarray, y: np.ndarray, k: int) -> dict:
    """Everything an audit measures, from float64 arrays [n, D] by the definitions of METHOD.md. Products of integers: exact."""
    x = pixels.astype(np.float64)
    norm = (x * x).sum(1)
    d2 = norm[:, None] + norm[None, :] - 2 * x @ x.T
    n = len(x)
    np.fill_diagonal(d2, np.inf)
    order = np.argsort(d2, axis=1, kind="stable")[:, :k]
    out = {"neighbours": order, "distances": np.sqrt(np.take_along_axis(d2, order, 1))}

    first = np.array([min([i, *np.nonzero(d2[i] == 0)[0]]) for i in range(n)])
    distinct = np.nonzero(first == np.arange(n))[0]
    t = np.sqrt(np.sort(d2[np.ix_(distinct, distinct)], axis=1)[:, :k])
    terms = np.log(t[:, -1:] / t[:, :-1]).sum(1)
    out["mle"], out["mle_paper"] = (k - 1) / terms.mean(), (k - 2) / terms.mean()
    m = len(distinct)
    mu = np.sort(t[:, 1] / t[:, 0])
    for name, keep in (("twonn", int(m * 0.9)), ("twonn_paper", m - 1)):
        a, b = np.log(mu[:keep]), -np.log(1 - np.arange(1, keep + 1) / m)
        out[name] = (a @ b) / (a @ a)
    out["twonn_closed"] = m / np.log(mu).sum()

    sharp = np.where((y[:, None] != y[None, :]) & (d2 > 0) & np.isfinite(d2), 1.0, 0.0) / np.sqrt(
        np.where(d2 > 0, d2, 1.0)
    )
    out["k_j"] = sharp.max(1)
    out["all_pairs"] = sharp.max()
    # copies of a pair are one pair: the first image of each (picture, label) stands for it
    stands = np.array([not any(d2[i, j] == 0 and y[i] == y[j] for j in range(i)) for i in range(n)])
    one, two = np.nonzero(np.triu(sharp * stands[:, None] * stands[None], 1))
    rank = np.lexsort((two, one, -sharp[one, two]))[:50]
    out["sharpest"] = list(zip(one[rank], two[rank], strict=True))
    return out


def canonical_arrays(source: Path, paths: pd.Series, size: int, channels: int) -> np.ndarray:
    """The canonical images made with Pillow alone, for files of mode L and RGB."""
    out = []
    for path in paths:
        with Image.open(source / path) as image:
            grey = image.convert("L" if channels == 1 else "RGB")
            resized = grey if grey.size == (size, size) else grey.resize((size, size), Image.Resampling.BILINEAR)
            out.append(np.asarray(resized).reshape(-1))
    return np.stack(out)


def assert_equals_brute_force(summary: dict, pixels: np.ndarray) -> None:
    tables = tables_of(summary)
    images = tables["images"]
    y, k = images["y"].to_numpy(), summary["k"]
    wanted = brute_force(pixels, y, k)
    lists = tables["neighbours"].sort_values(["image", "rank"])
    assert np.array_equal(lists["neighbour"].to_numpy().reshape(len(y), k), wanted["neighbours"])
    np.testing.assert_allclose(lists["distance"].to_numpy().reshape(len(y), k), wanted["distances"], rtol=1e-12)
    for name in ("mle", "mle_paper", "twonn", "twonn_paper", "twonn_closed"):
        assert summary["intrinsic_dimension"][name]["value"] == pytest.approx(wanted[name], rel=1e-9)
    assert summary["label_sharpness"]["all_pairs"] == pytest.approx(wanted["all_pairs"], rel=1e-9)
    np.testing.assert_allclose(images["sharpness"], wanted["k_j"], rtol=1e-9)
    for name, q in (("q50", 0.5), ("q95", 0.95), ("q99", 0.99)):
        assert summary["label_sharpness"][name] == pytest.approx(np.quantile(wanted["k_j"], q), rel=1e-9)
    pairs = tables["pairs"].query("kind == 'sharpest'")
    assert list(zip(pairs["a"], pairs["b"], strict=True)) == wanted["sharpest"]
    top = summary["label_sharpness"]["sharpest_pair"]
    assert (top["a"], top["b"]) == tuple(images["path"].iloc[list(wanted["sharpest"][0])])


def test_every_number_equals_a_brute_force(tmp_path):
    images = random_folder(tmp_path / "set", {"cat": 40, "dog": 35, "owl": 30})
    save(tmp_path / "set/cat/copy.png", images["cat/003.png"])  # a duplicate
    save(tmp_path / "set/dog/copy.png", images["owl/003.png"])  # a conflict
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=SIZE, k=5)
    paths = tables_of(summary)["images"]["path"]
    assert_equals_brute_force(summary, canonical_arrays(tmp_path / "set", paths, SIZE, 1))
    assert summary["conflicts"] == [["dog/copy.png", "owl/003.png"]]
    assert summary["findings"]["exact_duplicates"] == 2


def measured(source: Path, store: Path, **options) -> dict:
    """The summary's numbers by the stages that measure: no findings, checks and report, which take longer on real images."""
    config, tools = AuditConfig(str(source), str(store), **options), inline_tools()
    with locked(open_store(store), config.dataset):
        run = start_run(config)
        for stage in (scan, decode, distances, measure):
            stage(run, tools)
    files = run.files
    files.measures.write({})
    files.probed.write({})
    images = files.images.read()
    numbers = base_summary(run, properties=files.properties.read(), images=images, findings=rows("", "", images, ()))
    return numbers | {"results": str(files.results)}


@pytest.mark.parametrize("name", ["brain_mri_yesno", pytest.param("covid_cxr3", marks=pytest.mark.slow)])
def test_medical_images_equal_a_brute_force(name, real_data, tmp_path):
    from dataprops.store.shards import open_shards

    source = real_data(name)
    summary = measured(source, tmp_path / "store", estimators=("mle", "twonn"), draws=2)
    shape = {"size": 224, "channels": 1, "range": [0, 255], "scale": "full-range", "window": "auto"}
    assert summary["preprocess"] == shape
    images = tables_of(summary)["images"]
    index = open_shards(tmp_path / "store" / "shards" / "224x224x1-full-range-v1")
    facts = index.table.iloc[[index.position[content] for content in images["content"]]]
    pixels = index.rows(facts["shard"].to_numpy(), facts["row"].to_numpy())
    assert_equals_brute_force(summary, pixels)
    plain = images["mode"].isin(["L", "RGB"]).to_numpy()  # Pillow's own conversion, without palettes and transparency
    assert np.array_equal(pixels[plain], canonical_arrays(source, images["path"][plain], 224, 1))


def test_cifar_has_the_published_values(real_data, tmp_path):
    options = {"size": 32, "estimators": ("mle", "twonn")}
    summary = measured(real_data("cifar10_airplane_automobile"), tmp_path / "store", **options)
    assert summary["preprocess"]["channels"] == 3
    dimension = summary["intrinsic_dimension"]
    assert dimension["mle"]["value"] == pytest.approx(20.83, abs=0.02)
    assert dimension["mle_paper"]["value"] == pytest.approx(19.73, abs=0.02)
    assert dimension["twonn"]["value"] == pytest.approx(25.1, abs=0.05)
    assert dimension["twonn_paper"]["value"] == pytest.approx(9.75, abs=0.01)
    assert dimension["twonn_closed"]["value"] == pytest.approx(18.4, abs=0.05)
    assert summary["label_sharpness"]["all_pairs"] == pytest.approx(6.37e-4, abs=0.005e-4)
    assert summary["label_sharpness"]["all_pairs"] * 255 == pytest.approx(0.1624, abs=0.0001)
    sample = summary["label_sharpness"]["sample"]
    assert sample["mean"] * 255 == pytest.approx(0.138, abs=0.007)


FAULTS = ("duplicate", "near", "conflict", "leak", "near leak", "unreadable", "outlier", "unlabelled")


# each example is an audit: one that fails is told as it is, without looking for a smaller one; the same examples each time, since
# the rule for outliers has a rate of false ones, and in some draws the noise itself holds one
QUICKLY = settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@QUICKLY
@given(st.sets(st.sampled_from(FAULTS)), st.integers(0, 1000))
def test_planted_faults_are_found_and_nothing_else(tmp_path_factory, faults, seed):
    root = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(seed)
    images = {}
    for split in ("train", "test"):
        for label in ("a", "b"):
            for number in range(30):
                name = f"{split}/{label}/{number:03d}.png"
                images[name] = rng.integers(100, 156, (SIZE, SIZE)).astype(np.uint8)

    def nudged(name: str) -> np.ndarray:
        pixels = images[name].copy()
        pixels[0, 0] += 1
        return pixels

    planted = {
        "duplicate": ("train/a/zz1.png", lambda: images["train/a/000.png"]),
        "near": ("train/a/zz2.png", lambda: nudged("train/a/001.png")),
        "conflict": ("train/b/zz3.png", lambda: images["train/a/002.png"]),
        "leak": ("test/a/zz4.png", lambda: images["train/a/003.png"]),
        "near leak": ("test/b/zz5.png", lambda: nudged("train/b/004.png")),
        "outlier": ("train/b/zz6.png", lambda: rng.integers(0, 2, (SIZE, SIZE)).astype(np.uint8) * 255),
    }
    for fault, (name, make) in planted.items():
        if fault in faults:
            images[name] = make()
    for name, pixels in images.items():
        save(root / "set" / name, pixels)
    if "unreadable" in faults:
        (root / "set/train/a/zz7.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    rows = [(n, n.split("/")[1], n.split("/")[0]) for n in sorted(images)]
    if "unreadable" in faults:
        rows.append(("train/a/zz7.png", "a", "train"))
    if "unlabelled" in faults:
        rows[0] = (rows[0][0], "", rows[0][2])
    pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(root / "set/list.csv", index=False)
    # the classifier adds findings of its own: in some of the examples it is asked, and has none
    options = {"near_rms": 0.5, "sample": 50, "draws": 2, "estimators": ("mle",), "probe": seed % 3 == 0}
    summary = audit(root / "set/list.csv", store=str(root / "store"), size=SIZE, k=5, **options)

    wanted = {
        "exact_duplicates": ("duplicate" in faults) + ("conflict" in faults) + ("leak" in faults),
        "near_duplicates": ("near" in faults) + ("near leak" in faults),
        "label_conflicts": int("conflict" in faults),
        "split_leakage": ("leak" in faults) + ("near leak" in faults),
        "unreadable": int("unreadable" in faults),
        "outliers": int("outlier" in faults),
        "unlabelled": int("unlabelled" in faults),
    }
    found = {kind: count for kind, count in summary["findings"].items() if count and kind != "sharpest_pairs"}
    found.pop("image_quality", None)
    assert found == {kind: count for kind, count in wanted.items() if count}
    findings = tables_of(summary)["findings"]
    bad = {path for paths in findings.loc[findings["kind"] == "image_quality", "paths"] for path in paths}
    assert bad == ({planted["outlier"][0]} if "outlier" in faults else set())  # noise in black and white
    for fault, kind in (("outlier", "outliers"), ("conflict", "label_conflicts"), ("leak", "split_leakage")):
        if fault in faults:
            named = {path for paths in findings.loc[findings["kind"] == kind, "paths"] for path in paths}
            assert planted[fault][0] in named
    alerts = {alert["name"] for alert in summary["alerts"]}
    assert ("conflicts" in alerts) == ("conflict" in faults)
    assert ("split_leaks" in alerts) == bool({"leak", "near leak"} & faults)
    shutil.rmtree(root)


def test_order_and_names_of_the_images_do_not_matter(tmp_path):
    images = random_folder(tmp_path / "one", {"cat": 30, "dog": 25})
    rng = np.random.default_rng(1)
    names = dict(zip(images, rng.permutation(len(images)), strict=True))
    for name, pixels in images.items():
        save(tmp_path / "two" / name.split("/")[0] / f"{names[name]:04d}.png", pixels)
    kept = []
    for which in ("one", "two"):
        options = {"size": SIZE, "k": 5, "estimators": ("mle", "twonn"), "probe": False}
        summary = audit(tmp_path / which, store=str(tmp_path / "store"), **options)
        summary["intrinsic_dimension"] = {n: e["value"] for n, e in summary["intrinsic_dimension"].items()}
        kept.append((summary["intrinsic_dimension"], summary["label_sharpness"]["all_pairs"], summary["findings"]))
    assert kept[0][0] == pytest.approx(kept[1][0], rel=1e-12)
    assert kept[0][1:] == kept[1][1:]


def test_the_second_audit_decodes_and_compares_only_what_is_new(tmp_path):
    random_folder(tmp_path / "set", {"cat": 40, "dog": 40})
    options = {"store": str(tmp_path / "store"), "size": SIZE, "k": 5, "draws": 2}
    audit(tmp_path / "set", **options)
    save(tmp_path / "set/cat/new.png", noise(np.random.default_rng(99)))
    seen = {}

    def remember(stage, run, tools):
        seen[stage.__name__] = stage(run, tools)
        return seen[stage.__name__]

    results = run_stages(AuditConfig(source=str(tmp_path / "set"), **options), inline_tools(), remember)
    assert seen["decode"].n_decoded == 1
    assert seen["distances"].pairs == 80
    incremental = json.loads((results / "summary.json").read_text())
    fresh = audit(tmp_path / "set", **(options | {"store": str(tmp_path / "other")}))
    for name in ("intrinsic_dimension", "label_sharpness"):
        assert incremental[name] == fresh[name]
    for kind in set(fresh["findings"]) - set(
        since.KINDS
    ):  # those compare with an audit before, which the fresh one has not
        assert incremental["findings"][kind] == fresh["findings"][kind]
    assert incremental["previous"] is not None
    change = incremental["predictions"][0]
    assert change["name"] == "log_loss_change"
    assert change["low"] <= change["value"] <= change["high"]


def test_channels_are_found_once_and_stay(tmp_path):
    random_folder(tmp_path / "set", {"a": 25, "b": 25})
    options = {
        "store": str(tmp_path / "store"),
        "size": SIZE,
        "k": 5,
        "draws": 2,
        "estimators": ("mle",),
        "probe": False,
    }
    assert audit(tmp_path / "set", **options)["preprocess"]["channels"] == 1
    rng = np.random.default_rng(0)
    for i in range(60):
        save(tmp_path / "set" / "b" / f"colour{i}.png", noise(rng, 3))
    assert audit(tmp_path / "set", **options)["preprocess"]["channels"] == 1
    assert audit(tmp_path / "set", **options, name="new")["preprocess"]["channels"] == 3


def test_numeric_labels_give_slopes(tmp_path):
    images = random_folder(tmp_path / "set", {"x": 40})
    ages = np.random.default_rng(2).uniform(20, 90, len(images)).round(1) + 0.05
    manifest = tmp_path / "set" / "ages.csv"
    pd.DataFrame({"path": list(images), "label": ages}).to_csv(manifest, index=False)
    summary = audit(manifest, store=str(tmp_path / "store"), size=SIZE, k=5, draws=2, probe=False)
    assert summary["labels"]["kind"] == "numbers"
    table = tables_of(summary)["images"]
    pixels = canonical_arrays(tmp_path / "set", table["path"], SIZE, 1).astype(float)
    distance = np.sqrt(((pixels[:, None] - pixels[None]) ** 2).sum(-1))
    np.fill_diagonal(distance, np.inf)
    slopes = np.abs(table["y"].to_numpy()[:, None] - table["y"].to_numpy()[None]) / distance
    np.testing.assert_allclose(table["sharpness"], slopes.max(1), rtol=1e-12)
    assert summary["label_sharpness"]["all_pairs"] == pytest.approx(slopes.max(), rel=1e-12)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tiny_sets_give_an_answer_without_inventing_numbers(tmp_path, count):
    random_folder(tmp_path / "set", {"only": count})
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=SIZE)
    assert summary["intrinsic_dimension"]["mle"] == {"value": None, "se": None, "interval": [None, None]}
    assert summary["label_sharpness"]["all_pairs"] is None
    assert "needs at least 21 distinct images" in tables_of(summary)["properties"]["note"].iloc[0]
    assert (
        Path(summary["report"]).read_text().startswith("<!DOCTYPE html>")
        or "<html" in Path(summary["report"]).read_text()
    )


def test_arrays_give_the_same_numbers_as_their_files(tmp_path):
    images = random_folder(tmp_path / "set", {"cat": 30, "dog": 28})
    names = sorted(images)
    array = np.stack([images[name] for name in names])
    options = {"store": str(tmp_path / "store"), "k": 5, "probe": False}
    from_files = audit(tmp_path / "set", size=SIZE, **options)
    from_array = audit(array, [name.split("/")[0] for name in names], **options)
    for name in ("n_images", "labels", "preprocess", "intrinsic_dimension", "findings"):
        assert from_array[name] == from_files[name]
    sharpness = [summary["label_sharpness"] | {"sharpest_pair": None} for summary in (from_array, from_files)]
    assert sharpness[0] == sharpness[1]
    scaled = audit(array / 255.0, name="floats", **options)
    assert scaled["intrinsic_dimension"] == from_files["intrinsic_dimension"]
    with pytest.raises(DatapropsError, match="58 images and 3 labels"):
        audit(array, ["a", "b", "c"], store=str(tmp_path / "store"))


def test_nothing_readable_is_an_error_that_names_a_file(tmp_path):
    (tmp_path / "set/a").mkdir(parents=True)
    (tmp_path / "set/a/x.png").write_text("no image")
    with pytest.raises(DatapropsError, match=r"none of the 1 images .* can be read: .*x\.png"):
        audit(tmp_path / "set", store=str(tmp_path / "store"), size=SIZE)


def test_tables_read_with_pandas_alone_and_carry_the_schema(tmp_path):
    random_folder(tmp_path / "set", {"a": 25, "b": 25})
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=SIZE, k=5)
    tables = tables_of(summary)
    assert len(tables["images"]) == 50
    assert tables["run"]["schema"].tolist() == [SCHEMA]
    assert set(tables["properties"]["property"]) >= {"intrinsic_dimension.mle", "label_sharpness.sample"}
    assert not list((tmp_path / "store" / "work").glob("*/*"))
    assert json.loads(tables["run"]["summary"].iloc[0])["run_id"] == summary["run_id"]


def test_a_failed_run_leaves_no_half_result(tmp_path):
    random_folder(tmp_path / "set", {"a": 25, "b": 25})

    def fail_at_report(stage, run, tools):
        if stage.__name__ == "report":
            raise KeyboardInterrupt
        return stage(run, tools)

    options = {"store": str(tmp_path / "store"), "size": SIZE, "k": 5, "probe": False}
    with pytest.raises(KeyboardInterrupt):
        run_stages(AuditConfig(str(tmp_path / "set"), **options), inline_tools(), fail_at_report)
    assert not list((tmp_path / "store").glob("results/*/*"))
    assert audit(tmp_path / "set", **options)["previous"] is None


def test_shards_that_another_audit_adds_meanwhile_change_nothing(tmp_path):
    """Two datasets share the folder of a preprocessing, and its list of shards grows between the stages of an audit."""
    random_folder(tmp_path / "one", {"a": 40, "b": 40}, seed=1)
    options = {"size": SIZE, "k": 5, "probe": False}
    alone = audit(tmp_path / "one", store=str(tmp_path / "alone"), **options)
    before = tables_of(alone)["neighbours"]
    added = 0

    def disturbed(stage, run, tools):
        nonlocal added
        result = stage(run, tools)
        if stage.__name__ in ("decode", "distances", "check"):
            added += 1
            random_folder(tmp_path / f"other{added}", {"a": 60, "b": 60}, seed=10 + added)
            config = AuditConfig(str(tmp_path / f"other{added}"), str(tmp_path / "shared"), **options)
            with locked(open_store(config.store), config.dataset):
                other = start_run(config)
                scan(other, tools)
                decode(other, tools)
        return result

    config = AuditConfig(str(tmp_path / "one"), str(tmp_path / "shared"), **options)
    results = run_stages(config, inline_tools(), disturbed)
    assert added == 3
    assert before.equals(pd.read_parquet(results / "neighbours.parquet"))
    page = re.sub(r"data:image/png;base64,", "\n", (results / "report.html").read_text())
    wanted = re.sub(r"data:image/png;base64,", "\n", Path(alone["report"]).read_text())
    pictures = [re.findall(r"^[A-Za-z0-9+/=]{40,}", text, re.MULTILINE) for text in (page, wanted)]
    assert pictures[0] == pictures[1] != []


def test_images_that_an_earlier_version_measured_less_are_decoded_once_more(tmp_path):
    """Without what was measured since, no blur was told of them, and nobody saw that."""
    random_folder(tmp_path / "set", {"cat": 10, "dog": 10})
    options = {"store": str(tmp_path / "store"), "size": SIZE, "k": 5, "draws": 2, "probe": False}
    audit(tmp_path / "set", **options)
    newer = ["original_step", "original_edges", "original_half_edges"]
    for index in (tmp_path / "store").rglob("shards/*/*.parquet"):
        if "row" in (table := pd.read_parquet(index)):
            table.drop(columns=newer).to_parquet(index)
    decoded = []

    def remember(stage, run, tools):
        result = stage(run, tools)
        if stage.__name__ == "decode":
            decoded.append(result.n_decoded)
        return result

    for _ in range(2):
        results = run_stages(AuditConfig(str(tmp_path / "set"), **options), inline_tools(), remember)
        images = pd.read_parquet(results / "images.parquet")
        assert images[newer[:2]].notna().all().all()
    assert decoded == [20, 0]


def test_no_thread_of_numpy_spins_beside_an_audit(tmp_path):
    """Small products in decoding kept a second one spinning: 2 of 30 CPU seconds of 10,000 images."""
    random_folder(tmp_path / "set", {"a": 12, "b": 12})
    seen = []

    def look(stage, run, tools):
        seen.append(
            {(pool["internal_api"], pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}
        )
        return stage(run, tools)

    with threadpool_limits(2, "blas"):
        options = {"size": SIZE, "k": 5, "draws": 2, "probe": False}
        run_stages(AuditConfig(str(tmp_path / "set"), str(tmp_path / "store"), **options), inline_tools(), look)
        after = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert ("openblas", 1) in seen[1]
    assert ("openblas", 2) not in seen[1]
    assert 2 in after


def test_two_audits_of_one_dataset_do_not_run_at_once(tmp_path):
    random_folder(tmp_path / "set", {"a": 3})
    store = open_store(tmp_path / "store")
    with locked(store, "set"), pytest.raises(DatapropsError, match="another audit of 'set' is running"):
        audit(tmp_path / "set", store=str(store), size=SIZE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda p: (p / "store").mkdir() or (p / "store/other.txt").write_text("x"),
            "not empty and is not a dataprops store",
        ),
        (lambda p: (p / "store").mkdir() or (p / "store/version.json").write_text('{"schema": 99}'), "has schema 99"),
        (lambda p: (p / "store").mkdir() or (p / "store/version.json").write_text("x"), "is damaged"),
    ],
)
def test_a_folder_that_is_no_store_is_refused(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DatapropsError, match=message):
        open_store(tmp_path / "store")


def test_the_store_never_lies_in_the_source(tmp_path):
    random_folder(tmp_path / "set", {"a": 3})
    with pytest.raises(DatapropsError, match="is inside the source"):
        audit(tmp_path / "set", store=str(tmp_path / "set" / "store"), size=SIZE)


def test_runs_of_one_second_are_ordered_by_their_names(tmp_path):
    random_folder(tmp_path / "set", {"cat": 4})
    config = AuditConfig(str(tmp_path / "set"), store=str(tmp_path / "store"), size=SIZE)
    names = [start_run(config).run_id for _ in range(20)]
    assert names == sorted(set(names))

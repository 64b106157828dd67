"""The stages of an audit: each reads files of the run's work folder, calls the library, writes files, returns a small record.

    scan -> decode -> distances -> measure -> find -> check -> report

`audit.run_stages` composes them; they know neither Prefect nor Dask, only `Tools`. A stage's files are whole or absent,
and what is expensive (shards, passes) is addressed by content: a stage that runs again does only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig, same_fields
from dataprops.audit.summary import base_summary, pairs_table, predict, property_measures, run_table
from dataprops.audit.workspace import Run, publish
from dataprops.checks import validator
from dataprops.checks.alerts import raise_alerts
from dataprops.checks.expectations import run_checks
from dataprops.checks.thresholds import load_thresholds
from dataprops.distances.anchors import anchor_pairs, anchor_pass, choose_anchors
from dataprops.distances.incremental import Known, update
from dataprops.distances.plan import plan_pass
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.findings import FindOptions, measures, shortcut_scores
from dataprops.findings import find as find_all
from dataprops.imaging.decode import Preprocess, UnreadableImage, default_channels, is_grey
from dataprops.imaging.decode import decode as decode_image
from dataprops.laws.calibrations import newest_calibration, points_behind
from dataprops.properties import distinct
from dataprops.properties.dimension import estimate_all, neighbours_needed
from dataprops.properties.sharpness import sharpness_summary
from dataprops.properties.tables import (
    contents_only,
    image_values,
    properties_table,
    sampled_sharpness,
    sharpest_pairs,
    subset_estimates,
)
from dataprops.report import markdown_summary, render
from dataprops.sources import OpenSource, SourceOptions, open_source
from dataprops.sources.labels import label_values
from dataprops.store import shards
from dataprops.store.folder import open_salt, previous_summary
from dataprops.store.pass_cache import load_known, save_known
from dataprops.store.rows import open_rows, save_rows
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.json import to_json
from dataprops.util.memory import measured_memory
from dataprops.util.tools import Tools

log = logging.getLogger(__name__)

JOBS_PER_WORKER = 4  # so that a pass shows progress and no worker waits long for the last one
READ_AT_ONCE = 256  # images whose files are read and hashed as one piece of work
CARRIED, CARRIED_BYTES = 16, 32 * 2**20  # images, and bytes of their files, that travel with a piece of work
CHANNEL_SAMPLE = 64  # images looked at to tell grey from colour


@dataclass(frozen=True)
class Scanned:
    """What `scan` saw."""

    n_images: int
    label_kind: str
    classes: tuple[str, ...]
    ignored: tuple[str, ...]
    empty_classes: tuple[str, ...]


@dataclass(frozen=True)
class Decoded:
    """What `decode` made."""

    n_readable: int
    n_unreadable: int
    n_decoded: int
    preprocess: Preprocess


@dataclass(frozen=True)
class Passed:
    """What `distances` computed."""

    n_rows: int
    features: int
    pairs: int
    pairs_in_full: int
    near_pairs: int
    planned_bytes: int
    used_bytes: int
    anchors: int | None


Record = TypeVar("Record", Scanned, Decoded, Passed)


def save_record(run: Run, record: Scanned | Decoded | Passed) -> None:
    """Keep a stage's record in the work folder for the stages after it."""
    write_text(run.work / f"{type(record).__name__}.json", json.dumps(asdict(record)))


def load_record(run: Run, kind: type[Record]) -> Record:
    """The record of an earlier stage."""
    values = json.loads((run.work / f"{kind.__name__}.json").read_text(encoding="utf-8"))
    if "preprocess" in values:
        values["preprocess"] = Preprocess(**values["preprocess"])
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def source_of(run: Run) -> OpenSource:
    """The run's source, opened."""
    return open_source(run.config.source, source_options(run.config))


def source_options(config: AuditConfig) -> SourceOptions:
    """How a config wants its source read."""
    return SourceOptions(**same_fields(config, SourceOptions), salt=open_salt(Path(config.store)))


def scan(run: Run, tools: Tools) -> Scanned:
    """List the images of the source, with labels, splits and groups. Decodes nothing."""
    load_thresholds(run.config.thresholds)  # a wrong file is refused before any work
    table = source_of(run).scan()
    kind, y, classes = label_values(table["label"].tolist(), run.config.labels, table["path"].tolist())
    ignored, empty = table.attrs.get("ignored", ()), table.attrs.get("empty_classes", ())
    if ignored:
        log.info("%d files are no images and were left out (first: %s)", len(ignored), ignored[0])
    # a key may hold bytes that are no UTF-8
    keys = pd.Series([os.fsencode(key) for key in table["key"]], dtype=object)
    table = table.assign(image=np.arange(len(table), dtype=np.int64), y=y, key=keys)
    write_table(run.work / "scan.parquet", table)
    scanned = Scanned(len(table), kind, tuple(classes), tuple(ignored), tuple(empty))
    save_record(run, scanned)
    return scanned


def decode(run: Run, tools: Tools) -> Decoded:
    """Read every image, and decode those that no shard holds yet."""
    source = source_of(run)
    table = pd.read_parquet(run.work / "scan.parquet")
    keys = [os.fsdecode(key) for key in table.pop("key")]
    prints = _fingerprints(run, tools, source, keys)
    preprocess = Preprocess(run.config.size, _channels(run, source, keys), run.config.scale, run.config.window)
    folder = run.shards / preprocess.key
    contents = prints["content"].tolist()
    order = source.order(keys)
    in_order = range(len(keys)) if order is None else order
    batches = shards.plan_batches(folder, [keys[i] for i in in_order], [contents[i] for i in in_order], preprocess)
    if order is not None:
        batches = shards.split_batches(batches, dict(zip(keys, prints["bytes"].tolist(), strict=True)), CARRIED_BYTES)
    missing = sum(len(batch.keys) for batch in batches)
    if missing:
        carried = zip(source.carry(batch.keys for batch in batches), batches, strict=True)
        pieces = ((bearer, batch, preprocess, str(folder)) for bearer, batch in carried)
        with tools.progress("decoding", missing, "images") as advance:
            for done in tools.map(shards.decode_batch, pieces):
                advance(done)
    index = shards.open_shards(folder)
    write_text(run.work / "shards.json", json.dumps([file.name for file in index.files]))
    facts = shards.describe(index, contents)
    gone = facts["shard"].isna() & prints["content"].notna()
    facts["error"] = facts["error"].fillna(prints["error"]).where(~gone, "the file changed while it was read")
    if table["group"].isna().all():  # nobody named the patients: DICOM files do
        table["group"] = prints["patient"].fillna(prints["study"])
    images = pd.concat([table, prints[["content", "bytes", "study", "series", "frames"]], facts], axis=1)
    whole = {"width": 0, "height": 0, "peak": -1, "row": -1, "shard": -1}
    images = images.fillna(whole).astype(dict.fromkeys(whole, np.int64))
    write_table(run.work / "images.parquet", images)
    unreadable = int(images["pixels"].isna().sum())
    decoded = Decoded(len(images) - unreadable, unreadable, missing, preprocess)
    save_record(run, decoded)
    return decoded


def _fingerprints(run: Run, tools: Tools, source: OpenSource, keys: list[str]) -> pd.DataFrame:
    """Content, size and reason of each image; files that did not change since the last run are not read."""
    cache = run.shards / "files" / f"{run.config.dataset}.parquet"
    table = shards.known_prints(source, keys, cache)
    table["error"] = pd.Series([None] * len(keys), dtype=object)
    new = np.nonzero(table["content"].isna().to_numpy())[0]
    if len(new):
        order = source.order([keys[i] for i in new])
        new, step = (new, READ_AT_ONCE) if order is None else (new[order], CARRIED)
        starts = range(0, len(new), step)
        batches = [[keys[i] for i in new[start : start + step]] for start in starts]
        pieces = zip(source.carry(batches), starts, batches, strict=True)
        with tools.progress("reading files", len(new), "images") as advance:
            for prints in tools.map(shards.fingerprint_batch, pieces):
                at = new[prints.first : prints.first + len(prints.content)]
                for name in ("content", "bytes", "error", *shards.IDENTITY):
                    table.loc[at, name] = getattr(prints, name)
                # what is no file has its stamp already
                table.loc[at, "time"] = np.maximum(prints.time, table.loc[at, "time"])
                advance(len(at))
        shards.save_prints(source, keys, table, cache)
    return table


def _channels(run: Run, source: OpenSource, keys: list[str]) -> int:
    """The wanted channels; else those of the last audit, which the numbers shall compare with; else what the set holds."""
    if run.config.channels is not None:
        return run.config.channels
    previous = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    if previous is not None:
        return int(previous["preprocess"]["channels"])
    grey = []
    for image in source.read_some(keys[:: max(1, len(keys) // CHANNEL_SAMPLE)]):
        try:
            grey.append(is_grey(decode_image(image) if isinstance(image, bytes) else image))
        except UnreadableImage:
            continue
    return default_channels(grey)


def distances(run: Run, tools: Tools) -> Passed:
    """One pass over all pairs of distinct images, or as much of it as the last audit leaves open."""
    decoded = load_record(run, Decoded)
    scanned = load_record(run, Scanned)
    images = pd.read_parquet(run.work / "images.parquet")
    rows = distinct.distinct_rows(images)
    if not rows.n:
        reasons = images["error"].value_counts()
        raise DatapropsError(
            f"none of the {len(images)} images of {run.config.source} can be read: {reasons.index[0]}"
            f" ({images['path'].iloc[0]} is the first)"
        )
    features = decoded.preprocess.features
    place = images.set_index("image").loc[rows.first]
    rows_path = run.work / "rows.npz"
    save_rows(
        rows_path,
        run.shards / decoded.preprocess.key,
        shard_names(run),
        place["shard"].to_numpy(),
        place["row"].to_numpy(),
        features,
        rows.y,
        rows.primary,
    )
    spec = PassSpec(
        k=neighbours_needed(estimators_of(run), run.config.k),
        numeric=scanned.label_kind == "numbers",
        near2=near_squared(run.config.near_rms, features),
    )
    anchors = None
    if run.config.anchors is not None and run.config.anchors < rows.primary.sum():
        anchors = choose_anchors(rows.primary, run.config.anchors, run.config.seed)
    plan = plan_pass(
        rows.n,
        features,
        spec.k,
        memory=run.config.memory,
        threads=tools.threads,
        jobs=1 if tools.unit_pool is None else JOBS_PER_WORKER * tools.workers,
        workers=tools.workers,
        anchors=None if anchors is None else len(anchors),
        device=tools.device,
    )
    known_path = run.states / f"{decoded.preprocess.key}.npz"
    key = hashlib.blake2b(
        "\n".join([decoded.preprocess.key, *rows.pixels]).encode() + rows.y.tobytes(), digest_size=16
    ).hexdigest()
    checkpoint = run.states / f"{decoded.preprocess.key}.unfinished.npz"
    everything = open_rows(str(rows_path))
    with ExitStack() as shown, measured_memory() as peak:
        advance: list[Callable[[int], None]] = []

        def show(pairs: int) -> None:
            advance.append(shown.enter_context(tools.progress("comparing pairs", pairs, "pairs")))

        how = {
            "threads": tools.threads,
            "device": tools.device,
            "pool": tools.unit_pool(str(rows_path)) if tools.unit_pool else None,
            "on_pairs": lambda pairs: advance[0](pairs),
            "checkpoint": checkpoint,
            "key": key,
        }
        if anchors is None:
            known = load_known(known_path, scanned.classes)
            result = update(
                known, everything, rows.pixels, spec, plan, content_row=rows.content_row, on_plan=show, **how
            )
        else:
            show(anchor_pairs(len(anchors), rows.n))
            result = anchor_pass(everything, anchors, spec, plan, **how)
    a, b, d2 = result.near.arrays()
    found = Known(rows.pixels, rows.y, rows.primary, result.state, a, b, d2, result.near.count, spec, result.sketches)
    # what is known of some images alone completes no later pass
    saved = run.work / "pass.npz" if anchors is not None else known_path
    save_known(saved, found, scanned.classes)
    if anchors is None:
        shutil.copyfile(known_path, run.work / "pass.npz")
    checkpoint.unlink(missing_ok=True)
    passed = Passed(
        rows.n,
        features,
        result.pairs,
        rows.n * (rows.n - 1) // 2,
        result.near.count,
        plan.bytes,
        peak.bytes,
        None if anchors is None else len(anchors),
    )
    log.info("working memory of the pass: %d MiB of %d MiB projected", peak.bytes >> 20, plan.bytes >> 20)
    save_record(run, passed)
    return passed


def estimators_of(run: Run) -> tuple[str, ...]:
    """The estimators; GeoMLE needs the neighbours of neighbours, which anchors do not have."""
    return tuple(name for name in run.config.estimators if run.config.anchors is None or name != "geomle")


def near_squared(rms: float, features: int) -> float:
    """Squared distance of two images that differ by `rms` grey levels in the root mean square."""
    return rms * rms * features


def measure(run: Run, tools: Tools) -> int:
    """Dimension and sharpness of the set, and local values of each image."""
    config = run.config
    scanned = load_record(run, Scanned)
    passed = load_record(run, Passed)
    images = pd.read_parquet(run.work / "images.parquet")
    rows = distinct.distinct_rows(images)
    known = load_known(run.work / "pass.npz", scanned.classes)
    if known is None:
        raise DatapropsError(f"the work folder {run.work} is damaged: run the audit again")
    state = known.state
    everything = open_rows(str(run.work / "rows.npz"))

    primary = np.nonzero(rows.primary)[0]
    anchors = None if passed.anchors is None else choose_anchors(rows.primary, passed.anchors, config.seed)
    distance, neighbour = contents_only(state, rows, anchors)
    estimates = estimate_all(
        distance, neighbour, passed.features, config.k, config.seed, estimators_of(run), unit=255.0
    )
    subsets = []
    if "mle" in config.estimators:
        subsets = subset_estimates(tools, everything, primary, k=config.k, seed=config.seed, memory=config.memory)
    sharp = np.sqrt(state.sharp[rows.row] if anchors is None else state.sharp)
    summary = sharpness_summary(np.where(sharp > 0, sharp, np.nan), sampled=anchors is not None)
    whole = state if anchors is None else None
    numeric = scanned.label_kind == "numbers"
    drawing = {"sample": config.sample, "draws": config.draws, "seed": config.seed, "memory": config.memory}
    draws = sampled_sharpness(tools, everything, rows, whole, numeric=numeric, **drawing)

    write_table(
        run.work / "properties.parquet",
        properties_table(estimates, subsets, summary, draws, len(rows.images), config.sample, passed.anchors),
    )
    table, neighbours = image_values(images, rows, state, config.k, anchors)
    write_table(run.work / "image_values.parquet", table)
    write_table(run.work / "neighbours.parquet", neighbours)
    pairs = sharpest_pairs(everything, rows, state, numeric=numeric, anchors=anchors)
    write_table(run.work / "sharpest.parquet", pairs)
    near = pd.DataFrame(
        {"a": rows.first[known.near_a], "b": rows.first[known.near_b], "distance": np.sqrt(known.near_d2)}
    )
    write_table(run.work / "near.parquet", near)
    return sum(len(values) for values in draws.values())


def find(run: Run, tools: Tools) -> dict[str, int]:
    """Findings, and the numbers that checks look at; returns how many there are of each kind."""
    scanned = load_record(run, Scanned)
    passed = load_record(run, Passed)
    images = pd.read_parquet(run.work / "image_values.parquet")
    near = pd.read_parquet(run.work / "near.parquet")
    sharpest = pd.read_parquet(run.work / "sharpest.parquet")
    options = FindOptions(
        features=passed.features, kind=scanned.label_kind, empty_classes=scanned.empty_classes, seed=run.config.seed
    )
    scores = shortcut_scores(images, options)
    found = find_all(images, near, sharpest, scores, options)
    write_table(run.work / "findings.parquet", found)
    write_table(run.work / "shortcuts.parquet", scores)
    numbers = measures(images, near, passed.near_pairs, scores, options)
    write_text(run.work / "measures.json", json.dumps(numbers))
    return found["kind"].value_counts().to_dict()


def check(run: Run, tools: Tools) -> bool:
    """Predictions, checks and alerts; returns whether every check passed."""
    checks = load_thresholds(run.config.thresholds)
    images = pd.read_parquet(run.work / "image_values.parquet")
    properties = pd.read_parquet(run.work / "properties.parquet")
    found = pd.read_parquet(run.work / "findings.parquet")
    numbers: dict[str, float] = json.loads((run.work / "measures.json").read_text(encoding="utf-8"))
    decoded, passed = load_record(run, Decoded), load_record(run, Passed)
    scanned = load_record(run, Scanned)
    summary = base_summary(
        run,
        kind=scanned.label_kind,
        left_out=scanned.ignored,
        size=decoded.preprocess.size,
        channels=decoded.preprocess.channels,
        window=decoded.preprocess.window,
        features=passed.features,
        properties=properties,
        images=images,
        findings=found,
        sharpest=pd.read_parquet(run.work / "sharpest.parquet"),
        anchors=passed.anchors,
    )
    previous = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    predictions = predict(summary, previous, images, newest_calibration(Path(run.store)))
    numbers |= property_measures(summary, predictions)
    folder = run.work / "results"
    folder.mkdir(exist_ok=True)
    outcome = run_checks(numbers, images, properties, checks, folder / "data_docs", validator.validate)
    alerts = raise_alerts(numbers, checks, found, outcome.results, predictions)
    write_table(folder / "checks.parquet", outcome.results)
    columns = ["severity", "name", "sentence", "measure", "value", "threshold", "images", "paths", "findings"]
    write_table(folder / "alerts.parquet", pd.DataFrame([alert.as_dict() for alert in alerts], columns=columns))
    done = outcome.results["success"]
    summary |= {
        "alerts": [{**alert.as_dict(), "images": list(alert.paths)} for alert in alerts],
        "predictions": [prediction.as_dict() for prediction in predictions],
        "checks": {
            "passed": int(done.fillna(False).sum()),
            "failed": int((~done.fillna(True)).sum()),
            "skipped": int(done.isna().sum()),
            "success": outcome.success,
        },
        "previous": None if previous is None else previous["run_id"],
        "data_docs": str(run.results / "data_docs" / "index.html"),
    }
    write_text(run.work / "summary.json", to_json(summary))
    return outcome.success


def shard_names(run: Run) -> list[str]:
    """The shard files that the numbers in the run's tables stand for."""
    return json.loads((run.work / "shards.json").read_text(encoding="utf-8"))


def picture_reader(run: Run) -> Callable[[int], np.ndarray | None]:
    """A function: image id -> canonical image uint8 [size, size, channels], or None if it is unreadable."""
    preprocess = load_record(run, Decoded).preprocess
    index = shards.pinned(run.shards / preprocess.key, shard_names(run))
    images = pd.read_parquet(run.work / "images.parquet", columns=["shard", "row", "pixels"])
    shard, row, readable = images["shard"].to_numpy(), images["row"].to_numpy(), images["pixels"].notna().to_numpy()

    def picture(image: int) -> np.ndarray | None:
        if not readable[image]:
            return None
        pixels = index.rows(shard[image : image + 1], row[image : image + 1])
        return pixels.reshape(preprocess.size, preprocess.size, preprocess.channels)

    return picture


def report(run: Run, tools: Tools) -> str:
    """Write the result tables and the report, and publish them in one step; returns the folder."""
    folder = run.work / "results"
    summary = json.loads((run.work / "summary.json").read_text(encoding="utf-8"))
    tables = {
        name: pd.read_parquet(run.work / f"{name}.parquet") for name in ("properties", "findings", "near", "sharpest")
    }
    tables |= {"images": pd.read_parquet(run.work / "image_values.parquet")}
    tables |= {"shortcuts": pd.read_parquet(run.work / "shortcuts.parquet")}
    tables |= {name: pd.read_parquet(folder / f"{name}.parquet") for name in ("checks", "alerts")}
    write_table(folder / "images.parquet", tables["images"])
    write_table(folder / "properties.parquet", tables["properties"])
    write_table(folder / "findings.parquet", tables["findings"])
    write_table(folder / "shortcuts.parquet", tables["shortcuts"])
    write_table(folder / "neighbours.parquet", pd.read_parquet(run.work / "neighbours.parquet"))
    write_table(folder / "pairs.parquet", pairs_table(tables["near"], tables["sharpest"], tables["images"]))
    write_table(folder / "run.parquet", run_table(run, summary))
    picture = picture_reader(run)
    points = points_behind(Path(run.store), summary["predictions"])
    write_text(folder / "report.html", render(summary, tables, picture, points))
    write_text(folder / "summary.md", markdown_summary(summary, tables, picture))
    write_text(folder / "summary.json", to_json(summary))  # last: a folder that has it is whole
    return str(publish(run, folder))

"""Stage 2: canonical images in shards, and metadata of each file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.audit import background
from dataprops.audit.config import place_of
from dataprops.audit.records import CHANGED, Decoded
from dataprops.audit.stages.scan import source_of, tell
from dataprops.audit.workspace import Run
from dataprops.errors import DatapropsError
from dataprops.imaging.decode import Preprocess, UnreadableImage, default_channels, is_grey
from dataprops.imaging.decode import decode as decode_image
from dataprops.imaging.ranges import Facts, decide
from dataprops.sources import OpenSource
from dataprops.sources.account import Decision
from dataprops.sources.patients import group_of
from dataprops.store import decoding, hashing, held, shards
from dataprops.store.folder import previous_summary
from dataprops.util.tools import Tools

READ_AT_ONCE = 256  # images read and hashed per task
CARRIED, CARRIED_BYTES = 16, 32 * 2**20  # images, and their bytes, sent along with a task
SAME = 0.5  # minimum overlap (relative to the smaller) of two states of one dataset
KEPT_BYTES = 64 * 2**20  # files held in memory between hashing and decoding
DEVICES = ("scanner", "site")  # fields of `dicom_identity.Identity`
CHANNEL_SAMPLE = 64  # images checked for colour


def decode(run: Run, tools: Tools) -> Decoded:
    """Hash every image, and decode those that are in no shard yet."""
    source = source_of(run)
    table = run.files.listing.read()
    keys = [os.fsdecode(key) for key in table.pop("key")]
    limit = run.config.memory
    kept = held.Kept(KEPT_BYTES if limit is None else min(KEPT_BYTES, limit // 8))
    fingerprints = _fingerprints(run, tools, source, keys, kept)
    _refuse_another_set(run, fingerprints)
    values, decisions = _range(run, fingerprints)
    asked = {field.name: getattr(run.config, field.name) for field in fields(Preprocess)}
    preprocess = Preprocess(**asked | {"channels": _channels(run, source, keys), "range": values})
    folder = run.shards / preprocess.key
    contents = fingerprints["content"].tolist()
    missing = _fill_shards(tools, source, keys, fingerprints, preprocess, folder, (run.config.memory, kept))
    index = shards.open_shards(folder)
    run.files.shard_names.write([file.name for file in index.files])
    facts = shards.describe(index, contents)
    gone = facts["shard"].isna() & fingerprints["content"].notna()
    _describe_devices(run, fingerprints)
    facts["error"] = facts["error"].fillna(fingerprints["error"]).where(~gone, CHANGED)
    if table["group"].isna().all():  # no groups given: take them from DICOM headers
        table["group"], more = group_of(fingerprints, run.config.patients)
        decisions += more
    images = pd.concat([table, fingerprints[["content", "bytes", "study", "series", "frames"]], facts], axis=1)
    whole = {"width": 0, "height": 0, "peak": -1, "row": -1, "shard": -1}
    images = images.fillna(whole).astype(dict.fromkeys(whole, np.int64))
    run.files.files.write(images)
    unreadable = int(images["pixels"].isna().sum())
    decisions += _enlarged(images, preprocess.size)
    told = tuple(decision.row() for decision in decisions)
    tell(told)
    return run.files.decoded.write(Decoded(len(images) - unreadable, unreadable, missing, preprocess, told))


def _describe_devices(run: Run, fingerprints: pd.DataFrame) -> None:
    """Add scanner and site of DICOM files to the described columns, if they vary."""
    several = {
        f"{name} (DICOM)": fingerprints[name].to_numpy(object) for name in DEVICES if fingerprints[name].nunique() > 1
    }
    if several:
        described = run.files.described
        known = described.read() if described.path.is_file() else pd.DataFrame(index=range(len(fingerprints)))
        described.write(known.assign(**several).astype(object))


def _refuse_another_set(run: Run, fingerprints: pd.DataFrame) -> None:
    """Refuse a different dataset under the same default name: the history would compare unrelated datasets.

    A dataset that was moved or packed has the same files and is accepted.

    Raises
    ------
    DatapropsError
        If no name was given, and the last audit of this name was of another location and mostly of other images.
    """
    previous = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    before, now = (previous or {}).get("place"), place_of(run.config.source)
    if run.config.name or before is None or previous is None or before == now:
        return
    try:
        table = pd.read_parquet(Path(previous["results"]) / "images.parquet", columns=["content"])
    except (OSError, ValueError):
        return
    old, new = set(table["content"].dropna()), set(fingerprints["content"].dropna())
    if old and new and len(old & new) < SAME * min(len(old), len(new)):
        own = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(Path(now.rpartition(":")[2]).parts[-2:])).strip("-._")
        raise DatapropsError(
            f"the store has audits of {run.config.dataset!r} from {before}, but {now} has other images: name this dataset, e.g."
            f" --name {own or 'another'}; or pass --name {run.config.dataset} to continue that history"
        )


def _range(run: Run, fingerprints: pd.DataFrame) -> tuple[str, list[Decision]]:
    """The values mapped to black and white, decided once for the whole dataset (`imaging.ranges`)."""
    previous = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    before = None if previous is None else previous["preprocess"].get("values")
    facts = Facts(
        fingerprints["values"].tolist(), fingerprints["low"].to_numpy(float), fingerprints["high"].to_numpy(float)
    )
    values, told = decide(facts, run.config.range, before)
    return values.text, [Decision("range", value, why, "--range") for value, why in told]


def _enlarged(images: pd.DataFrame, size: int) -> list[Decision]:
    """A note if every image is enlarged at least twofold, which costs time and adds no information."""
    largest = int(images[["width", "height"]].to_numpy().max(initial=0))
    if not 0 < 2 * largest <= size:
        return []
    why = f"no image has a side above {largest} pixels, and enlarging costs time"
    return [Decision("size", f"compared at {size} x {size}", why, f"--size {largest}")]


def _fill_shards(
    tools: Tools,
    source: OpenSource,
    keys: Sequence[str],
    fingerprints: pd.DataFrame,
    preprocess: Preprocess,
    folder: Path,
    means: tuple[int | None, held.Kept],
) -> int:
    """Decode images that are in no shard yet; `means` are the memory limit and files held in memory. Returns their number."""
    memory, kept = means
    contents = fingerprints["content"].tolist()
    order = source.order(keys)
    in_order = range(len(keys)) if order is None else order
    batches = decoding.plan_batches(folder, [keys[i] for i in in_order], [contents[i] for i in in_order], preprocess)
    if order is not None:
        batches = decoding.split_batches(
            batches, dict(zip(keys, fingerprints["bytes"].tolist(), strict=True)), CARRIED_BYTES
        )
    missing = sum(len(batch.keys) for batch in batches)
    if missing:
        background.prepare(preprocess.size, len(keys))  # the helper would have nothing to do
        carried = zip(source.read_ahead(batch.keys for batch in batches), batches, strict=True)
        pieces = ((bearer, batch, preprocess, str(folder), memory, tools.workers, kept) for bearer, batch in carried)
        with tools.progress("decoding", missing, "images") as advance:
            for done in tools.map(decoding.decode_batch, pieces):
                advance(done)
    return missing


def _fingerprints(run: Run, tools: Tools, source: OpenSource, keys: list[str], kept: held.Kept) -> pd.DataFrame:
    """Fingerprint of each image, with the error if it cannot be read; files unchanged since the last run are not read."""
    cache = run.shards / "files" / f"{run.config.dataset}.parquet"
    table = hashing.known_fingerprints(source, keys, cache)
    table["error"] = pd.Series([None] * len(keys), dtype=object)
    new = np.nonzero(table["content"].isna().to_numpy())[0]
    if len(new):
        order = source.order([keys[i] for i in new])
        new, step = (new, READ_AT_ONCE) if order is None else (new[order], CARRIED)
        starts = range(0, len(new), step)
        batches = [[keys[i] for i in new[start : start + step]] for start in starts]
        carried = zip(source.read_ahead(batches), starts, batches, strict=True)
        pieces = ((*piece, run.config.memory, tools.workers, kept) for piece in carried)
        # as separate arrays: filling a DataFrame batch by batch takes longer than reading the files
        columns = {name: table[name].to_numpy(copy=True) for name in table.columns}
        with tools.progress("reading files", len(new), "images") as advance:
            for fingerprints in tools.map(hashing.fingerprint_batch, pieces):
                at = new[fingerprints.first : fingerprints.first + len(fingerprints.content)]
                for name in ("content", "bytes", "error", *hashing.IDENTITY, *hashing.VALUES):
                    columns[name][at] = getattr(fingerprints, name)
                # images that are not files have their version token already
                columns["time"][at] = np.maximum(fingerprints.time, columns["time"][at])
                advance(len(at))
        table = pd.DataFrame({name: pd.Series(values, dtype=table[name].dtype) for name, values in columns.items()})
        hashing.save_fingerprints(source, keys, table, cache)
    return table


def _channels(run: Run, source: OpenSource, keys: list[str]) -> int:
    """Number of channels: as requested, otherwise as in the last audit (to stay comparable), otherwise detected in a sample."""
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

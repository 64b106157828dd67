"""Sources that change underneath an audit: files vanish, are cut, rewritten or change places, as a whole set may.

Whatever happened, what an audit says of an image is of one of the two contents that its file had, or a reason; and the next audit says
what a new one would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataprops.audit.records import CHANGED
from dataprops.store.folder import finished_runs
from dataprops.store.hashing import hash_bytes
from flows.cli import main
from tests import changing
from tests.make_images import SIZE, random_folder

MEASURED = ("n_images", "n_unreadable", "intrinsic_dimension", "label_sharpness", "findings")
TABLES = ("images", "neighbours", "pairs", "properties", "findings")


def words(source: Path, store: Path, *more: str) -> list[str]:
    told = ["audit", str(source), "--store", str(store), "--quiet", "--size", str(SIZE), "--k", "4", "--json", *more]
    return [*told, "--estimators", "mle", "--draws", "2", "--sample", "8", "--no-probe", "--fail-on", "never"]


def contents_of(source: Path) -> dict[str, str]:
    return {path.relative_to(source).as_posix(): hash_bytes(path.read_bytes()) for path in source.rglob("*.png")}


def check_images(store: Path, before: dict[str, str], after: dict[str, str]) -> None:
    """Each image has the content of one of the two moments, the pixels of that content, or a reason."""
    images = pd.read_parquet(finished_runs(store, "scans")[-1] / "images.parquet").set_index("path")
    assert set(images.index) <= {*before, *after}
    whole = images[images["pixels"].notna()]
    assert all(content in (before.get(path), after.get(path)) for path, content in whole["content"].items())
    assert images.loc[images["pixels"].isna(), "error"].str.len().gt(0).all()
    assert whole.groupby("content")["pixels"].nunique().max() == 1  # no two sets of pixels for one content


def check_the_next(source: Path, store: Path, fresh: Path) -> None:
    """The next audit equals one in a new store."""
    said = []
    for place in (store, fresh):
        done = CliRunner().invoke(main, [*words(source, place), "--inline"])
        assert done.exit_code == 0, done.output
        said.append({name: json.loads(done.stdout)[name] for name in MEASURED})
    assert said[0] == said[1]
    for table in TABLES:
        one, two = (
            pd.read_parquet(finished_runs(place, "scans")[-1] / f"{table}.parquet").drop(
                columns=["row", "shard"], errors="ignore"
            )
            for place in (store, fresh)
        )
        pd.testing.assert_frame_equal(one, two, check_exact=True, obj=table)


@pytest.fixture
def scans(tmp_path) -> Path:
    random_folder(tmp_path / "scans", {"cat": 20, "dog": 20})
    return tmp_path / "scans"


OFTEN = ("reading", "decoding", "distances")


@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow) for name in changing.MOMENTS]
)
def test_files_that_change_during_an_audit(moment, scans, tmp_path, monkeypatch):
    before = contents_of(scans)
    with monkeypatch.context() as patch:
        changing.arm(moment, lambda: changing.change_all(scans), patch.setattr)
        done = CliRunner().invoke(main, [*words(scans, tmp_path / "store"), "--inline"])
    assert done.exit_code == 0, done.output
    after = contents_of(scans)
    assert before != after
    check_images(tmp_path / "store", before, after)
    if moment not in ("scan", "reading"):  # what was read of them is of before, or not to be had any more
        assert json.loads(done.stdout)["n_images"] == 40
    check_the_next(scans, tmp_path / "store", tmp_path / "fresh")


@pytest.mark.parametrize("moment", ["decoding", pytest.param("distances", marks=pytest.mark.slow)])
def test_files_that_change_during_a_flow(moment, scans, tmp_path):
    before = contents_of(scans)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "tests.changing", moment, "all", str(scans), *words(scans, tmp_path / "store")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    after = contents_of(scans)
    assert before != after
    check_images(tmp_path / "store", before, after)
    check_the_next(scans, tmp_path / "store", tmp_path / "fresh")


def write_set(path: Path, seed: int) -> None:
    """A set in one file."""
    images = random_folder(path.parent / f"images{seed}", {"cat": 20, "dog": 20}, seed)
    images = {name: images[name] for name in sorted(images, key=os.path.basename)}  # a part of them has both classes
    labels = [name.partition("/")[0] for name in images]
    files = [path.parent / f"images{seed}" / name for name in images]
    if path.suffix == ".npz":
        np.savez_compressed(path, images=np.stack(list(images.values())), labels=labels)
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["images"] = np.stack(list(images.values()))
            file["labels"] = labels
    elif path.suffix == ".parquet":  # as the hub writes it, in groups of eight rows
        rows = [{"bytes": file.read_bytes(), "path": None} for file in files]
        pq.write_table(pa.table({"image": rows, "label": labels}), path, row_group_size=8)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, file in zip(images, files, strict=True):
                archive.write(file, name)
    else:
        with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
            for name, file in zip(images, files, strict=True):
                archive.add(file, name)


IN_ONE_PIECE = (".npz", ".tgz")  # what has no random access is kept as it was read


@pytest.mark.parametrize("suffix", [".zip", ".npz", ".tar", ".tgz", ".h5", ".parquet"])
@pytest.mark.parametrize(
    "moment",
    ["decoding", pytest.param("distances", marks=pytest.mark.slow), pytest.param("find", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("what", changing.CHANGES[:3])
def test_a_set_in_one_file_that_changes_during_an_audit(what, moment, suffix, tmp_path, monkeypatch):
    """What was read is used; where none of what was listed is there any more, no result is written, and the way out is told."""
    source, store = tmp_path / f"scans{suffix}", tmp_path / "store"
    write_set(source, 0)
    write_set(source.with_name(f"other{suffix}"), 1)
    with monkeypatch.context() as patch:
        changing.arm(moment, lambda: changing.change(what, source), patch.setattr)
        done = CliRunner().invoke(main, [*words(source, store), "--inline"])
    a_part = (what, suffix) == ("truncate", ".tar")  # what comes before the cut is there
    # the other thread may have read some of the images by then
    some = suffix not in IN_ONE_PIECE and (moment, done.exit_code) == ("decoding", 0)
    if moment == "decoding" and suffix not in IN_ONE_PIECE and not a_part and not some:
        assert done.exit_code == 2, done.output
        told = f"dataprops: none of the 40 images of {source} can be read: {CHANGED} ("
        assert done.stderr.startswith(told) and done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.endswith("); repeat the audit when no process is writing there\n")
        assert finished_runs(store, "scans") == []
    else:
        assert done.exit_code == 0, done.output
        unreadable = json.loads(done.stdout)["n_unreadable"]
        assert 0 < unreadable < 40 if (a_part or some) and moment == "decoding" else unreadable == 0
    if what == "rewrite" or (what == "truncate" and suffix in (".tar", ".tgz")):
        check_the_next(source, store, tmp_path / "fresh")
    else:
        for place in (store, tmp_path / "fresh"):
            refused = CliRunner().invoke(main, [*words(source, place), "--inline"])
            assert refused.exit_code == 2 and refused.stderr.count("\n") == 1, refused.output

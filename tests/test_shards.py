"""Shards: what was decoded once is found again, damage is not believed, and rows come back in the order asked for."""

from __future__ import annotations

import functools
import io
import json
import logging
import math
import os
import pickle
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dataprops.errors import DatapropsError
from dataprops.imaging import measures
from dataprops.imaging.decode import Preprocess, RawImage
from dataprops.sources import OpenSource, open_source
from dataprops.store import decoding, hashing, held
from dataprops.store.decoding import decode_batch
from dataprops.store.hashing import fingerprint_batch, hash_bytes, hash_image
from dataprops.store.shards import ShardIndex, describe, open_shards

SIX = Preprocess(6, 1)


def png(seed: int, size: int = 6) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels_of(seed, size)).save(out, "PNG")
    return out.getvalue()


def pixels_of(seed: int, size: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), np.uint8)


def folder_of(root: Path, files: dict[str, bytes]) -> OpenSource:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return open_source(str(root))


def store(source: OpenSource, folder: Path, preprocess: Preprocess = SIX) -> tuple[int, list[str | None], list[str]]:
    """Hash and decode what is missing: number of images decoded, contents, keys."""
    keys = source.scan()["key"].tolist()
    contents = fingerprint_batch(source, 0, keys).content
    batches = decoding.plan_batches(folder, keys, contents, preprocess)
    return sum(decode_batch(source, batch, preprocess, str(folder)) for batch in batches), contents, keys


def pixels_in(folder: Path, contents: Sequence[str | None]) -> np.ndarray:
    index = open_shards(folder)
    facts = describe(index, contents)
    return index.rows(facts["shard"].to_numpy(int), facts["row"].to_numpy(int))


@pytest.fixture
def source(tmp_path: Path) -> OpenSource:
    return folder_of(tmp_path / "set", {f"c/{i:02d}.png": png(i) for i in range(10)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store" / "shards" / SIX.key


# what is stored


def test_stored_pixels_are_the_canonical_images_in_the_order_asked_for(source: OpenSource, folder: Path) -> None:
    done, contents, _ = store(source, folder)
    assert done == 10
    backwards = contents[::-1]
    expected = np.stack([pixels_of(i).reshape(-1) for i in reversed(range(10))])
    np.testing.assert_array_equal(pixels_in(folder, backwards), expected)


def test_the_index_tells_the_facts_of_each_image(tmp_path: Path, folder: Path) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 4), (0, 120, 0)).save(out, "BMP")
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 4), (0, 120, 0)).save(jpeg, "JPEG", quality=70)
    files = {"c/a.png": png(1), "c/b.bmp": out.getvalue(), "c/c.png": b"no picture", "c/d.jpg": jpeg.getvalue()}
    source = folder_of(tmp_path / "set", files)
    _, contents, _ = store(source, folder)
    facts = describe(open_shards(folder), contents)
    assert facts["format"].tolist()[:2] == ["PNG", "BMP"]
    assert facts["mode"].tolist()[:2] == ["L", "RGB"]
    assert facts["width"].tolist() == [6, 8, 0, 8]
    assert facts["height"].tolist() == [6, 4, 0, 4]
    assert facts["grey"].tolist() == [True, False, False, False]
    assert facts["peak"].tolist() == [pixels_of(1).max(), 70, -1, 71]
    assert facts["jpeg_step"].tolist() == pytest.approx([math.nan] * 3 + [34.546875], nan_ok=True)
    assert facts["pixels"][0] == hash_bytes(pixels_of(1).tobytes())
    assert "not an image" in facts["error"][2]
    assert facts["error"].isna().tolist() == [True, True, False, True]
    assert facts["pixels"].isna().tolist() == [False, False, True, False]


def test_shards_are_plain_files(source: OpenSource, folder: Path) -> None:
    store(source, folder)
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in folder.glob("*.npy")}
    tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    assert arrays.keys() == tables.keys()
    for name, table in tables.items():
        for row, pixels in zip(table["row"], table["pixels"], strict=True):
            assert hash_bytes(arrays[name][row].tobytes()) == pixels
    assert {path.suffix for path in folder.iterdir()} == {".npy", ".parquet"}


def test_arrays_that_are_decoded_already_are_stored_too(tmp_path: Path) -> None:
    eight = Preprocess(8, 1)
    folder = tmp_path / "shards" / eight.key
    source = open_source("digits:")
    keys = source.scan()["key"].tolist()[:40]
    contents = fingerprint_batch(source, 0, keys).content
    for batch in decoding.plan_batches(folder, keys, contents, eight):
        decode_batch(source, batch, eight, str(folder))
    expected = np.stack([source.read(key).pixels.reshape(-1) for key in keys])
    np.testing.assert_array_equal(pixels_in(folder, contents), expected)


def test_content_of_an_array_is_its_type_shape_and_numbers() -> None:
    def content(array: np.ndarray) -> str:
        return hash_image(RawImage(array, "array", "L", array.shape[1], array.shape[0]))

    base = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert content(base) == content(np.asfortranarray(base.copy()))
    assert len({content(base), content(base.reshape(4, 3)), content(base + 1), content(base.astype(np.float32))}) == 4
    assert hash_image(b"x") == hash_bytes(b"x")
    assert len(hash_bytes(b"")) == 32


# content addressing


def test_a_second_run_plans_nothing(source: OpenSource, folder: Path) -> None:
    assert store(source, folder)[0] == 10
    before = sorted(path.name for path in folder.iterdir())
    assert store(source, folder)[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == before


def test_only_what_is_new_is_decoded_whatever_it_is_called(source: OpenSource, folder: Path) -> None:
    store(source, folder)
    root = Path(source.location)
    (root / "c" / "00.png").rename(root / "c" / "renamed.png")
    (root / "d").mkdir()
    (root / "d" / "copy.png").write_bytes(png(3))
    assert store(source, folder)[0] == 0
    (root / "d" / "new.png").write_bytes(png(77))
    done, contents, keys = store(source, folder)
    assert done == 1
    np.testing.assert_array_equal(pixels_in(folder, [contents[keys.index("d/new.png")]])[0], pixels_of(77).reshape(-1))


def test_each_content_is_decoded_once(tmp_path: Path, folder: Path) -> None:
    source = folder_of(tmp_path / "set", {f"c/{i}.png": png(i % 3) for i in range(9)})
    assert store(source, folder)[0] == 3


@pytest.mark.parametrize("other", [Preprocess(5, 1), Preprocess(6, 3), Preprocess(6, 1, "per-image-max")])
def test_other_rules_decode_everything_anew(source: OpenSource, folder: Path, other: Preprocess) -> None:
    store(source, folder)
    assert other.key != SIX.key
    assert store(source, folder.parent / other.key, other)[0] == 10


def test_unreadable_images_are_remembered_and_missing_files_are_not(tmp_path: Path, folder: Path) -> None:
    source = folder_of(tmp_path / "set", {"c/a.png": b"", "c/b.png": png(0)[:40], "c/c.png": png(1)})
    (Path(source.location) / "c" / "gone.png").symlink_to("nowhere")
    done, contents, _ = store(source, folder)
    assert done == 3
    assert contents[3] is None
    assert describe(open_shards(folder), contents)["error"].notna().tolist() == [True, True, False, False]
    assert store(source, folder)[0] == 0


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3 * 2**26), st.integers(1, 10**7))
def test_batches_fit_a_shard(features: int, wanted: int) -> None:
    images = decoding.batch_images(features, wanted)
    assert 1 <= images <= 1024
    assert images == 1 or images * features <= 64 * 2**20


def test_batches_hold_every_wanted_content_once(tmp_path: Path) -> None:
    contents = [hash_bytes(bytes([i % 251, i // 251])) for i in range(3000)]
    keys = [f"k{i}" for i in range(4000)]
    batches = decoding.plan_batches(tmp_path / "none", keys, [*contents, *contents[:900], *[None] * 100], SIX)
    assert [content for batch in batches for content in batch.contents] == contents
    assert [key for batch in batches for key in batch.keys] == keys[:3000]


# damage


def test_a_run_killed_between_pixels_and_index_decodes_again(source: OpenSource, folder: Path) -> None:
    _, contents, _ = store(source, folder)
    for index in folder.glob("*.parquet"):
        index.unlink()
    assert len(open_shards(folder).table) == 0
    assert store(source, folder)[0] == 10
    np.testing.assert_array_equal(pixels_in(folder, contents)[4], pixels_of(4).reshape(-1))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def garble(path: Path) -> None:
    path.write_bytes(b"garbage" * 100)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fewer_rows(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def other_type(path: Path) -> None:
    np.save(path, np.load(path).astype(np.float32))


@pytest.mark.parametrize("damage", [cut, lengthen, garble, empty, fewer_rows, other_type, Path.unlink])
def test_a_damaged_shard_is_told_and_decoded_again(
    source: OpenSource, folder: Path, caplog: pytest.LogCaptureFixture, damage
) -> None:
    _, contents, _ = store(source, folder)
    damage(next(folder.glob("*.npy")))
    with caplog.at_level(logging.WARNING):
        assert store(source, folder)[0] == 10
    assert "is damaged" in caplog.text
    np.testing.assert_array_equal(pixels_in(folder, contents), [pixels_of(i).reshape(-1) for i in range(10)])


@pytest.mark.parametrize("damage", [cut, garble, empty])
def test_a_damaged_index_is_told_and_decoded_again(
    source: OpenSource, folder: Path, caplog: pytest.LogCaptureFixture, damage
) -> None:
    store(source, folder)
    damage(next(folder.glob("*.parquet")))
    with caplog.at_level(logging.WARNING):
        assert store(source, folder)[0] == 10
    assert "is damaged" in caplog.text


@pytest.mark.parametrize("text", ['{"schema": 2}', "{", "[]", "{}"])
def test_shards_of_another_version_are_refused_with_a_way_out(source: OpenSource, folder: Path, text: str) -> None:
    store(source, folder)
    open_shards(folder)
    marker = folder.parent / "version.json"
    assert json.loads(marker.read_text()) == {"schema": 1}
    marker.write_text(text)
    with pytest.raises(DatapropsError, match="delete that folder"):
        open_shards(folder)


def test_two_processes_that_write_one_shard_do_no_harm(source: OpenSource, folder: Path) -> None:
    keys = source.scan()["key"].tolist()
    contents = fingerprint_batch(source, 0, keys).content
    (batch,) = decoding.plan_batches(folder, keys, contents, SIX)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: decode_batch(source, batch, SIX, str(folder)), range(16))) == [10] * 16
    assert len(list(folder.iterdir())) == 2
    np.testing.assert_array_equal(pixels_in(folder, contents)[7], pixels_of(7).reshape(-1))


def test_a_file_that_changes_while_it_is_planned_never_lends_its_pixels_to_another_content(
    source: OpenSource, folder: Path
) -> None:
    keys = source.scan()["key"].tolist()
    contents = fingerprint_batch(source, 0, keys).content
    (batch,) = decoding.plan_batches(folder, keys, contents, SIX)
    decode_batch(source, batch, SIX, str(folder))
    (Path(source.location) / keys[5]).write_bytes(png(99))
    decode_batch(source, batch, SIX, str(folder))
    new = hash_bytes(png(99))
    np.testing.assert_array_equal(pixels_in(folder, [contents[5]])[0], pixels_of(5).reshape(-1))
    np.testing.assert_array_equal(pixels_in(folder, [new])[0], pixels_of(99).reshape(-1))


def test_a_content_in_two_shards_is_read_from_one_of_them_always_the_same(source: OpenSource, folder: Path) -> None:
    keys = source.scan()["key"].tolist()
    contents = fingerprint_batch(source, 0, keys).content
    for part in (slice(0, 6), slice(3, 10)):
        decode_batch(source, decoding.Batch(keys[part], contents[part]), SIX, str(folder))
    first, again = open_shards(folder), open_shards(folder)
    assert sorted(first.table["content"]) == sorted(contents)
    pd.testing.assert_frame_equal(first.table, again.table)
    overlap = describe(first, contents[3:6])["shard"]
    assert set(overlap) == {0}  # the first by name
    np.testing.assert_array_equal(pixels_in(folder, contents), [pixels_of(i).reshape(-1) for i in range(10)])


def test_a_removed_file_is_told_and_the_rest_is_decoded(source: OpenSource, folder: Path) -> None:
    keys = source.scan()["key"].tolist()
    contents = fingerprint_batch(source, 0, keys).content
    (Path(source.location) / keys[2]).unlink()
    for batch in decoding.plan_batches(folder, keys, contents, SIX):
        decode_batch(source, batch, SIX, str(folder))
    facts = describe(open_shards(folder), contents)
    assert np.nonzero(facts["pixels"].isna())[0].tolist() == [2]


# known files


def prints_of(source: OpenSource, keys: list[str], cache: Path) -> tuple[pd.DataFrame, list[int]]:
    """As the stage does it: the table, and the rows that had to be read."""
    table = hashing.known_fingerprints(source, keys, cache)
    new = np.nonzero(table["content"].isna().to_numpy())[0]
    prints = fingerprint_batch(source, 0, [keys[i] for i in new])
    for name in ("content", "bytes", "time"):
        table.loc[new, name] = getattr(prints, name)
    hashing.save_fingerprints(source, keys, table, cache)
    return table, new.tolist()


def test_unchanged_files_are_not_read_again(source: OpenSource, tmp_path: Path) -> None:
    cache = tmp_path / "files" / "set.parquet"
    keys = source.scan()["key"].tolist()
    first, read = prints_of(source, keys, cache)
    assert read == list(range(10))
    assert first["bytes"].tolist() == [len(png(i)) for i in range(10)]
    assert first["content"].tolist() == [hash_bytes(png(i)) for i in range(10)]
    again, read = prints_of(source, keys, cache)
    assert read == []
    pd.testing.assert_frame_equal(again, first, check_dtype=False)


def test_a_changed_file_is_read_again_even_with_the_old_size_and_time(source: OpenSource, tmp_path: Path) -> None:
    cache = tmp_path / "files" / "set.parquet"
    keys = source.scan()["key"].tolist()
    prints_of(source, keys, cache)
    path = Path(source.location) / keys[4]
    before = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    table, read = prints_of(source, keys, cache)
    assert read == [4]
    assert table["content"][4] == hash_bytes(path.read_bytes())


def test_two_files_that_change_places_are_read_again(tmp_path: Path) -> None:
    cache = tmp_path / "files" / "set.parquet"
    source = folder_of(tmp_path / "set", {"cat/a.bmp": b"same size 1", "dog/a.bmp": b"same size 2", "dog/b.bmp": b"x"})
    root, keys = Path(source.location), ["cat/a.bmp", "dog/a.bmp", "dog/b.bmp"]
    for key in keys:
        os.utime(root / key, ns=(10**18, 10**18))  # as an archive sets it
    prints_of(source, keys, cache)
    (root / keys[0]).rename(root / "aside")
    (root / keys[1]).rename(root / keys[0])
    (root / "aside").rename(root / keys[1])
    table, read = prints_of(source, keys, cache)
    assert read == [0, 1]
    assert table["content"].tolist() == [hash_bytes(b"same size 2"), hash_bytes(b"same size 1"), hash_bytes(b"x")]


@pytest.mark.parametrize("damage", [cut, garble, empty])
def test_a_damaged_list_of_known_files_is_told_and_forgotten(
    source: OpenSource, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage
) -> None:
    cache = tmp_path / "files" / "set.parquet"
    keys = source.scan()["key"].tolist()
    prints_of(source, keys, cache)
    damage(cache)
    with caplog.at_level(logging.WARNING):
        assert prints_of(source, keys, cache)[1] == list(range(10))
    assert "cannot be read" in caplog.text


def test_names_that_are_no_text_are_known_too(tmp_path: Path) -> None:
    cache = tmp_path / "files" / "set.parquet"
    name = os.fsdecode(b"c/\xff\n.png")
    source = folder_of(tmp_path / "set", {name: png(1), "c/a.png": png(2)})
    keys = source.scan()["key"].tolist()
    assert name in keys
    prints_of(source, keys, cache)
    assert prints_of(source, keys, cache)[1] == []


def test_a_file_that_cannot_be_read_has_a_reason_without_its_path(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("path,label\ngone.png,x\nnul\0.png,x\n")
    prints = fingerprint_batch(open_source(str(tmp_path / "set.csv")), 5, ["gone.png", "nul\0.png"])
    assert (prints.first, prints.content, prints.bytes, prints.time) == (5, [None, None], [0, 0], [-1, -1])
    assert prints.error[0] == "the file cannot be read: No such file or directory"
    assert all(str(tmp_path) not in (reason or "") for reason in prints.error)


def test_what_is_no_file_is_always_read() -> None:
    source = open_source("digits:")
    keys = source.scan()["key"].tolist()[:3]
    prints = fingerprint_batch(source, 0, keys)
    assert prints.time == [-1] * 3
    assert prints.bytes == [64] * 3
    assert prints.content == [hash_image(source.read(key)) for key in keys]


# gathering


@functools.lru_cache(maxsize=1)
def three_shards() -> tuple[ShardIndex, list[np.ndarray], tempfile.TemporaryDirectory]:
    """An index over three arrays of different lengths."""
    folder = tempfile.TemporaryDirectory()
    arrays = [np.random.default_rng(n).integers(0, 256, (n, 5), np.uint8) for n in (4, 9, 1)]
    files = [Path(folder.name) / f"{n}.npy" for n in range(3)]
    for file, array in zip(files, arrays, strict=True):
        np.save(file, array)
    return ShardIndex(files, pd.DataFrame(), {}), arrays, folder


places = st.one_of(
    st.tuples(st.just(0), st.integers(0, 3)),
    st.tuples(st.just(1), st.integers(0, 8)),
    st.tuples(st.just(2), st.just(0)),
)


@settings(deadline=None)
@given(st.lists(places, max_size=40) | st.lists(places, max_size=8).map(sorted))
def test_rows_come_in_the_order_asked_for(wanted: list[tuple[int, int]]) -> None:
    index, arrays, _ = three_shards()
    got = index.rows(np.array([s for s, _ in wanted], int), np.array([r for _, r in wanted], int))
    expected = np.array([arrays[s][r] for s, r in wanted], np.uint8).reshape(len(wanted), 5)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected)


def test_rows_can_be_gathered_in_threads() -> None:
    index, arrays, _ = three_shards()
    shard, row = np.array([1, 0, 1, 2, 0] * 40), np.array([8, 0, 3, 0, 2] * 40)
    expected = np.stack([arrays[s][r] for s, r in zip(shard, row, strict=True)])
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: index.rows(shard, row), range(64)):
            np.testing.assert_array_equal(got, expected)


# real data


def test_real_brain_images_are_stored_once_per_content(real_data, tmp_path: Path) -> None:
    small = Preprocess(32, 1)
    folder = tmp_path / "shards" / small.key
    source = open_source(str(real_data("brain_mri_yesno")))
    done, contents, _ = store(source, folder, small)
    facts = describe(open_shards(folder), contents)
    assert facts["error"].isna().all()
    assert done == len(set(contents)) == 228  # 25 of 253 are copies
    assert store(source, folder, small)[0] == 0


def test_files_that_were_hashed_are_decoded_without_another_reading(tmp_path):
    files = {f"a/{i}.png": png(i) for i in range(4)}
    source = folder_of(tmp_path / "set", files)
    keys = list(files)
    kept = held.Kept(sum(map(len, files.values())) - 1)  # no room for the last
    contents = fingerprint_batch(source, 0, keys, kept=kept).content
    for key in keys:
        (tmp_path / "set" / key).unlink()
    decode_batch(source, decoding.Batch(keys, contents), SIX, str(tmp_path / "shards"), kept=kept)
    table = open_shards(tmp_path / "shards").table
    assert sorted(table["content"]) == sorted(contents[:3])
    np.testing.assert_array_equal(
        pixels_in(tmp_path / "shards", contents[:3]), [pixels_of(i).reshape(-1) for i in range(3)]
    )
    # nothing is kept twice, and none of it travels to another process
    assert kept.take(keys[0]) is None
    kept.put("b", "hash", b"file")
    assert pickle.loads(pickle.dumps(kept)).take("b") is None  # noqa: S301 - our own
    assert kept.take("b") == ("hash", b"file")
    # images of arrays likewise, but a view would hold the whole array
    rows = np.zeros((2, 4, 4), np.uint8)
    kept.put("own", "hash", RawImage(rows[0].copy(), "idx", "L", 4, 4))
    kept.put("view", "hash", RawImage(rows[1], "idx", "L", 4, 4))
    assert kept.take("own")[1].pixels.shape == (4, 4)
    assert kept.take("view") is None


@pytest.mark.parametrize(("size", "together"), [(held.SMALL_BYTES, 1), (held.SMALL_BYTES + 1, 2)])
def test_batches_of_small_files_are_decoded_in_turn_and_others_beside_each_other(monkeypatch, tmp_path, size, together):
    kept, at_work, most = held.Kept(2**20), [], []
    meet = threading.Barrier(2)

    def decode(source, batch, *_):
        at_work.append(batch)
        most.append(len(at_work))
        with suppress(threading.BrokenBarrierError):
            meet.wait(0.2)
        most.append(len(at_work))
        at_work.remove(batch)
        return len(batch.keys)

    monkeypatch.setattr(decoding, "_decode_batch", decode)
    for key in "ab":
        kept.put(key, key, bytes(size))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda key: decode_batch(None, decoding.Batch([key], [key]), SIX, "", kept=kept), "ab"))
    assert max(most) == together


def test_files_are_read_in_turn_while_they_are_small_and_not_waited_for():
    turns = held.Turns()
    beside = type(nullcontext())
    assert not isinstance(turns.take(), beside)  # the first batch says which files they are
    for sizes, busy, alone in [([900, 1100], 0.9, True), ([900, 1100], 0.1, False), ([100, 9000], 0.9, False)]:
        turns.learn(sizes, busy)
        assert isinstance(turns.take(), beside) == (not alone)
    assert not isinstance(turns.take(alone=True), beside)


def test_images_are_measured_alike_alone_and_together():
    """Of several sizes, in one batch: no number depends on the others, or on how many there are."""
    rng = np.random.default_rng(0)
    shapes = [(32, 32, 3), (32, 32, 3), (40, 24), (8, 8), (300, 200), (40, 24), (1, 1), (129, 260, 3)]
    images = [np.clip(rng.normal(120, 60, shape).cumsum(0) % 256, 0, 255).astype(np.uint8) for shape in shapes]
    together = measures.measure_parts([measures.part_of(image) for image in images])
    np.testing.assert_array_equal(together, [measures.measure_image(image) for image in images])
    grey = images[2].astype(np.int16)
    fine = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    coarse = np.abs(grey[4:] - grey[:-4]).mean() + np.abs(grey[:, 4:] - grey[:, :-4]).mean()
    found = measures.Measures(*together[2])
    expected = (grey.mean(), grey.std(), (grey >= 253).mean(), fine / coarse)
    np.testing.assert_allclose((found.mean, found.spread, found.white, found.focus), expected, rtol=1e-6)


def test_what_is_measured_of_channels_and_directions():
    rng = np.random.default_rng(1)
    grey = np.repeat(rng.normal(128, 20, (64, 64, 1)), 3, axis=2)
    found = measures.measure_image(np.rint(grey + rng.normal(0, 10, grey.shape)).clip(0, 255).astype(np.uint8))
    assert measures.measure_image(np.rint(grey).astype(np.uint8)).colour_grain < 1
    assert found.colour_grain == pytest.approx(10 * np.sqrt(2), rel=0.25)  # of the difference of two channels
    cut = np.full((60, 40), 100, np.uint8)
    cut[:6], cut[6:9], cut[9:30] = 255, 250, 1
    found = measures.measure_image(cut)
    assert (found.cut_high, found.cut_low) == pytest.approx((0.05, 0.35))
    assert measures.measure_image(np.stack([cut, cut, 255 - cut], 2)).cut_low == pytest.approx(
        (0.35 + 0.35 + 0.05) / 3, abs=0.02
    )
    dots = np.full((42, 42), 120, np.uint8)
    dots[5, 5], dots[8, 8], dots[11, 11:13], dots[14, 14], dots[0, 9] = 255, 0, 255, 252, 255  # two alone within
    assert measures.measure_image(dots).single == 2 / 40**2
    assert measures.measure_image(np.where(dots == 120, 214, dots).astype(np.uint8)).single == 1 / 40**2
    moved = np.cumsum(grey[..., 0] - 128, axis=1)
    ours, turned = (measures.measure_image(np.clip(128 + one, 0, 255).astype(np.uint8)) for one in (moved, moved.T))
    assert ours.streak == pytest.approx(turned.streak)
    assert ours.streak > 1.5


@pytest.mark.parametrize(("size", "turns"), [(6, True), (224, False)])
def test_small_files_are_decoded_in_turn_unless_bringing_them_to_size_is_the_work(tmp_path, monkeypatch, size, turns):
    source = folder_of(tmp_path / "set", {f"a/{i}.png": png(i) for i in range(4)})
    keys = [f"a/{i}.png" for i in range(4)]
    kept = held.Kept(2**20)
    contents = fingerprint_batch(source, 0, keys, kept=kept).content
    told = []
    monkeypatch.setattr(kept.turns, "take", lambda alone=None: told.append(alone) or nullcontext())
    decode_batch(source, decoding.Batch(keys, contents), Preprocess(size=size), str(tmp_path / "shards"), kept=kept)
    assert told == [turns]

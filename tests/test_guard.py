"""One file never ends an audit: whatever a decoder or a reader raises becomes a reason, but for the user's interrupt."""

from __future__ import annotations

import errno
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprops import sources
from dataprops.audit.composition import audit
from dataprops.errors import DatapropsError, MachineError
from dataprops.imaging import decode, dicom_identity
from dataprops.sources import nifti, open_source, volumes
from dataprops.store import decoding, hashing
from dataprops.util import guard
from tests.make_dicoms import dicom_bytes
from tests.make_images import encoded, random_folder

CT = dicom_bytes(np.arange(64, dtype=np.uint16).reshape(8, 8))


class PanicException(BaseException):
    """What a decoder written in Rust raises."""


def raising(error):
    def fail(*arguments, **options):
        raise error

    return fail


FAULTS = [
    PanicException("index out of bounds"),
    RecursionError(),
    MemoryError(),
    OSError("No tag to read"),
    struct.error(),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_decoder_that_fails_gives_a_reason_and_quotes_nothing(fault, monkeypatch):
    monkeypatch.setattr("pydicom.pixels.pixel_array", raising(fault))
    with pytest.raises(decode.UnreadableImage) as caught:
        decode.decode(CT)
    reason = str(caught.value)
    assert "\n" not in reason
    assert "No tag" not in reason
    monkeypatch.setattr("dataprops.imaging.decode.Image.open", raising(fault))
    with pytest.raises(decode.UnreadableImage):
        decode.decode(encoded(np.zeros((4, 4), np.uint8)))


WORDS = {
    RecursionError(): "nested too deeply",
    NotImplementedError("Doe, John"): "not supported",
    struct.error("Doe, John"): "ends too early",
    EOFError(): "ends too early",
    OverflowError("Doe, John"): "far too large",
    UnicodeDecodeError("utf-8", b"Doe", 0, 1, "no"): "encoding",
    zlib.error("Doe, John"): "compressed part",
    KeyError("Doe, John"): "is missing",
    AttributeError("Doe, John"): "is missing",
    ValueError("Doe, John"): "a value in it",
    ZeroDivisionError(): "a value in it",
    PanicException("Doe, John"): "does not follow its format",
    MemoryError(): "more memory than",
    OSError(errno.EIO, "Input/output error"): "Input/output error",
    OSError("Doe, John"): "does not follow its format",
}


@pytest.mark.parametrize("fault", WORDS, ids=lambda fault: f"{type(fault).__name__}{len(fault.args)}")
def test_a_reason_is_in_words_names_no_class_and_quotes_nothing(fault, monkeypatch, tmp_path):
    assert WORDS[fault] in guard.reason_of(fault)
    random_folder(tmp_path / "scans", {"cat": 2, "dog": 2})
    monkeypatch.setattr("dataprops.imaging.dicom._decode", raising(fault))
    monkeypatch.setattr("nibabel.load", raising(fault))
    replaced(monkeypatch, "folder", scan=raising(fault), read=raising(fault), order=None, stream=None)
    source = sources.OpenSource("folder", str(tmp_path / "scans"), sources.SourceOptions())
    reasons = [hashing.fingerprint_batch(source, 0, ["cat/000.png"]).error[0]]
    for read in (
        source.scan,
        lambda: decode.decode(CT),
        lambda: volumes.open_volume(tmp_path / "scans/cat/000.png"),
    ):
        with pytest.raises((DatapropsError, decode.UnreadableImage)) as caught:
            read()
        reasons.append(str(caught.value))
    for reason in reasons:
        assert WORDS[fault] in reason
        assert "Doe" not in reason
        assert type(fault).__name__ not in reason


def test_what_a_library_says_is_told_where_it_names_no_class(tmp_path):
    (tmp_path / "scans.parquet").write_bytes(b"PAR1" + b"\x19" * 200 + struct.pack("<i", 190) + b"PAR1")
    with pytest.raises(DatapropsError, match=r"scans\.parquet cannot be read as") as caught:
        open_source(str(tmp_path / "scans.parquet")).scan()
    assert "Exception" not in str(caught.value)


def test_a_volume_read_without_file_handles_ends_the_run(monkeypatch, tmp_path):
    (tmp_path / "x.nii").write_bytes(b"x")
    monkeypatch.setattr("nibabel.load", raising(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(MachineError, match="ulimit"):
        volumes.open_volume(tmp_path / "x.nii")


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_damaged_header_is_nobodys(fault, monkeypatch):
    monkeypatch.setattr("pydicom.dcmread", raising(fault))
    assert dicom_identity.identity(CT, "ab" * 32).patient is None


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(1)], ids=lambda stop: type(stop).__name__)
def test_the_users_interrupt_is_not_held_back(stop, monkeypatch):
    monkeypatch.setattr("dataprops.imaging.decode.Image.open", raising(stop))
    with pytest.raises(type(stop)):
        decode.decode(b"BM no bitmap")


def test_a_machine_without_file_handles_ends_the_run_and_blames_no_image(monkeypatch):
    monkeypatch.setattr("dataprops.imaging.decode.Image.open", raising(OSError(errno.EMFILE, "Too many open files")))
    with pytest.raises(MachineError, match="ulimit"):
        decode.decode(b"BM no bitmap")


def replaced(monkeypatch, kind, **functions):
    monkeypatch.setitem(sources.SOURCES, kind, sources.SOURCES[kind]._replace(**functions))


@pytest.mark.parametrize(
    "fault", [*FAULTS, UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "no")], ids=lambda f: type(f).__name__
)
def test_every_reader_passes_the_guard(fault, monkeypatch, tmp_path):
    random_folder(tmp_path / "scans", {"cat": 2, "dog": 2})
    for kind in sources.SOURCES:
        replaced(monkeypatch, kind, scan=raising(fault), read=raising(fault), order=None, stream=None)
        source = sources.OpenSource(kind, str(tmp_path / "scans"), sources.SourceOptions())
        with pytest.raises(DatapropsError, match=r"scans (cannot be read|takes more memory)"):
            source.scan()
        prints = hashing.fingerprint_batch(source, 0, ["cat/000.png"])
        assert prints.content == [None]
        assert prints.error[0]
        facts, _ = decoding._decode_one(source, "cat/000.png", decode.Preprocess(4), np.zeros(16, np.uint8))
        assert facts.error
        assert list(source.read_some(["cat/000.png"])) == []


def test_a_stream_that_fails_gives_what_came_before_and_a_reason_for_the_rest(monkeypatch):
    def stream(location, keys, options):
        yield "a", b"one"
        raise PanicException("no more")

    replaced(monkeypatch, "tar", stream=stream, order=lambda location, keys, options: [0, 1, 2])
    source = sources.OpenSource("tar", "x.tar", sources.SourceOptions())
    carried = list(source.read_ahead([["a", "b"], ["c"]]))
    assert carried[0].read("a") == b"one"
    for bearer, key in ((carried[0], "b"), (carried[1], "c")):
        with pytest.raises(OSError, match=r"it does not follow its format|no longer holds it"):
            bearer.read(key)


def test_one_volume_that_fails_in_the_scan_is_one_image_that_cannot_be_read(monkeypatch, tmp_path):
    import nibabel

    for name in ("good", "bad"):
        voxels = np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{name}.nii")
    read = nifti.open_volume

    def some(path, time=0):
        if "bad" in path.name:
            raise PanicException("no")
        return read(path, time)

    monkeypatch.setattr(nifti, "open_volume", some)
    found = open_source(f"nifti:{tmp_path}").scan()
    assert sum(found["key"].str.startswith("good.nii#")) == 3
    assert "bad.nii" in set(found["key"])


def zip_that_claims(path: Path, packed: int) -> None:
    """An archive whose directory says that its second member has so many packed bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/0.png", "b/1.png"):
            archive.writestr(name, encoded(np.random.default_rng(len(name)).integers(0, 255, (9, 9)).astype(np.uint8)))
    data = bytearray(path.read_bytes())
    entry = data.rfind(b"PK\x01\x02")
    name_length = struct.unpack_from("<H", data, entry + 28)[0]
    extra = struct.pack("<HHQ", 1, 8, packed)
    struct.pack_into("<I", data, entry + 20, 0xFFFFFFFF)
    struct.pack_into("<H", data, entry + 30, len(extra))
    data[entry + 46 + name_length : entry + 46 + name_length] = extra
    end = data.rfind(b"PK\x05\x06")
    struct.pack_into("<I", data, end + 12, struct.unpack_from("<I", data, end + 12)[0] + len(extra))
    path.write_bytes(data)


@pytest.mark.parametrize("packed", [10**10, 4 * 10**15, 2**40, 2**63 - 1])
def test_a_member_that_claims_more_than_the_archive_holds(packed, tmp_path):
    zip_that_claims(tmp_path / "scans.zip", packed)
    source = open_source(str(tmp_path / "scans.zip"))
    assert source.scan()["key"].tolist() == ["a/0.png", "b/1.png"]
    assert source.read("a/0.png")
    with pytest.raises(OSError, match="beyond the archive's end"):
        source.read("b/1.png")


def test_an_array_with_a_broken_header_is_refused_by_name(tmp_path):
    np.save(tmp_path / "scans.npy", np.zeros((4, 5, 5), np.uint8))
    data = (tmp_path / "scans.npy").read_bytes()
    (tmp_path / "scans.npy").write_bytes(data.replace(b"'shape': (4, 5, 5)", b"'shape': (4, 5,\t(("))
    with pytest.raises(DatapropsError, match=r"scans\.npy"):
        open_source(str(tmp_path / "scans.npy")).scan()


@pytest.mark.parametrize("manifest", [False, True])
def test_a_path_that_is_not_utf8_costs_no_other_row(manifest, tmp_path):
    paths = [b"cat.png", b"caf\xe9.png"]
    texts = pa.array(paths, pa.binary()).cast(pa.string(), safe=False)
    pictures = [encoded(np.full((5, 5), value, np.uint8)) for value in (10, 200)]
    if manifest:
        for path, picture in zip(paths, pictures, strict=True):
            (tmp_path / os.fsdecode(path)).write_bytes(picture)
        table = pa.table({"path": texts, "label": ["a", "b"]})
    else:
        images = pa.StructArray.from_arrays([pa.array(pictures, pa.binary()), texts], ["bytes", "path"])
        table = pa.table({"image": images, "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "scans.parquet")
    source = open_source(str(tmp_path / "scans.parquet"))
    found = source.scan()
    assert len(found) == 2
    assert sum("caf\\xe9" in path for path in found["path"]) == 1
    assert sorted(source.read(key) for key in found["key"]) == sorted(pictures)


def test_an_audit_with_one_file_that_panics_ends_with_a_finding(monkeypatch, tmp_path):
    random_folder(tmp_path / "scans", {"cat": 6, "dog": 6})
    (tmp_path / "scans/dog/slice.dcm").write_bytes(CT)
    monkeypatch.setattr("pydicom.pixels.pixel_array", raising(PanicException("out of bounds")))
    summary = audit(tmp_path / "scans", store=str(tmp_path / "store"), size=8, estimators=("mle",), k=4, probe=False)
    assert summary["n_images"] == 13
    images = pd.read_parquet(Path(summary["results"]) / "images.parquet")
    assert images.loc[images["error"].notna(), "path"].tolist() == ["dog/slice.dcm"]


CASES = Path(__file__).parents[2] / "shared/cases/broken"


@pytest.mark.skipif(not CASES.is_dir(), reason=f"the broken files are not at hand ({CASES})")
@pytest.mark.parametrize("name", ["rle", "oserr"])
def test_damaged_files_as_they_were_found(name, tmp_path):
    summary = audit(CASES / name, store=str(tmp_path / "store"), size=8, estimators=("mle",), k=4, probe=False)
    images = pd.read_parquet(Path(summary["results"]) / "images.parquet")
    assert all("bad" in path for path in images.loc[images["error"].notna(), "path"])
    assert images["error"].notna().any()

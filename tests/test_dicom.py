"""DICOM: pixels against pydicom's own functions, windows, whose they are, and what must never be written."""

from __future__ import annotations

import io
import logging
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut, convert_color_space
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dataprops.audit import audit
from dataprops.errors import DatapropsError
from dataprops.imaging import dicom, dicom_frames, dicom_header, dicom_identity
from dataprops.imaging.decode import PASSING, Preprocess, UnreadableImage, decode, quiet
from dataprops.imaging.levels import percentile_levels
from dataprops.imaging.windows import PRESETS, window_key, window_numbers
from dataprops.sources import SourceOptions, open_source
from dataprops.sources.patients import group_of
from dataprops.store.decoding import decode_batch, plan_batches
from dataprops.store.folder import open_salt, open_store
from dataprops.store.shards import open_shards
from tests.make_dicoms import SERIES, STUDY, dicom_bytes

RAMP = np.arange(-1000, 1000, 4, np.int16).reshape(20, 25)
SALT = "ab" * 32


def reference(data: bytes) -> np.ndarray:
    """What pydicom makes of the middle frame: modality LUT, file's window, full range to [0, 255]; None where it has no window."""
    header = pydicom.dcmread(io.BytesIO(data), force=True)
    frames = int(header.get("NumberOfFrames") or 1)
    dicom_frames.lift_frame(header, frames // 2)
    stored = pixel_array(header, index=frames // 2)
    bits = header.get("BitsStored", 8 * stored.dtype.itemsize)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, header)
        return colours / (257 if colours.dtype == np.uint16 else 1)
    if header.SamplesPerPixel == 3:
        return stored * (255 / (2.0**bits - 1))
    real = apply_modality_lut(stored, header)
    if "BitsStored" not in header:  # floats: pydicom maps a window to the range of the stored bits
        header.BitsStored, header.PixelRepresentation = bits, 0
    if "WindowCenter" in header or header.get("VOILUTSequence"):
        shown = apply_voi_lut(real, header)
        low, high = (0, 2**bits - 1) if header.PixelRepresentation == 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        if "RescaleSlope" in header and not header.get("VOILUTSequence"):
            low, high = (float(end * header.RescaleSlope + header.RescaleIntercept) for end in (low, high))
        levels = (shown.astype(float) - low) / (high - low) * 255
    elif bits <= 8 and stored.dtype == np.uint8 and "RescaleSlope" not in header:
        levels = stored * (255 / (2**bits - 1))
    else:
        low, high = (-160, 239) if header.get("Modality") == "CT" else percentile_levels(real)
        levels = np.clip((real.astype(float) - low) / (high - low), 0, 1) * 255
    return 255 - levels if header.PhotometricInterpretation == "MONOCHROME1" else levels


BROKEN = {
    "ExplVR_BigEndNoMeta.dcm": "without pixels",
    "ExplVR_LitEndNoMeta.dcm": "without pixels",
    "JPEG-lossy.dcm": "no decoder reads",
    "JPEG2000-embedded-sequence-delimiter.dcm": "far more pixels",
    "MR_truncated.dcm": "truncated: 8,130 of 8,192",
    "UN_sequence.dcm": "without pixels",
    "badVR.dcm": "how large",
    "emri_small_jpeg_2k_lossless_too_short.dcm": "without pixels",
    "liver_deflate.dcm": "transfer syntax",
    "liver_nonbyte_aligned_deflate.dcm": "transfer syntax",
    "liver_nonbyte_aligned_rle.dcm": "no decoder reads",
    "liver_rle.dcm": "no decoder reads",
    "meta_missing_tsyntax.dcm": "how large",
    "nested_priv_SQ.dcm": "how large",
    "no_meta.dcm": "not an image",
    "no_meta_group_length.dcm": "without pixels",
    "priv_SQ.dcm": "without pixels",
    "reportsi.dcm": "without pixels",
    "reportsi_with_empty_number_tags.dcm": "without pixels",
    "rtplan.dcm": "RT Plan Storage",
    "rtplan_truncated.dcm": "RT Plan Storage",
    "rtstruct.dcm": "RT Structure Set",
    "test-SR.dcm": "SR Storage",
}
# lossless and 12-bit JPEG: the extra is asked for where it is missing, even for the one that it cannot read either
GPL = {"JPEG-LL.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm", "SC_rgb_jpeg_gdcm.dcm"}


@pytest.mark.parametrize("name", ["dicom_samples", "siim_ct_dicom"])
def test_real_files_decode_as_pydicom_has_them_or_say_why_not(real_data: Callable[[str], Path], name: str) -> None:
    seen = 0
    for file in sorted(real_data(name).rglob("*.dcm")):
        data = file.read_bytes()
        try:
            image = decode(data)
        except UnreadableImage as reason:
            allowed = [BROKEN.get(file.name), "dicom-gpl" if file.name in GPL else None]
            assert any(words and words in str(reason) for words in allowed), f"{file.name}: {reason}"
            continue
        assert file.name not in BROKEN
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = reference(data)
        assert image.format == "DICOM"
        np.testing.assert_allclose(image.pixels, wanted, atol=2e-3, err_msg=file.name)
        seen += 1
    assert seen >= (30 if name == "siim_ct_dicom" else 90)


def test_every_frame_of_real_files_is_the_one_pydicom_gives(real_data: Callable[[str], Path]) -> None:
    root = real_data("dicom_samples")
    source = open_source(f"dicom:{root}")
    keys = source.scan()["key"]
    assert (keys.str.startswith("emri_small.dcm#frame=")).sum() == 10
    seen = 0
    for key in keys[keys.str.contains("#")]:
        name, _, number = key.partition("#frame=")
        whole = pydicom.dcmread(root / name)
        try:
            alone = pydicom.dcmread(io.BytesIO(source.read(key)))
        except OSError:
            assert name == "emri_small_jpeg_2k_lossless_too_short.dcm"
            continue
        if name in ("liver_rle.dcm", "liver_nonbyte_aligned_rle.dcm"):  # pydicom reads neither
            continue
        np.testing.assert_array_equal(alone.pixel_array, pixel_array(whole, index=int(number) - 1), err_msg=key)
        seen += 1
    assert seen > 100


def test_hounsfield_units_through_the_default_window_and_presets() -> None:
    data = dicom_bytes(RAMP, RescaleSlope="2", RescaleIntercept="-24")
    units = RAMP * 2.0 - 24
    for window, (centre, width) in {
        "auto": PRESETS["soft-tissue"],
        "-300/600": (-300, 600),
        **PRESETS,
    }.items():
        low = centre - 0.5 - (width - 1) / 2  # PS3.3 C.11.2.1.2.1
        wanted = np.clip((units - low) / (width - 1), 0, 1) * 255
        np.testing.assert_allclose(decode(data, window).pixels, wanted, atol=1e-3)
    low, high = np.percentile(units, (0.5, 99.5))
    wanted = np.clip((units - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(decode(data, "percentiles").pixels, wanted, atol=1e-3)
    np.testing.assert_allclose(decode(data, "file").pixels, (RAMP + 32768.0) / 65535 * 255, atol=1e-3)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_window_of_the_file_is_taken_first(function: str) -> None:
    own = {"WindowCenter": [100, -600], "WindowWidth": [350, 1500], "VOILUTFunction": function}
    data = dicom_bytes(RAMP, RescaleSlope="1", RescaleIntercept="-24", **own)
    np.testing.assert_allclose(decode(data).pixels, reference(data), atol=1e-3)
    np.testing.assert_array_equal(decode(data).pixels, decode(data, "file").pixels)
    assert not np.array_equal(decode(data).pixels, decode(data, "soft-tissue").pixels)


def test_a_preset_in_hounsfield_units_leaves_other_modalities_alone() -> None:
    data = dicom_bytes(RAMP, Modality="MR")
    np.testing.assert_array_equal(decode(data, "lung").pixels, decode(data, "auto").pixels)
    assert not np.array_equal(decode(data, "-600/1500").pixels, decode(data, "auto").pixels)


def test_padding_takes_no_part_in_percentiles() -> None:
    padded = RAMP.copy()
    padded[:10] = -2000
    data = dicom_bytes(padded, Modality="MR", PixelPaddingValue=-2000)
    low, high = np.percentile(RAMP[10:], (0.5, 99.5))
    np.testing.assert_allclose(
        decode(data).pixels[10:], np.clip((RAMP[10:] - low) / (high - low), 0, 1) * 255, atol=1e-3
    )
    assert (decode(data).pixels[:10] == 0).all()


def test_monochrome1_is_inverted() -> None:
    grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    one = decode(dicom_bytes(grey, Modality="CR", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(one.pixels, 255 - grey)
    assert one.mode == "MONOCHROME1;8"
    two = decode(dicom_bytes(RAMP)).pixels
    np.testing.assert_allclose(decode(dicom_bytes(RAMP, PhotometricInterpretation="MONOCHROME1")).pixels, 255 - two)


def test_colour_palettes_and_ybr() -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (8, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(decode(dicom_bytes(colours)).pixels, colours)
    ybr = convert_color_space(colours, "RGB", "YBR_FULL")
    got = decode(dicom_bytes(ybr, PhotometricInterpretation="YBR_FULL")).pixels
    np.testing.assert_array_equal(got, convert_color_space(ybr, "YBR_FULL", "RGB"))
    assert np.abs(got.astype(int) - colours).max() <= 2
    index = rng.integers(0, 4, (8, 6)).astype(np.uint8)
    tables = {name: rng.integers(0, 65536, 4).astype(np.uint16) for name in ("Red", "Green", "Blue")}
    palette = {f"{name}PaletteColorLookupTableData": values.tobytes() for name, values in tables.items()}
    palette |= {f"{name}PaletteColorLookupTableDescriptor": [4, 0, 16] for name in tables}
    got = decode(dicom_bytes(index, PhotometricInterpretation="PALETTE COLOR", **palette)).pixels
    wanted = np.stack([values[index] for values in tables.values()], axis=-1) / 257
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_frames_of_a_file_one_by_one_or_the_middle_one(tmp_path: Path) -> None:
    frames = np.stack([RAMP + 30 * number for number in range(5)]).astype(np.int16)
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "cine.dcm").write_bytes(dicom_bytes(frames))
    (tmp_path / "set" / "a" / "one.dcm").write_bytes(dicom_bytes(RAMP))
    single = [decode(dicom_bytes(frame)).pixels for frame in frames]
    folder = open_source(str(tmp_path / "set"))
    assert folder.scan()["key"].tolist() == ["a/cine.dcm", "a/one.dcm"]
    np.testing.assert_array_equal(decode(folder.read("a/cine.dcm")).pixels, single[2])

    def keys(*rules: str) -> list[str]:
        return open_source(f"dicom:{tmp_path / 'set'}", SourceOptions(rules=rules)).scan()["key"].tolist()

    assert keys() == [*(f"a/cine.dcm#frame={number}" for number in range(1, 6)), "a/one.dcm"]
    assert keys("frames=2") == [*(f"a/cine.dcm#frame={number}" for number in (1, 3, 5)), "a/one.dcm"]
    assert keys("frames=middle") == ["a/cine.dcm#frame=3", "a/one.dcm"]
    source = open_source(f"dicom:{tmp_path / 'set'}")
    for number, wanted in enumerate(single, 1):
        np.testing.assert_array_equal(decode(source.read(f"a/cine.dcm#frame={number}")).pixels, wanted)
    with pytest.raises(OSError, match="no such frame"):
        source.read("a/cine.dcm#frame=6")
    with pytest.raises(DatapropsError, match="every N-th"):
        keys("frames=some")
    with pytest.raises(DatapropsError, match="PatientName"):
        keys("label=PatientName")
    table = open_source(f"dicom:{tmp_path / 'set'}", SourceOptions(rules=("label=Modality",))).scan()
    assert set(table["label"]) == {"CT"} and table["group"].isna().all()


def test_rescale_and_window_of_a_frame_come_from_its_functional_groups() -> None:
    def groups(intercept: float, centre: float) -> pydicom.Dataset:
        rescale, window, group = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, intercept, "HU"
        window.WindowCenter, window.WindowWidth = centre, 100
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [rescale], [window]
        return group

    frames = np.stack([RAMP] * 3)
    per_frame = [groups(-10 * number, 5 * number) for number in range(3)]
    data = dicom_bytes(frames, PerFrameFunctionalGroupsSequence=per_frame)
    wanted = dicom_bytes(RAMP, RescaleSlope="1", RescaleIntercept="-10", WindowCenter="5", WindowWidth="100")
    np.testing.assert_array_equal(decode(data).pixels, decode(wanted).pixels)
    last = dicom_bytes(RAMP, RescaleSlope="1", RescaleIntercept="-20", WindowCenter="10", WindowWidth="100")
    np.testing.assert_array_equal(decode(dicom_frames.Frames(data).file(2)).pixels, decode(last).pixels)


def test_files_are_known_by_their_first_bytes_whatever_they_are_called(tmp_path: Path) -> None:
    data = dicom_bytes(RAMP)
    header = pydicom.dcmread(io.BytesIO(data))
    header.preamble, header.file_meta = None, FileMetaDataset()
    bare = {}
    for implicit in (True, False):
        out = io.BytesIO()
        pydicom.dcmwrite(out, header, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
        bare[implicit] = out.getvalue()
        assert out.getvalue()[:4] == b"\x08\x00\x16\x00"
    files = {"a/1.png": data, "a/1.2.840.77": data, "b/IM0001": data, "b/scan.ima": data, "b/implicit": bare[True]}
    files |= {"b/explicit.dcm": bare[False]}
    others = {"b/notes.txt": b"x", "b/README": b"hello", "b/DICOMDIR": data, "b/volume.nii": b"x"}
    for name, content in (files | others).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    source = open_source(str(tmp_path))
    table = source.scan()
    assert sorted(table["key"]) == sorted(files)
    assert sorted(table.attrs["ignored"]) == sorted(others)
    for key in table["key"]:
        image = decode(source.read(key))
        np.testing.assert_array_equal(image.pixels, decode(data).pixels, err_msg=key)


def test_faults_are_reasons(tmp_path: Path) -> None:
    whole = dicom_bytes(RAMP)
    for data, words in {
        dicom_bytes(RAMP, PixelData=None): "without pixels (CT Image Storage)",
        dicom_bytes(RAMP, Rows=200): "truncated: 1,000 of 10,000 bytes",
        dicom_bytes(RAMP, Rows=None): "how large",
        dicom_bytes(RAMP, PhotometricInterpretation="CMYK", SamplesPerPixel=4, Rows=5): "damaged",
        whole[:140]: "without pixels",
    }.items():
        with pytest.raises(UnreadableImage, match=words.replace("(", r"\(").replace(")", r"\)")):
            decode(data)
    rng = np.random.default_rng(1)
    for _ in range(150):  # damage anywhere: an image or a reason, nothing else
        broken = bytearray(whole[: int(rng.integers(133, len(whole)))])
        for at in rng.integers(132, len(broken), 4):
            broken[at] = int(rng.integers(256))
        try:
            decode(bytes(broken))
        except UnreadableImage as reason:
            assert str(reason)


def test_bombs_are_refused_before_room_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_header, "MAX_INFLATED", 2**26)
    huge = {"Rows": 65535, "Columns": 65535}
    many = dicom_bytes(RAMP, NumberOfFrames=2**31 - 1)
    zeros = dicom_bytes(np.zeros((8, 8), np.int16), syntax=DeflatedExplicitVRLittleEndian)
    assert decode(zeros).pixels.max() == decode(zeros).pixels.min()
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = zeros.index(DeflatedExplicitVRLittleEndian.encode()) + len(DeflatedExplicitVRLittleEndian)
    meta_end = 132 + 12 + int.from_bytes(zeros[140:144], "little")
    assert start <= meta_end
    inflated = zlib.decompress(zeros[meta_end:], -zlib.MAX_WBITS)
    bomb = zeros[:meta_end] + deflate.compress(inflated + bytes(dicom_header.MAX_INFLATED)) + deflate.flush()
    stream = b"\xff\xd8\xff\xc0\x00\x0b\x08\xff\xff\xff\xff\x01\x01\x11\x00" + bytes(50)
    assert dicom.codestream_size(stream) == (65535, 65535)
    jpeg = pydicom.encaps.encapsulate([stream])
    decode(dicom_bytes(RAMP))  # what is imported at first use is no allocation of a bomb
    tracemalloc.start()
    for data, words in (
        (dicom_bytes(RAMP, **huge), "far more pixels"),
        (many, "truncated"),
        (bomb, "bomb"),
        (dicom_bytes(RAMP, syntax="1.2.840.10008.1.2.4.50", PixelData=jpeg), "far more pixels"),
    ):
        with pytest.raises(UnreadableImage, match=words):
            decode(data)
        (tmp_path / "many.dcm").write_bytes(data)
        assert len(open_source(f"dicom:{tmp_path}").scan()) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * 2**20


def test_a_missing_plug_in_is_named_and_the_file_is_tried_again_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "1.dcm").write_bytes(dicom_bytes(RAMP))
    source, preprocess, folder = open_source(str(tmp_path / "set")), Preprocess(16), tmp_path / "shards" / "x"

    def missing(data: bytes, window: str) -> None:
        raise dicom_header.UnreadableDicom(dicom.NEEDS_EXTRA)

    def run() -> str | None:
        from dataprops.store.hashing import hash_image

        content = hash_image(source.read("1.dcm"))
        for batch in plan_batches(folder, ["1.dcm"], [content], preprocess):
            decode_batch(source, batch, preprocess, str(folder))
        index = open_shards(folder)
        return index.table["error"][index.position[content]]

    with monkeypatch.context() as patch:
        patch.setattr(dicom, "read_grey", missing)
        assert run() in PASSING
    assert pd.isna(run())


def test_windows_are_checked_and_the_default_keeps_old_stores_valid() -> None:
    assert Preprocess(32).key == Preprocess(32, window="auto").key == "32x32x1-full-range-v1"
    assert (
        Preprocess(32, window="brain").key == Preprocess(32, window="40/80").key == f"{Preprocess(32).key}-window-40_80"
    )
    assert window_key("percentiles") == "percentiles" and window_numbers("-600/1500") == (-600, 1500)
    for wrong in ("brian", "40", "40/0", "40/1", "40/-80", "nan/80", "40/80/1", ""):
        with pytest.raises(DatapropsError, match="CENTRE/WIDTH"):
            Preprocess(32, window=wrong)


def test_ids_are_hashes_of_one_store(tmp_path: Path) -> None:
    data = dicom_bytes(RAMP, PatientID="77-XYZ", PatientName="DOE^JANE")
    one = dicom_identity.identity(data, SALT)
    assert one == dicom_identity.identity(dicom_bytes(RAMP + 1, PatientID="77-XYZ "), SALT)
    assert one != dicom_identity.identity(data, "cd" * 32)
    assert (
        one.patient is not None
        and one.patient != dicom_identity.identity(dicom_bytes(RAMP, PatientID="78"), SALT).patient
    )
    other = dicom_identity.identity(dicom_bytes(RAMP, PatientID="77-XYZ", IssuerOfPatientID="B"), SALT)
    assert other.patient != one.patient and other.study == one.study
    for nobody in (None, "", "ANONYMOUS"):
        assert dicom_identity.identity(dicom_bytes(RAMP, PatientID=nobody), SALT).patient is None
    assert dicom_identity.identity(data, "") == (None, None, None, 1, None, None)
    stores = [open_store(tmp_path / name) for name in ("one", "two")]
    salts = [open_salt(store) for store in stores]
    assert salts[0] != salts[1] and open_salt(stores[0]) == salts[0]
    (stores[0] / "salt").write_text("?")
    with pytest.raises(DatapropsError, match="salt is damaged"):
        open_salt(stores[0])


def test_a_patient_in_two_splits_is_found_and_no_name_is_ever_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    secrets = ["DOE", "JANE", "19510203", "PAT-4711", "PAT-4712", STUDY, SERIES, "HOUSE^GREGORY", "PRINCETON"]
    number = 0
    for split, patients in {"train": ["PAT-4711"] * 6, "test": ["PAT-4712"] * 5 + ["PAT-4711"]}.items():
        for patient in patients:
            pixels = rng.integers(-1000, 1000, (16, 16)).astype(np.int16)
            data = dicom_bytes(
                pixels,
                PatientID=patient,
                PatientName="DOE^JANE",
                PatientBirthDate="19510203",
                ReferringPhysicianName="HOUSE^GREGORY",
                InstitutionName="PRINCETON",
            )
            if number == 3:  # no date: pydicom quotes what it complains of
                data = data.replace(b"19510203", b"DOE^JANE")
            file = tmp_path / "set" / split / ("x" if number % 2 else "y") / f"{number:02d}.dcm"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            number += 1
    broken = dicom_bytes(RAMP, PatientName="DOE^JANE", PatientID="PAT-4711", NumberOfFrames=3)
    assert b"IS\x02\x003 " in broken
    (file.parent / "broken.dcm").write_bytes(broken.replace(b"IS\x02\x003 ", b"IS\x02\x00JA"))
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        summaries = [
            audit(tmp_path / "set", store=str(tmp_path / name), size=16, k=3, name="d") for name in ("a", "a", "b")
        ]
    assert [s["findings"]["group_leakage"] for s in summaries] == [1, 1, 1]
    assert summaries[0]["findings"]["unreadable"] == 1
    tables = [pd.read_parquet(Path(s["results"]) / "images.parquet") for s in summaries]
    assert tables[0]["group"].equals(tables[1]["group"])  # one store gives stable hashes
    assert not set(tables[0]["group"].dropna()) & set(tables[2]["group"].dropna())
    assert tables[0]["group"].nunique() == 2 and tables[0]["study"].nunique() == 1
    texts = [caplog.text, *(str(warning.message) for warning in told), str(summaries)]
    for file in (path for name in ("a", "b") for path in (tmp_path / name).rglob("*") if path.is_file()):
        content = file.read_bytes()
        texts.append(content.decode("latin-1"))
        if file.suffix == ".parquet":
            texts.append(repr(pq.read_table(file).to_pydict()))
    for secret in secrets:
        assert not [text[:100] for text in texts if secret in text], secret


def test_scanners_are_named_and_sites_are_hashes() -> None:
    def device(**elements: str) -> tuple[str | None, str | None]:
        found = dicom_identity.identity(dicom_bytes(RAMP, **elements), SALT)
        return found.scanner, found.site

    assert device() == (None, None)
    assert device(Manufacturer="GE MEDICAL  SYSTEMS ", ManufacturerModelName="LightSpeed VCT")[0] == (
        "GE MEDICAL SYSTEMS LightSpeed VCT"
    )
    assert device(Manufacturer="Philips", ManufacturerModelName="PHILIPS Ingenuity")[0] == "PHILIPS Ingenuity"
    assert device(Manufacturer="ANONYMOUS", ManufacturerModelName="") == (None, None)
    hidden, _ = device(Manufacturer="DOE^JANE", ManufacturerModelName="X1")
    assert hidden is not None and "DOE" not in hidden and hidden.endswith(" X1")
    site, same, station = (
        device(**elements)[1]
        for elements in (
            {"InstitutionName": "PRINCETON"},
            {"InstitutionName": "Princeton ", "StationName": "CT2"},
            {"StationName": "CT2"},
        )
    )
    assert site is not None and "PRINCETON" not in site.upper()
    assert site == same and station is not None and station != site


def test_a_scanner_and_a_site_that_tell_the_class_are_named(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        sick = number % 2
        file = tmp_path / "set" / ("well", "sick")[sick] / f"{number}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(
            dicom_bytes(
                rng.integers(-1000, 1000, (16, 16)).astype(np.int16),
                PatientID=str(100 + number),
                Manufacturer="SIEMENS" if sick else "Philips",
                ManufacturerModelName="Emotion 16" if sick else "iCT",
                InstitutionName="PRINCETON" if number % 8 in (1, 3, 5, 6, 7) else "OUTSIDE",  # of the sick all
            )
        )
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=16, k=3)
    found = pd.read_parquet(Path(summary["results"]) / "findings.parquet").query("kind == 'shortcut'")["detail"]
    assert found.str.contains("“scanner (DICOM)” alone predicts the class for 100 %", regex=False).sum() == 1
    with_what = "“Philips iCT”: well (all of 20), “SIEMENS Emotion 16”: sick (all of 20)"
    assert found.str.contains(with_what, regex=False).sum() == 1
    assert found.str.contains("“site (DICOM)” alone predicts the class", regex=False).sum() == 1
    assert "PRINCETON" not in "".join(found)
    alert = next(alert for alert in summary["alerts"] if alert["name"] == "column_shortcut")
    assert "“scanner (DICOM)”" in alert["sentence"]
    again = audit(tmp_path / "set", store=str(tmp_path / "store"), size=16, k=3)  # nothing is read again
    assert again["findings"]["shortcut"] == summary["findings"]["shortcut"]


def test_libraries_are_quiet_while_files_are_read_and_only_then(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("pydicom.pixels.utils")
    with quiet():
        logger.error("DOE^JANE")
    logger.error("heard")
    assert "DOE" not in caplog.text and "heard" in caplog.text


def test_files_of_several_frames_are_a_finding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(6):
        frames = rng.integers(-1000, 1000, (3 if number == 0 else 1, 16, 16)).astype(np.int16)
        file = tmp_path / "set" / "xy"[number % 2] / f"{number}.dcm"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dicom_bytes(frames, PatientID=str(100 + number)))
    summary = audit(tmp_path / "set", store=str(tmp_path / "store"), size=16, k=3, window="lung")
    assert summary["findings"]["several_frames"] == 1
    assert summary["preprocess"]["window"] == "lung"
    assert "window of DICOM and NIfTI: lung" in Path(summary["report"]).read_text(encoding="utf-8")
    found = pd.read_parquet(Path(summary["results"]) / "findings.parquet").set_index("kind")
    assert "holds 3 frames" in found.at["several_frames", "detail"]


def prints_of(patients: list[str | None], studies: list[str | None]) -> pd.DataFrame:
    series = [f"series {number}" for number in range(len(studies))]
    return pd.DataFrame({"patient": patients, "study": studies, "series": series}, dtype=object)


def test_groups_are_what_was_asked_for() -> None:
    prints = prints_of(["p", "p", "q", None], ["s", "t", "u", None])
    assert group_of(prints, "none")[0].tolist() == [None] * 4
    assert group_of(prints, "patient")[0].tolist() == ["p", "p", "q", None]
    assert group_of(prints, "study")[0].tolist() == ["s", "t", "u", None]
    assert group_of(prints, "series")[0].tolist() == prints["series"].tolist()
    assert group_of(prints)[0].tolist() == ["p", "p", "q", None]


def test_an_id_that_stands_for_everybody_is_no_patient_and_a_study_of_everybody_no_study() -> None:
    anonymous = prints_of(["ANON"] * 20, [f"study {number // 2}" for number in range(20)])
    found, told = group_of(anonymous)
    assert found.tolist() == anonymous["study"].tolist()
    assert [one.value for one in told] == ["studies in place of patients"]
    nothing = prints_of([None] * 20, ["1.2.3"] * 20)
    found, told = group_of(nothing)
    assert found.tolist() == nothing["series"].tolist()
    assert [one.value for one in told] == ["series in place of studies"]
    assert "one study id stands for 20 of 20 images" in told[-1].why

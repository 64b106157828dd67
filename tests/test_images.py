"""Images: every kind of file becomes the array that its numbers say, computed here without the code under test."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from dataprops.errors import DatapropsError
from dataprops.findings import several_frames
from dataprops.imaging import decode as decoding
from dataprops.imaging.decode import (
    Preprocess,
    RawImage,
    UnreadableImage,
    canonical,
    decode,
    default_channels,
    frames_of,
    is_grey,
)
from dataprops.sources import open_source
from dataprops.store.hashing import fingerprint_batch
from tests.make_images import encoded

RANDOM = np.random.default_rng(7)
GREY = RANDOM.integers(0, 256, (5, 7), np.uint8)
COLOUR = RANDOM.integers(0, 256, (5, 7, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (5, 7), np.uint8)
WIDE = RANDOM.integers(0, 65536, (5, 7), np.uint16)
FLOATS = RANDOM.random((5, 7), np.float32)


def raw(pixels: np.ndarray) -> RawImage:
    return RawImage(pixels, "array", "?", pixels.shape[1], pixels.shape[0])


def over_black(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return values * (alpha / 255.0 if values.ndim == 2 else alpha[..., None] / 255.0)


def palette_image(colours: np.ndarray, codes: np.ndarray) -> Image.Image:
    image = Image.frombytes("P", codes.shape[::-1], codes.tobytes())
    image.putpalette(colours.tobytes())
    return image


# every mode


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_8_bit_files_keep_their_numbers(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    got = decode(encoded(Image.fromarray(COLOUR), kind, **options))
    np.testing.assert_array_equal(got.pixels, COLOUR)
    assert got[1:5] == (kind, "RGB", 7, 5)
    if kind != "WEBP":  # WebP has no grey
        got = decode(encoded(Image.fromarray(GREY), kind))
        np.testing.assert_array_equal(got.pixels, GREY)
        assert got[1:5] == (kind, "L", 7, 5)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(GREY), "TIFF", compression=compression)).pixels, GREY)


def test_one_bit_becomes_0_and_255() -> None:
    bits = GREY > 100
    got = decode(encoded(Image.fromarray(bits)))
    np.testing.assert_array_equal(got.pixels, np.where(bits, 255, 0))
    assert got.mode == "1"


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_black(mode: str) -> None:
    values = GREY if mode == "LA" else COLOUR
    got = decode(encoded(Image.fromarray(np.dstack([values, ALPHA]), mode)))
    assert got.mode == mode
    assert got.pixels.shape == values.shape
    np.testing.assert_allclose(got.pixels, over_black(values, ALPHA), atol=1)
    opaque = decode(encoded(Image.fromarray(np.dstack([values, np.full_like(ALPHA, 255)]), mode)))
    np.testing.assert_array_equal(opaque.pixels, values)
    clear = decode(encoded(Image.fromarray(np.dstack([values, np.zeros_like(ALPHA)]), mode)))
    assert not clear.pixels.any()


def test_palettes_are_looked_up() -> None:
    colours = RANDOM.integers(0, 256, (256, 3), np.uint8)
    got = decode(encoded(palette_image(colours, GREY)))
    assert got.mode == "P"
    np.testing.assert_array_equal(got.pixels, colours[GREY])


def test_transparent_palette_entries_are_laid_over_black() -> None:
    colours = RANDOM.integers(0, 256, (256, 3), np.uint8)
    one = decode(encoded(palette_image(colours, GREY), transparency=int(GREY[2, 3])))
    expected = colours[GREY]
    expected[np.equal(GREY, GREY[2, 3])] = 0
    np.testing.assert_array_equal(one.pixels, expected)
    each = decode(encoded(palette_image(colours, GREY), transparency=bytes(range(256))))
    np.testing.assert_allclose(each.pixels, over_black(colours[GREY], GREY), atol=1)


def test_a_transparent_colour_becomes_black() -> None:
    grey = decode(encoded(Image.fromarray(GREY), transparency=int(GREY[0, 0])))
    np.testing.assert_array_equal(grey.pixels, np.where(np.equal(GREY, GREY[0, 0]), 0, GREY))
    key = tuple(int(value) for value in COLOUR[1, 2])
    colour = decode(encoded(Image.fromarray(COLOUR), transparency=key))
    np.testing.assert_array_equal(colour.pixels, np.where(np.equal(COLOUR, COLOUR[1, 2]).all(-1)[..., None], 0, COLOUR))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_full_range_becomes_the_full_range(kind: str) -> None:
    values = WIDE.copy()
    values[0, :5] = 0, 257, 65535, 128 * 257, 1000
    got = decode(encoded(Image.fromarray(values), kind))
    assert got.mode == "I;16"
    np.testing.assert_allclose(got.pixels, values / 257, atol=1e-4)
    grey, peak = canonical(raw(np.repeat(got.pixels[:1, :4], 4, axis=0)), Preprocess(4))
    np.testing.assert_array_equal(grey[0, :, 0], [0, 1, 255, 128])
    assert peak == 255


def test_16_bit_tiff_of_the_other_byte_order() -> None:
    big = Image.frombytes("I;16B", (7, 5), WIDE.astype(">u2").tobytes())
    np.testing.assert_allclose(decode(encoded(big, "TIFF")).pixels, WIDE / 257, atol=1e-4)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (FLOATS, lambda x: x * 255),
        (FLOATS * 200, lambda x: x),
        (FLOATS * 4000 - 1000, lambda x: (x - x.min()) / (x.max() - x.min()) * 255),
        (FLOATS - 0.5, lambda x: (x - x.min()) / (x.max() - x.min()) * 255),
        (np.full((5, 7), -3, np.float32), np.zeros_like),
        (np.full((5, 7), 1, np.float32), lambda x: x * 255),
    ],
)
def test_floats_are_scaled_by_their_range(values: np.ndarray, rule: Callable[[np.ndarray], np.ndarray]) -> None:
    got = decode(encoded(Image.fromarray(values), "TIFF"))
    assert (got.mode, got.pixels.dtype) == ("F", np.float32)
    np.testing.assert_allclose(got.pixels, rule(values.astype(np.float64)), atol=1e-3)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (GREY.astype(np.int32), lambda x: x),
        ((GREY > 100).astype(np.int32), lambda x: x),  # a mask of 0 and 1 stays 0 and 1: it is no float
        (GREY.astype(np.int32) * 9 - 1024, lambda x: (x - x.min()) / (x.max() - x.min()) * 255),
    ],
)
def test_32_bit_integers_are_scaled_by_their_range(values: np.ndarray, rule: Callable) -> None:
    got = decode(encoded(Image.fromarray(values), "TIFF"))
    assert got.mode == "I"
    np.testing.assert_allclose(got.pixels, rule(values.astype(np.float64)), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_make_an_image_unreadable(bad: float) -> None:
    values = FLOATS.copy()
    values[2, 2] = bad
    with pytest.raises(UnreadableImage, match="NaN or infinite"):
        decode(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    image = Image.frombytes(
        mode, (7, 5), RANDOM.integers(0, 256, 7 * 5 * len(Image.new(mode, (1, 1)).getbands()), np.uint8)
    )
    data = encoded(image, "TIFF")
    try:
        with Image.open(io.BytesIO(data)) as written:
            written.load()
    except OSError:
        pytest.skip("this Pillow cannot read the TIFF of YCbCr that it writes")
    got = decode(data)
    assert got.mode == mode
    assert got.pixels.shape == (5, 7, 3)
    if mode == "CMYK":
        inks = np.asarray(image).astype(float)
        expected = (255 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
        np.testing.assert_allclose(got.pixels, expected, atol=1.5)


def test_jpegs_of_grey_colour_and_cmyk() -> None:
    smooth = np.add.outer(np.arange(0, 160, 5), np.arange(0, 80, 5)).astype(np.uint8)
    got = decode(encoded(Image.fromarray(smooth), "JPEG", quality=95))
    assert got[1:5] == ("JPEG", "L", 16, 32)
    np.testing.assert_allclose(got.pixels.astype(int), smooth, atol=4)
    got = decode(encoded(Image.fromarray(np.dstack([smooth] * 3)), "JPEG", quality=95))
    assert (got.mode, got.pixels.shape) == ("RGB", (32, 16, 3))
    np.testing.assert_allclose(got.pixels.astype(int), np.dstack([smooth] * 3), atol=4)
    inks = np.dstack([smooth, smooth // 2, smooth // 3, smooth // 4])
    got = decode(encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100, subsampling=0))
    assert got.mode == "CMYK"
    expected = (255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255
    np.testing.assert_allclose(got.pixels, expected, atol=6)


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    got = decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    np.testing.assert_array_equal(got.pixels, GREY)


@pytest.mark.parametrize(
    ("form", "frames"), [("TIFF", 3), ("GIF", 3), ("PNG", 3), ("WEBP", 3), ("BMP", 1), ("JPEG", 1)]
)
def test_how_many_frames_a_file_holds_is_known(form: str, frames: int) -> None:
    pictures = [Image.fromarray(np.roll(GREY, shift)) for shift in range(3)]
    data = encoded(pictures[0], form, **({"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}))
    assert frames_of(data) == frames
    assert frames_of(encoded(pictures[0], form)) == 1
    assert frames_of(data[: len(data) // 3]) >= 1  # a damaged file is told by decoding it


def test_frames_that_were_not_looked_at_are_a_finding(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.roll(GREY, shift)) for shift in range(4)]
    for name in ("one", "two"):
        (tmp_path / f"{name}.tif").write_bytes(
            encoded(pictures[0], "TIFF", save_all=name == "two", append_images=pictures[1:])
        )
    batch = fingerprint_batch(open_source(str(tmp_path)), 0, ["one.tif", "two.tif"])
    assert batch.frames == [1, 4]
    images = pd.DataFrame(
        {"image": [0, 1], "path": ["one", "two"], "pixels": ["a", "b"], "format": "TIFF", "frames": [1, 4]}
    )
    (row,) = several_frames.find(SimpleNamespace(images=images))  # type: ignore[arg-type]
    assert row[2] == "“two” holds 4 frames; the first one was used."


@pytest.mark.parametrize(("step", "mean"), [(None, 34.546875), (0, 1.0), (1, 1.0), (255, 255.0)])
def test_steps_of_a_jpeg_are_those_of_its_first_table_and_none_is_below_1(step: int | None, mean: float) -> None:
    """A table of zeros, which no encoder writes, would be infinitely fine, on a scale of octaves."""
    out = io.BytesIO()
    Image.new("L", (16, 16), 90).save(out, "JPEG", quality=70)
    data = bytearray(out.getvalue())
    if step is not None:
        at = data.index(b"\xff\xdb") + 5
        data[at : at + 64] = bytes([step] * 64)
    assert decode(bytes(data)).jpeg_step == mean


def test_a_jpeg_of_several_pictures_is_its_first() -> None:
    frames = [Image.new("RGB", (16, 8), (200, 10, 10)), Image.new("RGB", (16, 8), (10, 10, 200))]
    got = decode(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert got.format in ("JPEG", "MPO")
    np.testing.assert_allclose(got.pixels[4, 8], (200, 10, 10), atol=3)


UPRIGHT = {  # EXIF orientation -> what to do with the stored pixels
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.T,
    6: lambda x: x.T[:, ::-1],
    7: lambda x: x.T[::-1, ::-1],
    8: lambda x: x.T[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    stored = np.kron(GREY[:3, :4] // 16 * 16, np.ones((8, 8), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = decode(encoded(Image.fromarray(stored), kind, exif=exif, **({"quality": 100} if kind == "JPEG" else {})))
    expected = UPRIGHT[orientation](stored)
    assert (got.height, got.width) == expected.shape
    np.testing.assert_allclose(got.pixels.astype(int), expected, atol=3 if kind == "JPEG" else 0)


# what cannot be read

PNG = encoded(Image.fromarray(RANDOM.integers(0, 256, (64, 64), np.uint8)))
JPEG = encoded(Image.fromarray(RANDOM.integers(0, 256, (64, 64), np.uint8)), "JPEG")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n0 0 9 9 rectfill\nshowpage\n"


def bomb() -> bytes:
    """A PNG whose header promises 400 million pixels."""
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 0, 0, 0, 0)
    crc = zlib.crc32(b"IHDR" + header)
    return PNG[:8] + struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", crc) + PNG[33:]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello, I am no picture", "not an image in a supported format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1f15\nsize 1907304\n", "git lfs pull"),
        (EPS, "not an image in a supported format"),
        (PNG[: len(PNG) // 2], "damaged"),
        (PNG[:20], "damaged"),
        (JPEG[: len(JPEG) // 2], "damaged"),
        (JPEG[:100], "damaged|not an image"),
        (PNG[:60] + bytes(30) + PNG[90:], "damaged"),
        (bomb(), "far more pixels"),
    ],
)
def test_what_cannot_be_read_gives_a_short_reason(data: bytes, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason) as caught:
        decode(data)
    text = str(caught.value)
    assert len(text) < 120
    assert "\n" not in text
    assert "0x" not in text
    assert "/" not in text.replace("image/", "")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(
        [
            encoded(Image.fromarray(GREY)),
            encoded(Image.fromarray(WIDE)),
            encoded(Image.fromarray(COLOUR), "JPEG"),
            encoded(Image.fromarray(COLOUR), "BMP"),
            encoded(Image.fromarray(FLOATS), "TIFF"),
            encoded(Image.fromarray(COLOUR), "WEBP"),
        ]
    ),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8),
    st.floats(0, 1),
)
def test_damaged_bytes_never_raise_anything_else(data: bytes, changes: list[tuple[float, int]], kept: float) -> None:
    broken = bytearray(data)
    for place, value in changes:
        broken[int(place * len(broken))] = value
    try:
        got = decode(bytes(broken[: int(kept * len(broken)) + 1]))
    except UnreadableImage:
        return
    assert got.pixels.shape[:2] == (got.height, got.width)


def test_large_images_are_read_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 30)  # of 35 pixels: over the limit, under twice the limit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(decode(PNG_SMALL).pixels, GREY)


PNG_SMALL = encoded(Image.fromarray(GREY))


def test_decoding_in_threads_leaves_the_filters_of_warnings_alone() -> None:
    before = list(warnings.filters)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(100):
            decode(PNG_SMALL)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# canonical images


def test_nothing_is_resized_that_has_the_size() -> None:
    square = RANDOM.integers(0, 256, (9, 9, 3), np.uint8)
    got, peak = canonical(raw(square), Preprocess(9, 3))
    np.testing.assert_array_equal(got, square)
    assert (got.dtype, peak) == (np.uint8, square.max())


def test_colour_becomes_grey_by_luma_and_grey_becomes_colour_by_repetition() -> None:
    square = RANDOM.integers(0, 256, (9, 9, 3), np.uint8)
    grey, _ = canonical(raw(square), Preprocess(9, 1))
    luma = square.astype(float) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey[..., 0], luma, atol=0.51)
    floats, _ = canonical(raw(square.astype(np.float32)), Preprocess(9, 1))
    np.testing.assert_allclose(floats[..., 0], luma, atol=0.501)
    three, _ = canonical(raw(square[..., 0]), Preprocess(9, 3))
    np.testing.assert_array_equal(three, np.repeat(square[..., :1], 3, axis=-1))
    three, _ = canonical(raw(square[..., 0].astype(np.float32)), Preprocess(9, 3))
    np.testing.assert_array_equal(three, np.repeat(square[..., :1], 3, axis=-1))


def triangle_weights(old: int, new: int) -> np.ndarray:
    """Bilinear interpolation with antialiasing, as a matrix [new, old]: a triangle as wide as the larger pixel."""
    scale = old / new
    support = max(scale, 1.0)
    centres = (np.arange(new) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(old)[None, :] + 0.5 - centres[:, None]) / support)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("height", "width", "size"), [(40, 64, 16), (7, 5, 12), (33, 33, 32), (1, 9, 4)])
@pytest.mark.parametrize("floats", [False, True])
def test_resizing_is_an_antialiased_triangle_and_stretches_to_the_square(
    height: int, width: int, size: int, floats: bool
) -> None:
    image = RANDOM.integers(0, 256, (height, width), np.uint8)
    got, _ = canonical(raw(image.astype(np.float32) if floats else image), Preprocess(size))
    expected = triangle_weights(height, size) @ image.astype(float) @ triangle_weights(width, size).T
    # uint8 is rounded after each of the two directions, float32 once
    np.testing.assert_allclose(got[..., 0], expected, atol=0.51 if floats else 1.1)


def test_8_bit_images_are_resized_as_pillow_does_it() -> None:
    image = RANDOM.integers(0, 256, (50, 30, 3), np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(canonical(raw(image), Preprocess(16, 3))[0], expected)


def test_per_image_scaling_brings_the_largest_value_of_all_channels_to_255() -> None:
    image = RANDOM.integers(0, 121, (8, 8, 3), np.uint8)
    image[3, 4] = 20, 120, 7
    got, peak = canonical(raw(image), Preprocess(8, 3, "per-image-max"))
    np.testing.assert_array_equal(got, np.rint(image * (255 / 120)).astype(np.uint8))
    assert (peak, got.max()) == (120, 255)


def test_a_black_image_stays_black() -> None:
    got, peak = canonical(raw(np.zeros((6, 6), np.uint8)), Preprocess(4, 3, "per-image-max"))
    assert (peak, got.any(), got.shape) == (0, False, (4, 4, 3))


shapes = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


@settings(max_examples=60, deadline=None)
@given(
    shapes.flatmap(lambda shape: arrays(np.uint8, shape)) | shapes.flatmap(lambda s: arrays(np.uint8, (*s, 3))),
    st.integers(1, 12),
    st.sampled_from([1, 3]),
    st.sampled_from(decoding.SCALES),
    st.booleans(),
)
def test_a_canonical_image_has_its_shape_and_stays_in_range(
    pixels: np.ndarray, size: int, channels: int, scale: str, floats: bool
) -> None:
    got, peak = canonical(raw(pixels.astype(np.float32) if floats else pixels), Preprocess(size, channels, scale))
    assert (got.shape, got.dtype) == ((size, size, channels), np.uint8)
    assert got.flags.c_contiguous
    assert 0 <= peak <= int(pixels.max())
    if scale == "full-range":
        assert got.max() == peak
        assert got.min() >= int(pixels.min()) - 1
    else:
        assert got.max() == (255 if peak else 0) or floats


# options


def test_the_key_names_every_rule() -> None:
    assert Preprocess().key == f"224x224x1-full-range-v{decoding.VERSION}"
    assert Preprocess(32, 3, "per-image-max").key == f"32x32x3-per-image-max-v{decoding.VERSION}"
    assert Preprocess(32, 3).features == 3072


@pytest.mark.parametrize(
    ("options", "word"),
    [({"size": 0}, "0"), ({"size": 4097}, "4097"), ({"channels": 2}, "2"), ({"scale": "max"}, "'max'")],
)
def test_impossible_options_are_named(options: dict, word: str) -> None:
    with pytest.raises(DatapropsError, match=word):
        Preprocess(**options)


def test_grey_is_one_channel_or_three_equal_ones() -> None:
    assert is_grey(raw(GREY))
    assert is_grey(raw(np.dstack([GREY] * 3)))
    assert not is_grey(raw(COLOUR))
    odd = np.dstack([GREY] * 3)
    odd[4, 6, 2] ^= 1
    assert not is_grey(raw(odd))


@pytest.mark.parametrize(("grey", "total", "channels"), [(0, 0, 3), (1, 1, 1), (3, 4, 1), (74, 100, 3), (0, 5, 3)])
def test_channels_follow_what_most_images_hold(grey: int, total: int, channels: int) -> None:
    assert default_channels([True] * grey + [False] * (total - grey)) == channels


# real data


@pytest.mark.parametrize(
    ("name", "channels"), [("brain_mri_yesno", 1), ("covid_cxr3", 1), ("cifar10_cat_dog", 3), ("tiny_imagenet10", 3)]
)
def test_radiology_is_grey_and_photographs_are_not(real_data, name: str, channels: int) -> None:
    source = open_source(str(real_data(name)))
    keys = source.scan()["key"].tolist()
    sample = [keys[i] for i in np.linspace(0, len(keys) - 1, 64).round().astype(int)]
    assert default_channels([is_grey(decode(source.read(key))) for key in sample]) == channels


def test_every_real_brain_image_is_read_and_its_format_is_that_of_its_bytes(real_data) -> None:
    source = open_source(str(real_data("brain_mri_yesno")))
    keys = source.scan()["key"].tolist()
    seen = [decode(source.read(key)) for key in keys]
    assert len(seen) == 253
    assert len({(image.width, image.height) for image in seen}) == 184
    odd = [key for key, image in zip(keys, seen, strict=True) if key.lower().endswith(".jpg") and image.format == "PNG"]
    assert len(odd) == 6
    assert {image.mode for image in seen} == {"L", "RGB", "RGBA", "P"}

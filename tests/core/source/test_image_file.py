from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, ImageOps

from core.source.conftest import make_frames, write_image
from toposcope.core.source.image_file import (
    MAX_PIXELS,
    Unreadable,
    read_header,
    read_pixels,
    read_tags,
    turn,
    with_orientation_upright,
)


def exif_block(orientation: int) -> bytes:
    block = Image.Exif()
    block[274] = orientation
    block[271] = "Maker"
    return block.tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_every_bit(tmp_path: Path, dtype: str, channels: int) -> None:
    plane = make_frames(1, channels=channels, dtype=dtype)[0]
    write_image(tmp_path / "a.png", plane)
    header = read_header(tmp_path / "a.png")
    assert (header.shape, header.channels, header.dtype) == (plane.shape[:2], channels, np.dtype(dtype))
    assert_array_equal(read_pixels(header), plane)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *((mode, ".png") for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
        *((mode, ".bmp") for mode in ("1", "L", "P", "RGB", "RGBA")),
        *((mode, ".webp") for mode in ("RGB", "RGBA")),
    ],
)
def test_all_lossless_kinds_of_pixels_become_grey_or_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    image = Image.fromarray(make_frames(1, channels=3)[0]).convert(mode)
    image.save(path, **({"lossless": True} if suffix == ".webp" else {}))
    with Image.open(path) as written:
        grey = written.mode in ("1", "L", "LA")
        # dropping alpha must not blend: compare the colours that are stored
        expected = np.asarray(written.convert("RGBA"))[..., :3]
    plane = read_pixels(read_header(path))
    assert plane.ndim == (2 if grey else 3)
    assert_array_equal(plane, expected[..., 0] if grey else expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits_is_spread_over_the_whole_range(tmp_path: Path, bits: int) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(1, 16) % 2**bits
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(1, -1), axis=-1)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 16, 1, bits, 0, 0, 0, 0)),
        (b"IDAT", imagecodecs.zlib_encode(b"\0" + packed.tobytes())),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", imagecodecs.zlib_crc32(name + data))
        for name, data in chunks
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert_array_equal(read_pixels(read_header(tmp_path / "a.png")), values * (255 // (2**bits - 1)))


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_rgb_and_close_to_what_was_written(tmp_path: Path, channels: int) -> None:
    plane = cv2.GaussianBlur(make_frames(1, (64, 80), channels)[0], (0, 0), 2)
    write_image(tmp_path / "a.jpg", plane, quality=98, subsampling=0)
    assert_allclose(read_pixels(read_header(tmp_path / "a.jpg")).astype(float), plane, atol=6)


@pytest.mark.parametrize("scale", [2, 4, 8])
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("channels", [1, 3])
def test_reduced_frames_are_area_averages(tmp_path: Path, scale: int, suffix: str, channels: int) -> None:
    plane = cv2.GaussianBlur(make_frames(1, (77, 130), channels)[0], (0, 0), 3)
    path = tmp_path / f"a{suffix}"
    write_image(path, plane, **({"quality": 98} if suffix == ".jpg" else {}))
    small = read_pixels(read_header(path), scale)
    assert small.shape[:2] == (-(-77 // scale), -(-130 // scale))
    rows, columns = 77 // scale, 130 // scale
    blocks = plane[: rows * scale, : columns * scale].astype(float)
    mean = blocks.reshape(rows, scale, columns, scale, -1).mean(axis=(1, 3)).squeeze()
    assert np.abs(small[:rows, :columns] - mean).max() < (1 if suffix == ".png" else 9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_agrees_with_pillow(orientation: int) -> None:
    plane = make_frames(1, (5, 7), 3)[0]
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "PNG", exif=exif_block(orientation))
    with Image.open(file) as image:
        assert_array_equal(turn(plane, orientation), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("order", ["II", "MM"])
def test_only_the_orientation_is_changed_in_exif(order: str) -> None:
    mark = "<" if order == "II" else ">"
    maker = struct.pack(mark + "HHII", 271, 2, 4, 0x41424344)
    turned = struct.pack(mark + "HHIHH", 274, 3, 1, 6, 0)
    block = b"Exif\0\0" + order.encode() + struct.pack(mark + "HIH", 42, 8, 2) + maker + turned + b"\0" * 4
    upright = with_orientation_upright(block)
    assert upright == block.replace(turned, struct.pack(mark + "HHIHH", 274, 3, 1, 1, 0))
    loaded = Image.Exif()
    loaded.load(upright)
    assert loaded[274] == 1


@pytest.mark.parametrize(
    "block", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"XX"]
)
def test_broken_exif_is_left_as_it_is(block: bytes) -> None:
    assert with_orientation_upright(block) == block


def test_exif_and_icc_travel_with_a_frame(tmp_path: Path) -> None:
    plane = make_frames(1)[0]
    write_image(tmp_path / "a.jpg", plane, exif=exif_block(8), icc_profile=b"profile" * 20)
    header = read_header(tmp_path / "a.jpg")
    assert (header.orientation, header.camera) == (8, "Maker")
    tags = read_tags(header, upright=True)
    assert tags.icc == b"profile" * 20
    assert tags.exif is not None
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG", exif=tags.exif)
    with Image.open(file) as image:
        assert (image.getexif()[274], image.getexif()[271]) == (1, "Maker")
    kept = read_tags(header, upright=False)
    assert kept.exif == exif_block(8)


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp"])
def test_files_that_are_cut_short_are_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, make_frames(1, (90, 120), 3)[0], **({"exif": exif_block(1)} if suffix != ".bmp" else {}))
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(Unreadable, match="is cut short"):
        read_pixels(read_header(path))


def test_an_embedded_thumbnail_does_not_hide_a_cut(tmp_path: Path) -> None:
    thumbnail = io.BytesIO()
    Image.fromarray(make_frames(1, (40, 50))[0]).save(thumbnail, "JPEG")
    block = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + thumbnail.getvalue()
    path = tmp_path / "a.jpg"
    write_image(path, make_frames(1, (300, 400), 3)[0], exif=block)
    assert read_header(path).shape == (300, 400)
    path.write_bytes(cut(path.read_bytes()))
    with pytest.raises(Unreadable, match="is cut short"):
        read_header(path)


def test_data_behind_the_end_do_no_harm(tmp_path: Path) -> None:
    plane = make_frames(1)[0]
    for suffix in (".png", ".jpg"):
        path = tmp_path / f"a{suffix}"
        write_image(path, plane)
        path.write_bytes(path.read_bytes() + b"\0" * 100_000)
        assert read_pixels(read_header(path)).shape == plane.shape


def test_the_first_of_several_pictures_in_a_jpeg_is_read(tmp_path: Path) -> None:
    plane = cv2.GaussianBlur(make_frames(1, (64, 80), 3)[0], (0, 0), 2)
    path = tmp_path / "a.jpg"
    preview = Image.fromarray(plane[::2, ::2])
    Image.fromarray(plane).save(path, "MPO", save_all=True, append_images=[preview], quality=98, subsampling=0)
    header = read_header(path)
    assert header.format == "jpeg"
    assert_allclose(read_pixels(header).astype(float), plane, atol=6)


def test_flipped_bits_in_a_png_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_image(path, make_frames(1)[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(Unreadable, match="is damaged"):
        read_pixels(read_header(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"Dear diary, today", "is text, not an image; it begins with 'Dear diary, today'"),
        ("größer als gedacht\n".encode(), "is text, not an image; it begins with 'größer als gedacht'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "is no image that can be read"),
        (bytes(range(256)), "is no image that can be read"),
    ],
)
def test_what_is_no_image_is_told(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(Unreadable, match=words):
        read_header(tmp_path / "a.png")


def png_claiming(width: int, height: int) -> bytes:
    data = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + data
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + chunk
        + struct.pack(">I", imagecodecs.zlib_crc32(chunk))
        + struct.pack(">I", 4)
        + b"IDAT"
        + bytes(4)
        + bytes(4)
        + bytes(4)
        + b"IEND\xae\x42\x60\x82"
    )


def test_frames_that_are_too_large_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_claiming(50_000, 50_000))
    with pytest.raises(Unreadable, match=f"has 2500 megapixels .*; at most {MAX_PIXELS // 10**6} can be read"):
        read_header(tmp_path / "a.png")


def test_a_few_bytes_that_claim_many_pixels_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_claiming(14_000, 14_000))
    with pytest.raises(Unreadable, match=r"is damaged: 14000 x 14000 pixels cannot come from \d+ bytes"):
        read_header(tmp_path / "a.png")


def test_a_black_frame_is_no_bomb(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((3000, 4000), np.uint8))
    write_image(tmp_path / "a.jpg", np.zeros((3000, 4000, 3), np.uint8), quality=10, optimize=True)
    assert not read_pixels(read_header(tmp_path / "a.png"), 8).any()
    assert not read_pixels(read_header(tmp_path / "a.jpg"), 8).any()


def test_a_png_that_is_called_jpg_is_read(tmp_path: Path) -> None:
    plane = make_frames(1)[0]
    write_image(tmp_path / "a.png", plane)
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert_array_equal(read_pixels(read_header(tmp_path / "a.jpg")), plane)

"""HEIC and AVIF photographs: bit depth, orientation, several images in one file, and what is missing or broken."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image, features

from core.source import heic_files
from dffnets.extras import install_line
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.source.heif_file import heif_kind
from toposcope.core.stack import reduce_plane
from toposcope.errors import FrameError, MissingPartError, StackError

needs_heif = pytest.mark.skipif(importlib.util.find_spec("pi_heif") is None, reason="pi-heif is not installed")
needs_avif = pytest.mark.skipif(
    not (features.check("avif") and imagecodecs.AVIF.available), reason="Pillow or imagecodecs was built without AVIF"
)

BLOCKS = ((200, 40, 40), (40, 180, 60), (50, 60, 210), (128, 128, 128))


def folder_of(path: Path, data: bytes, n: int = 3, suffix: str = ".HEIC") -> Path:
    path.mkdir(exist_ok=True)
    for k in range(n):
        (path / f"IMG_{k}{suffix}").write_bytes(data)
    return path


# ---- HEIC


@needs_heif
@pytest.mark.parametrize(
    ("data", "dtype", "unit"), [(heic_files.EIGHT_BIT, "uint8", 1), (heic_files.TEN_BIT, "uint16", 257)]
)
def test_heic_keeps_its_bits(tmp_path: Path, data: bytes, dtype: str, unit: int) -> None:
    stack = open_stack(folder_of(tmp_path / "a", data))
    assert (stack.n, stack.shape, stack.source.channels, stack.source.dtype) == (3, (48, 64), 3, dtype)
    plane = stack.read(1)
    for k, colour in enumerate(BLOCKS):
        part = plane[24 * (k // 2) + 3 : 24 * (k // 2) + 21, 32 * (k % 2) + 3 : 32 * (k % 2) + 29]
        assert_allclose(part / unit, np.broadcast_to(colour, part.shape), atol=3)
    assert_array_equal(stack.read(1, scale=4), reduce_plane(plane, 4))
    assert_array_equal(stack.read(1, (slice(2, 9), slice(30, 40))), plane[2:9, 30:40])


@needs_heif
def test_grey_heic_is_grey(tmp_path: Path) -> None:
    stack = open_stack(folder_of(tmp_path / "a", heic_files.GREY))
    assert stack.source.channels == 1
    assert stack.read(0)[5, 5] == pytest.approx(200, abs=2)


@needs_heif
def test_heic_is_turned_once_and_its_exif_says_so(tmp_path: Path) -> None:
    stack = open_stack(folder_of(tmp_path / "a", heic_files.TURNED, suffix=".heif"))
    assert stack.shape == (64, 48)
    assert_allclose(stack.read(0)[5, 5], BLOCKS[2], atol=3)
    assert_allclose(stack.read(0)[5, -5], BLOCKS[0], atol=3)
    assert stack.kind.value == "camera"
    exif = Image.Exif()
    exif.load(stack.source.tags(0).exif or b"")
    assert (exif[271], exif[274]) == ("Phone", 1)


@needs_heif
def test_a_heic_with_several_images_is_a_stack(tmp_path: Path) -> None:
    file = tmp_path / "burst.heic"
    file.write_bytes(heic_files.THREE_IMAGES)
    stack = open_stack(file, OpenOptions(z_step=2.0, unit="um"))
    assert (stack.n, stack.shape, stack.name) == (3, (48, 64), "burst")
    assert stack.source.names == ("slice 1", "slice 2", "slice 3")
    for i, k in enumerate((0, 2, 1)):
        assert_allclose(stack.read(i)[5, 5], BLOCKS[k], atol=4)
    backwards = open_stack(file, OpenOptions(reverse=True))
    assert_allclose(backwards.read(0)[5, 5], BLOCKS[1], atol=4)
    alone = open_stack(folder_of(tmp_path / "alone", heic_files.THREE_IMAGES, 1))
    assert (alone.n, alone.name) == (3, "alone")
    with pytest.raises(StackError, match=r"IMG_0\.HEIC is a stack of its own \(3 slices\)"):
        open_stack(folder_of(tmp_path / "a", heic_files.THREE_IMAGES))


@needs_heif
def test_a_single_heic_asks_for_its_series_and_damage_is_told(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "a", heic_files.EIGHT_BIT, 4)
    with pytest.raises(StackError, match=r"IMG_0\.HEIC is one image; .* Open its folder"):
        open_stack(folder / "IMG_0.HEIC")
    file = folder / "IMG_1.HEIC"
    for cut in (20, 400):
        file.write_bytes(heic_files.EIGHT_BIT[:-cut])
        with pytest.raises(FrameError, match=r"IMG_1\.HEIC is cut short: its end is missing"):
            open_stack(folder)
    file.write_bytes(b"to do: buy milk")
    with pytest.raises(FrameError, match=r"IMG_1\.HEIC is text, not an image"):
        open_stack(folder)
    file.write_bytes(heic_files.EIGHT_BIT[:28] + b"\xff" * 600)
    with pytest.raises(FrameError, match=r"IMG_1\.HEIC is"):
        open_stack(folder)
    # pi-heif ends the process where the kind of an item is no text
    file.write_bytes(heic_files.TURNED.replace(b"infe\2\0\0\1\0\2\0\0Exif", b"infe\2\0\0\1\0\2\0\0E\xe5if"))
    assert file.read_bytes() != heic_files.TURNED
    with pytest.raises(FrameError, match=r"IMG_1\.HEIC is damaged and cannot be decoded"):
        open_stack(folder)
    assert open_stack(folder, OpenOptions(skip_broken=True)).n == 3
    file.write_bytes(heic_files.EIGHT_BIT)
    stack = open_stack(folder)
    file.write_bytes(heic_files.EIGHT_BIT[:-90] + bytes(90))
    stack.read(0)
    file.write_bytes(heic_files.TEN_BIT)
    with pytest.raises(FrameError, match=r"IMG_1\.HEIC was changed while the stack was open"):
        stack.read(1)
    file.unlink()
    with pytest.raises(FrameError, match=r"IMG_1\.HEIC is gone"):
        stack.read(1)


@needs_heif
def test_a_jpeg_that_is_called_heic_opens(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), (9, 99, 200)).save(buffer, "JPEG")
    assert open_stack(folder_of(tmp_path / "a", buffer.getvalue())).shape == (20, 30)


def test_a_missing_package_names_the_line_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPartError) as caught:
        open_stack(folder_of(tmp_path / "a", heic_files.EIGHT_BIT))
    assert str(caught.value) == (
        "IMG_0.HEIC, IMG_1.HEIC, IMG_2.HEIC are HEIC photographs, which are read by the package pi-heif; "
        f"it is not installed. Type: {install_line('heic')}"
    )


# ---- AVIF


@needs_avif
@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 3])
def test_avif_keeps_its_bits(tmp_path: Path, bits: int, channels: int) -> None:
    full = (1 << bits) - 1
    rows, columns = np.mgrid[:31, :46]
    plane = (full * (0.5 + 0.5 * np.sin(rows / 7)[..., None] * np.cos(columns[..., None] / 9 + np.arange(3)))).round()
    plane[:2] = full
    plane = plane.astype(np.uint8 if bits == 8 else np.uint16)
    frame = plane if channels == 3 else plane[..., 0]
    data = imagecodecs.avif_encode(frame, level=95, bitspersample=bits)
    stack = open_stack(folder_of(tmp_path / "a", data, suffix=".avif"))
    assert (stack.shape, stack.source.channels) == ((31, 46), channels)
    assert stack.source.dtype == plane.dtype
    white = 255 if bits == 8 else 65535
    assert_allclose(stack.read(0) / white, frame / full, atol=0.03)
    assert int(stack.read(0).max()) == white
    assert_array_equal(stack.read(0, scale=2), reduce_plane(stack.read(0), 2))


@needs_avif
def test_avif_stands_upright_and_films_are_told(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    picture = Image.fromarray(np.repeat(np.uint8([[[255, 0, 0]], [[0, 0, 255]]]), 32, axis=0).repeat(40, axis=1))
    buffer = io.BytesIO()
    picture.save(buffer, "AVIF", quality=90, exif=exif)
    stack = open_stack(folder_of(tmp_path / "a", buffer.getvalue(), suffix=".avif"))
    assert stack.shape == (40, 64)
    assert stack.read(0)[5, -5, 0] > 200  # the upper half, red, is on the right
    assert stack.read(0)[5, 5, 2] > 200
    turned = Image.Exif()
    turned.load(stack.source.tags(0).exif or b"")
    assert turned[274] == 1
    film = io.BytesIO()
    picture.save(film, "AVIF", save_all=True, append_images=[picture.rotate(180)] * 3)
    with pytest.raises(FrameError, match=r"IMG_0\.avif is a film of 4 pictures, no photograph"):
        open_stack(folder_of(tmp_path / "film", film.getvalue(), suffix=".avif"))
    with pytest.raises(FrameError, match=r"IMG_0\.avif is cut short"):
        open_stack(folder_of(tmp_path / "cut", buffer.getvalue()[:-40], suffix=".avif"))


def test_kinds_are_told_by_their_brands() -> None:
    assert heif_kind(heic_files.EIGHT_BIT[:64]) == "heic"
    assert heif_kind(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(36)) == "avif"
    assert heif_kind(b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40)) is None
    assert heif_kind(b"") is None

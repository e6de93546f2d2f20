"""Camera RAW: developed alike in true colours, pairs with JPEG, what is missing, and what is broken."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image

from core.source.conftest import make_frames, write_image
from core.source.raw_files import NEUTRAL, X_TRANS, to_linear, write_dng
from dffnets.extras import install_line
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.export.images import write_image as export_image
from toposcope.core.source import OpenOptions, open_stack, reader_list
from toposcope.core.source.boxes import are_whole
from toposcope.core.source.folder import list_folder
from toposcope.core.source.raw_file import RAW_SUFFIXES, _read_exif
from toposcope.core.stack import FocalStack, reduce_plane
from toposcope.core.watching import FolderWatch
from toposcope.errors import FrameError, MissingPartError, StackError

needs_rawpy = pytest.mark.skipif(importlib.util.find_spec("rawpy") is None, reason="rawpy is not installed")

COLOURS = ((0.8, 0.5, 0.3), (0.2, 0.6, 0.7), (0.4, 0.4, 0.4), (0.9, 0.85, 0.1))
Write = Callable[..., Path]


def blocks(height: int = 48, width: int = 64) -> NDArray[np.float64]:
    """Return four blocks of COLOURS, row by row."""
    picture = np.zeros((height, width, 3))
    for k, colour in enumerate(COLOURS):
        rows, columns = (
            (slice(0, height // 2), slice(height // 2, None)),
            (slice(0, width // 2), slice(width // 2, None)),
        )
        picture[rows[k // 2], columns[k % 2]] = colour
    return picture


def inner(plane: NDArray[Any], k: int, margin: int = 4) -> NDArray[Any]:
    """Return block ``k`` of a plane without the border where mosaics are blurred."""
    height, width = plane.shape[0] // 2, plane.shape[1] // 2
    top, left = height * (k // 2), width * (k % 2)
    return plane[top + margin : top + height - margin, left + margin : left + width - margin]


@pytest.fixture
def shots(tmp_path: Path) -> Write:
    """Return a function that writes a folder of DNG files; ``change`` gives what differs for each."""

    def write(n: int = 4, change: Callable[[int], dict[str, Any]] = lambda k: {}, **same: Any) -> Path:
        folder = tmp_path / "shots"
        folder.mkdir(exist_ok=True)
        for k in range(n):
            write_dng(folder / f"IMG_{k + 1}.DNG", **{"picture": blocks(), **same, **change(k)})
        return folder

    return write


# ---- pixels


@needs_rawpy
def test_a_folder_of_raw_opens_in_16_bit_and_true_colours(shots: Write) -> None:
    stack = open_stack(shots())
    assert (stack.n, stack.shape, stack.source.channels, stack.source.dtype) == (4, (48, 64), 3, np.uint16)
    assert stack.name == "shots"
    for scale in (1, 2, 4, 8):
        plane = stack.read(1, scale=scale)
        assert plane.shape == (48 // scale, 64 // scale, 3)
        for k, colour in enumerate(COLOURS):
            part = inner(plane, k, max(0, 4 // scale))
            assert_allclose(part / 65535, np.broadcast_to(colour, part.shape), atol=0.002)
    part = stack.read(2, (slice(2, 9), slice(3, 20)))
    assert np.array_equal(part, stack.read(2)[2:9, 3:20])


@needs_rawpy
def test_reduced_reads_are_area_averages_with_uneven_sides_too(shots: Write) -> None:
    rows, columns = np.mgrid[:51, :67]
    smooth = 0.5 + 0.2 * np.sin(rows / 9)[..., None] * np.cos(columns / 7)[..., None] * np.array([1, 0.8, -0.9])
    stack = open_stack(shots(picture=smooth))
    for scale in (2, 4, 8):
        expected = reduce_plane(smooth.astype(np.float32), scale)
        found = stack.read(0, scale=scale) / 65535
        assert_allclose(found[:-1, :-1], expected[:-1, :-1], atol=0.015)
        assert_allclose(found, expected, atol=0.04)  # half a cell is missing at the border


@needs_rawpy
def test_x_trans_mosaics_have_true_colours_to_the_border(shots: Write) -> None:
    stack = open_stack(shots(3, picture=blocks(600, 660), pattern=X_TRANS))
    half = stack.read(0, scale=2) / 65535
    assert_allclose(half[0, 0], COLOURS[0], atol=0.003)
    assert_allclose(half[-1, -1], COLOURS[3], atol=0.003)
    assert_allclose(inner(stack.read(0), 1, 12) / 65535, np.broadcast_to(COLOURS[1], (276, 306, 3)), atol=0.01)


@needs_rawpy
def test_a_camera_without_colours_gives_grey(shots: Write) -> None:
    picture = np.linspace(0.1, 0.9, 48 * 64).reshape(48, 64)
    stack = open_stack(shots(picture=picture))
    assert stack.source.channels == 1
    assert_allclose(stack.read(0) / 65535, picture, atol=0.003)
    assert stack.notes == ("camera RAW, developed to 16 bit without automatic brightness",)


@needs_rawpy
def test_brightness_of_a_frame_does_not_depend_on_what_it_shows(shots: Write) -> None:
    """A burnt-out or nearly white spot must change neither the white level nor the brightness of the rest."""

    def change(k: int) -> dict[str, Any]:
        picture = 0.5 * blocks()
        picture[20:28, 28:36] = (0.1, 0.5, 0.93, 1.0)[k]
        return {"picture": picture}

    stack = open_stack(shots(4, change))
    first = stack.read(0)
    for i in range(1, 4):
        assert np.array_equal(first[:14], stack.read(i)[:14])
    assert int(stack.read(3).max()) == 65535


@needs_rawpy
def test_all_frames_have_the_white_balance_of_the_first(shots: Write) -> None:
    folder = shots(4, lambda k: {"tags": [(50728, 5, (0.5 + 0.1 * k, 1.0, 0.7))], "neutral": None})
    stack = open_stack(folder)
    assert np.array_equal(stack.read(0), stack.read(3))
    assert_allclose(inner(stack.read(3), 2) / 65535, 0.4, atol=0.003)  # taken in light of (0.5, 1, 0.7)
    assert stack.notes[-1] == (
        "camera RAW, developed to 16-bit sRGB without automatic brightness; "
        "white balance of IMG_1.DNG for all, though it differs between the photographs"
    )
    backwards = open_stack(folder, OpenOptions(reverse=True))
    assert "white balance of IMG_4.DNG for all" in backwards.notes[-1]
    red, green, _ = inner(backwards.read(3), 2).mean(axis=(0, 1))
    assert red < 0.9 * green


@needs_rawpy
def test_without_a_white_balance_daylight_is_said(shots: Write) -> None:
    stack = open_stack(shots(neutral=None))
    seen = to_linear(stack.read(0) / 65535) / to_linear(np.array(0.4))
    assert_allclose(inner(seen, 2), np.broadcast_to(NEUTRAL, (16, 24, 3)), atol=0.01)
    assert "white balance for daylight, since the files tell none" in stack.notes[-1]


@needs_rawpy
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_stand_upright(shots: Write, orientation: int) -> None:
    stack = open_stack(shots(3, orientation=orientation, picture=blocks(47, 64)))
    corners = [tuple(np.round(plane[y, x] / 65535, 2)) for plane in [stack.read(0)] for y in (2, -3) for x in (2, -3)]
    # where the blocks 0 to 3 stand after the picture was turned, by EXIF's own table
    order = {1: "0123", 2: "1032", 3: "3210", 4: "2301", 5: "0213", 6: "2031", 7: "3120", 8: "1302"}[orientation]
    assert corners == [COLOURS[int(k)] for k in order]
    assert stack.shape == ((64, 47) if orientation >= 5 else (47, 64))
    assert stack.read(0, scale=4).shape == ((16, 12, 3) if orientation >= 5 else (12, 16, 3))


@needs_rawpy
def test_depth_of_a_known_scene_comes_out(shots: Write) -> None:
    """Texture over a ramp, blurred by its distance from each slice's focus."""
    rng = np.random.default_rng(2)
    sharp = np.clip(0.45 + cv2.GaussianBlur(rng.normal(0, 0.9, (96, 128, 3)), (0, 0), 1.0), 0.05, 0.95)
    depth = np.broadcast_to(np.linspace(1, 5, 128), (96, 128))

    def change(k: int) -> dict[str, Any]:
        blurred = [cv2.GaussianBlur(sharp, (0, 0), sigma) if sigma else sharp for sigma in np.arange(0, 6.5, 0.5)]
        which = np.clip(np.rint(np.abs(depth - k) * 2), 0, 12).astype(int)
        return {"picture": np.take_along_axis(np.stack(blurred), which[None, ..., None], axis=0)[0]}

    result = estimate(open_stack(shots(7, change)), EstimateSettings(align="none"))
    error = np.abs(result.depth - depth)[8:-8, 8:-8]
    assert np.isfinite(error).mean() > 0.95
    assert np.nanmean(error) < 0.2
    assert result.all_in_focus.dtype == np.uint16


# ---- what the files tell


@needs_rawpy
def test_exif_gives_distances_camera_and_time_and_goes_into_pictures(shots: Write, tmp_path: Path) -> None:
    def change(k: int) -> dict[str, Any]:
        taken = (36867, 2, f"2024:01:02 03:04:{9 - k:02d}")
        return {"exif": [(33434, 5, (0.01,)), taken, (37382, 5, (0.3 + 0.01 * k,)), (37386, 5, (105.0,))]}

    folder = shots(4, change, orientation=6)
    stack = open_stack(folder)
    assert_allclose(stack.positions.value, [0.3, 0.31, 0.32, 0.33])
    assert (stack.unit, stack.positions.origin, stack.kind.value) == ("m", "EXIF SubjectDistance", "camera")
    by_time = open_stack(folder, OpenOptions(order="time", positions=(1, 2, 3, 4), unit="mm"))
    assert by_time.source.names[0] == "IMG_4.DNG"
    tags = stack.source.tags(0)
    export_image(stack.read(0), tmp_path / "picture.jpg", tags=tags)
    with Image.open(tmp_path / "picture.jpg") as picture:
        exif = picture.getexif()
        assert (exif[271], exif[272], exif[274]) == ("Maker", "Camera X", 1)
        assert exif.get_ifd(34665)[37386] == 105
        assert exif.get_ifd(34665)[33434] == pytest.approx(0.01)
        assert picture.info["icc_profile"] == tags.icc
    assert stack.source.tags(0) == stack.source.tags(0)


def test_exif_is_read_from_each_makers_own_shell() -> None:
    block = Image.Exif()
    block.endian = "<"
    block[271], block[272] = "Maker", "Camera"
    block.get_ifd(34665)[36867] = "2024:01:02 03:04:05"
    tiff = block.tobytes().removeprefix(b"Exif\0\0")
    panasonic = tiff[:2] + b"\x55\0" + tiff[4:]
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG", exif=block.tobytes())
    fuji = b"FUJIFILMCCD-RAW ".ljust(84, b"0") + struct.pack(">6I", 108, len(jpeg.getvalue()), 0, 0, 0, 0)
    details = Image.Exif()
    details[36867] = "2024:01:02 03:04:05"
    first = Image.Exif()
    first[271], first[272] = "Maker", "Camera"

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I4s", 8 + len(content), kind) + content

    canon = bytes.fromhex("85c0b687820f11e08111f4ce462b6a48")
    inside = box(b"CMT1", first.tobytes()[6:]) + box(b"CMT2", details.tobytes()[6:])
    cr3 = box(b"ftyp", b"crx \0\0\0\1crx isom") + box(b"moov", box(b"uuid", canon + inside)) + box(b"mdat", b"1234")
    for data in (tiff, panasonic, fuji + jpeg.getvalue(), cr3):
        found = _read_exif(io.BytesIO(data), data[:64])
        assert found is not None
        assert (found[271], found[272]) == ("Maker", "Camera")
        assert found.get_ifd(34665)[36867] == "2024:01:02 03:04:05"
    for data in (b"", b"II*\0", b"II*\0\xff\xff\xff\xff", fuji[:90], cr3[:40], cr3[:90]):
        _read_exif(io.BytesIO(data), data[:64])  # nothing or part of it, but no error
    assert are_whole(io.BytesIO(cr3), len(cr3))
    assert not are_whole(io.BytesIO(cr3[:-1]), len(cr3) - 1)
    assert not are_whole(io.BytesIO(b""), 0)


@needs_rawpy
def test_opening_decodes_no_more_than_three_photographs(shots: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    import rawpy

    decoded = []

    class Counting(rawpy.RawPy):  # type: ignore[misc]
        def unpack(self) -> None:
            decoded.append(1)
            super().unpack()

    monkeypatch.setattr(rawpy, "RawPy", Counting)
    stack = open_stack(shots(9))
    assert len(decoded) == 3
    stack.read(1)
    assert len(decoded) == 4


# ---- pairs


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    return folder


@pytest.fixture
def _all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


@pytest.mark.usefixtures("_all_packages")
@pytest.mark.parametrize(
    ("names", "kept", "note"),
    [
        ("a1.CR3 a2.CR3 a1.JPG a2.JPG", ".CR3", "a1.JPG, a2.JPG left out: the same frames are there as .CR3"),
        ("a1.CR3 a2.CR3 a1.tif a2.tif", ".tif", "a1.CR3, a2.CR3 left out: the same frames are there as .tif"),
        ("a1.CR3 a1.JPG a2.JPG a3.JPG", ".JPG", "a1.CR3 left out: the same frames are there as .JPG"),
        ("a1.CR3 a2.CR3 cover.jpg", ".CR3", "cover.jpg left out: a stack is of one kind of files, here .CR3"),
        ("a1.CR3 a2.CR3 a1.dng a2.dng", ".dng", "a1.CR3, a2.CR3 left out: the same frames are there as .dng"),
        ("a1.dng a2.dng a1.HEIC a2.HEIC", ".dng", "a1.HEIC, a2.HEIC left out: the same frames are there as .dng"),
        ("a1.HEIC a2.HEIC a1.jpg a2.jpg", ".HEIC", "a1.jpg, a2.jpg left out: the same frames are there as .HEIC"),
    ],
)
def test_of_pairs_one_kind_is_taken_and_said(tmp_path: Path, names: str, kept: str, note: str) -> None:
    listing = list_folder(touch(tmp_path / "pairs", *names.split(), "a1.xmp", "a2.CR3.pp3", "a1.AAE"))
    assert {path.suffix for path in listing.files} == {kept}
    assert listing.notes == (f"{note}. To use them instead, open just them",)


@needs_rawpy
def test_raw_beside_jpeg_opens_and_the_jpegs_by_themselves(shots: Write) -> None:
    folder = shots()
    for k in range(4):
        write_image(folder / f"IMG_{k + 1}.JPG", np.uint8(255 * blocks()))
    stack = open_stack(folder)
    assert stack.source.dtype == np.uint16
    assert "IMG_1.JPG, IMG_2.JPG and 2 more left out" in stack.notes[0]
    assert open_stack(sorted(folder.glob("*.JPG"))).source.dtype == np.uint8
    touch(folder, "IMG_1.xmp", "IMG_2.xmp")
    chosen = open_stack(list(folder.iterdir()))  # all that was dropped
    assert chosen.source.names == stack.source.names
    assert chosen.notes == stack.notes


@needs_rawpy
def test_watching_keeps_to_the_kind_that_came_first(shots: Write, tmp_path: Path) -> None:
    source = shots(4, lambda k: {"picture": np.roll(blocks(), k, axis=1)})
    folder = tmp_path / "incoming"
    folder.mkdir()
    now = [0.0]
    watch = FolderWatch(folder, now=lambda: now[0])

    def look() -> None:
        watch.look()
        now[0] += 1.1
        watch.look()

    for k in range(1, 5):
        name = f"IMG_{k}.DNG"
        data = (source / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        look()
        assert watch.n == k - 1  # half-written
        (folder / name).write_bytes(data)
        now[0] += 30
        look()
        for j in (k, 9):  # their JPEG files, and one more
            write_image(folder / f"IMG_{j}.JPG", np.uint8(255 * blocks()))
        look()
        assert watch.names == tuple(f"IMG_{j}.DNG" for j in range(1, k + 1))
    stack = watch.stack()
    assert stack.source.dtype == np.uint16
    assert stack.n == 4


# ---- what is missing


@pytest.fixture
def _no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("_no_packages")
def test_a_missing_package_names_the_line_that_installs_it(tmp_path: Path) -> None:
    folder = touch(tmp_path / "shots", *(f"IMG_{k}.CR3" for k in range(5)), "IMG_0.xmp")
    words = "IMG_0.CR3, IMG_1.CR3 and 3 more are camera RAW, which are read by the package rawpy; it is not installed. "
    paths: list[Path | list[Path]] = [folder, folder / "IMG_0.CR3", sorted(folder.glob("*.CR3"))]
    for path in paths:
        with pytest.raises(MissingPartError) as caught:
            open_stack(path)
        assert str(caught.value).endswith(f"Type: {install_line('raw')}")
        if path == folder / "IMG_0.CR3":
            assert str(caught.value).startswith("IMG_0.CR3 is camera RAW, which is read by the package rawpy;")
        else:
            assert str(caught.value).startswith(words)
    listed = reader_list()
    assert re.search(r"^missing +folders of camera RAW \(.*\.cr3.*by rawpy$", listed, re.MULTILINE)
    assert install_line("raw") in listed


@pytest.mark.usefixtures("_no_packages")
def test_without_the_package_jpegs_beside_raw_open_and_say_so(tmp_path: Path) -> None:
    folder = touch(tmp_path / "shots", *(f"IMG_{k}.NEF" for k in range(4)))
    for k, frame in enumerate(make_frames(4)):
        write_image(folder / f"IMG_{k}.jpg", frame)
    stack = open_stack(folder)
    assert stack.source.dtype == np.uint8
    assert open_stack(list(folder.iterdir())).notes == stack.notes
    (note,) = stack.notes
    assert note.startswith("left out: IMG_0.NEF, IMG_1.NEF and 2 more are camera RAW")
    assert note.endswith(install_line("raw"))


@pytest.mark.usefixtures("_no_packages")
def test_watching_says_what_is_missing(tmp_path: Path) -> None:
    folder = touch(tmp_path / "incoming", "a1.ARW")
    with pytest.raises(MissingPartError, match=r"a1\.ARW is camera RAW"):
        FolderWatch(folder).look()


# ---- what is broken


@needs_rawpy
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", r"IMG_2\.DNG is empty \(0 bytes\)\."),
        (lambda data: data[:-900], r"IMG_2\.DNG is cut short: its end is missing\."),
        (lambda data: data[:6], r"IMG_2\.DNG is cut short: its end is missing\."),
        (lambda data: data[:120], r"IMG_2\.DNG is (cut short|of a camera)"),
        (lambda data: b"to do: buy milk\n", r"IMG_2\.DNG is text, not an image; it begins with 'to do: buy milk'\."),
        (
            lambda data: data[:8] + bytes(len(data) - 8),
            r"IMG_2\.DNG is of a camera, .* LibRaw [\d.]+ does not read\. Con",
        ),
    ],
)
def test_a_broken_raw_file_is_named_and_can_be_skipped(
    shots: Write, damage: Callable[[bytes], bytes], words: str
) -> None:
    folder = shots()
    file = folder / "IMG_2.DNG"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(FrameError, match=words) as caught:
        open_stack(folder)
    assert (caught.value.index, caught.value.name) == (1, "IMG_2.DNG")
    stack = open_stack(folder, OpenOptions(skip_broken=True))
    assert stack.source.names == ("IMG_1.DNG", "IMG_3.DNG", "IMG_4.DNG")


@needs_rawpy
def test_a_file_that_changes_or_goes_is_told_when_it_is_read(shots: Write) -> None:
    folder = shots()
    stack = open_stack(folder)
    write_dng(folder / "IMG_1.DNG", blocks(40, 40))
    with pytest.raises(FrameError, match=r"IMG_1\.DNG is developed to 40 x 40 pixels"):
        stack.read(0)
    file = folder / "IMG_3.DNG"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(FrameError, match=r"IMG_3\.DNG is cut short or damaged\."):
        stack.read(2)
    (folder / "IMG_2.DNG").unlink()
    with pytest.raises(FrameError, match=r"IMG_2\.DNG is gone"):
        stack.read(1, scale=4)


@needs_rawpy
def test_names_may_hold_any_characters(shots: Write) -> None:
    folder = shots()
    names = ["größe_1.DNG", "焦点_2.DNG", "bad_\udcff_3.DNG" if sys.platform == "linux" else "b_3.DNG"]
    for old, new in zip(sorted(folder.iterdir()), names, strict=False):
        old.rename(folder / new)
    stack = open_stack(folder)
    assert stack.n == 4
    assert all(stack.read(i).shape == (48, 64, 3) for i in range(4))


@needs_rawpy
def test_one_photograph_asks_for_its_series(shots: Write) -> None:
    with pytest.raises(StackError, match=r"IMG_1\.DNG is one image; .* Open its folder"):
        open_stack(shots() / "IMG_1.DNG")


@needs_rawpy
def test_other_images_that_are_called_raw_are_read_as_what_they_are(tmp_path: Path) -> None:
    for k, frame in enumerate(make_frames(3)):
        Image.fromarray(frame).save(tmp_path / f"a{k}.dng", "JPEG")
    assert open_stack(tmp_path).source.dtype == np.uint8


@needs_rawpy
def test_sidecars_and_named_frames_hold_for_raw(shots: Write) -> None:
    folder = shots()
    names = [f"IMG_{k}.DNG" for k in (4, 2, 1)]
    (folder / "stack.json").write_text(json.dumps({"frames": names, "positions": [0, 1, 2], "unit": "um"}))
    stack: FocalStack = open_stack(folder)
    assert stack.source.names == tuple(names)
    assert stack.unit == "um"


def test_suffixes_are_written_small_and_once() -> None:
    assert len(set(RAW_SUFFIXES)) == len(RAW_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in RAW_SUFFIXES)

"""TIFF in all its flavours: what comes in comes out, with its calibration."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from core.source.conftest import make_frames
from toposcope.core.source import ChoiceNeeded, OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import FrameError, SettingsError, StackError


def pixels(stack: FocalStack) -> np.ndarray:
    return np.stack([stack.read(i) for i in range(stack.n)])


# ---- pixels


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"compression": "packbits"},
        {"compression": "zstd"},
        {"tile": (16, 32), "compression": "zlib"},
        {"tile": (16, 16)},
        {"rowsperstrip": 5, "metadata": None},
    ],
    ids=str,
)
def test_every_bit_is_kept(tmp_path: Path, dtype: str, channels: int, options: dict[str, Any]) -> None:
    frames = make_frames(4, (40, 53), channels, dtype)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, photometric="rgb" if channels == 3 else "minisblack", **options)
    stack = open_stack(path)
    assert (stack.n, stack.shape, stack.source.channels, stack.source.dtype) == (4, (40, 53), channels, dtype)
    assert_array_equal(pixels(stack), frames)
    assert stack.read(2).flags.c_contiguous
    assert stack.read(2).dtype.isnative
    assert_array_equal(stack.read(1, roi=(slice(2, 9), slice(0, 50))), frames[1][2:9, :50])
    assert stack.read(3, scale=4).shape[:2] == (10, 14)
    assert list(stack.source.names) == ["slice 1", "slice 2", "slice 3", "slice 4"]


def test_planes_of_colour_are_put_together(tmp_path: Path) -> None:
    frames = make_frames(4, channels=3)
    path = tmp_path / "a.tif"
    planar = np.moveaxis(frames, -1, 1)
    tifffile.imwrite(path, planar, photometric="rgb", planarconfig="separate", metadata=None)
    assert_array_equal(pixels(open_stack(path)), frames)
    tifffile.imwrite(path, planar, photometric="rgb", planarconfig="separate", compression="zlib", metadata=None)
    assert_array_equal(pixels(open_stack(path)), frames)


def test_jpeg_in_tiff_is_rgb(tmp_path: Path) -> None:
    frames = np.zeros((3, 32, 48, 3), np.uint8)
    frames[..., 0], frames[..., 1], frames[..., 2] = 200, 100, 30
    path = tmp_path / "a.tif"
    for mode, photometric in (("YCbCr", tifffile.PHOTOMETRIC.YCBCR), ("RGB", tifffile.PHOTOMETRIC.RGB)):
        first, *others = (Image.fromarray(frame).convert(mode) for frame in frames)
        first.save(path, save_all=True, append_images=others, compression="jpeg", quality=95)
        with tifffile.TiffFile(path) as tiff:
            assert tiff.pages.first.photometric == photometric
        assert_allclose(pixels(open_stack(path)).astype(float), frames, atol=4)


def test_alpha_is_left_out(tmp_path: Path) -> None:
    frames = make_frames(3, channels=3)
    alpha = np.full((*frames.shape[:3], 1), 128, np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.concatenate([frames, alpha], -1), photometric="rgb", extrasamples=["unassalpha"])
    assert_array_equal(pixels(open_stack(path)), frames)
    grey = np.concatenate([frames[..., :1], alpha], -1)
    tifffile.imwrite(path, grey, photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    assert_array_equal(pixels(open_stack(path)), frames[..., 0])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_white_may_be_zero_and_pixels_single_bits(tmp_path: Path, dtype: str) -> None:
    bits = make_frames(3) > 128
    stored = bits if dtype == "bool" else make_frames(3, dtype=dtype)
    white = {"bool": 255, "uint8": 255, "uint16": 65535}[dtype]
    seen = bits * np.uint8(255) if dtype == "bool" else stored
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="minisblack", metadata=None)
    assert_array_equal(pixels(open_stack(path)), seen)
    tifffile.imwrite(path, stored, photometric="miniswhite", metadata=None)
    assert_array_equal(pixels(open_stack(path)), white - seen)


def test_palettes_colour_plain_files_but_not_micrographs(tmp_path: Path) -> None:
    frames = make_frames(3)
    ramp = np.arange(256, dtype=np.uint16)
    table = np.stack([ramp, 255 - ramp, ramp // 2]) * 257
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, photometric="palette", colormap=table, metadata=None)
    stack = open_stack(path)
    assert_array_equal(stack.read(1), np.stack([frames[1], 255 - frames[1], frames[1] // 2], -1))
    tifffile.imwrite(path, frames, imagej=True, colormap=None, metadata={"axes": "ZYX"})
    assert_array_equal(pixels(open_stack(path)), frames)


@pytest.mark.parametrize(("photometric", "words"), [("separated", "CMYK"), ("cielab", "Lab")])
def test_other_colour_is_refused_with_advice(tmp_path: Path, photometric: str, words: str) -> None:
    path = tmp_path / "a.tif"
    frames = np.zeros((3, 20, 30, {"separated": 4, "cielab": 3}[photometric]), np.uint8)
    tifffile.imwrite(path, frames, photometric=photometric, planarconfig="contig", metadata=None)
    with pytest.raises(StackError, match=rf"a\.tif holds .*{words}"):
        open_stack(path)


def test_frames_that_are_too_large_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(3), photometric="minisblack", metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for page in tiff.pages:
            for code in (256, 257):
                tag = page.tags[code]
                data[tag.offset + 2 : tag.offset + 12] = struct.pack("<HII", 4, 1, 60_000)
    path.write_bytes(data)
    with pytest.raises(StackError, match=r"3600 megapixels \(60000 x 60000\); at most 200"):
        open_stack(path)


# ---- which planes


def test_pages_written_one_by_one_are_one_stack(tmp_path: Path) -> None:
    frames = make_frames(30, (8, 9))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:  # each page becomes a series of its own
        for frame in frames:
            writer.write(frame)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series) == 30
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames)
    assert stack.notes == ("its 30 single images are taken as one stack",)


def test_a_thumbnail_beside_the_stack_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    frames = make_frames(5)
    with tifffile.TiffWriter(path) as writer:
        writer.write(frames, photometric="minisblack")
        writer.write(make_frames(1, (4, 5))[0], photometric="minisblack")
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames)
    assert "1 further series" in stack.notes[0]


def hyperstack(path: Path, form: str = "ome") -> np.ndarray:
    """Write T 2, Z 4, C 3 and return it."""
    rng = np.random.default_rng(3)
    values = rng.integers(0, 65535, (2, 4, 3, 11, 13), np.uint16)
    if form == "imagej":
        tifffile.imwrite(path, values, imagej=True, metadata={"axes": "TZCYX", "spacing": 2.0, "unit": "micron"})
    else:
        metadata = {"axes": "TZCYX", "PhysicalSizeZ": 2.0, "Channel": {"Name": ["red", "green", "blue"]}}
        tifffile.imwrite(path, values, ome=True, photometric="minisblack", metadata=metadata)
    return values


@pytest.mark.parametrize("form", ["ome", "imagej"])
def test_channels_and_times_are_asked_for(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("a.ome.tif" if form == "ome" else "a.tif")
    values = hyperstack(path, form)
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    names = ("red", "green", "blue") if form == "ome" else ("channel 1", "channel 2", "channel 3")
    assert {choice.name: choice.options for choice in caught.value.choices} == {
        "time": ("time point 1", "time point 2"),
        "channel": names,
    }
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path, OpenOptions(channel=1))
    assert [choice.name for choice in caught.value.choices] == ["time"]
    for time in range(2):
        for channel in range(3):
            stack = open_stack(path, OpenOptions(channel=channel, time=time))
            assert_array_equal(pixels(stack), values[time, :, channel])
            assert_allclose(stack.positions.value, [0, 2, 4, 6])
    with pytest.raises(SettingsError, match="3 to choose from as channel, 0 to 2; not 3"):
        open_stack(path, OpenOptions(channel=3, time=0))


def test_positions_of_a_stage_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    first, second = make_frames(4), make_frames(5)
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, frames, z in (("left", first, 1.0), ("right", second, 3.0)):
            writer.write(frames, photometric="minisblack", metadata={"axes": "ZYX", "Name": name, "PhysicalSizeZ": z})
    with pytest.raises(ChoiceNeeded, match="choose the series") as caught:
        open_stack(path)
    (choice,) = caught.value.choices
    assert [option.split(" ")[0] for option in choice.options] == ["left", "right"]
    right = open_stack(path, OpenOptions(series=1))
    assert_array_equal(pixels(right), second)
    assert_allclose(right.positions.value, [0, 3, 6, 9, 12])
    assert_allclose(open_stack(path, OpenOptions(series=0)).positions.value, [0, 1, 2, 3])


def test_times_are_taken_as_slices_where_there_is_no_z_and_it_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(6), imagej=True, metadata={"axes": "TYX"})
    stack = open_stack(path)
    assert stack.n == 6
    assert stack.notes == ("it has no z axis; its 6 time points are taken as slices",)


@pytest.mark.parametrize(
    ("n", "words"),
    [
        (1, "is one image; depth from focus needs a series"),
        (2, "holds 2 images; depth from focus needs at least 3"),
    ],
)
def test_too_few_pages_are_told(tmp_path: Path, n: int, words: str) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(n), photometric="minisblack")
    with pytest.raises(StackError) as caught:
        open_stack(path)
    assert words in str(caught.value)


def test_one_slice_in_some_channels_is_no_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(4), imagej=True, metadata={"axes": "CYX"})
    with pytest.raises(StackError, match="one slice in 4 channels"):
        open_stack(path)


def test_slices_can_be_skipped_and_reversed(tmp_path: Path) -> None:
    frames = make_frames(5)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, frames, photometric="minisblack")
    stack = open_stack(path, OpenOptions(skip=("slice 2",), reverse=True, z_step=1.0, unit="mm"))
    assert_array_equal(pixels(stack), frames[[4, 3, 2, 0]])
    assert list(stack.source.names) == ["slice 5", "slice 4", "slice 3", "slice 1"]
    assert_allclose(stack.positions.value, [0, 1, 2, 4])


# ---- calibration


@pytest.mark.parametrize("unit", ["um", "micron", "\\u00B5m"])
def test_imagej_spacing_and_pixel_size(tmp_path: Path, unit: str) -> None:
    path = tmp_path / "a.tif"
    metadata = {"axes": "ZYX", "spacing": 2.5, "unit": unit}
    tifffile.imwrite(path, make_frames(4), imagej=True, resolution=(2.0, 2.0), metadata=metadata)
    stack = open_stack(path)
    assert_allclose(stack.positions.value, [0, 2.5, 5, 7.5])
    assert (stack.unit, stack.positions.origin, stack.positions.guessed) == ("um", "ImageJ spacing", False)
    assert (stack.kind.value, stack.kind.origin) == ("microscope", "ImageJ TIFF")
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.5)
    assert stack.pixel_um.origin == "ImageJ pixel size"


@pytest.mark.parametrize(("unit", "um"), [("nm", 1e-3), ("mm", 1e3), ("cm", 1e4), ("inch", 25400)])
def test_imagej_units_are_converted(tmp_path: Path, unit: str, um: float) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, make_frames(3), imagej=True, resolution=(4.0, 4.0), metadata={"axes": "ZYX", "spacing": 3.0, "unit": unit}
    )
    stack = open_stack(path)
    assert_allclose(stack.positions.value, np.array([0, 3, 6]) * um)
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(um / 4)


def test_imagej_spacing_without_a_length_is_not_used_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(3), imagej=True, metadata={"axes": "ZYX", "spacing": 3.0, "unit": "pixel"})
    stack = open_stack(path)
    assert stack.unit == "index"
    assert stack.pixel_um is None
    assert "ImageJ spacing 3 has no unit of length" in stack.notes[0]


@pytest.mark.parametrize("heights", [[0.0, 2.5, 5.0, 7.5], [7.5, 5.0, 2.5, 0.0], [3.0, -1.5, 8.0, 8.25]])
@pytest.mark.parametrize(("unit", "um"), [("µm", 1.0), ("nm", 1e-3), ("mm", 1e3)])
def test_ome_positions_are_used_in_any_order_and_unit(
    tmp_path: Path, heights: list[float], unit: str, um: float
) -> None:
    path = tmp_path / "a.ome.tif"
    frames = make_frames(4)
    metadata = {
        "axes": "ZYX",
        "PhysicalSizeX": 500,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 500,
        "PhysicalSizeYUnit": "nm",
        "Plane": {"PositionZ": heights, "PositionZUnit": [unit] * 4},
    }
    tifffile.imwrite(path, frames, ome=True, photometric="minisblack", metadata=metadata)
    stack = open_stack(path)
    order = np.argsort(heights)
    assert_allclose(stack.positions.value, np.sort(heights) * um)
    assert_array_equal(pixels(stack), frames[order])
    assert (stack.positions.origin, stack.positions.guessed) == ("OME PositionZ", False)
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.5)
    assert stack.kind.origin == "OME-TIFF"


def ome(path: Path, n: int = 4, **metadata: Any) -> FocalStack:
    tifffile.imwrite(path, make_frames(n), ome=True, photometric="minisblack", metadata={"axes": "ZYX", **metadata})
    return open_stack(path)


def test_ome_positions_without_a_unit_are_a_guess_but_sizes_are_not(tmp_path: Path) -> None:
    stack = ome(tmp_path / "a.ome.tif", Plane={"PositionZ": [1.0, 2.0, 3.0, 4.0]})
    assert (stack.unit, stack.positions.guessed) == ("um", True)
    assert stack.positions.origin == "OME PositionZ (unit not stated)"
    stack = ome(tmp_path / "b.ome.tif", PhysicalSizeZ=1.5)
    assert_allclose(stack.positions.value, [0, 1.5, 3, 4.5])
    assert (stack.positions.origin, stack.positions.guessed) == ("OME PhysicalSizeZ", False)


def test_positions_that_repeat_give_way_to_the_step(tmp_path: Path) -> None:
    stack = ome(tmp_path / "a.ome.tif", PhysicalSizeZ=1.5, Plane={"PositionZ": [7.0, 7.0, 7.0, 7.0]})
    assert stack.positions.origin == "OME PhysicalSizeZ"
    assert stack.notes == ("PositionZ repeats and is not used",)


def test_positions_off_by_a_thousand_are_told(tmp_path: Path) -> None:
    metadata = {"PositionZ": [0.0, 2500.0, 5000.0, 7500.0], "PositionZUnit": ["µm"] * 4}
    stack = ome(tmp_path / "a.ome.tif", PhysicalSizeZ=2.5, PhysicalSizeZUnit="µm", Plane=metadata)
    assert "PositionZ steps are 1e+03 times PhysicalSizeZ" in stack.notes[0]


def test_pixels_that_are_not_square_are_told(tmp_path: Path) -> None:
    stack = ome(tmp_path / "a.ome.tif", PhysicalSizeX=0.5, PhysicalSizeY=0.6)
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 0.5
    assert stack.notes == ("pixels are 0.5 um wide but 0.6 um high; the width is used",)


def test_entities_in_ome_xml_are_refused(tmp_path: Path) -> None:
    bomb = (
        '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image Name="&b;"/></OME>'
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, make_frames(3), description=bomb, metadata=None, photometric="minisblack")
    with pytest.raises(StackError, match="not safe to read"):
        open_stack(path)


def test_broken_ome_xml_costs_the_calibration_only(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    frames = make_frames(3)
    tifffile.imwrite(path, frames, description="<OME><Image></OME>", metadata=None, photometric="minisblack")
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames)
    assert stack.unit == "index"


@pytest.mark.parametrize(("per_cm", "um"), [(20_000, 0.5), (118.11, None)])
def test_a_resolution_finer_than_print_is_a_guess_at_the_pixel_size(
    tmp_path: Path, per_cm: float, um: float | None
) -> None:
    path = tmp_path / "a.tif"
    resolution = {"resolution": (per_cm, per_cm), "resolutionunit": "centimeter"}
    tifffile.imwrite(path, make_frames(3), photometric="minisblack", metadata=None, **resolution)
    stack = open_stack(path)
    if um is None:
        assert stack.pixel_um is None
    else:
        assert stack.pixel_um is not None
        assert (stack.pixel_um.value, stack.pixel_um.guessed) == (pytest.approx(um), True)


def test_micro_manager_heights_are_used(tmp_path: Path) -> None:
    path = tmp_path / "a_MMStack.tif"
    frames = make_frames(4, dtype="uint16")
    with tifffile.TiffWriter(path) as writer:
        for k, frame in enumerate(frames):
            text = f'{{"ZPositionUm": {10 - 1.5 * k}, "PixelSizeUm": 0.325}}'.encode()
            writer.write(frame, metadata=None, extratags=[(51123, 7, len(text), text, True)], contiguous=False)
    stack = open_stack(path)
    assert_allclose(stack.positions.value, [5.5, 7, 8.5, 10])
    assert_array_equal(pixels(stack), frames[::-1])
    assert (stack.unit, stack.positions.origin) == ("um", "Micro-Manager ZPositionUm")
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 0.325


def test_single_pages_in_a_folder_bring_their_heights(tmp_path: Path) -> None:
    for k, z in enumerate((4.0, 1.0, 2.5)):
        tifffile.imwrite(
            tmp_path / f"p{k}.ome.tif",
            make_frames(3)[k],
            ome=True,
            metadata={"axes": "YX", "PhysicalSizeX": 0.5, "Plane": {"PositionZ": [z], "PositionZUnit": ["µm"]}},
        )
    stack = open_stack(tmp_path)
    assert_allclose(stack.positions.value, [1, 2.5, 4])
    assert stack.positions.origin == "OME PositionZ"
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 0.5


def test_a_folder_with_one_tiff_is_that_tiff(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", make_frames(4), photometric="minisblack")
    (tmp_path / "stack.json").write_text('{"z_step": 2, "unit": "um"}', encoding="utf-8")
    stack = open_stack(tmp_path)
    assert_allclose(stack.positions.value, [0, 2, 4, 6])
    assert stack.positions.origin == "stack.json"
    tifffile.imwrite(tmp_path / "b.tif", make_frames(4), photometric="minisblack")
    with pytest.raises(StackError, match=r"a\.tif is a stack of its own \(4 slices\)\. Open that file"):
        open_stack(tmp_path)


# ---- damage


def skipping_what_is_named(path: Path) -> OpenOptions:
    """Do as a user who skips each frame that is named, one after the other."""
    options = OpenOptions()
    for _ in range(4):
        try:
            open_stack(path, options)
        except FrameError as error:
            options = OpenOptions(skip=(*options.skip, error.name))
    return options


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_cut_off_are_named_and_can_be_skipped(tmp_path: Path, compression: str | None) -> None:
    frames = make_frames(6, (40, 50))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in frames:
            writer.write(frame, compression=compression, metadata=None, contiguous=False)
    with tifffile.TiffFile(path) as tiff:
        cut = tiff.pages[4].dataoffsets[0] + 20
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(FrameError) as caught:
        open_stack(path)
    assert "cut short" in str(caught.value)
    assert caught.value.name in ("slice 4", "slice 5")
    for options in (OpenOptions(skip_broken=True), skipping_what_is_named(path)):
        stack = open_stack(path, options)
        assert stack.n >= 4
        assert_array_equal(pixels(stack), frames[: stack.n])
    assert any("cut short" in note for note in stack.notes)


def test_a_stack_whose_page_list_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(6, (40, 50)), imagej=True, metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes()[:-800])  # the pages stand behind the pixels
    with pytest.raises(StackError, match=r"a\.tif is cut short: the file ends before its pages do\. Copy it again"):
        open_stack(path)


def test_a_stack_with_one_page_for_all_slices_is_read_and_a_cut_is_named(tmp_path: Path) -> None:
    """ImageJ writes stacks above 4 GB with a single page, and all pixels one behind the other."""
    frames = make_frames(6, (40, 50))
    path = tmp_path / "a.tif"
    text = b"ImageJ=1.53t\nimages=6\nslices=6\nloop=false\nspacing=2.0\nunit=um\n"
    tifffile.imwrite(path, frames[:1], photometric="minisblack", metadata=None, description=text)
    with tifffile.TiffFile(path) as tiff:
        end = tiff.pages.first.dataoffsets[0] + 2000
    path.write_bytes(path.read_bytes()[:end] + frames[1:].tobytes())
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames)
    assert_allclose(stack.positions.value, [0, 2, 4, 6, 8, 10])
    path.write_bytes(path.read_bytes()[:-2500])
    with pytest.raises(StackError, match=r"a\.tif is cut short: it should hold 6 slices\. Copy it again"):
        open_stack(path)


def test_a_tiff_that_goes_while_it_is_open_is_told(tmp_path: Path) -> None:
    for compression in (None, "zlib"):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, make_frames(4), compression=compression, photometric="minisblack")
        stack = open_stack(path)
        path.unlink()
        with pytest.raises(FrameError, match=r"slice 2 of a\.tif is gone: it was moved, renamed or deleted") as caught:
            stack.read(1)
        assert (caught.value.index, caught.value.name) == (1, "slice 2")


def test_reading_from_many_threads_gives_the_same(tmp_path: Path) -> None:
    frames = make_frames(10, (60, 70), dtype="uint16")
    tifffile.imwrite(tmp_path / "a.tif", frames, compression="zlib", photometric="minisblack")
    stack = open_stack(tmp_path / "a.tif")
    with ThreadPoolExecutor(6) as pool:
        for i, plane in enumerate(pool.map(stack.read, list(range(10)) * 5)):
            assert_array_equal(plane, frames[i % 10])


def test_a_profile_travels_with_a_page(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", make_frames(3), iccprofile=b"profile" * 30, photometric="minisblack")
    assert open_stack(tmp_path / "a.tif").source.tags(0).icc == b"profile" * 30


def test_pages_that_run_in_a_circle_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(4), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        first, last = tiff.pages[0].offset, tiff.pages[3].offset
        tags = len(tiff.pages[3].tags)
    data = bytearray(path.read_bytes())
    data[last + 2 + 12 * tags : last + 6 + 12 * tags] = struct.pack("<I", first)
    path.write_bytes(data)
    with pytest.raises(StackError, match=r"a\.tif is damaged: its pages run in a circle"):
        open_stack(path)


# ---- makers' notes


def test_ome_objective_and_channels_are_told(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Instrument ID="Instrument:0"><Objective ID="Objective:0" Model="spare"/>'
        '<Objective ID="Objective:1" Model="Plan Fluor" LensNA="0.45" NominalMagnification="20"/></Instrument>'
        '<Image ID="Image:0"><ObjectiveSettings ID="Objective:1" RefractiveIndex="1.33"/>'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="34" SizeY="21" SizeZ="3" SizeC="2" SizeT="1">'
        '<Channel ID="Channel:0:0" Name="DAPI" EmissionWavelength="461"/><Channel ID="Channel:0:1" Name="BF"/>'
        '<TiffData IFD="0" PlaneCount="6"/></Pixels></Image></OME>'
    )
    path = tmp_path / "a.ome.tif"
    frames = make_frames(6)
    tifffile.imwrite(path, frames, description=xml, metadata=None, photometric="minisblack")
    with pytest.raises(ChoiceNeeded) as caught:
        open_stack(path)
    assert caught.value.choices[0].options == ("DAPI (461 nm)", "BF")
    stack = open_stack(path, OpenOptions(channel=1))
    assert_array_equal(pixels(stack), frames[3:])
    assert stack.objective is not None
    assert (stack.objective.value.text, stack.objective.origin) == ("Plan Fluor, 20x, NA 0.45, n 1.33", "OME Objective")
    part = stack.part("channel")
    assert part is not None
    assert (part.text, part.chosen) == ("BF", 1)


def test_positions_in_several_ome_files_are_one_set(tmp_path: Path) -> None:
    """Micro-Manager writes a file a position; each tells of all of them."""
    frames = [make_frames(3), make_frames(4)[:3]]
    names = [f"scan_MMStack_Pos{k}.ome.tif" for k in range(2)]
    images = "".join(
        f'<Image ID="Image:{k}" Name="Pos{k}"><Pixels ID="Pixels:{k}" DimensionOrder="XYZCT" Type="uint8" SizeX="34" '
        'SizeY="21" SizeZ="3" SizeC="1" SizeT="1" PhysicalSizeZ="2"><Channel ID="Channel:0"/>'
        + "".join(
            f'<TiffData IFD="{z}" FirstZ="{z}" PlaneCount="1"><UUID FileName="{name}">urn:uuid:{k}</UUID></TiffData>'
            for z in range(3)
        )
        + "</Pixels></Image>"
        for k, name in enumerate(names)
    )
    for k, name in enumerate(names):
        xml = (
            '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
            f'UUID="urn:uuid:{k}">{images}</OME>'
        )
        tifffile.imwrite(tmp_path / name, frames[k], description=xml, metadata=None, photometric="minisblack")
    for path in (tmp_path, tmp_path / names[0], tmp_path / names[1]):
        with pytest.raises(ChoiceNeeded) as caught:
            open_stack(path)
        assert [option.split(" ")[0] for option in caught.value.choices[0].options] == ["Pos0", "Pos1"]
        for k in range(2):
            assert_array_equal(pixels(open_stack(path, OpenOptions(series=k))), frames[k])


@pytest.mark.parametrize(
    ("maker", "metadata", "positions", "pixel", "origin"),
    [
        (
            "lsm",
            {"VoxelSizeX": 5e-7, "VoxelSizeZ": 2e-6, "ScanInformation": {"Objective": "C-Apo  40x/1.2 W"}},
            [0, 2, 4, 6],
            0.5,
            "LSM VoxelSizeZ",
        ),
        (
            "stk",
            {"XCalibration": 0.25, "CalibrationUnits": "um", "ZDistance": np.full(4, 1.5)},
            [1.5, 3, 4.5, 6],
            0.25,
            "STK ZDistance",
        ),
        (
            "fluoview",
            {"Dimensions": [["X", 34, 0.0, 0.3, "um"], ["Y", 21, 0.0, 0.3, "um"], ["Z", 4, 1e4, -500.0, "nm"]]},
            [8.5, 9, 9.5, 10],
            0.3,
            "FluoView z axis",
        ),
        ("sis", {"pixelsizex": 4e-7, "magnification": 20.0}, None, 0.4, None),
    ],
)
def test_notes_of_makers_are_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    maker: str,
    metadata: dict[str, Any],
    positions: list[float] | None,
    pixel: float,
    origin: str | None,
) -> None:
    """Nothing writes these flavours, so tifffile is made to find their notes in a plain stack."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, make_frames(4), photometric="minisblack", metadata=None)
    monkeypatch.setattr(tifffile.TiffFile, f"is_{maker}", True, raising=False)
    monkeypatch.setattr(tifffile.TiffFile, f"{maker}_metadata", metadata)
    monkeypatch.setattr(tifffile.TiffFile, f"_series_{maker}", lambda tiff: None, raising=False)
    stack = open_stack(path)
    if positions is None:
        assert stack.unit == "index"
    else:
        assert_allclose(stack.positions.value, positions)
        assert stack.positions.origin == origin
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(pixel)
    if maker == "lsm":
        assert stack.objective is not None
        assert stack.objective.value.text == "C-Apo 40x/1.2 W"


def test_broken_notes_of_makers_cost_the_calibration_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.tif"
    frames = make_frames(4)
    tifffile.imwrite(path, frames, photometric="minisblack", metadata=None)
    monkeypatch.setattr(tifffile.TiffFile, "is_fluoview", True, raising=False)
    monkeypatch.setattr(tifffile.TiffFile, "fluoview_metadata", {})
    monkeypatch.setattr(tifffile.TiffFile, "_series_fluoview", lambda tiff: None)
    stack = open_stack(path)
    assert_array_equal(pixels(stack), frames)
    assert stack.unit == "index"

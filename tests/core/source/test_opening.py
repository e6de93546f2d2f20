"""Folders and lists of images: order, calibration, and what is said of bad input."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from core.source.conftest import MakeFolder, make_frames, write_image
from strategies import planes
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.export import write_result
from toposcope.core.jobs import Cancelled, CancelToken
from toposcope.core.source import OpenOptions, describe, open_stack
from toposcope.errors import CalibrationError, FrameError, IsResultError, SettingsError, StackError


def exif(**tags: object) -> bytes:
    block = Image.Exif()
    codes = {"orientation": 274, "make": 271}
    details = {"taken": 36867, "fraction": 37521, "distance": 37382}
    for name, value in tags.items():
        if name in codes:
            block[codes[name]] = value
        else:
            block.get_ifd(34665)[details[name]] = value
    return block.tobytes()


# ---- what comes in comes out


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_every_bit_of_a_folder_is_kept(make_folder: MakeFolder, dtype: str, channels: int, suffix: str) -> None:
    frames = make_frames(5, channels=channels, dtype=dtype)
    if suffix == "png":
        folder = make_folder(frames)
    else:
        folder = make_folder([])
        for k, plane in enumerate(frames):
            tifffile.imwrite(folder / f"frame_{k}.tif", plane)
    stack = open_stack(folder)
    assert (stack.n, stack.shape, stack.source.channels, stack.source.dtype) == (5, (21, 34), channels, dtype)
    assert_array_equal(np.stack([stack.read(i) for i in range(5)]), frames)
    assert_array_equal(stack.read(2, roi=(slice(3, 9), slice(1, 30))), frames[2][3:9, 1:30])
    assert stack.unit == "index"
    assert stack.positions.guessed
    assert stack.name == "stack"
    assert stack.path == folder


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plane=planes(dtypes=(np.uint8, np.uint16)))
def test_any_frame_survives_its_file(tmp_path: Path, plane: np.ndarray) -> None:
    files = [tmp_path / f"{name}.{suffix}" for name, suffix in (("a", "png"), ("b", "png"), ("c", "tif"))]
    for file in files[:2]:
        write_image(file, plane)
    tifffile.imwrite(files[2], plane, photometric="rgb" if plane.ndim == 3 else "minisblack")
    stack = open_stack(files)
    for i in range(3):
        assert_array_equal(stack.read(i), plane)


def test_frames_are_in_natural_order(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(12), "img{}.png")
    assert list(open_stack(folder).source.names) == [f"img{k}.png" for k in range(12)]
    reversed_names = open_stack(folder, OpenOptions(reverse=True)).source.names
    assert list(reversed_names) == [f"img{k}.png" for k in reversed(range(12))]


def test_frames_can_be_ordered_by_time(make_folder: MakeFolder) -> None:
    folder = make_folder([])
    # a burst within a second: only the fraction tells, and one frame without a fraction of its own
    for name, taken, fraction in (
        ("c", "2026:01:01 10:00:00", "50"),
        ("a", "2026:01:01 10:00:01", "10"),
        ("b", "2026:01:01 10:00:00", "75"),
    ):
        write_image(folder / f"{name}.jpg", make_frames(1)[0], exif=exif(taken=taken, fraction=fraction))
    assert list(open_stack(folder, OpenOptions(order="time")).source.names) == ["c.jpg", "b.jpg", "a.jpg"]
    assert list(open_stack(folder).source.names) == ["a.jpg", "b.jpg", "c.jpg"]
    write_image(folder / "d.jpg", make_frames(1)[0])
    with pytest.raises(StackError, match=r"d\.jpg has no EXIF time; choose the order by name"):
        open_stack(folder, OpenOptions(order="time"))


def test_frames_can_be_skipped_by_name_and_place(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(6))
    stack = open_stack(folder, OpenOptions(skip=("frame_2.png", 0), z_step=2.0, unit="um"))
    assert list(stack.source.names) == [f"frame_{k}.png" for k in (1, 3, 4, 5)]
    assert_allclose(stack.positions.value, [2, 6, 8, 10])
    with pytest.raises(SettingsError, match=r"no frame 'frame_9.png' to skip; the first is called 'frame_0.png'"):
        open_stack(folder, OpenOptions(skip=("frame_9.png",)))
    with pytest.raises(SettingsError, match="no frame 6 to skip; there are 6"):
        open_stack(folder, OpenOptions(skip=(6,)))


def test_lists_of_files_are_a_stack(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(5))
    files = [folder / f"frame_{k}.png" for k in (4, 0, 2, 2)]
    stack = open_stack(files)
    assert list(stack.source.names) == ["frame_0.png", "frame_2.png", "frame_4.png"]
    assert open_stack([folder]).n == 5
    with pytest.raises(StackError, match="folders and files"):
        open_stack([folder / "frame_0.png", folder])


def test_names_from_two_folders_stay_apart(tmp_path: Path) -> None:
    files = []
    for folder in ("near", "far"):
        (tmp_path / folder).mkdir()
        for k in range(2):
            files.append(tmp_path / folder / f"{k}.png")
            write_image(files[-1], make_frames(1)[0])
    assert list(open_stack(files).source.names) == ["far/0.png", "near/0.png", "far/1.png", "near/1.png"]


# ---- calibration


def test_positions_in_file_names_are_used(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder([])
    for z in (10, 2.5, 0, 7.5):
        write_image(folder / f"s_z{z}um.png", make_frames(1)[0])
    stack = open_stack(folder)
    assert_allclose(stack.positions.value, [0, 2.5, 7.5, 10])
    assert (stack.unit, stack.kind.value, stack.positions.origin) == ("um", "microscope", "file name")
    assert not stack.positions.guessed
    assert_allclose(open_stack(folder, OpenOptions(unit="mm")).positions.value, [0, 0.0025, 0.0075, 0.01])
    assert open_stack(folder, OpenOptions(unit="index")).unit == "index"


def test_distances_in_file_names_are_metres_as_a_guess(make_folder: MakeFolder) -> None:
    folder = make_folder([])
    for k, distance in enumerate(("0.35", "0.50", "0.90", "2.21")):
        write_image(folder / f"image_{k}_{distance}.jpg", make_frames(1)[0])
    stack = open_stack(folder)
    assert (stack.unit, stack.kind.value, stack.near.value) == ("m", "camera", "low")
    assert stack.positions.guessed
    assert "m is guessed" in stack.notes[0]
    stated = open_stack(folder, OpenOptions(unit="mm", kind="microscope"))
    assert (stated.unit, stated.kind.value, stated.positions.guessed) == ("mm", "microscope", False)


def test_exif_distances_are_used_if_they_tell_frames_apart(make_folder: MakeFolder) -> None:
    folder = make_folder([])
    for k, distance in enumerate((0.3, 0.31, 0.33)):
        write_image(folder / f"{k}.jpg", make_frames(1)[0], exif=exif(distance=distance, make="Maker"))
    stack = open_stack(folder)
    assert_allclose(stack.positions.value, [0.3, 0.31, 0.33])
    assert (stack.unit, stack.positions.origin) == ("m", "EXIF SubjectDistance")
    assert stack.kind.value == "camera"
    write_image(folder / "2.jpg", make_frames(1)[0], exif=exif(distance=0.31, make="Maker"))
    coarse = open_stack(folder)
    assert coarse.unit == "index"
    assert any("too coarse" in note for note in coarse.notes)
    assert coarse.kind.origin == "EXIF (Maker)"


def test_sidecar_wins_over_names_and_options_win_over_it(make_folder: MakeFolder) -> None:
    folder = make_folder([])
    for z in (0, 1, 2):
        write_image(folder / f"s_z{z}um.png", make_frames(1)[0])
    content = {
        "positions": [0, 5, 7],
        "unit": "mm",
        "kind": "microscope",
        "near": "low",
        "pixel_size": 2,
        "name": "wing",
    }
    (folder / "stack.json").write_text(json.dumps(content), encoding="utf-8")
    stack = open_stack(folder)
    assert_allclose(stack.positions.value, [0, 5, 7])
    assert (stack.unit, stack.name) == ("mm", "wing")
    assert {stack.positions.origin, stack.kind.origin, stack.near.origin} == {"stack.json"}
    assert stack.pixel_um is not None
    assert (stack.pixel_um.value, stack.pixel_um.origin) == (2.0, "stack.json")
    assert not stack.notes
    typed = open_stack(folder, OpenOptions(positions=(3, 2, 1), unit="um", pixel_um=0.5, near="high"))
    assert_allclose(typed.positions.value, [1, 2, 3])
    assert list(typed.source.names) == ["s_z2um.png", "s_z1um.png", "s_z0um.png"]
    assert typed.pixel_um is not None
    assert (typed.positions.origin, typed.pixel_um.value, typed.near.value) == ("typed in", 0.5, "high")
    assert open_stack(folder / "stack.json").name == "wing"
    # converted for show, since the sidecar states its unit
    assert_allclose(open_stack(folder, OpenOptions(unit="um")).positions.value, [0, 5000, 7000])


def test_sidecar_chooses_and_orders_frames(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(5))
    names = ["frame_4.png", "frame_1.png", "frame_0.png"]
    content = {"positions": [1, 2, 3], "unit": "um", "frames": names}
    (folder / "stack.json").write_text(json.dumps(content), encoding="utf-8")
    assert list(open_stack(folder).source.names) == names
    content["frames"] = [*names[:2], "gone.png"]
    (folder / "stack.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"stack\.json names the frame gone\.png, which is not in the folder"):
        open_stack(folder)


@pytest.mark.parametrize("positions", [[0, 1, 5, 9], [0, 5, 9]])
def test_sidecar_positions_stay_with_their_files_in_any_order(make_folder: MakeFolder, positions: list[float]) -> None:
    folder = make_folder(make_frames(4))
    (folder / "stack.json").write_text(json.dumps({"positions": positions, "unit": "um"}), encoding="utf-8")
    skip = ("frame_1.png",) if len(positions) == 3 else ()
    names = [f"frame_{k}.png" for k in range(4) if f"frame_{k}.png" not in skip]
    for reverse in (False, True):
        stack = open_stack(folder, OpenOptions(reverse=reverse, skip=skip))
        assert list(stack.source.names) == names
        assert_allclose(stack.positions.value, positions)


def test_positions_fit_all_frames_or_those_that_are_left(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(5))
    all_five = OpenOptions(positions=(0, 1, 2, 4, 8), unit="um", skip=(2,))
    only_four = OpenOptions(positions=(0, 1, 4, 8), unit="um", skip=(2,))
    for options in (all_five, only_four):
        assert_allclose(open_stack(folder, options).positions.value, [0, 1, 4, 8])
    with pytest.raises(CalibrationError, match="gives 3 positions, but there are 5 frames"):
        open_stack(folder, OpenOptions(positions=(0, 1, 2), unit="um"))


def test_positions_file_by_order_and_by_name(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(make_frames(3))
    listed = tmp_path / "z.csv"
    listed.write_text("name,z\nframe_2.png,1um\nframe_0.png,2um\nframe_1.png,5um\n", encoding="utf-8")
    stack = open_stack(folder, OpenOptions(positions_file=listed))
    assert list(stack.source.names) == ["frame_2.png", "frame_0.png", "frame_1.png"]
    assert stack.positions.origin == "positions file z.csv"
    listed.write_text("frame_2.png,1um\nframe_0.png,2um\nelse.png,5um\n", encoding="utf-8")
    with pytest.raises(CalibrationError, match=r"z\.csv gives no position for frame_1\.png"):
        open_stack(folder, OpenOptions(positions_file=listed))
    listed.write_bytes(b"7223525.79\r\n208.13\r\n10.0\r\n")
    distances = open_stack(folder, OpenOptions(positions_file=listed, unit="m", kind="camera"))
    assert_allclose(distances.positions.value, [10, 208.13, 7223525.79])
    assert_allclose(distances.coordinate, [0, (1 / 10 - 1 / 208.13) / (1 / 10 - 1 / 7223525.79), 1])


def test_positions_without_a_unit_are_a_guess(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    stack = open_stack(folder, OpenOptions(z_step=2.5))
    assert (stack.unit, stack.positions.guessed) == ("um", True)
    distances = open_stack(folder, OpenOptions(positions=(1, 2, 3), kind="camera"))
    assert (distances.unit, distances.positions.guessed) == ("m", True)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (
            OpenOptions(positions=(0, 1, 1), unit="um"),
            CalibrationError,
            "frame_1.png and frame_2.png have the same focus",
        ),
        (
            OpenOptions(positions=(0, float("nan"), 1), unit="um"),
            CalibrationError,
            "position of frame_1.png is not a num",
        ),
        (OpenOptions(positions=(0, 1, 2), unit="mm", kind="camera"), CalibrationError, "distances must be above 0"),
        (OpenOptions(positions=(0, 1, 2), z_step=1.0), CalibrationError, "only one of positions"),
        (OpenOptions(z_step=0.0), CalibrationError, "z step is 0"),
        (OpenOptions(z_step=float("inf")), CalibrationError, "z step is inf"),
        (OpenOptions(pixel_um=0.0), CalibrationError, "pixel size is 0 um"),
        (OpenOptions(skip=(0,)), StackError, "holds 2 images; depth from focus needs at least 3"),
        (OpenOptions(skip=(0, 1, 2)), StackError, "all frames are skipped"),
    ],
)
def test_contradicting_options_are_refused(
    make_folder: MakeFolder, options: OpenOptions, error: type[Exception], words: str
) -> None:
    folder = make_folder(make_frames(3))
    with pytest.raises(error) as caught:
        open_stack(folder, options)
    assert words in str(caught.value)


# ---- orientation


def test_orientation_is_applied_when_all_frames_agree(make_folder: MakeFolder) -> None:
    frames = make_frames(3, (21, 34))
    folder = make_folder(frames, exif=exif(orientation=6))
    stack = open_stack(folder)
    assert stack.shape == (34, 21)
    assert_array_equal(stack.read(0), np.rot90(frames[0], -1))
    assert stack.read(0, scale=4).shape == (9, 6)
    assert_array_equal(stack.read(0, roi=(slice(0, 5), slice(2, 9))), np.rot90(frames[0], -1)[:5, 2:9])
    tags = stack.source.tags(0)
    loaded = Image.Exif()
    loaded.load(tags.exif or b"")
    assert loaded[274] == 1


def test_orientations_that_differ_are_not_applied_and_said(make_folder: MakeFolder) -> None:
    frames = make_frames(4)
    folder = make_folder(frames, exif=exif(orientation=1))
    write_image(folder / "frame_2.png", frames[2], exif=exif(orientation=3))
    stack = open_stack(folder)
    assert_array_equal(stack.read(2), frames[2])
    assert stack.notes == ("EXIF orientation differs between frames and is not applied",)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(48, 64), (45, 61)])
def test_reduced_and_turned_frames_lie_where_whole_ones_do(
    make_folder: MakeFolder, orientation: int, shape: tuple[int, int]
) -> None:
    ramp = np.add.outer(np.arange(shape[0]) * 2, np.arange(shape[1])).astype(np.uint8)
    folder = make_folder([ramp] * 3, "frame_{}.jpg", quality=98, exif=exif(orientation=orientation))
    stack = open_stack(folder)
    whole, small = stack.read(0).astype(float), stack.read(0, scale=4).astype(float)
    rows, columns = (side // 4 for side in stack.shape)
    blocks = whole[: rows * 4, : columns * 4].reshape(rows, 4, columns, 4).mean(axis=(1, 3))
    assert np.abs(small[:rows, :columns] - blocks).max() < 2.5


# ---- what is passed over


def test_masks_and_results_beside_the_frames_are_left_out(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(4))
    for name in ("mask.png", "all_in_focus.png"):
        write_image(folder / name, make_frames(1)[0])
    tifffile.imwrite(folder / "depth.tif", make_frames(1, dtype="float32")[0])
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / ".hidden.png").write_bytes(b"x")
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "inner").mkdir()
    stack = open_stack(folder)
    assert stack.n == 4
    assert stack.notes == (
        "notes.txt passed over: no image format that is read here",
        "all_in_focus.png, depth.tif, mask.png left out: the name says that it is no frame of the series",
    )


def test_a_list_of_as_many_numbers_is_pointed_to_but_not_used(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    (folder / "focus.txt").write_text("10\n20\n40\n", encoding="utf-8")
    (folder / "other.txt").write_text("10\n20\n", encoding="utf-8")
    stack = open_stack(folder)
    assert stack.unit == "index"
    assert stack.notes[-1] == "focus.txt holds 3 numbers: give it as positions file if they are focus positions"


def test_frames_may_all_be_called_depth(make_folder: MakeFolder) -> None:
    assert open_stack(make_folder(make_frames(4), "depth_{}.png")).n == 4


def test_the_better_of_two_formats_is_taken(make_folder: MakeFolder) -> None:
    frames = make_frames(4, dtype="uint16")
    folder = make_folder((frames >> 8).astype(np.uint8), "a{}.jpg")
    make_folder(frames, "a{}.png")
    stack = open_stack(folder)
    assert (stack.n, stack.source.dtype) == (4, np.uint16)
    assert stack.notes == ("a0.jpg, a1.jpg and 2 more left out: the same frames are there as .png",)


# ---- bad input


def test_a_frame_of_another_kind_is_named_and_can_be_skipped(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(4))
    write_image(folder / "frame_2.png", make_frames(1, (10, 12), 3)[0])
    with pytest.raises(FrameError) as caught:
        open_stack(folder)
    assert str(caught.value) == (
        "frame_2.png is 12 x 10 8-bit colour, the others are 34 x 21 8-bit grey. Skip it, or take it out of the folder."
    )
    assert (caught.value.index, caught.value.name) == (2, "frame_2.png")
    for options in (OpenOptions(skip=(caught.value.index,)), OpenOptions(skip=(caught.value.name,))):
        assert open_stack(folder, options).n == 3
    stack = open_stack(folder, OpenOptions(skip_broken=True))
    assert stack.n == 3
    assert stack.notes == ("frame_2.png is 12 x 10 8-bit colour and does not go with the others: left out",)


@pytest.mark.parametrize("change", ["shape", "channels", "dtype"])
def test_two_series_in_one_folder_are_told(make_folder: MakeFolder, change: str) -> None:
    folder = make_folder(make_frames(3), "a{}.png")
    other = {
        "shape": make_frames(3, (8, 9)),
        "channels": make_frames(3, channels=3),
        "dtype": make_frames(3, dtype="uint16"),
    }[change]
    make_folder(other, "b{}.png")
    with pytest.raises(StackError, match=r"do not go together: 3 of .*, 3 of .*\. Put each series into a folder"):
        open_stack(folder)


def test_a_cut_frame_is_named_with_how_many_more(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(6, (60, 80), 3), "frame_{}.jpg")
    for k in (1, 4):
        file = folder / f"frame_{k}.jpg"
        file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(FrameError) as caught:
        open_stack(folder)
    assert str(caught.value) == (
        "frame_1.jpg is cut short: its end is missing. 1 more of the files cannot be read either. "
        "Skip it to go on with the others."
    )
    stack = open_stack(folder, OpenOptions(skip_broken=True, z_step=1.0, unit="um"))
    assert_allclose(stack.positions.value, [0, 2, 3, 5])
    assert stack.notes[0] == "frame_1.jpg is cut short: its end is missing: left out"


def test_text_that_is_called_png_is_told(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    (folder / "frame_1.png").write_text("to do: buy milk\n", encoding="utf-8")
    with pytest.raises(FrameError, match=r"frame_1\.png is text, not an image; it begins with 'to do: buy milk'"):
        open_stack(folder)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "the folder stack is empty."),
        (("a.txt", "b.doc"), "holds no images (a.txt, b.doc)"),
        (("a.czi",), "holds no images, but a.czi. Open the file itself."),
        (("a.czi", "b.nd2"), "holds no images, but a.czi, b.nd2. Open one of the files itself."),
        (("a.oir",), ".oir is not read yet. Export the stack as OME-TIFF"),
        (("one/", "two/"), "holds no images itself, only the folders one, two. Open the one that holds the series."),
    ],
)
def test_folders_without_images_say_what_they_hold(make_folder: MakeFolder, files: tuple[str, ...], words: str) -> None:
    folder = make_folder([])
    for name in files:
        (folder / name).mkdir() if name.endswith("/") else (folder / name).write_bytes(b"x")
    with pytest.raises(StackError) as caught:
        open_stack(folder)
    assert words in str(caught.value)


def test_too_few_images_are_told(make_folder: MakeFolder) -> None:
    for n, words in ((1, "holds 1 image; depth"), (2, "holds 2 images; depth")):
        with pytest.raises(StackError) as caught:
            open_stack(make_folder(make_frames(n)))
        assert words in str(caught.value)


def test_one_image_asks_for_its_folder(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(4))
    with pytest.raises(StackError, match=r"frame_2\.png is one image; .* Open its folder, or all images of the series"):
        open_stack(folder / "frame_2.png")
    tifffile.imwrite(folder / "one.tif", make_frames(1)[0])
    with pytest.raises(StackError, match=r"one\.tif is one image; .* Open its folder"):
        open_stack(folder / "one.tif")


def test_paths_that_are_not_there_or_no_images_are_told(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"nowhere does not exist"):
        open_stack(tmp_path / "nowhere")
    (tmp_path / "a.xyz").write_bytes(b"abc")
    with pytest.raises(StackError, match=r"a\.xyz is of no format that is read here"):
        open_stack(tmp_path / "a.xyz")
    (tmp_path / "a.oir").write_bytes(b"abc")
    with pytest.raises(StackError, match=r"a\.oir cannot be opened: \.oir is not read yet"):
        open_stack(tmp_path / "a.oir")
    with pytest.raises(StackError, match="no files were given"):
        open_stack([])
    with pytest.raises(StackError, match="a character that no file name may hold"):
        open_stack("a\0b")
    with pytest.raises(StackError):
        open_stack(tmp_path / ("x" * 5000))
    with pytest.raises(StackError, match="several folders"):
        open_stack([tmp_path, tmp_path.parent])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes_are_not_waited_for(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    os.mkfifo(folder / "frame_9.png")
    assert open_stack(folder).n == 3
    with pytest.raises(StackError, match=r"frame_9\.png is no file and no folder"):
        open_stack(folder / "frame_9.png")


def test_links_to_nothing_are_named(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    try:
        (folder / "frame_1b.png").symlink_to(folder / "nothing.png")
    except OSError:
        pytest.skip("this system lets no ordinary user make links")
    with pytest.raises(FrameError, match=r"frame_1b\.png is gone"):
        open_stack(folder)


def test_names_in_any_script_and_very_long_paths_are_read(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder(make_frames(3), "Käfer 虫 жук {} 😀.png")
    deep = tmp_path
    while len(str(deep)) < 400:
        deep = deep / ("Ordner mit langem Namen" * 4)
        deep.mkdir()
    target = deep / "Stapel"
    shutil.copytree(folder, target)
    stack = open_stack(target)
    assert stack.source.names[0] == "Käfer 虫 жук 0 😀.png"
    assert_array_equal(stack.read(1), make_frames(3)[1])


def test_denied_files_and_folders_are_told(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(make_frames(3))

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", denied)
        with pytest.raises(StackError, match="the folder stack cannot be opened: you have no permission to read it"):
            open_stack(folder)
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", denied)
        with pytest.raises(FrameError, match=r"frame_0\.png cannot be opened: you have no permission to read it"):
            open_stack(folder)


# ---- while it is open


def test_a_frame_that_goes_while_the_stack_is_open_is_named(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(4))
    stack = open_stack(folder)
    (folder / "frame_2.png").unlink()
    with pytest.raises(FrameError, match=r"^frame_2\.png is gone: it was moved, renamed or deleted\.$") as caught:
        stack.read(2)
    assert caught.value.name == "frame_2.png"
    with pytest.raises(FrameError, match=r"frame_2\.png is gone"):
        stack.source.tags(2)
    assert_array_equal(stack.read(3), make_frames(4)[3])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_frame_that_changes_while_the_stack_is_open_is_named(make_folder: MakeFolder, suffix: str) -> None:
    folder = make_folder([])
    write = write_image if suffix == "png" else tifffile.imwrite
    for k, plane in enumerate(make_frames(4)):
        write(folder / f"frame_{k}.{suffix}", plane)
    stack = open_stack(folder)
    write(folder / f"frame_1.{suffix}", make_frames(1, (30, 40))[0])
    with pytest.raises(FrameError, match=rf"frame_1\.{suffix} (was changed while the stack was open|is cut short)"):
        stack.read(1)


def test_reading_from_many_threads_gives_the_same(make_folder: MakeFolder) -> None:
    frames = make_frames(8, (60, 80), 3)
    stack = open_stack(make_folder(frames))
    with ThreadPoolExecutor(6) as pool:
        for i, plane in enumerate(pool.map(stack.read, list(range(8)) * 6)):
            assert_array_equal(plane, frames[i % 8])


def test_opening_tells_its_progress_and_can_be_cancelled(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(5))
    seen: list[float] = []
    open_stack(folder, report=lambda progress: seen.append(progress.fraction))
    assert seen == sorted(seen)
    assert len(seen) == 5
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        open_stack(folder, report=token.guard())


def test_opening_decodes_no_pixels(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(make_frames(3, channels=3), "a{}.jpg")

    def decoded(*_: object) -> None:
        raise AssertionError("pixels were decoded at opening")

    monkeypatch.setattr("toposcope.core.source.image_file._decode", decoded)
    assert open_stack(folder).shape == (21, 34)


# ---- numbers that are neither 8 nor 16 bit


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint32"])
def test_other_numbers_are_brought_into_0_to_1_and_said(make_folder: MakeFolder, dtype: str) -> None:
    folder = make_folder([])
    values = np.linspace(-40 if dtype[0] in "fi" else 0, 200, 3 * 20 * 30).reshape(3, 20, 30).astype(dtype)
    for k, plane in enumerate(values):
        tifffile.imwrite(folder / f"f{k}.tif", plane)
    stack = open_stack(folder)
    low, high = float(values.min()), float(values.max())
    assert stack.source.dtype == np.float32
    assert stack.notes == (f"values {low:g} to {high:g} are mapped to 0 to 1",)
    for i in range(3):
        assert_allclose(stack.read(i), (values[i].astype(float) - low) / (high - low), atol=1e-6)
    assert stack.read(0, scale=2).shape == (10, 15)
    assert_array_equal(stack.read(1, roi=(slice(2, 5), slice(4, 9))), stack.read(1)[2:5, 4:9])


def test_float_frames_in_0_to_1_stay_as_they_are(make_folder: MakeFolder) -> None:
    folder = make_folder([])
    frames = make_frames(3, dtype="float32")
    for k, plane in enumerate(frames):
        tifffile.imwrite(folder / f"f{k}.tif", plane)
    stack = open_stack(folder)
    assert_array_equal(stack.read(1), frames[1])
    assert not stack.notes
    holes = frames[0].copy()
    holes[3, 4], holes[5, 6] = np.nan, np.inf
    tifffile.imwrite(folder / "f0.tif", holes)
    stack = open_stack(folder)
    assert stack.notes == ("2 pixels that are not finite are taken as black",)
    assert stack.read(0)[3, 4] == 0
    assert np.isfinite(stack.read(0)).all()
    assert_allclose(stack.read(1), frames[1], atol=1e-7)


# ---- facts


def test_facts_are_plain_json_with_origins(make_folder: MakeFolder) -> None:
    stack = open_stack(make_folder(make_frames(4, channels=3)), OpenOptions(z_step=2.5, unit="um", pixel_um=0.5))
    facts = json.loads(json.dumps(describe(stack), allow_nan=False))
    assert facts["positions"] == {"value": [0.0, 2.5, 5.0, 7.5], "origin": "typed in", "guessed": False}
    assert facts["pixel_um"] == {"value": 0.5, "origin": "typed in", "guessed": False}
    assert (facts["frames"], facts["height"], facts["width"], facts["channels"], facts["bits"]) == (4, 21, 34, 3, 8)
    assert (facts["step"], facts["range"], facts["unit"]) == (2.5, [0.0, 7.5], "um")
    assert describe(open_stack(stack.path or "", OpenOptions(positions=(0, 1, 2, 9), unit="um")))["step"] is None


def test_a_step_makes_heights_of_a_camera_that_was_only_guessed(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3), exif=exif(make="Maker"))
    stack = open_stack(folder, OpenOptions(z_step=2.0, unit="um"))
    assert (stack.kind.value, stack.kind.origin) == ("microscope", "typed in")
    guessed = open_stack(folder, OpenOptions(positions=(0.0, 1.0, 2.0), unit="mm"))
    assert (guessed.kind.value, guessed.kind.guessed) == ("microscope", True)
    with pytest.raises(CalibrationError, match="above 0"):
        open_stack(folder, OpenOptions(z_step=2.0, unit="um", kind="camera"))


def test_what_stack_json_leaves_out_needs_no_remark(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    names = sorted(path.name for path in folder.iterdir())
    write_image(folder / "true_depth.png", make_frames(1)[0])
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    (folder / "stack.json").write_text(json.dumps({"frames": names}), encoding="utf-8")
    assert open_stack(folder).notes == ()


def test_pictures_of_results_are_no_frames(make_folder: MakeFolder) -> None:
    folder = make_folder(make_frames(3))
    for name in ("depth.png", "surface_3d.png", "curve.png"):
        write_image(folder / name, make_frames(1, (40, 50), 3)[0])
    assert open_stack(folder).n == 3


def test_a_result_is_told_from_a_stack(tmp_path: Path, make_folder: MakeFolder) -> None:
    stack = make_folder([np.full((20, 30), i, np.uint8) for i in range(4)])
    result = estimate(open_stack(stack), EstimateSettings(align="none"))
    write_result(result, tmp_path / "scan-depth")
    with pytest.raises(StackError) as caught:
        open_stack(tmp_path / "scan-depth")
    assert str(caught.value).startswith("scan-depth holds a result, not the photographs that it was made from.")
    assert str(stack) in str(caught.value)
    for named in (tmp_path / "scan-depth", tmp_path / "scan-depth" / "result.json"):
        with pytest.raises(IsResultError) as found:
            open_stack(named)
        assert found.value.folder == tmp_path / "scan-depth"
    # a result that was written among the frames is in nobody's way, and what is no result stays what it is
    write_result(result, stack)
    assert open_stack(stack).n == 4
    other = tmp_path / "other"
    other.mkdir()
    write_image(other / "a.png", make_frames(1)[0])
    (other / "result.json").write_text('{"of": "another program"}')
    with pytest.raises(StackError, match="at least 3") as caught:
        open_stack(other)
    assert not isinstance(caught.value, IsResultError)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"toposcope": 1}'])
def test_a_damaged_result_is_still_told_from_a_stack(tmp_path: Path, make_folder: MakeFolder, text: str) -> None:
    folder = tmp_path / "scan-depth"
    write_result(estimate(open_stack(make_folder(make_frames(4))), EstimateSettings(align="none")), folder)
    whole = (folder / "depth.tif").read_bytes()
    (folder / "depth.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IsResultError):  # its map is no frame that could be skipped
        open_stack(folder)
    (folder / "result.json").write_text(text)
    for named in (folder, folder / "result.json"):
        with pytest.raises(IsResultError):
            open_stack(named)


def test_of_several_results_one_is_opened(tmp_path: Path, make_folder: MakeFolder) -> None:
    result = estimate(open_stack(make_folder(make_frames(4))), EstimateSettings(align="none"))
    for name in ("time_001", "time_002"):
        write_result(result, tmp_path / "times" / name)
    folders = [tmp_path / "times" / name for name in ("time_001", "time_002")]
    for named in (folders, [folder / "result.json" for folder in folders]):
        with pytest.raises(StackError, match="only one result can be opened at a time"):
            open_stack(named)
    with pytest.raises(StackError, match=r"times holds results \(time_001, time_002\) and no images"):
        open_stack(tmp_path / "times")

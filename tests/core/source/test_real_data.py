"""Stacks from cameras and microscopes, where the collection of them lies beside the project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal

from toposcope.core.source import ChoiceNeeded, OpenOptions, describe, open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import StackError

DATA = Path(__file__).parents[3] / "../shared/data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the collection of real stacks is not beside the project")


@pytest.mark.parametrize(
    ("name", "n", "shape", "channels"),
    [
        ("stacks_real/pcb_button", 10, (1536, 2048), 3),
        ("stacks_real/amber_flies", 9, (825, 1280), 3),
        ("stacks_real/fibre_dome", 12, (1232, 1640), 3),
        ("stacks_real/mineral_two_pass", 28, (1080, 1920), 3),
        ("stacks_real/phone_balls", 10, (720, 1280), 3),
        ("stacks_real/ring", 6, (1141, 1521), 3),
        ("stacks_real/beetle_partial", 10, (500, 750), 3),
        ("stacks_real_licence_unclear/metal_bracket_z-0.5_0.1_2.4", 30, (768, 1024), 1),
        ("stacks_real_licence_unclear/metal_plates_z-0.2_0.1_1.3", 16, (768, 1024), 1),
        ("stacks_real_licence_unclear/macro_ruler", 14, (341, 512), 3),
        ("stacks_real_licence_unclear/webcam_sponge", 52, (480, 640), 3),
        ("stacks_with_gt/generated_surface_1", 41, (400, 400), 1),
    ],
)
def test_folders_of_photographs(name: str, n: int, shape: tuple[int, int], channels: int) -> None:
    stack = open_stack(DATA / name)
    assert (stack.n, stack.shape, stack.source.channels, stack.unit) == (n, shape, channels, "index")
    assert stack.read(n - 1).shape[:2] == shape
    assert stack.read(0, scale=8).shape[:2] == tuple(-(-side // 8) for side in shape)
    json.dumps(describe(stack), allow_nan=False)


def test_frames_that_count_from_one_to_fourteen_are_in_order() -> None:
    names = open_stack(DATA / "stacks_real_licence_unclear/macro_ruler").source.names
    assert list(names) == [f"FS-{k}.jpg" for k in range(1, 15)]


def test_masks_and_truth_are_left_out_with_a_note() -> None:
    stack = open_stack(DATA / "stacks_real_licence_unclear/metal_plates_z-0.2_0.1_1.3")
    assert stack.notes == ("mask.png left out: the name says that it is no frame of the series",)
    stack = open_stack(DATA / "stacks_with_gt/generated_surface_2")
    assert any("gt_slice_index.tif left out" in note for note in stack.notes)


def test_distances_of_a_phone_are_in_its_names() -> None:
    stack = open_stack(DATA / "stacks_real/phone_room")
    assert_allclose(stack.positions.value, [0.35, 0.5, 0.9, 1.33, 2.21])
    assert (stack.unit, stack.kind.value, stack.positions.guessed) == ("m", "camera", True)


def test_distances_of_a_phone_from_its_list_practically_infinity_included() -> None:
    folder = DATA / "stacks_real/phone_balls"
    options = OpenOptions(positions_file=folder / "focus_distance.txt", unit="m", kind="camera")
    stack = open_stack(folder, options)
    assert (stack.source.names[0], stack.source.names[-1]) == ("09.jpg", "00.jpg")
    assert stack.positions.value[-1] == pytest.approx(7223525.79)
    assert np.diff(stack.coordinate).min() > 0.02  # infinity is one step further, not all of the range


def formats(name: str, options: OpenOptions = OpenOptions()) -> FocalStack:  # noqa: B008  it is frozen
    return open_stack(DATA / "microscope_formats" / name, options)


@pytest.mark.parametrize(
    ("name", "positions", "origin"),
    [
        ("derived_regular.ome.tif", np.arange(41) * 2.5, "OME PositionZ"),
        ("derived_descending.ome.tif", np.arange(41) * 2.5, "OME PositionZ"),
        ("derived_imagej_spacing.tif", np.arange(41) * 2.5, "ImageJ spacing"),
        ("sktracker_imagej_spacing_Stack-1.tif", np.arange(5) * 0.41513292348643577, "ImageJ spacing"),
    ],
)
def test_stacks_of_microscopes(name: str, positions: np.ndarray, origin: str) -> None:
    stack = formats(name)
    assert_allclose(stack.positions.value, positions, rtol=1e-9)
    assert (stack.unit, stack.positions.origin, stack.kind.value) == ("um", origin, "microscope")
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(0.5 if name.startswith("derived") else 1 / 2.408867)


def test_descending_and_irregular_heights_bring_their_frames_along() -> None:
    up, down = formats("derived_regular.ome.tif"), formats("derived_descending.ome.tif")
    path = DATA / "microscope_formats/derived_descending.ome.tif"
    with tifffile.TiffFile(path) as tiff:
        for i in (0, 17, 40):
            assert_array_equal(down.read(i), tiff.pages[40 - i].asarray())
    assert up.source.names[0] == "slice 1"
    assert down.source.names[0] == "slice 41"
    irregular = formats("derived_irregular_no_PhysicalSizeZ.ome.tif")
    assert irregular.n == 25
    assert np.diff(irregular.positions.value).std() > 0.1
    assert describe(irregular)["step"] is None


@pytest.mark.parametrize(
    ("name", "asked", "n", "step"),
    [
        ("sktracker_CZT_peaks.ome.tif", {"time": 4}, 4, 1.0),
        ("sktracker_TC_BF_cells.ome.tif", {"time": 3}, 7, 0.3),
        ("sktracker_TZ_nucleus.ome.tif", {"time": 4}, 5, 1.5),
        ("sktracker_sample.ome.tif", {"time": 20, "channel": 2}, 8, 0.3),
    ],
)
def test_several_stacks_in_a_file_are_asked_for(name: str, asked: dict[str, int], n: int, step: float) -> None:
    with pytest.raises(ChoiceNeeded) as caught:
        formats(name)
    assert {choice.name: len(choice.options) for choice in caught.value.choices} == asked
    whole = tifffile.imread(DATA / "microscope_formats" / name)  # T Z [C] Y X
    stack = formats(name, OpenOptions(time=1, channel=1 if "channel" in asked else None))
    assert (stack.n, stack.positions.origin) == (n, "OME PhysicalSizeZ")
    assert_allclose(stack.positions.value, np.arange(n) * step)
    for i in range(n):
        expected = whole[1, i, 1] if "channel" in asked else whole[1, i]
        assert_array_equal(stack.read(i), expected)


@pytest.mark.parametrize(
    ("name", "package", "asked", "n", "step", "pixel", "lens"),
    [
        (
            "aicspylibczi_CD_s_1_t_3_c_2_z_5.czi",
            "pylibCZIrw",
            {"time": 3, "channel": 2},
            5,
            0.32,
            0.0905767,
            "Plan-Apochromat 50x/1.2, 50x, NA 1.2, n 1.33",
        ),
        ("pims_cluster.nd2", "nd2", {"time": 3, "channel": 2}, 10, 0.5, 0.167809, "Plan Apo λ 60x, 60x, NA 0.95, n 1"),
    ],
)
def test_files_of_makers(
    name: str, package: str, asked: dict[str, int], n: int, step: float, pixel: float, lens: str
) -> None:
    pytest.importorskip(package, reason=f"{package} is not installed")
    with pytest.raises(ChoiceNeeded) as caught:
        formats(name)
    assert {choice.name: len(choice.options) for choice in caught.value.choices} == asked
    stack = formats(name, OpenOptions(channel=1, time=2))
    assert stack.n == n
    assert_allclose(np.diff(stack.positions.value), step)
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == pytest.approx(pixel, rel=1e-5)
    assert stack.objective is not None
    assert stack.objective.value.text == lens
    assert stack.read(n // 2).std() > 0
    stack.close()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("aicspylibczi_RGB-8bit.czi", "holds one slice; depth"),
        ("aicspylibczi_RGB-multichannel.czi", "holds one slice in each of its 7 channels"),
        ("aicspylibczi_mosaic_test.czi", "holds one slice"),
        ("aicspylibczi_s_1_t_1_c_1_z_1.czi", "holds one slice"),
        ("aicspylibczi_tiles.czi", "holds one slice in each of its 2 channels"),
        ("aicspylibczi_tiles_time_z.czi", "holds 2 slices in each of its 2 channels and 2 time points"),
        ("aicspylibczi_tiles_z.czi", "holds 2 slices in each of its 2 channels"),
        ("rosettasciio_imagej_stack_spacing2.5.tif", "holds 2 images"),
        ("rosettasciio_olympus_SIS.tif", "holds 2 images of different sizes"),
        ("surftopo_al3d-1.al3d", "is a height map"),
        ("surftopo_hfm-1.hfm", "is a height map"),
        ("surftopo_opdx-3.opdx", "is a height map"),
        ("surftopo_stp-1.stp", "is a height map"),
        ("surftopo_x3p-2.x3p", "is a height map"),
        ("x3ptools_csafe-logo.x3p", "is a height map"),
        ("x3ptools_sample-land.x3p", "is a height map"),
    ],
)
def test_what_is_no_stack_is_refused_with_the_reason(name: str, words: str) -> None:
    if name.endswith(".czi"):
        pytest.importorskip("pylibCZIrw", reason="pylibCZIrw is not installed")
    with pytest.raises(StackError, match=words):
        formats(name)

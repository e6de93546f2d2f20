"""Data sets in distances: fs_6, NYU Depth v2, Smartphone, Mobile Depth, in files of their own layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import OpenEXR
import pytest
import tifffile
from scipy.io import savemat

from dffnets.data import DataError, open_data_set, to_training_stack
from dffnets.data.nyu import COLUMNS, FOCUS_M, ROWS, Camera, render
from dffnets.data.smartphone import FOCUS_MM, fields, to_one_field


def write_exr(path: Path, **channels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    OpenEXR.File({"type": OpenEXR.scanlineimage}, channels).write(str(path))


def flat(value: int, height: int = 4, width: int = 6) -> np.ndarray:
    """Return a picture (H, W, 3) whose red is ``value``, green 7 and blue 9."""
    return np.full((height, width, 3), (value, 7, 9), np.uint8)


# -- DefocusNet fs_6 ---------------------------------------------------------------------------------------

DEPTH = np.array([[0.05, 0.1, 0.3, 1.5, 2.5, 0.0]] * 4, np.float16)


def write_fs6(folder: Path, numbers: list[int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        for k in range(5):
            tifffile.imwrite(folder / f"{number:06d}_{k:02d}All.tif", flat(10 * k + number % 10))
        write_exr(folder / f"{number:06d}Dpt.exr", R=DEPTH, G=DEPTH, B=DEPTH)


def test_first_four_hundred_scenes_train(tmp_path: Path) -> None:
    write_fs6(tmp_path, [0, 7, 399, 400, 499])
    assert open_data_set("fs_6", tmp_path, "train").names == ["000000", "000007", "000399"]
    assert open_data_set("fs_6", tmp_path, "test").names == ["000400", "000499"]


def test_divided_folders_are_the_split_whatever_the_numbers(tmp_path: Path) -> None:
    write_fs6(tmp_path / "train", [450])
    write_fs6(tmp_path / "test", [3, 4])
    assert open_data_set("fs_6", tmp_path, "train").names == ["000450"]
    assert open_data_set("fs_6", tmp_path, "test").names == ["000003", "000004"]


def test_fs6_has_five_focus_distances_in_metres(tmp_path: Path) -> None:
    write_fs6(tmp_path, [7])
    sample = open_data_set("fs_6", tmp_path, "train")[0]
    np.testing.assert_array_equal(sample.positions, [0.1, 0.15, 0.3, 0.7, 1.5])
    assert (sample.kind, sample.unit) == ("camera", "m")
    np.testing.assert_array_equal(sample.frames[:, 0, 0], [[10 * k + 7, 7, 9] for k in range(5)])
    np.testing.assert_array_equal(sample.valid[0], [True] * 5 + [False])
    np.testing.assert_allclose(sample.depth[0, :5], DEPTH[0, :5].astype(np.float32))
    # 0.1 as a half float is 0.09998, and 1.5 is exact
    np.testing.assert_array_equal(sample.in_sweep()[0], [False, False, True, True, False, False])
    stack = to_training_stack(sample)
    assert float(stack.depth[0, 2]) == pytest.approx((1 / 0.3 - 1 / 1.5) / (1 / 0.1 - 1 / 1.5), abs=1e-3)
    assert stack.positions[0] == 0  # 1.5 m, the farthest
    assert int(stack.frames[0, 0, 0]) == int(cv2.cvtColor(flat(47), cv2.COLOR_RGB2GRAY)[0, 0])


def test_a_scene_of_four_frames_is_refused(tmp_path: Path) -> None:
    write_fs6(tmp_path, [7])
    (tmp_path / "000007_02All.tif").unlink()
    with pytest.raises(DataError, match=r"scene 000007 .* has 4 frames; needed are 5"):
        open_data_set("fs_6", tmp_path, "train")[0]


# -- NYU Depth v2 ------------------------------------------------------------------------------------------


def write_nyu(folder: Path, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Write pictures (480, 640) whose left half is 2 m and right half 6 m away, column by column as MATLAB does."""
    random = np.random.default_rng(3)
    pictures = random.integers(0, 256, (count, 480, 640, 3), dtype=np.uint8)
    depth = np.full((count, 480, 640), 2.0, np.float32)
    depth[:, :, 320:] = 6.0
    depth[:, 44, 40] = 10.0  # what the sensor answers beyond its reach
    with h5py.File(folder / "nyu_depth_v2_labeled.mat", "w") as file:
        file["images"] = pictures.transpose(0, 3, 2, 1)
        file["depths"] = depth.transpose(0, 2, 1)
    savemat(folder / "splits.mat", {"trainNdxs": np.array([[3], [1]]), "testNdxs": np.array([[2]])})
    return pictures, depth


@pytest.mark.slow
def test_nyu_is_sharp_where_the_focus_is_the_depth(tmp_path: Path) -> None:
    pictures, depth = write_nyu(tmp_path)
    wide_open = Camera(50, 2.0, 12)
    sample = open_data_set("nyu_v2", tmp_path, "train", focus_m=(2.0, 6.0), camera=wide_open)[0]
    assert sample.name == "0003"
    assert sample.frames.shape == (2, 427, 561, 3)
    np.testing.assert_array_equal(sample.positions, [2, 6])
    assert not sample.valid[0, 0]
    assert sample.valid.sum() == sample.valid.size - 1
    np.testing.assert_array_equal(sample.depth[1], depth[2][ROWS, COLUMNS][1])
    error = np.abs(sample.frames.astype(int) - pictures[2][ROWS, COLUMNS]).mean((1, 3))  # (2, W)
    near, far = error[:, 40:200].mean(1), error[:, 400:500].mean(1)
    assert near[0] < 0.8 * near[1]
    assert far[1] < 0.8 * far[0]


def test_rendered_blur_is_that_of_the_thin_lens() -> None:
    step = np.zeros((41, 81, 3), np.uint8)
    step[:, 40:] = 255
    camera, focus, depth = Camera(50, 4.0, 12), 2.0, 4.0
    frames = render(step, np.full((41, 81), depth, np.float32), (focus, 4.0), camera)
    light = (frames[0, 20, :, 1] / 255.0) ** 2.2
    # aperture f/N, sensor behind the lens at s, circle A s |1/d - 1/z|, all in mm; its half in pixels
    sensor = 50 * 4000 / (4000 - 50)
    radius = (50 / 4.0) * sensor * abs(1 / 2000 - 1 / 4000) / 0.012 / 2
    lit = np.flatnonzero((light > 0.02) & (light < 0.98))
    # 2 % of a disc lie beyond 0.895 of its radius: (acos t - t sqrt(1 - t^2)) / pi = 0.02
    assert len(lit) == pytest.approx(2 * radius * 0.895, abs=1.5)
    assert 5 < radius < 9


def test_nyu_splits_count_from_one_and_focus_is_the_same_for_all(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    assert open_data_set("nyu_v2", tmp_path, "train").names == ["0003", "0001"]
    assert open_data_set("nyu_v2", tmp_path, "test").names == ["0002"]
    (tmp_path / "splits.mat").unlink()
    assert open_data_set("nyu_v2", tmp_path, "all").names == ["0001", "0002", "0003"]
    with pytest.raises(DataError, match=r"no file .*splits\.mat, the official split; 'all' does without"):
        open_data_set("nyu_v2", tmp_path, "test")
    np.testing.assert_allclose(np.diff(1 / np.array(FOCUS_M["dioptres"])), -(1 / 0.5 - 1 / 10) / 9)


def test_nyu_refuses_what_it_cannot_focus_on_and_splits_of_something_else(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    with pytest.raises(DataError, match="no focus list 'hybrid'; choose dioptres, dered, ddfs"):
        open_data_set("nyu_v2", tmp_path, "all", focus_m="hybrid")
    with pytest.raises(DataError, match="beyond the lens"):
        open_data_set("nyu_v2", tmp_path, "all", focus_m=(0.05, 1.0))
    savemat(tmp_path / "splits.mat", {"testNdxs": np.array([[1449]])})
    with pytest.raises(DataError, match="names pictures 1449 to 1449, but there are 3"):
        open_data_set("nyu_v2", tmp_path, "test")
    with pytest.raises(DataError, match="holds no trainNdxs"):
        open_data_set("nyu_v2", tmp_path, "train")


# -- Smartphone --------------------------------------------------------------------------------------------


def write_phone(root: Path, part: str, scene: str, missing: int | None = None) -> None:
    """Write 12 x 18 frames; depth codes 0, 51 and 255 in turn along rows, the second column untrusted."""
    for k in range(49):
        folder = root / part / "scaled_images" / scene / str(k)
        folder.mkdir(parents=True)
        if k != missing:
            cv2.imwrite(str(folder / "result_scaled_image_center.jpg"), np.full((12, 18, 3), 5 * k, np.uint8))
    depth = root / part / "merged_depth" / scene
    depth.mkdir(parents=True)
    codes = np.tile(np.array([255, 0, 51], np.uint8), (12, 6))
    cv2.imwrite(str(depth / "result_merged_depth_center.png"), codes)
    trust = np.tile(np.array([1.5, 0, 0.25], np.float32), (12, 6))
    write_exr(root / part / "merged_conf" / scene / "result_merged_conf_center.exr", R=trust, G=trust, B=trust)


def test_phone_depth_is_decoded_cropped_and_trusted_as_far_as_it_says(tmp_path: Path) -> None:
    write_phone(tmp_path, "test", "b")
    write_phone(tmp_path, "test", "a")
    write_phone(tmp_path, "train1", "x")
    write_phone(tmp_path, "train7", "a")
    samples = open_data_set("smartphone", tmp_path, "test")
    assert samples.names == ["test/a", "test/b"]
    assert open_data_set("smartphone", tmp_path, "train").names == ["train1/x", "train7/a"]
    sample = samples[0]
    assert sample.frames.shape == (10, 8, 12, 3)  # the middle two thirds of 12 x 18
    assert (sample.kind, sample.unit) == ("camera", "m")
    numbers = [0, 5, 11, 16, 21, 27, 32, 37, 43, 48]
    np.testing.assert_array_equal(sample.frames[:, 0, 0, 0], 5 * np.array(numbers))
    np.testing.assert_allclose(sample.positions, [FOCUS_MM[k] / 1000 for k in numbers])
    assert sample.positions[0] == pytest.approx(3.91092)
    assert sample.positions[-1] == pytest.approx(0.10201)
    # 100 m at 255; at 51, a fifth, 20 / (100 - 99.8 / 5)
    np.testing.assert_allclose(sample.depth[0, :3], [100, np.nan, 20 / (100 - 99.8 / 5)], rtol=1e-5)
    np.testing.assert_array_equal(sample.valid[0, :3], [True, False, True])
    assert sample.confidence is not None
    np.testing.assert_array_equal(sample.confidence[0, :3], [1, 0, 0.25])
    np.testing.assert_array_equal(sample.in_sweep()[0, :3], [False, False, True])
    stack = to_training_stack(sample)
    expected = ((100 - 99.8 / 5) / 20 - 1 / 3.91092) / (1 / 0.10201 - 1 / 3.91092)
    assert float(stack.depth[0, 2]) == pytest.approx(expected, abs=1e-3)
    assert float(to_training_stack(sample, least_confidence=0.5).depth[0, 2]) == -1


def test_phone_has_forty_nine_distances_from_far_to_near() -> None:
    assert len(FOCUS_MM) == 49
    assert (np.diff(FOCUS_MM) < 0).all()


def test_all_phone_frames_can_be_read_whole(tmp_path: Path) -> None:
    write_phone(tmp_path, "test", "a")
    sample = open_data_set("smartphone", tmp_path, "test", frames=49, crop=False)[0]
    assert sample.frames.shape == (49, 12, 18, 3)
    with pytest.raises(DataError, match="50 frames were asked for"):
        open_data_set("smartphone", tmp_path, "test", frames=50)


def test_a_missing_phone_frame_is_named(tmp_path: Path) -> None:
    write_phone(tmp_path, "test", "a", missing=48)
    with pytest.raises(DataError, match=r"48.result_scaled_image_center\.jpg, frame 48 of 0 to 48"):
        open_data_set("smartphone", tmp_path, "test")[0]


def test_phone_frames_come_to_one_field_of_view() -> None:
    distances = np.array([3.91092, 0.10201])
    far, near = fields(distances)
    assert near == 1
    assert far == pytest.approx((1 / 0.00444 - 1 / 3.91092) / (1 / 0.00444 - 1 / 0.10201))
    # a blob 60 px beside the centre of the far frame belongs 60 * far px beside it in the near one
    x, y = np.meshgrid(np.arange(201), np.arange(101))
    blob = 200 * np.exp(-((x - 160) ** 2 + (y - 50) ** 2) / (2 * 4**2))
    frames = np.repeat(np.repeat(blob.astype(np.uint8)[None, ..., None], 3, 3), 2, 0)
    first, second = to_one_field(frames, distances)[..., 0].astype(float)
    assert (first * x).sum() / first.sum() == pytest.approx(100 + 60 * far, abs=0.1)
    assert (first * y).sum() / first.sum() == pytest.approx(50, abs=0.1)
    np.testing.assert_array_equal(second, frames[1, ..., 0])


# -- Mobile Depth ------------------------------------------------------------------------------------------


def write_mobile(root: Path, figure: str, scene: str, calibration: str, focus: list[float]) -> None:
    aligned, calibrated = root / "Aligned" / figure / scene, root / "results" / "calibration" / calibration
    aligned.mkdir(parents=True)
    for k in range(len(focus)):
        cv2.imwrite(str(aligned / f"a{k:02d}.jpg"), np.full((4, 6, 3), 2 * k, np.uint8))
        cv2.imwrite(str(aligned / f"{k:02d}.jpg"), np.full((4, 6, 3), 250, np.uint8))  # not aligned
    if calibration:
        calibrated.mkdir(parents=True)
        lines = [f"{distance} 0.0152" for distance in focus] + ["0.2"]
        (calibrated / "calibrated.txt").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")


def test_mobile_stacks_get_their_calibration_and_no_truth(tmp_path: Path) -> None:
    write_mobile(tmp_path, "Figure7", "balls", "balls", [7223525.79, 208.13, *np.linspace(60, 10, 10)])
    write_mobile(tmp_path, "Figure6", "largemotion", "GTLarge", [30.0, 20.0, 10.0])
    write_mobile(tmp_path, "Figure5", "metals", "metal", [10.0, 20.0, 30.0])
    write_mobile(tmp_path, "Figure3", "bucket", "", [1.0, 2.0])  # has no calibration
    samples = open_data_set("mobile_depth", tmp_path, "test")
    assert samples.names == ["balls", "largemotion", "metals"]
    balls = samples[0]
    assert balls.frames.shape == (12, 4, 6, 3)
    np.testing.assert_array_equal(balls.frames[:, 0, 0, 0], 2 * np.arange(12))
    np.testing.assert_allclose(balls.positions[:2], [7223525.79, 208.13])
    assert (balls.kind, balls.unit) == ("camera", "unknown")
    assert not balls.has_truth
    np.testing.assert_array_equal(samples[1].positions, [30, 20, 10])
    np.testing.assert_array_equal(samples[2].positions, [30, 20, 10])  # reversed
    stack = to_training_stack(balls)
    assert float(stack.positions[0]) == 0
    assert (stack.depth == -1).all()


def test_frames_and_calibration_must_agree_in_number(tmp_path: Path) -> None:
    write_mobile(tmp_path, "Figure7", "balls", "balls", [3.0, 2.0, 1.0])
    (tmp_path / "Aligned" / "Figure7" / "balls" / "a02.jpg").unlink()
    with pytest.raises(DataError, match="balls: 2 frames have 3 focus positions"):
        open_data_set("mobile_depth", tmp_path, "test")[0]


def test_a_calibration_that_is_no_table_is_refused(tmp_path: Path) -> None:
    write_mobile(tmp_path, "Figure7", "balls", "balls", [3.0, 2.0])
    calibration = tmp_path / "results" / "calibration" / "balls" / "calibrated.txt"
    calibration.write_text("<html>\n</html>\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"calibrated\.txt should hold 'focus aperture' lines"):
        open_data_set("mobile_depth", tmp_path, "test")[0]

"""Refocused light fields: 4D Light Field and DDFF 12-Scene, in files of their own layouts."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from dffnets.data import DataError, Samples, open_data_set, to_training_stack
from dffnets.data.ddff12 import ROOMS, disparity_px, focus_disparities
from dffnets.data.refocus import refocus


def texture(height: int = 24, width: int = 30, seed: int = 0) -> np.ndarray:
    """Return an RGB picture (H, W, 3) of fine detail."""
    return np.random.default_rng(seed).integers(30, 226, (height, width, 3), dtype=np.uint8)


def light_field(picture: np.ndarray, disparity: int | np.ndarray, side: int = 9) -> np.ndarray:
    """Return the views (side, side, H, W, 3) of a scene by whole-pixel ``disparity``, one number or one a row.

    The point at p in the central view lies at p + disparity (c - v) in view v; with one number a row, the
    views are moved along rows only, so that no row covers another.
    """
    views = np.empty((side, side, *picture.shape), np.uint8)
    for v in range(side):
        for u in range(side):
            down, right = side // 2 - v, side // 2 - u
            if np.ndim(disparity) == 0:
                views[v, u] = np.roll(picture, (disparity * down, disparity * right), (0, 1))
            else:
                views[v, u] = [np.roll(row, d * right, 0) for row, d in zip(picture, disparity, strict=True)]
    return views


@pytest.mark.parametrize("disparity", [-2, 0, 1])
def test_a_plane_is_sharp_where_the_focus_is_its_disparity(disparity: int) -> None:
    picture = texture()
    stack = refocus(light_field(picture, disparity), np.array([-2.0, 0.0, 1.0]))
    for focus, frame in zip((-2, 0, 1), stack, strict=True):
        if focus == disparity:
            np.testing.assert_array_equal(frame, picture)
        else:
            assert frame.std() < 0.5 * picture.std()


def test_views_are_moved_by_fractions_of_pixels() -> None:
    x = np.arange(32)

    def wave(shift: float) -> np.ndarray:
        line = 128 + 100 * np.sin(2 * np.pi * 3 * (x - shift) / 32)
        return np.rint(np.broadcast_to(line[None, :, None], (8, 32, 3))).astype(np.uint8)

    views = np.stack([np.stack([wave(0.37 * (4 - u)) for u in range(9)])] * 9)
    stack = refocus(views, np.array([0.37, -0.37]))
    assert np.abs(stack[0].astype(int) - wave(0)).max() <= 1  # the views' own rounding
    # at focus f a wave of k periods is damped by the mean of cos(2 pi k (f - d) n / 32) over n = -4..4
    damped = np.cos(2 * np.pi * 3 * 0.74 * np.arange(-4, 5) / 32).mean()
    assert np.ptp(stack[1].astype(int)) == pytest.approx(200 * abs(damped), abs=3)


def write_scene(folder: Path, views: np.ndarray, disparity: np.ndarray | None) -> None:
    folder.mkdir(parents=True)
    for k, view in enumerate(views.reshape(-1, *views.shape[2:])):
        cv2.imwrite(str(folder / f"input_Cam{k:03d}.png"), view[..., ::-1])
    if disparity is not None:
        rows = disparity[::-1].astype("<f4").tobytes()
        (folder / "gt_disp_lowres.pfm").write_bytes(b"Pf\n%d %d\n-1\n" % disparity.shape[::-1] + rows)


def test_benchmark_folders_are_divided_refocused_and_sharp_where_the_truth_says(tmp_path: Path) -> None:
    picture = texture(16, 40)
    steps = np.repeat([-2, 1], 8)  # upper half behind, lower half before the plane of zero disparity
    truth = np.repeat(steps[:, None], 40, 1).astype(np.float32)
    views = light_field(picture, steps)
    for scene in ("training/cotton", "training/boxes", "additional/tower", "stratified/dots", "test/herbs"):
        write_scene(tmp_path / scene, views, None if scene.startswith("test") else truth)
    opened = {s: open_data_set("light_field_4d", tmp_path, s, focus_px=(-2, 1)) for s in ("train", "val", "test")}
    assert opened["train"].names == ["tower", "dots"]
    assert opened["val"].names == ["boxes", "cotton"]
    assert opened["test"].names == ["herbs"]

    sample = opened["val"][0]
    assert (sample.kind, sample.unit) == ("disparity", "px")
    np.testing.assert_array_equal(sample.positions, [-2, 1])
    np.testing.assert_array_equal(sample.depth, truth)
    assert sample.valid.all()
    # each half has columns moved by its own disparity only; rows are added up over 9 views that do not move
    error = np.abs(sample.frames.astype(int) - picture).mean((2, 3))  # (2, 16)
    lower, upper = error[:, 12:].mean(1), error[:, :4].mean(1)
    assert upper[0] < upper[1]
    assert lower[1] < lower[0]
    stack = to_training_stack(sample)
    assert stack.depth[0, 0] == 0
    assert stack.depth[-1, 0] == 1

    assert not opened["test"][0].has_truth
    default = open_data_set("light_field_4d", tmp_path, "val")[1]
    np.testing.assert_allclose(default.positions, np.linspace(-2.5, 2.5, 10))


def test_a_scene_that_lacks_a_view_is_refused(tmp_path: Path) -> None:
    write_scene(tmp_path / "training" / "dino", light_field(texture(4, 4), 0), np.zeros((4, 4), np.float32))
    (tmp_path / "training" / "dino" / "input_Cam044.png").unlink()
    samples = open_data_set("light_field_4d", tmp_path, "val")
    with pytest.raises(DataError, match=r"dino lacks 1 of 81 views, first input_Cam044\.png"):
        samples[0]


def test_generated_stacks_come_from_their_file(tmp_path: Path) -> None:
    frames = np.stack([np.stack([texture(6, 8, 10 * n + k) for k in range(10)]) for n in range(2)])
    truth = np.linspace(-4, 4, 48, dtype=np.float32).reshape(6, 8)
    with h5py.File(tmp_path / "HCI_FS_trainval.h5", "w") as file:
        file["focus_position_disp"] = np.linspace(-2.5, 2.5, 10, dtype=np.float32)[None]
        for part, names in (("train", ["HCI/additional/town", "antinous"]), ("val", ["dino", "boxes"])):
            file[f"stack_{part}"] = frames.astype(np.float32)
            file[f"disp_{part}"] = np.stack([truth, -truth])
            file.create_dataset(f"name_{part}", data=[[n] for n in names], dtype=h5py.string_dtype())
    for root in (tmp_path, tmp_path / "HCI_FS_trainval.h5"):
        samples = open_data_set("light_field_4d", root, "train")
        assert samples.names == ["town", "antinous"]
    sample = samples[1]
    np.testing.assert_array_equal(sample.frames, frames[1])
    np.testing.assert_allclose(sample.positions, np.linspace(-2.5, 2.5, 10), atol=1e-6)
    np.testing.assert_array_equal(sample.depth, -truth)
    np.testing.assert_array_equal(sample.in_sweep(), np.abs(truth) <= 2.5)
    assert open_data_set("light_field_4d", tmp_path, "val").names == ["dino", "boxes"]
    with pytest.raises(DataError, match="needed is 'stack_test'"):
        open_data_set("light_field_4d", tmp_path, "test")


# -- DDFF 12-Scene -----------------------------------------------------------------------------------------


def test_focus_of_ddff_is_half_a_metre_to_seven() -> None:
    # the range of disparities that the authors print
    positions = focus_disparities()
    assert len(positions) == 10
    assert positions[0] == pytest.approx(0.2825, abs=5e-5)
    assert positions[-1] == pytest.approx(0.0202, abs=5e-5)
    np.testing.assert_allclose(np.diff(positions), (positions[-1] - positions[0]) / 9)
    assert disparity_px(3.5) == pytest.approx(2 * positions[-1])


def write_packed(path: Path, dtype: type, parts: tuple[str, ...]) -> np.ndarray:
    """Write stacks whose truth is 0 (unknown) in the left column and 0.1 px elsewhere."""
    frames = np.stack([np.stack([texture(6, 8, 20 * n + k) for k in range(10)]) for n in range(3)])
    truth = np.full((3, 6, 8), 0.1)
    truth[:, :, 0] = 0
    truth[:, 0, 1] = 0.5  # nearer than half a metre: known, but beyond the sweep
    with h5py.File(path, "w") as file:
        for part in parts:
            file[f"stack_{part}"] = frames.astype(dtype)
            if part != "test":
                file[f"disp_{part}"] = truth
    return frames


def check_packed(samples: Samples, split: str, frames: np.ndarray) -> None:
    assert samples.names == [f"{split} 000{k}" for k in range(3)]
    sample = samples[2]
    np.testing.assert_array_equal(sample.frames, frames[2])
    np.testing.assert_array_equal(sample.positions, focus_disparities())
    assert (sample.kind, sample.unit) == ("disparity", "px")
    if split == "test":
        assert not sample.has_truth
        return
    np.testing.assert_array_equal(sample.valid[:, 0], False)
    assert np.isnan(sample.depth[:, 0]).all()
    assert sample.valid[:, 1:].all()
    assert not sample.in_sweep()[0, 1]
    stack = to_training_stack(sample)
    low, high = disparity_px(7), disparity_px(0.5)
    assert float(stack.depth[1, 1]) == pytest.approx((0.1 - low) / (high - low), abs=1e-3)
    np.testing.assert_array_equal(stack.frames[0], cv2.cvtColor(frames[2, 9], cv2.COLOR_RGB2GRAY))


def test_official_files_are_read_as_bgr_bytes(tmp_path: Path) -> None:
    frames = write_packed(tmp_path / "ddff-dataset-trainval.h5", np.uint8, ("train", "val"))
    write_packed(tmp_path / "ddff-dataset-test.h5", np.uint8, ("test",))
    for split in ("train", "val", "test"):
        check_packed(open_data_set("ddff12", tmp_path, split), split, frames[..., ::-1])


def test_the_file_of_dfv_is_read_as_rgb_floats(tmp_path: Path) -> None:
    frames = write_packed(tmp_path / "my_ddff_trainVal.h5", np.float32, ("train", "val"))
    for split in ("dfv-train", "dfv-val"):
        check_packed(open_data_set("ddff12", tmp_path, split), split, frames)
        check_packed(open_data_set("ddff12", tmp_path / "my_ddff_trainVal.h5", split), split, frames)


def test_one_split_is_not_taken_for_the_other(tmp_path: Path) -> None:
    write_packed(tmp_path / "official.h5", np.uint8, ("train", "val"))
    write_packed(tmp_path / "dfv.h5", np.float32, ("train", "val"))
    with pytest.raises(DataError, match=r"official file by its type, uint8.*Ask for 'val'"):
        open_data_set("ddff12", tmp_path / "official.h5", "dfv-val")
    with pytest.raises(DataError, match=r"DFV's file by its type, float32.*Ask for 'dfv-train'"):
        open_data_set("ddff12", tmp_path / "dfv.h5", "train")
    with pytest.raises(DataError, match="needed is 'stack_test'"):
        open_data_set("ddff12", tmp_path / "official.h5", "test")


def test_light_fields_are_divided_by_room_and_depth_becomes_disparity(tmp_path: Path) -> None:
    picture = texture(10, 12)
    for rooms in ROOMS.values():
        for room in rooms:
            fields, depths = tmp_path / "LightField" / "train" / room, tmp_path / "DepthRegistered" / "train" / room
            fields.mkdir(parents=True)
            depths.mkdir(parents=True)
            for number in ("0001", "0002"):
                np.save(fields / f"LF_{number}.npy", light_field(picture, 0))
                cv2.imwrite(str(depths / f"DEPTH_{number}.png"), np.tile(np.uint16([0, 500, 7000]), (10, 4)))
    train, val = (open_data_set("ddff12", tmp_path, split) for split in ("dfv-train", "dfv-val"))
    assert len(train) == 8
    assert val.names == ["glassroom/0001", "glassroom/0002", "office41/0001", "office41/0002"]
    assert {name.split("/")[0] for name in train.names} == {"socialcorner", "studentlab", "seminaroom", "kitchen"}
    sample = val[3]
    np.testing.assert_array_equal(sample.valid[0], [False, True, True] * 4)
    np.testing.assert_allclose(sample.depth[0, 1:3], sample.positions[[0, -1]], rtol=1e-6)
    assert len(sample.frames) == 10
    # all views are equal, so the scene lies at infinity, and the frame nearest to that is the sharpest
    spread = [frame.astype(float).std() for frame in sample.frames]
    assert np.argmax(spread) == 9
    (tmp_path / "DepthRegistered" / "train" / "office41" / "DEPTH_0002.png").unlink()
    with pytest.raises(DataError, match=r"no file .*DEPTH_0002\.png, the depth of LF_0002\.npy"):
        val[3]


def test_a_pickled_light_field_is_refused(tmp_path: Path) -> None:
    for room in ROOMS["dfv-val"]:
        fields, depths = tmp_path / "LightField" / "train" / room, tmp_path / "DepthRegistered" / "train" / room
        fields.mkdir(parents=True)
        depths.mkdir(parents=True)
        np.save(fields / "LF_0001.npy", np.array([{}], dtype=object), allow_pickle=True)
        cv2.imwrite(str(depths / "DEPTH_0001.png"), np.zeros((2, 2), np.uint16))
    with pytest.raises(DataError, match=r"LF_0001\.npy is not a NumPy file"):
        open_data_set("ddff12", tmp_path, "dfv-val")[0]

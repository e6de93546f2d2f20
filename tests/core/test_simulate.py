"""Rendered stacks on disk, and the sample that is shipped."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.resources import resource_path, sample_path, sample_truth_path
from toposcope.core.simulate import SimulateSettings, scene_titles, simulate
from toposcope.core.source import open_stack
from toposcope.core.stack import FocalStack, to_grey
from toposcope.errors import MissingPartError, SettingsError


def error_in_slices(stack: FocalStack, truth: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> float:
    """Return the median error of the slice of highest variance, where there is texture."""
    frames = [to_grey(stack.read(i)) for i in range(stack.n)]
    variance = np.stack([cv2.blur(f * f, (9, 9)) - cv2.blur(f, (9, 9)) ** 2 for f in frames])
    found = stack.positions.value[variance.argmax(axis=0)]
    step = np.median(np.diff(stack.positions.value))
    textured = variance.max(axis=0) > np.median(variance.max(axis=0))
    return float(np.median(np.abs(found - truth)[textured]) / step)


@pytest.mark.parametrize("picture", ["jpg", "tif"])
def test_a_simulated_folder_opens_with_its_calibration(tmp_path: Path, picture: str) -> None:
    files = simulate(tmp_path / "step", SimulateSettings("step", slices=3, picture=picture))
    stack = open_stack(files["stack"])
    assert (stack.n, stack.unit, stack.kind.value) == (3, "um", "microscope")
    np.testing.assert_allclose(stack.positions.value, [0, 15, 30])
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 0.5
    assert tifffile.imread(files["true_depth"]).shape == stack.shape
    stack.close()


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["plane", "dome"])
def test_the_truth_is_where_the_frames_are_sharp(tmp_path: Path, scene: str) -> None:
    files = simulate(tmp_path, SimulateSettings(scene, slices=7))
    with_truth = open_stack(files["stack"])
    assert error_in_slices(with_truth, tifffile.imread(files["true_depth"])) < 0.5
    with_truth.close()


def test_a_photograph_has_distances(tmp_path: Path) -> None:
    files = simulate(tmp_path, SimulateSettings("photograph", slices=4))
    stack = open_stack(files["stack"])
    assert (stack.unit, stack.kind.value, stack.near.value) == ("mm", "camera", "low")
    assert stack.positions.value[[0, -1]] == pytest.approx([300, 1200])
    truth = tifffile.imread(files["true_depth"])
    assert 320 < truth.min() < truth.max() < 1210
    stack.close()


def test_every_scene_has_a_title() -> None:
    titles = scene_titles()
    assert {"sample", "plane", "step", "dome", "photograph"} <= set(titles)
    assert all(titles.values())


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no scene 'moon'.*sample"):
        simulate(tmp_path, SimulateSettings("moon"))
    with pytest.raises(SettingsError, match="2 slices are too few"):
        simulate(tmp_path, SimulateSettings("dome", slices=2))
    with pytest.raises(SettingsError, match="'gif'"):
        simulate(tmp_path, SimulateSettings("dome", picture="gif"))
    assert not list(tmp_path.iterdir())


def test_a_cancelled_simulation_stops(tmp_path: Path) -> None:
    def cancel(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        simulate(tmp_path, SimulateSettings("photograph", slices=3), cancel)


def test_the_sample_is_complete_and_small() -> None:
    folder = sample_path()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000_000
    stack = open_stack(folder)
    assert (stack.n, stack.unit, stack.kind.value) == (20, "um", "microscope")
    assert stack.source.channels == 3
    assert stack.pixel_um is not None
    assert stack.pixel_um.value == 2.5
    truth = tifffile.imread(sample_truth_path())
    assert truth.shape == stack.shape
    assert stack.positions.value[0] <= truth.min() < truth.max() <= stack.positions.value[-1] + 1
    assert error_in_slices(stack, truth) < 0.5
    stack.close()


@pytest.mark.slow
def test_the_sample_is_what_its_scene_renders(tmp_path: Path) -> None:
    files = simulate(tmp_path, SimulateSettings("sample", slices=3))
    shipped = json.loads((sample_path() / "stack.json").read_text())
    np.testing.assert_array_equal(tifffile.imread(files["true_depth"]), tifffile.imread(sample_truth_path()))
    first, last = ((files["stack"] / f"sample_{i:02d}.jpg") for i in (0, 2))
    for ours, theirs in ((first, shipped["frames"][0]), (last, shipped["frames"][-1])):
        with Image.open(ours) as made, Image.open(sample_path() / theirs) as kept:
            difference = np.asarray(made, float) - np.asarray(kept, float)
        assert np.abs(difference).mean() < 2  # the noise is drawn anew


def test_a_missing_part_is_named() -> None:
    with pytest.raises(MissingPartError, match="icons/no_such_icon is missing"):
        resource_path("icons", "no_such_icon")

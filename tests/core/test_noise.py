"""The noise that is found is the noise that was put in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import scenes
from toposcope.core import focus
from toposcope.core.noise import NoiseLevel, NoiseMeter

Floats = NDArray[np.float32]


def measure(grey: Floats) -> Floats:
    return focus.tenengrad(grey, 9)


def level_of(frames: NDArray[np.generic], gains: tuple[float, ...] = ()) -> NoiseLevel:
    meter = NoiseMeter(measure, 2, frames.shape[1:3], frames.dtype, gains=gains)
    for frame in frames:
        meter.add(frame)
    return meter.level()


@pytest.mark.parametrize("sigma", [0.003, 0.02])
def test_white_noise_on_a_smooth_ground_is_measured(sigma: float) -> None:
    rng = np.random.default_rng(5)
    ground = np.linspace(0.1, 0.9, 300)[:, None] + np.zeros(400)
    level = level_of((ground + rng.normal(0, sigma, (6, 300, 400))).astype(np.float32))
    assert_allclose(level.floor, 0.375 * sigma**2, rtol=0.15)


def test_noise_that_grows_with_brightness_is_told_apart() -> None:
    rng = np.random.default_rng(5)
    ground = np.linspace(0, 1, 300)[:, None] + np.zeros(500)
    variance = 1e-5 + 4e-4 * ground
    level = level_of((ground + np.sqrt(variance) * rng.normal(0, 1, (6, 300, 500))).astype(np.float32))
    middle = (np.arange(8) + 0.5) / 8
    assert_allclose(level.floor[1:], 0.375 * (1e-5 + 4e-4 * middle[1:]), rtol=0.2)
    assert level.floor[0] < 0.5 * level.floor[1]
    assert_allclose(level.at(np.array([[0.5]], dtype=np.float32)), 0.375 * (1e-5 + 2e-4), rtol=0.2)


def test_texture_that_comes_into_focus_is_not_taken_for_noise() -> None:
    scene = scenes.tilted_plane(noise=0.01, encoding="float32")
    level = level_of(np.stack([scene.stack.read(i) for i in range(scene.stack.n)]))
    # shot noise: `noise` at mid grey
    assert 0.7 < np.sqrt(level.typical / 0.375) / 0.01 < 1.5


def test_equal_frames_leave_the_noise_of_rounding() -> None:
    frame = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (120, 90), dtype=np.uint8), (0, 0), 3)
    level = level_of(np.stack([frame] * 4))
    assert_allclose(level.floor, 0.375 / 12 / 255**2, rtol=0.1)


def test_noise_over_all_slices_has_the_stated_deviation() -> None:
    rng = np.random.default_rng(8)
    level = level_of(rng.normal(0.5, 0.02, (5, 200, 300)).astype(np.float32))
    noise = measure(rng.normal(0.5, 0.02, (400, 400)).astype(np.float32))
    floor = level.at(np.full(noise.shape, 0.5, dtype=np.float32))
    assert_allclose(level.deviation(floor, floor).mean(), noise.std(), rtol=0.25)


def test_brightened_frames_drift() -> None:
    frames = np.random.default_rng(8).normal(0.5, 0.02, (4, 64, 64)).astype(np.float32)
    assert level_of(frames).drift == 0
    assert_allclose(level_of(frames, gains=(1.0, 1.1, 1.2, 1.5)).drift, 1.5**2 - 1)

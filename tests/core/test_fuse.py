from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import scenes
from toposcope.core.fuse import Fuser
from toposcope.core.stack import ArraySource, FocalStack, Plane, full_scale, to_grey

Float = NDArray[np.float32]


def fuse(stack: FocalStack, index: Float, confidence: Float | None = None) -> Plane:
    fuser = Fuser(stack.shape, stack.source.channels, stack.source.dtype, stack.n)
    nothing = np.zeros(stack.shape, np.float32)
    for i in range(stack.n):
        fuser.add(i, stack.read(i), nothing)
    return fuser.finish(index, np.ones(stack.shape, np.float32) if confidence is None else confidence)


def rms(picture: Plane, truth: Plane, where: NDArray[np.bool_] | None = None) -> float:
    """Return the RMS difference as a share of white."""
    difference = (picture.astype(np.float64) - truth) / full_scale(truth.dtype)
    return float(np.sqrt(np.mean(np.square(difference if where is None else difference[where]))))


def nearest_frames(stack: FocalStack, index: Float) -> Plane:
    """Return, for each pixel, the frame nearest to the true depth: what perfect selection gives."""
    frames = np.array([stack.read(i) for i in range(stack.n)])
    rows, columns = np.indices(index.shape)
    return np.asarray(frames[np.rint(index).astype(int), rows, columns])


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("encoding", ["uint8", "uint16", "float32"])
def test_shape_type_and_range_are_those_of_the_frames(colour: bool, encoding: str) -> None:
    scene = scenes.tilted_plane(size=61, n=5, colour=colour, encoding=encoding)
    fused = fuse(scene.stack, scene.index)
    assert fused.dtype == scene.stack.source.dtype
    assert fused.shape == scene.stack.read(0).shape
    assert rms(fused, scene.all_in_focus) < 1.1 * rms(nearest_frames(scene.stack, scene.index), scene.all_in_focus)


def test_sixteen_bits_stay_sixteen_bits() -> None:
    scene = scenes.tilted_plane(n=9, encoding="uint16")
    assert len(np.unique(fuse(scene.stack, scene.index))) > 10_000


@pytest.mark.parametrize("noise", [0.005, 0.02])
@pytest.mark.parametrize("make", [scenes.tilted_plane, scenes.hemisphere, scenes.occlusion])
def test_the_picture_is_as_near_the_truth_as_frames_chosen_by_the_true_depth(make: Any, noise: float) -> None:
    scene = make(noise=noise, colour=True, blur_px=1.0)
    fused = fuse(scene.stack, scene.index)
    assert rms(fused, scene.all_in_focus) < 1.08 * rms(nearest_frames(scene.stack, scene.index), scene.all_in_focus)


def test_texture_keeps_its_contrast() -> None:
    scene = scenes.tilted_plane(n=11, noise=0.005, blur_px=1.0)
    fused, best = (
        float(cv2.Laplacian(to_grey(picture), cv2.CV_32F).var())
        for picture in (fuse(scene.stack, scene.index), nearest_frames(scene.stack, scene.index))
    )
    assert 0.95 * best < fused < 1.1 * best


def test_noise_averages_out_where_nothing_is_to_see() -> None:
    scene = scenes.textureless_patches(noise=0.02)
    bare = cv2.erode((~scene.textured).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    fused = fuse(scene.stack, scene.index)
    # a picture chosen pixel by pixel keeps the whole noise of 2 %
    assert rms(fused, scene.all_in_focus, bare) < 0.5 * 0.02


@pytest.mark.parametrize("bare_ground", [False, True])
def test_no_halo_stands_around_bright_marks(bare_ground: bool) -> None:
    """White bars on a dark ground: the light that blur carries out of them must not stay in the picture.

    With ``bare_ground`` the depth is known at the bars only, as it is where the ground has no texture.
    """
    size, n, focus = 192, 9, 4
    truth = np.full((size, size), 0.1, np.float32)
    truth[40:150, 60:75] = truth[40:150, 100:130] = 0.9
    frames = [cv2.GaussianBlur(truth, (0, 0), 3.0 * abs(i - focus)) if i != focus else truth for i in range(n)]
    fuser = Fuser((size, size), 1, np.dtype(np.float32), n)
    index = np.full((size, size), focus, np.float32)
    if bare_ground:
        index[cv2.dilate(truth, np.ones((9, 9))) < 0.5] = np.nan
    for i, frame in enumerate(frames):
        fuser.add(i, np.asarray(frame, np.float32), index)
    fused = fuser.finish(index, np.isfinite(index).astype(np.float32))
    slow = np.abs(np.asarray(cv2.GaussianBlur(fused - truth, (0, 0), 4.0)))
    marks = (truth > 0.5).astype(np.uint8)
    near, far = (cv2.dilate(marks, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) > 0 for reach in (10, 40))
    assert slow[far & ~near].max() < 0.02


def test_grey_stays_grey_in_colour() -> None:
    scene = scenes.hemisphere(noise=0.01)
    frames = np.array([cv2.merge([scene.stack.read(i)] * 3) for i in range(scene.stack.n)])
    fused = fuse(replace(scene.stack, source=ArraySource(frames)), scene.index)
    assert (fused.max(axis=2) - fused.min(axis=2)).max() <= 1


def test_unknown_depth_leaves_no_hole() -> None:
    scene = scenes.tilted_plane(n=9)
    index = scene.index.copy()
    index[50:110, 50:110] = np.nan
    confidence = np.where(np.isnan(index), 0, 1).astype(np.float32)
    fused = fuse(scene.stack, index, confidence)
    assert rms(fused, scene.all_in_focus) < 1.5 * rms(fuse(scene.stack, scene.index), scene.all_in_focus)
    everywhere = np.full_like(index, np.nan)
    assert rms(fuse(scene.stack, everywhere, np.zeros_like(index)), scene.all_in_focus) < 0.05


def test_equal_frames_come_back_unchanged() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (57, 83, 3)).astype(np.uint8)
    fuser = Fuser((57, 83), 3, np.dtype(np.uint8), 4)
    for i in range(4):
        fuser.add(i, frame, np.zeros((57, 83), np.float32))
    fused = fuser.finish(np.full((57, 83), 1.4, np.float32), np.ones((57, 83), np.float32))
    assert np.abs(fused.astype(int) - frame).max() <= 1


@pytest.mark.parametrize("height", [256, 273, 500])
def test_bands_leave_no_trace(height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(height)
    frames = rng.integers(0, 65536, (3, height, 75)).astype(np.uint16)
    index = rng.uniform(0, 2, (height, 75)).astype(np.float32)
    pictures = []
    for rows in (64, 10_000):
        monkeypatch.setattr("toposcope.core.fuse.BAND_ROWS", rows)
        fuser = Fuser((height, 75), 1, np.dtype(np.uint16), 3)
        for i, frame in enumerate(frames):
            fuser.add(i, frame, index)
        pictures.append(fuser.finish(index, np.ones_like(index)).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    def held(n: int) -> int:
        fuser = Fuser((6000, 8000), 3, np.dtype(np.uint8), n)
        return sum(a.nbytes for sums in fuser._sums for a in sums) + fuser._rests.nbytes

    assert held(1000) < held(30) + (160 << 20)

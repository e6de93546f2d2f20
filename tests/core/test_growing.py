from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import scenes
from toposcope.core import growing
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.growing import GrowingDepth
from toposcope.core.simulate import SimulateSettings, simulate
from toposcope.core.source import open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import SettingsError, StackError

ORDERS = {
    "down": lambda n: range(n - 1, -1, -1),
    "odd before even": lambda n: [*range(1, n, 2), *range(0, n, 2)],
    "from the middle": lambda n: sorted(range(n), key=lambda i: abs(i - n // 2)),
    "random": lambda n: np.random.default_rng(4).permutation(n).tolist(),
}


def grown(stack: FocalStack, order: Any = None, window: int = 9) -> GrowingDepth:
    growing = GrowingDepth(window)
    for i in range(stack.n) if order is None else order:
        growing.add(stack.read(i), float(stack.positions.value[i]))
    return growing


def bump(z: float, peak: NDArray[Any], width: float = 3.0) -> NDArray[np.float32]:
    """Return stripes of a contrast that is a Gaussian of z, so that its square's logarithm is a parabola."""
    rows, columns = peak.shape
    stripes = 0.2 * (np.arange(columns) % 4 >= 2) * np.ones((rows, 1))
    return (0.3 + stripes * np.exp(-0.5 * ((z - peak) / width) ** 2)).astype(np.float32)


@pytest.mark.parametrize("steps", [np.arange(12.0), np.array([0, 0.4, 1.7, 2.1, 3.9, 4.2, 6, 7.5, 8.1, 10, 11])])
@pytest.mark.parametrize("peak", [4.0, 5.37, 6.8])
def test_peak_of_a_gaussian_curve_is_found_between_slices(steps: NDArray[Any], peak: float) -> None:
    growing = GrowingDepth(window=5)
    for z in steps:
        growing.add(bump(z, np.full((24, 32), peak)), z)
    depth = growing.depth()
    assert depth.dtype == np.float32
    np.testing.assert_allclose(depth, peak, atol=0.01)  # measures are kept to 0.05 %


def test_depth_of_a_rendered_slope_is_known_and_true() -> None:
    scene = scenes.tilted_plane(noise=0.005)
    depth = grown(scene.stack).depth()
    error = np.abs(depth - scene.depth)[scene.inner]
    assert np.isfinite(error).mean() > 0.95
    assert np.nanmedian(error) < 0.15 * 2.0  # slices of 2 um
    assert np.nanquantile(error, 0.95) < 0.6 * 2.0


def test_depth_is_that_of_the_batch_estimate_by_the_same_measure() -> None:
    scene = scenes.hemisphere(noise=0.003)
    growing = grown(scene.stack)
    settings = EstimateSettings("tenengrad", align="none", options={"window": 9, "peak": "three-point"})
    batch = estimate(scene.stack, settings).depth
    both = np.isfinite(growing.depth()) & np.isfinite(batch)
    assert both[scene.inner].mean() > 0.9
    np.testing.assert_allclose(growing.depth()[both], batch[both], atol=2e-3)


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_slices_does_not_matter(order: str) -> None:
    stack = scenes.hemisphere(noise=0.01, encoding="uint16").stack
    first, other = grown(stack), grown(stack, ORDERS[order](stack.n))
    np.testing.assert_array_equal(other.depth(), first.depth())
    np.testing.assert_array_equal(other.all_in_focus(), first.all_in_focus())
    assert other.looks_complete == first.looks_complete
    for name in ("z", "whole", "regions"):
        np.testing.assert_array_equal(getattr(other.sharpness(), name), getattr(first.sharpness(), name))


def test_equal_slices_give_the_same_in_any_order() -> None:
    frames = [bump(z, np.full((16, 16), 2.5), 2.0) for z in range(6)]  # slices 2 and 3 are equally sharp
    results = []
    for order in ((0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (3, 2, 5, 0, 1, 4)):
        growing = GrowingDepth(5)
        for i in order:
            growing.add(frames[i], i)
        results.append(growing.depth())
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0], 2.5, atol=2e-3)


@pytest.mark.parametrize("order", ORDERS)
def test_measures_in_a_scratch_file_give_the_same(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = scenes.tilted_plane(noise=0.01).stack
    kept = grown(stack).depth()
    monkeypatch.setattr(growing, "_IN_MEMORY", 3 * 2 * 160 * 160)
    np.testing.assert_array_equal(grown(stack, ORDERS[order](stack.n)).depth(), kept)


def test_without_room_for_the_scratch_file_slices_in_order_still_give_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = scenes.tilted_plane(noise=0.01).stack
    kept, wild = grown(stack), list(ORDERS["odd before even"](stack.n))

    class Full(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
        def write(self, *args: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", Full)
    np.testing.assert_array_equal(grown(stack).depth(), kept.depth())
    np.testing.assert_array_equal(grown(stack, range(stack.n - 1, -1, -1)).depth(), kept.depth())
    lossy = grown(stack, wild).depth()
    known = np.isfinite(lossy)
    assert 0 < known.sum() < np.isfinite(kept.depth()).sum()  # voids, and nothing wrong
    np.testing.assert_array_equal(lossy[known], kept.depth()[known])


def test_pixels_are_unsure_until_a_slice_beyond_their_peak_came() -> None:
    scene = scenes.tilted_plane()
    growing = GrowingDepth()
    known = []
    for i in range(scene.stack.n):
        growing.add(scene.stack.read(i), float(scene.stack.positions.value[i]))
        depth = growing.depth()
        with np.errstate(invalid="ignore"):
            assert not (depth >= scene.stack.positions.value[i]).any()
        known.append(np.isfinite(depth).mean())
    assert known[:2] == [0, 0]
    assert all(a <= b for a, b in pairwise(known))
    assert known[-1] > 0.95


def test_pixels_without_texture_stay_void() -> None:
    scene = scenes.textureless_patches(noise=0.01)
    depth = grown(scene.stack).depth()
    bare = ~scene.textured
    inner = bare.copy()
    for shift in ((12, 0), (-12, 0), (0, 12), (0, -12)):
        inner &= np.roll(bare, shift, (0, 1))
    assert np.isnan(depth[inner]).mean() > 0.95
    assert np.isfinite(depth[scene.inner]).mean() > 0.85


@pytest.mark.parametrize("encoding", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("colour", [False, True])
def test_all_in_focus_is_of_the_frames_kind_and_sharper_than_any(encoding: Any, colour: bool) -> None:
    scene = scenes.tilted_plane(encoding=encoding, colour=colour)
    picture = grown(scene.stack).all_in_focus()
    truth = scene.all_in_focus
    assert picture.dtype == scene.stack.source.dtype
    assert picture.shape == scene.stack.read(0).shape

    def distance(frame: NDArray[Any]) -> float:
        apart = np.abs(frame.astype(float) - truth.reshape(frame.shape))
        return float(apart[10:-10, 20:-20].mean())

    assert distance(picture) < 0.5 * min(distance(scene.stack.read(i)) for i in range(scene.stack.n))


def test_sharpness_tells_where_each_region_is_in_focus() -> None:
    scene = scenes.tilted_plane(noise=0.005)
    curve = grown(scene.stack, ORDERS["random"](scene.stack.n)).sharpness()
    np.testing.assert_array_equal(curve.z, scene.stack.positions.value)
    assert curve.regions.shape == (growing.REGIONS, growing.REGIONS, scene.stack.n)
    np.testing.assert_allclose(curve.regions.mean(axis=(0, 1)), curve.whole, rtol=1e-5)
    sharpest = curve.z[curve.regions.argmax(axis=2)]
    size = 160 // growing.REGIONS
    for row in range(growing.REGIONS):
        for column in range(growing.REGIONS):
            region = scene.depth[row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert abs(sharpest[row, column] - region.mean()) <= 3.0  # 1.5 slices


def test_sharpness_still_rises_until_the_peak_is_passed() -> None:
    growing, flat = GrowingDepth(5), np.full((16, 16), 3.0)
    rises = []
    for z in range(7):
        growing.add(bump(z, flat), z)
        rises.append(growing.sharpness().still_rises)
    assert rises == [True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("make", "n", "noise"),
    [
        (scenes.tilted_plane, 21, 0.0),
        (scenes.tilted_plane, 21, 0.01),
        (scenes.tilted_plane, 61, 0.01),
        (scenes.hemisphere, 21, 0.0),
        (scenes.hemisphere, 21, 0.01),
    ],
)
def test_sweep_looks_complete_only_after_the_last_surface_went_out_of_focus(make: Any, n: int, noise: float) -> None:
    scene = make(noise=noise, n=n, blur_px=30 / (n - 1))  # the same range, in smaller steps
    stack, truth = scene.stack, scene.index
    growing, when = GrowingDepth(), None
    for i in range(stack.n):
        growing.add(stack.read(i), float(stack.positions.value[i]))
        if when is None and growing.looks_complete:
            when = i
    assert when is not None
    assert np.quantile(truth, 0.95) < when
    assert "both sides" in str(growing.looks_complete)


def test_a_ground_near_the_first_slice_does_not_keep_the_sweep_open(tmp_path: Path) -> None:
    simulate(tmp_path / "dome", SimulateSettings("dome", slices=20))  # most of it is sharp in the third slice
    stack = open_stack(tmp_path / "dome")
    assert grown(stack, range(17)).looks_complete is None
    assert grown(stack).looks_complete is not None


def test_second_level_that_comes_nearer_keeps_the_sweep_open() -> None:
    stack = scenes.step(noise=0.005, n=21).stack  # levels at slices 6 and 14
    growing, complete = GrowingDepth(), []
    for i in range(stack.n):
        growing.add(stack.read(i), float(stack.positions.value[i]))
        complete.append(growing.looks_complete is not None)
    assert not any(complete[:15])
    assert complete[-1]


def test_cut_sweep_never_looks_complete() -> None:
    stack = scenes.tilted_plane(noise=0.005, n=21).stack
    assert grown(stack, range(14)).looks_complete is None
    assert grown(stack, range(6, 21)).looks_complete is None


def test_noise_and_blank_frames_never_look_complete() -> None:
    rng = np.random.default_rng(3)
    noisy, blank = GrowingDepth(), GrowingDepth()
    for z in range(15):
        noisy.add((128 + 6 * rng.standard_normal((120, 120))).astype(np.uint8), z)
        blank.add(np.full((120, 120), 128, np.uint8), z)
        assert noisy.looks_complete is None
        assert blank.looks_complete is None
    assert np.isnan(blank.depth()).all()
    assert np.isnan(noisy.depth()).mean() > 0.97


def test_frames_that_differ_from_the_first_are_refused_and_leave_the_preview_as_it_was() -> None:
    growing = grown(scenes.tilted_plane().stack)
    before, n = growing.depth(), growing.n
    frame = np.zeros((160, 160), np.uint8)
    for wrong, z, words in (
        (frame[:100], 90.0, "160 x 100 pixels, grey, uint8 but the first was 160 x 160 pixels, grey, uint8"),
        (frame.astype(np.uint16), 90.0, "uint16"),
        (np.zeros((160, 160, 3), np.uint8), 90.0, "colour"),
        (frame.astype(np.int32), 90.0, "int32; give uint8"),
        (np.zeros((160, 160, 4), np.uint8), 90.0, "shape"),
        (np.full((160, 160), np.nan, np.float32), 90.0, "no numbers"),
        (frame, float("nan"), "finite"),
        (frame, 10.0, "z = 10 already"),
    ):
        with pytest.raises(StackError, match=words):
            growing.add(wrong, z)
    assert growing.n == n
    np.testing.assert_array_equal(growing.depth(), before)


def test_nothing_is_known_before_the_first_slice() -> None:
    growing = GrowingDepth()
    assert growing.n == 0
    assert growing.looks_complete is None
    assert growing.sharpness().z.size == 0
    for ask in (growing.depth, growing.all_in_focus):
        with pytest.raises(StackError, match="no slice yet"):
            ask()
    growing.add(np.zeros((8, 8), np.uint8), 1.0)
    assert np.isnan(growing.depth()).all()


@pytest.mark.parametrize("window", [0, -3, 4])
def test_window_that_is_no_odd_number_is_refused(window: int) -> None:
    with pytest.raises(SettingsError, match="odd"):
        GrowingDepth(window)


def test_positions_far_from_zero_lose_nothing() -> None:
    peak = np.full((16, 16), 4.3)
    near, far = GrowingDepth(5), GrowingDepth(5)
    for z in range(9):
        near.add(bump(z, peak), z)
        far.add(bump(z, peak), 1e5 + z)
    np.testing.assert_allclose(far.depth() - 1e5, near.depth(), atol=0.01)

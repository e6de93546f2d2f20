"""The 3-D time-frequency method: formulas of its parts, rendered truth, memory, and noise that stays void."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose
from numpy.typing import NDArray

import scenes
from toposcope.core import tft
from toposcope.core.curve import curve_at
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.result import DepthResult
from toposcope.core.settings import checked
from toposcope.core.source import open_stack
from toposcope.core.stack import ArraySource, FocalStack

Floats = NDArray[np.float32]
SURFACES = Path(__file__).parents[2] / "../shared/data/stacks_with_gt"


def by_tft(stack: FocalStack, keep_volume: bool = False, **options: object) -> DepthResult:
    given = checked(METHODS["tft"].settings, options)
    return estimate(stack, EstimateSettings("tft", given, align="none", keep_volume=keep_volume))


def mean_error(scene: scenes.Scene, result: DepthResult) -> float:
    """Return the mean error in slices where the scene has texture, away from steps."""
    index = np.interp(result.depth, scene.stack.positions.value, np.arange(scene.stack.n))
    return float(np.abs(index - scene.index)[scene.inner & result.valid].mean())


# -- the transform -----------------------------------------------------------------------------------


def test_details_and_what_remains_add_up_to_the_picture() -> None:
    grey = np.random.default_rng(0).random((40, 52), dtype=np.float32)
    details = [view for level in tft.details(grey, 3) for view in level]
    assert len(details) == 3 * tft.DIRECTIONS
    remains = grey - sum(details)
    spread = [float((grey - sum(details[: 3 * k])).std()) for k in range(4)]
    assert spread == sorted(spread, reverse=True)  # each scale takes detail away
    assert float(remains.mean()) == pytest.approx(float(grey.mean()), abs=0.01)


def test_each_direction_sees_its_own_stripes() -> None:
    wave = np.sin(np.arange(64, dtype=np.float32) * 2)
    along_rows = np.tile(wave, (64, 1))
    ((down, across, both),) = tft.details(along_rows, 1)
    # constant along columns: only the detail across them, which the other low pass keeps, is there
    assert np.abs(down).max() < 1e-5
    assert np.abs(both).max() < 1e-5
    assert np.abs(across).mean() > 0.3


def test_a_detail_is_that_of_the_spline() -> None:
    impulse = np.zeros((41, 41), np.float32)
    impulse[20, 20] = 1
    spline = np.array([1, 4, 6, 4, 1]) / 16
    rest = np.eye(5)[2] - spline
    (first, second) = tft.details(impulse, 2)
    assert_allclose(first[2][18:23, 18:23], np.outer(rest, rest), atol=1e-6)
    assert np.count_nonzero(np.abs(second[0]) > 1e-7) > 25  # holes: it reaches further


def test_low_pass_in_focus_keeps_straight_lines_on_unequal_steps() -> None:
    coordinate = np.array([0.0, 0.1, 0.3, 0.35, 0.6, 1.0])
    smoother = tft.FocusSmoother(coordinate)
    planes = [np.full((2, 3), x, np.float32) for x in coordinate]
    out = [done for plane in planes if (done := smoother.push(plane)) is not None] + [smoother.last()]
    assert [i for i, _ in out] == list(range(6))
    assert_allclose([plane[0, 0] for _, plane in out][1:-1], coordinate[1:-1], atol=1e-6)


def test_low_pass_in_focus_is_a_quarter_a_half_a_quarter() -> None:
    smoother = tft.FocusSmoother(np.linspace(0, 1, 5))
    planes = [np.full((1, 1), float(i == 2), np.float32) for i in range(5)]
    out = [done for plane in planes if (done := smoother.push(plane)) is not None] + [smoother.last()]
    assert_allclose([plane[0, 0] for _, plane in out], [0, 0.25, 0.5, 0.25, 0])


# -- the vote ------------------------------------------------------------------------------------------


def planes(*values: float) -> list[Floats]:
    return [np.full((4, 5), value, np.float32) for value in values]


def test_views_that_agree_outvote_one_that_does_not() -> None:
    agreed = tft.vote(planes(3.1, 3.3, 9.0), planes(0.3, 0.3, 0.4), n=12)
    assert_allclose(agreed.index, 3.2, atol=5e-3)
    near = 0.3 * 2 * np.exp(-0.1 / 1.5) + 0.4 * np.exp(-5.8 / 1.5)
    assert_allclose(agreed.confidence, near / (1.0 + 0.1), rtol=5e-3)


def test_views_without_contrast_have_no_say() -> None:
    agreed = tft.vote(planes(2.0, 7.0), planes(0.4, 0.0), n=9)
    assert_allclose(agreed.index, 2.0)
    assert_allclose(tft.vote(planes(2.0, 7.0), planes(0.0, 0.0), n=9).confidence, 0)


def test_ends_of_the_sweep_can_win() -> None:
    assert_allclose(tft.vote(planes(0.0, 0.0), planes(1, 1), n=5).index, 0)
    assert_allclose(tft.vote(planes(4.0, 4.0), planes(1, 1), n=5).index, 4)


# -- the method -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda: scenes.tilted_plane(noise=0.01), 0.03),
        (lambda: scenes.tilted_plane(noise=0.04), 0.06),
        (lambda: scenes.hemisphere(noise=0.01), 0.1),
        (lambda: scenes.step(noise=0.01), 0.06),
    ],
    ids=["plane", "noisy", "hemisphere", "step"],
)
def test_depth_of_rendered_scenes(make: Callable[[], scenes.Scene], limit: float) -> None:
    scene = make()
    result = by_tft(scene.stack)
    assert result.valid[scene.inner].mean() > 0.98
    assert mean_error(scene, result) < limit


@pytest.mark.parametrize("shape", [(33, 47), (64, 31), (17, 300)])
def test_odd_shapes(shape: tuple[int, int]) -> None:
    stack = scenes.tilted_plane().stack
    frames = np.stack([stack.read(i)[: shape[0], : shape[1]] for i in range(stack.n)])
    frames = np.pad(frames, ((0, 0), (0, 0), (0, max(0, shape[1] - frames.shape[2]))), mode="reflect")
    result = by_tft(FocalStack.create(ArraySource(frames)))
    assert result.shape == shape
    assert result.valid.mean() > 0.9


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scenes.tilted_plane(noise=0.01)
    whole = by_tft(scene.stack)
    monkeypatch.setattr(tft, "_BAND_ROWS", 32)
    assert_allclose(by_tft(scene.stack).depth, whole.depth, rtol=1e-4)


def test_reversed_focus_reverses_the_depth() -> None:
    stack = scenes.tilted_plane(noise=0.01).stack
    frames = np.stack([stack.read(i) for i in range(stack.n)])
    up, down = (by_tft(FocalStack.create(ArraySource(f))) for f in (frames, frames[::-1].copy()))
    assert_allclose(stack.n - 1 - down.depth, up.depth, atol=0.02)


def test_noise_and_flat_frames_stay_void() -> None:
    noise = np.random.default_rng(3).normal(128, 6, (20, 128, 128)).clip(0, 255).astype(np.uint8)
    assert by_tft(FocalStack.create(ArraySource(noise))).valid.mean() < 0.1
    flat = np.full((5, 64, 64), 90, np.uint8)
    assert not by_tft(FocalStack.create(ArraySource(flat))).valid.any()


def test_confidence_ranks_errors() -> None:
    scene = scenes.tilted_plane(noise=0.04, contrast=0.05)
    result = by_tft(scene.stack, fill=True, smooth=0)
    index = np.interp(result.depth, scene.stack.positions.value, np.arange(scene.stack.n))
    error = np.abs(index - scene.index)
    sure = result.confidence >= np.median(result.confidence)
    assert error[sure].mean() < error[~sure].mean()


def test_the_curve_peaks_where_the_depth_lies() -> None:
    scene = scenes.tilted_plane(noise=0.01)
    result = by_tft(scene.stack, keep_volume=True)
    assert result.volume is not None
    for row, column in ((40, 40), (80, 120)):
        curve = curve_at(result, row, column)
        assert curve.probability.sum() == pytest.approx(1, abs=1e-5)
        step = float(np.diff(scene.stack.positions.value)[0])
        assert abs(curve.positions[curve.probability.argmax()] - result.depth[row, column]) < step
    result.volume.close()


def test_planes_kept_do_not_grow_with_the_number_of_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    ended = tft.View.end_frame

    def counted(view: tft.View) -> None:
        ended(view)
        kept.append(len(view._smoother._planes))

    monkeypatch.setattr(tft.View, "end_frame", counted)
    by_tft(scenes.tilted_plane(n=21).stack)
    assert max(kept) <= 2


def test_cancel_stops_at_a_frame() -> None:
    told: list[float] = []

    def stop(progress: Progress) -> None:
        told.append(progress.fraction)
        if "slice 3" in progress.text:
            raise Cancelled

    with pytest.raises(Cancelled):
        estimate(scenes.tilted_plane().stack, EstimateSettings("tft", align="none"), stop)
    assert max(told) < 0.5


@pytest.mark.parametrize("number", [1, 2, 3])
def test_beats_the_single_measures_on_surfaces_with_known_depth(number: int) -> None:
    folder = SURFACES / f"generated_surface_{number}"
    if not folder.is_dir():
        pytest.skip("the surfaces with known depth are not beside the project")
    truth = tifffile.imread(folder / "gt_slice_index.tif")
    with_stack = open_stack(folder)
    inner = (slice(100, 228), slice(100, 228))
    frames = np.stack([with_stack.read(i)[inner] for i in range(with_stack.n)])
    with_stack.close()
    stack = replace(FocalStack.create(ArraySource(frames)), name=folder.name)

    def rmse(method: str) -> float:
        depth = estimate(stack, EstimateSettings(method, align="none")).depth
        return float(np.sqrt(np.nanmean((depth - truth[inner]) ** 2)))

    assert rmse("tft") < min(rmse(name) for name in ("rdf", "ddl", "tenengrad"))

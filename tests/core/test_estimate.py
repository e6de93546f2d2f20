"""The one door: depth of rendered scenes, of surfaces with known depth, and everything refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import scenes
from dffnets.shipped import shipped_cards
from toposcope.core import classical
from toposcope.core.calibration import Sourced
from toposcope.core.classical import DefaultSettings, WindowSettings
from toposcope.core.estimate import METHODS, EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, CancelToken, Progress
from toposcope.core.result import DepthResult
from toposcope.core.source import open_stack
from toposcope.core.stack import ArraySource, FocalStack, Plane, Roi
from toposcope.core.volume import MeasureVolume
from toposcope.errors import FrameError, SettingsError

SURFACES = Path(__file__).parents[2] / "../shared/data/stacks_with_gt"
NETWORKS = {card.name for card in shipped_cards()}
each_method = pytest.mark.parametrize("method", list(METHODS))


def unaligned(
    stack: FocalStack, method: str = "default", options: Any = None, keep_volume: bool = False
) -> DepthResult:
    return estimate(stack, EstimateSettings(method, options, align="none", keep_volume=keep_volume))


def slices_off(scene: scenes.Scene, result: DepthResult) -> NDArray[np.floating]:
    """Return the error in slices, NaN in voids."""
    index = np.interp(result.depth, scene.stack.positions.value, np.arange(scene.stack.n))
    index[~result.valid] = np.nan
    error: NDArray[np.floating] = np.abs(index - scene.index)
    return error


@pytest.mark.parametrize("method", [name for name in METHODS if name not in NETWORKS])
def test_every_classical_method_finds_a_plane(method: str) -> None:
    scene = scenes.tilted_plane(noise=0.01)
    error = slices_off(scene, unaligned(scene.stack, method))
    assert np.isfinite(error).mean() > 0.99
    assert np.nanmean(error) < 0.05


@pytest.mark.parametrize(
    ("make", "limit"),
    [
        (lambda: scenes.tilted_plane(noise=0.01), 0.03),
        (lambda: scenes.tilted_plane(noise=0.04), 0.05),
        (lambda: scenes.tilted_plane(noise=0.01, contrast=0.03), 0.06),
        (lambda: scenes.tilted_plane(noise=0.02, n=21, blur_px=1.0), 0.08),
        (lambda: scenes.tilted_plane(noise=0.01, colour=True, encoding="uint16"), 0.03),
        (lambda: scenes.hemisphere(noise=0.01), 0.08),
        (lambda: scenes.step(noise=0.01), 0.05),
    ],
    ids=["plane", "noisy", "faint", "21 slices", "16 bit colour", "hemisphere", "step"],
)
def test_default_finds_the_depth_of_rendered_scenes(make: Callable[[], scenes.Scene], limit: float) -> None:
    scene = make()
    error = slices_off(scene, unaligned(scene.stack))
    assert np.isfinite(error[scene.inner]).mean() > 0.98
    assert np.nanmean(error) < limit


@pytest.mark.parametrize("number", [1, 2, 3])
def test_default_beats_plain_tenengrad_on_surfaces_with_known_depth(number: int) -> None:
    folder = SURFACES / f"generated_surface_{number}"
    if not folder.is_dir():
        pytest.skip("the surfaces with known depth are not beside the project")
    stack = open_stack(folder)
    truth = tifffile.imread(folder / "gt_slice_index.tif")
    asked = np.isfinite(truth)
    default, plain = (
        np.abs(unaligned(stack, method, options).depth - truth)[asked]
        for method, options in (("default", None), ("tenengrad", WindowSettings(peak="three-point")))
    )
    assert np.isfinite(default).all()
    assert default.mean() < 0.085  # 0.060 to 0.073 found; 0.10 was asked for
    assert default.mean() < 0.75 * plain.mean()


@pytest.mark.parametrize(
    ("make", "share"),
    # patches are filled so well (0.05 slices over all pixels) that the confident half cannot be three times better
    [(scenes.occlusion, 1 / 3), (scenes.step, 1 / 3), (scenes.textureless_patches, 0.6)],
    ids=["occlusion", "step", "patches"],
)
@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_confident_half_has_a_third_of_the_error(make: Callable[..., scenes.Scene], share: float, noise: float) -> None:
    scene = make(noise=noise)
    result = unaligned(scene.stack, options=DefaultSettings(fill=True))
    assert result.valid.all()
    error, order = slices_off(scene, result).ravel(), np.argsort(-result.confidence.ravel(), kind="stable")
    best = error[order[: error.size // 2]].mean()
    assert best <= share * error.mean()
    assert best < 0.05


@pytest.mark.parametrize("fill", [False, True], ids=["measured pixels", "all pixels, voids filled"])
@pytest.mark.parametrize("noise", [0.01, 0.03])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_confident_half_has_a_third_of_the_error_with_patches_noise_and_steps(
    fill: bool, noise: float, seed: int
) -> None:
    """Score measured pixels alone (at most 5 % are void), then every pixel: voids filled, at confidence 0."""
    scene = scenes.hard(noise=noise, seed=seed)
    result = unaligned(scene.stack, options=DefaultSettings(fill=fill))
    known = result.valid
    assert known.mean() >= (1.0 if fill else 0.95)
    error, order = slices_off(scene, result)[known], np.argsort(-result.confidence[known], kind="stable")
    assert error[order[: error.size // 2]].mean() <= error.mean() / 3


@pytest.mark.parametrize("seed", [1, 2])
def test_blur_of_bright_print_is_not_taken_for_the_faint_board_around_it(seed: int) -> None:
    scene = scenes.print_on_board(seed=seed)
    error = slices_off(scene, unaligned(scene.stack))
    assert (error > 1).mean() < 0.006  # 0.028 where blurred edges count as texture
    assert np.isfinite(error).mean() > 0.88


def test_textureless_patches_are_void_and_the_rest_is_not() -> None:
    scene = scenes.textureless_patches(noise=0.02)
    valid = unaligned(scene.stack).valid
    kernel = np.ones((17, 17), np.uint8)
    deep = cv2.erode((~scene.textured).astype(np.uint8), kernel) > 0
    assert deep.sum() > 500
    assert valid[deep].mean() < 0.1
    assert valid[scene.inner].mean() > 0.97


def test_filled_pixels_have_confidence_0_and_measured_ones_stay() -> None:
    scene = scenes.textureless_patches(noise=0.02)
    plain, filled = unaligned(scene.stack), unaligned(scene.stack, options={"fill": True})
    assert not plain.valid.all()
    assert filled.valid.all()
    assert_array_equal(filled.confidence[~plain.valid], 0)
    assert_array_equal(filled.depth[plain.valid], plain.depth[plain.valid])


def test_thin_bars_before_a_far_ground_survive() -> None:
    scene = scenes.occlusion(noise=0.01)
    error = slices_off(scene, unaligned(scene.stack))
    bar = np.abs(scene.index - 8.5) < 0.3  # the upright bar, 10 pixels wide
    assert bar.sum() > 500
    assert (error[bar] < 1).mean() > 0.8


@pytest.mark.parametrize("n", [4, 9, 30])
def test_noise_has_no_depth(n: int) -> None:
    noise = np.random.default_rng(0).normal(128, 3, (n, 300, 300)).round().astype(np.uint8)
    result = unaligned(FocalStack.create(ArraySource(noise)))
    assert result.valid.mean() < 0.03
    assert (result.confidence > 0.1).mean() < 0.001
    assert np.isnan(result.depth[~result.valid]).all()


def test_constant_frames_have_no_depth() -> None:
    constant = unaligned(FocalStack.create(ArraySource(np.full((4, 20, 30), 77, dtype=np.uint8))))
    assert not constant.valid.any()
    assert_array_equal(constant.all_in_focus, 77)


@each_method
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (17, 5), (131, 33)])
def test_any_size_works(method: str, shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(1).integers(0, 255, (3, *shape, 3), dtype=np.uint8)
    result = unaligned(FocalStack.create(ArraySource(frames)), method, keep_volume=True)
    assert result.depth.shape == result.confidence.shape == result.valid.shape == shape
    assert result.depth.dtype == result.confidence.dtype == np.float32
    assert result.all_in_focus.shape == (*shape, 3)
    assert result.all_in_focus.dtype == np.uint8
    assert_array_equal(np.isfinite(result.depth), result.valid)
    assert (result.confidence[~result.valid] == 0).all()
    assert ((result.confidence >= 0) & (result.confidence <= 1)).all()
    assert result.volume is not None
    assert result.volume.shape == (3, *shape)
    assert_allclose(result.volume.probability(shape[0] - 1, 0).sum(), 1, rtol=1e-5)
    result.volume.close()


def test_depth_is_in_the_unit_of_the_stack() -> None:
    camera = scenes.tilted_plane(kind="camera", unit="mm", noise=0.005)
    result = unaligned(camera.stack)
    assert result.unit == "mm"
    assert 300 <= np.nanmin(result.depth) < np.nanmax(result.depth) <= 600
    step = np.diff(camera.stack.positions.value).max()
    assert np.nanmean(np.abs(result.depth - camera.depth)) < 0.1 * step


def test_missing_slices_leave_the_depth_where_it_is() -> None:
    scene = scenes.tilted_plane(noise=0.005, n=21, blur_px=0.8)
    fewer = scene.stack.subset([0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 13, 14, 15, 16, 18, 19, 20])
    error = np.abs(unaligned(fewer).depth - scene.depth) / np.diff(scene.stack.positions.value).mean()
    assert np.nanmean(error) < 0.12


def test_brighter_frames_and_shifted_positions_mean_the_same_surface() -> None:
    scene = scenes.hemisphere(noise=0.005, encoding="float32")
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    first = unaligned(scene.stack)
    brighter = unaligned(replace(scene.stack, source=ArraySource((0.6 * frames).astype(np.float32))))
    sure = first.confidence > 0.5
    assert np.median(np.abs(brighter.depth - first.depth)[sure]) < 0.01 * np.ptp(scene.stack.positions.value)
    moved = replace(scene.stack, positions=Sourced(scene.stack.positions.value + 100, "typed in"))
    assert_allclose(unaligned(moved).depth, first.depth + 100, rtol=1e-4)


def test_void_of_the_stack_stays_void() -> None:
    scene = scenes.tilted_plane(noise=0.01)
    void = np.zeros(scene.stack.shape, dtype=bool)
    void[:20], void[:, -7:] = True, True
    result = unaligned(replace(scene.stack, void=void))
    assert not result.valid[void].any()
    assert result.valid[~void].mean() > 0.95


class CountingSource(ArraySource):
    """Counts how often each frame is read, and fails at one of them on request."""

    def __init__(self, frames: NDArray[Any], bad: int = -1) -> None:
        super().__init__(frames)
        object.__setattr__(self, "reads", [0] * frames.shape[0])
        object.__setattr__(self, "bad", bad)

    reads: list[int]
    bad: int

    def read(self, i: int, roi: Roi | None = None, scale: int = 1) -> Plane:
        self.reads[i] += 1
        if i == self.bad:
            raise FrameError("frame 3 is gone", i, "frame 3")
        return super().read(i, roi, scale)


def counted(bad: int = -1) -> tuple[CountingSource, FocalStack]:
    scene = scenes.tilted_plane(noise=0.01)
    source = CountingSource(np.stack([scene.stack.read(i) for i in range(scene.stack.n)]), bad)
    return source, FocalStack.create(source)


@each_method
def test_every_frame_is_read_once(method: str) -> None:
    source, stack = counted()
    unaligned(stack, method)
    assert source.reads == [1] * stack.n


def test_unreadable_frame_is_reported_and_the_volume_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[bool] = []
    close = MeasureVolume.close
    monkeypatch.setattr(MeasureVolume, "close", lambda self: (closed.append(True), close(self))[1])
    with pytest.raises(FrameError, match="frame 3 is gone"):
        unaligned(counted(bad=2)[1], keep_volume=True)
    assert closed == [True]


def test_cancel_stops_between_frames() -> None:
    source, stack = counted()
    token = CancelToken()

    def after_four(progress: Progress) -> None:
        if sum(source.reads) >= 4:
            token.cancel()

    with pytest.raises(Cancelled):
        estimate(stack, EstimateSettings(align="none"), token.guard(after_four))
    assert sum(source.reads) < 7


def test_progress_rises_to_1() -> None:
    told: list[float] = []
    estimate(counted()[1], EstimateSettings(align="none"), lambda progress: told.append(progress.fraction))
    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 11


def test_threads_do_not_change_the_result() -> None:
    scene = scenes.hemisphere(noise=0.01)
    one, four = (estimate(scene.stack, EstimateSettings(align="none", threads=k)) for k in (1, 4))
    assert_array_equal(one.depth, four.depth)
    assert_array_equal(one.confidence, four.confidence)


@pytest.mark.parametrize("word", ["finding the peaks", "fusing", "is hashed"])
def test_cancelled_at_its_end_the_scratch_file_is_closed(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    closed, close = [], MeasureVolume.close
    monkeypatch.setattr(MeasureVolume, "close", lambda self: (closed.append(True), close(self))[1])

    def hashing(source: object, report: Callable[[Progress], None]) -> dict[str, str]:
        report(Progress(0.5, "is hashed"))
        return {}

    def stop(progress: Progress) -> None:
        if word in progress.text:
            raise Cancelled

    monkeypatch.setattr(classical, "input_hashes", hashing)
    with pytest.raises(Cancelled):
        estimate(counted()[1], EstimateSettings(align="none", keep_volume=True), stop)
    assert closed


def test_bands_leave_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = scenes.tilted_plane(noise=0.01)
    whole = unaligned(scene.stack)
    for module in (classical.scan, classical.settle, classical.smooth):
        monkeypatch.setitem(module.__globals__, "BAND_ROWS", 32)
    banded = unaligned(scene.stack)
    assert_allclose(banded.depth, whole.depth, rtol=1e-3, atol=0.02)


def test_volume_peaks_where_the_depth_is() -> None:
    scene = scenes.tilted_plane(noise=0.01)
    result = unaligned(scene.stack, keep_volume=True)
    assert result.volume is not None
    for row, column in ((20, 30), (80, 80), (140, 120)):
        probability = result.volume.probability(row, column)
        assert abs(int(probability.argmax()) - scene.index[row, column]) < 1
        assert probability.max() > 2 / scene.stack.n
    result.volume.close()


def test_result_says_how_it_came_to_be() -> None:
    scene = scenes.tilted_plane(noise=0.01)
    result = unaligned(scene.stack, "sml", {"window": 15})
    assert result.provenance.method == "sml"
    assert result.provenance.settings["window"] == 15
    assert result.provenance.frames == tuple(scene.stack.source.names)
    assert result.provenance.version


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (EstimateSettings("magic"), "there is no method 'magic'; known are default, sml, tenengrad"),
        (EstimateSettings("sml", {"window": 4}), "odd"),
        (EstimateSettings("rdf", {"inner": 5, "outer": 3}), "inner radius is 5 px"),
        (EstimateSettings("default", {"window": 9}), "no setting 'window'"),
        (EstimateSettings(align="perhaps"), "align is 'perhaps'"),  # type: ignore[arg-type]
        (EstimateSettings(threads=-1), "threads is -1"),
    ],
)
def test_wrong_settings_are_refused_before_any_frame_is_read(settings: EstimateSettings, words: str) -> None:
    source, stack = counted()
    with pytest.raises(SettingsError, match=words):
        estimate(stack, settings)
    assert sum(source.reads) == 0

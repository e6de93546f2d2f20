from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

import scenes
from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import Floats
from toposcope.core.curve import Analysis, analyse, curve_at, flat_curves, format_length, format_position, peak_counts
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.jobs import Progress
from toposcope.core.result import DepthResult
from toposcope.core.volume import Origin

FWHM = 2 * np.sqrt(2 * np.log(2))


@dataclass(frozen=True)
class ArrayVolume:
    """A focus volume in memory."""

    values: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int]:
        n, height, width = self.values.shape
        return n, height, width

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        return np.array(self.values[:, row, column])

    def measure(self, row: int, column: int) -> None:
        return None

    def plane(self, i: int) -> NDArray[np.float32]:
        return np.array(self.values[i])

    def origin(self, row: int, column: int) -> Origin:
        return "neighbours"

    @property
    def memory(self) -> int:
        return self.values.nbytes

    def close(self) -> None:
        """Nothing to give back."""


def gaussians(x: Floats, *peaks: tuple[float, float, float], floor: float = 0.0) -> Floats:
    """Return a probability with Gaussian peaks (place, deviation, height) on a floor."""
    curve = floor + sum(height * np.exp(-0.5 * ((x - place) / deviation) ** 2) for place, deviation, height in peaks)
    return np.asarray(curve / np.sum(curve), dtype=np.float64)


def read(curve: Floats, step: float = 2.5, start: float = 10.0, depth: float | None = None) -> Analysis:
    return analyse(np.linspace(start, start + step * (len(curve) - 1), len(curve)), "um", "microscope", curve, depth)


def test_one_gaussian_gives_its_place_and_width() -> None:
    found = read(gaussians(np.arange(20.0), (12.48, 1.3, 1.0)))
    assert found.verdict.shape == "clear"
    assert found.verdict.text == "one clear peak at 41.2 µm"
    assert_allclose(found.position, 41.2, atol=1e-6)
    assert_allclose(found.width, FWHM * 1.3 * 2.5, rtol=0.03)
    assert_allclose(sum(peak.probability for peak in found.peaks), 1.0, atol=1e-6)


@pytest.mark.parametrize("n", [3, 4, 5, 7])
def test_a_short_sweep_with_one_peak_is_clear(n: int) -> None:
    found = read(gaussians(np.arange(float(n)), (n / 2 - 0.3, 0.8, 1.0)))
    assert found.verdict.shape == "clear"
    assert_allclose(found.position, 10 + 2.5 * (n / 2 - 0.3), atol=0.01)


def test_the_drawn_fit_is_the_gaussian_itself() -> None:
    x = np.arange(30.0)
    curve = gaussians(x, (14.3, 2.0, 1.0))
    found = read(curve, step=1.0, start=0.0)
    truth = np.exp(-0.5 * ((found.fit[:, 0] - 14.3) / 2.0) ** 2) * curve.max() / np.exp(-0.5 * (0.3 / 2) ** 2)
    assert_allclose(found.fit[:, 1], truth, rtol=1e-3)
    assert found.fit[0, 0] < 14.3 - 2 * 2.0 < 14.3 + 2 * 2.0 < found.fit[-1, 0]


def test_irregular_positions_do_not_shift_the_peak() -> None:
    positions = np.array([0.0, 1.0, 1.7, 3.1, 4.0, 5.6, 6.2, 7.9, 9.0])
    found = analyse(positions, "um", "microscope", gaussians(positions, (4.6, 1.1, 1.0)))
    assert_allclose(found.position, 4.6, atol=1e-6)


def test_a_cameras_peak_is_placed_in_dioptres() -> None:
    positions = np.array([0.35, 0.42, 0.53, 0.7, 0.96, 1.4, 2.21])
    found = analyse(positions, "m", "camera", gaussians(1 / positions, (1 / 0.62, 0.35, 1.0)))
    assert_allclose(found.position, 0.62, atol=1e-6)


def test_two_peaks_are_named_from_low_to_high() -> None:
    found = read(gaussians(np.arange(20.0), (11.2, 1.2, 1.0), (0.8 + 2, 1.2, 0.6), floor=0.02))
    assert found.verdict.shape == "two_peaks"
    assert found.verdict.text.startswith("two peaks: 17.0 and 38.0 µm, an edge or a transparent layer?")
    assert [peak.slice_index for peak in found.peaks] == [11, 3]
    assert found.peaks[0].probability > found.peaks[1].probability > 0.25


def test_a_small_bump_is_no_second_peak() -> None:
    found = read(gaussians(np.arange(20.0), (11.2, 1.2, 1.0), (3.0, 1.2, 0.15), floor=0.02))
    assert found.verdict.shape == "clear"


def test_three_peaks_are_many() -> None:
    found = read(gaussians(np.arange(40.0), (6, 1.5, 0.9), (18, 1.5, 1.0), (31, 1.5, 0.8)))
    assert found.verdict.shape == "many_peaks"
    assert "3 peaks, the strongest at 55.0 µm" in found.verdict.text


@pytest.mark.parametrize(("place", "shape", "word"), [(-0.8, "at_first", "first"), (19.7, "at_last", "last")])
def test_a_surface_beyond_the_sweep_is_said_so(place: float, shape: str, word: str) -> None:
    found = read(gaussians(np.arange(20.0), (place, 1.5, 1.0)))
    assert found.verdict.shape == shape
    assert found.verdict.text == f"peak at the {word} slice: the surface may lie beyond the sweep"
    assert found.position in (10.0, 57.5)


def test_equal_and_empty_curves_are_flat() -> None:
    for curve in (np.full(9, 1 / 9), np.zeros(9)):
        found = read(curve, depth=17.04)
        assert found.verdict.shape == "flat"
        assert found.verdict.text == "flat: no texture here; the depth of 17.0 µm comes from its neighbours"
        assert found.peaks == ()
        assert np.isnan(found.position)
        assert np.isnan(found.width)


@pytest.mark.parametrize("n", [12, 20, 40])
def test_noise_alone_is_flat_most_of_the_time(n: int) -> None:
    rng = np.random.default_rng(n)
    # the sum of squares over a 9 x 9 window wavers by 16 %
    curves = rng.chisquare(81, (n, 2000))
    assert flat_curves(curves).mean() > 0.9


@pytest.mark.parametrize("n", [5, 12, 20, 40])
def test_a_peak_over_noise_is_never_flat_and_nearly_always_one(n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.arange(n)[:, None, None]
    place = rng.uniform(1, n - 2, (1, 40, 50))
    signal = rng.uniform(4, 40, (1, 40, 50)) * np.exp(-0.5 * ((x - place) / 1.3) ** 2)
    values = ((signal + 1) * rng.chisquare(81, (n, 40, 50)) / 81).astype(np.float32)
    counts = peak_counts(ArrayVolume(values))
    assert (counts == 0).mean() < 0.01
    assert (counts == 1).mean() > 0.95


def test_a_depth_taken_from_neighbours_is_told_apart() -> None:
    curve = gaussians(np.arange(20.0), (12.48, 1.3, 1.0))
    assert "the depth map says 30.0 µm, from its neighbours" in read(curve, depth=30.0).verdict.text
    assert read(curve, depth=41.9).verdict.text == "one clear peak at 41.2 µm"


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("mean", "the mean of all slices"),
        ("measure", "the peak of the focus measure"),
        ("both", "between the mean of all slices and the peak of the focus measure"),
    ],
)
def test_a_network_s_depth_is_not_said_to_come_from_neighbours(origin: Origin, words: str) -> None:
    def verdict(curve: Floats) -> str:
        positions = 10 + 2.5 * np.arange(len(curve))
        return analyse(positions, "um", "microscope", curve, 30.0, origin).verdict.text

    peak = gaussians(np.arange(20.0), (12.48, 1.3, 1.0))
    assert verdict(peak) == f"one clear peak at 41.2 µm; the depth map says 30.0 µm, {words}"
    assert verdict(np.full(9, 1 / 9)) == f"flat: no texture here; the depth of 30.0 µm is {words}"


def test_a_pixel_that_the_map_left_out_is_flat_when_faint_and_uncertain_otherwise() -> None:
    x = np.arange(20.0)
    faint, strong = (gaussians(x, (12.48, 1.3, 1.0), floor=floor) for floor in (0.5, 0.01))
    assert read(faint).verdict.shape == "clear"
    assert read(faint, depth=np.nan).verdict.shape == "flat"
    assert (
        read(strong, depth=np.nan).verdict.text == "one clear peak at 41.2 µm; left out of the depth map as uncertain"
    )


@settings(deadline=None, max_examples=200)
@given(hnp.arrays(np.int64, st.integers(3, 24), elements=st.integers(0, 12)))
def test_the_map_counts_what_the_single_curve_shows(curve: NDArray[np.int64]) -> None:
    counted = peak_counts(ArrayVolume(curve.astype(np.float32)[:, None, None]))[0, 0]
    assert counted == len(read(curve.astype(np.float64)).peaks)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.int64, 11, elements=st.integers(0, 50)))
def test_peaks_mirror_with_the_sweep(curve: NDArray[np.int64]) -> None:
    there, back = read(curve.astype(float)), read(curve[::-1].astype(float))
    assert len(there.peaks) == len(back.peaks)


def test_counting_tells_how_far_it_is() -> None:
    heard: list[Progress] = []
    peak_counts(ArrayVolume(np.ones((4, 3, 2), np.float32)), heard.append)
    assert heard[-1].fraction == 1.0
    assert_array_equal(np.diff([progress.fraction for progress in heard]) > 0, True)


def test_numbers_show_a_tenth_of_the_step() -> None:
    assert format_position(41.2345, "µm", 2.5) == "41.2 µm"
    assert format_position(7.26, "slices", 1.0) == "slice 7.3"
    assert format_position(0.12345, "mm", 0.05) == "0.123 mm"
    assert format_position(1234.5, "µm", 25.0) == "1234 µm"
    assert format_length(1.46, "slices", 1.0) == "1.5 slices"


@lru_cache(maxsize=8)
def estimated(make: Callable[..., scenes.Scene], **look: Any) -> tuple[scenes.Scene, DepthResult]:
    scene = make(**look)
    return scene, estimate(scene.stack, EstimateSettings(keep_volume=True, align="none"))


def shapes_at(result: DepthResult, where: NDArray[np.bool_], count: int = 60) -> Counter[str]:
    places = np.argwhere(where)
    chosen = places[np.linspace(0, len(places) - 1, count).astype(int)]
    return Counter(curve_at(result, int(row), int(column)).verdict.shape for row, column in chosen)


def test_texture_gives_one_clear_peak_at_the_true_depth() -> None:
    scene, result = estimated(scenes.tilted_plane, noise=0.01)
    assert shapes_at(result, scene.inner)["clear"] >= 58
    curve = curve_at(result, 80, 75)
    assert abs(curve.position - scene.depth[80, 75]) < 0.4
    assert curve.measure is not None
    assert curve.depth == result.depth[80, 75]
    assert curve.unit_symbol == "µm"


def test_a_bare_patch_is_flat() -> None:
    scene, result = estimated(scenes.textureless_patches, noise=0.01)
    bare = cv2.erode((~scene.textured).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    assert shapes_at(result, bare)["flat"] >= 57


def test_two_peaks_stand_along_the_edges_of_what_hides_and_nowhere_else() -> None:
    scene, result = estimated(scenes.occlusion, noise=0.005, n=15)
    counts = peak_counts(result.volume)  # type: ignore[arg-type]
    assert (counts[scene.inner] > 1).mean() < 0.02
    assert (counts[scene.edges] > 1).mean() > 0.15
    row, column = np.argwhere((counts == 2) & scene.edges)[0]
    found = curve_at(result, int(row), int(column))
    assert len(found.peaks) == 2


def test_a_plane_beyond_the_sweep_is_said_to_be_there() -> None:
    scene = scenes.tilted_plane(n=13, noise=0.005)
    result = estimate(scene.stack.subset(range(4, 13)), EstimateSettings(keep_volume=True, align="none"))
    beyond = (scene.index > 2.6) & (scene.index < 3.4)  # farther out the blur leaves nothing above the noise
    assert shapes_at(result, beyond)["at_first"] >= 56
    assert shapes_at(result, (scene.index > 6) & scene.inner)["at_first"] == 0


def test_pixels_outside_the_common_field_are_void() -> None:
    _, result = estimated(scenes.tilted_plane, noise=0.01)
    shifted = tuple(Motion(np.array([[1.0, 0, -3.0 * i], [0, 1.0, 0]])) for i in range(11))
    moved = replace(result, alignment=Alignment(shifted, 0, True, "drift"))
    assert curve_at(moved, 80, 20).verdict.shape == "void"  # 30 px are lost on the left
    assert curve_at(moved, 80, 31).verdict.shape == "clear"


def test_a_curve_needs_a_volume_and_a_pixel_inside() -> None:
    _, result = estimated(scenes.tilted_plane, noise=0.01)
    with pytest.raises(ValueError, match="keep_volume"):
        curve_at(replace(result, volume=None), 3, 3)
    with pytest.raises(ValueError, match=r"\(160, 3\) lies outside"):
        curve_at(result, 160, 3)

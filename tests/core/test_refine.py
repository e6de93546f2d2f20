"""Merging, smoothing and filling of depth: steps stay, noise goes, nothing is invented."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from toposcope.core.refine import (
    SEEN,
    DepthMap,
    Estimate,
    Spill,
    coarse_bias,
    fill_voids,
    merge,
    smooth,
    smooth_by_layers,
    spill,
    without_shadows,
    without_spill,
)

Floats = NDArray[np.float32]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def plane(value: float, shape: tuple[int, int] = (40, 50)) -> Floats:
    return np.full(shape, value, dtype=np.float32)


def guess(index: float | Floats, evidence: float = 50.0, error: float = 0.1, height: float = 1.0) -> Estimate:
    values = index if isinstance(index, np.ndarray) else plane(index)
    return Estimate(
        values, plane(height, values.shape), plane(evidence, values.shape), plane(error, values.shape), 0 * values
    )


def test_agreeing_windows_are_weighed_by_their_errors() -> None:
    merged = merge(guess(5.0, error=0.3), guess(5.4, error=0.1), plane(0.0))
    # inverse variances 1/0.09 and 1/0.01
    assert_allclose(merged.index, (5.0 / 0.09 + 5.4 / 0.01) / (1 / 0.09 + 1 / 0.01), rtol=1e-5)
    assert_allclose(merged.error, (1 / 0.09 + 1 / 0.01) ** -0.5, rtol=1e-5)


def test_biased_coarse_window_counts_less() -> None:
    merged = merge(guess(5.0, error=0.1), guess(5.4, error=0.1), plane(0.08))
    assert_allclose(merged.index, 5.0 + 0.4 * 0.1, rtol=1e-5)  # 0.01 against 0.01 + 0.08


@pytest.mark.parametrize(("evidence", "expected"), [(30.0, 5.0), (1.0, 9.0)])
def test_where_windows_disagree_the_fine_one_wins_if_it_shows_anything(evidence: float, expected: float) -> None:
    assert_allclose(merge(guess(5.0, evidence), guess(9.0), plane(0.0)).index, expected)


def test_coarse_window_gives_no_evidence_to_a_pixel_that_shows_nothing_itself() -> None:
    merged = merge(guess(5.0, evidence=1.0, height=0.02), guess(9.0, evidence=500.0), plane(0.0))
    assert (merged.evidence < SEEN).all()


def test_bias_of_coarse_windows_is_what_noise_does_not_explain() -> None:
    rng = np.random.default_rng(0)
    shape = (120, 120)
    noise = rng.normal(0, 0.1, shape).astype(np.float32)
    offset = np.where(np.arange(120) < 60, 0.0, 0.4).astype(np.float32)
    bias = coarse_bias(guess(plane(5, shape) + noise), guess(plane(5, shape) + offset, error=0.0))
    assert np.sqrt(bias[:, :45]).mean() < 0.06
    assert_allclose(np.sqrt(bias[:, 75:]).mean(), 0.4, rtol=0.1)


def test_low_peak_beside_a_high_one_at_another_depth_loses_its_evidence() -> None:
    peak = guess(2.0, height=0.05)
    lit = without_shadows(peak, [(plane(8.0), plane(1.0), 23.0)])
    assert_array_equal(lit.evidence, 0)
    for index, height in ((2.5, 1.0), (8.0, 0.2)):  # same depth; not so much higher
        kept = without_shadows(peak, [(plane(index), plane(height), 23.0)])
        assert_array_equal(kept.evidence, peak.evidence)


def test_smooth_low_peak_beside_a_far_higher_one_is_spill_and_texture_is_not() -> None:
    index, height, smoothness = plane(8.0), plane(0.01), plane(0.8)
    index[:, 25:28], height[:, 25:28] = 2.0, 1.0  # an edge, 8 cells and more from column 15
    heard = Estimate(index, height, plane(50), plane(0.1), plane(0))
    assert np.isnan(spill(heard, smoothness).own[:, 15]).all()
    assert_array_equal(spill(heard, smoothness).own[:, 25:28], 2.0)
    assert_array_equal(spill(heard, plane(0.1)).own, index)  # texture, however low
    height[:, :20] = 0.3  # too high for the blur of that edge
    assert_array_equal(spill(heard, smoothness).own[:, 15], 8.0)


def test_only_peaks_at_the_depth_of_the_spill_lose_their_evidence() -> None:
    spilt = Spill(own=plane(np.nan), high=plane(8.0), low=plane(8.0), edge=plane(2.5))
    for index, evidence in ((7.5, 0.0), (5.0, 50.0), (3.0, 50.0)):
        assert_array_equal(without_spill(guess(index), spilt).evidence, evidence)
    kept = without_spill(guess(7.5), Spill(own=plane(7.2), high=plane(8.0), low=plane(8.0), edge=plane(2.5)))
    assert_array_equal(kept.evidence, 50)  # as the cell itself shows


def test_smoothing_lowers_noise_and_keeps_steps() -> None:
    rng = np.random.default_rng(1)
    truth = np.where(np.arange(60) < 30, 3.0, 9.0).astype(np.float32) + plane(0, (60, 60))
    noisy = truth + rng.normal(0, 0.2, truth.shape).astype(np.float32)
    smoothed = smooth_by_layers(noisy, plane(1, truth.shape), 2.0)
    error = np.abs(smoothed.index - truth)
    assert error.mean() < 0.35 * np.abs(noisy - truth).mean()
    assert error[:, 28:32].max() < 0.3  # the step is as sharp as before


def test_smoothing_leaves_a_slope_where_it_is() -> None:
    slope = np.linspace(2, 8, 60, dtype=np.float32) + plane(0, (40, 60))
    smoothed = smooth_by_layers(slope, plane(1, slope.shape), 2.0)
    assert np.abs(smoothed.index - slope)[:, 8:-8].max() < 0.03  # of a slice; the slope is 0.1 a pixel


def test_smoothing_in_bands_is_smoothing_of_the_whole(pool: ThreadPoolExecutor) -> None:
    rng = np.random.default_rng(2)
    depth = DepthMap(rng.uniform(3, 5, (300, 40)).astype(np.float32), plane(0.8, (300, 40)))
    whole = smooth_by_layers(depth.index, depth.confidence, 1.5)
    assert_allclose(smooth(depth, 1.5, pool).index, whole.index, atol=1e-4)


def test_weak_outlier_takes_the_depth_of_its_neighbours_and_a_sure_one_keeps_its_own(
    pool: ThreadPoolExecutor,
) -> None:
    for own_confidence, expected in ((0.1, 4.0), (1.0, 11.0)):
        depth = DepthMap(plane(4.0), plane(0.9))
        depth.index[20, 20], depth.confidence[20, 20] = 11.0, own_confidence
        found = smooth(depth, 1.5, pool)
        assert_allclose(found.index[20, 20], expected, atol=1e-3)
        assert found.confidence[20, 20] < 0.5 * own_confidence


def test_speck_in_a_void_loses_its_confidence_and_a_hole_that_agrees_is_closed(pool: ThreadPoolExecutor) -> None:
    depth = DepthMap(plane(4.0), plane(0.0))
    depth.confidence[20, 20] = 0.1
    assert (smooth(depth, 1.5, pool).confidence == 0).all()
    depth = DepthMap(plane(4.0), plane(0.9))
    depth.confidence[20, 20:22] = 0
    depth.index[20, 20], depth.index[20, 21] = 4.3, 9.0  # a weak peak that agrees, and one that does not
    found = smooth(depth, 1.5, pool)
    assert 0 < found.confidence[20, 20] < 0.3
    assert found.confidence[20, 21] == 0


def test_voids_are_filled_from_around_and_known_pixels_are_not_touched() -> None:
    slope = np.linspace(2, 8, 64, dtype=np.float32) + plane(0, (48, 64))
    holed = slope.copy()
    holed[18:30, 20:40] = np.nan
    filled = fill_voids(holed, plane(1, slope.shape))
    known = np.isfinite(holed)
    assert_array_equal(filled[known], slope[known])
    assert np.abs(filled - slope)[~known].max() < 0.7


def test_nothing_known_fills_nothing() -> None:
    assert np.isnan(fill_voids(plane(np.nan), plane(0))).all()

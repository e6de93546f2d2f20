"""Peaks of curves whose true place is known by formula."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from toposcope.core.peak import Peaks, PeakTracker, decode, encode

Floats = NDArray[np.float64]


def track(curves: NDArray[np.floating], coordinate: Floats, blur: float = 0.0) -> Peaks:
    """Return the peaks of curves (N, H, W)."""
    tracker = PeakTracker((curves.shape[1], curves.shape[2]), coordinate)
    for i, plane in enumerate(curves):
        tracker.add(i, plane.astype(np.float32))
    return tracker.fit(blur)


def gaussians(coordinate: Floats, places: Floats, width: float, height: float = 0.01) -> Floats:
    """Return (N, 1, W) Gaussian curves, one for each place."""
    curves: Floats = height * np.exp(-0.5 * ((coordinate[:, None, None] - places) / width) ** 2)
    return curves


@given(st.lists(st.floats(1e-11, 50.0), min_size=1, max_size=20))
def test_codes_keep_measures_to_a_twentieth_of_a_percent(values: list[float]) -> None:
    measure = np.array([values], dtype=np.float32)
    assert_allclose(decode(encode(measure)), measure, rtol=5e-4)


def test_no_measure_is_code_0_and_comes_back_as_0() -> None:
    codes = encode(np.zeros((2, 3), dtype=np.float32))
    assert_array_equal(codes, 0)
    assert_array_equal(decode(codes), 0)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=9), st.data())
def test_codes_keep_the_order_of_measures(values: list[float], data: st.DataObject) -> None:
    measure = np.sort(np.array([values], dtype=np.float32))
    assert (np.diff(encode(measure).astype(int)) >= 0).all()


@pytest.mark.parametrize("width", [0.05, 0.1, 0.3])
def test_three_points_find_gaussian_peaks_at_unequal_distances(width: float) -> None:
    coordinate = np.array([0, 0.05, 0.13, 0.2, 0.24, 0.35, 0.41, 0.5, 0.62, 0.7, 0.78, 0.9, 1.0])
    places = np.linspace(0.06, 0.94, 45)
    peaks = track(gaussians(coordinate, places, width), coordinate)
    assert_allclose(peaks.coordinate[0], places, atol=4e-3 * width / 0.1)


@pytest.mark.parametrize("width_slices", [0.7, 1.0, 1.8, 3.0])
def test_smoothing_does_not_move_symmetric_peaks(width_slices: float) -> None:
    coordinate = np.linspace(0, 1, 21)
    places = np.linspace(0.22, 0.78, 57)
    peaks = track(gaussians(coordinate, places, width_slices / 20), coordinate, blur=1.25)
    assert np.abs(peaks.coordinate[0] - places).max() < 0.05 / 20
    assert_allclose(np.median(peaks.width), width_slices, rtol=0.1)


def test_smoothing_halves_the_error_of_noisy_curves() -> None:
    rng = np.random.default_rng(1)
    coordinate = np.linspace(0, 1, 21)
    places = rng.uniform(0.3, 0.7, 4000)
    curves = gaussians(coordinate, places, 1.8 / 20) * rng.normal(1, 0.05, (21, 1, 4000))
    plain, smoothed = (np.abs(track(curves, coordinate, b).coordinate[0] - places).mean() for b in (0.0, 1.25))
    assert smoothed < 0.5 * plain


@pytest.mark.parametrize("blur", [0.0, 1.25])
def test_peak_beyond_the_sweep_stays_at_its_end_without_width(blur: float) -> None:
    coordinate = np.linspace(0, 1, 11)
    peaks = track(gaussians(coordinate, np.array([-0.3, 1.4]), 0.2), coordinate, blur)
    assert_allclose(peaks.coordinate[0], [0, 1])
    assert_array_equal(peaks.width, np.inf)


def test_second_peak_is_remembered_whichever_comes_first() -> None:
    coordinate = np.linspace(0, 1, 21)
    low, high = gaussians(coordinate, np.array([0.2]), 0.04, 0.004), gaussians(coordinate, np.array([0.75]), 0.04)
    for curves, place in ((low + high, 0.75), ((low + high)[::-1], 0.25)):
        peaks = track(curves, coordinate, 1.25)
        assert_allclose(peaks.coordinate, place, atol=1e-3)
        assert_allclose(peaks.second / peaks.height, 0.4, rtol=0.01)
        assert_allclose(peaks.least, curves.min(axis=0), rtol=1e-3)


def test_pixel_without_any_measure_has_no_peak() -> None:
    curves = np.zeros((5, 1, 2))
    curves[2, 0, 1] = 0.1
    assert_array_equal(np.isnan(track(curves, np.linspace(0, 1, 5)).coordinate), [[True, False]])


@pytest.mark.parametrize("n", [3, 4, 300])
def test_index_is_that_of_the_largest_measure(n: int) -> None:
    curves = np.random.default_rng(n).uniform(0.1, 1, (n, 7, 9))
    peaks = track(curves, np.linspace(0, 1, n))
    # two measures closer than a code step may change places
    assert_allclose(np.take_along_axis(curves, peaks.index[None].astype(int), 0)[0], curves.max(axis=0), rtol=1e-3)


def test_rows_may_come_in_bands() -> None:
    coordinate = np.linspace(0, 1, 12)
    curves = np.random.default_rng(3).uniform(0.1, 1, (12, 30, 8)).astype(np.float32)
    banded = PeakTracker((30, 8), coordinate)
    for i, plane in enumerate(curves):
        for rows in (slice(20, 30), slice(0, 13), slice(13, 20)):
            banded.add(i, plane[rows], rows)
    assert_array_equal(banded.fit(1.25).coordinate, track(curves, coordinate, 1.25).coordinate)
    assert_array_equal(banded.fit(1.25, slice(5, 9)).coordinate, banded.fit(1.25).coordinate[5:9])

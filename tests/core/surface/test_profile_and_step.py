"""Profiles along lines and heights of steps: places, voids, widths, values by formula, refusals."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from scenes import step as step_scene
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.surface import (
    Area,
    Profile,
    Surface,
    SurfaceSettings,
    prepared,
    profile_along,
    profile_csv,
    profile_parameters,
    step_height,
    surface_of,
)
from toposcope.errors import SettingsError, StackError
from waves import sine

NAN = math.nan


def tilted(rows: int = 30, columns: int = 40) -> Surface:
    """Heights 2 per row and -3 per column of 0.5 µm."""
    r, c = np.mgrid[:rows, :columns]
    return Surface(2.0 * r - 3.0 * c, 0.5)


# ---- profiles


def test_along_a_row_there_are_its_heights() -> None:
    surface = tilted()
    found = profile_along(surface, (4, 2), (4, 12))
    assert_array_equal(found.z_um, surface.z_um[4, 2:13])
    assert_allclose(found.distance_um, 0.5 * np.arange(11))
    assert found.length_um == 5
    assert_array_equal(profile_along(surface, (4, 12), (4, 2)).z_um, found.z_um[::-1])
    assert_array_equal(profile_along(surface, (0, 39), (29, 39)).z_um, surface.z_um[:, 39])


@settings(max_examples=50)
@given(*[st.integers(0, 29 * 16), st.integers(0, 39 * 16)] * 2, st.integers(1, 4))
def test_a_plane_is_a_line_in_any_direction(i: int, j: int, k: int, m: int, width: int) -> None:
    a, b, c, d = (sixteenth / 16 for sixteenth in (i, j, k, m))
    found = profile_along(tilted(60, 80), (a + 10, b + 10), (c + 10, d + 10), width)
    length = math.hypot(c - a, d - b)
    assert found.length_um == pytest.approx(0.5 * length)
    assert len(found.z_um) == max(1, math.ceil(length - 1e-9) + 1)
    along = np.linspace(0, 1, len(found.z_um))
    # lines beside it lie evenly on both sides, so that their mean is the line in the middle
    assert_allclose(found.z_um, 2 * (a + 10 + along * (c - a)) - 3 * (b + 10 + along * (d - b)), atol=1e-9)
    if length > 0.01:
        assert all(one.value == pytest.approx(0, abs=1e-9) for one in profile_parameters(found) if one.unit == "µm")


def test_voids_stay_voids_and_do_not_spread() -> None:
    z = tilted().z_um.copy()
    z[10, 10] = NAN
    surface = Surface(z, 0.5)
    assert np.flatnonzero(np.isnan(profile_along(surface, (10, 5), (10, 15)).z_um)).tolist() == [5]
    assert not np.isnan(profile_along(surface, (11, 5), (11, 15)).z_um).any()
    assert np.flatnonzero(np.isnan(profile_along(surface, (10.5, 5), (10.5, 15)).z_um)).tolist() == [5]
    assert np.flatnonzero(np.isnan(profile_along(surface, (5, 5), (15, 15)).z_um)).tolist() == [7, 8]
    wide = profile_along(surface, (10, 5), (10, 15), 3)
    assert_allclose(wide.z_um[:5], z[10, 5:10])
    assert wide.z_um[5] == pytest.approx((z[9, 10] + z[11, 10]) / 2)  # of the two lines that know it


def test_outside_nothing_is_known() -> None:
    found = profile_along(tilted(), (-2, 3), (2, 3))
    assert np.isnan(found.z_um).tolist() == [True, True, False, False, False]


def test_a_line_without_length_is_one_height() -> None:
    found = profile_along(tilted(), (3, 4), (3, 4))
    assert (found.distance_um.tolist(), found.z_um.tolist(), found.length_um) == ([0.0], [-6.0], 0.0)
    assert all(math.isnan(one.value) for one in profile_parameters(found))
    with pytest.raises(SettingsError, match="a profile of 0 lines"):
        profile_along(tilted(), (3, 4), (3, 9), 0)


def test_the_mean_of_lines_is_calmer_than_one() -> None:
    noise = Surface(np.random.default_rng(0).normal(size=(101, 400)), 1.0)
    assert profile_along(noise, (50, 0), (50, 399), 25).z_um.std() == pytest.approx(0.2, rel=0.15)


def test_the_profile_of_a_sine_has_the_parameters_of_a_sine() -> None:
    surface = sine()
    surface = Surface(surface.z_um + 0.3 * np.arange(1000) + 50, 0.1)  # lies tilted: the line is removed
    profile = profile_along(surface, (20, 0), (20, 999))
    found = {one.name: one.value for one in profile_parameters(profile)}
    assert list(found) == ["Pa", "Pq", "Pz", "Pp", "Pv", "Psk", "Pku", "Pt"]
    assert found["Pq"] == pytest.approx(1 / math.sqrt(2), rel=0.02)  # the line of ten waves is not quite level
    assert found["Pa"] == pytest.approx(2 / math.pi, rel=0.02)
    assert (found["Pz"], found["Pt"]) == pytest.approx((2, 2), rel=0.1)
    assert found["Psk"] == pytest.approx(0, abs=0.01)
    assert found["Pku"] == pytest.approx(1.5, rel=0.02)
    whole = profile_along(sine(0.1, 2000.0, 3), (1, 0), (1, 19_999))
    assert {one.name: one.value for one in profile_parameters(whole)}["Pq"] == pytest.approx(0.7071, rel=1e-3)


def test_all_void_has_no_parameters() -> None:
    empty = Profile(np.arange(4.0), np.full(4, NAN), (0, 0), (0, 3))
    assert all(math.isnan(one.value) for one in profile_parameters(empty))


def test_a_profile_as_text() -> None:
    z = tilted().z_um.copy()
    z[4, 3] = NAN
    lines = list(csv.reader(io.StringIO(profile_csv(profile_along(Surface(z, 0.5), (4, 2), (4, 4))))))
    assert lines == [
        ["distance_um", "z_um", "row", "column"],
        ["0", "2", "4", "2"],
        ["0.5", "", "4", "3"],
        ["1", "-4", "4", "4"],
    ]


# ---- steps


@settings(max_examples=40)
@given(st.floats(-50, 50), st.floats(-3, 3), st.floats(-3, 3), st.floats(0, 0.5), st.integers(0, 2**32 - 1))
def test_a_step_on_a_slope_is_found_whole(height: float, down: float, right: float, void: float, seed: int) -> None:
    r, c = np.mgrid[:30, :50]
    z = down * r + right * c + np.where(c >= 25, height, 0.0)
    z[np.random.default_rng(seed).random(z.shape) < void] = NAN
    surface = Surface(z, 0.5)
    a, b = Area(3, 2, 27, 20), Area(8, 30, 20, 48)
    found = step_height(surface, a, b)
    assert found.height_um == pytest.approx(height, abs=1e-9)
    assert found.tilt_deg == pytest.approx(math.degrees(math.atan(math.hypot(down, right) / 0.5)), abs=1e-6)
    assert found.residual_um == pytest.approx((0, 0), abs=1e-9)
    assert found.counts == tuple(int(np.isfinite(z[x.top : x.bottom, x.left : x.right]).sum()) for x in (a, b))
    assert step_height(surface, b, a).height_um == pytest.approx(-height, abs=1e-9)
    # levelling tilts both sides alike: the height along z stays
    assert step_height(prepared(surface, SurfaceSettings("plane")), a, b).height_um == pytest.approx(height, abs=1e-7)


def test_noise_is_told_as_deviation_from_the_planes() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(size=(100, 200)) * np.where(np.arange(200) < 100, 0.1, 0.3) + np.where(np.arange(200) < 100, 0, 4)
    found = step_height(Surface(z, 1.0), Area(0, 0, 100, 90), Area(0, 110, 100, 200))
    assert found.height_um == pytest.approx(4, abs=0.05)
    assert found.residual_um == pytest.approx((0.1, 0.3), rel=0.05)


def test_areas_that_tell_no_step_are_refused() -> None:
    surface = tilted()
    good = Area(0, 0, 10, 10)
    for other, error, message in (
        (Area(9, 9, 12, 12), SettingsError, "the two areas of the step overlap"),
        (Area(30, 0, 40, 5), SettingsError, "rows 30 to 39, columns 0 to 4, lies outside of the surface, which has 30"),
    ):
        with pytest.raises(error, match=message):
            step_height(surface, good, other)
    for lines in ((Area(0, 0, 1, 10), Area(5, 0, 6, 10)), (Area(0, 0, 1, 1), Area(5, 5, 6, 6))):
        with pytest.raises(StackError, match="the slope of the two areas is not determined"):
            step_height(surface, *lines)
    z = surface.z_um.copy()
    z[20:] = NAN
    with pytest.raises(StackError, match="no height is known in the area of the step, rows 20 to 24"):
        step_height(Surface(z, 0.5), good, Area(20, 0, 25, 5))
    # one of them may be a line, or a single pixel: the other tells the slope
    assert step_height(surface, good, Area(20, 20, 21, 21)).height_um == pytest.approx(0, abs=1e-9)


def test_a_step_that_was_photographed_is_measured() -> None:
    scene = step_scene()
    result = estimate(scene.stack, EstimateSettings(align="none"))
    surface = surface_of(result)
    height, width = surface.shape
    border, edge = 12, 16
    left = Area(border, border, height - border, width // 2 - edge)
    right = Area(border, width // 2 + edge, height - border, width - border)
    assert scene.stack.near.value == "high"
    truth = float(scene.depth[left.top, right.left]) - float(scene.depth[left.top, left.left])
    step_um = float(np.diff(scene.stack.positions.value)[0])
    found = step_height(surface, left, right)
    assert abs(truth) > 3 * step_um
    assert found.height_um == pytest.approx(truth, abs=0.03 * step_um)
    assert max(found.residual_um) < 0.1 * step_um

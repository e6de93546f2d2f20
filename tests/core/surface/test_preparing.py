"""Areas, forms, filters and spikes: what is removed, what stays, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from toposcope.core.calibration import Sourced
from toposcope.core.height_map import HeightMap
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.settings import checked
from toposcope.core.surface import FORMS, Area, Surface, SurfaceSettings, height_surface, prepared, surface_of
from toposcope.errors import CalibrationError, SettingsError, StackError
from waves import Floats, sine
from window_fakes import make_result, make_stack

NAN = math.nan
NOTHING = SurfaceSettings("none")


# ---- where surfaces come from


def test_a_result_becomes_heights_in_micrometres_and_stays_as_it_is() -> None:
    result = make_result(make_stack())
    before = result.depth.copy()
    surface = surface_of(result)
    assert surface.z_um.dtype == np.float64
    assert_allclose(surface.z_um, result.heights(), rtol=1e-7)
    assert (surface.pixel_um, surface.shape, surface.extent_um) == (0.5, (48, 64), (24.0, 32.0))
    prepared(surface, SurfaceSettings("cubic", 2.0, 10.0, True), Area(1, 1, 40, 50))
    assert_array_equal(result.depth, before)


def test_lengths_are_brought_to_micrometres() -> None:
    stack = make_stack(unit="mm")
    assert np.nanmax(surface_of(make_result(stack)).z_um) == pytest.approx(10_000)


def test_a_result_without_lengths_says_what_it_needs() -> None:
    with pytest.raises(CalibrationError, match="counted in slices, not in a length") as caught:
        surface_of(make_result(make_stack(unit="index")))
    assert caught.value.option == "--z-step of toposcope depth"
    with pytest.raises(CalibrationError, match="the size of its pixels is needed, and none is known") as caught:
        surface_of(make_result(make_stack(pixel_um=None)))
    assert caught.value.option == "--pixel-size of toposcope depth"


def test_a_height_map_gets_square_pixels() -> None:
    z = np.arange(12.0).reshape(3, 4)
    surface = height_surface(HeightMap(z, Sourced(0.5, "test"), Sourced(1.0, "test"), "formula"))
    assert (surface.shape, surface.pixel_um) == ((6, 4), 0.5)
    assert surface.operations == ("pixels were 0.5 × 1 µm; heights are interpolated to 0.5 µm both ways",)
    with pytest.raises(CalibrationError, match="formula does not tell it"):
        height_surface(HeightMap(z, None, None, "formula"))


# ---- areas


def test_an_area_of_two_corners_holds_both() -> None:
    assert Area.of_corners((5, 2), (3, 9)) == Area(3, 2, 6, 10)
    assert Area.of_corners((4, 4), (4, 4)).shape == (1, 1)
    assert Area(-3, 5, 100, 7).clipped((10, 6)) == Area(0, 5, 10, 6)
    assert 0 in Area(20, 0, 30, 5).clipped((10, 6)).shape


def test_the_area_is_cut_out() -> None:
    z = np.arange(60.0).reshape(6, 10)
    found = prepared(Surface(z, 2.0, ("before",)), NOTHING, Area(1, 2, 4, 7))
    assert_array_equal(found.z_um, z[1:4, 2:7])
    assert found.operations == ("before", "area: rows 1 to 3, columns 2 to 6")
    assert prepared(Surface(z, 2.0), NOTHING, Area(0, 0, 6, 10)).operations == ()
    assert prepared(Surface(z, 2.0), NOTHING, Area(3, 3, 4, 4)).z_um == [[33.0]]
    with pytest.raises(SettingsError, match="rows 6 to 8, columns 0 to 3, lies outside of the surface, which has 6"):
        prepared(Surface(z, 2.0), NOTHING, Area(6, 0, 9, 4))


# ---- forms


@settings(max_examples=40)
@given(
    st.sampled_from([1, 2, 3]),
    st.integers(6, 40),
    st.integers(6, 40),
    st.floats(0, 0.5),
    st.floats(-1e4, 1e4),
    st.integers(0, 2**32 - 1),
)
def test_polynomials_are_removed_whole(
    degree: int, rows: int, columns: int, void: float, level: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    r, c = np.mgrid[:rows, :columns] / 10
    z = np.full((rows, columns), level)
    for i in range(degree + 1):
        for j in range(degree + 1 - i):
            z += rng.normal() * r**i * c**j
    z[rng.random(z.shape) < void] = NAN
    z[rows // 2 :, columns // 2 :] = NAN  # a whole corner
    settings_ = SurfaceSettings(FORMS[degree])
    if np.count_nonzero(np.isfinite(z)) < 10:
        return
    found = prepared(Surface(z, 0.3), settings_).z_um
    assert_array_equal(np.isnan(found), np.isnan(z))
    assert_allclose(found[np.isfinite(z)], 0, atol=1e-8)


def test_the_form_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(3)
    z = rng.normal(size=(17, 23))
    z[rng.random(z.shape) < 0.2] = NAN
    known = np.isfinite(z)
    r, c = np.nonzero(known)
    for degree, form in enumerate(FORMS[1:], 1):
        terms = np.stack([r**i * c**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=1).astype(float)
        solution = np.linalg.lstsq(terms, z[known], rcond=None)[0]
        found = prepared(Surface(z, 1.0), SurfaceSettings(form)).z_um
        assert_allclose(found[known], z[known] - terms @ solution, atol=1e-9)
        again = prepared(Surface(found, 1.0), SurfaceSettings(form)).z_um
        assert_allclose(again[known], found[known], atol=1e-12)


def test_a_line_of_heights_is_levelled_as_far_as_it_can_be() -> None:
    for z in (np.arange(9.0)[None, :], np.arange(9.0)[:, None]):
        assert_allclose(prepared(Surface(z, 1.0), SurfaceSettings("plane")).z_um, 0, atol=1e-12)


def test_too_little_is_a_sentence() -> None:
    z = np.full((5, 5), NAN)
    with pytest.raises(StackError, match="a height must be known in the area, and no height is"):
        prepared(Surface(z, 1.0), NOTHING)
    z[2, 2] = 1.0
    assert prepared(Surface(z, 1.0), NOTHING).shape == (5, 5)
    with pytest.raises(StackError, match="to remove a plane, 3 heights must be known in the area, and only one is"):
        prepared(Surface(z, 1.0), SurfaceSettings("plane"))
    z[0] = 1.0
    with pytest.raises(StackError, match="cubic polynomial, 10 heights must be known in the area, and only 6 are"):
        prepared(Surface(z, 1.0), SurfaceSettings("cubic"))


# ---- filters


@pytest.mark.parametrize(("length", "passes"), [(5.0, 0.0625), (10.0, 0.5), (20.0, 0.8409), (40.0, 0.9576)])
def test_a_gaussian_filter_lets_waves_pass_as_the_standard_says(length: float, passes: float) -> None:
    assert passes == pytest.approx(2 ** -((10 / length) ** 2), abs=1e-4)
    surface = sine(0.1, 200.0, 120, length)
    fine = prepared(surface, SurfaceSettings("none", s_um=10.0)).z_um
    middle = slice(600, 1400)  # away from the borders, where weights are cut off
    assert_allclose(fine[60, middle], passes * surface.z_um[60, middle], atol=1e-3)
    coarse = prepared(surface, SurfaceSettings("none", l_um=10.0)).z_um
    assert_allclose(coarse + fine, surface.z_um, atol=1e-12)
    turned = prepared(Surface(surface.z_um.T, 0.1), SurfaceSettings("none", s_um=10.0)).z_um
    assert_allclose(turned.T, fine, atol=1e-12)


@pytest.mark.parametrize("pixels", [2.0, 2.5, 3.0, 4.0, 7.3, 25.0])
def test_half_of_a_wave_of_the_nesting_index_passes_however_few_pixels_it_has(pixels: float) -> None:
    wave = np.cos(2 * np.pi * np.arange(200) / pixels)
    found = prepared(Surface(np.tile(wave, (60, 1)), 1.0), SurfaceSettings("none", s_um=pixels)).z_um
    assert_allclose(found[30, 60:140], 0.5 * wave[60:140], atol=1e-6)


def direct(z: Floats, index: float) -> Floats:
    """The filter by its definition, height by height."""
    known = np.isfinite(z)
    alpha = math.sqrt(math.log(2) / math.pi)
    r, c = np.nonzero(known)
    out = np.full(z.shape, NAN)
    for i, j in zip(r, c, strict=True):
        weights = np.exp(-math.pi * ((r - i) ** 2 + (c - j) ** 2) / (alpha * index) ** 2)
        out[i, j] = weights @ z[known] / weights.sum()
    return out


@settings(max_examples=25)
@given(st.integers(9, 20), st.integers(9, 20), st.floats(5, 9), st.floats(0, 0.7), st.integers(0, 2**32 - 1))
def test_the_filter_is_a_normalised_convolution(rows: int, columns: int, index: float, void: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = 1e3 + rng.normal(size=(rows, columns))
    z[rng.random(z.shape) < void] = NAN
    z[0, 0] = 1e3
    found = prepared(Surface(z, 0.7), SurfaceSettings("none", s_um=0.7 * index)).z_um
    assert_array_equal(np.isnan(found), np.isnan(z))
    assert_allclose(found, direct(z, index), atol=1e-3)
    level = prepared(Surface(np.where(np.isnan(z), NAN, 5.0), 0.7), SurfaceSettings("none", s_um=0.7 * index)).z_um
    assert_allclose(level[np.isfinite(z)], 5.0, atol=1e-12)


def test_a_filter_that_makes_no_sense_is_refused() -> None:
    surface = Surface(np.random.default_rng(0).normal(size=(40, 60)), 0.5)
    for given_, message in (
        (SurfaceSettings(s_um=5, l_um=5), "the L-filter, 5 µm, must be larger than the S-filter, 5 µm"),
        (SurfaceSettings(s_um=0.9), "the S-filter, 0.9 µm, is finer than two pixels, 1 µm"),
        (SurfaceSettings(l_um=20.5), "the L-filter, 20.5 µm, is wider than the area, 30 × 20 µm"),
        (SurfaceSettings(s_um=-1), "s_um is -1 µm; it must lie between 0"),
        (SurfaceSettings(form="sphere"), "form is 'sphere'; choose one of none, plane, quadratic, cubic"),
    ):
        with pytest.raises(SettingsError, match=message):
            prepared(surface, given_)
    with pytest.raises(SettingsError, match="wider than the area, 5 × 20 µm"):
        prepared(surface, SurfaceSettings(s_um=6), Area(0, 0, 40, 10))
    prepared(surface, SurfaceSettings(s_um=1, l_um=20))


def test_all_that_was_done_is_told_in_order() -> None:
    z = np.random.default_rng(0).normal(size=(60, 60))
    z[30, 30] = 100.0
    found = prepared(Surface(z, 0.5), SurfaceSettings("quadratic", 2.5, 20, True), Area(5, 5, 55, 55))
    assert found.operations == (
        "area: rows 5 to 54, columns 5 to 54",
        "spikes left out: 0.04 % of the heights, off the median of 5 × 5 pixels by more than 6 robust standard "
        "deviations",
        "F: quadratic polynomial removed by least squares",
        "S: finer than 2.5 µm removed (Gaussian)",
        "L: coarser than 20 µm removed (Gaussian)",
    )


# ---- spikes


def test_spikes_are_left_out_and_nothing_else() -> None:
    rng = np.random.default_rng(7)
    r, c = np.mgrid[:80, :90]
    z = 0.2 * r + np.where(c > 45, 20.0, 0.0) + 3 * np.sin(c / 6) + 0.05 * rng.normal(size=r.shape)
    z[10:14, 60] = NAN
    spiked = z.copy()
    where = [(20, 20), (20, 21), (5, 80), (70, 10), (0, 0), (79, 89), (40, 70)]
    for k, at in enumerate(where):
        spiked[at] += 5.0 if k % 2 else -5.0
    found = prepared(Surface(spiked, 1.0), SurfaceSettings("none", outliers=True)).z_um
    left_out = np.isnan(found) & np.isfinite(spiked)
    assert {(int(i), int(j)) for i, j in zip(*np.nonzero(left_out), strict=True)} == set(where)
    kept = ~left_out & np.isfinite(spiked)
    assert_array_equal(found[kept], spiked[kept])


def test_a_rough_part_of_a_smooth_surface_is_no_heap_of_spikes() -> None:
    rng = np.random.default_rng(8)
    z = 0.01 * rng.normal(size=(100, 100))
    z[:, 70:] *= 100
    found = prepared(Surface(z, 1.0), SurfaceSettings("none", outliers=True))
    assert np.isnan(found.z_um).mean() < 0.002


@pytest.mark.parametrize("z", [np.zeros((30, 30)), np.zeros((1, 1)), np.tile(np.arange(40.0), (9, 1))])
def test_a_clean_surface_has_no_spikes(z: Floats) -> None:
    found = prepared(Surface(z, 1.0), SurfaceSettings("none", outliers=True))
    assert found.operations == ("no spikes found",)
    assert_array_equal(found.z_um, z)


def test_spikes_do_not_pull_the_form() -> None:
    r, _ = np.mgrid[:40, :40]
    z = 0.1 * r + 0.001 * np.random.default_rng(1).normal(size=r.shape)
    z[0, 0] = 1e4
    found = prepared(Surface(z, 1.0), SurfaceSettings("plane", outliers=True)).z_um
    assert np.nanmax(np.abs(found)) < 0.01


# ---- settings and progress


def test_settings_are_checked_by_name() -> None:
    made = checked(SurfaceSettings, {"form": "cubic", "s_um": "2.5", "outliers": "yes"})
    assert made == SurfaceSettings("cubic", 2.5, 0.0, True)


def test_it_can_be_cancelled_and_says_how_far_it_is() -> None:
    surface = Surface(np.random.default_rng(0).normal(size=(50, 50)), 1.0)
    everything = SurfaceSettings("cubic", 3, 20, True)
    told: list[float] = []
    prepared(surface, everything, None, lambda progress: told.append(progress.fraction))
    assert told == sorted(told)
    assert told[-1] == 1

    def stop(progress: Progress) -> None:
        if progress.text == "filtering":
            raise Cancelled

    with pytest.raises(Cancelled):
        prepared(surface, everything, None, stop)

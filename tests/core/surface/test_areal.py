"""ISO 25178 parameters: values of surfaces that formulas know, convergence, laws, voids and what is not defined."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.surface import Parameter, Surface, areal_parameters, parameter_rows
from waves import Floats, egg_box, sine, values, with_voids

NAN = math.nan
LENGTHS = {"Sa", "Sq", "Sz", "Sp", "Sv", "Sk", "Spk", "Svk", "Vmp", "Vmc", "Vvc", "Vvv"}
"""Parameters that grow with the heights."""


def sdq(amplitude: float, length: float) -> float:
    return amplitude * 2 * math.pi / length / math.sqrt(2)


def developed_sine() -> float:
    """Sdr of a sine of amplitude 1 and length 10, in percent, by its elliptic integral."""
    k = (2 * math.pi / 10) ** 2
    return 100 * (2 / math.pi * math.sqrt(1 + k) * float(special.ellipe(k / (1 + k))) - 1)


def test_a_sine_has_the_parameters_of_a_sine() -> None:
    found = values(sine())
    assert found["Sq"] == pytest.approx(1 / math.sqrt(2), rel=1e-6)
    assert found["Sa"] == pytest.approx(2 / math.pi, rel=1e-3)
    assert (found["Ssk"], found["Sku"]) == pytest.approx((0, 1.5), abs=1e-6)
    assert (found["Sz"], found["Sp"], found["Sv"]) == pytest.approx((2, 1, 1), rel=1e-3)
    assert found["Sdq"] == pytest.approx(sdq(1, 10), rel=1e-3)
    assert found["Sdr"] == pytest.approx(developed_sine(), rel=2e-3)
    assert developed_sine() == pytest.approx(9.238355, rel=1e-6)


def whole_waves(pixel_um: float) -> Floats:
    """Heights of ten waves whose first and last pixel are the same place of a wave, so that cells cover all of them."""
    return np.sin(2 * np.pi * np.arange(round(100 / pixel_um) + 1) * pixel_um / 10)


def test_slopes_come_closer_as_pixels_get_smaller() -> None:
    # exact for both ways by quadrature: the mean of sqrt(1 + (k cos x)² + (k cos y)²)
    k = 2 * math.pi / 10 * np.cos(2 * math.pi * np.arange(1000) / 1000)
    both_ways = 100 * float((np.sqrt(1 + k[:, None] ** 2 + k[None, :] ** 2) - 1).mean())
    assert both_ways == pytest.approx(17.80102, rel=1e-6)
    errors = []
    for pixel in (0.5, 0.25, 0.125):
        wave = whole_waves(pixel)
        one, two = (values(Surface(z, pixel)) for z in (np.tile(wave, (3, 1)), wave[:, None] + wave[None, :]))
        errors.append(
            [
                one["Sdq"] - sdq(1, 10),
                one["Sdr"] - developed_sine(),
                two["Sdq"] - math.sqrt(2) * sdq(1, 10),
                two["Sdr"] - both_ways,
            ]
        )
    for coarse, fine in itertools.pairwise(errors):
        # second order: half the pixel, a quarter of the error
        assert fine == pytest.approx([error / 4 for error in coarse], rel=0.03)


def test_a_tilted_plane_has_one_slope() -> None:
    rows, columns = np.mgrid[:30, :50]
    found = values(Surface(0.3 * 0.5 * rows - 0.4 * 0.5 * columns + 7, 0.5))
    assert found["Sdq"] == pytest.approx(0.5)
    assert found["Sdr"] == pytest.approx(100 * (math.sqrt(1.25) - 1))


def test_a_ramp_is_all_core() -> None:
    n = 4000
    found = values(Surface(np.random.default_rng(1).permutation(np.arange(n) / n).reshape(40, 100) * 5, 1.0))
    assert found["Sk"] == pytest.approx(5, rel=1e-3)
    assert (found["Spk"], found["Svk"]) == pytest.approx((0, 0), abs=2e-3)
    assert (found["Smr1"], found["Smr2"]) == pytest.approx((0, 100), abs=0.1)
    # the curve is a line: volumes are triangles and trapezia of it
    expected = {"Vmp": 0.005, "Vmc": 0.32 - 0.005, "Vvc": 0.405 - 0.02, "Vvv": 0.02}
    for name, value in expected.items():
        assert found[name] == pytest.approx(5 * value, rel=2e-3)


def test_peaks_and_valleys_are_what_sticks_out_of_the_core() -> None:
    # 10 % fall from 3 to 1, 80 % from 1 to 0, 10 % from 0 to -2: a core line from 1.125 to -0.125
    ratio = (np.arange(20_000) + 0.5) / 20_000
    z = np.interp(ratio, [0, 0.1, 0.9, 1], [3, 1, 0, -2])
    found = values(Surface(np.random.default_rng(2).permutation(z).reshape(100, 200), 1.0))
    assert found["Sk"] == pytest.approx(1.25, rel=1e-3)
    assert (found["Smr1"], found["Smr2"]) == pytest.approx((9.375, 90.625), abs=0.02)
    assert (found["Spk"], found["Svk"]) == pytest.approx((1.875, 1.875), rel=2e-3)


def test_the_core_of_a_sine_is_a_line_of_least_squares() -> None:
    # through cos(pi x) over 0 to 0.4, by its definition; the secant alone would give 1.7275
    x = np.linspace(0, 0.4, 200_001)
    slope = np.polyfit(x, np.cos(np.pi * x), 1)[0]
    assert -slope == pytest.approx(1.7747, abs=1e-4)
    # 101 waves in 10 000 pixels: no two have the same phase, so that all heights of the wave occur
    found = values(sine(0.1, 1000.0, 3, 1000 / 101))
    assert found["Sk"] == pytest.approx(-slope, rel=1e-3)
    assert found["Vmp"] == pytest.approx(math.sin(0.1 * math.pi) / math.pi - 0.1 * math.cos(0.1 * math.pi), rel=1e-2)


def test_the_material_ratio_of_two_levels() -> None:
    z = np.zeros((20, 30))
    z[:, :3] = 1.0  # a tenth
    found = values(Surface(z, 1.0))
    assert found["Sk"] == pytest.approx(0, abs=1e-6)
    assert (found["Smr1"], found["Smr2"]) == pytest.approx((10, 100))
    # one level holds 90 %, and its line lies in it: a triangle of the base 10 % as large as what sticks out
    assert found["Spk"] == pytest.approx(2.0)
    assert found["Svk"] == 0


def test_the_autocorrelation_of_a_sine_falls_along_the_wave_only() -> None:
    exact = math.acos(0.2) / (2 * math.pi) * 10
    assert exact == pytest.approx(2.17953, abs=1e-5)
    errors = []
    for extent in (100, 200, 400):
        found = values(sine(0.1, extent))
        errors.append(abs(found["Sal"] - exact))
        assert math.isnan(found["Str"])  # along the grooves it never falls
    assert errors[0] == pytest.approx(2.2055 - exact, abs=5e-4)
    # what a finite field adds shrinks with the number of waves in it
    assert errors[1] == pytest.approx(errors[0] / 2, rel=0.05)
    assert errors[2] == pytest.approx(errors[1] / 2, rel=0.05)


def test_the_autocorrelation_of_an_egg_box_is_that_of_the_formula() -> None:
    # (cos kx + cos ky) / 2 is 0.2 first on the diagonal, last along the axes
    along, across = math.acos(-0.6), math.sqrt(2) * math.acos(0.2)
    exact = across / (2 * math.pi) * 10, across / along
    assert exact == pytest.approx((3.08232, 0.8746), abs=1e-4)
    near, far = (values(egg_box(0.25, extent)) for extent in (100, 200))
    assert (far["Sal"], far["Str"]) == pytest.approx(exact, rel=0.01)
    assert abs(far["Sal"] - exact[0]) < 0.6 * abs(near["Sal"] - exact[0])


def test_texture_that_is_longer_one_way_has_that_aspect_ratio() -> None:
    from scipy import ndimage

    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=(900, 900)), (3, 12), mode="wrap")
    found = values(Surface(noise, 0.5))
    # the autocorrelation of such noise is exp(-d²/4s²): 0.2 at 2 s sqrt(ln 5)
    assert found["Sal"] == pytest.approx(0.5 * 3 * 2 * math.sqrt(math.log(5)), rel=0.05)
    assert found["Str"] == pytest.approx(0.25, rel=0.1)


def test_missing_heights_change_little() -> None:
    whole, holed = values(egg_box(0.2)), values(with_voids(egg_box(0.2), 0.05))
    for name, value in whole.items():
        assert holed[name] == pytest.approx(value, rel=0.02, abs=0.01), name
    assert values(with_voids(sine(), 0.05))["Sq"] == pytest.approx(0.7071, abs=5e-4)


def test_nothing_is_told_of_nothing() -> None:
    found = values(Surface(np.full((9, 11), NAN), 1.0))
    assert len(found) == 20
    assert all(math.isnan(value) for value in found.values())


def test_a_single_height_and_a_flat_surface_have_no_shape() -> None:
    for z in (np.full((1, 1), 3.5), np.full((7, 5), -2.0), np.array([[NAN, 4.0], [NAN, NAN]])):
        found = values(Surface(z, 1.0))
        assert all(found[name] == 0 for name in ("Sa", "Sq", "Sz", "Sp", "Sv", "Vmp", "Vmc", "Vvc", "Vvv"))
        for name in ("Ssk", "Sku", "Sal", "Str", "Sk", "Spk", "Svk", "Smr1", "Smr2"):
            assert math.isnan(found[name]), name
    assert values(Surface(np.full((7, 5), -2.0), 1.0))["Sdq"] == 0
    assert math.isnan(values(Surface(np.full((1, 5), -2.0), 1.0))["Sdq"])  # no cell of four


def test_rounding_is_no_shape() -> None:
    z = 1e3 + 1e-13 * np.random.default_rng(0).normal(size=(20, 20))
    assert math.isnan(values(Surface(z, 1.0))["Ssk"])


@settings(max_examples=30)
@given(
    st.integers(2, 14),
    st.integers(2, 14),
    st.floats(0, 0.6),
    st.floats(-1e3, 1e3),
    st.floats(0.01, 100),
    st.integers(0, 2**32 - 1),
)
def test_laws(rows: int, columns: int, void: float, offset: float, factor: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, columns))
    z[rng.random(z.shape) < void] = NAN
    plain = values(Surface(z, 0.5))

    def same(other: Surface, **changes: float) -> None:
        for name, value in values(other).items():
            expected = plain[name] * changes.get(name, 1.0)
            assert value == pytest.approx(expected, rel=1e-6, abs=1e-6, nan_ok=True), name

    same(Surface(z + offset, 0.5))
    same(Surface(z[::-1], 0.5))
    same(Surface(z[:, ::-1], 0.5))
    same(Surface(z.T, 0.5))
    same(Surface(np.rot90(z), 0.5))
    # all lengths in another unit: lengths change, all else stays
    same(Surface(z * factor, 0.5 * factor), **dict.fromkeys(LENGTHS | {"Sal"}, factor))


@settings(max_examples=30)
@given(st.integers(2, 14), st.integers(2, 14), st.integers(0, 2**32 - 1))
def test_turned_over_peaks_are_valleys(rows: int, columns: int, seed: int) -> None:
    z = np.random.default_rng(seed).gamma(2.0, size=(rows, columns))
    one, other = values(Surface(z, 1.0)), values(Surface(-z, 1.0))
    assert (one["Sp"], one["Ssk"]) == pytest.approx((other["Sv"], -other["Ssk"]))
    # all volume below the highest height is material or void
    assert one["Sq"] == pytest.approx(other["Sq"])
    assert min(one[name] for name in ("Vmp", "Vmc", "Vvc", "Vvv", "Sdr", "Sdq")) >= -1e-12
    assert 0 <= one["Smr1"] <= one["Smr2"] <= 100


def test_parameters_are_told_in_words() -> None:
    rows = parameter_rows(areal_parameters(sine(rows=4)))
    assert rows[1] == ("Sq", "0.7071 µm", "root mean square height")
    assert ("Str", "–", "texture aspect ratio") in rows
    for value, text in ((12.3, "12.30 µm"), (-0.04469, "−0.04469 µm"), (123456, "123456 µm"), (2e-12, "0 µm")):
        assert Parameter("x", "", value, "µm", "").text == text
    assert Parameter("x", "", 1.5e-6, "", "").text == "1.5e-06"


def test_it_can_be_cancelled_and_says_how_far_it_is() -> None:
    told: list[float] = []
    areal_parameters(egg_box(0.5), lambda progress: told.append(progress.fraction))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)

    def stop(progress: Progress) -> None:
        if progress.fraction > 0.5:
            raise Cancelled

    with pytest.raises(Cancelled):
        areal_parameters(egg_box(0.5), stop)

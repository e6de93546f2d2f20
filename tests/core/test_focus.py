"""Focus measures: laws that all of them obey, and values known from formulas."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from toposcope.core import focus

Grey = NDArray[np.float32]
MEASURES: dict[str, tuple[Callable[..., Grey], int]] = {
    "tenengrad": (focus.tenengrad, 2),
    "sml": (focus.modified_laplacian, 1),
    "variance": (focus.grey_variance, 2),
    "rdf": (focus.ring_difference, 1),
    "ddl": (focus.directional_laplacian, 1),
    "wavelet": (focus.wavelet_energy, 2),
}
each_measure = pytest.mark.parametrize(("measure", "power"), MEASURES.values(), ids=MEASURES)


def texture(height: int = 61, width: int = 72, contrast: float = 0.1) -> Grey:
    rng = np.random.default_rng(4)
    noise = cv2.GaussianBlur(rng.standard_normal((height, width)), (0, 0), 0.8)
    return (0.5 + contrast * noise).astype(np.float32)


@each_measure
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 3), (33, 40)])
def test_shape_and_dtype_are_kept_and_nothing_is_negative(
    measure: Callable[..., Grey], power: int, shape: tuple[int, int]
) -> None:
    frame = texture(*shape)
    before = frame.copy()
    result = measure(frame)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert (result >= 0).all()
    assert_array_equal(frame, before)


@each_measure
def test_flat_frame_has_no_sharpness(measure: Callable[..., Grey], power: int) -> None:
    assert_allclose(measure(np.full((40, 40), 0.7, dtype=np.float32)), 0, atol=1e-6)


@each_measure
def test_contrast_scales_the_measure_by_its_power(measure: Callable[..., Grey], power: int) -> None:
    frame = texture()
    assert_allclose(measure(3 * frame), 3**power * measure(frame), rtol=2e-3)


@each_measure
def test_added_brightness_changes_nothing(measure: Callable[..., Grey], power: int) -> None:
    frame = texture()
    assert_allclose(measure(frame + np.float32(0.3)), measure(frame), rtol=1e-3, atol=1e-7)


@each_measure
def test_shifted_frame_has_shifted_measure(measure: Callable[..., Grey], power: int) -> None:
    frame = texture()
    moved = measure(np.roll(frame, (4, 7), axis=(0, 1)))
    assert_allclose(moved[24:-20, 27:-20], measure(frame)[20:-24, 20:-27], rtol=2e-3, atol=1e-8)


@each_measure
def test_blur_lowers_the_measure_step_by_step(measure: Callable[..., Grey], power: int) -> None:
    frame = texture()
    levels = [measure(cv2.GaussianBlur(frame, (0, 0), s)).mean() for s in (0.4, 0.8, 1.2, 2.0, 3.0)]
    assert all(b < 0.9 * a for a, b in itertools.pairwise(levels))


@pytest.mark.parametrize("measure", [m for m, _ in MEASURES.values() if m is not focus.grey_variance])
def test_larger_window_averages_the_same_response(measure: Callable[..., Grey]) -> None:
    frame = texture()
    assert_allclose(measure(frame, window=7), cv2.blur(measure(frame, window=1), (7, 7)), rtol=1e-3, atol=1e-7)


def test_tenengrad_of_a_ramp_is_its_squared_slope() -> None:
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    inner = (slice(8, -8), slice(8, -8))
    assert_allclose(focus.tenengrad(0.01 * rows + 0.002 * columns)[inner], 0.01**2 + 0.002**2, rtol=1e-3)


@pytest.mark.parametrize("step", [1, 3])
def test_modified_laplacian_of_a_parabola_is_its_second_difference(step: int) -> None:
    rows, columns = np.mgrid[:40, :50].astype(np.float32)
    bowl = 1e-3 * (columns - 25) ** 2 - 2e-3 * (rows - 20) ** 2
    # second difference of a x² at distance d: 2 a d²; absolute values do not cancel the saddle
    assert_allclose(focus.modified_laplacian(bowl, step=step)[12:-12, 12:-12], (2e-3 + 4e-3) * step**2, rtol=1e-2)


def test_directional_laplacian_of_a_groove_follows_its_directions() -> None:
    columns = np.mgrid[:60, :60][1].astype(np.float32)
    groove = 1e-3 * (columns - 30) ** 2
    # 2 a d² along 0, 45 and 135 degrees, 0 along the groove; mean of d² over 1..4 is 7.5
    assert_allclose(focus.directional_laplacian(groove)[12:-12, 12:-12], 2e-3 * 0.75 * 7.5, rtol=1e-2)


def test_grey_variance_of_stripes_is_their_variance() -> None:
    stripes = np.zeros((40, 40), dtype=np.float32)
    stripes[:, ::2] = 0.2
    # 5 of 9 columns bright or dark: variance 0.2² * 5/9 * 4/9
    assert_allclose(focus.grey_variance(stripes)[10:-10, 10:-10], 0.04 * 20 / 81, rtol=1e-4)


def test_ring_difference_of_a_dot_shows_disk_and_ring() -> None:
    dot = np.zeros((21, 21), dtype=np.float32)
    dot[10, 10] = 1
    response = focus.ring_difference(dot, window=1)
    assert_allclose(response[10, 9:12], 1 / 5, rtol=1e-5)  # disk of five pixels
    assert_allclose(response[10, [6, 7, 13, 14]], 1 / 36, rtol=1e-5)  # 36 pixels at distances 2 < d <= 4
    assert_allclose(response[10, [5, 8, 12, 15]], 0, atol=1e-7)


@pytest.mark.parametrize(
    ("measure", "share"),
    [
        (focus.tenengrad, 0.375),  # 2 * (1 + 4 + 1) * (1 + 1) / 64
        (focus.grey_variance, 80 / 81),  # one degree of freedom of 81 goes to the mean
        (focus.wavelet_energy, 0.889**2 + 0.200**2 + 0.086**2),  # Starck et al. 1998, table of the B-spline
    ],
)
def test_white_noise_gives_the_energy_that_its_docstring_states(measure: Callable[[Grey], Grey], share: float) -> None:
    noise = np.random.default_rng(2).normal(0.5, 0.02, (400, 400)).astype(np.float32)
    assert_allclose(measure(noise).mean() / 0.02**2, share, rtol=0.02)


def test_white_noise_in_the_modified_laplacian_is_that_of_two_second_differences() -> None:
    noise = np.random.default_rng(2).normal(0.5, 0.02, (400, 400)).astype(np.float32)
    # mean |x| of a normal value of variance 6 s² is sqrt(12 / pi) s
    assert_allclose(focus.modified_laplacian(noise).mean() / 0.02, 2 * np.sqrt(12 / np.pi), rtol=0.02)

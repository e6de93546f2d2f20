"""Phones: breathing by the thin lens, motions by the measured figures, and stacks that move as told."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dffnets.synthetic.phone import (
    PHONES,
    Phone,
    as_matrices,
    focus_distances,
    moved,
    phone_stack,
    relative_to,
    sweep_motions,
)

Floats = NDArray[np.float64]
PLAIN = Phone("plain", 50.0, 2.0, 5.0, 4000, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))


def test_field_of_view_is_that_of_the_sensor_distance() -> None:
    # s = f d / (d - f): 100 mm at 100 mm, 75 mm at 150 mm
    np.testing.assert_allclose(PLAIN.field_of_view(np.array([100.0, 150.0])), np.array([1, 100 / 75]))


def test_without_errors_slices_only_breathe() -> None:
    motions = PLAIN.motions(np.array([150.0, 100.0]), 4.0, np.random.default_rng(0))
    np.testing.assert_allclose(motions, np.array([[0.75, 0, 0], [1, 0, 0]]))


def test_error_of_the_field_of_view_is_a_line_in_the_inverse_distance() -> None:
    phone = replace(PLAIN, alpha=(-0.004, 0.02))
    distances = np.array([900.0, 250.0, 100.0])
    seen = phone.field_of_view(distances) + 0.02 - 0.004 / (distances * 1e-3)
    motions = phone.motions(distances, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(motions[:, 0], seen[2] / seen)


@pytest.mark.parametrize("phone", PHONES, ids=lambda phone: phone.name)
def test_shifts_scatter_as_measured_in_pixels_of_the_picture(phone: Phone) -> None:
    # equal distances do not breathe, so that two slices differ by two draws
    distances, rng = np.array([300.0, 300.0]), np.random.default_rng(1)
    drawn = np.array([phone.motions(distances, 8.0, rng)[1] for _ in range(4000)])
    expected = np.sqrt(2) / 8 * np.array([phone.beta[1], phone.gamma[1]])
    np.testing.assert_allclose(drawn[:, 1:].std(0), expected, rtol=0.05)
    np.testing.assert_allclose(drawn[:, 1:].mean(0), 0, atol=0.05)


def test_blur_has_the_diameter_of_the_thin_lens_in_the_phones_own_pixels() -> None:
    # c = f^2 |z - d| / (N z (d - f)), before pixels that are 10 times as large as the sensor's
    for phone in PHONES:
        aperture = phone.focal_mm / phone.f_number
        diameter = aperture * phone.focal_mm * (900 - 100) / (900 * (100 - phone.focal_mm))
        radius = phone.lens(10.0, far_mm=100.0).radius_px(np.array(900.0), 100.0)
        assert radius == pytest.approx(diameter / 2 / (10 * phone.pitch_um * 1e-3))


def test_sweeps_are_even_in_the_inverse_distance() -> None:
    np.testing.assert_allclose(np.diff(1 / focus_distances(7)), (1 / 100 - 1 / 900) / 6)


@given(st.integers(0, 2**20), st.integers(2, 9), st.data())
def test_motions_against_another_slice_keep_what_lies_where(seed: int, n: int, data: st.DataObject) -> None:
    motions = sweep_motions(n, 200, np.random.default_rng(seed))
    reference = data.draw(st.integers(0, n - 1))
    turned = relative_to(motions, reference)
    np.testing.assert_allclose(turned[reference], (1, 0, 0), atol=1e-12)
    point = np.array([13.0, -7.0])
    there = motions[:, :1] * point + motions[:, 1:]
    np.testing.assert_allclose(turned[:, :1] * there[reference] + turned[:, 1:], there, atol=1e-9)
    np.testing.assert_allclose(relative_to(turned, 0), motions, atol=1e-9)


def test_moved_pictures_are_the_formula_at_the_moved_place() -> None:
    side, size, (scale, x, y) = 96, 72, (0.9, 3.3, -1.7)

    def wave(column: Floats, row: Floats) -> Floats:  # whole periods around the torus
        waves: Floats = np.sin(2 * np.pi * (3 * column + 2 * row) / side) + np.cos(2 * np.pi * 4 * row / side)
        return waves

    rows, columns = np.indices((side, side)) - (side - 1) / 2
    seen = moved(wave(columns, rows)[None].astype(np.float32), np.array([[scale, x, y]]), size)[0]
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    # OpenCV reads at 1/32 pixel, which a slope of 0.6 a pixel shows; on average it must not lean to a side
    error = seen - wave((columns - x) / scale, (rows - y) / scale)
    assert np.abs(error).max() < 0.04
    assert abs(error.mean()) < 5e-4


@pytest.mark.parametrize("size", [64, 75])
def test_true_motions_bring_slices_onto_the_reference(size: int) -> None:
    # many of the phone's pixels in each: hardly any blur, so that slices differ by their motion alone
    stack = phone_stack((3, 1), count=4, size=size, reduction=40, phone=replace(PHONES[1], beta=(0, 60), gamma=(0, 60)))
    frames = cv2.GaussianBlur(stack.frames.numpy().transpose(1, 2, 0).astype(np.float32), (0, 0), 1.0)
    matrices = as_matrices(stack.motions.numpy(), (size, size))
    inner = slice(12, -12)
    still, back = [], []
    for k, matrix in enumerate(matrices):
        warped = cv2.warpAffine(frames[..., k], matrix, (size, size), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
        still.append(np.abs(frames[..., k] - frames[..., stack.reference])[inner, inner].mean())
        back.append(np.abs(warped - frames[..., stack.reference])[inner, inner].mean())
    assert sum(back) < 0.4 * sum(still)


def test_phone_stack_says_what_the_lens_data_say() -> None:
    stack = phone_stack((3, 2), count=5, size=48, phone=PHONES[2])
    assert stack.frames.shape == (5, 48, 48)
    assert stack.depth.shape == (48, 48)
    assert stack.reference == 4
    np.testing.assert_allclose(stack.field_of_view, PHONES[2].field_of_view(focus_distances(5)), rtol=1e-6)
    np.testing.assert_allclose(stack.motions[4], (1, 0, 0), atol=1e-7)


def test_same_seed_gives_the_same_phone_stack() -> None:
    first, again, other = (phone_stack((4, k), count=3, size=32).frames for k in (1, 1, 2))
    assert (first == again).all()
    assert not (first == other).all()

"""Measures against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dffnets.metrics import NAMES, bumpiness, depth_errors, mean_errors


def test_measures_of_two_pixels_by_hand() -> None:
    errors = depth_errors(np.array([[2.0, 5.0]]), np.array([[1.0, 4.0]]))
    assert errors["mae"] == 1
    assert errors["mse"] == 1
    assert errors["rmse"] == 1
    assert errors["log_rmse"] == pytest.approx(math.sqrt((math.log(2) ** 2 + math.log(1.25) ** 2) / 2))
    assert errors["abs_rel"] == pytest.approx((1 / 1 + 1 / 4) / 2)
    assert errors["sq_rel"] == pytest.approx((1 / 1 + 1 / 4) / 2)
    # ratios 2 and 1.25: "smaller than 1.25" leaves the second out, 1.25^2 = 1.5625, 1.25^3 = 1.953
    assert [errors[f"delta{k}"] for k in (1, 2, 3)] == [0, 0.5, 0.5]


def test_voids_and_values_that_have_no_ratio_are_left_out() -> None:
    errors = depth_errors(np.array([[1.0, np.nan, 3.0]]), np.array([[1.0, 2.0, 0.0]]))
    assert errors["mae"] == 1.5
    assert errors["abs_rel"] == 0
    empty = depth_errors(np.full((2, 2), np.nan), np.ones((2, 2)))
    assert set(empty) == set(NAMES)
    assert all(math.isnan(value) for value in empty.values())


def test_bumpiness_of_a_parabola_is_its_second_derivative() -> None:
    x = np.arange(32.0)
    error = np.tile(0.5 * 2e-4 * x**2, (32, 1))  # second derivative 2e-4 in x, 0 elsewhere
    valid = np.zeros_like(error, dtype=bool)
    valid[8:-8, 8:-8] = True
    # the weights return twice the derivative, twice
    assert bumpiness(error, np.zeros_like(error), valid) == pytest.approx(100 * 4 * 2e-4, rel=1e-6)


def test_bumpiness_is_cut_at_five_hundredths() -> None:
    rough = np.random.default_rng(0).normal(0, 10, (32, 32))
    assert bumpiness(rough, np.zeros_like(rough), np.ones_like(rough, dtype=bool)) == pytest.approx(5, rel=0.02)


def test_means_are_taken_over_pictures_not_pixels() -> None:
    tables = [
        depth_errors(np.array([[1.0]]), np.array([[2.0]])),
        depth_errors(np.full((1, 3), 5.0), np.full((1, 3), 2.0)),
    ]
    assert mean_errors(tables)["rmse"] == (1 + 3) / 2

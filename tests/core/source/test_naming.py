from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from toposcope.core.source.naming import natural_key, positions_from_names


def test_numbers_are_ordered_by_value() -> None:
    names = ["img10.png", "img2.png", "IMG1.png", "img02.png", "img.png", "a.png"]
    assert sorted(names, key=natural_key) == ["a.png", "img.png", "IMG1.png", "img02.png", "img2.png", "img10.png"]


@given(st.lists(st.text(max_size=12), unique=True), st.randoms(use_true_random=False))
def test_any_names_have_one_order(names: list[str], shuffle: random.Random) -> None:
    mixed = list(names)
    shuffle.shuffle(mixed)
    assert sorted(mixed, key=natural_key) == sorted(names, key=natural_key)


@given(st.lists(st.integers(0, 10**9), unique=True))
def test_counters_are_in_order(numbers: list[int]) -> None:
    names = sorted((f"frame_{number}.tif" for number in numbers), key=natural_key)
    assert names == [f"frame_{number}.tif" for number in sorted(numbers)]


@pytest.mark.parametrize(
    ("names", "values", "unit"),
    [
        (["s_z0um.tif", "s_z12.5um.tif", "s_z25um.tif"], [0, 12.5, 25], "um"),
        (["s_z-2.5µm.tif", "s_z0µm.tif", "s_z2.5µm.tif"], [-2.5, 0, 2.5], "um"),
        (["500nm.png", "750nm.png", "1000nm.png"], [0.5, 0.75, 1.0], "um"),
        (["a 1,5mm.png", "a 2,5mm.png", "a 10mm.png"], [1.5, 2.5, 10], "mm"),
        (["a_1cm.png", "a_2cm.png", "a_3cm.png"], [10, 20, 30], "mm"),
        (["x10um_z1um.png", "x10um_z2um.png", "x10um_z3um.png"], [1, 2, 3], "um"),
        (["x10um_z1um.png", "x20um_z2um.png", "x30um_z3um.png"], [1, 2, 3], "um"),
        (["img-5um.png", "img-10um.png", "img-15um.png"], [5, 10, 15], "um"),
        (["img_-5um.png", "img_0um.png", "img_5um.png"], [-5, 0, 5], "um"),
        (["image_1_0.35.jpg", "image_2_0.50.jpg", "image_3_0.90.jpg"], [0.35, 0.5, 0.9], None),
        (["z=0.5.png", "z=1.0.png", "z=1.5.png"], [0.5, 1, 1.5], None),
        (["f0.5_1.25.png", "f0.5_1.50.png", "f0.5_1.75.png"], [1.25, 1.5, 1.75], None),
    ],
)
def test_positions_are_found(names: list[str], values: list[float], unit: str | None) -> None:
    found = positions_from_names(names)
    assert found is not None
    assert_allclose(found.values, values)
    assert found.unit == unit


@pytest.mark.parametrize(
    "names",
    [
        ["frame_000.jpg", "frame_005.jpg", "frame_010.jpg"],
        ["s_z001.tif", "s_z002.tif", "s_z003.tif"],
        ["DSC_0356.jpg", "DSC_0358.jpg", "DSC_0359.jpg"],
        ["2026-01-02_12.30.15.jpg", "2026-01-02_12.30.16.jpg", "2026-01-02_12.30.17.jpg"],
        ["IMG_1 10ms.jpg", "IMG_2 20ms.jpg", "IMG_3 30ms.jpg"],
        ["a_1.5_2.5.png", "a_2.5_3.5.png", "a_3.5_4.5.png"],
        ["lens_50mm_1.png", "lens_50mm_2.png", "lens_50mm_3.png"],
        ["a_0.5.png", "b_1.0.png", "a_1.5.png"],
        ["10x0.25_1.png", "10x0.25_2.png", "10x0.25_3.png"],
        ["a.png", "b.png", "c.png"],
    ],
)
def test_counters_and_other_numbers_are_no_positions(names: list[str]) -> None:
    assert positions_from_names(names) is None


@given(
    st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=20, unique=True), st.sampled_from(["um", "nm", "mm"])
)
def test_written_positions_are_read_back(thousandths: list[int], unit: str) -> None:
    values = [number / 1000 for number in thousandths]
    found = positions_from_names([f"scan_07_z{value:.3f}{unit}.tif" for value in values])
    assert found is not None
    assert_allclose(found.values, np.array(values) * {"um": 1, "nm": 1e-3, "mm": 1}[unit], rtol=1e-12, atol=1e-15)
    assert found.is_z

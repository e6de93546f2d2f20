"""Pictures hold what they claim to show: colours, lengths, places, and what hides what."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from toposcope.core import pictures
from toposcope.core.curve import FocusCurve, Peak, Verdict
from toposcope.core.pictures import View, colour_map, colour_table, curve_picture, map_picture, surface_picture


def is_colour(picture: NDArray[np.uint8], colour: tuple[int, int, int], tolerance: int = 3) -> NDArray[np.bool_]:
    return np.asarray((np.abs(picture.astype(int) - colour) <= tolerance).all(axis=-1))


# --- colours ---------------------------------------------------------------------------------


def test_ends_of_the_range_get_the_ends_of_the_map_and_voids_their_own_colour() -> None:
    values = np.array([[-5.0, 2.0, 4.0, 6.0, 99.0, np.nan]])
    picture = colour_map(values, "viridis", 2.0, 6.0, void=(1, 2, 3))
    table = colour_table("viridis")
    assert picture.shape == (1, 6, 3)
    assert (picture[0, [0, 1]] == table[0]).all()
    assert (picture[0, 2] == table[128]).all()
    assert (picture[0, [3, 4]] == table[255]).all()
    assert tuple(picture[0, 5]) == (1, 2, 3)


def test_maps_are_those_of_their_authors() -> None:
    # first and last colour of viridis, published with matplotlib 2.0
    assert tuple(colour_table("viridis")[0]) == (68, 1, 84)
    assert tuple(colour_table("viridis")[255]) == (253, 231, 37)


@pytest.mark.parametrize("values", [np.full((3, 3), np.nan), np.full((3, 3), 7.0), np.array([[np.inf, 1.0]])])
def test_map_without_a_range_is_drawn_all_the_same(values: NDArray[np.float64]) -> None:
    low, high = pictures.robust_range(values)
    assert low < high
    assert colour_map(values).shape == (*values.shape, 3)


def test_a_few_wild_values_do_not_eat_the_range() -> None:
    values = np.concatenate([np.linspace(10, 20, 10_000), np.full(10, 1e6)])
    low, high = pictures.robust_range(values[None])
    assert low == pytest.approx(10, abs=0.1)
    assert high == pytest.approx(20, abs=0.1)


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6), count=st.integers(2, 12))
def test_ticks_are_round_evenly_spaced_and_inside(low: float, span: float, count: int) -> None:
    high = low + span
    marks = pictures.ticks(low, high, count)
    assert len(marks) <= count + 1
    slack = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - slack <= mark <= high + slack for mark in marks)
    if len(marks) > 1:
        steps = np.diff(marks)
        assert np.allclose(steps, steps[0], rtol=1e-5, atol=1e-9)
        mantissa = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
        assert min(abs(mantissa - m) for m in (1, 2, 5, 10)) < 1e-2


# --- maps ------------------------------------------------------------------------------------


def test_reduced_map_averages_what_is_known() -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    values[4:, 4:] = np.nan
    small = pictures.reduce_map(values, 4)
    assert small.shape == (4, 4)
    assert small[0, 0] == pytest.approx((1 + 8 + 9) / 3)
    assert small[1, 0] == pytest.approx((16 + 17 + 24 + 25) / 4)
    assert np.isnan(small[2:, 2:]).all()


def test_map_has_its_colours_its_bar_and_its_voids() -> None:
    values = np.tile(np.linspace(0.0, 50.0, 900, dtype=np.float32), (600, 1))
    values[:100, :100] = np.nan
    picture = map_picture(values, "µm", "depth", limits=(0.0, 50.0))
    assert is_colour(picture, pictures.VOID).sum() >= 100 * 100
    bar = [column for column in range(picture.shape[1]) if is_colour(picture[:, column], (253, 231, 37)).any()]
    assert bar, "the colour of the highest value is nowhere"
    last = picture[:, bar[-1]]
    top, bottom = (np.flatnonzero(is_colour(last, tuple(colour_table("viridis")[k]))) for k in (255, 0))
    assert top.min() < bottom.max(), "the bar must grow upwards"


@pytest.mark.parametrize(("pixel_um", "length_px"), [(0.5, 200), (1.0, 200), (2.0, 100), (1000.0, 200)])
def test_scale_bar_is_as_long_as_it_says(pixel_um: float, length_px: int) -> None:
    # 1000 px of 0.5 um are 500 um: a fifth is 100 um = 200 px; of 2 um: 400 um, so 200 um = 100 px
    picture = map_picture(np.zeros((700, 1000), np.float32), "µm", pixel_um=pixel_um, limits=(0.0, 1.0))
    white = is_colour(picture, (255, 255, 255)).sum(axis=1)
    assert abs(int(white.max()) - length_px) <= 3


def test_the_text_of_a_short_scale_bar_stays_inside() -> None:
    narrow = np.full((900, 100, 3), (0, 90, 0), np.uint8)
    framed = pictures.framed_picture(narrow, pixel_um=5.0)
    gap = 25  # round the picture
    outside = framed[:, : gap - 2]
    assert is_colour(outside, pictures.PAPER).all()
    assert is_colour(framed[:, gap : gap + 100], (255, 255, 255)).any()


def test_16_bit_frames_are_shown_in_8() -> None:
    plane = np.array([[0, 32768, 65535]], np.uint16)
    assert pictures.to_picture(plane)[0, :, 0].tolist() == [0, 128, 255]
    assert pictures.to_picture(np.array([[0.0, 0.5, 1.0]], np.float32))[0, :, 2].tolist() == [0, 128, 255]


# --- curves ----------------------------------------------------------------------------------


def make_curve(depth: float, measure: NDArray[np.float32] | None = None) -> FocusCurve:
    positions = np.linspace(10.0, 50.0, 21)
    probability = np.exp(-((positions - 30.0) ** 2) / 20)
    probability = (probability / probability.sum()).astype(np.float32)
    return FocusCurve(
        row=4,
        column=7,
        positions=positions,
        probability=probability,
        measure=measure,
        peaks=(Peak(30.0, 0.8, 10), Peak(14.0, 0.2, 2)),
        position=30.0,
        width=8.0,
        depth=depth,
        fit=np.empty((0, 2)),
        verdict=Verdict("clear", "one clear peak at 30 µm"),
        unit_symbol="µm",
    )


@pytest.mark.parametrize("depth", [15.0, 30.0, 42.5])
def test_depth_is_a_line_at_its_position(depth: float) -> None:
    picture = curve_picture(make_curve(depth), 1000, 500)
    ink = is_colour(picture[90:430], pictures.INK, 30).sum(axis=0)
    left, right = 76, 1000 - 24
    expected = left + (depth - 10) / 40 * (right - left)
    assert int(np.argmax(ink)) == pytest.approx(expected, abs=1.5)


def test_void_has_no_line_and_a_network_no_measure() -> None:
    with_all = curve_picture(make_curve(30.0, np.ones(21, np.float32)))
    without = curve_picture(make_curve(math.nan))
    assert is_colour(with_all[90:], pictures.SECOND).any()
    assert not is_colour(without[90:], pictures.SECOND).any()
    assert is_colour(without[90:-70], pictures.INK, 30).sum(axis=0).max() < 50


# --- surfaces --------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1))
def test_what_is_seen_is_what_a_walk_from_the_eye_meets_first(seed: int) -> None:
    random = np.random.default_rng(seed)
    lift = (np.arange(12)[:, None] * 0.8 + random.uniform(0, 4, (12, 3))).astype(np.float32)
    screen = random.uniform(0, 13, 9).astype(np.float32)
    seen = pictures.first_hits(lift, screen)
    fine = np.linspace(0, 11, 11 * 2000 + 1)
    for column in range(3):
        heights = np.interp(fine, np.arange(12), lift[:, column])
        for k, height in enumerate(screen):
            reached = np.flatnonzero(heights >= height)
            if reached.size == 0 or reached[0] == 0:  # above all, or below the near edge
                assert np.isnan(seen[k, column])
            else:
                assert seen[k, column] == pytest.approx(fine[reached[0]], abs=2e-3)


def test_holes_are_seen_through_and_hide_nothing() -> None:
    lift = np.arange(10, dtype=np.float32)[:, None].copy()
    lift[3:6] = np.nan
    seen = pictures.first_hits(lift, np.array([1.5, 4.0, 7.5], np.float32))[:, 0]
    assert seen[0] == pytest.approx(1.5)
    assert np.isnan(seen[1])
    assert seen[2] == pytest.approx(7.5)


def drawn(heights: NDArray[np.float32], view: View) -> NDArray[np.bool_]:
    """Where a white surface is seen."""
    white = np.full(heights.shape, 255, np.uint8)
    picture = surface_picture(heights, white, 1.0, "µm", view)[: view.height - 40]
    return np.asarray(picture.min(axis=-1) > 110)


def test_plane_seen_from_above_is_its_own_shape_and_a_hole_a_hole() -> None:
    heights = np.zeros((300, 400), np.float32)
    heights[0, 0] = 1.0
    heights[100:200, 100:300] = np.nan
    seen = drawn(heights, View(azimuth_deg=0, elevation_deg=90, width=500, height=500))
    scale = 500 * 0.94 / 400
    assert seen.sum() == pytest.approx((300 * 400 - 100 * 200) * scale**2, rel=0.03)


def test_tilted_plane_is_as_low_as_the_sine_of_the_elevation() -> None:
    heights = np.zeros((300, 300), np.float32)
    heights[0, 0] = 0.5
    seen = drawn(heights, View(azimuth_deg=0, elevation_deg=30, exaggeration=1.0, width=600, height=600))
    rows = np.flatnonzero(seen.any(axis=1))
    columns = np.flatnonzero(seen.any(axis=0))
    assert len(rows) / len(columns) == pytest.approx(math.sin(math.radians(30)), rel=0.03)


def test_wall_hides_what_lies_behind_it() -> None:
    marked = np.full((200, 200, 3), 255, np.uint8)
    marked[80:90] = (255, 0, 0)  # a red line on the ground, behind where the wall will be
    view = View(azimuth_deg=0, elevation_deg=30, exaggeration=1.0, width=500, height=500)

    def red(heights: NDArray[np.float32]) -> int:
        centre = surface_picture(heights, marked, 1.0, "µm", view)[:, 200:300].astype(int)
        return int((centre[..., 0] > 2 * centre[..., 1] + 20).sum())

    flat = np.zeros((200, 200), np.float32)
    flat[0, 0] = 60.0
    wall = flat.copy()
    wall[100:110, 20:180] = 60.0
    assert red(flat) > 500
    assert red(wall) < 0.1 * red(flat)


def test_relief_out_of_proportion_is_said() -> None:
    heights = np.random.default_rng(1).normal(0, 1e-3, (50, 60)).astype(np.float32)
    drawn_relief, exaggeration = pictures._relief(heights, -0.003, 0.003, 1.0, None)
    assert exaggeration in {10.0**k * m for k in range(6) for m in (1, 2, 5)}
    assert 0.05 < (np.ptp(drawn_relief)) / 60 < 0.3
    assert pictures._relief(heights, -0.003, 0.003, 1.0, 3.0)[1] == 3.0


@pytest.mark.parametrize("heights", [np.full((20, 30), np.nan, np.float32), np.zeros((20, 30), np.float32)])
def test_empty_and_flat_surfaces_are_drawn(heights: NDArray[np.float32]) -> None:
    view = View(width=200, height=150)
    assert surface_picture(heights, None, None, "slices", view).shape == (150, 200, 3)


# --- frames ----------------------------------------------------------------------------------


def test_frame_leaves_the_pixels_and_puts_legend_and_words_around() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (200, 300, 3)).astype(np.uint8)
    legend = (("One peak", (10, 200, 30)), ("Two peaks", (200, 10, 30)))
    plain = pictures.framed_picture(picture)
    framed = pictures.framed_picture(picture, [("A  first", "B  second")], legend=legend, caption="word " * 80)
    assert plain.shape[:2] == (200 + 2 * 15, 300 + 2 * 15)
    assert (plain[15:215, 15:315] == picture).all()
    top = 15 + 24
    assert (framed[top : top + 200, 15:315] == picture).all()
    right = framed[top : top + 200, 315:]
    assert is_colour(right, (10, 200, 30)).sum() > 150
    assert is_colour(right, (200, 10, 30)).sum() > 150
    below = framed[top + 200 :]
    assert below.shape[0] > 5 * 24  # the caption runs over lines
    assert is_colour(below, pictures.INK, 60)[:, :-10].any()
    assert not is_colour(framed[:, -8:], pictures.INK, 60).any()  # and stays inside


def test_long_names_of_two_sides_do_not_run_into_each_other() -> None:
    short = pictures.framed_picture(np.zeros((100, 300), np.uint8), [("A", "B")])
    framed = pictures.framed_picture(np.zeros((100, 300), np.uint8), [("A" * 200, "B" * 20)])
    assert framed.shape[0] == short.shape[0] + 24  # a line for each
    for ink in (is_colour(framed[15 + i * 24 : 38 + i * 24], pictures.INK, 60).any(axis=0) for i in (0, 1)):
        assert ink.any()
        assert not ink[:14].any()
        assert not ink[-14:].any()


def test_two_pictures_beside_each_other_meet_at_the_line() -> None:
    left, right = np.full((40, 600), 10, np.uint8), np.full((40, 600, 3), 200, np.uint8)
    joined = pictures.beside_picture(left, right, 0.25)
    assert joined.shape == (40, 600, 3)
    assert (joined[:, :148] == 10).all()
    assert (joined[:, 152:] == 200).all()
    assert is_colour(joined[:, 149:151], pictures.ACCENT).any()
    assert (pictures.beside_picture(left, right, 0.0)[:, 2:] == 200).all()
    assert (pictures.beside_picture(left, right, 1.0)[:, :-2] == 10).all()

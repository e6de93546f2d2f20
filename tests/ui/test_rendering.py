"""Pictures for the screen."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toposcope.core.compare import COLOURS, compare
from toposcope.core.pictures import VOID, colour_table, display_range, to_display
from toposcope.core.sweep import Lack
from toposcope.ui.pyramid import make_pyramid
from toposcope.ui.rendering import (
    LACK_TITLES,
    NOTHING_KNOWN,
    PEAK_LEGEND,
    SWEEP_LEGEND,
    render_codes,
    render_difference,
    render_frame,
    render_result,
    render_values,
    thumbnail,
)
from window_fakes import make_result, make_stack


@given(st.integers(1, 2100), st.integers(1, 2100))
def test_levels_halve_until_they_are_small(height: int, width: int) -> None:
    pyramid = make_pyramid(np.zeros((height, width), dtype=np.uint8))
    assert pyramid.shape == (height, width)
    for (r0, finer), (r1, coarser) in zip(pyramid.levels, pyramid.levels[1:], strict=False):
        assert r1 == 2 * r0
        assert coarser.shape == (-(-finer.shape[0] // 2), -(-finer.shape[1] // 2))
    assert max(pyramid.levels[-1][1].shape) <= 512


def test_level_has_a_sample_for_each_screen_pixel() -> None:
    pyramid = make_pyramid(np.zeros((2048, 4096), dtype=np.uint8))
    assert pyramid.level_for(2.0)[0] == 1
    assert pyramid.level_for(1.0)[0] == 1
    assert pyramid.level_for(0.51)[0] == 1
    assert pyramid.level_for(0.5)[0] == 2
    assert pyramid.level_for(0.24)[0] == 4
    assert pyramid.level_for(1e-6)[0] == 8


def test_levels_are_averages() -> None:
    checkers = (np.indices((1024, 1024)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert np.all(make_pyramid(checkers).levels[1][1] == 100)


def test_preview_stands_for_the_full_size() -> None:
    pyramid = make_pyramid(np.zeros((100, 150), dtype=np.uint8), (400, 600))
    assert pyramid.shape == (400, 600)
    assert pyramid.levels[0][0] == 4


def test_twelve_bits_in_sixteen_are_stretched_and_eight_bits_are_not() -> None:
    ramp = np.tile(np.linspace(0, 4095, 512), (512, 1)).astype(np.uint16)
    low, high = display_range(ramp)
    assert low == 0
    assert 4000 < high < 4096
    shown = to_display(ramp, low, high)
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    assert display_range(ramp.astype(np.uint8)) == (0, 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_a_high_black_level_is_taken_off(dtype: type) -> None:
    scale = 1.0 if dtype is np.uint16 else 1 / 65535
    ramp = (np.tile(np.linspace(30_000, 40_000, 400), (400, 1)) * scale).astype(dtype)
    shown = to_display(ramp, *display_range(ramp))
    assert shown[:, 0].max() <= 1
    assert shown[:, -1].min() >= 254
    assert abs(int(shown[0, 200]) - 128) <= 2


def test_an_even_frame_is_no_trouble() -> None:
    even = np.full((64, 64), 900, dtype=np.uint16)
    assert to_display(even, *display_range(even)).shape == (64, 64)
    assert thumbnail(even, display_range(even))[1] == 0


def test_values_take_the_colours_between_the_limits_and_voids_their_own() -> None:
    values = np.array([[0.0, 5.0, 10.0, np.nan]], dtype=np.float32).repeat(4, axis=0)
    shown = render_values(values, (4, 4), "viridis", (0.0, 10.0), "µm").pyramid.finest
    table = colour_table("viridis")
    assert shown[0, 0].tolist() == table[0].tolist()
    assert shown[0, 2].tolist() == table[255].tolist()
    assert shown[0, 1].tolist() in (table[127].tolist(), table[128].tolist())
    assert tuple(shown[0, 3]) == VOID


def test_automatic_limits_leave_wild_pixels_out() -> None:
    values = np.random.default_rng(0).uniform(10, 20, (200, 200)).astype(np.float32)
    values[::50, ::50] = 500
    scale = render_values(values, (200, 200), "viridis", None, "µm").scale
    assert scale is not None
    assert 9.9 < scale.low < 10.2
    assert 19.8 < scale.high < 20.1
    assert scale.most == 500
    assert scale.histogram.sum() == pytest.approx(1)


def test_a_map_of_one_value_has_a_scale_and_one_of_nothing_says_so() -> None:
    scale = render_values(np.full((8, 8), 3.0, dtype=np.float32), (8, 8), "gray", None, "").scale
    assert scale is not None
    assert scale.high > scale.low
    nothing = render_values(np.full((8, 8), np.nan, dtype=np.float32), (8, 8), "gray", None, "µm")
    assert nothing.scale is None
    assert nothing.legend == NOTHING_KNOWN
    few = np.full((8, 8), np.nan, dtype=np.float32)
    few[1, 1], few[3, 3] = 20.0, 30.0
    scale = render_values(few, (8, 8), "gray", None, "µm").scale
    assert scale is not None
    assert (scale.least, scale.most) == (20, 30)
    limited = render_values(np.full((8, 8), np.nan, dtype=np.float32), (8, 8), "gray", None, "", span=(0.0, 1.0))
    assert limited.scale is not None


def test_values_side_by_side_have_one_scale() -> None:
    low = np.linspace(0, 10, 400, dtype=np.float32).reshape(20, 20)
    high = low + 30
    one, other = (render_values(a, (20, 20), "viridis", None, "µm", beside=b) for a, b in ((low, high), (high, low)))
    assert one.scale is not None
    assert other.scale is not None
    assert (one.scale.low, one.scale.high) == (other.scale.low, other.scale.high)
    assert (one.scale.least, one.scale.most) == (0, pytest.approx(low[::2, ::2].max() + 30))
    np.testing.assert_allclose(one.scale.histogram, other.scale.histogram)
    alone = render_values(low, (20, 20), "viridis", None, "µm").scale
    assert alone is not None
    assert alone.high < 11


def test_difference_is_centred_and_has_statistics() -> None:
    stack = make_stack()
    result = make_result(stack)
    depth = result.depth.copy()
    depth[1:24] += 4
    depth[30, 30] -= 900  # one wild pixel
    found = compare(replace(result, depth=depth), result)
    rendered = render_difference(found, stack.shape)
    scale = rendered.scale
    assert scale is not None
    assert (scale.low, scale.least) == (-scale.high, -scale.most)
    assert scale.high == pytest.approx(4)
    assert scale.most == pytest.approx(8)  # the wild pixel does not take the bar
    assert rendered.statistics == found.text
    shown = rendered.pyramid.finest
    assert tuple(shown[0, 3]) == VOID
    assert tuple(shown[40, 3]) == tuple(colour_table(COLOURS)[128])
    assert tuple(shown[5, 3]) == tuple(colour_table(COLOURS)[255])
    pale = render_difference(found, stack.shape, (-40.0, 40.0)).scale
    assert pale is not None
    assert (pale.low, pale.high) == (-40, 40)


def test_legend_holds_the_codes_that_occur() -> None:
    codes = np.array([[1, 2], [2, 200]], dtype=np.uint8)
    rendered = render_codes(codes, PEAK_LEGEND, (2, 2), None)
    assert [text for text, _ in rendered.legend] == ["One peak", "Two peaks", "Three or more"]
    assert tuple(rendered.pyramid.finest[0, 0]) == PEAK_LEGEND[1][1]


def test_all_pictures_of_a_result() -> None:
    stack = make_stack()
    result = make_result(stack)
    peaks = np.ones((12, 16), dtype=np.uint8)  # maps may be smaller than the picture
    for kind in ("all_in_focus", "depth", "confidence", "peaks", "sweep"):
        rendered = render_result(result, kind, stack.shape, "viridis", None, peaks)
        assert rendered.pyramid.shape == stack.shape
        assert rendered.pyramid.finest.dtype == np.uint8
    scale = render_result(result, "confidence", stack.shape, "viridis", None).scale
    assert scale is not None
    assert (scale.low, scale.high) == (0, 1)
    assert [title for title, _ in SWEEP_LEGEND][1:] == [LACK_TITLES[lack] for lack in get_args(Lack)]


def test_thumbnail_knows_sharp_from_blurred() -> None:
    rng = np.random.default_rng(1)
    sharp = rng.integers(0, 255, (200, 300, 3)).astype(np.uint8)
    picture, sharpness = thumbnail(sharp, (0, 255), 96)
    assert picture.shape == (64, 96, 3)
    _, blurred = thumbnail(np.full_like(sharp, 127), (0, 255), 96)
    assert sharpness > 100 * blurred
    assert thumbnail(sharp // 2, (0, 255))[1] == pytest.approx(sharpness, rel=0.05)


def test_colour_frames_stay_in_colour() -> None:
    frame = np.zeros((10, 10, 3), dtype=np.uint16)
    frame[..., 0] = 65535
    shown = render_frame(frame, (0, 65535)).pyramid.finest
    assert shown[0, 0].tolist() == [255, 0, 0]

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from toposcope.ui.views.surface_data import Camera, PreparedSurface, pick, prepare_surface

cameras = st.builds(
    Camera,
    azimuth=st.floats(-180, 180),
    elevation=st.floats(-10, 90),
    span=st.floats(0.05, 3),
    fov=st.sampled_from((0.0, 25.0, 60.0)),
    target=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(-0.2, 0.2)),
)


def hills(rows: int = 120, columns: int = 160) -> np.ndarray:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    return (10 * np.sin(x / 17) * np.cos(y / 13) + 0.1 * x).astype(np.float32)


def prepared(heights: np.ndarray, pixel: float | None = 1.0, max_side: int = 4096) -> PreparedSurface:
    return prepare_surface(heights.astype(np.float32), pixel=pixel, unit_symbol="µm", max_side=max_side)


def test_voids_carry_the_nearest_height_and_stay_voids() -> None:
    heights = np.tile(np.arange(9, dtype=np.float32), (5, 1))
    heights[:, 2:6] = np.nan
    surface = prepared(heights)
    assert np.isfinite(surface.heights).all()
    assert_array_equal(surface.valid == 0, np.isnan(heights))
    assert_array_equal(surface.heights[2, 1:7], [1, 1, 1, 6, 6, 6])  # columns 2, 3 | 4, 5 are nearer to 1 | 6
    known = np.isfinite(heights)
    assert_array_equal(surface.heights[known], heights[known])


def test_a_map_of_nothing_but_voids_is_prepared_too() -> None:
    surface = prepared(np.full((4, 6), np.nan))
    assert surface.empty
    assert not surface.valid.any()
    assert surface.high > surface.low
    assert surface.to_world(2, 2, 1.0) is None


def test_a_flat_map_has_a_range() -> None:
    surface = prepared(np.full((4, 6), 7.0), pixel=None)
    assert np.isfinite(surface.z_scale)
    assert surface.low == 7.0


def test_single_outliers_do_not_set_the_range() -> None:
    heights = hills()
    heights[3, 3] = 1e6
    surface = prepared(heights)
    assert surface.high < 40
    assert surface.heights[3, 3] == 1e6  # shown, not hidden


@pytest.mark.parametrize("shape", [(100, 350), (351, 77), (90, 90)])
def test_large_maps_are_averaged_with_pixels_kept_in_place(shape: tuple[int, int]) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    plane = (3.0 + 0.25 * x - 0.5 * y).astype(np.float32)
    surface = prepared(plane, max_side=60)
    assert max(surface.heights.shape) <= 60
    assert surface.shape == shape
    r, c = np.mgrid[: surface.heights.shape[0], : surface.heights.shape[1]]
    rows, columns = zip(*(surface.to_pixel(i, j) for i, j in zip(r.ravel(), c.ravel(), strict=True)), strict=True)
    expected = 3.0 + 0.25 * np.array(columns) - 0.5 * np.array(rows)
    # the mean of a plane over a texel is its value in the texel's middle
    assert_allclose(surface.heights.ravel(), expected, atol=1e-3 * np.ptp(plane))


def test_averaging_leaves_voids_out_and_keeps_most_of_their_area() -> None:
    heights = np.full((400, 400), 5.0, np.float32)
    heights[104:304, 96:296] = np.nan
    surface = prepared(heights, max_side=50)
    assert_allclose(surface.heights, 5.0, rtol=1e-6)
    assert (surface.valid == 0).mean() == pytest.approx(0.25)


def test_true_aspect_when_calibrated() -> None:
    surface = prepared(hills(), pixel=0.5)
    a, b = surface.to_world(10, 20, 1.0), surface.to_world(10, 120, 1.0)
    assert a is not None
    assert b is not None
    heights = hills()
    # 100 pixels of 0.5 um lie 50 um apart; the world has one scale for all axes
    assert (b[2] - a[2]) / (b[0] - a[0]) == pytest.approx((heights[10, 120] - heights[10, 20]) / 50.0, rel=1e-5)


@given(st.floats(0, 99), st.floats(0, 349))
def test_pixels_and_texels_are_inverse(row: float, column: float) -> None:
    surface = prepared(np.zeros((100, 350)), max_side=60)
    assert_allclose(surface.to_pixel(*surface.to_texel(row, column)), (row, column), atol=1e-9)


@given(cameras, st.floats(0, 800), st.floats(0, 500), st.floats(0.1, 4))
def test_points_of_a_line_of_sight_are_projected_to_their_pixel(camera: Camera, x: float, y: float, t: float) -> None:
    origin, direction = camera.ray(x, y, 800, 500)
    assert_allclose(camera.project(origin + t * direction, 800, 500), (x, y), atol=1e-4)


@given(cameras)
def test_depth_lies_between_the_clipping_planes(camera: Camera) -> None:
    m = camera.matrix(800, 500)
    for point in np.array([[0.5, 0.5, 0.2], [-0.5, 0.5, 0], [0.0, 0.0, -0.1]]):
        p = m @ (*point, 1.0)
        if p[3] > 0.02 * camera.span:  # in front of the eye
            assert p[2] / p[3] <= 1.0
    nearer, farther = (m @ (*(np.array(camera.target) + s * camera.axes[2] * 0.2 * camera.span), 1.0) for s in (1, -1))
    assert nearer[2] / nearer[3] < farther[2] / farther[3]


def test_the_top_view_is_the_picture() -> None:
    surface = prepared(hills())
    camera = Camera().preset("top").fitted(surface.bounds(1.0), 640, 480)
    points = [surface.to_world(r, c, 1.0) for r, c in ((10, 10), (10, 100), (90, 10))]
    xy = camera.project(np.array(points), 640, 480)
    assert xy[1, 0] > xy[0, 0] + 100
    assert xy[1, 1] == pytest.approx(xy[0, 1])
    assert xy[2, 1] > xy[0, 1] + 100
    assert xy[2, 0] == pytest.approx(xy[0, 0])


def test_the_front_view_shows_height_upwards() -> None:
    camera = Camera().preset("front")
    low, high = camera.project(np.array([[0.1, -0.3, 0.0], [0.1, 0.3, 0.2]]), 640, 480)
    assert high[0] == pytest.approx(low[0])
    assert high[1] < low[1]


@pytest.mark.parametrize("preset", ["top", "front", "side", "isometric"])
@pytest.mark.parametrize("size", [(800, 500), (360, 700)])
def test_fitting_shows_all_and_wastes_little(preset: str, size: tuple[int, int]) -> None:
    bounds = prepared(hills()).bounds(3.0)
    camera = Camera().preset(preset).fitted(bounds, *size, 50.0)  # type: ignore[arg-type]
    corners = np.array(np.meshgrid(*bounds.T)).reshape(3, -1).T
    xy = camera.project(corners, *size)
    assert (xy > (49, 24)).all()
    assert (xy < np.subtract(size, (49, 24))).all()
    assert np.isclose(np.ptp(xy, axis=0), np.subtract(size, (100, 50)), rtol=0.01).any()


@given(cameras, st.floats(1, 799), st.floats(1, 499), st.floats(0.5, 2))
def test_zooming_keeps_the_place_under_the_cursor(camera: Camera, x: float, y: float, factor: float) -> None:
    origin, direction = camera.ray(x, y, 800, 500)
    back = camera.axes[2]
    place = origin + direction * ((np.array(camera.target) - origin) @ back) / (direction @ back)
    zoomed = camera.zoomed_at(factor, x, y, 800, 500)
    if np.abs(zoomed.target).max() < 1.5:  # panning ends there
        assert_allclose(zoomed.project(place, 800, 500), (x, y), atol=1e-6)


def test_orbiting_never_goes_over_the_top() -> None:
    assert Camera(elevation=80).orbited(0, 50).elevation == 90
    assert Camera(elevation=0).orbited(0, -50).elevation == -10
    assert Camera(azimuth=170).orbited(30, 0).azimuth == pytest.approx(-160)


def test_the_light_keeps_its_place_on_the_screen() -> None:
    for azimuth in (-150.0, 0.0, 77.0):
        camera = Camera(azimuth=azimuth, elevation=90)
        right, up, _ = camera.axes
        light = np.array(camera.light(315, 45))
        assert light @ right == pytest.approx(-0.5)  # upper left
        assert light @ up == pytest.approx(0.5)


@pytest.mark.parametrize("fov", [0.0, 25.0])
@pytest.mark.parametrize(("row", "column"), [(40, 30), (8, 150), (110, 90)])
def test_picking_finds_the_projected_point(fov: float, row: int, column: int) -> None:
    surface = prepared(hills(), pixel=2.0)
    camera = Camera(azimuth=-25, elevation=60, span=1.3, fov=fov)
    point = surface.to_world(row, column, 1.0)
    assert point is not None
    x, y = camera.project(point, 640, 480)
    found = pick(surface, 1.0, *camera.ray(x, y, 640, 480))
    assert found is not None
    assert_allclose(found, (row, column), atol=0.02)


def test_picking_takes_the_near_side_of_a_hill() -> None:
    heights = np.zeros((101, 101), np.float32)
    heights[40:60, :] = 30
    surface = prepared(heights)
    camera = Camera().preset("front").orbited(0, 10)
    hidden = surface.to_world(20, 50, 1.0)  # behind the wall
    assert hidden is not None
    found = pick(surface, 1.0, *camera.ray(*camera.project(hidden, 640, 480), 640, 480))
    assert found is not None
    assert found[0] > 38


def test_lines_of_sight_go_through_voids_and_meet_what_is_behind() -> None:
    heights = np.zeros((101, 101), np.float32)
    heights[60:, :] = 25
    heights[80:95, 40:60] = np.nan
    surface = prepared(heights)
    straight = Camera().preset("top")
    middle = np.array([0.0, -0.37, 0.25])  # in the middle of the hole
    assert pick(surface, 1.0, *straight.ray(*straight.project(middle, 640, 480), 640, 480)) is None
    beside = pick(surface, 1.0, *straight.ray(*straight.project(middle + np.array([0.2, 0, 0]), 640, 480), 640, 480))
    assert beside is not None
    assert_allclose(beside, (87, 70), atol=1)


def test_cut_walls_are_not_picked() -> None:
    heights = np.zeros((101, 101), np.float32)
    heights[40:60, :] = 30
    surface = prepared(heights)
    camera = Camera().preset("front").orbited(0, 30)
    wall = np.array([0.0, -0.095, 0.15])
    sight = camera.ray(*camera.project(wall, 640, 480), 640, 480)
    on_wall = pick(surface, 1.0, *sight)
    assert on_wall is not None
    assert 58 < on_wall[0] < 61
    behind = pick(surface, 1.0, *sight, cut=1.0)
    assert behind is not None
    assert behind[0] < 58


def test_uncertain_heights_are_looked_through() -> None:
    confidence = np.full((101, 101), 0.9, np.float32)
    confidence[:, 50:] = 0.3
    surface = prepare_surface(np.zeros((101, 101), np.float32), pixel=1.0, confidence=confidence)
    camera = Camera().preset("top")
    for x, certain in ((-0.2, True), (0.2, False)):
        sight = camera.ray(*camera.project(np.array([x, 0.0, 0.0]), 640, 480), 640, 480)
        assert pick(surface, 1.0, *sight) is not None
        assert (pick(surface, 1.0, *sight, least=0.5) is not None) == certain


def test_beside_the_surface_is_nothing() -> None:
    surface = prepared(hills())
    camera = Camera().preset("isometric").fitted(surface.bounds(1.0), 640, 480)
    assert pick(surface, 1.0, *camera.ray(2, 2, 640, 480)) is None

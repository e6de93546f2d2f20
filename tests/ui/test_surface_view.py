from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image
from PySide6.QtCore import QPoint, QPointF, Qt
from pytestqt.qtbot import QtBot

from toposcope.errors import MissingPartError
from toposcope.ui import theme
from toposcope.ui.views import surface_view
from toposcope.ui.views.surface_data import prepare_surface
from toposcope.ui.views.surface_view import SurfaceView

Rgb = NDArray[np.int16]


@pytest.fixture
def view(qtbot: QtBot) -> Iterator[SurfaceView]:
    view = SurfaceView()
    qtbot.addWidget(view)
    view.resize(640, 480)
    with qtbot.waitExposed(view):
        view.show()
    yield view
    view.close()


def bumps(rows: int = 150, columns: int = 200) -> NDArray[np.float32]:
    y, x = np.mgrid[:rows, :columns].astype(np.float32)
    return (12 * np.exp(-((x - 60) ** 2 + (y - 70) ** 2) / 900) + 0.05 * x).astype(np.float32)


def grey(rows: int = 150, columns: int = 200, value: int = 150) -> NDArray[np.uint8]:
    return np.full((rows, columns, 3), value, np.uint8)


def shot(view: SurfaceView, width: int = 400, height: int = 300) -> Rgb:
    return view.screenshot(width, height)[..., :3].astype(np.int16)


def background() -> Rgb:
    colour = theme.colours().base
    return np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)], np.int16)


def covered(picture: Rgb) -> NDArray[np.bool_]:
    """Return where something is drawn."""
    return np.abs(picture - background()).max(axis=-1) > 8


@pytest.mark.gl
def test_level_ground_keeps_the_colour_of_the_picture(view: SurfaceView) -> None:
    texture = grey()
    texture[:, :100] = (200, 60, 40)
    view.set_framed(False)
    view.set_surface(np.zeros((150, 200), np.float32), texture, 1.0, "µm")
    view.set_view("top")
    picture = shot(view)
    assert_allclose(picture[150, 100], (200, 60, 40), atol=2)
    assert_allclose(picture[150, 300], (150, 150, 150), atol=2)


@pytest.mark.gl
def test_the_top_view_stands_upright(view: SurfaceView) -> None:
    texture = grey()
    texture[:75, :100] = (250, 0, 0)
    texture[75:, 100:] = (0, 0, 250)
    view.set_framed(False)
    view.set_surface(np.zeros((150, 200), np.float32), texture, 1.0, "µm")
    view.set_view("top")
    picture = shot(view)
    assert picture[100, 120, 0] > 200
    assert picture[200, 280, 2] > 200
    assert_allclose(picture[100, 280], 150, atol=2)


@pytest.mark.gl
def test_colours_by_height_are_those_of_the_colour_map(view: SurfaceView) -> None:
    heights = np.zeros((150, 200), np.float32)
    heights[:, 100:] = 10
    view.set_framed(False)
    view.set_surface(heights, None, 1.0, "µm")
    view.set_colour("height", "viridis")
    view.set_view("top")
    picture = shot(view)
    assert_allclose(picture[150, 100], (68, 1, 84), atol=3)  # the published ends of viridis
    assert_allclose(picture[150, 300], (253, 231, 37), atol=3)


@pytest.mark.gl
def test_voids_are_holes(view: SurfaceView) -> None:
    heights = bumps()
    heights[40:110, 80:160] = np.nan
    view.set_framed(False)
    view.set_surface(heights, grey(), 1.0, "µm")
    view.set_view("top")
    solid = covered(shot(view))
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    inside = solid[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    holes = 1 - inside.mean()
    assert holes == pytest.approx(70 * 80 / (149 * 199), rel=0.03)
    assert not solid[150 - 20 : 150 + 20, 200 : 200 + 40].any()


@pytest.mark.gl
def test_uncertain_heights_can_be_hidden(view: SurfaceView) -> None:
    confidence = np.full((150, 200), 0.9, np.float32)
    confidence[:, 100:] = 0.3
    view.set_framed(False)
    view.set_prepared(prepare_surface(np.zeros((150, 200), np.float32), grey(), 1.0, "µm", confidence=confidence))
    view.set_view("top")
    whole = covered(shot(view))
    view.set_least_confidence(0.5)
    certain = covered(shot(view))
    assert certain.sum() == pytest.approx(whole.sum() / 2, rel=0.02)
    assert not certain[:, 203:].any()


@pytest.mark.gl
def test_nothing_is_stretched_across_a_hole(view: SurfaceView) -> None:
    heights = np.zeros((150, 200), np.float32)
    heights[:, 120:] = 60
    heights[:, 80:120] = np.nan  # high and low ground with nothing between
    view.set_framed(False)
    view.set_surface(heights, grey(), 1.0, "µm")
    view.set_view("front")
    solid = covered(shot(view))
    gap = solid[:, 200 - 20 : 200 + 20]
    assert not gap.any()


@pytest.mark.gl
def test_light_from_the_left_lightens_slopes_that_face_left(view: SurfaceView) -> None:
    view.set_framed(False)
    view.set_surface(bumps(), grey(), 1.0, "µm")
    view.set_view("top")
    view.set_light(270, 30)
    left = shot(view)
    view.set_light(90, 30)
    right = shot(view)
    difference = (left - right)[..., 0]
    bump = cv2.GaussianBlur(difference.astype(np.float32), (0, 0), 3)
    assert bump.max() > 30
    assert bump.min() < -30
    peak, trough = np.unravel_index(bump.argmax(), bump.shape), np.unravel_index(bump.argmin(), bump.shape)
    assert peak[1] < trough[1]


@pytest.mark.gl
def test_exaggeration_raises_the_silhouette(view: SurfaceView) -> None:
    view.set_framed(False)
    view.set_surface(bumps(), grey(), 1.0, "µm")
    view.set_view("front")
    heights = []
    for exaggeration in (1.0, 3.0):
        view.set_exaggeration(exaggeration)
        rows = np.flatnonzero(covered(shot(view)).any(axis=1))
        heights.append(rows[-1] - rows[0] + 1)
    # height of a parallel front view: exact to the pixel
    assert heights[1] == pytest.approx(3 * heights[0], abs=4)


@pytest.mark.gl
def test_true_aspect_in_the_front_view(view: SurfaceView) -> None:
    heights = np.repeat(np.linspace(25.0, 0.0, 150, dtype=np.float32)[:, None], 200, axis=1)
    view.set_framed(False)
    view.set_surface(heights, grey(), 0.5, "µm")  # rises by 25 um towards the back, 199 * 0.5 um wide
    view.set_view("front")
    solid = covered(shot(view, 800, 600))
    wide = np.ptp(np.flatnonzero(solid.any(axis=0))) + 1
    high = np.ptp(np.flatnonzero(solid.any(axis=1))) + 1
    assert high / wide == pytest.approx(25.0 / 99.5, rel=0.02)


@pytest.mark.gl
@pytest.mark.parametrize("preset", ["top", "isometric"])
def test_a_drawn_dot_is_picked_where_it_is(view: SurfaceView, qtbot: QtBot, preset: str) -> None:
    texture = grey()
    texture[88:93, 128:133] = (255, 0, 0)  # centre (90, 130)
    view.set_framed(False)
    view.set_surface(bumps(), texture, 1.0, "µm")
    view.set_view(preset)  # type: ignore[arg-type]
    assert view._scene is not None
    width, height = view._scene.size
    picture = shot(view, width, height)
    red = np.clip(picture[..., 0] - picture[..., 1], 0, None).astype(np.float64)
    red[red < 20] = 0
    y, x = np.mgrid[:height, :width] + 0.5  # middles of pixels
    at = (float((x * red).sum() / red.sum()), float((y * red).sum() / red.sum()))
    found = surface_view.pick(view._surface, 1.0, *view._camera.ray(*at, width, height))  # type: ignore[arg-type]
    assert found is not None
    assert_allclose(found, (90, 130), atol=0.5)
    with qtbot.waitSignal(view.pointPicked, timeout=1000) as picked:
        qtbot.mouseClick(view._scene.native, Qt.MouseButton.LeftButton, pos=QPoint(round(at[0]), round(at[1])))
    assert_allclose(picked.args, (90, 130), atol=1)


@pytest.mark.gl
def test_a_drag_turns_and_picks_nothing(view: SurfaceView, qtbot: QtBot) -> None:
    view.set_surface(bumps(), grey(), 1.0, "µm")
    assert view._scene is not None
    native = view._scene.native
    before = view._camera
    with qtbot.assertNotEmitted(view.pointPicked):
        qtbot.mousePress(native, Qt.MouseButton.LeftButton, pos=QPoint(300, 200))
        for x in range(300, 350, 10):
            qtbot.mouseMove(native, QPoint(x, 210))
            qtbot.wait(1)
        qtbot.mouseRelease(native, Qt.MouseButton.LeftButton, pos=QPoint(350, 210))
    assert view._camera != before


@pytest.mark.gl
def test_a_pin_stands_on_its_pixel(view: SurfaceView) -> None:
    view.set_framed(False)
    view.set_surface(bumps(), grey(), 1.0, "µm")
    view.set_view("top")
    without = shot(view, 640, 480)
    view.set_pins([(7, 100, 150, "#00ff00")])
    changed = np.abs(shot(view, 640, 480) - without).max(axis=-1) > 20
    assert view._surface is not None
    point = view._surface.to_world(100, 150, 1.0)
    assert point is not None
    x, y = view._fit(view._camera, (640, 480)).project(point, 640, 480)
    rows, columns = np.nonzero(changed)
    assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), (x, y), atol=1.5)
    view.set_pins([])
    assert_allclose(shot(view, 640, 480), without)


@pytest.mark.gl
def test_a_pin_in_a_void_is_left_out(view: SurfaceView) -> None:
    heights = bumps()
    heights[90:120, 140:170] = np.nan
    view.set_surface(heights, grey(), 1.0, "µm")
    without = shot(view)
    view.set_pins([(1, 100, 150, "#00ff00")])
    assert_allclose(shot(view), without)


@pytest.mark.gl
def test_large_pictures_are_the_small_one_made_larger(view: SurfaceView) -> None:
    y, x = np.mgrid[:150, :200]
    texture = np.stack([100 + 50 * np.sin(x / 20), 100 + 50 * np.cos(y / 15), 0 * x + 90], -1).astype(np.uint8)
    view.set_framed(False)
    view.set_surface(bumps(), texture, 1.0, "µm")
    view._zoom(1.2, QPointF(200, 150))  # a view of the user's own is not fitted anew
    small, large = shot(view, 300, 225), shot(view, 1500, 1125)  # the large one is made of four tiles
    reduced = cv2.resize(large, (300, 225), interpolation=cv2.INTER_AREA)
    assert np.abs(reduced - small).mean() < 2.0
    assert large.shape == (1125, 1500, 3)


@pytest.mark.gl
def test_a_transparent_picture_has_no_ground(view: SurfaceView) -> None:
    view.set_framed(False)
    view.set_surface(bumps(), grey(), 1.0, "µm")
    alpha = view.screenshot(200, 150, transparent=True)[..., 3]
    assert alpha[75, 100] == 255
    assert alpha[0, 0] == 0


@pytest.mark.gl
def test_the_window_shows_what_the_picture_shows(view: SurfaceView, qtbot: QtBot) -> None:
    view.set_framed(False)
    view.set_surface(bumps(), grey(), 1.0, "µm")
    view.set_view("top")
    assert view._scene is not None
    width, height = view._scene.size
    qtbot.wait(50)
    grabbed = view._scene.native.grab().toImage().convertToFormat(view.grab().toImage().Format.Format_RGB888)
    rows = np.frombuffer(grabbed.constBits(), np.uint8).reshape(grabbed.height(), grabbed.bytesPerLine())
    seen = rows[:, : 3 * grabbed.width()].reshape(grabbed.height(), grabbed.width(), 3)
    seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA).astype(np.int16)  # screens may be dense
    assert np.abs(seen - shot(view, width, height)).mean() < 3


@pytest.mark.gl
def test_a_turntable_is_written_beside_the_work(view: SurfaceView, qtbot: QtBot, tmp_path: Path) -> None:
    view.set_surface(bumps(), grey(), 1.0, "µm")
    turntable = view.turntable(tmp_path / "turn.gif", frames=6, size=(120, 90))
    with qtbot.waitSignal(turntable.finished, timeout=20000):
        pass
    with Image.open(tmp_path / "turn.gif") as gif:
        assert gif.n_frames == 6  # type: ignore[attr-defined]
        assert gif.size == (120, 90)
    assert [path.name for path in tmp_path.iterdir()] == ["turn.gif"]


def test_without_opengl_it_says_so_and_everything_else_goes_on(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(surface_view, "opengl_problem", lambda: "no OpenGL here; install libgl1")
    view = SurfaceView()
    qtbot.addWidget(view)
    view.show()
    assert view.problem == "no OpenGL here; install libgl1"
    assert "libgl1" in view._message.text()
    view.set_surface(bumps(), grey(), 1.0, "µm")
    view.set_colour("height", "turbo")
    view.set_pins([(1, 3, 3, "#ffffff")])
    view.set_light(10, 20)
    view.set_exaggeration(3)
    view.set_view("top")
    view.set_cut(True)
    view.apply_theme()
    view.set_prepared(None)
    with pytest.raises(MissingPartError, match="libgl1"):
        view.screenshot(100, 100)
    with pytest.raises(MissingPartError, match="libgl1"):
        view.turntable(tmp_path / "x.gif")
    assert not view._tools.isEnabled()


@pytest.mark.gl
def test_lengths_are_told_in_whole_and_only_of_what_is_known(view: SurfaceView) -> None:
    heights = 0.06 * bumps()  # "0.994 mm" does not fit beside the surface
    view.set_surface(heights, grey(), None, "mm")
    picture = shot(view, 240, 300)
    texts = view._scene._frame_text.text  # type: ignore[union-attr]
    assert [text.split()[1] for text in texts] == ["px", "px", "mm"]
    assert covered(picture)[:, 2:30].any()  # the label stands at the edge
    assert not covered(picture)[:, :1].any()
    view.set_surface(np.full((12, 16), np.nan, np.float32), grey(12, 16), None, "slices")
    shot(view)
    assert view._scene._frame_text.text == ["16 px", "12 px"]  # type: ignore[union-attr]


def test_the_colour_bar_counts_heights_as_the_map_and_the_exports_do(view: SurfaceView) -> None:
    view.set_surface(5 + bumps(), pixel=1.0, unit_symbol="µm")
    assert view._bar.levels() == pytest.approx((5.0, 19.8), abs=0.1)


def test_a_great_stretch_is_a_plain_number(view: SurfaceView) -> None:
    view.set_exaggeration(3000.0)
    assert view._exaggeration_button.text() == "×3000"

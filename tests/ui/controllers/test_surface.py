"""The 3D view's controller: pictures as the user asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image
from pytestqt.qtbot import QtBot

from toposcope.core.marks import Pin
from toposcope.errors import MissingPartError
from toposcope.ui.controllers.surface import SurfaceController
from toposcope.ui.session import Session
from toposcope.ui.views.surface_view import SurfaceView


@pytest.fixture
def view() -> MagicMock:
    """Return a view whose picture is red on a ground that is clear on the left."""
    picture = np.full((30, 40, 4), (200, 10, 20, 255), dtype=np.uint8)
    picture[:, :10, 3] = 0
    made = MagicMock(spec=SurfaceView)
    made.screenshot.return_value = picture
    return made


@pytest.fixture
def controller(qtbot: QtBot, view: MagicMock) -> Iterator[SurfaceController]:
    made = SurfaceController(Session(), view)
    yield made
    made.runner.shutdown()
    made.writer.shutdown()


@pytest.mark.parametrize(("transparent", "mode"), [(True, "RGBA"), (False, "RGB")])
def test_a_transparent_ground_is_transparent_in_the_file(
    qtbot: QtBot, controller: SurfaceController, view: MagicMock, tmp_path: Path, transparent: bool, mode: str
) -> None:
    path = tmp_path / "surface.png"
    with qtbot.waitSignal(controller.writer.returned):
        controller.save_screenshot(path, 40, 30, transparent)
    view.screenshot.assert_called_once_with(40, 30, transparent)
    with Image.open(path) as written:
        assert written.mode == mode
        shown = view.screenshot.return_value
        np.testing.assert_array_equal(np.asarray(written), shown if transparent else shown[..., :3])


def test_a_format_without_transparency_is_refused(
    controller: SurfaceController, view: MagicMock, tmp_path: Path
) -> None:
    controller.save_screenshot(tmp_path / "surface.jpg", transparent=True)
    message = controller._session.state.message
    assert message is not None
    assert "surface.jpg cannot hold a transparent ground" in message.text
    assert not view.screenshot.called
    assert not list(tmp_path.iterdir())


def test_missing_opengl_is_said(controller: SurfaceController, view: MagicMock, tmp_path: Path) -> None:
    view.screenshot.side_effect = MissingPartError("This screen offers no OpenGL.")
    controller.save_screenshot(tmp_path / "surface.png")
    message = controller._session.state.message
    assert message is not None
    assert "no OpenGL" in message.text


def test_dragged_pins_are_drawn_now_and_then_and_at_their_end(
    qtbot: QtBot, controller: SurfaceController, view: MagicMock
) -> None:
    session = controller._session
    for column in range(40):
        session.set(pins=(Pin(1, 5, column, 0),))
    assert view.set_pins.call_count < 5
    qtbot.waitUntil(lambda: not controller._pins_rest.isActive())
    drawn = view.set_pins.call_count
    assert 2 <= drawn < 10

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image
from pytestqt.qtbot import QtBot

from toposcope.core.jobs import CancelToken, Progress, silent
from toposcope.ui.turntable import Turntable, write_gif


def draw(angle: float) -> NDArray[np.uint8]:
    picture = np.full((40, 60, 4), 255, np.uint8)
    picture[..., 0] = int(angle / 360 * 255)
    return picture


def test_one_frame_is_drawn_for_each_step_of_the_turn(qtbot: QtBot, tmp_path: Path) -> None:
    angles: list[float] = []

    def noted(angle: float) -> NDArray[np.uint8]:
        angles.append(angle)
        return draw(angle)

    told: list[Progress] = []
    turntable = Turntable(noted, tmp_path / "a.gif", 8, told.append)
    with qtbot.waitSignal(turntable.finished, timeout=5000) as done:
        turntable.start()
    assert done.args == [tmp_path / "a.gif"]
    assert_allclose(angles, np.arange(8) * 45.0)
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 8  # type: ignore[attr-defined]
        gif.seek(4)
        assert_allclose(np.asarray(gif.convert("RGB"))[20, 30], (127, 255, 255), atol=8)


def test_a_cancelled_turn_leaves_nothing(qtbot: QtBot, tmp_path: Path) -> None:
    token = CancelToken()
    turntable = Turntable(draw, tmp_path / "a.gif", 500, token.guard(silent))
    with qtbot.waitSignal(turntable.cancelled, timeout=5000):
        turntable.start()
        token.cancel()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(qtbot: QtBot, tmp_path: Path) -> None:
    turntable = Turntable(draw, tmp_path / "missing" / "a.gif", 3, silent)
    with qtbot.waitSignal(turntable.failed, timeout=5000) as failed:
        turntable.start()
    assert "missing" in failed.args[0]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.gif"
    target.write_bytes(b"old")
    bad = [Image.new("RGB", (4, 4)), Image.new("RGB", (5, 5))]  # not of one size
    with pytest.raises(ValueError, match="dimension"):
        write_gif(bad, target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]

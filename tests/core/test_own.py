"""Methods in a file of the user's, and the guide's page about Python, whose lines must run."""

from __future__ import annotations

import re
import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from scenes import Scene, tilted_plane
from toposcope.core import evaluate as ev
from toposcope.core.curve import curve_at
from toposcope.core.estimate import EstimateSettings, estimate, find_method
from toposcope.core.stack import FocalStack
from toposcope.errors import SettingsError

MINE = """
import cv2
import numpy as np
from toposcope.core.own import measure_method, probability_method

def laplacian(grey, options):
    return cv2.blur(np.abs(cv2.Laplacian(grey, cv2.CV_32F)), (options.window,) * 2)

def share(frames, place, options):
    sharp = np.stack([laplacian(frame, WINDOW) for frame in frames])
    sharp[:, :8] = 0  # it does not know the uppermost rows
    return np.square(sharp)

class WINDOW:
    window = 9

measure = measure_method(laplacian, reach=1)
network = probability_method(share)
column = measure_method(lambda grey, options: grey[:, :1], reach=1)
few = probability_method(lambda frames, place, options: frames[:2])
negative = probability_method(lambda frames, place, options: frames - 2)
"""


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(n=9, size=64)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_a_measure_of_the_users_finds_the_plane(scene: Scene, mine: str) -> None:
    settings = EstimateSettings(f"{mine}:measure", align="none", keep_volume=True)
    result = estimate(scene.stack, settings)
    error = result.depth - scene.depth
    assert np.abs(error[scene.inner]).mean() < 0.15 * np.diff(scene.stack.positions.value).mean()
    assert result.provenance.method == f"{mine}:measure"
    assert len(result.provenance.settings["code"]) == 64
    curve = curve_at(result, 32, 32)
    assert curve.measure is not None
    assert curve.verdict.shape == "clear"
    with pytest.raises(SettingsError, match="has no setting 'step'"):
        find_method(f"{mine}:measure").checked({"step": 2})


def test_probabilities_of_the_users_are_depth_curves_and_voids(scene: Scene, mine: str) -> None:
    result = estimate(scene.stack, EstimateSettings(f"{mine}:network", align="none", keep_volume=True))
    assert not result.valid[:8].any()
    curve = curve_at(result, 32, 32)
    assert curve.probability.sum() == pytest.approx(1)
    assert curve.measure is None
    mean = float((curve.probability * curve.positions).sum())
    assert result.depth[32, 32] == pytest.approx(mean, rel=1e-3)
    exact = find_method(f"{mine}:network").checked({"exact": "yes"})
    peaks = estimate(scene.stack, EstimateSettings(f"{mine}:network", exact, align="none", keep_volume=True))
    assert curve_at(peaks, 32, 32).measure is not None
    assert np.abs(peaks.depth - scene.depth)[scene.inner].mean() < 0.1


def test_it_is_compared_like_any_other(scene: Scene, mine: str) -> None:
    case = ev.Case("plane", ("stacks",), "µm", scene_stack, lambda: scene.depth)
    methods = [ev.contender("sml"), ev.contender(f"{mine}:measure", {"window": 21}, "wide")]
    found = ev.evaluate([case], methods, ev.EvaluateSettings(curves=False))
    assert [row.problem for row in found.rows] == [None, None]
    before = ev.contender_facts(methods[1])["sha256"]
    Path(mine).write_text(MINE + "\n# changed\n")
    assert ev.contender_facts(ev.contender(f"{mine}:measure"))["sha256"] != before


def scene_stack() -> FocalStack:
    return tilted_plane(n=9, size=64).stack


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("column", "returned the shape"),
        ("few", "returned the shape"),
        ("negative", "must be at least 0"),
        ("WINDOW", "holds no method called WINDOW"),
        ("nothing", "holds no method called nothing"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_words(scene: Scene, mine: str, name: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        estimate(scene.stack, EstimateSettings(f"{mine}:{name}", align="none"))


def test_wrong_wishes_are_refused(scene: Scene, mine: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        find_method(f"{tmp_path}/nowhere.py:card")
    (tmp_path / "torn.py").write_text("import nothing_of_that_name")
    with pytest.raises(SettingsError, match="cannot be run: ModuleNotFoundError"):
        find_method(f"{tmp_path}/torn.py:card")
    with pytest.raises(SettingsError, match="chooses its device itself"):
        estimate(scene.stack, EstimateSettings(f"{mine}:network", device="cpu"))
    with pytest.raises(SettingsError, match="loads its weights itself"):
        estimate(scene.stack, EstimateSettings(f"{mine}:network", weights=tmp_path / "w.safetensors"))


def test_what_lies_beside_the_file_can_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["/nowhere"])
    (tmp_path / "own_parts_beside.py").write_text("reach = 1\n")
    (tmp_path / "whole.py").write_text(
        "from own_parts_beside import reach\nfrom toposcope.core.own import measure_method\n"
        "card = measure_method(lambda grey, options: grey, reach=reach)\n"
    )
    assert find_method(f"{tmp_path}/whole.py:card").title == "Own measure"


def test_the_lines_of_the_guide_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (files("toposcope_resources") / "help" / "python.md").read_text("utf-8")
    (tmp_path / "guide.py").write_text("\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL)), "utf-8")
    monkeypatch.chdir(tmp_path)
    found = runpy.run_path("guide.py")
    assert found["errors"]["rmse"] < 2
    assert found["curve"].verdict.shape == "clear"
    assert repr(found["stack"]) == "<FocalStack dome: 16 frames of 384 x 384, 0 to 30 um>"
    assert repr(found["stored"]).startswith("<DepthResult by sml: 384 x 384, ")
    for name in ("laplacian", "network"):
        settings = EstimateSettings(f"guide.py:{name}", align="none")
        assert estimate(found["stack"], settings).valid.mean() > 0.9

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import scenes
from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import Sourced, Unit
from toposcope.core.focus import tenengrad
from toposcope.core.stack import ArraySource, FocalStack, to_grey
from toposcope.core.sweep import SweepExaminer, SweepReport

CODES = {
    "cut_low": 1,
    "cut_high": 2,
    "coarse_step": 3,
    "idle_slices": 4,
    "over_exposed": 5,
    "motion": 6,
    "textureless": 7,
}


def examine(stack: FocalStack, index: NDArray[np.float32], alignment: Alignment | None = None) -> SweepReport:
    examiner = SweepExaminer(stack, alignment)
    for i in range(stack.n):
        plane = stack.read(i)
        examiner.add(i, plane, tenengrad(to_grey(plane)))
    return examiner.report(index, np.ones(stack.shape, np.float32))


def lacks(report: SweepReport) -> dict[str, str]:
    return {note.lack: note.text for note in report.notes}


def part(scene: scenes.Scene, first: int, last: int) -> tuple[FocalStack, NDArray[np.float32]]:
    """Return slices ``first`` to ``last`` and the index in them, as a truncated sweep finds it."""
    return scene.stack.subset(range(first, last + 1)), (scene.index - first).clip(0, last - first)


def still(n: int, **changes: Any) -> Alignment:
    motions = tuple(Motion(np.eye(2, 3)) for _ in range(n))
    return replace(Alignment(motions, 0, True, "steady"), **changes)


def test_a_sound_sweep_lacks_nothing() -> None:
    scene = scenes.tilted_plane(n=13, noise=0.005)
    report = examine(scene.stack, scene.index)
    assert report.notes == ()
    assert report.map.shape == scene.stack.shape
    assert report.map.dtype == np.uint8
    assert not report.map.any()


def test_a_sweep_that_begins_too_high_is_cut_low() -> None:
    scene = scenes.tilted_plane(n=13)
    stack, index = part(scene, 4, 12)
    report = examine(stack, index)
    text = lacks(report)["cut_low"]
    # the slope fills columns 0.1..0.9 of the sweep: 10 % below slice 1.2, so 29 % lie below slice 4
    beyond = float((scene.index < 4).mean())
    assert abs(report.notes[0].share - beyond) < 0.1
    assert "sharpest in the first slice (18.0 µm)" in text
    assert "Extend the sweep downwards by at least" in text
    assert "cut_high" not in lacks(report)
    assert (report.map[scene.index < 3] == CODES["cut_low"]).mean() > 0.8
    assert (report.map[scene.index > 6] == CODES["cut_low"]).mean() < 0.02


def test_a_sweep_that_ends_too_low_is_cut_high() -> None:
    scene = scenes.tilted_plane(n=13)
    stack, index = part(scene, 0, 8)
    report = examine(stack, index)
    assert "sharpest in the last slice (26.0 µm)" in lacks(report)["cut_high"]
    # 3 steps of 2 um beyond 26 um, or more where the curves are wider than 3 slices
    target = float(lacks(report)["cut_high"].rsplit("to ", 1)[1].removesuffix(" µm."))
    assert 32.0 <= target <= 40.0


@pytest.mark.parametrize(
    ("kind", "unit", "words"),
    [
        ("microscope", "index", "Take at least 3 more slices before it."),
        ("camera", "mm", "Extend the sweep to nearer distances by at least 3 steps."),
    ],
)
def test_advice_speaks_of_what_is_known(kind: str, unit: Unit, words: str) -> None:
    scene = scenes.tilted_plane(n=13, kind=kind, unit=unit)
    stack, index = part(scene, 4, 12)
    text = lacks(examine(stack, index))["cut_low"]
    assert words in text


def test_slices_that_hold_nothing_are_counted() -> None:
    scene = scenes.step(n=21)  # levels at slices 6 and 14
    report = examine(scene.stack, scene.index)
    texts = [note.text for note in report.notes if note.lack == "idle_slices"]
    assert "5 slices below 20.0 µm hold nothing in focus; start there." in texts
    assert "5 slices above 40.0 µm hold nothing in focus; stop there." in texts
    assert "5 slices between 24.0 µm and 36.0 µm hold nothing in focus; leave" in "".join(texts)


def test_a_step_of_twice_the_depth_of_field_is_coarse() -> None:
    fine = scenes.tilted_plane(n=13, blur_px=1.5)
    coarse = scenes.tilted_plane(n=9, blur_px=6.0, size=96)
    assert "coarse_step" not in lacks(examine(fine.stack, fine.index))
    text = lacks(examine(coarse.stack, coarse.index))["coarse_step"]
    assert text.startswith("the step of 2.0 µm is coarse: curves are only 1.")
    advised = float(text.rsplit("step of ", 1)[1].removesuffix(" µm or less."))
    assert 0.4 < advised < 1.4


def test_burnt_out_areas_are_found_where_they_are() -> None:
    scene = scenes.tilted_plane(n=11)
    frames = np.array([scene.stack.read(i) for i in range(11)])
    frames[:, 40:60, 100:140] = 255
    stack = replace(scene.stack, source=ArraySource(frames))
    report = examine(stack, scene.index)
    share = next(note.share for note in report.notes if note.lack == "over_exposed")
    assert abs(share - 20 * 40 / 160**2) < 0.005
    assert (report.map[44:56, 104:136] == CODES["over_exposed"]).all()


def test_a_darkened_frame_is_still_burnt_out() -> None:
    scene = scenes.tilted_plane(n=11)
    frames = np.array([scene.stack.read(i) for i in range(11)])
    frames[:, 40:60, 100:140] = 204  # 255 times the gain of 0.8
    stack = replace(scene.stack, source=ArraySource(frames))
    motions = tuple(Motion(np.eye(2, 3), gain=0.8) for _ in range(11))
    assert "over_exposed" in lacks(examine(stack, scene.index, still(11, motions=motions)))
    assert "over_exposed" not in lacks(examine(stack, scene.index, still(11)))


def test_textureless_patches_are_marked() -> None:
    scene = scenes.textureless_patches(noise=0.01)
    report = examine(scene.stack, scene.index)
    share = next(note.share for note in report.notes if note.lack == "textureless")
    marked = report.map == CODES["textureless"]
    assert share == pytest.approx(marked.mean())
    # the blur of the surroundings reaches some pixels into the patches, their middle is bare
    rows, columns = np.mgrid[:160, :160] / 160
    for row, column in ((0.28, 0.28), (0.28, 0.72), (0.72, 0.28), (0.72, 0.72)):
        assert marked[np.hypot(rows - row, columns - column) < 0.07].all()
    assert not marked[scene.textured].any()


def test_unregistered_slices_are_named() -> None:
    scene = scenes.tilted_plane(n=11)
    motions = tuple(Motion(np.eye(2, 3), registered=i != 4) for i in range(11))
    report = examine(scene.stack, scene.index, still(11, motions=motions))
    assert report.notes[0].lack == "motion"
    assert "1 slice could not be registered (slice_04)" in report.notes[0].text


def test_a_jump_is_found_and_steady_drift_is_not() -> None:
    scene = scenes.tilted_plane(n=11)
    drift = np.arange(11.0) * 0.9
    for jump, found in ((0.0, False), (6.0, True)):
        shifts = drift + jump * (np.arange(11) > 6)
        motions = tuple(Motion(np.array([[1.0, 0, shift], [0, 1.0, 0]])) for shift in shifts)
        texts = lacks(examine(scene.stack, scene.index, still(11, motions=motions)))
        assert ("motion" in texts) is found
    assert "jumps by 6 px between slice_06 and slice_07" in texts["motion"]


def test_lost_field_of_view_is_marked_and_counts_for_nothing_else() -> None:
    scene = scenes.tilted_plane(n=13)
    void = np.zeros(scene.stack.shape, np.bool_)
    void[:, :40] = True
    stack = replace(scene.stack, void=void)
    report = examine(stack, scene.index, still(13))
    assert "25 % of the picture is not seen by every slice" in lacks(report)["motion"]
    assert (report.map[void] == CODES["motion"]).all()
    assert not report.map[~void].any()


def test_large_pictures_are_looked_at_on_a_grid() -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 200, (3, 700, 901, 3)).astype(np.uint8)
    frames[:, :350] = 255
    stack = FocalStack.create(ArraySource(frames), Sourced(np.arange(3.0), "test"), "um")
    report = examine(stack, np.zeros((700, 901), np.float32))
    assert report.map.shape == (700, 901)
    assert (report.map[:346] == CODES["over_exposed"]).all()
    assert not (report.map[354:] == CODES["over_exposed"]).any()

"""What the views show, as plain functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from toposcope.core.calibration import Sourced, Unit
from toposcope.core.curve import curve_at
from toposcope.core.editing import CalibrationEdit, edited_stack, worked_stack
from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.exact import MeasuredVolume
from toposcope.core.jobs import Progress
from toposcope.core.marks import Pin
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.core.volume import MeasureVolume
from toposcope.errors import CalibrationError, StackError
from toposcope.ui.resolve import (
    Hint,
    calibration,
    frame_rows,
    kept_bytes,
    kept_runs,
    map_pixel,
    pin_apart,
    pin_facts,
    pin_table,
    preview_reduction,
    resolve,
    run_facts,
    run_title,
    slice_state,
)
from toposcope.ui.session import Inputs, Job, Layer, Offer, Run, State
from window_fakes import make_run, make_stack, state_of


def test_empty_window_offers_the_start_page() -> None:
    view = resolve(State())
    assert view.start_page
    assert not view.modes
    assert view.left is None
    assert not view.method.can_run


def test_without_a_result_only_slices_can_be_seen() -> None:
    view = resolve(state_of(make_stack(), mode="depth", slice_index=2))
    assert view.mode == "slice"
    assert view.modes == {"slice", "compare", "difference"}
    assert view.left is not None
    assert view.left.layer == Layer("slice", 2)
    assert view.slices.text == "15 µm · 3 of 5"


def test_a_slice_without_a_position_bears_the_number_that_axes_and_depths_give_it() -> None:
    frames = ArraySource(np.zeros((10, 8, 8), dtype=np.uint8), tuple(f"img_{i}.png" for i in range(10)))
    stack = FocalStack.create(frames, Sourced(np.arange(10.0), "order of the files", guessed=True), "index")
    view = resolve(state_of(stack, slice_index=5))
    assert view.slices.text == "slice 5 · 6 of 10"
    assert view.frames[5].position == "slice 5"


def test_a_guessed_near_side_has_a_reason_and_is_the_one_that_heights_use() -> None:
    frames = ArraySource(np.zeros((5, 8, 8), dtype=np.uint8), tuple(f"img_{i}.png" for i in range(5)))
    stack = FocalStack.create(frames, Sourced(np.arange(5.0), "order of the files", guessed=True), "index")
    shown = resolve(state_of(stack)).calibration
    assert shown is not None
    assert shown.near == Sourced("low", "lenses are focused nearer at low positions", guessed=True)

    run = make_run(stack)
    anew = Sourced("high", "frames magnify towards it", guessed=True)
    run = replace(run, result=replace(run.result, near=anew))
    shown = resolve(state_of(stack, run)).calibration
    assert shown is not None
    assert shown.near == anew
    assert run.result.near == shown.near

    # what was typed holds, also while the older result is still shown
    edit = CalibrationEdit(near="low")
    shown = resolve(replace(state_of(stack, run), edit=edit, stack=edited_stack(stack, edit))).calibration
    assert shown is not None
    assert shown.near == Sourced("low", "typed in")


def test_pictures_of_the_shown_run() -> None:
    stack = make_stack()
    state = state_of(stack, make_run(stack, 1), make_run(stack, 2), mode="depth", ranges={"depth": (11.0, 12.0)})
    view = resolve(state)
    assert view.left is not None
    assert view.left.layer == Layer("depth", 2)
    assert view.left.limits == (11.0, 12.0)
    assert view.right is None
    assert [row.number for row in view.runs] == [1, 2]


def test_comparison_falls_back_when_its_run_is_gone() -> None:
    stack = make_stack()
    runs = (make_run(stack, 8), make_run(stack, 9))
    view = resolve(state_of(stack, *runs, mode="compare", pair=(7, 9)))
    assert (view.comparison.a, view.comparison.b) == (8, 9)
    assert view.left is not None
    assert view.right is not None
    assert (view.left.layer, view.right.layer) == (Layer("depth", 8), Layer("depth", 9))
    assert view.left.shared == view.right.shared == (8, 9)  # the same colours on both sides
    assert resolve(state_of(stack, *runs, pair=(9, 9), mode="compare")).comparison.a == 9  # chosen is chosen


def test_two_pictures_of_one_result_can_be_compared_and_a_second_method_is_offered() -> None:
    stack = make_stack()
    state = state_of(stack, make_run(stack, 1), mode="compare", pair=(1, 1))
    view = resolve(state, METHODS)
    assert view.comparison.names == ("A  All in focus · 1  Default", "B  Depth · 1  Default")
    hint = view.comparison.hint
    assert hint is not None
    assert hint.text == "There is only one result yet: run another method to see both side by side."
    assert hint.offer == Offer("Run Hybrid", "run_method", "hybrid")
    assert not view.comparison.ready
    running = replace(state, jobs={"depth": Job("Depth", Progress(0.1))})
    hint = resolve(running, METHODS).comparison.hint
    assert hint == Hint("The second result is being computed.")
    hint = resolve(state_of(stack, mode="difference"), METHODS).comparison.hint
    assert hint is not None
    assert hint.offer == Offer("Compute depth", "run")
    assert resolve(state_of(stack, make_run(stack, 1), mode="depth"), METHODS).comparison.hint is None


def test_methods_without_a_result_are_offered_one_after_the_other() -> None:
    stack = make_stack()
    runs: list[Run] = []
    offered = []
    for number in range(1, len(METHODS) + 1):
        offer = resolve(state_of(stack, *runs), METHODS).comparison.other
        assert offer is not None
        offered.append(offer.value)
        inputs = replace(State().inputs, settings=EstimateSettings(offer.value, keep_volume=True))
        runs.append(make_run(stack, number, inputs=inputs))
    assert offered[:3] == ["default", "hybrid", "light"]
    assert set(offered) == set(METHODS)
    assert resolve(state_of(stack, *runs), METHODS).comparison.other is None


def test_difference_needs_two_results_of_one_size_and_unit() -> None:
    stack = make_stack()
    first, second = make_run(stack, 1), make_run(stack, 2)
    view = resolve(state_of(stack, first, second, mode="difference", pair=(1, 2)))
    assert view.left is not None
    assert view.left.layer == Layer("difference", 1, 2)
    assert view.right is None
    assert view.comparison.hint is None
    assert view.comparison.ready
    view = resolve(state_of(stack, first, second, mode="difference", pair=(1, 1)))
    assert view.left is None
    assert view.comparison.hint == Hint("A and B are the same result: choose another one to see where the two differ.")
    metres = replace(second, result=replace(second.result, unit="m"))
    view = resolve(state_of(stack, first, metres, mode="difference", pair=(1, 2)))
    assert view.left is None
    assert view.comparison.hint is not None
    assert view.comparison.hint.text.startswith("The depths have different units, 'µm' and 'm'")
    # another result that suits B is offered as A
    third = replace(metres, number=3, title="3  Hybrid")
    view = resolve(state_of(stack, first, third, metres, mode="difference", pair=(1, 2)))
    assert view.comparison.hint is not None
    assert view.comparison.hint.offer == Offer("Take “3  Hybrid” as A", "as_a", 3)


def test_depths_of_different_units_have_no_colours_in_common() -> None:
    stack = make_stack()
    first, second = make_run(stack, 1), make_run(stack, 2)
    view = resolve(state_of(stack, first, second, mode="compare", pair=(1, 2)))
    assert view.right is not None
    assert view.right.shared == (1, 2)
    assert view.comparison.hint is None
    metres = replace(second, result=replace(second.result, unit="m"))
    state = state_of(stack, first, metres, mode="compare", pair=(1, 2))
    view = resolve(state)
    assert view.left is not None
    assert view.right is not None
    assert view.left.shared == view.right.shared == ()
    assert view.comparison.hint is not None
    assert view.comparison.hint.text.startswith("The depths have different units, 'µm' and 'm'")
    assert resolve(replace(state, compared=("all_in_focus", "all_in_focus"))).comparison.hint is None


def test_pins_tell_how_far_they_are_from_the_first() -> None:
    stack = make_stack()
    run = make_run(stack, 1)
    pins = (Pin(2, 10, 60, 1), Pin(1, 40, 20, 0), Pin(3, 0, 60, 2))
    state = state_of(stack, run, pins=pins)
    assert [pin_apart(state, run, pin) for pin in pins] == ["", "−6.349 µm against pin 2, 25 µm away", "5 µm away"]
    assert pin_facts(run, pins[1]) == ("Depth 13.175 µm", "confidence 0.75 · row 40, column 20")
    assert pin_facts(run, pins[2]) == ("Void: no depth here", "row 0, column 60")
    unknown = replace(state, stack=replace(stack, pixel_um=None))
    assert pin_apart(unknown, run, pins[1]).endswith("50 px away")


def test_readout_tells_both_depths_and_their_difference() -> None:
    stack = make_stack()
    first, second = make_run(stack, 1), make_run(stack, 2)
    second = replace(second, result=replace(second.result, depth=second.result.depth + np.float32(1.5)))
    state = state_of(stack, first, second, mode="compare", pair=(1, 2))
    text = resolve(replace(state, cursor=(3, 63))).readout
    assert text.endswith("A 20 µm   B 21.5 µm   A − B −1.5 µm")
    shifted = np.nextafter(first.result.depth, np.float32(np.inf))  # but for rounding
    same = replace(second, result=replace(second.result, depth=shifted))
    rounded = state_of(stack, first, same, mode="compare", pair=(1, 2), cursor=(3, 63))
    assert resolve(rounded).readout.endswith("A 20 µm   B 20 µm   A − B 0 µm")
    assert resolve(replace(state, cursor=(0, 5))).readout.endswith("A no depth   B no depth")


def test_history_says_what_is_a_and_b_and_what_it_holds() -> None:
    stack = make_stack(shape=(1000, 1000))
    runs = (make_run(stack, 1), make_run(stack, 2), make_run(stack, 3))
    view = resolve(state_of(stack, *runs, pair=(3, 1)))
    assert [row.sides for row in view.runs] == ["B", "", "A"]
    # depth 4, confidence 4, valid 1, grey picture 1, sweep 1, five slices of two bytes: 21 bytes a pixel
    assert kept_bytes(runs[0].result) == 21_000_000
    assert view.kept == "3 of 4 kept, 63 MB"
    # the hybrid keeps the volumes of the network and of the measure
    volume = MeasuredVolume(runs[0].result.volume, MeasureVolume((5, 1000, 1000)), np.zeros((1000, 1000), np.float32))
    assert kept_bytes(replace(runs[0].result, volume=volume)) == 32_000_000
    assert [row.sides for row in resolve(state_of(stack, runs[0])).runs] == [""]


def test_results_are_kept_within_their_number_and_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = make_stack()
    runs = [make_run(stack, number) for number in range(1, 7)]

    def kept(old: list[Run], new: Run, reference: int) -> list[int]:
        return [run.number for run in kept_runs(old, new, reference)]

    assert kept(runs[:4], runs[4], 0) == [2, 3, 4, 5]
    assert kept(runs[:4], runs[4], 1) == [1, 3, 4, 5]
    preview = make_run(stack.reduced(2), 7, reduction=2)
    assert kept([preview], runs[0], 0) == [1]
    size = kept_bytes(runs[0].result)
    monkeypatch.setattr("toposcope.ui.resolve.KEPT_BYTES", 3 * size)
    assert kept(runs[:3], runs[3], 1) == [1, 3, 4]
    monkeypatch.setattr("toposcope.ui.resolve.KEPT_BYTES", size // 2)
    assert kept(runs[:3], runs[3], 2) == [2, 4]  # two at least: there is something to compare


def test_a_preview_promises_the_full_result_only_while_it_is_computed() -> None:
    stack = make_stack()
    preview = make_run(stack.reduced(2), reduction=2)
    preview = replace(preview, facts=run_facts(preview.result, 2))
    state = state_of(stack, preview)
    running = replace(state, jobs={"depth": Job("Depth", Progress(0.5))})
    assert resolve(running).method.facts.endswith("\nPreview at reduced size; the full result follows")
    assert resolve(state).method.facts.endswith("\nPreview at reduced size; Compute depth brings the full result")
    full = make_run(stack)
    assert resolve(state_of(stack, replace(full, facts="Took 2 s"))).method.facts == "Took 2 s"


def test_peaks_need_the_volume() -> None:
    stack = make_stack()
    run = make_run(stack)
    bare = replace(run, result=replace(run.result, volume=None))
    assert "peaks" in resolve(state_of(stack, run)).modes
    assert "peaks" not in resolve(state_of(stack, bare)).modes


def test_a_preview_is_neither_exported_nor_kept_in_the_history() -> None:
    stack = make_stack()
    preview = make_run(stack.reduced(2), reduction=2)
    view = resolve(state_of(stack, preview))
    assert not view.can_export
    assert view.runs == ()
    assert view.sweep is None


def test_result_is_out_of_date_once_its_inputs_changed() -> None:
    stack = make_stack()
    run = make_run(stack)
    assert not resolve(state_of(stack, run)).method.outdated
    assert resolve(state_of(stack, run, skipped=frozenset({1}))).method.outdated
    assert resolve(state_of(stack, run, settings=EstimateSettings("sml", keep_volume=True))).method.outdated


def test_readout_gives_depth_with_unit_and_says_voids() -> None:
    stack = make_stack()
    state = state_of(stack, make_run(stack))
    text = resolve(replace(state, cursor=(3, 63))).readout
    assert "x 63  y 3" in text
    assert "depth 20 µm" in text
    assert "confidence 0.75" in text
    assert "(31.5, 1.5 µm)" in text
    assert "no depth here" in resolve(replace(state, cursor=(0, 5))).readout


def test_calibration_shows_origins_and_guesses() -> None:
    panel = calibration(make_stack(), CalibrationEdit())
    assert panel.positions.text == "10 to 20 µm, step 2.5"
    assert panel.positions.origin == "file name"
    assert panel.step == 2.5
    assert panel.pixel.text == "0.5 µm"
    assert not panel.edited
    unknown = FocalStack.create(ArraySource(np.zeros((4, 8, 8), dtype=np.uint8)))
    panel = calibration(unknown, CalibrationEdit())
    assert panel.positions.guessed
    assert panel.kind.guessed
    assert panel.pixel.text == "not known"


def test_irregular_steps_are_said() -> None:
    stack = replace(make_stack(4), positions=Sourced(np.array([0.0, 1.0, 3.0, 9.0]), "typed in"))
    assert calibration(stack, CalibrationEdit()).positions.text == "0 to 9 µm, steps 1 to 6"


def test_edits_win_and_are_marked_as_typed_in() -> None:
    stack = edited_stack(make_stack(3), CalibrationEdit((1.0, 2.0, 4.0), "mm", "camera", None, 0.0))
    assert stack.positions.value.tolist() == [1, 2, 4]
    assert (stack.unit, stack.positions.origin, stack.kind.value) == ("mm", "typed in", "camera")
    assert stack.near.value == "low"  # follows the kind again
    assert stack.pixel_um is None


def test_impossible_edits_are_refused() -> None:
    with pytest.raises(CalibrationError, match="above 0"):
        edited_stack(make_stack(3), CalibrationEdit((-1.0, 2.0, 4.0), "mm", "camera"))


def test_skipped_frames_are_left_out() -> None:
    stack = worked_stack(make_stack(5), frozenset({0, 3}))
    assert tuple(stack.source.names) == ("img_01.png", "img_02.png", "img_04.png")
    with pytest.raises(StackError, match="only 2 of 5"):
        worked_stack(make_stack(5), frozenset({0, 1, 2}))


@pytest.mark.parametrize(
    ("n", "shape", "reduction"),
    [(5, (64, 64), 1), (10, (1536, 2048), 4), (20, (1224, 1632), 8), (200, (6000, 8000), 8)],
)
def test_preview_is_small_enough_for_a_second(n: int, shape: tuple[int, int], reduction: int) -> None:
    class Shape:
        pass

    stack = Shape()
    stack.n, stack.shape = n, shape  # type: ignore[attr-defined]
    assert preview_reduction(stack) == reduction  # type: ignore[arg-type]


def test_pixels_of_a_preview_stay_inside_its_maps() -> None:
    stack = make_stack(shape=(49, 65))
    run = make_run(stack.reduced(4), reduction=4)
    assert run.result.shape == (13, 17)
    assert map_pixel(run, 48, 64) == (12, 16)
    assert map_pixel(run, 47, 3) == (11, 0)


def test_pin_table_is_made_for_spreadsheets() -> None:
    stack = make_stack()
    run = make_run(stack)
    pin = Pin(1, 3, 63, 0)
    curve = curve_at(run.result, 3, 63)
    table = pin_table(state_of(stack, run, pins=(pin, Pin(2, 0, 4, 1))), [(pin, curve)])
    header, first, second = (line.split("\t") for line in table.splitlines())
    assert header[:6] == ["pin", "x / px", "y / px", "x / µm", "y / µm", "depth / µm"]
    row = dict(zip(header, first, strict=True))
    assert (row["pin"], row["x / px"], row["y / px"], row["x / µm"]) == ("1", "63", "3", "31.5")
    assert float(row["depth / µm"]) == 20
    assert row["verdict"] == curve.verdict.text
    assert dict(zip(header, second, strict=True))["depth / µm"] == ""  # a void is an empty cell


def test_titles_tell_runs_apart() -> None:
    options = METHODS["sml"].settings(window=21)

    def title(settings: EstimateSettings, **changes: Any) -> str:
        return run_title(
            Inputs(**{"edit": CalibrationEdit(), "skipped": frozenset(), **changes}, settings=settings), METHODS, 3
        )

    assert title(EstimateSettings("sml", options)) == "3  Modified Laplacian, window 21"
    assert title(EstimateSettings("sml", align="none")) == "3  Modified Laplacian, not aligned"
    assert title(EstimateSettings(), skipped=frozenset({1})) == "3  Default, without 1 frame"
    assert title(EstimateSettings(), skipped=frozenset({1, 2})) == "3  Default, without 2 frames"
    assert title(EstimateSettings(), edit=CalibrationEdit(pixel_um=1.0)) == "3  Default, calibration typed in"
    filled = METHODS["default"].settings(fill=True, smooth=0.0)
    assert title(EstimateSettings("default", filled)) == "3  Default, smoothing 0, fill voids on"


def test_whether_the_shown_result_has_curves_is_told() -> None:
    stack = make_stack()
    run = make_run(stack)
    assert resolve(state_of(stack)).has_curves
    assert resolve(state_of(stack, run)).has_curves
    bare = replace(run, result=replace(run.result, volume=None))
    assert not resolve(state_of(stack, bare)).has_curves


@pytest.mark.parametrize(
    ("positions", "unit", "texts"),
    [
        ((-2.0, 0.153846154, 2.307692308), "um", ["−2 µm", "0.15 µm", "2.31 µm"]),
        ((0.0, 0.3, 0.6), "um", ["0 µm", "0.3 µm", "0.6 µm"]),
        ((0.35, 0.512345, 2.21), "m", ["0.35 m", "0.512 m", "2.21 m"]),
        ((10.0, 12.7, 7223525.79), "mm", ["10 mm", "12.7 mm", "7223526 mm"]),
        ((0.0, 1.0, 2.0), "index", ["slice 0", "slice 1", "slice 2"]),
    ],
)
def test_positions_are_as_exact_as_their_steps(positions: tuple[float, ...], unit: Unit, texts: list[str]) -> None:
    stack = make_stack(3)
    stack = replace(stack, positions=replace(stack.positions, value=np.array(positions)), unit=unit)
    assert [row.position for row in frame_rows(stack, frozenset())] == texts
    assert slice_state(stack, 1).text == f"{texts[1]} · 2 of 3"

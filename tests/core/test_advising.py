"""The advisor of sweeps, and the autofocus curve of a live view: against a surface of known height."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from toposcope.core import advising
from toposcope.core.advising import Proposal, SweepAdvice, SweepAdvisor
from toposcope.core.calibration import Unit
from toposcope.core.capture import (
    SharpnessTrace,
    SimulatedMicroscope,
    SweepPlan,
    sharpest_z,
)
from toposcope.core.capture import trace as trace_module
from toposcope.core.capture.simulated import relief
from toposcope.core.growing import GrowingDepth, SharpnessCurve

SCENE = relief(height=48, width=64, low_um=4, high_um=12)
LIGHT: OrderedDict[int, Any] = OrderedDict()


def microscope() -> SimulatedMicroscope:
    made = SimulatedMicroscope(SCENE, start_um=8.0, backlash_um=0.0, sleep=lambda seconds: None)
    made._light = LIGHT
    return made


def proposed(bottom: float, top: float, step: float, exposure_ms: float = 10.0, **how: Any) -> Proposal:
    scope, plan = microscope(), SweepPlan(bottom, top, step)
    scope.set_exposure(exposure_ms)
    advisor = SweepAdvisor(scope.white)
    for z_um in plan.positions_um:
        scope.move_to(float(z_um))
        advisor.add(scope.snap(), float(z_um))
    proposal = advisor.propose(plan, exposure_ms, **how)
    assert proposal is not None
    return proposal


def test_a_good_sweep_is_left_alone() -> None:
    proposal = proposed(0, 16, 2)
    assert proposal.reasons == ()
    assert (proposal.plan.bottom_um, proposal.plan.top_um, proposal.plan.step_um) == (0, 16, 2)
    assert proposal.text.startswith("This sweep lacks nothing")


def test_a_sweep_that_ends_within_the_surface_is_extended_to_hold_it() -> None:
    proposal = proposed(8, 16, 1.5)
    assert len(proposal.reasons) == 1
    assert "is sharpest in the bottom slice: the surface goes on below it" in proposal.reasons[0]
    assert proposal.plan.bottom_um <= 4  # where the surface ends
    assert proposal.plan.top_um == 16
    again = proposed(proposal.plan.bottom_um, proposal.plan.top_um, proposal.plan.step_um)
    assert again.plan.bottom_um < 2
    third = proposed(again.plan.bottom_um, again.plan.top_um, again.plan.step_um)
    assert not any("goes on below" in reason for reason in third.reasons)


def test_the_stage_is_sent_no_farther_than_it_reaches() -> None:
    proposal = proposed(8, 20, 1.5, limits_um=(7.0, 30.0))
    assert proposal.plan.bottom_um == 7.0


def test_idle_ends_are_cut_off_and_the_surface_stays_inside() -> None:
    proposal = proposed(-30, 46, 2)
    assert len(proposal.reasons) == 2
    assert -4 < proposal.plan.bottom_um < 4
    assert 12 < proposal.plan.top_um < 20


@pytest.mark.parametrize(("bottom", "top", "step"), [(-30, 46, 2), (-29, 45, 2.3), (-25, 44, 1.7)])
def test_as_many_idle_slices_are_told_as_lie_beyond_the_place_that_is_told(
    bottom: float, top: float, step: float
) -> None:
    proposal, positions = proposed(bottom, top, step), SweepPlan(bottom, top, step).positions_um
    below, above = (reason for reason in proposal.reasons if "hold nothing in focus" in reason)
    assert below.startswith(f"{(positions < proposal.plan.bottom_um).sum()} slices below ")
    assert above.startswith(f"{(positions > proposal.plan.top_um).sum()} slices above ")


def test_a_coarse_step_is_made_finer() -> None:
    proposal = proposed(-6, 24, 6)
    assert any("is coarse" in reason for reason in proposal.reasons)
    assert 1 < proposal.plan.step_um < 4


def test_a_needlessly_fine_step_is_made_coarser() -> None:
    proposal = proposed(0, 16, 0.4)
    assert any("finer than it need be" in reason for reason in proposal.reasons)
    assert proposal.plan.step_um > 0.8


def test_white_pixels_ask_for_less_light_and_tell_no_step() -> None:
    proposal = proposed(0, 16, 2, exposure_ms=80)
    assert "white: no texture is left there" in proposal.reasons[0]
    assert proposal.plan.exposure_ms == 20.0
    assert not any("step" in reason for reason in proposal.reasons)


def test_dark_pictures_ask_for_more_light_until_they_have_it() -> None:
    proposal = proposed(0, 16, 2, exposure_ms=2)
    assert "Even the brightest pixels reach" in proposal.reasons[0]
    assert proposal.plan.exposure_ms is not None
    assert proposal.plan.exposure_ms > 6
    again = proposed(0, 16, 2, exposure_ms=proposal.plan.exposure_ms)
    assert not any("xpose" in reason for reason in again.reasons)


def test_the_cameras_own_white_counts() -> None:
    """A camera of 12 bits never passes 4095 of 65535."""
    advisor = SweepAdvisor(4095)
    rng = np.random.default_rng(1)
    for z_um in range(6):
        plane = rng.integers(1000, 3000, (40, 50)).astype(np.uint16)
        plane[:20] = 4095
        advisor.add(plane, float(z_um))
    proposal = advisor.propose(SweepPlan(0, 5, 1), 10.0)
    assert proposal is not None
    assert "50 % of a slice is white" in proposal.reasons[0]


def test_where_nothing_comes_into_focus_the_advice_says_so() -> None:
    advisor = SweepAdvisor(255)
    for z_um in range(6):
        advisor.add(np.full((40, 50), 128, np.uint8), float(z_um))
    proposal = advisor.propose(SweepPlan(0, 5, 1), 10.0)
    assert proposal is not None
    assert "No texture comes into focus" in proposal.reasons[0]


def test_four_slices_tell_too_little() -> None:
    advisor = SweepAdvisor(255)
    for z_um in range(4):
        advisor.add(np.full((40, 50), 128, np.uint8), float(z_um))
    assert advisor.propose(SweepPlan(0, 3, 1), 10.0) is None


# the autofocus curve


def test_the_curve_of_a_region_peaks_at_its_height() -> None:
    """The raised square of the relief lies at 0.72 of its range: 9.76 um."""
    scope, trace = microscope(), SharpnessTrace()
    for z_um in (0, 15, 2, 13, 4, 11, 6, 9, 8, 10, 12, 7):  # as somebody turns the focus
        scope.move_to(z_um)
        trace.add(scope.snap(), scope.z_um())
    curve = trace.curve()
    assert list(curve.z) == sorted(curve.z)
    height = scope.true_height_um
    rows, columns = slice(10, 19), slice(52, 64)  # the region (1, 4) of 5 x 5, most of it the square
    assert np.median(height[rows, columns]) == pytest.approx(9.76, abs=0.01)
    assert sharpest_z(curve, (1, 4)) == pytest.approx(9.76, abs=0.6)


def test_the_trace_measures_as_the_growing_depth_does() -> None:
    scope, trace, growing = microscope(), SharpnessTrace(), GrowingDepth()
    for z_um in (4.0, 8.0, 12.0):
        scope.move_to(z_um)
        plane = scope.snap()
        trace.add(plane, z_um)
        growing.add(plane, z_um)
    np.testing.assert_allclose(trace.curve().whole, growing.sharpness().whole)
    np.testing.assert_allclose(trace.curve().regions, growing.sharpness().regions)


def test_the_newest_picture_at_a_place_counts() -> None:
    trace = SharpnessTrace(resolution_um=0.1)
    rng = np.random.default_rng(1)
    sharp, flat = rng.integers(0, 255, (40, 50)).astype(np.uint8), np.full((40, 50), 100, np.uint8)
    trace.add(sharp, 5.0)
    trace.add(flat, 5.01)
    assert trace.curve().whole.tolist() == [0.0]
    trace.clear()
    assert len(trace.curve().z) == 0
    assert sharpest_z(trace.curve()) is None


def test_the_sharpest_place_lies_between_the_points() -> None:
    z = np.arange(8.0)
    whole = np.exp(-((z - 3.3) ** 2) / 4)
    curve = SharpnessCurve(z, whole, np.broadcast_to(whole, (5, 5, 8)))
    assert sharpest_z(curve) == pytest.approx(3.3)
    assert sharpest_z(curve, (2, 2)) == pytest.approx(3.3)
    rising = SharpnessCurve(z, z + 1, np.broadcast_to(z + 1, (5, 5, 8)))
    assert sharpest_z(rising) == 7.0  # no peak yet: as far as was seen


# of a sweep that others took


def watched(bottom: float, top: float, step: float, exposure_ms: float = 10.0) -> tuple[SweepAdvisor, dict[str, float]]:
    """Return what is known after a sweep by somebody else, and where its slices lie."""
    scope, advisor, positions = microscope(), SweepAdvisor(), {}
    scope.set_exposure(exposure_ms)
    for i, z_um in enumerate(SweepPlan(bottom, top, step).positions_um):
        scope.move_to(float(z_um))
        advisor.add(scope.snap(), f"slice {i}")
        positions[f"slice {i}"] = float(z_um)
    return advisor, positions


def advised(advisor: SweepAdvisor, positions: dict[str, float], unit: Unit = "um", **how: Any) -> SweepAdvice:
    advice = advisor.advise(positions, unit, **how)
    assert advice is not None
    return advice


def test_what_the_growing_depth_has_measured_need_not_be_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scope, plan = microscope(), SweepPlan(8, 16, 1.5)
    growing, alone, handed = GrowingDepth(), SweepAdvisor(scope.white), SweepAdvisor(scope.white)
    trace, same = SharpnessTrace(), SharpnessTrace()
    slices = []
    for z_um in plan.positions_um:
        scope.move_to(float(z_um))
        slices.append((scope.snap(), float(z_um)))
        alone.add(*slices[-1])
        trace.add(*slices[-1])
    for module in (advising, trace_module):
        monkeypatch.setattr(module, "tenengrad", None)
    for plane, z_um in slices:
        measured = growing.add(plane, z_um)
        handed.add(plane, z_um, measured)
        same.add_measure(measured, z_um)
    assert handed.propose(plan, 10.0) == alone.propose(plan, 10.0) is not None
    np.testing.assert_array_equal(same.curve().regions, trace.curve().regions)


def test_a_watched_sweep_is_given_the_advice_of_a_captured_one() -> None:
    captured = proposed(8, 16, 1.6)
    advice = advised(*watched(8, 16, 1.6))
    assert advice.reasons == captured.reasons
    assert (advice.bottom, advice.top, advice.n) == (captured.plan.bottom_um, 16, captured.plan.n)
    assert advice.proposed.startswith(f"Proposed: {captured.plan.bottom_um:g} to 16 µm, step ")
    assert advised(*watched(0, 16, 2)).text == proposed(0, 16, 2).text  # a good one


def test_millimetres_are_told_in_micrometres() -> None:
    advisor, positions = watched(8, 16, 1.5)
    in_mm = advised(advisor, {name: 1e-3 * z for name, z in positions.items()}, "mm")
    assert in_mm == advised(advisor, positions)


def test_without_positions_the_advice_counts_slices() -> None:
    advice = advised(*_counted(watched(8, 16, 1)))
    first, last = advice.reasons
    assert "is sharpest in the first slice: the surface goes on before it. Begin 4 slices earlier." in first
    assert last == "2 slices after slice 6 hold nothing in focus. End there."
    assert advice.bottom == -4  # where the surface ends
    assert advice.proposed == "Proposed: from slice −4 to slice 6 as they are counted now, 11 slices."
    fine = advised(*_counted(watched(0, 16, 0.4)))
    assert "Steps " in fine.reasons[0]
    assert fine.step > 2
    idle = advised(*_counted(watched(-30, 46, 2)))
    assert 13 <= idle.bottom <= 17  # z = -4 to 4
    assert 20 <= idle.top <= 25
    assert "slices before slice" in idle.reasons[0]
    assert idle.reasons[1].endswith("hold nothing in focus. End there.")


def _counted(found: tuple[SweepAdvisor, dict[str, float]]) -> tuple[SweepAdvisor, dict[str, float], Unit]:
    advisor, positions = found
    return advisor, {name: float(i) for i, name in enumerate(positions)}, "index"


def test_distances_of_a_camera_are_counted_as_slices() -> None:
    advisor, positions = watched(8, 16, 1)
    metres = {name: 0.3 + 1e-3 * z for name, z in positions.items()}
    assert advised(advisor, metres, "m", kind="camera") == advised(*_counted((advisor, positions)))


def test_slices_that_were_added_smaller_tell_no_step_that_is_too_fine() -> None:
    advisor, positions = watched(0, 16, 0.4)
    assert "finer than it need be" in advised(advisor, positions).text
    assert "finer than it need be" not in advised(advisor, positions, reduced=True).text


def test_light_is_told_as_a_factor_where_the_exposure_is_not_known() -> None:
    advice = advised(*watched(0, 16, 2, exposure_ms=80))
    assert "white: no texture is left there. Expose a quarter as long, and look again." in advice.reasons[0]
    assert advice.proposed.endswith("exposed a quarter as long.")


def test_the_white_of_an_unknown_camera_is_the_least_that_no_slice_passes() -> None:
    """A camera of 12 bits that writes 16: 4095 is white, and 1200 of it is not dark."""
    rng = np.random.default_rng(1)
    for top, words in ((4095, "white: no texture"), (1200, "")):
        advisor = SweepAdvisor()
        for z_um in range(6):
            plane = rng.integers(100, 900, (40, 50)).astype(np.uint16)
            plane[:20] = top if z_um == 3 else 800
            advisor.add(plane, str(z_um))
        text = advised(advisor, {str(z_um): float(z_um) for z_um in range(6)}).text
        assert words in text
        assert ("xpose" in text) == bool(words)
    dark = SweepAdvisor()
    for z_um in range(6):
        dark.add(rng.integers(0, 30, (40, 50)).astype(np.uint8), str(z_um))
    text = advised(dark, {str(z_um): float(z_um) for z_um in range(6)}).text
    assert "Even the brightest pixels reach 11 % of white only" in text
    assert "Expose 7 times as long" in text


def test_the_step_is_never_coarser_than_the_depth_of_field() -> None:
    free = proposed(0, 16, 0.4).plan.step_um
    proposal = proposed(0, 16, 0.4, depth_of_field_um=0.8 * free)
    assert proposal.plan.step_um == pytest.approx(0.8 * free, rel=0.07)  # two digits
    assert "the depth of field, is enough" in proposal.reasons[0]
    assert "finer" not in proposed(0, 16, 0.4, depth_of_field_um=0.42).text  # nothing to gain


def test_a_long_sweep_needs_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, positions = watched(0, 16, 1)
    monkeypatch.setattr(advising, "MAX_VALUES", 17 * 48 * 64 // 3)
    thin, _ = watched(0, 16, 1)
    assert sum(values.size for values in thin._slices.values()) <= 17 * 48 * 64 // 3
    assert len({values.shape for values in thin._slices.values()}) == 1
    assert advised(thin, positions).text == advised(whole, positions).text

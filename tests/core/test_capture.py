"""Sweeps of the simulated microscope: plans, files, the whole way to a height map, and everything that can fail."""

from __future__ import annotations

import errno
import json
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from toposcope.core.capture import (
    Fault,
    Microscope,
    Optics,
    PlaneStore,
    SimulatedMicroscope,
    SweepOutcome,
    SweepPlan,
    begin_sweep,
    planes,
    run_sweep,
    sweeping,
)
from toposcope.core.capture.simulated import relief
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.growing import GrowingDepth
from toposcope.core.jobs import Cancelled, PauseSwitch, Progress
from toposcope.core.source import open_stack
from toposcope.core.stack import Plane
from toposcope.errors import CaptureError, OutputError, SettingsError, StageError

PLAN = SweepPlan(2.0, 14.0, 2.0)
"""Seven slices over the whole of `small`."""


SCENE = relief(height=48, width=64, low_um=4, high_um=12)
LIGHT: OrderedDict[int, Any] = OrderedDict()


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes.os, "fsync", lambda descriptor: None)


def small(*faults: Fault, kind: type[SimulatedMicroscope] = SimulatedMicroscope, **changes: Any) -> SimulatedMicroscope:
    """Return a microscope that sees little, waits for nothing and stands at 9 um."""
    how = {"start_um": 9.0, "sleep": lambda seconds: None} | changes
    microscope = kind(SCENE, faults=list(faults), **how)
    microscope._light = LIGHT  # rendered once for all tests
    return microscope


def swept(microscope: Microscope, path: Path, plan: SweepPlan = PLAN, **how: Any) -> tuple[SweepOutcome, PlaneStore]:
    store = begin_sweep(microscope, plan, path)
    return run_sweep(microscope, store, **how), store


# plans


@given(
    st.floats(-1e4, 1e4),
    st.floats(0.01, 1e4),
    st.integers(3, 800),
)
def test_a_plan_takes_both_ends_and_no_step_is_larger_than_asked(bottom: float, span: float, n: int) -> None:
    step = span / (n - 1)
    plan = SweepPlan(bottom, bottom + span, step)
    positions = plan.positions_um
    assert positions[0] == bottom
    assert positions[-1] == bottom + span
    assert plan.n in (n, n + 1)
    assert np.diff(positions).max() <= step * (1 + 1e-6) + 1e-9


def test_steps_are_made_equal_within_the_range() -> None:
    assert_allclose(SweepPlan(0, 10, 4).positions_um, [0, 10 / 3, 20 / 3, 10])
    assert SweepPlan(0, 10, 2.5, downwards=True).order == (4, 3, 2, 1, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((10.0, 0.0, 1.0), "Exchange the two"),
        ((0.0, 10.0, 0.0), "must be above 0"),
        ((0.0, 10.0, 6.0), "at most 5 µm"),
        ((0.0, 10.0, 0.0001), "are more than 5000"),
        ((0.0, math.inf, 1.0), "finite"),
        ((0.0, 10.0, 1.0, 0.0), "out of range"),
        ((0.0, 10.0, 1.0, 10.0, False, -1.0), "settle"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(values: tuple[Any, ...], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        SweepPlan(*values)


def test_a_plan_beyond_the_stage_is_refused_before_anything_moves(tmp_path: Path) -> None:
    microscope = small()
    with pytest.raises(SettingsError, match=r"leaves the range of the stage, -100 to 200 µm"):
        begin_sweep(microscope, SweepPlan(-120, 10, 2), tmp_path / "a.ome.tif")
    assert microscope.moves == 0
    assert not list(tmp_path.iterdir())


def test_depth_of_field_is_that_of_the_formula() -> None:
    # n λ / NA² + n e / NA by hand: 0.55 / 0.16 + 0.5 / 0.4 = 3.4375 + 1.25
    optics = Optics(na=0.4, pixel_um=0.5)
    assert optics.depth_of_field_um == pytest.approx(4.6875)
    assert optics.proposed_step_um == 2.3
    oil = Optics(na=1.4, refractive_index=1.518, wavelength_um=0.5)
    assert oil.depth_of_field_um == pytest.approx(1.518 * 0.5 / 1.96)
    assert Optics().depth_of_field_um is None


@pytest.mark.parametrize(
    ("values", "words"),
    [({"na": -0.1}, "above 0"), ({"na": 1.2}, "refractive index above it"), ({"refractive_index": 0.5}, "between 1")],
)
def test_optics_that_cannot_be_are_refused(values: dict[str, float], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Optics(**values)  # type: ignore[arg-type]


# the full way


@pytest.mark.slow
def test_a_simulated_sweep_becomes_the_height_map_of_the_known_surface(tmp_path: Path) -> None:
    """The usual simulated microscope, the proposed step: half of all pixels are right to 0.1 um of 16 um."""
    microscope = SimulatedMicroscope(sleep=lambda seconds: None)
    step = microscope.optics.proposed_step_um
    assert step is not None
    outcome, _ = swept(microscope, tmp_path / "scan.ome.tif", SweepPlan(0, 26, step))
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    result = estimate(stack, EstimateSettings())
    stack.close()
    error = result.depth - microscope.true_height_um
    known = np.isfinite(error)
    assert known.mean() > 0.99
    assert abs(np.median(error[known])) < 0.06  # bias
    assert np.median(np.abs(error[known])) < 0.1  # 1/25 of a step
    assert np.quantile(np.abs(error[known]), 0.9) < 0.5
    assert np.sqrt(np.mean(error[known] ** 2)) < 0.8  # the walls of the dome and the step are in it


def test_a_sweep_downwards_ends_with_the_same_file_but_for_the_play_of_the_gear(tmp_path: Path) -> None:
    up, down = small(backlash_um=0.0), small(backlash_um=0.0)
    first, _ = swept(up, tmp_path / "up.ome.tif")
    second, _ = swept(down, tmp_path / "down.ome.tif", replace(PLAN, downwards=True))
    assert first.path is not None
    assert second.path is not None
    a, b = open_stack(first.path), open_stack(second.path)
    assert_array_equal(a.positions.value, b.positions.value)
    for i in range(a.n):  # noise differs, the picture does not
        assert_allclose(a.read(i).astype(float).mean(), b.read(i).astype(float).mean(), rtol=0.01)
        difference = a.read(i).astype(float) - b.read(i)
        assert np.abs(difference).mean() < 0.03 * 65535


def test_all_slices_are_met_from_the_same_side(tmp_path: Path) -> None:
    class Recorded(SimulatedMicroscope):
        def move_to(self, z_um: float, timeout_s: float = 10.0) -> None:
            super().move_to(z_um, timeout_s)
            went.append((self._says, self._stands))

    went: list[tuple[float, float]] = []
    # coming from above, the gear has play to take up
    microscope = small(kind=Recorded, start_um=60.0, backlash_um=0.8)
    swept(microscope, tmp_path / "a.ome.tif")
    assert went[0] == (0.0, 0.8)  # one step below the first slice
    assert [says for says, _ in went[1:-1]] == [2, 4, 6, 8, 10, 12, 14]
    assert all(says == stands for says, stands in went[1:-1])


# what is written


def test_the_file_says_all_that_is_known(tmp_path: Path) -> None:
    microscope = small()
    outcome, _ = swept(microscope, tmp_path / "scan.ome.tif", replace(PLAN, exposure_ms=8.0))
    assert outcome.ended == "done"
    assert outcome.path == tmp_path / "scan.ome.tif"
    assert [path.name for path in tmp_path.iterdir()] == ["scan.ome.tif"]
    stack = open_stack(outcome.path)
    assert_allclose(stack.positions.value, PLAN.positions_um)
    assert stack.positions.origin == "OME PositionZ"
    assert stack.kind.value == "microscope"
    assert stack.pixel_um is not None
    assert (stack.pixel_um.value, stack.pixel_um.origin) == (0.5, "OME PhysicalSizeX")
    assert stack.notes == ()
    assert stack.source.dtype == np.uint16
    with tifffile.TiffFile(outcome.path) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "ZYX"
        assert tiff.series[0].shape == (7, 48, 64)
        about = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]
    image = about["Image"]
    assert about["Instrument"]["Objective"] == {
        "ID": "Objective:0",
        "Model": "simulated 20x/0.4",
        "LensNA": 0.4,
        "NominalMagnification": 20,
    }
    assert image["ObjectiveSettings"]["RefractiveIndex"] == 1
    plane = image["Pixels"]["Plane"][3]
    assert (plane["TheZ"], plane["PositionZ"], plane["PositionZUnit"]) == (3, 8, "µm")
    assert (plane["ExposureTime"], plane["ExposureTimeUnit"]) == (8, "ms")
    assert image["Pixels"]["SignificantBits"] == 16
    times = [plane["DeltaT"] for plane in image["Pixels"]["Plane"]]
    assert times == sorted(times)
    assert microscope.exposure_ms == 10.0  # as it was


def test_colour_of_eight_bits_is_kept(tmp_path: Path) -> None:
    class Colour(SimulatedMicroscope):
        def snap(self) -> Plane:
            return np.repeat(super().snap()[..., None], 3, axis=2)

    outcome, _ = swept(small(kind=Colour, bits=8), tmp_path / "colour.ome.tif")
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    assert (stack.source.channels, stack.source.dtype) == (3, np.uint8)
    assert_allclose(stack.positions.value, PLAN.positions_um)


def test_where_the_stage_says_it_is_counts_not_where_it_was_sent(tmp_path: Path) -> None:
    class Coarse(SimulatedMicroscope):
        def z_um(self) -> float:
            return super().z_um() + 0.1

    outcome, _ = swept(small(kind=Coarse), tmp_path / "a.ome.tif")
    assert outcome.path is not None
    assert_allclose(open_stack(outcome.path).positions.value, PLAN.positions_um + 0.1)


def test_each_slice_is_on_the_disk_before_the_next_is_taken(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(i: int, plane: Plane, z_um: float) -> None:
        folder = tmp_path / "a.slices"
        assert len(list(folder.glob("slice_*.tif"))) == i + 1
        if i >= 2:  # a stack of its own at any time
            stack = open_stack(folder)
            assert stack.n == i + 1
            assert_array_equal(stack.read(i), plane)
            assert stack.positions.value[i] == z_um
        seen.append(i)

    outcome, _ = swept(small(), tmp_path / "a.ome.tif", on_slice=look)
    assert outcome.notes == ()
    assert seen == list(range(7))


def test_depth_builds_up_while_it_runs(tmp_path: Path) -> None:
    growing, known = GrowingDepth(), []

    def look(i: int, plane: Plane, z_um: float) -> None:
        growing.add(plane, z_um)
        known.append(float(np.isfinite(growing.depth()).mean()))

    microscope = small()
    swept(microscope, tmp_path / "a.ome.tif", on_slice=look)
    assert known[1] == 0
    assert known[-1] > 0.9
    error = growing.depth() - microscope.true_height_um
    assert np.nanmedian(np.abs(error)) < 0.5


# stopping and going on


def test_aborting_brings_the_stage_back_and_keeps_the_slices(tmp_path: Path) -> None:
    microscope = small()
    outcome, _ = swept(microscope, tmp_path / "a.ome.tif", report=_raises_at("slice 4 "))
    assert (outcome.ended, outcome.taken, outcome.planned, outcome.path) == ("aborted", 3, 7, None)
    assert microscope.z_um() == 9.0
    assert outcome.text == "stopped: 3 of 7 slices are kept in a.slices. The stage is back at 9.0 µm."
    assert open_stack(tmp_path / "a.slices").n == 3


def _raises_at(words: str) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.text.startswith(words):
            raise Cancelled

    return report


def test_a_stopped_sweep_goes_on_where_it_was(tmp_path: Path) -> None:
    microscope = small()
    swept(microscope, tmp_path / "a.ome.tif", report=_raises_at("slice 4 "))
    before = {path.name: path.read_bytes() for path in (tmp_path / "a.slices").glob("slice_*.tif")}
    store = PlaneStore.open(tmp_path / "a.ome.tif")
    assert store.plan == PLAN
    assert store.missing == (3, 4, 5, 6)
    for name, content in before.items():
        assert (tmp_path / "a.slices" / name).read_bytes() == content
    frames = microscope.frames
    outcome = run_sweep(microscope, store)
    assert outcome.ended == "done"
    assert microscope.frames == frames + 4
    assert outcome.path is not None
    assert_allclose(open_stack(outcome.path).positions.value, PLAN.positions_um)


def test_a_pause_holds_the_sweep_and_can_be_ended_or_stopped(tmp_path: Path) -> None:
    switch, texts = PauseSwitch(), []

    def report(progress: Progress) -> None:
        texts.append(progress.text)
        if progress.text.startswith("slice 3 ") and not switch.is_paused and "paused" not in texts:
            switch.pause()
            threading.Timer(0.2, switch.resume).start()

    microscope = small()
    outcome, _ = swept(microscope, tmp_path / "a.ome.tif", report=switch.guard(report))
    assert outcome.ended == "done"
    assert "paused" in texts
    switch.pause()
    stopped, _ = swept(microscope, tmp_path / "b.ome.tif", report=switch.guard(_raises_at("paused")))
    assert (stopped.ended, stopped.taken) == ("aborted", 0)
    assert stopped.text == "stopped: no slice was taken yet. The stage was not moved."


def test_a_new_sweep_does_not_take_the_place_of_one_that_was_not_ended(tmp_path: Path) -> None:
    microscope = small()
    swept(microscope, tmp_path / "a.ome.tif", report=_raises_at("slice 4 "))
    with pytest.raises(OutputError, match="was not ended"):
        begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif")


def test_a_sweep_takes_the_place_of_no_file(tmp_path: Path) -> None:
    swept(small(), tmp_path / "a.ome.tif")
    content = (tmp_path / "a.ome.tif").read_bytes()
    with pytest.raises(OutputError, match=r"a\.ome\.tif is there already"):
        begin_sweep(small(), PLAN, tmp_path / "a.ome.tif")
    assert (tmp_path / "a.ome.tif").read_bytes() == content


def test_going_on_takes_the_place_of_no_file_either(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    swept(small(), path, report=_raises_at("slice 4 "))
    path.write_bytes(b"of somebody else")
    outcome = run_sweep(small(), PlaneStore.open(path))
    assert (outcome.ended, outcome.path) == ("fault", None)
    assert "a.ome.tif is there already and holds something else. Move it away" in outcome.text
    assert path.read_bytes() == b"of somebody else"
    assert outcome.taken == PLAN.n
    path.unlink()
    assert run_sweep(small(), PlaneStore.open(path)).ended == "done"


def test_a_folder_that_outlived_its_file_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the computer had gone off after the OME-TIFF was written."""
    path = tmp_path / "a.ome.tif"
    with monkeypatch.context() as patch:
        patch.setattr(PlaneStore, "discard", lambda self: None)
        swept(small(), path)
    content = path.read_bytes()
    assert run_sweep(small(), PlaneStore.open(path)).path == path
    assert path.read_bytes() == content
    assert not (tmp_path / "a.slices").exists()


def test_there_must_be_something_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"a\.slices does not exist\."):
        PlaneStore.open(tmp_path / "a.ome.tif")
    swept(small(), tmp_path / "a.ome.tif")
    with pytest.raises(CaptureError, match=r"a\.ome\.tif is there whole"):
        PlaneStore.open(tmp_path / "a.ome.tif")
    (tmp_path / "b.slices").mkdir()
    (tmp_path / "b.slices" / "capture.json").write_text("{")
    with pytest.raises(CaptureError, match="missing or damaged"):
        PlaneStore.open(tmp_path / "b.slices")
    with pytest.raises(OutputError, match=r"End|end in \.ome\.tif"):
        PlaneStore.open(tmp_path / "a.png")


# faults, one by one


def fault(tmp_path: Path, *faults: Fault, **how: Any) -> tuple[SimulatedMicroscope, SweepOutcome]:
    microscope = small(*faults)
    outcome, _ = swept(microscope, tmp_path / "a.ome.tif", **how)
    return microscope, outcome


def go_on(microscope: SimulatedMicroscope, tmp_path: Path) -> None:
    """Repair the microscope, go on, and find a whole sweep of true slices."""
    microscope.faults.clear()
    outcome = run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif"))
    assert outcome.ended == "done", outcome.text
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    assert_allclose(stack.positions.value, PLAN.positions_um)
    assert stack.source.shape == (48, 64)
    means = [stack.read(i).astype(float).mean() for i in range(stack.n)]
    assert len(set(means)) == stack.n
    assert microscope.z_um() == 9.0


def test_an_unplugged_camera_stops_the_sweep_and_loses_nothing(tmp_path: Path) -> None:
    microscope, outcome = fault(tmp_path, Fault("unplugged", 4))
    assert (outcome.ended, outcome.taken) == ("fault", 4)
    assert outcome.text == (
        "the camera does not answer: it may be unplugged. Look at its cable. 4 of 7 slices are kept in a.slices. "
        "The stage is back at 9.0 µm."
    )
    assert isinstance(outcome.error, CaptureError)
    assert microscope.z_um() == 9.0
    assert microscope.frames == 7  # it was asked three times
    go_on(microscope, tmp_path)


def test_a_lost_frame_is_exposed_again(tmp_path: Path) -> None:
    _, outcome = fault(tmp_path, Fault("lost_frame", 2, times=2))
    assert outcome.ended == "done"
    assert outcome.notes == ("slice 3 was exposed again: the camera sent no frame in time.",)


def test_a_slice_that_never_comes_stops_the_sweep(tmp_path: Path) -> None:
    microscope, outcome = fault(tmp_path, Fault("lost_frame", 2))
    assert (outcome.ended, outcome.taken) == ("fault", 2)
    go_on(microscope, tmp_path)


def test_the_frame_before_once_more_is_exposed_again(tmp_path: Path) -> None:
    _, outcome = fault(tmp_path, Fault("old_frame", 3, times=1))
    assert outcome.ended == "done"
    assert outcome.notes == ("slice 4 was exposed again: the camera sent the picture of the slice before.",)
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    assert not np.array_equal(stack.read(2), stack.read(3))


def test_a_camera_that_repeats_itself_is_told_of(tmp_path: Path) -> None:
    _, outcome = fault(tmp_path, Fault("old_frame", 3, times=3))
    assert outcome.ended == "done"
    assert outcome.notes[-1].startswith("slice 4 is pixel by pixel the picture of the slice before it")


def test_black_frames_may_be_alike(tmp_path: Path) -> None:
    class Dark(SimulatedMicroscope):
        def snap(self) -> Plane:
            return np.zeros_like(super().snap())

    outcome, _ = swept(small(kind=Dark), tmp_path / "a.ome.tif")
    assert outcome.notes == ()


def test_a_stage_that_does_not_arrive_stops_the_sweep_at_once(tmp_path: Path) -> None:
    microscope, outcome = fault(tmp_path, Fault("timeout", 4, times=1))
    assert (outcome.ended, outcome.taken) == ("fault", 3)
    assert isinstance(outcome.error, StageError)
    assert outcome.text.startswith("the stage did not arrive at 8 µm within 10 s. 3 of 7 slices are kept")
    go_on(microscope, tmp_path)


def test_a_stage_that_is_stuck_is_not_taken_at_its_word(tmp_path: Path) -> None:
    microscope, outcome = fault(tmp_path, Fault("stuck", 4))
    assert (outcome.ended, outcome.taken) == ("fault", 3)
    assert "was sent to 8.0 µm but says that it is at 6.0 µm" in outcome.text
    microscope.faults.clear()
    microscope.move_to(9.0)
    go_on(microscope, tmp_path)


def test_a_stage_that_cannot_come_back_is_told_of(tmp_path: Path) -> None:
    _, outcome = fault(tmp_path, Fault("timeout", 4))
    assert outcome.text.endswith(
        "The stage could not be brought back to 9.0 µm; it says 6.0 µm (the stage did not arrive at 9 µm within 10 s)."
    )


def test_a_camera_that_was_set_otherwise_between_two_slices_is_refused(tmp_path: Path) -> None:
    microscope, outcome = fault(tmp_path, Fault("other_shape", 5))
    assert (outcome.ended, outcome.taken) == ("fault", 5)
    assert "those before it of (48, 64), uint16" in outcome.text
    go_on(microscope, tmp_path)


def test_going_on_with_another_camera_is_refused(tmp_path: Path) -> None:
    microscope, _ = fault(tmp_path, Fault("unplugged", 4))
    microscope.faults[:] = [Fault("other_shape", 0)]
    outcome = run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif"))
    assert outcome.ended == "fault"
    assert "slice 5 is of shape (24, 32), uint16" in outcome.text


class FullDisk:
    """Files that find no room once ``room`` of them are written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room

        def fsync(descriptor: int) -> None:
            if self.room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.room -= 1

        monkeypatch.setattr(planes.os, "fsync", fsync)


def test_a_full_disk_stops_the_sweep_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch, room=1 + 2 * 3)  # the plan, and three slices with their list
    microscope, outcome = fault(tmp_path)
    assert (outcome.ended, outcome.taken) == ("fault", 3)
    assert isinstance(outcome.error, OutputError)
    assert "the disk is full. Free some space, or choose another disk. 3 of 7 slices are kept" in outcome.text
    assert not list((tmp_path / "a.slices").glob(".*"))  # no half file
    assert open_stack(tmp_path / "a.slices").n == 3
    disk.room = 10**6
    go_on(microscope, tmp_path)


def test_a_sweep_that_will_find_no_room_is_stopped_at_its_first_slice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 2**20})()
    monkeypatch.setattr(sweeping.shutil, "disk_usage", lambda path: usage)
    _, outcome = fault(tmp_path)
    assert (outcome.ended, outcome.taken) == ("fault", 0)
    assert outcome.text.startswith("the sweep needs 1 MB, and 1 MB are free on the disk of a.slices.")


def test_no_room_for_the_last_file_keeps_the_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*arguments: Any, **options: Any) -> None:
        raise OutputError("a.ome.tif cannot be written: the disk is full.")

    monkeypatch.setattr(planes, "write_ome_tiff", no_room)
    microscope, outcome = fault(tmp_path)
    assert (outcome.ended, outcome.taken) == ("fault", 7)
    monkeypatch.undo()
    frames = microscope.frames
    go_on(microscope, tmp_path)
    assert microscope.frames == frames  # nothing had to be taken again


def test_a_file_that_reads_back_otherwise_keeps_the_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = planes.write_ome_tiff

    def damaged(path: Path, *arguments: Any, **options: Any) -> None:
        true(path, *arguments, **options)
        with tifffile.TiffFile(path) as tiff:
            offset = tiff.pages[2].dataoffsets[0]
        file: IO[bytes]
        with path.open("r+b") as file:
            file.seek(offset + 100)
            file.write(b"\xff\x00\xff")

    monkeypatch.setattr(planes, "write_ome_tiff", damaged)
    _, outcome = fault(tmp_path)
    assert outcome.ended == "fault"
    assert "a.ome.tif does not read back as it was taken: slice 3 differs" in outcome.text
    assert outcome.taken == 7
    assert open_stack(tmp_path / "a.slices").n == 7


def test_a_slice_twice_is_kept_once_and_the_first_counts(tmp_path: Path) -> None:
    microscope = small()
    _, store = swept(microscope, tmp_path / "a.ome.tif", report=_raises_at("slice 4 "))
    first = store.read(1)
    store.add(1, np.zeros_like(first), replace(store.planes[1], z_um=99.0))
    assert_array_equal(store.read(1), first)
    assert store.planes[1].z_um == 4.0


def test_a_missing_or_damaged_slice_is_taken_again(tmp_path: Path) -> None:
    microscope, _ = fault(tmp_path, Fault("unplugged", 6))
    folder = tmp_path / "a.slices"
    (folder / "slice_0001.tif").unlink()
    content = bytearray((folder / "slice_0003.tif").read_bytes())
    content[-50] ^= 0xFF
    (folder / "slice_0003.tif").write_bytes(bytes(content))
    (folder / "slice_0004.tif").write_bytes(content[:100])
    store = PlaneStore.open(tmp_path / "a.ome.tif")
    assert store.missing == (1, 3, 4, 6)
    go_on(microscope, tmp_path)


def test_a_clock_that_jumps_does_not_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall goes back by a day in the middle, and again before the sweep goes on."""
    microscope = small()
    wall = {"now": 2_000_000_000.0}
    monkeypatch.setattr(time, "time", lambda: wall["now"])

    def look(i: int, plane: Plane, z_um: float) -> None:
        wall["now"] -= 86_400

    swept(microscope, tmp_path / "a.ome.tif", report=_raises_at("slice 5 "), on_slice=look)
    outcome = run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif"), on_slice=look)
    assert outcome.path is not None
    with tifffile.TiffFile(outcome.path) as tiff:
        found = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]["Pixels"]["Plane"]
    times = [plane["DeltaT"] for plane in found]
    assert times == sorted(times)
    assert times[-1] < 60
    assert_allclose([plane["PositionZ"] for plane in found], PLAN.positions_um)


def test_a_preview_that_fails_does_not_cost_the_sweep(tmp_path: Path) -> None:
    def broken(i: int, plane: Plane, z_um: float) -> None:
        raise MemoryError("no more")

    _, outcome = fault(tmp_path, on_slice=broken)
    assert outcome.ended == "done"
    assert outcome.notes == ("the preview stopped (MemoryError: no more); the sweep did not.",)


def test_a_closed_microscope_says_so(tmp_path: Path) -> None:
    microscope = small()
    microscope._light = OrderedDict()  # closing empties it
    microscope.close()
    outcome, _ = swept(microscope, tmp_path / "a.ome.tif")
    assert outcome.text == (
        "the stage is not connected. Connect the microscope first. No slice was taken yet. The stage was not moved."
    )


def test_files_of_the_user_in_the_folder_stay(tmp_path: Path) -> None:
    def look(i: int, plane: Plane, z_um: float) -> None:
        (tmp_path / "a.slices" / "my notes.txt").write_text("keep me")

    outcome, _ = swept(small(), tmp_path / "a.ome.tif", on_slice=look)
    assert outcome.ended == "done"
    assert [path.name for path in (tmp_path / "a.slices").iterdir()] == ["my notes.txt"]


def test_over_exposure_saturates_and_exposure_is_linear() -> None:
    microscope = small()
    means = []
    for exposure_ms in (2.0, 4.0, 200.0):
        microscope.set_exposure(exposure_ms)
        means.append(microscope.snap().mean())
    assert means[1] == pytest.approx(2 * means[0], rel=0.01)
    assert means[2] > 0.99 * microscope.white


def test_the_folder_of_slices_names_its_plan(tmp_path: Path) -> None:
    fault(tmp_path, Fault("unplugged", 3))
    content = json.loads((tmp_path / "a.slices" / "capture.json").read_text())
    assert content["target"] == "a.ome.tif"
    assert content["plan"]["top_um"] == 14.0
    assert content["microscope"]["optics"]["na"] == 0.4

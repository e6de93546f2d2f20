"""Microscopes that Micro-Manager drives: a stand-in for its core, and the real core where the extra is installed."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from dffnets.extras import install_line
from toposcope.core.capture import (
    Fault,
    MicroManagerMicroscope,
    Microscope,
    PlaneStore,
    SimulatedMicroscope,
    SweepPlan,
    begin_sweep,
    planes,
    run_sweep,
    simulated_devices,
)
from toposcope.core.capture.simulated import relief
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.source import OpenOptions, open_stack
from toposcope.errors import CaptureError, MissingPartError, StageError

SCENE = relief(height=48, width=64, low_um=4, high_um=12)
LIGHT: OrderedDict[int, Any] = OrderedDict()
PLAN = SweepPlan(2.0, 14.0, 2.0)
CONFIGURATION = """\
# the simulated microscope, by Micro-Manager
#py pyDevice,Camera,toposcope.core.capture.simulated_devices,SimulatedCamera
#py pyDevice,Z,toposcope.core.capture.simulated_devices,SimulatedStage
Property,Core,Initialize,1
#py Property,Core,Camera,Camera
#py Property,Core,Focus,Z
"""
has_extra = pytest.mark.skipif(
    importlib.util.find_spec("pymmcore_plus") is None, reason='needs the extra: pip install "toposcope[capture]"'
)


def simulated(*faults: Fault) -> SimulatedMicroscope:
    microscope = SimulatedMicroscope(SCENE, start_um=9.0, faults=list(faults), sleep=lambda seconds: None)
    microscope._light = OrderedDict(LIGHT)
    return microscope


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes.os, "fsync", lambda descriptor: None)


class Core:
    """What a core of pymmcore-plus does for us, over the simulated microscope; every call may be told to fail."""

    def __init__(self, *faults: Fault) -> None:
        self.inner = simulated(*faults)
        self.fails: dict[str, Exception] = {}
        self.camera, self.stage, self.shutter = "Cam", "Z", ""
        self.shuts = True
        self.timeout_ms = 0
        self.unloaded = 0
        self.bits = 16
        self.direction = 0
        self.pixel_um = 0.5
        self._frame: Any = None

    def __getattribute__(self, name: str) -> Any:
        fails = object.__getattribute__(self, "__dict__").get("fails", {})
        if name in fails:
            raise fails[name]
        return object.__getattribute__(self, name)

    def getCameraDevice(self) -> str:
        return self.camera

    def getFocusDevice(self) -> str:
        return self.stage

    def getShutterDevice(self) -> str:
        return self.shutter

    def setAutoShutter(self, on: bool) -> None:
        self.shuts = on

    def getPixelSizeUm(self) -> float:
        return self.pixel_um

    def getCurrentPixelSizeConfig(self) -> str:
        return "20x"

    def getFocusDirection(self, stage: str) -> int:
        return self.direction

    def getExposure(self) -> float:
        return self.inner.exposure_ms

    def setExposure(self, exposure_ms: float) -> None:
        self.inner.set_exposure(exposure_ms)

    def getImageBitDepth(self) -> int:
        return self.bits

    def getPosition(self, stage: str) -> float:
        assert stage == self.stage
        return self.inner.z_um()

    def setTimeoutMs(self, timeout_ms: int) -> None:
        self.timeout_ms = timeout_ms

    def setPosition(self, stage: str, z_um: float) -> None:
        self.inner.move_to(z_um)

    def waitForDevice(self, stage: str) -> None:
        pass

    def snapImage(self) -> None:
        self._frame = self.inner.snap()

    def getImage(self) -> Any:
        return self._frame

    def unloadAllDevices(self) -> None:
        self.unloaded += 1


def protocol_of(microscope: Microscope) -> Microscope:
    """Let the type checker see that it is one."""
    return microscope


def test_a_core_is_a_microscope(tmp_path: Path) -> None:
    core = Core()
    microscope = protocol_of(MicroManagerMicroscope(core, "Stand"))
    assert (microscope.name, microscope.white, microscope.exposure_ms) == ("Stand", 65535, 10.0)
    assert (microscope.optics.pixel_um, microscope.optics.objective, microscope.optics.na) == (0.5, "20x", None)
    assert microscope.z_limits_um is None
    assert core.shuts is False  # there is none
    outcome = run_sweep(microscope, begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif"))
    assert outcome.ended == "done", outcome.text
    assert core.timeout_ms == 10_000
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    assert_allclose(stack.positions.value, PLAN.positions_um)
    microscope.close()
    microscope.close()
    assert core.unloaded == 1
    LIGHT.update(core.inner._light)


@pytest.mark.parametrize(("direction", "near"), [(1, "low"), (-1, "high"), (0, None)])
def test_which_way_is_up_goes_into_the_file(tmp_path: Path, direction: int, near: str | None) -> None:
    """Direction 1: greater z brings objective and object together, so that lower parts come into focus."""
    core = Core()
    core.direction = direction
    microscope = MicroManagerMicroscope(core)
    assert microscope.near == near
    seen: list[str] = []

    def look(i: int, plane: Any, z_um: float) -> None:
        if i == 3:
            seen.append(open_stack(tmp_path / "a.slices").near.value)

    outcome = run_sweep(microscope, begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif"), on_slice=look)
    assert outcome.path is not None
    stack = open_stack(outcome.path)
    assert [stack.near.value, *seen] == [near or "high"] * 2
    assert stack.near.origin == ("OME note of the capture" if near else "kind of the stack")
    assert open_stack(outcome.path, OpenOptions(near="high")).near.value == "high"
    assert open_stack(outcome.path, OpenOptions(z_step=1.0, unit="um")).near.origin == "kind of the stack"


def test_a_shutter_is_left_as_it_is_configured() -> None:
    core = Core()
    core.shutter = "Lamp"
    MicroManagerMicroscope(core)
    assert core.shuts is True


@pytest.mark.parametrize(
    ("field", "words"), [("camera", "has no camera. Let its configuration"), ("stage", "has no focus stage")]
)
def test_a_configuration_without_camera_or_stage_is_refused(field: str, words: str) -> None:
    core = Core()
    setattr(core, field, "")
    with pytest.raises(CaptureError, match=words):
        MicroManagerMicroscope(core)


def test_a_camera_of_twelve_bits_has_its_own_white_and_colour_loses_alpha() -> None:
    core = Core()
    core.bits = 12
    microscope = MicroManagerMicroscope(core)
    assert microscope.white == 4095
    microscope.snap()
    core.snapImage = lambda: None  # type: ignore[method-assign]
    core._frame = np.dstack([np.full((4, 5), k, np.uint8) for k in range(4)])
    assert microscope.snap()[0, 0].tolist() == [0, 1, 2]


def test_an_unknown_pixel_size_stays_unknown() -> None:
    core = Core()
    core.pixel_um = 0.0
    assert MicroManagerMicroscope(core).optics.pixel_um is None


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        ("snapImage", CaptureError, "the camera does not answer as it should: USB device is gone"),
        ("getImage", CaptureError, "the camera does not answer"),
        ("setPosition", StageError, "the stage does not answer"),
        ("waitForDevice", StageError, "the stage does not answer"),
        ("getPosition", StageError, "the stage does not answer"),
    ],
)
def test_whatever_a_driver_raises_is_a_sentence_and_the_slices_are_kept(
    tmp_path: Path, call: str, kind: type[Exception], words: str
) -> None:
    core = Core()
    microscope = MicroManagerMicroscope(core)
    store = begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif")

    def unplug(i: int, plane: Any, z_um: float) -> None:
        if i == 2:
            core.fails[call] = RuntimeError("Error in device Cam\n(-5)\n  USB device is gone.")

    outcome = run_sweep(microscope, store, on_slice=unplug)
    assert outcome.ended == "fault"
    assert type(outcome.error) is kind
    assert words in outcome.text
    assert "3 of 7 slices are kept in a.slices" in outcome.text
    core.fails.clear()
    again = run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif"))
    assert again.ended == "done"


def test_a_missing_extra_is_one_sentence_that_names_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = tmp_path / "sim.cfg"
    configuration.write_text(CONFIGURATION)
    monkeypatch.setitem(sys.modules, "pymmcore_plus", None)
    monkeypatch.setitem(sys.modules, "pymmcore_plus.experimental.unicore", None)
    with pytest.raises(MissingPartError, match=re.escape(install_line("capture"))):
        MicroManagerMicroscope.load(configuration)


def test_a_configuration_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="does not exist"):
        MicroManagerMicroscope.load(tmp_path / "none.cfg")


# the real core


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYMM_LOG_FILE", "0")
    monkeypatch.setattr(simulated_devices, "shared", simulated())
    path = tmp_path / "sim.cfg"
    path.write_text(CONFIGURATION)
    return path


def shared() -> SimulatedMicroscope:
    assert simulated_devices.shared is not None
    return simulated_devices.shared


@has_extra
def test_a_sweep_through_micro_manager_becomes_a_height_map(configuration: Path, tmp_path: Path) -> None:
    microscope = MicroManagerMicroscope.load(configuration)
    try:
        assert microscope.name == "Micro-Manager, sim.cfg"
        assert microscope.white == 65535
        outcome = run_sweep(microscope, begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif"))
    finally:
        microscope.close()
    assert outcome.ended == "done", outcome.text
    assert outcome.path is not None
    assert shared().z_um() == 9.0
    stack = open_stack(outcome.path)
    assert_allclose(stack.positions.value, PLAN.positions_um)
    result = estimate(stack, EstimateSettings())
    error = result.depth - shared().true_height_um
    assert np.nanmedian(np.abs(error)) < 0.25  # of 8 um, in steps of 2


@has_extra
def test_faults_come_through_the_real_core(configuration: Path, tmp_path: Path) -> None:
    microscope = MicroManagerMicroscope.load(configuration)
    try:
        shared().faults.append(Fault("unplugged", 3))
        outcome = run_sweep(microscope, begin_sweep(microscope, PLAN, tmp_path / "a.ome.tif"))
        assert (outcome.ended, outcome.taken) == ("fault", 3)
        assert "it may be unplugged" in outcome.text
        shared().faults[:] = [Fault("timeout", shared().moves + 2, times=1)]
        outcome = run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif"))
        assert (outcome.ended, outcome.taken) == ("fault", 4)
        assert isinstance(outcome.error, StageError)
        assert "The stage is back at 9.0 µm." in outcome.text
        shared().faults.clear()
        assert run_sweep(microscope, PlaneStore.open(tmp_path / "a.ome.tif")).ended == "done"
    finally:
        microscope.close()


@has_extra
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#py pyDevice,Camera,no.such.module,Camera", "cannot be loaded"),
        ("Device,Camera,DemoCamera,DCam", "cannot be loaded"),
        ("# nothing", "has no camera"),
    ],
)
def test_a_configuration_that_cannot_be_loaded_says_why(configuration: Path, line: str, words: str) -> None:
    configuration.write_text(f"{line}\n")
    with pytest.raises(CaptureError, match=words):
        MicroManagerMicroscope.load(configuration)

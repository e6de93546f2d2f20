"""`toposcope capture`, as a script meets it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

from command_runs import Run, sentence
from dffnets.extras import install_line
from toposcope.core import capture
from toposcope.core.capture import Fault, SimulatedMicroscope, planes
from toposcope.core.capture.simulated import relief
from toposcope.core.source import open_stack

SCENE = relief(height=48, width=64, low_um=4, high_um=12)
SWEEP = ("--bottom", "2", "--top", "14um", "--step", "0.002mm")


@pytest.fixture(autouse=True)
def microscopes(monkeypatch: pytest.MonkeyPatch) -> list[SimulatedMicroscope]:
    """Let the command use small microscopes that wait for nothing; the list holds them, and faults for the next."""
    made: list[SimulatedMicroscope] = []

    def small() -> SimulatedMicroscope:
        microscope = SimulatedMicroscope(SCENE, start_um=9.0, sleep=lambda seconds: None)
        made.append(microscope)
        return microscope

    monkeypatch.setattr(planes.os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(capture, "SimulatedMicroscope", small)
    return made


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    def choose(fault: Fault) -> None:
        monkeypatch.setattr(
            capture,
            "SimulatedMicroscope",
            lambda: SimulatedMicroscope(SCENE, start_um=9.0, faults=[fault], sleep=lambda seconds: None),
        )

    return choose


def test_a_sweep_becomes_a_stack_and_its_depth(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "scan.ome.tif"
    done = run("capture", "--simulated", "-o", path, *SWEEP, "--depth", "sml", "--exposure", "8")
    assert done.code == 0, done.err
    assert done.out.startswith("7 slices from 2 to 14 µm are in scan.ome.tif. The stage is back at 9.0 µm.")
    assert_allclose(open_stack(path).positions.value, [2, 4, 6, 8, 10, 12, 14])
    assert (tmp_path / "scan-depth" / "depth.tif").is_file()
    assert not (tmp_path / "scan.slices").exists()


def test_machines_get_json(run: Run, tmp_path: Path) -> None:
    done = run("capture", "--simulated", "-o", tmp_path / "a.ome.tif", *SWEEP, "--json")
    facts = done.facts
    assert facts.pop("proposal").keys() == {"reasons", "bottom_um", "top_um", "step_um", "exposure_ms"}
    assert facts == {"path": str(tmp_path / "a.ome.tif"), "slices": 7, "notes": []}


def test_a_better_sweep_is_proposed_with_reasons(run: Run, tmp_path: Path) -> None:
    arguments = ("--bottom", "8", "--top", "16", "--step", "1.5", "--exposure", "40")
    done = run("capture", "--simulated", "-o", tmp_path / "a.ome.tif", *arguments)
    assert done.code == 0
    assert "the surface goes on below it. Put the bottom at" in done.out
    assert "white: no texture is left there. Expose 10 ms instead of 40 ms" in done.out
    assert "\nProposed: " in done.out


def test_the_step_is_proposed_from_the_depth_of_field(run: Run, tmp_path: Path) -> None:
    done = run("capture", "--simulated", "-o", tmp_path / "a.tif", "--bottom", "4", "--top", "12", "--na", "0.25")
    assert done.code == 0, done.err
    # (0.55 / 0.25² + 0.5 / 0.25) / 2 = 5.4: more than half the range
    assert_allclose(open_stack(tmp_path / "a.tif").positions.value, [4, 8, 12])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--top", "3"), 2, "give --top and --bottom"),
        (("--top", "3", "--bottom", "9", "--step", "1"), 2, "Exchange the two"),
        (("--top", "300", "--bottom", "9", "--step", "1"), 2, "leaves the range of the stage, -100 to 200 µm"),
        ((*SWEEP, "--na", "1.4"), 2, "refractive index above it"),
        ((*SWEEP, "--depth", "magic"), 2, "there is no method 'magic'"),
        ((*SWEEP, "--resume"), 2, "leave --top out"),
        (("--resume",), 1, "a.slices does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = run("capture", "--simulated", "-o", tmp_path / "a.ome.tif", *arguments)
    assert done.code == code
    assert words in sentence(done)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "words"), [("a.png", "names no TIFF"), ("missing/a.ome.tif", "does not exist"), ("x", "names no TIFF")]
)
def test_where_nothing_can_be_written_nothing_moves(
    run: Run, tmp_path: Path, name: str, words: str, microscopes: list[SimulatedMicroscope]
) -> None:
    done = run("capture", "--simulated", "-o", tmp_path / name, *SWEEP)
    assert done.code == 1
    assert words in sentence(done)
    assert microscopes == []


def test_a_microscope_must_be_named(run: Run, tmp_path: Path) -> None:
    assert run("capture", "-o", tmp_path / "a.ome.tif", *SWEEP).code == 2


def test_a_fault_is_one_sentence_and_the_sweep_goes_on(
    run: Run, tmp_path: Path, failing: Callable[[Fault], None]
) -> None:
    path = tmp_path / "a.ome.tif"
    failing(Fault("unplugged", 4))
    done = run("capture", "--simulated", "-o", path, *SWEEP, "-q")
    assert done.code == 1
    assert sentence(done) == (
        "the camera does not answer: it may be unplugged. Look at its cable. 4 of 7 slices are kept in a.slices. "
        "The stage is back at 9.0 µm. Go on with --resume."
    )
    again = run("capture", "--simulated", "-o", path, *SWEEP, "-q")
    assert again.code == 1
    assert "was not ended. Go on with it, or move or delete that folder first. (--resume)" in sentence(again)
    failing(Fault("unplugged", 10**6))
    assert run("capture", "--simulated", "-o", tmp_path / "a.slices", "--resume").code == 0
    assert open_stack(path).n == 7


def test_micro_manager_needs_its_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymmcore_plus.experimental.unicore", None)
    configuration = tmp_path / "stand.cfg"
    arguments = ("capture", "--config", configuration, "-o", tmp_path / "a.ome.tif", *SWEEP)
    assert "does not exist" in sentence(run(*arguments))
    configuration.write_text("# empty")
    done = run(*arguments)
    assert done.code == 1
    assert sentence(done) == (
        "microscopes that Micro-Manager drives need an optional part; the simulated microscope works without. "
        f"Type: {install_line('capture')}"
    )
    assert run(*arguments, "--simulated").code == 2


def test_control_c_stops_the_sweep_and_brings_the_stage_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[SimulatedMicroscope] = []

    class Interrupted(SimulatedMicroscope):
        def snap(self) -> Any:
            if self.frames == 2:
                signal.raise_signal(signal.SIGINT)
            return super().snap()

    def small() -> SimulatedMicroscope:
        made.append(Interrupted(SCENE, start_um=9.0, sleep=lambda seconds: None))
        return made[-1]

    monkeypatch.setattr(capture, "SimulatedMicroscope", small)
    done = run("capture", "--simulated", "-o", tmp_path / "a.ome.tif", *SWEEP, "-q")
    assert done.code == 130
    assert sentence(done) == (
        "stopped: 3 of 7 slices are kept in a.slices. The stage is back at 9.0 µm. Go on with --resume."
    )
    assert made[0]._says == 9.0
    assert made[0]._closed

"""Projects of the window on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_runs import Run, write_frames
from toposcope import cli
from toposcope.core.editing import CalibrationEdit
from toposcope.core.export import write_result
from toposcope.core.marks import Line, Marks, Pin
from toposcope.core.project import Project, write_project
from toposcope.core.surface import Area, SurfaceSettings
from window_fakes import make_result, make_stack


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a project of seven slices of a tilted plane, 4 µm apart, the last of them left out."""
    folder = write_frames(tmp_path / "scan")
    project = Project(
        (folder,),
        edit=CalibrationEdit(tuple(np.arange(7) * 4.0), "um", pixel_um=0.5),
        left_out=("z6.png",),
        method="tenengrad",
        options={"window": 5},
        align="none",
        pins=(Pin(1, 10, 12, 0), Pin(3, 20, 30, 2)),
    )
    write_project(project, tmp_path / "work.toposcope")
    return tmp_path / "work.toposcope"


def test_what_a_project_is(run: Run, work: Path) -> None:
    done = run("info", work)
    assert done.code == cli.DONE
    lines = done.out.splitlines()
    assert lines[:3] == [
        f"project     {work}",
        "method      tenengrad",
        "with        2 pins, 1 frame left out, calibration",
    ]
    assert any("0 to 20 µm" in line and "typed in" in line for line in lines)
    assert run("info", work, "--json").facts["project"]["method"] == "tenengrad"


def test_a_project_is_computed_as_the_window_would(run: Run, work: Path, tmp_path: Path) -> None:
    done = run("depth", work, "-o", tmp_path / "out")
    assert done.code == cli.DONE
    facts = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert facts["provenance"]["method"] == "tenengrad"
    assert facts["provenance"]["settings"] | {"window": 5, "align": "none"} == facts["provenance"]["settings"]
    assert len(facts["provenance"]["frames"]) == 6
    assert facts["calibration"]["pixel_um"]["value"] == 0.5


def test_options_win_over_the_project(run: Run, work: Path, tmp_path: Path) -> None:
    options = ("--z-step", "2um", "--pixel-size", "1um", "--set", "window=7", "--align", "auto")
    assert run("depth", work, "-o", tmp_path / "out", *options).code == cli.DONE
    facts = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert facts["calibration"]["positions"]["value"] == [0, 2, 4, 6, 8, 10]
    assert facts["calibration"]["pixel_um"]["value"] == 1
    assert facts["provenance"]["settings"]["window"] == 7
    assert facts["provenance"]["settings"]["align"] == "auto"
    assert run("depth", work, "-o", tmp_path / "sml", "--method", "sml").code == cli.DONE
    settings = json.loads((tmp_path / "sml" / "result.json").read_text("utf-8"))["provenance"]["settings"]
    assert settings["window"] == 9, "settings of another method are its own"


def test_curves_of_the_pins_of_a_project(run: Run, work: Path) -> None:
    done = run("curve", work)
    assert done.code == cli.DONE
    assert "# row 10, column 12: " in done.out
    assert "# row 20, column 30: " in done.out
    assert "# row 20" not in run("curve", work, "--at", "10,12").out
    bare = run("curve", work.parent / "scan")
    assert bare.code == cli.USAGE
    assert "Give one with --at ROW,COL" in bare.err


def test_a_project_whose_frames_are_gone(run: Run, work: Path, tmp_path: Path) -> None:
    (tmp_path / "scan").rename(tmp_path / "elsewhere")
    done = run("depth", work, "-o", tmp_path / "out")
    assert done.code == cli.FAILED
    assert "is gone, which work.toposcope was made on" in done.err
    assert not (tmp_path / "out").exists()


def test_results_are_measured_like_a_project(run: Run, tmp_path: Path) -> None:
    write_result(make_result(make_stack()), tmp_path / "one")
    marks = Marks(
        (Line(2, (10.0, 5.0), (10.0, 55.0), 1),), Area(5, 5, 40, 60), (Area(6, 6, 9, 9), Area(20, 30, 26, 36))
    )
    made = Project((tmp_path / "scan",), marks=marks, profile_width=3, surface=SurfaceSettings("none"))
    write_project(made, tmp_path / "work.toposcope")
    done = run("measure", tmp_path / "one", "--like", tmp_path / "work.toposcope", "-o", tmp_path / "out")
    assert done.code == cli.DONE
    facts = json.loads((tmp_path / "out" / "measure.json").read_text("utf-8"))
    assert facts["area"] == {"top": 5, "left": 5, "bottom": 40, "right": 60}
    assert facts["settings"]["form"] == "none"
    assert (tmp_path / "out" / "profile_2.csv").exists()
    assert "step 1 " in done.out
    typed = run(
        *("measure", tmp_path / "one", "--like", tmp_path / "work.toposcope", "--form", "plane"),
        *("--profile", "3,3:3,30", "--area", "2,2:40,50", "-o", tmp_path / "typed"),
    )
    assert typed.code == cli.DONE
    facts = json.loads((tmp_path / "typed" / "measure.json").read_text("utf-8"))
    assert facts["area"] == {"top": 2, "left": 2, "bottom": 41, "right": 51}
    assert facts["settings"]["form"] == "plane"
    assert sorted(path.name for path in (tmp_path / "typed").glob("profile*")) == ["profile_1.csv"]

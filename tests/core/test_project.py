"""Projects: written, moved, damaged, and opened to the same depth again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_runs import write_frames
from toposcope.core.editing import CalibrationEdit
from toposcope.core.estimate import estimate
from toposcope.core.marks import Line, Marks, Pin
from toposcope.core.project import Project, View, check_alone, is_project, open_project, read_project, write_project
from toposcope.core.source import OpenOptions
from toposcope.core.surface import Area, SurfaceSettings
from toposcope.errors import CalibrationError, MissingStackError, SettingsError, StackError

FULL = Project(
    (Path("/data/scan"),),
    OpenOptions(order="time", skip=("broken.png", 3), channel=1),
    CalibrationEdit((0.0, 2.5, 7.5), "um", "microscope", "high", 0.0),
    ("b.png",),
    "sml",
    {"window": 5},
    "none",
    Path("/data/own.safetensors"),
    (Pin(2, 10, 20, 1),),
    Marks((Line(1, (0.5, 1.0), (3.0, 4.25), 0),), Area(0, 1, 5, 9), (Area(1, 1, 2, 2), Area(3, 3, 4, 4))),
    9,
    SurfaceSettings("quadratic", 1.5, 80.0, True),
    View("all_in_focus", 4, "magma", {"depth": (1.0, 2.5)}),
)


@pytest.mark.parametrize(
    "project", [FULL, Project((Path("/data/größe \udcff"),)), Project((Path("/a.png"), Path("/b.png")))]
)
def test_a_project_is_read_back_whole(tmp_path: Path, project: Project) -> None:
    write_project(project, tmp_path / "work.toposcope")
    assert read_project(tmp_path / "work.toposcope") == project


def test_a_plain_project_holds_little(tmp_path: Path) -> None:
    write_project(Project((tmp_path / "scan",)), tmp_path / "work.toposcope")
    told = json.loads((tmp_path / "work.toposcope").read_text("utf-8"))
    assert told.keys() == {"toposcope", "layout", "paths", "beside"}
    assert told["beside"] == ["scan"]


def test_project_and_frames_can_move_together(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "here" / "data" / "scan")
    (tmp_path / "here" / "work").mkdir()
    write_project(Project((stack,)), tmp_path / "here" / "work" / "a.toposcope")
    os.rename(tmp_path / "here", tmp_path / "there")
    moved = read_project(tmp_path / "there" / "work" / "a.toposcope")
    assert moved.paths == (tmp_path / "there" / "data" / "scan",)


def test_a_project_that_moved_alone_finds_its_frames(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "scan")
    write_project(Project((stack,)), tmp_path / "a.toposcope")
    (tmp_path / "deep" / "down").mkdir(parents=True)
    os.rename(tmp_path / "a.toposcope", tmp_path / "deep" / "down" / "a.toposcope")
    assert read_project(tmp_path / "deep" / "down" / "a.toposcope").paths == (stack,)


def test_a_project_computes_the_same_again(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "scan")
    edit = CalibrationEdit(tuple(np.arange(7) * 4.0), "um", pixel_um=0.5)
    made = Project((stack,), edit=edit, left_out=("z6.png",), method="tenengrad", options={"window": 5}, align="none")
    write_project(made, tmp_path / "a.toposcope")
    project, opened = open_project(tmp_path / "a.toposcope")
    assert opened.n == 6
    assert opened.pixel_um is not None
    assert (opened.pixel_um.value, opened.pixel_um.origin) == (0.5, "typed in")
    result = estimate(opened, project.settings())
    assert result.provenance.method == "tenengrad"
    assert result.provenance.settings["window"] == 5
    assert result.provenance.settings["align"] == "none"
    assert 0 <= np.nanmin(result.depth) <= np.nanmax(result.depth) <= 20


def test_typed_positions_find_their_frames_when_one_is_gone(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "scan")
    names = tuple(f"z{i}.png" for i in range(7))
    edit = CalibrationEdit((0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0), "um")
    write_project(Project((stack,), edit=edit, frames=names), tmp_path / "a.toposcope")
    (stack / "z3.png").unlink()
    _, opened = open_project(tmp_path / "a.toposcope")
    np.testing.assert_array_equal(opened.positions.value, [0, 1, 2, 8, 16, 32])


def test_the_right_frame_is_left_out_where_typed_positions_turn_the_stack(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "scan")
    edit = CalibrationEdit((7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0), "um")
    write_project(Project((stack,), edit=edit, left_out=("z0.png",)), tmp_path / "a.toposcope")
    _, opened = open_project(tmp_path / "a.toposcope")
    assert opened.source.names == ("z6.png", "z5.png", "z4.png", "z3.png", "z2.png", "z1.png")


def test_a_folder_is_no_project(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="is a folder"):
        read_project(tmp_path)


@pytest.mark.parametrize(("typed", "expected"), [("um", 0.016), (None, 16.0)])
def test_typed_positions_are_told_in_the_unit_that_is_wished(tmp_path: Path, typed: Any, expected: float) -> None:
    stack = write_frames(tmp_path / "scan")
    edit = CalibrationEdit(tuple(np.arange(7) * 4.0), typed, near="low")
    write_project(Project((stack,), edit=edit, left_out=("z5.png", "z6.png")), tmp_path / "a.toposcope")
    _, opened = open_project(tmp_path / "a.toposcope", wished=OpenOptions(unit="mm"))
    assert (opened.unit, opened.near.value, opened.n) == ("mm", "low", 5)
    assert opened.positions.value[-1] == pytest.approx(expected)
    assert opened.positions.origin == "typed in"
    _, plain = open_project(tmp_path / "a.toposcope", wished=OpenOptions(unit="index"))
    assert plain.positions.origin != "typed in"


def test_missing_frames_are_named(tmp_path: Path) -> None:
    write_project(Project((tmp_path / "gone",)), tmp_path / "a.toposcope")
    with pytest.raises(MissingStackError, match=r"gone, which a\.toposcope was made on") as caught:
        open_project(tmp_path / "a.toposcope")
    assert caught.value.path == tmp_path / "gone"


def test_typed_positions_of_other_frames_are_refused(tmp_path: Path) -> None:
    stack = write_frames(tmp_path / "scan")
    write_project(Project((stack,), edit=CalibrationEdit((0.0, 1.0, 2.0), "um")), tmp_path / "a.toposcope")
    with pytest.raises(CalibrationError, match="7 frames but 3 focus positions"):
        open_project(tmp_path / "a.toposcope")


def test_an_unknown_method_is_told_when_it_is_asked_for(tmp_path: Path) -> None:
    write_project(Project((write_frames(tmp_path / "scan"),), method="mine"), tmp_path / "a.toposcope")
    project, _ = open_project(tmp_path / "a.toposcope")
    with pytest.raises(SettingsError, match="no method 'mine'"):
        project.settings()


def change(**entries: Any) -> Callable[[dict[str, Any]], None]:
    return lambda told: told.update(entries)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (change(layout=2), "newer Toposcope"),
        (change(layout="x"), "layout is 'x' where a whole number belongs"),
        (
            change(pins=[{"number": 1, "row": 2.5, "column": 3, "colour": 0}]),
            "row is 2.5 where a whole number",
        ),
        (change(pins=[{"number": 1, "row": 2, "column": 3}]), "entry 1 lacks 'colour'"),
        (change(pins="all"), "pins is 'all' where a list belongs"),
        (change(marks={"area": [1, 2]}), r"area is \[1, 2\] where named entries belong"),
        (change(align="perhaps"), "align is 'perhaps', not one of auto, learned, none"),
        (change(wish=1), "unknown entry 'wish'"),
        (change(profile_width=10**400), "damaged"),
        (change(paths=[]), "names no frames"),
        (change(paths=[""]), "entry 1 is '' where a path belongs"),
        (change(view={"ranges": {"depth": [1]}}), "ranges, depth has 1 entries, not 2"),
        (change(view={"ranges": {"depth": [1, float("nan")]}}), "entry 2 is nan where a number belongs"),
        (lambda told: told.pop("layout"), "no project of Toposcope"),
    ],
)
def test_damaged_projects_get_one_sentence(tmp_path: Path, damage: Callable[[dict[str, Any]], None], text: str) -> None:
    path = tmp_path / "a.toposcope"
    write_project(FULL, path)
    told = json.loads(path.read_text("utf-8"))
    damage(told)
    path.write_text(json.dumps(told), "utf-8")
    with pytest.raises(StackError, match=text):
        read_project(path)


def test_a_measurement_out_of_range_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toposcope"
    write_project(replace(FULL, surface=SurfaceSettings(s_um=-1.0)), path)
    with pytest.raises(SettingsError, match="s_um is -1"):
        read_project(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'])
def test_other_files_are_no_projects(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.toposcope"
    path.write_bytes(content)
    with pytest.raises(StackError, match="no project of Toposcope"):
        read_project(path)


def test_projects_are_known_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "folder.toposcope").mkdir()
    assert is_project(tmp_path / "Work.TOPOSCOPE")
    assert not is_project(tmp_path / "folder.toposcope")
    assert not is_project(tmp_path / "stack.tif")
    with pytest.raises(StackError, match="does not exist"):
        read_project(tmp_path / "none.toposcope")


def test_a_project_is_no_frame_of_a_stack(tmp_path: Path) -> None:
    check_alone([tmp_path / "work.toposcope"])
    check_alone([tmp_path / "a.tif", tmp_path / "b.tif"])
    with pytest.raises(StackError, match=r"work\.toposcope is a project, which is no frame of a stack"):
        check_alone([tmp_path / "a.tif", tmp_path / "work.toposcope"])

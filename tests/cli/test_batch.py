"""`toposcope batch`: table, exit codes, going on, --like, formats, and Ctrl-C."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_runs import Run, sentence, write_stack
from scenes import tilted_plane
from toposcope import cli
from toposcope.core.editing import CalibrationEdit
from toposcope.core.export import read_result
from toposcope.core.project import Project, write_project

QUICK = ("--method", "sml", "--align", "none")


@pytest.fixture
def stacks(tmp_path: Path) -> list[Path]:
    scene = tilted_plane(n=5, size=48)
    (tmp_path / "in").mkdir()
    return [write_stack(scene, tmp_path / "in" / f"scan_{k}") for k in (1, 2, 3)]


def test_table_is_printed_and_written(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("batch", tmp_path / "in", "-o", out, *QUICK, "--to", "stl", "--pictures", "--image", "jpg")
    assert done.code == cli.DONE, done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["stack", "state", "seconds", "voids", "depth,", "or", "what", "went", "wrong"]
    assert [line.split()[:2] for line in lines[1:4]] == [[f"scan_{k}", "done"] for k in (1, 2, 3)]
    assert lines[1].endswith(" µm")
    assert lines[4:] == ["stacks      3 done", f"written     {out / 'batch.csv'}"]
    names = {path.name for path in (out / "scan_2").iterdir()}
    assert {"depth.tif", "all_in_focus.jpg", "result.json", "surface.stl", "depth.png", "surface_3d.png"} <= names
    rows = list(csv.DictReader((out / "batch.csv").read_text("utf-8").splitlines()))
    assert [row["state"] for row in rows] == ["done"] * 3
    again = run("batch", tmp_path / "in", "-o", out, *QUICK, "--to", "stl", "--pictures", "--image", "jpg")
    assert again.code == cli.DONE
    assert "3 up to date from before (--again does them anew)" in again.out
    assert "3 done" in run("batch", tmp_path / "in", "-o", out, *QUICK, "--again").out


def test_exit_codes_tell_how_many_failed(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    (stacks[1] / "frame1.png").write_bytes(b"no picture")
    some = run("batch", *stacks, "-o", tmp_path / "some", *QUICK)
    assert some.code == cli.SOME_FAILED
    (line,) = (line for line in some.out.splitlines() if line.startswith("scan_2"))
    assert "(--skip frame1.png, or --skip-broken)" in line
    assert some.err.splitlines()[-1] == "toposcope: error: 1 of 3 stacks failed; the table tells why."
    assert run("batch", *stacks, "-o", tmp_path / "some", *QUICK, "--skip-broken").code == cli.DONE
    assert run("batch", stacks[1], "-o", tmp_path / "all", *QUICK).code == cli.FAILED
    lacking = run("batch", stacks[0], "-o", tmp_path / "x3p", *QUICK, "--unit", "index", "--to", "x3p")
    assert lacking.code == cli.SOME_FAILED
    assert "x3p is not written" in lacking.out


def test_wrong_usage_is_told_at_once(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    out, inner = tmp_path / "out", tmp_path / "in"
    (tmp_path / "empty").mkdir()
    assert run("batch", *stacks).code == cli.USAGE
    for arguments, words in (
        ((tmp_path / "empty",), "no stack was found"),
        ((inner, stacks[0]), "is there twice"),
        ((*stacks, "--method", "magic"), "no method"),
        ((*stacks, "--to", "docx"), "no format"),
        ((*stacks, "--to", "pins"), "no pins"),
        ((*stacks, "--export-set", "wings=2"), "no setting"),
        ((*stacks, "--z-step", "1um", "--unit", "index"), "contradicts"),
    ):
        done = run("batch", *arguments, "-o", out, "-q")
        assert done.code == cli.USAGE, arguments
        assert words in sentence(done)
    assert run("batch", inner, "-o", inner / "results").code == cli.USAGE
    (tmp_path / "file").write_text("")
    assert run("batch", *stacks, "-o", tmp_path / "file").code == cli.FAILED
    assert not out.exists()


def test_json_tells_each_stack(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    (stacks[1] / "frame1.png").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.txt").write_text("12 µm")
    facts = run("batch", *sorted((tmp_path / "in").iterdir()), "-o", tmp_path / "out", *QUICK, "--json").facts
    assert (facts["done"], facts["up_to_date"], facts["failed"]) == (2, 0, 1)
    good, bad, _ = facts["stacks"]
    assert good["folder"] == str(tmp_path / "out" / "scan_1")
    assert good["depth"]["min"] < good["depth"]["max"]
    assert 0 <= good["void_share"] < 1
    assert (bad["state"], bad["folder"], bad["depth"]) == ("failed", None, None)
    assert "frame1.png" in bad["problem"]
    assert facts["left_out"] == [f"{tmp_path / 'in' / 'notes.txt'}: no images"]
    assert facts["files"]["table"] == str(tmp_path / "out" / "batch.csv")


def test_like_a_stored_result_and_options_win(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    like = tmp_path / "like"
    typed = ("--z-step", "3um", "--pixel-size", "0.2um", "--near", "low")
    assert run("depth", stacks[0], "-o", like, *QUICK, "--set", "window=5", *typed).code == cli.DONE
    assert run("batch", *stacks, "-o", tmp_path / "a", "--like", like).code == cli.DONE
    for stack in stacks:
        result = read_result(tmp_path / "a" / stack.name)
        assert result.provenance.method == "sml"
        assert result.provenance.settings["window"] == 5
        assert result.provenance.settings["align"] == "none"
        assert result.positions.value.tolist() == [0, 3, 6, 9, 12]
        assert result.pixel_um is not None
        assert (result.pixel_um.value, result.near.value) == (0.2, "low")
    more = ("--set", "window=7", "--pixel-size", "0.1um", "--align", "auto")
    assert run("batch", stacks[1], "-o", tmp_path / "b", "--like", like, *more).code == cli.DONE
    result = read_result(tmp_path / "b" / "scan_2")
    assert (result.provenance.settings["window"], result.provenance.settings["align"]) == (7, "auto")
    assert result.pixel_um is not None
    assert result.pixel_um.value == 0.1
    assert result.positions.value.tolist() == [0, 3, 6, 9, 12]
    other = run("batch", stacks[1], "-o", tmp_path / "c", "--like", like, "--method", "tenengrad")
    assert other.code == cli.DONE, other.err
    assert read_result(tmp_path / "c" / "scan_2").provenance.method == "tenengrad"
    assert "no result" in sentence(run("batch", *stacks, "-o", tmp_path / "d", "--like", stacks[0], "-q"))


def test_like_a_project(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    project = Project(
        (stacks[0],),
        edit=CalibrationEdit(positions=(0.0, 4.0, 8.0, 12.0, 16.0), unit="um", pixel_um=0.3),
        left_out=("frame1.png",),
        method="sml",
        options={"window": 5},
        align="none",
    )
    write_project(project, tmp_path / "mine.toposcope")
    like = ("--like", tmp_path / "mine.toposcope")
    assert run("batch", *stacks[1:], "-o", tmp_path / "out", *like).code == cli.DONE
    result = read_result(tmp_path / "out" / "scan_3")
    assert result.positions.value.tolist() == [0, 4, 8, 12, 16]
    assert (result.provenance.method, result.provenance.settings["window"]) == ("sml", 5)
    assert result.pixel_um is not None
    assert result.pixel_um.value == 0.3
    other = run("batch", stacks[1], "-o", tmp_path / "other", *like, "--method", "tenengrad")
    assert other.code == cli.DONE, other.err
    assert read_result(tmp_path / "other" / "scan_2").provenance.method == "tenengrad"


def test_debug_shows_where_an_error_comes_from(run: Run, stacks: list[Path], tmp_path: Path) -> None:
    (stacks[0] / "frame1.png").write_bytes(b"no picture")
    done = run("batch", stacks[0], "-o", tmp_path / "out", "--debug", *QUICK)
    assert done.code == cli.FAILED
    assert "Traceback" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_loses_nothing_that_is_finished(tmp_path: Path) -> None:
    scene, out = tilted_plane(n=9, size=400), tmp_path / "out"
    (tmp_path / "in").mkdir()
    for k in range(9):
        write_stack(scene, tmp_path / "in" / f"scan_{k}")
    command = [sys.executable, "-m", "toposcope", "batch", str(tmp_path / "in"), "-o", str(out), "--json", "--threads"]
    with subprocess.Popen([*command, "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (out / "scan_0" / "result.json").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        told, err = process.communicate(timeout=120)
    assert process.returncode == cli.INTERRUPTED, err
    assert json.loads(told)["kind"] == "Interrupted"
    assert "of 9 stacks are done. The same command goes on with the rest." in err
    rows = list(csv.DictReader((out / "batch.csv").read_text("utf-8").splitlines()))
    done = [row["stack"] for row in rows if row["state"] == "done"]
    assert 1 <= len(done) < 9
    for name in done:
        read_result(out / name)

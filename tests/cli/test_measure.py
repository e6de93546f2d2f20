"""`toposcope measure`: what is told, written and refused."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from command_runs import Run, sentence
from toposcope import cli
from toposcope.cli.measuring import corners
from toposcope.core.calibration import Sourced
from toposcope.core.export import write_result, write_x3p
from toposcope.core.height_map import HeightMap
from toposcope.core.surface import FORMS
from waves import egg_box
from window_fakes import make_result, make_stack


def stored(folder: Path, **changes: object) -> Path:
    """Write a result that rises by 10 µm over 64 pixels of 0.5 µm, with a void in the first row."""
    write_result(make_result(make_stack(**changes)), folder)
    return folder


def measured(folder: Path, pixel: float = 0.25) -> Path:
    """Write an egg box as an instrument would."""
    size = Sourced(pixel, "test")
    path = folder / "egg_box.x3p"
    write_x3p(HeightMap(egg_box(pixel).z_um, size, size, "formula", "Microscope"), path)
    return path


def test_a_result_is_measured(run: Run, tmp_path: Path) -> None:
    done = run("measure", stored(tmp_path / "one"), "--form", "none")
    assert done.code == cli.DONE
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[:4] == [
        "surface     one: default",
        "size        64 × 48 pixels, 32 × 24 µm, 97.9 % known",
        "pixel size  0.5 µm (stack.json)",
        "near side   high positions (kind of the stack)",
    ]
    assert "Sz          10.00 µm          maximum height" in lines
    assert "Str         –                 texture aspect ratio" in lines
    assert "written" not in done.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]
    assert "done        F: plane removed by least squares" in run("measure", tmp_path / "one" / "result.json").out
    level = run("measure", tmp_path / "one", "--json").facts
    assert level["parameters"]["Sz"] < 1e-5  # a plane, up to the rounding of the depth


def test_a_height_map_is_measured_and_everything_written(run: Run, tmp_path: Path) -> None:
    path = measured(tmp_path)
    done = run(
        *("measure", path, "--area", "10,10:389,379", "--s-filter", "500nm", "--l-filter", "0.08mm", "--outliers"),
        *("--profile", "100,20:100,299", "--profile", "20.5,100:300,100", "--profile-width", "3"),
        *("--step", "20,20:60,60", "100,100:140,140", "-o", tmp_path / "out"),
    )
    assert done.code == cli.DONE
    assert "surface     egg_box.x3p" in done.out
    assert "done        area: rows 10 to 389, columns 10 to 379" in done.out
    assert "            L: coarser than 80 µm removed (Gaussian)" in done.out
    assert "profile 1   100,20 to 100,299, 69.75 µm" in done.out
    assert "profile 2   20.5,100 to 300,100, 69.875 µm" in done.out
    assert "step 1      " in done.out
    out = tmp_path / "out"
    for name in ("parameters.csv", "profile_1.csv", "profile_2.csv", "surface.tif", "measure.json"):
        assert f"written     {out / name}" in done.out
    assert tifffile.imread(out / "surface.tif").shape == (380, 370)
    facts = json.loads((out / "measure.json").read_text(encoding="utf-8"))
    assert facts["area"] == {"top": 10, "left": 10, "bottom": 390, "right": 380}
    assert facts["settings"] == {"form": "plane", "s_um": 0.5, "l_um": 80, "outliers": True}
    assert (facts["measured"], facts["instrument"]) == ("egg_box.x3p", "Microscope")
    assert len(facts["sha256"]["egg_box.x3p"]) == 64
    assert facts["profiles"][1]["parameters"]["Pq"] > 0


def test_json_holds_the_parameters(run: Run, tmp_path: Path) -> None:
    facts = run("measure", measured(tmp_path), "--form", "none", "--json").facts
    assert facts["parameters"]["Sq"] == pytest.approx(1.0, abs=1e-3)
    assert facts["parameters"]["Str"] == pytest.approx(0.87, abs=0.01)
    assert (facts["files"], facts["operations"], facts["area"]) == ({}, [], None)
    facts = run("measure", stored(tmp_path / "one"), "--json", "-o", tmp_path / "out").facts
    assert facts["parameters"]["Ssk"] is None or math.isfinite(facts["parameters"]["Ssk"])
    assert facts["provenance"]["method"] == "default"
    assert set(facts["files"]) == {"parameters", "surface", "measurement"}


def test_what_cannot_be_measured_is_one_sentence(run: Run, tmp_path: Path) -> None:
    one = stored(tmp_path / "one")
    out = ("-o", tmp_path / "out")
    done = run("measure", stored(tmp_path / "counted", unit="index"), *out)
    assert done.code == cli.FAILED
    assert "counted in slices" in sentence(done)
    assert sentence(done).endswith("(--z-step of toposcope depth)")
    done = run("measure", stored(tmp_path / "bare", pixel_um=None), *out, "--json")
    assert "the size of its pixels is needed" in done.facts["error"]
    for options, message in (
        (("--l-filter", "2um", "--s-filter", "3um"), "must be larger than the S-filter"),
        (("--l-filter", "25um"), "the L-filter, 25 µm, is wider than the area, 32 × 24 µm"),
        (("--s-filter", "-3um"), "--s-filter is a length above 0, found -3 µm"),
        (("--area", "0,0:48,10"), "reaches out of the surface, rows 0 to 47, columns 0 to 63"),
        (("--profile", "0,0:1,64"), "the profile's end at row 1, column 64 lies outside"),
        (("--step", "1,1:9,9", "9,9:20,20"), "the two areas of the step overlap"),
        (("--profile", "1,1:9,9", "--profile-width", "0"), "a profile of 0 lines has no heights"),
    ):
        done = run("measure", one, *options, *out)
        assert done.code == cli.USAGE
        assert message in done.err
    assert run("measure", one, "--area", "0,0:0,63").code == cli.FAILED  # all void
    assert "does not exist" in sentence(run("measure", tmp_path / "nowhere", *out))
    assert run("measure", one, "--step", "1,1:9,9").code == cli.USAGE
    assert not (tmp_path / "out").exists()


def test_two_points_are_read() -> None:
    assert corners("10,20:90,140") == ((10, 20), (90, 140))
    assert corners(" 1.5,2:3,4.25 ") == ((1.5, 2), (3, 4.25))
    for text in ("1,2", "1,2:3", "a,b:c,d", "1,2:3,4:5,6", "1;2:3;4", "1,2:3,nan"):
        with pytest.raises(argparse.ArgumentTypeError, match="names no two pixels"):
            corners(text)


def test_forms_are_those_of_the_engine(run: Run) -> None:
    assert f"{{{','.join(FORMS)}}}" in run("measure", "--help").out


def test_the_result_stays_as_it_was(run: Run, tmp_path: Path) -> None:
    folder = stored(tmp_path / "one")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run("measure", folder, "--form", "cubic", "--outliers", "-o", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in before} == before
    assert np.isnan(tifffile.imread(folder / "surface.tif")[0]).all()


def test_a_report_is_written_beside_the_numbers_or_alone(run: Run, tmp_path: Path) -> None:
    one, out = stored(tmp_path / "one"), tmp_path / "out"
    words = ("--title", "Ring <7>", "--author", "A. Turner", "--note", "dry")
    done = run("measure", one, "-o", out, "--report", *words)
    assert done.code == cli.DONE
    assert f"written     {out / 'report.html'}" in done.out
    text = re.sub("</?span>", "", (out / "report.html").read_text("utf-8"))
    for expected in ("Ring &lt;7&gt;", "A. Turner", "dry", f"toposcope measure {one}", "result.json"):
        assert expected in text
    assert (out / "measure.json").exists()
    alone = tmp_path / "alone.HTML"
    facts = run("measure", measured(tmp_path), "--report", alone, "--json").facts
    assert facts["files"] == {"report": str(alone)}
    assert "egg_box.x3p" in alone.read_text("utf-8")


def test_a_report_that_cannot_be_is_one_sentence(run: Run, tmp_path: Path) -> None:
    one, out = stored(tmp_path / "one"), tmp_path / "out"
    for options, message in (
        (("--report",), "--report needs the name of a file"),
        (("--report", tmp_path / "a.pdf"), "the command line writes reports as HTML"),
        (("--report", tmp_path / "a.txt"), "a report is an HTML file, and a.txt is named otherwise"),
        (("--title", "x"), "--title is what a report says, and none is asked for"),
    ):
        done = run("measure", one, *options)
        assert done.code == cli.USAGE
        assert message in done.err
    bare = stored(tmp_path / "bare", pixel_um=None)
    assert "the size of its pixels is needed" in sentence(run("measure", bare, "-o", out, "--report"))
    (tmp_path / "a.html").mkdir()
    done = run("measure", one, "-o", out, "--report", tmp_path / "a.html")
    assert "it is a folder" in sentence(done)
    assert not (out / "measure.json").exists()  # all or none

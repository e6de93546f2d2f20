"""The command line, as a script meets it: codes, output, errors."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from safetensors.torch import save_file

from command_runs import Run, sentence, write_stack
from dffnets.shipped import load_network, shipped_cards
from scenes import Scene, tilted_plane
from toposcope import cli
from toposcope.cli.estimating import result_answer
from toposcope.core.calibration import Sourced
from toposcope.core.estimate import METHODS, EstimateSettings
from toposcope.core.export import write_result
from toposcope.core.jobs import Progress
from toposcope.core.resources import sample_path
from window_fakes import make_result, make_stack

NETWORK = shipped_cards()[0].name


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(encoding="uint16")


@pytest.fixture(scope="module")
def folder(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scene's frames and a stack.json."""
    return write_stack(scene, tmp_path_factory.mktemp("stacks") / "ebene schräg")


# --- info ------------------------------------------------------------------------------------


def test_info_tells_where_each_value_comes_from(run: Run, folder: Path) -> None:
    done = run("info", folder)
    assert done.code == cli.DONE
    assert "11 of 160 × 160, grey, 16 bit" in done.out
    assert "stack.json" in done.out
    assert done.err == ""


def test_info_tells_what_a_stored_result_is(run: Run, folder: Path, tmp_path: Path) -> None:
    assert run("depth", folder, "-o", tmp_path / "out").code == cli.DONE
    for named in (tmp_path / "out", tmp_path / "out" / "result.json"):
        done = run("info", named)
        assert done.code == cli.DONE
        rows = dict(line.split(maxsplit=1) for line in done.out.splitlines())
        assert (rows["result"], rows["made"]) == (str(tmp_path / "out"), f"from   {folder}")
        assert rows["frames"] == "11 of 160 × 160, grey, 16 bit"
        assert rows["method"].startswith("default, ")
        assert "known for" in rows["depth"]
    facts = json.loads(run("info", tmp_path / "out", "--json").out)
    assert facts["files"]["depth"] == str(tmp_path / "out" / "depth.tif")
    assert facts["provenance"]["source"] == str(folder)


@pytest.fixture
def hyperstack(tmp_path: Path, scene: Scene) -> Path:
    """Write two channels and two times of a scene, the second of each darker."""
    planes = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    frames = np.stack([np.stack([planes // (1 + t + 2 * c) for c in range(2)], axis=1) for t in range(2)])
    path = tmp_path / "hyper.ome.tif"
    metadata = {"axes": "TZCYX", "PhysicalSizeZ": 2.0, "Channel": {"Name": ["red", "green"]}}
    tifffile.imwrite(path, frames, ome=True, photometric="minisblack", metadata=metadata)
    return path


def test_info_lists_many_times_by_the_first_and_the_last(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "series.ome.tif"
    frames = np.random.default_rng(0).integers(0, 255, (12, 3, 16, 16), np.uint8)
    tifffile.imwrite(path, frames, ome=True, photometric="minisblack", metadata={"axes": "TZYX"})
    done = run("info", path, "--time", 2)
    told = r"^time point +2 time point 3, of all from 0 time point 1 to 11 time point 12$"
    assert re.search(told, done.out, re.MULTILINE)


def test_info_lists_what_a_file_holds(run: Run, hyperstack: Path) -> None:
    done = run("info", hyperstack)
    assert done.code == cli.DONE
    assert re.search(r"^channel +0 red; also there: 1 green$", done.out, re.MULTILINE)
    assert re.search(r"^time point +0 time point 1; also there: 1 time point 2$", done.out, re.MULTILINE)
    facts = run("info", hyperstack, "--channel", 1, "--time", 1, "--json").facts
    assert {name: part["chosen"] for name, part in facts["parts"].items()} == {"channel": 1, "time": 1}
    assert "Add --time 0 (time point 1) to 1 (time point 2)" in run("depth", hyperstack, "-o", hyperstack.parent).err


def test_readers_are_listed(run: Run) -> None:
    listed = run("info", "--list-readers")
    assert listed.code == cli.DONE
    assert "Zeiss CZI" in listed.out
    assert "NDTiff" in listed.out


@pytest.mark.parametrize("option", ["--series", "--scene", "--position"])
def test_a_position_is_chosen_by_each_of_its_names(run: Run, tmp_path: Path, option: str) -> None:
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for n in (4, 5):
            writer.write(np.zeros((n, 20, 30), np.uint8), photometric="minisblack", metadata={"axes": "ZYX"})
    assert run("info", path, option, 1, "--json").facts["frames"] == 5


def test_info_as_json_holds_every_position(run: Run, folder: Path, scene: Scene) -> None:
    facts = run("info", folder, "--json").facts
    assert facts["positions"]["value"] == pytest.approx(list(scene.stack.positions.value))
    assert facts["pixel_um"]["value"] == 0.5
    assert facts["dtype"] == "uint16"


def test_options_win_over_the_files(run: Run, folder: Path) -> None:
    facts = run("info", folder, "--z-step", "0.5mm", "--pixel-size", "2um", "--near", "low", "--json").facts
    assert facts["step"] == pytest.approx(0.5)
    assert facts["unit"] == "mm"
    assert facts["pixel_um"]["value"] == 2
    assert facts["near"] == {"value": "low", "origin": facts["near"]["origin"], "guessed": False}


def test_step_is_told_in_the_unit_that_is_wanted(run: Run, folder: Path) -> None:
    facts = run("info", folder, "--z-step", "500um", "--unit", "mm", "--json").facts
    assert facts["step"] == pytest.approx(0.5)
    assert facts["unit"] == "mm"
    assert run("info", folder, "--z-step", "500um", "--unit", "index").code == cli.USAGE


def test_a_length_below_zero_is_a_value_not_an_option(run: Run, folder: Path) -> None:
    facts = run("info", folder, "--z-step", "-.5um", "--json").facts
    assert (facts["range"], facts["names"][0]) == ([-5, 0], "frame10.png")
    done = run("info", folder, "--pixel-size", "-3um")
    assert "must be a number above 0" in sentence(done)


def test_frames_can_be_left_out_by_name_and_number(run: Run, folder: Path) -> None:
    facts = run("info", folder, "--skip", "frame3.png", "--skip", "0", "--json").facts
    assert facts["frames"] == 9
    assert not {"frame0.png", "frame3.png"} & set(facts["names"])


def test_files_and_patterns_can_be_given_instead_of_a_folder(run: Run, folder: Path) -> None:
    assert run("info", *[folder / f"frame{i}.png" for i in range(4)], "--json").facts["frames"] == 4
    assert run("info", folder / "frame[0-4].png", "--json").facts["frames"] == 5


def test_positions_come_from_a_file(run: Run, folder: Path, tmp_path: Path) -> None:
    positions = tmp_path / "positions.txt"
    positions.write_text("\n".join(str(3 * i) for i in range(11)))
    facts = run("info", folder, "--positions", positions, "--unit", "um", "--json").facts
    assert facts["step"] == pytest.approx(3)


# --- depth -----------------------------------------------------------------------------------


def test_depth_writes_what_it_says_and_hits_the_truth(run: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("depth", folder, "-o", out, "--json", "--pictures")
    assert done.code == cli.DONE, done.err
    facts = done.facts
    assert {"depth.tif", "confidence.tif", "result.json", "depth.png", "surface_3d.png"} <= {
        path.name for path in out.iterdir()
    }
    assert all(Path(path).exists() for path in facts["files"].values())
    depth = tifffile.imread(out / "depth.tif")
    assert depth.dtype == np.float32
    step = float(np.diff(scene.stack.positions.value).mean())
    assert np.nanmedian(np.abs(depth - scene.depth)[scene.inner]) < 0.2 * step
    assert facts["depth"]["min"] == pytest.approx(float(np.nanmin(depth)))
    assert facts["depth"]["known_share"] == pytest.approx(float(np.isfinite(depth).mean()))
    fused = tifffile.imread(out / "all_in_focus.tif")
    assert fused.dtype == np.uint16


def test_depth_is_told_to_a_hundredth_of_a_step(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("depth", folder, "-o", tmp_path / "out", "--method", "tenengrad", "--align", "none", "--z-step", "0.5um")
    assert re.search(r"^depth +\d\.\d{3} to \d\.\d{3} µm, known for ", done.out, re.MULTILINE), done.out


def test_a_camera_of_known_pixel_size_is_drawn_to_scale(
    run: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels: list[object] = []

    def draw(heights: object, texture: object, pixel: float | None, unit: str) -> np.ndarray[Any, Any]:
        pixels.append(pixel)
        return np.zeros((2, 2, 3), dtype=np.uint8)

    monkeypatch.setattr("toposcope.core.pictures.surface_picture", draw)
    positions = tmp_path / "positions.txt"
    positions.write_text("\n".join(str(300 + i) for i in range(11)))
    options = ("--kind", "camera", "--unit", "mm", "--positions", positions, "--pixel-size", "20um")
    done = run("depth", folder, "-o", tmp_path / "out", "--method", "tenengrad", "--pictures", *options)
    assert done.code == cli.DONE, done.err
    assert pixels == [pytest.approx(0.02)]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "default"])
def test_every_method_can_be_called_by_name(run: Run, folder: Path, tmp_path: Path, method: str) -> None:
    done = run("depth", folder, "-o", tmp_path / "out", "--method", method, "--align", "none", "--json")
    assert done.code == cli.DONE, done.err
    assert done.facts["provenance"]["method"] == method


def test_settings_reach_the_method(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("depth", folder, "-o", tmp_path / "out", "--method", "sml", "--set", "window=15", "--json")
    assert "15" in json.dumps(done.facts["provenance"]["settings"])
    stored = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert "15" in json.dumps(stored)


def test_a_network_runs_with_weights_of_its_own(run: Run, folder: Path, tmp_path: Path) -> None:
    (card,) = (card for card in shipped_cards() if card.name == NETWORK)
    save_file(
        {name: tensor + 0 for name, tensor in load_network(card).state_dict().items()}, tmp_path / "mine.safetensors"
    )
    weights = ("--method", NETWORK, "--weights", tmp_path / "mine.safetensors")
    done = run("depth", folder, "-o", tmp_path / "out", *weights, "--align", "none", "--json")
    assert done.code == cli.DONE, done.err
    assert done.facts["provenance"]["settings"]["weights"] != card.sha256
    assert run("curve", folder, "--at", "5,5", *weights, "--align", "none", "-q").code == cli.DONE


def test_methods_are_listed_with_their_settings(run: Run) -> None:
    done = run("depth", "--list-methods")
    assert done.code == cli.DONE
    assert all(f"{name}: " in done.out for name in METHODS)
    assert "--set window=" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "magic"], "magic"),
        (["--method", "sml", "--set", "windou=9"], "window"),
        (["--method", "sml", "--set", "window=many"], "many"),
        (["--device", "cuda"], "CPU"),
        (["--weights", "mine.safetensors"], "default is no network and takes no weights"),
        (["--method", NETWORK, "--weights", "nowhere.safetensors"], "cannot be read as weights"),
    ],
)
def test_wrong_settings_are_wrong_usage(
    run: Run, folder: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    done = run("depth", folder, "-o", tmp_path / "out", *arguments)
    assert done.code == cli.USAGE
    assert words in sentence(done)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["magic"],
        ["depth", "somewhere"],
        ["depth", "-o", "out"],
        ["curve", "somewhere", "--at", "5"],
        ["info", "somewhere", "--z-step", "2.5 parsecs"],
        ["info", "somewhere", "--z-step", "1um", "--positions", "file"],
        ["depth", "somewhere", "-o", "out", "--set", "window"],
        ["depth", "somewhere", "-o", "out", "--threads", "-1"],
    ],
)
def test_wrong_usage_is_code_2_and_says_why(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == cli.USAGE
    assert done.out == ""
    assert "error: " in done.err


# --- what can go wrong -----------------------------------------------------------------------


def test_bad_input_is_code_1_and_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        done = run("info", path)
        assert done.code == cli.FAILED
        assert path.name in sentence(done)
        assert done.out == ""


def test_error_is_json_too_when_json_is_wanted(run: Run, tmp_path: Path) -> None:
    done = run("info", tmp_path, "--json")
    assert done.code == cli.FAILED
    assert done.facts["kind"].endswith("Error")
    assert done.facts["error"] == sentence(done)


def test_broken_frame_is_named_and_can_be_left_out(run: Run, scene: Scene, tmp_path: Path) -> None:
    path = write_stack(scene, tmp_path / "stack")
    whole = (path / "frame4.png").read_bytes()
    (path / "frame4.png").write_bytes(whole[: len(whole) // 2])
    done = run("depth", path, "-o", tmp_path / "out", "-q")
    assert done.code == cli.FAILED
    assert "frame4.png" in sentence(done)
    assert not (tmp_path / "out" / "depth.tif").exists()
    assert run("depth", path, "-o", tmp_path / "out", "--skip", "frame4.png", "-q").code == cli.DONE


def test_output_that_cannot_be_written_is_an_error(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = run("depth", folder, "-o", tmp_path / "file", "-q")
    assert done.code == cli.FAILED
    assert "file" in sentence(done)
    assert (tmp_path / "file").read_text() == "in the way"


def test_faults_of_our_own_are_told_as_such(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr("toposcope.core.source.open_stack", broken)
    done = run("info", folder)
    assert done.code == cli.FAILED
    assert "--debug" in sentence(done)
    with pytest.raises(ZeroDivisionError):
        run("info", folder, "--debug")


# --- curve -----------------------------------------------------------------------------------


def test_curve_is_csv_with_a_verdict(run: Run, folder: Path, scene: Scene) -> None:
    done = run("curve", folder, "--at", "80,40", "--at", "20,120", "-q")
    assert done.code == cli.DONE, done.err
    comments = [line for line in done.out.splitlines() if line.startswith("#")]
    assert "row 80, column 40" in comments[0]
    assert "peak" in comments[0]
    rows = list(csv.DictReader(io.StringIO("\n".join(ln for ln in done.out.splitlines() if not ln.startswith("#")))))
    first = [row for row in rows if (row["row"], row["column"]) == ("80", "40")]
    assert len(rows) == 2 * scene.stack.n
    assert [float(row["position"]) for row in first] == pytest.approx(list(scene.stack.positions.value))
    assert sum(float(row["probability"]) for row in first) == pytest.approx(1, abs=1e-3)


def test_curve_as_json_has_its_peak_near_the_truth(run: Run, folder: Path, scene: Scene) -> None:
    facts = run("curve", folder, "--at", "80,60", "--json").facts
    assert (facts["method"], facts["settings"]["peak"]) == ("default", "smoothed")
    (curve,) = facts["curves"]
    step = float(np.diff(scene.stack.positions.value).mean())
    assert curve["peak"] == pytest.approx(float(scene.depth[80, 60]), abs=step)
    assert curve["verdict"]["shape"] == "clear"


def test_pixel_outside_is_wrong_usage(run: Run, folder: Path) -> None:
    done = run("curve", folder, "--at", "160,0", "-q")
    assert done.code == cli.USAGE
    assert "0 to 159" in sentence(done)


# --- demo, the window's door, the process ----------------------------------------------------


@pytest.mark.slow
def test_demo_shows_everything_on_the_sample(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = run("demo", "-o", out, "--json")
    assert done.code == cli.DONE, done.err
    for name in ("depth.tif", "confidence.tif", "result.json", "depth.png", "curve.png", "surface_3d.png"):
        assert (out / name).stat().st_size > 0
    assert done.facts["depth"]["known_share"] > 0.5


def environment(**more: str) -> dict[str, str]:
    dropped = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return {**{k: v for k, v in os.environ.items() if k not in dropped}, **more}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a screen")
def test_window_without_a_screen_is_one_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toposcope"], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert done.returncode == cli.FAILED
    assert done.stderr.count("\n") == 1
    assert "toposcope depth" in done.stderr


def test_version_and_help_need_no_screen() -> None:
    for flag in ("--version", "--help"):
        done = subprocess.run(
            [sys.executable, "-m", "toposcope", flag], capture_output=True, text=True, env=environment(), timeout=60
        )
        assert done.returncode == 0
        assert "toposcope" in done.stdout


def test_old_consoles_get_what_they_can_show(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toposcope", "info", str(folder)],
        capture_output=True,
        env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"160 ? 160" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="signals are sent otherwise there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_cleanly_and_leaves_no_half_files(tmp_path: Path, number: signal.Signals) -> None:
    path = write_stack(tilted_plane(size=192, n=15), tmp_path / "stack")
    slow = (
        "import sys, time; from toposcope import cli\n"
        "import imagecodecs; decode = imagecodecs.png_decode\n"
        "def late(*a, **k):\n"
        "    print('reading', file=sys.stderr, flush=True); time.sleep(0.3); return decode(*a, **k)\n"
        "imagecodecs.png_decode = late\n"
        f"sys.exit(cli.main(['depth', {str(path)!r}, '-o', {str(tmp_path / 'out')!r}, '-q']))"
    )
    with subprocess.Popen([sys.executable, "-c", slow], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "reading" in process.stderr.readline()
        process.send_signal(number)
        begin = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED, err
    assert "Traceback" not in err
    assert time.monotonic() - begin < 20
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.skipif(os.name == "nt", reason="pipes break otherwise there")
def test_reader_that_goes_away_is_no_fault(folder: Path) -> None:
    for arguments in (f'info "{folder}" --json', "depth --list-methods"):
        command = f'"{sys.executable}" -m toposcope {arguments} | head -c 1'
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


def test_progress_goes_to_standard_error_as_one_line_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with cli._progress(quiet=False) as report:
        for i in range(3):
            report(Progress(i / 2, f"frame {i}"))
            time.sleep(0.11)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\n" not in captured.err
    assert "frame 2" in captured.err
    assert captured.err.endswith("\r"), "the line is wiped at the end"


# --- export and simulate ---------------------------------------------------------------------


def test_result_is_exported_in_several_formats(run: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("depth", folder, "-o", out, "-q").code == cli.DONE
    done = run("export", out, "--to", "ply", "--to", "depth16", "--set", "max_points=1000", "--json")
    assert done.code == cli.DONE, done.err
    files = {Path(path) for path in done.facts["files"].values()}
    assert {path.suffix for path in files} == {".ply", ".png", ".json"}
    assert all(path.parent == out for path in files)
    header = next(path for path in files if path.suffix == ".ply").read_bytes()[:400]
    vertices = int(header.split(b"element vertex ")[1].split()[0])
    assert 200 < vertices <= 1000
    made = run("export", out, "--to", "ply", "--to", "stl", "-o", tmp_path / "new" / "folder")
    assert made.code == cli.DONE, made.err
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {"surface.ply", "surface.stl"}
    single = run("export", out / "result.json", "--to", "stl", "-o", tmp_path / "form.stl")
    assert single.code == cli.DONE
    assert str(tmp_path / "form.stl") in single.out
    assert run("export", out, "--to", "stl", "-o", tmp_path / "one" / "folder").code == cli.DONE
    assert [path.name for path in (tmp_path / "one" / "folder").iterdir()] == ["surface.stl"]
    assert run("export", out, "--to", "points", "-o", tmp_path / "points.txt").code == cli.DONE
    assert (tmp_path / "points.txt").is_file()
    assert run("export", out, "--to", "depth", "-o", tmp_path / "map.tiff").code == cli.DONE
    assert (tmp_path / "map.tiff").is_file()


def test_one_format_that_cannot_be_written_keeps_none_of_the_others_back(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    counted, out = tmp_path / "counted", tmp_path / "out"
    counted.mkdir()
    for frame in folder.glob("*.png"):  # without what tells positions and pixel size
        shutil.copy(frame, counted)
    assert run("depth", counted, "-o", out, "-q").code == cli.DONE
    done = run("export", out, "--to", "x3p", "--to", "ply", "--json")
    assert done.code == cli.SOME_FAILED
    assert [Path(path).name for path in done.facts["files"].values()] == ["surface.ply"]
    assert (out / "surface.ply").is_file()
    assert list(done.facts["failed"]) == ["x3p"]
    assert "x3p is not written: " in done.err
    assert "(--z-step" in done.err
    nothing = run("export", out, "--to", "x3p", "--to", "gwy")
    assert nothing.code == cli.FAILED
    assert "gwy is not written: " in nothing.err
    assert run("export", out, "--to", "x3p").code == cli.FAILED


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--to", "gold"], cli.USAGE, "ply"),
        (["--to", "curves"], cli.USAGE, "toposcope curve"),
        (["--to", "ply", "--set", "max_points=1"], cli.USAGE, "max_points"),
        (["--to", "ply", "--to", "stl", "-o", "one.file"], cli.USAGE, "folder"),
        (["--to", "ply", "--to", "stl", "-o", __file__], cli.USAGE, "test_cli.py is a file"),
        (["--to", "ply", "-o", "nowhere/at/all.ply"], cli.FAILED, "nowhere"),
        (["--to", "ply", "-o", "form.stl"], cli.USAGE, "ply writes .ply files, and form.stl is named otherwise. Name"),
        (["--to", "gold", "-o", "new"], cli.USAGE, "there is no format 'gold'"),
    ],
)
def test_export_that_cannot_be_says_why(run: Run, stored: Path, arguments: list[str], code: int, words: str) -> None:
    done = run("export", stored, *arguments)
    assert done.code == code
    assert words in sentence(done)
    assert not Path("new").exists()


@pytest.fixture(scope="module")
def stored(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result in a folder."""
    out = tmp_path_factory.mktemp("stored") / "out"
    assert cli.main(["depth", str(folder), "-o", str(out), "-q"]) == cli.DONE
    return out


def test_export_of_what_is_no_result_fails(run: Run, folder: Path) -> None:
    done = run("export", folder, "--to", "ply")
    assert done.code == cli.FAILED
    assert "toposcope depth" in sentence(done)


@pytest.mark.slow
def test_rendered_stack_can_be_measured_at_once(run: Run, tmp_path: Path) -> None:
    made = run("simulate", "-o", tmp_path / "plane", "--scene", "plane", "--slices", "9", "--format", "png", "--json")
    assert made.code == cli.DONE, made.err
    out = tmp_path / "out"
    facts = run("depth", tmp_path / "plane", "-o", out, "--json", "-q").facts
    assert len(facts["provenance"]["frames"]) == 9
    truth = tifffile.imread(made.facts["files"]["true_depth"])
    step = np.diff(facts["calibration"]["positions"]["value"]).mean()
    assert np.nanmedian(np.abs(tifffile.imread(out / "depth.tif") - truth)) < 0.2 * step


def test_scenes_are_listed_and_unknown_ones_refused(run: Run, tmp_path: Path) -> None:
    assert "sample" in run("simulate", "--list-scenes").out
    assert run("simulate", "-o", tmp_path / "x", "--scene", "atlantis").code == cli.USAGE


def test_formats_are_listed(run: Run) -> None:
    listed = run("export", "--list-formats").out
    assert "ply" in listed
    assert "curves" not in listed


def test_wrong_usage_is_json_too_when_json_is_wanted(run: Run) -> None:
    done = run("depth", "x", "--z-step", "nonsense", "-o", "y", "--json")
    assert done.code == cli.USAGE
    assert "nonsense" in json.loads(done.out)["error"]
    assert "usage:" in done.err


def test_frames_are_not_written_over(run: Run, scene: Scene, tmp_path: Path) -> None:
    folder = write_stack(scene, tmp_path / "scan")
    (folder / "stack.json").unlink(missing_ok=True)
    frames = sorted(path for path in folder.iterdir() if path.suffix in (".tif", ".png", ".jpg"))
    named = frames[0].rename(folder / f"depth{frames[0].suffix}")
    before = named.read_bytes()
    done = run("depth", named, *frames[1:], "-o", folder)
    assert done.code == cli.FAILED
    assert "written over" in done.err
    assert named.read_bytes() == before


def test_sample_is_told_of_without_remarks(run: Run) -> None:
    assert "note" not in run("info", sample_path()).out


# --- channels --------------------------------------------------------------------------------


def test_all_channels_are_written_by_the_depth_of_one(run: Run, hyperstack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        "depth", hyperstack, "--channel", 0, "--time", 0, "--all-channels", "-o", out, "--align", "none", "--json"
    )
    assert done.code == cli.DONE, done.err
    path = Path(done.facts["files"]["all_in_focus_channels"])
    red, green = tifffile.imread(path)
    assert np.array_equal(red, tifffile.imread(out / "all_in_focus.tif"))
    known = np.isfinite(tifffile.imread(out / "depth.tif"))
    assert np.corrcoef(red[known].astype(float), green[known].astype(float))[0, 1] > 0.98
    assert 0.3 < green[known].mean() / red[known].mean() < 0.36  # the second is a third as bright


def test_all_channels_of_one_channel_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("depth", folder, "--all-channels", "-o", tmp_path / "out")
    assert done.code == cli.USAGE
    assert "holds one channel only" in done.err


# --- times -----------------------------------------------------------------------------------


def test_all_times_are_done_with_a_table_and_go_on(run: Run, hyperstack: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call = ("depth", hyperstack, "--channel", 1, "--all-times", "--all-channels", "-o", out, "--align", "none")
    done = run(*call, "--json")
    assert done.code == cli.DONE, done.err
    assert [row["label"] for row in done.facts["times"]] == ["time point 1", "time point 2"]
    assert Path(done.facts["files"]["table"]).read_text().count("\n") == 3
    for name in ("depth.tif", "all_in_focus.tif", "all_in_focus_channels.ome.tif", "result.json"):
        assert (out / "time_002" / name).is_file()
    again = run(*call)
    assert "2 of 2 done, 2 of them before" in again.out


def test_times_that_fail_are_told_by_the_exit_code(run: Run, scene: Scene, tmp_path: Path) -> None:
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    path = tmp_path / "damaged.ome.tif"
    options: dict[str, Any] = {"ome": True, "photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(path, np.stack([frames, frames]), metadata={"axes": "TZYX"}, **options)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[-1].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[place : place + 200] = bytes(200)
    path.write_bytes(data)
    done = run("depth", path, "--all-times", "-o", tmp_path / "out", "--align", "none")
    assert done.code == cli.SOME_FAILED, done.err
    assert "1 of 2 done" in done.out
    assert re.search(r"time point 2: slice 11 of damaged\.ome\.tif is .*damaged", done.err)


def test_all_times_of_one_time_are_refused(run: Run, folder: Path, tmp_path: Path) -> None:
    done = run("depth", folder, "--all-times", "-o", tmp_path / "out")
    assert done.code == cli.USAGE
    assert "holds one time point only" in done.err


def test_depth_tells_the_near_side_that_the_result_took(tmp_path: Path) -> None:
    stack = make_stack()
    result = make_result(stack, EstimateSettings(keep_volume=False))
    result = replace(result, near=Sourced("low", "frames magnify towards it", guessed=True))
    answer = result_answer(stack, result, write_result(result, tmp_path))
    assert "near side   low positions (a guess: frames magnify towards it)" in answer.text
    assert "positions   10 to 20 µm, step 2.5 µm (file name)" in answer.text


def test_an_encoding_without_a_minus_gets_a_hyphen() -> None:
    cli.main(["--version"])  # which makes the rule known
    assert "−0.4 µm ≥ 1".encode("cp1252", errors="toposcope-readable") == "-0.4 µm ? 1".encode("cp1252")

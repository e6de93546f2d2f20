"""`toposcope watch`: a folder that fills while the command runs, and how the sweep may end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from command_runs import Done, Run, sentence
from scenes import Scene, tilted_plane
from toposcope import cli
from toposcope.core import watching as core_watching
from toposcope.core.export import writing


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(n=15, noise=0.004)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files settle and sweeps end within moments."""
    monkeypatch.setattr(core_watching, "QUIET_S", 0.3)
    monkeypatch.setattr(core_watching.FolderWatch.__init__, "__kwdefaults__", None)
    defaults = core_watching.FolderWatch.__init__.__defaults__
    assert defaults is not None
    short = tuple(0.05 if value == core_watching.SETTLE_S else value for value in defaults)
    monkeypatch.setattr(core_watching.FolderWatch.__init__, "__defaults__", short)
    monkeypatch.setattr("toposcope.cli.watching.LOOK_S", 0.03)


@pytest.fixture
def watch(run: Run) -> Run:
    """Run the command so that it ends in any case."""

    def call(*arguments: object) -> Done:
        return run("watch", *arguments, *(() if "--idle" in arguments else ("--idle", 60)))

    return call


def put(folder: Path, scene: Scene, i: int, prefix: str = "scan") -> None:
    data = cv2.imencode(".png", scene.stack.read(i))[1].tobytes()
    path = folder / f"{prefix}_z{2.0 * i:04.1f}um.png"
    with open(path, "wb") as file:
        for k in range(3):
            file.write(data[k * len(data) // 3 : (k + 1) * len(data) // 3])
            file.flush()


@contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def fill(folder: Path, scene: Scene, pause: float = 0.05, n: int | None = None) -> Callable[[], None]:
    def work() -> None:
        for i in range(n or scene.stack.n):
            put(folder, scene, i)
            time.sleep(pause)

    return work


def depth_error(out: Path, scene: Scene) -> float:
    depth = tifffile.imread(out / "depth.tif")
    # frames were rendered at 10, 12, ... um and are called 0, 2, ... um
    return float(np.nanmedian(np.abs(depth - (scene.depth - 10.0))[scene.inner]))


def test_sweep_that_looks_complete_gives_the_usual_result(
    watch: Run, folder: Path, scene: Scene, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with meanwhile(fill(folder, scene)):
        done = watch(folder, "-o", out, "--pictures")
    assert done.code == cli.DONE, done.err
    assert "both sides" in done.err
    assert "Computing the depth of 15 slices" in done.err
    names = {path.name for path in out.iterdir()}
    assert {"depth.tif", "confidence.tif", "all_in_focus.png", "result.json", "depth.png", "preview.png"} <= names
    assert depth_error(out, scene) < 0.2
    assert json.loads((out / "result.json").read_text())["depth"]["known_share"] > 0.9


def test_depth_is_that_of_toposcope_depth(run: Run, watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    fill(folder, scene, 0)()
    assert watch(folder, "-o", tmp_path / "a", "--method", "sml", "--set", "window=7").code == cli.DONE
    assert run("depth", folder, "-o", tmp_path / "b", "--method", "sml", "--set", "window=7").code == cli.DONE
    one, other = (tifffile.imread(tmp_path / name / "depth.tif") for name in "ab")
    np.testing.assert_array_equal(one, other)


def test_known_number_of_slices_ends_the_sweep(watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    fill(folder, scene, 0, n=9)()
    done = watch(folder, "-o", tmp_path / "out", "--slices", 8, "--json")
    assert done.code == cli.DONE
    assert len(done.facts["provenance"]["frames"]) == 8
    assert "All 8 slices came." in done.err


def test_idleness_ends_a_sweep_that_is_cut_off(watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    fill(folder, scene, 0, n=8)()
    done = watch(folder, "-o", tmp_path / "out", "--idle", 0.5)
    assert done.code == cli.DONE
    assert "Nothing new came for 0.5 s." in done.err
    assert "is sharpest in the top slice: the surface goes on above it. Put the top at " in done.out
    assert "next sweep  Proposed: " in done.out
    assert done.out.count("is sharpest in") == 1  # not once more by what the result says


def test_a_file_that_cannot_be_read_is_told_once(watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    fill(folder, scene, 0, n=8)()
    (folder / "broken.png").write_bytes(b"no image")
    done = watch(folder, "-o", tmp_path / "out", "--idle", 0.5)
    assert done.err.count("broken.png is text") == 1
    assert "It is tried again.\n" in done.err


def test_advice_counts_slices_where_nothing_tells_positions(
    watch: Run, folder: Path, scene: Scene, tmp_path: Path
) -> None:
    for i in range(9):
        (folder / f"a_{i}.png").write_bytes(cv2.imencode(".png", scene.stack.read(i))[1].tobytes())
    done = watch(folder, "-o", tmp_path / "counted", "--idle", 0.5)
    assert "is sharpest in the last slice: the surface goes on beyond it. Take " in done.out
    assert "Proposed: from slice " in done.out
    facts = watch(folder, "-o", tmp_path / "stepped", "--idle", 0.5, "--z-step", "2um", "--json").facts["proposal"]
    assert facts["metric"]
    assert facts["top"] > 16  # µm: where the last slice lies
    assert facts["slices"] == 1 + round((facts["top"] - facts["bottom"]) / facts["step"])
    assert "Put the top at" in facts["reasons"][0]


def test_preview_grows_and_is_always_whole(watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    out, seen, broken = tmp_path / "out", set(), []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            path = out / "preview.png"
            if path.exists():
                data = path.read_bytes()
                seen.add(data)
                if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
                    broken.append(data)
            time.sleep(0.005)

    with meanwhile(look):
        try:
            with meanwhile(fill(folder, scene, 0.15)):
                assert watch(folder, "-o", out).code == cli.DONE
        finally:
            ended.set()
    assert len(seen) > 3
    assert not broken


def test_full_disk_spoils_no_watching(
    watch: Run, folder: Path, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_before, times = writing._put, []

    def full_at_first(beside: Path, path: Path) -> None:
        if path.name == "preview.png":
            times.append(path)
            if len(times) < 3:
                os.unlink(beside)
                raise writing.OutputError(f"{path} cannot be written: the disk is full. Free some space.")
        put_before(beside, path)

    monkeypatch.setattr(writing, "_put", full_at_first)
    with meanwhile(fill(folder, scene, 0.1)):
        done = watch(folder, "-o", tmp_path / "out")
    assert done.code == cli.DONE
    assert done.err.count("the disk is full") == 1
    assert (tmp_path / "out" / "preview.png").exists()


def test_sweeps_one_after_another_each_have_their_result(
    watch: Run, folder: Path, scene: Scene, tmp_path: Path
) -> None:
    out = tmp_path / "out"

    def work() -> None:
        for prefix in ("first", "second"):
            for i in range(scene.stack.n):
                put(folder, scene, i, prefix)
                time.sleep(0.04)

    with meanwhile(work):
        done = watch(folder, "-o", out, "--sweeps", "--idle", 3, "--json")
    assert done.code == cli.DONE, done.err
    assert len(done.facts["sweeps"]) == 2
    for name in ("sweep_001", "sweep_002"):
        assert depth_error(out / name, scene) < 0.2


def test_second_sweep_without_the_wish_is_told(watch: Run, folder: Path, scene: Scene, tmp_path: Path) -> None:
    for prefix in ("first", "second"):
        for i in range(scene.stack.n):
            put(folder, scene, i, prefix)
    done = watch(folder, "-o", tmp_path / "out")
    assert done.code == cli.DONE
    assert "second_z00.0um.png begins another sweep." in done.err
    assert "--sweeps" in done.err
    assert depth_error(tmp_path / "out", scene) < 0.2


def test_nothing_in_the_folder_and_an_idle_end_is_one_sentence(watch: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "a_1.png").write_bytes(b"no image")
    (folder / "a_2.png").write_bytes(cv2.imencode(".png", np.zeros((9, 9), np.uint8))[1].tobytes())
    done = watch(folder, "-o", tmp_path / "out", "--idle", 0.5)
    assert done.code == cli.FAILED
    assert "1 slice came; depth from focus needs at least 3" in done.err
    assert "a_1.png is text" in done.err
    assert not (tmp_path / "out" / "depth.tif").exists()


def test_wrong_usage_is_told_at_once(run: Run, watch: Run, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no folder" in sentence(run("watch", tmp_path / "nowhere", "-o", out))
    assert "folder that is watched" in sentence(watch(folder, "-o", folder))
    assert watch(folder, "-o", out, "--slices", 2).code == cli.USAGE
    assert watch(folder, "-o", out, "--idle", "never").code == cli.USAGE
    assert watch(folder, "-o", out, "--skip", 3).code == cli.USAGE
    assert run("watch", folder).code == cli.USAGE


def started(folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "toposcope", "watch", str(folder), "-o", str(out), *more]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
def test_ctrl_c_ends_the_sweep_with_what_is_there(folder: Path, scene: Scene, tmp_path: Path) -> None:
    fill(folder, scene, 0, n=9)()
    with started(folder, tmp_path / "out") as process:
        wait_for(tmp_path / "out" / "preview.png", process)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == cli.DONE, err
    assert "Stopped. Computing the depth of 9 slices." in err
    assert (tmp_path / "out" / "depth.tif").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize("kind", ["empty folder", "polite kill"])
def test_watching_can_be_given_up(folder: Path, scene: Scene, tmp_path: Path, kind: str) -> None:
    if kind == "polite kill":
        fill(folder, scene, 0, n=9)()
    with started(folder, tmp_path / "out") as process:
        if kind == "polite kill":
            wait_for(tmp_path / "out" / "preview.png", process)
        else:
            time.sleep(4)
        process.send_signal(signal.SIGTERM if kind == "polite kill" else signal.SIGINT)
        _, err = process.communicate(timeout=120)
    assert process.returncode == cli.INTERRUPTED, err
    assert not (tmp_path / "out" / "depth.tif").exists()

"""A folder that fills while it is watched: by a clock of our own, and once by a process that writes in pieces."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import scenes
from toposcope.core import watching
from toposcope.core.advising import SweepAdvisor
from toposcope.core.growing import GrowingDepth
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.watching import QUIET_S, FolderWatch, News, missing_counters
from toposcope.errors import SettingsError, StackError

Frames = list[NDArray[Any]]


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "läuft gerade"
    path.mkdir()
    return path


@pytest.fixture
def look(clock: Clock) -> Callable[[FolderWatch], News]:
    """Look, wait until files have settled, and look again; return the second news."""

    def twice(watch: FolderWatch) -> News:
        watch.look()
        clock.now += 1.1
        return watch.look()

    return twice


def frames_of(n: int = 11, **look: Any) -> Frames:
    stack = scenes.tilted_plane(n=n, noise=0.004, **look).stack
    return [stack.read(i) for i in range(n)]


def png(frame: NDArray[Any]) -> bytes:
    return bytes(cv2.imencode(".png", frame)[1].tobytes())


def put(folder: Path, name: str, frame: NDArray[Any]) -> None:
    (folder / name).write_bytes(png(frame))


def put_all(folder: Path, frames: Frames) -> None:
    """Write frames as ``a_0.png``, ``a_1.png`` and so on."""
    for i, frame in enumerate(frames):
        put(folder, f"a_{i}.png", frame)


def truth(frames: Frames, z: list[float]) -> NDArray[np.float32]:
    growing = GrowingDepth()
    for frame, position in zip(frames, z, strict=True):
        growing.add(frame, position)
    return growing.depth()


Look = Callable[[FolderWatch], News]


def test_slices_are_taken_as_they_come_with_positions_from_their_names(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of()
    watch = FolderWatch(folder, now=clock)
    assert watch.status() == "waiting for the first slice"
    for i, frame in enumerate(frames):
        put(folder, f"scan_z{2.5 * i:.1f}um.png", frame)
        news = look(watch)
        assert news.arrived == (f"scan_z{2.5 * i:.1f}um.png",)
        assert news.changed
        assert watch.n == i + 1
    assert watch.unit == "um"
    np.testing.assert_allclose(watch.positions, 2.5 * np.arange(11))
    z = [2.5 * i for i in range(11)]
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, z))
    stack = watch.stack()
    assert list(stack.source.names) == list(watch.names)
    np.testing.assert_allclose(stack.positions.value, z)


def test_first_look_takes_what_is_there_and_the_second_nothing_more(folder: Path, clock: Clock, look: Look) -> None:
    put_all(folder, frames_of(5))
    watch = FolderWatch(folder, now=clock)
    assert watch.look().arrived == ()  # nothing is known to have settled
    clock.now += 1.1
    assert len(watch.look().arrived) == 5
    again = look(watch)
    assert (again.arrived, again.changed) == ((), False)


def test_half_written_files_are_not_read(folder: Path, clock: Clock) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, now=clock)
    data = png(frames[0])
    for share in range(1, 11):
        (folder / "a_0.png").write_bytes(data[: share * len(data) // 10])
        news = watch.look()
        clock.now += 0.6
        assert (news.arrived, news.waiting) == ((), ("a_0.png",))
    assert watch.look().arrived == ()  # whole, but only just
    clock.now += 0.6
    assert watch.look().arrived == ("a_0.png",)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
def test_file_that_rests_half_written_is_named_and_read_later(
    folder: Path, clock: Clock, look: Look, kind: str
) -> None:
    watch = FolderWatch(folder, now=clock)
    data = bytes(cv2.imencode(f".{kind}", frames_of(3)[0])[1].tobytes())
    (folder / f"a_0.{kind}").write_bytes(data[: len(data) // 2])
    news = look(watch)
    assert news.arrived == ()
    assert [one.name for one in news.broken] == [f"a_0.{kind}"]
    assert (news.left, news.notes) == ((), ())  # it is not given up, and how it stands is no event
    assert look(watch).broken == news.broken
    (folder / f"a_0.{kind}").write_bytes(data)
    news = look(watch)
    assert (news.arrived, news.broken) == ((f"a_0.{kind}",), ())


def test_unreadable_file_of_full_size_is_tried_again_with_growing_pauses(folder: Path, clock: Clock) -> None:
    put(folder, "a_0.png", frames_of(3)[0])
    (folder / "a_1.png").write_bytes(b"\0" * 500)
    stamp = (folder / "a_1.png").stat()
    watch = FolderWatch(folder, now=clock)
    watch.look()
    clock.now += 1.1
    assert watch.look().broken[0].name == "a_1.png"
    # the same size and time as before: only trying again can tell
    data = png(frames_of(3)[1][:8, :8])
    (folder / "a_1.png").write_bytes(data.ljust(500, b"\0"))
    os.utime(folder / "a_1.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    for _ in range(20):
        clock.now += 0.5
        if not (news := watch.look()).broken:
            break
    assert "another size" in news.left[0].why
    assert watch.n == 1


def test_temporary_names_and_foreign_files_are_no_slices(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    for name in ("a_3.png.part", ".a_3.png", "~a_3.tmp"):
        put(folder, name, frames[3])
    for name in ("scan.xml", "notes.txt", "log.csv", "Thumbs.db"):
        (folder / name).write_text("<xml/>")
    (folder / "sub").mkdir()
    put(folder / "sub", "a_9.png", frames[0])
    put(folder, "preview.png", frames[0][:20, :20])
    for i in range(3):
        put(folder, f"a_{i}.png", frames[i])
    assert look(watch).arrived == ("a_0.png", "a_1.png", "a_2.png")
    (folder / "a_3.png.part").rename(folder / "a_3.png")
    assert look(watch).arrived == ("a_3.png",)
    assert list(watch.stack().source.names) == [f"a_{i}.png" for i in range(4)]


def test_thumbnails_beside_each_slice_are_left_out_by_name(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames_of(4)):
        put(folder, f"a_{i}.png", frame)
        look(watch)
        put(folder, f"a_{i}_small.png", frame[::4, ::4])
        news = look(watch)
    assert watch.names == ("a_0.png", "a_1.png", "a_2.png", "a_3.png")
    assert [one.name for one in news.left] == [f"a_{i}_small.png" for i in range(4)]
    assert watch.stack().n == 4


def test_copy_of_a_slice_is_left_out(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames):
        put(folder, f"a_{i}.png", frame)
        look(watch)
        if i == 4:
            put(folder, "a_3 (copy).png", frames[3])
            assert look(watch).notes == ("a_3 (copy).png is pixel by pixel a_3.png once more: left out.",)
    assert watch.n == 6
    assert watch.stack().n == 6
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [float(i) for i in range(6)]))
    for name in ("a_7.png", "a_8.png"):  # black ones are alike without being copies
        put(folder, name, np.zeros_like(frames[0]))
    assert look(watch).arrived == ("a_7.png", "a_8.png")


def test_advice_names_slices_that_are_missing(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames_of(9)):
        if i != 4:
            put(folder, f"a_{i}.png", frame)
    look(watch)
    advice = watch.advice()
    assert advice is not None
    assert advice.reasons[0].startswith(
        "Missing: a_4.png; what lies beyond is placed a step too near, for slices are counted. Look for the rest."
    )
    put(folder, "a_4.png", frames_of(9)[4])
    look(watch)
    advice = watch.advice()
    assert advice is not None
    assert "Missing" not in advice.text


def test_advice_is_worked_out_once_while_nothing_changes(
    folder: Path, clock: Clock, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    before = SweepAdvisor.advise
    monkeypatch.setattr(SweepAdvisor, "advise", lambda self, *how: (asked.append(how), before(self, *how))[1])
    watch = FolderWatch(folder, now=clock)
    frames = frames_of(9)
    for i in range(5, 8):
        put(folder, f"a_{i}.png", frames[i])
    look(watch)
    assert watch.advice() is watch.advice() is None  # too few, which is an answer, too
    assert len(asked) == 1
    for i in (3, 4, 8):
        put(folder, f"a_{i}.png", frames[i])
    look(watch)
    counted = watch.advice()
    assert counted is not None
    assert watch.advice() is counted
    assert len(asked) == 2
    watch.set_step(0.5)
    watch.place()
    stepped = watch.advice()
    assert stepped is not None
    assert (counted.metric, stepped.metric) == (False, True)


@pytest.mark.parametrize("named", [True, False])
def test_order_does_not_matter(folder: Path, clock: Clock, look: Look, named: bool) -> None:
    frames = frames_of(9)
    names = [f"a_z{i * 0.5:.1f}um.png" if named else f"a_{i}.png" for i in range(9)]
    expected = truth(frames, [0.5 * i if named else float(i) for i in range(9)])
    for order in ([8, 7, 6, 5, 4, 3, 2, 1, 0], [4, 3, 5, 2, 6, 1, 7, 0, 8]):
        watch = FolderWatch(folder, now=clock)
        for i in order:
            put(folder, names[i], frames[i])
            look(watch)
        np.testing.assert_array_equal(watch.growing.depth(), expected)
        assert list(watch.names) == names
        assert watch.newest == names[order[-1]]
        for name in names:
            (folder / name).unlink()


def test_file_written_anew_takes_the_place_of_its_slice(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(7)
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames):
        put(folder, f"a_{i}.png", np.zeros_like(frame) if i == 3 else frame)
    look(watch)
    spoilt = watch.growing.depth()
    (folder / "a_3.png").write_bytes(png(frames[3])[:100])
    news = watch.look()
    assert news.waiting == ("a_3.png",)
    np.testing.assert_array_equal(watch.growing.depth(), spoilt)  # not read while it is written
    put(folder, "a_3.png", frames[3])
    news = look(watch)
    assert "a_3.png was written anew." in news.notes
    assert (news.arrived, news.changed, watch.n) == ((), True, 7)
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [float(i) for i in range(7)]))


def test_slice_that_goes_is_taken_out(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    put_all(folder, frames)
    look(watch)
    (folder / "a_2.png").unlink()
    news = watch.look()
    assert "a_2.png is gone from the folder." in news.notes
    assert watch.n == 5
    assert "a_2.png missing" in watch.status()


def test_folder_may_go_and_come_back(folder: Path, clock: Clock, look: Look, tmp_path: Path) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    for i in range(4):
        put(folder, f"a_{i}.png", frames[i])
    look(watch)
    before = watch.growing.depth()
    folder.rename(tmp_path / "unplugged")
    news = look(watch)
    assert news.problem is not None
    assert news.problem.endswith("is gone: it was moved, renamed or deleted.")
    assert watch.n == 4
    (tmp_path / "unplugged").rename(folder)
    put(folder, "a_4.png", frames[4])
    news = look(watch)
    assert (news.problem, news.arrived) == (None, ("a_4.png",))
    assert watch.growing.depth().shape == before.shape


def test_folder_that_goes_during_a_look_takes_no_slice_along(
    folder: Path, clock: Clock, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames_of(4)):
        put(folder, f"a_{i}.png", frame)
    look(watch)
    listing = watching.list_folder(folder)

    def unplugged(path: Path, like: str | None) -> Any:
        path.rename(tmp_path / "unplugged")
        return listing

    monkeypatch.setattr(watching, "list_folder", unplugged)
    news = watch.look()
    assert news.problem is not None
    assert news.problem.endswith("is gone: it was moved, renamed or deleted.")
    assert watch.n == 4


def test_clock_of_the_files_does_not_matter(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames):
        put(folder, f"a_{i}.png", frame)
        os.utime(folder / f"a_{i}.png", (4e9 - 1e8 * i, 4e9 - 1e8 * i))  # from the far future, backwards
        assert look(watch).arrived == (f"a_{i}.png",)
    assert watch.names == tuple(f"a_{i}.png" for i in range(6))


def test_missing_slice_is_named() -> None:
    assert missing_counters(["a_01.tif", "a_02.tif", "a_04.tif", "a_05.tif"]) == "a_03.tif"
    assert missing_counters(["a_2.tif", "a_4.tif", "a_6.tif", "a_12.tif", "a_14.tif"]) == "a_8.tif, a_10.tif"
    assert missing_counters([f"a_{i}.tif" for i in (0, 1, 2, 9)]) == "a_3.tif, a_4.tif, a_5.tif and 3 more"
    assert missing_counters(["a_01.tif", "a_02.tif", "a_03.tif"]) == ""
    assert missing_counters(["a_0.5um.tif", "a_1.0um.tif", "a_2.5um.tif"]) == ""
    assert missing_counters(["a_1_b_2.tif", "a_2_b_9.tif", "a_5_b_1.tif"]) == ""
    assert missing_counters(["a.tif", "b.tif"]) == ""


def test_sweep_ends_when_it_looks_complete_and_nothing_more_comes(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, now=clock)
    reasons = []
    for i, frame in enumerate(frames_of(21)):
        put(folder, f"a_{i:02d}.png", frame)
        look(watch)
        reasons.append(watch.ended())
    assert not any(reasons)  # slices still come
    assert "looks complete" in watch.status()
    clock.now += max(QUIET_S, watch.quiet_s) + 0.1
    watch.look()
    assert "both sides" in str(watch.ended())


def test_half_a_sweep_does_not_end_but_by_idleness(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames_of(21)[:12]):
        put(folder, f"a_{i:02d}.png", frame)
        look(watch)
    clock.now += 600
    watch.look()
    assert "sharper towards an end" in watch.status() or "still rises" in watch.status()
    assert watch.ended() is None
    assert watch.ended(idle_s=900) is None
    assert watch.ended(idle_s=300) == "Nothing new came for 300 s."


def test_file_that_grows_is_a_sign_of_life(folder: Path, clock: Clock) -> None:
    watch = FolderWatch(folder, now=clock)
    data = png(frames_of(3)[0])
    put(folder, "a_0.png", frames_of(3)[0])
    for k in range(40):
        (folder / "a_1.png").write_bytes(data[: k * 50])
        watch.look()
        clock.now += 1.0
        assert watch.ended(idle_s=5) is None


def test_sweep_of_known_length_ends_with_its_last_slice(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, slices=5, now=clock)
    frames = frames_of(8)
    for i in range(8):
        put(folder, f"a_{i}.png", frames[i])
    look(watch)
    assert watch.n == 5
    assert watch.ended() == "All 5 slices came."
    assert watch.stack().n == 5
    watch.next_sweep()
    assert watch.look().arrived == ("a_5.png", "a_6.png", "a_7.png")


def test_position_that_comes_again_begins_another_sweep(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    watch = FolderWatch(folder, now=clock)
    for t in range(2):
        for i, frame in enumerate(frames):
            put(folder, f"t{t}_z{i + 0.01 * t:.2f}um.png", frame)  # a stage is never quite where it was
            look(watch)
    assert watch.following == "t1_z0.01um.png"
    assert watch.ended() == "t1_z0.01um.png begins another sweep."
    assert watch.stack().n == 6
    watch.next_sweep()
    look(watch)
    assert [name[:2] for name in watch.names] == ["t1"] * 6
    assert watch.ended() is None


def test_names_of_another_kind_begin_another_sweep_once_they_are_several(
    folder: Path, clock: Clock, look: Look
) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames):
        put(folder, f"first_z{i}um.png", frame)
    look(watch)
    put(folder, "overview.png", frames[0])
    news = look(watch)
    assert ("overview.png", "is called otherwise than the slices before it") in [
        (one.name, one.why) for one in news.left
    ]
    (folder / "overview.png").unlink()
    for i in range(3):
        assert watch.following is None
        put(folder, f"second_z{i}um.png", frames[i])
        look(watch)
    assert watch.following == "second_z0um.png"
    assert watch.unit == "um"
    watch.next_sweep()
    assert watch.look().arrived == ("second_z0um.png", "second_z1um.png", "second_z2um.png")


def test_files_of_a_past_sweep_that_are_written_over_count_again(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, slices=5, now=clock)
    put_all(folder, frames)
    look(watch)
    watch.next_sweep()
    assert look(watch).arrived == ()
    for i, frame in enumerate(frames):
        put(folder, f"a_{i}.png", frame + np.uint8(1))
    assert len(look(watch).arrived) == 5


def test_fresh_watch_passes_over_what_was_there(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    for i in range(3):
        put(folder, f"old_{i}.png", frames[i])
    watch = FolderWatch(folder, fresh=True, now=clock)
    look(watch)
    for i in range(3, 6):
        put(folder, f"new_{i}.png", frames[i])
    assert look(watch).arrived == ("new_3.png", "new_4.png", "new_5.png")


def test_positions_come_from_a_sidecar_that_knows_the_whole_sweep(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(8)
    sidecar = {"positions": [3.0 * i for i in range(8)], "unit": "um", "pixel_size": 0.5}
    (folder / "stack.json").write_text(json.dumps(sidecar))
    watch = FolderWatch(folder, now=clock)
    for i in range(5):
        put(folder, f"a_{i}.png", frames[i])
        look(watch)
    np.testing.assert_array_equal(watch.positions, [0, 3, 6, 9, 12])
    stack = watch.stack()
    np.testing.assert_array_equal(stack.positions.value, [0, 3, 6, 9, 12])
    assert stack.unit == "um"
    assert stack.positions.origin == "stack.json"


def test_sidecar_may_name_frames_that_are_still_to_come(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(6)
    names = ["first.png", "second.png", "third.png", "fourth.png", "fifth.png", "sixth.png"]
    text = {"frames": names, "positions": [0, 1, 2, 4, 8, 9], "unit": "um"}
    (folder / "stack.json").write_text(json.dumps(text))
    watch = FolderWatch(folder, now=clock)
    for i in (5, 0, 3, 2):
        put(folder, names[i], frames[i])
        look(watch)
    np.testing.assert_array_equal(watch.positions, [0, 2, 4, 9])
    np.testing.assert_array_equal(watch.stack().positions.value, [0, 2, 4, 9])


def test_broken_sidecar_is_told_and_slices_are_counted(folder: Path, clock: Clock, look: Look) -> None:
    (folder / "stack.json").write_text("{")
    put(folder, "a_0.png", frames_of(3)[0])
    watch = FolderWatch(folder, now=clock)
    news = look(watch)
    assert any("no valid JSON" in note for note in news.notes)
    assert (watch.n, watch.unit) == (1, "index")


def test_z_step_counts_from_the_first_slice(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, OpenOptions(z_step=2.5, unit="um"), now=clock)
    for i, frame in enumerate(frames_of(4)):
        put(folder, f"a_{i}.png", frame)
        look(watch)
    np.testing.assert_array_equal(watch.positions, [0, 2.5, 5, 7.5])


def test_step_counts_where_nothing_else_tells_positions_and_may_change(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(9)
    watch = FolderWatch(folder, now=clock)
    for i in (8, 3, 5, 0, 1):
        put(folder, f"a_{i}.png", frames[i])
        look(watch)
    assert (watch.unit, watch.takes_step) == ("index", True)
    watch.set_step(2.5)
    assert watch.unit == "index"  # until it is placed
    assert watch.place().changed
    assert not watch.place().changed
    assert (watch.unit, watch.takes_step) == ("um", True)
    np.testing.assert_array_equal(watch.positions, [0, 2.5, 5, 7.5, 10])
    for i in (7, 2, 6, 4):
        put(folder, f"a_{i}.png", frames[i])
        look(watch)
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [2.5 * i for i in range(9)]))
    watch.set_step(0.4)
    assert watch.look().changed
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [0.4 * i for i in range(9)]))
    stack = watch.stack()
    assert (stack.unit, stack.positions.origin) == ("um", "typed in")
    np.testing.assert_allclose(stack.positions.value, watch.positions)
    watch.set_step(-0.4)  # the first slice is the highest: all are read once more
    assert watch.place().changed
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [-0.4 * i for i in range(9)]))
    watch.set_step(None)
    assert watch.place().changed
    assert (watch.unit, watch.stack().unit) == ("index", "index")
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [float(i) for i in range(9)]))
    with pytest.raises(SettingsError, match="give a number other than 0"):
        watch.set_step(0.0)


def test_step_does_not_count_where_files_tell_positions(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, now=clock)
    watch.set_step(2.5)
    for i in range(5):
        put(folder, f"a_z{i}um.png", frames[i])
    look(watch)
    assert not watch.takes_step
    np.testing.assert_array_equal(watch.positions, range(5))
    watch.set_step(7.0)
    assert not watch.place().changed
    np.testing.assert_array_equal(watch.stack().positions.value, range(5))


def test_step_counts_for_pages_too(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(7)
    watch = FolderWatch(folder, now=clock)
    tifffile.imwrite(folder / "scan.tif", np.stack(frames[:5]), photometric="minisblack")
    look(watch)
    assert watch.takes_step
    watch.set_step(3.0)
    assert watch.place().changed
    np.testing.assert_array_equal(watch.positions, 3.0 * np.arange(5))
    tifffile.imwrite(folder / "scan.tif", np.stack(frames), photometric="minisblack")
    look(watch)
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [3.0 * i for i in range(7)]))
    watch.set_step(1.5)
    assert watch.look().changed
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [1.5 * i for i in range(7)]))
    assert watch.stack().unit == "um"
    (folder / "scan.tif").unlink()
    watch.set_step(4.0)
    assert not watch.place().changed  # it cannot be told any more
    watch.look()
    assert watch.n == 0


def test_step_and_names_count_where_the_sidecar_is_broken(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(3)
    (folder / "stack.json").write_text("{")
    watch = FolderWatch(folder, now=clock)
    watch.set_step(2.0)
    put(folder, "a_0.png", frames[0])
    put(folder, "a_1.png", frames[1])
    news = look(watch)
    assert any("no valid JSON" in note and "The step tells their positions" in note for note in news.notes)
    np.testing.assert_array_equal(watch.positions, [0, 2])
    for i in range(2):
        (folder / f"a_{i}.png").rename(folder / f"a_z{3 * i}um.png")
    news = look(watch)
    assert any("no valid JSON" in note and "Positions come from the file name" in note for note in news.notes)
    np.testing.assert_array_equal(watch.positions, [0, 3])


def test_advice_is_that_for_the_same_slices_wherever_they_come_from(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(21)[8:]
    watch = FolderWatch(folder, now=clock)
    for i in (4, 3, 2, 1):
        put(folder, f"a_{i:02d}.png", frames[i])
    look(watch)
    assert watch.advice() is None  # four tell nothing
    for i in (0, *range(5, 13)):
        put(folder, f"a_{i:02d}.png", frames[i])
        look(watch)
    assert not watch.is_quiet
    clock.now += watch.quiet_s
    watch.look()
    assert watch.is_quiet
    advice = watch.advice()
    assert advice is not None
    assert "is sharpest in the first slice: the surface goes on before it." in advice.reasons[0]
    assert not advice.metric
    watch.set_step(2.0)
    watch.place()
    in_um = watch.advice()
    assert in_um is not None
    assert in_um.metric
    assert "is sharpest in the bottom slice: the surface goes on below it. Put the bottom at −" in in_um.reasons[0]
    pages = folder.parent / "pages"
    pages.mkdir()
    tifffile.imwrite(pages / "scan.tif", np.stack(frames), photometric="minisblack")
    other = FolderWatch(pages, now=clock)
    look(other)
    assert other.advice() == advice


def test_same_position_twice_is_left_out(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(4)
    watch = FolderWatch(folder, now=clock)
    put(folder, "a1_z0.0um.png", frames[0])
    put(folder, "a2_z1.0um.png", frames[1])
    put(folder, "a3_z1.0um.png", frames[2])
    put(folder, "a4_z2.0um.png", frames[3])
    news = look(watch)
    assert watch.n == 3
    assert [one.name for one in news.left] == ["a3_z1.0um.png"]
    assert "already" in news.left[0].why
    assert watch.stack().n == 3


@pytest.mark.parametrize("ome", [False, True])
def test_pages_of_a_tiff_that_grows_are_slices(folder: Path, clock: Clock, look: Look, ome: bool) -> None:
    frames = frames_of(9)
    if ome:
        tifffile.imwrite(folder / "whole.ome.tif", np.stack(frames), metadata={"axes": "ZYX"})
        data = (folder / "whole.ome.tif").read_bytes()
        (folder / "whole.ome.tif").unlink()
    watch = FolderWatch(folder, now=clock)
    counts = []
    if ome:
        for share in (0.5, 0.7, 0.9, 1.0):
            (folder / "scan.ome.tif").write_bytes(data[: int(share * len(data))])
            watch.look()
            clock.now += 0.4
            counts.append(watch.n)
    else:
        with tifffile.TiffWriter(folder / "scan.tif") as writer:
            for frame in frames:
                writer.write(frame, contiguous=False, metadata=None)
                writer.filehandle.flush()
                watch.look()
                clock.now += 0.4
                counts.append(watch.n)
        assert counts[-1] >= 7
    look(watch)
    look(watch)
    assert counts == sorted(counts)
    assert watch.n == 9
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [float(i) for i in range(9)]))
    assert watch.stack().n == 9


def test_slow_tiff_that_begins_with_one_page_becomes_a_sweep(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, now=clock)
    with tifffile.TiffWriter(folder / "scan.tif") as writer:
        for frame in frames:
            writer.write(frame, contiguous=False, metadata=None)
            writer.filehandle.flush()
            look(watch)  # it rests long enough to pass for a single image
    look(watch)
    look(watch)
    assert watch.n == 5
    assert watch.names == tuple(f"slice {i + 1}" for i in range(5))


def test_each_tiff_with_many_pages_is_a_sweep(folder: Path, clock: Clock, look: Look) -> None:
    frames = frames_of(5)
    watch = FolderWatch(folder, now=clock)
    for name in ("run_1.tif", "run_2.tif"):
        tifffile.imwrite(folder / name, np.stack(frames))
        look(watch)
        look(watch)
    assert watch.n == 5
    assert watch.ended() == "run_2.tif begins another sweep."
    watch.next_sweep()
    look(watch)
    assert watch.n == 5
    assert watch.stack().path == folder / "run_2.tif"


@pytest.mark.parametrize("high", [1.0, 4000.0])
def test_float_frames_are_brought_into_range(folder: Path, clock: Clock, look: Look, high: float) -> None:
    frames = frames_of(7, encoding="float32")
    watch = FolderWatch(folder, now=clock)
    for i, frame in enumerate(frames):
        tifffile.imwrite(folder / f"a_{i}.tif", frame * np.float32(high))
    look(watch)
    assert watch.n == 7
    known = np.isfinite(watch.growing.depth())
    expected = truth(frames, [float(i) for i in range(7)])
    assert (known & np.isfinite(expected)).mean() > 0.7
    np.testing.assert_allclose(watch.growing.depth()[known], expected[known], atol=0.02)


def test_large_frames_are_previewed_at_reduced_size(
    folder: Path, clock: Clock, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toposcope.core.watching.PREVIEW_PIXELS", 80 * 80)
    watch = FolderWatch(folder, now=clock)
    put_all(folder, frames_of(5))
    look(watch)
    assert watch.reduction == 2
    assert watch.growing.depth().shape == (80, 80)
    assert watch.stack().shape == (160, 160)


def test_too_few_slices_make_no_stack(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, now=clock)
    with pytest.raises(StackError, match="0 slices came"):
        watch.stack()
    put(folder, "a_0.png", frames_of(3)[0])
    look(watch)
    with pytest.raises(StackError, match="1 slice came"):
        watch.stack()


def test_wrong_wishes_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="no folder"):
        FolderWatch(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="too short"):
        FolderWatch(folder, slices=2)
    with pytest.raises(SettingsError, match="by name"):
        FolderWatch(folder, OpenOptions(skip=(3,)))


def test_frames_to_skip_never_count(folder: Path, clock: Clock, look: Look) -> None:
    watch = FolderWatch(folder, OpenOptions(skip=("a_1.png",)), now=clock)
    put_all(folder, frames_of(5))
    look(watch)
    assert watch.names == ("a_0.png", "a_2.png", "a_3.png", "a_4.png")
    assert watch.stack().n == 4


WRITER = """
import sys, time
from pathlib import Path
source, target = Path(sys.argv[1]), Path(sys.argv[2])
for path in sorted(source.iterdir()):
    data = path.read_bytes()
    with open(target / path.name, "wb", buffering=0) as file:
        for k in range(4):
            file.write(data[k * len(data) // 4 : (k + 1) * len(data) // 4])
            time.sleep(0.03)
"""


def test_files_that_a_process_writes_in_pieces_all_arrive_whole(folder: Path, tmp_path: Path) -> None:
    frames = frames_of(9)
    source = tmp_path / "source"
    source.mkdir()
    for i, frame in enumerate(frames):
        put(source, f"a_{i}.png", frame)
    watch = FolderWatch(folder, settle_s=0.3)
    seen: list[str] = []
    left: set[str] = set()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(source), str(folder)]) as writer:
        deadline = time.monotonic() + 60
        while watch.n < 9 and time.monotonic() < deadline:
            news = watch.look()
            seen += news.arrived
            left |= {one.name for one in news.left}
            time.sleep(0.02)
        assert writer.wait(30) == 0
    assert seen == [f"a_{i}.png" for i in range(9)]
    np.testing.assert_array_equal(watch.growing.depth(), truth(frames, [float(i) for i in range(9)]))


def test_only_takes_the_named_files_of_a_folder(folder: Path) -> None:
    put_all(folder, frames_of(5))
    stack = open_stack(folder, OpenOptions(only=("a_3.png", "a_0.png", "a_4.png")))
    assert list(stack.source.names) == ["a_0.png", "a_3.png", "a_4.png"]

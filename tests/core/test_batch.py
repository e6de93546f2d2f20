"""Many stacks: one result each, a table, going on where it was stopped, and what is refused at the door."""

from __future__ import annotations

import csv
import gc
import json
import os
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from command_runs import write_stack
from scenes import tilted_plane
from toposcope.core import batch as core_batch
from toposcope.core.alike import calibrating_like, like_result, over
from toposcope.core.batch import BatchPlan, BatchProgress, BatchRow, plan_batch, run_batch, short_name
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.export import read_result, write_result, writing
from toposcope.core.jobs import Cancelled, Progress, Report, silent
from toposcope.core.result import DepthResult
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.source.finding import each_position, find_stacks
from toposcope.core.stack import FocalStack
from toposcope.errors import OutputError, SettingsError, StackError

SETTINGS = EstimateSettings("sml", align="none")


@dataclass
class Counted:
    """The real estimation, and which stacks it was asked for."""

    names: list[str] = field(default_factory=list)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __call__(self, stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        assert not settings.keep_volume
        self.names.append(stack.name)
        if stack.name in self.fails:
            raise self.fails[stack.name]
        return estimate(stack, settings, report)


@pytest.fixture
def stacks(tmp_path: Path) -> list[Path]:
    scene = tilted_plane(n=5, size=48)
    (tmp_path / "in").mkdir()
    return [write_stack(scene, tmp_path / "in" / f"scan_{k}") for k in (1, 2, 3)]


def planned(paths: Sequence[Path], out: Path, **wishes: object) -> BatchPlan:
    return plan_batch(find_stacks(paths), out, **{"settings": SETTINGS, "named": paths, **wishes})  # type: ignore[arg-type]


def states(rows: Sequence[BatchRow]) -> list[str]:
    return [row.state for row in rows]


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "batch.csv").read_text(encoding="utf-8").splitlines()))


def test_each_stack_has_its_result_and_its_row(stacks: list[Path], tmp_path: Path) -> None:
    heard: list[tuple[int, str]] = []
    out = tmp_path / "out"
    batch = run_batch(planned(stacks, out), on_row=lambda k, row: heard.append((k, row.state)))
    assert heard == [(k, state) for k in range(3) for state in ("running", "done")]
    for row, stack in zip(batch.rows, stacks, strict=True):
        alone = estimate(open_stack(stack), SETTINGS)
        np.testing.assert_array_equal(read_result(out / stack.name).depth, alone.depth)
        assert row.void_share == pytest.approx(1 - alone.valid.mean())
    told = table(out)
    assert [row["stack"] for row in told] == ["scan_1", "scan_2", "scan_3"]
    assert {row["state"] for row in told} == {"done"}
    assert all(float(row["depth_min"]) < float(row["depth_median"]) < float(row["depth_max"]) for row in told)
    assert told[0]["unit"] == "um"
    assert told[0]["path"] == str(stacks[0])


def test_second_run_does_nothing_again(stacks: list[Path], tmp_path: Path) -> None:
    plan, counted = planned(stacks, tmp_path / "out"), Counted()
    first = run_batch(plan, estimate=counted)
    assert len(counted.names) == 3
    again = run_batch(plan, estimate=counted)
    assert len(counted.names) == 3
    assert states(again.rows) == ["up to date"] * 3
    assert [row.outcome for row in again.rows] == [row.outcome for row in first.rows]
    assert states(run_batch(replace(plan, anew=True), estimate=counted).rows) == ["done"] * 3
    assert states(run_batch(planned([tmp_path / "in"], tmp_path / "out")).rows) == ["up to date"] * 3


def test_what_changed_is_done_again(stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_batch(planned(stacks, out))
    # another picture of the same size, with the time of the old one
    frame = stacks[0] / "frame2.png"
    picture, times = cv2.imread(str(frame), cv2.IMREAD_UNCHANGED), os.stat(frame)
    frame.write_bytes(cv2.imencode(".png", 255 - picture)[1].tobytes())  # type: ignore[operator]
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    # the same pictures, written anew: what they hold counts
    for frame in stacks[1].glob("*.png"):
        os.utime(frame, ns=(0, 0))
    facts = json.loads((stacks[2] / "stack.json").read_text())
    (stacks[2] / "stack.json").write_text(json.dumps(facts | {"pixel_size": 0.7}))
    assert states(run_batch(planned(stacks, out)).rows) == ["done", "up to date", "done"]
    os.remove(out / "scan_2" / "confidence.tif")
    assert states(run_batch(planned(stacks, out)).rows) == ["up to date", "done", "up to date"]
    other = EstimateSettings("sml", {"window": 5}, align="none")
    assert states(run_batch(planned(stacks, out, settings=other)).rows) == ["done"] * 3
    typed = OpenOptions(z_step=3.0, unit="um")
    assert states(run_batch(planned(stacks, out, settings=other, reading=typed)).rows) == ["done"] * 3
    on_other_cores = replace(other, threads=1, device="cpu")
    assert states(run_batch(planned(stacks, out, settings=on_other_cores, reading=typed)).rows) == ["up to date"] * 3


def test_failing_stacks_stop_no_others(stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    (stacks[0] / "frame1.png").write_bytes(b"no picture")
    counted = Counted(fails={"scan_2": ValueError("a fault")})
    batch = run_batch(planned([*stacks, tmp_path / "nowhere"], out), estimate=counted, sentence=repr)
    assert states(batch.rows) == ["failed", "failed", "done", "failed"]
    assert "frame1.png" in batch.rows[0].problem
    assert batch.rows[1].problem == "ValueError('a fault')"
    assert "does not exist" in batch.rows[3].problem
    assert len(batch.failed) == 3
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["scan_3"]
    assert [row["state"] for row in table(out)] == ["failed", "failed", "done", "failed"]
    counted.fails.clear()
    assert states(run_batch(planned(stacks, out), estimate=counted).rows) == ["failed", "done", "up to date"]


def test_a_failure_keeps_no_pictures(stacks: list[Path], tmp_path: Path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []

    def fails(stack: FocalStack, settings: EstimateSettings, report: Report) -> DepthResult:
        plane = np.zeros(stack.shape)
        alive.append(weakref.ref(plane))
        raise StackError("slice 2 is damaged.")

    batch = run_batch(planned(stacks, tmp_path / "out"), estimate=fails)
    gc.collect()
    assert [one() for one in alive] == [None] * 3
    assert "in fails" in batch.rows[0].details


def test_result_of_before_is_told_where_its_stack_fails_now(stacks: list[Path], tmp_path: Path) -> None:
    run_batch(planned(stacks, tmp_path / "out"))
    (stacks[0] / "frame1.png").write_bytes(b"no picture")
    row = run_batch(planned(stacks, tmp_path / "out")).rows[0]
    assert row.state == "failed"
    assert row.problem.endswith("The result in its folder is of an earlier batch.")


def test_what_was_done_stays_when_it_is_stopped(stacks: list[Path], tmp_path: Path) -> None:
    out, counted = tmp_path / "out", Counted()

    def stop(progress: Progress) -> None:
        if isinstance(progress, BatchProgress) and progress.index == 1 and progress.share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        run_batch(planned(stacks, out), stop, estimate=counted)
    assert [row["state"] for row in table(out)] == ["done", "waiting", "waiting"]
    assert not list((out / "scan_2").glob("*"))
    assert states(run_batch(planned(stacks, out), estimate=counted).rows) == ["up to date", "done", "done"]
    assert counted.names == ["scan_1", "scan_2", "scan_2", "scan_3"]


def test_same_names_have_folders_of_their_own_and_keep_them(tmp_path: Path) -> None:
    scene, out = tilted_plane(n=4, size=32), tmp_path / "out"
    for day in ("day1", "day2", "day3"):
        (tmp_path / day).mkdir()
    first = write_stack(scene, tmp_path / "day1" / "scan")
    run_batch(planned([first], out))
    others = [write_stack(scene, tmp_path / "day2" / "scan"), write_stack(scene, tmp_path / "day3" / "SCAN")]
    plan = planned([*others, first], out)
    assert [item.name for item in plan.items] == ["day2_scan", "day3_SCAN", "scan"]
    assert states(run_batch(plan).rows) == ["done", "done", "up to date"]
    assert [item.name for item in planned([*others, first], tmp_path / "other").items] == [
        "day2_scan",
        "day3_SCAN",
        "day1_scan",
    ]


def test_formats_are_written_and_added_without_computing_again(stacks: list[Path], tmp_path: Path) -> None:
    out, counted = tmp_path / "out", Counted()
    batch = run_batch(planned(stacks[:1], out, formats=("stl", "result")), estimate=counted)
    assert states(batch.rows) == ["done"]
    assert (out / "scan_1" / "surface.stl").exists()
    facts = json.loads((stacks[0] / "stack.json").read_text())
    more = planned(stacks[:1], out, formats=("stl", "x3p"))
    assert states(run_batch(more, estimate=counted).rows) == ["done"]
    assert (out / "scan_1" / "surface.x3p").exists()
    assert states(run_batch(more, estimate=counted).rows) == ["up to date"]
    assert counted.names == ["scan_1"]
    del facts["pixel_size"], facts["pixel_unit"]
    (stacks[0] / "stack.json").write_text(json.dumps(facts))
    for state in ("done", "up to date"):
        batch = run_batch(more, estimate=counted)
        assert states(batch.rows) == [state]
        assert batch.rows[0].problem.startswith("x3p is not written: ")
        assert batch.incomplete == batch.rows
        assert not batch.failed
    with pytest.raises(SettingsError, match="no pins"):
        planned(stacks, out, formats=("pins",))
    with pytest.raises(SettingsError, match="there is no format"):
        planned(stacks, out, formats=("docx",))


def test_exports_of_before_follow_a_new_result(stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_batch(planned(stacks[:1], out, formats=("stl",)))
    before = (out / "scan_1" / "surface.stl").read_bytes()
    run_batch(planned(stacks[:1], out, reading=OpenOptions(z_step=7.0, unit="um")))
    assert (out / "scan_1" / "surface.stl").read_bytes() != before


def test_another_result_in_the_folder_is_not_taken_for_ours(stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run_batch(planned(stacks[:1], out))
    write_result(estimate(open_stack(stacks[0]), EstimateSettings("tenengrad", align="none")), out / "scan_1")
    assert states(run_batch(planned(stacks[:1], out)).rows) == ["done"]


def test_files_that_change_meanwhile_are_noticed(stacks: list[Path], tmp_path: Path) -> None:
    def changes(stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        result = estimate(stack, settings, report)
        os.replace(stacks[1] / "frame0.png", stacks[0] / "frame4.png")
        return result

    run_batch(planned(stacks[:1], tmp_path / "out"), estimate=changes)
    assert states(run_batch(planned(stacks[:1], tmp_path / "out")).rows) == ["done"]


def test_full_disk_ends_a_batch(stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def full(stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        asked.append(stack.name)
        raise OutputError("the disk is full.")

    plan = planned(stacks, tmp_path / "out")
    assert states(run_batch(plan, estimate=full).rows) == ["failed"] * 3  # such as a name that is too long
    monkeypatch.setattr(core_batch, "NO_ROOM", 1 << 62)
    with pytest.raises(OutputError, match="disk is full"):
        run_batch(plan, estimate=full)
    assert asked == ["scan_1", "scan_2", "scan_3", "scan_1"]
    assert [row["state"] for row in table(tmp_path / "out")] == ["failed", "waiting", "waiting"]


def test_folder_that_may_not_be_written_to_is_refused(
    stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(**options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(core_batch.tempfile, "TemporaryFile", denied)
    with pytest.raises(OutputError, match="cannot be written to: Permission denied"):
        planned(stacks, tmp_path / "out")


def test_door_refuses_what_would_end_badly(stacks: list[Path], tmp_path: Path) -> None:
    inner = tmp_path / "in"
    with pytest.raises(SettingsError, match="no stack was found"):
        planned([], tmp_path / "out")
    with pytest.raises(SettingsError, match="scan_1 is there twice"):
        planned([inner, stacks[0]], tmp_path / "out")
    for out in (inner, inner / "results", stacks[1] / "results"):
        with pytest.raises(SettingsError, match="would lie in"):
            planned([inner], out)
    with pytest.raises(SettingsError, match="in its own stack"):
        planned(stacks, inner)
    with pytest.raises(SettingsError, match="no method"):
        planned(stacks, tmp_path / "out", settings=EstimateSettings("magic"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a file stands in its place"):
        planned(stacks, tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_results_named_among_the_stacks_are_left_out(stacks: list[Path], tmp_path: Path) -> None:
    """As by ``scans/*`` where the results lie in scans/results."""
    out = tmp_path / "in" / "results"
    run_batch(planned(stacks, out))
    plan = planned([*stacks, out], out)
    assert states(run_batch(plan).rows) == ["up to date"] * 3


def test_time_left_is_told_by_what_was_done(stacks: list[Path], tmp_path: Path) -> None:
    told: list[BatchProgress] = []
    clock = iter(range(0, 100_000, 10))

    def hear(progress: Progress) -> None:
        if isinstance(progress, BatchProgress):
            told.append(progress)

    run_batch(planned(stacks, tmp_path / "out"), hear, now=lambda: float(next(clock)))
    assert told[0].seconds_left is None
    assert told[0].text == "1 of 3: scan_1, opening"
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    last = [one for one in told if one.index == 2]
    assert all(one.seconds_left is not None for one in last)
    assert " left" in last[0].text
    assert short_name("scan_" + "9" * 90) == f"scan_{'9' * 14}…{'9' * 19}"


def test_a_table_that_is_locked_stops_nothing(
    stacks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = writing._put

    def locked(beside: Path, path: Path) -> None:
        if path.name == "batch.csv":
            os.unlink(beside)
            raise OutputError(f"{path} cannot be written: it is open elsewhere.")
        put(beside, path)

    monkeypatch.setattr(writing, "_put", locked)
    batch = run_batch(planned(stacks, tmp_path / "out"))
    assert states(batch.rows) == ["done"] * 3
    assert "open elsewhere" in batch.table_problem


def test_another_batch_into_the_same_folder_loses_nothing(stacks: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"

    def meanwhile(index: int, row: BatchRow) -> None:
        if row.state == "running":
            run_batch(planned(stacks[2:], out))

    run_batch(planned(stacks[:1], out), on_row=meanwhile)
    assert states(run_batch(planned([*stacks[:1], *stacks[2:]], out)).rows) == ["up to date"] * 2


def test_moved_results_are_found_again(stacks: list[Path], tmp_path: Path) -> None:
    run_batch(planned(stacks, tmp_path / "out"))
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    assert states(run_batch(planned(stacks, tmp_path / "elsewhere")).rows) == ["up to date"] * 3


# -- like a stored result ------------------------------------------------------------------------------------------


def stored(stack: Path, out: Path, settings: EstimateSettings = SETTINGS, **options: object) -> Path:
    run_batch(planned([stack], out, settings=settings, reading=OpenOptions(**options)))  # type: ignore[arg-type]
    return out / stack.name


def test_like_takes_method_settings_and_what_was_typed(stacks: list[Path], tmp_path: Path) -> None:
    settings = EstimateSettings("sml", {"window": 5}, align="none")
    result = stored(stacks[0], tmp_path / "out", settings, z_step=-3.0, unit="um")
    like = like_result(result)
    assert (like.settings.method, like.settings.align) == ("sml", "none")
    assert like.settings.options.window == 5
    assert like.calibrating.typed == OpenOptions(z_step=-3.0, unit="um")
    assert like.calibrating.told == OpenOptions(kind="microscope", near="high", pixel_um=0.5)
    assert like_result(result, chosen="gradient").settings.options is None
    (tmp_path / "no").mkdir()
    with pytest.raises(StackError, match="there is no result"):
        like_result(tmp_path / "no")


def test_calibration_of_files_counts_where_a_stack_tells_nothing(stacks: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(stacks[0], bare)
    (bare / "stack.json").unlink()
    own = json.loads((stacks[1] / "stack.json").read_text())
    (stacks[1] / "stack.json").write_text(json.dumps(own | {"pixel_size": 0.25}))
    told = calibrating_like(open_stack(stacks[0])).told
    out = tmp_path / "out"
    run_batch(planned([bare, stacks[1]], out, fallback=told))
    one, two = read_result(out / "bare"), read_result(out / "scan_2")
    assert (one.pixel_um, two.pixel_um) != (None, None)
    assert one.pixel_um is not None
    assert two.pixel_um is not None
    assert (one.unit, one.pixel_um.value, two.pixel_um.value) == ("um", 0.5, 0.25)
    np.testing.assert_allclose(np.diff(one.positions.value), np.diff(two.positions.value))


def test_a_guess_is_no_example(tmp_path: Path) -> None:
    scene = tilted_plane(n=4, size=32)
    bare = write_stack(scene, tmp_path / "bare")
    (bare / "stack.json").unlink()
    assert calibrating_like(open_stack(bare)).all == OpenOptions()


def test_uneven_positions_follow_the_order_of_the_files(tmp_path: Path) -> None:
    scene = tilted_plane(n=4, size=32)
    for name, values in (("up", [0.0, 1.0, 3.0, 4.0]), ("down", [4.0, 3.0, 1.0, 0.0])):
        stack = write_stack(scene, tmp_path / name, positions=values)
        assert calibrating_like(open_stack(stack)).told.positions == tuple(values)


def test_what_is_stated_wins() -> None:
    under = OpenOptions(z_step=2.0, unit="um", kind="microscope", pixel_um=0.5)
    assert over(OpenOptions(), under) == under
    assert over(OpenOptions(z_step=1.0, unit="mm"), under) == replace(under, z_step=1.0, unit="mm")
    assert over(OpenOptions(unit="mm"), under) == replace(under, z_step=0.002, unit="mm")
    assert over(OpenOptions(unit="index"), under) == replace(under, z_step=None, unit="index")
    assert over(OpenOptions(pixel_um=0.1, skip=("a",)), under) == replace(under, pixel_um=0.1, skip=("a",))


def test_other_weights_must_be_named(stacks: list[Path], tmp_path: Path) -> None:
    result = stored(stacks[0], tmp_path / "out")
    facts = json.loads((result / "result.json").read_text())
    facts["provenance"] |= {"method": "light", "settings": {"align": "none", "weights": "0" * 64, "network": "light"}}
    (result / "result.json").write_text(json.dumps(facts))
    with pytest.raises(SettingsError, match="other weights"):
        like_result(result)
    assert like_result(result, weights=tmp_path / "mine.safetensors").settings.method == "light"


def test_positions_of_a_file_have_results_of_their_own(tmp_path: Path) -> None:
    scene, path, out = tilted_plane(n=4, size=32, encoding="uint8"), tmp_path / "plate.ome.tif", tmp_path / "out"
    frames = np.stack([scene.stack.read(i) for i in range(4)])
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name in ("left", "right"):
            metadata = {"axes": "ZYX", "Name": name, "PhysicalSizeZ": 2.0}
            writer.write(frames, photometric="minisblack", metadata=metadata)
    found = each_position(find_stacks([path]))
    plan = plan_batch(found, out, SETTINGS, OpenOptions(pixel_um=0.5))
    assert [item.name for item in plan.items] == ["plate_left", "plate_right"]
    assert states(run_batch(plan).rows) == ["done", "done"]
    right = read_result(out / "plate_right")
    assert right.provenance.parts["series"].startswith("right")
    assert right.pixel_um is not None
    assert states(run_batch(plan).rows) == ["up to date"] * 2


def test_stacks_of_many_pages_are_read_from_one_folder(tmp_path: Path) -> None:
    scene = tilted_plane(n=4, size=32, encoding="uint8")
    frames = np.stack([scene.stack.read(i) for i in range(4)])
    (tmp_path / "in").mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", frames, photometric="minisblack")
    batch = run_batch(planned([tmp_path / "in"], tmp_path / "out"))
    assert states(batch.rows) == ["done", "done"]
    assert core_batch.depth_text(batch.rows[0].outcome).endswith(" slices")  # type: ignore[arg-type]

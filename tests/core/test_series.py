"""A time series: one result a time point, a table, and going on where it was stopped."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose

from scenes import tilted_plane
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.export import read_result
from toposcope.core.jobs import Cancelled, Progress, Report, silent
from toposcope.core.result import DepthResult
from toposcope.core.series import Series, estimate_times, time_folder, time_labels
from toposcope.core.source import OpenOptions, open_stack
from toposcope.core.stack import FocalStack
from toposcope.errors import OutputError, StackError
from window_fakes import make_stack

SETTINGS = EstimateSettings(align="none")


@dataclass
class Counted:
    """The real estimation, and of which times it was asked."""

    times: list[int] = field(default_factory=list)
    fails: tuple[int, ...] = ()

    def __call__(self, stack: FocalStack, settings: EstimateSettings, report: Report = silent) -> DepthResult:
        assert not settings.keep_volume
        part = stack.part("time")
        assert part is not None
        self.times.append(part.chosen)
        if part.chosen in self.fails:
            raise StackError("slice 2 is damaged.")
        return estimate(stack, settings, report)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three times of a tilted plane that is moved through the sweep: the frames of each begin one slice later."""
    scene = tilted_plane(encoding="uint8")
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    times = np.stack([frames[t : t + scene.stack.n - 2] for t in range(3)])
    path = tmp_path_factory.mktemp("series") / "three.ome.tif"
    metadata = {"axes": "TZYX", "PhysicalSizeZ": 2.0}
    tifffile.imwrite(path, times, ome=True, photometric="minisblack", metadata=metadata)
    return path


@pytest.fixture
def run(path: Path, tmp_path: Path) -> Callable[..., Series]:
    def call(
        counted: Counted, settings: EstimateSettings = SETTINGS, report: Report = silent, also: str = ""
    ) -> Series:
        stack = open_stack(path, OpenOptions(time=0))
        return estimate_times(stack, settings, tmp_path / "out", report, estimate=counted, also=also)

    return call


def test_each_time_has_a_result_and_a_line_in_the_table(run: Callable[..., Series], tmp_path: Path) -> None:
    counted, progress = Counted(), list[Progress]()
    series = run(counted, report=progress.append)
    assert counted.times == [0, 1, 2]
    assert not series.failed
    medians = []
    for row in series.rows:
        assert row.folder == tmp_path / "out" / f"time_00{row.time + 1}"
        result = read_result(row.folder)
        assert result.provenance.parts == {"time": f"time point {row.time + 1}"}
        medians.append(float(np.nanmedian(result.depth)))
        assert row.median == pytest.approx(medians[-1], rel=1e-5)
    assert_allclose(np.diff(medians), -2.0, atol=0.4)  # the surface comes a slice earlier each time
    lines = list(csv.DictReader((tmp_path / "out" / "times.csv").read_text().splitlines()))
    assert [line["folder"] for line in lines] == ["time_001", "time_002", "time_003"]
    assert [float(line["depth_median"]) for line in lines] == pytest.approx(medians, rel=1e-5)
    assert {line["unit"] for line in lines} == {"um"}
    assert any(one.text.startswith("time point 2: measuring") for one in progress)
    fractions = [one.fraction for one in progress]
    assert fractions == sorted(fractions)


def test_what_is_done_is_not_done_again_unless_something_changed(run: Callable[..., Series], tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.text.startswith("time point 3: measuring"):
            raise Cancelled

    first = Counted()
    with pytest.raises(Cancelled):
        run(first, report=stop)
    assert first.times == [0, 1, 2]
    assert not (tmp_path / "out" / "time_003").exists()
    again = Counted()
    series = run(again)
    assert again.times == [2]
    assert [row.is_old for row in series.rows] == [True, True, False]
    (tmp_path / "out" / "time_002" / "depth.tif").unlink()
    damaged = Counted()
    run(damaged)
    assert damaged.times == [1]
    for changes in ({"settings": replace(SETTINGS, method="sml")}, {"also": "frame 3 left out"}):
        other = Counted()
        run(other, **changes)
        assert other.times == [0, 1, 2]
    (tmp_path / "out" / "series.json").write_text("{")
    broken = Counted()
    run(broken)
    assert broken.times == [0, 1, 2]


def test_a_time_that_fails_is_told_and_the_others_are_done(run: Callable[..., Series], tmp_path: Path) -> None:
    series = run(Counted(fails=(1,)))
    assert [row.problem for row in series.rows] == ["", "slice 2 is damaged.", ""]
    assert [row.time for row in series.failed] == [1]
    table = (tmp_path / "out" / "times.csv").read_text()
    assert "1,time point 2,,,,,,,,slice 2 is damaged." in table.splitlines()
    assert json.loads((tmp_path / "out" / "series.json").read_text())["done"] == [0, 2]
    again = Counted()
    assert not run(again).failed
    assert again.times == [1]


def test_stacks_are_prepared_and_more_is_written(path: Path, tmp_path: Path) -> None:
    stack = open_stack(path, OpenOptions(time=1))
    written: list[tuple[int, str]] = []
    series = estimate_times(
        stack,
        SETTINGS,
        tmp_path / "out",
        prepare=lambda one: one.subset(range(1, one.n)),
        more=lambda one, result, folder, report: written.append((one.n, folder.name)),
    )
    assert written == [(stack.n - 1, f"time_00{k}") for k in (1, 2, 3)]
    assert series.rows[0].low is not None
    assert series.rows[0].low >= 2.0


def test_one_time_point_is_no_series_and_a_file_is_no_folder(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StackError, match="tiny holds one time point only"):
        estimate_times(make_stack(), SETTINGS, tmp_path)
    assert time_labels(make_stack()) == ()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        estimate_times(open_stack(path, OpenOptions(time=0)), SETTINGS, tmp_path / "file")
    assert time_folder(Path("x"), 4, 1200) == Path("x/time_0005")

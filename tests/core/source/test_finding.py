"""Which stacks lie in what was named: folders in folders, files of pages, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from toposcope.core.source import OpenOptions
from toposcope.core.source.finding import Found, Source, each_position, find_stacks, sources_from


def series(folder: Path, n: int = 3, suffix: str = ".png") -> Path:
    """Make a folder of files that are called like frames; what is found never opens them."""
    folder.mkdir(parents=True)
    for k in range(n):
        (folder / f"frame_{k}{suffix}").write_bytes(b"")
    return folder


def pages(path: Path, n: int = 3) -> Path:
    tifffile.imwrite(path, np.zeros((n, 8, 8), np.uint8), photometric="minisblack")
    return path


def names(*paths: Path) -> list[str]:
    return [source.name for source in find_stacks(paths).sources]


def test_what_is_dropped_is_sorted_into_stacks(tmp_path: Path) -> None:
    stack, pictures = series(tmp_path / "scan_1"), sorted(series(tmp_path / "scan_0").iterdir())
    for name in "ab":
        series(tmp_path / "several" / name)
    tiff = tmp_path / "scan.tif"
    found = sources_from([stack, tiff, *pictures, tmp_path / "several"])
    assert [source.paths for source in found] == [
        (stack,),
        (tiff,),
        tuple(pictures),
        (tmp_path / "several" / "a",),
        (tmp_path / "several" / "b",),
    ]
    assert [source.name for source in found] == ["scan_1", "scan", "scan_0", "a", "b"]
    assert Source((Path("/data/EC_50x_NA0.75_steel"),)).name == "EC_50x_NA0.75_steel"
    assert Source((Path("/data/scan.CZI"),)).name == "scan"
    assert Source((Path("/data/scan.ome.tif"),)).name == "scan"
    # notes beside folders of stacks do not make their folder a stack
    for name in ("notes.txt", "Positions.CSV", ".DS_Store"):
        (tmp_path / "several" / name).write_text("12 µm")
    assert [source.name for source in sources_from([tmp_path / "several"])] == ["a", "b"]
    (tmp_path / "several" / "stack.json").write_text("{}")
    assert [source.name for source in sources_from([tmp_path / "several"])] == ["several"]


def test_folders_in_folders_are_found_in_natural_order(tmp_path: Path) -> None:
    for name in ("day1/scan_10", "day1/scan_2", "day2/deep/er/scan_3"):
        series(tmp_path / name)
    (tmp_path / "day1" / "overview.jpg").write_bytes(b"")
    (tmp_path / "day1" / "notes").mkdir()
    found = find_stacks([tmp_path])
    assert [source.name for source in found.sources] == ["scan_2", "scan_10", "scan_3"]
    assert [one.rpartition(": ")[2] for one in found.left_out] == ["single pictures beside stacks", "no images"]


def test_files_that_are_stacks_are_told_from_series_of_single_pages(tmp_path: Path) -> None:
    together = tmp_path / "together"
    together.mkdir()
    for name in ("b.tif", "a.ome.tif"):
        pages(together / name)
    pages(together / "snap.tif", 1)
    (together / "c.nd2").write_bytes(b"")
    series(together / "folder")
    found = find_stacks([together])
    assert [source.name for source in found.sources] == ["a", "b", "c", "folder"]
    assert found.left_out == (f"{together / 'snap.tif'}: single pictures beside stacks",)
    alone = tmp_path / "alone"
    alone.mkdir()
    pages(alone / "pages.tif")
    single = tmp_path / "single"
    single.mkdir()
    for k in range(4):
        pages(single / f"{k}.tif", 1)
    assert names(alone, single) == ["alone", "single"]


def test_results_and_notes_are_left_out(tmp_path: Path) -> None:
    stack = series(tmp_path / "scan")
    for name in ("depth.tif", "confidence.tif", "all_in_focus.png", "result.json"):
        (stack / name).write_bytes(b"")  # a result among its own frames hides none of them
    result = tmp_path / "scan-depth"
    result.mkdir()
    for name in ("depth.tif", "confidence.tif", "all_in_focus.png", "result.json"):
        (result / name).write_bytes(b"")
    batch = series(tmp_path / "batch")
    (batch / "batch.json").write_text("{}")
    for name in ("notes.txt", "mine.toposcope"):
        (tmp_path / name).write_text("12 µm")
    found = find_stacks(sorted(tmp_path.iterdir()))
    assert [source.name for source in found.sources] == ["scan"]
    assert len(found.left_out) == 4
    assert names(tmp_path) == ["scan"]


def test_single_pictures_are_one_stack_in_each_folder(tmp_path: Path) -> None:
    one, two = (sorted(series(tmp_path / name).iterdir()) for name in ("one", "two"))
    found = find_stacks([one[0], two[0], one[1], two[1], one[2], two[2]])
    assert [source.paths for source in found.sources] == [tuple(one), tuple(two)]
    assert [source.name for source in found.sources] == ["one", "two"]


def test_what_cannot_be_opened_is_found_all_the_same(tmp_path: Path) -> None:
    """Opening it tells what is wrong; a folder of raw photographs is no folder of notes."""
    raw = series(tmp_path / "raw", suffix=".cr2")
    assert find_stacks([tmp_path / "nowhere", raw]).sources == (Source((tmp_path / "nowhere",)), Source((raw,)))


def test_here_and_above_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = series(tmp_path / "scan" / "inner")
    monkeypatch.chdir(inner)
    assert names(Path("."), Path("..")) == ["inner", "inner"]
    assert Source((Path(".."),)).name == "scan"
    monkeypatch.chdir(tmp_path)
    assert Source((Path("a.png"), Path("b.png"))).name == tmp_path.name


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    series(tmp_path / "all" / "scan")
    try:
        (tmp_path / "all" / "again").symlink_to(tmp_path / "all", target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    assert names(tmp_path / "all") == ["scan"]


def test_each_position_of_a_file_is_a_stack(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    paths = (tmp_path / "plate.ome.tif", tmp_path / "alone" / "one.ome.tif", tmp_path / "twice.ome.tif")
    for path, positions in zip(paths, (("A1/left", "A1/right"), ("a", "b"), ("p", "p")), strict=True):
        with tifffile.TiffWriter(path, ome=True) as writer:
            for name in positions:
                frames = np.zeros((3, 8, 8), np.uint8)
                writer.write(frames, photometric="minisblack", metadata={"axes": "ZYX", "Name": name})
    single, broken = pages(tmp_path / "single.tif"), tmp_path / "broken.nd2"
    broken.write_bytes(b"no microscope")
    found = Found(tuple(Source((path,)) for path in (paths[0], paths[1].parent, paths[2], single, broken)))
    each = each_position(found).sources
    assert [one.name for one in each] == [
        "plate_A1_left",
        "plate_A1_right",
        "alone_a",
        "alone_b",
        "twice_p_1",
        "twice_p_2",
        "single",
        "broken",
    ]
    assert [one.reading.series for one in each] == [0, 1, 0, 1, 0, 1, None, None]
    assert each_position(found, OpenOptions(series=1)) == found

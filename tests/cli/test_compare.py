"""`toposcope compare`: two stored results, their difference as files, refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_allclose
from PIL import Image

from command_runs import Run, sentence
from toposcope import cli
from toposcope.core.calibration import Sourced
from toposcope.core.estimate import EstimateSettings
from toposcope.core.export import read_result, write_gwy, write_result, write_x3p
from toposcope.core.height_map import LEVELS, MIRRORS, HeightMap, from_result, read_height_map
from window_fakes import make_result, make_stack


def stored(folder: Path, shift: float = 0.0, method: str = "default", **changes: Any) -> Path:
    """Write a result whose depths are ``shift`` um higher in the lower half, with a void in the first row."""
    result = make_result(make_stack(**changes), EstimateSettings(method))
    depth = result.depth.copy()
    depth[24:] += np.float32(shift)
    write_result(replace(result, depth=depth), folder)
    return folder


def test_difference_is_written_as_numbers_picture_and_statistics(run: Run, tmp_path: Path) -> None:
    a, b = stored(tmp_path / "one", 4.0), stored(tmp_path / "two", method="light")
    done = run("compare", a, b / "result.json", "-o", tmp_path / "out")
    assert done.code == cli.DONE
    assert done.err == ""
    assert "A           one: default" in done.out
    assert "B           two: light" in done.out
    # 47 rows are known; 24 of them differ by 4, which is beyond the step of 2.5
    assert "mean 2.04 µm · median 4.00 µm" in done.out
    assert "51.1 % beyond one slice step (2.5 µm) · 97.9 % known in both" in done.out
    values = tifffile.imread(tmp_path / "out" / "difference.tif")
    assert values.dtype == np.float32
    assert np.isnan(values[0]).all()
    assert np.unique(values[1:].round(4)).tolist() == [0, 4]
    with Image.open(tmp_path / "out" / "difference.png") as picture:
        assert picture.size[0] > 64
    facts = json.loads((tmp_path / "out" / "difference.json").read_text(encoding="utf-8"))
    assert facts["standard_deviation"] == pytest.approx(4 * math.sqrt(24 * 23) / 47)
    assert facts["root_mean_square"] == pytest.approx(math.hypot(facts["mean"], facts["standard_deviation"]))


def test_json_holds_the_statistics_and_the_files(run: Run, tmp_path: Path) -> None:
    a, b = stored(tmp_path / "one"), stored(tmp_path / "two")
    facts = run("compare", a, b, "-o", tmp_path / "out", "--json").facts
    assert (facts["a"], facts["b"], facts["unit"]) == ("one: default", "two: default", "um")
    assert (facts["mean"], facts["beyond_one_step_share"], facts["step"]) == (0, 0, 2.5)
    assert facts["known_in_both_share"] == pytest.approx(47 / 48)
    assert {Path(path).name for path in facts["files"].values()} == {
        "difference.tif",
        "difference.png",
        "difference.json",
    }


def test_what_cannot_be_compared_is_said_in_one_sentence(run: Run, tmp_path: Path) -> None:
    a = stored(tmp_path / "one")
    smaller = stored(tmp_path / "smaller", shape=(40, 64))
    counted = stored(tmp_path / "counted", unit="index")
    done = run("compare", a, smaller, "-o", tmp_path / "out")
    assert done.code == cli.FAILED
    assert "different sizes, 64 × 48 and 64 × 40 pixels" in sentence(done)
    done = run("compare", a, counted, "-o", tmp_path / "out", "--json")
    assert done.code == cli.FAILED
    assert "different units, 'µm' and 'slices'" in done.facts["error"]
    assert "does not exist" in sentence(run("compare", a, tmp_path / "nowhere", "-o", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert run("compare", a, "-o", tmp_path / "out").code == cli.USAGE


# ---- height maps


def measured(folder: Path, name: str, z: float = 0.0) -> Path:
    """Write the heights of the result of `stored`, ``z`` um higher and tilted, as an instrument would."""
    made = from_result(read_result(stored(folder / "source")))
    tilt = np.linspace(0, 3, made.shape[1])[None, :]
    path = folder / name
    (write_x3p if name.endswith("x3p") else write_gwy)(replace(made, z_um=made.z_um + z + tilt), path)
    return path


def test_a_height_map_is_told_about(run: Run, tmp_path: Path) -> None:
    done = run("info", measured(tmp_path, "groove.x3p"))
    assert done.code == cli.DONE
    assert "height map  groove.x3p" in done.out
    assert "format      ISO 25178-72 X3P" in done.out
    assert "size        64 × 48 pixels, 32 × 24 µm" in done.out
    assert "void        2.1 % not measured" in done.out
    facts = run("info", measured(tmp_path, "groove.gwy"), "--json").facts
    assert (facts["kind"], facts["shape"]) == ("height map", [48, 64])
    assert facts["pixel_x_um"]["value"] == pytest.approx(0.5)


@pytest.mark.parametrize("turned", [False, True])
def test_a_result_is_compared_with_a_height_map_both_ways(run: Run, tmp_path: Path, turned: bool) -> None:
    pair = [stored(tmp_path / "one"), measured(tmp_path, "groove.x3p", 80.0)]
    done = run("compare", *(pair[::-1] if turned else pair), "-o", tmp_path / "out")
    assert done.code == cli.DONE
    assert "laid over   groove.x3p laid over the same field (correlation 1.00); offset and tilt removed by" in done.out
    assert "mean 0.00 µm · median 0.00 µm · standard deviation 0.00 µm" in done.out
    assert "97.9 % known in both" in done.out
    raw = run("compare", *pair, "-o", tmp_path / "out", "--level", "none", "--json").facts
    assert raw["mean"] == pytest.approx(-81.5, abs=1e-4)  # 80 and the middle of the tilt
    assert raw["note"] == "groove.x3p laid over the same field (correlation 1.00)"


def test_two_height_maps_are_compared(run: Run, tmp_path: Path) -> None:
    pair = measured(tmp_path, "one.x3p", 5.0), measured(tmp_path, "two.gwy", 2.0)
    facts = run("compare", *pair, "-o", tmp_path / "out", "--level", "none", "--json").facts
    assert (facts["a"], facts["b"], facts["step"]) == ("one.x3p", "two.gwy", None)
    assert facts["mean"] == pytest.approx(3.0)


def test_levels_and_mirrors_are_those_of_the_engine(run: Run) -> None:
    text = run("compare", "--help").out
    assert f"{{{','.join(LEVELS)}}}" in text
    assert f"{{{','.join(MIRRORS)}}}" in text


def test_a_map_that_is_mirrored_names_the_option_that_turns_it(run: Run, tmp_path: Path) -> None:
    one, other = tmp_path / "one.x3p", tmp_path / "other.x3p"
    rough = np.random.default_rng(8).normal(size=(40, 50))
    for path, z in ((one, rough), (other, rough[::-1])):
        write_x3p(HeightMap(z, Sourced(1.0, "test"), Sourced(1.0, "test"), "test"), path)
    done = run("compare", one, other, "-o", tmp_path / "out")
    assert "mirrored top to bottom it would agree better (correlation 1.00); offset and tilt removed by" in done.out
    assert "(--mirror rows)\n" in done.out
    assert "--mirror" not in run("compare", one, other, "-o", tmp_path / "out", "--mirror", "rows").out


def test_height_maps_that_do_not_fit_are_one_sentence(run: Run, tmp_path: Path) -> None:
    one, other = stored(tmp_path / "one"), tmp_path / "flat.x3p"
    rng = np.random.default_rng(3)
    size = Sourced(10.0, "test")
    write_x3p(HeightMap(rng.normal(size=(30, 30)), size, size, "test"), other)
    done = run("compare", one, other, "-o", tmp_path / "out")
    assert done.code == cli.FAILED
    assert "flat.x3p shows 300 × 300 µm, the other surface 32 × 24 µm" in sentence(done)
    assert sentence(done).endswith("must be turned back first. (--place ROW,COL)")
    assert run("compare", one, other, "-o", tmp_path / "out", "--place", "there").code == cli.USAGE
    done = run("compare", one, one, "-o", tmp_path / "out", "--level", "plane")
    assert done.code == cli.USAGE
    assert "are for height maps" in sentence(done)
    assert run("compare", one, one, "-o", tmp_path / "out", "--mirror", "rows").code == cli.USAGE
    (tmp_path / "bad.gwy").write_bytes(b"GWYP\0")
    assert "bad.gwy is cut off or damaged" in sentence(
        run("compare", one, tmp_path / "bad.gwy", "-o", tmp_path / "out")
    )


def test_a_height_map_is_converted(run: Run, tmp_path: Path) -> None:
    path = measured(tmp_path, "groove.x3p")
    done = run("export", path, "--to", "gwy", "--to", "ply", "--to", "stl")
    assert done.code == cli.DONE
    assert {one.name for one in tmp_path.glob("groove.*")} == {"groove.x3p", "groove.gwy", "groove.ply", "groove.stl"}
    assert_allclose(read_height_map(tmp_path / "groove.gwy").z_um, read_height_map(path).z_um, rtol=1e-12)
    twice = run("export", path, "--to", "gwy", "--to", "points", "-o", tmp_path / "new" / "folder")
    assert twice.code == cli.DONE
    assert {one.name for one in (tmp_path / "new" / "folder").iterdir()} == {"groove.gwy", "groove-points.ply"}
    assert "cannot be written as 'picture_png'" in sentence(run("export", path, "--to", "picture_png"))

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
from PIL import Image

from command_runs import Run, sentence
from toposcope import cli
from toposcope.core.estimate import EstimateSettings
from toposcope.core.export import write_result
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

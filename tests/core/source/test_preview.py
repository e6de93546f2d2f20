"""Looks at a file before one of its stacks is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from core.source.conftest import make_frames
from toposcope.core.calibration import Objective, Sourced, depth_of_field_um
from toposcope.core.jobs import Cancelled, CancelToken
from toposcope.core.source import OpenOptions, describe, fact_rows, preview
from toposcope.errors import StackError
from window_fakes import make_stack


def write(path: Path) -> list[np.ndarray]:
    """Write two positions, the second with two channels."""
    first, second = make_frames(4, (400, 660)), make_frames(10, (40, 66)).reshape(5, 2, 40, 66)
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(first, photometric="minisblack", metadata={"axes": "ZYX", "PhysicalSizeX": 0.5, "Name": "one"})
        writer.write(second, photometric="minisblack", metadata={"axes": "ZCYX", "PhysicalSizeZ": 2.0, "Name": "two"})
    return [first, second]


def test_a_look_shows_the_middle_slice_the_facts_and_the_choices(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    first, second = write(path)
    look = preview(path)
    assert [(part.name, part.chosen) for part in look.parts] == [("series", 0)]
    assert look.picture.shape == (200, 330)  # at half size, since that is as large as is needed
    assert abs(float(look.picture.mean()) - float(first[2].mean())) < 1
    assert dict(fact_rows(look.facts))["pixel size"] == "0.5 µm (OME PhysicalSizeX)"
    look = preview(path, OpenOptions(series=1))
    assert [(part.name, part.chosen) for part in look.parts] == [("series", 1), ("channel", 0)]
    assert_array_equal(look.picture, second[2, 0])
    look = preview(path, OpenOptions(series=1, channel=1))
    assert_array_equal(look.picture, second[2, 1])


def test_depth_of_field_stands_beside_the_objective() -> None:
    facts = describe(make_stack(objective=Sourced(Objective("Plan", 20.0, 0.5, 1.0), "OME Objective")))
    rows = dict(fact_rows(facts))
    assert rows["objective"] == "Plan, 20x, NA 0.5, n 1 (OME Objective)"
    assert rows["in focus"] == "about 2.2 µm deep (n λ / NA² at 550 nm)"
    assert "in focus" not in dict(fact_rows(describe(make_stack(objective=Sourced(Objective("Plan"), "OME")))))
    assert depth_of_field_um(Objective(na=1.2, index=1.33)) == pytest.approx(0.508, abs=1e-3)


def test_a_look_can_be_stopped_and_tells_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write(path)
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        preview(path, OpenOptions(), token.guard())
    with pytest.raises(StackError, match="does not exist"):
        preview(tmp_path / "nowhere.tif")

"""Whole measurements: places in the whole surface, files, refusals, and surfaces that instruments have measured."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.testing import assert_array_equal

from scenes import hemisphere
from toposcope.core.estimate import EstimateSettings, estimate
from toposcope.core.jobs import Cancelled, CancelToken
from toposcope.core.surface import (
    Area,
    Plan,
    Surface,
    SurfaceSettings,
    areal_parameters,
    measure,
    prepared,
    surface_of,
    write_measurement,
)
from toposcope.errors import OutputError, SettingsError, StackError
from waves import values

MEASURED = Path(__file__).parents[3] / "../shared/data/height_measured"
NOTHING = SurfaceSettings("none")


def two_levels() -> Surface:
    """Return 40 × 60 pixels of 0.5 µm, 7 µm higher from column 30 on, with a void."""
    z = np.where(np.arange(60) < 30, 0.0, 7.0) + 0.1 * np.arange(40)[:, None]
    z[5, 5] = math.nan
    return Surface(z, 0.5)


def test_places_are_those_of_the_whole_surface() -> None:
    surface = two_levels()
    a, b = Area(12, 12, 30, 25), Area(12, 35, 30, 48)
    line = ((15.0, 12.0), (15.0, 48.0))
    whole = measure(surface, Plan(NOTHING, None, (line,), 1, ((a, b),)))
    part = measure(surface, Plan(NOTHING, Area(10, 10, 32, 50), (line,), 1, ((a, b),)))
    for found in (whole, part):
        assert found.steps[0].height_um == pytest.approx(7)
        assert (found.profiles[0].start, found.profiles[0].end) == line
        assert_array_equal(found.profiles[0].z_um, surface.z_um[15, 12:49])
    assert part.surface.shape == (22, 40)
    assert {one.name: one.value for one in part.parameters} == values(Surface(surface.z_um[10:32, 10:50], 0.5))
    # outside of the area nothing is known
    cut = measure(surface, Plan(NOTHING, Area(10, 20, 32, 50), (line,))).profiles[0]
    assert np.isnan(cut.z_um).tolist() == [True] * 8 + [False] * 29


def test_what_lies_outside_is_refused() -> None:
    surface = two_levels()
    inside = Area(0, 0, 5, 5)
    for plan, message in (
        (Plan(area=Area(0, 0, 41, 5)), "rows 0 to 40, columns 0 to 4, reaches out of the surface, rows 0 to 39, col"),
        (Plan(steps=((inside, Area(-1, 8, 5, 20)),)), "rows -1 to 4, columns 8 to 19, reaches out of the surface"),
        (Plan(lines=(((0, 0), (40, 3)),)), "the profile's end at row 40, column 3 lies outside of the surface, rows 0"),
        (
            Plan(area=Area(10, 10, 30, 30), steps=((Area(11, 11, 15, 15), Area(11, 25, 15, 35)),)),
            "rows 11 to 14, columns 25 to 34, reaches out of the measured area, rows 10 to 29, columns 10 to 29",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            measure(surface, plan)
    with pytest.raises(StackError, match="no height is"):
        measure(surface, Plan(area=Area(5, 5, 6, 6)))


def test_everything_is_written(tmp_path: Path) -> None:
    surface = two_levels()
    line = ((15.0, 12.0), (15.0, 48.0))
    pair = (Area(12, 12, 30, 25), Area(12, 35, 30, 48))
    plan = Plan(SurfaceSettings("none", s_um=2), None, (line, line), 3, (pair,))
    found = measure(surface, plan, {"measured": "two levels"})
    files = write_measurement(found, tmp_path / "new" / "folder")
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == {
        "parameters.csv",
        "profile_1.csv",
        "profile_2.csv",
        "surface.tif",
        "measure.json",
    }
    with tifffile.TiffFile(files["surface"]) as file:
        assert file.is_imagej
        assert file.imagej_metadata is not None
        assert (file.imagej_metadata["unit"], file.imagej_metadata["vunit"]) == ("um", "um")
        assert_array_equal(file.asarray(), found.surface.z_um.astype(np.float32))
    facts = json.loads(files["measurement"].read_text(encoding="utf-8"))
    assert (facts["measured"], facts["settings"]["s_um"]) == ("two levels", 2)
    assert facts["operations"] == ["S: finer than 2 µm removed (Gaussian)"]
    assert facts["parameters"]["Str"] is None  # a step goes on along its edge
    assert facts["units"]["Sdr"] == "%"
    assert facts["steps"][0]["b"] == {"top": 12, "left": 35, "bottom": 30, "right": 48}
    assert facts["profiles"][1]["width_px"] == 3
    rows = list(csv.DictReader(files["parameters"].read_text(encoding="utf-8-sig").splitlines()))
    assert [row["of"] for row in rows] == ["surface"] * 20 + ["profile 1"] * 8 + ["profile 2"] * 8 + ["step 1"] * 4
    assert float(rows[-4]["value"]) == pytest.approx(found.steps[0].height_um)
    assert next(row for row in rows if row["name"] == "Str")["value"] == ""


def test_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    found = measure(two_levels(), Plan())
    (tmp_path / "measure.json").mkdir()
    with pytest.raises(OutputError, match="is a folder"):
        write_measurement(found, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["measure.json"]


def test_it_can_be_cancelled() -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        measure(two_levels(), Plan(), None, token.guard())


def test_a_dome_that_was_photographed_has_the_heights_of_the_true_one() -> None:
    scene = hemisphere()
    result = estimate(scene.stack, EstimateSettings(align="none"))
    assert result.pixel_um is not None
    true = Surface(np.where(result.valid, scene.depth, np.nan).astype(np.float64), result.pixel_um.value)
    plan = Plan(SurfaceSettings("plane", s_um=16 * true.pixel_um), Area(8, 8, 152, 152))
    found, expected = (
        {one.name: one.value for one in measure(surface, plan).parameters} for surface in (surface_of(result), true)
    )
    for name in ("Sa", "Sq", "Vmc", "Vvc", "Sal"):
        assert found[name] == pytest.approx(expected[name], rel=0.05), name


@pytest.mark.skipif(not MEASURED.is_dir(), reason="measured surfaces are not at hand")
@pytest.mark.parametrize("path", sorted(MEASURED.glob("*_height_um.tif")), ids=lambda path: path.name[:-14])
def test_surfaces_of_instruments_keep_the_laws(path: Path) -> None:
    z = tifffile.imread(path).astype(np.float64)
    surface = prepared(Surface(z, 0.5), SurfaceSettings("quadratic", 2.0, 40.0, True))
    found = {one.name: one.value for one in areal_parameters(surface)}
    for name in ("Sa", "Sq", "Sz", "Sdq", "Sdr", "Sk", "Spk", "Svk", "Vmp", "Vmc", "Vvc", "Vvv", "Sal"):
        assert found[name] > 0, name
    assert found["Sa"] <= found["Sq"] <= found["Sz"]
    assert found["Sku"] >= 1 + found["Ssk"] ** 2 - 1e-9
    assert 0 <= found["Smr1"] <= found["Smr2"] <= 100
    assert math.isnan(found["Str"]) or 0 < found["Str"] <= 1
    # what lies above the mean is as much as what lies below
    known = surface.z_um[np.isfinite(surface.z_um)]
    assert found["Sq"] == pytest.approx(known.std())


def test_profiles_of_an_earlier_measurement_do_not_stay_beside_those_of_a_later_one(tmp_path: Path) -> None:
    surface, line = two_levels(), ((15.0, 12.0), (15.0, 48.0))
    write_measurement(measure(surface, Plan(lines=(line, line, line))), tmp_path)
    (tmp_path / "profile_7.csv").write_text("of somebody else")
    found = measure(surface, Plan(lines=(line,), numbers=(2,)))
    assert set(write_measurement(found, tmp_path)) == {"parameters", "profile_2", "surface", "measurement"}
    assert sorted(path.name for path in tmp_path.glob("profile_*")) == ["profile_2.csv", "profile_7.csv"]
    assert "\nprofile 2,Pa," in (tmp_path / "parameters.csv").read_text("utf-8-sig")
    assert json.loads((tmp_path / "measure.json").read_text("utf-8"))["profiles"][0]["number"] == 2
    (tmp_path / "measure.json").write_text("[]")  # of something else
    write_measurement(measure(surface, Plan(lines=(line,))), tmp_path)
    assert (tmp_path / "profile_2.csv").exists()

"""The difference of two depth maps: numbers worked out by hand, voids, laws, refusals and files."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from PIL import Image

from toposcope.core.align import Alignment, Motion, still_alignment
from toposcope.core.calibration import Sourced
from toposcope.core.compare import COLOURS, compare, difference_picture, objection, write_difference
from toposcope.core.export import read_result, write_result
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.pictures import VOID, colour_table
from toposcope.core.result import DepthResult
from toposcope.errors import CalibrationError, OutputError, StackError
from window_fakes import make_result, make_stack

NAN = math.nan


def result(depth: Any, positions: Any = (0.0, 2.0, 4.0, 6.0), **changes: Any) -> DepthResult:
    values: NDArray[np.float32] = np.asarray(depth, np.float32)
    return replace(
        make_result(make_stack(shape=(8, 8))),
        depth=values,
        valid=np.isfinite(values),
        confidence=np.where(np.isfinite(values), np.float32(1), np.float32(0)),
        positions=Sourced(np.asarray(positions, np.float64), "typed in"),
        **changes,
    )


def test_results_of_other_calibrations_are_told_apart() -> None:
    one, finer = make_result(make_stack()), make_result(make_stack(step_um=2.0))
    found = compare(one, finer)
    told = "img_01.png lies at 12.5 in A and at 12 µm in B"
    assert found.text.endswith(f"beware: calibrated differently, {told}")
    assert found.facts()["calibrated_differently"] == told
    assert compare(one, one).calibration == ""
    # a frame that one of them leaves out says nothing
    fewer = replace(one.positions, value=one.positions.value[1:])
    names = replace(one.provenance, frames=one.provenance.frames[1:])
    assert compare(one, replace(one, positions=fewer, provenance=names)).calibration == ""


def test_numbers_are_those_worked_out_by_hand() -> None:
    # differences 1, -1, 3, 5 and three voids: mean 2, median 2, squares about the mean 1, 9, 1, 9
    a = result([[3.0, 1.0, 5.0, 6.0], [NAN, 2.0, NAN, 0.0]])
    b = result([[2.0, 2.0, 2.0, 1.0], [1.0, NAN, NAN, NAN]])
    found = compare(a, b)
    assert_array_equal(found.values, np.array([[1, -1, 3, 5], [NAN, NAN, NAN, NAN]], np.float32))
    assert found.values.dtype == np.float32
    assert (found.mean, found.median) == (2.0, 2.0)
    assert found.deviation == pytest.approx(math.sqrt(5.0))
    assert found.beyond == 0.5  # of a step of 2: 3 and 5 are beyond, 1 and -1 are not
    assert (found.known, found.known_a, found.known_b) == (0.5, 0.75, 0.625)
    assert found.step == 2.0
    # 99 % of 1, 1, 3, 5 in order: 0.97 of the way from 3 to 5
    assert found.limit == pytest.approx(3 + 0.97 * 2)


def test_exactly_one_step_is_not_beyond_it() -> None:
    step = 0.1  # not exact in binary, least of all in single precision
    positions = 100 + step * np.arange(6)
    a, b = result([[100.3, 100.3, 100.3]], positions), result([[100.2, 100.4, 100.09]], positions)
    assert compare(a, b).beyond == pytest.approx(1 / 3)


def test_uneven_steps_are_counted_in_slices() -> None:
    positions = (1.0, 2.0, 4.0, 10.0)
    a, b = result([[2.0, 10.0, 4.0]], positions), result([[1.0, 4.5, 1.0]], positions)
    # slices 1 and 0; 3 and 2.08; 2 and 0
    assert compare(a, b).beyond == pytest.approx(1 / 3)


@given(st.integers(0, 2**32 - 1))
def test_even_steps_are_counted_as_uneven_ones_are(seed: int) -> None:
    depths = np.random.default_rng(seed).uniform(0, 6, (2, 9, 11)).astype(np.float32)
    nearly = (0.0, 2.0, 4.0, 6.0 + 1e-4)  # uneven enough to be looked up
    even, uneven = (compare(result(depths[0], p), result(depths[1], p)).beyond for p in ((0, 2, 4, 6), nearly))
    assert even == pytest.approx(uneven, abs=1.5 / 99)


def test_slices_go_on_beyond_the_sweep_of_the_first() -> None:
    positions = (1.0, 2.0, 4.0, 10.0)  # the outer steps are 1 and 6
    a, b = result([[1.0, 10.0, 10.0]], positions), result([[-1.0, 15.0, 17.0]], positions)
    assert compare(a, b).beyond == pytest.approx(2 / 3)


@given(st.integers(0, 2**32 - 1))
def test_swapping_turns_the_sign_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    depths = rng.uniform(0, 6, (2, 5, 7)).astype(np.float32)
    depths[rng.random(depths.shape) < 0.2] = NAN
    one, other = compare(result(depths[0]), result(depths[1])), compare(result(depths[1]), result(depths[0]))
    assert_array_equal(one.values, -other.values)
    assert_allclose((one.mean, one.median), (-other.mean, -other.median), atol=1e-6)
    assert_allclose((one.deviation, one.beyond, one.limit), (other.deviation, other.beyond, other.limit), rtol=1e-6)


def test_a_result_does_not_differ_from_itself() -> None:
    a = result([[1.0, 2.0], [3.0, NAN]])
    found = compare(a, a)
    assert (found.mean, found.median, found.deviation, found.beyond, found.known) == (0, 0, 0, 0, 0.75)
    assert found.limit == found.step
    assert found.text.startswith("mean 0.00 µm · median 0.00 µm")


def test_nothing_known_in_both_is_said() -> None:
    found = compare(result([[1.0, NAN]]), result([[NAN, 1.0]]))
    assert math.isnan(found.mean)
    assert found.known == 0
    assert found.text == "no pixel is known in both"
    assert found.facts()["mean"] is None
    assert found.limit > 0


def test_few_wild_pixels_do_not_eat_the_colours() -> None:
    rng = np.random.default_rng(0)
    depth = rng.normal(0, 1, (200, 200)).astype(np.float32)
    depth[:2, :100] += 1000
    assert compare(result(depth), result(np.zeros_like(depth))).limit < 4


def test_text_has_units_and_signs_for_readers() -> None:
    text = compare(result([[1.0, 2.0]]), result([[2.5, 6.0]])).text
    assert text == (
        "mean −2.75 µm · median −2.75 µm · standard deviation 1.25 µm · 50.0 % beyond one slice step (2 µm) · "
        "100.0 % known in both"
    )
    counted = compare(result([[1.0]], (0, 1, 2), unit="index"), result([[2.5]], (0, 1, 2), unit="index")).text
    assert "mean −1.50 slices" in counted
    assert "beyond one slice step ·" in counted


def test_pictures_that_were_aligned_differently_are_told(tmp_path: Path) -> None:
    depth = np.ones((8, 8))

    def aligned(shifts: Sequence[float], reference: int) -> DepthResult:
        motions = tuple(Motion(np.array([[1.0, 0.0, shift], [0.0, 1.0, 0.0]])) for shift in shifts)
        alignment = Alignment(motions, reference, True, "drift")
        return result(depth, alignment=alignment)

    frames = len(result(depth).provenance.frames)
    drift = 3.0 * np.arange(frames)  # of each frame against the first
    a, b = aligned(drift, 0), aligned(drift - drift[-1], frames - 1)
    found = compare(a, b)
    assert found.apart_px == pytest.approx(drift[-1])
    assert f"aligned differently, the pictures lie {drift[-1]:.1f} px apart" in found.text
    still = replace(a, alignment=still_alignment(frames, "off"))
    assert compare(a, still).apart_px == pytest.approx(math.sqrt(np.mean(drift**2)))
    same = compare(a, a)
    assert same.apart_px == 0
    assert "apart" not in same.text.replace("beyond", "")
    write_result(a, tmp_path)
    assert compare(read_result(tmp_path), b).apart_px == pytest.approx(drift[-1])


def test_other_sizes_and_units_are_refused_in_one_sentence() -> None:
    a = result(np.zeros((2, 3)))
    with pytest.raises(StackError, match=r"3 × 2 and 2 × 3 pixels") as size:
        compare(a, result(np.zeros((3, 2))))
    with pytest.raises(CalibrationError, match=r"'µm' and 'slices'") as unit:
        compare(a, result(np.zeros((2, 3)), unit="index"))
    assert all(str(error.value).count(".") == 1 for error in (size, unit))
    assert objection(a, a) is None


def test_it_can_be_cancelled() -> None:
    def report(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        compare(result(np.zeros((2, 3))), result(np.zeros((2, 3))), report)


def test_picture_is_pale_at_zero_and_shows_the_voids_of_either() -> None:
    depth = np.zeros((64, 64), np.float32)
    a, b = depth.copy(), depth.copy()
    a[:8], b[-8:] = NAN, NAN
    a[8:16] = 9.0
    found = compare(result(a), result(b))
    drawn = difference_picture(found, longest=64)
    table = colour_table(COLOURS)
    size = 15
    top = size + 2 * round(1.6 * size)  # below the names, one a line in a picture so small
    part = drawn[top : top + 64, size : size + 64]
    assert tuple(part[2, 50]) == VOID
    assert tuple(part[12, 50]) == tuple(table[255])
    assert tuple(part[30, 50]) == tuple(table[128])
    assert np.ptp(table[128].astype(int)) <= 2  # no hue
    assert tuple(part[60, 62]) == VOID


def test_files_hold_numbers_picture_and_statistics(tmp_path: Path) -> None:
    depth = np.arange(64.0).reshape(8, 8) / 16
    depth[3, 4] = NAN
    found = compare(result(depth), result(np.ones((8, 8))))
    files = write_difference(found, tmp_path / "new" / "out", ("default", "light"))
    assert {path.name for path in files.values()} == {"difference.tif", "difference.png", "difference.json"}
    with tifffile.TiffFile(files["difference"]) as tif:
        assert_array_equal(tif.asarray(), found.values)
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["vunit"] == "um"
    with Image.open(files["picture"]) as picture:
        assert picture.size[0] > 8
    facts = json.loads(files["statistics"].read_text(encoding="utf-8"))
    assert (facts["a"], facts["b"], facts["unit"]) == ("default", "light", "um")
    assert facts["mean"] == pytest.approx(found.mean)
    assert facts["known_in_both_share"] == 63 / 64


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    found = compare(result([[1.0]]), result([[1.0]]))
    with pytest.raises(OutputError, match="a file stands in its place"):
        write_difference(found, tmp_path / "out", ("a", "b"))

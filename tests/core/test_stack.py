"""What a focal stack refuses, sorts and keeps, and how its sources agree with each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import stacks
from toposcope.core.calibration import Sourced, Unit, focus_coordinate, to_positions
from toposcope.core.stack import ArraySource, FocalStack, ReducedSource, SelectedSource, reduce_plane
from toposcope.errors import CalibrationError, StackError


def frames(n: int = 4, height: int = 37, width: int = 50) -> ArraySource:
    return ArraySource(np.random.default_rng(3).integers(0, 256, (n, height, width), dtype=np.uint8))


@pytest.mark.parametrize("own", [1, 2, 4, 8])
@pytest.mark.parametrize("asked", [1, 2, 4, 8])
def test_a_reduced_source_is_reduced_further_to_the_promised_shape(own: int, asked: int) -> None:
    reduced = ReducedSource(frames(), own)
    height, width = reduced.shape
    assert reduced.read(0).shape == (height, width)
    assert reduced.read(0, scale=asked).shape == (-(-height // asked), -(-width // asked))


def test_reducing_twice_is_reducing_once() -> None:
    source = ArraySource(np.random.default_rng(0).random((3, 64, 96), dtype=np.float32))
    for own, asked in ((4, 4), (8, 2), (2, 4)):
        expected = source.frames[0].reshape(64 // own // asked, own * asked, 96 // own // asked, own * asked)
        np.testing.assert_allclose(ReducedSource(source, own).read(0, scale=asked), expected.mean((1, 3)), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 15), (1, 1), (7, 33)])
def test_reduction_keeps_dtype_and_a_constant_picture(height: int, width: int) -> None:
    for dtype, value in ((np.uint8, 200), (np.uint16, 51234), (np.float32, 0.25)):
        reduced = reduce_plane(np.full((height, width), value, dtype), 8)
        assert reduced.dtype == dtype
        assert reduced.shape == (-(-height // 8), -(-width // 8))
        assert (reduced == value).all()


@given(st.permutations(range(5)))
def test_frames_are_sorted_by_position_whatever_their_order(order: list[int]) -> None:
    source = ArraySource(np.array(order, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(3, 2))
    stack = FocalStack.create(source, Sourced(np.array(order, float) * 2.5, "typed in"), "um")
    assert [int(stack.read(i)[0, 0]) for i in range(5)] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(stack.positions.value, [0, 2.5, 5, 7.5, 10])


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([0, 1, 2], "4 frames but 3 focus positions"),
        ([0, 1, np.nan, 3], "frame 3 is not a number"),
        ([0, 1, np.inf, 3], "frame 3 is not a number"),
        ([0, 2, 1, 2], "frame 2 and frame 4 have the same focus position 2"),
    ],
)
def test_impossible_positions_are_refused_by_name(positions: list[float], words: str) -> None:
    with pytest.raises(CalibrationError, match=words):
        FocalStack.create(frames(), Sourced(np.array(positions, float), "file name"), "um")


@pytest.mark.parametrize("pixel_um", [0.0, -1.0, np.nan, np.inf])
def test_impossible_pixel_sizes_are_refused(pixel_um: float) -> None:
    with pytest.raises(CalibrationError, match="pixel size"):
        FocalStack.create(frames(), pixel_um=Sourced(pixel_um, "typed in"))


def test_too_few_frames_are_refused_at_the_door_and_in_a_subset() -> None:
    with pytest.raises(StackError, match=r"holds 1 image; .* at least 3"):
        FocalStack.create(frames(1))
    with pytest.raises(StackError, match="only 2 of 4 frames are left"):
        FocalStack.create(frames()).subset([0, 3])


def test_subset_and_preview_keep_what_belongs_together() -> None:
    stack = FocalStack.create(
        frames(), Sourced(np.array([3.0, 1, 2, 0]), "typed in"), "um", pixel_um=Sourced(0.5, "typed in")
    )
    some = stack.subset([3, 0, 1])
    assert list(some.positions.value) == [0, 1, 3]
    assert list(some.source.names) == ["frame 4", "frame 2", "frame 1"]
    np.testing.assert_array_equal(some.read(2), stack.read(3))
    preview = stack.reduced(4)
    assert preview.shape == (10, 13)
    assert preview.pixel_um is not None
    assert preview.pixel_um.value == 2.0
    assert isinstance(stack.source, SelectedSource)


@given(stacks(unit="um"))
def test_coordinates_lead_back_to_positions(stack: FocalStack) -> None:
    back = to_positions(stack.coordinate, stack.positions.value, stack.unit, stack.kind.value)
    span = np.ptp(stack.positions.value)
    np.testing.assert_allclose(back, stack.positions.value, atol=1e-9 * max(span, np.abs(back).max()))


def test_a_camera_is_linear_in_dioptres() -> None:
    distances = 1 / np.array([4.0, 3.0, 2.0, 1.0])  # metres, equal steps of 1 dioptre
    np.testing.assert_allclose(focus_coordinate(distances, "m", "camera"), [0, 1 / 3, 2 / 3, 1], atol=1e-12)
    assert to_positions(np.array([0.5]), distances, "m", "camera") == pytest.approx(1 / 2.5)
    with pytest.raises(CalibrationError, match="must be above 0"):
        focus_coordinate(np.array([0.0, 1, 2]), "m", "camera")


@pytest.mark.parametrize(
    ("low", "unit", "kind", "near", "why"),
    [
        (0.0, "mm", "microscope", "high", "guessed from the positions"),  # no distance from a lens is 0
        (-0.2, "m", "microscope", "high", "guessed from the positions"),
        (0.1, "mm", "camera", "low", "guessed from the unit"),
        (-0.2, "um", "microscope", "high", "guessed from the unit"),
        (0.0, "index", "camera", "low", "guessed from the unit"),
    ],
)
def test_the_kind_is_guessed_so_that_the_positions_are_possible(
    low: float, unit: Unit, kind: str, near: str, why: str
) -> None:
    stack = FocalStack.create(frames(), Sourced(low + np.arange(4.0), "typed in"), unit)
    assert (stack.kind.value, stack.kind.origin, stack.kind.guessed) == (kind, why, True)
    assert stack.near.value == near

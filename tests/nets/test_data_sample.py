"""A sample checks itself, and becomes what training takes by the formula of the coordinate."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dffnets.data import CARDS, DataError, Sample, Samples, focus_coordinates, open_data_set, to_training_stack
from dffnets.data.sample import Kind


def sample(
    positions: list[float], depth: list[list[float]], kind: Kind = "camera", confidence: np.ndarray | None = None
) -> Sample:
    """Return a sample whose frame k is grey of value 10 k; NaN depth is unknown."""
    truth = np.array(depth, np.float32)
    frames = np.empty((len(positions), *truth.shape, 3), np.uint8)
    frames[:] = (10 * np.arange(len(positions)))[:, None, None, None]
    return Sample("made", frames, np.array(positions), truth, np.isfinite(truth), kind, "m", confidence)


def test_distances_become_even_steps_of_their_inverse() -> None:
    made = sample([0.5, 1.0, 2.0], [[0.5, 0.8, 1.0, 2.0]])
    positions, depth = focus_coordinates(made)
    # (1/d - 1/2) / (1/0.5 - 1/2) by hand
    np.testing.assert_allclose(positions, [1, (1 - 0.5) / 1.5, 0])
    np.testing.assert_allclose(depth, [[1, (1.25 - 0.5) / 1.5, 0.5 / 1.5, 0]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["disparity", "microscope"])
def test_disparities_and_heights_stay_linear(kind: Kind) -> None:
    positions, depth = focus_coordinates(sample([10, 20, 60], [[10, 35, 60, 110]], kind))
    np.testing.assert_allclose(positions, [0, 0.2, 1])
    np.testing.assert_allclose(depth, [[0, 0.5, 1, 2]])


def test_training_stack_ascends_and_takes_its_frames_along() -> None:
    stack = to_training_stack(sample([0.5, 1.0, 2.0], [[0.5, 2.0]]))
    torch.testing.assert_close(stack.positions, torch.tensor([0, 1 / 3, 1]))
    assert stack.frames.dtype == torch.uint8
    assert stack.frames.shape == (3, 1, 2)
    assert stack.frames[:, 0, 0].tolist() == [20, 10, 0]  # the farthest first
    assert stack.depth.dtype == torch.float16
    assert stack.depth.tolist() == [[1, 0]]
    assert stack.kind == "macro"
    assert to_training_stack(sample([0, 1, 2], [[1]], "microscope")).kind == "micro"


def test_colour_becomes_grey_by_rec_601() -> None:
    made = sample([1, 2], [[1]])
    frames = made.frames.copy()
    frames[:, 0, 0] = (200, 100, 50)
    stack = to_training_stack(dataclasses.replace(made, frames=frames))
    assert int(stack.frames[0, 0, 0]) == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_unknown_truth_and_truth_beyond_the_sweep_lie_outside_the_unit_range() -> None:
    just_beyond = 2.0001  # half precision alone would round its coordinate, 1.000002, to 1
    stack = to_training_stack(sample([1, 2], [[np.nan, 0.999999, just_beyond, 1e9, 1.5]], "disparity"))
    inside = (stack.depth >= 0) & (stack.depth <= 1)
    assert inside.tolist() == [[False, False, False, False, True]]
    assert torch.isfinite(stack.depth).all()


def test_infinitely_far_is_unknown_to_nobody() -> None:
    made = sample([1, 2], [[1.0, 1.0]])
    far = dataclasses.replace(made, depth=np.array([[1.0, np.inf]], np.float32), valid=np.ones((1, 2), np.bool_))
    assert to_training_stack(far).depth.tolist()[0][0] == 1
    assert to_training_stack(far).depth.tolist()[0][1] < 0  # 1 / infinity = 0, one span behind the last focus
    assert made.in_sweep().all()
    assert far.in_sweep().tolist() == [[True, False]]


def test_pixels_that_are_trusted_less_can_be_left_out() -> None:
    trust = np.array([[0.2, 0.9]], np.float32)
    made = sample([1, 2], [[1.0, 1.0]], confidence=trust)
    assert to_training_stack(made).depth.tolist() == [[1, 1]]
    assert to_training_stack(made, least_confidence=0.5).depth.tolist() == [[-1, 1]]


@given(
    st.lists(st.integers(100, 5000), min_size=2, max_size=12, unique=True),
    st.lists(st.integers(50, 9000), min_size=1, max_size=8),
)
def test_blur_is_linear_in_the_coordinate(positions_mm: list[int], depth_mm: list[int]) -> None:
    positions = [mm / 1000 for mm in positions_mm]
    focus, depth = focus_coordinates(sample(positions, [[mm / 1000 for mm in depth_mm]]))
    # thin lens: circle of confusion proportional to |1/d - 1/z|
    blur = np.abs(1 / np.array(positions)[:, None] - 1000 / np.array(depth_mm)[None])
    gap = np.abs(focus[:, None] - depth[0][None])
    span = 1 / min(positions) - 1 / max(positions)
    np.testing.assert_allclose(gap * span, blur, rtol=1e-5, atol=1e-5)
    assert focus.min() == 0
    assert focus.max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((2, 1, 1), np.uint8)}, "RGB frames"),
        ({"frames": np.zeros((1, 1, 1, 3), np.uint8)}, "two or more"),
        ({"positions": np.array([1.0, 2.0, 3.0])}, "2 frames have 3 focus positions"),
        ({"positions": np.array([1.0, 1.0])}, "distinct"),
        ({"positions": np.array([1.0, np.nan])}, "finite"),
        ({"positions": np.array([-1.0, 2.0])}, "above 0"),
        ({"depth": np.ones((2, 1), np.float32)}, r"depth is \(2, 1\)"),
        ({"valid": np.ones((2, 1), np.bool_)}, r"valid is \(2, 1\)"),
        ({"confidence": np.ones((2, 1), np.float32)}, r"confidence is \(2, 1\)"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(DataError, match=words):
        dataclasses.replace(sample([1, 2], [[1.0]]), **change)  # type: ignore[arg-type]


def test_positions_that_float32_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(DataError, match="too close"):
        to_training_stack(sample([1.0, 1.0 + 1e-12, 2.0], [[1.0]]))


def test_samples_are_read_when_asked_for_and_only_then() -> None:
    read: list[int] = []

    def reader(index: int) -> Sample:
        read.append(index)
        return sample([1, 2], [[float(index)]])

    samples = Samples([f"s{k}" for k in range(10)], reader)
    assert len(samples) == 10
    every_third = samples[1::3]
    assert every_third.names == ["s1", "s4", "s7"]
    assert read == []
    assert float(samples[-1].depth[0, 0]) == 9
    assert float(every_third[1].depth[0, 0]) == 4
    assert read == [9, 4]
    with pytest.raises(IndexError):
        samples[10]
    assert [float(s.depth[0, 0]) for s in every_third] == [1, 4, 7]


@pytest.mark.parametrize("name", list(CARDS))
def test_every_card_is_whole_and_refuses_other_splits_and_empty_folders(name: str, tmp_path: object) -> None:
    card = CARDS[name]
    assert card.name == name
    assert all((card.title, card.paper, card.licence, card.splits))
    assert card.source.endswith(".")
    with pytest.raises(DataError, match=f"no split 'nowhere'.*{card.splits[0]}"):
        card.open(str(tmp_path), "nowhere")
    for split in card.splits:
        with pytest.raises(DataError, match=str(tmp_path)):
            card.open(str(tmp_path), split)
        with pytest.raises(DataError, match="there is no f"):
            card.open(f"{tmp_path}/missing", split)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(DataError, match="no data set 'kitti'; there are ddff12, fs_6"):
        open_data_set("kitti", "", "train")

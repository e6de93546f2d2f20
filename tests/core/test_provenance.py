"""Hashes of the inputs, against another program's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from toposcope.core.align import AlignedSource, still_alignment
from toposcope.core.provenance import input_hashes
from toposcope.core.source import open_stack
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.errors import FrameError


@pytest.fixture
def stack(tmp_path: Path) -> FocalStack:
    rng = np.random.default_rng(0)
    for k in range(4):
        cv2.imwrite(str(tmp_path / f"frame_{k}.png"), rng.integers(0, 255, (20, 30), dtype=np.uint8))
    return open_stack(tmp_path)


def test_each_file_is_named_with_its_sha256(stack: FocalStack, tmp_path: Path) -> None:
    expected = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(tmp_path.glob("*.png"))}
    assert input_hashes(stack.source) == expected
    aligned = AlignedSource(stack.subset([0, 2, 3]).source, still_alignment(3, "").motions)
    assert input_hashes(aligned) == {name: value for name, value in expected.items() if name != "frame_1.png"}


def test_files_of_the_same_name_are_told_apart(stack: FocalStack, tmp_path: Path) -> None:
    paths = []
    for k, path in enumerate(sorted(tmp_path.glob("*.png"))):
        paths.append(tmp_path / f"z{k}" / "frame.png")
        paths[-1].parent.mkdir()
        path.rename(paths[-1])
    expected = {f"{p.parent.name}/frame.png": hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    assert input_hashes(open_stack(paths).source) == expected


def test_frames_in_memory_and_previews_have_no_hashes(stack: FocalStack) -> None:
    assert input_hashes(ArraySource(np.zeros((3, 4, 5), dtype=np.uint8))) == {}
    preview = stack.reduced(2).source
    assert input_hashes(preview) == {}
    assert input_hashes(AlignedSource(preview, still_alignment(4, "").motions)) == {}


def test_a_file_that_is_gone_is_named(stack: FocalStack, tmp_path: Path) -> None:
    (tmp_path / "frame_2.png").unlink()
    with pytest.raises(FrameError, match=r"frame_2\.png cannot be read any more"):
        input_hashes(stack.source)

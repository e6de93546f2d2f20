"""Hypothesis strategies for the program's own types.

::

    @given(stacks(unit="um"))
    def test_order_of_frames_does_not_matter(stack: FocalStack) -> None: ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from toposcope.core.calibration import Sourced, Unit
from toposcope.core.stack import ArraySource, FocalStack

DTYPES = (np.uint8, np.uint16, np.float32)


@st.composite
def planes(
    draw: st.DrawFn,
    max_side: int = 24,
    dtypes: tuple[type, ...] = DTYPES,
    channels: tuple[int, ...] = (1, 3),
) -> NDArray[Any]:
    """Frames as readers give them: (H, W) or (H, W, 3); uint8, uint16 or float32 in 0..1."""
    shape = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    return _plane(draw, shape, np.dtype(draw(st.sampled_from(dtypes))), draw(st.sampled_from(channels)))


@st.composite
def positions(draw: st.DrawFn, n: int, lowest: float = -1e4, highest: float = 1e4) -> NDArray[np.float64]:
    """(n,) distinct finite positions in any order, at least a thousandth apart."""
    steps = st.integers(int(lowest * 1000), int(highest * 1000))
    return np.array(draw(st.lists(steps, min_size=n, max_size=n, unique=True)), np.float64) / 1000


@st.composite
def stacks(
    draw: st.DrawFn,
    max_frames: int = 6,
    max_side: int = 24,
    dtypes: tuple[type, ...] = DTYPES,
    channels: tuple[int, ...] = (1, 3),
    unit: Unit = "um",
) -> FocalStack:
    """Small focal stacks of noise with irregular positions; a camera's distances are positive."""
    n = draw(st.integers(3, max_frames))
    shape = (draw(st.integers(1, max_side)), draw(st.integers(1, max_side)))
    dtype, depth = np.dtype(draw(st.sampled_from(dtypes))), draw(st.sampled_from(channels))
    frames = np.stack([_plane(draw, shape, dtype, depth) for _ in range(n)])
    where = None if unit == "index" else Sourced(draw(positions(n, lowest=-1e4 if unit == "um" else 0.001)), "drawn")
    return FocalStack.create(ArraySource(frames), where, unit)


def _plane(draw: st.DrawFn, shape: tuple[int, int], dtype: np.dtype[Any], channels: int) -> NDArray[Any]:
    full = shape if channels == 1 else (*shape, channels)
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)  # arrays of a seed: drawing each pixel makes hypothesis slow
    if draw(st.booleans()):
        return draw(arrays.arrays(dtype, full, elements=_elements(dtype), fill=_elements(dtype)))
    if dtype.kind == "f":
        return rng.random(full, dtype=np.float32)
    return rng.integers(0, np.iinfo(dtype).max, full, dtype=dtype, endpoint=True)


def _elements(dtype: np.dtype[Any]) -> st.SearchStrategy[Any]:
    if dtype.kind == "f":
        return st.floats(0, 1, width=32)
    return st.integers(0, int(np.iinfo(dtype).max))

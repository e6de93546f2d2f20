"""The focus volume: for every pixel, the probability of each slice to be in focus."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FocusVolume(Protocol):
    """What every method, classical or deep, leaves behind for inspection.

    ``shape`` is (N, H, W) in pixels of the depth map. Values may live on disk; reading one pixel
    takes less than a frame time. Pixels are `(row, column)`.
    """

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def probability(self, row: int, column: int) -> NDArray[np.float32]:
        """Return (N,) probabilities of one pixel; they sum to 1."""
        ...

    def measure(self, row: int, column: int) -> NDArray[np.float32] | None:
        """Return (N,) raw focus measures of one pixel, None where the method has none."""
        ...

    def plane(self, i: int) -> NDArray[np.float32]:
        """Return (H, W) probabilities of slice ``i``."""
        ...

    def close(self) -> None:
        """Give memory and scratch files back."""
        ...

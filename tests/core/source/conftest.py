"""Frames and folders for the tests of the readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

Frames = NDArray[Any]
MakeFolder = Callable[..., Path]


def make_frames(n: int = 4, shape: tuple[int, int] = (21, 34), channels: int = 1, dtype: str = "uint8") -> Frames:
    """Return (n, H, W) or (n, H, W, 3) smooth waves with a little noise, that use the whole range."""
    rng = np.random.default_rng(n)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    planes = [
        np.stack([0.5 + 0.4 * np.sin(rows / (3 + k) + i) * np.cos(columns / 5 + c) for c in range(channels)], axis=-1)
        for i, k in enumerate(range(n))
    ]
    values = np.stack(planes) + 0.05 * rng.random((n, *shape, channels))
    full = 1.0 if dtype.startswith("float") else np.iinfo(dtype).max
    frames = (np.clip(values, 0, 1) * full).astype(dtype)
    return frames[..., 0] if channels == 1 else frames


def write_image(path: Path, plane: Frames, **options: Any) -> None:
    """Write JPEG, BMP and WebP by Pillow, PNG of any depth by imagecodecs."""
    if path.suffix == ".png" and plane.dtype == np.uint16:
        path.write_bytes(imagecodecs.png_encode(plane))
    else:
        Image.fromarray(plane).save(path, **options)


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that writes frames as files of a folder."""

    def make(frames: Frames, pattern: str = "frame_{}.png", **options: Any) -> Path:
        folder = tmp_path / "stack"
        folder.mkdir(exist_ok=True)
        for k, plane in enumerate(frames):
            write_image(folder / pattern.format(k), plane, **options)
        return folder

    return make

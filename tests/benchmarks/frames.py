"""Large photographs for benchmarks, and how a program's use of the machine is read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLURS_PX = (0.0, 0.7, 1.4, 2.5, 4.0, 6.5, 10.0)
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Used:
    """What a program used: seconds of all its threads, its largest resident memory, its exit code."""

    cpu_seconds: float
    peak_bytes: int
    code: int


def measured(command: Sequence[str | os.PathLike[str]], environment: dict[str, str] | None = None) -> Used:
    """Run a program to its end, quietly, and say what it used (its children included, as far as it waited)."""
    process = subprocess.Popen(
        [os.fspath(part) for part in command], stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})}
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Used(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, process.returncode)


def write_frames(folder: Path, n: int, width: int, height: int, tiles: int = 1, quality: int = 92) -> list[Path]:
    """Write ``n`` JPEG photographs of a hilly scene, focused from front to back, as a hand-held macro series has them.

    Each frame is scaled (2 % over the series), shifted (up to 3 px), turned (0.05 degrees), lit
    (3 % up and down) and noisy (SD 1.5 of 255) differently. ``tiles`` > 1 repeats a smaller scene that
    many times in each direction, mirrored, which saves time where only memory counts.
    """
    paths = []
    for i, frame in enumerate(_frames(n, width // tiles, height // tiles)):
        frame = np.vstack([_mirrored_row(frame, k, tiles) for k in range(tiles)])
        path = folder / f"frame_{i:03d}.jpg"
        encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        path.write_bytes(encoded.tobytes())
        paths.append(path)
    return paths


def _mirrored_row(tile: Image, row: int, tiles: int) -> Image:
    tile = tile[::-1] if row % 2 else tile
    return np.hstack([tile[:, ::-1] if column % 2 else tile for column in range(tiles)])


def _frames(n: int, width: int, height: int) -> Iterator[Image]:
    random = np.random.default_rng(7)
    scene = _texture(random, height, width)
    levels: list[Any] = [scene if not sigma else cv2.GaussianBlur(scene, (0, 0), sigma) for sigma in BLURS_PX]
    surface = _octave(random, height, width, 3)[..., 0]
    surface = (surface - surface.min()) / (surface.max() - surface.min())
    surface[height // 3 : height // 2, width // 4 : width // 2] = 0.8  # a step
    noise = random.normal(0, 1.5, (height, width, 3)).astype(np.float32)
    for i in range(n):
        blur = 9.0 * np.abs(surface - i / (n - 1))
        frame: Any = _defocused(levels, blur)
        angle, scale = np.deg2rad(random.uniform(-0.05, 0.05)), 1 + 0.02 * i / (n - 1)
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = np.array([width / 2, height / 2])
        shift = centre - matrix @ centre + random.uniform(-3, 3, 2)
        frame = cv2.warpAffine(
            frame,
            np.column_stack([matrix, shift]),
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT,
        )
        frame *= random.uniform(0.97, 1.03)
        frame += np.roll(noise, random.integers(0, 4000, 2), axis=(0, 1))
        yield np.clip(frame, 0, 255).astype(np.uint8)


def _octave(random: np.random.Generator, height: int, width: int, cells: int) -> NDArray[Any]:
    small = random.random((cells, max(2, cells * width // height), 3), dtype=np.float32)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _texture(random: np.random.Generator, height: int, width: int) -> NDArray[Any]:
    octaves = [(c, a) for c, a in ((6, 0.5), (40, 0.35), (240, 0.3), (height // 3, 0.3)) if c < height]
    texture = sum(amplitude * (_octave(random, height, width, cells) - 0.5) for cells, amplitude in octaves)
    light: NDArray[Any] = np.clip(128 + 160 * np.asarray(texture, dtype=np.float32), 8, 247)
    return light


def _defocused(levels: list[Any], blur: NDArray[Any]) -> NDArray[Any]:
    """Blend the two of the blurred scenes that lie beside each pixel's blur."""
    place = np.interp(blur, BLURS_PX, np.arange(len(BLURS_PX))).astype(np.float32)
    frame = np.zeros_like(levels[0])
    for k, level in enumerate(levels):
        weight = np.clip(1 - np.abs(place - k), 0, None)
        frame += weight[..., None] * level
    return frame

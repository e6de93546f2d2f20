"""Commands run in this process, as a script meets them, and stacks to run them on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from scenes import Scene, tilted_plane


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, Any]:
        """Standard output, which must be one JSON object and nothing else."""
        facts = json.loads(self.out)
        assert isinstance(facts, dict)
        return facts


Run = Callable[..., Done]


def write_stack(scene: Scene, path: Path, **facts: object) -> Path:
    """Write the frames of a scene as a folder with its calibration; ``facts`` go into stack.json, too."""
    path.mkdir()
    for i in range(scene.stack.n):
        encoded = cv2.imencode(".png", scene.stack.read(i))[1]
        (path / f"frame{i}.png").write_bytes(encoded.tobytes())
    positions = [float(value) for value in scene.stack.positions.value]
    text = {"positions": positions, "unit": "um", "kind": "microscope", "pixel_size": 0.5, "pixel_unit": "um"}
    (path / "stack.json").write_text(json.dumps(text | facts))
    return path


def write_frames(folder: Path, n: int = 7) -> Path:
    """Write the frames z0.png ... of a tilted plane; nothing tells where they lie."""
    folder.mkdir(parents=True)
    frames = tilted_plane(size=48, n=n).stack.source
    for i in range(n):
        (folder / f"z{i}.png").write_bytes(cv2.imencode(".png", frames.read(i))[1].tobytes())
    return folder


def sentence(done: Done) -> str:
    """The one sentence that an error is told in."""
    lines = done.err.strip().splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith("toposcope: error: ")
    assert "Traceback" not in done.err
    return lines[0].removeprefix("toposcope: error: ")

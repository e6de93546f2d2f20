"""Nikon ND2, by the package nd2: positions, channels, times and z."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from toposcope.core.calibration import Floats, Objective, Sourced
from toposcope.core.source.container import (
    Channel,
    Place,
    Scene,
    checked_sizes,
    distinct,
    frame_dtype,
    number,
    positive,
    stepped,
    time_names,
)
from toposcope.core.source.image_file import Unreadable, system_path
from toposcope.core.stack import Plane, Roi


class Nd2Container:
    """An open ND2 file; see `Container`."""

    origin = "ND2"

    def __init__(self, path: Path) -> None:
        import nd2

        self._path = path
        self._file: Any = nd2.ND2File(system_path(path))
        try:
            self._read_facts()
        except BaseException:
            self._file.close()
            raise

    def _read_facts(self) -> None:
        sizes = checked_sizes(self._file.sizes)
        other = {axis: size for axis, size in sizes.items() if axis not in "PTZCSYX"}
        if other:
            raise Unreadable(f"has the axes {', '.join(other)}, which cannot be read; export the stack as OME-TIFF")
        self._planes = int(sizes.get("Z", 1))
        self._numbers = {
            (int(one.get("P", 0)), int(one.get("T", 0)), int(one.get("Z", 0))): k
            for k, one in enumerate(self._file.loop_indices)
        } or {(0, 0, 0): 0}
        self._rgb = int(sizes.get("S", 1)) > 1
        self._dtype = frame_dtype(self._file.dtype)
        metadata = self._file.metadata
        self._channels = list(getattr(metadata, "channels", None) or [])
        count = int(sizes.get("C", 1))
        channels = tuple(self._channel(k) for k in range(count))
        points: list[Any] = []
        self._step: float | None = None
        for loop in self._file.experiment:
            if loop.type == "XYPosLoop":
                points = list(loop.parameters.points)
            elif loop.type == "ZStackLoop":
                self._step = float(loop.parameters.stepUm) * (1 if loop.parameters.bottomToTop else -1)
        self.scenes = tuple(
            Scene(
                str(getattr(points[p], "name", None) or f"position {p + 1}") if p < len(points) else self._path.stem,
                (int(sizes["Y"]), int(sizes["X"])),
                self._planes,
                channels,
                time_names(int(sizes.get("T", 1))),
                self._pixel(),
                self._objective(),
            )
            for p in range(int(sizes.get("P", 1)))
        )

    def _channel(self, k: int) -> Channel:
        samples = 3 if self._rgb else 1
        meta = getattr(self._channels[k], "channel", None) if k < len(self._channels) else None
        name = str(getattr(meta, "name", "") or f"channel {k + 1}")
        return Channel(name, self._dtype, samples, positive(getattr(meta, "emissionLambdaNm", None)))

    def _pixel(self) -> Sourced[float] | None:
        volume = getattr(self._channels[0], "volume", None) if self._channels else None
        if volume is None or not volume.axesCalibrated[0]:
            return None
        size = positive(volume.axesCalibration[0])
        return Sourced(size, "ND2 calibration") if size else None

    def _objective(self) -> Sourced[Objective] | None:
        lens = getattr(self._channels[0], "microscope", None) if self._channels else None
        if lens is None:
            return None
        found = Objective(
            str(lens.objectiveName or "").strip(),
            positive(lens.objectiveMagnification),
            positive(lens.objectiveNumericalAperture),
            positive(lens.immersionRefractiveIndex),
        )
        return Sourced(found, "ND2 microscope settings") if found.text else None

    def positions_um(self, scene: int, channel: int, time: int) -> tuple[Sourced[Floats] | None, tuple[str, ...]]:
        stage = distinct([self._stage_z(self._numbers.get((scene, time, z))) for z in range(self._planes)])
        stepwise = stepped(self._planes, self._step, "ND2 z step")
        if stage is None or self._planes < 2:
            return stepwise, ()
        if self._step:
            ratio = float(np.median(np.abs(np.diff(stage)))) / abs(self._step)
            if not 0.8 < ratio < 1.25:  # the stage may stand still while a piezo moves
                return stepwise, (f"stage positions step {ratio:.3g} times as far as the z step and are not used",)
        return Sourced(stage, "ND2 stage positions"), ()

    def _stage_z(self, number_: int | None) -> float | None:
        if number_ is None:
            return None
        try:
            frame = self._file.frame_metadata(number_)
            return number(frame.channels[0].position.stagePositionUm.z)
        except Exception:  # noqa: BLE001  a library may raise anything; without it the step has to do
            return None

    def read(self, place: Place, roi: Roi | None) -> Plane:
        number_ = self._numbers.get((place.scene, place.time, place.z))
        if number_ is None:
            raise Unreadable("is missing: the recording was ended before it was taken")
        scene = self.scenes[place.scene]
        samples = 3 if self._rgb else 1
        # without axes of size 1, as the library gives it
        frame = np.asarray(self._file.read_frame(number_)).reshape(len(scene.channels), *scene.shape, -1)
        # Nikon's colour cameras store blue first
        plane = frame[place.channel, ..., samples - 1 :: -1] if self._rgb else frame[place.channel, ..., 0]
        return (plane if roi is None else plane[roi]).astype(self._dtype)

    def file(self, place: Place) -> Path:
        return self._path

    def close(self) -> None:
        self._file.close()

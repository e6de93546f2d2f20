"""The simulated microscope as devices of Micro-Manager, for pymmcore-plus' unicore.

A configuration file loads them like any other device, so that the whole way through Micro-Manager can be tried::

    #py pyDevice,Camera,toposcope.core.capture.simulated_devices,SimulatedCamera
    #py pyDevice,Z,toposcope.core.capture.simulated_devices,SimulatedStage

Camera and stage share one `SimulatedMicroscope`, `shared`. The classes are made when they are asked for: they derive
from classes of pymmcore-plus, which need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toposcope.core.capture.simulated import SimulatedMicroscope

if TYPE_CHECKING:
    from toposcope.core.stack import Plane

shared: SimulatedMicroscope | None = None
"""What both devices look at; made when the first of them needs it, and again after it was closed."""


def microscope() -> SimulatedMicroscope:
    """Return the microscope that the devices share."""
    global shared
    if shared is None:
        shared = SimulatedMicroscope()
    return shared


@cache
def _classes() -> dict[str, type]:
    from pymmcore_plus.experimental.unicore import SimpleCameraDevice, StageDevice

    class SimulatedCamera(SimpleCameraDevice):  # type: ignore[misc]
        """The camera of the simulated microscope."""

        def get_exposure(self) -> float:
            return microscope().exposure_ms

        def set_exposure(self, exposure: float) -> None:
            microscope().set_exposure(exposure)

        def sensor_shape(self) -> tuple[int, ...]:
            return microscope().true_height_um.shape

        def dtype(self) -> DTypeLike:
            return np.uint8 if microscope().bits == 8 else np.uint16

        def snap(self, buffer: NDArray[Any]) -> Mapping[str, Any]:
            plane: Plane = microscope().snap()
            buffer[:] = plane
            return {}

    class SimulatedStage(StageDevice):  # type: ignore[misc]
        """The stage of the simulated microscope."""

        origin_um = 0.0

        def home(self) -> None:
            microscope().move_to(0.0)

        def stop(self) -> None:
            """Moves end before they return."""

        def set_origin(self) -> None:
            self.origin_um = microscope().z_um()

        def set_position_um(self, val: float) -> None:
            microscope().move_to(self.origin_um + val)

        def get_position_um(self) -> float:
            return microscope().z_um() - self.origin_um

    return {"SimulatedCamera": SimulatedCamera, "SimulatedStage": SimulatedStage}


def __getattr__(name: str) -> Any:
    if name in ("SimulatedCamera", "SimulatedStage"):
        return _classes()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

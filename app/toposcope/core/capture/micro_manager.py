"""A microscope that Micro-Manager drives: any camera and stage that one of its configuration files describes.

The sweep is ours (`toposcope.core.capture.sweeping`), not Micro-Manager's acquisition engine: that one keeps errors
of devices in its thread and does not raise, while we must stop, bring the stage back and say what was kept.

Devices written in Python work, too, by lines such as ``#py pyDevice,Cam,package.module,Class`` (pymmcore-plus unicore);
`simulated_devices` are two of them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

from dffnets.extras import install_line, script_line
from toposcope.core.calibration import Side
from toposcope.core.capture.microscope import Optics
from toposcope.core.stack import Plane
from toposcope.errors import CaptureError, MissingPartError, StageError

_QUIET: Final = {"PYMM_LOG_LEVEL": "CRITICAL", "PYMM_LOG_FILE": "0", "PYMM_SIGNALS_BACKEND": "psygnal"}


class MicroManagerMicroscope:
    """A core of pymmcore-plus with a camera and a focus stage; see `Microscope`.

    ``core`` must have its devices loaded. It is let go of by `close`.

    Raises
    ------
    CaptureError
        If it has no camera or no focus stage.
    """

    def __init__(self, core: Any, name: str = "Micro-Manager") -> None:
        self._core, self._name, self._closed = core, name, False
        with _asking("the configuration"):
            self._camera, self._stage = str(core.getCameraDevice()), str(core.getFocusDevice())
        for what, label, entry in (("camera", self._camera, "Camera"), ("focus stage", self._stage, "Focus")):
            if not label:
                raise CaptureError(
                    f"{name} has no {what}. Let its configuration name one: Property,Core,{entry},LABEL, after the "
                    "device is loaded and initialised."
                )
        with suppress(Exception):  # a core without shutter may not know the word
            if not core.getShutterDevice():
                core.setAutoShutter(False)

    @classmethod
    def load(cls, configuration: Path) -> MicroManagerMicroscope:
        """Load the devices of a configuration file (.cfg).

        Raises
        ------
        MissingPartError
            If pymmcore-plus is not installed.
        CaptureError
            If the file or one of its devices cannot be loaded.
        """
        if not configuration.is_file():
            raise CaptureError(f"the configuration file {configuration} does not exist.")
        core = _new_core()
        try:
            core.loadSystemConfiguration(str(configuration))
        except Exception as error:
            reason = _reason(error)
            with suppress(Exception):
                core.unloadAllDevices()
            raise CaptureError(
                f"{configuration.name} cannot be loaded: {reason}. Look whether the devices are on and connected, and "
                f"whether Micro-Manager's device adapters are installed ({script_line('mmcore', 'install')})."
            ) from error
        try:
            return cls(core, f"Micro-Manager, {configuration.name}")
        except CaptureError:
            with suppress(Exception):
                core.unloadAllDevices()
            raise

    @property
    def name(self) -> str:
        return self._name

    @property
    def optics(self) -> Optics:
        """Pixel size and the name of its configuration; Micro-Manager knows no numerical aperture."""
        with _asking("the configuration"):
            pixel_um = float(self._core.getPixelSizeUm())
            objective = str(self._core.getCurrentPixelSizeConfig()) if pixel_um > 0 else ""
        return Optics(pixel_um=pixel_um if math.isfinite(pixel_um) and pixel_um > 0 else None, objective=objective)

    @property
    def z_limits_um(self) -> tuple[float, float] | None:
        return None  # the core does not tell

    @property
    def near(self) -> Side | None:
        """As the core's focus direction says: 1 where greater z brings objective and object closer to each other.

        Then the focus goes deeper, and parts far from the lens are sharp at greater z.
        """
        with _asking("the stage", StageError):
            direction = int(self._core.getFocusDirection(self._stage))
        return {1: "low", -1: "high"}.get(direction)  # type: ignore[return-value]

    @property
    def exposure_ms(self) -> float:
        with _asking("the camera"):
            return float(self._core.getExposure())

    @property
    def white(self) -> int:
        with _asking("the camera"):
            bits = int(self._core.getImageBitDepth())
        return (1 << min(max(bits, 1), 16)) - 1

    def set_exposure(self, exposure_ms: float) -> None:
        with _asking("the camera"):
            self._core.setExposure(exposure_ms)

    def z_um(self) -> float:
        with _asking("the stage", StageError):
            return float(self._core.getPosition(self._stage))

    def move_to(self, z_um: float, timeout_s: float = 10.0) -> None:
        with _asking("the stage", StageError):
            self._core.setTimeoutMs(max(1, round(1000 * timeout_s)))
            self._core.setPosition(self._stage, z_um)
            self._core.waitForDevice(self._stage)

    def snap(self) -> Plane:
        with _asking("the camera"):
            self._core.snapImage()
            plane = np.array(self._core.getImage())  # an array of its own: the core uses its buffer again
        return np.ascontiguousarray(plane[..., :3]) if plane.ndim == 3 else plane

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with _asking("the configuration"):
            self._core.unloadAllDevices()


def _new_core() -> Any:
    """Return a core that takes devices of Micro-Manager and of Python."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)  # it logs errors when it is imported without device adapters
    try:
        from pymmcore_plus.experimental.unicore import UniMMCore
    except ImportError as error:
        raise MissingPartError(
            "microscopes that Micro-Manager drives need an optional part; the simulated microscope works without. "
            f"Type: {install_line('capture')}"
        ) from error
    return UniMMCore()


@contextmanager
def _asking(device: str, kind: type[CaptureError] = CaptureError) -> Iterator[None]:
    """Turn whatever a device raises into a sentence of ours."""
    try:
        yield
    except CaptureError:
        raise
    except Exception as error:  # drivers may raise anything
        raise kind(f"{device} does not answer as it should: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the last line of a driver's complaint, which says most, at a length that can be read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    text = lines[-1].rstrip(".")
    return text if len(text) <= 200 else text[:200] + " ..."

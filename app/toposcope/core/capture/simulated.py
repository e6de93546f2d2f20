"""A microscope that is not there: a camera and a stage that look at a rendered surface of known height.

Everything about it can go wrong when asked to (`Fault`), as it does with real ones, so that a capture can be tried and
tested without hardware.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from toposcope.core.calibration import Side
from toposcope.core.capture.microscope import Optics
from toposcope.core.stack import Plane
from toposcope.errors import CaptureError, StageError

if TYPE_CHECKING:
    from dffnets.synthetic import Scene

FaultKind = Literal["unplugged", "lost_frame", "old_frame", "timeout", "stuck", "other_shape"]
KEPT_RENDERINGS: Final = 48
GRID_UM: Final = 0.02
"""Light is rendered at multiples of this, far below the depth of field, and kept."""
USUAL_EXPOSURE_MS: Final = 10.0
"""The exposure that fits the simulated light."""
HEIGHT_PX, WIDTH_PX, MARGIN_PX = 240, 312, 24
PIXEL_UM: Final = 0.5
NA: Final = 0.4


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong from the call number ``at`` on (from 0), ``times`` times.

    ``unplugged`` the camera is gone; ``lost_frame`` it sends nothing; ``old_frame`` it sends the frame before once
    more; ``other_shape`` it sends half a frame: these count frames. ``timeout`` the stage does not arrive in time;
    ``stuck`` it stays where it is and says so: these count moves.
    """

    kind: FaultKind
    at: int
    times: int = 10**9


@dataclass
class SimulatedMicroscope:
    """A camera and a stage before a rendered surface; see `Microscope`.

    ``scene`` None is a relief of our own: a dome, a step and a groove on a tilted ground, 4 to 20 um high.
    ``speed_um_s`` and ``settle_s`` are what a move takes, ``backlash_um`` the play of the gear: coming from above,
    the stage stands so much higher than it says. ``sleep`` waits; tests give one that does not.
    """

    scene: Scene | None = None
    optics: Optics = field(
        default_factory=lambda: Optics(NA, 20.0, PIXEL_UM, objective="simulated 20x/0.4", wavelength_um=0.55)
    )
    z_limits_um: tuple[float, float] = (-100.0, 200.0)
    start_um: float = 26.0
    exposure_ms: float = USUAL_EXPOSURE_MS
    speed_um_s: float = 2000.0
    settle_s: float = 0.02
    backlash_um: float = 0.3
    bits: Literal[8, 16] = 16
    near: Side | None = "high"
    seed: int = 7
    faults: list[Fault] = field(default_factory=list)
    sleep: Callable[[float], None] = time.sleep
    name: str = "Simulated microscope"
    frames: int = 0
    moves: int = 0

    def __post_init__(self) -> None:
        self._scene = self.scene or relief(self.seed)
        self._says = self._stands = self.start_um
        self._rng = np.random.default_rng(self.seed)
        self._light: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._renderer: Callable[[float], NDArray[np.float32]] | None = None
        self._before: Plane | None = None
        self._closed = False

    @property
    def white(self) -> int:
        return 255 if self.bits == 8 else 65535

    @property
    def true_height_um(self) -> NDArray[np.float32]:
        """Return the (H, W) height of the surface that is looked at, in micrometres of the stage."""
        height: NDArray[np.float32] = self._scene.cut(self._scene.depth()).astype(np.float32)
        return height

    def set_exposure(self, exposure_ms: float) -> None:
        self._ask("camera")
        self.exposure_ms = exposure_ms

    def z_um(self) -> float:
        self._ask("stage")
        return self._says

    def move_to(self, z_um: float, timeout_s: float = 10.0) -> None:
        self._ask("stage")
        low, high = self.z_limits_um
        if not low <= z_um <= high:
            raise StageError(f"the stage cannot go to {z_um:g} µm; it reaches from {low:g} to {high:g} µm.")
        number, self.moves = self.moves, self.moves + 1
        if self._has("timeout", number):
            self.sleep(min(timeout_s, 0.2))
            raise StageError(f"the stage did not arrive at {z_um:g} µm within {timeout_s:g} s.")
        needed = abs(z_um - self._says) / self.speed_um_s + self.settle_s
        if needed > timeout_s:
            raise StageError(f"the stage did not arrive at {z_um:g} µm within {timeout_s:g} s.")
        self.sleep(needed)
        if not self._has("stuck", number):
            self._says = float(z_um)
            self._stands = min(max(self._stands, self._says), self._says + self.backlash_um)

    def snap(self) -> Plane:
        from dffnets.synthetic import Sensor

        self._ask("camera")
        number, self.frames = self.frames, self.frames + 1
        if self._has("unplugged", number):
            raise CaptureError("the camera does not answer: it may be unplugged. Look at its cable.")
        self.sleep(self.exposure_ms / 1e3)
        if self._has("lost_frame", number):
            raise CaptureError("the camera sent no frame in time.")
        if self._has("old_frame", number) and self._before is not None:
            return self._before.copy()
        sensor = Sensor(full_well=20_000, read_noise=8, bits=self.bits)
        light = self._light_at(self._stands) * np.float32(self.exposure_ms / USUAL_EXPOSURE_MS)
        plane: Plane = sensor.record(light, self._rng)
        if plane.shape[-1] == 1:
            plane = plane[..., 0]
        if self._has("other_shape", number):
            plane = plane[::2, ::2]
        self._before = np.ascontiguousarray(plane)
        return self._before.copy()

    def close(self) -> None:
        self._closed = True
        self._light.clear()
        self._renderer = None

    def _ask(self, device: str) -> None:
        if self._closed:
            raise CaptureError(f"the {device} is not connected. Connect the microscope first.")

    def _has(self, kind: FaultKind, number: int) -> bool:
        """Whether call ``number`` goes wrong in this way."""
        return any(fault.kind == kind and fault.at <= number < fault.at + fault.times for fault in self.faults)

    def _light_at(self, z_um: float) -> NDArray[np.float32]:
        """Return (H, W, C) light, exactly rendered and kept."""
        from dffnets.synthetic import Microscope as Lens
        from dffnets.synthetic.render import LayerRenderer

        key = round(z_um / GRID_UM)
        if key in self._light:
            self._light.move_to_end(key)
            return self._light[key]
        if self._renderer is None:
            na, pixel_um = self.optics.na or NA, self.optics.pixel_um or PIXEL_UM
            lens = Lens(na=na, pixel_um=pixel_um, wavelength_um=self.optics.wavelength_um)
            self._renderer = LayerRenderer(self._scene, lens).light_at
        light = np.ascontiguousarray(self._scene.cut(self._renderer(key * GRID_UM)))
        self._light[key] = light
        while len(self._light) > KEPT_RENDERINGS:
            self._light.popitem(last=False)
        return light


def relief(
    seed: int = 7, height: int = HEIGHT_PX, width: int = WIDTH_PX, low_um: float = 4.0, high_um: float = 20.0
) -> Scene:
    """Return a grey surface of known height: a dome, a raised square and a groove on a tilted ground."""
    from dffnets.synthetic import Scene, Solid
    from dffnets.synthetic.textures import fractal

    shape = height + 2 * MARGIN_PX, width + 2 * MARGIN_PX
    rows, columns = (np.indices(shape) - MARGIN_PX) / height  # 1 is the height of the picture
    right = width / height
    ground = 0.25 * np.clip(columns / right, 0, 1)
    away = np.clip(1 - ((rows - 0.52) ** 2 + (columns - 0.36 * right) ** 2) / 0.36**2, 0, None)
    share = np.maximum(ground, 0.06 + 0.94 * np.sqrt(away))
    share[np.maximum(np.abs(rows - 0.28), np.abs(columns - 0.83 * right)) < 0.14] = 0.72
    share[(np.abs(rows - 0.78) < 0.05) & (columns > 0.66 * right) & (columns < 0.97 * right)] = 0.0
    surface = np.asarray(low_um + (high_um - low_um) * share, np.float32)
    rng = np.random.default_rng(seed)
    detail = 0.6 * fractal(shape, 0.9, rng) + 0.6 * fractal(shape, 2.0, rng)
    colour = np.clip(0.36 + 0.16 * detail, 0.03, 0.95).astype(np.float32)[..., None]
    return Scene((Solid(surface, colour),), MARGIN_PX)

"""What a microscope is to a capture: one camera, one stage along z, and what is known of its optics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from toposcope.core.calibration import Objective, Side, depth_of_field_um
from toposcope.core.stack import Plane
from toposcope.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Optics:
    """What is known of the optics; None where nothing is.

    ``na`` numerical aperture, ``magnification`` of the objective, ``pixel_um`` side of a pixel on the object,
    ``refractive_index`` between objective and object, ``wavelength_um`` of the light's middle, ``objective`` its name.
    """

    na: float | None = None
    magnification: float | None = None
    pixel_um: float | None = None
    refractive_index: float = 1.0
    wavelength_um: float = 0.55
    objective: str = ""

    def __post_init__(self) -> None:
        for what, value in (
            ("numerical aperture", self.na),
            ("magnification", self.magnification),
            ("pixel size", self.pixel_um),
            ("wavelength", self.wavelength_um),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise SettingsError(f"the {what} is {value:g}; it must be a number above 0.")
        if not 1 <= self.refractive_index <= 2:
            raise SettingsError(
                f"the refractive index is {self.refractive_index:g}; it lies between 1 (air) and 2 (no oil has more)."
            )
        if self.na is not None and self.na >= self.refractive_index:
            raise SettingsError(
                f"a numerical aperture of {self.na:g} needs a medium with a refractive index above it, "
                f"not {self.refractive_index:g}. Give the index: 1.33 for water, 1.52 for oil."
            )

    @property
    def depth_of_field_um(self) -> float | None:
        """Depth of field in micrometres, None where the numerical aperture is not known.

        n λ / NA² + n e / NA: what diffraction allows, and what pixels of side e on the object do not resolve; e is 0
        where it is not known. Source: Inoué & Oldenbourg, "Microscopes", in Handbook of Optics, vol. II, 2nd ed.,
        McGraw-Hill 1995, ch. 17, which writes e as the distance resolved by the detector over the magnification.
        """
        if self.na is None:
            return None
        wave = depth_of_field_um(Objective(na=self.na, index=self.refractive_index), self.wavelength_um) or 0.0
        return wave + self.refractive_index * (self.pixel_um or 0.0) / self.na

    @property
    def proposed_step_um(self) -> float | None:
        """Half the depth of field, two digits: then every height is in focus in two slices or three."""
        depth = self.depth_of_field_um
        return None if depth is None else float(f"{depth / 2:.2g}")


class Microscope(Protocol):
    """A camera and a stage. Not thread-safe: one thread at a time may use it.

    All methods raise `CaptureError` when a device does not answer, `StageError` when it is the stage.
    """

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def optics(self) -> Optics: ...

    @property
    def z_limits_um(self) -> tuple[float, float] | None:
        """Where the stage may go, None where nobody knows."""
        ...

    @property
    def near(self) -> Side | None:
        """Which end of z brings parts into focus that are nearer to the lens, None where nobody knows.

        "high" where the objective moves up, "low" where the stage carries the object up.
        """
        ...

    @property
    def exposure_ms(self) -> float: ...

    @property
    def white(self) -> int:
        """The value that the camera cannot pass: 255, 4095, 65535."""
        ...

    def set_exposure(self, exposure_ms: float) -> None:
        """Expose the frames that follow so long."""
        ...

    def z_um(self) -> float:
        """Return where the stage says that it is."""
        ...

    def move_to(self, z_um: float, timeout_s: float = 10.0) -> None:
        """Move the stage and return when it stands still."""
        ...

    def snap(self) -> Plane:
        """Expose one frame and return it: (H, W) or (H, W, 3), uint8 or uint16, an array of its own."""
        ...

    def close(self) -> None:
        """Let the devices go; may be called twice."""
        ...

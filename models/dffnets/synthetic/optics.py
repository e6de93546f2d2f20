"""How lenses blur, scale and record: microscope objectives, thin lenses, point spread functions, sensors.

A lens turns the place of a surface and of the focus into the radius of a blur circle in pixels. That
radius is linear in z for a microscope and in 1/distance for a camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Psf = Literal["disc", "gaussian"]
"""Shape of the blur: an evenly lit disc, or the Gaussian of the same second moment (sigma = radius / 2)."""


class Lens(Protocol):
    """What rendering needs to know of a lens. Depths are heights or distances, as the lens takes them."""

    @property
    def psf(self) -> Psf: ...

    @property
    def sharpest_px(self) -> float:
        """Standard deviation in pixels of the blur that stays in focus: diffraction and pixel."""
        ...

    def radius_px(self, depth: NDArray[np.float64], focus: float) -> NDArray[np.float64]:
        """Return the radius of the blur circle of points at ``depth`` when the lens is set to ``focus``."""
        ...

    def magnifications(self, focus: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how much larger the lens shows the scene at each focus than at the one that shows it smallest."""
        ...


@dataclass(frozen=True, slots=True)
class Microscope:
    """A telecentric objective: depths are heights z in micrometres, the magnification does not change.

    ``na`` numerical aperture in air, ``pixel_um`` side of a pixel on the object. The blur circle is that
    of geometrical optics, radius tan(asin(NA)) |z - z_focus|; diffraction is a Gaussian of
    sigma = 0.225 wavelength / NA (Zhang, Zerubia & Olivo-Marin, "Gaussian approximations of fluorescence
    microscope point-spread function models", Applied Optics 46(10), 2007, paraxial widefield).
    """

    na: float
    pixel_um: float
    wavelength_um: float = 0.55
    psf: Psf = "disc"

    @property
    def sharpest_px(self) -> float:
        return float(np.hypot(0.225 * self.wavelength_um / self.na / self.pixel_um, 0.35))

    def radius_px(self, depth: NDArray[np.float64], focus: float) -> NDArray[np.float64]:
        slope = float(np.tan(np.arcsin(self.na)))
        return np.abs(np.asarray(depth, np.float64) - focus) * (slope / self.pixel_um)

    def magnifications(self, focus: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones(len(focus))


@dataclass(frozen=True, slots=True)
class ThinLens:
    """A thin lens of ``focal_mm`` and ``f_number`` before a sensor of ``pitch_um``: depths are distances in mm.

    Blur circle on the sensor, in diameter: A s |1/d - 1/z| with aperture A = f / N and sensor distance
    s = f d / (d - f), for focus d and point z. Radii are in pixels of the frame with the smallest
    magnification, that of the far end ``far_mm`` of the sweep; with ``breathing`` frame k is then
    shown s(d_k) / s(far) times as large, as a lens that moves as a whole does.
    """

    focal_mm: float
    f_number: float
    pitch_um: float
    far_mm: float
    breathing: bool = False
    psf: Psf = "disc"

    @property
    def sharpest_px(self) -> float:
        return 0.45  # a pixel's own square, and a lens a little softer than perfect

    def _sensor_mm(self, focus: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.focal_mm * focus / (focus - self.focal_mm)

    def radius_px(self, depth: NDArray[np.float64], focus: float) -> NDArray[np.float64]:
        aperture = self.focal_mm / self.f_number
        angle: NDArray[np.float64] = aperture * np.abs(1.0 / focus - 1.0 / np.asarray(depth, np.float64))
        return angle * self._sensor_mm(np.asarray(self.far_mm)) / (self.pitch_um * 1e-3) / 2

    def magnifications(self, focus: NDArray[np.float64]) -> NDArray[np.float64]:
        if not self.breathing:
            return np.ones(len(focus))
        return self._sensor_mm(np.asarray(focus, np.float64)) / self._sensor_mm(np.asarray(self.far_mm))


@dataclass(frozen=True, slots=True)
class Sensor:
    """What turns light into numbers: Poisson noise of ``full_well`` electrons at white, and read noise.

    ``bits`` 8 or 16 quantises, None keeps float. ``gamma`` encodes, value = light ** (1 / gamma).
    """

    full_well: float = 20_000.0
    read_noise: float = 6.0
    bits: Literal[8, 16] | None = 8
    gamma: float = 1.0

    def record(self, light: NDArray[np.float32], rng: np.random.Generator) -> NDArray[Any]:
        """Return pixel values of ``light``, any shape, linear, 1 at white; brighter light is cut off.

        Noise is the normal approximation of the Poisson law, good above some ten electrons.
        """
        electrons = np.clip(light, 0, None) * self.full_well
        spread = np.sqrt(electrons + self.read_noise**2)
        electrons = electrons + spread * rng.standard_normal(light.shape, dtype=np.float32)
        return self.encode(electrons / np.float32(self.full_well))

    def encode(self, light: NDArray[np.float32]) -> NDArray[Any]:
        """Return pixel values without noise."""
        values: NDArray[np.float32] = np.clip(light, 0, 1) ** np.float32(1 / self.gamma)
        if self.bits is None:
            return values.astype(np.float32)
        white = 2**self.bits - 1
        whole: NDArray[Any] = np.rint(values * np.float32(white)).astype(np.uint8 if self.bits == 8 else np.uint16)
        return whole


def transfer(frequency: torch.Tensor, radius_px: float, psf: Psf) -> torch.Tensor:
    """Return the Fourier transform of a point spread function of unit sum.

    ``frequency`` is radial, in cycles per pixel, any shape. Written in closed form, so that radii of
    fractions of a pixel are as exact as large ones: 2 J1(x) / x with x = 2 pi r f for the disc,
    exp(-x^2 / 8) for the Gaussian.
    """
    x = frequency * (2 * np.pi * radius_px)
    if psf == "gaussian":
        return torch.exp(-x.square() / 8)
    small = x < 1e-3
    x = torch.where(small, torch.ones_like(x), x)
    return torch.where(small, torch.ones_like(x), 2 * torch.special.bessel_j1(x) / x)


@dataclass(frozen=True, slots=True)
class Blades:
    """An iris of ``count`` straight blades (5 to 8 in most lenses), turned by ``angle`` in radians.

    Its opening is as large as the disc whose radius is given: a polygon passes as much light.
    """

    count: int
    angle: float = 0.0

    def corners(self) -> NDArray[np.float64]:
        """Return (count, 2) corners (x, y), counter-clockwise, of the opening for radius 1."""
        around = self.angle + 2 * np.pi * np.arange(self.count) / self.count
        reach = np.sqrt(2 * np.pi / (self.count * np.sin(2 * np.pi / self.count)))
        return np.column_stack([reach * np.cos(around), reach * np.sin(around)])

    def transfer(self, frequency_x: torch.Tensor, frequency_y: torch.Tensor, radius_px: torch.Tensor) -> torch.Tensor:
        """Return the complex Fourier transforms (..., *frequencies) of the opening's image, of unit sum.

        Frequencies in cycles per pixel, of one shape. ``radius_px`` (...) carries a sign: behind the focus the
        image of the iris stands on its head, which shows where ``count`` is odd. In closed form: by the
        divergence theorem, an integral over a polygon is a sum over its edges.
        """
        corners = self.corners()
        edges = np.roll(corners, -1, 0) - corners
        middles = corners + edges / 2
        radius = radius_px[(...,) + (None,) * frequency_x.ndim]
        kx, ky = (2 * np.pi * radius * frequency for frequency in (frequency_x, frequency_y))
        square = kx.square() + ky.square()
        total = torch.zeros_like(square, dtype=torch.complex64)
        for (ex, ey), (mx, my) in zip(edges, middles, strict=True):
            along = torch.sinc((kx * ex + ky * ey) / (2 * np.pi))
            total += torch.polar((kx * ey - ky * ex) * along, -(kx * mx + ky * my))
        # at low frequencies the edges cancel each other to nothing but rounding
        low = square < 1e-4
        whole = 1j * total / (np.pi * torch.where(low, 1.0, square))
        return torch.where(low, 1.0, whole)

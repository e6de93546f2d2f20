"""Rendered focal stacks with known depth.

>>> scene = Scene((Solid(heights_um, colour),), margin=24)                     # doctest: +SKIP
>>> lens = Microscope(na=0.3, pixel_um=0.5)                                    # doctest: +SKIP
>>> rendered = render_stack(scene, lens, np.arange(0, 40, 2.5), Sensor())      # doctest: +SKIP
>>> rendered.frames.shape, rendered.depth.shape                                # doctest: +SKIP
((16, 256, 256, 3), (256, 256))
"""

from dffnets.synthetic.optics import Lens, Microscope, Psf, Sensor, ThinLens
from dffnets.synthetic.render import LayerRenderer, Rendered, render_stack
from dffnets.synthetic.scene import Scene, Solid
from dffnets.synthetic.textures import fractal

__all__ = [
    "LayerRenderer",
    "Lens",
    "Microscope",
    "Psf",
    "Rendered",
    "Scene",
    "Sensor",
    "Solid",
    "ThinLens",
    "fractal",
    "render_stack",
]

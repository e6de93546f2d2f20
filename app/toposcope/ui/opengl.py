"""Whether this screen offers the OpenGL that the 3D view needs, and what to do when it does not."""

from __future__ import annotations

import sys
from functools import cache
from typing import Final

from PySide6.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

NEEDED: Final = (2, 1)
SCREENLESS: Final = ("offscreen", "minimal", "linuxfb", "vnc")  # Qt platforms without OpenGL widgets

_GL_RENDERER: Final = 0x1F01


@cache
def opengl_problem() -> str | None:
    """Return what keeps the 3D view from working and what to do, None when all is well.

    Needs a `QGuiApplication`. The answer does not change while the program runs.
    """
    platform = QGuiApplication.platformName()
    if platform in SCREENLESS:
        return (
            f"The program runs without a screen (Qt platform “{platform}”), so there is no OpenGL to draw "
            "the 3D view with. Start it on a desktop, or under a virtual screen such as xvfb-run."
        )
    context = QOpenGLContext()
    surface = QOffscreenSurface()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        return f"This screen offers no OpenGL, which the 3D view is drawn with. {_advice()}"
    try:
        found = context.format().version()
        if found < NEEDED:
            return f"The 3D view needs OpenGL 2.1; this screen offers {found[0]}.{found[1]}. {_advice()}"
        if context.isOpenGLES():
            return f"The 3D view needs desktop OpenGL 2.1; this screen offers OpenGL ES. {_advice()}"
    finally:
        context.doneCurrent()
    try:
        import vispy.gloo  # noqa: F401  loads the system's OpenGL library itself
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"The 3D view could not load OpenGL ({error}). {_advice()}"
    return None


@cache
def opengl_renderer() -> str:
    """Return the name of the OpenGL renderer ("llvmpipe (LLVM 15.0.6, 256 bits)"), "" without OpenGL."""
    if opengl_problem() is not None:
        return ""
    context, surface = QOpenGLContext(), QOffscreenSurface()
    surface.create()
    if not context.create() or not context.makeCurrent(surface):
        return ""
    name = str(context.functions().glGetString(_GL_RENDERER))
    context.doneCurrent()
    return name


def is_software() -> bool:
    """Whether the processor draws in place of a graphics card."""
    name = opengl_renderer().lower()
    return any(word in name for word in ("llvmpipe", "softpipe", "swrast", "swiftshader", "gdi generic"))


def _advice() -> str:
    if sys.platform == "win32":
        return "Install the driver of your graphics card; over Remote Desktop, Mesa's opengl32.dll does as well."
    if sys.platform == "darwin":
        return "Every Mac has it; in a virtual machine switch 3D acceleration on."
    return (
        "On Debian and Ubuntu “sudo apt install libgl1 libegl1 libgl1-mesa-dri” brings a version that needs no "
        "graphics card; over ssh, connect with X forwarding or start the program on the desktop itself."
    )

"""From arrays to images of Qt."""

from __future__ import annotations

from PySide6.QtGui import QImage

from toposcope.ui.pyramid import Picture


def wrapped(picture: Picture) -> QImage:
    """Return a contiguous picture (h, w) or (h, w, 3) as an image that uses its memory: keep the picture alive."""
    kind = QImage.Format.Format_Grayscale8 if picture.ndim == 2 else QImage.Format.Format_RGB888
    return QImage(picture.data, picture.shape[1], picture.shape[0], picture.strides[0], kind)


def image_of(picture: Picture) -> QImage:
    """Return a contiguous picture (h, w) or (h, w, 3) as an image with memory of its own."""
    return wrapped(picture).copy()

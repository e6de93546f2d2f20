"""Questions for files and folders, each beginning where the last one ended, and the kinds that are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from PySide6.QtWidgets import QFileDialog, QWidget

from toposcope.core.height_map import HEIGHT_MAP_SUFFIXES
from toposcope.core.result import PROJECT_SUFFIX, RESULT_NAME
from toposcope.core.source import FRAME_SUFFIXES
from toposcope.ui.preferences import Preferences

_USUAL: Final = ".tif .tiff .jpg .jpeg .png .dng .heic".split()
_SUFFIXES: Final = (
    *_USUAL,  # dialogs show the first ones only
    *".czi .nd2 .lif .lof .xlef .oif .oib .lsm .stk".split(),
    *sorted(FRAME_SUFFIXES.difference(_USUAL)),
)
_IMAGES: Final = " ".join(f"*{suffix} *{suffix.upper()}" for suffix in _SUFFIXES)
_HEIGHTS: Final = " ".join(f"*{suffix} *{suffix.upper()}" for suffix in HEIGHT_MAP_SUFFIXES)
PROJECT_FILTER: Final = f"Projects of Toposcope (*{PROJECT_SUFFIX})"
FILE_FILTER: Final = (
    f"All that can be opened ({_IMAGES} {_HEIGHTS} {RESULT_NAME} *{PROJECT_SUFFIX})"
    f";;Images and microscopes' files ({_IMAGES});;Height maps ({_HEIGHTS});;Results of Toposcope ({RESULT_NAME})"
    f";;{PROJECT_FILTER};;All files (*)"
)
STACK_FILTER: Final = f"Images and microscopes' files ({_IMAGES});;All files (*)"
LIKE_FILTER: Final = f"Projects and results of Toposcope (*{PROJECT_SUFFIX} {RESULT_NAME})"
RESULT_FILTER: Final = f"Results of Toposcope ({RESULT_NAME})"
HEIGHTS_FILTER: Final = f"Height maps ({_HEIGHTS});;All files (*)"
PICTURE_FILTER: Final = "PNG (*.png);;TIFF (*.tif *.tiff);;JPEG (*.jpg *.jpeg)"
REPORT_FILTER: Final = "PDF (*.pdf);;HTML, for browsers (*.html *.htm)"
NETWORK_FILTER: Final = "Adapted networks (*.safetensors)"
NUMBERS_FILTER: Final = "32-bit TIFF (*.tif *.tiff)"
CHANNELS_FILTER: Final = "OME-TIFF (*.ome.tif)"


class FileQuestions:
    """Asks in the name of a window; the folder of each answer is remembered. None, or nothing, where there is none."""

    def __init__(self, window: QWidget, preferences: Preferences) -> None:
        self._window, self._preferences = window, preferences

    def folder(self, title: str) -> Path | None:
        """Return a folder that is there."""
        return self._remembered(QFileDialog.getExistingDirectory(self._window, title, self._preferences.folder))

    def file(self, title: str, kinds: str) -> Path | None:
        """Return a file that is there."""
        return self._remembered(QFileDialog.getOpenFileName(self._window, title, self._preferences.folder, kinds)[0])

    def files(self, title: str, kinds: str) -> list[Path]:
        """Return files that are there."""
        names, _ = QFileDialog.getOpenFileNames(self._window, title, self._preferences.folder, kinds)
        for name in names[:1]:
            self._remembered(name)
        return [Path(name) for name in names]

    def place(self, title: str, name: str, kinds: str) -> Path | None:
        """Return where to write a file, with a suffix: that of the chosen kind where none is typed."""
        start = str(Path(self._preferences.folder) / name)
        path, kind = QFileDialog.getSaveFileName(self._window, title, start, kinds)
        suffix = next(iter(kind.partition("(*")[2].rstrip(")").split()), Path(name).suffix)
        found = self._remembered(path)
        return found if found is None or found.suffix else found.with_suffix(suffix)

    def _remembered(self, name: str) -> Path | None:
        if not name:
            return None
        self._preferences.folder = str(Path(name).parent)
        return Path(name)

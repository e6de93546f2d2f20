"""What is remembered between two starts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import platformdirs
from PySide6.QtCore import QByteArray, QSettings

from toposcope.ui.theme import THEMES, ThemeName

RECENT: Final = 10


class Preferences:
    """Named access to the settings file; wrong values in it count as absent."""

    def __init__(self, settings: QSettings | None = None) -> None:
        self._settings = settings or QSettings("Toposcope", "Toposcope")

    @property
    def theme(self) -> ThemeName:
        """The theme chosen last."""
        value = self._settings.value("theme", "dark")
        return next((name for name in THEMES if name == value), "dark")

    @theme.setter
    def theme(self, name: ThemeName) -> None:
        self._settings.setValue("theme", name)

    @property
    def colour_map(self) -> str:
        """The colour map chosen last."""
        return str(self._settings.value("colour_map", "viridis"))

    @colour_map.setter
    def colour_map(self, name: str) -> None:
        self._settings.setValue("colour_map", name)

    @property
    def automatic(self) -> bool:
        """Whether results are computed again after each change."""
        return str(self._settings.value("automatic", "true")).lower() != "false"

    @automatic.setter
    def automatic(self, on: bool) -> None:
        self._settings.setValue("automatic", "true" if on else "false")

    @property
    def recent(self) -> tuple[Path, ...]:
        """What was opened, the newest first."""
        value = self._settings.value("recent", [])
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return tuple(Path(name) for name in names if isinstance(name, str) and name)[:RECENT]

    def add_recent(self, path: Path) -> None:
        """Put ``path`` on top of the recent ones."""
        names = [str(path), *(str(old) for old in self.recent if old != path)]
        self._settings.setValue("recent", names[:RECENT])

    def clear_recent(self) -> None:
        """Forget all of them."""
        self._settings.remove("recent")

    @property
    def work_folder(self) -> Path:
        """Where unsaved work is kept."""
        if self._settings.format() == QSettings.Format.IniFormat:
            return Path(self._settings.fileName()).with_name("work")
        return platformdirs.user_state_path("Toposcope", appauthor=False) / "work"

    @property
    def last_work(self) -> Path | None:
        """The file in `work_folder` that what was done last is kept in."""
        name = str(self._settings.value("last_work", ""))
        return self.work_folder / name if name else None

    @last_work.setter
    def last_work(self, path: Path) -> None:
        self._settings.setValue("last_work", path.name)

    @property
    def last_title(self) -> str:
        """What `last_work` is about, for users."""
        return str(self._settings.value("last_title", ""))

    @last_title.setter
    def last_title(self, title: str) -> None:
        self._settings.setValue("last_title", title)

    @property
    def folder(self) -> str:
        """Where the last file dialog ended."""
        return str(self._settings.value("folder", ""))

    @folder.setter
    def folder(self, folder: str) -> None:
        self._settings.setValue("folder", folder)

    @property
    def microscope(self) -> Path | None:
        """The configuration file of the microscope used last, None for the simulated one."""
        name = str(self._settings.value("microscope", ""))
        return Path(name) if name else None

    @microscope.setter
    def microscope(self, path: Path | None) -> None:
        self._settings.setValue("microscope", "" if path is None else str(path))

    @property
    def author(self) -> str:
        """Who measured, in the last report."""
        return str(self._settings.value("author", ""))

    @author.setter
    def author(self, name: str) -> None:
        self._settings.setValue("author", name)

    @property
    def paper(self) -> str:
        """The paper of the last report; empty before the first one."""
        return str(self._settings.value("paper", ""))

    @paper.setter
    def paper(self, name: str) -> None:
        self._settings.setValue("paper", name)

    def layout(self) -> tuple[QByteArray | None, QByteArray | None]:
        """Return geometry and docks of the window."""
        values = (self._settings.value("geometry"), self._settings.value("docks"))
        geometry, docks = (value if isinstance(value, QByteArray) else None for value in values)
        return geometry, docks

    def set_layout(self, geometry: QByteArray, docks: QByteArray) -> None:
        """Remember geometry and docks of the window."""
        self._settings.setValue("geometry", geometry)
        self._settings.setValue("docks", docks)

    def forget_layout(self) -> None:
        """Go back to the layout as it comes."""
        self._settings.remove("geometry")
        self._settings.remove("docks")

    def save(self) -> None:
        """Write to disk now."""
        self._settings.sync()

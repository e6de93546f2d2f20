"""Arrays that may be larger than memory: in memory when small, else in a scratch file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from toposcope.errors import OutputError

IN_MEMORY: Final = 384 << 20
"""Arrays up to this many bytes stay in memory."""

SPARE: Final = 1 << 30
"""Bytes that a scratch file leaves free on its disk."""


class ScratchArray:
    """An array of zeros; its file, if any, vanishes when it is closed, when the program ends or crashes.

    Parameters
    ----------
    shape, dtype : of ``values``
    scratch : folder for the file, None for the system's own

    Raises
    ------
    OutputError
        If there is no room for it.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, scratch: Path | None = None) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._file: IO[bytes] | None = None
        self.values: NDArray[Any]
        if size <= IN_MEMORY:
            self.values = np.zeros(shape, dtype)
            return
        folder = scratch or Path(tempfile.gettempdir())
        try:
            free = shutil.disk_usage(folder).free - SPARE
            if size > free:
                raise OutputError(
                    f"{size / 1e9:.1f} GB of scratch space are needed in {folder}, {max(free, 0) / 1e9:.1f} GB are "
                    "free. Free some, or choose another scratch folder."
                )
            self._file = tempfile.TemporaryFile(prefix="toposcope-", dir=folder)
            self.values = np.memmap(self._file, dtype=dtype, mode="w+", shape=shape)
        except OSError as error:
            raise OutputError(
                f"no scratch file can be made in {folder}: {error.strerror}. Choose another scratch folder."
            ) from error

    @property
    def memory(self) -> int:
        """Bytes of memory that are held; 0 where the values lie in a file."""
        return self.values.nbytes if self._file is None else 0

    def close(self) -> None:
        """Give memory and file back."""
        self.values = np.empty(0)
        if self._file is not None:
            self._file.close()
            self._file = None

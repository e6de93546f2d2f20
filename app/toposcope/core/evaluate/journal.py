"""What an evaluation has found so far, kept so that one that was interrupted goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from toposcope.core.evaluate.comparing import Row
from toposcope.core.export import made_folder, write_bytes
from toposcope.errors import OutputError

FILE: Final = "unfinished.jsonl"


class Journal:
    """The rows of one evaluation in ``folder``: a line that says what is evaluated, then one for each row.

    ``what`` is everything that the rows depend on, as JSON can hold it. Rows of an earlier run are taken
    only where it said the same; they are in ``rows`` by contender and number of the stack.
    """

    def __init__(self, folder: Path, what: Mapping[str, Any]) -> None:
        self._file = folder / FILE
        self._head = json.dumps({"what": what}, sort_keys=True, default=str)
        self.rows: dict[tuple[str, int], Row] = self._read()

    def _read(self) -> dict[tuple[str, int], Row]:
        rows: dict[tuple[str, int], Row] = {}
        try:
            head, *lines = self._file.read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return rows
        if head != self._head:
            return rows
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # the last line may have been cut off
                kept = json.loads(line)
                row = Row(**{**kept["row"], "groups": tuple(kept["row"]["groups"])})
                rows[row.method, int(kept["stack"])] = row
        return rows

    def add(self, k: int, row: Row) -> None:
        """Keep the row of stack number ``k``; one without figures is not kept, so that it is tried again.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        if row.problem is not None:
            return
        if not self.rows:
            made_folder(self._file.parent)
            write_bytes(self._file, f"{self._head}\n".encode())
        self.rows[row.method, k] = row
        try:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"stack": k, "row": asdict(row)}) + "\n")
        except OSError as error:
            raise OutputError(f"{self._file} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        """Forget it all: the evaluation is done."""
        with suppress(OSError):
            self._file.unlink()


def fingerprint(path: Path) -> str:
    """Return a hash of the names, sizes and times of a file, or of the files in a folder; reads none of them."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    facts = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return hashlib.sha256(repr(facts).encode()).hexdigest()

"""What can go wrong, as a family.

::

    ToposcopeError              everything that a user may meet; its text is meant to be read
    ├── StackError              this is no focal stack, or not a usable one
    │   ├── FrameError          one frame of it cannot be read; the others may be fine
    │   ├── IsResultError       what was found is not a stack but what was computed from one
    │   └── MissingStackError   the frames of a project are gone
    ├── CalibrationError        positions, units or pixel size contradict themselves
    ├── SettingsError           a setting is out of its range or unknown
    ├── OutputError             a result cannot be written
    ├── CaptureError            the microscope does not do what it was told
    │   └── StageError          its stage does not; to try again may do harm
    └── MissingPartError        an optional part (an extra, OpenGL) is not installed

Each text says what was found, what is needed and what to do, in words that hold in the window and on the
command line; the option that does it is told by the command line only. `toposcope.core.jobs.Cancelled`
is not in the family: being cancelled is no error.
"""

from pathlib import Path


class ToposcopeError(Exception):
    """Base of all errors whose text is meant for the user.

    ``option`` is what does on the command line what the text advises, such as ``--place ROW,COL``; empty if nothing.
    """

    def __init__(self, *args: object, option: str = "") -> None:
        super().__init__(*args)
        self.option = option


class StackError(ToposcopeError):
    """The input is not a usable focal stack."""


class FrameError(StackError):
    """One frame cannot be read.

    ``index`` is its place in the source and ``name`` what the user calls it, so that a caller can
    offer to go on without it.
    """

    def __init__(self, text: str, index: int, name: str) -> None:
        super().__init__(text)
        self.index = index
        self.name = name


class IsResultError(StackError):
    """The path leads to a result, not to the stack that it was made from; ``folder`` is where it lies."""

    def __init__(self, text: str, folder: Path) -> None:
        super().__init__(text)
        self.folder = folder


class MissingStackError(StackError):
    """The frames that a project was made on are not at ``path`` any more."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self.path = path


class CalibrationError(ToposcopeError):
    """Positions, units or pixel size are missing or contradict themselves."""


class SettingsError(ToposcopeError):
    """A setting is unknown or out of its range."""


class OutputError(ToposcopeError):
    """A result cannot be written where it should go."""


class CaptureError(ToposcopeError):
    """A device of the microscope does not answer, or not as it should."""


class StageError(CaptureError):
    """The stage did not arrive, or says that it stands elsewhere.

    A sweep stops at once: a stage that is told again may push against what it has hit.
    """


class MissingPartError(ToposcopeError):
    """An optional part is not installed; the text names the line that installs it."""

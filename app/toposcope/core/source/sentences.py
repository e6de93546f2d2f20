"""Whatever goes wrong while a file is read, in one sentence for users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toposcope.core.jobs import Cancelled
from toposcope.core.packages import Package
from toposcope.core.source.image_file import Unreadable, access_problem
from toposcope.errors import MissingPartError, StackError, ToposcopeError


@contextmanager
def one_sentence(path: Path, title: str, package: Package | None = None, own_problem: str = "") -> Iterator[None]:
    """Turn what is raised while a file of the format ``title`` is read into an error of ours.

    Parameters
    ----------
    package : what reads it; None where that is part of this program
    own_problem : what an `OSError` without a number means, which is the package's own and not the system's; by
        default that the file is damaged

    Raises
    ------
    MissingPartError
        If the package is not installed, or not whole; the text names the line that installs it.
    StackError
        If the file cannot be read.
    """
    if package is not None and not package.is_installed:
        raise MissingPartError(
            f"{path.name} is {title}, which is read by the package {package.name}; it is not installed. "
            f"Type: {package.install_line}"
        )
    damage = f"is no {title} file that can be read, or is damaged"
    try:
        yield
    except Unreadable as error:
        raise StackError(f"{path.name} {error}.") from error
    except (ToposcopeError, Cancelled, MemoryError):
        raise
    except OSError as error:
        problem = access_problem(error) if error.errno is not None else own_problem or damage
        raise StackError(f"{path.name} {problem}.") from error
    except Exception as error:  # libraries may raise anything
        if package is not None and isinstance(error, ImportError):  # not the file's fault
            raise MissingPartError(
                f"{path.name} is {title}, which is read by the package {package.name}; it is installed, but cannot "
                f"be used: {error}. Type: {package.install_line}"
            ) from error
        raise StackError(f"{path.name} {damage}.") from error

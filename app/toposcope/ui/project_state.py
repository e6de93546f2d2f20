"""What a project keeps of the window's state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from toposcope.core.project import Project, View
from toposcope.ui.session import State


def project_of(state: State) -> Project | None:
    """Return the state as a project; None while nothing is open that lies in files."""
    if state.origin is None or state.subject is None:
        return None
    names = tuple(state.stack.source.names) if state.stack is not None else ()
    settings = state.settings
    return Project(
        state.origin.paths,
        state.origin.reading,
        state.edit,
        tuple(name for i, name in enumerate(names) if i in state.skipped),
        settings.method,
        _named(settings.options),
        settings.align,
        settings.weights,
        state.pins,
        state.marks,
        state.profile_width,
        state.surface,
        View(
            state.mode,
            state.slice_index,
            state.colour_map,
            {str(kind): limits for kind, limits in state.ranges.items()},
        ),
        state.project,
        tuple(state.opened.source.names) if state.opened is not None and state.edit.positions is not None else (),
    )


def is_modified(state: State) -> bool:
    """Whether the open project differs from its file in what was chosen, typed or drawn; looking about is no change."""
    if state.project is None:
        return False
    now = project_of(state)
    return now is None or state.saved is None or differ(now, state.saved)


def differ(one: Project, other: Project) -> bool:
    """Whether two projects differ in what was chosen, typed or drawn."""
    return _work(one) != _work(other)


def _work(project: Project) -> dict[str, Any]:
    return {one.name: getattr(project, one.name) for one in fields(project) if one.name not in ("view", "file")}


def _named(options: Any) -> Mapping[str, Any] | None:
    """Return the settings of a method by name, those that differ from its defaults; None where none does."""
    if options is None:
        return None
    usual, values = type(options)(), {one.name: getattr(options, one.name) for one in fields(options)}
    return {name: value for name, value in values.items() if value != getattr(usual, name)} or None

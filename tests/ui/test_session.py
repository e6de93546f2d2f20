"""The session tells each change once, in order."""

from __future__ import annotations

from toposcope.core.jobs import Progress
from toposcope.ui.session import Job, Session, State


def test_several_fields_change_as_one() -> None:
    session = Session()
    heard: list[tuple[State, State]] = []
    session.changed.connect(lambda before, now: heard.append((before, now)))
    session.set(mode="depth", slice_index=3)
    assert [(b.mode, n.mode, n.slice_index) for b, n in heard] == [("slice", "depth", 3)]


def test_a_listener_that_changes_the_state_is_told_afterwards() -> None:
    session = Session()
    story: list[tuple[str, int, int]] = []

    def first(before: State, now: State) -> None:
        story.append(("first", before.slice_index, now.slice_index))
        if now.slice_index == 1:
            session.set(slice_index=2)

    session.changed.connect(first)
    session.changed.connect(lambda b, n: story.append(("second", b.slice_index, n.slice_index)))
    session.set(slice_index=1)
    assert story == [("first", 0, 1), ("second", 0, 1), ("first", 1, 2), ("second", 1, 2)]


def test_jobs_come_and_go_by_name() -> None:
    session = Session()
    session.set_job("depth", Job("Depth", Progress(0.5)))
    session.set_job("export", Job("Export", Progress(0.1)))
    session.set_job("depth", None)
    assert list(session.state.jobs) == ["export"]
    heard: list[object] = []
    session.changed.connect(lambda b, n: heard.append(n))
    session.set_job("depth", None)
    assert not heard

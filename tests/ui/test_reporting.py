"""Reports from the window: asked for, written in the background as PDF or HTML, whole or not at all."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from surfaces import field
from toposcope.core.calibration import Sourced
from toposcope.core.export import write_result, write_x3p
from toposcope.core.jobs import Cancelled, CancelToken, Progress
from toposcope.core.pictures import Picture, View
from toposcope.core.report import About, Block, Document, Items, Kept, Pair, Section, Table, Text
from toposcope.core.report.drawings import figure
from toposcope.core.source import open_stack
from toposcope.core.surface import Area
from toposcope.errors import OutputError
from toposcope.ui import report_pdf
from toposcope.ui.main_window import MainWindow
from toposcope.ui.report_pdf import PAPERS, write_pdf
from toposcope.ui.views.report_dialog import ReportDialog, usual_paper
from window_fakes import FAKES, Make, make_result, make_stack

LONG_MS = 30_000
ABOUT = About("Ring <7>", "A. Turner", "dry")


@pytest.fixture(autouse=True)
def small_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the surface small, which takes the longest by far."""
    monkeypatch.setattr("toposcope.core.report.writing.SURFACE_VIEW", View(width=200, height=140))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return a folder beside the settings of the window."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def window(qtbot: QtBot, make: Make) -> MainWindow:
    return opened(qtbot, make)


def opened(qtbot: QtBot, make: Make, path: Path | str = "any", **fakes: object) -> MainWindow:
    made = make(**{**FAKES, **fakes})
    made.open(Path(path))
    qtbot.waitUntil(lambda: made.session.state.run is not None and not made.session.state.jobs)
    return made


def answer(monkeypatch: pytest.MonkeyPatch, path: Path | None, about: About = ABOUT, accepts: bool = True) -> list[str]:
    """Fill in the dialog, and choose a file; return what the dialogs have proposed."""
    proposed: list[str] = []

    def fill(dialog: ReportDialog) -> int:
        proposed.append(dialog.author_box.text())
        dialog.title_box.setText(about.title)
        dialog.author_box.setText(about.author)
        dialog.note_box.setPlainText(about.note)
        return int(accepts)

    def choose(parent: object, title: str, name: str, kinds: str) -> tuple[str, str]:
        proposed.append(name)
        return ("" if path is None else str(path)), kinds.split(";;")[0]

    monkeypatch.setattr(ReportDialog, "exec", fill)
    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    return proposed


def written(window: MainWindow) -> bool:
    return not window.reporting.runner.busy and not window.session.state.jobs


def test_a_report_tells_what_is_shown_and_drawn(
    qtbot: QtBot, window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.measuring.add_line((20.0, 10.0), (20.0, 40.0))
    window.session.set(tool="area")
    window.measuring.add_area(Area(5, 5, 45, 60))
    path = out / "ring.html"
    proposed = answer(monkeypatch, path)
    window.actions_by_name["save_report"].trigger()
    qtbot.waitUntil(lambda: path.exists() and written(window), timeout=LONG_MS)
    text = path.read_text("utf-8")
    for words in ("Ring &lt;7&gt;", "A. Turner", "tiny: default", "area: rows 5 to 44", "Profile 1: from row 20"):
        assert words in text
    assert proposed[1].endswith("tiny-report.pdf")
    message = window.session.state.message
    assert message is not None
    assert str(path) in message.text
    # the author is remembered, the title is not
    assert window.preferences.author == "A. Turner"
    proposed = answer(monkeypatch, None)
    window.measure.reportRequested.emit()
    assert proposed[0] == "A. Turner"


def test_the_command_line_leaves_out_what_was_left_out(
    qtbot: QtBot, window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = window.session.state.run
    window.session.set(skipped=frozenset({1}))
    window.estimating.run()
    qtbot.waitUntil(lambda: window.session.state.run is not before and not window.session.state.jobs, timeout=LONG_MS)
    path = out / "ring.html"
    answer(monkeypatch, path)
    window.save_report()
    qtbot.waitUntil(lambda: path.exists() and written(window), timeout=LONG_MS)
    text = re.sub("</?span>", "", path.read_text("utf-8"))
    assert "toposcope depth any -o " in text
    assert "--skip img_01.png" in text
    assert "the same 4 frames" in text


def test_a_pdf_is_written_by_its_ending(
    qtbot: QtBot, window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, out / "ring")  # the chosen kind ends the name
    window.save_report()
    path = out / "ring.pdf"
    qtbot.waitUntil(lambda: path.exists() and written(window), timeout=LONG_MS)
    data = path.read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    assert [one.name for one in out.iterdir()] == ["ring.pdf"]


def test_nothing_is_written_where_it_is_not_wanted_or_cannot_be(
    qtbot: QtBot, window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, out / "a.html", accepts=False)
    window.save_report()
    assert not window.session.state.jobs
    for name in ("nowhere/a.pdf", "nowhere/a.html"):
        answer(monkeypatch, out / name)
        window.session.set(message=None)
        window.save_report()
        qtbot.waitUntil(lambda: window.session.state.message is not None and written(window), timeout=LONG_MS)
        message = window.session.state.message
        assert message is not None
        assert message.level == "error"
        assert "does not exist" in message.text
    assert list(out.iterdir()) == []


def test_another_ending_is_refused(window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, out / "ring 7.5um")
    window.save_report()
    message = window.session.state.message
    assert message is not None
    assert message.text == "ring 7.5um names no report. End it in .pdf or .html."
    assert not window.session.state.jobs


def test_it_can_be_stopped(qtbot: QtBot, window: MainWindow, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*arguments: object, **options: object) -> Document:
        begun.set()
        go.wait(5)
        options["report"](Progress(0.5))  # type: ignore[operator]
        raise AssertionError("it went on")

    monkeypatch.setattr("toposcope.ui.controllers.reporting.measurement_report", slow)
    answer(monkeypatch, out / "a.html")
    window.save_report()
    qtbot.waitUntil(begun.is_set)
    assert "report" in window.session.state.jobs
    window.actions_by_name["cancel"].trigger()
    go.set()
    qtbot.waitUntil(lambda: written(window), timeout=LONG_MS)
    assert window.session.state.message is None
    assert list(out.iterdir()) == []


def test_without_a_pixel_size_it_says_what_is_missing(
    qtbot: QtBot, make: Make, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = make_stack(pixel_um=None)
    window = opened(qtbot, make, open_stack=lambda *arguments, **options: bare)
    answer(monkeypatch, out / "a.pdf")
    window.save_report()
    qtbot.waitUntil(lambda: window.session.state.message is not None and written(window), timeout=LONG_MS)
    message = window.session.state.message
    assert message is not None
    assert "the size of its pixels is needed" in message.text
    assert list(out.iterdir()) == []


def test_stored_results_and_height_maps_have_reports(
    qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, groove = tmp_path / "ring-depth", tmp_path / "groove.x3p"
    write_result(make_result(make_stack()), folder)
    write_x3p(field((60, 50), (0.5, 0.5)), groove)
    for source, words in (
        (folder, ("ring-depth: default", "result.json", f"toposcope measure {folder}")),
        (groove, ("groove.x3p", "Shaded relief", f"toposcope measure {groove}")),
    ):
        window = opened(qtbot, make, source, open_stack=open_stack)
        path = tmp_path / f"{source.stem}.html"
        answer(monkeypatch, path, About())
        window.save_report()
        qtbot.waitUntil(lambda path=path, window=window: path.exists() and written(window), timeout=LONG_MS)
        text = re.sub("</?span>", "", path.read_text("utf-8"))
        for one in words:
            assert one in text, one
        assert f"<h1>{words[0]}</h1>" in text


def test_the_dialog_gives_what_was_typed(qtbot: QtBot) -> None:
    dialog = ReportDialog("scan_07: default", "A. Turner", "Letter")
    qtbot.addWidget(dialog)
    assert dialog.about == About("", "A. Turner", "")
    assert dialog.title_box.placeholderText() == "scan_07: default"
    assert (dialog.paper, usual_paper() in PAPERS) == ("Letter", True)
    dialog.note_box.setPlainText(" two\nlines ")
    assert dialog.about.note == "two\nlines"


# --- pages -----------------------------------------------------------------------------------


def document(*blocks: Block, together: bool = False, title: str = "Ring") -> Document:
    return Document(
        title, "report", (("Measured", "x" * 300),), "note " * 50, (Section("Part", blocks, together),), title
    )


def pages_of(path: Path) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


class Placed:
    """Remembers what is put on pages, and checks that nothing reaches out of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[report_pdf._Pages] = []
        put = report_pdf._Pages.put

        def checked(pages: report_pdf._Pages, piece: report_pdf._Piece) -> None:
            if pages not in self.pages:
                self.pages.append(pages)
            put(pages, piece)
            assert piece.draw is None or pages.y <= pages.room + 1e-6

        monkeypatch.setattr(report_pdf._Pages, "put", checked)

    @property
    def counts(self) -> list[int]:
        return [len([1 for _, piece in page if piece.draw is not None]) for page in self.pages[-1].pages]


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_long_tables_go_on_under_their_heads(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paper: report_pdf.Paper
) -> None:
    placed = Placed(monkeypatch)
    rows = tuple((f"frame_{k}.tif", "0123456789abcdef" * 4) for k in range(150))
    heads: list[str] = []
    row = report_pdf._Layout._row

    def noted(layout: report_pdf._Layout, texts: tuple[str, ...], *rest: object) -> report_pdf._Piece:
        piece = row(layout, texts, *rest)  # type: ignore[arg-type]
        if rest[-1] != "head":
            return piece

        def draw(painter: object, y: float) -> None:
            heads.append(texts[0])
            assert piece.draw is not None
            piece.draw(painter, y)  # type: ignore[arg-type]

        return report_pdf._Piece(piece.height, draw)

    monkeypatch.setattr(report_pdf._Layout, "_row", noted)
    path = tmp_path / "a.pdf"
    count = write_pdf(document(Table(("Input", "SHA-256"), rows, "tc")), path, paper)
    assert count == pages_of(path) == len(placed.counts) == len(heads) >= 3


def test_what_belongs_together_is_not_cut(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = Placed(monkeypatch)
    ground: Picture = np.full((400, 1300, 3), 255, np.uint8)
    plots = tuple(
        Kept((figure(ground, f"profile {k}"), Table(("Pa", "Pq"), (("1 µm", "2 µm"),), "tt"))) for k in range(8)
    )
    write_pdf(document(*plots), tmp_path / "a.pdf")
    # a picture, its caption, head and row of its table; the first page has the title, too
    assert len(placed.counts) >= 3
    assert [count % 4 for count in placed.counts[1:]] == [0] * len(placed.counts[1:])
    # a short section begins on a new page rather than being cut
    lines = Items(tuple(f"line {k}" for k in range(30)), numbered=True)
    write_pdf(document(lines, together=True), tmp_path / "b.pdf")
    whole = placed.counts
    write_pdf(document(Text("word " * 20_000), lines, together=True), tmp_path / "c.pdf")
    assert len(placed.counts) > len(whole)


def test_two_narrow_pictures_stand_on_one_page(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = Placed(monkeypatch)
    narrow: Picture = np.zeros((1300, 500, 3), np.uint8)
    pair = Pair(figure(narrow, "left " * 60), figure(narrow, "right"))
    write_pdf(document(pair, pair), tmp_path / "a.pdf")
    assert len(placed.counts) == 2  # the title with one, and the other


def test_a_text_longer_than_a_page_goes_on_with_the_next(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Placed(monkeypatch)
    long = Text("toposcope measure " + "--profile 1,2:3,4 " * 900, "command")
    count = write_pdf(document(long, title="A\u202e\x00 title " * 60), tmp_path / "a.pdf")
    assert count >= 3
    assert pages_of(tmp_path / "a.pdf") == count


def test_a_pdf_is_whole_or_not_there(qtbot: QtBot, tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        write_pdf(document(), tmp_path / "a.pdf", report=token.guard())
    with pytest.raises(OutputError, match="does not exist"):
        write_pdf(document(), tmp_path / "nowhere" / "a.pdf")
    assert list(tmp_path.iterdir()) == []


def test_a_guess_is_told_in_both(qtbot: QtBot, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guessed = make_stack(pixel_um=Sourced(0.5, "guessed", guessed=True))
    window = opened(qtbot, make, open_stack=lambda *arguments, **options: guessed)
    path = tmp_path / "a.html"
    answer(monkeypatch, path)
    window.save_report()
    qtbot.waitUntil(lambda: path.exists() and written(window), timeout=LONG_MS)
    assert "Pixel size, 0.5 µm: a guess." in path.read_text("utf-8")

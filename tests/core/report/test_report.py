"""Reports of measurements: what the page says, that nothing in it can do harm, and where its pictures draw things."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from surfaces import field
from toposcope.core.align import Alignment, Motion
from toposcope.core.calibration import Objective, Sourced
from toposcope.core.height_map import HeightMap, as_result
from toposcope.core.jobs import Cancelled, CancelToken
from toposcope.core.pictures import Picture
from toposcope.core.report import (
    About,
    Document,
    Figure,
    Kept,
    Pair,
    Table,
    html_page,
    measurement_report,
    write_report,
)
from toposcope.core.report.drawings import Places, picture_figure, profile_picture, with_places
from toposcope.core.result import DepthResult, Provenance
from toposcope.core.source import OpenOptions
from toposcope.core.stack import FrameTags
from toposcope.core.surface import (
    PARAMETER_GROUPS,
    Area,
    Plan,
    Profile,
    Surface,
    SurfaceSettings,
    height_surface,
    measure,
    step_parameters,
    surface_of,
)
from toposcope.core.sweep import SweepNote, SweepReport
from toposcope.core.words import measured
from toposcope.errors import OutputError

NASTY = "<b>&\"'</title><script>alert(1)</script>"
WHEN = datetime(2026, 3, 4, 15, 6, tzinfo=UTC)
HASH = "0123456789abcdef" * 4
LINES = (((10.0, 5.0), (10.0, 70.0)), ((40.0, 8.0), (20.0, 60.0)))
STEP = (Area(2, 2, 20, 20), Area(2, 50, 20, 70))


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, text, pictures, and cells of tables by rows."""

    VOID = frozenset({"meta", "img", "!doctype"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == [], "tags that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag != "span":
            self.words.append("\n")

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def pictures(self) -> list[Image.Image]:
        sources = [attrs["src"] or "" for tag, attrs in self.tags if tag == "img"]
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2], validate=True))) for source in sources]


def sweep_result(name: str = "groove", **changes: object) -> DepthResult:
    """Return a result of five frames, of two levels on a slope, with voids, and with a guessed near side."""
    columns = np.indices((48, 80))[1]
    depth = (10 + 0.02 * columns + 3.0 * (columns >= 35)).astype(np.float32)
    depth[25:30, 30:45] = np.nan
    valid = np.isfinite(depth)
    frames = tuple(f"{name}_{k}.png" for k in range(5))
    result = DepthResult(
        depth,
        valid.astype(np.float32),
        valid,
        np.zeros((48, 80, 3), np.uint8),
        FrameTags(),
        Sourced(np.array([10.0, 12.5, 15.0, 17.5, 20.0]), "typed in"),
        "um",
        Sourced("microscope", "unit of the positions"),
        Sourced("high", "guessed", guessed=True),
        Sourced(0.5, "OME"),
        Alignment(tuple(Motion(np.eye(2, 3), 1.0, k > 0) for k in range(5)), 2, True, "drift 3 px: aligned"),
        None,
        SweepReport((SweepNote("coarse_step", "the step is coarse. Take less.", 0.2),), None),
        Provenance("0.1.0", "sml", {"window": 9, "align": "auto"}, f"/data/{name}", frames, 2.0, {frames[0]: HASH}),
        Sourced(Objective("Plan Apo", 20, 0.4), "OME"),
    )
    return replace(result, **changes)


def report_of(source: DepthResult | HeightMap, plan: Plan, about: About | None = None, **more: object) -> Document:
    surface = height_surface(source) if isinstance(source, HeightMap) else surface_of(source)
    return measurement_report(
        source, surface, measure(surface, plan), about or About(), str(more.pop("name", "groove")), at=WHEN, **more
    )


def page_of(document: Document) -> Page:
    return Page(html_page(document))


def test_the_page_holds_every_number_and_where_it_comes_from() -> None:
    result = sweep_result()
    plan = Plan(SurfaceSettings(s_um=2.0), None, LINES, 3, (STEP,), (1, 4))
    document = report_of(result, plan, About("Groove 7", "A. Turner", "after cleaning\nsecond line"))
    page = page_of(document)
    found = measure(surface_of(result), plan)
    rows = {row[0]: row for row in page.rows if row}
    for one in found.parameters:
        text = measured(one.value)
        assert rows[one.name][1:] == [text, one.unit if text != "–" else "", one.title]
    groups = [row[0] for row in page.rows if len(row) == 1]
    assert groups == list(PARAMETER_GROUPS.values())
    for parameters in found.profile_parameters:
        assert [one.text for one in parameters] in page.rows
    assert [one.text for one in found.parameters if one.name in ("Sa", "Sq", "Sz")] == page.rows[1][:3]
    assert f"B lies {measured(found.steps[0].height_um)} µm above A" in page.text
    assert measured(step_parameters(found.steps[0])[2].value) in page.text
    for words in (
        *(
            "Groove 7",
            "A. Turner",
            "after cleaning\nsecond line",
            "2026-03-04, 15:06 (UTC+00:00)",
            "drift 3 px: aligned",
        ),
        *("sml; window 9", "5 of 80 × 48, colour, 8 bit", "Plan Apo, 20x, NA 0.4", "10 to 20 µm, step 2.5 µm"),
        *("F: plane removed by least squares", "S: finer than 2 µm removed (Gaussian)", "40 × 24 µm", "98.0 % of it"),
        *("Profile 1: from row 10, column 5", "Profile 4: from row 40, column 8", "mean over 3 lines"),
        *(
            "The step is coarse. Take less.",
            "1 of 5 frames could not be aligned",
            "finer than about 16 pixels, 8.000 µm",
        ),
        *(HASH, "Near side, high positions: a guess. On it depends which way is up"),
        *("toposcope depth /data/groove -o groove-depth --method sml", "--z-step 2.5um"),
        "toposcope measure groove-depth --s-filter 2um --profile 10,5:10,70 --profile 40,8:20,60 --profile-width 3 "
        "--step 2,2:19,19 2,50:19,69",
    ):
        assert words in page.text, words
    assert ["Pixel size", "0.5 µm", "OME"] in page.rows
    assert ["Near side", "high positions", "Guess"] in page.rows
    marked = [attrs for tag, attrs in page.tags if tag == "tr" and attrs.get("class") == "marked"]
    assert len(marked) == 1
    # picture, heights, surface in 3D, two profiles
    assert len(page.pictures) == 5
    for picture in page.pictures:
        assert picture.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
    drawn = [attrs for tag, attrs in page.tags if tag == "img"]
    sizes = [(attrs["width"], attrs["height"]) for attrs in drawn]
    assert sizes == [(str(p.width), str(p.height)) for p in page.pictures]
    assert all(attrs["alt"] for attrs in drawn)


def test_names_and_notes_do_no_harm() -> None:
    result = sweep_result(NASTY.replace("/", ":"))
    about = About(NASTY, f"{NASTY}\x00\u202e", "\ud800 undecodable \udcff\r\nand <img src=x onerror=alert(1)>")
    document = report_of(result, Plan(), about, name=NASTY)
    text = html_page(document)
    page = Page(text)
    allowed = (
        "html head meta title style body header p span h1 h2 dl dt dd section div table thead tbody tr th td ul ol li"
    )
    assert {tag for tag, _ in page.tags} <= {*allowed.split(), "figure", "img", "figcaption"}
    names = {name for _, attrs in page.tags for name in attrs}
    assert not any(name.startswith("on") or name in ("href", "srcset") for name in names)
    assert page.text.count(NASTY) >= 4
    assert "http" not in text.replace("http-equiv", "")
    assert not {"\x00", "\u202e"} & set(text)
    text.encode("utf-8")


def test_heights_of_an_instrument_have_reports() -> None:
    height_map = replace(
        field((60, 50), (0.5, 1.0), path=Path("groove.x3p")), instrument="S neox", notes=("turned by 180°",)
    )
    page = page_of(report_of(height_map, Plan(lines=LINES[:1]), name="groove.x3p"))
    for words in ("S neox", "turned by 180°", "Pixel width", "Pixel height", "pixels were 1 × 0.5 µm", "Shaded relief"):
        assert words in page.text, words
    assert "Depth from focus" not in page.text
    assert "toposcope depth" not in page.text
    # laid over a stack, it is a result that nothing has computed
    laid = page_of(report_of(as_result(height_map), Plan(), name="groove.x3p over it"))
    assert "Depth from focus" not in laid.text
    assert ["Heights", "as the file tells them", "formula"] in laid.rows


def test_what_is_not_there_is_left_out() -> None:
    result = sweep_result(objective=None, alignment=None, sweep=SweepReport((), None), near=Sourced("high", "typed in"))
    document = report_of(result, Plan(SurfaceSettings("none")))
    titles = [section.title for section in document.sections]
    assert "Profiles" not in titles
    assert "Steps" not in titles
    page = page_of(document)
    assert "Nothing: these are the heights as they were found." in page.text
    assert "Objective" not in page.text
    assert ["Alignment", "not wanted"] in page.rows
    assert document.title == "groove"
    assert "Measured by" not in page.text
    assert "guess" not in page.text.lower()


def test_an_area_is_shown_within_the_whole_field() -> None:
    area = Area(5, 10, 45, 70)
    inside = report_of(sweep_result(), Plan(area=area, lines=(((10.0, 12.0), (10.0, 60.0)),)))
    page = page_of(inside)
    assert "area: rows 5 to 44, columns 10 to 69" in page.text
    assert "Heights of the whole field as they were found" in page.text
    assert "the frame is the measured area" in page.text
    assert "--area 5,10:44,69" in page.text


def test_a_depth_that_fits_in_no_command_line_says_so() -> None:
    uneven = Sourced(np.array([10.0, 12.5, 15.0, 17.5, 27.0]), "typed in")
    page = page_of(report_of(sweep_result(positions=uneven), Plan()))
    assert "positions that were typed in one by one fit in no command line" in page.text
    assert "toposcope measure groove-depth" in page.text
    assert "toposcope depth" not in page.text
    # how a file was read goes with it, where it is known
    page = page_of(report_of(sweep_result(), Plan(), reading=OpenOptions(channel=2)))
    assert "--channel 2" in page.text
    some = tuple(Path(f"/data/groove/groove_{k}.png") for k in (0, 2, 4))
    page = page_of(report_of(sweep_result(), Plan(), paths=some))
    assert f"toposcope depth {' '.join(map(str, some))} -o groove-depth" in page.text
    page = page_of(report_of(sweep_result(), Plan(), paths=some * 20))  # too many to be named
    assert "toposcope depth /data/groove -o groove-depth" in page.text


def test_several_steps_are_told_apart() -> None:
    document = report_of(sweep_result(), Plan(steps=(STEP, STEP[::-1])))
    page = page_of(document)
    assert {"Step, B1 over A1", "Step, B2 over A2"} <= {cell for row in page.rows for cell in row}
    assert [text for text in page.words if text.startswith("B2 lies") and "below A2" in text]


def test_places_are_drawn_where_they_are() -> None:
    dark = np.zeros((400, 600, 3), np.uint8)
    places = Places((("1", (50.0, 20.0), (50.0, 280.0)),), (("", Area(100, 30, 180, 200)),))
    drawn = with_places(dark, places, (2.0, 2.0))
    white = drawn.min(axis=2) > 200
    # the line lies in the middle of its pixels, at row (50 + ½) × 2, and ends there
    assert white[101, 100:500].all()
    assert not white[101, 570:].any()
    assert not white[90, 100:500].any()
    # the frame runs round the pixels of the area
    for row, column in ((200, 200), (360, 200), (300, 60), (300, 400)):
        assert white[row - 1 : row + 2, column - 1 : column + 2].any(), (row, column)
    assert not white[210:350, 70:390].any()
    assert np.array_equal(with_places(dark, Places(), (2.0, 2.0)), dark)
    # a light ground gets a dark rim
    light = with_places(np.full_like(dark, 255), places, (2.0, 2.0))
    assert light[95:108, 300].min() < 60


def curve(picture: Picture) -> NDArray[np.bool_]:
    """Where a plot is blue."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    return blue - red > 60


@pytest.mark.parametrize("span", [6e-4, 6.0, 6e4])
def test_a_profile_is_drawn_to_its_scale_with_gaps_at_voids(span: float) -> None:
    x = np.linspace(0.0, 200.0, 401)
    z = np.where((x > 80) & (x < 120), math.nan, span * (x / 200 - 0.5))
    seen = curve(profile_picture(Profile(x, z, (0, 0), (0, 400)), "3"))
    columns = np.flatnonzero(seen.any(axis=0))
    left, right = columns[0], columns[-1]
    gap = np.diff(columns).max()
    assert gap / (right - left) == pytest.approx(40 / 200, abs=0.02)
    rows = [np.flatnonzero(seen[:, column]).mean() for column in (left + 5, (3 * left + right) // 4, right - 5)]
    assert rows[0] > rows[1] > rows[2], "it must rise"
    assert (rows[0] - rows[1]) / (rows[0] - rows[2]) == pytest.approx(0.25, abs=0.03)


def test_a_profile_without_heights_is_drawn_empty() -> None:
    nothing = Profile(np.linspace(0, 8, 9), np.full(9, np.nan), (0, 0), (0, 8))
    assert not curve(profile_picture(nothing, "1")).any()
    point = Profile(np.zeros(1), np.zeros(1), (3, 3), (3, 3))
    assert curve(profile_picture(point, "1")).any()


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    document = report_of(sweep_result(), Plan())
    path = tmp_path / "report.html"
    write_report(document, path)
    assert path.read_text("utf-8") == html_page(document)
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(OutputError, match=r"ends? it in \.html|End it in \.html"):
        write_report(document, tmp_path / "report.doc")
    with pytest.raises(OutputError, match="does not exist"):
        write_report(document, tmp_path / "nowhere" / "report.html")


def test_it_stops_when_it_is_told_to() -> None:
    token = CancelToken()
    steps: list[float] = []

    def note(progress: object) -> None:
        steps.append(getattr(progress, "fraction", 0.0))
        if len(steps) == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        report_of(sweep_result(), Plan(), report=token.guard(note))
    assert steps == sorted(steps)


def test_a_table_row_has_a_cell_for_each_column() -> None:
    plan = Plan(SurfaceSettings(outliers=True), Area(0, 0, 40, 75), LINES, 1, (STEP,))
    for section in report_of(sweep_result(), plan).sections:
        for block in (one for kept in section.blocks for one in (kept.blocks if isinstance(kept, Kept) else (kept,))):
            if isinstance(block, Table):
                assert all(len(row) in (1, len(block.columns)) for row in block.rows)


def test_twelve_of_sixteen_bits_are_shown_bright() -> None:
    ramp = np.tile(np.linspace(0, 4095, 800).astype(np.uint16), (600, 1))
    drawn = figure_of(picture_figure(ramp, None, Places(), ""))
    assert drawn.convert("L").crop((700, 200, 800, 400)).getextrema()[0] > 200


def figure_of(found: Figure) -> Image.Image:
    return Image.open(io.BytesIO(found.png))


def test_spikes_are_told_of_where_some_were_found() -> None:
    smooth, rough = sweep_result(), sweep_result()
    rough.depth[10, 10] = 200.0
    spiky = SurfaceSettings(outliers=True)
    for result, settings, words, others in (
        (smooth, SurfaceSettings(), "made by single pixels", "Spikes were left out"),
        (rough, spiky, "Spikes were left out", "made by single pixels"),
        (smooth, spiky, "no spikes found", "Spikes were left out"),
    ):
        text = page_of(report_of(result, Plan(settings))).text
        assert words in text
        assert others not in text


def test_narrow_pictures_stand_beside_each_other() -> None:
    size = Sourced(0.5, "test")
    rows, columns = np.indices((200, 40))
    narrow = HeightMap(np.sin(rows / 9.0) + columns / 40, size, size, "formula")
    blocks = next(one.blocks for one in report_of(narrow, Plan()).sections if one.title == "Pictures")
    assert [type(one) for one in blocks] == [Pair, Figure]
    assert len(page_of(report_of(narrow, Plan())).pictures) == 3
    # with an area there are three of them, and the last stays alone
    blocks = next(
        one.blocks for one in report_of(narrow, Plan(area=Area(10, 2, 150, 38))).sections if one.title == "Pictures"
    )
    assert [type(one) for one in blocks] == [Pair, Figure, Figure]


def test_a_surface_of_voids_is_drawn() -> None:
    z = np.full((30, 40), np.nan)
    z[:2, :2] = 1.0
    size = Sourced(0.5, "test")
    page = page_of(report_of(HeightMap(z, size, size, "formula"), Plan(SurfaceSettings("none"))))
    assert len(page.pictures) == 3
    assert isinstance(height_surface(HeightMap(z, size, size, "formula")), Surface)

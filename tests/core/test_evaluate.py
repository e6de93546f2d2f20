"""Comparing methods: what a figure means, where truth is found, and what one bad stack does to the rest."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch

from adapted_files import delta
from command_runs import write_stack
from dffnets.data import DataError, DataSetCard, Sample, Samples
from dffnets.training import count_peaks
from scenes import Scene, tilted_plane
from toposcope.core import evaluate as ev
from toposcope.core.calibration import Kind, Sourced, Unit, to_coordinate, to_positions
from toposcope.core.evaluate.cases import even_slices
from toposcope.core.evaluate.comparing import Row, _means
from toposcope.core.evaluate.scoring import Answer, turning_points
from toposcope.core.evaluate.worker import answer_of, peak_bytes
from toposcope.core.jobs import Cancelled, Progress
from toposcope.core.method import EstimateSettings
from toposcope.core.scales import ProbabilityVolume
from toposcope.core.stack import ArraySource, FocalStack
from toposcope.errors import SettingsError, StackError

NAN = float("nan")


def answer(
    depth: list[list[float]],
    positions: tuple[float, ...] = (0, 10, 20),
    unit: Unit = "um",
    kind: Kind = "microscope",
    peaks: list[list[int]] | None = None,
) -> Answer:
    values = np.array(depth, np.float32)
    counts = None if peaks is None else np.array(peaks, np.uint8)
    return Answer(
        values,
        np.isfinite(values),
        counts,
        counts,
        np.array(positions, np.float64),
        unit,
        kind,
        seconds=2,
        cpu_seconds=3,
    )


TRUTH = np.array([[0, 5], [10, NAN]])
SAID = [[1, 5], [NAN, 7]]


# --- figures ---------------------------------------------------------------------------------


def test_voids_count_as_the_middle_when_filled() -> None:
    found = ev.score(answer(SAID), TRUTH)
    # errors 1/20, 0 and, the middle being 10, 0
    assert found.errors["mae"] == pytest.approx(0.05 / 3)
    assert found.errors["mse"] == pytest.approx(0.05**2 / 3)
    assert found.errors["rmse"] == pytest.approx((0.05**2 / 3) ** 0.5)
    assert found.known == pytest.approx(2 / 3)
    assert found.scored == 0.75
    np.testing.assert_allclose(found.error, [[0.05, 0], [0, NAN]], atol=1e-9)


def test_only_what_is_known_counts_when_that_is_wished() -> None:
    found = ev.score(answer(SAID), TRUTH, "known")
    assert found.errors["mae"] == pytest.approx(0.025)
    assert found.known == pytest.approx(2 / 3)
    assert np.isnan(found.error[1, 0])


def test_errors_can_be_in_the_unit_of_the_stack() -> None:
    found = ev.score(answer([[1, 6], [8, 7]]), TRUTH, unit="stack")
    assert found.errors["mae"] == pytest.approx((1 + 1 + 2) / 3)
    assert found.errors["abs_rel"] == pytest.approx((1 / 5 + 2 / 10) / 2)  # where the truth is above 0
    assert found.errors["sq_rel"] == pytest.approx((1 / 5 + 4 / 10) / 2)
    assert found.errors["delta1"] == pytest.approx(0.5)  # 6/5 is below 1.25, 10/8 is not


def test_share_of_a_camera_is_that_of_the_inverse_distance() -> None:
    found = ev.score(answer([[4, NAN]], (1, 2, 4), "m", "camera"), np.array([[2.0, 1.6]]))
    # 1 - 1/2 of 1 - 1/4 is 2/3; the void takes the middle, which lies at 1.6 m
    np.testing.assert_allclose(found.error, [[1 / 3, 0]], atol=1e-7)


def test_truth_beyond_the_sweep_does_not_count() -> None:
    found = ev.score(answer([[3, 20]]), np.array([[3.0, 23.0]]))
    assert found.errors["mae"] == 0
    assert found.scored == 0.5


def test_shares_of_one_peak_pixels_are_of_those_that_count() -> None:
    found = ev.score(answer(SAID, peaks=[[1, 2], [1, 1]]), TRUTH)
    assert found.unimodal == found.one_peak == pytest.approx(2 / 3)
    assert np.isnan(ev.score(answer(SAID), TRUTH).unimodal)


def test_nothing_known_is_no_number() -> None:
    found = ev.score(answer([[NAN, NAN]]), np.array([[3.0, 4.0]]), "known")
    assert found.known == 0
    assert np.isnan(found.errors["mae"])


@pytest.mark.parametrize(("unit", "kind"), [("um", "microscope"), ("m", "camera"), ("index", "camera")])
def test_coordinate_and_position_are_inverse(unit: Unit, kind: Kind) -> None:
    positions, places = np.array([1.0, 2, 5]), np.array([0, 0.3, 1, NAN])
    back = to_coordinate(to_positions(places, positions, unit, kind), positions, unit, kind)
    np.testing.assert_allclose(back, places, atol=1e-12)


def volume_of(curves: np.ndarray[Any, Any]) -> ProbabilityVolume:
    volume = ProbabilityVolume((curves.shape[0], 1, curves.shape[1]))
    volume.add((slice(0, 1), slice(None)), curves[:, None].astype(np.float32))
    return volume


def test_peaks_are_counted_from_nothing_to_nothing() -> None:
    curves = np.array(
        [
            [0.1, 0.6, 0.3, 0.0],  # rises, then falls
            [0.7, 0.2, 0.1, 0.0],  # a peak at the end of the sweep is one, too
            [0.4, 0.1, 0.4, 0.1],  # two
            [0.3, 0.2995, 0.3, 0.1005],  # less than the tolerance: one
        ]
    ).T
    assert turning_points(volume_of(curves)).tolist() == [[1, 1, 2, 1]]


def test_peaks_are_those_that_a_training_logs() -> None:
    curves = np.random.default_rng(3).dirichlet(np.ones(7), 200).T
    volume = volume_of(curves)
    kept = np.stack([volume.plane(i) for i in range(7)])
    np.testing.assert_array_equal(turning_points(volume), count_peaks(torch.from_numpy(kept)[None])[0].numpy())


def test_means_leave_out_what_is_undefined_and_count_what_failed() -> None:
    figures = dict.fromkeys((*ev.MEASURES, "known", "unimodal", "one_peak", "scored", "seconds", "cpu_seconds"), 1.0)
    rows = [
        Row("sml", "a", ("all", "near"), {**figures, "rmse": 2.0, "abs_rel": NAN}, peak_bytes=1000),
        Row("sml", "b", ("all", "far"), {**figures, "rmse": 4.0, "abs_rel": 5.0}, peak_bytes=900),
        Row("sml", "c", ("all", "far"), {}, "broken"),
    ]
    whole, near, far = _means(rows)
    assert (whole.group, whole.stacks, whole.failed, whole.figures["rmse"]) == ("all", 3, 1, 3)
    assert whole.figures["abs_rel"] == 5
    assert (near.figures["rmse"], far.figures["rmse"], far.peak_bytes) == (2, 4, 1000)


# --- stacks and their truth ------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene() -> Scene:
    return tilted_plane(n=7, size=64)


@pytest.fixture
def folder(scene: Scene, tmp_path: Path) -> Path:
    """A stack with its truth, as `toposcope simulate` writes it."""
    folder = write_stack(scene, tmp_path / "plane")
    tifffile.imwrite(folder / "true_depth.tif", scene.depth)
    return folder


def test_truth_is_found_beside_the_frames(folder: Path, scene: Scene) -> None:
    case = ev.folder_case(folder)
    np.testing.assert_allclose(case.truth(), scene.depth)
    assert (case.name, case.symbol, case.open().n) == ("plane", "µm", 7)


def test_truth_in_slices_becomes_positions(folder: Path, scene: Scene) -> None:
    (folder / "true_depth.tif").unlink()
    index = scene.index.copy()
    index[0, 0], index[0, 1] = NAN, 6.5  # unknown, and beyond the last slice
    tifffile.imwrite(folder / "gt_slice_index.tif", index)
    truth = ev.folder_case(folder).truth()
    assert np.isnan(truth[0, :2]).all()
    np.testing.assert_allclose(truth[1:], scene.depth[1:], rtol=1e-5)


def test_truth_in_another_length_becomes_positions(folder: Path, scene: Scene) -> None:
    (folder / "true_depth.tif").unlink()
    cv2.imwrite(str(folder / "truth.pfm"), (scene.depth / 1000).astype(np.float32))
    case = ev.folder_case(folder, ev.TruthFile("truth.pfm", "mm"))
    np.testing.assert_allclose(case.truth(), scene.depth, rtol=1e-6)
    (folder / "stack.json").unlink()
    with pytest.raises(StackError, match="slice numbers for positions"):
        ev.folder_case(folder, ev.TruthFile("truth.pfm", "mm"))
    (folder / "truth.pfm").write_bytes(b"Pf 3")
    with pytest.raises(StackError, match="cannot be read as depth"):
        ev.folder_case(folder, ev.TruthFile("truth.pfm"))


def test_truth_can_lie_elsewhere_under_the_name_of_the_stack(folder: Path, scene: Scene, tmp_path: Path) -> None:
    (folder / "true_depth.tif").unlink()
    (tmp_path / "truth").mkdir()
    nanometres = np.rint(scene.depth * 1000).astype(np.uint16)
    nanometres[:4] = 0
    cv2.imwrite(str(tmp_path / "truth" / f"{folder.name}.png"), nanometres)
    case = ev.folder_case(folder, ev.TruthFile("../truth/{stack}.png", "um"))
    truth = case.truth()
    assert np.isnan(truth[:4]).all()
    np.testing.assert_allclose(truth[4:], nanometres[4:])
    numbers = ev.folder_case(folder, ev.TruthFile("../truth/{stack}.png", "slices")).truth()
    np.testing.assert_allclose(numbers[:4], scene.stack.positions.value[0])
    row = ev.evaluate([ev.folder_case(folder, ev.TruthFile("../truth/{stack}.png", "slices"))], [ev.contender("sml")])
    assert row.problems == ()
    cv2.imwrite(str(tmp_path / "truth" / f"{folder.name}.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(StackError, match="must have one value for each pixel"):
        ev.folder_case(folder, ev.TruthFile("../truth/{stack}.png"))


def test_truth_of_any_name_is_no_frame(folder: Path, scene: Scene) -> None:
    (folder / "true_depth.tif").unlink()
    tifffile.imwrite(folder / "surface.tif", scene.index)
    case = ev.folder_case(folder, ev.TruthFile("surface.tif", "slices"))
    assert case.open().n == 7
    np.testing.assert_allclose(case.truth(), scene.depth, rtol=1e-5)
    (folder / "surface.tif").unlink()
    np.save(folder / "surface.npy", scene.depth)
    np.testing.assert_array_equal(ev.folder_case(folder, ev.TruthFile("surface.npy")).truth(), scene.depth)


def test_slices_are_taken_evenly(folder: Path, scene: Scene) -> None:
    assert even_slices(41, 10) == (0, 4, 9, 13, 18, 22, 27, 31, 36, 40)
    assert even_slices(5, 10) is None
    stack = ev.folder_case(folder, subset=4).open()
    np.testing.assert_allclose(stack.positions.value, scene.stack.positions.value[::2])
    with pytest.raises(SettingsError, match="at least 3"):
        ev.folder_case(folder, subset=2)


def no_truth(folder: Path) -> None:
    (folder / "true_depth.tif").unlink()


def small_truth(folder: Path) -> None:
    tifffile.imwrite(folder / "true_depth.tif", np.zeros((4, 5), np.float32))


def broken_truth(folder: Path) -> None:
    (folder / "true_depth.tif").write_bytes(b"nothing")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (no_truth, "looked for true_depth.tif or gt_slice_index.tif in"),
        (small_truth, "has 5 x 4 pixels, the frames have 64 x 64"),
        (broken_truth, "cannot be read as depth"),
    ],
)
def test_what_has_no_truth_is_refused_in_words(folder: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(folder)
    with pytest.raises(StackError, match=words):
        ev.folder_case(folder)
    with pytest.raises(StackError, match="does not exist"):
        ev.folder_case(folder / "nowhere")


def test_rendered_stacks_are_half_macro_half_microscope(tmp_path: Path) -> None:
    cases = ev.rendered_cases(2, tmp_path)
    assert [case.groups for case in cases] == [
        ("validation", "validation/macro"),
        ("validation", "validation/micro"),
    ]
    assert cases[0].open().shape == cases[0].truth().shape
    (fewer,) = ev.rendered_cases(1, tmp_path, subset=4)
    assert fewer.open().n == 4
    (other,) = ev.rendered_cases(1, tmp_path, which="test")
    assert other.groups == ("test", "test/macro")
    assert other.open().n != cases[0].open().n or (other.open().read(0) != cases[0].open().read(0)).any()
    with pytest.raises(SettingsError, match="give 1 or more"):
        ev.rendered_cases(0, tmp_path)


def sample_of(scene: Scene, k: int) -> Sample:
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])[::-1]
    grey = (frames >> 8).astype(np.uint8) if frames.dtype == np.uint16 else frames
    frames = np.repeat(grey[..., None], 3, axis=3) if grey.ndim == 3 else grey
    depth = scene.depth.copy()
    depth[:4] = NAN
    positions = scene.stack.positions.value[::-1].copy()
    return Sample(f"scene {k}", frames, positions, depth, np.isfinite(depth), "microscope", "um")


def test_data_sets_are_read_one_sample_at_a_time(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def reader(root: Path, split: str) -> Samples:
        if split != "test":
            raise DataError(f"there is no split {split!r}; there is test.")

        def sample(k: int) -> Sample:
            read.append(k)
            return sample_of(scene, k)

        return Samples([f"scene {k}" for k in range(7)], sample)

    card = DataSetCard("toy", "Toy", "ours", "MIT", "nowhere", "toy files.", ("test",), reader)
    monkeypatch.setattr("dffnets.data.CARDS", {"toy": card})
    cases = ev.data_set_cases("toy", tmp_path, "test", tmp_path, subset=4, at_most=3)
    assert [case.name for case in cases] == ["toy/scene 0", "toy/scene 3", "toy/scene 6"]
    assert (cases[0].groups, cases[0].symbol, read) == (("toy test",), "µm", [0])
    with cases[1].ready():
        assert cases[1].open().n == 4
        np.testing.assert_array_equal(cases[1].truth(), sample_of(scene, 3).depth)
    assert list(tmp_path.iterdir()) == []
    (row,) = ev.evaluate(cases[:1], [ev.contender("sml")]).rows
    assert row.figures["rmse"] < 0.2
    with pytest.raises(StackError, match="no split 'train'"):
        ev.data_set_cases("toy", tmp_path, "train", tmp_path)
    with pytest.raises(SettingsError, match="0 stacks of toy were asked for"):
        ev.data_set_cases("toy", tmp_path, "test", tmp_path, at_most=0)
    with pytest.raises(SettingsError, match="known are toy"):
        ev.data_set_cases("other", tmp_path, "test", tmp_path)


# --- the run ---------------------------------------------------------------------------------


def in_memory(scene: Scene) -> FocalStack:
    frames = np.stack([scene.stack.read(i) for i in range(scene.stack.n)])
    return FocalStack.create(ArraySource(frames), scene.stack.positions, "um", Sourced("microscope", "test"))


def test_answer_is_that_of_the_method(scene: Scene) -> None:
    found = answer_of(in_memory(scene), EstimateSettings("sml", align="none", keep_volume=True))
    step = float(np.diff(scene.stack.positions.value)[0])
    assert np.abs(found.depth - scene.depth)[scene.inner & found.known].mean() < 0.2 * step
    assert found.seconds > 0
    assert found.peaks is not None
    assert found.standing is not None
    assert (found.standing[scene.inner] == 1).mean() > 0.9


def test_methods_are_compared_on_stacks(folder: Path) -> None:
    heard: list[Progress] = []
    seen: list[str] = []
    methods = [ev.contender("default"), ev.contender("sml", {"window": "5"})]
    found = ev.evaluate(
        [ev.folder_case(folder)], methods, report=heard.append, on_score=lambda method, *_: seen.append(method)
    )
    assert [(mean.method, mean.group, mean.failed) for mean in found.means] == [
        ("default", "stacks", 0),
        ("sml", "stacks", 0),
    ]
    assert seen == ["default", "sml"]
    for mean in found.means:
        assert 0 < mean.figures["rmse"] < 0.1
        assert mean.figures["known"] > 0.9
        assert mean.figures["cpu_seconds"] > 0
        assert mean.peak_bytes is not None
        assert 30e6 < mean.peak_bytes < 2e9
    assert [p.fraction for p in heard] == sorted(p.fraction for p in heard)
    assert heard[-1].fraction == 1
    assert "sml, stack 1 of 1" in heard[-2].text


def test_one_bad_stack_leaves_the_others_their_rows(folder: Path, scene: Scene, tmp_path: Path) -> None:
    other = write_stack(scene, tmp_path / "broken")
    tifffile.imwrite(other / "true_depth.tif", scene.depth)
    broken = ev.folder_case(other)
    whole = (other / "frame3.png").read_bytes()
    (other / "frame3.png").write_bytes(whole[: len(whole) // 2])
    deadly = ev.Case("deadly", ("stacks",), "µm", partial(os._exit, 3), np.array)  # type: ignore[arg-type]
    found = ev.evaluate([broken, deadly, ev.folder_case(folder)], [ev.contender("sml")])
    first, second, third = found.rows
    assert "frame3.png" in str(first.problem)
    assert "ended with code 3" in str(second.problem)
    assert third.problem is None
    assert found.problems == (first, second)
    (mean,) = found.means
    assert (mean.stacks, mean.failed, mean.figures["rmse"]) == (3, 2, third.figures["rmse"])


@pytest.mark.parametrize(
    ("truth", "words"),
    [(np.full((64, 64), 1e4), "lies outside of the sweep"), (np.full((64, 64), NAN), "not known at any pixel")],
)
def test_truth_that_the_sweep_never_reaches_is_a_problem(scene: Scene, truth: Any, words: str) -> None:
    case = ev.Case("far", ("stacks",), "µm", partial(in_memory, scene), lambda: truth)
    (row,) = ev.evaluate([case], [ev.contender("sml")], ev.EvaluateSettings(curves=False)).rows
    assert words in str(row.problem)


def test_cancel_stops_the_process(folder: Path) -> None:
    def stop(progress: Progress) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        ev.evaluate([ev.folder_case(folder)], [ev.contender("default")], report=stop)
    assert multiprocessing.active_children() == []


def test_what_cannot_be_compared_is_refused_before_the_work(folder: Path, scene: Scene, tmp_path: Path) -> None:
    other = write_stack(scene, tmp_path / "millimetres", unit="mm")
    tifffile.imwrite(other / "true_depth.tif", scene.depth)
    cases = [ev.folder_case(folder), ev.folder_case(other)]
    with pytest.raises(SettingsError, match="µm and mm, which have no common mean"):
        ev.evaluate(cases, [ev.contender("sml")], ev.EvaluateSettings(unit="stack"))
    with pytest.raises(SettingsError, match="nothing to compare"):
        ev.evaluate(cases, [])
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="no cuda device"):
            ev.evaluate(cases, [ev.contender("sml")], ev.EvaluateSettings(device="cuda"))
    with pytest.raises(SettingsError, match="no method 'magic'"):
        ev.contender("magic")
    with pytest.raises(SettingsError, match="no setting 'windwo'"):
        ev.contender("sml", {"windwo": 3})


def test_a_method_can_stand_there_several_times(folder: Path, tmp_path: Path) -> None:
    weights = delta(tmp_path / "mine.safetensors", shift=0.1)
    methods = [
        ev.contender("light"),
        ev.contender("light", name="mine", weights=weights),
        ev.contender("sml", {"window": 5}, name="narrow"),
    ]
    found = ev.evaluate([ev.folder_case(folder)], methods, ev.EvaluateSettings(curves=False))
    shipped, mine, narrow = found.rows
    assert [row.method for row in found.rows] == ["light", "mine", "narrow"]
    assert shipped.figures["rmse"] != mine.figures["rmse"]
    assert narrow.problem is None
    facts = ev.comparison_facts(found)["methods"]
    assert facts[1]["weights"] == str(weights)
    assert facts[1]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert facts[2]["method"] == "sml"
    assert facts[2]["settings"]["window"] == 5
    assert f"mine: light, weights {weights}." in ev.text_table(found)
    with pytest.raises(SettingsError, match="two methods are called 'light'"):
        ev.evaluate([ev.folder_case(folder)], [methods[0], ev.contender("sml", name="light")])


def test_maps_of_another_program_stand_beside_methods(folder: Path, scene: Scene, tmp_path: Path) -> None:
    theirs = scene.depth + np.float32(1)
    theirs[:8] = np.inf
    np.save(tmp_path / f"{folder.name}.npy", theirs / 1000)
    maps = ev.stored_maps("theirs", str(tmp_path / "{stack}.npy"), "mm")
    settings = ev.EvaluateSettings("known", "stack")
    found = ev.evaluate([ev.folder_case(folder)], [ev.contender("sml"), maps], settings)
    row = found.rows[1]
    assert row.figures["mae"] == pytest.approx(1, rel=1e-4)
    assert row.figures["known"] == pytest.approx(56 / 64)
    assert np.isnan(row.figures["seconds"])
    assert "theirs: maps of another program" in ev.text_table(found)
    assert ev.comparison_facts(found)["methods"][1]["map_unit"] == "mm"
    nowhere = ev.stored_maps("theirs", str(tmp_path / "{stack}.tif"))
    (row,) = ev.evaluate([ev.folder_case(folder)], [nowhere]).rows
    assert f"there is no {tmp_path / folder.name}.tif" in str(row.problem)
    tifffile.imwrite(tmp_path / f"{folder.name}.tif", np.zeros((2, 64, 64), np.float32))
    (row,) = ev.evaluate([ev.folder_case(folder)], [nowhere]).rows
    assert "a depth map has one for each pixel" in str(row.problem)


def test_weights_that_do_not_fit_are_refused_before_the_work(tmp_path: Path) -> None:
    weights = delta(tmp_path / "mine.safetensors")
    with pytest.raises(SettingsError, match="holds weights of light, not of fad"):
        ev.contender("fad", weights=weights)
    with pytest.raises(SettingsError, match="sml takes no other weights"):
        ev.contender("sml", weights=weights)
    with pytest.raises(SettingsError, match="cannot be read as weights"):
        ev.contender("light", weights=tmp_path / "nowhere.safetensors")
    assert ev.contender("hybrid", weights=weights).weights == weights


def test_an_interrupted_evaluation_goes_on(folder: Path, tmp_path: Path) -> None:
    cases = [ev.folder_case(folder)]
    methods = [ev.contender("sml"), ev.contender("default")]
    journal = ev.Journal(tmp_path / "out", {"stacks": ["plane"]})

    def stop(progress: Progress) -> None:
        if progress.text.startswith("default"):
            raise Cancelled

    with pytest.raises(Cancelled):
        ev.evaluate(cases, methods, report=stop, on_row=journal.add)
    with (tmp_path / "out" / "unfinished.jsonl").open("a") as file:
        file.write('{"stack": 0, "ro')  # as a crash leaves it
    assert ev.Journal(tmp_path / "out", {"stacks": ["another"]}).rows == {}
    again = ev.Journal(tmp_path / "out", {"stacks": ["plane"]})
    kept = dict(again.rows)
    assert list(kept) == [("sml", 0)]
    seen: list[str] = []
    found = ev.evaluate(cases, methods, on_score=lambda name, *_: seen.append(name), done=kept, on_row=again.add)
    assert seen == ["default"]
    assert found.rows[0] == kept["sml", 0]
    assert found.means[0].peak_bytes == kept["sml", 0].peak_bytes
    again.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    journal = ev.Journal(tmp_path, {})
    journal.add(0, Row("sml", "a", ("all",), {}, "broken"))
    assert ev.Journal(tmp_path, {}).rows == {}


def test_a_folder_that_changed_is_another(folder: Path) -> None:
    before = ev.fingerprint(folder)
    assert ev.fingerprint(folder) == before
    (folder / "frame3.png").write_bytes((folder / "frame2.png").read_bytes() + b"0")
    assert ev.fingerprint(folder) != before


def test_peak_memory_is_that_of_the_largest_moment() -> None:
    before = peak_bytes()
    block = np.ones(max(before, 50_000_000) // 8 + 8_000_000)
    assert peak_bytes() > before
    del block


# --- tables ----------------------------------------------------------------------------------


@pytest.fixture
def found() -> ev.Comparison:
    figures = dict.fromkeys((*ev.MEASURES, "known", "unimodal", "one_peak", "scored", "seconds", "cpu_seconds"), 0.5)
    rows = (
        Row("sml", "good", ("stacks",), {**figures, "rmse": 0.01, "abs_rel": NAN}, peak_bytes=123_000_000),
        Row("sml", "bad", ("stacks",), {**figures, "rmse": 0.2, "abs_rel": NAN, "seconds": 4000.0}),
        Row("sml", "worst", ("stacks",), {}, "frame 3 is broken."),
    )
    means = tuple(_means(rows))
    return ev.Comparison(
        rows, means, ev.EvaluateSettings(), "shares of the swept range", (ev.contender("sml", {"window": "5"}),)
    )


def test_table_says_how_it_was_measured(found: ev.Comparison) -> None:
    text = ev.text_table(found)
    assert "shares of the swept range" in text
    assert "sml: window=5." in text
    assert "stacks: 3 stacks, true depth within the sweep for 50.0 % of the pixels, sml failed on 1" in text
    line = next(line for line in text.splitlines() if line.startswith("sml "))
    assert "0.1050" in line
    assert "50.0 %" in line
    assert "123" in line
    assert " 2000 " in line
    assert "–" in line
    assert "| `sml` | 0.5000 | 0.1050 | – |" in ev.markdown_table(found)


def test_files_hold_every_figure_and_the_worst_stack_first(found: ev.Comparison, tmp_path: Path) -> None:
    files = ev.write_comparison(found, tmp_path / "out")
    facts = json.loads(files["json"].read_text("utf-8"))
    assert facts["table"][0]["rmse"] == pytest.approx(0.105)
    assert facts["table"][0]["abs_rel"] is None
    with files["stacks"].open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["stack"] for row in rows] == ["worst", "bad", "good"]
    assert rows[0]["problem"] == "frame 3 is broken."
    assert float(rows[1]["rmse"]) == 0.2
    with files["table"].open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["peak_bytes"] == "123000000"
    assert set(ev.MEASURES) <= set(row)


def test_error_maps_are_drawn(scene: Scene, tmp_path: Path) -> None:
    case = ev.Case("plane", ("stacks",), "µm", partial(in_memory, scene), lambda: scene.depth)
    said = answer_of(in_memory(scene), EstimateSettings("sml", align="none"))
    for unit in ("share", "stack"):
        ev.error_writer(tmp_path / unit, unit)("sml", case, said, ev.score(said, scene.depth, unit=unit))  # type: ignore[arg-type]
        assert (tmp_path / unit / "plane_sml.png").stat().st_size > 1000
